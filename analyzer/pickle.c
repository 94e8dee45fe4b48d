#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/intern.h"
#include "analyzer/value.h"
#include "bundle/cleanup.h"
#include "bundle/reader.h"

enum op {
#define OP(byte, name, arg) OP_##name = byte,
#define CODE(byte, name) OP_##name = byte,
#include "analyzer/pickle_ops.def"
#undef OP
#undef CODE
};

enum arg { ARG_NONE, ARG_U8, ARG_U16, ARG_I32, ARG_U32, ARG_U64, ARG_F64, ARG_S1, ARG_S4, ARG_S8, ARG_LINE };

static const struct op_desc {
	const char *name;	/* NULL: no opcode at all */
	bool code;		/* names or calls an object */
	uint8_t arg;
} ops[256] = {
#define OP(byte, name, arg) [byte] = { #name, false, ARG_##arg },
#define CODE(byte, name) [byte] = { #name, true, ARG_NONE },
#include "analyzer/pickle_ops.def"
#undef OP
#undef CODE
};

/* The one name that is taken: torch writes vectors of integers as a call of it. */
static const char int_list_name[] = "torch.jit._pickle\nbuild_intlist\n";

#define FOLD_OFF SIZE_MAX

#define RUN_KEY 64	/* bytes that a run of references is found by */

/* A run of references that was looked at. */
struct run {
	const uint8_t *p;
	size_t bytes, ops;
};

struct vm {
	struct reader r;
	struct scratch *s;
	struct value_stack *st;
	const struct value_limits *lim;
	const struct value_sink *sink;
	size_t floor;		/* stack height of the innermost mark */
	size_t fold_at;		/* stack height of the entries of the dump, or FOLD_OFF */
	size_t kept;		/* scratch that later reads may still need */
	size_t folded;		/* entries folded in a row from fold_at on */
	uint64_t aliases, aliases_kept;	/* ways into scratch other than the entry itself */
	uint64_t n_ops, op_at;	/* count, and byte of the opcode */
	bool int_list;		/* the callable on the stack is build_intlist */
	struct run runs[256];
};

static int fail(struct vm *vm, enum err code, const char *what)
{
	return reader_stopped(&vm->r, error_at(vm->r.err, code, vm->op_at, "%s: %s",
					       ops[vm->r.start[vm->op_at]].name, what));
}

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

static int push_slow(struct vm *vm, struct value v)
{
	struct value *p = grow(vm->st->v, &vm->st->cap, sizeof(*p), vm->lim->stack);

	if (!p)
		return fail(vm, ERR_LIMIT, "too many values on the stack");
	vm->st->v = p;
	p[vm->st->n++] = v;
	return 0;
}

static inline int push(struct vm *vm, struct value v)
{
	if (__builtin_expect(vm->st->n == vm->st->cap, 0))
		return push_slow(vm, v);
	vm->st->v[vm->st->n++] = v;
	return 0;
}

static inline int push_int(struct vm *vm, int64_t i) { return push(vm, (struct value){ .type = V_INT, .i = i }); }

static int push_seq(struct vm *vm, enum value_type type, const struct value *v, size_t n)
{
	struct value_seq *q = scratch_alloc(vm->s, sizeof(*q));

	if (!q)
		return fail(vm, ERR_LIMIT, "out of the memory granted to one dump");
	*q = (struct value_seq){ .start = vm->op_at };
	if (n) {
		if (!value_reserve(vm->s, q, n))
			return fail(vm, ERR_LIMIT, "out of the memory granted to one dump");
		memcpy(q->v, v, n * sizeof(*v));
		q->n = (uint32_t)n;
	}
	return push(vm, (struct value){ .type = (uint8_t)type, .seq = q });
}

/* Values above the innermost mark. */
static inline size_t above(const struct vm *vm) { return vm->st->n - vm->floor; }

/* Is the list at stack index `i` the one that holds the entries of the dump? */
static bool holds_entries(const struct vm *vm, size_t i)
{
	const struct value *v = vm->st->v;

	return v[i].type == V_LIST && vm->st->n_marks <= 1 &&
	       (i == 0 || value_is(&v[i - 1], "entries"));
}

