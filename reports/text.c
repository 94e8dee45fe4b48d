/*
 * text - the report for a terminal at 3 a.m.
 *
 * Three lines say what, who and what is missing; then what to do; then why.
 * Plain ASCII of our own; what the input says is made printable line by line,
 * in the three put_*() functions through which everything leaves.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bundle/text.h"
#include "reports/report.h"
#include "reports/words.h"

#define WIDTH_DEFAULT 100
#define WIDTH_MIN 40
#define QUOTES_SHOWN 3
#define QUOTE_LINES 2
#define TEXT_ROOM 40 /* columns that a quote needs beside its file name */
#define CHAIN_SHOWN 12
#define LINES_SHOWN 8	/* of every other list */
#define LINE_BYTES 1024 /* of the input's bytes on one logical line */

struct text {
	FILE *out;
	size_t width;
	const struct analysis *a;
	const struct store *s;
	struct words w;	   /* the line that is being said */
	struct words safe; /* the same, made printable */
};

/* ---- the way out ---- */

/* Columns that a character takes in a terminal. */
static size_t columns(uint32_t cp)
{
	static const uint32_t wide[][2] = {
		{ 0x1100, 0x115f }, { 0x2e80, 0xa4cf }, { 0xac00, 0xd7a3 },   { 0xf900, 0xfaff },
		{ 0xfe30, 0xfe6f }, { 0xff00, 0xff60 }, { 0x1f300, 0x1faff }, { 0x20000, 0x3fffd },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wide); i++)
		if (cp >= wide[i][0] && cp <= wide[i][1])
			return 2;
	return 1;
}

/* How many bytes of `s` fit into `room` columns. */
static size_t fit(const char *s, size_t len, size_t room)
{
	size_t i = 0, used = 0;

	while (i < len) {
		uint32_t cp = 0;
		size_t n = text_utf8(s + i, len - i, &cp);

		if (n == 0 || used + columns(cp) > room)
			break;
		used += columns(cp);
		i += n;
	}
	return i;
}

/* Make what was said printable and begin anew. */
static void finish(struct text *t)
{
	words_printable(&t->safe, words_str(&t->w), t->w.len, LINE_BYTES);
	for (size_t i = 0; i < t->safe.len; i++)
		if (t->safe.s[i] == '\t')
			t->safe.s[i] = ' ';
	words_clear(&t->w);
}

/* On one line, however long. */
static void put_whole(struct text *t, size_t indent)
{
	finish(t);
	fprintf(t->out, "%*s%s\n", (int)indent, "", words_str(&t->safe));
}

/*
 * Wrapped at spaces; every line but the first is indented by `hang`.  What is left
 * after `max` lines (0: no limit) is cut.
 */
static void put_lines(struct text *t, size_t indent, size_t hang, size_t max)
{
	const char *s;
	size_t len;

	finish(t);
	s = words_str(&t->safe);
	len = t->safe.len;
	for (size_t i = 1; i == 1 || len; i++) {
		size_t room = t->width - indent, n = fit(s, len, room), cut = n;
		bool last = i == max && n < len;

		if (last)
			cut = n = fit(s, len, room - 3);
		while (!last && n < len && cut > 0 && s[cut] != ' ')
			cut--;
		if (n < len && cut > room / 2)
			n = cut;
		fprintf(t->out, "%*s%.*s%s\n", (int)indent, "", (int)n, s, last ? "..." : "");
		if (last)
			return;
		while (n < len && s[n] == ' ')
			n++;
		s += n;
		len -= n;
		indent = hang;
	}
}

static void put_wrapped(struct text *t, size_t indent, size_t hang)
{
	put_lines(t, indent, hang, 0);
}

static void section(struct text *t, const char *title)
{
	fprintf(t->out, "\n%s\n", title);
}

static void and_more(struct text *t, size_t indent, size_t total, size_t shown, const char *what)
{
	if (total > shown) {
		words_add(&t->w, "and %zu more %s", total - shown, what);
		put_wrapped(t, indent, indent);
	}
}

/* ---- quotes ---- */

/* "file:line: text", on two lines where the name leaves too little room. */
static void put_quote(struct text *t, size_t indent, uint32_t evidence)
{
	words_where(&t->w, t->s, evidence);
	words_add(&t->w, ":");
	if (indent + t->w.len + TEXT_ROOM > t->width)
		put_whole(t, indent);
	else
		words_add(&t->w, " ");
	indent += t->w.len ? 0 : 2;
	words_quote(&t->w, t->s, evidence);
	put_lines(t, indent, t->w.len ? indent + 2 : indent, QUOTE_LINES);
}

