#include <stdlib.h>
#include <string.h>

#include "analyzer/ingest/intake.h"
#include "bundle/cleanup.h"

#define NESTED_MAX ((size_t)256 << 20)	/* of a compressed file inside an archive */

size_t tap_read(struct tap *t, uint8_t *buf, size_t size)
{
	ssize_t n;

	if (t->head_pos < t->head_len) {
		n = (ssize_t)(t->head_len - t->head_pos < size ? t->head_len - t->head_pos : size);
		memcpy(buf, t->head + t->head_pos, (size_t)n);
		t->head_pos += (size_t)n;
	} else {
		n = t->err.code ? 0 : stream_read(t->stream, buf, size, &t->err);
	}
	if (n <= 0)
		return 0;
	digest_add(t->digest, buf, (size_t)n);
	t->bytes += (uint64_t)n;
	return (size_t)n;
}

/* The first bytes of the member, for a look at what it is; they are read again. */
void tap_peek(struct tap *t, uint8_t head[DETECT_BYTES])
{
	ssize_t n;

	while (t->head_len < DETECT_BYTES &&
	       (n = stream_read(t->stream, head + t->head_len, DETECT_BYTES - t->head_len, &t->err)) > 0)
		t->head_len += (size_t)n;
}

/* The bytes of a compressed member; NULL: too many. */
uint8_t *tap_slurp(struct tap *t, size_t *n_ret, struct error *why)
{
	_cleanup_free_ uint8_t *data = NULL;
	size_t n = 0, cap = 0, got;

	do {
		if (n == cap) {
			uint8_t *p = cap < NESTED_MAX ? realloc(data, cap = cap ? cap * 2 : 1 << 20) : NULL;

			if (!p) {
				error_set(why, ERR_LIMIT, "a compressed member larger than %zu MiB", NESTED_MAX >> 20);
				return NULL;
			}
			data = p;
		}
		got = tap_read(t, data + n, cap - n);
		n += got;
	} while (got);
	*n_ret = n;
	return take(data);
}
