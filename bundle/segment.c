#include "bundle/segment.h"

#include <string.h>
#include <time.h>

#include "bundle/crc32c.h"

const char *stream_name(enum stream_id s)
{
	static const char *const names[] = {
#define X(id, name, percent) [STREAM_##id] = name,
		STREAMS(X)
#undef X
	};

	return s < STREAM_COUNT ? names[s] : "unknown";
}

static int64_t read_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct clock_triple clock_now(void)
{
	return (struct clock_triple){
		.realtime_ns = read_clock(CLOCK_REALTIME),
		.monotonic_ns = read_clock(CLOCK_MONOTONIC),
		.boottime_ns = read_clock(CLOCK_BOOTTIME),
	};
}

uint32_t segment_head_crc(const struct segment_head *h)
{
	return crc32c(0, h, offsetof(struct segment_head, crc));
}

uint32_t record_crc(uint64_t nonce, const struct record_head *h, const void *payload)
{
	uint32_t crc = crc32c(0, &nonce, sizeof(nonce));

	crc = crc32c(crc, &h->seq, sizeof(*h) - offsetof(struct record_head, seq));
	crc = crc32c(crc, &h->commit, sizeof(h->commit));
	return crc32c(crc, payload, h->commit & ~RECORD_COMMITTED);
}

/* ---- reading ---- */

static int check_head(const struct segment_head *h, struct error *err)
{
	if (memcmp(h->magic, SEGMENT_MAGIC, sizeof(h->magic)))
		return error_at(err, ERR_FORMAT, 0, "not a ring segment");
	if (h->version != SEGMENT_VERSION)
		return error_at(err, ERR_UNSUPPORTED, offsetof(struct segment_head, version),
				"ring segment of version %u, this program reads %d", h->version, SEGMENT_VERSION);
	if (h->crc != segment_head_crc(h))
		return error_at(err, ERR_FORMAT, offsetof(struct segment_head, crc), "the segment's header is damaged");
	if (h->head_bytes != SEGMENT_HEAD_BYTES || h->stream >= STREAM_COUNT || h->segment_bytes < SEGMENT_HEAD_BYTES)
		return error_at(err, ERR_FORMAT, 0, "the segment's header makes no sense");
	return 0;
}

int segment_open(struct segment_reader *r, const void *data, size_t len, struct error *err)
{
	static const char never_begun[sizeof(r->head.magic)];

	*r = (struct segment_reader){ .data = data, .len = len };
	if (len < SEGMENT_HEAD_BYTES)
		return error_at(err, ERR_FORMAT, len, "a ring segment needs %d bytes of header, has %zu", SEGMENT_HEAD_BYTES, len);
	memcpy(&r->head, data, sizeof(r->head));
	if (memcmp(r->head.magic, never_begun, sizeof(never_begun)) == 0)
		return 1;
	if (check_head(&r->head, err))
		return -1;
	if (r->len > r->head.segment_bytes)
		r->len = r->head.segment_bytes;
	r->cut = r->len < r->head.segment_bytes;
	r->pos = SEGMENT_HEAD_BYTES;
	r->next_seq = r->head.first_seq;
	return 0;
}

static void count_damage(struct segment_reader *r, size_t at)
{
	if (r->damaged++ == 0)
		r->damaged_at = at;
}

/* A zero commit word is the clean end. */
static bool head_at(struct segment_reader *r, struct record_head *ret)
{
	if (r->len - r->pos < sizeof(*ret))
		return false;
	memcpy(ret, r->data + r->pos, sizeof(*ret));
	if (ret->commit && !(ret->commit & RECORD_COMMITTED)) {
		count_damage(r, r->pos);
		r->len = r->pos;
		return false;
	}
	return ret->commit;
}

int segment_next(struct segment_reader *r, struct record *ret)
{
	struct record_head h;

	while (head_at(r, &h)) {
		size_t at = r->pos;
		uint32_t bytes = h.commit & ~RECORD_COMMITTED;
		const uint8_t *payload = r->data + at + sizeof(h);

		if (bytes > RECORD_BYTES_MAX || record_span(bytes) > r->len - at) {
			if (!(r->cut && bytes <= RECORD_BYTES_MAX))	/* a cut is no damage of its own */
				count_damage(r, at);
			r->len = r->pos;
			return 0;
		}
		r->pos += record_span(bytes);
		if (h.stream != r->head.stream || h.seq < r->next_seq || h.crc != record_crc(r->head.nonce, &h, payload)) {
			count_damage(r, at);
			continue;
		}
		r->gaps += h.seq - r->next_seq;
		r->next_seq = h.seq + 1;
		*ret = (struct record){ .seq = h.seq, .monotonic_ns = h.monotonic_ns, .kind = h.kind, .bytes = bytes,
					.payload = payload, .offset = at + sizeof(h) };
		return 1;
	}
	return 0;
}
