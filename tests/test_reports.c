/*
 * Reports against analyses that are built by hand (reports_fixture.h).
 *
 *	test_reports			run the tests
 *	test_reports --write DIR	write the pages and texts that tests/browser looks at
 */
#include <libxml/parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reports/report.h"
#include "tests/reports_fixture.h"
#include "tests/test.h"

/* ---- rendering ---- */

static char *render(const struct analysis *a, int width, size_t *len_ret)
{
	struct error err = { 0 };
	char *buf = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);
	int r;

	assert_non_null(f);
	r = width ? report_text(a, f, width, &err) : report_html(a, f, &err);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(r, 0);
	if (len_ret)
		*len_ret = len;
	return buf;
}

static char *line_of(const char *text, int n)
{
	while (n-- > 1) {
		text = strchr(text, '\n');
		assert_non_null(text);
		text++;
	}
	return strndup(text, strcspn(text, "\n"));
}

/* ---- text ---- */

static const struct {
	const char *what;
	void (*make)(struct fixture *);
	const char *lines[3];
	const char *says[12];
} texts[] = {
	{ "a hang with a culprit",
	  NULL,
	  { "ROOT CAUSE (confirmed): GPU fell off the PCIe bus: rank 9, host node01, GPU "
	    "0000:2b:00.0",
	    "culprit: rank 9 (local rank 1) on node01, GPU 0000:2b:00.0, pid 41009",
	    "no evidence from ranks 12,13 of 16" },
	  { "restart the job without node01", "- Drain node01 and power-cycle it",
	    "node01/dmesg.log:1234: [1812345.678901] NVRM: Xid (PCI:0000:2b:00): 79,",
	    "2. because of 1, symptom: Rank did not enter a collective [rank_stalled, probable]",
	    "3. because of 1, 2, symptom: Collective timed out", "and 2 more quotes",
	    "still open     pcie_fatal: no AER line, but AER may be masked",
	    "all_reduce [4096, 8192] BFloat16 #20537 of group default_pg (0), 16 members",
	    "entered   0-8,10,11,14,15", "PRECURSORS (repair; broke nothing here)",
	    "fr/rank12.pickle: needs 8 bytes, has 3 (at byte 8192)",
	    "  not in the input:\n    driver: GPU telemetry" } },
	{ "a failure without a proven cause",
	  make_unattributed,
	  { "FAILURE, CAUSE NOT PROVEN: Rank did not enter a collective: rank 9; cause open",
	    "culprit: not proven; seen at: rank 9 (local rank 1) on node01, GPU 0000:2b:00.0, pid "
	    "41009",
	    "no evidence from ranks 12,13 of 16" },
	  { "WHAT MAY HAVE HAPPENED (not proven)", "CANDIDATES, BEST FIRST",
	    "1. GPU fell off the PCIe bus [gpu_lost]",
	    "2. Ranks issued different collectives [collective_desync]", "NEXT MEASUREMENT",
	    "nvidia-smi -q -x on node01 (no side effect, 1 minute)", "WHAT FAILED",
	    "run-4711.tar.zst: logs/rank3.log:88: [rank3]" } },
	{ "nothing wrong",
	  make_quiet,
	  { "NO FAILURE FOUND", "culprit: none",
	    "world size unknown: ranks without evidence cannot be named" },
	  { "WHAT TO DO\n  nothing", "1 file\n", "sources read: application" } },
};

static void test_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct fixture fx;
		char *text;

		print_message("    %s\n", texts[i].what);
		if (texts[i].make)
			texts[i].make(&fx);
		else
			make_hang(&fx, false);
		text = render(&fx.a, 100, NULL);
		for (int k = 0; k < 3; k++) {
			char *line = line_of(text, k + 1);

			assert_string_equal(line, texts[i].lines[k]);
			free(line);
		}
		for (size_t k = 0; k < ARRAY_SIZE(texts[i].says) && texts[i].says[k]; k++)
			if (!strstr(text, texts[i].says[k]))
				fail_msg("the text does not say: %s", texts[i].says[k]);
		free(text);
		fixture_deinit(&fx);
	}
}

