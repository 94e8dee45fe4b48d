#include "analyzer/ingest/kubernetes.h"
#include "bundle/cleanup.h"

static const struct value *get2(const struct value *v, const char *a, const char *b)
{
	return value_get(value_get(v, a), b);
}

static struct place place_of(const struct facts *k, const struct value *v)
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

static void read_event(struct facts *k, const struct value *v)
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
	f.object = fact_text(k, span_of_value(value_get(about, "name")));
	f.node = value_is(value_get(about, "kind"), "Node") ? f.object : fact_text(k, span_of_value(host));
	if (span_find(field, "{") && field.s[field.len - 1] == '}') {
		size_t open = (size_t)(span_find(field, "{") + 1 - field.s);

		f.container = fact_text(k, span_of(field.s + open, field.len - open - 1));
	}
	f.at[0] = place_of(k, reason);
	f.at[1] = place_of(k, text);
	fact_event(k, f, span_of_value(reason), span_of_value(text));
}

/* containerStatuses[] and its like. */
static void read_containers(struct facts *k, const struct value *list, const struct fact *pod)
{
	static const char *const states[] = { "state", "lastState" };
	static const char *const phases[] = { "terminated", "waiting" };

	for (uint32_t i = 0; list && list->type == V_LIST && i < list->seq->n; i++)
		for (size_t n = 0; n < ARRAY_SIZE(states) * ARRAY_SIZE(phases); n++) {
			const struct value *c = &list->seq->v[i];
			const struct value *s = get2(c, states[n / 2], phases[n % 2]);
			const struct value *code = value_get(s, "exitCode");
			struct fact f = *pod;

			f.container = fact_text(k, span_of_value(value_get(c, "name")));
			f.exit_code = value_int(code, -1);
			f.time = span_time(span_of_value(value_get(s, "finishedAt")));
			if (n % 2)
				f.message = fact_text(k, span_of_value(value_get(s, "message")));
			f.at[0] = place_of(k, value_get(s, "reason"));
			f.at[1] = place_of(k, code);
			fact_state(k, f, span_of_value(value_get(s, "reason")),
				   get2(c, "state", "running"));
		}
}

static void read_conditions(struct facts *k, const struct value *list, const struct fact *of, bool node)
{
	for (uint32_t i = 0; list && list->type == V_LIST && i < list->seq->n; i++) {
		const struct value *c = &list->seq->v[i];
		struct fact f = *of;

		f.time = span_time(span_of_value(value_get(c, "lastTransitionTime")));
		f.message = fact_text(k, span_of_value(value_get(c, "message")));
		f.at[0] = place_of(k, value_get(c, "type"));
		f.at[1] = place_of(k, value_get(c, "status"));
		f.at[2] = place_of(k, value_get(c, "message"));
		fact_condition(k, f, node, span_of_value(value_get(c, "type")),
			       span_of_value(value_get(c, "status")));
	}
}

static void read_pod(struct facts *k, const struct value *v)
{
	static const char *const lists[] = { "initContainerStatuses", "containerStatuses",
					     "ephemeralContainerStatuses" };
	const struct value *status = value_get(v, "status"), *reason = value_get(status, "reason");
	struct fact pod = { .age_s = -1, .exit_code = -1 };

	pod.object = fact_text(k, span_of_value(get2(v, "metadata", "name")));
	pod.node = fact_text(k, span_of_value(get2(v, "spec", "nodeName")));
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		read_containers(k, value_get(status, lists[i]), &pod);
	read_conditions(k, value_get(status, "conditions"), &pod, false);
	pod.at[0] = place_of(k, reason);
	pod.at[1] = place_of(k, value_get(status, "message"));
	pod.message = fact_text(k, span_of_value(value_get(status, "message")));
	fact_state(k, pod, span_of_value(reason), false);
}

static void read_object(struct facts *k, const struct value *v)
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
		node.node = node.object = fact_text(k, span_of_value(get2(v, "metadata", "name")));
		read_conditions(k, get2(v, "status", "conditions"), &node, true);
	} else if (!kind) {
		k->n_objects--;
	}
}

struct reading {
	struct facts k;
	struct json_reader json;
};

static void read_item(void *ctx, size_t start, size_t end)
{
	struct reading *r = ctx;
	struct value top;
	struct error err = { 0 };

	if (json_reader_read(&r->json, r->k.c.data + start, end - start, &top, &err) == 0) {
		read_object(&r->k, &top);
	} else if (!r->k.damage.code) {
		err.offset += start;
		r->k.damage = err;
	}
}

static void deinit(struct reading *r)
{
	json_reader_deinit(&r->json);
	facts_deinit(&r->k);
}

int ingest_kubernetes_json(struct store *s, uint32_t member, const char *data, size_t len,
			   struct error *err)
{
	_cleanup_(deinit) struct reading r = { .k.c = citer_of(s, member, data, len) };

	if (json_reader_init(&r.json, len, err))
		return -1;
	json_each_object(data, len, "items", read_item, &r, &r.k.damage);
	return facts_finish(&r.k, "no Kubernetes object", err);
}
