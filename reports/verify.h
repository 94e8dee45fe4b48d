/* verify - read every quote of a report again, and compare. */
#pragma once
#include <stdio.h>

#include "bundle/error.h"

/*
 * Each evidence of the JSON report at `path` is looked for in `inputs` (by its
 * path, or by as much of its end as exists below an input) and its bytes are
 * digested again.  Differences go to `out`, one line each; *bad_ret counts them.
 */
int report_verify(const char *path, char *const *inputs, size_t n_inputs, FILE *out, size_t *checked_ret,
		  size_t *bad_ret, struct error *err);
