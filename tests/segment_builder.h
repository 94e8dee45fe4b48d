/*
 * segment_builder - segments of the ring, written for tests by what bundle/segment.h says and nothing else.
 *
 * The host "node07" booted at 2026-03-14T02:00:00Z; times are seconds since then.
 */
#pragma once
#include <stdlib.h>
#include <string.h>

#include "bundle/records.h"
#include "bundle/segment.h"

#define BUILDER_BYTES (256u << 10)
#define BUILDER_BOOT_NS (INT64_C(1773453600) * 1000000000)

struct segment_builder {
	uint8_t bytes[BUILDER_BYTES];
	size_t len;
	struct segment_head head;
	uint64_t seq;
};

static uint32_t builder_crc(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	crc = ~crc;
	while (len--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static void builder_begin(struct segment_builder *b, enum stream_id stream, const char *host, uint64_t first_seq)
{
	memset(b, 0, sizeof(*b));
	b->seq = first_seq;
	b->head = (struct segment_head){
		.version = SEGMENT_VERSION, .head_bytes = SEGMENT_HEAD_BYTES, .stream = (uint8_t)stream,
		.segment_bytes = BUILDER_BYTES, .writer_pid = 77, .boot_id = { 1, 2, 3 },
		.clock = { BUILDER_BOOT_NS, 0, 0 }, .first_seq = first_seq, .nonce = 0x1122334455667788 + first_seq,
	};
	memcpy(b->head.magic, SEGMENT_MAGIC, sizeof(b->head.magic));
	memcpy(b->head.host, host, strlen(host));
	b->head.crc = builder_crc(0, &b->head, SEGMENT_HEAD_BYTES - sizeof(b->head.crc));
	memcpy(b->bytes, &b->head, sizeof(b->head));
	b->len = SEGMENT_HEAD_BYTES;
}

/* A fixed struct, then a text (NULL: none), `seconds` after the boot. */
static void builder_put(struct segment_builder *b, double seconds, uint16_t kind, const void *fixed, size_t fixed_bytes,
			const char *text)
{
	size_t text_bytes = text ? strlen(text) : 0;
	struct record_head h = {
		.commit = RECORD_COMMITTED | (uint32_t)(fixed_bytes + text_bytes), .seq = b->seq++,
		.monotonic_ns = (int64_t)(seconds * 1e9), .kind = kind, .stream = b->head.stream,
	};
	uint8_t *payload = b->bytes + b->len + sizeof(h);

	if (b->len + record_span((uint32_t)(fixed_bytes + text_bytes)) > BUILDER_BYTES)
		abort();
	if (fixed_bytes)
		memcpy(payload, fixed, fixed_bytes);
	if (text_bytes)
		memcpy(payload + fixed_bytes, text, text_bytes);
	h.crc = builder_crc(0, &b->head.nonce, sizeof(b->head.nonce));
	h.crc = builder_crc(h.crc, &h.seq, sizeof(h) - offsetof(struct record_head, seq));
	h.crc = builder_crc(h.crc, &h.commit, sizeof(h.commit));
	h.crc = builder_crc(h.crc, payload, fixed_bytes + text_bytes);
	memcpy(b->bytes + b->len, &h, sizeof(h));
	b->len += record_span((uint32_t)(fixed_bytes + text_bytes));
}

#define BUILDER_PUT(b, seconds, kind, ...) \
	builder_put((b), (seconds), (kind), &(__VA_ARGS__), sizeof(__VA_ARGS__), NULL)
