/* explain - a pattern's specification, for people. */
#pragma once
#include <stdio.h>

#include "analyzer/pattern.h"

void explain_list(const struct pattern_set *set, FILE *out);
void explain_pattern(const struct pattern *p, FILE *out);
