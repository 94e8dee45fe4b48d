/*
 * The literal search against the plainest one there is: strncmp at every byte.
 * Both of its paths, with the processor's vectors and without, must find the same.
 */
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "analyzer/ingest/literals.h"

#define HITS_MAX 200000

static const struct literal list[] = {
	{ "Xid", 3, false },	/* replaced below: too short */
	{ "NVLS", 4, false },
	{ " hung", 5, false },
	{ "EDAC ", 5, false },
	{ "Killed", 6, false },
	{ "oom_kil", 7, false },
	{ "NaN loss", 8, false },
	{ "CUDA error: ", 12, false },
	{ "CUDA error: out of memory", 25, false },
	{ "uncorrectable ECC", 17, true },
	{ "aaaaaaa", 7, false },
	{ "abababab", 8, false },
	{ "[{@`|\\^~", 8, true },	/* not letters, yet one bit apart */
	{ "fallen off the bus", 18, false },
	{ "off the bus", 11, false },
};
enum { N = sizeof(list) / sizeof(list[0]) - 1 };	/* without the first */

struct hits {
	uint64_t v[HITS_MAX];		/* literal and place */
	size_t n;
	size_t last_line;		/* start of the line of the last hit */
	const uint8_t *text;
};

static void found(uint32_t literal, size_t at, void *ctx)
{
	struct hits *h = ctx;
	size_t line = at;

	assert_true(h->n < HITS_MAX);
	while (line > 0 && h->text[line - 1] != '\n')
		line--;
	assert_true(line >= h->last_line);	/* lines come in order */
	h->last_line = line;
	h->v[h->n++] = (uint64_t)at << 32 | literal;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void expect(const struct literal *lits, size_t n, const uint8_t *text, size_t len, struct hits *want)
{
	want->n = 0;
	for (size_t at = 0; at < len; at++)
		for (size_t i = 0; i < n; i++)
			if (lits[i].len <= len - at &&
			    (lits[i].nocase ? strncasecmp((const char *)text + at, lits[i].text, lits[i].len) :
					      memcmp(text + at, lits[i].text, lits[i].len)) == 0)
				want->v[want->n++] = (uint64_t)at << 32 | i;
	qsort(want->v, want->n, sizeof(want->v[0]), compare);
}

/* `text` lies in a buffer of its exact size, so that a sanitizer sees a byte read too much. */
static void check(const struct literals *l, const struct literal *lits, size_t n, const void *bytes, size_t len)
{
	static struct hits want, have;
	uint8_t *text = malloc(len ? len : 1);

	memcpy(text, bytes, len);
	expect(lits, n, text, len, &want);
	for (int plain = 0; plain < 2; plain++) {
		have = (struct hits){ .text = text };
		(plain ? literals_scan_plain : literals_scan)(l, text, len, found, &have);
		qsort(have.v, have.n, sizeof(have.v[0]), compare);
		assert_int_equal(have.n, want.n);
		assert_memory_equal(have.v, want.v, want.n * sizeof(want.v[0]));
	}
	free(text);
}

static struct literals *opened(const struct literal *lits, size_t n)
{
	struct error err = { 0 };
	struct literals *l = NULL;

	assert_int_equal(literals_open(lits, n, NULL, 0, &l, &err), 0);
	return l;
}

/* Every literal at every alignment, at the start, in the middle and at the end of a text. */
static void test_alignments(void **state)
{
	struct literals *l = opened(list + 1, N);
	char text[256];

	(void)state;
	for (size_t i = 1; i <= N; i++)
		for (size_t before = 0; before < 80; before++)
			for (size_t after = 0; after < 40; after += after < 3 ? 1 : 9) {
				memset(text, '.', sizeof(text));
				memcpy(text + before, list[i].text, list[i].len);
				check(l, list + 1, N, text, before + list[i].len + after);
			}
	literals_close(l);
}

static uint64_t draw(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	return *x ^= *x << 17;
}

/* Text made of pieces of the literals, in either case, with line ends and any byte between. */
static size_t jumble(uint64_t *seed, uint8_t *text, size_t max)
{
	size_t n = 0;

	while (n + 32 < max) {
		const struct literal *lit = &list[1 + draw(seed) % N];
		size_t from = draw(seed) % lit->len, len = draw(seed) % 3 ? lit->len - from : 1 + draw(seed) % (lit->len - from);

		if (draw(seed) % 4 == 0)
			from = 0, len = lit->len;
		for (size_t i = 0; i < len; i++) {
			uint8_t c = (uint8_t)lit->text[from + i];

			text[n++] = draw(seed) % 16 ? c : c ^ 0x20;
		}
		if (draw(seed) % 3 == 0)
			text[n++] = draw(seed) % 5 ? ' ' : draw(seed) % 2 ? '\n' : (uint8_t)draw(seed);
	}
	return n;
}

static void test_jumbles(void **state)
{
	struct literals *l = opened(list + 1, N);
	uint64_t seed = 0x5eed;
	uint8_t text[2048];

	(void)state;
	for (int i = 0; i < 3000; i++)
		check(l, list + 1, N, text, jumble(&seed, text, 33 + draw(&seed) % (sizeof(text) - 33)));
	literals_close(l);
}

/* Runs of one letter: every place is a hit, and none is told twice. */
static void test_runs(void **state)
{
	struct literals *l = opened(list + 1, N);
	char text[3000];

	(void)state;
	memset(text, 'a', sizeof(text));
	check(l, list + 1, N, text, sizeof(text));
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 2 ? 'b' : 'a';
	check(l, list + 1, N, text, sizeof(text));
	literals_close(l);
}

/* What the sample says changes the speed, never the hits. */
static void test_samples(void **state)
{
	uint8_t sample[4096], text[2048];
	uint64_t seed = 7;
	struct error err = { 0 };

	(void)state;
	for (int i = 0; i < 200; i++) {
		struct literals *l = NULL;
		size_t n = jumble(&seed, sample, sizeof(sample));

		assert_int_equal(literals_open(list + 1, N, sample, n, &l, &err), 0);
		check(l, list + 1, N, text, jumble(&seed, text, sizeof(text)));
		literals_close(l);
	}
}

static void test_refused(void **state)
{
	struct error err = { 0 };
	struct literals *l = NULL;

	(void)state;
	assert_int_equal(literals_open(list, N, NULL, 0, &l, &err), -1);
	assert_string_equal(err.what, "literal 'Xid' has less than 4 bytes");
	assert_null(l);
}

static void test_none(void **state)
{
	struct literals *l = opened(list, 0);

	(void)state;
	check(l, list, 0, "CUDA error: nothing is searched here, at more than thirty-two bytes", 66);
	literals_close(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alignments), cmocka_unit_test(test_jumbles), cmocka_unit_test(test_runs),
		cmocka_unit_test(test_samples),	   cmocka_unit_test(test_refused), cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
