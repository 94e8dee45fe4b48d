/*
 * html - the page: verdict, chain from cause to symptoms, and what else it could have been.
 */
#include "reports/html.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/identity.h"
#include "reports/report.h"

#define CHAIN_SHOWN 40
#define CHAIN_OPEN 4 /* links whose further quotes are not folded */
#define QUOTES_OPEN 3
#define QUOTES_SHOWN 12
#define EXCLUSIONS_SHOWN 60
#define CANDIDATES_SHOWN 10
#define FAILURES_SHOWN 20

/* The status as a shape too: colour alone says nothing to some readers and to a printer. */
static const struct {
	const char *class, *glyph;
} looks[] = {
	[VERDICT_ROOT_CAUSE] = { "root", "M9.6 5h4.8v8.4H9.6zM9.6 15.6h4.8v3.9H9.6z" },
	[VERDICT_UNATTRIBUTED] = { "open", "M7 9a5 5 0 1 1 7.4 4.4q-1 .6-1 2.1h-2.8q0-3.1 "
					   "2.1-4.3A2.3 2.3 0 1 0 "
					   "9.8 9zM10.5 17h3v3h-3z" },
	[VERDICT_OUTCOME] = { "outcome", "M6 6h12v12H6z" },
	[VERDICT_NO_FAILURE] = { "none", "M9.7 18.7 4.3 13.3l2-2 3.4 3.4 8-8 2 2z" },
};

/* ---- head ---- */

static void meta(struct page *p, const char *key, const char *name, const char *content)
{
	page_open(p, "meta", NULL);
	page_attr(p, key, "%s", name);
	if (content)
		page_attr(p, "content", "%s", content);
	page_void(p);
	page_line(p);
}

static void put_head(struct page *p)
{
	page_open(p, "head", NULL);
	meta(p, "charset", "utf-8", NULL);
	meta(p, "http-equiv", "Content-Security-Policy",
	     "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
	     "form-action 'none'");
	meta(p, "name", "referrer", "no-referrer");
	meta(p, "name", "viewport", "width=device-width, initial-scale=1");
	meta(p, "name", "color-scheme", "light dark");
	page_open(p, "link", NULL);
	page_attr(p, "rel", "icon");
	page_attr(p, "href", "data:,");
	page_void(p);
	page_leaf(p, "title", NULL, "%s: %s", verdict_phrase(p->a->status),
		  p->a->headline ? p->a->headline : "");
	page_style(p);
	page_close(p);
	page_line(p);
}

/* ---- verdict ---- */

static void fact(struct page *p, const char *term)
{
	page_open(p, "div", NULL);
	page_leaf(p, "dt", NULL, "%s", term);
	page_open(p, "dd", NULL);
}

static void fact_end(struct page *p)
{
	page_close(p);
	page_close(p);
	page_line(p);
}

static void put_status(struct page *p)
{
	enum verdict_status status = p->a->status;

	page_open(p, "p", "status");
	page_open(p, "svg", NULL);
	page_attr(p, "viewBox", "0 0 24 24");
	page_attr(p, "aria-hidden", "true");
	page_open(p, "path", NULL);
	page_attr(p, "d", "%s", looks[status].glyph);
	page_void(p);
	page_close(p);
	page_leaf(p, "span", NULL, "%s", verdict_phrase(status));
	if (p->a->primary.n && (status == VERDICT_ROOT_CAUSE || status == VERDICT_OUTCOME))
		page_leaf(p, "span", "sure", "%s",
			  confidence_name(p->a->findings[p->a->primary.v[0]].confidence));
	page_close(p);
}

static void put_reasons(struct page *p)
{
	if (p->a->primary.n == 0)
		return;
	fact(p, p->a->status == VERDICT_UNATTRIBUTED ? "How sure that it was seen" : "How sure");
	for (size_t i = 0; i < p->a->primary.n; i++) {
		const struct finding *f = &p->a->findings[p->a->primary.v[i]];

		page_open(p, "p", NULL);
		page_leaf(p, "strong", NULL, "%s", confidence_name(f->confidence));
		if (p->a->primary.n > 1)
			page_say(p, " (%s)", f->pattern->title);
		page_close(p);
		page_open(p, "ul", NULL);
		for (size_t k = 0; k < f->n_reasons && k < ARRAY_SIZE(f->reasons); k++)
			page_leaf(p, "li", NULL, "%s", f->reasons[k] ? f->reasons[k] : "");
		page_close(p);
	}
	fact_end(p);
}