static int mark(struct vm *vm)
{
	struct value_stack *st = vm->st;
	bool entries = vm->fold_at == FOLD_OFF && st->n && holds_entries(vm, st->n - 1);

	if (st->n_marks == st->mark_cap) {
		size_t *p = grow(st->mark, &st->mark_cap, sizeof(*p), vm->lim->depth);

		if (!p)
			return fail(vm, ERR_LIMIT, "nested too deep");
		st->mark = p;
	}
	st->mark[st->n_marks++] = vm->floor = st->n;
	if (entries) {
		vm->fold_at = st->n;
		vm->folded = 0;
		vm->kept = vm->s->used;
		vm->aliases_kept = vm->aliases;
	}
	return 0;
}

/* Forget the innermost mark. */
static void unmark(struct vm *vm)
{
	struct value_stack *st = vm->st;

	if (vm->fold_at == vm->floor)
		vm->fold_at = FOLD_OFF;
	st->n_marks--;
	vm->floor = st->n_marks ? st->mark[st->n_marks - 1] : 0;
}

/*
 * The entry `v`, on top of the stack, is whole: hand it out and forget it.  Its
 * scratch is taken back only when nothing can still point there: no container of
 * it was memoised, duplicated or put into an older one, and all values before it
 * are folded entries too.
 */
static int fold(struct vm *vm, struct value *v)
{
	size_t index = (size_t)(v - vm->st->v);

	if (vm->sink->entry(vm->sink->ctx, v, v->seq->start, reader_offset(&vm->r)))
		return fail(vm, ERR_LIMIT, "more or larger entries than one dump may hold");
	v->type = V_FOLDED;
	if (index == vm->fold_at + vm->folded) {
		vm->folded++;
		if (vm->aliases == vm->aliases_kept)
			vm->s->used = vm->kept;
	}
	vm->kept = vm->s->used;
	vm->aliases_kept = vm->aliases;
	return 0;
}

/* Entries that came in a form which does not show their end. */
static int fold_rest(struct vm *vm, struct value *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].type == V_DICT && vm->sink->entry(vm->sink->ctx, &v[i], v[i].seq->start, vm->op_at))
			return fail(vm, ERR_LIMIT, "more or larger entries than one dump may hold");
	return 0;
}

/* Move the `n` values on top into the container below them. */
static int extend(struct vm *vm, enum value_type type, size_t n)
{
	size_t at = vm->st->n - n;
	struct value *into = &vm->st->v[at - 1];

	if (type == V_DICT && n % 2)
		return fail(vm, ERR_FORMAT, "a key without a value");
	vm->st->n = at;
	if (into->type == V_FOLDED)
		return 0;	/* an entry that grows after its end: its first form counts */
	if (into->type != type)
		return fail(vm, ERR_FORMAT, "the container below is of another type");
	if (type == V_LIST && holds_entries(vm, at - 1))
		return fold_rest(vm, into + 1, n);
	if ((uint8_t *)into->seq < vm->s->base + vm->kept)
		vm->aliases++;
	if (!value_reserve(vm->s, into->seq, n))
		return fail(vm, ERR_LIMIT, "out of the memory granted to one dump");
	if (n)
		memcpy(into->seq->v + into->seq->n, into + 1, n * sizeof(*into));
	into->seq->n += (uint32_t)n;
	return 0;
}

/* A new container of the `n` values on top. */
static int collapse(struct vm *vm, enum value_type type, size_t n)
{
	struct value items[4];

	if (n > above(vm))
		return fail(vm, ERR_FORMAT, "lacks its operands");
	vm->st->n -= n;
	if (n > ARRAY_SIZE(items))
		return push_seq(vm, type, &vm->st->v[vm->st->n], n);
	memcpy(items, &vm->st->v[vm->st->n], n * sizeof(*items));
	return push_seq(vm, type, items, n);
}

/* A new container of all values above the mark. */
static int collapse_mark(struct vm *vm, enum value_type type)
{
	size_t n = above(vm);

	if (vm->st->n_marks == 0)
		return fail(vm, ERR_FORMAT, "no mark is set");
	if (type == V_DICT && n % 2)
		return fail(vm, ERR_FORMAT, "a key without a value");
	unmark(vm);
	return collapse(vm, type, n);
}

