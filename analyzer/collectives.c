#include "analyzer/collectives_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bundle/cleanup.h"

#define RAW_TAIL 400			/* bytes of an entry kept for its quote */
#define DIFFER_MAX ((size_t)1 << 21)	/* ranks that differ, over all collectives */
#define LOCAL_GROUPS 4096		/* groups of one rank */
#define IN_FLIGHT_NS 10000000000LL	/* younger work is not stuck */

/* A group as one dump knows it, and what is open in it while its entries are read. */
struct local_group {
	struct flight_text name, desc;
	int64_t pg_id;
	uint32_t group;
	struct coll_rank_group rg;
	uint32_t last_slot;
	bool open;			/* `cur` holds entries of one sequence number */
	struct flight_entry cur;
	uint32_t cur_parts;
	bool cur_closed;
	uint64_t cur_order;
	int64_t status_enqueued, status_completed;
	/* send / recv not yet closed */
	uint32_t batch_first, batch_n;
	int64_t batch_seq;
};

struct folder {
	struct store *s;
	struct coll_state *c;
	const struct flight_dump *d;
	const uint8_t *data;
	int32_t rank;
	uint32_t member;
	int64_t captured_ns;
	struct local_group *local;
	size_t n_local, cap_local;
	bool wrapped, full;
};

static void *grow(void *array, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? *cap * 2 : 64;
	void *p;

	if (n < *cap)
		return array;
	p = reallocarray(array, want, size);
	if (p)
		*cap = want;
	return p;
}

/* ---- groups ---- */

static uint64_t group_key(sid name, sid desc, const int32_t *ranks, uint32_t n)
{
	uint64_t h = hash_bytes(&name, sizeof(name), 17);

	h = hash_bytes(&desc, sizeof(desc), h);
	return n ? hash_bytes(ranks, n * sizeof(*ranks), h) : h;
}

static uint32_t find_group(struct folder *f, struct flight_text name, struct flight_text desc,
			   const struct flight_group *config)
{
	struct coll_state *c = f->c;
	sid n = intern(&f->s->strings, name.s, name.len), t = intern(&f->s->strings, desc.s, desc.len);
	uint32_t members = config ? config->n_ranks : 0;
	uint64_t key = group_key(n, t, members ? config->ranks : NULL, members);
	struct coll_group *g;
	void *p;

	for (size_t i = c->n_groups; i-- > 0;)
		if (c->groups[i].key == key)
			return (uint32_t)i;
	p = grow(c->groups, c->n_groups, &c->cap_groups, sizeof(*c->groups));
	if (!p) {
		f->full = true;
		return 0;
	}
	c->groups = p;
	g = &c->groups[c->n_groups];
	*g = (struct coll_group){ .name = n, .desc = t, .key = key };
	g->members = members ? ARENA_ARRAY(&f->s->arena, int32_t, members) : NULL;
	if (g->members) {
		memcpy(g->members, config->ranks, members * sizeof(*g->members));
		g->n_members = members;
		g->members_known = true;
	}
	return (uint32_t)c->n_groups++;
}

static bool same_text(struct flight_text a, struct flight_text b)
{
	return a.len == b.len && (a.s == b.s || memcmp(a.s, b.s, a.len) == 0);
}

static const struct flight_group *config_of(const struct flight_dump *d, struct flight_text name)
{
	for (size_t i = 0; i < d->n_groups; i++)
		if (same_text(d->groups[i].name, name))
			return &d->groups[i];
	return NULL;
}

static struct local_group *add_local(struct folder *f, struct flight_text name,
				     struct flight_text desc, int64_t pg_id)
{
	const struct flight_group *config = config_of(f->d, name);
	struct local_group *l;
	void *p = f->n_local < LOCAL_GROUPS ?
		grow(f->local, f->n_local, &f->cap_local, sizeof(*f->local)) : NULL;

	if (!p) {
		f->full = true;
		return NULL;
	}
	f->local = p;
	l = &f->local[f->n_local++];
	*l = (struct local_group){ .name = name, .desc = desc, .pg_id = pg_id,
				   .status_enqueued = NO_SEQ, .status_completed = NO_SEQ };
	l->group = find_group(f, name, desc.len || !config ? desc : config->desc, config);
	l->rg = (struct coll_rank_group){ .rank = f->rank, .group = l->group, .member = f->member,
					  .enqueued = NO_SEQ, .completed = NO_SEQ, .last_seq = NO_SEQ };
	return l;
}