static void put_action(struct page *p)
{
	fact(p, "What to do");
	page_open(p, "p", "do");
	words_action(&p->w, p->a);
	if (!p->w.len)
		words_add(&p->w, "nothing");
	page_words(p);
	page_close(p);
	page_open(p, "ul", NULL);
	for (size_t i = 0; i < p->a->primary.n; i++) {
		const struct pattern *t = p->a->findings[p->a->primary.v[i]].pattern;

		for (size_t k = 0; k < t->n_advice; k++)
			page_advice(p, "li", t->advice[k]);
	}
	page_close(p);
	fact_end(p);
}

static const char *culprit_term(enum verdict_status status)
{
	switch (status) {
	case VERDICT_ROOT_CAUSE:
		return "Culprit";
	case VERDICT_UNATTRIBUTED:
		return "Seen at, cause not proven";
	case VERDICT_OUTCOME:
	case VERDICT_NO_FAILURE:
		break;
	}
	return "About";
}

static void put_culprit(struct page *p)
{
	if (p->a->status == VERDICT_NO_FAILURE && p->a->primary.n == 0)
		return;
	fact(p, culprit_term(p->a->status));
	words_culprits(&p->w, p->a, &p->a->primary);
	if (!p->w.len)
		words_add(&p->w, "not identified");
	page_words_leaf(p, "p", "who");
	fact_end(p);
}

static void put_verdict(struct page *p)
{
	page_open(p, "header", NULL);
	page_attr(p, "class", "verdict v-%s", looks[p->a->status].class);
	put_status(p);
	page_leaf(p, "h1", NULL, "%s",
		  p->a->headline && p->a->headline[0] ? p->a->headline :
							verdict_phrase(p->a->status));
	page_open(p, "dl", "facts");
	put_culprit(p);
	if (p->a->primary.n) {
		fact(p, "Since");
		page_time(p, p->a->findings[p->a->primary.v[0]].onset);
		fact_end(p);
	}
	fact(p, "Coverage");
	words_silent(&p->w, p->a);
	page_words(p);
	if (p->a->any_damage)
		page_say(p, "; part of the input was damaged");
	fact_end(p);
	put_action(p);
	put_reasons(p);
	page_close(p);
	page_close(p);
}

/* ---- the chain ---- */

static void put_because(struct page *p, const struct finding *f, const struct chain_link *links,
			size_t n)
{
	size_t said = 0;

	for (size_t i = 0; i < n && i < CHAIN_SHOWN; i++)
		for (size_t k = 0; k < f->explained_by.n; k++) {
			if (f->explained_by.v[k] != links[i].finding)
				continue;
			if (!said++) {
				page_open(p, "p", "because");
				page_say(p, "because of ");
			} else {
				page_say(p, ", ");
			}
			page_open(p, "a", NULL);
			page_attr(p, "href", "#link%zu", i + 1);
			page_say(p, "%zu", i + 1);
			page_close(p);
		}
	if (said)
		page_close(p);
}

static void put_quotes(struct page *p, const struct index_list *e, bool fold)
{
	size_t open = fold ? 1 : QUOTES_OPEN, i = 0;

	for (; i < e->n && i < open; i++)
		page_quote(p, e->v[i]);
	if (i == e->n)
		return;
	page_open(p, "details", NULL);
	words_count(&p->w, e->n - i, "more quote", "more quotes");
	page_words_leaf(p, "summary", NULL);
	for (; i < e->n && i < QUOTES_SHOWN && !page_crowded(p); i++)
		page_quote(p, e->v[i]);
	page_more(p, "p", e->n, i, "quotes, in the JSON report");
	page_close(p);
}

