/*
 * fuzz - what the targets share.
 *
 * A target is one LLVMFuzzerTestOneInput(): AFL++ drives it under fuzz/run, and
 * driver.c replays fuzz/seeds/ and fuzz/found/ through it in every build.  It
 * asserts what its reader promises, not only that nothing crashes; a promise that
 * does not hold is named on standard error, then traps.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "analyzer/store.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);	/* a target need not have it */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(holds) ((holds) ? (void)0 : broken(__FILE__, __LINE__, #holds))

static inline void broken(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	__builtin_trap();
}

/* A failure says what, and at which of the input's bytes if at any; success says nothing. */
void check_error(int ret, const struct error *err, uint64_t size);

/* Every id, count, stamp and text of the store is one that its reader may rely on. */
void check_store(const struct store *s);

/* Evidence from the `first`th on quotes these bytes, at the offset and line that it says. */
void check_quotes(const struct store *s, size_t first, const void *data, size_t len);
