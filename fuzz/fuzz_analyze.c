/*
 * All of tanalyze over one input: a file as it is, or several in an archive.  An
 * input that begins with a line "=== NAME" is cut at such lines, and its pieces
 * become members of a tar: dumps of some ranks and the logs around them.
 *
 * Properties: memory keeps to the budget; the store is valid; every quote can be
 * read again from the input; the JSON report parses, says what it is, and digests
 * its quotes right; the page is markup of ours only and under 1 MB; nothing in
 * either report for people can command a terminal; the same input gives the same.
 */
#include <jansson.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "analyzer/analysis.h"
#include "analyzer/ingest/ingest.h"
#include "bundle/cleanup.h"
#include "bundle/digest.h"
#include "bundle/text.h"
#include "fuzz/fuzz.h"
#include "patterns/detectors.h"
#include "reports/report.h"

#define BUDGET ((size_t)64 << 20)
#define TAR_BLOCK 512
#define PAGE_MAX 1000000
#define REREAD_MAX 32		/* quotes that are read again */

static struct pattern_set set;
static struct scanner compiled;

/*
 * A scanner is read-only, so one serves all analyses: compiling the signatures takes
 * longer than all else.  The build gives this program an ingest.c that calls these.
 */
int shared_scanner_init(struct scanner *sc, const struct pattern_set *patterns, struct error *err);
void shared_scanner_deinit(struct scanner *sc);

int shared_scanner_init(struct scanner *sc, const struct pattern_set *patterns, struct error *err)
{
	(void)err;
	CHECK(patterns == &set);
	*sc = compiled;
	return 0;
}

void shared_scanner_deinit(struct scanner *sc) { *sc = (struct scanner){ 0 }; }

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct error err = { 0 };

	(void)argc;
	(void)argv;
	if (pattern_set_init(&set, &err) || patterns_add_shipped(&set, &err) ||
	    pattern_set_seal(&set, &err) || scanner_init(&compiled, &set, &err)) {
		error_print(stderr, &err);
		abort();
	}
	return 0;
}

/* ---- the input file ---- */

static const uint8_t *find_cut(const uint8_t *p, const uint8_t *end)
{
	static const char cut[] = "\n=== ";
	const uint8_t *at = p < end ? memmem(p, (size_t)(end - p), cut, sizeof(cut) - 1) : NULL;

	return at ? at + 1 : end;
}

static void put_header(FILE *f, const uint8_t *name, size_t name_len, size_t size)
{
	uint8_t h[TAR_BLOCK] = { 0 };
	unsigned sum = 0;

	memcpy(h, name, name_len < 100 ? name_len : 100);
	snprintf((char *)h + 100, 8, "%07o", 0644);
	snprintf((char *)h + 124, 12, "%011zo", size);
	snprintf((char *)h + 136, 12, "%011o", 0);
	memset(h + 148, ' ', 8);
	memcpy(h + 156, "0ustar\00000", 9);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += h[i];
	snprintf((char *)h + 148, 8, "%06o", sum);
	fwrite(h, sizeof(h), 1, f);
}

static void put_archive(FILE *f, const uint8_t *p, const uint8_t *end)
{
	static const uint8_t zeros[2 * TAR_BLOCK];

	while (p < end) {
		const uint8_t *next = find_cut(p, end), *name = p + 4;
		const uint8_t *nl = memchr(name, '\n', (size_t)(next - name));
		const uint8_t *body = nl ? nl + 1 : next;
		size_t size = (size_t)(next - body);

		put_header(f, name, (size_t)((nl ? nl : next) - name), size);
		fwrite(body, 1, size, f);
		fwrite(zeros, 1, -size % TAR_BLOCK, f);
		p = next;
	}
	fwrite(zeros, sizeof(zeros), 1, f);
}

