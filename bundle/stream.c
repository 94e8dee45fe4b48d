#include "bundle/stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "bundle/cleanup.h"
#include "bundle/frames.h"

#define HEAD_BYTES 1024
#define BLOCK_BYTES ((size_t)128 << 10)
#define RATIO_FREE ((uint64_t)64 << 20)
#define RATIO_MAX 1000
#define MEMBERS_MAX 1000000
#define WINDOW_LOG_MAX 27		/* 128 MiB: what zstd itself takes without being asked */
#define BLOCK_HEADER 3			/* of a zstd block */

enum wrapping { PLAIN, GZIP, ZSTD };

struct stream {
	int fd;				/* -1: memory */
	const uint8_t *data;
	size_t len, pos;
	uint8_t head[HEAD_BYTES];	/* first bytes of fd, served before the rest */
	size_t head_len, head_pos;
	uint64_t raw, until;		/* bytes read of fd, and how many there were at first; UINT64_MAX: not known */
	struct frames *frames;		/* decoded ahead, by threads; NULL: the decoder below */
	const uint8_t *frame;		/* what is left of the one that was handed out */
	size_t frame_len;
	uint64_t base;			/* offset in fd of the input's first byte */
	/* unwrapping: input block -> decoder -> bytes */
	enum wrapping wrapping;
	z_stream gz;
	ZSTD_DStream *zstd;
	uint8_t *in;
	size_t in_len, in_pos;
	bool in_frame;			/* a frame is open: the end of the input cuts it */
	bool more;			/* the decoder had more to give than there was room for */
	size_t zstd_next;		/* input that zstd wants next */
	struct error late;		/* damage met behind bytes that were still good */
	uint64_t read, out;
	/* decoded bytes looked at before anybody asked for them */
	uint8_t peek[HEAD_BYTES];
	size_t peek_len, peek_pos;
	uint8_t *block;
	struct archive *ar;		/* a tar; NULL: the decoded bytes are the one member */
	const uint8_t *piece;		/* of the open member, where libarchive has it */
	size_t piece_len;
	uint64_t piece_at, at;		/* its place in the member, and how far that was read */
	uint64_t given;			/* bytes of all members */
	struct error member_late;	/* as `late` */
	bool begun;
	uint64_t members, skipped;
};

static ssize_t raw_read(struct stream *s, void *buf, size_t size)
{
	size_t n;
	ssize_t got;

	if (s->fd < 0) {
		n = s->len - s->pos < size ? s->len - s->pos : size;
		memcpy(buf, s->data + s->pos, n);
		s->pos += n;
		s->read += n;
		return (ssize_t)n;
	}
	if (s->head_pos < s->head_len) {
		n = s->head_len - s->head_pos < size ? s->head_len - s->head_pos : size;
		memcpy(buf, s->head + s->head_pos, n);
		s->head_pos += n;
		s->read += n;
		return (ssize_t)n;
	}
	/* A file that grows is read as long as it was when it was opened; a signal ends the reading. */
	n = s->until - s->raw < size ? (size_t)(s->until - s->raw) : size;
	got = n ? read(s->fd, buf, n) : 0;
	s->raw += got > 0 ? (uint64_t)got : 0;
	s->read += got > 0 ? (uint64_t)got : 0;
	return got;
}

/* Bytes of the input that were used. */
static uint64_t consumed(const struct stream *s) { return s->read - (s->in_len - s->in_pos); }

/* More compressed bytes into s->in; 0 at the end of the input. */
static ssize_t refill(struct stream *s, struct error *err)
{
	ssize_t n = raw_read(s, s->in, BLOCK_BYTES);

	if (n < 0)
		return error_sys(err, "cannot read");
	s->in_pos = 0;
	s->in_len = (size_t)n;
	return n;
}

/* One step of inflate: bytes made, which are good even when it fails. */
static size_t step_gzip(struct stream *s, uint8_t *buf, size_t size, struct error *err)
{
	int rc;

	s->gz.next_in = s->in + s->in_pos;
	s->gz.avail_in = (unsigned)(s->in_len - s->in_pos);
	s->gz.next_out = buf;
	s->gz.avail_out = (unsigned)size;
	if (!s->in_frame && inflateReset(&s->gz) != Z_OK)	/* gzip files may follow each other */
		return error_set(err, ERR_NOMEM, "no memory"), 0;
	s->in_frame = true;
	rc = inflate(&s->gz, Z_NO_FLUSH);
	s->in_pos = s->in_len - s->gz.avail_in;
	s->more = s->gz.avail_out == 0 && rc == Z_OK;
	if (rc == Z_STREAM_END)
		s->in_frame = false;
	else if (rc != Z_OK && rc != Z_BUF_ERROR)
		error_at(err, ERR_FORMAT, consumed(s), "damaged gzip data");
	return size - s->gz.avail_out;
}

