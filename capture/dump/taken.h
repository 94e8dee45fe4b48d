/*
 * taken - what the boot before left goes into one bundle, not into all.
 *
 * A file of the bundle folder remembers by key what a bundle has.  Without a
 * bundle folder (a snapshot to elsewhere) nothing is remembered: all is taken.
 */
#pragma once
#include <stdbool.h>

#include "capture/dump.h"

bool taken_before(const struct dump_context *dc, const char *key);
void taken_note(const struct dump_context *dc, const char *key);
