/*
 * logs - logs/: the tail of each log, verbatim but for masked secrets.
 *
 * What the ring has, then what the disk has: the disk's tail replaces the ring's
 * bytes of the same offsets.  A file that is gone, or is another one now, is what
 * the ring has.  Without a ring: the configured logs, and what the job's processes
 * write their standard output and error to.
 */
#include "capture/dump/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/dump/sources.h"

#define FILES_MAX 4096
#define ALL_BYTES ((uint64_t)256 << 20)
#define LEAST_BYTES ((uint64_t)64 << 10)
#define MOST_BYTES ((uint64_t)4 << 20)
#define LINE_BYTES 65536		/* a cut first line is dropped when it is not longer */

/* A log that the ring does not know. */
struct extra {
	char path[PATH_MAX];		/* to open */
	char name[PATH_MAX];		/* what it is called */
	dev_t device;
	ino_t inode;
};

struct logs {
	struct worker_link *link;
	const struct dump_context *dc;
	struct extra *extra;		/* FILES_MAX */
	size_t n_extra, sent;
	uint64_t share;			/* bytes of one file */
	bool full;
};

/* Last written before the run began: kept apart. */
static void name_log(const char *path, int64_t last_ns, int64_t begin_ns, char *buf, size_t size)
{
	int n = snprintf(buf, size, "%s/", last_ns && last_ns < begin_ns ? "logs-before" : "logs");

	dump_flat_name(path, buf + n, size - (size_t)n - 8);
}

void dump_log_name(const struct ring_take *t, size_t i, char *buf, size_t size)
{
	size_t later = 0;

	for (size_t k = i + 1; k < t->n_logs; k++)
		later += strcmp(t->logs[k].path, t->logs[i].path) == 0;
	name_log(t->logs[i].path, t->logs[i].last_ns, t->run_begin_ns, buf, size);
	if (later)
		snprintf(buf + strlen(buf), 8, ".%zu", later);
}

/* ---- one file ---- */

/* Is this entry the last of its file, the one that the disk continues? */
static bool is_last(const struct ring_take *t, size_t i)
{
	for (size_t k = i + 1; k < t->n_logs; k++)
		if (t->logs[k].device == t->logs[i].device && t->logs[k].inode == t->logs[i].inode)
			return false;
	return true;
}

