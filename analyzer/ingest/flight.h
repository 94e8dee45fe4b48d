/*
 * flight - one PyTorch flight-recorder dump, folded into columns.
 *
 * Reads pickles (protocols 0-5) and JSON of every schema from the bare list of
 * 2023 to 2.10.  The dump owns one arena-like buffer set that is reused: reading
 * the next dump drops the last.  Strings of `struct flight_entry` point into the
 * dump's bytes, which the caller keeps until the dump is joined.
 *
 * Field meanings are those of torch/csrc/distributed/c10d/FlightRecorder.
 */
#pragma once
#include "analyzer/arena.h"
#include "analyzer/value.h"

#define FLIGHT_OP_TEXT 160

struct flight_text {
	const char *s;		/* not NUL-terminated */
	uint32_t len;
};

enum flight_state { FLIGHT_SCHEDULED, FLIGHT_STARTED, FLIGHT_COMPLETED };

struct flight_entry {
	int64_t record_id, pg_id;	/* -1: absent */
	int64_t seq, p2p_seq;		/* -1: absent; 0 is "not that kind" */
	int64_t created_ns, started_ns, completed_ns, timeout_ms;	/* 0: absent */
	struct flight_text op;		/* "all_reduce", without "nccl:" */
	struct flight_text group, desc;	/* process_group, since 2.0 */
	uint64_t signature;		/* hash of what all members must agree on */
	uint64_t in_numel, out_numel;	/* elements, all tensors */
	uint64_t start, end;		/* bytes of the dump */
	int32_t peer;			/* send / recv: group-local rank of the other side; -1 */
	uint8_t state;			/* enum flight_state */
	bool retired, is_p2p, is_send, closing;	/* closing: the end of a coalesced group */
	char shape[64];			/* "[4096, 1, 4096] BFloat16"; unfinished ones only */
};

struct flight_group {
	struct flight_text name, desc;
	int32_t *ranks;			/* sorted; NULL: unknown */
	uint32_t n_ranks;
};

struct flight_status {
	int64_t pg_id;
	int64_t enqueued, completed;	/* -1: none */
};

struct flight_dump {
	struct flight_text version;	/* len 0: before versions */
	int major, minor;
	struct flight_entry *entries;
	size_t n_entries, cap_entries;
	struct flight_group *groups;	/* pg_config */
	size_t n_groups;
	struct flight_status *status;	/* pg_status */
	size_t n_status;
	bool has_status, whole;		/* whole: read to its end */
	/* private: reused from dump to dump */
	struct scratch scratch;
	struct value_stack stack;
	const char *data;
	size_t data_bytes;
	uint64_t work_left;	/* values that may still be looked at */
	struct flight_key {
		const char *s;
		uint32_t len;
		uint8_t field;
	} key_at[64];			/* the key at this place of the last entry */
	struct arena *arena;
};

/* `scratch_bytes` of address space are reserved, and used as far as a dump needs them. */
#define FLIGHT_SCRATCH_BYTES ((size_t)1 << 30)
int flight_dump_init(struct flight_dump *d, size_t scratch_bytes, struct error *err);
void flight_dump_deinit(struct flight_dump *d);

/*
 * Read one dump.  0: whole.  -1: `err` says what and at which byte is wrong; what
 * stands before it is in `d` all the same (n_entries may be 0).
 */
int flight_read(struct flight_dump *d, const void *data, size_t len, struct error *err);

/* Does this look like a dump?  Pickle magic, or JSON with a dump's keys near its start. */
bool flight_sniff_pickle(const uint8_t *data, size_t len);
bool flight_sniff_json(const uint8_t *data, size_t len);
