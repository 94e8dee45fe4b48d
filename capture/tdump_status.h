/* tdump_status - the daemon's status as a page for people. */
#pragma once
#include <jansson.h>
#include <stdio.h>

void tdump_status_print(const json_t *status, FILE *f);