static void put_link(struct page *p, const struct chain_link *links, size_t n, size_t i)
{
	const struct finding *f = &p->a->findings[links[i].finding];
	const struct index_list self = { .v = (uint32_t[]){ links[i].finding }, .n = 1 };
	bool maybe = f->role == ROLE_CAUSE && p->a->status == VERDICT_UNATTRIBUTED;

	page_open(p, "li", NULL);
	page_attr(p, "class", "r-%s", maybe ? "maybe" : pattern_role_name(f->role));
	page_attr(p, "id", "link%zu", i + 1);
	page_open(p, "p", "eyebrow");
	page_leaf(p, "b", NULL, "%s", maybe ? "Candidate" : role_title(f->role));
	page_leaf(p, "span", "sure", "%s", confidence_name(f->confidence));
	page_leaf(p, "code", NULL, "%s", f->pattern->id);
	page_close(p);
	page_leaf(p, "h3", NULL, "%s", f->pattern->title);
	page_open(p, "p", "about");
	page_time(p, f->onset);
	if (f->error_ns) {
		words_add(&p->w, " \xc2\xb1 ");
		words_duration(&p->w, f->error_ns);
	}
	if (f->n_culprits) {
		words_add(&p->w, " \xc2\xb7 ");
		words_culprits(&p->w, p->a, &self);
	}
	page_words(p);
	page_close(p);
	put_because(p, f, links, n);
	put_quotes(p, &f->evidence, i >= CHAIN_OPEN);
	page_close(p);
	page_line(p);
}

static int put_chain(struct page *p, struct error *err)
{
	_cleanup_free_ struct chain_link *links = NULL;
	size_t n;

	if (report_chain(p->a, &links, &n, err))
		return -1;
	if (n == 0)
		return 0;
	page_section(p, "chain",
		     p->a->status != VERDICT_UNATTRIBUTED ? "From cause to symptoms" :
							    "What may have happened");
	if (p->a->status == VERDICT_UNATTRIBUTED)
		page_leaf(p, "p", "lead", "All of this was seen; what caused it is not proven.");
	page_open(p, "ol", "chain");
	for (size_t i = 0; i < n && i < CHAIN_SHOWN; i++)
		put_link(p, links, n, i);
	page_close(p);
	page_more(p, "p", n, CHAIN_SHOWN, "findings that follow from these, in the list below");
	page_close(p);
	return 0;
}

static void put_failures(struct page *p)
{
	bool any_stop = report_any_stop(p->a);
	size_t n = 0;

	if (p->a->status != VERDICT_UNATTRIBUTED)
		return;
	page_section(p, "failed", "What failed");
	page_open(p, "ol", "chain");
	for (size_t i = 0; i < p->s->n_obs; i++) {
		const struct observation *o = &p->s->obs[i];

		if (!observation_is_failure(p->a, o, any_stop) || n++ >= FAILURES_SHOWN)
			continue;
		page_open(p, "li", "r-symptom");
		words_observation(&p->w, p->s, o);
		page_words_leaf(p, "h3", NULL);
		page_open(p, "p", "about");
		page_time(p, o->time);
		words_add(&p->w, " \xc2\xb7 ");
		words_scope(&p->w, p->s, &o->scope);
		page_words(p);
		page_close(p);
		if (o->n_evidence)
			page_quote(p, o->evidence[0]);
		page_close(p);
	}
	page_close(p);
	page_more(p, "p", n, FAILURES_SHOWN, "failures, in the list of observations");
	page_close(p);
}

static void put_runs(struct page *p)
{
	if (p->a->n_runs < 2)
		return;
	page_section(p, "runs", "Runs of the job");
	page_open(p, "ol", "plain");
	for (size_t i = 0; i < p->a->n_runs; i++) {
		page_open(p, "li", NULL);
		words_run_end(&p->w, &p->a->runs[i]);
		page_words(p);
		page_open(p, "p", "about");
		if (p->a->runs[i].from.base) {
			page_say(p, "from ");
			page_time(p, p->a->runs[i].from);
		} else {
			page_say(p, i ? "begins at a time unknown" : "the first run");
		}
		if (i == p->a->judged)
			page_say(p, " \xc2\xb7 this report is about it");
		page_close(p);
		page_close(p);
	}
	page_close(p);
	page_close(p);
}

