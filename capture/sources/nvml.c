/*
 * NVIDIA GPUs, through the driver's management library.
 *
 * The library is loaded in a worker: a call into a sick driver may never return,
 * and then only the worker hangs.  Between two samples the worker waits for Xid
 * events, so that they are recorded when they happen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bundle/cleanup.h"
#include "capture/sources/gpu_message.h"
#include "capture/sources/nvml.h"
#include "capture/sources/sources.h"
#include "capture/sources/ticks.h"

#define DEVICE_EVERY_NS (600 * NS_PER_S)	/* identities again, so that the ring always holds one */
#define LOOK_AGAIN_NS (60 * NS_PER_S)	/* a device that was gone */
#define BUDGET_NS (20 * NS_PER_S)

struct nvml_worker {
	struct nvml nvml;
	struct worker_link *link;
	struct nvml_gpu gpu[NVML_DEVICES_MAX];
	unsigned int n;
	struct nvml_event_set *events;	/* NULL: none of the devices has any */
	bool slow_now;			/* an event came: ask for everything */
};

static void report(struct nvml_worker *w, const struct nvml_gpu *g, enum gpu_event event, uint64_t value,
		   const char *what)
{
	const struct record_gpu_device *id = &g->identity;
	struct gpu_message m = { .e = { .index = id->index, .event = event, .value = value } };
	int n = snprintf(m.text, sizeof(m.text), "%s on GPU %04x:%02x:%02x.0 (%s, index %u)", what, id->pci_domain,
			 id->pci_bus, id->pci_device, id->uuid, id->index);

	gpu_message_send(w->link, loop_now(), &m, (size_t)n);
}

static void record_identity(struct nvml_worker *w, const struct nvml_gpu *g)
{
	worker_record(w->link, STREAM_GPU, REC_GPU_DEVICE, loop_now(), &g->identity, sizeof(g->identity), NULL, 0);
}

/* Note that a device stopped, or began again, to answer. */
static void note_lost(struct nvml_worker *w, struct nvml_gpu *g, nvml_return status)
{
	bool was_lost = g->lost;

	g->lost = status != NVML_SUCCESS;
	if (g->lost && !was_lost)
		report(w, g, GPU_EVENT_LOST, (uint64_t)status, nvml_error(&w->nvml, status));
}

static void find_devices(struct nvml_worker *w)
{
	for (unsigned int i = 0; i < w->n; i++) {
		struct nvml_gpu *g = &w->gpu[i];
		nvml_return status = w->nvml.handle(i, &g->device);

		memset(&g->last, 0xff, sizeof(g->last));
		g->last.reserved = 0;
		g->identity.index = g->last.index = i;
		if (status) {
			g->device = NULL;
			note_lost(w, g, status);
			continue;
		}
		note_lost(w, g, nvml_identify(&w->nvml, g));
		record_identity(w, g);
	}
}

static void register_events(struct nvml_worker *w)
{
	struct nvml_event_set *set = NULL;
	unsigned int registered = 0;

	if (!w->nvml.event_wait || NVML_CALL(&w->nvml, event_set, &set))
		return;
	for (unsigned int i = 0; i < w->n; i++) {
		unsigned long long types = NVML_EVENT_XID;

		if (!w->gpu[i].device || (w->nvml.event_types && w->nvml.event_types(w->gpu[i].device, &types)) ||
		    !(types & NVML_EVENT_XID))
			continue;
		registered += !NVML_CALL(&w->nvml, event_register, w->gpu[i].device, NVML_EVENT_XID, set);
	}
	if (registered)
		w->events = set;
	else
		NVML_CALL(&w->nvml, event_set_free, set);
}

/* The set broke, as one does when a device is gone; a new one is made when devices are looked for again. */
static void drop_events(struct nvml_worker *w)
{
	NVML_CALL(&w->nvml, event_set_free, w->events);
	w->events = NULL;
}

static void note_event(struct nvml_worker *w, const struct nvml_event *e)
{
	char what[48];

	if (!(e->type & NVML_EVENT_XID))
		return;
	snprintf(what, sizeof(what), "Xid %llu", (unsigned long long)e->data);
	for (unsigned int i = 0; i < w->n; i++)
		if (w->gpu[i].device && w->gpu[i].device == e->device)
			report(w, &w->gpu[i], GPU_EVENT_XID, e->data, what);
	w->slow_now = true;
}

