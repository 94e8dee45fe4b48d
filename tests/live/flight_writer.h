/*
 * flight_writer - writes a flight-recorder dump as PyTorch 2.9/2.10 does: pickle
 * protocol 2, its opcodes, its key order, its memo rule for strings.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flight_entry {
	uint64_t record_id, seq, p2p_seq, op_id;
	const char *name;		/* "nccl:all_reduce" */
	int64_t created_ns, completed_ns;	/* realtime; 0: not completed */
	uint64_t elements;
	bool retired, is_p2p;
};

struct flight_dump {
	int rank, world_size;
	const struct flight_entry *entries;	/* oldest first */
	size_t n;
	uint64_t last_enqueued, last_completed;
	const char *function, *file;	/* of the one stack frame that all share */
	int line, timeout_ms;
};

/* Plainly written in place, not renamed, like the original.  0, or -1 with errno. */
int flight_write(const char *path, const struct flight_dump *d);
