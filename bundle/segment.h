/*
 * segment - the ring's file format, and its reader.
 *
 * A ring is a directory; each stream owns a fixed set of segment files
 * "<stream>-NN.tcr" of one size.  A segment is a header of SEGMENT_HEAD_BYTES and
 * then records, each aligned to 8 bytes, appended until the next one does not fit.
 * Segments are recycled whole: the header gets a new nonce, and since every
 * record's CRC covers nonce and header, nothing that stood there before, and no
 * payload that looks like a record, is ever taken for one.
 *
 * Writer's order: the commit word of the *next* slot is zeroed, the record is
 * written, its commit word is stored last with release order.  So a reader that
 * meets a zero commit word is at the clean end, whenever the writer died.  A
 * segment is begun likewise: its magic is zeroed (that is: never begun), the
 * rest is written, the magic is stored last.
 *
 * Reading hops from record to record by their lengths, never scans a payload,
 * and accepts a record only when its CRC holds and its sequence number rises.
 * A bundle carries the same files (ring/<stream>-NN.tcr).  FORMAT.md has the
 * bytes; all integers are little-endian.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bundle/error.h"

#define SEGMENT_MAGIC "TCRSEG\r\n"
#define SEGMENT_VERSION 1
#define SEGMENT_HEAD_BYTES 256
#define RECORD_BYTES_MAX (240u << 10)	/* payload; fits the smallest segment */

/* X(id, "name", default share of the ring in percent): a noisy stream cannot push out a rare one. */
#define STREAMS(X) \
	X(KERNEL, "kernel", 6) \
	X(BPF, "bpf", 12) \
	X(GPU, "gpu", 12) \
	X(HOST, "host", 6) \
	X(PROC, "proc", 14) \
	X(NCCL, "nccl", 25) \
	X(LOGS, "logs", 25)

enum stream_id {
#define X(id, name, percent) STREAM_##id,
	STREAMS(X)
#undef X
	STREAM_COUNT
};
const char *stream_name(enum stream_id s);

/* The same moment on three clocks. */
struct clock_triple {
	int64_t realtime_ns, monotonic_ns, boottime_ns;
};
struct clock_triple clock_now(void);

struct segment_head {
	char magic[8];
	uint16_t version;
	uint16_t head_bytes;
	uint8_t stream;			/* enum stream_id */
	uint8_t reserved8;
	uint16_t index;			/* NN of the file name */
	uint32_t segment_bytes;		/* of the whole file */
	uint32_t writer_pid;
	uint8_t boot_id[16];
	struct clock_triple clock;	/* when the segment was begun */
	uint64_t first_seq;		/* of its first record */
	uint64_t lost;			/* records of the stream lost before it, since the ring was made */
	uint64_t nonce;			/* random */
	char host[64];			/* NUL-padded */
	uint8_t reserved[96];
	uint32_t reserved32;
	uint32_t crc;			/* CRC-32C of everything above */
};
_Static_assert(sizeof(struct segment_head) == SEGMENT_HEAD_BYTES, "file format");

#define RECORD_COMMITTED 0x80000000u

struct record_head {
	uint32_t commit;	/* RECORD_COMMITTED | payload bytes; stored last */
	uint32_t crc;		/* CRC-32C over nonce, this header from `seq` on, `commit`, payload */
	uint64_t seq;		/* per stream, rises by one; a gap is a loss */
	int64_t monotonic_ns;
	uint16_t kind;		/* enum record_kind, bundle/records.h */
	uint8_t stream;
	uint8_t reserved8;
	uint32_t reserved32;
};
_Static_assert(sizeof(struct record_head) == 32, "file format");

/* Bytes that a record of `payload` bytes takes in a segment. */
static inline uint32_t record_span(uint32_t payload_bytes)
{
	return (uint32_t)sizeof(struct record_head) + ((payload_bytes + 7u) & ~7u);
}

uint32_t record_crc(uint64_t nonce, const struct record_head *h, const void *payload);
uint32_t segment_head_crc(const struct segment_head *h);

/* ---- reading ---- */

struct record {
	uint64_t seq;
	int64_t monotonic_ns;
	uint16_t kind;
	uint32_t bytes;
	const uint8_t *payload;		/* in the caller's buffer */
	uint64_t offset;		/* of the payload, from the segment's first byte */
};

struct segment_reader {
	struct segment_head head;
	const uint8_t *data;
	size_t len, pos;
	uint64_t next_seq;		/* lowest that is accepted next */
	uint64_t damaged;		/* records skipped because their CRC or order was wrong */
	uint64_t gaps;			/* sequence numbers missing inside the segment */
	uint64_t damaged_at;		/* offset of the first damaged record */
	bool cut;			/* the bytes end before the segment does; so they do in a bundle, behind the last record */
};

/*
 * Read the segment in `data`, which outlives the reader.  0; 1: valid but never
 * begun (nothing in it); -1: not a segment, its header is damaged
 * (ERR_FORMAT), or its version is not ours (ERR_UNSUPPORTED).
 */
int segment_open(struct segment_reader *r, const void *data, size_t len, struct error *err);
/* 1: *ret is the next record; 0: no more. */
int segment_next(struct segment_reader *r, struct record *ret);

/* CLOCK_REALTIME of a record, by the clock of its segment's head. */
static inline int64_t segment_realtime(const struct segment_head *h, int64_t monotonic_ns)
{
	return h->clock.realtime_ns + (monotonic_ns - h->clock.monotonic_ns);
}