/* Until `until_ns`; false: the parent is gone. */
static bool wait_for_events(struct nvml_worker *w, int64_t until_ns)
{
	for (;;) {
		int64_t left_ns = until_ns - loop_now();
		int left_ms = left_ns > 0 ? (int)((left_ns + NS_PER_MS - 1) / NS_PER_MS) : 0;
		struct nvml_event e = { 0 };
		nvml_return status;

		if (ticks_parent_calls(w->link, w->events ? 0 : left_ms))
			return false;
		if (!left_ms || !w->events)
			return true;
		status = w->nvml.event_wait(w->events, &e, (unsigned int)left_ms);
		if (status == NVML_SUCCESS)
			note_event(w, &e);
		else if (status != NVML_TIMEOUT)
			drop_events(w);
	}
}

static void sample_all(struct nvml_worker *w, bool slow, bool look_again)
{
	for (unsigned int i = 0; i < w->n; i++) {
		struct nvml_gpu *g = &w->gpu[i];

		if (g->lost && !look_again) {
			g->last.lost = 1;	/* do not provoke a driver that is in trouble */
		} else {
			if (!g->device && w->nvml.handle(i, &g->device) == NVML_SUCCESS) {
				nvml_identify(&w->nvml, g);
				record_identity(w, g);
			}
			note_lost(w, g, nvml_sample(&w->nvml, g, slow));
		}
		worker_record(w->link, STREAM_GPU, REC_GPU_SAMPLE, loop_now(), &g->last, sizeof(g->last), NULL, 0);
	}
	worker_alive(w->link);
}

static bool open_library(struct nvml_worker *w)
{
	char why[160];
	nvml_return status;

	if (!nvml_load(&w->nvml, why, sizeof(why))) {
		worker_state(w->link, SOURCE_ABSENT, "%s", why);
		return false;
	}
	status = w->nvml.init();
	if (!status)
		status = w->nvml.count(&w->n);
	if (status) {
		worker_state(w->link,
			     status == NVML_DRIVER_NOT_LOADED ? SOURCE_ABSENT :
			     status == NVML_NO_PERMISSION ? SOURCE_DENIED : SOURCE_FAILED,
			     "NVML: %s", nvml_error(&w->nvml, status));
		return false;
	}
	if (w->n > NVML_DEVICES_MAX)
		w->n = NVML_DEVICES_MAX;
	if (!w->n)
		worker_state(w->link, SOURCE_ABSENT, "NVML knows no GPU");
	return w->n > 0;
}

void nvml_run(struct worker_link *l, void *ctx)
{
	const struct nvml_options *opt = ctx;
	_cleanup_free_ struct nvml_worker *w = calloc(1, sizeof(*w));
	struct ticks ticks = ticks_every(opt->sample_ms);
	int64_t told_ns = ticks.next_ns, looked_ns = ticks.next_ns;

	if (!w)
		return;
	w->link = l;
	if (!open_library(w))
		return;
	find_devices(w);
	register_events(w);
	worker_state(l, SOURCE_OK, "%u GPUs%s", w->n, w->events ? "" : "; no Xid events");
	for (uint64_t tick = 0;; tick++) {
		bool look_again = loop_now() - looked_ns >= LOOK_AGAIN_NS;

		if (look_again) {
			looked_ns = loop_now();
			if (!w->events)
				register_events(w);
		}
		sample_all(w, tick % NVML_SLOW_TICKS == 0 || w->slow_now, look_again);
		w->slow_now = false;
		if (loop_now() - told_ns >= DEVICE_EVERY_NS) {
			told_ns = loop_now();
			for (unsigned int i = 0; i < w->n; i++)
				record_identity(w, &w->gpu[i]);
		}
		if (!wait_for_events(w, ticks_advance(&ticks)))
			return;
	}
}

/* ---- in the daemon ---- */

struct nvml_source {
	struct nvml_options options;
	struct attached_worker *worker;
};

static int nvml_start(struct capture *c, void **ret, struct error *err)
{
	_cleanup_free_ struct nvml_source *s = calloc(1, sizeof(*s));

	if (!s)
		return error_set(err, ERR_NOMEM, "no memory");
	s->options.sample_ms = c->config.sample_ms;
	s->worker =
		capture_attach_worker(c, "nvml", nvml_run, &s->options, BUDGET_NS + s->options.sample_ms * NS_PER_MS,
				      gpu_message_trigger, NULL, err);
	if (!s->worker)
		return -1;
	*ret = take(s);
	return 0;
}

static void nvml_stop(struct capture *c, void *data)
{
	struct nvml_source *s = data;

	if (!s)
		return;
	capture_detach_worker(c, s->worker);
	free(s);
}

const struct source source_nvml = {
	.name = "nvml",
	.what = "NVIDIA GPUs: health, load, clocks, Xid events",
	.start = nvml_start,
	.stop = nvml_stop,
};
