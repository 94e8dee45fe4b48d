/*
 * The streams: plain, compressed and archived.  Properties: only an archive has
 * names; a member that ended stays ended; what comes out keeps to the limits; a
 * failure says what; and neither a name, a byte nor an error depends on the sizes
 * in which a member is read.  A plain stream is its input.
 *
 * Few mutants of a tar have a right checksum, so that of every header is put right first.
 */
#include <stdlib.h>
#include <string.h>

#include "analyzer/intern.h"
#include "bundle/cleanup.h"
#include "bundle/stream.h"
#include "fuzz/fuzz.h"

#define OUT_FREE ((uint64_t)64 << 20)	/* stream.h: what any input may expand to */
#define OUT_RATIO 1000
#define TAR_BLOCK 512
#define READ_MAX ((size_t)256 << 10)

/* What a stream gave. */
struct course {
	uint64_t members, bytes, failed, skipped, hash;
	bool limited;		/* a limit is met between two reads: where depends on them */
	enum err end;
};

static void mend_checksums(uint8_t *p, size_t len)
{
	for (; len >= TAR_BLOCK; p += TAR_BLOCK, len -= TAR_BLOCK) {
		unsigned sum = 0;

		if (memcmp(p + 257, "ustar", 5))
			continue;
		memset(p + 148, ' ', 8);
		for (size_t i = 0; i < TAR_BLOCK; i++)
			sum += p[i];
		snprintf((char *)p + 148, 8, "%06o", sum);
	}
}

/* The sizes of the reads: as large as may be, or some of everything, by the input. */
static size_t next_size(uint64_t *seed)
{
	static const unsigned bits[] = { 4, 9, 13, 18 };

	if (!*seed)
		return READ_MAX;
	*seed = hash_bytes(seed, sizeof(*seed), 1) | 1;
	return 1 + (*seed >> 16) % (((size_t)1 << bits[*seed >> 8 & 3]) - 1);
}

static void read_member(struct stream *s, const uint8_t *plain, size_t len, uint64_t seed,
			struct course *c)
{
	static uint8_t buf[READ_MAX];
	struct error err = { 0 };
	uint64_t at = 0;
	ssize_t n;

	while ((n = stream_read(s, buf, next_size(&seed), &err)) > 0) {
		CHECK(!plain ||
		      (at + (uint64_t)n <= len && memcmp(plain + at, buf, (size_t)n) == 0));
		for (ssize_t i = 0; i < n; i++)
			c->hash = (c->hash ^ buf[i]) * 0x100000001b3u;
		at += (uint64_t)n;
	}
	c->bytes += at;
	c->failed += n < 0;
	c->limited |= err.code == ERR_LIMIT;
	check_error((int)n, &err, len);
	CHECK(n < 0 || (stream_read(s, buf, 1, &err) == 0 && (!plain || at == len)));
}

static struct course read_all(const uint8_t *data, size_t len, uint64_t seed)
{
	_cleanup_stream_ struct stream *s = NULL;
	bool wrapped = stream_wrapped(data, len);
	struct course c = { .hash = 0xcbf29ce484222325u };
	struct error err = { 0 };
	const char *name;
	int r;

	if (stream_open_memory(data, len, &s, &err)) {
		check_error(-1, &err, len);
		c.end = err.code;
		return c;
	}
	while ((r = stream_next(s, &name, &err)) > 0) {
		c.members++;
		CHECK(stream_is_archive(s) == (name != NULL) && (wrapped || !name));
		CHECK(name || c.members == 1);
		if (name)
			c.hash ^= hash_bytes(name, strlen(name), c.hash);
		read_member(s, wrapped ? NULL : data, len, seed, &c);
		CHECK(c.bytes <= OUT_FREE + READ_MAX ||
		      c.bytes / OUT_RATIO <= len + READ_MAX / OUT_RATIO);
	}
	check_error(r, &err, len);
	c.end = err.code;
	c.skipped = stream_skipped(s);
	return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ uint8_t *copy = malloc(size ? size : 1);
	struct course whole, parts;

	CHECK(copy);
	if (size)
		memcpy(copy, data, size);
	mend_checksums(copy, size);
	whole = read_all(copy, size, 0);
	parts = read_all(copy, size, hash_bytes(data, size, 1) | 1);
	CHECK(whole.members == parts.members && whole.skipped == parts.skipped &&
	      whole.end == parts.end);
	CHECK(whole.failed == parts.failed && whole.limited == parts.limited);
	CHECK(whole.limited || (whole.bytes == parts.bytes && whole.hash == parts.hash));
	return 0;
}
