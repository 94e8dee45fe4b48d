#include "capture/trigger.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bundle/cleanup.h"
#include "capture/capture.h"
#include "capture/dumps.h"
#include "capture/trigger_watch.h"

#define RECENT_MAX 256		/* triggers that are remembered; the one seen longest ago gives way */
#define BUNDLES_MAX 3600	/* bundles_per_hour at most */
#define HOUR_NS (3600 * NS_PER_S)

struct recent {
	char kind[24];
	int32_t rank;
	int64_t last_ns;
};

struct triggers {
	struct recent recent[RECENT_MAX];
	size_t n_recent;
	int64_t bundle_ns[BUNDLES_MAX];	/* starts, a ring of bundles_per_hour */
	size_t n_bundles;		/* ever */
	int64_t dump_ns;		/* start of the latest dump */
	uint64_t dump_id;
	bool told_limit;		/* that the hour's bundles are used up */
	struct trigger_watch *watch;
};

int triggers_open(struct capture *c, struct error *err)
{
	c->triggers = calloc(1, sizeof(*c->triggers));
	if (!c->triggers)
		return error_set(err, ERR_NOMEM, "no memory");
	c->triggers->watch = trigger_watch_open();
	return 0;
}

void triggers_close(struct capture *c)
{
	if (!c->triggers)
		return;
	trigger_watch_close(c->triggers->watch);
	free(c->triggers);
	c->triggers = NULL;
}

void trigger_tick(struct capture *c, int64_t monotonic_ns)
{
	if (c->triggers && c->triggers->watch)
		trigger_watch_look(c->triggers->watch, c, monotonic_ns);
}

static bool is_off(const struct config *c, const char *kind)
{
	const struct {
		const char *kind;
		bool on;
	} switches[] = {
		{ "exit", c->trigger_exit }, { "oom", c->trigger_oom }, { "kernel", c->trigger_kernel },
		{ "gpu", c->trigger_kernel },
		{ "flight", c->trigger_flight }, { "sigterm", c->trigger_sigterm },
	};

	for (size_t i = 0; i < ARRAY_SIZE(switches); i++)
		if (!strcmp(switches[i].kind, kind))
			return !switches[i].on;
	return false;
}

static struct recent *recent_find(struct triggers *t, const char *kind, int32_t rank)
{
	for (size_t i = 0; i < t->n_recent; i++)
		if (t->recent[i].rank == rank && !strncmp(t->recent[i].kind, kind, sizeof(t->recent[i].kind) - 1))
			return &t->recent[i];
	return NULL;
}

static struct recent *recent_add(struct triggers *t, const char *kind, int32_t rank)
{
	struct recent *r = &t->recent[0];

	if (t->n_recent < RECENT_MAX)
		r = &t->recent[t->n_recent++];
	else
		for (size_t i = 1; i < RECENT_MAX; i++)
			r = t->recent[i].last_ns < r->last_ns ? &t->recent[i] : r;
	*r = (struct recent){ .rank = rank };
	strncpy(r->kind, kind, sizeof(r->kind) - 1);
	return r;
}

/* Seen within dedup_s before?  Remembers it either way, so that a steady stream of equal ones stays one. */
static bool is_repeated(struct triggers *t, const char *kind, int32_t rank, int64_t now, int64_t dedup_ns)
{
	struct recent *r = recent_find(t, kind, rank);
	bool repeated = r && now - r->last_ns < dedup_ns;

	if (!r)
		r = recent_add(t, kind, rank);
	r->last_ns = now;
	return repeated;
}

/* The hour's bundles are used up. */
static bool is_over_rate(const struct triggers *t, const struct config *c, int64_t now)
{
	size_t most = c->bundles_per_hour < BUNDLES_MAX ? c->bundles_per_hour : BUNDLES_MAX;

	return t->n_bundles >= most && now - t->bundle_ns[(t->n_bundles - most) % BUNDLES_MAX] < HOUR_NS;
}

static uint64_t new_id(void) { return (uint64_t)clock_now().realtime_ns; }

/*
 * The id of the bundle that this trigger goes into, 0: none.  Within the post window
 * it joins the dump that runs, at no charge.
 */
static uint64_t admit(struct capture *c, const char *kind, int32_t rank, int64_t now, bool *limited_ret)
{
	struct triggers *t = c->triggers;
	bool manual = !strcmp(kind, "manual");

	*limited_ret = false;
	if (is_repeated(t, kind, rank, now, (int64_t)c->config.dedup_s * NS_PER_S) && !manual)
		return 0;
	if (t->dump_id && now - t->dump_ns < (int64_t)c->config.post_s * NS_PER_S)
		return t->dump_id;
	*limited_ret = !manual && is_over_rate(t, &c->config, now);
	if (*limited_ret)
		return 0;
	if (!manual)
		t->bundle_ns[t->n_bundles++ % BUNDLES_MAX] = now;
	t->told_limit = false;
	t->dump_ns = now;
	t->dump_id = new_id();
	return t->dump_id;
}

static void record(struct capture *c, const char *kind, int32_t pid, int32_t rank, uint64_t id, int64_t now,
		   const char *reason)
{
	struct record_trigger r = { .pid = pid, .rank = rank, .id = id };

	strncpy(r.kind, kind, sizeof(r.kind) - 1);
	ring_put(c->ring, STREAM_HOST, REC_TRIGGER, now, &r, sizeof(r), reason, strlen(reason));
}

void trigger_raise(struct capture *c, const char *kind, int32_t pid, int32_t rank, const char *fmt, ...)
{
	int64_t now = loop_now();
	bool limited;
	char reason[512];
	uint64_t id;
	va_list ap;

	if (!c->triggers || is_off(&c->config, kind))
		return;
	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	id = admit(c, kind, rank, now, &limited);
	record(c, kind, pid, rank, id, now, reason);
	if (id) {
		capture_say(c, "trigger %s: %s", kind, reason);
		if (!dumps_start(c, kind, reason, pid, rank))
			capture_say(c, "trigger %s: no dump could be started", kind);
	} else if (limited && !c->triggers->told_limit) {
		c->triggers->told_limit = true;
		capture_say(c, "trigger %s: %s; recorded, not dumped: bundles_per_hour (%u) is used up", kind, reason,
			    c->config.bundles_per_hour);
	}
}
