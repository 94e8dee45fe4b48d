/*
 * DCGM: `dcgmi diag` and `dcgmi health` (tables and JSON) say in sentences what is wrong with a
 * GPU; `dcgmi dmon` counts.
 */
#include <ctype.h>

#include "analyzer/device_codes.h"
#include "analyzer/ingest/structured.h"
#include "bundle/cleanup.h"

#define SENTENCE_BYTES 400
#define ROWS 6			/* quoted of one sentence */
#define COLUMNS 24
#define GPUS 64

/* Parts of DCGM's sentences; the first that fits counts. */
static const struct {
	const char *part, *kind;
} meanings[] = {
	{ "row remapping failed", "gpu.row_remap_failed" },
	{ "row remap failure", "gpu.row_remap_failed" },
	{ "row remappings are pending", "gpu.row_remap_pending" },
	{ "rows were remapped", "gpu.ecc_counter" },
	{ "double-bit ECC error", "gpu.ecc_counter" },
	{ "Pending page retirements together with a DBE", "gpu.ecc_counter" },
	{ "faulty memory elements", "gpu.ecc_counter" },
	{ "clock throttling due to thermal violation", "gpu.thermal" },
	{ "hermal violations totaling", "gpu.thermal" },
	{ "thermal violations", "gpu.thermal" },
	{ "clock throttling due to power violation", "gpu.power_brake" },
	{ "NvLink link", "gpu.nvlink_counter" },
	{ "NvLink errors on GPU", "gpu.nvlink_counter" },
	{ "running at PCI link", "pcie.link_degraded" },
	{ "fabric manager is not initialized", "fabric.not_ready" },
	{ "to recover from a fault. Recovery action", "gpu.recovery_action" },
};

/* The number behind the first "GPU" of a sentence: "GPU 3", "GPU3", "GPU: 3"; empty: none. */
static struct span gpu_in(struct span t)
{
	const char *p = t.s, *end = t.s + t.len;
	size_t n;

	while (p < end && (p = memmem(p, (size_t)(end - p), "GPU", 3))) {
		for (p += 3; p < end && (*p == ' ' || *p == ':'); p++)
			;
		for (n = 0; p + n < end && isdigit((unsigned char)p[n]); n++)
			;
		if (n && n < 4)
			return span_of(p, n);
	}
	return span_of("", 0);
}

static struct observation about(struct citer *c, const char *kind, struct span gpu)
{
	struct observation o = citer_observation(c, kind, SRC_DRIVER);

	o.scope.rank = RANK_NONE;
	if (gpu.len)
		o.scope.gpu = intern(&c->s->strings, gpu.s, gpu.len);
	return o;
}

/* One sentence, and where it stands. */
static bool judge(struct citer *c, struct span sentence, struct span gpu, const struct place *at, size_t n)
{
	struct span named = gpu_in(sentence);

	for (size_t i = 0; i < ARRAY_SIZE(meanings); i++) {
		struct observation o;

		if (!span_find(sentence, meanings[i].part))
			continue;
		o = about(c, meanings[i].kind, named.len ? named : gpu);
		for (size_t k = 0; k < n; k++)
			citer_cite(c, &o, at[k]);
		store_observe(c->s, &o);
		return true;
	}
	return false;
}

/* ---- tables ---- */

struct table {
	struct citer c;
	bool rules;		/* a rule was met: this is a table */
	char gpu[8];		/* of "-> 3" in a health report */
	char sentence[SENTENCE_BYTES];
	size_t len;
	struct place at[ROWS];
	size_t n;
};

static void end_sentence(struct table *t)
{
	judge(&t->c, span_of(t->sentence, t->len), span_of(t->gpu, strlen(t->gpu)), t->at, t->n);
	t->len = t->n = 0;
}

static void add_words(struct table *t, struct span words, const struct line *l)
{
	size_t room = sizeof(t->sentence) - t->len - 1;

	if (words.len == 0 || words.len > room)
		return;
	if (t->len)
		t->sentence[t->len++] = ' ';
	memcpy(t->sentence + t->len, words.s, words.len);
	t->len += words.len;
	if (t->n < ROWS)
		t->at[t->n++] = (struct place){ l->offset, l->len };
}

/* "| Warning | words of a |" and "|         | sentence |". */
static void table_row(struct table *t, const struct line *l, struct span row)
{
	const char *bar = memchr(row.s + 1, '|', row.len - 1);
	size_t left_len = bar ? (size_t)(bar - row.s) - 1 : 0;
	struct span left = span_trim(span_of(row.s + 1, left_len)), right = span_of("", 0);

	if (bar) {
		right = span_after(row, left_len + 2);
		if (right.len && right.s[right.len - 1] == '|')
			right.len--;
		right = span_trim(right);
	}
	if (left.len) {
		end_sentence(t);
		if (span_starts(left, "-> ") && span_number(span_after(left, 3)) >= 0 && left.len < 3 + sizeof(t->gpu))
			snprintf(t->gpu, sizeof(t->gpu), "%.*s", (int)left.len - 3, left.s + 3);
	}
	add_words(t, right, l);
}

/* ---- dmon ---- */

struct monitor {
	struct citer c;
	char name[COLUMNS][12];
	size_t n;
	int64_t last[GPUS][COLUMNS];	/* -1: not seen */
};