/* Move all values above the mark into the container below it. */
static int extend_mark(struct vm *vm, enum value_type type)
{
	size_t n = above(vm);

	if (vm->st->n_marks == 0)
		return fail(vm, ERR_FORMAT, "no mark is set");
	unmark(vm);
	if (above(vm) <= n)
		return fail(vm, ERR_FORMAT, "lacks its container");
	if (extend(vm, type, n))
		return -1;
	if (type == V_DICT && vm->floor == vm->fold_at && vm->st->v[vm->st->n - 1].type == V_DICT)
		return fold(vm, &vm->st->v[vm->st->n - 1]);
	return 0;
}

static int memo_put(struct vm *vm, uint64_t id)
{
	struct value_stack *st = vm->st;

	if (above(vm) == 0)
		return fail(vm, ERR_FORMAT, "nothing to memoise");
	if (id > vm->n_ops)
		return fail(vm, ERR_LIMIT, "memo index beyond what the pickle can hold");
	while (id >= st->memo_cap) {
		struct value *p = grow(st->memo, &st->memo_cap, sizeof(*p), SIZE_MAX / sizeof(*p));

		if (!p)
			return fail(vm, ERR_NOMEM, "no memory for the memo");
		st->memo = p;
	}
	for (st->memo_holes |= id > st->memo_n; st->memo_n <= id; st->memo_n++)
		st->memo[st->memo_n].type = UINT8_MAX;	/* never set */
	st->memo[id] = st->v[st->n - 1];
	/* Strings lie in the input: only containers keep scratch alive. */
	vm->aliases += st->v[st->n - 1].type >= V_LIST && st->v[st->n - 1].type <= V_DICT;
	return 0;
}

static int memo_get(struct vm *vm, uint64_t id)
{
	if (id >= vm->st->memo_n || vm->st->memo[id].type == UINT8_MAX)
		return fail(vm, ERR_FORMAT, "memo entry was never set");
	return push(vm, vm->st->memo[id]);
}

/* Where the references that begin at `p` end, in front of APPENDS; NULL: something else is among them. */
static const uint8_t *reference_run(const struct vm *vm, const uint8_t *p, size_t *n_ret)
{
	const uint8_t *end = vm->r.end;
	size_t n = 0, id;

	for (; end - p > 5; n++) {
		if (p[0] == OP_BINGET) {
			id = p[1];
			p += 2;
		} else if (p[0] == OP_LONG_BINGET) {
			id = (size_t)p[1] | (size_t)p[2] << 8 | (size_t)p[3] << 16 | (size_t)p[4] << 24;
			p += 5;
		} else {
			break;
		}
		if (id >= vm->st->memo_n)
			return NULL;
	}
	*n_ret = n;
	return end - p > 0 && p[0] == OP_APPENDS ? p : NULL;
}

/*
 * Most of a recorder's dump are stacks: under the key "frames" of an entry a list
 * of references to memoised frames, which nobody asks for here.  Called behind the
 * list's MARK: when all up to APPENDS are references to set memo entries, the list
 * stays empty; true then.  Anything else is left to the machine.  The same stack
 * comes again and again: bytes seen before need no second look, since the memo
 * only grows.
 */
static bool skip_frames(struct vm *vm)
{
	struct value_stack *st = vm->st;
	const uint8_t *p = vm->r.pos, *end;
	struct run *seen;

	if (st->n < 2 || st->v[st->n - 1].type != V_LIST || vm->fold_at == FOLD_OFF || st->memo_holes ||
	    !value_is(&st->v[st->n - 2], "frames") || reader_left(&vm->r) < RUN_KEY)
		return false;
	seen = &vm->runs[hash_bytes(p, RUN_KEY, 0) % ARRAY_SIZE(vm->runs)];
	if (!seen->bytes || seen->bytes > reader_left(&vm->r) || memcmp(seen->p, p, seen->bytes)) {
		size_t n = 0;

		end = reference_run(vm, p, &n);
		if (!end)
			return false;
		*seen = (struct run){ p, (size_t)(end - p) + 1, n + 2 };
	}
	vm->n_ops += seen->ops;
	vm->r.pos += seen->bytes;
	return true;
}

