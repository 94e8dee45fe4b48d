#include "capture/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

#include "bundle/cleanup.h"

#define EVENTS_PER_WAIT 64

/*
 * A removed watch stays allocated until the next turn of the loop: an event of
 * the present batch may still point at it.
 */
struct loop_watch {
	struct loop_watch *next, **link;	/* in loop.fds or loop.timers; `link` points at what points here */
	struct loop_watch *next_dead;
	bool is_dead;
	int fd;					/* -1: a timer */
	loop_fd_fn *on_fd;
	loop_timer_fn *on_timer;
	void *ctx;
	int64_t due_ns, period_ns;
};

struct loop {
	int epoll_fd;
	bool stopped;
	struct loop_watch *fds, *timers;
	struct loop_watch *dead;
	struct loop_watch *cursor;		/* the timer that comes after the one that runs */
};

static void loop_closep(struct loop **l) { loop_close(*l); }

int64_t loop_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int loop_open(struct loop **ret, struct error *err)
{
	_cleanup_(loop_closep) struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return error_set(err, ERR_NOMEM, "no memory");
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0)
		return error_sys(err, "cannot make an epoll instance");
	*ret = take(l);
	return 0;
}

static void free_dead(struct loop *l)
{
	while (l->dead) {
		struct loop_watch *w = l->dead;

		l->dead = w->next_dead;
		free(w);
	}
}

void loop_close(struct loop *l)
{
	if (!l)
		return;
	while (l->fds)
		loop_remove(l, l->fds);
	while (l->timers)
		loop_remove(l, l->timers);
	free_dead(l);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	free(l);
}

static struct loop_watch *watch_new(struct loop_watch **list, struct error *err)
{
	struct loop_watch *w = calloc(1, sizeof(*w));

	if (!w) {
		error_set(err, ERR_NOMEM, "no memory");
		return NULL;
	}
	w->fd = -1;
	w->next = *list;
	w->link = list;
	if (w->next)
		w->next->link = &w->next;
	*list = w;
	return w;
}

struct loop_watch *loop_add_fd(struct loop *l, int fd, uint32_t events, loop_fd_fn *fn, void *ctx, struct error *err)
{
	struct loop_watch *w = watch_new(&l->fds, err);
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (!w)
		return NULL;
	w->on_fd = fn;
	w->ctx = ctx;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		error_sys(err, "cannot watch descriptor %d", fd);
		loop_remove(l, w);
		return NULL;
	}
	w->fd = fd;
	return w;
}

struct loop_watch *loop_add_timer(struct loop *l, int64_t first_ns, int64_t period_ns, loop_timer_fn *fn, void *ctx,
				  struct error *err)
{
	struct loop_watch *w = watch_new(&l->timers, err);

	if (!w)
		return NULL;
	w->on_timer = fn;
	w->ctx = ctx;
	w->due_ns = loop_now() + first_ns;
	w->period_ns = period_ns;
	return w;
}

void loop_remove(struct loop *l, struct loop_watch *w)
{
	if (!w || w->is_dead)
		return;
	if (w->fd >= 0)
		epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	if (l->cursor == w)
		l->cursor = w->next;
	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
	w->is_dead = true;
	w->next_dead = l->dead;
	l->dead = w;
}

/* Milliseconds until the next timer, rounded up; -1: none. */
static int wait_ms(const struct loop *l)
{
	int64_t due = INT64_MAX, ms;

	for (const struct loop_watch *w = l->timers; w; w = w->next)
		due = w->due_ns < due ? w->due_ns : due;
	if (due == INT64_MAX)
		return -1;
	ms = (due - loop_now() + NS_PER_MS - 1) / NS_PER_MS;
	return ms < 0 ? 0 : ms > INT_MAX ? INT_MAX : (int)ms;
}

static void run_timers(struct loop *l)
{
	int64_t now = loop_now();

	for (struct loop_watch *w = l->timers; w; w = l->cursor) {
		l->cursor = w->next;
		if (w->due_ns > now)
			continue;
		if (w->period_ns)
			w->due_ns = now - now % w->period_ns + w->period_ns;
		w->on_timer(w->ctx, now);
		if (!w->period_ns)
			loop_remove(l, w);
	}
	l->cursor = NULL;
}

int loop_run(struct loop *l, struct error *err)
{
	l->stopped = false;
	while (!l->stopped) {
		struct epoll_event ev[EVENTS_PER_WAIT];
		int n = epoll_wait(l->epoll_fd, ev, EVENTS_PER_WAIT, wait_ms(l));

		if (n < 0 && errno != EINTR)
			return error_sys(err, "cannot wait for events");
		for (int i = 0; i < n; i++) {
			struct loop_watch *w = ev[i].data.ptr;

			if (!w->is_dead)
				w->on_fd(w->ctx, w->fd, ev[i].events);
		}
		run_timers(l);
		free_dead(l);
	}
	return 0;
}

void loop_stop(struct loop *l) { l->stopped = true; }
