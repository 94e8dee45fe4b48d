#include "analyzer/lint.h"

#include <stdlib.h>
#include <string.h>

#include "analyzer/ingest/log.h"
#include "bundle/cleanup.h"

#define STORE_BYTES ((size_t)64 << 20)
#define HOSTILE_RUN 300			/* characters repeated behind the beginning of an example */
#define HOSTILE_CUTS 60			/* places of an example that are tried */
#define HOSTILE_STEPS 400000	/* a linear regex needs some thousands; one that backtracks without end never stops */

struct lint {
	const struct pattern_set *set;
	FILE *out;
	size_t problems;
	const char *origin, *subject;	/* what is looked at */
	int line;
};

static void problem(struct lint *l, const char *what, const char *detail)
{
	fprintf(l->out, "%s:%d: %s: %s%s%.200s\n", l->origin, l->line, l->subject, what, detail ? ": " : "", detail ? detail : "");
	l->problems++;
}

/* ---- signatures ---- */

static bool has_literal(const struct signature *sig, const char *literal, const char *line)
{
	return (sig->nocase ? strcasestr(line, literal) : strstr(line, literal)) != NULL;
}

static bool has_any_literal(const struct signature *sig, const char *line)
{
	for (size_t i = 0; i < sig->n_literals; i++)
		if (has_literal(sig, sig->literals[i], line))
			return true;
	return false;
}

/* Lines of which this signature alone makes something, through the path of every log; -1: an error. */
static int64_t hits(const struct scanner *sc, const char *line, struct error *err)
{
	const struct log_options opt = { 0 };
	_cleanup_log_ struct log *log = NULL;
	_cleanup_(store_deinit) struct store s = { 0 };
	size_t n = strlen(line), room;
	uint8_t *to;

	if (store_init(&s, STORE_BYTES, err) || store_member(&s, "line", NULL, err) < 0 || log_open(sc, &s, &opt, &log, err))
		return -1;
	log_begin(log, 0);
	to = log_room(log, &room);
	memcpy(to, line, n < room ? n : room);
	log_advance(log, n < room ? n : room);
	log_end(log);
	return (int64_t)log_counts(log).hits;
}

static int check_examples(struct lint *l, const struct signature *sig, const struct scanner *sc, struct error *err)
{
	for (size_t i = 0; i < sig->n_match; i++) {
		int64_t n = hits(sc, sig->match[i], err);

		if (n < 0)
			return -1;
		if (!has_any_literal(sig, sig->match[i]))
			problem(l, "this match line holds none of the literals", sig->match[i]);
		else if (!n)
			problem(l, "this match line does not match", sig->match[i]);
	}
	for (size_t i = 0; i < sig->n_no_match; i++) {
		int64_t n = hits(sc, sig->no_match[i], err);

		if (n < 0)
			return -1;
		if (n)
			problem(l, "this no_match line matches", sig->no_match[i]);
	}
	if (!sig->n_no_match)
		problem(l, "no_match is missing: a line that looks alike and means something else", NULL);
	return 0;
}

/* The text that a regex spells out, without its backslashes. */
static char *plain(const char *regex)
{
	char *text = malloc(strlen(regex) + 1);
	size_t n = 0;

	for (const char *p = regex; text && *p; p++)
		if (*p != '\\' || !p[1])
			text[n++] = *p;
		else if (strchr(".()[]{}*+?|^$\\/-#'\"<>=:!@ ", *++p))
			text[n++] = *p;
	if (text)
		text[n] = '\0';
	return text;
}

/* Some part of the literal stands in the regex; classes and alternatives may cut it anywhere. */
static bool spelled_out(const char *text, const char *literal)
{
	for (const char *p = literal; strlen(p) >= 3; p++) {
		char part[4] = { p[0], p[1], p[2] };

		if (strcasestr(text, part))
			return true;
	}
	return false;
}

/* A literal stands in the regex, or leads to one of the examples. */
static int check_literals(struct lint *l, const struct signature *sig, struct error *err)
{
	_cleanup_free_ char *text = plain(sig->regex);

	if (!text)
		return error_set(err, ERR_NOMEM, "no memory");
	for (size_t i = 0; i < sig->n_literals; i++) {
		bool leads = spelled_out(text, sig->literals[i]);

		for (size_t k = 0; k < sig->n_match && !leads; k++)
			leads = has_literal(sig, sig->literals[i], sig->match[k]);
		if (!leads)
			problem(l, "this literal is neither in the regex nor in a match line", sig->literals[i]);
	}
	return 0;
}

/* Does the regex need more steps for this line than any honest one does? */
static bool runs_away(const pcre2_code *code, pcre2_match_data *md, pcre2_match_context *mc, const char *line, size_t n)
{
	int rc = pcre2_match(code, (PCRE2_SPTR)line, n, 0, PCRE2_NO_JIT, md, mc);

	return rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT;
}

