#include <jansson.h>
#include <string.h>

#include "analyzer/identity.h"
#include "bundle/cleanup.h"
#include "bundle/digest.h"
#include "bundle/text.h"
#include "reports/report.h"

/* The report in the making. */
struct writer {
	const struct analysis *a;
	const struct store *s;
};

/* Text of the input as valid UTF-8; null when it is empty. */
static json_t *text_n(const char *s, size_t len)
{
	_cleanup_free_ char *safe = NULL;
	size_t n;

	if (!s || !len)
		return json_null();
	safe = malloc(TEXT_PRINTABLE_MAX(len));
	if (!safe)
		return NULL;
	n = text_printable(s, len, safe, TEXT_PRINTABLE_MAX(len));
	return json_stringn(safe, n);
}

static json_t *text(const char *s) { return s ? text_n(s, strlen(s)) : json_null(); }
static json_t *id_text(const struct writer *w, sid id) { return text(intern_str(&w->s->strings, id)); }
static json_t *number_or_null(int64_t v) { return v < 0 ? json_null() : json_integer(v); }

static json_t *stamp(struct stamp t)
{
	char buf[48];

	stamp_text(t, buf);
	return text(buf);
}

static json_t *evidence_id(uint32_t i)
{
	char buf[24];

	snprintf(buf, sizeof(buf), "e%u", i + 1);
	return json_string(buf);
}

static json_t *observation_id(uint32_t i)
{
	char buf[24];

	snprintf(buf, sizeof(buf), "o%u", i + 1);
	return json_string(buf);
}

static json_t *ids(const struct index_list *l, json_t *(*one)(uint32_t))
{
	json_t *list = json_array();

	for (size_t i = 0; i < l->n; i++)
		json_array_append_new(list, one(l->v[i]));
	return list;
}

static json_t *finding_ids(const struct writer *w, const struct index_list *l)
{
	json_t *list = json_array();

	for (size_t i = 0; i < l->n; i++)
		json_array_append_new(list, json_string(w->a->findings[l->v[i]].id));
	return list;
}

static json_t *texts(const char *const *v, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, text(v[i]));
	return list;
}

static json_t *ranks(const int32_t *v, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_integer(v[i]));
	return list;
}

static json_t *tool(const struct writer *w)
{
	return json_pack("{s:s, s:s, s:s}", "name", "tanalyze", "version", TACHOGRAPH_VERSION, "patterns_digest",
			 w->a->patterns->digest);
}

static json_t *inputs(const struct writer *w)
{
	static const char *const states[] = { "ok", "damaged", "unread", "ignored" };
	json_t *list = json_array();

	for (size_t i = 0; i < w->s->n_members; i++) {
		const struct member *m = &w->s->members[i];
		json_t *damaged = json_array();

		for (const struct damage *d = m->damage; d; d = d->next)
			json_array_append_new(damaged, json_pack("{s:o, s:o}", "what", text(d->what), "offset",
					      d->offset == UINT64_MAX ? json_null() : json_integer((json_int_t)d->offset)));
		json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:s, s:o, s:s, s:o, s:o, s:o}",
			"path", id_text(w, m->input), "member", id_text(w, m->name), "sha256", text(m->sha256),
			"kind", m->kind, "host", id_text(w, m->host), "state", states[m->state], "first_time",
			stamp(m->first), "last_time", stamp(m->last), "damaged", damaged));
	}
	return list;
}

static json_t *job(const struct writer *w)
{
	const struct identity *map = w->s->identity;
	json_t *hosts = json_array(), *rows = json_array();

	for (size_t i = 0; i < map->n_hosts; i++)
		json_array_append_new(hosts, id_text(w, map->hosts[i]));
	for (size_t i = 0; i < map->n_ranks; i++)
		json_array_append_new(rows, json_pack("{s:i, s:o, s:o, s:o}", "rank", map->ranks[i].rank, "host",
			id_text(w, map->ranks[i].host), "gpu", id_text(w, map->ranks[i].gpu), "pid",
			number_or_null(map->ranks[i].pid > 0 ? map->ranks[i].pid : -1)));
	return json_pack("{s:o, s:o, s:o, s:o}", "id", id_text(w, map->job), "world_size",
			 w->a->world_size ? json_integer(w->a->world_size) : json_null(), "hosts", hosts, "ranks", rows);
}

