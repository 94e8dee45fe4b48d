#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/ring.h"
#include "capture/ring_files.h"

#define COPY_TRIES 4

struct found {
	enum stream_id stream;
	uint64_t first_seq;
	char name[SEGMENT_NAME_BYTES];
};

static int by_age(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->stream != y->stream)
		return x->stream < y->stream ? -1 : 1;
	if (x->first_seq != y->first_seq)
		return x->first_seq < y->first_seq ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* Read the head only; false: nothing to visit there. */
static bool look(int dir_fd, const char *name, struct found *ret)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint8_t head[SEGMENT_HEAD_BYTES];
	struct segment_reader seg;
	struct error ignored = { 0 };
	int rc;

	if (fd < 0 || pread(fd, head, sizeof(head), 0) != sizeof(head))
		return false;
	rc = segment_open(&seg, head, sizeof(head), &ignored);
	*ret = (struct found){ .stream = segment_name_stream(name), .first_seq = rc == 0 ? seg.head.first_seq : 0 };
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	return rc <= 0;
}

static int list(int dir_fd, struct found *found, size_t max, size_t *n_ret, struct error *err)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	size_t n = 0;

	if (!d)
		return error_sys(err, "cannot list the ring");
	for (struct dirent *e; n < max && (e = readdir(d));)
		if (strlen(e->d_name) < SEGMENT_NAME_BYTES && segment_name_stream(e->d_name) < STREAM_COUNT)
			n += look(dir_fd, e->d_name, &found[n]);
	closedir(d);
	qsort(found, n, sizeof(*found), by_age);
	*n_ret = n;
	return 0;
}

/* The whole file into `*buf`; its length, or -1. */
static ssize_t read_file(int fd, uint8_t **buf, size_t *cap)
{
	struct stat st;
	size_t len = 0;

	if (fstat(fd, &st) || st.st_size < SEGMENT_HEAD_BYTES || st.st_size > (off_t)(256u << 20))
		return -1;
	if (*cap < (size_t)st.st_size) {
		uint8_t *p = realloc(*buf, (size_t)st.st_size);

		if (!p)
			return -1;
		*buf = p;
		*cap = (size_t)st.st_size;
	}
	while (len < (size_t)st.st_size) {
		ssize_t n = pread(fd, *buf + len, (size_t)st.st_size - len, (off_t)len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

/* Copy a segment that may be recycled meanwhile: what is copied must begin and end under one header. */
static ssize_t copy_segment(int fd, uint8_t **buf, size_t *cap)
{
	uint8_t head[SEGMENT_HEAD_BYTES];
	ssize_t len = -1;

	for (int i = 0; i < COPY_TRIES; i++) {
		len = read_file(fd, buf, cap);
		if (len < (ssize_t)sizeof(head) || pread(fd, head, sizeof(head), 0) != sizeof(head) ||
		    memcmp(head, *buf, sizeof(head)) == 0)
			break;
	}
	return len;
}

static int visit_one(int dir_fd, const struct found *f, uint8_t **buf, size_t *cap, ring_visit *visit, void *ctx)
{
	_cleanup_close_ int fd = openat(dir_fd, f->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t len = fd >= 0 ? copy_segment(fd, buf, cap) : -1;
	struct segment_reader seg, end;
	struct error bad = { 0 };
	struct record rec;
	int rc;

	if (len < 0)
		return 0;
	rc = segment_open(&seg, *buf, (size_t)len, &bad);
	if (rc > 0)
		return 0;
	if (rc < 0) {
		seg.damaged = 1;
		seg.head.stream = (uint8_t)f->stream;
		return visit(ctx, f->name, &seg, *buf, (size_t)len);
	}
	end = seg;
	while (segment_next(&end, &rec))
		;
	if (!end.damaged)	/* damage stays to be seen */
		seg.len = end.pos;
	return visit(ctx, f->name, &seg, *buf, seg.len);
}

int ring_read(const char *dir, ring_visit *visit, void *ctx, struct error *err)
{
	_cleanup_close_ int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ struct found *found = calloc(STREAM_COUNT * SEGMENTS_MAX, sizeof(*found));
	_cleanup_free_ uint8_t *buf = NULL;
	size_t n = 0, cap = 0;
	int r = 0;

	if (dir_fd < 0)
		return error_sys(err, "cannot open the ring %s", dir);
	if (!found)
		return error_set(err, ERR_NOMEM, "no memory");
	if (list(dir_fd, found, STREAM_COUNT * SEGMENTS_MAX, &n, err))
		return error_in(err, dir);
	for (size_t i = 0; i < n && r == 0; i++)
		r = visit_one(dir_fd, &found[i], &buf, &cap, visit, ctx);
	return r;
}

int ring_holder(const char *dir)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	_cleanup_close_ int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = dir_fd >= 0 ? openat(dir_fd, "lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW) : -1;

	return fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? (int)lock.l_pid : 0;
}