/*
 * The same for zstd, which forgets what it made in the call that fails.  So it gets
 * one block at a time, without the header of the next (which it wants as well), and
 * nothing while it has output left: then a call that makes bytes cannot fail.
 */
static size_t step_zstd(struct stream *s, uint8_t *buf, size_t size, struct error *err)
{
	size_t left = s->in_len - s->in_pos;
	size_t most = s->more ? 0 : s->zstd_next > BLOCK_HEADER ? s->zstd_next - BLOCK_HEADER : s->zstd_next;
	ZSTD_inBuffer in = { s->in, s->in_pos + (most < left ? most : left), s->in_pos };
	ZSTD_outBuffer out = { buf, size, 0 };
	size_t rc = ZSTD_decompressStream(s->zstd, &out, &in);

	s->in_pos = in.pos;
	if (ZSTD_isError(rc))
		return error_at(err, ERR_FORMAT, consumed(s), "damaged zstd data: %s",
				ZSTD_getErrorName(rc)), 0;
	s->in_frame = rc != 0;
	s->zstd_next = rc ? rc : 1;
	s->more = rc && out.pos == size;
	return out.pos;
}

/*
 * Is there something of a frame that was decoded ahead?  Behind the last of them,
 * which is where the data ends or where it is damaged, the decoder here goes on.
 */
static bool have_frame(struct stream *s)
{
	if (s->frame_len || !s->frames || s->late.code)
		return s->frame_len > 0;
	s->frame = frames_next(s->frames, &s->frame_len);
	s->raw = s->read = frames_offset(s->frames) - s->base;
	s->out += s->frame_len;
	if (s->out > RATIO_FREE && s->out / RATIO_MAX > s->read) {
		s->frame_len = 0;
		error_at(&s->late, ERR_LIMIT, s->read, "expands more than %d to 1", RATIO_MAX);
	}
	if (s->frame)
		return s->frame_len > 0;
	frames_close(take(s->frames));
	s->head_pos = s->head_len;
	if (lseek(s->fd, (off_t)(s->base + s->raw), SEEK_SET) < 0)
		error_sys(&s->late, "cannot read");
	return false;
}

/* Decoded bytes; what was good before damage is handed out first. */
static ssize_t decode(struct stream *s, uint8_t *buf, size_t size, struct error *err)
{
	size_t n = 0;

	if (have_frame(s)) {
		n = s->frame_len < size ? s->frame_len : size;
		memcpy(buf, s->frame, n);
		s->frame += n;
		s->frame_len -= n;
		return (ssize_t)n;
	}

	if (s->wrapping == PLAIN) {
		ssize_t got = raw_read(s, buf, size);

		return got < 0 ? error_sys(err, "cannot read") : got;
	}
	while (n < size && !s->late.code) {
		bool hungry = s->in_pos == s->in_len && !s->more;
		ssize_t got = hungry ? refill(s, &s->late) : 1;
		size_t made;

		if (got == 0 && s->in_frame)
			error_at(&s->late, ERR_FORMAT, s->read, "the compressed data is cut");
		if (got <= 0)
			break;
		made = s->wrapping == GZIP ? step_gzip(s, buf + n, size - n, &s->late) :
		       step_zstd(s, buf + n, size - n, &s->late);
		n += made;
		s->out += made;
		if (s->out > RATIO_FREE && s->out / RATIO_MAX > consumed(s))
			error_at(&s->late, ERR_LIMIT, consumed(s), "expands more than %d to 1", RATIO_MAX);
	}
	if (n || !s->late.code)
		return (ssize_t)n;
	*err = s->late;
	return -1;
}

/* Decoded bytes, those that were peeked at first. */
static ssize_t unwrap(struct stream *s, void *buf, size_t size, struct error *err)
{
	size_t n = s->peek_len - s->peek_pos;

	if (n == 0)
		return decode(s, buf, size, err);
	n = n < size ? n : size;
	memcpy(buf, s->peek + s->peek_pos, n);
	s->peek_pos += n;
	return (ssize_t)n;
}