/* Below the three lines, and but for file names, nothing is wider than asked for. */
static void test_text_width(void **state)
{
	struct fixture fx;

	(void)state;
	make_hang(&fx, false);
	for (int width = 40; width <= 200; width += 40) {
		char *text = render(&fx.a, width, NULL), *rest = text;

		for (int i = 0; i < 3; i++)
			rest = strchr(rest, '\n') + 1;
		for (char *line = strtok(rest, "\n"); line; line = strtok(NULL, "\n"))
			if (strlen(line) > (size_t)width && line[strlen(line) - 1] != ':')
				fail_msg("wider than %d: %s", width, line);
		free(text);
	}
	fixture_deinit(&fx);
}

static bool is_plain(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
			return false;
	}
	return !strstr(s, "\xe2\x80\xae") && !strstr(s, "\xe2\x81\xa6") && !strstr(s, "\xff");
}

static void test_text_hostile(void **state)
{
	struct fixture fx;
	size_t len;
	char *text, *line;

	(void)state;
	make_hang(&fx, true);
	text = render(&fx.a, 100, &len);
	assert_true(is_plain(text, len));
	line = line_of(text, 2);
	assert_ptr_equal(strstr(line, "culprit: rank 9"),
			 line); /* a name with a newline is one line */
	assert_non_null(strstr(line, "\\x1b[2J"));
	free(line);
	free(text);
	fixture_deinit(&fx);
}

/* ---- HTML ---- */

/* Well-formed as XML, and nothing in it that a browser would run or fetch. */
static void check_page(const char *page, size_t len)
{
	static const char *const never[] = { "<script", "<img",	 "<iframe", "<object",
					     "<embed",	"<form", "<base",   "javascript:alert(1)\"",
					     "@import", "url(",	 "src=\"",  " onerror=\"" };
	xmlDocPtr doc = xmlReadMemory(page, (int)len, "page.html", NULL, XML_PARSE_NONET);

	assert_non_null(doc);
	xmlFreeDoc(doc);
	assert_true(is_plain(page, len));
	assert_true(len < 1000000);
	assert_non_null(strstr(page, "<html lang=\"en\">"));
	assert_non_null(
		strstr(page, "default-src 'none'; style-src 'unsafe-inline'; img-src data:"));
	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		if (strstr(page, never[i]))
			fail_msg("the page holds %s", never[i]);
}

/* Every link within the page leads somewhere, and no id is given twice. */
static void check_links(const char *page)
{
	for (const char *at_id = page; (at_id = strstr(at_id, " id=\"")); at_id++) {
		char *id = strndup(at_id, strcspn(at_id + 5, "\"") + 6);

		/* the legend draws each shape where it defines it: once */
		if (strstr(at_id + 1, id))
			fail_msg("twice:%s", id);
		free(id);
	}
	for (const char *ref = page; (ref = strstr(ref, "href=\"#")); ref++) {
		size_t n = strcspn(ref + 7, "\"");
		char id[64];

		snprintf(id, sizeof(id), " id=\"%.*s\"", (int)n, ref + 7);
		if (!strstr(page, id))
			fail_msg("leads nowhere: %s", id);
	}
}

