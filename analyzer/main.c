/*
 * tanalyze - names what broke a training run, and shows why.
 *
 * The composition root: reads the command line, lets ingest/ fill the store, the
 * detectors of patterns/ add to it, the engine (match.c, graph.c, verdict.c) judge
 * it, and reports/ write it down.  The only file of analyzer/ that looks upward,
 * and the only one that prints.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "analyzer/analysis.h"
#include "analyzer/command_line.h"
#include "analyzer/device_codes.h"
#include "analyzer/explain.h"
#include "analyzer/identity.h"
#include "analyzer/ingest/ingest.h"
#include "analyzer/ingest/structured.h"
#include "analyzer/lint.h"
#include "analyzer/sandbox.h"
#include "bundle/cleanup.h"
#include "patterns/detectors.h"
#include "reports/replay.h"
#include "reports/report.h"
#include "reports/verify.h"

#define STORE_BYTES ((size_t)4 << 30)

enum exit_status { EXIT_USAGE = 2, EXIT_NOTHING_READ = 3, EXIT_DAMAGED = 4, EXIT_ROOT_CAUSE = 10, EXIT_OPEN = 11 };

static volatile int stop_reading;

static void on_signal(int sig)
{
	(void)sig;
	stop_reading = 1;
}

/* ---- one analysis ---- */

/* What is wrong with a site's own patterns is a wrong value of --patterns. */
static int load_patterns(struct pattern_set *set, const char *dir, struct error *err)
{
	char text[sizeof(err->what)];

	if (pattern_set_init(set, err) || patterns_add_shipped(set, err))
		return -1;
	if ((!dir || pattern_set_add_dir(set, dir, err) == 0) && pattern_set_seal(set, err) == 0)
		return 0;
	if (!dir || err->code == ERR_NOMEM)
		return -1;
	error_text(err, text, sizeof(text));
	*err = (struct error){ 0 };
	return error_set(err, ERR_USAGE, "--patterns: %s", text);
}

/* The job that an observation names: "4711" of a step "4711.0" of it; 0 bytes: none. */
static struct span job_of(const struct store *s, const struct observation *o)
{
	const char *object = o->source == SRC_SCHEDULER ? intern_str(&s->strings, o->scope.object) : "";
	size_t n;

	if (strncmp(o->kind->name, "slurm.", 6))
		return span_of("", 0);
	object += strncmp(object, "StepId=", 7) == 0 ? 7 : 0;
	n = strspn(object, "0123456789_");
	return span_of(object, object[n] == '\0' || object[n] == '.' || object[n] == '+' ? n : 0);
}

/* Drop what --since, --until and --job leave out. */
static int narrow(struct store *s, const struct command_line *c, struct error *err)
{
	size_t kept = 0;
	bool seen = false;
	struct span other = { 0 };

	for (size_t i = 0; i < s->n_obs; i++) {
		const struct observation *x = &s->obs[i];
		struct span job = job_of(s, x);
		bool same = c->job && span_is(job, c->job), another = c->job && job.len && !same;

		seen |= same;
		other = another ? job : other;
		if (!another && stamp_order(x->last, c->since, 0) >= 0 && stamp_order(x->first, c->until, 0) <= 0)
			s->obs[kept++] = *x;
	}
	if (other.len && !seen)
		return error_set(err, ERR_USAGE, "--job: the input is about job %.*s, not \"%.60s\"", (int)other.len, other.s, c->job);
	s->n_obs = kept;
	if (c->job)
		s->identity->job = intern_cstr(&s->strings, c->job);
	return 0;
}

static int run(struct store *s, struct analysis *a, const struct pattern_set *set, const struct command_line *c,
	       struct error *err)
{
	const struct ingest_options options = {
		.log = c->log, .jobs = (unsigned)c->jobs, .digest = c->digest, .stop = &stop_reading
	};

	if (ingest(s, set, c->operands, c->n_operands, &options, err) || narrow(s, c, err))
		return -1;
	detectors_run(s);
	return analyze(s, set, c->run ? (int)c->run - 1 : RUN_CHOSEN, a, err);
}

