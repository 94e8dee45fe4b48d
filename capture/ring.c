#include "capture/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/ring_files.h"

#define PENDING_LOSSES 8	/* sources whose losses wait to be written */
#define TMPFS_MAGIC 0x01021994
#define RAMFS_MAGIC 0x858458f6

struct segment_map {
	uint8_t *bytes;
	int fd;
	bool dirty;
};

struct stream_ring {
	struct segment_map *segments;
	uint32_t n, segment_bytes;
	uint32_t active;		/* index of the segment that is written */
	uint32_t pos;			/* where its next record goes; 0: none begun */
	uint64_t nonce;			/* of the active segment */
	uint64_t next_seq, lost;
	struct record_loss pending[PENDING_LOSSES];
	size_t n_pending;
	struct ring_stats stats;
};

struct ring {
	char *dir;
	int dir_fd, lock_fd;
	struct ring_layout layout;
	struct stream_ring stream[STREAM_COUNT];
	uint8_t boot_id[16];
	char host[64];
	const char *trouble;
};

/* ---- a disk that fails under the mapping ---- */

/* What the handler needs: the one ring of the process, and whether it was hit. */
static struct ring *_Atomic guarded;
static atomic_bool hit;

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	struct ring *r = guarded;
	uint8_t *at = info->si_addr;

	(void)context;
	for (int s = 0; r && s < STREAM_COUNT; s++)
		for (uint32_t i = 0; i < r->stream[s].n; i++) {
			uint8_t *map = r->stream[s].segments[i].bytes;

			if (at < map || at >= map + r->stream[s].segment_bytes)
				continue;
			mmap((void *)((uintptr_t)at & ~(uintptr_t)4095), 4096, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
			hit = true;
			return;
		}
	signal(number, SIG_DFL);	/* not ours: die of it */
}

static void guard(struct ring *r)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER };

	guarded = r;
	sigaction(SIGBUS, &sa, NULL);
}

/* ---- segments ---- */

static struct segment_head *head_of(const struct stream_ring *st, uint32_t i)
{
	return (struct segment_head *)(void *)st->segments[i].bytes;
}

static uint32_t *commit_word(struct stream_ring *st, uint32_t pos)
{
	return (uint32_t *)(void *)(st->segments[st->active].bytes + pos);
}

