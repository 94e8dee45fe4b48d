#include "capture/sources/probe_stream.h"

#include <errno.h>
#include <sys/epoll.h>

#define DRAIN_NS (200 * NS_PER_MS)
#define DRAIN_EVENTS_MAX 65536		/* then the loop looks after its other sources */

static int on_event(void *ctx, void *data, size_t size)
{
	struct probe_stream *s = ctx;
	const struct probe_event *e = data;

	if (size >= sizeof(*e) && e->bytes <= size - sizeof(*e))
		s->ops->event(s->ctx, e, size);
	return --s->left > 0 ? 0 : -EAGAIN;
}

static void drain(struct probe_stream *s)
{
	s->left = DRAIN_EVENTS_MAX;
	if (s->ops->begin)
		s->ops->begin(s->ctx);
	ring_buffer__consume(s->events);
}

static void on_wakeup(void *ctx, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	drain(ctx);
}

static void on_drain(void *ctx, int64_t monotonic_ns)
{
	(void)monotonic_ns;
	drain(ctx);
}

static void on_look(void *ctx, int64_t monotonic_ns)
{
	struct probe_stream *s = ctx;

	(void)monotonic_ns;
	s->ops->look(s->ctx);
}

int probe_stream_open(struct probe_stream *s, struct capture *c, const char *source, uint32_t events_bytes, int tracked,
		      struct probe_settings set, struct error *err)
{
	enum source_state state;
	uint32_t zero = 0;
	char reason[120];

	*s = (struct probe_stream){ .c = c, .maps = PROBE_MAPS_NONE };
	libbpf_set_print(NULL);
	if (probes_are_impossible(&state, reason, sizeof(reason))) {
		capture_state(c, source, state, "%s", reason);
		return error_set(err, ERR_UNSUPPORTED, "%s", reason);
	}
	if (probe_maps_make(events_bytes, tracked, &s->maps, err))
		return -1;
	set.wakeup_bytes = events_bytes / 4;
	bpf_map_update_elem(s->maps.settings, &zero, &set, BPF_ANY);
	s->events = ring_buffer__new(s->maps.events, on_event, s, NULL);
	if (s->events)
		return 0;
	error_sys(err, "cannot map the event buffer");
	probe_maps_close(&s->maps);
	return -1;
}

int probe_stream_begin(struct probe_stream *s, const struct probe_stream_ops *ops, void *ctx, struct error *err)
{
	const struct track *t = &s->c->track;

	s->ops = ops;
	s->ctx = ctx;
	/* Edge-triggered: a level would keep the loop awake as long as events trickle in. */
	if (!(s->wakeup = loop_add_fd(s->c->loop, s->maps.events, EPOLLIN | EPOLLET, on_wakeup, s, err)) ||
	    !(s->drain = loop_add_timer(s->c->loop, DRAIN_NS, DRAIN_NS, on_drain, s, err)) ||
	    !(s->look = loop_add_timer(s->c->loop, NS_PER_S, NS_PER_S, on_look, s, err)))
		return -1;
	for (size_t i = 0; i < t->n; i++)
		if (!t->by_slot[i].gone && t->by_slot[i].p.pid)
			probe_track(&s->maps, &t->by_slot[i]);
	return 0;
}

void probe_stream_close(struct probe_stream *s)
{
	loop_remove(s->c->loop, s->wakeup);
	loop_remove(s->c->loop, s->drain);
	loop_remove(s->c->loop, s->look);
	if (s->events && s->ops) {
		drain(s);
		s->ops->look(s->ctx);
	}
	ring_buffer__free(s->events);
	probe_maps_close(&s->maps);
}
