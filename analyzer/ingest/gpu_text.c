/*
 * The screens of `nvidia-smi -q`, `amd-smi` and `rocm-smi` (names and values, nested by
 * indentation) and the table of `nvidia-smi`.  What comes behind them in the same file is
 * left to the log.
 */
#include "analyzer/ingest/gpu_readings.h"

#include <ctype.h>

#include "bundle/cleanup.h"

#define NESTED 16
#define CELLS 4

struct screen {
	struct gpu_reader r;
	char path[PATH_BYTES];
	struct {
		size_t indent, path_len;	/* of the path up to this name */
	} open[NESTED];
	unsigned n_open;
	bool heads;		/* the table's GPUs come next */
	bool any;		/* something was understood */
};

static struct place place_of(const struct line *l)
{
	struct span t = span_trim(span_of(l->s, l->len));

	return (struct place){ l->offset + (size_t)(t.s - l->s), t.len };
}

static void take_value(struct screen *p, const char *path, struct span value, struct place at)
{
	char text[128];

	snprintf(text, sizeof(text), "%.*s", (int)(value.len < sizeof(text) ? value.len : sizeof(text) - 1), value.s);
	if (strcmp(path, "/processes/process_id") == 0)
		gpu_reader_process(&p->r);
	if (p->r.open)
		gpu_reader_take(&p->r, path, text, at);
	else
		gpu_reader_top(&p->r, path, text, at);
	p->any = true;
}

static void open_gpu(struct screen *p, struct span id, const struct line *l)
{
	if (p->r.open)
		gpu_reader_process(&p->r);
	gpu_reader_open(&p->r, id, place_of(l));
	p->n_open = 0;
	p->any = true;
}

/* ---- names and values ---- */

/* Put a name below the names that are less indented. */
static void nest(struct screen *p, size_t indent, struct span name)
{
	size_t n;

	while (p->n_open && p->open[p->n_open - 1].indent >= indent)
		p->n_open--;
	n = p->n_open ? p->open[p->n_open - 1].path_len : 0;
	if (p->n_open == NESTED || n + 2 >= sizeof(p->path))
		return;
	p->path[n] = '/';
	path_word(name, p->path + n + 1, sizeof(p->path) - n - 1);
	p->open[p->n_open].indent = indent;
	p->open[p->n_open++].path_len = n + strlen(p->path + n);
}

/* "Name : value", "NAME: value" or a heading; an indented line, or one above the GPUs. */
static void name_line(struct screen *p, const struct line *l, struct span t)
{
	const char *colon = span_find(t, ": ");
	size_t name = colon ? (size_t)(colon - t.s) : t.len - (t.s[t.len - 1] == ':');

	nest(p, (size_t)(t.s - l->s), span_trim(span_of(t.s, name)));
	if (colon)
		take_value(p, p->path, span_trim(span_after(t, name + 1)), place_of(l));
}

/* "GPU[3]\t\t: Temperature (Sensor junction) (C): 41.0" */
static bool rocm_line(struct screen *p, const struct line *l, struct span t)
{
	const char *end = span_starts(t, "GPU[") ? span_find(t, "]") : NULL, *colon;
	struct span id, rest;
	char path[PATH_BYTES] = "/";

	if (!end || span_number(id = span_of(t.s + 4, (size_t)(end - t.s) - 4)) < 0)
		return false;
	if (!p->r.open || strlen(p->r.id) != id.len || memcmp(p->r.id, id.s, id.len))
		open_gpu(p, id, l);
	rest = span_trim(span_after(t, (size_t)(end + 1 - t.s)));
	rest = span_trim(span_after(rest, rest.len && rest.s[0] == ':'));
	colon = rest.len ? memmem(rest.s, rest.len, ": ", 2) : NULL;
	if (!colon)
		return true;
	path_word(span_of(rest.s, (size_t)(colon - rest.s)), path + 1, sizeof(path) - 1);
	take_value(p, path, span_trim(span_after(rest, (size_t)(colon + 1 - rest.s))), place_of(l));
	return true;
}

static struct span next_word(struct span *t)
{
	size_t n = 0;

	*t = span_trim(*t);
	while (n < t->len && !isspace((unsigned char)t->s[n]))
		n++;
	*t = span_of(t->s + n, t->len - n);
	return span_of(t->s - n, n);
}

/* "  UMC      ENABLED           0           2": a block of memory and its errors, below "RAS INFO". */
static bool ras_line(struct screen *p, const struct line *l, struct span t)
{
	struct span word[4];
	char path[PATH_BYTES] = "/ras/", block[64];

	for (size_t i = 0; i < ARRAY_SIZE(word); i++)
		word[i] = next_word(&t);
	if (!p->r.open || !span_is(word[1], "ENABLED") || span_number(word[2]) < 0 || span_number(word[3]) < 0)
		return false;
	path_word(word[0], block, sizeof(block));
	snprintf(path, sizeof(path), "/ras/%s_uncorrectable", block);
	take_value(p, path, word[3], place_of(l));
	return true;
}

/* ---- the table of nvidia-smi ---- */

static size_t split(struct span t, struct span cells[CELLS])
{
	size_t n = 0;

	t = span_after(t, 1);
	while (n < CELLS && t.len) {
		const char *bar = memchr(t.s, '|', t.len);
		size_t len = bar ? (size_t)(bar - t.s) : t.len;

		cells[n++] = span_trim(span_of(t.s, len));
		t = span_after(t, len + 1);
	}
	return n;
}

