#include "analyzer/ingest/structured.h"

#include <ctype.h>

#include "analyzer/runs.h"
#include "bundle/cleanup.h"

#define SECOND_NS INT64_C(1000000000)
#define LATEST_S INT64_C(7258118400)	/* the year 2200 */
#define TEXT_BYTES 400			/* longest field value */

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

	if (json_reader_init(&reader, len, err) || json_reader_read(&reader, data, len, &top, err))
		return -1;
	return observe_error(&c, &top, err);
}
