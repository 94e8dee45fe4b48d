#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture/scrub.h"
#include "capture/sources/logs.h"

void log_file_close(struct log_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

static bool open_file(struct log_file *f)
{
	struct stat st;

	if (f->fd >= 0)
		return true;
	f->fd = open(f->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (f->fd < 0)
		return false;
	if (fstat(f->fd, &st) || !S_ISREG(st.st_mode)) {
		log_file_close(f);
		return false;
	}
	f->device = st.st_dev;
	f->inode = st.st_ino;
	return true;
}

static void state(struct log_reader *r, struct log_file *f, enum log_reason reason, int64_t now)
{
	struct record_log_file rec = {
		.file = f->number, .rank = f->owner.rank, .device = f->device, .inode = f->inode, .reason = reason,
	};

	if (!f->number)
		rec.file = f->number = ++r->files;
	worker_record(r->link, STREAM_LOGS, REC_LOG_FILE, now, &rec, sizeof(rec), f->path, strlen(f->path));
	f->stated_ns = now;
}

void log_file_begin(struct log_reader *r, struct log_file *f, bool from_end, int64_t now)
{
	struct stat st;

	if (!open_file(f) || fstat(f->fd, &st))
		return;
	f->offset = from_end && st.st_size > (off_t)LOG_START_BYTES ? (uint64_t)st.st_size - LOG_START_BYTES : 0;
	f->size = f->offset;
	f->share_ns = f->grown_ns = now;
	state(r, f, LOG_FOUND, now);
}

/* How much of `n` bytes is whole lines; a progress bar's carriage return ends one too. */
static size_t whole_lines(const char *s, size_t n)
{
	const char *nl = memrchr(s, '\n', n), *cr = memrchr(s, '\r', n);
	const char *end = nl > cr ? nl : cr;

	return end ? (size_t)(end - s) + 1 : 0;
}

static bool is_beyond_share(struct log_file *f, int64_t now)
{
	if (now - f->share_ns > LOG_SHARE_NS) {
		f->share_ns = now;
		f->share_used = 0;
	}
	return f->share_used >= LOG_SHARE_BYTES;
}

/* Past its share: how far the file has come, once a second; its tail is on the disk. */
static void mark(struct log_reader *r, struct log_file *f, uint64_t size, int64_t now)
{
	struct record_log_bytes rec = { .file = f->number, .offset = size };

	f->offset = size;
	if (now - f->marked_ns < NS_PER_S)
		return;
	f->marked_ns = now;
	worker_record(r->link, STREAM_LOGS, REC_LOG_MARK, now, &rec, sizeof(rec), NULL, 0);
}

static void send(struct log_reader *r, struct log_file *f, size_t n, int64_t now)
{
	struct record_log_bytes rec = { .file = f->number, .offset = f->offset };

	rec.masked = (uint32_t)scrub_text(r->buf, n);
	if (now - f->stated_ns > LOG_RESTATE_NS)
		state(r, f, LOG_FOUND, now);
	r->lines(r->lines_ctx, f, r->buf, n);
	worker_record(r->link, STREAM_LOGS, REC_LOG_BYTES, now, &rec, sizeof(rec), r->buf, n);
	f->offset += n;
	f->share_used += n;
}

static int64_t written(const struct stat *st, int64_t now)
{
	int64_t age_ns = clock_now().realtime_ns - (st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec);

	return age_ns > 0 && age_ns < now ? now - age_ns : now;
}

/* What is new of the open file; `last`: nothing more will come, so a line without an end goes too. */
static void read_new(struct log_reader *r, struct log_file *f, bool last, int64_t now)
{
	struct stat st;

	if (fstat(f->fd, &st))
		return;
	if ((uint64_t)st.st_size < f->offset) {
		f->offset = 0;
		state(r, f, LOG_TRUNCATED, now);
	}
	if ((uint64_t)st.st_size != f->size)
		f->grown_ns = now;
	f->size = (uint64_t)st.st_size;
	f->written_ns = written(&st, now);
	while (f->offset < f->size) {
		ssize_t got;
		size_t n;

		if (is_beyond_share(f, now)) {
			mark(r, f, f->size, now);
			return;
		}
		got = pread(f->fd, r->buf, LOG_CHUNK_BYTES, (off_t)f->offset);
		if (got <= 0)
			return;
		n = whole_lines(r->buf, (size_t)got);
		if (n == 0 && (last || (size_t)got == LOG_CHUNK_BYTES || now - f->grown_ns > LOG_PARTIAL_NS))
			n = (size_t)got;
		if (n == 0)
			return;
		send(r, f, n, now);
		worker_alive(r->link);
	}
}

bool log_file_read(struct log_reader *r, struct log_file *f, int64_t now)
{
	struct stat st;
	bool is_there = stat(f->path, &st) == 0, is_same = is_there && st.st_dev == f->device && st.st_ino == f->inode;

	if (is_same && (uint64_t)st.st_size == f->offset)
		return true;
	f->active_ns = now;
	if (f->fd < 0 && !is_same) {		/* the old one cannot be reached any more */
		f->offset = 0;
		is_same = true;
	}
	if (!open_file(f))
		return is_there && errno != ENOENT;
	if (!f->number)
		state(r, f, LOG_FOUND, now);
	read_new(r, f, !is_same, now);
	if (is_same)
		return true;
	log_file_close(f);
	if (!is_there) {
		state(r, f, LOG_REMOVED, now);
		return false;
	}
	f->offset = f->size = 0;
	if (!open_file(f))
		return false;
	f->number = ++r->files;
	state(r, f, LOG_ROTATED, now);
	read_new(r, f, false, now);
	return true;
}