/* One verdict for each run of a job that was started again. */
static json_t *runs(const struct writer *w)
{
	json_t *list = json_array();

	for (size_t i = 0; i < w->a->n_runs; i++) {
		const struct run_end *r = &w->a->runs[i];

		json_array_append_new(list, json_pack("{s:o, s:s, s:o, s:s?, s:s, s:b}", "from", stamp(r->from), "status",
			verdict_status_name(r->status), "headline", text(r->headline), "pattern", r->pattern, "confidence",
			confidence_name(r->confidence), "judged", i == w->a->judged));
	}
	return list;
}

static json_t *verdict(const struct writer *w)
{
	const struct analysis *a = w->a;
	json_t *hosts = json_array(), *candidates = json_array();

	for (size_t i = 0; i < a->action_hosts.n; i++)
		json_array_append_new(hosts, id_text(w, a->action_hosts.v[i]));
	for (size_t i = 0; i < a->n_candidates; i++)
		json_array_append_new(candidates, text(a->candidates[i]->id));
	return json_pack("{s:s, s:o, s:{s:o, s:o}, s:o, s:o, s:o, s:o}", "status", verdict_status_name(a->status),
			 "headline", text(a->headline), "action", "do", text(a->action), "hosts", hosts, "findings",
			 finding_ids(w, &a->primary), "candidates", candidates, "next_measurement", text(a->next_measurement), "runs", runs(w));
}

static json_t *scope(const struct writer *w, const struct scope *c)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "rank", number_or_null(c->rank),
			 "local_rank", number_or_null(c->local_rank), "attempt", number_or_null(c->attempt), "host",
			 id_text(w, c->host), "gpu", id_text(w, c->gpu), "pid", number_or_null(c->pid), "process",
			 id_text(w, c->process), "link", id_text(w, c->link), "object", id_text(w, c->object), "sender",
			 id_text(w, c->sender));
}

static json_t *exclusions(const struct finding *f)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->n_exclusions; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o}", "pattern", f->exclusions[i].pattern, "state",
			exclusion_state_name(f->exclusions[i].state), "reason", text(f->exclusions[i].reason), "evidence",
			ids(&f->exclusions[i].evidence, evidence_id)));
	return list;
}

static json_t *finding(const struct writer *w, const struct finding *f)
{
	json_t *culprits = json_array(), *o;

	for (size_t i = 0; i < f->n_culprits; i++)
		json_array_append_new(culprits, scope(w, &f->culprits[i]));
	o = json_pack("{s:s, s:s, s:o, s:s, s:{s:s, s:o}, s:o, s:o, s:o, s:o}", "id", f->id, "pattern", f->pattern->id,
		      "title", text(f->pattern->title), "role", pattern_role_name(f->role), "confidence", "level",
		      confidence_name(f->confidence), "reasons", texts(f->reasons, f->n_reasons), "culprits", culprits,
		      "onset", stamp(f->onset), "observations", ids(&f->observations, observation_id), "evidence",
		      ids(&f->evidence, evidence_id));
	if (!o)
		return NULL;
	json_object_set_new(o, "explains", finding_ids(w, &f->explains));
	json_object_set_new(o, "explained_by", finding_ids(w, &f->explained_by));
	json_object_set_new(o, "exclusions", exclusions(f));
	json_object_set_new(o, "advice", texts(f->pattern->advice, f->pattern->n_advice));
	return o;
}

static json_t *findings(const struct writer *w)
{
	json_t *list = json_array();

	for (size_t i = 0; i < w->a->n_findings; i++)
		json_array_append_new(list, finding(w, &w->a->findings[i]));
	return list;
}

static json_t *observations(const struct writer *w)
{
	json_t *list = json_array();

	for (size_t i = 0; i < w->s->n_obs; i++) {
		const struct observation *o = &w->s->obs[i];
		struct index_list cited = { .v = (uint32_t *)o->evidence, .n = o->n_evidence };
		json_t *fields = json_object(), *j;

		for (unsigned k = 0; k < o->n_fields; k++)
			json_object_set_new(fields, intern_str(&w->s->strings, o->fields[k].name), id_text(w, o->fields[k].value));
		j = json_pack("{s:o, s:s, s:s, s:s, s:o, s:o, s:i, s:i, s:o, s:o}", "id", observation_id((uint32_t)i), "kind",
			      o->kind->name, "severity", severity_name(o->kind->severity), "source", source_name(o->source),
			      "time", stamp(o->time), "onset", stamp(o->onset), "error_ms", (int)(o->error_ns / 1000000),
			      "count", (int)o->count, "first", stamp(o->first), "last", stamp(o->last));
		json_object_update_new(j, scope(w, &o->scope));
		json_object_set_new(j, "fields", fields);
		json_object_set_new(j, "evidence", ids(&cited, evidence_id));
		json_array_append_new(list, j);
	}
	return list;
}