/* The path of a file with the input in it. */
static const char *write_input(const uint8_t *data, size_t size, uint64_t *bytes_ret)
{
	static char path[64];
	static FILE *f;

	if (!f) {
		int fd = memfd_create("input", MFD_CLOEXEC);

		CHECK(fd >= 0 && (f = fdopen(fd, "w")));
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	rewind(f);
	if (size >= 5 && memcmp(data, "=== ", 4) == 0)
		put_archive(f, data, data + size);
	else
		fwrite(data, 1, size, f);
	CHECK(fflush(f) == 0 && ftruncate(fileno(f), ftello(f)) == 0);
	*bytes_ret = (uint64_t)ftello(f);
	return path;
}

/* ---- properties ---- */

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t allocated(void)
{
	struct mallinfo2 m;

	if (__sanitizer_get_current_allocated_bytes)
		return __sanitizer_get_current_allocated_bytes();
	m = mallinfo2();
	return m.uordblks + m.hblkhd;
}

/* The first member of that name is what a reader of the report finds. */
static bool is_first(const struct store *s, uint32_t member)
{
	for (uint32_t i = 0; i < member; i++)
		if (s->members[i].input == s->members[member].input &&
		    s->members[i].name == s->members[member].name)
			return false;
	return true;
}

static void check_reread(const struct store *s)
{
	for (size_t i = 0; i < s->n_evidence && i < REREAD_MAX; i++) {
		const struct evidence *e = &s->evidence[i];
		const struct member *m = &s->members[e->member];
		struct error err = { 0 };
		uint8_t buf[QUOTE_BYTES];

		if (!is_first(s, e->member))
			continue;
		CHECK(ingest_reread(intern_str(&s->strings, m->input),
				    intern_str(&s->strings, m->name), e->offset, buf, e->length,
				    &err) == 0);
		CHECK(memcmp(buf, e->raw, e->length) == 0);
	}
}

static void check_json(const struct analysis *a, const char *text, size_t len)
{
	json_error_t why;
	json_auto_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	const json_t *verdict = json_object_get(o, "verdict");
	const json_t *list = json_object_get(o, "evidence");

	CHECK(json_is_object(o));
	CHECK(strcmp(json_string_value(json_object_get(o, "schema")), "tachograph.report/1") == 0);
	CHECK(strcmp(json_string_value(json_object_get(verdict, "status")),
		     verdict_status_name(a->status)) == 0);
	CHECK(json_is_string(json_object_get(verdict, "headline")));
	CHECK(json_array_size(json_object_get(o, "inputs")) == a->store->n_members);
	CHECK(json_array_size(json_object_get(o, "findings")) == a->n_findings);
	CHECK(json_array_size(json_object_get(o, "observations")) == a->store->n_obs);
	CHECK(json_array_size(list) == a->store->n_evidence);
	for (size_t i = 0; i < a->store->n_evidence; i++) {
		const json_t *e = json_array_get(list, i);
		char sha[DIGEST_HEX];

		digest_hex(a->store->evidence[i].raw, a->store->evidence[i].length, sha);
		CHECK(strcmp(json_string_value(json_object_get(e, "sha256")), sha) == 0);
	}
}

/* Nothing that a terminal, a browser or an editor would obey. */
static void check_printable(const char *text, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		uint32_t cp = 0;

		n = text_utf8(text + i, len - i, &cp);
		CHECK(n > 0);
		CHECK(cp >= 0x20 || cp == '\n' || cp == '\t');
		CHECK(!(cp >= 0x7f && cp < 0xa0) && !(cp >= 0x202a && cp <= 0x202e) &&
		      !(cp >= 0x2066 && cp <= 0x2069));
	}
}

/* The element that begins at `p`; its name must be one that the page writes. */
static size_t element(const char *p, size_t len)
{
	static const char *const known[] = {
		"a", "b", "blockquote", "body", "circle", "cite", "code", "dd", "details", "div",
		"dl", "dt", "footer", "g", "h1", "h2", "h3", "head", "header", "html", "li",
		"link", "main", "meta", "nav", "ol", "p", "path", "pre", "rect", "section", "span",
		"strong", "style", "summary", "svg", "table", "tbody", "td", "text", "th", "thead",
		"time", "title", "tr", "ul", "use",
	};
	size_t n = 0;

	while (n < len && strchr("abcdefghijklmnopqrstuvwxyz123", p[n] ? p[n] : ' '))
		n++;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strlen(known[i]) == n && memcmp(known[i], p, n) == 0)
			return n;
	return 0;
}