/* |   0  NVIDIA H100 80GB HBM3          On  |   00000000:1B:00.0 Off |                    0 | */
static bool table_first(struct screen *p, const struct line *l, const struct span cells[CELLS])
{
	struct span rest = cells[0], index = next_word(&rest), bus = cells[1], id = next_word(&bus), name;
	const char *gap;

	if (span_number(index) < 0 || id.len < 7 || !memchr(id.s, ':', id.len))
		return false;
	open_gpu(p, id, l);
	name = span_trim(rest);
	gap = span_find(name, "  ");
	take_value(p, "/name", span_of(name.s, gap ? (size_t)(gap - name.s) : name.len), place_of(l));
	take_value(p, "/uncorrected_ecc", cells[2], place_of(l));
	return true;
}

/* | N/A   34C    P0              72W / 700W |     565MiB / 81559MiB  |      0%      Default | */
static void table_second(struct screen *p, const struct line *l, const struct span cells[CELLS])
{
	const char *slash = span_find(cells[1], "/");
	struct span rest = cells[2], sensors = cells[0], word;

	while ((word = next_word(&sensors)).len)
		if (span_is(word, "ERR!"))
			take_value(p, "/sensor", word, place_of(l));
	take_value(p, "/utilization/gpu", next_word(&rest), place_of(l));
	if (!slash)
		return;
	take_value(p, "/fb_memory_usage/used", span_trim(span_of(cells[1].s, (size_t)(slash - cells[1].s))), place_of(l));
	take_value(p, "/fb_memory_usage/total", span_trim(span_after(cells[1], (size_t)(slash + 1 - cells[1].s))), place_of(l));
}

static void table_line(struct screen *p, const struct line *l, struct span t)
{
	const char *driver = span_find(t, "Driver Version: ");
	struct span cells[CELLS], rest;
	size_t n = split(t, cells);

	p->any = true;
	if (driver) {
		rest = span_after(t, (size_t)(driver - t.s) + strlen("Driver Version: "));
		take_value(p, "/driver_version", next_word(&rest), place_of(l));
	} else if (n >= 3 && p->heads) {
		table_second(p, l, cells);
		p->heads = false;
	} else if (n >= 3) {
		p->heads = table_first(p, l, cells);
	} else {
		gpu_reader_close(&p->r);	/* the processes: they name the GPUs by number */
	}
}

/* ---- the screen ---- */

static bool is_rule(struct span t)
{
	return span_starts(t, "+-") || span_starts(t, "|-") || span_starts(t, "|=") || span_starts(t, "+=") ||
	       span_starts(t, "===");
}

static bool above_gpus(struct span t)
{
	static const char *const names[] = { "Timestamp ", "Driver Version ", "CUDA Version ", "Attached GPUs " };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (span_starts(t, names[i]) && span_find(t, ": "))
			return true;
	return false;
}

/* The name of a GPU that begins here, at the margin. */
static struct span gpu_heading(struct span t)
{
	struct span id = span_of("", 0);

	if (span_starts(t, "GPU: "))		/* amd-smi */
		id = span_trim(span_after(t, 5));
	else if (span_starts(t, "GPU ") && t.len - 4 >= 7)
		id = span_trim(span_after(t, 4));
	if (id.len == 0 || id.len > 20 || (span_starts(t, "GPU: ") ? span_number(id) < 0 : !memchr(id.s, ':', id.len)))
		return span_of("", 0);
	for (size_t i = 0; i < id.len; i++)
		if (!isxdigit((unsigned char)id.s[i]) && !strchr(":.", id.s[i]))
			return span_of("", 0);
	return id;
}

/* Take a line; false: it is none of these tools'. */
static bool take_line(struct screen *p, const struct line *l)
{
	struct span t = span_trim(span_of(l->s, l->len)), id;
	struct stamp time;

	if (t.len == 0 || is_rule(t))
		return true;
	if (t.s[0] == '|')
		return table_line(p, l, t), true;
	if (rocm_line(p, l, t) || ras_line(p, l, t))
		return true;
	if (t.s > l->s && (p->r.open || p->any))
		return name_line(p, l, t), true;
	id = gpu_heading(t);
	if (id.len)
		return open_gpu(p, id, l), true;
	if (above_gpus(t))
		return gpu_reader_close(&p->r), name_line(p, l, t), true;
	time = span_time(t);		/* above the table */
	if (time.base && !p->any)
		p->r.time = time;
	return time.base && !p->any;
}

/* 0: all is read; above 0: what comes behind this byte is not these tools'. */
int ingest_gpu_text(struct store *s, uint32_t member, const char *data, size_t len, struct error *err)
{
	struct screen p = { .r.c = citer_of(s, member, data, len) };
	struct line l = line_first(data, len);

	while (l.ok && take_line(&p, &l))
		l = line_next(data, len, &l);
	if (p.r.open)
		gpu_reader_process(&p.r);
	gpu_reader_close(&p.r);
	if (p.r.n_gpus == 0)
		return error_at(err, ERR_FORMAT, 0, "no GPU on the screen");
	gpu_reader_end(&p.r, false);
	return l.ok ? (int)l.offset : 0;
}