static int push_text(struct vm *vm, const uint8_t *p, uint64_t n)
{
	if (n > UINT32_MAX)
		return fail(vm, ERR_LIMIT, "string of more than 4 GiB");
	return push(vm, (struct value){ .type = V_STR, .len = (uint32_t)n, .s = (const char *)p });
}

/* Little-endian two's complement of any length. */
static int push_long(struct vm *vm, const uint8_t *p, uint64_t n)
{
	uint64_t v = n && (p[n - 1] & 0x80) ? UINT64_MAX : 0;

	if (n > 8)
		return push(vm, (struct value){ .type = V_BIG });
	for (uint64_t i = n; i-- > 0;)
		v = v << 8 | p[i];
	return push_int(vm, (int64_t)v);
}

static int push_decimal(struct vm *vm, const uint8_t *p, size_t n)
{
	struct value text = { .type = V_STR, .len = (uint32_t)n, .s = (const char *)p };

	if (n == 2 && p[0] == '0' && (p[1] == '0' || p[1] == '1'))
		return push(vm, (struct value){ .type = V_BOOL, .i = p[1] == '1' });
	if (n && p[n - 1] == 'L')
		text.len--;
	if (text.len > 18)
		return push(vm, (struct value){ .type = V_BIG });
	if (value_int(&text, INT64_MIN) == INT64_MIN)
		return fail(vm, ERR_FORMAT, "not a number");
	return push_int(vm, value_int(&text, 0));
}

static int push_float_text(struct vm *vm, const uint8_t *p, size_t n)
{
	char buf[64], *end;
	double f;

	if (n == 0 || n >= sizeof(buf))
		return fail(vm, ERR_FORMAT, "not a number");
	memcpy(buf, p, n);
	buf[n] = '\0';
	f = strtod(buf, &end);
	if (*end)
		return fail(vm, ERR_FORMAT, "not a number");
	return push(vm, (struct value){ .type = V_FLOAT, .f = f });
}

static int push_double(struct vm *vm, uint64_t bits)
{
	struct value v = { .type = V_FLOAT };

	memcpy(&v.f, &bits, sizeof(v.f));
	return push(vm, v);
}

static int refuse(struct vm *vm, uint8_t byte)
{
	size_t n = sizeof(int_list_name) - 1;

	if (byte == OP_GLOBAL && reader_left(&vm->r) >= n && memcmp(vm->r.pos, int_list_name, n) == 0) {
		reader_take(&vm->r, n);
		vm->int_list = true;
		return push(vm, (struct value){ .type = V_NONE });
	}
	if (byte == OP_REDUCE && vm->int_list && above(vm) >= 2 && vm->st->v[vm->st->n - 1].type == V_TUPLE &&
	    vm->st->v[vm->st->n - 1].seq->n == 1) {
		vm->st->v[vm->st->n - 2] = vm->st->v[vm->st->n - 1].seq->v[0];
		vm->st->n--;
		vm->int_list = false;
		return 0;
	}
	if (ops[byte].name)
		error_at(vm->r.err, ERR_UNSUPPORTED, vm->op_at, "opcode %s is code, not data", ops[byte].name);
	else
		error_at(vm->r.err, ERR_FORMAT, vm->op_at, "0x%02x is no opcode", byte);
	return reader_stopped(&vm->r, -1);
}

/* The operand of an opcode: a number, or `n` bytes at *p. */
static inline int operand(struct vm *vm, enum arg arg, uint64_t *n, const uint8_t **p)
{
	struct reader *r = &vm->r;
	size_t line = 0;

	switch (arg) {
	case ARG_NONE: return 0;
	case ARG_U8: *n = reader_u8(r); break;
	case ARG_U16: *n = reader_u16(r); break;
	case ARG_I32: *n = (uint64_t)(int64_t)(int32_t)reader_u32(r); break;
	case ARG_U32: *n = reader_u32(r); break;
	case ARG_U64: *n = reader_u64(r); break;
	case ARG_F64: *n = __builtin_bswap64(reader_u64(r)); break;
	case ARG_S1: *n = reader_u8(r); break;
	case ARG_S4: *n = reader_u32(r); break;
	case ARG_S8: *n = reader_u64(r); break;
	case ARG_LINE: *p = reader_line(r, &line); *n = line; break;
	}
	if (arg == ARG_S1 || arg == ARG_S4 || arg == ARG_S8) {
		if (*n > reader_left(r) && reader_ok(r))
			return reader_fail(r, ERR_FORMAT, "%s of %llu bytes, %zu are left",
					   ops[r->start[vm->op_at]].name, (unsigned long long)*n, reader_left(r));
		*p = reader_take(r, (size_t)*n);
	}
	return reader_ok(r) ? 0 : -1;
}

