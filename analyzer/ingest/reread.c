#include <fcntl.h>
#include <string.h>

#include "analyzer/ingest/intake.h"
#include "bundle/cleanup.h"

/* Bytes of a member, wanted again. */
struct reread {
	const char *member;
	uint64_t offset;
	void *buf;
	size_t len;
};

/* The member from the bytes `t` on; 1, or -1 with why. */
static int reread_bytes(const struct reread *want, struct tap *t, struct error *err)
{
	uint8_t block[65536];
	uint64_t at = 0;
	size_t have = 0, n;

	while (have < want->len && (n = tap_read(t, block, sizeof(block))) > 0) {
		for (size_t i = 0; i < n && have < want->len; i++)
			if (at + i >= want->offset)
				((uint8_t *)want->buf)[have++] = block[i];
		at += n;
	}
	return have == want->len ? 1 : error_set(err, ERR_FORMAT, "ends before the quoted bytes");
}

/* 1: read; 0: no such member; -1: error. */
static int reread_stream(const struct reread *want, struct stream *st, const char *outer, struct error *err)
{
	uint8_t head[DETECT_BYTES];
	const char *name;
	int r;

	while ((r = stream_next(st, &name, err)) > 0) {
		struct tap t = { .stream = st, .head = head };

		tap_peek(&t, head);
		if (name && !outer && stream_wrapped(head, t.head_len)) {	/* as read_nested() */
			_cleanup_stream_ struct stream *inner = NULL;
			struct error why = { 0 };
			size_t n = 0;
			_cleanup_free_ uint8_t *data = tap_slurp(&t, &n, &why);

			if (data && stream_open_memory(data, n, &inner, &why) == 0 &&
			    reread_stream(want, inner, name, &why) > 0)
				return 1;
			continue;
		}
		name = name ? name : outer;
		if (!want->member[0] || (name && strcmp(name, want->member) == 0))
			return reread_bytes(want, &t, err);
	}
	return r;
}

int ingest_reread(const char *input, const char *member, uint64_t offset, void *buf, size_t len, struct error *err)
{
	const struct reread want = { .member = member, .offset = offset, .buf = buf, .len = len };
	_cleanup_close_ int fd = open(input, O_RDONLY | O_CLOEXEC);
	_cleanup_stream_ struct stream *st = NULL;
	int r;

	if (fd < 0)
		return error_sys(err, "cannot open");
	if (stream_open_fd(fd, &st, err))
		return -1;
	r = reread_stream(&want, st, NULL, err);
	return r > 0 ? 0 : r < 0 ? -1 : error_set(err, ERR_FORMAT, "no such member: %s", member);
}