static la_ssize_t feed(struct archive *ar, void *ctx, const void **block)
{
	struct stream *s = ctx;
	struct error err = { 0 };
	ssize_t n;

	if (s->peek_pos == s->peek_len && have_frame(s)) {	/* as it is, all of it */
		*block = s->frame;
		n = (ssize_t)s->frame_len;
		s->frame_len = 0;
		return n;
	}
	n = unwrap(s, s->block, BLOCK_BYTES, &err);
	if (n < 0)
		archive_set_error(ar, EIO, "%s", err.what);
	*block = s->block;
	return n;
}

static enum wrapping wrapping_of(const uint8_t *h, size_t len)
{
	if (len >= 3 && h[0] == 0x1f && h[1] == 0x8b && h[2] == 8)
		return GZIP;
	/* a frame, or a skippable one in front */
	if (len >= 4 && (memcmp(h, "\x28\xb5\x2f\xfd", 4) == 0 ||
			 ((h[0] & 0xf0) == 0x50 && memcmp(h + 1, "\x2a\x4d\x18", 3) == 0)))
		return ZSTD;
	return PLAIN;
}

static bool is_tar(const uint8_t *h, size_t len) { return len >= 262 && memcmp(h + 257, "ustar", 5) == 0; }

bool stream_wrapped(const void *head, size_t len) { return wrapping_of(head, len) != PLAIN || is_tar(head, len); }

static int open_decoder(struct stream *s, struct error *err)
{
	s->in = malloc(BLOCK_BYTES);
	s->zstd_next = 1;
	if (s->wrapping == GZIP && inflateInit2(&s->gz, 31) != Z_OK)
		s->wrapping = PLAIN;
	if (s->wrapping == ZSTD) {
		s->zstd = ZSTD_createDStream();
		if (s->zstd)
			ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	}
	if (!s->in || s->wrapping == PLAIN || (s->wrapping == ZSTD && !s->zstd))
		return error_set(err, ERR_NOMEM, "no memory");
	return 0;
}

static int open_tar(struct stream *s, struct error *err)
{
	s->block = malloc(BLOCK_BYTES);
	s->ar = archive_read_new();
	if (!s->block || !s->ar)
		return error_set(err, ERR_NOMEM, "no memory");
	archive_read_support_format_tar(s->ar);
	if (archive_read_open(s->ar, s, NULL, feed, NULL) != ARCHIVE_OK)
		return error_set(err, ERR_FORMAT, "%s", archive_error_string(s->ar));
	return 0;
}

static int open_common(struct stream *s, const void *head, size_t len, struct error *err)
{
	ssize_t n;

	s->wrapping = wrapping_of(head, len);
	if (s->wrapping == ZSTD && s->fd >= 0 && s->until < UINT64_MAX)
		s->frames = frames_open(s->fd, s->base, s->base + s->until);
	if (s->wrapping != PLAIN && open_decoder(s, err))
		return -1;
	while (s->peek_len < sizeof(s->peek) &&
	       (n = decode(s, s->peek + s->peek_len, sizeof(s->peek) - s->peek_len, err)) > 0)
		s->peek_len += (size_t)n;
	if (err->code && s->peek_len == 0)
		return -1;
	*err = (struct error){ 0 };	/* damage behind the peeked bytes comes up again */
	return is_tar(s->peek, s->peek_len) ? open_tar(s, err) : 0;
}

/* Bytes of a regular file; UINT64_MAX: it is none. */
static uint64_t size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : UINT64_MAX;
}

int stream_open_fd(int fd, struct stream **ret, struct error *err)
{
	_cleanup_stream_ struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return error_set(err, ERR_NOMEM, "no memory");
	s->fd = fd;
	s->until = size_of(fd);
	while (s->head_len < HEAD_BYTES) {
		ssize_t n = read(fd, s->head + s->head_len, HEAD_BYTES - s->head_len);

		if (n < 0)
			return error_sys(err, "cannot read");
		if (n == 0)
			break;
		s->head_len += (size_t)n;
	}
	if (s->until < UINT64_MAX)
		s->base = (uint64_t)lseek(fd, 0, SEEK_CUR) - s->head_len;
	/* An empty file that gave bytes: what /proc makes up has no size, else it began to grow. */
	if (s->until == 0 && s->head_len)
		s->until = size_of(fd) ? s->head_len : UINT64_MAX;
	else if (s->until < UINT64_MAX)
		s->until = s->until > s->base ? s->until - s->base : 0;
	if (s->head_len > s->until)
		s->head_len = (size_t)s->until;
	s->raw = s->head_len;
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
	frames_close(s->frames);
	archive_read_free(s->ar);
	if (s->wrapping == GZIP)
		inflateEnd(&s->gz);
	ZSTD_freeDStream(s->zstd);
	free(s->in);
	free(s->block);
	free(s);
}

