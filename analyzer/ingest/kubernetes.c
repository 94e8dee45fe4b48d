#include "analyzer/ingest/structured.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include "analyzer/identity.h"
#include "bundle/cleanup.h"

#define EVENTS_MAX (1u << 20)
#define MESSAGE_BYTES 400	/* longest field value */
#define COLUMNS 12
#define SECOND_NS INT64_C(1000000000)

/* ---- what the API's words mean ---- */

enum meaning {
	NOTHING, UNSCHEDULABLE, SCHEDULED, STARTED, CONTAINER_ERROR, EVICTED, PRESSURE, NOT_READY, OOM,
	ENDED
};

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
};

static enum meaning meaning_of(const struct word *words, size_t n, struct span reason)
{
	for (size_t i = 0; i < n; i++)
		if (span_is(reason, words[i].reason))
			return words[i].meaning;
	return NOTHING;
}

/* ---- facts, whether they came as JSON or as text ---- */

/* One fact about an object.  Spans are copied before the next item is read. */
struct fact {
	enum meaning meaning;
	sid object, node, container, reason, message;
	bool event, scheduled;	/* scheduled: it was, later on */
	struct stamp time;
	int64_t age_s;		/* since it was last seen; -1: not stated */
	int64_t exit_code;	/* -1: not stated */
	struct place at[3];
};

enum section { NO_SECTION, CONTAINERS, CONDITIONS, EVENTS, TABLE };

/* Columns of the table being read, -1 for those it lacks; n 0: its head has not come yet. */
struct table {
	int n, type, status, reason, age, object, message;
};

struct kube {
	struct citer c;
	struct json_reader json;
	struct fact *facts;
	size_t n_facts, cap_facts;
	unsigned n_objects;
	struct error damage;
	/* text: the object being described */
	sid name, node;
	bool is_node;
	enum section section;
	struct table table;
	size_t table_facts;	/* the first fact of this table */
	struct fact state;	/* of the container */
	bool in_state, running;	/* running: its present state */
};

static sid keep(struct kube *k, struct span t)
{
	return intern(&k->c.s->strings, t.s, t.len < MESSAGE_BYTES ? t.len : MESSAGE_BYTES);
}

static void add_fact(struct kube *k, const struct fact *f)
{
	if (k->n_facts == k->cap_facts) {
		size_t cap = k->cap_facts ? k->cap_facts * 2 : 64;
		struct fact *p = cap <= EVENTS_MAX ? reallocarray(k->facts, cap, sizeof(*p)) : NULL;

		if (!p) {
			error_set(&k->damage, ERR_LIMIT, "more than %zu facts", k->n_facts);
			return;
		}
		k->facts = p;
		k->cap_facts = cap;
	}
	k->facts[k->n_facts++] = *f;
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

static void observe_fact(struct kube *k, const struct fact *f)
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
		observation_fieldf(k->c.s, &o, "exit_code", "%lld", (long long)f->exit_code);
	if (f->meaning == UNSCHEDULABLE && f->scheduled)
		observation_field(k->c.s, &o, "scheduled", "yes", 3);
	for (size_t i = 0; i < ARRAY_SIZE(f->at); i++)
		citer_cite(&k->c, &o, f->at[i]);
	store_observe(k->c.s, &o);
}

