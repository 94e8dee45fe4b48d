/*
 * elf_sites - where in a library's file a function begins, and what a probe there costs.
 *
 * The file is read through libelf, from its symbol tables and code bytes; it may
 * lie on a file system that hangs, so only workers call this.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bundle/error.h"

struct elf_site {
	uint64_t offset;	/* in the file: where to put the probe; 0: the function is not there */
	bool is_stepped;	/* the instruction there must be single-stepped: 3-4 us a hit instead of 0.2-0.4 */
};

/*
 * Find `n` functions.  When the first instructions are harmless (endbr64, a
 * constant into %eax) and a push, a nop or a branch follows, which the kernel emulates, the
 * probe goes there: no argument has moved yet.  The number found, or -1.
 */
int elf_sites_find(const char *path, const char *const *names, size_t n, struct elf_site *ret, struct error *err);

/* Would the kernel single-step the instruction in `code`?  True also where it cannot be told. */
bool elf_site_is_stepped(const uint8_t *code, size_t len);
