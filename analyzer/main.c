/*
 * tanalyze - names what broke a training run, and shows why.
 *
 * The composition root: reads the command line, lets ingest/ fill the store, the
 * detectors of patterns/ add to it, the engine (match.c, graph.c, verdict.c) judge
 * it, and reports/ write it down.  The only file of analyzer/ that looks upward,
 * and the only one that prints.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/analysis.h"
#include "analyzer/device_codes.h"
#include "analyzer/explain.h"
#include "analyzer/identity.h"
#include "analyzer/ingest/ingest.h"
#include "analyzer/sandbox.h"
#include "bundle/cleanup.h"
#include "bundle/text.h"
#include "patterns/detectors.h"
#include "reports/replay.h"
#include "reports/report.h"
#include "reports/verify.h"

#define STORE_BYTES ((size_t)4 << 30)

enum exit_status { EXIT_USAGE = 2, EXIT_NOTHING_READ = 3, EXIT_DAMAGED = 4, EXIT_ROOT_CAUSE = 10, EXIT_OPEN = 11 };

struct options {
	const char *html, *json, *text, *patterns, *job, *explain;
	bool list_patterns, exit_code, any_output;
	char *html_default;
	struct stamp since, until;
	int run;
	struct ingest_options ingest;
	char **inputs;
	size_t n_inputs;
};

static volatile int stop_reading;

static void on_signal(int sig)
{
	(void)sig;
	stop_reading = 1;
}

static const char usage_text[] =
"usage: tanalyze [option...] INPUT...\n"
"       tanalyze replay CORPUS_DIR...\n"
"       tanalyze verify REPORT.json INPUT...\n"
"\n"
"Reads bundles, directories, logs and dumps (\"-\": standard input), names the root\n"
"cause of a failed or hung training run, and shows the evidence.\n"
"\n"
"  --html [FILE]      write an HTML report (default: INPUT.html)\n"
"  --json FILE|-      write a JSON report (schema tachograph.report/1)\n"
"  --text FILE|-      write the text report to a file; it goes to the terminal by default\n"
"  --patterns DIR     add a site's signatures and causes\n"
"  --job ID           only what is about this job\n"
"  --run N            judge the N-th run of a restarted job (default: the last that failed)\n"
"  --since T, --until T   only events in this time (RFC 3339, or without a zone)\n"
"  --tz +HH:MM        zone of times that state none\n"
"  --time-limit SECONDS   stop reading after this long, and report on what was read\n"
"  --jobs N           threads (default: one per processor)\n"
"  --digest           SHA-256 of every input, whatever its size\n"
"  --exit-code        exit 10 when a root cause was found, 11 when a failure was not attributed\n"
"  --explain PATTERN  print a pattern's specification (or what xid:N, sxid:N mean) and exit\n"
"  --list-patterns    list the patterns and exit\n"
"  --help, --version\n"
"\n"
"exit: 0 analysed, 2 usage, 3 nothing could be read, 4 part of the input was damaged\n";

static int usage(const char *fmt, const char *what)
{
	char safe[512];

	text_printable(what, strlen(what), safe, sizeof(safe));
	fputs("tanalyze: ", stderr);
	fprintf(stderr, fmt, safe);
	fputs("\ntry: tanalyze --help\n", stderr);
	return EXIT_USAGE;
}

/* ---- the command line ---- */

static bool names_report(const char *word)
{
	const char *dot = word ? strrchr(word, '.') : NULL;

	return word && (strcmp(word, "-") == 0 ||
			(dot && (!strcmp(dot, ".html") || !strcmp(dot, ".json") || !strcmp(dot, ".txt"))));
}

static char *beside_input(const char *input, const char *extension)
{
	char *out = NULL;
	size_t n = strlen(input);

	while (n > 1 && input[n - 1] == '/')
		n--;
	if (n > 8 && strncmp(input + n - 8, ".tar.zst", 8) == 0)
		n -= 8;
	return asprintf(&out, "%.*s%s", (int)n, input, extension) < 0 ? NULL : out;
}

