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

bool elf_site_is_stepped(const uint8_t *code, size_t len)
{
#if defined(__x86_64__)
	static const uint8_t nop5[] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };

	if (is_push(code, len))
		return false;
	if (len >= sizeof(nop5) && !memcmp(code, nop5, sizeof(nop5)))
		return false;
	/* nop, jmp, call: emulated too */
	return !(len >= 1 && (code[0] == 0x90 || code[0] == 0xeb || code[0] == 0xe9 || code[0] == 0xe8));
#else
	(void)code;
	(void)len;
	(void)is_push;
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

static struct elf_site site_at(int fd, Elf *elf, uint64_t address)
{
	static const uint8_t endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	struct elf_site site = { 0 };
	uint8_t code[16];
	size_t room, skip = 0;
	ssize_t got;

	site.offset = file_offset(elf, address, &room);
	if (!site.offset)
		return site;
	got = pread(fd, code, room < sizeof(code) ? room : sizeof(code), (off_t)site.offset);
	site.is_stepped = true;
	if (got < (ssize_t)sizeof(endbr64))
		return site;
	if (!memcmp(code, endbr64, sizeof(endbr64)))
		skip = sizeof(endbr64);
	site.offset += skip;
	site.is_stepped = elf_site_is_stepped(code + skip, (size_t)got - skip);
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