static void put_quotes(struct text *t, size_t indent, const uint32_t *evidence, size_t n)
{
	for (size_t i = 0; i < n && i < QUOTES_SHOWN; i++)
		put_quote(t, indent, evidence[i]);
	and_more(t, indent, n, QUOTES_SHOWN, n == QUOTES_SHOWN + 1 ? "quote" : "quotes");
}

/* ---- the first three lines ---- */

static void put_verdict(struct text *t)
{
	static const char *const names[] = {
		[VERDICT_ROOT_CAUSE] = "ROOT CAUSE",
		[VERDICT_UNATTRIBUTED] = "FAILURE, CAUSE NOT PROVEN",
		[VERDICT_OUTCOME] = "ENDED FROM OUTSIDE, NOT A FAULT",
		[VERDICT_NO_FAILURE] = "NO FAILURE FOUND",
	};

	const char *headline = t->a->headline ? t->a->headline : "";
	const char *name = names[t->a->status];

	if (strncasecmp(headline, name, strlen(name)) == 0) /* it begins with these words */
		headline += strlen(name);
	words_add(&t->w, "%s", name);
	if (t->a->status == VERDICT_ROOT_CAUSE && t->a->primary.n)
		words_add(&t->w, " (%s)",
			  confidence_name(t->a->findings[t->a->primary.v[0]].confidence));
	if (headline[0])
		words_add(&t->w, "%s%s", headline[0] == ';' ? "" : ": ", headline);
	put_whole(t, 0);
}

static void put_culprit(struct text *t)
{
	const char *label = "culprit: ";
	size_t start;

	if (t->a->status == VERDICT_UNATTRIBUTED)
		label = "culprit: not proven; seen at: ";
	else if (t->a->status == VERDICT_OUTCOME)
		label = "about: ";
	words_add(&t->w, "%s", label);
	start = t->w.len;
	if (t->a->status != VERDICT_NO_FAILURE)
		words_culprits(&t->w, t->a, &t->a->primary);
	if (t->w.len == start) {
		words_clear(&t->w);
		words_add(&t->w, t->a->status == VERDICT_NO_FAILURE ? "culprit: none" :
								      "culprit: not identified");
	}
	put_whole(t, 0);
}

/* ---- what to do ---- */

static void put_action(struct text *t)
{
	section(t, "WHAT TO DO");
	words_action(&t->w, t->a);
	if (!t->w.len)
		words_add(&t->w, "nothing");
	put_wrapped(t, 2, 2);
	for (size_t i = 0; i < t->a->primary.n; i++) {
		const struct pattern *p = t->a->findings[t->a->primary.v[i]].pattern;

		for (size_t k = 0; k < p->n_advice; k++) {
			words_add(&t->w, "- %s", p->advice[k]);
			put_wrapped(t, 2, 4);
		}
	}
}

/* ---- the other runs ---- */

static void put_runs(struct text *t)
{
	if (t->a->n_runs < 2)
		return;
	section(t, "RUNS OF THE JOB (--run N judges another)");
	for (size_t i = 0; i < t->a->n_runs; i++) {
		words_add(&t->w, "%zu. ", i + 1);
		if (t->a->runs[i].from.base) {
			words_add(&t->w, "from ");
			words_stamp(&t->w, t->a->runs[i].from);
			words_add(&t->w, ": ");
		}
		words_run_end(&t->w, &t->a->runs[i]);
		words_add(&t->w, "%s", i == t->a->judged ? " <- this report" : "");
		put_wrapped(t, 2, 5);
	}
}

/* ---- the chain ---- */

static const char *role_word(enum pattern_role role)
{
	switch (role) {
	case ROLE_CAUSE:
		return "cause";
	case ROLE_SYMPTOM:
		return "symptom";
	case ROLE_OUTCOME:
		return "outcome";
	case ROLE_PRECURSOR:
		return "precursor";
	}
	return "finding";
}

/* "because of 1 and 2": the links above that explain this one. */
static void say_because(struct text *t, const struct finding *f, const struct chain_link *links,
			size_t n)
{
	size_t said = 0;

	for (size_t i = 0; i < n && i < CHAIN_SHOWN; i++)
		for (size_t k = 0; k < f->explained_by.n; k++)
			if (f->explained_by.v[k] == links[i].finding)
				words_add(&t->w, "%s%zu", said++ ? ", " : "because of ", i + 1);
	words_add(&t->w, "%s", said ? ", " : "");
}

