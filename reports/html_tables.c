/*
 * html_tables - the lists: timeline, findings, observations, inputs, coverage.
 *
 * Every list is capped and says how much it left out.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "reports/html.h"

#define TIMELINE_SHOWN 160
#define FINDINGS_SHOWN 80
#define EVIDENCE_CITED 8
#define OBSERVATIONS_SHOWN 300
#define INPUTS_SHOWN 300
#define INCONSISTENCIES_SHOWN 40
#define GAP_NS (10 * INT64_C(1000000000)) /* worth a line in the timeline */

/* ---- which rows, when not all fit ---- */

static int by_index(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/*
 * At most `max` of `n` rows: those of higher weight first, in order of their
 * index; the result is sorted by index.  free() *ret.
 */
static int choose(const uint8_t *weight, size_t n, size_t max, uint32_t **ret, size_t *n_ret,
		  struct error *err)
{
	_cleanup_free_ uint32_t *rows = calloc(max + 1, sizeof(rows[0]));
	size_t k = 0;

	if (!rows)
		return error_set(err, ERR_NOMEM, "no memory");
	for (int w = UINT8_MAX; w >= 0 && k < max && k < n; w--)
		for (size_t i = 0; i < n && k < max; i++)
			if (weight[i] == w)
				rows[k++] = (uint32_t)i;
	qsort(rows, k, sizeof(rows[0]), by_index);
	*ret = take(rows);
	*n_ret = k;
	return 0;
}

/* ---- timeline ---- */

/* What the offsets count from: the onset of the cause, else the first row's time. */
static struct stamp timeline_zero(const struct analysis *a)
{
	if (a->primary.n && a->findings[a->primary.v[0]].onset.base != TIME_UNKNOWN)
		return a->findings[a->primary.v[0]].onset;
	for (size_t i = 0; i < a->n_timeline; i++)
		if (a->timeline[i].time.base != TIME_UNKNOWN)
			return a->timeline[i].time;
	return (struct stamp){ 0, TIME_UNKNOWN };
}

static bool minus(struct stamp a, struct stamp b, int64_t *ret)
{
	return a.base == b.base && a.base != TIME_UNKNOWN &&
	       !__builtin_sub_overflow(a.ns, b.ns, ret);
}

static void put_offset(struct page *p, struct stamp t, struct stamp zero)
{
	char full[48];
	int64_t d;

	stamp_text(t, full);
	page_open(p, "time", NULL);
	if (full[0])
		page_attr(p, "title", "%s", full);
	if (minus(t, zero, &d)) {
		words_add(&p->w, "%s", d < 0 ? "\xe2\x88\x92" : "+");
		words_duration(&p->w, d);
	} else {
		words_stamp(&p->w, t);
	}
	page_words(p);
	page_close(p);
}

static void put_gap(struct page *p, struct stamp t, struct stamp before)
{
	int64_t d;

	if (!minus(t, before, &d) || d < GAP_NS)
		return;
	page_open(p, "li", "gap");
	words_duration(&p->w, d);
	words_add(&p->w, " later");
	page_words(p);
	page_close(p);
}

static void put_moment(struct page *p, const struct timeline_row *row, struct stamp zero)
{
	const struct observation *o = &p->s->obs[row->observation];

	page_open(p, "li", NULL);
	page_attr(p, "class", "s-%s%s", severity_name(o->kind->severity),
		  row->finding >= 0 ? " claimed" : "");
	put_offset(p, row->time, zero);
	page_open(p, "p", NULL);
	page_open(p, "b", NULL);
	words_scope(&p->w, p->s, &o->scope);
	page_words(p);
	page_close(p);
	page_say(p, ": ");
	words_observation(&p->w, p->s, o);
	page_words(p);
	page_say(p, " ");
	page_leaf(p, "span", "tag", "%s", source_name(o->source));
	if (row->finding >= 0) {
		page_say(p, " ");
		page_finding_link(p, (uint32_t)row->finding);
	}
	page_close(p);
	page_close(p);
	page_line(p);
}

static int timeline_rows(struct page *p, uint32_t **ret, size_t *n_ret, struct error *err)
{
	const struct analysis *a = p->a;
	_cleanup_free_ uint8_t *weight = calloc(a->n_timeline + 1, 1);

	if (!weight)
		return error_set(err, ERR_NOMEM, "no memory");
	for (size_t i = 0; i < a->n_timeline; i++) {
		const struct timeline_row *row = &a->timeline[i];

		weight[i] = (uint8_t)p->s->obs[row->observation].kind->severity;
		if (row->finding >= 0)
			weight[i] = (uint8_t)(weight[i] + 4);
		for (size_t k = 0; k < a->primary.n; k++)
			if (row->finding == (int32_t)a->primary.v[k])
				weight[i] = 9;
	}
	return choose(weight, a->n_timeline, TIMELINE_SHOWN, ret, n_ret, err);
}

int html_timeline(struct page *p, struct error *err)
{
	struct stamp zero = timeline_zero(p->a), before = { 0, TIME_UNKNOWN };
	_cleanup_free_ uint32_t *rows = NULL;
	size_t n, shown = 0;

	if (timeline_rows(p, &rows, &n, err))
		return -1;
	page_section(p, "timeline", "Timeline");
	if (n && zero.base != TIME_UNKNOWN) {
		page_open(p, "p", "lead");
		page_say(p, "Times count from %s, ",
			 p->a->primary.n ? "the onset of the first finding above" :
					   "the first record");
		page_time(p, zero);
		page_say(p, ".");
		page_close(p);
	}
	if (n == 0)
		page_leaf(p, "p", "lead", "Nothing that matters was observed.");
	page_open(p, "ol", "timeline");
	for (; shown < n && !page_full(p); shown++) {
		const struct timeline_row *row = &p->a->timeline[rows[shown]];

		put_gap(p, row->time, before);
		put_moment(p, row, zero);
		before = row->time;
	}
	page_close(p);
	page_more(p, "p", p->a->n_timeline, shown, "moments of less weight");
	page_close(p);
	return 0;
}

/* ---- findings ---- */

static void put_finding_links(struct page *p, const char *label, const struct index_list *l)
{
	if (l->n == 0)
		return;
	page_open(p, "p", NULL);
	page_say(p, "%s ", label);
	for (size_t i = 0; i < l->n && i < EVIDENCE_CITED; i++) {
		if (i)
			page_say(p, ", ");
		if (l->v[i] < FINDINGS_SHOWN)
			page_finding_link(p, l->v[i]);
		else
			page_say(p, "%s", p->a->findings[l->v[i]].pattern->title);
	}
	if (l->n > EVIDENCE_CITED)
		page_say(p, " and %zu more", l->n - EVIDENCE_CITED);
	page_close(p);
}

/* A reference is a link only where it is one. */
static void put_references(struct page *p, const struct pattern *t)
{
	for (size_t i = 0; i < t->n_references; i++) {
		bool link = strncmp(t->references[i], "https://", 8) == 0;

		page_open(p, "p", "ref");
		page_open(p, link ? "a" : "span", NULL);
		if (link) {
			page_attr(p, "href", "%s", t->references[i]);
			page_attr(p, "rel", "noopener noreferrer");
		}
		page_say(p, "%s", t->references[i]);
		page_close(p);
		page_close(p);
	}
}

static void put_finding(struct page *p, uint32_t index)
{
	const struct finding *f = &p->a->findings[index];
	const struct index_list self = { .v = &index, .n = 1 };
	size_t cited = 0;

	page_open(p, "details", "finding");
	page_attr(p, "id", "%s", f->id);
	page_open(p, "summary", NULL);
	page_leaf(p, "span", "tag", "%s", role_title(f->role));
	page_leaf(p, "strong", NULL, "%s", f->pattern->title);
	page_leaf(p, "span", "quiet", "%s", confidence_name(f->confidence));
	page_close(p);
	page_open(p, "div", "body");
	page_open(p, "p", NULL);
	page_time(p, f->onset);
	page_say(p, " \xc2\xb7 ");
	words_culprits(&p->w, p->a, &self);
	page_words(p);
	page_say(p, " \xc2\xb7 ");
	page_leaf(p, "code", NULL, "%s", f->pattern->id);
	page_close(p);
	for (size_t i = 0; i < f->n_reasons && i < ARRAY_SIZE(f->reasons); i++)
		page_leaf(p, "p", "quiet", "%s", f->reasons[i] ? f->reasons[i] : "");
	put_finding_links(p, "Explains", &f->explains);
	put_finding_links(p, "Explained by", &f->explained_by);
	for (; cited < f->evidence.n && cited < EVIDENCE_CITED && !page_crowded(p); cited++) {
		if (p->cited[f->evidence.v[cited]]) {
			page_open(p, "p", NULL);
			page_cite(p, f->evidence.v[cited]);
			page_close(p);
		} else {
			page_quote(p, f->evidence.v[cited]);
		}
	}
	page_more(p, "p", f->evidence.n, cited, "quotes, in the JSON report");
	for (size_t i = 0; i < f->pattern->n_advice; i++)
		page_advice(p, "p", f->pattern->advice[i]);
	put_references(p, f->pattern);
	page_close(p);
	page_close(p);
	page_line(p);
}

void html_findings(struct page *p)
{
	uint32_t i = 0;

	page_section(p, "findings", "All findings");
	if (p->a->n_findings == 0)
		page_leaf(p, "p", "lead", "No pattern matched.");
	for (; i < p->a->n_findings && i < FINDINGS_SHOWN && !page_full(p); i++)
		put_finding(p, i);
	page_more(p, "p", p->a->n_findings, i, "findings, in the JSON report");
	page_close(p);
}

/* ---- observations ---- */

static void put_observation(struct page *p, uint32_t index)
{
	const struct observation *o = &p->s->obs[index];

	page_open(p, "tr", NULL);
	page_attr(p, "class", "s-%s", severity_name(o->kind->severity));
	page_open(p, "td", NULL);
	page_time(p, o->time);
	page_close(p);
	page_open(p, "td", NULL);
	page_leaf(p, "span", "sev", "%s", severity_name(o->kind->severity));
	page_close(p);
	page_open(p, "td", NULL);
	words_observation(&p->w, p->s, o);
	page_words(p);
	page_leaf(p, "code", NULL, "%s", o->kind->name);
	page_close(p);
	page_open(p, "td", NULL);
	words_scope(&p->w, p->s, &o->scope);
	page_words(p);
	page_close(p);
	page_leaf(p, "td", NULL, "%s%s", source_name(o->source),
		  o->user_written ? " (written by user space)" : "");
	page_open(p, "td", NULL);
	if (o->n_evidence)
		page_cite(p, o->evidence[0]);
	if (o->n_evidence > 1)
		page_say(p, " and %u more", o->n_evidence - 1u);
	page_close(p);
	page_close(p);
	page_line(p);
}

int html_observations(struct page *p, struct error *err)
{
	static const char *const cols[] = { "Time", "Severity", "What", "Who", "Source", "Where" };
	_cleanup_free_ uint8_t *weight = calloc(p->s->n_obs + 1, 1);
	_cleanup_free_ uint32_t *rows = NULL;
	size_t n, shown = 0;

	if (!weight)
		return error_set(err, ERR_NOMEM, "no memory");
	for (size_t i = 0; i < p->s->n_obs; i++)
		weight[i] =
			(uint8_t)(p->s->obs[i].kind->severity + (p->s->obs[i].kind->stop ? 4 : 0));
	if (choose(weight, p->s->n_obs, OBSERVATIONS_SHOWN, &rows, &n, err))
		return -1;
	page_section(p, "observations", "Observations");
	page_open(p, "details", NULL);
	words_count(&p->w, p->s->n_obs, "typed fact", "typed facts");
	words_add(&p->w, " with source and place");
	page_words_leaf(p, "summary", NULL);
	page_table(p, "Observations", cols, ARRAY_SIZE(cols));
	for (; shown < n && !page_full(p); shown++)
		put_observation(p, rows[shown]);
	page_table_end(p);
	page_more(p, "p", p->s->n_obs, shown, "observations of less weight, in the JSON report");
	page_close(p);
	page_close(p);
	return 0;
}

/* ---- inputs ---- */

static const char *state_word(enum member_state state)
{
	switch (state) {
	case MEMBER_OK:
		return "read";
	case MEMBER_DAMAGED:
		return "damaged";
	case MEMBER_UNREAD:
		return "not read";
	case MEMBER_IGNORED:
		return "ignored";
	}
	return "unknown";
}

static void put_member(struct page *p, uint32_t index)
{
	const struct member *m = &p->s->members[index];
	size_t n = 0;

	page_open(p, "tr", m->state == MEMBER_DAMAGED || m->state == MEMBER_UNREAD ? "bad" : NULL);
	page_open(p, "th", NULL);
	page_attr(p, "scope", "row");
	if (m->sha256[0])
		page_attr(p, "title", "sha256 %s", m->sha256);
	words_member(&p->w, p->s, index);
	page_words(p);
	page_close(p);
	page_leaf(p, "td", NULL, "%s", m->kind ? m->kind : "");
	page_open(p, "td", NULL);
	page_leaf(p, "span", "state", "%s", state_word(m->state));
	for (const struct damage *d = m->damage; d; d = d->next, n++) {
		if (n >= 4)
			continue;
		words_add(&p->w, "%s%s", n ? "; " : " ", d->what);
		if (d->offset != UINT64_MAX)
			words_add(&p->w, " (at byte %" PRIu64 ")", d->offset);
		page_words(p);
	}
	if (n > 4)
		page_say(p, "; and %zu more places", n - 4);
	page_close(p);
	page_leaf(p, "td", NULL, "%s", intern_str(&p->s->strings, m->host));
	page_open(p, "td", NULL);
	if (m->rank != RANK_NONE)
		page_say(p, "%" PRId32, m->rank);
	page_close(p);
	page_leaf(p, "td", "num", "%" PRIu64, m->bytes);
	page_open(p, "td", NULL);
	if (m->first.base != TIME_UNKNOWN) {
		page_time(p, m->first);
		page_say(p, " \xe2\x80\x93 ");
		page_time(p, m->last);
	}
	page_close(p);
	page_close(p);
	page_line(p);
}

void html_inputs(struct page *p)
{
	static const char *const cols[] = { "File", "Kind",  "State", "Host",
					    "Rank", "Bytes", "Times" };
	static const enum member_state order[] = { MEMBER_DAMAGED, MEMBER_UNREAD, MEMBER_OK,
						   MEMBER_IGNORED };
	size_t count[4] = { 0 }, shown = 0;

	for (size_t i = 0; i < p->s->n_members; i++)
		count[p->s->members[i].state]++;
	page_section(p, "inputs", "Inputs");
	page_open(p, "details", NULL);
	if (count[MEMBER_DAMAGED] + count[MEMBER_UNREAD])
		page_attr(p, "open", "open");
	words_count(&p->w, p->s->n_members, "file: ", "files: ");
	words_add(&p->w, "%zu read, %zu damaged, %zu not read, %zu ignored", count[MEMBER_OK],
		  count[MEMBER_DAMAGED], count[MEMBER_UNREAD], count[MEMBER_IGNORED]);
	page_words_leaf(p, "summary", NULL);
	page_table(p, "Inputs", cols, ARRAY_SIZE(cols));
	for (size_t k = 0; k < ARRAY_SIZE(order); k++)
		for (uint32_t i = 0; i < p->s->n_members; i++)
			if (p->s->members[i].state == order[k] && shown < INPUTS_SHOWN &&
			    !page_full(p)) {
				put_member(p, i);
				shown++;
			}
	page_table_end(p);
	page_more(p, "p", p->s->n_members, shown, "files, in the JSON report");
	page_close(p);
	page_close(p);
}

/* ---- coverage ---- */

static void put_sources(struct page *p)
{
	static const char *const cols[] = { "State", "Source", "How to get it" };
	uint32_t have = store_sources(p->s);

	page_table(p, "Sources", cols, ARRAY_SIZE(cols));
	for (int c = 0; c < SRC_INPUT; c++) {
		bool here = have & 1u << c;

		page_open(p, "tr", here ? "x-excluded" : "x-unknown");
		page_open(p, "td", NULL);
		page_leaf(p, "span", "state", "%s", here ? "read" : "absent");
		page_close(p);
		page_open(p, "th", NULL);
		page_attr(p, "scope", "row");
		page_say(p, "%s", source_name(c));
		page_close(p);
		page_leaf(p, "td", NULL, "%s", source_what(c));
		page_close(p);
		page_line(p);
	}
	page_table_end(p);
}

static void put_loss(struct page *p)
{
	const struct inconsistency *x = p->s->inconsistencies;
	size_t n = 0;

	page_open(p, "ul", "plain");
	page_open(p, "li", NULL);
	words_silent(&p->w, p->a);
	page_words(p);
	page_close(p);
	if (p->s->collectives) {
		page_open(p, "li", NULL);
		words_add(&p->w, "flight-recorder dumps of ");
		words_rank_noun(&p->w, p->s->collectives->ranks, p->s->collectives->n_ranks);
		words_add(&p->w, ", %" PRIu64 " entries", p->s->collectives->n_entries);
		page_words(p);
		page_close(p);
	}
	if (p->s->interrupted)
		page_leaf(p, "li", NULL,
			  "reading was interrupted: the rest of the input was not seen");
	if (p->s->obs_dropped)
		page_leaf(p, "li", NULL,
			  "%" PRIu64 " observations beyond the limit were counted, not kept",
			  p->s->obs_dropped);
	for (; x; x = x->next, n++)
		if (n < INCONSISTENCIES_SHOWN)
			page_leaf(p, "li", NULL, "contradiction: %s", x->what);
	page_more(p, "li", n, INCONSISTENCIES_SHOWN, "contradictions");
	page_close(p);
}

void html_coverage(struct page *p)
{
	page_section(p, "coverage", "Coverage and loss");
	put_loss(p);
	put_sources(p);
	page_close(p);
}
