/* test - what every unit test includes: cmocka, and bytes with their length. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bundle/cleanup.h"
#include "bundle/error.h"

/* Bytes and their length, NULs included. */
#define B(s) (s), sizeof(s) - 1
