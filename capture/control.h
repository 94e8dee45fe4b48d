/* control - the socket between `tdump` and `tcaptured`. */
#pragma once
#include "bundle/error.h"

struct capture;

int control_open(struct capture *c, struct error *err);
void control_close(struct capture *c);