/* When and whom. */
static void put_about(struct text *t, size_t indent, const struct finding *f)
{
	const struct index_list one = { .v = (uint32_t[]){ (uint32_t)(f - t->a->findings) },
					.n = 1 };

	words_stamp(&t->w, f->onset);
	if (f->error_ns) {
		words_add(&t->w, " +/- ");
		words_duration(&t->w, f->error_ns);
	}
	if (f->n_culprits) {
		words_add(&t->w, ", ");
		words_culprits(&t->w, t->a, &one);
	}
	put_wrapped(t, indent, indent);
}

static void put_chain(struct text *t, const struct chain_link *links, size_t n)
{
	if (n == 0)
		return;
	section(t, t->a->status != VERDICT_UNATTRIBUTED ? "FROM CAUSE TO SYMPTOMS" :
							  "WHAT MAY HAVE HAPPENED (not proven)");
	for (size_t i = 0; i < n && i < CHAIN_SHOWN; i++) {
		const struct finding *f = &t->a->findings[links[i].finding];

		words_add(&t->w, "%zu. ", i + 1);
		say_because(t, f, links, n);
		words_add(&t->w, "%s: %s [%s, %s]",
			  f->role == ROLE_CAUSE && t->a->status == VERDICT_UNATTRIBUTED ?
				  "candidate" :
				  role_word(f->role),
			  f->pattern->title, f->pattern->id, confidence_name(f->confidence));
		put_wrapped(t, 2, 5);
		put_about(t, 5, f);
		put_quotes(t, 7, f->evidence.v, f->evidence.n);
	}
	and_more(t, 2, n, CHAIN_SHOWN, "findings that follow from these");
}

static void put_confidence(struct text *t)
{
	if (t->a->primary.n == 0)
		return;
	section(t, t->a->status == VERDICT_UNATTRIBUTED ? "HOW SURE THAT IT WAS SEEN" : "HOW SURE");
	for (size_t i = 0; i < t->a->primary.n; i++) {
		const struct finding *f = &t->a->findings[t->a->primary.v[i]];

		words_add(&t->w, "%s: %s", f->pattern->id, confidence_name(f->confidence));
		put_wrapped(t, 2, 4);
		for (size_t k = 0; k < f->n_reasons && k < ARRAY_SIZE(f->reasons); k++) {
			words_add(&t->w, "- %s", f->reasons[k] ? f->reasons[k] : "");
			put_wrapped(t, 4, 6);
		}
	}
}

/* ---- what else it could have been ---- */

static void put_exclusions(struct text *t, const struct finding *f, enum exclusion_state state,
			   const char *label)
{
	for (size_t i = 0; i < f->n_exclusions; i++) {
		const struct exclusion *x = &f->exclusions[i];

		if (x->state != state)
			continue;
		words_add(&t->w, "%s %s: %s", label, x->pattern, x->reason ? x->reason : "");
		put_wrapped(t, 2, 17);
		if (x->evidence.n)
			put_quote(t, 17, x->evidence.v[0]);
	}
}

static void put_ledger(struct text *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->a->primary.n; i++)
		n += t->a->findings[t->a->primary.v[i]].n_exclusions;
	if (n == 0)
		return;
	section(t, "WHAT ELSE IT COULD HAVE BEEN");
	for (size_t i = 0; i < t->a->primary.n; i++) {
		const struct finding *f = &t->a->findings[t->a->primary.v[i]];

		if (t->a->primary.n > 1 && f->n_exclusions) {
			words_add(&t->w, "instead of %s:", f->pattern->id);
			put_wrapped(t, 2, 4);
		}
		put_exclusions(t, f, RIVAL_OPEN, "still open    ");
		put_exclusions(t, f, RIVAL_NOT_EVALUABLE, "not evaluable ");
		put_exclusions(t, f, RIVAL_EXCLUDED, "excluded      ");
	}
}

static void put_candidates(struct text *t)
{
	const struct analysis *a = t->a;

	if (a->n_candidates) {
		section(t, "CANDIDATES, BEST FIRST");
		for (size_t i = 0; i < a->n_candidates && i < LINES_SHOWN; i++) {
			words_add(&t->w, "%zu. %s [%s]", i + 1, a->candidates[i]->title,
				  a->candidates[i]->id);
			put_wrapped(t, 2, 5);
		}
		and_more(t, 2, a->n_candidates, LINES_SHOWN, "candidates");
	}
	if (a->next_measurement && a->next_measurement[0]) {
		section(t, "NEXT MEASUREMENT");
		words_add(&t->w, "%s", a->next_measurement);
		put_wrapped(t, 2, 4);
	}
}