static bool parse_zone(const char *text, int64_t *ns)
{
	int h = 0, m = 0, n = 0;
	char sign;

	if (strcmp(text, "Z") == 0 || strcmp(text, "UTC") == 0)
		return *ns = 0, true;
	if (sscanf(text, "%c%2d:%2d%n", &sign, &h, &m, &n) != 3 || text[n] || (sign != '+' && sign != '-') || h > 14 ||
	    m > 59 || h < 0 || m < 0)
		return false;
	*ns = (sign == '-' ? -1 : 1) * ((int64_t)h * 60 + m) * 60 * 1000000000;
	return true;
}

static bool parse_number(const char *text, long min, long max, long *ret)
{
	char *end;

	errno = 0;
	*ret = strtol(text, &end, 10);
	return *text && !*end && !errno && *ret >= min && *ret <= max;
}

static bool parse_time(const char *text, struct stamp *ret)
{
	return time_parse(text, strlen(text), ret) == strlen(text) && (ret->base == TIME_UTC || ret->base == TIME_LOCAL);
}

enum { OPT_HTML = 256, OPT_JSON, OPT_TEXT, OPT_PATTERNS, OPT_JOB, OPT_RUN, OPT_SINCE, OPT_UNTIL, OPT_TZ, OPT_LIMIT, OPT_JOBS,
       OPT_DIGEST, OPT_EXIT_CODE, OPT_EXPLAIN, OPT_LIST, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {
	{ "html", no_argument, NULL, OPT_HTML }, { "json", no_argument, NULL, OPT_JSON },
	{ "text", no_argument, NULL, OPT_TEXT }, { "patterns", required_argument, NULL, OPT_PATTERNS },
	{ "job", required_argument, NULL, OPT_JOB }, { "run", required_argument, NULL, OPT_RUN }, { "since", required_argument, NULL, OPT_SINCE },
	{ "until", required_argument, NULL, OPT_UNTIL }, { "tz", required_argument, NULL, OPT_TZ },
	{ "time-limit", required_argument, NULL, OPT_LIMIT }, { "jobs", required_argument, NULL, OPT_JOBS },
	{ "digest", no_argument, NULL, OPT_DIGEST }, { "exit-code", no_argument, NULL, OPT_EXIT_CODE },
	{ "explain", required_argument, NULL, OPT_EXPLAIN }, { "list-patterns", no_argument, NULL, OPT_LIST },
	{ "help", no_argument, NULL, OPT_HELP }, { "version", no_argument, NULL, OPT_VERSION }, { 0 },
};

/* One option; -1: go on, else the exit status. */
static int take_option(struct options *o, int opt, char **argv)
{
	long n;

	switch (opt) {
	case OPT_HTML:
	case OPT_JSON:
	case OPT_TEXT: {
		const char *file = names_report(argv[optind]) ? argv[optind++] : "";

		*(opt == OPT_HTML ? &o->html : opt == OPT_JSON ? &o->json : &o->text) = file;
		return -1;
	}
	case OPT_PATTERNS: o->patterns = optarg; return -1;
	case OPT_JOB: o->job = optarg; return -1;
	case OPT_RUN:
		if (!parse_number(optarg, 1, RUNS_MAX, &n))
			return usage("--run: \"%s\" is no number from 1 to 32", optarg);
		o->run = (int)n - 1;
		return -1;
	case OPT_SINCE: return parse_time(optarg, &o->since) ? -1 : usage("--since: \"%s\" is no date and time", optarg);
	case OPT_UNTIL: return parse_time(optarg, &o->until) ? -1 : usage("--until: \"%s\" is no date and time", optarg);
	case OPT_TZ:
		o->ingest.log.tz_known = true;
		return parse_zone(optarg, &o->ingest.log.tz_ns) ? -1 : usage("--tz: \"%s\" is no zone like +02:00", optarg);
	case OPT_LIMIT:
		if (!parse_number(optarg, 1, 86400 * 7, &n))
			return usage("--time-limit: \"%s\" is no number of seconds", optarg);
		alarm((unsigned)n);
		return -1;
	case OPT_JOBS:
		if (!parse_number(optarg, 1, 64, &n))
			return usage("--jobs: \"%s\" is no number from 1 to 64", optarg);
		o->ingest.jobs = (unsigned)n;
		return -1;
	case OPT_DIGEST: o->ingest.digest = true; return -1;
	case OPT_EXIT_CODE: o->exit_code = true; return -1;
	case OPT_EXPLAIN: o->explain = optarg; return -1;
	case OPT_LIST: o->list_patterns = true; return -1;
	case OPT_HELP: fputs(usage_text, stdout); return 0;
	case OPT_VERSION: puts("tanalyze " TACHOGRAPH_VERSION); return 0;
	default: fputs("try: tanalyze --help\n", stderr); return EXIT_USAGE;
	}
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Is there such a file already, somewhere below an input directory? */
static bool inside_input(const char *output, const struct options *o)
{
	_cleanup_free_ char *out = realpath(output, NULL);

	for (size_t k = 0; out && k < o->n_inputs; k++) {
		_cleanup_free_ char *in = realpath(o->inputs[k], NULL);
		size_t n = in ? strlen(in) : 0;

		if (n && strncmp(out, in, n) == 0 && (out[n] == '/' || n == 1))
			return true;
	}
	return false;
}

/* Give outputs without a name one, and see that none replaces an input or another output. */
static int settle_outputs(struct options *o)
{
	const char **out[] = { &o->html, &o->json, &o->text };
	static const char *const extension[] = { ".html", ".json", ".txt" };
	int to_stdout = 0;

	for (size_t i = 0; i < ARRAY_SIZE(out); i++) {
		if (*out[i] && !**out[i])
			*out[i] = strcmp(o->inputs[0], "-") ? beside_input(o->inputs[0], extension[i]) : "-";
		to_stdout += *out[i] && strcmp(*out[i], "-") == 0;
		for (size_t k = 0; *out[i] && k < o->n_inputs; k++)
			if (same_file(*out[i], o->inputs[k]))
				return usage("%s is an input and is not overwritten", *out[i]);
		if (*out[i] && strcmp(*out[i], "-") && inside_input(*out[i], o))
			return usage("%s is part of the input and is not overwritten", *out[i]);
		for (size_t k = 0; *out[i] && k < i; k++)
			if (*out[k] && strcmp(*out[i], "-") && (!strcmp(*out[i], *out[k]) || same_file(*out[i], *out[k])))
				return usage("%s cannot hold two reports", *out[i]);
	}
	return to_stdout > 1 ? usage("only one report can go to standard output%s", "") : -1;
}

/* -1: go on, else the exit status. */
static int parse_options(struct options *o, int argc, char **argv)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		int status = take_option(o, opt == 'h' ? OPT_HELP : opt, argv);

		if (status >= 0)
			return status;
	}
	o->inputs = argv + optind;
	o->n_inputs = (size_t)(argc - optind);
	if (o->explain || o->list_patterns)
		return -1;
	if (!o->n_inputs)
		return usage("no input given%s", "");
	return settle_outputs(o);
}