/* The beginning of an example, then one character over and over, then one that fits nothing. */
static bool hostile_to(const pcre2_code *code, pcre2_match_data *md, pcre2_match_context *mc, const char *example)
{
	static const char runs[] = "a0 .:/-_=,([";
	size_t len = strlen(example), cuts = len < HOSTILE_CUTS ? len : HOSTILE_CUTS;
	char line[1024 + HOSTILE_RUN + 2];

	for (size_t c = 0; c <= cuts; c++)
		for (const char *run = runs; *run; run++) {
			size_t at = cuts ? len * c / cuts : 0, n = at < 1024 ? at : 1024;

			memcpy(line, example, n);
			memset(line + n, at && run == runs ? example[at - 1] : *run, HOSTILE_RUN);
			n += HOSTILE_RUN;
			line[n++] = '\001';
			if (runs_away(code, md, mc, line, n))
				return true;
		}
	return false;
}

static int check_backtracking(struct lint *l, const struct signature *sig, const pcre2_code *code, struct error *err)
{
	pcre2_match_data *md = pcre2_match_data_create(32, NULL);
	pcre2_match_context *mc = pcre2_match_context_create(NULL);
	bool hostile = false;

	if (!md || !mc) {
		pcre2_match_data_free(md);
		pcre2_match_context_free(mc);
		return error_set(err, ERR_NOMEM, "no memory");
	}
	pcre2_set_match_limit(mc, HOSTILE_STEPS);
	for (size_t i = 0; i < sig->n_match && !hostile; i++)
		hostile = hostile_to(code, md, mc, sig->match[i]);
	if (hostile)
		problem(l, "the regex backtracks without end on a line that nearly matches: no quantifier inside a repeated group", NULL);
	pcre2_match_context_free(mc);
	pcre2_match_data_free(md);
	return 0;
}

static int check_signature(struct lint *l, const struct signature *sig, struct error *err)
{
	struct pattern_set one = *l->set;
	_cleanup_(scanner_deinit) struct scanner sc = { 0 };

	l->origin = sig->origin, l->line = sig->line, l->subject = sig->id;
	one.signatures = (struct signature *)sig;
	one.n_signatures = 1;
	if (scanner_init(&sc, &one, err)) {
		fprintf(l->out, "%s\n", err->what);
		l->problems++;
		*err = (struct error){ 0 };
		return 0;
	}
	return check_examples(l, sig, &sc, err) || check_literals(l, sig, err) || check_backtracking(l, sig, sc.sigs[0].code, err) ? -1 : 0;
}

/* ---- causes ---- */

static bool yields(const struct signature *sig, const char *kind)
{
	bool is = strcmp(sig->kind, kind) == 0;

	for (size_t i = 0; i < sig->n_by; i++)
		is |= strcmp(sig->by_kinds[i], kind) == 0;
	return is;
}

/* A site's own kind that no signature yields; shipped ones may come from C. */
static bool never_made(const struct lint *l, const char *kind)
{
	for (size_t i = 0; i < l->set->n_signatures; i++)
		if (yields(&l->set->signatures[i], kind))
			return false;
	return strncmp(kind, "x.", 2) == 0;
}

static void check_premises(struct lint *l, const struct premise *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < list[i].n_kinds; k++)
			if (never_made(l, list[i].kinds[k]))
				problem(l, "no signature yields this kind", list[i].kinds[k]);
}

static bool names_premise(const struct premise *list, size_t n, const char *as)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].as && strcmp(list[i].as, as) == 0)
			return true;
	return false;
}

static bool is_action(const char *action)
{
	static const char *const words[] = { "restart", "restart_without", "fix_code", "fix_config", "free_resource", "wait", "investigate" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i], action) == 0)
			return true;
	return false;
}

static void check_pattern(struct lint *l, const struct pattern *p)
{
	l->origin = p->origin, l->line = p->line, l->subject = p->id;
	check_premises(l, p->premises, p->n_premises);
	check_premises(l, p->corroboration, p->n_corroboration);
	check_premises(l, p->promote, p->n_promote);
	check_premises(l, p->explains, p->n_explains);
	for (size_t i = 0; i < p->n_rivals; i++) {
		check_premises(l, p->rivals[i].excluded_by, p->rivals[i].n_excluded_by);
		if (strcmp(p->rivals[i].pattern, p->id) == 0)
			problem(l, "is its own rival", NULL);
	}
	if (p->culprit_from && !names_premise(p->premises, p->n_premises, p->culprit_from) &&
	    !names_premise(p->corroboration, p->n_corroboration, p->culprit_from))
		problem(l, "no premise is called as culprit.from says", p->culprit_from);
	if (!is_action(p->action))
		problem(l, "is no action", p->action);
}

int lint(const struct pattern_set *set, const char *dir, FILE *out, size_t *problems_ret, struct error *err)
{
	struct lint l = { .set = set, .out = out };
	size_t n = strlen(dir);

	for (size_t i = 0; i < set->n_signatures; i++)
		if (strncmp(set->signatures[i].origin, dir, n) == 0 && check_signature(&l, &set->signatures[i], err))
			return -1;
	for (size_t i = 0; i < set->n_patterns; i++)
		if (strncmp(set->patterns[i].origin, dir, n) == 0)
			check_pattern(&l, &set->patterns[i]);
	*problems_ret = l.problems;
	return 0;
}