static void put_observation(struct text *t, const struct observation *o)
{
	words_stamp(&t->w, o->time);
	words_add(&t->w, ", ");
	words_scope(&t->w, t->s, &o->scope);
	words_add(&t->w, ": ");
	words_observation(&t->w, t->s, o);
	put_wrapped(t, 2, 4);
	put_quotes(t, 4, o->evidence, o->n_evidence < 1 ? 0 : 1);
}

/* Without a proven cause: the failures themselves. */
static void put_failures(struct text *t)
{
	bool any_stop = report_any_stop(t->a);
	size_t n = 0;

	if (t->a->status != VERDICT_UNATTRIBUTED)
		return;
	section(t, "WHAT FAILED");
	for (size_t i = 0; i < t->s->n_obs; i++)
		if (observation_is_failure(t->a, &t->s->obs[i], any_stop) && n++ < LINES_SHOWN)
			put_observation(t, &t->s->obs[i]);
	if (n == 0)
		fprintf(t->out, "  no observation names a failure\n");
	and_more(t, 2, n, LINES_SHOWN, "failures");
}

/* Errors that no finding claims, and that are not among the failures above: a person may know what they mean. */
static void put_unclaimed(struct text *t)
{
	bool any_stop = report_any_stop(t->a);
	size_t n = 0;

	for (size_t i = 0; i < t->a->n_timeline; i++) {
		const struct timeline_row *row = &t->a->timeline[i];
		const struct observation *o = &t->s->obs[row->observation];

		if (row->finding >= 0 || o->kind->severity < SEV_ERROR ||
		    (t->a->status == VERDICT_UNATTRIBUTED && observation_is_failure(t->a, o, any_stop)))
			continue;
		if (n == 0)
			section(t, "ALSO SEEN, PART OF NO FINDING");
		if (n++ < LINES_SHOWN)
			put_observation(t, o);
	}
	and_more(t, 2, n, LINES_SHOWN, "observations");
}

/* ---- collectives ---- */

static void put_rank_line(struct text *t, const char *label, const int32_t *ranks, size_t n)
{
	if (n == 0)
		return;
	words_add(&t->w, "%-10s", label);
	words_ranks(&t->w, ranks, n);
	put_wrapped(t, 4, 14);
}

static void put_collectives(struct text *t)
{
	const struct collectives *c = t->s->collectives;

	if (!c || c->n_stuck == 0)
		return;
	section(t, "STUCK COLLECTIVES, EARLIEST FIRST");
	for (size_t i = 0; i < c->n_stuck && i < LINES_SHOWN; i++) {
		const struct stuck_collective *k = &c->stuck[i];

		words_add(&t->w, "%s #%" PRId64 " of group %s, ", intern_str(&t->s->strings, k->op),
			  k->seq, intern_str(&t->s->strings, k->group));
		words_count(&t->w, k->n_members, "member", "members");
		put_wrapped(t, 2, 4);
		put_rank_line(t, "missing", k->missing, k->n_missing);
		put_rank_line(t, "unknown", k->unknown, k->n_unknown);
		put_rank_line(t, "entered", k->entered, k->n_entered);
		put_rank_line(t, "completed", k->completed, k->n_completed);
	}
	and_more(t, 2, c->n_stuck, LINES_SHOWN, "stuck collectives");
}

/* ---- findings outside the chain ---- */

static bool in_chain(const struct chain_link *links, size_t n, size_t finding)
{
	for (size_t i = 0; i < n; i++)
		if (links[i].finding == finding)
			return true;
	return false;
}

static void put_aside(struct text *t, const struct chain_link *links, size_t n, bool precursors,
		      const char *title)
{
	size_t shown = 0;

	for (size_t i = 0; i < t->a->n_findings; i++) {
		const struct finding *f = &t->a->findings[i];

		if ((f->role == ROLE_PRECURSOR) != precursors || in_chain(links, n, i))
			continue;
		if (shown == 0)
			section(t, title);
		if (shown++ >= LINES_SHOWN)
			continue;
		words_add(&t->w, "- %s: %s [%s, %s]", t->a->status == VERDICT_NO_FAILURE ? "seen" : role_word(f->role), f->pattern->title,
			  f->pattern->id, confidence_name(f->confidence));
		put_wrapped(t, 2, 4);
		put_about(t, 4, f);
		put_quotes(t, 6, f->evidence.v, f->evidence.n ? 1 : 0);
	}
	and_more(t, 2, shown, LINES_SHOWN, "findings");
}

/* ---- what was read, and what was not ---- */

