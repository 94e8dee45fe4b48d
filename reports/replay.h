/*
 * replay - every fixture of a corpus against the verdict it expects.
 *
 * A fixture is a folder with expected.json and input/ (or bundle.tar.zst);
 * docs/CORPUS.md says what expected.json may pin.
 */
#pragma once
#include <stdio.h>

#include "bundle/error.h"

/* Analyse one path and write its JSON report; what tanalyze itself does. */
typedef int (*replay_run)(void *ctx, const char *input, FILE *json, struct error *err);

/* Prints a row per case and the pattern-by-case matrix, and a table of precision and recall where `table` is given; *missed_ret counts cases that differ. */
int replay(char *const *dirs, size_t n_dirs, replay_run run, void *ctx, FILE *out, FILE *table, size_t *cases_ret,
	   size_t *missed_ret, struct error *err);
