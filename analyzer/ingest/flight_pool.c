#include "analyzer/ingest/flight_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/collectives.h"
#include "bundle/cleanup.h"

#define THREADS_MAX 64
#define POOL_SCRATCH_BYTES ((size_t)4 << 30)
#define SLOT_SCRATCH_MIN ((size_t)64 << 20)

enum slot_state { SLOT_FREE, SLOT_QUEUED, SLOT_DONE };

/* One dump on its way: its bytes, and what became of them. */
struct slot {
	enum slot_state state;
	uint8_t *data;
	size_t len, cap;
	struct flight_job job;
	struct flight_dump dump;
	struct error err;
	int ret;
};

struct flight_pool {
	struct store *s;
	struct slot *slots;		/* a ring: submitted, decoded and folded in this order */
	size_t n_slots;
	uint64_t submitted, taken, folded;
	pthread_t threads[THREADS_MAX];
	unsigned n_threads;
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	bool stop;
};

static void decode(struct slot *sl) { sl->ret = flight_read(&sl->dump, sl->data, sl->len, &sl->err); }

static void *worker(void *ctx)
{
	struct flight_pool *p = ctx;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct slot *sl;

		while (!p->stop && p->taken == p->submitted)
			pthread_cond_wait(&p->work, &p->lock);
		if (p->stop)
			break;
		sl = &p->slots[p->taken++ % p->n_slots];
		pthread_mutex_unlock(&p->lock);
		decode(sl);
		pthread_mutex_lock(&p->lock);
		sl->state = SLOT_DONE;
		pthread_cond_signal(&p->done);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* What is wrong with a dump belongs to its file; what is in it still counts. */
static void fold(struct flight_pool *p, struct slot *sl)
{
	struct member *m = &p->s->members[sl->job.member];
	struct error err = { 0 };

	m->sources |= 1u << SRC_FLIGHT;
	if (sl->ret && sl->err.code == ERR_UNSUPPORTED) {
		struct observation o = observation_of("input.unsafe_pickle", SRC_INPUT);
		size_t at = (size_t)sl->err.offset < sl->len ? (size_t)sl->err.offset : 0;
		size_t n = sl->len - at < 64 ? sl->len - at : 64;

		o.scope.rank = sl->job.rank;
		observation_fieldf(p->s, &o, "what", "%s", sl->err.what);
		observation_fieldf(p->s, &o, "offset", "%llu", (unsigned long long)sl->err.offset);
		observation_cite(&o, store_decoded(p->s, sl->job.member, at, sl->data + at, n, sl->err.what,
						   (struct stamp){ 0 }));
		store_observe(p->s, &o);
	}
	if (sl->ret)
		store_damage(p->s, sl->job.member, &sl->err, false);
	/* A dump of which nothing can be read says nothing about its rank. */
	if (sl->ret && !sl->dump.n_entries && !sl->dump.n_groups)
		return;
	if (collectives_fold(p->s, &sl->dump, sl->job.rank, sl->job.member, sl->data, sl->job.captured_ns, &err) == 0)
		return;
	if (sl->job.again)
		collectives_again(p->s, &sl->dump, sl->job.rank);
	else
		store_damage(p->s, sl->job.member, &err, false);
}

/* Wait for the oldest dump that is not folded yet, and fold it. */
static void fold_oldest(struct flight_pool *p)
{
	struct slot *sl = &p->slots[p->folded % p->n_slots];

	pthread_mutex_lock(&p->lock);
	while (sl->state != SLOT_DONE)
		pthread_cond_wait(&p->done, &p->lock);
	pthread_mutex_unlock(&p->lock);
	fold(p, sl);
	sl->state = SLOT_FREE;
	p->folded++;
}

int flight_pool_open(struct store *s, unsigned threads, struct flight_pool **ret, struct error *err)
{
	struct flight_pool *p = calloc(1, sizeof(*p));
	size_t scratch = FLIGHT_SCRATCH_BYTES;

	if (!p)
		return error_set(err, ERR_NOMEM, "no memory");
	p->s = s;
	p->n_slots = threads < 2 ? 1 : 2 * (threads < THREADS_MAX ? threads : THREADS_MAX);
	/* the more dumps at once, the less address space for each */
	while (scratch * p->n_slots > POOL_SCRATCH_BYTES && scratch > SLOT_SCRATCH_MIN)
		scratch /= 2;
	p->slots = calloc(p->n_slots, sizeof(*p->slots));
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->done, NULL);
	for (size_t i = 0; p->slots && i < p->n_slots; i++)
		if (flight_dump_init(&p->slots[i].dump, scratch, err)) {
			flight_pool_close(p);
			return -1;
		}
	while (p->slots && threads >= 2 && p->n_threads < threads && p->n_threads < THREADS_MAX) {
		if (pthread_create(&p->threads[p->n_threads], NULL, worker, p))
			break;
		p->n_threads++;
	}
	if (!p->slots) {
		flight_pool_close(p);
		return error_set(err, ERR_NOMEM, "no memory");
	}
	*ret = p;
	return 0;
}

uint8_t *flight_pool_buffer(struct flight_pool *p, size_t keep, size_t size)
{
	struct slot *sl = &p->slots[p->submitted % p->n_slots];
	uint8_t *bigger;

	if (p->submitted - p->folded == p->n_slots)
		fold_oldest(p);
	if (size > sl->cap) {
		bigger = malloc(size);
		if (!bigger)
			return NULL;
		if (keep)
			memcpy(bigger, sl->data, keep);
		free(sl->data);
		sl->data = bigger;
		sl->cap = size;
	}
	return sl->data;
}

void flight_pool_submit(struct flight_pool *p, size_t len, const struct flight_job *job)
{
	struct slot *sl = &p->slots[p->submitted % p->n_slots];

	sl->len = len;
	sl->job = *job;
	sl->err = (struct error){ 0 };
	if (p->n_threads == 0) {
		decode(sl);
		fold(p, sl);
		p->submitted++;
		p->folded++;
		return;
	}
	pthread_mutex_lock(&p->lock);
	sl->state = SLOT_QUEUED;
	p->submitted++;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

void flight_pool_finish(struct flight_pool *p)
{
	while (p->folded < p->submitted)
		fold_oldest(p);
}

void flight_pool_close(struct flight_pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n_threads; i++)
		pthread_join(p->threads[i], NULL);
	for (size_t i = 0; p->slots && i < p->n_slots; i++) {
		flight_dump_deinit(&p->slots[i].dump);
		free(p->slots[i].data);
	}
	free(p->slots);
	free(p);
}
