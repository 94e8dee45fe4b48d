#include "analyzer/store.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/identity.h"
#include "bundle/cleanup.h"

/* Distinct observations kept, in all and of one kind; beyond that they are only counted. */
#define OBS_MAX (1u << 16)
#define OBS_KIND_MAX 4096

static const struct kind kinds[] = {
#define KIND(name, sev, stop, window, what) { name, SEV_##sev, stop, window, what },
#include "analyzer/kinds.def"
#undef KIND
};

const struct scope scope_none = { .rank = RANK_NONE, .local_rank = RANK_NONE,
				  .attempt = RANK_NONE, .pid = PID_NONE };

size_t kind_count(void) { return ARRAY_SIZE(kinds); }
const struct kind *kind_at(size_t i) { return &kinds[i]; }

const struct kind *kind_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

const char *source_name(enum source_class c)
{
	static const char *const names[] = {
#define X(id, name, what) name,
		SOURCE_CLASSES(X)
#undef X
	};
	return names[c];
}

const char *source_what(enum source_class c)
{
	static const char *const what[] = {
#define X(id, name, text) text,
		SOURCE_CLASSES(X)
#undef X
	};
	return what[c];
}

const char *severity_name(enum severity s)
{
	static const char *const names[] = { "info", "warning", "error", "fatal" };

	return names[s];
}

int store_init(struct store *s, size_t budget_bytes, struct error *err)
{
	*s = (struct store){ .merge_cap = 4096 };
	arena_init(&s->arena, budget_bytes);
	s->identity = ARENA_NEW(&s->arena, struct identity);
	s->per_kind = ARENA_ARRAY(&s->arena, uint32_t, ARRAY_SIZE(kinds));
	s->merge_slot = calloc(s->merge_cap, sizeof(*s->merge_slot));
	if (intern_init(&s->strings, &s->arena) || !s->identity || !s->per_kind || !s->merge_slot) {
		store_deinit(s);
		return error_set(err, ERR_NOMEM, "no memory for the evidence store");
	}
	return 0;
}

void store_deinit(struct store *s)
{
	free(s->merge_slot);
	intern_deinit(&s->strings);
	arena_deinit(&s->arena);
	*s = (struct store){ 0 };
}

int64_t store_member(struct store *s, const char *input, const char *name, struct error *err)
{
	void *p = arena_grow(&s->arena, s->members, s->n_members, &s->cap_members,
			     sizeof(*s->members));

	if (!p)
		return error_set(err, ERR_LIMIT, "too many members");
	s->members = p;
	s->members[s->n_members] = (struct member){
		.input = intern_cstr(&s->strings, input), .name = intern_cstr(&s->strings, name),
		.kind = "unknown", .rank = RANK_NONE,
	};
	return (int64_t)s->n_members++;
}

void store_note(struct store *s, uint32_t member, const struct error *why)
{
	struct member *m = &s->members[member];
	struct damage *d = ARENA_NEW(&s->arena, struct damage), **end = &m->damage;
	struct error bare = *why;
	char text[sizeof(why->where) + sizeof(why->what) + 80];

	if (!d)
		return;
	bare.has_offset = false;
	error_text(&bare, text, sizeof(text));
	d->what = arena_strdup(&s->arena, text, strlen(text));
	d->offset = why->has_offset ? why->offset : UINT64_MAX;
	while (*end)
		end = &(*end)->next;
	*end = d->what ? d : NULL;
}

void store_damage(struct store *s, uint32_t member, const struct error *why, bool unread)
{
	struct member *m = &s->members[member];

	if (m->state != MEMBER_UNREAD)
		m->state = unread ? MEMBER_UNREAD : MEMBER_DAMAGED;
	store_note(s, member, why);
}

static int64_t add_evidence(struct store *s, struct evidence e, const void *raw, size_t length)
{
	void *p = length ? arena_grow(&s->arena, s->evidence, s->n_evidence, &s->cap_evidence,
				      sizeof(*s->evidence)) : NULL;

	if (!p)
		return -1;
	s->evidence = p;
	e.length = (uint32_t)(length < QUOTE_BYTES ? length : QUOTE_BYTES);
	e.raw = arena_strdup(&s->arena, raw, e.length);
	if (!e.raw)
		return -1;
	s->evidence[s->n_evidence] = e;
	return (int64_t)s->n_evidence++;
}

