/*
 * lint - what is wrong with signatures and causes beyond their form.
 *
 * Loading refuses what breaks the format.  This runs the examples, looks for
 * literals that lead nowhere, for regular expressions that a hostile line can keep
 * busy, and for references to what nothing makes.
 */
#pragma once
#include <stdio.h>

#include "analyzer/pattern.h"

/* Of what came from files whose path begins with `dir`; a line per problem: "FILE:LINE: subject: reason". */
int lint(const struct pattern_set *set, const char *dir, FILE *out, size_t *problems_ret, struct error *err);