static size_t words_of(struct span t, struct span word[], size_t max)
{
	size_t n = 0;

	while (n < max) {
		size_t k = 0;

		while (t.len && isspace((unsigned char)t.s[0]))
			t = span_after(t, 1);
		while (k < t.len && !isspace((unsigned char)t.s[k]))
			k++;
		if (k == 0)
			break;
		word[n++] = span_of(t.s, k);
		t = span_after(t, k);
	}
	return n;
}

static void monitor_head(struct monitor *m, struct span t)
{
	struct span word[COLUMNS + 1];
	size_t n = words_of(t, word, ARRAY_SIZE(word));

	m->n = n ? n - 1 : 0;
	for (size_t i = 0; i < m->n; i++)
		snprintf(m->name[i], sizeof(m->name[i]), "%.*s", (int)(word[i + 1].len < 11 ? word[i + 1].len : 11), word[i + 1].s);
}

/* What a value says that follows another of the same GPU; NULL: nothing. */
static const char *change(const char *column, int64_t before, int64_t now)
{
	const struct xid *xid = now <= UINT32_MAX ? xid_find((uint32_t)now) : NULL;
	bool ecc = strcmp(column, "EDVTL") == 0 || strcmp(column, "EDVDV") == 0;

	if (ecc && now > 0 && before != now)
		return before < 0 ? "gpu.ecc_counter" : before < now ? "gpu.ecc_uncorrectable" : NULL;
	/* the last Xid stays: only one that comes is news */
	if (strcmp(column, "XIDER") == 0 && before >= 0 && now > 0 && now != before)
		return xid ? xid->kind : "gpu.xid";
	return NULL;
}

static void monitor_row(struct monitor *m, const struct line *l, struct span t)
{
	struct span word[COLUMNS + 2];
	size_t n = words_of(t, word, ARRAY_SIZE(word));
	int64_t gpu = n > 1 ? span_number(word[1]) : -1;

	for (size_t i = 0; gpu >= 0 && gpu < GPUS && i + 2 < n && i < m->n; i++) {
		int64_t now = span_number(word[i + 2]), *before = &m->last[gpu][i];
		const char *kind = now >= 0 ? change(m->name[i], *before, now) : NULL;

		if (kind) {
			struct observation o = about(&m->c, kind, word[1]);

			if (strcmp(m->name[i], "XIDER"))
				observation_fieldf(m->c.s, &o, "counter", "%s", m->name[i]);
			observation_field(m->c.s, &o, strcmp(m->name[i], "XIDER") ? "count" : "code", word[i + 2].s, word[i + 2].len);
			citer_cite(&m->c, &o, (struct place){ l->offset, l->len });
			store_observe(m->c.s, &o);
		}
		*before = now >= 0 ? now : *before;
	}
}

/* ---- the screen ---- */

static bool take_line(struct table *t, struct monitor *m, const struct line *l)
{
	static const char *const said[] = { "Successfully ran diagnostic", "Health Monitor Report", "Health monitor systems report",
					    "Error:", "ID", "Id" };
	struct span row = span_trim(span_of(l->s, l->len));

	if (row.len == 0)
		return true;
	if (span_starts(row, "+") || span_starts(row, "|=") || span_starts(row, "|-")) {
		end_sentence(t);
		return t->rules = true;
	}
	if (row.s[0] == '|')
		return table_row(t, l, row), true;
	if (span_starts(row, "#Entity"))
		return monitor_head(m, row), true;
	if (m->n && (span_starts(row, "GPU ") || span_starts(row, "GPU-I ") || span_starts(row, "Switch ")))
		return span_starts(row, "GPU ") ? monitor_row(m, l, row) : (void)0, true;
	for (size_t i = 0; i < ARRAY_SIZE(said); i++)
		if (span_starts(row, said[i]))
			return true;
	return false;
}

/* 0: all is read; above 0: what comes behind this byte is not DCGM's. */
int ingest_dcgm_text(struct store *s, uint32_t member, const char *data, size_t len, struct error *err)
{
	struct table t = { .c = citer_of(s, member, data, len) };
	struct monitor m = { .c = citer_of(s, member, data, len) };
	struct line l = line_first(data, len);

	memset(m.last, -1, sizeof(m.last));
	while (l.ok && take_line(&t, &m, &l))
		l = line_next(data, len, &l);
	end_sentence(&t);
	if (!t.rules && !m.n)
		return error_at(err, ERR_FORMAT, 0, "no table of dcgmi");
	return l.ok ? (int)l.offset : 0;
}

/* ---- JSON ---- */

static void judge_scalar(void *ctx, const char *path, const struct value *v, struct place at)
{
	(void)path;
	if (v->type == V_STR)
		judge(ctx, span_of_value(v), span_of("", 0), &at, 1);
}

int ingest_dcgm_json(struct store *s, uint32_t member, const char *data, size_t len, struct error *err)
{
	_cleanup_(json_reader_deinit) struct json_reader reader = { 0 };
	struct citer c = citer_of(s, member, data, len);
	struct value top = { .type = V_NONE };
	int ret;

	if (json_reader_init(&reader, len, err))
		return -1;
	ret = json_reader_read(&reader, data, len, &top, err);
	json_each_scalar(data, len, &top, judge_scalar, &c);	/* of a cut text, what is whole */
	return ret;
}
