#include <stdlib.h>
#include <string.h>

#include "analyzer/value.h"
#include "bundle/reader.h"

/*
 * The values of open containers lie on the stack above their mark; a container
 * is built when it closes.  Below each mark lies the still empty container.
 */
struct parser {
	struct reader r;
	struct scratch *s;
	struct value_stack *st;
	const struct value_limits *lim;
	const struct value_sink *sink;
	uint64_t n_tokens;
	size_t entries_depth;	/* open containers when the entries' list is innermost; 0: none */
	size_t kept;		/* scratch in use when that list opened */
};

#define FAIL(p, code, ...) reader_fail(&(p)->r, code, __VA_ARGS__)

static void *grow(void *array, size_t *cap, size_t size, size_t max)
{
	size_t want = *cap ? *cap * 2 : 1024;
	void *p;

	if (want > max)
		want = max;
	p = want > *cap ? reallocarray(array, want, size) : NULL;
	if (p)
		*cap = want;
	return p;
}

static int push(struct parser *p, struct value v)
{
	if (p->st->n == p->st->cap) {
		struct value *bigger = grow(p->st->v, &p->st->cap, sizeof(v), p->lim->stack);

		if (!bigger)
			return FAIL(p, ERR_LIMIT, "too many values in one container");
		p->st->v = bigger;
	}
	p->st->v[p->st->n++] = v;
	return 0;
}

static int open_container(struct parser *p, enum value_type type)
{
	struct value_stack *st = p->st;
	struct value_seq *q = scratch_alloc(p->s, sizeof(*q));
	bool entries = type == V_LIST && !p->entries_depth &&
		       (st->n_marks == 0 ||
			(st->n_marks == 1 && st->n && value_is(&st->v[st->n - 1], "entries")));

	if (!q)
		return FAIL(p, ERR_LIMIT, "out of the memory granted to one text");
	*q = (struct value_seq){ .start = reader_offset(&p->r) - 1 };
	if (push(p, (struct value){ .type = (uint8_t)type, .seq = q }))
		return -1;
	if (st->n_marks == st->mark_cap) {
		size_t *bigger = grow(st->mark, &st->mark_cap, sizeof(*bigger), p->lim->depth);

		if (!bigger)
			return FAIL(p, ERR_LIMIT, "nested too deep");
		st->mark = bigger;
	}
	st->mark[st->n_marks++] = st->n;
	if (entries) {
		p->entries_depth = st->n_marks;
		p->kept = p->s->used;
	}
	return 0;
}

static int close_container(struct parser *p, enum value_type type)
{
	struct value_stack *st = p->st;
	size_t floor, n;
	struct value *v;

	if (st->n_marks == 0 || st->v[st->mark[st->n_marks - 1] - 1].type != type)
		return FAIL(p, ERR_FORMAT, "closes what is not open");
	floor = st->mark[--st->n_marks];
	n = st->n - floor;
	v = &st->v[floor - 1];
	if (type == V_DICT && n % 2)
		return FAIL(p, ERR_FORMAT, "a key without a value");
	if (!value_reserve(p->s, v->seq, n))
		return FAIL(p, ERR_LIMIT, "out of the memory granted to one text");
	if (n)
		memcpy(v->seq->v, v + 1, n * sizeof(*v));
	v->seq->n = (uint32_t)n;
	st->n = floor;
	if (type == V_DICT && p->entries_depth && st->n_marks == p->entries_depth) {
		if (p->sink->entry(p->sink->ctx, v, v->seq->start, reader_offset(&p->r)))
			return FAIL(p, ERR_LIMIT, "more or larger entries than one dump may hold");
		st->n--;
		p->s->used = p->kept;
	} else if (type == V_LIST && st->n_marks + 1 == p->entries_depth) {
		p->entries_depth = 0;
	}
	return 0;
}

static unsigned hex4(const uint8_t *p, bool *ok)
{
	unsigned v = 0;

	for (int i = 0; i < 4; i++) {
		unsigned c = p[i], d = c - '0' < 10u ? c - '0' : (c | 32) - 'a' < 6u ? (c | 32) - 'a' + 10 : 99;

		*ok &= d < 16;
		v = v << 4 | (d & 15);
	}
	return v;
}

static size_t put_utf8(char *out, uint32_t cp)
{
	if (cp < 0x80)
		return out[0] = (char)cp, 1;
	if (cp < 0x800)
		return out[0] = (char)(0xc0 | cp >> 6), out[1] = (char)(0x80 | (cp & 63)), 2;
	if (cp < 0x10000)
		return out[0] = (char)(0xe0 | cp >> 12), out[1] = (char)(0x80 | (cp >> 6 & 63)),
		       out[2] = (char)(0x80 | (cp & 63)), 3;
	return out[0] = (char)(0xf0 | cp >> 18), out[1] = (char)(0x80 | (cp >> 12 & 63)),
	       out[2] = (char)(0x80 | (cp >> 6 & 63)), out[3] = (char)(0x80 | (cp & 63)), 4;
}

/* One escape after its backslash; bytes written, 0 when it is none. */
static size_t unescape(struct parser *p, char *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	uint8_t c = reader_u8(&p->r);
	const char *hit = c ? strchr(from, c) : NULL;
	const uint8_t *h;
	bool ok = true;
	uint32_t cp, low;

	if (hit)
		return out[0] = to[hit - from], 1;
	if (c != 'u' || !(h = reader_take(&p->r, 4)))
		return 0;
	cp = hex4(h, &ok);
	if (cp >= 0xd800 && cp < 0xdc00 && reader_left(&p->r) >= 6 && p->r.pos[0] == '\\' && p->r.pos[1] == 'u') {
		low = hex4(p->r.pos + 2, &ok);
		if (low >= 0xdc00 && low < 0xe000) {
			cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
			reader_take(&p->r, 6);
		}
	}
	return ok ? put_utf8(out, cp) : 0;
}

