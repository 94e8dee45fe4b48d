#include "reports/replay.h"

#include <dirent.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bundle/cleanup.h"

#define DEPTH_MAX 8

/* One case, and how it ended. */
struct fixture {
	char *dir;
	char *expected, *named;		/* pattern of the verdict; "-": none */
	json_t *must_not;		/* patterns that look alike here and must not be named */
	bool ok;
};

struct corpus {
	struct fixture *v;
	size_t n, cap;
	replay_run run;
	void *ctx;
	FILE *out;
	size_t missed;
};

static const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* Say what differs; counts as one reason that the case is missed. */
static void differ(struct corpus *c, bool *ok, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void differ(struct corpus *c, bool *ok, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("      ", c->out);
	vfprintf(c->out, fmt, ap);
	fputc('\n', c->out);
	va_end(ap);
	*ok = false;
}

static const json_t *by_id(const json_t *list, const char *id)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(str(json_array_get(list, i), "id"), id) == 0)
			return json_array_get(list, i);
	return NULL;
}

static const json_t *primary(const json_t *report)
{
	const json_t *ids = json_object_get(json_object_get(report, "verdict"), "findings");

	return by_id(json_object_get(report, "findings"), json_string_value(json_array_get(ids, 0)) ?
		     json_string_value(json_array_get(ids, 0)) : "");
}

/* Culprits of all primary findings name exactly the values that are expected under each listed key. */
static bool names(const json_t *report, const char *key, const json_t *want)
{
	const json_t *ids = json_object_get(json_object_get(report, "verdict"), "findings");

	for (size_t f = 0; f < json_array_size(ids); f++) {
		const json_t *finding = by_id(json_object_get(report, "findings"), json_string_value(json_array_get(ids, f)));
		const json_t *list = json_object_get(finding, "culprits");

		for (size_t i = 0; i < json_array_size(list); i++)
			if (json_equal(json_object_get(json_array_get(list, i), key), want))
				return true;
	}
	return false;
}

static bool expected_value(const json_t *culprits, const char *key, const json_t *value)
{
	bool listed = false;

	for (size_t i = 0; i < json_array_size(culprits); i++) {
		const json_t *want = json_object_get(json_array_get(culprits, i), key);

		listed |= want != NULL;
		if (want && json_equal(want, value))
			return true;
	}
	return !listed;
}

static void check_culprits(struct corpus *c, const json_t *report, const json_t *expected, bool *ok)
{
	const json_t *want = json_object_get(expected, "culprits"), *have = json_object_get(primary(report), "culprits");
	const char *key;
	json_t *value;

	for (size_t i = 0; i < json_array_size(want); i++)
		json_object_foreach(json_array_get(want, i), key, value)
			if (!names(report, key, value)) {
				_cleanup_free_ char *text = json_dumps(value, JSON_ENCODE_ANY);

				differ(c, ok, "culprit %s %s is not named", key, text ? text : "?");
			}
	if (json_is_true(json_object_get(expected, "nobody")) && json_array_size(have))
		differ(c, ok, "somebody is named, and nobody can be");
	for (size_t i = 0; i < json_array_size(have); i++)
		json_object_foreach(json_array_get(have, i), key, value)
			if (!json_is_null(value) && !expected_value(want, key, value)) {
				_cleanup_free_ char *text = json_dumps(value, JSON_ENCODE_ANY);

				differ(c, ok, "%s %s is named and innocent", key, text ? text : "?");
			}
}

/* Does the primary finding, or what hangs on it, quote this text? */
static bool cites(const json_t *report, const char *text)
{
	const json_t *all = json_object_get(report, "findings"), *f = primary(report);
	const json_t *related[3] = { NULL, json_object_get(f, "explains"), json_object_get(f, "explained_by") };
	const json_t *evidence = json_object_get(report, "evidence");

	for (int r = 0; r < 3; r++)
		for (size_t i = 0; i < (r ? json_array_size(related[r]) : 1); i++) {
			const json_t *x = r ? by_id(all, json_string_value(json_array_get(related[r], i))) : f;
			const json_t *ids = json_object_get(x, "evidence");

			for (size_t k = 0; k < json_array_size(ids); k++) {
				const json_t *e = by_id(evidence, json_string_value(json_array_get(ids, k)));

				if (strstr(str(e, "text"), text))
					return true;
			}
		}
	return false;
}

static bool has_value(const json_t *list, const char *key, const char *value)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(str(json_array_get(list, i), key), value) == 0)
			return true;
	return false;
}