/* ---- what else it could have been ---- */

static const char *pattern_title(struct page *p, const char *id)
{
	const struct pattern *t = p->a->patterns ? pattern_find(p->a->patterns, id) : NULL;

	return t ? t->title : id;
}

static void put_exclusion(struct page *p, const struct exclusion *x)
{
	static const char *const words[][2] = {
		[RIVAL_EXCLUDED] = { "x-excluded", "excluded" },
		[RIVAL_OPEN] = { "x-open", "still open" },
		[RIVAL_NOT_EVALUABLE] = { "x-unknown", "not evaluable" },
	};

	page_open(p, "tr", words[x->state][0]);
	page_open(p, "td", NULL);
	page_leaf(p, "span", "state", "%s", words[x->state][1]);
	page_close(p);
	page_open(p, "th", NULL);
	page_attr(p, "scope", "row");
	page_say(p, "%s", pattern_title(p, x->pattern));
	page_leaf(p, "code", NULL, "%s", x->pattern);
	page_close(p);
	page_open(p, "td", NULL);
	page_say(p, "%s", x->reason ? x->reason : "");
	for (size_t i = 0; i < x->evidence.n && i < QUOTES_OPEN; i++) {
		page_say(p, " ");
		page_cite(p, x->evidence.v[i]);
	}
	page_close(p);
	page_close(p);
	page_line(p);
}

static void put_ledger(struct page *p)
{
	static const char *const cols[] = { "State", "Instead", "Because" };
	size_t n = 0, left = EXCLUSIONS_SHOWN;

	for (size_t i = 0; i < p->a->primary.n; i++)
		n += p->a->findings[p->a->primary.v[i]].n_exclusions;
	if (n == 0)
		return;
	page_section(p, "ledger", "What else it could have been");
	for (size_t i = 0; i < p->a->primary.n; i++) {
		const struct finding *f = &p->a->findings[p->a->primary.v[i]];

		if (!f->n_exclusions)
			continue;
		if (p->a->primary.n > 1)
			page_leaf(p, "h3", NULL, "Instead of: %s", f->pattern->title);
		page_table(p, "Exclusion ledger", cols, ARRAY_SIZE(cols));
		for (size_t k = 0; k < f->n_exclusions && left; k++, left--)
			put_exclusion(p, &f->exclusions[k]);
		page_table_end(p);
	}
	page_more(p, "p", n, EXCLUSIONS_SHOWN, "rivals, in the JSON report");
	page_close(p);
}

static void put_candidates(struct page *p)
{
	const struct analysis *a = p->a;
	bool measure = a->next_measurement && a->next_measurement[0];

	if (!a->n_candidates && !measure)
		return;
	page_section(p, "candidates", "Candidates and the next measurement");
	if (measure) {
		page_open(p, "p", "measure");
		page_leaf(p, "b", NULL, "Next: ");
		page_say(p, "%s", a->next_measurement);
		page_close(p);
	}
	page_open(p, "ol", "plain");
	for (size_t i = 0; i < a->n_candidates && i < CANDIDATES_SHOWN; i++) {
		page_open(p, "li", NULL);
		page_say(p, "%s ", a->candidates[i]->title);
		page_leaf(p, "code", NULL, "%s", a->candidates[i]->id);
		page_close(p);
	}
	page_close(p);
	page_more(p, "p", a->n_candidates, CANDIDATES_SHOWN, "candidates");
	page_close(p);
}

/* ---- the page ---- */

static void put_nav(struct page *p)
{
	static const char *const places[][2] = {
		{ "verdict", "Verdict" },	    { "timeline", "Timeline" },
		{ "collectives", "Collectives" },   { "findings", "Findings" },
		{ "observations", "Observations" }, { "inputs", "Inputs" },
		{ "coverage", "Coverage" },
	};

	page_open(p, "nav", NULL);
	page_attr(p, "aria-label", "Sections");
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		page_open(p, "a", NULL);
		page_attr(p, "href", "#%s", places[i][0]);
		page_say(p, "%s", places[i][1]);
		page_close(p);
	}
	page_close(p);
	page_line(p);
}

