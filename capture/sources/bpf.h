/* bpf - what the BPF source lends to others. */
#pragma once
#include "capture/capture.h"

/* Descriptor of the map of tracked processes, in which children inherit at fork; -1: the source does not run. */
int bpf_tracked_map(const struct capture *c);
