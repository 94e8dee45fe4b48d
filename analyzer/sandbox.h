/*
 * sandbox - parsers run with nothing to lose.
 *
 * No program is started, no connection made, no other process touched from here
 * on (seccomp, where the kernel has it).  Best effort: without it the analysis
 * runs all the same.
 */
#pragma once
#include <stdbool.h>

bool sandbox_enter(void);
