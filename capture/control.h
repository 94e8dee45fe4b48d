/*
 * control - the Unix socket between tdump and tcaptured.
 *
 * One JSON object a line.  Requests: {"request": "dump", "reason", "job"} and
 * {"request": "status"}.  Answers: {"progress": text}, then {"bundle": path,
 * "complete": bool} with the bundle's descriptor beside it, {"status": {...}}, or
 * {"error": text}.  Root, the daemon's user and the configured group may ask.  A
 * client that does not read, does not write, or writes nonsense is dropped.
 */
#pragma once
#include "bundle/error.h"
#include "capture/capture.h"

int control_open(struct capture *c, struct error *err);
void control_close(struct capture *c);