/* Memo index of the text opcodes PUT and GET. */
static int text_index(struct vm *vm, const uint8_t *p, uint64_t n, uint64_t *id_ret)
{
	struct value text = { .type = V_STR, .len = (uint32_t)n, .s = (const char *)p };
	int64_t id = value_int(&text, -1);

	if (id < 0)
		return fail(vm, ERR_FORMAT, "memo index is no number");
	*id_ret = (uint64_t)id;
	return 0;
}

static int pop(struct vm *vm)
{
	if (above(vm) == 0)
		return vm->st->n_marks ? (unmark(vm), 0) : fail(vm, ERR_FORMAT, "the stack is empty");
	vm->st->n--;
	return 0;
}

static int step_rare(struct vm *vm, enum op op, uint64_t n, const uint8_t *p)
{
	uint64_t id = 0;

	switch ((int)op) {
	case OP_PROTO:
		return n > 5 ? fail(vm, ERR_UNSUPPORTED, "protocol above 5") : 0;
	case OP_FRAME: return 0;	/* its length is advice */
	case OP_POP: return pop(vm);
	case OP_POP_MARK:
		if (vm->st->n_marks == 0)
			return fail(vm, ERR_FORMAT, "no mark is set");
		vm->st->n = vm->floor;
		return unmark(vm), 0;
	case OP_DUP:
		vm->aliases++;
		return above(vm) ? push(vm, vm->st->v[vm->st->n - 1]) : fail(vm, ERR_FORMAT, "the stack is empty");
	case OP_LONG1:
	case OP_LONG4: return push_long(vm, p, n);
	case OP_INT:
	case OP_LONG: return push_decimal(vm, p, n);
	case OP_FLOAT: return push_float_text(vm, p, n);
	case OP_STRING:
		if (n < 2 || (p[0] != '\'' && p[0] != '"') || p[n - 1] != p[0])
			return fail(vm, ERR_FORMAT, "text without quotes");
		return push_text(vm, p + 1, n - 2);
	case OP_LIST:
	case OP_FROZENSET: return collapse_mark(vm, V_LIST);
	case OP_DICT: return collapse_mark(vm, V_DICT);
	case OP_TUPLE: return collapse_mark(vm, V_TUPLE);
	case OP_ADDITEMS: return extend_mark(vm, V_LIST);
	case OP_EMPTY_TUPLE: return push_seq(vm, V_TUPLE, NULL, 0);
	case OP_TUPLE1: return collapse(vm, V_TUPLE, 1);
	case OP_TUPLE3: return collapse(vm, V_TUPLE, 3);
	case OP_PUT: return text_index(vm, p, n, &id) ? -1 : memo_put(vm, id);
	case OP_GET: return text_index(vm, p, n, &id) ? -1 : memo_get(vm, id);
	case OP_MEMOIZE: return memo_put(vm, vm->st->memo_n);
	default: return push_text(vm, p, n);	/* the other strings and bytes */
	}
}

/* Any opcode, its operand read as the table says. */
static int step_any(struct vm *vm, uint8_t byte)
{
	uint64_t n = 0;
	const uint8_t *p = NULL;

	if (!ops[byte].name || ops[byte].code)
		return refuse(vm, byte);
	if (operand(vm, ops[byte].arg, &n, &p))
		return -1;
	switch (byte) {
	case OP_BINGET:
	case OP_LONG_BINGET: return memo_get(vm, n);
	case OP_BININT1:
	case OP_BININT2:
	case OP_BININT: return push_int(vm, (int64_t)n);
	case OP_BINUNICODE:
	case OP_SHORT_BINUNICODE: return push_text(vm, p, n);
	case OP_BINPUT:
	case OP_LONG_BINPUT: return memo_put(vm, n);
	case OP_BINFLOAT: return push_double(vm, n);
	default: return step_rare(vm, byte, n, p);
	}
}