/* The file's bytes from `at` on. */
static void append_disk(int fd, uint64_t at, uint64_t end, struct dump_text *t)
{
	static char buf[65536];

	while (at < end) {
		ssize_t n = pread(fd, buf, end - at < sizeof(buf) ? (size_t)(end - at) : sizeof(buf), (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		dump_text_append(t, buf, (size_t)n);
		at += (uint64_t)n;
	}
}

static void drop_cut_line(struct dump_text *t, size_t from)
{
	char *nl = t->len > from ? memchr(t->s + from, '\n', t->len - from < LINE_BYTES ? t->len - from : LINE_BYTES) : NULL;

	if (!nl)
		return;
	t->len -= (size_t)(nl + 1 - (t->s + from));
	memmove(t->s + from, nl + 1, t->len - from + 1);
}

/* What the ring has before the disk's tail, and that tail. */
static void put_together(const struct log_file *f, int fd, uint64_t size, uint64_t share, struct dump_text *t)
{
	uint64_t at = size > share ? size - share : 0;
	const struct log_piece *last = f && f->n_pieces ? &f->pieces[f->n_pieces - 1] : NULL;
	uint64_t ring_end = last ? last->at + last->text.len : 0;
	size_t from;

	if (last)
		log_file_text(f, at, t);
	if (t->len && ring_end < at)
		dump_text_add(t, "%s[tdump: %llu bytes are missing here]\n", t->s[t->len - 1] != '\n' ? "\n" : "",
			      (unsigned long long)(at - ring_end));
	from = t->len;
	append_disk(fd, at, size, t);
	if (at && (!from || ring_end < at))
		drop_cut_line(t, from);
}

static void send_log(struct logs *s, const char *member, const struct log_file *f, int fd, uint64_t size)
{
	_cleanup_dump_text_ struct dump_text t = { 0 };

	if (fd >= 0)
		put_together(f, fd, size, s->share, &t);
	else if (f)
		log_file_text(f, UINT64_MAX, &t);
	if (t.len && dump_send_text(s->link, member, &t))
		s->sent++;
	worker_alive(s->link);
}

/* The file that the ring knows, at least as long as it was; -1: another one lies there now. */
static int open_same(const struct log_file *f, const char *path, uint64_t *size_ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_dev == f->device && st.st_ino == f->inode &&
	    (uint64_t)st.st_size >= f->reached) {
		*size_ret = (uint64_t)st.st_size;
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

/* By its name, else through a process that still writes to it: its folder may be gone. */
static int open_log(const struct logs *s, const struct log_file *f, uint64_t *size_ret)
{
	int fd = open_same(f, f->path, size_ret);

	for (size_t i = 0; i < 2 * s->dc->n_tracks && fd < 0; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/%u/fd/%zu", s->dc->tracks[i / 2].p.pid, i % 2 + 1);
		fd = open_same(f, path, size_ret);
	}
	return fd;
}

static void send_ring_log(struct logs *s, size_t i)
{
	const struct log_file *f = &s->dc->ring->logs[i];
	bool last = is_last(s->dc->ring, i);
	char member[BUNDLE_NAME_BYTES];
	uint64_t size = 0;
	_cleanup_close_ int fd = last ? open_log(s, f, &size) : -1;

	dump_log_name(s->dc->ring, i, member, sizeof(member));
	if (fd < 0 && last)
		dump_note(s->link, "logs: %s is gone, shorter or another file now: only what the ring has of it", f->path);
	send_log(s, member, f, fd, size);
}

/* ---- those that the ring does not know ---- */

static bool is_known(const struct logs *s, dev_t device, ino_t inode)
{
	for (size_t i = 0; s->dc->ring && i < s->dc->ring->n_logs; i++)
		if (s->dc->ring->logs[i].device == device && s->dc->ring->logs[i].inode == inode)
			return true;
	for (size_t i = 0; i < s->n_extra; i++)
		if (s->extra[i].device == device && s->extra[i].inode == inode)
			return true;
	return false;
}

static void add_extra(struct logs *s, const char *path, const char *name)
{
	struct extra *x = &s->extra[s->n_extra];
	struct stat st;

	if (stat(path, &st) || !S_ISREG(st.st_mode) || st.st_size == 0 || is_known(s, st.st_dev, st.st_ino))
		return;
	if (s->n_extra == FILES_MAX) {
		s->full = true;
		return;
	}
	snprintf(x->path, sizeof(x->path), "%s", path);
	snprintf(x->name, sizeof(x->name), "%s", name);
	x->device = st.st_dev;
	x->inode = st.st_ino;
	s->n_extra++;
}

static void find_extra(struct logs *s)
{
	for (size_t i = 0; i < s->dc->n_tracks; i++)
		for (int n = 1; n <= 2; n++) {
			char path[64], name[PATH_MAX];
			ssize_t len;

			snprintf(path, sizeof(path), "/proc/%u/fd/%d", s->dc->tracks[i].p.pid, n);
			len = readlink(path, name, sizeof(name) - 1);
			if (len <= 0)
				continue;
			name[len] = '\0';
			add_extra(s, path, name);
		}
	for (size_t i = 0; i < s->dc->config->logs.n; i++) {
		glob_t g = { 0 };

		if (glob(s->dc->config->logs.item[i], GLOB_NOSORT, NULL, &g) == 0)
			for (size_t k = 0; k < g.gl_pathc; k++)
				add_extra(s, g.gl_pathv[k], g.gl_pathv[k]);
		globfree(&g);
	}
}

static void send_extra(struct logs *s, const struct extra *x)
{
	_cleanup_close_ int fd = open(x->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char member[BUNDLE_NAME_BYTES];
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		dump_note(s->link, "logs: cannot read %s: %s", x->name, strerror(errno));
		return;
	}
	name_log(x->name, (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec, s->dc->run_begin_ns, member, sizeof(member));
	send_log(s, member, NULL, fd, (uint64_t)st.st_size);
}

static void run(struct worker_link *l, void *ctx)
{
	struct logs s = { .link = l, .dc = ctx };
	size_t n_ring = s.dc->ring ? s.dc->ring->n_logs : 0, n;

	s.extra = calloc(FILES_MAX, sizeof(*s.extra));
	if (!s.extra) {
		worker_state(l, SOURCE_FAILED, "no memory");
		return;
	}
	find_extra(&s);
	n = n_ring + s.n_extra;
	s.share = n ? ALL_BYTES / n : 0;
	s.share = s.share < LEAST_BYTES ? LEAST_BYTES : s.share > MOST_BYTES ? MOST_BYTES : s.share;
	for (size_t i = 0; i < n_ring; i++)
		send_ring_log(&s, i);
	for (size_t i = 0; i < s.n_extra; i++)
		send_extra(&s, &s.extra[i]);
	if (s.full)
		dump_note(l, "logs: more than %d files; the others were not taken", FILES_MAX);
	if (s.sent)
		worker_state(l, SOURCE_OK, "%s", "");
	else
		worker_state(l, SOURCE_ABSENT, "no log is known: name them in the configuration");
}

const struct dump_source dump_logs = { "logs", 20, run };