static struct local_group *local_of(struct folder *f, const struct flight_entry *e)
{
	struct flight_text name = e->group;
	char number[32];
	int n;

	for (size_t i = f->n_local; i-- > 0;)
		if (f->local[i].pg_id == e->pg_id && (!e->group.len || same_text(f->local[i].name, name)))
			return &f->local[i];
	if (!name.len) {	/* before 2.0 there is only the number */
		n = snprintf(number, sizeof(number), "%lld", (long long)(e->pg_id < 0 ? 0 : e->pg_id));
		name.s = arena_strdup(&f->s->arena, number, (size_t)n);
		name.len = name.s ? (uint32_t)n : 0;
	}
	return add_local(f, name, e->desc, e->pg_id);
}

/* ---- slots ---- */

static size_t slot_hash(uint32_t group, int64_t seq, size_t cap)
{
	uint64_t h = ((uint64_t)group << 40 ^ (uint64_t)seq) * 0x9e3779b97f4a7c15u;

	return (size_t)(h ^ h >> 29) & (cap - 1);
}

struct coll_slot *coll_slot_find(const struct coll_state *c, uint32_t group, int64_t seq)
{
	size_t i;

	if (!c->slot_at_cap)
		return NULL;
	for (i = slot_hash(group, seq, c->slot_at_cap); c->slot_at[i]; i = (i + 1) & (c->slot_at_cap - 1)) {
		struct coll_slot *slot = &c->slots[c->slot_at[i] - 1];

		if (slot->group == group && slot->seq == seq)
			return slot;
	}
	return NULL;
}

static int grow_slots(struct coll_state *c)
{
	size_t cap = c->slot_at_cap ? c->slot_at_cap * 2 : 4096;
	uint32_t *at;

	if (c->n_slots * 2 < c->slot_at_cap)
		return 0;
	at = calloc(cap, sizeof(*at));
	if (!at)
		return -1;
	for (size_t n = 0; n < c->n_slots; n++) {
		size_t i = slot_hash(c->slots[n].group, c->slots[n].seq, cap);

		while (at[i])
			i = (i + 1) & (cap - 1);
		at[i] = (uint32_t)n + 1;
	}
	free(c->slot_at);
	c->slot_at = at;
	c->slot_at_cap = cap;
	return 0;
}

static struct coll_slot *slot_of(struct folder *f, uint32_t group, int64_t seq)
{
	struct coll_state *c = f->c;
	struct coll_slot *slot = coll_slot_find(c, group, seq);
	size_t i;
	void *p;

	if (slot)
		return slot;
	p = grow(c->slots, c->n_slots, &c->cap_slots, sizeof(*c->slots));
	if (p)
		c->slots = p;
	if (!p || grow_slots(c)) {
		f->full = true;
		return NULL;
	}
	i = slot_hash(group, seq, c->slot_at_cap);
	while (c->slot_at[i])
		i = (i + 1) & (c->slot_at_cap - 1);
	c->slot_at[i] = (uint32_t)c->n_slots + 1;
	slot = &c->slots[c->n_slots++];
	*slot = (struct coll_slot){ .group = group, .seq = seq, .last_rank = RANK_NONE };
	return slot;
}

static void add_differ(struct folder *f, const struct coll_slot *slot, uint64_t signature, bool aux)
{
	struct coll_state *c = f->c;
	void *p = c->n_differ < DIFFER_MAX ?
		grow(c->differ, c->n_differ, &c->cap_differ, sizeof(*c->differ)) : NULL;

	if (!p) {
		f->full = true;
		return;
	}
	c->differ = p;
	c->differ[c->n_differ++] = (struct coll_differ){ (uint32_t)(slot - c->slots), f->rank, signature, aux };
}

/* When everybody arrived and left: enough to find who is always last. */
static void note_arrival(struct coll_slot *slot, const struct flight_entry *e, int32_t rank)
{
	int64_t at = e->created_ns;

	if (at <= 0)
		return;
	if (slot->last_rank == RANK_NONE || at < slot->arrived_first)
		slot->arrived_first = at;
	if (slot->last_rank == RANK_NONE || at > slot->arrived) {
		if (slot->last_rank != RANK_NONE) {
			slot->arrived_before = slot->arrived;
			if (slot->left_last > slot->left_others)
				slot->left_others = slot->left_last;
		}
		slot->arrived = at;
		slot->last_rank = rank;
		slot->left_last = e->completed_ns;
	} else {
		if (at > slot->arrived_before)
			slot->arrived_before = at;
		if (e->completed_ns > slot->left_others)
			slot->left_others = e->completed_ns;
	}
}