/* ---- one analysis ---- */

static int load_patterns(struct pattern_set *set, const char *dir, struct error *err)
{
	if (pattern_set_init(set, err) || patterns_add_shipped(set, err) || (dir && pattern_set_add_dir(set, dir, err)))
		return -1;
	return pattern_set_seal(set, err);
}

/* Drop what --since, --until and --job leave out. */
static void narrow(struct store *s, const struct options *o)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n_obs; i++) {
		const struct observation *x = &s->obs[i];
		const char *job = observation_get(s, x, "job");
		bool out = stamp_order(x->last, o->since, 0) < 0 || stamp_order(x->first, o->until, 0) > 0 ||
			   (o->job && job[0] && strcmp(job, o->job));

		if (!out)
			s->obs[kept++] = *x;
	}
	s->n_obs = kept;
	if (o->job)
		s->identity->job = intern_cstr(&s->strings, o->job);
}

static int run(struct store *s, struct analysis *a, const struct pattern_set *set, const struct options *o,
	       struct error *err)
{
	if (ingest(s, set, o->inputs, o->n_inputs, &o->ingest, err))
		return -1;
	narrow(s, o);
	detectors_run(s);
	return analyze(s, set, o->run, a, err);
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

static int write_reports(const struct options *o, const struct analysis *a, struct error *err)
{
	bool busy = (o->html && !strcmp(o->html, "-")) || (o->json && !strcmp(o->json, "-"));

	if (o->html && write_to(o->html, report_html, a, err))
		return -1;
	if (o->json && write_to(o->json, report_json, a, err))
		return -1;
	if (o->text)
		return write_to(o->text, write_text, a, err);
	return busy ? 0 : write_to("-", write_text, a, err);
}

static int exit_status(const struct options *o, const struct analysis *a)
{
	bool read = false;

	for (size_t i = 0; i < a->store->n_members; i++)
		read |= a->store->members[i].state == MEMBER_OK || a->store->members[i].state == MEMBER_DAMAGED;
	if (!read)
		return EXIT_NOTHING_READ;
	if (o->exit_code && a->status == VERDICT_ROOT_CAUSE)
		return EXIT_ROOT_CAUSE;
	if (o->exit_code && a->status == VERDICT_UNATTRIBUTED)
		return EXIT_OPEN;
	return a->any_damage ? EXIT_DAMAGED : 0;
}

static int analyze_command(const struct options *o, const struct pattern_set *set, struct error *err)
{
	struct analysis a = { 0 };
	struct store s = { 0 };
	int status = -1;

	if (store_init(&s, STORE_BYTES, err) == 0 && run(&s, &a, set, o, err) == 0 && write_reports(o, &a, err) == 0)
		status = exit_status(o, &a);
	analysis_deinit(&a);
	collectives_free(&s);
	store_deinit(&s);
	return status;
}

/* ---- subcommands ---- */

static int replay_one(void *ctx, const char *input, FILE *json, struct error *err)
{
	char *inputs[] = { (char *)input };
	struct options o = { .inputs = inputs, .n_inputs = 1, .run = RUN_CHOSEN, .ingest = { .digest = true } };
	struct analysis a = { 0 };
	struct store s = { 0 };
	int ret = -1;

	if (store_init(&s, STORE_BYTES, err) == 0 && run(&s, &a, ctx, &o, err) == 0)
		ret = report_json(&a, json, err);
	analysis_deinit(&a);
	collectives_free(&s);
	store_deinit(&s);
	return ret;
}

static int replay_command(int argc, char **argv, struct error *err)
{
	struct pattern_set set = { 0 };
	size_t cases = 0, missed = 0;
	int ret;

	if (argc < 2)
		return usage("replay: no corpus given%s", "");
	ret = load_patterns(&set, NULL, err);
	if (ret == 0)
		ret = replay(argv + 1, (size_t)(argc - 1), replay_one, &set, stdout, &cases, &missed, err);
	pattern_set_deinit(&set);
	if (ret)
		return -1;
	printf("%zu cases, %zu as expected, %zu missed\n", cases, cases - missed, missed);
	return missed || !cases ? EXIT_FAILURE : 0;
}

static int verify_command(int argc, char **argv, struct error *err)
{
	size_t checked = 0, bad = 0;

	if (argc < 3)
		return usage("verify: needs REPORT.json and the inputs%s", "");
	if (report_verify(argv[1], argv + 2, (size_t)(argc - 2), stderr, &checked, &bad, err))
		return -1;
	printf("%zu quotes read again, %zu differ\n", checked, bad);
	return bad ? EXIT_FAILURE : 0;
}

static int explain_command(const struct options *o, const struct pattern_set *set)
{
	const struct pattern *p;

	if (o->list_patterns) {
		explain_list(set, stdout);
		return 0;
	}
	if (code_explain(o->explain, stdout) == 0)
		return 0;
	p = pattern_find(set, o->explain);
	if (!p)
		return usage("\"%s\" is no pattern; --list-patterns lists them", o->explain);
	explain_pattern(p, stdout);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
	struct options o = { .run = RUN_CHOSEN };
	struct pattern_set set = { 0 };
	struct error err = { 0 };
	int status;

	if (argc > 1 && strcmp(argv[1], "replay") == 0) {
		status = replay_command(argc - 1, argv + 1, &err);
	} else if (argc > 1 && strcmp(argv[1], "verify") == 0) {
		status = verify_command(argc - 1, argv + 1, &err);
	} else {
		sigaction(SIGINT, &sa, NULL);
		sigaction(SIGALRM, &sa, NULL);
		o.ingest.stop = &stop_reading;
		status = parse_options(&o, argc, argv);
		if (status >= 0)
			return status;
		if (load_patterns(&set, o.patterns, &err) == 0) {
			sandbox_enter();
			status = o.explain || o.list_patterns ? explain_command(&o, &set) : analyze_command(&o, &set, &err);
		}
		pattern_set_deinit(&set);
	}
	if (status < 0) {
		fputs("tanalyze: ", stderr);
		error_print(stderr, &err);
		return EXIT_FAILURE;
	}
	return status;
}