static const struct {
	const char *what;
	void (*make)(struct fixture *);
	bool hostile;
	const char *says[12];
} pages[] = {
	{ "a hang with a culprit",
	  NULL,
	  false,
	  { "<h1>GPU fell off the PCIe bus: rank 9, host node01, GPU 0000:2b:00.0</h1>",
	    "rank 9 (local rank 1) on node01, GPU 0000:2b:00.0, pid 41009",
	    "restart the job without node01", ">node01/dmesg.log:1234</cite>",
	    "title=\"byte 98720, 100 bytes, sha256 ", "no evidence from ranks 12,13 of 16",
	    "not evaluable", "href=\"#c-miss\"", "29 min", "30 min",
	    "needs 8 bytes, has 3 (at byte 8192)", "<span>javascript:alert(1)</span>" } },
	{ "the same, with hostile text everywhere",
	  NULL,
	  true,
	  { "&lt;/script&gt;&lt;script&gt;alert(1)", "&lt;img src=x onerror=alert(1)&gt;",
	    "\\x1b[2J", "\\u{202e}" } },
	{ "a failure without a proven cause",
	  make_unattributed,
	  false,
	  { "Failure, cause not proven", "What may have happened", "What failed",
	    "Candidates and the next measurement" } },
	{ "nothing wrong",
	  make_quiet,
	  false,
	  { "No failure", "No flight-recorder dump was in the input" } },
	{ "more than a page may show",
	  make_large,
	  true,
	  { "more bytes)", "more ranks, the least conspicuous, are not drawn",
	    "more stuck collectives are not drawn", "more observations of less weight",
	    "more moments of less weight", "the page has reached its size" } },
};

static void make_page(size_t i, struct fixture *fx)
{
	if (pages[i].make)
		pages[i].make(fx);
	else
		make_hang(fx, pages[i].hostile);
}

static void test_html(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		struct fixture fx;
		char *page;
		size_t len;

		print_message("    %s\n", pages[i].what);
		make_page(i, &fx);
		page = render(&fx.a, 0, &len);
		check_page(page, len);
		check_links(page);
		for (size_t k = 0; k < ARRAY_SIZE(pages[i].says) && pages[i].says[k]; k++)
			if (!strstr(page, pages[i].says[k]))
				fail_msg("the page does not say: %s", pages[i].says[k]);
		free(page);
		fixture_deinit(&fx);
	}
}

/* Two runs over two builds of the same analysis: the same bytes. */
static void test_same_bytes(void **state)
{
	static const int widths[] = { 0, 80, 100 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		for (size_t w = 0; w < ARRAY_SIZE(widths); w++) {
			struct fixture one, two;
			size_t len_one, len_two;
			char *a, *b;

			make_page(i, &one);
			make_page(i, &two);
			a = render(&one.a, widths[w], &len_one);
			b = render(&two.a, widths[w], &len_two);
			assert_int_equal(len_one, len_two);
			assert_memory_equal(a, b, len_one);
			free(a);
			free(b);
			fixture_deinit(&one);
			fixture_deinit(&two);
		}
}

static void test_write_error(void **state)
{
	struct fixture fx;
	FILE *full = fopen("/dev/full", "w");

	(void)state;
	if (!full)
		skip();
	make_quiet(&fx);
	for (int i = 0; i < 2; i++) {
		struct error err = { 0 };

		assert_int_equal(
			i ? report_html(&fx.a, full, &err) : report_text(&fx.a, full, 0, &err), -1);
		assert_int_equal(err.code, ERR_SYS);
		assert_string_equal(err.what, "cannot write the report");
		clearerr(full);
	}
	fclose(full);
	fixture_deinit(&fx);
}

/* ---- */

static int write_all(const char *dir)
{
	static const char *const names[] = { "hang", "hostile", "unattributed", "quiet", "large" };

	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		for (int width = 0; width <= 100; width += 100) {
			struct error err = { 0 };
			struct fixture fx;
			char path[4096];
			FILE *f;

			snprintf(path, sizeof(path), "%s/%s.%s", dir, names[i],
				 width ? "txt" : "html");
			f = fopen(path, "w");
			if (!f) {
				perror(path);
				return EXIT_FAILURE;
			}
			make_page(i, &fx);
			if (width ? report_text(&fx.a, f, width, &err) :
				    report_html(&fx.a, f, &err))
				error_print(stderr, &err);
			fclose(f);
			fixture_deinit(&fx);
		}
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),	     cmocka_unit_test(test_text_width),
		cmocka_unit_test(test_text_hostile), cmocka_unit_test(test_html),
		cmocka_unit_test(test_same_bytes),   cmocka_unit_test(test_write_error),
	};

	if (argc == 3 && strcmp(argv[1], "--write") == 0)
		return write_all(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
