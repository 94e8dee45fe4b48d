#include "analyzer/ingest/kubernetes.h"

#include <stdlib.h>

#include "analyzer/identity.h"
#include "bundle/cleanup.h"

#define EVENTS_MAX (1u << 20)
#define MESSAGE_BYTES 400	/* longest field value */

/* ---- what the API's words mean ---- */

/* Reasons of events. */
static const struct word {
	const char *reason;
	enum meaning meaning;
} event_reasons[] = {
	{ "FailedScheduling", UNSCHEDULABLE },
	{ "Scheduled", SCHEDULED },
	{ "Started", STARTED },
	{ "Failed", CONTAINER_ERROR },
	{ "BackOff", CONTAINER_ERROR },
	{ "FailedCreatePodSandBox", CONTAINER_ERROR },
	{ "FailedMount", CONTAINER_ERROR },
	{ "FailedAttachVolume", CONTAINER_ERROR },
	{ "FailedPostStartHook", CONTAINER_ERROR },
	{ "InspectFailed", CONTAINER_ERROR },
	{ "ErrImageNeverPull", CONTAINER_ERROR },
	{ "Evicted", EVICTED },
	{ "Preempted", PREEMPTED },
	{ "SpotInterrupted", PREEMPTED },
	{ "UnexpectedAdmissionError", NO_DEVICE },
	{ "TaintManagerEviction", EVICTED },
	{ "EvictionThresholdMet", PRESSURE },
	{ "NodeHasInsufficientMemory", PRESSURE },
	{ "NodeHasDiskPressure", PRESSURE },
	{ "NodeHasInsufficientPID", PRESSURE },
	{ "NodeNotReady", NOT_READY },
	{ "SystemOOM", OOM },
	{ "OOMKilling", OOM },
};

/* Reasons of a container that waits or ended, and why it never ran. */
static const struct word state_reasons[] = {
	{ "ErrImagePull", CONTAINER_ERROR },	    { "ImagePullBackOff", CONTAINER_ERROR },
	{ "ErrImageNeverPull", CONTAINER_ERROR },   { "InvalidImageName", CONTAINER_ERROR },
	{ "ImageInspectError", CONTAINER_ERROR },   { "RegistryUnavailable", CONTAINER_ERROR },
	{ "CreateContainerError", CONTAINER_ERROR }, { "CreateContainerConfigError", CONTAINER_ERROR },
	{ "RunContainerError", CONTAINER_ERROR },   { "PostStartHookError", CONTAINER_ERROR },
	{ "ContainerCannotRun", CONTAINER_ERROR },  { "StartError", CONTAINER_ERROR },
	{ "OOMKilled", OOM },			    { "Evicted", EVICTED },
	{ "Error", ENDED },
};

/* Conditions of nodes and pods, with the status that matters. */
static const struct {
	const char *type, *status;
	enum meaning meaning;
	bool node;
} conditions[] = {
	{ "MemoryPressure", "True", PRESSURE, true },	{ "DiskPressure", "True", PRESSURE, true },
	{ "PIDPressure", "True", PRESSURE, true },	{ "Ready", "False", NOT_READY, true },
	{ "Ready", "Unknown", NOT_READY, true },	{ "PodScheduled", "True", SCHEDULED, false },
	{ "PodScheduled", "False", UNSCHEDULABLE, false }, { "DisruptionTarget", "True", EVICTED, false },
};

static const char *const kinds[] = {
	[UNSCHEDULABLE] = "k8s.unschedulable",	     [SCHEDULED] = "k8s.scheduled",
	[CONTAINER_ERROR] = "k8s.container_error", [EVICTED] = "k8s.evicted",
	[PRESSURE] = "k8s.node_pressure",	     [NOT_READY] = "k8s.node_not_ready",
	[OOM] = "k8s.oom_killed",		     [ENDED] = "proc.exit",
	[PREEMPTED] = "slurm.preempted",	     [NO_DEVICE] = "gpu.missing",
};

static enum meaning meaning_of(const struct word *words, size_t n, struct span reason)
{
	for (size_t i = 0; i < n; i++)
		if (span_is(reason, words[i].reason))
			return words[i].meaning;
	return NOTHING;
}

/* ---- facts ---- */

sid fact_text(struct facts *k, struct span t)
{
	return intern(&k->c.s->strings, t.s, t.len < MESSAGE_BYTES ? t.len : MESSAGE_BYTES);
}

static void add_fact(struct facts *k, const struct fact *f)
{
	if (k->n == k->cap) {
		size_t cap = k->cap ? k->cap * 2 : 64;
		struct fact *p = cap <= EVENTS_MAX ? reallocarray(k->v, cap, sizeof(*p)) : NULL;

		if (!p) {
			error_set(&k->damage, ERR_LIMIT, "more than %zu facts", k->n);
			return;
		}
		k->v = p;
		k->cap = cap;
	}
	k->v[k->n++] = *f;
}

/* Is `a` decidedly the later one of two facts about one object? */
static bool is_later(const struct fact *a, const struct fact *b)
{
	if (a->time.base && b->time.base && a->time.ns != b->time.ns)
		return a->time.ns > b->time.ns;
	if (a->age_s >= 0 && b->age_s >= 0 && a->age_s != b->age_s)
		return a->age_s < b->age_s;
	return a > b;	/* both lists are sorted by time */
}

