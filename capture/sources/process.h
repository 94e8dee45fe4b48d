#pragma once
#include "capture/capture.h"
void track_exec(struct capture *c, const struct record_exec *e);
void track_exit(struct capture *c, const struct record_task_exit *e);
