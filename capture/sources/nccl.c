/* nccl - the source that sees calls into the NCCL libraries which tracked processes map. */
#include <malloc.h>
#include <string.h>

#include "bundle/cleanup.h"
#include "capture/bpf/nccl.skel.h"
#include "capture/sources/bpf.h"
#include "capture/sources/nccl_attach.h"
#include "capture/sources/probe_stream.h"
#include "capture/sources/sources.h"

#define EVENTS_BYTES (2u << 20)		/* 300 ms of 50,000 calls a second */
#define CACHE 16

struct nccl_source {
	struct capture *c;
	struct probe_stream stream;
	struct probe probe;
	struct attached_worker *worker;
	struct tracked *cache[CACHE];	/* during one drain, by pid */
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

static void on_event(void *ctx, const struct probe_event *e, size_t size)
{
	struct nccl_source *s = ctx;
	struct tracked *t;
	uint32_t pid;			/* first in both kinds of record */

	(void)size;
	memcpy(&pid, e + 1, sizeof(pid));
	t = tracked_of(s, pid);
	if (t)
		t->last_call_ns = e->monotonic_ns;
	ring_put(s->c->ring, STREAM_NCCL, e->kind, e->monotonic_ns, e + 1, e->bytes, NULL, 0);
}

static void on_drain(void *ctx)
{
	struct nccl_source *s = ctx;

	memset(s->cache, 0, sizeof(s->cache));
}

/* ---- libraries ---- */

static void ask(struct nccl_source *s, const char *path)
{
	if (*path && s->worker && !attached_worker_ask(s->worker, NCCL_LIBRARY, path, strlen(path)))
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

static void on_look(void *ctx)
{
	struct nccl_source *s = ctx;
	struct probe_counts lost = probe_counts_take(&s->stream.maps, &s->stream.counts);

	if (lost.n[COUNT_DROPPED])
		ring_lost(s->c->ring, STREAM_NCCL, "nccl", lost.n[COUNT_DROPPED]);
	if (s->ask_again)
		ask_all(s);
}

static const struct probe_stream_ops ops = { .begin = on_drain, .event = on_event, .look = on_look };

/* ---- life ---- */

static const struct probe_desc desc = { "nccl", nccl_probe__elf_bytes, NULL };

static void nccl_stop(struct capture *c, void *data)
{
	struct nccl_source *s = data;

	if (!s)
		return;
	capture_detach_worker(c, s->worker);
	s->worker = NULL;
	probe_stream_close(&s->stream);
	probe_unload(&s->probe);
	free(s);
}

static int begin(struct nccl_source *s, struct error *err)
{
	struct btf *kernel = btf__load_vmlinux_btf();
	int r = probe_load(&desc, &s->stream.maps, kernel, &s->probe, err);

	btf__free(kernel);
	malloc_trim(0);
	if (r || probe_stream_begin(&s->stream, &ops, s, err))
		return -1;
	say_state(s);
	s->worker = capture_attach_worker(s->c, "nccl", nccl_attach_run, s->probe.obj, NCCL_ATTACH_BUDGET_NS, on_answer,
					  s, err);
	return s->worker ? 0 : -1;
}

static int nccl_start(struct capture *c, void **ret, struct error *err)
{
	_cleanup_free_ struct nccl_source *s = calloc(1, sizeof(*s));

	if (!s)
		return error_set(err, ERR_NOMEM, "no memory");
	s->c = c;
	if (probe_stream_open(&s->stream, c, "nccl", EVENTS_BYTES, bpf_tracked_map(c), (struct probe_settings){ 0 }, err))
		return -1;
	if (begin(s, err)) {
		nccl_stop(c, take(s));
		return -1;
	}
	*ret = take(s);
	return 0;
}

static void nccl_tracked(struct capture *c, void *data, const struct tracked *t)
{
	struct nccl_source *s = data;

	(void)c;
	probe_track(&s->stream.maps, t);	/* also where the map is shared: its owner may stop */
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
