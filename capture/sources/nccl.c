/* nccl - the source that sees calls into the NCCL libraries which tracked processes map. */
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/epoll.h>

#include "bundle/cleanup.h"
#include "capture/bpf/nccl.skel.h"
#include "capture/sources/bpf.h"
#include "capture/sources/nccl_attach.h"
#include "capture/sources/probes.h"
#include "capture/sources/sources.h"

#define EVENTS_BYTES (2u << 20)		/* 300 ms of 50,000 calls a second */
#define DRAIN_NS (200 * NS_PER_MS)
#define DRAIN_EVENTS_MAX 65536
#define CACHE 16

struct nccl_source {
	struct capture *c;
	struct probe_maps maps;
	struct ring_buffer *events;
	struct probe probe;
	struct probe_counts counts;
	struct loop_watch *wakeup, *drain, *look;
	struct attached_worker *worker;
	struct tracked *cache[CACHE];	/* during one drain, by pid */
	int left;
	bool ask_again;			/* the worker's socket was full */
	uint32_t libraries, functions, stepped;
};

/* ---- events ---- */

static struct tracked *tracked_of(struct nccl_source *s, uint32_t pid)
{
	struct tracked **t = &s->cache[pid % CACHE];

	if (!*t || (*t)->p.pid != pid)
		*t = track_find(&s->c->track, pid);
	return *t;
}

static int on_event(void *ctx, void *data, size_t size)
{
	struct nccl_source *s = ctx;
	const struct probe_event *e = data;

	if (size >= sizeof(*e) && e->bytes <= size - sizeof(*e)) {
		uint32_t pid;		/* first in both kinds of record */
		struct tracked *t;

		memcpy(&pid, e + 1, sizeof(pid));
		t = tracked_of(s, pid);
		if (t)
			t->last_call_ns = e->monotonic_ns;
		ring_put(s->c->ring, STREAM_NCCL, e->kind, e->monotonic_ns, e + 1, e->bytes, NULL, 0);
	}
	return --s->left > 0 ? 0 : -EAGAIN;
}

