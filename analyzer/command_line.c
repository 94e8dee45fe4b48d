#include "analyzer/command_line.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/runs.h"
#include "bundle/cleanup.h"

#define SHOWN 80	/* of a wrong word */

/* ---- the tables ---- */

static const struct {
	const char *name;		/* as it is given */
	const char *operands, *about;
	const char *missing;		/* what to say of too few operands */
	size_t least, most;
	bool exist;			/* all operands are files that must be there */
} commands[COMMAND_COUNT] = {
	[COMMAND_ANALYZE] = { "", "INPUT...",
		"Reads bundles, directories, logs and dumps (\"-\": standard input), names the root\n"
		"cause of a failed or hung training run, and shows the evidence.\n", "no INPUT given", 1, SIZE_MAX, false },
	[COMMAND_REPLAY] = { "replay", "CORPUS_DIR...",
		"Analyses every case of a corpus and compares with its expected.json.\n", "no CORPUS_DIR given", 1, SIZE_MAX, true },
	[COMMAND_VERIFY] = { "verify", "REPORT.json INPUT...",
		"Reads every quote of a report again in the inputs it was made of.\n", "needs REPORT.json and the INPUTs", 2, SIZE_MAX, true },
	[COMMAND_LINT] = { "lint", "DIR",
		"Checks a site's signatures and causes: runs the examples, looks for what can never be.\n", "no DIR given", 1, 1, true },
	[COMMAND_EXPLAIN] = { "--explain", "", "", "", 0, 0, false },
	[COMMAND_LIST] = { "--list-patterns", "", "", "", 0, 0, false },
	[COMMAND_VERSION] = { "--version", "", "", "", 0, 0, false },
};

enum value_kind {
	FLAG, TEXT, NUMBER, TIME, ZONE,
	REPORT,			/* a file that may be left out */
	TO_EXPLAIN, TO_LIST, TO_VERSION,	/* commands spelled as options */
	HELP,
};

#define IN(command) (1u << COMMAND_##command)
#define AT(field) offsetof(struct command_line, field)

static const struct option {
	const char *name, *value, *about;	/* value: how --help calls it; NULL: none */
	const char *wants;			/* what the value is, for a complaint */
	unsigned commands;			/* that take it */
	enum value_kind kind;
	size_t at;
	long least, most;
} options[] = {
	{ "html", "[FILE]", "write an HTML report; FILE ends in .html, .json or .txt, or is -\n"
	  "(standard output); without one it is written beside the first INPUT", "a file", IN(ANALYZE), REPORT, AT(html), 0, 0 },
	{ "json", "[FILE]", "write a JSON report (schema tachograph.report/1)", "a file", IN(ANALYZE), REPORT, AT(json), 0, 0 },
	{ "text", "[FILE]", "write the text report to a file; it goes to the terminal by default", "a file", IN(ANALYZE), REPORT, AT(text), 0, 0 },
	{ "patterns", "DIR", "add a site's signatures and causes", "a directory",
	  IN(ANALYZE) | IN(REPLAY) | IN(EXPLAIN) | IN(LIST), TEXT, AT(patterns), 0, 0 },
	{ "job", "ID", "only what is about this job", "a job", IN(ANALYZE), TEXT, AT(job), 0, 0 },
	{ "run", "N", "judge the N-th run of a restarted job (default: the last that failed)", "a number from 1 to 32",
	  IN(ANALYZE), NUMBER, AT(run), 1, RUNS_MAX },
	{ "since", "T", "only events from this time on (RFC 3339, or without a zone)", "a date and time like 2026-03-01T10:00:00Z",
	  IN(ANALYZE), TIME, AT(since), 0, 0 },
	{ "until", "T", "only events up to this time", "a date and time like 2026-03-01T10:00:00Z", IN(ANALYZE), TIME, AT(until), 0, 0 },
	{ "tz", "+HH:MM", "zone of times that state none", "a zone like +02:00", IN(ANALYZE), ZONE, AT(log), 0, 0 },
	{ "time-limit", "SECONDS", "stop reading after this long, and report on what was read", "a number of seconds from 1 to 604800",
	  IN(ANALYZE), NUMBER, AT(time_limit_s), 1, 604800 },
	{ "jobs", "N", "threads (default: one per processor)", "a number from 1 to 64", IN(ANALYZE), NUMBER, AT(jobs), 1, 64 },
	{ "digest", NULL, "SHA-256 of every input, whatever its size", NULL, IN(ANALYZE), FLAG, AT(digest), 0, 0 },
	{ "injected", NULL, "kernel-log lines that user space wrote were injected by a test, and count\n"
	  "as the kernel's own; else what rests on them is at most possible", NULL, IN(ANALYZE), FLAG, AT(log.injected), 0, 0 },
	{ "exit-code", NULL, "exit 10 when a root cause was found, 11 when a failure was not attributed", NULL,
	  IN(ANALYZE), FLAG, AT(exit_code), 0, 0 },
	{ "table", NULL, "only the precision and recall of each pattern, as Markdown", NULL, IN(REPLAY), FLAG, AT(table), 0, 0 },
	{ "explain", "PATTERN", "print a pattern's specification (or what xid:N, sxid:N mean) and exit", "a pattern", IN(EXPLAIN), TO_EXPLAIN, AT(explain), 0, 0 },
	{ "list-patterns", NULL, "list the patterns and exit", NULL, IN(LIST), TO_LIST, 0, 0, 0 },
	{ "help", NULL, "print this and exit", NULL, ~0u, HELP, AT(help), 0, 0 },
	{ "version", NULL, "print the version and exit", NULL, IN(VERSION), TO_VERSION, 0, 0, 0 },
};

