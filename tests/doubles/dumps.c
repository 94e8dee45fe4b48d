#include "tests/doubles/dumps.h"

#include <stdio.h>

#include "capture/control.h"
#include "capture/dumps.h"

struct double_dumps double_dumps;

int dumps_open(struct capture *c, struct error *err)
{
	(void)c;
	(void)err;
	return 0;
}

void dumps_close(struct capture *c) { (void)c; }

bool dumps_start(struct capture *c, const char *trigger, const char *reason, int32_t pid, int32_t rank)
{
	(void)c;
	double_dumps.started++;
	double_dumps.pid = pid;
	double_dumps.rank = rank;
	snprintf(double_dumps.trigger, sizeof(double_dumps.trigger), "%s", trigger);
	snprintf(double_dumps.reason, sizeof(double_dumps.reason), "%s", reason);
	return true;
}

int control_open(struct capture *c, struct error *err)
{
	(void)c;
	(void)err;
	return 0;
}

void control_close(struct capture *c) { (void)c; }
