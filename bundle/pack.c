#include "bundle/pack.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "bundle/cleanup.h"

#define SLOTS 6
#define OWN_LEVEL_BYTES ((size_t)64 << 10)	/* fewer bytes share a frame with those of another level */

enum slot_state { FREE, FULL, BUSY, DONE };

struct slot {
	enum slot_state state;
	uint8_t *in, *out;
	size_t in_len, out_len;		/* out_len: 0 and DONE: could not be compressed */
	int level;
	uint64_t mark;			/* its end is this mark; 0: it ends inside something */
};

/* One that is written. */
struct frame {
	uint32_t compressed, bytes;
	uint64_t mark;
};

struct pack {
	int fd;
	pthread_t thread;
	bool has_thread, stopping, writing;
	pthread_mutex_t lock;		/* all below, but the slot that is being filled */
	pthread_cond_t changed;
	struct slot slots[SLOTS];
	uint64_t fill, next, write;	/* numbers of slots: filled by the caller, compressed next, written next */
	struct frame *frames;
	size_t n_frames, cap_frames;
	struct error failed;		/* sticky */
	ZSTD_CCtx *ours;		/* the caller's */
};

static struct slot *slot_at(struct pack *p, uint64_t number) { return &p->slots[number % SLOTS]; }

static void compress(ZSTD_CCtx *cctx, struct slot *s)
{
	size_t n;

	ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, s->level);
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_checksumFlag, 1);
	n = ZSTD_compress2(cctx, s->out, ZSTD_compressBound(PACK_FRAME_BYTES), s->in, s->in_len);
	s->out_len = ZSTD_isError(n) ? 0 : n;
}

static int write_all(int fd, const uint8_t *data, size_t len, struct error *err)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, "cannot write");
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int note_frame(struct pack *p, const struct slot *s, struct error *err)
{
	if (p->n_frames == p->cap_frames) {
		size_t cap = p->cap_frames ? 2 * p->cap_frames : 256;
		struct frame *v = reallocarray(p->frames, cap, sizeof(*v));

		if (!v)
			return error_set(err, ERR_NOMEM, "no memory");
		p->frames = v;
		p->cap_frames = cap;
	}
	p->frames[p->n_frames++] = (struct frame){ (uint32_t)s->out_len, (uint32_t)s->in_len, s->mark };
	return 0;
}

/* Write what is compressed, in order.  Locked; unlocks while it writes. */
static void write_done(struct pack *p)
{
	while (!p->writing && slot_at(p, p->write)->state == DONE) {
		struct slot *s = slot_at(p, p->write);
		struct error err = p->failed;

		p->writing = true;
		pthread_mutex_unlock(&p->lock);
		if (!err.code && s->out_len == 0)
			error_set(&err, ERR_NOMEM, "cannot compress");
		if (!err.code)
			write_all(p->fd, s->out, s->out_len, &err);
		pthread_mutex_lock(&p->lock);
		if (!err.code)
			note_frame(p, s, &err);
		p->failed = err;
		s->state = FREE;
		p->write++;
		p->writing = false;
		pthread_cond_broadcast(&p->changed);
	}
}

/* Compress the next slot that waits, when there is one.  Locked; unlocks meanwhile. */
static bool work_once(struct pack *p, ZSTD_CCtx *cctx)
{
	struct slot *s = slot_at(p, p->next);

	if (s->state != FULL)
		return false;
	s->state = BUSY;
	p->next++;
	pthread_mutex_unlock(&p->lock);
	compress(cctx, s);
	pthread_mutex_lock(&p->lock);
	s->state = DONE;
	write_done(p);
	pthread_cond_broadcast(&p->changed);
	return true;
}

static void *work(void *ctx)
{
	struct pack *p = ctx;
	ZSTD_CCtx *cctx = ZSTD_createCCtx();

	pthread_mutex_lock(&p->lock);
	while (cctx && !p->stopping)
		if (!work_once(p, cctx))
			pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
	ZSTD_freeCCtx(cctx);
	return NULL;
}

int pack_open(int fd, struct pack **ret, struct error *err)
{
	_cleanup_pack_ struct pack *p = calloc(1, sizeof(*p));

	if (!p)
		return error_set(err, ERR_NOMEM, "no memory");
	p->fd = fd;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	p->ours = ZSTD_createCCtx();
	for (int i = 0; i < SLOTS; i++) {
		p->slots[i].in = malloc(PACK_FRAME_BYTES);
		p->slots[i].out = malloc(ZSTD_compressBound(PACK_FRAME_BYTES));
		if (!p->slots[i].in || !p->slots[i].out || !p->ours)
			return error_set(err, ERR_NOMEM, "no memory");
	}
	p->has_thread = pthread_create(&p->thread, NULL, work, p) == 0;	/* without it the caller compresses alone */
	*ret = take(p);
	return 0;
}

