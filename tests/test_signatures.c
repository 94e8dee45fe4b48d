/*
 * Every signature's own examples, through the real line path: each `match` line
 * yields an observation of that signature, each `no_match` line none.
 */
#include "tests/shipped.h"

#include <stdio.h>

#include "analyzer/device_codes.h"
#include "analyzer/ingest/log.h"
#include "analyzer/lint.h"
#include "patterns/detectors.h"

/* Does the line alone make a scanner of this one signature observe something? */
static bool fires(const struct signature *sig, const char *line)
{
	struct pattern_set one = set;
	struct log_options opt = { 0 };
	struct scanner sc;
	struct store s;
	struct error err = { 0 };
	_cleanup_log_ struct log *l = NULL;
	size_t room, n;
	uint8_t *to;

	one.signatures = (struct signature *)sig;
	one.n_signatures = 1;
	assert_int_equal(store_init(&s, (size_t)64 << 20, &err), 0);
	assert_int_equal(scanner_init(&sc, &one, &err), 0);
	assert_true(store_member(&s, "line", NULL, &err) == 0);
	assert_int_equal(log_open(&sc, &s, &opt, &l, &err), 0);
	log_begin(l, 0);
	to = log_room(l, &room);
	n = strlen(line);
	assert_true(n < room);
	memcpy(to, line, n);
	log_advance(l, n);
	log_end(l);
	n = (size_t)log_counts(l).hits;
	log_close(take(l));
	scanner_deinit(&sc);
	store_deinit(&s);
	return n > 0;
}

static bool has_literal(const struct signature *sig, const char *line)
{
	for (size_t i = 0; i < sig->n_literals; i++)
		if (sig->nocase ? strcasestr(line, sig->literals[i]) != NULL : strstr(line, sig->literals[i]) != NULL)
			return true;
	return false;
}

static void test_examples(void **state)
{
	size_t wrong = 0;

	(void)state;
	for (size_t i = 0; i < set.n_signatures; i++) {
		const struct signature *sig = &set.signatures[i];

		assert_true(sig->n_match > 0);
		for (size_t k = 0; k < sig->n_match; k++)
			if (!has_literal(sig, sig->match[k]) || !fires(sig, sig->match[k])) {
				print_message("    %s: does not match: %s\n", sig->id, sig->match[k]);
				wrong++;
			}
		for (size_t k = 0; k < sig->n_no_match; k++)
			if (fires(sig, sig->no_match[k])) {
				print_message("    %s: matches: %s\n", sig->id, sig->no_match[k]);
				wrong++;
			}
	}
	assert_int_equal(wrong, 0);
	assert_true(set.n_signatures > 100);
}

static void test_codes(void **state)
{
	const struct xid *x;

	(void)state;
	for (size_t i = 0; (x = xid_at(i)); i++) {
		assert_non_null(kind_find(x->kind));
		assert_ptr_equal(xid_find(x->code), x);	/* no code has two rows */
		assert_true(x->meaning[0] && x->action[0]);
	}
	assert_null(xid_find(0));
	assert_null(sxid_find(9999));
	assert_int_equal(sxid_find(20034)->severity, SXID_FATAL);
	assert_int_equal(sxid_find(20035)->severity, SXID_AS_STATED);
}

/* What a site's files are asked for, the shipped ones keep too. */
static void test_lint(void **state)
{
	struct error err = { 0 };
	size_t problems = 0;

	(void)state;
	assert_int_equal(lint(&set, "patterns", stderr, &problems, &err), 0);
	assert_int_equal(problems, 0);
}

static void test_patterns_are_complete(void **state)
{
	(void)state;
	assert_true(set.n_patterns >= 30);
	for (size_t i = 0; i < set.n_patterns; i++) {
		assert_true(set.patterns[i].n_premises > 0);
		assert_true(set.patterns[i].n_advice > 0);
		assert_true(set.patterns[i].title[0] != '\0');
	}
}

static const struct {
	const char *name, *json, *why;
} refused[] = {
	{ "no JSON", "{", "site.json:1: " },
	{ "no premises", "{\"id\":\"x\",\"title\":\"t\",\"action\":\"wait\",\"advice\":[\"a\"]}", "site.json:1: x: premises is missing" },
	{ "an unknown key", "{\"id\":\"x\",\n\"titel\":\"t\"}", "site.json:2: x: titel is no key that is known here" },
	{ "an unknown role", "{\"id\":\"x\",\"title\":\"t\",\"role\":\"villain\"}", "site.json:1: x: role is none of the words allowed here" },
	{ "a short literal", "{\"signatures\":[{\"id\":\"s\",\"kind\":\"x.a\",\"class\":\"kernel\",\"literal\":\"ab\",\"regex\":\"ab\",\"match\":\"ab\"}]}",
	  "site.json:1: s: ab: a literal has at least 4 bytes" },
	{ "an unknown class", "{\"signatures\":[{\"id\":\"s\",\"kind\":\"x.a\",\"class\":\"oracle\",\"literal\":\"abcd\",\"regex\":\"abcd\",\"match\":\"abcd\"}]}",
	  "site.json:1: s: oracle is no source class" },
};

static void test_bad_files_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct pattern_set site;
		struct error err = { 0 };

		print_message("    %s\n", refused[i].name);
		assert_int_equal(pattern_set_init(&site, &err), 0);
		assert_int_equal(pattern_set_add(&site, "site.json", refused[i].json, strlen(refused[i].json), &err), -1);
		assert_memory_equal(err.what, refused[i].why, strlen(refused[i].why));
		pattern_set_deinit(&site);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples), cmocka_unit_test(test_codes), cmocka_unit_test(test_lint), cmocka_unit_test(test_patterns_are_complete),
		cmocka_unit_test(test_bad_files_are_refused),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