static void drain(struct nccl_source *s)
{
	s->left = DRAIN_EVENTS_MAX;
	memset(s->cache, 0, sizeof(s->cache));
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

/* ---- libraries ---- */

static void ask(struct nccl_source *s, const char *path)
{
	if (*path && !attached_worker_ask(s->worker, NCCL_LIBRARY, path, strlen(path)))
		s->ask_again = true;
}

static void ask_all(struct nccl_source *s)
{
	const struct track *t = &s->c->track;

	s->ask_again = false;
	for (size_t i = 0; i < s->c->config.nccl_libraries.n; i++)
		ask(s, s->c->config.nccl_libraries.item[i]);
	for (size_t i = 0; i < t->n; i++)
		if (!t->by_slot[i].gone)
			ask(s, t->by_slot[i].nccl_path);
}

static void say_state(struct nccl_source *s)
{
	if (!s->libraries)
		capture_state(s->c, "nccl", SOURCE_OK, "no tracked process maps libnccl.so yet");
	else
		capture_state(s->c, "nccl", SOURCE_OK, "%u functions in %u libraries, %u of them single-stepped",
			      s->functions, s->libraries, s->stepped);
}

static void on_answer(struct capture *c, void *ctx, uint16_t kind, const uint8_t *payload, size_t bytes)
{
	struct nccl_source *s = ctx;
	struct nccl_attached a;

	if (kind == NCCL_HELLO) {
		s->libraries = s->functions = s->stepped = 0;
		say_state(s);
		ask_all(s);
	} else if (kind == NCCL_ATTACHED && bytes >= sizeof(a)) {
		memcpy(&a, payload, sizeof(a));
		s->libraries++;
		s->functions += a.functions;
		s->stepped += a.stepped;
		say_state(s);
	} else if (kind == NCCL_REFUSED || kind == NCCL_DENIED) {
		enum source_state state = kind == NCCL_DENIED ? SOURCE_DENIED : SOURCE_FAILED;

		capture_state(c, "nccl", s->libraries ? SOURCE_OK : state, "%.*s", (int)bytes, (const char *)payload);
	}
}

static void look(struct nccl_source *s)
{
	struct probe_counts lost = probe_counts_take(&s->maps, &s->counts);

	if (lost.n[COUNT_DROPPED])
		ring_lost(s->c->ring, STREAM_NCCL, "nccl", lost.n[COUNT_DROPPED]);
}

static void on_look(void *ctx, int64_t monotonic_ns)
{
	struct nccl_source *s = ctx;

	(void)monotonic_ns;
	look(s);
	if (s->ask_again)
		ask_all(s);
}

/* ---- life ---- */

static const struct probe_desc desc = { "nccl", nccl_probe__elf_bytes, NULL };

static void nccl_stop(struct capture *c, void *data)
{
	struct nccl_source *s = data;

	if (!s)
		return;
	capture_detach_worker(c, s->worker);
	loop_remove(c->loop, s->wakeup);
	loop_remove(c->loop, s->drain);
	loop_remove(c->loop, s->look);
	if (s->events) {		/* what came since the last time */
		drain(s);
		look(s);
	}
	probe_unload(&s->probe);
	ring_buffer__free(s->events);
	probe_maps_close(&s->maps);
	free(s);
}

static int load(struct nccl_source *s, struct error *err)
{
	struct probe_settings set = { .wakeup_bytes = EVENTS_BYTES / 4 };
	struct btf *kernel;
	uint32_t zero = 0;
	int r;

	if (probe_maps_make(EVENTS_BYTES, bpf_tracked_map(s->c), &s->maps, err))
		return -1;
	bpf_map_update_elem(s->maps.settings, &zero, &set, BPF_ANY);
	s->events = ring_buffer__new(s->maps.events, on_event, s, NULL);
	if (!s->events)
		return error_sys(err, "cannot map the event buffer");
	kernel = btf__load_vmlinux_btf();
	r = probe_load(&desc, &s->maps, kernel, &s->probe, err);
	btf__free(kernel);
	malloc_trim(0);
	return r;
}

static int begin(struct nccl_source *s, struct error *err)
{
	struct loop *l = s->c->loop;

	if (load(s, err))
		return -1;
	s->wakeup = loop_add_fd(l, s->maps.events, EPOLLIN | EPOLLET, on_wakeup, s, err);
	if (!s->wakeup)
		return -1;
	s->drain = loop_add_timer(l, DRAIN_NS, DRAIN_NS, on_drain, s, err);
	if (!s->drain)
		return -1;
	s->look = loop_add_timer(l, NS_PER_S, NS_PER_S, on_look, s, err);
	if (!s->look)
		return -1;
	say_state(s);
	s->worker = capture_attach_worker(s->c, "nccl", nccl_attach_run, s->probe.obj, NCCL_ATTACH_BUDGET_NS, on_answer,
					  s, err);
	return s->worker ? 0 : -1;
}

static int nccl_start(struct capture *c, void **ret, struct error *err)
{
	enum source_state state;
	struct nccl_source *s;
	char reason[120];

	libbpf_set_print(NULL);
	if (probes_are_impossible(&state, reason, sizeof(reason))) {
		capture_state(c, "nccl", state, "%s", reason);
		return error_set(err, ERR_UNSUPPORTED, "%s", reason);
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return error_set(err, ERR_NOMEM, "no memory");
	s->c = c;
	s->maps = (struct probe_maps)PROBE_MAPS_NONE;
	if (begin(s, err)) {
		nccl_stop(c, s);
		return -1;
	}
	for (size_t i = 0; i < c->track.n; i++)
		if (!c->track.by_slot[i].gone && c->track.by_slot[i].p.pid)
			probe_track(&s->maps, &c->track.by_slot[i]);
	*ret = s;
	return 0;
}

static void nccl_tracked(struct capture *c, void *data, const struct tracked *t)
{
	struct nccl_source *s = data;

	(void)c;
	probe_track(&s->maps, t);	/* also where the map is shared: its owner may stop */
	if (!t->gone)
		ask(s, t->nccl_path);
}

static void nccl_reload(struct capture *c, void *data)
{
	(void)c;
	ask_all(data);		/* the configuration may name more libraries */
}

const struct source source_nccl = {
	.name = "nccl",
	.what = "communicators and calls, by uprobes on libnccl.so",
	.start = nccl_start,
	.stop = nccl_stop,
	.tracked = nccl_tracked,
	.reload = nccl_reload,
};
