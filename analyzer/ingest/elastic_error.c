#include "analyzer/ingest/structured.h"

#include <ctype.h>

#include "analyzer/ingest/prefix.h"
#include "analyzer/runs.h"
#include "bundle/cleanup.h"

#define SECOND_NS INT64_C(1000000000)
#define LATEST_S INT64_C(7258118400)	/* the year 2200 */
#define TEXT_BYTES 400			/* longest field value */

/* ---- what the structured readers share ---- */

static uint64_t newlines(const char *s, size_t len)
{
	const char *end = s + len;
	uint64_t n = 0;

	while (s < end && (s = memchr(s, '\n', (size_t)(end - s)))) {
		n++;
		s++;
	}
	return n;
}

void citer_cite(struct citer *c, struct observation *o, struct place at)
{
	size_t room = at.offset < c->len ? c->len - at.offset : 0;
	size_t length = at.length < room ? at.length : room;

	if (length == 0)
		return;
	if (at.offset >= c->at)
		c->line += newlines(c->data + c->at, at.offset - c->at);
	else
		c->line -= newlines(c->data + at.offset, c->at - at.offset);
	c->at = at.offset;
	observation_cite(o, store_quote(c->s, c->member, at.offset, c->line, c->data + at.offset,
					length < QUOTE_BYTES ? length : QUOTE_BYTES, o->time));
}

struct observation citer_observation(const struct citer *c, const char *kind,
				     enum source_class source)
{
	const struct member *m = &c->s->members[c->member];
	struct observation o = observation_of(kind, source);

	o.scope.host = m->host;
	o.scope.rank = m->rank;
	return o;
}

int64_t span_number(struct span t)
{
	int64_t n = 0;
	size_t i = 0;

	for (; i < t.len && i < 19 && t.s[i] >= '0' && t.s[i] <= '9'; i++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, t.s[i] - '0', &n))
			return -1;
	return i && (i == t.len || t.s[i] < '0' || t.s[i] > '9') ? n : -1;
}

struct stamp span_time(struct span t)
{
	struct stamp stamp;

	return time_parse(t.s, t.len, &stamp) ? stamp : (struct stamp){ 0 };
}

const char *json_string_end(const char *p, const char *end)
{
	for (p++; p < end && *p != '"'; p++)
		if (*p == '\\')
			p++;
	return p < end ? p + 1 : end;
}

static const char *skip(const char *p, const char *end, const char *what)
{
	while (p < end && memchr(what, *p, strlen(what)))
		p++;
	return p;
}

struct place json_pair(const char *data, size_t len, const struct value *v)
{
	const char *end = data + len, *key = v ? v[-1].s : NULL, *p;

	if (!key || key <= data || key >= end || key[-1] != '"')
		return (struct place){ 0 };
	p = skip(json_string_end(key - 1, end), end, " \t\r\n:");
	if (p < end && *p == '"')
		p = json_string_end(p, end);
	else if (p < end && (*p == '{' || *p == '['))
		p++;
	else
		while (p < end && !memchr(",]} \t\r\n", *p, 7))
			p++;
	return (struct place){ (size_t)(key - 1 - data), (size_t)(p - key) + 1 };
}

static int ignore_entry(void *ctx, const struct value *entry, uint64_t start, uint64_t end)
{
	(void)ctx, (void)entry, (void)start, (void)end;
	return 0;
}

int json_reader_init(struct json_reader *r, size_t text_bytes, struct error *err)
{
	*r = (struct json_reader){ 0 };
	return scratch_init(&r->scratch, text_bytes * 16 + (1u << 20), err);
}

void json_reader_deinit(struct json_reader *r)
{
	scratch_deinit(&r->scratch);
	value_stack_deinit(&r->stack);
}

int json_reader_read(struct json_reader *r, const char *text, size_t len, struct value *ret,
		     struct error *err)
{
	static const struct value_limits limits = { .ops = 1u << 26, .stack = 1u << 20, .depth = 256 };
	static const struct value_sink sink = { .entry = ignore_entry };

	return json_read(text, len, &r->scratch, &r->stack, &limits, &sink, ret, err);
}

/* ---- torchrun's error.json ---- */

static struct span first_line(struct span t)
{
	const char *nl = span_find(t, "\n");

	return span_trim(span_of(t.s, nl ? (size_t)(nl - t.s) : t.len));
}

static struct span last_line(struct span t)
{
	const char *nl;

