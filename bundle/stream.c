#include "bundle/stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bundle/cleanup.h"

#define HEAD_BYTES 1024
#define BLOCK_BYTES ((size_t)128 << 10)
#define RATIO_FREE ((uint64_t)64 << 20)
#define RATIO_MAX 1000
#define MEMBERS_MAX 1000000

struct stream {
	int fd;				/* -1: memory */
	const uint8_t *data;
	size_t len, pos;
	uint8_t head[HEAD_BYTES];	/* first bytes of fd, served before the rest */
	size_t head_len, head_pos;
	uint8_t *block;
	struct archive *ar;		/* NULL: plain */
	bool archive;			/* a tar, not just a compressed file */
	bool begun;
	uint64_t out, members, skipped;
	int read_errno;
};

static ssize_t raw_read(struct stream *s, void *buf, size_t size)
{
	size_t n;
	ssize_t got;

	if (s->fd < 0) {
		n = s->len - s->pos < size ? s->len - s->pos : size;
		memcpy(buf, s->data + s->pos, n);
		s->pos += n;
		return (ssize_t)n;
	}
	if (s->head_pos < s->head_len) {
		n = s->head_len - s->head_pos < size ? s->head_len - s->head_pos : size;
		memcpy(buf, s->head + s->head_pos, n);
		s->head_pos += n;
		return (ssize_t)n;
	}
	do
		got = read(s->fd, buf, size);
	while (got < 0 && errno == EINTR);
	return got;
}

static la_ssize_t feed(struct archive *ar, void *ctx, const void **block)
{
	struct stream *s = ctx;
	ssize_t n = raw_read(s, s->block, BLOCK_BYTES);

	if (n < 0)
		archive_set_error(ar, errno, "cannot read");
	*block = s->block;
	return n;
}

bool stream_wrapped(const void *head, size_t len)
{
	const uint8_t *h = head;

	return (len >= 3 && h[0] == 0x1f && h[1] == 0x8b && h[2] == 8) ||
	       (len >= 4 && memcmp(h, "\x28\xb5\x2f\xfd", 4) == 0) ||
	       (len >= 4 && (h[0] & 0xf0) == 0x50 && memcmp(h + 1, "\x2a\x4d\x18", 3) == 0) ||
	       (len >= 262 && memcmp(h + 257, "ustar", 5) == 0);
}

static int open_archive(struct stream *s, struct error *err)
{
	s->block = malloc(BLOCK_BYTES);
	s->ar = archive_read_new();
	if (!s->block || !s->ar)
		return error_set(err, ERR_NOMEM, "no memory");
	archive_read_support_filter_gzip(s->ar);
	archive_read_support_filter_zstd(s->ar);
	archive_read_support_format_tar(s->ar);
	archive_read_support_format_raw(s->ar);
	archive_read_support_format_empty(s->ar);
	if (archive_read_open(s->ar, s, NULL, feed, NULL) != ARCHIVE_OK)
		return error_set(err, ERR_FORMAT, "%s", archive_error_string(s->ar));
	return 0;
}

static int open_common(struct stream *s, const void *head, size_t len, struct error *err)
{
	return stream_wrapped(head, len) ? open_archive(s, err) : 0;
}

int stream_open_fd(int fd, struct stream **ret, struct error *err)
{
	_cleanup_stream_ struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return error_set(err, ERR_NOMEM, "no memory");
	s->fd = fd;
	while (s->head_len < HEAD_BYTES) {
		ssize_t n = read(fd, s->head + s->head_len, HEAD_BYTES - s->head_len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, "cannot read");
		if (n == 0)
			break;
		s->head_len += (size_t)n;
	}
	if (open_common(s, s->head, s->head_len, err))
		return -1;
	*ret = take(s);
	return 0;
}

int stream_open_memory(const void *data, size_t len, struct stream **ret, struct error *err)
{
	_cleanup_stream_ struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return error_set(err, ERR_NOMEM, "no memory");
	s->fd = -1;
	s->data = data;
	s->len = len;
	if (open_common(s, data, len, err))
		return -1;
	*ret = take(s);
	return 0;
}

void stream_close(struct stream *s)
{
	if (!s)
		return;
	archive_read_free(s->ar);
	free(s->block);
	free(s);
}

int stream_next(struct stream *s, const char **name_ret, struct error *err)
{
	struct archive_entry *e;
	int r;

	*name_ret = NULL;
	if (!s->ar || (s->begun && !s->archive))
		return s->begun ? 0 : (s->begun = true, 1);
	for (;;) {
		if (s->members++ >= MEMBERS_MAX)
			return error_set(err, ERR_LIMIT, "more than %d members", MEMBERS_MAX);
		r = archive_read_next_header(s->ar, &e);
		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return error_set(err, ERR_FORMAT, "%s", archive_error_string(s->ar));
		s->begun = true;
		s->archive = archive_format(s->ar) != ARCHIVE_FORMAT_RAW;
		if (!s->archive)
			return 1;
		if (archive_entry_filetype(e) == AE_IFREG && !archive_entry_hardlink(e)) {
			*name_ret = archive_entry_pathname(e) ? archive_entry_pathname(e) : "?";
			return 1;
		}
		s->skipped += archive_entry_filetype(e) != AE_IFDIR;
	}
}

static ssize_t archive_bytes(struct stream *s, void *buf, size_t size, struct error *err)
{
	la_ssize_t n = archive_read_data(s->ar, buf, size);
	uint64_t in;

	if (n < 0)
		return error_set(err, ERR_FORMAT, "%s", archive_error_string(s->ar) ?
				 archive_error_string(s->ar) : "damaged");
	s->out += (uint64_t)n;
	in = (uint64_t)archive_filter_bytes(s->ar, -1);
	if (s->out > RATIO_FREE && s->out / RATIO_MAX > in)
		return error_at(err, ERR_LIMIT, in, "expands more than %d to 1", RATIO_MAX);
	return n;
}

ssize_t stream_read(struct stream *s, void *buf, size_t size, struct error *err)
{
	ssize_t n;

	if (s->ar)
		return archive_bytes(s, buf, size, err);
	n = raw_read(s, buf, size);
	return n < 0 ? error_sys(err, "cannot read") : n;
}

bool stream_is_archive(const struct stream *s) { return s->archive; }
uint64_t stream_skipped(const struct stream *s) { return s->skipped; }