/* Ranks of one shape run through the same slots in the same order: try the next one first. */
static struct coll_slot *guess_slot(struct folder *f, struct local_group *l, int64_t seq)
{
	uint32_t next = l->last_slot + 1;
	struct coll_slot *slot = next < f->c->n_slots && f->c->slots[next].group == l->group &&
				 f->c->slots[next].seq == seq ? &f->c->slots[next] : slot_of(f, l->group, seq);

	if (slot)
		l->last_slot = (uint32_t)(slot - f->c->slots);
	return slot;
}

static void fold_slot(struct folder *f, struct local_group *l, const struct flight_entry *e)
{
	struct coll_slot *slot = guess_slot(f, l, e->seq);
	bool totals = e->op.len >= 10 && memcmp(e->op.s, "all_to_all", 10) == 0;
	uint64_t aux = e->in_numel * 0x9e3779b97f4a7c15u + e->out_numel;

	if (!slot)
		return;
	/* Sizes of all_to_all entries are right from version 2.4 on. */
	slot->totals = totals && (f->d->major > 2 || (f->d->major == 2 && f->d->minor >= 4));
	slot->sum_in += e->in_numel;
	slot->sum_out += e->out_numel;
	if (slot->n++ == 0) {
		slot->signature = e->signature;
		slot->aux = aux;
		slot->first_rank = f->rank;
	} else if (e->signature != slot->signature) {
		slot->n_differ++;
		add_differ(f, slot, e->signature, false);
	} else if (slot->totals && aux != slot->aux) {
		add_differ(f, slot, aux, true);
	}
	note_arrival(slot, e, f->rank);
}

/* ---- entries ---- */

static const uint8_t *keep_raw(struct folder *f, uint64_t start, uint64_t end, uint32_t *n_ret, uint64_t *offset_ret)
{
	uint64_t from = end - start > RAW_TAIL ? end - RAW_TAIL : start;

	*offset_ret = from;
	*n_ret = (uint32_t)(end - from);
	return (const uint8_t *)arena_strdup(&f->s->arena, (const char *)f->data + from, end - from);
}

static void set_pending(struct folder *f, struct coll_pending *p, const struct flight_entry *e,
			int64_t seq, uint64_t order)
{
	p->set = true;
	p->seq = seq;
	p->order = order;
	p->signature = e->signature;
	p->created_ns = e->created_ns;
	p->op = intern(&f->s->strings, e->op.s, e->op.len);
	p->shape = intern_cstr(&f->s->strings, e->shape);
	p->raw = keep_raw(f, e->start, e->end, &p->raw_bytes, &p->offset);
	p->in_flight = f->captured_ns && e->created_ns > f->captured_ns - IN_FLIGHT_NS;
}

/* All entries of one sequence number are in `l->cur`: book them. */
static void commit(struct folder *f, struct local_group *l, bool last)
{
	struct flight_entry *e = &l->cur;
	bool done = e->state == FLIGHT_COMPLETED ||
		    (!l->rg.has_p2p && l->status_completed != NO_SEQ && e->seq <= l->status_completed);

	l->open = false;
	/* Parts of a coalesced group have no state of their own: work behind it shows that it ended. */
	if (!done && l->cur_parts > 1 && !l->cur_closed && !last)
		done = true;
	if (e->seq > l->rg.enqueued)
		l->rg.enqueued = e->seq;
	if (done && e->seq > l->rg.completed)
		l->rg.completed = e->seq;
	fold_slot(f, l, e);
	if (!done && !l->rg.pending.set)
		set_pending(f, &l->rg.pending, e, e->seq, l->cur_order);
	if (last) {
		l->rg.last_op = intern(&f->s->strings, e->op.s, e->op.len);
		l->rg.last_seq = e->seq;
		l->rg.last_raw = keep_raw(f, e->start, e->end, &l->rg.last_raw_bytes, &l->rg.last_offset);
	}
}

