#include "capture/sources/elf_sites.h"

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <string.h>
#include <unistd.h>

#include "bundle/cleanup.h"

static void elf_endp(Elf **e)
{
	elf_end(*e);
}

static bool is_push(const uint8_t *code, size_t len)
{
	if (len >= 2 && code[0] == 0x41)	/* r8 to r15 */
		return code[1] >= 0x50 && code[1] <= 0x57;
	return len >= 1 && code[0] >= 0x50 && code[0] <= 0x57;
}

static bool is_branch(const uint8_t *code, size_t len)
{
	if (len >= 2 && code[0] == 0x0f)	/* jcc, 32 bits */
		return (code[1] & 0xf0) == 0x80;
	return len >= 1 && ((code[0] & 0xf0) == 0x70 || code[0] == 0xe8 || code[0] == 0xe9 || code[0] == 0xeb);
}

bool elf_site_is_stepped(const uint8_t *code, size_t len)
{
#if defined(__x86_64__)
	static const uint8_t nop5[] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };

	if (len == 0)
		return true;
	if (is_push(code, len) || is_branch(code, len) || code[0] == 0x90 /* nop */)
		return false;
	return len < sizeof(nop5) || memcmp(code, nop5, sizeof(nop5)) != 0;
#else
	(void)code;
	(void)len;
	(void)is_push;
	(void)is_branch;
	return true;
#endif
}

/* File offset of the address, which lies in a loaded segment with at least `*room_ret` bytes behind it; 0: none. */
static uint64_t file_offset(Elf *elf, uint64_t address, size_t *room_ret)
{
	size_t n;

	if (elf_getphdrnum(elf, &n))
		return 0;
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr h;

		if (!gelf_getphdr(elf, (int)i, &h) || h.p_type != PT_LOAD || !(h.p_flags & PF_X))
			continue;
		if (address >= h.p_vaddr && address - h.p_vaddr < h.p_filesz) {
			*room_ret = h.p_filesz - (address - h.p_vaddr);
			return h.p_offset + (address - h.p_vaddr);
		}
	}
	return 0;
}

/*
 * Length of an instruction of a prologue that leaves the arguments, the stack and
 * memory alone, so that the probe may as well stand behind it; 0: any other.
 */
static size_t harmless(const uint8_t *code, size_t len)
{
	bool registers, to_rax;

	if (len >= 4 && !memcmp(code, "\xf3\x0f\x1e\xfa", 4))	/* endbr64 */
		return 4;
	if (len >= 5 && code[0] == 0xb8)	/* mov $n,%eax */
		return 5;
	if (len >= 2 && code[0] == 0x31 && code[1] == 0xc0)	/* xor %eax,%eax */
		return 2;
	if (len >= 2 && code[0] == 0x85 && code[1] >= 0xc0)	/* test %r,%r */
		return 2;
	if (len < 3 || (code[0] & 0xf8) != 0x48)		/* 64-bit operands */
		return 0;
	registers = code[2] >= 0xc0;
	to_rax = registers && !(code[0] & 1) && (code[2] & 7) == 0;
	return (code[1] == 0x85 && registers) || (code[1] == 0x89 && to_rax) ? 3 : 0;
}

static struct elf_site site_at(int fd, Elf *elf, uint64_t address)
{
	struct elf_site site = { .is_stepped = true };
	uint8_t code[32];
	size_t room, pos = 0, step;
	ssize_t got;

	site.offset = file_offset(elf, address, &room);
	if (!site.offset)
		return site;
	got = pread(fd, code, room < sizeof(code) ? room : sizeof(code), (off_t)site.offset);
	while (got > 0 && elf_site_is_stepped(code + pos, (size_t)got - pos) &&
	       (step = harmless(code + pos, (size_t)got - pos)))
		pos += step;
	site.is_stepped = got <= 0 || elf_site_is_stepped(code + pos, (size_t)got - pos);
	if (!site.is_stepped)
		site.offset += pos;	/* else the entry itself: nothing is gained */
	return site;
}

struct search {
	int fd;
	Elf *elf;
	const char *const *names;
	size_t n;
	struct elf_site *sites;
	int found;
};

static void visit_symbol(struct search *s, const char *name, const GElf_Sym *sym)
{
	if (GELF_ST_TYPE(sym->st_info) != STT_FUNC || sym->st_shndx == SHN_UNDEF || strncmp(name, "nccl", 4))
		return;
	for (size_t i = 0; i < s->n; i++) {
		if (s->sites[i].offset || strcmp(name, s->names[i]))
			continue;
		s->sites[i] = site_at(s->fd, s->elf, sym->st_value);
		s->found += s->sites[i].offset != 0;
	}
}

static void visit_table(struct search *s, uint32_t type)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;

	while ((scn = elf_nextscn(s->elf, scn))) {
		Elf_Data *data;
		size_t n;

		if (!gelf_getshdr(scn, &sh) || sh.sh_type != type || !sh.sh_entsize)
			continue;
		data = elf_getdata(scn, NULL);
		n = data ? data->d_size / sh.sh_entsize : 0;
		for (size_t i = 0; i < n; i++) {
			GElf_Sym sym;
			const char *name = gelf_getsym(data, (int)i, &sym) ? elf_strptr(s->elf, sh.sh_link, sym.st_name) : NULL;

			if (name)
				visit_symbol(s, name, &sym);
		}
	}
}

int elf_sites_find(const char *path, const char *const *names, size_t n, struct elf_site *ret, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	__attribute__((cleanup(elf_endp))) Elf *elf = NULL;
	struct search s = { .fd = fd, .names = names, .n = n, .sites = ret };

	if (fd < 0)
		return error_sys(err, "cannot open %s", path);
	if (elf_version(EV_CURRENT) == EV_NONE || !(elf = elf_begin(fd, ELF_C_READ_MMAP, NULL)) ||
	    elf_kind(elf) != ELF_K_ELF)
		return error_set(err, ERR_FORMAT, "%s is no ELF file", path);
	memset(ret, 0, n * sizeof(*ret));
	s.elf = elf;
	visit_table(&s, SHT_DYNSYM);
	if (!s.found)
		visit_table(&s, SHT_SYMTAB);	/* linked in and not exported */
	return s.found;
}