/* Facts in the order of the file; what an object overcame later is no failure. */
static int observe_facts(struct kube *k, struct error *err)
{
	size_t n = k->c.s->strings.n + 1;
	_cleanup_free_ uint32_t *started = calloc(n, sizeof(*started));	/* by object: fact + 1 */
	_cleanup_free_ uint32_t *scheduled = calloc(n, sizeof(*scheduled));

	if (!started || !scheduled)
		return error_set(err, ERR_NOMEM, "no memory");
	for (size_t i = 0; i < k->n_facts; i++) {
		struct fact *f = &k->facts[i];
		uint32_t *last = f->meaning == STARTED ? &started[f->object] : &scheduled[f->object];

		if ((f->meaning == STARTED || f->meaning == SCHEDULED) && f->object &&
		    (!*last || is_later(f, &k->facts[*last - 1])))
			*last = (uint32_t)i + 1;
	}
	for (size_t i = 0; i < k->n_facts; i++) {
		struct fact *f = &k->facts[i];
		bool recovered = f->event && f->object && started[f->object] &&
				 is_later(&k->facts[started[f->object] - 1], f);

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
static void take_event(struct kube *k, struct fact f, struct span reason, struct span message)
{
	f.meaning = meaning_of(event_reasons, ARRAY_SIZE(event_reasons), reason);
	if (f.meaning == NOTHING || span_starts(message, "Back-off restarting") ||
	    span_starts(message, "Cancelling deletion"))
		return;
	f.event = true;
	f.exit_code = -1;
	if (f.meaning != SCHEDULED)
		f.reason = keep(k, reason);
	if (f.meaning == SCHEDULED) {	/* Successfully assigned default/pod-1 to node-1 */
		const char *to = span_find(message, " to "), *slash = span_find(message, "/");

		if (to)
			f.node = keep(k, span_trim(span_after(message, (size_t)(to + 4 - message.s))));
		if (to && slash && slash < to && !f.object)
			f.object = keep(k, span_of(slash + 1, (size_t)(to - slash - 1)));
	} else if (f.meaning != STARTED) {
		f.message = keep(k, message);
	}
	add_fact(k, &f);
}

/* A fact from a state of a container; `running`: it runs now, so an earlier end was overcome. */
static void take_state(struct kube *k, struct fact f, struct span reason, bool running)
{
	f.meaning = meaning_of(state_reasons, ARRAY_SIZE(state_reasons), reason);
	if (f.meaning == NOTHING || (f.meaning == ENDED && (running || f.exit_code <= 0)))
		return;
	if (f.meaning == CONTAINER_ERROR)
		f.reason = keep(k, reason);
	add_fact(k, &f);
}

static void take_condition(struct kube *k, struct fact f, bool node, struct span type,
			   struct span status)
{
	for (size_t i = 0; i < ARRAY_SIZE(conditions); i++)
		if (conditions[i].node == node && span_is(type, conditions[i].type) &&
		    span_is(status, conditions[i].status)) {
			f.meaning = conditions[i].meaning;
			if (f.meaning == PRESSURE)
				f.reason = keep(k, type);
			add_fact(k, &f);
		}
}

/* ---- JSON ---- */

static const struct value *get2(const struct value *v, const char *a, const char *b)
{
	return value_get(value_get(v, a), b);
}

static struct place place_of(const struct kube *k, const struct value *v)
{
	return json_pair(k->c.data, k->c.len, v);
}

static struct stamp first_time(const struct value *const v[], size_t n)
{
	struct stamp t = { 0 };

	for (size_t i = 0; i < n && !t.base; i++)
		t = span_time(span_of_value(v[i]));
	return t;
}

static void read_event(struct kube *k, const struct value *v)
{
	const struct value *about = value_get(v, "involvedObject"), *text = value_get(v, "message");
	const struct value *reason = value_get(v, "reason"), *host = get2(v, "source", "host"), *path;
	const struct value *const times[] = {
		value_get(v, "lastTimestamp"), get2(v, "series", "lastObservedTime"),
		value_get(v, "eventTime"), value_get(v, "deprecatedLastTimestamp"),
		value_get(v, "firstTimestamp"), get2(v, "metadata", "creationTimestamp"),
	};
	struct fact f = { .age_s = -1, .time = first_time(times, ARRAY_SIZE(times)) };
	struct span field;

	about = about ? about : value_get(v, "regarding");
	text = text ? text : value_get(v, "note");
	host = host ? host : get2(v, "deprecatedSource", "host");
	path = value_get(about, "fieldPath");	/* spec.containers{trainer} */
	field = span_of_value(path);
	f.object = keep(k, span_of_value(value_get(about, "name")));
	f.node = value_is(value_get(about, "kind"), "Node") ? f.object : keep(k, span_of_value(host));
	if (span_find(field, "{") && field.s[field.len - 1] == '}') {
		size_t open = (size_t)(span_find(field, "{") + 1 - field.s);

		f.container = keep(k, span_of(field.s + open, field.len - open - 1));
	}
	f.at[0] = place_of(k, reason);
	f.at[1] = place_of(k, text);
	take_event(k, f, span_of_value(reason), span_of_value(text));
}

/* containerStatuses[] and its like. */
static void read_containers(struct kube *k, const struct value *list, const struct fact *pod)
{
	static const char *const states[] = { "state", "lastState" };
	static const char *const phases[] = { "terminated", "waiting" };

	for (uint32_t i = 0; list && list->type == V_LIST && i < list->seq->n; i++)
		for (size_t n = 0; n < ARRAY_SIZE(states) * ARRAY_SIZE(phases); n++) {
			const struct value *c = &list->seq->v[i];
			const struct value *s = get2(c, states[n / 2], phases[n % 2]);
			const struct value *code = value_get(s, "exitCode");
			struct fact f = *pod;

			f.container = keep(k, span_of_value(value_get(c, "name")));
			f.exit_code = value_int(code, -1);
			f.time = span_time(span_of_value(value_get(s, "finishedAt")));
			if (n % 2)
				f.message = keep(k, span_of_value(value_get(s, "message")));
			f.at[0] = place_of(k, value_get(s, "reason"));
			f.at[1] = place_of(k, code);
			take_state(k, f, span_of_value(value_get(s, "reason")),
				   get2(c, "state", "running"));
		}
}

static void read_conditions(struct kube *k, const struct value *list, const struct fact *of, bool node)
{
	for (uint32_t i = 0; list && list->type == V_LIST && i < list->seq->n; i++) {
		const struct value *c = &list->seq->v[i];
		struct fact f = *of;

		f.time = span_time(span_of_value(value_get(c, "lastTransitionTime")));
		f.message = keep(k, span_of_value(value_get(c, "message")));
		f.at[0] = place_of(k, value_get(c, "type"));
		f.at[1] = place_of(k, value_get(c, "status"));
		f.at[2] = place_of(k, value_get(c, "message"));
		take_condition(k, f, node, span_of_value(value_get(c, "type")),
			       span_of_value(value_get(c, "status")));
	}
}

static void read_pod(struct kube *k, const struct value *v)
{
	static const char *const lists[] = { "initContainerStatuses", "containerStatuses",
					     "ephemeralContainerStatuses" };
	const struct value *status = value_get(v, "status"), *reason = value_get(status, "reason");
	struct fact pod = { .age_s = -1, .exit_code = -1 };

	pod.object = keep(k, span_of_value(get2(v, "metadata", "name")));
	pod.node = keep(k, span_of_value(get2(v, "spec", "nodeName")));
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		read_containers(k, value_get(status, lists[i]), &pod);
	read_conditions(k, value_get(status, "conditions"), &pod, false);
	pod.at[0] = place_of(k, reason);
	pod.at[1] = place_of(k, value_get(status, "message"));
	pod.message = keep(k, span_of_value(value_get(status, "message")));
	take_state(k, pod, span_of_value(reason), false);
}

static void read_object(struct kube *k, const struct value *v)
{
	const struct value *inner = value_get(v, "object"), *kind;
	struct fact node = { .age_s = -1, .exit_code = -1 };

	if (inner && inner->type == V_DICT)	/* a watch: {"type": "ADDED", "object": ...} */
		v = inner;
	kind = value_get(v, "kind");	/* items of a PodList carry none */
	k->n_objects++;
	if (value_is(kind, "Event") || value_get(v, "involvedObject") || value_get(v, "regarding")) {
		read_event(k, v);
	} else if (value_is(kind, "Pod") || get2(v, "status", "containerStatuses") ||
		   get2(v, "spec", "containers")) {
		read_pod(k, v);
	} else if (value_is(kind, "Node") || get2(v, "status", "nodeInfo")) {
		node.node = node.object = keep(k, span_of_value(get2(v, "metadata", "name")));
		read_conditions(k, get2(v, "status", "conditions"), &node, true);
	} else if (!kind) {
		k->n_objects--;
	}
}

static void read_item(struct kube *k, size_t start, size_t end)
{
	struct value top;
	struct error err = { 0 };

	if (json_reader_read(&k->json, k->c.data + start, end - start, &top, &err) == 0) {
		read_object(k, &top);
	} else if (!k->damage.code) {
		err.offset += start;
		k->damage = err;
	}
}

/*
 * Each object of a list, of `"items"`, or of a text of several: found by its
 * braces, so that a cut list gives every whole object before the cut.
 */
static void each_item(struct kube *k)
{
	const char *data = k->c.data, *end = data + k->c.len;
	struct span key = span_of("", 0);
	size_t depth = 0, item_depth = 0, start = 0;
	bool taken = false;	/* the object at `depth` 0 was read item by item */

	for (const char *p = data; p < end; p++) {
		size_t at = (size_t)(p - data);

		if (*p == '"') {
			const char *q = json_string_end(p, end);

			key = span_of(p + 1, (size_t)(q - p) - 1);	/* its closing quote, too */
			p = q - 1;
		} else if (*p == '{' || *p == '[') {
			if (*p == '{' && depth == item_depth)
				start = at;
			if (*p == '[' && (depth == 0 || (depth == 1 && item_depth == 0 &&
							 span_is(key, "items\"")))) {
				item_depth = depth + 1;
				taken = true;
			}
			depth++;
		} else if ((*p == '}' || *p == ']') && depth) {
			depth--;
			if (*p == '}' && depth == item_depth && !(depth == 0 && taken))
				read_item(k, start, at + 1);
			if (depth == 0)
				item_depth = 0, taken = false;
			else if (depth < item_depth)
				item_depth = SIZE_MAX;	/* behind "items" */
		}
	}
	if (depth)
		error_at(&k->damage, ERR_FORMAT, k->c.len, "the text ends inside an object");
}

static void deinit(struct kube *k)
{
	json_reader_deinit(&k->json);
	free(k->facts);
}

static int finish(struct kube *k, const char *what, struct error *err)
{
	if (k->n_objects == 0 && k->damage.code)
		return *err = k->damage, -1;
	if (k->n_objects == 0)
		return error_at(err, ERR_FORMAT, 0, "%s", what);
	if (k->damage.code)
		store_damage(k->c.s, k->c.member, &k->damage, false);
	return observe_facts(k, err);
}

int ingest_kubernetes_json(struct store *s, uint32_t member, const char *data, size_t len,
			   struct error *err)
{
	_cleanup_(deinit) struct kube k = { .c = citer_of(s, member, data, len) };

	if (len > STRUCTURED_JSON_BYTES)
		return error_at(err, ERR_LIMIT, STRUCTURED_JSON_BYTES, "more than %zu bytes of JSON",
				STRUCTURED_JSON_BYTES);
	if (json_reader_init(&k.json, len, err))
		return -1;
	each_item(&k);
	return finish(&k, "no Kubernetes object", err);
}

/* ---- kubectl's text ---- */

/* "5m53s (x4 over 6m38s)", "2d1h": seconds; -1 when it is none. */
static int64_t age_of(struct span t)
{
	static const struct {
		char unit;
		int32_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'y', 31536000 } };
	int64_t sum = -1;

	while (t.len && isdigit((unsigned char)t.s[0])) {
		int64_t n = span_number(t);

		while (t.len && isdigit((unsigned char)t.s[0]))
			t = span_after(t, 1);
		for (size_t i = 0; i < ARRAY_SIZE(units); i++)
			if (t.len && t.s[0] == units[i].unit && n >= 0 && n < 1000000)
				sum = (sum < 0 ? 0 : sum) + n * units[i].seconds;
		t = span_after(t, 1);
	}
	return sum;
}

/* Cells are at least two spaces apart; the last column takes the rest of the line. */
static struct span next_cell(struct span *rest, bool last)
{
	struct span t = span_trim(*rest);
	const char *gap = last ? NULL : span_find(t, "  ");

	*rest = gap ? span_after(t, (size_t)(gap - t.s)) : span_of(t.s + t.len, 0);
	return gap ? span_of(t.s, (size_t)(gap - t.s)) : t;
}

/* Take the head of a table of events or conditions. */
static bool table_head(struct kube *k, struct span line)
{
	struct table t = { .type = -1, .status = -1, .reason = -1, .age = -1, .object = -1,
			   .message = -1 };
	const struct {
		const char *a, *b;
		int *column;
	} names[] = {
		{ "Type", "TYPE", &t.type },	   { "Status", "STATUS", &t.status },
		{ "Reason", "REASON", &t.reason }, { "Age", "LAST SEEN", &t.age },
		{ "Object", "OBJECT", &t.object }, { "Message", "MESSAGE", &t.message },
	};
	struct span cell;

	while (t.n < COLUMNS && (cell = next_cell(&line, false)).len) {
		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			if (span_is(cell, names[i].a) || span_is(cell, names[i].b))
				*names[i].column = t.n;
		k->is_node |= span_is(cell, "LastHeartbeatTime");
		t.n++;
	}
	if (t.type < 0 || (t.status < 0 && (t.reason < 0 || t.message < 0)))
		return false;
	if (k->is_node)
		k->node = k->name;
	k->table = t;
	k->table_facts = k->n_facts;
	k->n_objects++;
	return true;
}

static void table_row(struct kube *k, const struct line *l)
{
	const struct table *t = &k->table;
	struct fact f = { .object = k->name, .node = k->node, .age_s = -1, .exit_code = -1,
			  .at = { { l->offset, l->len } } };
	struct span cells[COLUMNS + 1], rest = span_of(l->s, l->len), object;
	const char *slash;

	for (int i = 0; i < t->n; i++)
		cells[i] = next_cell(&rest, i + 1 == t->n);
	cells[t->n] = span_of("", 0);
	object = cells[t->object >= 0 ? t->object : t->n];
	slash = span_find(object, "/");
	if (slash) {	/* pod/trainer-0 */
		f.object = keep(k, span_after(object, (size_t)(slash + 1 - object.s)));
		f.node = strncasecmp(object.s, "node/", 5) == 0 ? f.object : 0;
	}
	if (k->section == CONDITIONS) {
		f.message = keep(k, cells[t->message >= 0 ? t->message : t->n]);
		take_condition(k, f, k->is_node, cells[t->type],
			       cells[t->status >= 0 ? t->status : t->n]);
	} else if (t->reason >= 0 && t->message >= 0) {
		f.age_s = age_of(cells[t->age >= 0 ? t->age : t->n]);
		take_event(k, f, cells[t->reason], cells[t->message]);
	}
}

/* A table of one pod without its name: its own "Scheduled" row says it. */
static void end_table(struct kube *k)
{
	sid object = 0;

	for (size_t i = k->table_facts; i < k->n_facts && k->section == EVENTS; i++)
		if (k->facts[i].meaning == SCHEDULED)
			object = k->facts[i].object;
	for (size_t i = k->table_facts; i < k->n_facts && k->section == EVENTS; i++)
		if (!k->facts[i].object)
			k->facts[i].object = object;
	k->section = NO_SECTION;
}

static void end_state(struct kube *k)
{
	const char *reason = intern_str(&k->c.s->strings, k->state.reason);

	if (k->in_state && k->state.reason) {
		k->state.reason = 0;
		take_state(k, k->state, span_of(reason, strlen(reason)), k->running);
	}
	k->in_state = false;
}

/* "Thu, 27 Feb 2025 07:36:22 +0100" */
static struct stamp finished_time(struct span t)
{
	struct tm tm = { 0 };
	char text[40] = "";
	int64_t zone;

	memcpy(text, t.s, t.len < sizeof(text) ? t.len : 0);
	if (!strptime(text, "%a, %d %b %Y %H:%M:%S %z", &tm) || tm.tm_year < 70 || tm.tm_year > 299)
		return (struct stamp){ 0 };
	zone = tm.tm_gmtoff;	/* timegm() clears it */
	return (struct stamp){ .ns = ((int64_t)timegm(&tm) - zone) * SECOND_NS, .base = TIME_UTC };
}

/* A line of "Containers:"; names stand above "State:", and what the state says below it. */
static void container_line(struct kube *k, const struct line *l, size_t indent, struct span key,
			   struct span value)
{
	struct place here = { l->offset, l->len };

	if (indent <= 4)
		end_state(k);
	if (indent < 4 && value.len == 0) {
		k->state.container = keep(k, key);
		k->running = false;
	} else if (indent <= 4 && (span_is(key, "State") || span_is(key, "Last State"))) {
		k->state = (struct fact){ .object = k->name, .node = k->node, .age_s = -1,
					  .exit_code = -1, .container = k->state.container };
		k->in_state = true;
		k->running |= span_is(key, "State") && span_is(value, "Running");
	} else if (span_is(key, "Reason")) {
		k->state.reason = keep(k, value);
		k->state.at[0] = here;
	} else if (span_is(key, "Exit Code")) {
		k->state.exit_code = span_number(value);
		k->state.at[1] = here;
	} else if (span_is(key, "Finished")) {
		k->state.time = finished_time(value);
	}
}

/* A line at the margin: what is described, or the head of a section. */
static void top_line(struct kube *k, const struct line *l, struct span key, struct span value)
{
	struct fact f = { .object = k->name, .node = k->node, .age_s = -1, .exit_code = -1,
			  .at = { { l->offset, l->len } } };
	const char *slash = span_find(value, "/");

	end_state(k);
	k->section = NO_SECTION;
	k->table.n = 0;
	if (span_is(key, "Name")) {
		k->name = keep(k, value);
		k->node = 0;
		k->is_node = false;
		k->n_objects++;
	} else if (span_is(key, "Roles")) {	/* only nodes have them */
		k->is_node = true;
		k->node = k->name;
	} else if (span_is(key, "Node") && !span_is(value, "<none>")) {
		k->node = keep(k, span_of(value.s, slash ? (size_t)(slash - value.s) : value.len));
	} else if (span_is(key, "Reason")) {
		take_state(k, f, value, false);
	} else if (span_is(key, "Message") && k->n_facts && k->facts[k->n_facts - 1].meaning == EVICTED &&
		   !k->facts[k->n_facts - 1].event) {
		k->facts[k->n_facts - 1].message = keep(k, value);
		k->facts[k->n_facts - 1].at[1] = (struct place){ l->offset, l->len };
	} else if (span_is(key, "Containers") || span_is(key, "Init Containers")) {
		k->section = CONTAINERS;
	} else if (span_is(key, "Conditions")) {
		k->section = CONDITIONS;
	} else if (span_is(key, "Events")) {
		k->section = EVENTS;
	}
}

static void text_line(struct kube *k, const struct line *l)
{
	struct span t = span_trim(span_of(l->s, l->len)), key = t, value = span_of("", 0);
	size_t indent = (size_t)(t.s - l->s);
	const char *colon = span_find(t, ":");

	if (k->section > CONTAINERS && (t.len == 0 || (indent == 0 && k->section != TABLE)))
		end_table(k);
	if (t.len == 0 || span_starts(t, "---"))
		return;
	if (k->section > CONTAINERS) {
		if (k->table.n)
			table_row(k, l);
		else
			table_head(k, t);
		return;
	}
	if (indent == 0 && (span_starts(t, "LAST SEEN") || span_starts(t, "NAMESPACE "))) {
		k->name = k->node = 0;
		k->is_node = false;
		if (table_head(k, t))
			k->section = TABLE;
		return;
	}
	if (colon) {
		key = span_of(t.s, (size_t)(colon - t.s));
		value = span_trim(span_after(t, key.len + 1));
	}
	if (colon && indent == 0)
		top_line(k, l, key, value);
	else if (colon && k->section == CONTAINERS)
		container_line(k, l, indent, key, value);
}

int ingest_kubernetes_text(struct store *s, uint32_t member, const char *data, size_t len,
			   struct error *err)
{
	_cleanup_(deinit) struct kube k = { .c = citer_of(s, member, data, len) };

	for (struct line l = line_first(data, len); l.ok; l = line_next(data, len, &l))
		text_line(&k, &l);
	end_state(&k);
	end_table(&k);
	return finish(&k, "no object or table of kubectl", err);
}