static void put_masthead(struct page *p)
{
	const struct identity *id = p->s->identity;

	page_open(p, "a", "skip");
	page_attr(p, "href", "#verdict");
	page_say(p, "Skip to the verdict");
	page_close(p);
	page_open(p, "div", "masthead");
	page_leaf(p, "span", "brand", "Tachograph");
	words_add(&p->w, "incident report");
	if (id && id->job)
		words_add(&p->w, " \xc2\xb7 job %s", intern_str(&p->s->strings, id->job));
	if (p->a->world_size > 0)
		words_add(&p->w, " \xc2\xb7 %" PRId32 " ranks", p->a->world_size);
	if (id && id->n_hosts) {
		words_add(&p->w, " \xc2\xb7 ");
		words_count(&p->w, id->n_hosts, "host", "hosts");
	}
	page_words_leaf(p, "span", NULL);
	page_close(p);
	put_nav(p);
}

static void put_footer(struct page *p)
{
	page_open(p, "footer", NULL);
	page_say(p, "Written by tanalyze %s", TACHOGRAPH_VERSION);
	if (p->a->patterns && p->a->patterns->digest[0]) {
		page_say(p, ", patterns ");
		page_open(p, "code", NULL);
		page_attr(p, "title", "sha256 %s", p->a->patterns->digest);
		page_say(p, "%.16s", p->a->patterns->digest);
		page_close(p);
	}
	page_say(p, ". The same input and the same patterns give this page again, byte for byte.");
	page_close(p);
	page_line(p);
}

static int put_page(struct page *p, struct error *err)
{
	page_open(p, "html", NULL);
	page_attr(p, "lang", "en");
	put_head(p);
	page_open(p, "body", NULL);
	put_masthead(p);
	page_open(p, "main", NULL);
	page_attr(p, "id", "verdict");
	put_verdict(p);
	put_runs(p);
	if (p->a->status == VERDICT_UNATTRIBUTED)
		put_candidates(p); /* then they are the next thing to know */
	if (put_chain(p, err))
		return -1;
	put_failures(p);
	put_ledger(p);
	if (p->a->status != VERDICT_UNATTRIBUTED)
		put_candidates(p);
	if (html_grid(p, err) || html_timeline(p, err))
		return -1;
	html_findings(p);
	if (html_observations(p, err))
		return -1;
	html_inputs(p);
	html_coverage(p);
	page_close(p);
	put_footer(p);
	page_close(p);
	page_close(p);
	return 0;
}

static void writer_freep(xmlTextWriterPtr *w)
{
	if (*w)
		xmlFreeTextWriter(*w);
}

static void buffer_freep(xmlBufferPtr *b)
{
	if (*b)
		xmlBufferFree(*b);
}

int report_html(const struct analysis *a, FILE *out, struct error *err)
{
	static const char doctype[] = "<!DOCTYPE html>\n";
	_cleanup_(buffer_freep) xmlBufferPtr buf = xmlBufferCreate();
	_cleanup_(writer_freep) xmlTextWriterPtr writer =
		buf ? xmlNewTextWriterMemory(buf, 0) : NULL;
	_cleanup_free_ uint8_t *cited = calloc(a->store->n_evidence + 1, 1);
	struct page p = { .out = writer, .a = a, .s = a->store, .cited = cited };
	int r;

	if (!writer || !cited)
		return error_set(err, ERR_NOMEM, "no memory");
	r = put_page(&p, err);
	p.failed |= p.w.full || p.safe.full || xmlTextWriterFlush(writer) < 0;
	words_deinit(&p.w);
	words_deinit(&p.safe);
	if (r)
		return -1;
	if (p.failed)
		return error_set(err, ERR_NOMEM, "no memory");
	fwrite(doctype, 1, sizeof(doctype) - 1, out);
	fwrite(xmlBufferContent(buf), 1, (size_t)xmlBufferLength(buf), out);
	if (fputc('\n', out) == EOF || fflush(out) || ferror(out))
		return error_sys(err, "cannot write the report");
	return 0;
}