/* Recycle the segment behind the active one.  The magic goes first and comes back last. */
static void begin_segment(struct ring *r, enum stream_id s)
{
	struct stream_ring *st = &r->stream[s];
	struct segment_head h = {
		.magic = SEGMENT_MAGIC, .version = SEGMENT_VERSION, .head_bytes = SEGMENT_HEAD_BYTES, .stream = (uint8_t)s,
		.segment_bytes = st->segment_bytes, .writer_pid = (uint32_t)getpid(), .clock = clock_now(),
		.first_seq = st->next_seq, .lost = st->lost,
	};
	struct segment_head *to;
	uint64_t magic;

	st->active = (st->active + 1) % st->n;
	to = head_of(st, st->active);
	if (getrandom(&h.nonce, sizeof(h.nonce), GRND_NONBLOCK) != sizeof(h.nonce))
		h.nonce = (uint64_t)h.clock.monotonic_ns * 0x9e3779b97f4a7c15u ^ st->nonce;
	h.index = (uint16_t)st->active;
	memcpy(h.boot_id, r->boot_id, sizeof(h.boot_id));
	memcpy(h.host, r->host, sizeof(h.host));
	h.crc = segment_head_crc(&h);
	memcpy(&magic, h.magic, sizeof(magic));
	atomic_store_explicit((_Atomic uint64_t *)(void *)to->magic, 0, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	atomic_thread_fence(memory_order_release);
	*(volatile uint32_t *)commit_word(st, SEGMENT_HEAD_BYTES) = 0;
	memcpy((uint8_t *)to + sizeof(magic), (const uint8_t *)&h + sizeof(magic), sizeof(h) - sizeof(magic));
	atomic_store_explicit((_Atomic uint64_t *)(void *)to->magic, magic, memory_order_release);
	st->nonce = h.nonce;
	st->pos = SEGMENT_HEAD_BYTES;
	st->segments[st->active].dirty = true;
}

static bool append(struct ring *r, enum stream_id s, uint16_t kind, int64_t monotonic_ns, const struct iovec *iov,
		   int n_iov, size_t bytes)
{
	struct stream_ring *st = &r->stream[s];
	struct record_head h = { .commit = RECORD_COMMITTED | (uint32_t)bytes, .seq = st->next_seq,
				 .monotonic_ns = monotonic_ns, .kind = kind, .stream = (uint8_t)s };
	uint32_t span = record_span((uint32_t)bytes);
	uint8_t *at, *p;

	if (st->pos == 0 || span > st->segment_bytes - st->pos)
		begin_segment(r, s);
	at = st->segments[st->active].bytes + st->pos;
	if (st->pos + span + sizeof(h) <= st->segment_bytes)
		*(volatile uint32_t *)commit_word(st, st->pos + span) = 0;
	p = at + sizeof(h);
	for (int i = 0; i < n_iov; i++) {
		memcpy(p, iov[i].iov_base, iov[i].iov_len);
		p += iov[i].iov_len;
	}
	h.crc = record_crc(st->nonce, &h, at + sizeof(h));
	memcpy(at + sizeof(h.commit), (const uint8_t *)&h + sizeof(h.commit), sizeof(h) - sizeof(h.commit));
	atomic_store_explicit((_Atomic uint32_t *)(void *)at, h.commit, memory_order_release);
	st->pos += span;
	st->next_seq++;
	st->stats.appended++;
	st->stats.bytes += span;
	st->segments[st->active].dirty = true;
	return true;
}

/* Losses are written when something can be written again. */
static void write_losses(struct ring *r, enum stream_id s)
{
	struct stream_ring *st = &r->stream[s];

	for (size_t i = 0; i < st->n_pending; i++) {
		struct iovec iov = { &st->pending[i], sizeof(st->pending[i]) };

		append(r, s, REC_LOSS, clock_now().monotonic_ns, &iov, 1, iov.iov_len);
	}
	st->n_pending = 0;
}

bool ring_append(struct ring *r, enum stream_id s, uint16_t kind, int64_t monotonic_ns, const struct iovec *iov, int n_iov)
{
	size_t bytes = 0;

	for (int i = 0; i < n_iov; i++)
		bytes += iov[i].iov_len;
	if (bytes > RECORD_BYTES_MAX) {
		ring_lost(r, s, "ring: too long", 1);
		return false;
	}
	if (r->stream[s].n_pending)
		write_losses(r, s);
	return append(r, s, kind, monotonic_ns, iov, n_iov, bytes);
}

bool ring_put(struct ring *r, enum stream_id s, uint16_t kind, int64_t monotonic_ns, const void *fixed, size_t fixed_bytes,
	      const char *text, size_t text_bytes)
{
	struct iovec iov[] = { { (void *)(uintptr_t)fixed, fixed_bytes }, { (void *)(uintptr_t)text, text_bytes } };

	return ring_append(r, s, kind, monotonic_ns, iov, text_bytes ? 2 : 1);
}

void ring_lost(struct ring *r, enum stream_id s, const char *source, uint64_t n)
{
	struct stream_ring *st = &r->stream[s];
	struct record_loss *l = NULL;

	if (n == 0)
		return;
	for (size_t i = 0; i < st->n_pending && !l; i++)
		if (strncmp(st->pending[i].source, source, sizeof(l->source) - 1) == 0)
			l = &st->pending[i];
	if (!l && st->n_pending == PENDING_LOSSES) {
		l = &st->pending[PENDING_LOSSES - 1];
		memcpy(l->source, "several", sizeof("several"));
	} else if (!l) {
		l = &st->pending[st->n_pending++];
		*l = (struct record_loss){ 0 };
		strncpy(l->source, source, sizeof(l->source) - 1);
	}
	l->lost += n;
	st->lost += n;
	st->stats.lost += n;
}

/* ---- files ---- */

static int map_segment(struct ring *r, enum stream_id s, uint32_t i, struct segment_map *ret, struct error *err)
{
	uint32_t bytes = r->stream[s].segment_bytes;
	char name[SEGMENT_NAME_BYTES];
	_cleanup_close_ int fd = -1;
	void *map;
	int rc;

	segment_name(name, s, i);
	fd = openat(r->dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		return error_sys(err, "cannot open %s/%s", r->dir, name);
	rc = posix_fallocate(fd, 0, bytes);
	if (rc) {
		errno = rc;
		return error_sys(err, "the ring needs %llu MiB in %s", (unsigned long long)(r->layout.bytes >> 20), r->dir);
	}
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return error_sys(err, "cannot map %s/%s", r->dir, name);
	*ret = (struct segment_map){ .bytes = map, .fd = fd };
	fd = -1;
	return 0;
}

static int map_stream(struct ring *r, enum stream_id s, struct error *err)
{
	struct stream_ring *st = &r->stream[s];

	st->segment_bytes = r->layout.stream[s].segment_bytes;
	st->next_seq = 1;
	st->segments = calloc(r->layout.stream[s].segments, sizeof(*st->segments));
	if (!st->segments)
		return error_set(err, ERR_NOMEM, "no memory");
	for (; st->n < r->layout.stream[s].segments; st->n++)
		if (map_segment(r, s, st->n, &st->segments[st->n], err))
			return -1;
	st->active = st->n - 1;		/* so that the first one to be begun is 0 */
	return 0;
}

/* Go on behind what an earlier daemon of this boot wrote. */
static void continue_stream(struct ring *r, enum stream_id s)
{
	struct stream_ring *st = &r->stream[s];
	uint64_t newest = 0;

	for (uint32_t i = 0; i < st->n; i++) {
		struct segment_reader seg;
		struct record rec;
		struct error ignored = { 0 };
		uint64_t lost;

		if (segment_open(&seg, st->segments[i].bytes, st->segment_bytes, &ignored))
			continue;
		lost = seg.head.lost;
		while (segment_next(&seg, &rec))
			if (rec.kind == REC_LOSS && rec.bytes >= sizeof(struct record_loss))
				lost += ((const struct record_loss *)(const void *)rec.payload)->lost;
		if (seg.next_seq > st->next_seq)
			st->next_seq = seg.next_seq;
		if (seg.head.first_seq >= newest) {
			newest = seg.head.first_seq;
			st->active = i;
			st->lost = lost;
		}
	}
}

static int open_files(struct ring *r, struct error *err)
{
	bool keep;

	r->dir_fd = ring_dir_open(r->dir, err);
	if (r->dir_fd < 0)
		return -1;
	r->lock_fd = ring_lock(r->dir_fd, err);
	if (r->lock_fd < 0 || ring_keep_or_move(r->dir_fd, &r->layout, &keep, err))
		return error_in(err, r->dir);
	for (enum stream_id s = 0; s < STREAM_COUNT; s++) {
		if (map_stream(r, s, err))
			return -1;
		if (keep)
			continue_stream(r, s);
	}
	return 0;
}

int ring_open(const struct ring_options *opt, struct ring **ret, struct error *err)
{
	_cleanup_ring_ struct ring *r = calloc(1, sizeof(*r));

	if (!r)
		return error_set(err, ERR_NOMEM, "no memory");
	r->dir_fd = r->lock_fd = -1;
	r->dir = strdup(opt->dir);
	if (!r->dir)
		return error_set(err, ERR_NOMEM, "no memory");
	if (opt->budget_bytes < RING_BYTES_MIN)
		return error_set(err, ERR_LIMIT, "a ring of %llu bytes is too small, the least is %u MiB",
				 (unsigned long long)opt->budget_bytes, RING_BYTES_MIN >> 20);
	r->layout = ring_layout(opt->budget_bytes);
	boot_id_read(r->boot_id);
	if (opt->host)
		strncpy(r->host, opt->host, sizeof(r->host) - 1);
	else
		gethostname(r->host, sizeof(r->host) - 1);
	if (open_files(r, err))
		return -1;
	guard(r);
	*ret = take(r);
	return 0;
}

void ring_close(struct ring *r)
{
	if (!r)
		return;
	if (guarded == r)
		guarded = NULL;
	for (int s = 0; s < STREAM_COUNT; s++) {
		for (uint32_t i = 0; i < r->stream[s].n; i++) {
			struct segment_map *m = &r->stream[s].segments[i];

			if (m->dirty)
				msync(m->bytes, r->stream[s].segment_bytes, MS_SYNC);
			munmap(m->bytes, r->stream[s].segment_bytes);
			close(m->fd);
		}
		free(r->stream[s].segments);
	}
	if (r->lock_fd >= 0)
		close(r->lock_fd);
	if (r->dir_fd >= 0)
		close(r->dir_fd);
	free(r->dir);
	free(r);
}

/* ---- once a second ---- */

/* Are the files that we map still those of the directory? */
static bool files_are_there(const struct ring *r)
{
	char name[SEGMENT_NAME_BYTES];
	struct stat here, there;

	if (stat(r->dir, &there) || fstat(r->dir_fd, &here) || here.st_ino != there.st_ino || here.st_dev != there.st_dev)
		return false;
	for (enum stream_id s = 0; s < STREAM_COUNT; s++) {
		const struct stream_ring *st = &r->stream[s];

		segment_name(name, s, st->active);
		if (fstatat(r->dir_fd, name, &there, AT_SYMLINK_NOFOLLOW) || fstat(st->segments[st->active].fd, &here) ||
		    here.st_ino != there.st_ino || (uint64_t)there.st_size != st->segment_bytes)
			return false;
	}
	return true;
}

/* A new file with the old content; the mapping moves to it. */
static int remake_segment(struct ring *r, enum stream_id s, uint32_t i)
{
	struct stream_ring *st = &r->stream[s];
	struct segment_map fresh;
	char name[SEGMENT_NAME_BYTES];
	struct error ignored = { 0 };

	segment_name(name, s, i);
	unlinkat(r->dir_fd, name, 0);
	if (map_segment(r, s, i, &fresh, &ignored))
		return -1;
	memcpy(fresh.bytes, st->segments[i].bytes, st->segment_bytes);	/* guarded, as long as it is listed */
	munmap(st->segments[i].bytes, st->segment_bytes);
	close(st->segments[i].fd);
	st->segments[i] = fresh;
	return 0;
}

static int remake_files(struct ring *r)
{
	struct error ignored = { 0 };
	int dir_fd = ring_dir_open(r->dir, &ignored);

	if (dir_fd < 0)
		return -1;
	close(r->dir_fd);
	r->dir_fd = dir_fd;
	if (r->lock_fd >= 0)
		close(r->lock_fd);	/* first: closing any descriptor of a file lets go of its lock */
	r->lock_fd = ring_lock(dir_fd, &ignored);
	if (r->lock_fd < 0)
		return -1;
	for (enum stream_id s = 0; s < STREAM_COUNT; s++) {
		r->stream[s].pos = 0;	/* the active header may be among what went away */
		for (uint32_t i = 0; i < r->stream[s].n; i++)
			if (remake_segment(r, s, i))
				return -1;
	}
	return 0;
}

void ring_sync(struct ring *r)
{
	if (atomic_exchange(&hit, false) || !files_are_there(r))
		r->trouble = remake_files(r) ? "the ring's files went away; recording goes on in memory" : NULL;
	for (enum stream_id s = 0; s < STREAM_COUNT; s++) {
		if (s == STREAM_LOGS || s == STREAM_NCCL)
			continue;
		for (uint32_t i = 0; i < r->stream[s].n; i++) {
			struct segment_map *m = &r->stream[s].segments[i];

			if (m->dirty)
				sync_file_range(m->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
			m->dirty = false;
		}
	}
}

const char *ring_trouble(const struct ring *r) { return r->trouble; }
uint64_t ring_bytes(const struct ring *r) { return r->layout.bytes; }

bool ring_is_volatile(const char *dir)
{
	struct statfs fs;

	return statfs(dir, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || (unsigned long)fs.f_type == RAMFS_MAGIC);
}

struct ring_stats ring_stats(const struct ring *r, enum stream_id s)
{
	const struct stream_ring *st = &r->stream[s];
	struct ring_stats ret = st->stats;

	ret.first_seq = ret.next_seq = st->next_seq;
	for (uint32_t i = 0; i < st->n; i++) {
		const struct segment_head *h = head_of(st, i);

		if (memcmp(h->magic, SEGMENT_MAGIC, sizeof(h->magic)) == 0 && h->first_seq < ret.first_seq) {
			ret.first_seq = h->first_seq;
			ret.oldest_monotonic_ns = h->clock.monotonic_ns;
		}
	}
	return ret;
}