static void check_lists(struct corpus *c, const json_t *report, const json_t *expected, bool *ok)
{
	const json_t *list = json_object_get(expected, "evidence");

	for (size_t i = 0; i < json_array_size(list); i++)
		if (!cites(report, json_string_value(json_array_get(list, i))))
			differ(c, ok, "not cited: %s", json_string_value(json_array_get(list, i)));
	list = json_object_get(expected, "must_not");
	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(str(primary(report), "pattern"), json_string_value(json_array_get(list, i))) == 0)
			differ(c, ok, "must not be named: %s", json_string_value(json_array_get(list, i)));
	list = json_object_get(expected, "observations");
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!has_value(json_object_get(report, "observations"), "kind", json_string_value(json_array_get(list, i))))
			differ(c, ok, "not observed: %s", json_string_value(json_array_get(list, i)));
	list = json_object_get(expected, "also");
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!has_value(json_object_get(report, "findings"), "pattern", json_string_value(json_array_get(list, i))))
			differ(c, ok, "not found: %s", json_string_value(json_array_get(list, i)));
}

/* "runs": the pattern of each run's first finding, "" for none. */
static void check_runs(struct corpus *c, const json_t *report, const json_t *expected, bool *ok)
{
	const json_t *want = json_object_get(expected, "runs"), *have = json_object_get(json_object_get(report, "verdict"), "runs");

	if (want && json_array_size(want) != json_array_size(have))
		differ(c, ok, "%zu runs, expected %zu", json_array_size(have), json_array_size(want));
	for (size_t i = 0; i < json_array_size(want) && i < json_array_size(have); i++) {
		const char *pattern = str(json_array_get(have, i), "pattern"), *text = json_string_value(json_array_get(want, i));

		if (text && strcmp(pattern, text))
			differ(c, ok, "run %zu is %s, expected %s", i + 1, pattern[0] ? pattern : "none", text[0] ? text : "none");
	}
}

static bool compare(struct corpus *c, const json_t *report, const json_t *expected)
{
	const char *status = str(json_object_get(report, "verdict"), "status");
	const char *pattern = str(primary(report), "pattern"), *want = str(expected, "pattern");
	bool ok = true;

	if (strcmp(status, str(expected, "status")))
		differ(c, &ok, "status is %s, expected %s", status, str(expected, "status"));
	if (strcmp(pattern, want))
		differ(c, &ok, "pattern is %s, expected %s", pattern[0] ? pattern : "none", want[0] ? want : "none");
	if (str(expected, "role")[0] && primary(report) && strcmp(str(primary(report), "role"), str(expected, "role")))
		differ(c, &ok, "role is %s, expected %s", str(primary(report), "role"), str(expected, "role"));
	check_culprits(c, report, expected, &ok);
	check_lists(c, report, expected, &ok);
	check_runs(c, report, expected, &ok);
	return ok;
}

static int add_fixture(struct corpus *c, const char *dir, const json_t *expected, const char *have, bool ok)
{
	const char *want = str(expected, "pattern");

	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 64;
		struct fixture *p = reallocarray(c->v, cap, sizeof(*p));

		if (!p)
			return -1;
		c->v = p;
		c->cap = cap;
	}
	c->v[c->n++] = (struct fixture){ strdup(dir), strdup(want[0] ? want : "-"), strdup(have[0] ? have : "-"),
					 json_incref(json_object_get(expected, "must_not")), ok };
	return 0;
}

static int run_case(struct corpus *c, const char *dir, const json_t *expected, struct error *err)
{
	_cleanup_free_ char *input = NULL, *text = NULL;
	size_t len = 0;
	FILE *json = NULL;
	json_error_t why;
	json_t *report;
	struct stat st;
	bool ok;
	int ret;

	if (asprintf(&input, "%s/bundle.tar.zst", dir) < 0)
		return error_set(err, ERR_NOMEM, "no memory");
	if (stat(input, &st)) {
		free(input);
		if (asprintf(&input, "%s/input", dir) < 0)
			return error_set(err, ERR_NOMEM, "no memory");
	}
	json = open_memstream(&text, &len);
	if (!json)
		return error_sys(err, "no memory");
	ret = c->run(c->ctx, input, json, err);
	fclose(json);
	if (ret)
		return error_in(err, dir);
	report = json_loadb(text, len, 0, &why);
	if (!report)
		return error_set(err, ERR_FORMAT, "%s: the report is no JSON: %s", dir, why.text);
	fprintf(c->out, "  %-60s %s\n", dir, str(json_object_get(report, "verdict"), "status"));
	ok = compare(c, report, expected);
	c->missed += !ok;
	ret = add_fixture(c, dir, expected, str(primary(report), "pattern"), ok);
	json_decref(report);
	return ret ? error_set(err, ERR_NOMEM, "no memory") : 0;
}

static int not_hidden(const struct dirent *e) { return e->d_name[0] != '.'; }

