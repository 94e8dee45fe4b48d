/*
 * bpf_look - what the BPF source fetches once a second instead of being sent.
 *
 * Events of which there can be very many are counted in kernel maps; each call
 * empties its map into records of the bpf stream.  A probe that is not loaded
 * yields nothing.
 */
#pragma once
#include "capture/ring.h"
#include "capture/sources/probes.h"

void bpf_look_tcp(const struct probe *p, struct ring *r);
void bpf_look_block_io(const struct probe *p, struct ring *r);
/* Reads the task iterator: long uninterruptible sleeps with their kernel stacks. */
void bpf_look_blocked(const struct probe *p, struct ring *r);

/* The positive errno that a completion's status stands for; 0: none. */
int32_t block_status_errno(int32_t status);