int stream_next(struct stream *s, const char **name_ret, struct error *err)
{
	struct archive_entry *e;
	int r;

	*name_ret = NULL;
	s->piece_len = 0;
	s->at = 0;
	s->member_late = (struct error){ 0 };
	if (!s->ar)
		return s->begun ? 0 : (s->begun = true, 1);
	for (;;) {
		if (s->members++ >= MEMBERS_MAX)
			return error_set(err, ERR_LIMIT, "more than %d members", MEMBERS_MAX);
		r = archive_read_next_header(s->ar, &e);
		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return error_set(err, ERR_FORMAT, "%s", archive_error_string(s->ar));
		if (archive_entry_filetype(e) == AE_IFREG && !archive_entry_hardlink(e)) {
			*name_ret = archive_entry_pathname(e) ? archive_entry_pathname(e) : "?";
			return 1;
		}
		s->skipped += archive_entry_filetype(e) != AE_IFDIR;
	}
}

/* The next piece of the open member; 0: no more. */
static int next_piece(struct stream *s, struct error *err)
{
	const void *piece = NULL;
	size_t len = 0;
	la_int64_t at = 0;
	int r = archive_read_data_block(s->ar, &piece, &len, &at);

	if (r == ARCHIVE_EOF)
		return 0;
	if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
		return error_set(err, ERR_FORMAT, "%s",
				 archive_error_string(s->ar) ? archive_error_string(s->ar) : "damaged");
	if (at < 0 || (uint64_t)at < s->at)
		return error_set(err, ERR_FORMAT, "the pieces of a sparse member overlap");
	s->piece = piece;
	s->piece_len = len;
	s->piece_at = (uint64_t)at;
	return 1;
}

/*
 * Not archive_read_data(): that forgets what stands before damage, and fills the
 * holes of a sparse member, which cost no input, without end.
 */
static ssize_t read_tar(struct stream *s, uint8_t *buf, size_t size, struct error *err)
{
	size_t n = 0;

	while (n < size && !s->member_late.code) {
		uint64_t hole, k;

		if (s->piece_len == 0 && next_piece(s, &s->member_late) <= 0)
			break;
		hole = s->piece_at - s->at;
		k = hole ? hole : s->piece_len;
		k = k < size - n ? k : size - n;
		if (hole) {
			memset(buf + n, 0, k);
		} else {
			memcpy(buf + n, s->piece, k);
			s->piece += k;
			s->piece_len -= k;
			s->piece_at += k;
		}
		s->at += k;
		s->given += k;
		n += k;
		if (s->given > RATIO_FREE && s->given / RATIO_MAX > consumed(s))
			error_at(&s->member_late, ERR_LIMIT, consumed(s), "expands more than %d to 1", RATIO_MAX);
	}
	if (n || !s->member_late.code)
		return (ssize_t)n;
	*err = s->member_late;
	return -1;
}

ssize_t stream_read(struct stream *s, void *buf, size_t size, struct error *err)
{
	return s->ar ? read_tar(s, buf, size, err) : unwrap(s, buf, size, err);
}

int stream_changed(const struct stream *s, struct error *why)
{
	uint64_t had = s->base + s->until, has = s->fd >= 0 && s->until < UINT64_MAX ? size_of(s->fd) : had;

	if (has == had || has == UINT64_MAX)
		return 0;
	if (has > had)
		error_at(why, ERR_LIMIT, had,
			 "the file grew while it was read: of now %llu bytes the %llu that it had at first were read",
			 (unsigned long long)has, (unsigned long long)had);
	else
		error_at(why, ERR_FORMAT, has, "the file shrank while it was read: %llu of %llu bytes are left",
			 (unsigned long long)has, (unsigned long long)had);
	return has > had ? 1 : -1;
}

bool stream_is_archive(const struct stream *s) { return s->ar != NULL; }
uint64_t stream_skipped(const struct stream *s) { return s->skipped; }
