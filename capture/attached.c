#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "bundle/cleanup.h"
#include "capture/capture.h"

#define MESSAGES_PER_TURN 64		/* then the loop's other callbacks have their turn */
#define DIES_WITHIN_NS (5 * NS_PER_S)	/* of SIGKILL; one that sits in an uninterruptible sleep does not */
#define AGAIN_FIRST_NS (10 * NS_PER_S)	/* before a worker is started again; doubled each time ... */
#define AGAIN_MOST_NS (600 * NS_PER_S)	/* ... up to this; one that ran for so long begins anew */

struct attached_worker {
	struct capture *c;
	const char *source;
	worker_fn *fn;
	void *fn_ctx;
	int64_t budget_ns;
	worker_own_fn *own;
	void *own_ctx;

	struct worker w;
	struct loop_watch *watch, *timer;
	int64_t started_ns, ended_ns;
	int64_t again_ns;		/* when to start it again; 0: it runs */
	int64_t wait_ns;
	bool has_told;			/* its last state was not SOURCE_OK: its end needs no other reason */
	bool busy, detached;		/* detached while busy, inside own(): freed when the callback is through */
	uint8_t buf[WORKER_MESSAGE_BYTES];
};

/* The process is let go; the timer starts the next one. */
static void end(struct attached_worker *a, const char *why)
{
	int64_t now = loop_now();

	loop_remove(a->c->loop, a->watch);
	a->watch = NULL;
	worker_end(&a->w);
	if (!a->has_told)
		capture_state(a->c, a->source, SOURCE_FAILED, "%s", why);
	a->ended_ns = now;
	a->wait_ns = !a->wait_ns || now - a->started_ns > AGAIN_MOST_NS ? AGAIN_FIRST_NS : a->wait_ns * 2;
	if (a->wait_ns > AGAIN_MOST_NS)
		a->wait_ns = AGAIN_MOST_NS;
	a->again_ns = now + a->wait_ns;
}

static void take_record(struct attached_worker *a, const struct worker_message *m, const uint8_t *payload)
{
	struct record_loss loss;

	if (m->stream >= STREAM_COUNT)
		return;
	if (m->kind != REC_LOSS) {
		ring_put(a->c->ring, m->stream, m->kind, m->monotonic_ns, payload, m->bytes, NULL, 0);
	} else if (m->bytes >= sizeof(loss)) {
		memcpy(&loss, payload, sizeof(loss));
		ring_lost(a->c->ring, m->stream, a->source, loss.lost);
	}
}

static void take_message(struct attached_worker *a, const struct worker_message *m, const uint8_t *payload)
{
	if (m->type == WORKER_RECORD)
		take_record(a, m, payload);
	else if (m->type == WORKER_OWN && a->own)
		a->own(a->c, a->own_ctx, m->kind, payload, m->bytes);
	if (m->type != WORKER_STATE)
		return;
	a->has_told = m->kind != SOURCE_OK;
	capture_state(a->c, a->source, m->kind <= SOURCE_LOST ? m->kind : SOURCE_FAILED, "%.*s", (int)m->bytes,
		      (const char *)payload);
}

static void on_readable(void *ctx, int fd, uint32_t events)
{
	struct attached_worker *a = ctx;
	int r = 1;

	(void)fd;
	(void)events;
	a->busy = true;
	for (int i = 0; i < MESSAGES_PER_TURN && r > 0 && !a->detached; i++) {
		_cleanup_close_ int member = -1;
		struct worker_message m;
		const uint8_t *payload;

		r = worker_receive(&a->w, a->buf, &m, &payload, &member);
		if (r > 0)
			take_message(a, &m, payload);
	}
	a->busy = false;
	if (a->detached)
		capture_detach_worker(a->c, a);
	else if (r < 0)
		end(a, "its worker ended; started again later");
}

static int begin(struct attached_worker *a, struct error *err)
{
	if (worker_start(&a->w, a->source, a->fn, a->fn_ctx, a->budget_ns, err))
		return -1;
	a->watch = loop_add_fd(a->c->loop, a->w.fd, EPOLLIN, on_readable, a, err);
	if (!a->watch) {
		worker_end(&a->w);
		return -1;
	}
	a->started_ns = loop_now();
	a->again_ns = 0;
	a->has_told = false;
	return 0;
}

static void restart(struct attached_worker *a)
{
	struct error err = { 0 };
	bool told = a->has_told;
	char text[512];

	if (begin(a, &err) == 0) {
		if (!told)
			capture_state(a->c, a->source, SOURCE_OK, "its worker was started again");
		return;
	}
	error_text(&err, text, sizeof(text));
	capture_state(a->c, a->source, SOURCE_FAILED, "%s", text);
	a->again_ns = loop_now() + AGAIN_MOST_NS;
}

static void on_tick(void *ctx, int64_t now)
{
	struct attached_worker *a = ctx;

	if (!a->again_ns) {
		if (worker_is_hung(&a->w, now)) {
			a->has_told = false;
			end(a, "hung; its worker was abandoned");
		}
		return;
	}
	if (!worker_end(&a->w)) {
		if (now - a->ended_ns > DIES_WITHIN_NS)
			capture_state(a->c, a->source, SOURCE_FAILED, "hung; its worker cannot be killed (process %d)", (int)a->w.pid);
	} else if (now >= a->again_ns) {
		restart(a);
	}
}

struct attached_worker *capture_attach_worker(struct capture *c, const char *source, worker_fn *fn, void *fn_ctx,
					      int64_t budget_ns, worker_own_fn *own, void *own_ctx, struct error *err)
{
	_cleanup_free_ struct attached_worker *a = malloc(sizeof(*a));	/* not zeroed: `buf` costs what is used of it */

	if (!a) {
		error_set(err, ERR_NOMEM, "no memory");
		return NULL;
	}
	memset(a, 0, offsetof(struct attached_worker, buf));
	a->c = c;
	a->source = source;
	a->fn = fn;
	a->fn_ctx = fn_ctx;
	a->budget_ns = budget_ns;
	a->own = own;
	a->own_ctx = own_ctx;
	a->w = (struct worker)WORKER_NONE;
	a->timer = loop_add_timer(c->loop, NS_PER_S, NS_PER_S, on_tick, a, err);
	if (!a->timer)
		return NULL;
	if (begin(a, err)) {
		loop_remove(c->loop, a->timer);
		return NULL;
	}
	return take(a);
}

bool attached_worker_ask(struct attached_worker *w, uint16_t kind, const void *payload, size_t bytes)
{
	return worker_ask(&w->w, kind, payload, bytes);
}

void capture_detach_worker(struct capture *c, struct attached_worker *w)
{
	if (!w)
		return;
	w->detached = true;
	if (w->busy)
		return;
	loop_remove(c->loop, w->watch);
	loop_remove(c->loop, w->timer);
	worker_end(&w->w);
	free(w);
}
