#include "analyzer/ingest/structured.h"

#include <ctype.h>

#include "analyzer/ingest/prefix.h"

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
	if (text_bytes > STRUCTURED_JSON_BYTES)
		return error_at(err, ERR_LIMIT, STRUCTURED_JSON_BYTES, "more than %zu bytes of JSON", STRUCTURED_JSON_BYTES);
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

void json_each_object(const char *data, size_t len, const char *list, void (*each)(void *ctx, size_t start, size_t end),
		      void *ctx, struct error *err)
{
	const char *end = data + len;
	struct span key = span_of("", 0);
	size_t depth = 0, item_depth = 0, start = 0;
	bool taken = false;	/* the object at `depth` 0 was read item by item */

	for (const char *p = data; p < end; p++) {
		size_t at = (size_t)(p - data);

		if (*p == '"') {
			const char *q = json_string_end(p, end);

			key = span_of(p + 1, q - p > 1 ? (size_t)(q - p) - 2 : 0);
			p = q - 1;
		} else if (*p == '{' || *p == '[') {
			if (*p == '{' && depth == item_depth)
				start = at;
			if (*p == '[' && (depth == 0 || (depth == 1 && item_depth == 0 && span_is(key, list)))) {
				item_depth = depth + 1;
				taken = true;
			}
			depth++;
		} else if ((*p == '}' || *p == ']') && depth) {
			depth--;
			if (*p == '}' && depth == item_depth && !(depth == 0 && taken))
				each(ctx, start, at + 1);
			if (depth == 0)
				item_depth = 0, taken = false;
			else if (depth < item_depth)
				item_depth = SIZE_MAX;	/* behind the list */
		}
	}
	if (depth)
		error_at(err, ERR_FORMAT, len, "the text ends inside an object");
}

void path_word(struct span name, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < name.len && n + 1 < size; i++) {
		bool plain = isalnum((unsigned char)name.s[i]);

		if (plain || (n && out[n - 1] != '_'))
			out[n++] = plain ? (char)tolower((unsigned char)name.s[i]) : '_';
	}
	while (n && out[n - 1] == '_')
		n--;
	out[n] = '\0';
}

#define NESTED 16

/* An open container of a walk. */
struct walk {
	const struct value *of;
	uint32_t i;
	size_t path_len;
};

/* The next value in it; NULL: no more.  `path` is then that of the value. */
static const struct value *walk_next(struct walk *w, char path[PATH_BYTES])
{
	const struct value_seq *q = w->of->seq;
	bool dict = w->of->type == V_DICT;
	const struct value *v;

	if (w->i + dict >= q->n)
		return NULL;
	v = &q->v[w->i + dict];
	path[w->path_len] = '\0';
	if (dict && !value_is(v - 1, "value") && w->path_len + 2 < PATH_BYTES) {
		path[w->path_len] = '/';
		path_word(span_of_value(v - 1), path + w->path_len + 1, PATH_BYTES - w->path_len - 1);
	}
	w->i += 1 + dict;
	return v;
}

void json_each_scalar(const char *data, size_t len, const struct value *top,
		      void (*each)(void *ctx, const char *path, const struct value *v, struct place at), void *ctx)
{
	struct walk open[NESTED] = { { .of = top } };
	size_t n = top->type == V_DICT || top->type == V_LIST;
	char path[PATH_BYTES] = "";

	while (n) {
		struct walk *w = &open[n - 1];
		const struct value *v = walk_next(w, path);

		if (!v)
			n--;
		else if ((v->type == V_DICT || v->type == V_LIST) && n < NESTED)
			open[n++] = (struct walk){ v, 0, strlen(path) };
		else if (w->of->type == V_DICT)
			each(ctx, path, v, json_pair(data, len, v));
		else if (v->type == V_STR && v->s >= data && v->s < data + len)
			each(ctx, path, v, (struct place){ (size_t)(v->s - data), v->len });
	}
}
