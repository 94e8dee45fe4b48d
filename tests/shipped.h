/* shipped - the shipped patterns, for tests that judge with them: cmocka_run_group_tests(tests, load, unload). */
#pragma once
#include "tests/test.h"

#include <stdio.h>

#include "analyzer/pattern.h"
#include "patterns/detectors.h"

static struct pattern_set set;

static int load(void **state)
{
	struct error err = { 0 };

	(void)state;
	if (!pattern_set_init(&set, &err) && !patterns_add_shipped(&set, &err) && !pattern_set_seal(&set, &err))
		return 0;
	error_print(stderr, &err);
	return -1;
}

static int unload(void **state)
{
	(void)state;
	pattern_set_deinit(&set);
	return 0;
}