/* The opcodes that dumps are made of, with the cursor in a register; the rest by table. */
static inline int step(struct vm *vm, uint8_t byte)
{
	const uint8_t *p = vm->r.pos;
	size_t left = reader_left(&vm->r);

	switch (byte) {
	case OP_BINGET:
		if (left < 1)
			break;
		vm->r.pos = p + 1;
		return memo_get(vm, p[0]);
	case OP_BININT1:
		if (left < 1)
			break;
		vm->r.pos = p + 1;
		return push_int(vm, p[0]);
	case OP_BININT2:
		if (left < 2)
			break;
		vm->r.pos = p + 2;
		return push_int(vm, p[0] | p[1] << 8);
	case OP_BININT:
		if (left < 4)
			break;
		vm->r.pos = p + 4;
		return push_int(vm, (int32_t)((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
					      (uint32_t)p[3] << 24));
	case OP_LONG1:
		if (left < 9 || p[0] != 8)
			break;
		vm->r.pos = p + 9;
		return push_long(vm, p + 1, 8);
	case OP_MARK: return mark(vm);
	case OP_EMPTY_LIST:
	case OP_EMPTY_SET: return push_seq(vm, V_LIST, NULL, 0);
	case OP_EMPTY_DICT: return push_seq(vm, V_DICT, NULL, 0);
	case OP_APPENDS: return extend_mark(vm, V_LIST);
	case OP_SETITEMS: return extend_mark(vm, V_DICT);
	case OP_APPEND:
		return above(vm) < 2 ? fail(vm, ERR_FORMAT, "lacks its operands") : extend(vm, V_LIST, 1);
	case OP_SETITEM:
		return above(vm) < 3 ? fail(vm, ERR_FORMAT, "lacks its operands") : extend(vm, V_DICT, 2);
	case OP_TUPLE2: return collapse(vm, V_TUPLE, 2);
	case OP_NEWNONE: return push(vm, (struct value){ .type = V_NONE });
	case OP_NEWTRUE: return push(vm, (struct value){ .type = V_BOOL, .i = 1 });
	case OP_NEWFALSE: return push(vm, (struct value){ .type = V_BOOL });
	default: break;
	}
	return step_any(vm, byte);
}

/* Top-level keys that were whole when the pickle broke off, as a dictionary. */
static struct value salvage(struct vm *vm)
{
	struct value_stack *st = vm->st;
	struct value none = { .type = V_NONE }, top;
	size_t from = 1, to = st->n_marks > 1 ? st->mark[1] : st->n;

	if (st->n == 0 || st->v[0].type != V_DICT)
		return none;
	top = st->v[0];
	if (st->n_marks && st->mark[0] == 1 && value_reserve(vm->s, top.seq, to))
		for (; from + 1 < to; from += 2) {
			top.seq->v[top.seq->n++] = st->v[from];
			top.seq->v[top.seq->n++] = st->v[from + 1];
		}
	return top;
}

int pickle_read(const void *data, size_t len, struct scratch *s, struct value_stack *st,
		const struct value_limits *lim, const struct value_sink *sink,
		struct value *top_ret, struct error *err)
{
	struct vm vm = { .r = reader_over(data, len, err), .s = s, .st = st, .lim = lim,
			 .sink = sink, .fold_at = FOLD_OFF };
	int ret = 0;

	s->used = st->n = st->memo_n = st->n_marks = 0;
	st->memo_holes = false;
	vm.kept = 0;
	for (;;) {
		uint8_t byte;

		vm.op_at = reader_offset(&vm.r);
		byte = reader_u8(&vm.r);
		if (!reader_ok(&vm.r)) {
			ret = -1;
			break;
		}
		if (byte == OP_STOP)
			break;
		if (++vm.n_ops > lim->ops) {
			ret = fail(&vm, ERR_LIMIT, "more opcodes than one pickle may hold");
			break;
		}
		if (byte == OP_MARK && skip_frames(&vm))
			continue;
		ret = step(&vm, byte);
		if (ret)
			break;
	}
	if (ret == 0 && (st->n != 1 || st->n_marks))
		ret = fail(&vm, ERR_FORMAT, st->n ? "more than one value is left" : "no value is left");
	*top_ret = ret == 0 ? st->v[0] : salvage(&vm);
	return ret;
}