	while (t.len && memchr(" \t\r\n", t.s[t.len - 1], 4))
		t.len--;
	nl = t.len ? memrchr(t.s, '\n', t.len) : NULL;
	return span_trim(nl ? span_after(t, (size_t)(nl + 1 - t.s)) : t);
}

/* "torch.OutOfMemoryError" of "torch.OutOfMemoryError: CUDA out of memory"; empty when it is prose. */
static struct span exception_class(struct span line)
{
	size_t n = 0;

	while (n < line.len &&
	       (isalnum((unsigned char)line.s[n]) || line.s[n] == '_' || line.s[n] == '.'))
		n++;
	if (n == 0 || isdigit((unsigned char)line.s[0]))
		return span_of("", 0);
	if (n < line.len && line.s[n] != ':')
		return span_of("", 0);
	return span_of(line.s, n);
}

/* What torchrun itself raises when it ends a healthy process. */
static bool follows_abort(struct span exc)
{
	return span_is(exc, "SignalException") || span_is(exc, "ChildFailedError") ||
	       span_find(exc, ".SignalException") || span_find(exc, ".ChildFailedError");
}

/* Seconds since the epoch, as a number or as text. */
static struct stamp stamp_of(const struct value *v)
{
	int64_t s = value_int(v, -1);

	if (v && v->type == V_FLOAT && v->f > 0 && v->f < (double)LATEST_S)
		s = (int64_t)v->f;
	else if (v && v->type == V_STR)
		s = span_number(span_of_value(v));
	if (s <= 0 || s >= LATEST_S)
		return (struct stamp){ 0 };
	return (struct stamp){ .ns = s * SECOND_NS, .base = TIME_UTC };
}

/* torchrun's layout: .../attempt_0/3/error.json is local rank 3. */
static void scope_of_path(const struct store *s, const struct member *m, struct scope *scope)
{
	const char *path = intern_str(&s->strings, m->name ? m->name : m->input);
	const char *slash;
	int64_t local;

	scope->attempt = path_attempt(path);
	if (scope->attempt < 0)
		return;
	slash = strchr(strstr(path, "attempt_"), '/');
	local = slash ? span_number(span_of(slash + 1, strlen(slash + 1))) : -1;
	if (local >= 0 && local < 10000)
		scope->local_rank = (int32_t)local;
}

static int observe_error(struct citer *c, const struct value *top, struct error *err)
{
	const struct value *outer = value_get(top, "message"), *inner = value_get(outer, "message");
	const struct value *message = inner ? inner : outer, *extra = value_get(outer, "extraInfo");
	const struct value *when = value_get(extra ? extra : outer, "timestamp");
	const struct value *stack = value_get(extra, "py_callstack");
	struct span line = first_line(span_of_value(message)), exc = exception_class(line);
	struct observation o;

	if (!message || message->type != V_STR)
		return error_at(err, ERR_FORMAT, 0, "no \"message\" in an error file");
	if (exc.len == 0 && exception_class(last_line(span_of_value(stack))).len) {
		line = last_line(span_of_value(stack));
		exc = exception_class(line);
	}
	o = citer_observation(c, follows_abort(exc) ? "py.abort_exception" : "py.exception",
			      SRC_LAUNCHER);
	scope_of_path(c->s, &c->s->members[c->member], &o.scope);
	o.time = stamp_of(when ? when : value_get(top, "timestamp"));
	line = span_trim(span_after(line, exc.len + (exc.len && exc.len < line.len)));
	observation_field(c->s, &o, "exc", exc.s, exc.len);
	observation_field(c->s, &o, "msg", line.s, line.len < TEXT_BYTES ? line.len : TEXT_BYTES);
	citer_cite(c, &o, json_pair(c->data, c->len, message));
	citer_cite(c, &o, json_pair(c->data, c->len, stack));
	store_observe(c->s, &o);
	return 0;
}

int ingest_elastic_error(struct store *s, uint32_t member, const char *data, size_t len,
			 struct error *err)
{
	_cleanup_(json_reader_deinit) struct json_reader reader = { 0 };
	struct citer c = citer_of(s, member, data, len);
	struct value top = { .type = V_NONE };

	if (len > STRUCTURED_JSON_BYTES)
		return error_at(err, ERR_LIMIT, STRUCTURED_JSON_BYTES, "more than %zu bytes of JSON",
				STRUCTURED_JSON_BYTES);
	if (json_reader_init(&reader, len, err) || json_reader_read(&reader, data, len, &top, err))
		return -1;
	return observe_error(&c, &top, err);
}
