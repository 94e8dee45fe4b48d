#include "bundle/frames.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#include "bundle/cleanup.h"

#define THREADS 2
#define SLOTS 4
#define FRAME_BYTES_MAX ((size_t)2 << 20)	/* decoded; a larger frame is the caller's */
#define FIRST_GUESS ((size_t)256 << 10)
#define WORTH_BYTES ((uint64_t)256 << 10)	/* of compressed data */

enum slot_state { FREE, BUSY, DONE, GIVEN, END };

struct slot {
	enum slot_state state;
	uint8_t *in, *out;
	size_t in_cap, in_len, out_len;
	uint64_t end;			/* offset behind its frame */
};

struct frames {
	int fd;
	pthread_t threads[THREADS];
	int n_threads;
	pthread_mutex_t lock;		/* all below */
	pthread_cond_t changed;
	struct slot slots[SLOTS];
	uint64_t fetch, give;		/* numbers of slots: fetched next, handed out next */
	uint64_t offset, end;		/* of what is fetched next; of all */
	size_t guess;			/* compressed bytes of a frame */
	bool fetching, stopping, over;
	uint64_t given;			/* offset behind what was handed out */
};

static struct slot *slot_at(struct frames *f, uint64_t number) { return &f->slots[number % SLOTS]; }

/* Read up to `size` bytes at `offset`; fewer at the end, or when reading fails. */
static size_t read_at(const struct frames *f, uint8_t *buf, size_t size, uint64_t offset)
{
	size_t n = 0;

	size = f->end - offset < size ? (size_t)(f->end - offset) : size;
	while (n < size) {
		ssize_t got = pread(f->fd, buf + n, size - n, (off_t)(offset + n));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	return n;
}

/* The frame at `offset` into the slot; its length, or 0 when it is not one for us. */
static size_t fetch_frame(struct frames *f, struct slot *s, uint64_t offset)
{
	size_t want = f->guess, most = ZSTD_compressBound(FRAME_BYTES_MAX);

	for (size_t have = 0;; want = 2 * want < most ? 2 * want : most) {
		unsigned long long bytes;
		size_t len;

		if (s->in_cap < want) {
			uint8_t *in = realloc(s->in, want);

			if (!in)
				return 0;
			s->in = in;
			s->in_cap = want;
		}
		have += read_at(f, s->in + have, want - have, offset + have);
		len = ZSTD_findFrameCompressedSize(s->in, have);
		bytes = ZSTD_getFrameContentSize(s->in, have);
		if (!ZSTD_isError(len) && bytes <= FRAME_BYTES_MAX)
			return len;
		if (bytes > FRAME_BYTES_MAX || want == most || have < want)
			return 0;
	}
}

/* Fetch what is decoded next.  Locked; unlocks while it reads, one thread at a time. */
static bool fetch(struct frames *f, struct slot *s)
{
	uint64_t offset = f->offset;
	size_t len;

	f->fetching = true;
	pthread_mutex_unlock(&f->lock);
	len = offset < f->end ? fetch_frame(f, s, offset) : 0;
	pthread_mutex_lock(&f->lock);
	f->fetching = false;
	s->in_len = len;
	s->end = f->offset += len;
	f->guess = len + len / 4 + ((size_t)16 << 10);
	f->over |= len == 0;
	s->state = len ? BUSY : END;
	f->fetch++;
	pthread_cond_broadcast(&f->changed);
	return len > 0;
}

static bool decode(ZSTD_DCtx *dctx, struct slot *s)
{
	unsigned long long bytes = ZSTD_getFrameContentSize(s->in, s->in_len);
	size_t n;

	s->out_len = 0;
	if (bytes == 0)
		return true;		/* skippable, or empty */
	n = ZSTD_decompressDCtx(dctx, s->out, FRAME_BYTES_MAX, s->in, s->in_len);
	s->out_len = ZSTD_isError(n) ? 0 : n;
	return !ZSTD_isError(n);
}

static void *work(void *ctx)
{
	struct frames *f = ctx;
	ZSTD_DCtx *dctx = ZSTD_createDCtx();

	pthread_mutex_lock(&f->lock);
	while (!f->stopping && !f->over) {
		struct slot *s = slot_at(f, f->fetch);
		bool ok;

		if (f->fetching || s->state != FREE) {
			pthread_cond_wait(&f->changed, &f->lock);
			continue;
		}
		if (!fetch(f, s))
			break;
		pthread_mutex_unlock(&f->lock);
		ok = dctx && decode(dctx, s);
		pthread_mutex_lock(&f->lock);
		s->state = ok ? DONE : END;
		f->over |= !ok;
		pthread_cond_broadcast(&f->changed);
	}
	pthread_mutex_unlock(&f->lock);
	ZSTD_freeDCtx(dctx);
	return NULL;
}

/* The first frame is for us, and others follow. */
static bool is_worth_it(struct frames *f)
{
	size_t len = f->end - f->offset < WORTH_BYTES ? 0 : fetch_frame(f, &f->slots[0], f->offset);

	return len && f->offset + len < f->end;
}

struct frames *frames_open(int fd, uint64_t offset, uint64_t end)
{
	struct frames *f = calloc(1, sizeof(*f));
	bool ok;

	if (!f)
		return NULL;
	f->fd = fd;
	f->offset = f->given = offset;
	f->end = end;
	f->guess = FIRST_GUESS;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	ok = is_worth_it(f);
	for (int i = 0; ok && i < SLOTS; i++)
		ok = (f->slots[i].out = malloc(FRAME_BYTES_MAX)) != NULL;
	while (ok && f->n_threads < THREADS && pthread_create(&f->threads[f->n_threads], NULL, work, f) == 0)
		f->n_threads++;
	if (f->n_threads)
		return f;
	frames_close(f);
	return NULL;
}

const uint8_t *frames_next(struct frames *f, size_t *len_ret)
{
	struct slot *s;

	pthread_mutex_lock(&f->lock);
	for (;; f->give++) {
		while ((s = slot_at(f, f->give))->state == FREE || s->state == BUSY)
			pthread_cond_wait(&f->changed, &f->lock);
		if (s->state == END)
			break;
		if (s->state == DONE) {
			f->given = s->end;
			s->state = GIVEN;
			if (s->out_len)
				break;
		}
		s->state = FREE;
		pthread_cond_broadcast(&f->changed);
	}
	*len_ret = s->state == END ? 0 : s->out_len;
	s = s->state == END ? NULL : s;
	pthread_mutex_unlock(&f->lock);
	return s ? s->out : NULL;
}

uint64_t frames_offset(const struct frames *f) { return f->given; }

void frames_close(struct frames *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->stopping = true;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	for (int i = 0; i < f->n_threads; i++)
		pthread_join(f->threads[i], NULL);
	for (int i = 0; i < SLOTS; i++) {
		free(f->slots[i].in);
		free(f->slots[i].out);
	}
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->changed);
	free(f);
}