static int visit(struct corpus *c, const char *dir, int depth, struct error *err)
{
	_cleanup_free_ char *path = NULL;
	struct dirent **names_v = NULL;
	json_error_t why;
	json_auto_t *expected = NULL;
	struct stat st;
	int n, ret = 0;

	if (asprintf(&path, "%s/expected.json", dir) < 0)
		return error_set(err, ERR_NOMEM, "no memory");
	if (stat(path, &st) == 0) {
		expected = json_load_file(path, 0, &why);
		return expected ? run_case(c, dir, expected, err) :
		       error_set(err, ERR_FORMAT, "%s:%d: %s", path, why.line, why.text);
	}
	n = depth < DEPTH_MAX ? scandir(dir, &names_v, not_hidden, alphasort) : 0;
	if (n < 0)
		return error_sys(err, "cannot read %s", dir);
	for (int i = 0; i < n; i++) {
		char *child = NULL;

		if (ret == 0 && asprintf(&child, "%s/%s", dir, names_v[i]->d_name) < 0)
			ret = error_set(err, ERR_NOMEM, "no memory");
		if (ret == 0 && stat(child, &st) == 0 && S_ISDIR(st.st_mode))
			ret = visit(c, child, depth + 1, err);
		free(child);
		free(names_v[i]);
	}
	free(names_v);
	return ret;
}

/* Rows are expected patterns, columns what was named instead: empty off the diagonal when all is well. */
static void print_matrix(const struct corpus *c)
{
	size_t off = 0;

	fprintf(c->out, "\npattern expected                  cases  named as expected\n");
	for (size_t i = 0; i < c->n; i++) {
		size_t all = 0, right = 0;
		bool first = true;

		for (size_t k = 0; k < i && first; k++)
			first = strcmp(c->v[k].expected, c->v[i].expected) != 0;
		if (!first)
			continue;
		for (size_t k = i; k < c->n; k++)
			if (strcmp(c->v[k].expected, c->v[i].expected) == 0) {
				all++;
				right += strcmp(c->v[k].named, c->v[i].expected) == 0;
			}
		fprintf(c->out, "%-34s %4zu %6zu", c->v[i].expected, all, right);
		for (size_t k = i; k < c->n; k++)
			if (strcmp(c->v[k].expected, c->v[i].expected) == 0 && strcmp(c->v[k].named, c->v[i].expected)) {
				fprintf(c->out, "  %s", c->v[k].named);
				off++;
			}
		fputc('\n', c->out);
	}
	fprintf(c->out, "off the diagonal: %zu\n", off);
}

/* How one pattern fares over the corpus. */
struct score {
	const char *pattern;
	size_t cases, found, wrong;	/* where it is the answer; of those, named; named where it is not */
	size_t twins;			/* cases that look like it and are something else */
};

static struct score score_of(const struct corpus *c, const char *pattern)
{
	struct score s = { .pattern = pattern };

	for (size_t i = 0; i < c->n; i++) {
		bool expected = strcmp(c->v[i].expected, pattern) == 0, named = strcmp(c->v[i].named, pattern) == 0;

		s.cases += expected;
		s.found += expected && named;
		s.wrong += named && !expected;
		for (size_t k = 0; k < json_array_size(c->v[i].must_not); k++)
			s.twins += strcmp(json_string_value(json_array_get(c->v[i].must_not, k)), pattern) == 0;
	}
	return s;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static void print_share(FILE *out, size_t part, size_t whole)
{
	if (whole)
		fprintf(out, " %.2f |", (double)part / (double)whole);
	else
		fprintf(out, " - |");
}

/* Markdown: precision and recall of each pattern. */
static int print_table(const struct corpus *c, FILE *out)
{
	_cleanup_free_ const char **names_v = calloc(2 * c->n + 1, sizeof(*names_v));
	size_t n = 0;

	if (!names_v)
		return -1;
	for (size_t i = 0; i < c->n; i++) {
		names_v[n++] = c->v[i].expected;
		names_v[n++] = c->v[i].named;
	}
	qsort(names_v, n, sizeof(*names_v), compare_names);
	fprintf(out, "| pattern | cases | named | named wrongly | precision | recall | look-alikes refused |\n"
		     "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
	for (size_t i = 0; i < n; i++) {
		struct score s = score_of(c, names_v[i]);

		if ((i && strcmp(names_v[i], names_v[i - 1]) == 0) || strcmp(names_v[i], "-") == 0)
			continue;
		fprintf(out, "| `%s` | %zu | %zu | %zu |", s.pattern, s.cases, s.found, s.wrong);
		print_share(out, s.found, s.found + s.wrong);
		print_share(out, s.found, s.cases);
		fprintf(out, " %zu |\n", s.twins);
	}
	return 0;
}

int replay(char *const *dirs, size_t n_dirs, replay_run run, void *ctx, FILE *out, FILE *table, size_t *cases_ret,
	   size_t *missed_ret, struct error *err)
{
	struct corpus c = { .run = run, .ctx = ctx, .out = out };
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < n_dirs; i++)
		ret = visit(&c, dirs[i], 0, err);
	if (ret == 0)
		print_matrix(&c);
	if (ret == 0 && table && print_table(&c, table))
		ret = error_set(err, ERR_NOMEM, "no memory");
	*cases_ret = c.n;
	*missed_ret = c.missed;
	for (size_t i = 0; i < c.n; i++) {
		free(c.v[i].dir);
		free(c.v[i].expected);
		free(c.v[i].named);
		json_decref(c.v[i].must_not);
	}
	free(c.v);
	return ret;
}