static void fold_collective(struct folder *f, struct local_group *l, const struct flight_entry *e, uint64_t order)
{
	if (l->open && l->cur.seq == e->seq) {
		l->cur_parts++;
		l->cur.end = e->end;
		if (e->closing || e->state == FLIGHT_COMPLETED)
			l->cur.state = e->state;
		if (e->closing)
			l->cur_closed = true;
		else
			l->cur.signature = l->cur.signature * 31 + e->signature;
		if (e->completed_ns > l->cur.completed_ns)
			l->cur.completed_ns = e->completed_ns;
		return;
	}
	if (l->open)
		commit(f, l, false);
	l->open = true;
	l->cur = *e;
	l->cur_parts = 1;
	l->cur_closed = e->closing;
	l->cur_order = order;
}

/* ---- send / recv ---- */

static void count_size(struct folder *f, uint32_t group, uint64_t signature)
{
	struct coll_state *c = f->c;
	uint64_t key = (signature ^ (uint64_t)group * 0x9e3779b97f4a7c15u) | 1;
	size_t i;

	if (c->n_p2p_size * 2 >= c->p2p_size_cap) {
		size_t cap = c->p2p_size_cap ? c->p2p_size_cap * 2 : 1024;
		uint64_t *keys = calloc(cap, sizeof(*keys));
		uint32_t *n = calloc(cap, sizeof(*n));

		if (!keys || !n) {
			free(keys);
			free(n);
			f->full = true;
			return;
		}
		for (size_t k = 0; k < c->p2p_size_cap; k++) {
			if (!c->p2p_size[k])
				continue;
			for (i = c->p2p_size[k] & (cap - 1); keys[i]; i = (i + 1) & (cap - 1))
				;
			keys[i] = c->p2p_size[k];
			n[i] = c->p2p_size_n[k];
		}
		free(c->p2p_size);
		free(c->p2p_size_n);
		c->p2p_size = keys;
		c->p2p_size_n = n;
		c->p2p_size_cap = cap;
	}
	for (i = key & (c->p2p_size_cap - 1); c->p2p_size[i] && c->p2p_size[i] != key; i = (i + 1) & (c->p2p_size_cap - 1))
		;
	c->n_p2p_size += !c->p2p_size[i];
	c->p2p_size[i] = key;
	c->p2p_size_n[i]++;
}

uint32_t coll_p2p_size_count(const struct coll_state *c, uint32_t group, uint64_t signature)
{
	uint64_t key = (signature ^ (uint64_t)group * 0x9e3779b97f4a7c15u) | 1;

	for (size_t i = c->p2p_size_cap ? key & (c->p2p_size_cap - 1) : 0; c->p2p_size_cap && c->p2p_size[i];
	     i = (i + 1) & (c->p2p_size_cap - 1))
		if (c->p2p_size[i] == key)
			return c->p2p_size_n[i];
	return 0;
}

/* The global rank of a group-local one. */
static int32_t global_rank(const struct coll_group *g, int32_t local)
{
	return g->members_known && (uint32_t)local < g->n_members ? g->members[local] : local;
}

static struct coll_p2p *p2p_of(struct folder *f, uint32_t group, int32_t peer, bool is_send, size_t from)
{
	struct coll_state *c = f->c;
	void *p;

	for (size_t i = from; i < c->n_p2p; i++)
		if (c->p2p[i].group == group && c->p2p[i].peer == peer && c->p2p[i].is_send == is_send)
			return &c->p2p[i];
	p = grow(c->p2p, c->n_p2p, &c->cap_p2p, sizeof(*c->p2p));
	if (!p) {
		f->full = true;
		return NULL;
	}
	c->p2p = p;
	c->p2p[c->n_p2p] = (struct coll_p2p){ .rank = f->rank, .peer = peer, .group = group, .member = f->member,
					      .is_send = is_send, .wrapped = f->wrapped };
	return &c->p2p[c->n_p2p++];
}

/* The send / recv entries of a batch end here, in `state` when a closing entry says so. */
static void flush_batch(struct folder *f, struct local_group *l, int state, size_t p2p_from)
{
	for (uint32_t i = l->batch_first; l->batch_n && i < f->d->n_entries; i++) {
		const struct flight_entry *e = &f->d->entries[i];
		int own = state >= 0 ? state : (int)e->state;
		struct coll_p2p *p;

		if (e->peer < 0 || e->pg_id != l->pg_id || e->p2p_seq != l->batch_seq)
			continue;
		p = p2p_of(f, l->group, global_rank(&f->c->groups[l->group], e->peer), e->is_send, p2p_from);
		if (!p)
			return;
		count_size(f, l->group, e->signature);
		if (own == FLIGHT_COMPLETED)
			p->done = p->total + 1;
		else if (!p->pending.set)
			set_pending(f, &p->pending, e, p->total, l->batch_first);
		p->total++;
		if (--l->batch_n == 0)
			break;
	}
	l->batch_n = 0;
}