static int write_to(const char *path, int (*write)(const struct analysis *, FILE *, struct error *),
		    const struct analysis *a, struct error *err)
{
	bool to_stdout = strcmp(path, "-") == 0;
	_cleanup_fclose_ FILE *f = to_stdout ? NULL : fopen(path, "we");
	FILE *out = to_stdout ? stdout : f;

	if (!out)
		return error_sys(err, "cannot write %s", path);
	if (write(a, out, err) || fflush(out) || ferror(out))
		return error_sys(err, "cannot write %s", path);
	return 0;
}

static int write_text(const struct analysis *a, FILE *out, struct error *err)
{
	struct winsize w;
	int width = 100;

	if (isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &w) == 0 && w.ws_col >= 40)
		width = w.ws_col;
	return report_text(a, out, width, err);
}

static int write_reports(const struct command_line *c, const struct analysis *a, struct error *err)
{
	bool busy = (c->html && !strcmp(c->html, "-")) || (c->json && !strcmp(c->json, "-"));

	if (c->html && write_to(c->html, report_html, a, err))
		return -1;
	if (c->json && write_to(c->json, report_json, a, err))
		return -1;
	if (c->text)
		return write_to(c->text, write_text, a, err);
	return busy ? 0 : write_to("-", write_text, a, err);
}

/* Inputs that were named and could not be read are said at once, whatever the report says of them. */
static void complain(const struct command_line *c, const struct store *s)
{
	for (size_t i = 0; i < s->n_members; i++) {
		const struct member *m = &s->members[i];
		struct error why = { .code = ERR_FORMAT };

		for (size_t k = 0; k < c->n_operands; k++)
			if (m->state == MEMBER_UNREAD && m->damage && !m->name &&
			    strcmp(intern_str(&s->strings, m->input), c->operands[k]) == 0) {
				snprintf(why.where, sizeof(why.where), "tanalyze: %s", c->operands[k]);
				snprintf(why.what, sizeof(why.what), "%s", m->damage->what);
				error_print(stderr, &why);
				break;
			}
	}
}

static int exit_status(const struct command_line *c, const struct analysis *a)
{
	bool read = false;

	for (size_t i = 0; i < a->store->n_members; i++)
		read |= a->store->members[i].state == MEMBER_OK || a->store->members[i].state == MEMBER_DAMAGED;
	if (!read)
		return EXIT_NOTHING_READ;
	if (c->exit_code && a->status == VERDICT_ROOT_CAUSE)
		return EXIT_ROOT_CAUSE;
	if (c->exit_code && a->status == VERDICT_UNATTRIBUTED)
		return EXIT_OPEN;
	return a->any_damage ? EXIT_DAMAGED : 0;
}

/* Analyse the inputs and hand the result to `use`; what that says, or -1. */
static int with_analysis(const struct command_line *c, const struct pattern_set *set,
			 int (*use)(const struct command_line *, const struct analysis *, void *, struct error *), void *ctx,
			 struct error *err)
{
	struct analysis a = { 0 };
	struct store s = { 0 };
	int status = -1;

	if (store_init(&s, STORE_BYTES, err) == 0 && run(&s, &a, set, c, err) == 0)
		status = use(c, &a, ctx, err);
	analysis_deinit(&a);
	collectives_free(&s);
	store_deinit(&s);
	return status;
}

/* ---- commands ---- */

static int report_it(const struct command_line *c, const struct analysis *a, void *ctx, struct error *err)
{
	(void)ctx;
	complain(c, a->store);
	return write_reports(c, a, err) ? -1 : exit_status(c, a);
}

static int analyze_command(const struct command_line *c, const struct pattern_set *set, struct error *err)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGALRM, &sa, NULL);
	alarm((unsigned)c->time_limit_s);
	sandbox_enter();
	return with_analysis(c, set, report_it, NULL, err);
}

static int json_of(const struct command_line *c, const struct analysis *a, void *json, struct error *err)
{
	(void)c;
	return report_json(a, json, err);
}

static int replay_one(void *set, const char *input, FILE *json, struct error *err)
{
	char *inputs[] = { (char *)input };
	const struct command_line c = { .operands = inputs, .n_operands = 1, .digest = true };

	return with_analysis(&c, set, json_of, json, err);
}