int64_t store_quote(struct store *s, uint32_t member, uint64_t offset, uint64_t line,
		    const char *raw, size_t length, struct stamp time)
{
	struct evidence e = { .member = member, .offset = offset, .line = line, .time = time };

	return add_evidence(s, e, raw, length);
}

int64_t store_decoded(struct store *s, uint32_t member, uint64_t offset, const void *raw,
		      size_t length, const char *text, struct stamp time)
{
	struct evidence e = { .member = member, .offset = offset, .time = time, .decoded = true };

	e.text = arena_strdup(&s->arena, text, strlen(text));
	return e.text ? add_evidence(s, e, raw, length) : -1;
}

struct observation observation_of(const char *kind, enum source_class source)
{
	return (struct observation){ .kind = kind_find(kind), .source = source,
				     .scope = scope_none, .count = 1, .member = UINT32_MAX };
}

void observation_field(struct store *s, struct observation *o, const char *name,
		       const char *value, size_t len)
{
	if (o->n_fields == FIELDS_MAX)
		return;
	o->fields[o->n_fields].name = intern_cstr(&s->strings, name);
	o->fields[o->n_fields++].value = intern(&s->strings, value, len);
}

void observation_fieldf(struct store *s, struct observation *o, const char *name,
			const char *fmt, ...)
{
	char buf[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	observation_field(s, o, name, buf, strlen(buf));
}

void observation_cite(struct observation *o, int64_t evidence)
{
	if (evidence >= 0 && o->n_evidence < QUOTES_MAX)
		o->evidence[o->n_evidence++] = (uint32_t)evidence;
}

const char *observation_get(const struct store *s, const struct observation *o, const char *name)
{
	for (unsigned i = 0; i < o->n_fields; i++)
		if (strcmp(intern_str(&s->strings, o->fields[i].name), name) == 0)
			return intern_str(&s->strings, o->fields[i].value);
	return "";
}

static uint64_t merge_hash(const struct observation *o)
{
	struct {
		const struct kind *kind;
		uint64_t source;
		struct scope scope;
		struct field fields[FIELDS_MAX];
	} key;

	memset(&key, 0, sizeof(key));
	key.kind = o->kind;
	key.source = (uint64_t)o->source << 1 | o->user_written;
	memcpy(&key.scope, &o->scope, sizeof(key.scope));
	memcpy(key.fields, o->fields, o->n_fields * sizeof(o->fields[0]));
	return hash_bytes(&key, sizeof(key), 1);
}

static bool same_event(const struct observation *a, const struct observation *b)
{
	struct stamp then, now;
	int64_t gap;

	if (a->kind != b->kind || a->source != b->source || a->user_written != b->user_written ||
	    a->n_fields != b->n_fields || memcmp(&a->scope, &b->scope, sizeof(a->scope)) ||
	    memcmp(a->fields, b->fields, a->n_fields * sizeof(a->fields[0])))
		return false;
	/* two files whose host is not known yet may be of two hosts */
	if (!a->scope.host && a->member != b->member)
		return false;
	then = a->last.base ? a->last : a->above_last;
	now = b->time.base ? b->time : b->above;
	if (a->kind->window_s == 0 || then.base != now.base || !now.base)
		return true;
	gap = now.ns - then.ns;
	return gap <= (int64_t)a->kind->window_s * 1000000000 &&
	       gap >= -(int64_t)a->kind->window_s * 1000000000;
}

static void merge(struct observation *into, const struct observation *o)
{
	into->count += o->count;
	if (stamp_order(o->first, into->first, 0) < 0)
		into->first = o->first;
	if (stamp_order(o->last, into->last, 0) > 0 || !into->last.base)
		into->last = o->last;
	if (stamp_order(o->above_last, into->above_last, 0) > 0)
		into->above_last = o->above_last;
	if (stamp_order(o->onset, into->onset, 0) < 0)
		into->onset = o->onset;
	for (unsigned i = 0; i < o->n_evidence; i++)
		observation_cite(into, o->evidence[i]);
}

static int grow_merge(struct store *s)
{
	size_t cap = s->merge_cap * 2;
	uint32_t *slot = calloc(cap, sizeof(*slot));

	if (!slot)
		return -1;
	free(s->merge_slot);
	s->merge_slot = slot;
	s->merge_cap = cap;
	for (size_t i = 0; i < s->n_obs; i++) {
		size_t at = merge_hash(&s->obs[i]) & (cap - 1);

		while (slot[at])
			at = (at + 1) & (cap - 1);
		slot[at] = (uint32_t)i + 1;
	}
	return 0;
}

/* Observations of a kind so far; a site's own kinds are bounded by OBS_MAX only. */
static uint32_t count_of_kind(const struct store *s, const struct kind *kind)
{
	return kind >= kinds && kind < kinds + ARRAY_SIZE(kinds) ? s->per_kind[kind - kinds] : 0;
}

/* The observation that an equal one is merged into, or NULL. */
static struct observation *find_equal(const struct store *s, const struct observation *o)
{
	size_t mask = s->merge_cap - 1, at = merge_hash(o) & mask;

	for (size_t probes = 0; s->merge_slot[at] && probes < 64; probes++, at = (at + 1) & mask)
		if (same_event(&s->obs[s->merge_slot[at] - 1], o))
			return &s->obs[s->merge_slot[at] - 1];
	return NULL;
}

static bool is_full(const struct store *s, const struct kind *kind)
{
	return s->n_obs >= OBS_MAX || count_of_kind(s, kind) >= OBS_KIND_MAX;
}

bool store_wants_quote(const struct store *s, const struct observation *o)
{
	const struct observation *equal = find_equal(s, o);

	return equal ? equal->n_evidence < QUOTES_MAX : !is_full(s, o->kind);
}

static void insert(struct store *s, const struct observation *o)
{
	size_t at = merge_hash(o) & (s->merge_cap - 1);

	while (s->merge_slot[at])
		at = (at + 1) & (s->merge_cap - 1);
	s->merge_slot[at] = (uint32_t)s->n_obs + 1;
	s->obs[s->n_obs] = *o;
	s->obs[s->n_obs].order = s->n_obs;
	s->n_obs++;
	if (o->kind >= kinds && o->kind < kinds + ARRAY_SIZE(kinds))
		s->per_kind[o->kind - kinds]++;
}

int store_observe(struct store *s, const struct observation *given)
{
	struct observation o = *given, *equal;
	void *p = NULL;

	if (!o.kind)
		return -1;
	if (!o.onset.base)
		o.onset = o.time;
	if (!o.first.base)
		o.first = o.last = o.time;
	if (!o.above_last.base)
		o.above_last = o.above;
	equal = find_equal(s, &o);
	if (equal) {
		merge(equal, &o);
		return 0;
	}
	if (!is_full(s, o.kind) && (s->n_obs * 2 < s->merge_cap || grow_merge(s) == 0))
		p = arena_grow(&s->arena, s->obs, s->n_obs, &s->cap_obs, sizeof(*s->obs));
	if (!p) {
		s->obs_dropped++;
		return 0;
	}
	s->obs = p;
	insert(s, &o);
	return 0;
}

const struct observation *store_next(const struct store *s, const char *kind,
				     const struct observation *after)
{
	for (size_t i = after ? (size_t)(after - s->obs) + 1 : 0; i < s->n_obs; i++)
		if (strcmp(s->obs[i].kind->name, kind) == 0)
			return &s->obs[i];
	return NULL;
}

void store_inconsistency(struct store *s, const char *fmt, ...)
{
	struct inconsistency *it = ARENA_NEW(&s->arena, struct inconsistency);
	struct inconsistency **end = &s->inconsistencies;
	char buf[512];
	va_list ap;
	int known = 0;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	for (; *end; end = &(*end)->next, known++)
		if (strcmp((*end)->what, buf) == 0)
			return;
	if (!it || known >= 256)
		return;
	it->what = arena_strdup(&s->arena, buf, strlen(buf));
	*end = it->what ? it : NULL;
}

uint32_t store_sources(const struct store *s)
{
	uint32_t bits = 0;

	for (size_t i = 0; i < s->n_members; i++)
		bits |= s->members[i].sources;
	return bits;
}

int stamp_order(struct stamp a, struct stamp b, int64_t slack_ns)
{
	int64_t gap;

	if (a.base != b.base || a.base == TIME_UNKNOWN || __builtin_sub_overflow(a.ns, b.ns, &gap))
		return 0;
	return gap > slack_ns ? 1 : gap < -slack_ns ? -1 : 0;
}