static json_t *evidence(const struct writer *w)
{
	json_t *list = json_array();

	for (size_t i = 0; i < w->s->n_evidence; i++) {
		const struct evidence *e = &w->s->evidence[i];
		const struct member *m = &w->s->members[e->member];
		char sha[DIGEST_HEX];

		digest_hex(e->raw, e->length, sha);
		json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:I, s:i, s:o, s:o, s:s, s:o, s:s}",
			"id", evidence_id((uint32_t)i), "input", id_text(w, m->input), "member", id_text(w, m->name),
			"offset", (json_int_t)e->offset, "length", (int)e->length, "line",
			e->line ? json_integer((json_int_t)e->line) : json_null(), "time", stamp(e->time), "form",
			e->decoded ? "decoded" : "raw", "text", e->decoded ? text(e->text) : text_n(e->raw, e->length),
			"sha256", sha));
	}
	return list;
}

static json_t *collectives(const struct writer *w)
{
	const struct collectives *c = w->s->collectives;
	json_t *list = json_array();

	for (size_t i = 0; c && i < c->n_stuck; i++) {
		const struct stuck_collective *x = &c->stuck[i];

		json_array_append_new(list, json_pack("{s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "group",
			id_text(w, x->group), "members", ranks(x->members, x->n_members), "seq", (json_int_t)x->seq, "op",
			id_text(w, x->op), "entered", ranks(x->entered, x->n_entered), "completed",
			ranks(x->completed, x->n_completed), "missing", ranks(x->missing, x->n_missing), "unknown",
			ranks(x->unknown, x->n_unknown)));
	}
	return list;
}

static json_t *timeline(const struct writer *w)
{
	json_t *list = json_array();

	for (size_t i = 0; i < w->a->n_timeline; i++) {
		const struct timeline_row *r = &w->a->timeline[i];

		json_array_append_new(list, json_pack("{s:o, s:o, s:o}", "time", stamp(r->time), "observation",
			observation_id(r->observation), "finding",
			r->finding < 0 ? json_null() : json_string(w->a->findings[r->finding].id)));
	}
	return list;
}

static json_t *coverage(const struct writer *w)
{
	json_t *sources = json_array(), *silent = json_array(), *loss = json_array();
	uint32_t have = store_sources(w->s);

	for (int c = 0; c < SRC_COUNT; c++)
		json_array_append_new(sources, json_pack("{s:s, s:s, s:o}", "source", source_name((enum source_class)c),
			"state", have & (1u << c) ? "read" : "absent", "how",
			have & (1u << c) ? json_null() : text(source_what((enum source_class)c))));
	for (size_t i = 0; i < w->a->silent_ranks.n; i++)
		json_array_append_new(silent, json_integer((json_int_t)w->a->silent_ranks.v[i]));
	if (w->s->obs_dropped)
		json_array_append_new(loss, json_pack("{s:s, s:I}", "what", "observations beyond the limit", "count",
			(json_int_t)w->s->obs_dropped));
	if (w->s->interrupted)
		json_array_append_new(loss, json_pack("{s:s, s:n}", "what", "the reading was ended early", "count"));
	return json_pack("{s:o, s:o, s:o}", "sources", sources, "ranks_without_evidence", silent, "loss", loss);
}

static json_t *inconsistencies(const struct writer *w)
{
	json_t *list = json_array();

	for (const struct inconsistency *i = w->s->inconsistencies; i; i = i->next)
		json_array_append_new(list, text(i->what));
	return list;
}

int report_json(const struct analysis *a, FILE *out, struct error *err)
{
	struct writer w = { a, a->store };
	json_auto_t *o = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "schema",
				   "tachograph.report/1", "tool", tool(&w), "inputs", inputs(&w), "job", job(&w), "verdict",
				   verdict(&w), "findings", findings(&w), "observations", observations(&w), "evidence",
				   evidence(&w), "collectives", collectives(&w), "timeline", timeline(&w), "coverage",
				   coverage(&w), "inconsistencies", inconsistencies(&w));

	if (!o)
		return error_set(err, ERR_NOMEM, "no memory for the report");
	if (json_dumpf(o, out, JSON_INDENT(1) | JSON_ENSURE_ASCII) || fputc('\n', out) == EOF)
		return error_sys(err, "cannot write the report");
	return 0;
}
