/* Where probes go: which instructions the kernel must step, which files are libraries of functions. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/sources/bpf_look.h"
#include "capture/sources/elf_sites.h"
#include "tests/test.h"

static const struct {
	const char *name;
	const char *code;
	size_t len;
	bool is_stepped;
} instructions[] = {
	{ "push %rbp", B("\x55"), false },
	{ "push %r15", B("\x41\x57"), false },
	{ "pop %r15", B("\x41\x5f"), true },
	{ "nop of five bytes", B("\x0f\x1f\x44\x00\x00"), false },
	{ "nop of four bytes", B("\x0f\x1f\x40\x00"), true },
	{ "nop", B("\x90"), false },
	{ "jmp", B("\xe9\x00\x00\x00\x00"), false },
	{ "je, 8 bits", B("\x74\x2f"), false },
	{ "je, 32 bits", B("\x0f\x84\xa6\x00\x00\x00"), false },
	{ "endbr64", B("\xf3\x0f\x1e\xfa"), true },
	{ "sub $8,%rsp", B("\x48\x83\xec\x08"), true },
	{ "mov %rdi,%rax", B("\x48\x89\xf8"), true },
	{ "no bytes", B(""), true },
	{ "half a push", B("\x41"), true },
};

static void test_stepped(void **state)
{
	(void)state;
#if defined(__x86_64__)
	for (size_t i = 0; i < sizeof(instructions) / sizeof(instructions[0]); i++) {
		print_message("    %s\n", instructions[i].name);
		assert_int_equal(elf_site_is_stepped((const uint8_t *)instructions[i].code, instructions[i].len),
				 instructions[i].is_stepped);
	}
#endif
}

static int find(const char *path, const char *name, struct elf_site *site, struct error *err)
{
	return elf_sites_find(path, &name, 1, site, err);
}

static void test_library(void **state)
{
	struct error err = { 0 };
	struct elf_site site;
	const char *names[] = { "ncclAllReduce", "ncclNoSuchThing", "ncclCommInitRank" };
	struct elf_site sites[3];

	(void)state;
	assert_int_equal(find(NCCL_LIBRARY, "ncclAllReduce", &site, &err), 1);
	assert_true(site.offset > 0);
	assert_int_equal(elf_sites_find(NCCL_LIBRARY, names, 3, sites, &err), 2);
	assert_true(sites[0].offset == site.offset && !sites[1].offset && sites[2].offset);
}

static void test_no_library(void **state)
{
	struct error err = { 0 };
	struct elf_site site;

	(void)state;
	assert_int_equal(find("/no/such/file", "ncclAllReduce", &site, &err), -1);
	assert_int_equal(err.code, ERR_SYS);
	err = (struct error){ 0 };
	assert_int_equal(find("/etc/passwd", "ncclAllReduce", &site, &err), -1);
	assert_int_equal(err.code, ERR_FORMAT);
	assert_string_equal(err.what, "/etc/passwd is no ELF file");
	assert_int_equal(find("/proc/self/exe", "ncclAllReduce", &site, &err), 0);
}

/* Every prefix of a library is read without a crash, and yields no site outside it. */
static void test_cut_library(void **state)
{
	char path[] = "/tmp/elf_sites.XXXXXX";
	int fd = mkstemp(path);
	FILE *f = fopen(NCCL_LIBRARY, "rb");
	static uint8_t data[1 << 20];
	size_t len;

	(void)state;
	assert_true(fd >= 0 && f);
	len = fread(data, 1, sizeof(data), f);
	fclose(f);
	for (size_t cut = 0; cut < len; cut += 97) {
		struct error err = { 0 };
		struct elf_site site;

		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, data, cut, 0), cut);
		if (find(path, "ncclAllReduce", &site, &err) == 1)
			assert_true(site.offset < len);
	}
	close(fd);
	unlink(path);
}

static void test_block_status(void **state)
{
	(void)state;
	assert_int_equal(block_status_errno(0), 0);
	assert_int_equal(block_status_errno(3), ENOSPC);
	assert_int_equal(block_status_errno(7), ENODATA);
	assert_int_equal(block_status_errno(10), EIO);
	assert_int_equal(block_status_errno(99), EIO);
	assert_int_equal(block_status_errno(-ENODEV), ENODEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stepped),
		cmocka_unit_test(test_library),
		cmocka_unit_test(test_no_library),
		cmocka_unit_test(test_cut_library),
		cmocka_unit_test(test_block_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