static void fold_p2p(struct folder *f, struct local_group *l, const struct flight_entry *e, size_t p2p_from)
{
	uint32_t index = (uint32_t)(e - f->d->entries);

	l->rg.has_p2p = true;
	if (l->batch_n && e->p2p_seq != l->batch_seq)
		flush_batch(f, l, -1, p2p_from);
	if (e->closing || e->peer < 0) {
		flush_batch(f, l, e->state, p2p_from);
		return;
	}
	if (l->batch_n++ == 0) {
		l->batch_first = index;
		l->batch_seq = e->p2p_seq;
	}
}

/* ---- pg_status ---- */

static int compare_decimal(const void *a, const void *b)
{
	const struct flight_text *x = a, *y = b;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return memcmp(x->s, y->s, x->len);
}

static bool is_decimal(struct flight_text t)
{
	for (uint32_t i = 0; i < t.len; i++)
		if (t.s[i] < '0' || t.s[i] > '9')
			return false;
	return t.len > 0;
}

/*
 * pg_status names groups by a number of the process.  Entries show which group a
 * number means; for groups without entries the numbers follow the names sorted as
 * numbers, when all names are decimal and the counts agree.
 */
static void map_groups_without_entries(struct folder *f)
{
	size_t n = f->d->n_groups;
	_cleanup_free_ struct flight_text *names = calloc(n ? n : 1, sizeof(*names));

	if (!names || n == 0 || n != f->d->n_status)
		return;
	for (size_t i = 0; i < n; i++) {
		names[i] = f->d->groups[i].name;
		if (!is_decimal(names[i]))
			return;
	}
	qsort(names, n, sizeof(*names), compare_decimal);
	for (size_t i = 0; i < n; i++) {
		bool known = false;

		for (size_t k = 0; k < f->n_local; k++)
			known |= same_text(f->local[k].name, names[i]);
		if (!known)
			add_local(f, names[i], (struct flight_text){ "", 0 }, (int64_t)i);
	}
}

static void apply_status(struct folder *f)
{
	for (size_t i = 0; i < f->d->n_status; i++)
		for (size_t k = 0; k < f->n_local; k++)
			if (f->local[k].pg_id == f->d->status[i].pg_id) {
				f->local[k].status_enqueued = f->d->status[i].enqueued;
				f->local[k].status_completed = f->d->status[i].completed;
			}
}

/* ---- one dump ---- */

/* Without a completed entry the dump was asked for active ones only: then none is lost. */
static bool any_completed(const struct flight_dump *d)
{
	for (size_t i = 0; i < d->n_entries; i++)
		if (d->entries[i].state == FLIGHT_COMPLETED)
			return true;
	return false;
}

static void fold_entries(struct folder *f)
{
	size_t p2p_from = f->c->n_p2p;
	bool lost = !f->d->whole || (f->wrapped && any_completed(f->d));

	for (size_t i = 0; i < f->d->n_entries; i++)
		local_of(f, &f->d->entries[i]);
	map_groups_without_entries(f);
	apply_status(f);
	for (size_t i = 0; i < f->d->n_entries; i++) {
		const struct flight_entry *e = &f->d->entries[i];
		struct local_group *l = local_of(f, e);

		if (!l)
			continue;
		if (e->is_p2p)
			fold_p2p(f, l, e, p2p_from);
		else if (e->seq >= 0)
			fold_collective(f, l, e, i);
	}
	for (size_t i = 0; i < f->n_local; i++) {
		struct local_group *l = &f->local[i];

		if (l->batch_n)
			flush_batch(f, l, -1, p2p_from);
		if (l->open)
			commit(f, l, true);
		if (!l->rg.has_p2p && l->status_enqueued > l->rg.enqueued)
			l->rg.enqueued = l->status_enqueued;
		if (!l->rg.has_p2p && l->status_completed > l->rg.completed)
			l->rg.completed = l->status_completed;
		/* the counters know of work whose entry the ring, or a cut file, has lost */
		if (f->wrapped && !l->rg.has_p2p && l->rg.pending.set && l->status_completed > 0 &&
		    l->rg.pending.seq > l->rg.completed + 1) {
			l->rg.pending.seq = l->rg.completed + 1;
			l->rg.pending.order = 0;
		}
		if (lost && !l->rg.has_p2p && !l->rg.pending.set && l->status_enqueued > l->rg.completed)
			l->rg.pending = (struct coll_pending){ .set = true, .seq = l->rg.completed + 1,
							       .order = f->wrapped ? 0 : UINT64_MAX };
	}
}