static void observe_fact(struct facts *k, const struct fact *f)
{
	bool of_node = f->event && f->meaning == OOM;	/* the node's kernel, not one pod's container */
	struct observation o = citer_observation(&k->c, of_node ? "host.oom_event" : kinds[f->meaning],
						 SRC_SCHEDULER);
	const struct intern *in = &k->c.s->strings;
	const struct {
		const char *name;
		sid value;
	} fields[] = {
		{ "container", f->container }, { "reason", f->reason }, { "message", f->message },
	};

	o.scope.object = f->object;
	o.scope.rank = RANK_NONE;	/* the path may name a rank; the objects are the cluster's */
	if (f->node)
		o.scope.host = f->node;
	identity_host(k->c.s, f->node);
	o.time = f->time;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (fields[i].value)
			observation_field(k->c.s, &o, fields[i].name, intern_str(in, fields[i].value),
					  strlen(intern_str(in, fields[i].value)));
	if (f->exit_code >= 0)
		observation_fieldf(k->c.s, &o, "exitcode", "%lld", (long long)f->exit_code);
	if (f->meaning == UNSCHEDULABLE && f->scheduled)
		observation_field(k->c.s, &o, "scheduled", "yes", 3);
	for (size_t i = 0; i < ARRAY_SIZE(f->at); i++)
		citer_cite(&k->c, &o, f->at[i]);
	store_observe(k->c.s, &o);
}

/* Facts in the order of the file; what an object overcame later is no failure. */
static int observe_facts(struct facts *k, struct error *err)
{
	size_t n = k->c.s->strings.n + 1;
	_cleanup_free_ uint32_t *started = calloc(n, sizeof(*started));	/* by object: fact + 1 */
	_cleanup_free_ uint32_t *scheduled = calloc(n, sizeof(*scheduled));

	if (!started || !scheduled)
		return error_set(err, ERR_NOMEM, "no memory");
	for (size_t i = 0; i < k->n; i++) {
		struct fact *f = &k->v[i];
		uint32_t *last = f->meaning == STARTED ? &started[f->object] : &scheduled[f->object];

		if ((f->meaning == STARTED || f->meaning == SCHEDULED) && f->object &&
		    (!*last || is_later(f, &k->v[*last - 1])))
			*last = (uint32_t)i + 1;
	}
	for (size_t i = 0; i < k->n; i++) {
		struct fact *f = &k->v[i];
		bool recovered = f->event && f->object && started[f->object] &&
				 is_later(&k->v[started[f->object] - 1], f);

		f->scheduled = f->object && scheduled[f->object];
		if (f->meaning == STARTED || (f->meaning == CONTAINER_ERROR && recovered))
			continue;
		observe_fact(k, f);
	}
	return 0;
}

/*
 * A fact from an event.  "Back-off restarting failed container" is left out: the
 * container did start, and its own end says why it did not stay.
 */
void fact_event(struct facts *k, struct fact f, struct span reason, struct span message)
{
	f.meaning = meaning_of(event_reasons, ARRAY_SIZE(event_reasons), reason);
	if (f.meaning == NO_DEVICE && !span_find(message, "number of devices unavailable"))
		f.meaning = CONTAINER_ERROR;
	if (f.meaning == NOTHING || span_starts(message, "Back-off restarting") ||
	    span_starts(message, "Cancelling deletion"))
		return;
	f.event = true;
	f.exit_code = -1;
	if (f.meaning != SCHEDULED)
		f.reason = fact_text(k, reason);
	if (f.meaning == SCHEDULED) {	/* Successfully assigned default/pod-1 to node-1 */
		const char *to = span_find(message, " to "), *slash = span_find(message, "/");

		if (to)
			f.node = fact_text(k, span_trim(span_after(message, (size_t)(to + 4 - message.s))));
		if (to && slash && slash < to && !f.object)
			f.object = fact_text(k, span_of(slash + 1, (size_t)(to - slash - 1)));
	} else if (f.meaning != STARTED) {
		f.message = fact_text(k, message);
	}
	add_fact(k, &f);
}

/* A fact from a state of a container; `running`: it runs now, so an earlier end was overcome. */
void fact_state(struct facts *k, struct fact f, struct span reason, bool running)
{
	f.meaning = meaning_of(state_reasons, ARRAY_SIZE(state_reasons), reason);
	if (f.meaning == NOTHING || (f.meaning == ENDED && (running || f.exit_code <= 0)))
		return;
	if (f.meaning == CONTAINER_ERROR)
		f.reason = fact_text(k, reason);
	add_fact(k, &f);
}

void fact_condition(struct facts *k, struct fact f, bool node, struct span type,
			   struct span status)
{
	for (size_t i = 0; i < ARRAY_SIZE(conditions); i++)
		if (conditions[i].node == node && span_is(type, conditions[i].type) &&
		    span_is(status, conditions[i].status)) {
			f.meaning = conditions[i].meaning;
			if (f.meaning == PRESSURE)
				f.reason = fact_text(k, type);
			add_fact(k, &f);
		}
}

void facts_deinit(struct facts *k) { free(k->v); }

int facts_finish(struct facts *k, const char *what, struct error *err)
{
	if (k->n_objects == 0 && k->damage.code)
		return *err = k->damage, -1;
	if (k->n_objects == 0)
		return error_at(err, ERR_FORMAT, 0, "%s", what);
	if (k->damage.code)
		store_damage(k->c.s, k->c.member, &k->damage, false);
	return observe_facts(k, err);
}
