#include "capture/sources/logs.h"

#include <stdlib.h>
#include <string.h>

#include "bundle/cleanup.h"
#include "capture/sources/sources.h"

#define BUDGET_NS (30 * NS_PER_S)	/* a log on a hung file system */

struct logs {
	struct logs_context context;
	struct attached_worker *worker;
};

/* Output of a known rank is that rank's; of an unknown one, the job's. */
static void note_activity(struct capture *c, const struct logs_active *a)
{
	for (size_t i = 0; i < c->track.n; i++) {
		struct tracked *t = &c->track.by_slot[i];

		if (!t->gone && (a->owner.pid < 0 || t->p.pid == (uint32_t)a->owner.pid) && a->written_ns > t->last_log_ns)
			t->last_log_ns = a->written_ns;
	}
}

static void own(struct capture *c, void *ctx, uint16_t kind, const uint8_t *payload, size_t bytes)
{
	struct logs_active active;
	struct logs_process p;

	(void)ctx;
	if (kind == LOGS_ACTIVE && bytes == sizeof(active)) {
		memcpy(&active, payload, sizeof(active));
		note_activity(c, &active);
	}
	if (kind != LOGS_TRIGGER || bytes < sizeof(p))
		return;
	memcpy(&p, payload, sizeof(p));
	trigger_raise(c, "log", p.pid, p.rank, "%.*s", (int)(bytes - sizeof(p)), (const char *)payload + sizeof(p));
}

static int attach(struct capture *c, struct logs *l, struct error *err)
{
	l->context.config = &c->config;
	l->worker = capture_attach_worker(c, "logs", logs_worker, &l->context, BUDGET_NS, own, l, err);
	return l->worker ? 0 : -1;
}

static void tracked(struct capture *c, void *data, const struct tracked *t)
{
	struct logs *l = data;
	struct logs_process p = { .pid = (int32_t)t->p.pid, .rank = t->p.rank };

	(void)c;
	if (!t->gone && t->p.is_rank && l->worker)
		attached_worker_ask(l->worker, LOGS_FOLLOW_PROCESS, &p, sizeof(p));
}

static int start(struct capture *c, void **ret, struct error *err)
{
	_cleanup_free_ struct logs *l = calloc(1, sizeof(*l));

	if (!l)
		return error_set(err, ERR_NOMEM, "no memory");
	if (attach(c, l, err))
		return -1;
	*ret = take(l);
	return 0;
}

static void stop(struct capture *c, void *data)
{
	struct logs *l = data;

	if (!l)
		return;
	capture_detach_worker(c, l->worker);
	free(l);
}

/* A new worker knows the new globs; what the old one had read is read again from the files' last bytes. */
static void reload(struct capture *c, void *data)
{
	struct logs *l = data;
	struct error err = { 0 };

	capture_detach_worker(c, l->worker);
	if (attach(c, l, &err)) {
		capture_state(c, "logs", SOURCE_FAILED, "%s", err.what);
		return;
	}
	for (size_t i = 0; i < c->track.n; i++)
		tracked(c, l, &c->track.by_slot[i]);
}

const struct source source_logs = {
	.name = "logs", .what = "log files, and the output of the job's processes", .start = start, .stop = stop,
	.tracked = tracked, .reload = reload,
};