/* Tags of ours that nest, and attributes in quotes. */
static void check_page(const char *p, size_t len)
{
	const char *end = p + len, *open[64];
	size_t open_len[64], depth = 0;

	CHECK(len < PAGE_MAX && len > 15 && memcmp(p, "<!DOCTYPE html>", 15) == 0);
	for (p += 15; (p = memchr(p, '<', (size_t)(end - p)));) {
		bool closes = end - p > 1 && p[1] == '/';
		const char *name = p + 1 + closes;
		size_t n = element(name, (size_t)(end - name));

		CHECK(n > 0);
		for (p = name + n; p < end && *p != '>'; p++)
			if (*p == '"') {
				p = memchr(p + 1, '"', (size_t)(end - p - 1));
				CHECK(p);
			} else {
				CHECK(*p != '<');
			}
		CHECK(p < end);
		if (closes) {
			CHECK(depth > 0 && open_len[depth - 1] == n &&
			      memcmp(open[depth - 1], name, n) == 0);
			depth--;
		} else if (p[-1] != '/') {
			CHECK(depth < ARRAY_SIZE(open));
			open[depth] = name;
			open_len[depth++] = n;
		}
	}
	CHECK(depth == 0);
}

typedef int report_fn(const struct analysis *, FILE *, struct error *);

static int narrow_text(const struct analysis *a, FILE *out, struct error *err)
{
	return report_text(a, out, 60, err);
}

static char *report(const struct analysis *a, report_fn *write, size_t *len_ret)
{
	struct error err = { 0 };
	char *text = NULL;
	FILE *f = open_memstream(&text, len_ret);

	CHECK(f && write(a, f, &err) == 0 && fclose(f) == 0);
	return text;
}

static uint64_t check_reports(const struct analysis *a)
{
	size_t json_len, page_len, text_len;
	_cleanup_free_ char *json = report(a, report_json, &json_len);
	_cleanup_free_ char *page = report(a, report_html, &page_len);
	_cleanup_free_ char *text = report(a, narrow_text, &text_len);

	check_json(a, json, json_len);
	check_printable(json, json_len);
	check_printable(page, page_len);
	check_printable(text, text_len);
	check_page(page, page_len);
	CHECK(!strcasestr(page, "<script"));
	CHECK(text_len && text[text_len - 1] == '\n');
	return hash_bytes(text, text_len,
			  hash_bytes(page, page_len, hash_bytes(json, json_len, 1)));
}

/* One analysis; a hash of its reports, 0 when memory did not suffice. */
static uint64_t analyze_file(const char *path, uint64_t bytes)
{
	struct ingest_options opt = { .jobs = 1, .digest = true };
	char *inputs[] = { (char *)path };
	struct analysis a = { 0 };
	struct error err = { 0 };
	struct store s;
	size_t before = allocated();
	uint64_t hash = 0;

	CHECK(store_init(&s, BUDGET, &err) == 0);
	if (ingest(&s, &set, inputs, 1, &opt, &err) == 0) {
		CHECK(allocated() - before < BUDGET + (BUDGET >> 2));
		check_store(&s);
		check_reread(&s);
		detectors_run(&s);
		check_store(&s);
		if (analyze(&s, &set, RUN_CHOSEN, &a, &err) == 0)
			hash = check_reports(&a);
	}
	check_error(err.code ? -1 : 0, &err, bytes);
	CHECK(err.code == ERR_NONE || err.code == ERR_NOMEM || err.code == ERR_LIMIT);
	analysis_deinit(&a);
	collectives_free(&s);
	store_deinit(&s);
	return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t bytes, hash;
	const char *path = write_input(data, size, &bytes);

	hash = analyze_file(path, bytes);
	if (hash % 8 == 0)
		CHECK(analyze_file(path, bytes) == hash);
	return 0;
}