static int keep_rank_groups(struct folder *f)
{
	struct coll_state *c = f->c;

	for (size_t i = 0; i < f->n_local; i++) {
		void *p = grow(c->rg, c->n_rg, &c->cap_rg, sizeof(*c->rg));

		if (!p)
			return -1;
		c->rg = p;
		c->rg[c->n_rg++] = f->local[i].rg;
	}
	return 0;
}

static struct coll_state *state_of(struct store *s)
{
	if (!s->collectives)
		s->collectives = ARENA_NEW(&s->arena, struct collectives);
	if (s->collectives && !s->collectives->state)
		s->collectives->state = calloc(1, sizeof(struct coll_state));
	return s->collectives ? s->collectives->state : NULL;
}

static bool have_rank(const struct coll_state *c, int32_t rank)
{
	for (size_t i = c->n_dumps; i-- > 0;)
		if (c->dumps[i].rank == rank)
			return true;
	return false;
}

int collectives_fold(struct store *s, const struct flight_dump *d, int32_t rank, uint32_t member,
		     const uint8_t *data, int64_t captured_ns, struct error *err)
{
	struct folder f = { .s = s, .c = state_of(s), .d = d, .data = data, .rank = rank, .member = member,
			    .captured_ns = captured_ns };
	void *p;

	if (!f.c)
		return error_set(err, ERR_NOMEM, "no memory for the collectives");
	if (have_rank(f.c, rank))
		return error_set(err, ERR_UNSUPPORTED, "a second dump of rank %d is not joined", rank);
	f.wrapped = d->n_entries && d->entries[0].record_id > 0;
	p = grow(f.c->dumps, f.c->n_dumps, &f.c->cap_dumps, sizeof(*f.c->dumps));
	if (!p)
		return error_set(err, ERR_NOMEM, "no memory for the collectives");
	f.c->dumps = p;
	f.c->dumps[f.c->n_dumps++] = (struct coll_dump){ rank, member, d->n_entries > 0, f.wrapped };
	fold_entries(&f);
	s->collectives->n_entries += d->n_entries;
	if (keep_rank_groups(&f))
		f.full = true;
	free(f.local);
	if (f.full)
		return error_set(err, ERR_LIMIT, "more groups or differing collectives than can be joined");
	return 0;
}

/* Does `d` hold the same operation, still unfinished? */
static bool still_waits(const struct flight_dump *d, const struct coll_pending *p)
{
	for (size_t i = 0; i < d->n_entries; i++)
		if (d->entries[i].created_ns == p->created_ns && d->entries[i].state != FLIGHT_COMPLETED)
			return true;
	return false;
}

void collectives_again(struct store *s, const struct flight_dump *d, int32_t rank)
{
	struct coll_state *c = s->collectives ? s->collectives->state : NULL;

	for (size_t i = 0; c && i < c->n_rg; i++)
		if (c->rg[i].rank == rank && c->rg[i].pending.in_flight)
			c->rg[i].pending.in_flight = !still_waits(d, &c->rg[i].pending);
	for (size_t i = 0; c && i < c->n_p2p; i++)
		if (c->p2p[i].rank == rank && c->p2p[i].pending.in_flight)
			c->p2p[i].pending.in_flight = !still_waits(d, &c->p2p[i].pending);
}

void collectives_free(struct store *s)
{
	struct coll_state *c = s->collectives ? s->collectives->state : NULL;

	if (!c)
		return;
	free(c->groups);
	free(c->rg);
	free(c->p2p);
	free(c->slots);
	free(c->slot_at);
	free(c->differ);
	free(c->dumps);
	free(c->p2p_size);
	free(c->p2p_size_n);
	free(c);
	s->collectives->state = NULL;
}
