/*
 * Segments of the recorder's ring.  A check stands before every record, so checks are made right
 * first: what is tried is what the readers do with the payloads.  With an odd last
 * byte the segment is left as it came.  Quotes must be bytes of the segment.
 */
#include <stdlib.h>
#include <string.h>

#include "analyzer/collectives.h"
#include "analyzer/identity.h"
#include "analyzer/ingest/ring.h"
#include "bundle/cleanup.h"
#include "bundle/segment.h"
#include "fuzz/fuzz.h"
#include "patterns/detectors.h"

#define BUDGET ((size_t)64 << 20)

static struct pattern_set set;
static struct scanner scanner;
static struct store store;
static struct log *the_log;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct log_options opt = { 0 };
	struct error err = { 0 };

	(void)argc;
	(void)argv;
	if (pattern_set_init(&set, &err) || patterns_add_shipped(&set, &err) || pattern_set_seal(&set, &err) ||
	    scanner_init(&scanner, &set, &err) || log_open(&scanner, &store, &opt, &the_log, &err)) {
		error_print(stderr, &err);
		abort();
	}
	return 0;
}

/* Lengths that fit, and the checks of header and records. */
static void repair(uint8_t *data, size_t len)
{
	struct segment_head head;
	struct record_head h;

	memcpy(&head, data, sizeof(head));
	memcpy(head.magic, SEGMENT_MAGIC, sizeof(head.magic));
	head.version = SEGMENT_VERSION;
	head.head_bytes = SEGMENT_HEAD_BYTES;
	head.stream %= STREAM_COUNT;
	head.segment_bytes = (uint32_t)len;
	head.nonce |= 1;
	head.crc = segment_head_crc(&head);
	memcpy(data, &head, sizeof(head));
	for (size_t pos = sizeof(head); len - pos >= sizeof(h); pos += record_span(h.commit & ~RECORD_COMMITTED)) {
		uint32_t bytes;

		memcpy(&h, data + pos, sizeof(h));
		bytes = h.commit & 0xfff;
		if (record_span(bytes) > len - pos)
			return;
		h.commit = RECORD_COMMITTED | bytes;
		h.stream = head.stream;
		h.crc = record_crc(head.nonce, &h, data + pos + sizeof(h));
		memcpy(data + pos, &h, sizeof(h));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ uint8_t *copy = malloc(size ? size : 1);
	struct error err = { 0 };
	int ret;

	CHECK(copy && store_init(&store, BUDGET, &err) == 0);
	CHECK(store_member(&store, "ring/bpf-00.tcr", NULL, &err) == 0);
	store.members[0].kind = "ring";
	if (size)
		memcpy(copy, data, size);
	if (size >= SEGMENT_HEAD_BYTES && !(data[size - 1] & 1))
		repair(copy, size);
	ret = ring_take(&store, &set, 0, copy, size, &err);
	check_error(ret < 0 ? -1 : 0, &err, size);
	if (ret > 0)
		CHECK(ring_scan(&store, 0, copy, size, the_log, &err) == 0);
	if (ret >= 0)
		CHECK(ring_settle(&store, &set, &err) == 0);
	ring_free(&store);
	identity_seal(&store);
	CHECK(collectives_join(&store, &err) == 0);
	ring_relabel(&store);
	check_store(&store);
	check_quotes(&store, 0, copy, size);
	collectives_free(&store);
	store_deinit(&store);
	return 0;
}
