#include "analyzer/value.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SCRATCH_MIN ((size_t)1 << 20)

const struct value_limits value_limits_default = {
	.ops = (uint64_t)1 << 31, .stack = 8u << 20, .depth = 1u << 20,
};

int scratch_init(struct scratch *s, size_t cap_bytes, struct error *err)
{
	void *p = MAP_FAILED;

	for (; p == MAP_FAILED && cap_bytes >= SCRATCH_MIN; cap_bytes /= 2)	/* address space may be limited */
		p = mmap(NULL, cap_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	cap_bytes *= 2;
	if (p == MAP_FAILED)
		return error_sys(err, "cannot reserve %zu bytes", cap_bytes);
	*s = (struct scratch){ .base = p, .cap = cap_bytes };
	return 0;
}

void scratch_deinit(struct scratch *s)
{
	if (s->base)
		munmap(s->base, s->cap);
	*s = (struct scratch){ 0 };
}

void *scratch_alloc(struct scratch *s, size_t bytes)
{
	size_t need = (bytes + 15) & ~(size_t)15;
	void *p = s->base + s->used;

	if (need < bytes || need > s->cap - s->used)
		return NULL;
	s->used += need;
	return p;
}

bool value_reserve(struct scratch *s, struct value_seq *q, size_t more)
{
	size_t want = (size_t)q->n + more, cap = (size_t)q->cap * 2;
	struct value *v;

	if (want <= q->cap)
		return true;
	if (cap < want)
		cap = want;
	if (cap > UINT32_MAX)
		return false;
	v = scratch_alloc(s, cap * sizeof(*v));
	if (!v)
		return false;
	if (q->n)
		memcpy(v, q->v, q->n * sizeof(*v));
	q->v = v;
	q->cap = (uint32_t)cap;
	return true;
}

void value_stack_deinit(struct value_stack *st)
{
	free(st->v);
	free(st->memo);
	free(st->mark);
	*st = (struct value_stack){ 0 };
}

bool value_is(const struct value *v, const char *text)
{
	return v && v->type == V_STR && v->len == strlen(text) && memcmp(v->s, text, v->len) == 0;
}

const struct value *value_get(const struct value *dict, const char *key)
{
	const struct value_seq *q;

	if (!dict || dict->type != V_DICT)
		return NULL;
	q = dict->seq;
	for (uint32_t i = q->n & ~1u; i >= 2; i -= 2)	/* the last of equal keys wins */
		if (value_is(&q->v[i - 2], key))
			return &q->v[i - 1];
	return NULL;
}

int64_t value_int(const struct value *v, int64_t otherwise)
{
	int64_t sum = 0;
	uint32_t i = 0;

	if (v && (v->type == V_INT || v->type == V_BOOL))
		return v->i;
	if (!v || v->type != V_STR || v->len == 0 || v->len > 18)
		return otherwise;
	for (i = v->s[0] == '-'; i < v->len; i++) {
		if (v->s[i] < '0' || v->s[i] > '9')
			return otherwise;
		sum = sum * 10 + (v->s[i] - '0');
	}
	return v->s[0] == '-' ? (v->len > 1 ? -sum : otherwise) : sum;
}
