/*
 * report - an analysis, written for people and for programs.
 *
 * Each writer reads a const analysis and writes one document; none looks at a
 * clock, an environment or a locale, so the same analysis gives the same bytes.
 * Whatever came from the input is made safe where it is shown (bundle/text.h),
 * never before.
 */
#pragma once
#include <stdio.h>

#include "analyzer/analysis.h"
#include "bundle/error.h"

#ifndef TACHOGRAPH_VERSION		/* the build says which */
#define TACHOGRAPH_VERSION "0.0.0-dev"
#endif

/*
 * For a terminal.  Lines 1 to 3 are the verdict, the culprit and the ranks
 * without evidence, each on one line however long; the rest is wrapped to
 * `width` columns (0: 100).
 */
int report_text(const struct analysis *a, FILE *out, int width, struct error *err);

/* One self-contained page: no network, no script, under 1 MB. */
int report_html(const struct analysis *a, FILE *out, struct error *err);

/* The contract for programs: schema tachograph.report/1. */
int report_json(const struct analysis *a, FILE *out, struct error *err);