static void put_damage(struct text *t, enum member_state state, const char *title)
{
	size_t shown = 0;

	for (size_t i = 0; i < t->s->n_members; i++) {
		const struct member *m = &t->s->members[i];

		if (m->state != state || (state == MEMBER_OK && !m->damage))
			continue;
		if (shown == 0)
			fprintf(t->out, "  %s\n", title);
		if (shown++ >= LINES_SHOWN)
			continue;
		words_member(&t->w, t->s, (uint32_t)i);
		if (m->damage)
			words_add(&t->w, ": %s", m->damage->what);
		if (m->damage && m->damage->offset != UINT64_MAX)
			words_add(&t->w, " (at byte %" PRIu64 ")", m->damage->offset);
		put_wrapped(t, 4, 6);
	}
	and_more(t, 4, shown, LINES_SHOWN, "files");
}

static void put_sources(struct text *t)
{
	uint32_t have = store_sources(t->s);
	size_t said = 0;

	words_add(&t->w, "sources read: ");
	for (int c = 0; c < SRC_INPUT; c++)
		if (have & 1u << c)
			words_add(&t->w, "%s%s", said++ ? ", " : "", source_name(c));
	words_add(&t->w, "%s", said ? "" : "none");
	put_wrapped(t, 2, 4);
	fprintf(t->out, "  not in the input:\n");
	for (int c = 0; c < SRC_INPUT; c++) {
		if (have & 1u << c)
			continue;
		words_add(&t->w, "%s: %s", source_name(c), source_what(c));
		put_wrapped(t, 4, 6);
	}
}

static void put_coverage(struct text *t)
{
	const struct inconsistency *x = t->s->inconsistencies;
	size_t n = 0;

	section(t, "WHAT WAS READ");
	words_count(&t->w, t->s->n_members, "file", "files");
	if (t->s->collectives) {
		words_add(&t->w, "; flight-recorder dumps of ");
		words_rank_noun(&t->w, t->s->collectives->ranks, t->s->collectives->n_ranks);
	}
	put_wrapped(t, 2, 4);
	put_damage(t, MEMBER_DAMAGED, "damaged, read in part:");
	put_damage(t, MEMBER_OK, "read, not all of it:");
	put_damage(t, MEMBER_UNREAD, "not read:");
	put_damage(t, MEMBER_IGNORED, "ignored, of no known kind:");
	if (t->s->interrupted)
		fprintf(t->out, "  reading was interrupted: the rest of the input was not seen\n");
	if (t->s->obs_dropped)
		fprintf(t->out,
			"  %" PRIu64 " observations beyond the limit were counted, not kept\n",
			t->s->obs_dropped);
	put_sources(t);
	for (; x; x = x->next, n++) {
		if (n >= LINES_SHOWN)
			continue;
		words_add(&t->w, "contradiction: %s", x->what);
		put_wrapped(t, 2, 4);
	}
	and_more(t, 2, n, LINES_SHOWN, "contradictions");
}

int report_text(const struct analysis *a, FILE *out, int width, struct error *err)
{
	struct text t = { .out = out, .a = a, .s = a->store };
	_cleanup_free_ struct chain_link *links = NULL;
	bool full;
	size_t n;

	t.width = width <= 0 ? WIDTH_DEFAULT : width < WIDTH_MIN ? WIDTH_MIN : (size_t)width;
	if (report_chain(a, &links, &n, err))
		return -1;
	put_verdict(&t);
	put_culprit(&t);
	words_silent(&t.w, a);
	put_whole(&t, 0);
	put_action(&t);
	put_runs(&t);
	if (a->status == VERDICT_UNATTRIBUTED)
		put_candidates(&t); /* then they are the next thing to know */
	put_chain(&t, links, n);
	put_failures(&t);
	put_confidence(&t);
	put_ledger(&t);
	if (a->status != VERDICT_UNATTRIBUTED)
		put_candidates(&t);
	put_collectives(&t);
	put_aside(&t, links, n, true, "PRECURSORS (repair; broke nothing here)");
	put_aside(&t, links, n, false, a->status == VERDICT_NO_FAILURE ? "SEEN, BUT NOTHING FAILED OF IT" : "OTHER FINDINGS");
	put_unclaimed(&t);
	put_coverage(&t);
	full = t.w.full || t.safe.full;
	words_deinit(&t.w);
	words_deinit(&t.safe);
	if (full)
		return error_set(err, ERR_NOMEM, "no memory");
	if (fflush(out) || ferror(out))
		return error_sys(err, "cannot write the report");
	return 0;
}
