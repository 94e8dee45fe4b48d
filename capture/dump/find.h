/* find - which processes are the job's, when no daemon says it: sends DUMP_OWN_PROCESS. */
#pragma once
#include "capture/dump.h"

extern const struct dump_source dump_find;