static int replay_command(const struct command_line *c, const struct pattern_set *set, struct error *err)
{
	size_t cases = 0, missed = 0;
	_cleanup_fclose_ FILE *nowhere = c->table ? fopen("/dev/null", "we") : NULL;

	if (c->table && !nowhere)
		return error_sys(err, "cannot open /dev/null");
	if (replay(c->operands, c->n_operands, replay_one, (void *)set, c->table ? nowhere : stdout, c->table ? stdout : NULL, &cases,
		   &missed, err))
		return -1;
	fprintf(c->table ? nowhere : stdout, "%zu cases, %zu as expected, %zu missed\n", cases, cases - missed, missed);
	return missed || !cases ? EXIT_FAILURE : 0;
}

static int verify_command(const struct command_line *c, const struct pattern_set *set, struct error *err)
{
	size_t checked = 0, bad = 0;

	(void)set;
	if (report_verify(c->operands[0], c->operands + 1, c->n_operands - 1, stderr, &checked, &bad, err))
		return -1;
	printf("%zu quotes read again, %zu differ\n", checked, bad);
	return bad ? EXIT_FAILURE : 0;
}

/* Shipped ones first: a site's may refer to them. */
static int lint_command(const struct command_line *c, const struct pattern_set *shipped, struct error *err)
{
	_cleanup_(pattern_set_deinit) struct pattern_set set = { 0 };
	struct error wrong = { 0 };
	size_t problems = 0;

	(void)shipped;
	if (pattern_set_init(&set, err) || patterns_add_shipped(&set, err))
		return -1;
	if (pattern_set_add_dir(&set, c->operands[0], &wrong) || pattern_set_seal(&set, &wrong)) {
		error_print(stdout, &wrong);
		return EXIT_FAILURE;
	}
	if (lint(&set, c->operands[0], stdout, &problems, err))
		return -1;
	printf("%zu problem%s\n", problems, problems == 1 ? "" : "s");
	return problems ? EXIT_FAILURE : 0;
}

static int explain_command(const struct command_line *c, const struct pattern_set *set, struct error *err)
{
	const struct pattern *p = pattern_find(set, c->explain);

	if (!p && code_explain(c->explain, stdout) == 0)
		return 0;
	if (!p)
		return error_set(err, ERR_USAGE, "\"%.80s\" is no pattern; --list-patterns lists them", c->explain);
	explain_pattern(p, stdout);
	return 0;
}

static int list_command(const struct command_line *c, const struct pattern_set *set, struct error *err)
{
	(void)c, (void)err;
	explain_list(set, stdout);
	return 0;
}

static int version_command(const struct command_line *c, const struct pattern_set *set, struct error *err)
{
	(void)c, (void)set, (void)err;
	puts("tanalyze " TACHOGRAPH_VERSION);
	return 0;
}

/* The exit status of the command, or -1. */
static int carry_out(const struct command_line *c, struct error *err)
{
	static int (*const command[])(const struct command_line *, const struct pattern_set *, struct error *) = {
		[COMMAND_ANALYZE] = analyze_command, [COMMAND_REPLAY] = replay_command, [COMMAND_VERIFY] = verify_command,
		[COMMAND_LINT] = lint_command,
		[COMMAND_EXPLAIN] = explain_command, [COMMAND_LIST] = list_command, [COMMAND_VERSION] = version_command,
	};
	struct pattern_set set = { 0 };
	int status = -1;

	if (load_patterns(&set, c->patterns, err) == 0)
		status = command[c->command](c, &set, err);
	pattern_set_deinit(&set);
	return status;
}

int main(int argc, char **argv)
{
	struct command_line c;
	struct error err = { 0 };
	int status = command_line_parse(argc, argv, &c, &err);

	if (status == 0 && c.help)
		command_line_help(c.command, stdout);
	else if (status == 0)
		status = carry_out(&c, &err);
	command_line_deinit(&c);
	if (status >= 0)
		return status;
	fputs("tanalyze: ", stderr);
	error_print(stderr, &err);
	return err.code == ERR_USAGE ? EXIT_USAGE : EXIT_FAILURE;
}
