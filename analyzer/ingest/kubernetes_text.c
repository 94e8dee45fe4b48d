#include "analyzer/ingest/kubernetes.h"

#include <ctype.h>
#include <strings.h>
#include <time.h>

#include "bundle/cleanup.h"

#define COLUMNS 12
#define SECOND_NS INT64_C(1000000000)

enum section { NO_SECTION, CONTAINERS, CONDITIONS, EVENTS, TABLE };

/* Columns of the table being read, -1 for those it lacks; n 0: its head has not come yet. */
struct table {
	int n, type, status, reason, age, object, message;
};

struct kubectl {
	struct facts f;
	/* the object being described */
	sid name, node;
	bool is_node;
	enum section section;
	struct table table;
	size_t table_facts;	/* the first fact of this table */
	struct fact state;	/* of the container */
	bool in_state, running;	/* running: its present state */
};

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
static bool table_head(struct kubectl *k, struct span line)
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
	k->table_facts = k->f.n;
	k->f.n_objects++;
	return true;
}

static void table_row(struct kubectl *k, const struct line *l)
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
		f.object = fact_text(&k->f, span_after(object, (size_t)(slash + 1 - object.s)));
		f.node = strncasecmp(object.s, "node/", 5) == 0 ? f.object : 0;
	}
	if (k->section == CONDITIONS) {
		f.message = fact_text(&k->f, cells[t->message >= 0 ? t->message : t->n]);
		fact_condition(&k->f, f, k->is_node, cells[t->type],
			       cells[t->status >= 0 ? t->status : t->n]);
	} else if (t->reason >= 0 && t->message >= 0) {
		f.age_s = age_of(cells[t->age >= 0 ? t->age : t->n]);
		fact_event(&k->f, f, cells[t->reason], cells[t->message]);
	}
}

/* A table of one pod without its name: its own "Scheduled" row says it. */
static void end_table(struct kubectl *k)
{
	sid object = 0;

	for (size_t i = k->table_facts; i < k->f.n && k->section == EVENTS; i++)
		if (k->f.v[i].meaning == SCHEDULED)
			object = k->f.v[i].object;
	for (size_t i = k->table_facts; i < k->f.n && k->section == EVENTS; i++)
		if (!k->f.v[i].object)
			k->f.v[i].object = object;
	k->section = NO_SECTION;
}

static void end_state(struct kubectl *k)
{
	const char *reason = intern_str(&k->f.c.s->strings, k->state.reason);

	if (k->in_state && k->state.reason) {
		k->state.reason = 0;
		fact_state(&k->f, k->state, span_of(reason, strlen(reason)), k->running);
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
static void container_line(struct kubectl *k, const struct line *l, size_t indent, struct span key,
			   struct span value)
{
	struct place here = { l->offset, l->len };

	if (indent <= 4)
		end_state(k);
	if (indent < 4 && value.len == 0) {
		k->state.container = fact_text(&k->f, key);
		k->running = false;
	} else if (indent <= 4 && (span_is(key, "State") || span_is(key, "Last State"))) {
		k->state = (struct fact){ .object = k->name, .node = k->node, .age_s = -1,
					  .exit_code = -1, .container = k->state.container };
		k->in_state = true;
		k->running |= span_is(key, "State") && span_is(value, "Running");
	} else if (span_is(key, "Reason")) {
		k->state.reason = fact_text(&k->f, value);
		k->state.at[0] = here;
	} else if (span_is(key, "Exit Code")) {
		k->state.exit_code = span_number(value);
		k->state.at[1] = here;
	} else if (span_is(key, "Finished")) {
		k->state.time = finished_time(value);
	}
}

/* A line at the margin: what is described, or the head of a section. */
static void top_line(struct kubectl *k, const struct line *l, struct span key, struct span value)
{
	struct fact f = { .object = k->name, .node = k->node, .age_s = -1, .exit_code = -1,
			  .at = { { l->offset, l->len } } };
	const char *slash = span_find(value, "/");

	end_state(k);
	k->section = NO_SECTION;
	k->table.n = 0;
	if (span_is(key, "Name")) {
		k->name = fact_text(&k->f, value);
		k->node = 0;
		k->is_node = false;
		k->f.n_objects++;
	} else if (span_is(key, "Roles")) {	/* only nodes have them */
		k->is_node = true;
		k->node = k->name;
	} else if (span_is(key, "Node") && !span_is(value, "<none>")) {
		k->node = fact_text(&k->f, span_of(value.s, slash ? (size_t)(slash - value.s) : value.len));
	} else if (span_is(key, "Reason")) {
		fact_state(&k->f, f, value, false);
	} else if (span_is(key, "Message") && k->f.n && k->f.v[k->f.n - 1].meaning == EVICTED &&
		   !k->f.v[k->f.n - 1].event) {
		k->f.v[k->f.n - 1].message = fact_text(&k->f, value);
		k->f.v[k->f.n - 1].at[1] = (struct place){ l->offset, l->len };
	} else if (span_is(key, "Containers") || span_is(key, "Init Containers")) {
		k->section = CONTAINERS;
	} else if (span_is(key, "Conditions")) {
		k->section = CONDITIONS;
	} else if (span_is(key, "Events")) {
		k->section = EVENTS;
	}
}

static void text_line(struct kubectl *k, const struct line *l)
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

static void deinit(struct kubectl *k) { facts_deinit(&k->f); }

int ingest_kubernetes_text(struct store *s, uint32_t member, const char *data, size_t len,
			   struct error *err)
{
	_cleanup_(deinit) struct kubectl k = { .f.c = citer_of(s, member, data, len) };

	for (struct line l = line_first(data, len); l.ok; l = line_next(data, len, &l))
		text_line(&k, &l);
	end_state(&k);
	end_table(&k);
	return facts_finish(&k.f, "no object or table of kubectl", err);
}