void pack_close(struct pack *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	if (p->has_thread)
		pthread_join(p->thread, NULL);
	for (int i = 0; i < SLOTS; i++) {
		free(p->slots[i].in);
		free(p->slots[i].out);
	}
	ZSTD_freeCCtx(p->ours);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->changed);
	free(p->frames);
	free(p);
}

size_t pack_pending(const struct pack *p) { return p->slots[p->fill % SLOTS].in_len; }

int pack_flush(struct pack *p, struct error *err)
{
	struct slot *s = slot_at(p, p->fill);

	pthread_mutex_lock(&p->lock);
	if (s->in_len) {
		s->state = FULL;
		p->fill++;
		pthread_cond_broadcast(&p->changed);
		while ((s = slot_at(p, p->fill))->state != FREE)
			if (!work_once(p, p->ours))
				pthread_cond_wait(&p->changed, &p->lock);
		s->in_len = 0;
		s->mark = 0;
	}
	if (p->failed.code)
		*err = p->failed;
	pthread_mutex_unlock(&p->lock);
	return err->code ? -1 : 0;
}

int pack_write(struct pack *p, const void *data, size_t len, int level, struct error *err)
{
	const uint8_t *from = data;
	struct slot *s = slot_at(p, p->fill);

	if (s->in_len >= OWN_LEVEL_BYTES && s->level != level && pack_flush(p, err))
		return -1;
	s = slot_at(p, p->fill);
	s->level = s->in_len && s->level > level ? s->level : level;
	while (len) {
		size_t n = PACK_FRAME_BYTES - s->in_len < len ? PACK_FRAME_BYTES - s->in_len : len;

		if (n == 0) {
			if (pack_flush(p, err))
				return -1;
			s = slot_at(p, p->fill);
			s->level = level;
			continue;
		}
		memcpy(s->in + s->in_len, from, n);
		s->in_len += n;
		s->mark = 0;
		from += n;
		len -= n;
	}
	return 0;
}

void pack_mark(struct pack *p, uint64_t mark)
{
	if (pack_pending(p))
		slot_at(p, p->fill)->mark = mark;
}

int pack_drain(struct pack *p, struct error *err)
{
	pack_flush(p, err);
	pthread_mutex_lock(&p->lock);
	while (p->write != p->fill)
		if (!work_once(p, p->ours))
			pthread_cond_wait(&p->changed, &p->lock);
	if (p->failed.code)
		*err = p->failed;
	pthread_mutex_unlock(&p->lock);
	return err->code ? -1 : 0;
}

uint64_t pack_rollback(struct pack *p) { return pack_rewind(p, UINT64_MAX); }

uint64_t pack_rewind(struct pack *p, uint64_t mark)
{
	struct error ignored = { 0 };
	uint64_t end = 0;

	slot_at(p, p->fill)->in_len = 0;
	pack_drain(p, &ignored);
	while (p->n_frames && (!p->frames[p->n_frames - 1].mark || p->frames[p->n_frames - 1].mark > mark))
		p->n_frames--;
	for (size_t i = 0; i < p->n_frames; i++)
		end += p->frames[i].compressed;
	if (ftruncate(p->fd, (off_t)end) == 0 && lseek(p->fd, (off_t)end, SEEK_SET) >= 0)
		p->failed = (struct error){ 0 };
	return p->n_frames ? p->frames[p->n_frames - 1].mark : 0;
}

static uint8_t *put32(uint8_t *at, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(v >> 8 * i);
	return at + 4;
}

int pack_finish(struct pack *p, struct error *err)
{
	_cleanup_free_ uint8_t *index = NULL;
	size_t body;
	uint8_t *at;

	if (pack_drain(p, err))
		return -1;
	body = 8 * p->n_frames + 9;
	at = index = malloc(8 + body);
	if (!index)
		return error_set(err, ERR_NOMEM, "no memory");
	at = put32(put32(at, PACK_INDEX_MAGIC), (uint32_t)body);
	for (size_t i = 0; i < p->n_frames; i++)
		at = put32(put32(at, p->frames[i].compressed), p->frames[i].bytes);
	at = put32(at, (uint32_t)p->n_frames);
	*at++ = 0;
	put32(at, PACK_INDEX_FOOT);
	return write_all(p->fd, index, 8 + body, err);
}