/* ---- values ---- */

static bool parse_zone(const char *text, struct log_options *ret)
{
	int h = 0, m = 0, n = 0;
	char sign = '+';
	bool utc = strcmp(text, "Z") == 0 || strcmp(text, "UTC") == 0;

	if (!utc && (sscanf(text, "%c%2d:%2d%n", &sign, &h, &m, &n) != 3 || text[n] || (sign != '+' && sign != '-') ||
		     h < 0 || h > 14 || m < 0 || m > 59))
		return false;
	ret->tz_ns = (sign == '-' ? -1 : 1) * ((int64_t)h * 60 + m) * 60 * INT64_C(1000000000);
	return ret->tz_known = true;
}

static bool parse_number(const char *text, const struct option *o, long *ret)
{
	char *end;

	errno = 0;
	*ret = strtol(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno && *ret >= o->least && *ret <= o->most;
}

static bool parse_time(const char *text, struct stamp *ret)
{
	return time_parse(text, strlen(text), ret) == strlen(text) && (ret->base == TIME_UTC || ret->base == TIME_LOCAL);
}

/* Put a value into its field; false: it is none of this option's. */
static bool take_value(struct command_line *c, const struct option *o, const char *value)
{
	void *field = (char *)c + o->at;

	switch (o->kind) {
	case TEXT:
	case REPORT:
	case TO_EXPLAIN:
		*(const char **)field = value;
		return value[0] || o->kind == REPORT;
	case NUMBER:
		return parse_number(value, o, field);
	case TIME:
		return parse_time(value, field);
	case ZONE:
		return parse_zone(value, field);
	case FLAG:
	case HELP:
		return *(bool *)field = true;
	case TO_LIST:
	case TO_VERSION:
		return true;
	}
	return false;
}

static enum command command_of(enum value_kind k)
{
	return k == TO_EXPLAIN ? COMMAND_EXPLAIN : k == TO_LIST ? COMMAND_LIST : k == TO_VERSION ? COMMAND_VERSION : COMMAND_ANALYZE;
}

/* ---- words ---- */

struct words {
	char **v;
	int n, at;
	unsigned given;		/* options, by index */
};

static bool names_report(const char *word)
{
	const char *dot = word ? strrchr(word, '.') : NULL;

	return word && (strcmp(word, "-") == 0 ||
			(dot && (!strcmp(dot, ".html") || !strcmp(dot, ".json") || !strcmp(dot, ".txt"))));
}

static const struct option *find_option(const char *word)
{
	size_t n = strcspn(word, "=");

	if (strcmp(word, "-h") == 0)
		word = "--help", n = 6;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (strncmp(word, "--", 2) == 0 && strlen(options[i].name) == n - 2 && strncmp(word + 2, options[i].name, n - 2) == 0)
			return &options[i];
	return NULL;
}

/* Take the option at w->at, and its value when that is a word of its own. */
static int take_option(struct command_line *c, struct words *w, struct error *err)
{
	const char *word = w->v[w->at], *value = strchr(word, '=');
	const struct option *o = find_option(word);
	enum command other;

	if (!o)
		return error_set(err, ERR_USAGE, "there is no option %.*s", SHOWN, word);
	if (w->given & 1u << (o - options) && o->kind != HELP)
		return error_set(err, ERR_USAGE, "--%s is given twice", o->name);
	w->given |= 1u << (o - options);
	if (value && !o->value)
		return error_set(err, ERR_USAGE, "--%s takes no value", o->name);
	if (value)
		value++;
	else if (o->value && (o->kind != REPORT || names_report(w->v[w->at + 1])))
		value = w->v[++w->at];
	else
		value = "";
	if (!value || strncmp(value, "--", 2) == 0)
		return error_set(err, ERR_USAGE, "--%s needs %s", o->name, o->wants);
	if (!take_value(c, o, value))
		return error_set(err, ERR_USAGE, "--%s: \"%.*s\" is not %s", o->name, SHOWN, value, o->wants);
	other = command_of(o->kind);
	if (other && c->command)
		return error_set(err, ERR_USAGE, "--%s does not go with %s", o->name, commands[c->command].name);
	if (other)
		c->command = other;
	return 0;
}

static enum command command_named(const char *word)
{
	for (enum command i = COMMAND_REPLAY; i <= COMMAND_LINT; i++)
		if (strcmp(word, commands[i].name) == 0)
			return i;
	return COMMAND_ANALYZE;
}

static int take_words(struct command_line *c, struct words *w, struct error *err)
{
	bool options_end = false, named = false;

	c->operands = w->v + 1;
	for (w->at = 1; w->at < w->n; w->at++) {
		char *word = w->v[w->at];

		if (!options_end && strcmp(word, "--") == 0) {
			options_end = true;
		} else if (!options_end && word[0] == '-' && word[1]) {
			if (take_option(c, w, err))
				return -1;
		} else if (!options_end && !named && !c->n_operands && !c->command && command_named(word)) {
			c->command = command_named(word);
			named = true;
		} else {
			c->operands[c->n_operands++] = word;	/* behind what is read already */
		}
	}
	return 0;
}

/* ---- what goes together ---- */

static int check_options(const struct command_line *c, unsigned given, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (given & 1u << i && !(options[i].commands & 1u << c->command))
			return error_set(err, ERR_USAGE, "--%s does not go with %s", options[i].name, commands[c->command].name);
	if (c->since.base && c->until.base && stamp_order(c->until, c->since, 0) < 0)
		return error_set(err, ERR_USAGE, "--until is earlier than --since");
	return 0;
}

static int check_operands(const struct command_line *c, struct error *err)
{
	const char *name = commands[c->command].name;
	struct stat st;

	if (c->n_operands < commands[c->command].least)
		return error_set(err, ERR_USAGE, "%s%s%s", name, name[0] ? ": " : "", commands[c->command].missing);
	if (c->n_operands > commands[c->command].most)
		return error_set(err, ERR_USAGE, "\"%.*s\" is one word too many for %s", SHOWN, c->operands[0], name);
	for (size_t i = 0; i < c->n_operands && commands[c->command].exist; i++)
		if (stat(c->operands[i], &st))
			return error_set(err, ERR_USAGE, "%s: %.*s: %s", name, SHOWN, c->operands[i], strerror(errno));
	return 0;
}

/* ---- where reports go ---- */

/* "run.tar.zst" and ".html": "run.html"; "." by the name that the folder has. */
static char *beside_input(const char *input, const char *extension)
{
	const char *slash = strrchr(input, '/'), *base = slash ? slash + 1 : input;
	bool dots = strcmp(base, ".") == 0 || strcmp(base, "..") == 0;
	_cleanup_free_ char *real = dots ? realpath(input, NULL) : NULL;
	const char *name = real ? real : input;
	size_t n = strlen(name);
	char *out = NULL;

	while (n > 1 && name[n - 1] == '/')
		n--;
	if (n > 8 && strncmp(name + n - 8, ".tar.zst", 8) == 0)
		n -= 8;
	return asprintf(&out, "%.*s%s", (int)n, name, extension) < 0 ? NULL : out;
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Is there such a file already, as an input or somewhere below one? */
static bool part_of_input(const char *output, const struct command_line *c)
{
	_cleanup_free_ char *out = realpath(output, NULL);

	for (size_t k = 0; out && k < c->n_operands; k++) {
		_cleanup_free_ char *in = realpath(c->operands[k], NULL);
		size_t n = in ? strlen(in) : 0;

		if (same_file(output, c->operands[k]) || (n && strncmp(out, in, n) == 0 && (out[n] == '/' || n == 1)))
			return true;
	}
	return false;
}

/* Before hours of reading, not after. */
static int check_writable(const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	struct stat st;
	bool there = stat(path, &st) == 0;

	if (there && S_ISDIR(st.st_mode))
		errno = EISDIR;
	else if (dir && access(there ? path : dir, W_OK) == 0)
		return 0;
	return error_set(err, ERR_USAGE, "cannot write %.*s: %s", SHOWN, path, strerror(errno));
}

/* Give outputs without a name one, and see that none replaces an input or another output. */
static int settle_outputs(struct command_line *c, struct error *err)
{
	const char **out[] = { &c->html, &c->json, &c->text };
	static const char *const extension[] = { ".html", ".json", ".txt" };

	for (size_t i = 0; i < ARRAY_SIZE(out); i++) {
		if (!*out[i])
			continue;
		if (!**out[i])
			*out[i] = strcmp(c->operands[0], "-") ? (c->named[i] = beside_input(c->operands[0], extension[i])) : "-";
		if (!*out[i])
			return error_set(err, ERR_NOMEM, "no memory for a path");
		for (size_t k = 0; k < i; k++)
			if (*out[k] && (!strcmp(*out[i], *out[k]) || same_file(*out[i], *out[k])))
				return error_set(err, ERR_USAGE, "%.*s cannot hold two reports", SHOWN,
						 strcmp(*out[i], "-") ? *out[i] : "standard output");
		if (strcmp(*out[i], "-") == 0)
			continue;
		if (part_of_input(*out[i], c))
			return error_set(err, ERR_USAGE, "%.*s is part of the input and is not overwritten", SHOWN, *out[i]);
		if (check_writable(*out[i], err))
			return -1;
	}
	return 0;
}

/* ---- all ---- */

int command_line_parse(int argc, char **argv, struct command_line *ret, struct error *err)
{
	struct words w = { .v = argv, .n = argc };

	*ret = (struct command_line){ 0 };
	if (take_words(ret, &w, err))
		return -1;
	if (ret->help)
		return 0;
	if (check_options(ret, w.given, err) || check_operands(ret, err))
		return -1;
	return ret->command == COMMAND_ANALYZE ? settle_outputs(ret, err) : 0;
}

void command_line_deinit(struct command_line *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(c->named); i++)
		free(c->named[i]);
}

static void print_option(const struct option *o, FILE *out)
{
	const char *nl = strchr(o->about, '\n');
	int first = nl ? (int)(nl - o->about) : (int)strlen(o->about);
	char left[32];

	snprintf(left, sizeof(left), "--%s %s", o->name, o->value ? o->value : "");
	fprintf(out, "  %-21s %.*s\n", left, first, o->about);
	if (nl)
		fprintf(out, "  %-21s %s\n", "", nl + 1);
}

static void print_synopsis(const char *before, enum command c, FILE *out)
{
	fprintf(out, "%s tanalyze%s%s [option...] %s\n", before, commands[c].name[0] ? " " : "", commands[c].name, commands[c].operands);
}

void command_line_help(enum command command, FILE *out)
{
	bool whole = command < COMMAND_REPLAY || command > COMMAND_LINT;

	if (whole)
		command = COMMAND_ANALYZE;
	print_synopsis("usage:", command, out);
	for (enum command i = COMMAND_REPLAY; whole && i <= COMMAND_LINT; i++)
		print_synopsis("      ", i, out);
	fprintf(out, "\n%s\n", commands[command].about);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (whole || options[i].commands & 1u << command)
			print_option(&options[i], out);
	fputs(whole ? "\nexit: 0 analysed, 2 usage, 3 nothing could be read, 4 part of the input was damaged\n" :
		      "\nexit: 0 all as expected, 1 not all, 2 usage\n", out);
}
