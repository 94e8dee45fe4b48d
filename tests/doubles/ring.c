#include "tests/doubles/ring.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct ring {
	struct double_record *record;
	size_t n;
	uint64_t lost;
	int fd[STREAM_COUNT];		/* -1: in memory alone */
};

static int begin_file(const char *dir, enum stream_id s)
{
	struct segment_head head = { .magic = SEGMENT_MAGIC, .version = SEGMENT_VERSION, .head_bytes = SEGMENT_HEAD_BYTES,
				     .stream = s, .nonce = 1 };
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/%s-00.tcr", dir, stream_name(s));
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0640);
	if (fd >= 0 && write(fd, &head, sizeof(head)) != sizeof(head))
		abort();
	return fd;
}

int ring_open(const struct ring_options *opt, struct ring **ret, struct error *err)
{
	struct ring *r = calloc(1, sizeof(*r));

	if (opt->dir && mkdir(opt->dir, 0750) < 0 && access(opt->dir, W_OK) < 0)
		return error_sys(err, "cannot make %s", opt->dir);
	for (int s = 0; s < STREAM_COUNT; s++)
		r->fd[s] = opt->dir ? begin_file(opt->dir, s) : -1;
	*ret = r;
	return 0;
}

void ring_close(struct ring *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		free(r->record[i].payload);
	for (int s = 0; s < STREAM_COUNT; s++)
		if (r->fd[s] >= 0)
			close(r->fd[s]);
	free(r->record);
	free(r);
}

static void write_out(int fd, const struct double_record *d, uint64_t seq)
{
	struct record_head h = { .commit = RECORD_COMMITTED | d->bytes, .seq = seq, .monotonic_ns = d->monotonic_ns,
				 .kind = d->kind, .stream = d->stream };
	uint64_t zero = 0;
	uint32_t pad = record_span(d->bytes) - (uint32_t)sizeof(h) - d->bytes;

	if (write(fd, &h, sizeof(h)) < 0 || write(fd, d->payload, d->bytes) < 0 || write(fd, &zero, pad) < 0)
		abort();
}

bool ring_put(struct ring *r, enum stream_id s, uint16_t kind, int64_t monotonic_ns,
	      const void *fixed, size_t fixed_bytes, const char *text, size_t text_bytes)
{
	struct double_record d = { s, kind, monotonic_ns, (uint32_t)(fixed_bytes + text_bytes), NULL };

	d.payload = calloc(1, d.bytes + 1);
	memcpy(d.payload, fixed, fixed_bytes);
	if (text_bytes)
		memcpy(d.payload + fixed_bytes, text, text_bytes);
	r->record = reallocarray(r->record, r->n + 1, sizeof(*r->record));
	r->record[r->n++] = d;
	if (r->fd[s] >= 0)
		write_out(r->fd[s], &d, r->n);
	return true;
}

bool ring_append(struct ring *r, enum stream_id s, uint16_t kind, int64_t monotonic_ns, const struct iovec *iov, int n_iov)
{
	uint8_t buf[RECORD_BYTES_MAX];
	size_t len = 0;

	for (int i = 0; i < n_iov; i++) {
		memcpy(buf + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	return ring_put(r, s, kind, monotonic_ns, buf, len, NULL, 0);
}

void ring_lost(struct ring *r, enum stream_id s, const char *source, uint64_t n)
{
	(void)s;
	(void)source;
	r->lost += n;
}

void ring_sync(struct ring *r) { (void)r; }

const char *ring_trouble(const struct ring *r)
{
	(void)r;
	return NULL;
}

struct ring_stats ring_stats(const struct ring *r, enum stream_id s)
{
	struct ring_stats st = { .lost = r->lost };

	for (size_t i = 0; i < r->n; i++)
		st.appended += r->record[i].stream == s;
	return st;
}

int ring_read(const char *dir, ring_visit *visit, void *ctx, struct error *err)
{
	(void)visit;
	(void)ctx;
	return error_set(err, ERR_UNSUPPORTED, "%s is a double's", dir);
}

int ring_holder(const char *dir)
{
	(void)dir;
	return 0;
}

const struct double_record *double_ring_find(const struct ring *r, uint16_t kind, size_t n)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->record[i].kind == kind && n-- == 0)
			return &r->record[i];
	return NULL;
}

size_t double_ring_count(const struct ring *r, uint16_t kind)
{
	size_t n = 0;

	while (double_ring_find(r, kind, n))
		n++;
	return n;
}

uint64_t double_ring_lost(const struct ring *r) { return r->lost; }