/* A string with escapes: unescaped into scratch. */
static int long_string(struct parser *p, const uint8_t *start, size_t len)
{
	const uint8_t *end = start + len;
	char *out = scratch_alloc(p->s, len + 4);
	size_t n = 0, k;

	if (!out)
		return FAIL(p, ERR_LIMIT, "out of the memory granted to one text");
	for (p->r.pos = start; p->r.pos < end;) {
		if (*p->r.pos != '\\') {
			out[n++] = (char)*p->r.pos++;
			continue;
		}
		p->r.pos++;
		k = unescape(p, out + n);
		if (k == 0)
			return FAIL(p, ERR_FORMAT, "bad escape in a string");
		n += k;
	}
	p->r.pos = end + 1;
	return push(p, (struct value){ .type = V_STR, .len = (uint32_t)n, .s = out });
}

/* The cursor is behind the opening quote. */
static int string(struct parser *p)
{
	const uint8_t *start = p->r.pos, *q = start;
	bool escaped = false;

	for (; q < p->r.end && *q != '"'; q++)
		if (*q == '\\') {
			escaped = true;
			q++;
		}
	if (q >= p->r.end)
		return FAIL(p, ERR_FORMAT, "string without an end");
	if ((size_t)(q - start) > UINT32_MAX)
		return FAIL(p, ERR_LIMIT, "string of more than 4 GiB");
	if (escaped)
		return long_string(p, start, (size_t)(q - start));
	p->r.pos = q + 1;
	return push(p, (struct value){ .type = V_STR, .len = (uint32_t)(q - start), .s = (const char *)start });
}

static int number(struct parser *p)
{
	const uint8_t *start = --p->r.pos;
	char buf[64], *end;
	size_t n = 0;
	struct value v = { .type = V_INT };

	while (n < reader_left(&p->r) && memchr("+-.0123456789eE", start[n], 15))
		n++;
	if (n == 0 || n >= sizeof(buf))
		return FAIL(p, ERR_FORMAT, n ? "number of more than 63 digits" : "no JSON value starts here");
	memcpy(buf, start, n);
	buf[n] = '\0';
	v.len = (uint32_t)n;
	v.s = (const char *)start;
	v.type = V_STR;
	v.i = n > 18 ? INT64_MIN : value_int(&v, INT64_MIN);
	v.type = V_INT;
	v.len = 0;
	if (v.i == INT64_MIN) {
		bool whole = !strpbrk(buf, ".eE");

		v.type = whole ? V_BIG : V_FLOAT;
		v.f = strtod(buf, &end);
		if (*end)
			return FAIL(p, ERR_FORMAT, "not a number");
		if (whole && n <= 20) {
			v.type = V_INT;
			v.i = strtoll(buf, NULL, 10);
		}
	}
	p->r.pos += n;
	return push(p, v);
}

static int word(struct parser *p, const char *text, struct value v)
{
	size_t n = strlen(text) - 1;
	const uint8_t *q = reader_take(&p->r, n);

	if (!q || memcmp(q, text + 1, n))
		return FAIL(p, ERR_FORMAT, "no JSON value starts here");
	return push(p, v);
}

static int token(struct parser *p, uint8_t c)
{
	switch (c) {
	case '{': return open_container(p, V_DICT);
	case '[': return open_container(p, V_LIST);
	case '}': return close_container(p, V_DICT);
	case ']': return close_container(p, V_LIST);
	case '"': return string(p);
	case 't': return word(p, "true", (struct value){ .type = V_BOOL, .i = 1 });
	case 'f': return word(p, "false", (struct value){ .type = V_BOOL });
	case 'n': return word(p, "null", (struct value){ .type = V_NONE });
	case 'N': return word(p, "NaN", (struct value){ .type = V_FLOAT });	/* as Python writes it */
	default: return number(p);
	}
}

static uint8_t next_token(struct parser *p)
{
	while (p->r.pos < p->r.end && memchr(" \t\r\n,:", *p->r.pos, 6))
		p->r.pos++;
	return reader_u8(&p->r);
}

/* Top-level keys that were whole when the text broke off. */
static struct value salvage(struct parser *p)
{
	struct value_stack *st = p->st;
	size_t to = st->n_marks > 1 ? st->mark[1] : st->n;
	struct value top = { .type = V_NONE };

	if (st->n == 0 || st->n_marks == 0 || st->v[0].type != V_DICT)
		return top;
	top = st->v[0];
	if (value_reserve(p->s, top.seq, to))
		for (size_t i = 1; i + 1 < to; i += 2) {
			top.seq->v[top.seq->n++] = st->v[i];
			top.seq->v[top.seq->n++] = st->v[i + 1];
		}
	return top;
}

int json_read(const void *data, size_t len, struct scratch *s, struct value_stack *st,
	      const struct value_limits *lim, const struct value_sink *sink,
	      struct value *top_ret, struct error *err)
{
	struct parser p = { .r = reader_over(data, len, err), .s = s, .st = st, .lim = lim, .sink = sink };
	int ret;

	s->used = st->n = st->n_marks = 0;
	do {
		uint8_t c = next_token(&p);

		ret = !reader_ok(&p.r) ? -1 :
		      ++p.n_tokens > lim->ops ? FAIL(&p, ERR_LIMIT, "more tokens than one text may hold") :
		      token(&p, c);
	} while (ret == 0 && st->n_marks);
	*top_ret = ret == 0 && st->n ? st->v[0] : salvage(&p);
	return ret;
}
