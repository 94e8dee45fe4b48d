/*
 * Calls into NCCL, as probes saw them, as dumps for the wait-for graph.
 *
 * A call tells that a rank entered a collective, never that it completed.  What
 * all members of a group have entered counts as completed: it holds nobody up.
 * What is beyond it waits for those who did not enter.  So a stopped device, or a
 * network that lets nothing through, cannot be told from these records.
 * Communicators first seen mid-life number their calls from then on, each rank
 * for itself: they are left out.  So are send and recv: the n-th of a pair cannot
 * be counted once the ring has lost the first.
 */
#include "analyzer/ingest/ringer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/collectives.h"
#include "analyzer/identity.h"
#include "bundle/cleanup.h"

#define GROUPS_MAX 65536
#define MEMBERS_MAX (1 << 17)
#define AHEAD_MAX 1000		/* calls that a host may issue before its device is done with the first */

struct calls_segment {
	uint32_t member;
	uint8_t *data;
	size_t len;
	uint64_t first_seq;
	uint32_t ring;			/* segments of one host's ring follow each other */
	int64_t captured_ns;		/* realtime of the ring's last record */
	const struct bundle_run *run;	/* NULL */
};

/* A communicator over all its ranks; `by_rank` goes by the rank within it. */
struct call_group {
	uint64_t id;
	bool mid_life;
	uint32_t size;			/* 0: not known */
	uint32_t n;			/* of by_rank */
	struct call_member {
		bool seen;
		int32_t rank;		/* in the job */
		uint64_t entered;	/* highest sequence number */
	} *by_rank;
	uint64_t differs;		/* first sequence number at which calls differ; 0: none */
	uint64_t all_entered;		/* by every member that was seen, all in the same way */
};

/* The first call of a (group, sequence number). */
struct call_place {
	uint64_t key, signature;
};

struct ring_calls {
	struct calls_segment *segments;
	size_t n, cap;
	uint32_t rings;
	struct segment_head last;
	struct call_group *groups;
	size_t n_groups, cap_groups;
	uint32_t *slot;			/* hash of group ids: index + 1 */
	size_t slot_cap;
	struct call_place *places;	/* hash */
	size_t n_places, place_cap;
	bool full;
};

int ring_calls_add(struct ring_calls **calls, const struct ringer *r, uint8_t *data, size_t len, uint64_t first_seq)
{
	_cleanup_free_ uint8_t *owned = data;
	struct ring_calls *c = *calls ? *calls : (*calls = calloc(1, sizeof(*c)));

	if (!c)
		return -1;
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 64;
		void *p = reallocarray(c->segments, cap, sizeof(*c->segments));

		if (!p)
			return -1;
		c->segments = p;
		c->cap = cap;
	}
	if (c->n && (first_seq == 0 || memcmp(c->last.boot_id, r->head.boot_id, 16) ||
		     memcmp(c->last.host, r->head.host, 64)))
		c->rings++;
	c->last = r->head;
	c->segments[c->n++] = (struct calls_segment){
		.member = r->member, .data = take(owned), .len = len, .first_seq = first_seq, .ring = c->rings,
		.captured_ns = segment_realtime(&r->head, r->end_ns), .run = r->s->members[r->member].run,
	};
	return 0;
}

void ring_calls_free(struct ring_calls *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++)
		free(c->segments[i].data);
	for (size_t i = 0; i < c->n_groups; i++)
		free(c->groups[i].by_rank);
	free(c->segments);
	free(c->groups);
	free(c->slot);
	free(c->places);
	free(c);
}

/* ---- groups ---- */

static size_t slot_of(const struct ring_calls *c, uint64_t id)
{
	size_t i = (size_t)(id * 0x9e3779b97f4a7c15u >> 20) & (c->slot_cap - 1);

	while (c->slot[i] && c->groups[c->slot[i] - 1].id != id)
		i = (i + 1) & (c->slot_cap - 1);
	return i;
}

static struct call_group *group_of(struct ring_calls *c, uint64_t id)
{
	size_t i;

	if (!c->slot) {
		c->slot_cap = 2 * GROUPS_MAX;
		c->slot = calloc(c->slot_cap, sizeof(*c->slot));
	}
	if (!c->slot || !id)
		return NULL;
	i = slot_of(c, id);
	if (c->slot[i])
		return &c->groups[c->slot[i] - 1];
	if (c->n_groups == c->cap_groups) {
		size_t cap = c->cap_groups ? c->cap_groups * 2 : 64;
		void *p = cap <= GROUPS_MAX ? reallocarray(c->groups, cap, sizeof(*c->groups)) : NULL;

		if (!p) {
			c->full = true;
			return NULL;
		}
		c->groups = p;
		c->cap_groups = cap;
	}
	c->groups[c->n_groups] = (struct call_group){ .id = id };
	c->slot[i] = (uint32_t)++c->n_groups;
	return &c->groups[c->n_groups - 1];
}

static struct call_member *member_of(struct ring_calls *c, struct call_group *g, int32_t comm_rank, int32_t rank)
{
	struct call_member *m;

	if (comm_rank < 0 || comm_rank >= MEMBERS_MAX || sane_rank(rank) < 0)
		return NULL;
	if ((uint32_t)comm_rank >= g->n) {
		uint32_t n = g->n ? g->n : 8;
		void *p;

		while (n <= (uint32_t)comm_rank)
			n *= 2;
		p = reallocarray(g->by_rank, n, sizeof(*g->by_rank));
		if (!p) {
			c->full = true;
			return NULL;
		}
		g->by_rank = p;
		memset(&g->by_rank[g->n], 0, (n - g->n) * sizeof(*g->by_rank));
		g->n = n;
	}
	m = &g->by_rank[comm_rank];
	m->seen = true;
	m->rank = rank;
	return m;
}

/* Sequence numbers begin at 1; 0 stands for a communicator that made no call. */
static bool is_collective(const struct record_nccl_call *k)
{
	return k->op != NCCL_OP_SEND && k->op != NCCL_OP_RECV && k->seq < UINT64_C(1) << 40;
}

static int grow_places(struct ring_calls *c)
{
	size_t cap = c->place_cap ? c->place_cap * 2 : 8192;
	struct call_place *p = calloc(cap, sizeof(*p));

	if (!p) {
		c->full = true;
		return -1;
	}
	for (size_t n = 0; n < c->place_cap; n++) {
		size_t i = c->places[n].key & (cap - 1);

		while (c->places[n].key && p[i].key)
			i = (i + 1) & (cap - 1);
		if (c->places[n].key)
			p[i] = c->places[n];
	}
	free(c->places);
	c->places = p;
	c->place_cap = cap;
	return 0;
}

/* What all members must agree on. */
static uint64_t signature_of(const struct record_nccl_call *k)
{
	uint64_t parts[] = { k->op, k->dtype, k->redop, k->count, (uint64_t)(int64_t)k->peer_or_root };

	return hash_bytes(parts, sizeof(parts), 5);
}

/* Remember what the first rank called at this place; another call there is a difference. */
static void compare_signatures(struct ring_calls *c, struct call_group *g, const struct record_nccl_call *k)
{
	uint64_t place[] = { k->group, k->seq }, key = hash_bytes(place, sizeof(place), 9) | 1,
		 signature = signature_of(k);
	size_t i;

	if (c->n_places * 2 >= c->place_cap && grow_places(c))
		return;
	i = key & (c->place_cap - 1);
	while (c->places[i].key && c->places[i].key != key)
		i = (i + 1) & (c->place_cap - 1);
	if (!c->places[i].key) {
		c->places[i] = (struct call_place){ key, signature };
		c->n_places++;
	} else if (c->places[i].signature != signature && (!g->differs || k->seq < g->differs)) {
		g->differs = k->seq;
	}
}

static void learn_comm(struct ring_calls *c, const struct record *rec)
{
	struct record_nccl_comm k;
	struct call_group *g;

	record_part(rec, &k, sizeof(k));
	g = group_of(c, k.group);
	if (!g || (k.event != NCCL_COMM_INIT && k.event != NCCL_COMM_SPLIT))
		return;
	member_of(c, g, k.comm_rank, k.rank);
	if (k.comm_size > 0 && k.comm_size <= MEMBERS_MAX)
		g->size = (uint32_t)k.comm_size;
}

static void learn_call(struct ring_calls *c, const struct record *rec)
{
	struct record_nccl_call k;
	struct call_group *g;
	struct call_member *m;

	record_part(rec, &k, sizeof(k));
	g = is_collective(&k) ? group_of(c, k.group) : NULL;
	if (!g)
		return;
	g->mid_life |= (k.flags & 1) != 0;
	m = member_of(c, g, k.comm_rank, k.rank);
	if (m && k.seq > m->entered)
		m->entered = k.seq;
	compare_signatures(c, g, &k);
}

/* Members that no record is of are known where the group is the whole job, numbered as the job is. */
static void complete_groups(struct ring_calls *c, int32_t world_size)
{
	for (size_t i = 0; i < c->n_groups; i++) {
		struct call_group *g = &c->groups[i];
		bool same = g->size && (int32_t)g->size == world_size;
		uint64_t low = UINT64_MAX, high = 0;

		for (uint32_t k = 0; k < g->n; k++) {
			if (!g->by_rank[k].seen)
				continue;
			same &= g->by_rank[k].rank == (int32_t)k;
			low = g->by_rank[k].entered < low ? g->by_rank[k].entered : low;
			high = g->by_rank[k].entered > high ? g->by_rank[k].entered : high;
		}
		/* a difference that all went far beyond held nobody up */
		if (g->differs && g->differs <= low && high - g->differs < AHEAD_MAX)
			low = g->differs - 1;
		g->all_entered = low;
		if (!same)
			g->size = 0;
	}
}

/* ---- one host's ring, rank by rank ---- */

struct call {
	struct record_nccl_call k;
	uint32_t group, segment;
	uint64_t offset, order;
	uint32_t bytes;
	int64_t time_ns;
};

struct host_calls {
	struct call *v;
	size_t n, cap;
};

static int add_call(struct host_calls *h, const struct call *call)
{
	if (h->n == h->cap) {
		size_t cap = h->cap ? h->cap * 2 : 4096;
		void *p = reallocarray(h->v, cap, sizeof(*h->v));

		if (!p)
			return -1;
		h->v = p;
		h->cap = cap;
	}
	h->v[h->n] = *call;
	h->v[h->n].order = h->n;
	h->n++;
	return 0;
}

/* Is it of the run that the bundle is about?  A pid stands first in calls and communicators. */
static bool is_of_run(const struct calls_segment *g, const struct segment_reader *seg, const struct record *rec)
{
	uint32_t pid;

	if (!g->run || !g->run->begin_ns)
		return true;
	record_part(rec, &pid, sizeof(pid));
	return !run_is_after(g->run, (struct stamp){ segment_realtime(&seg->head, rec->monotonic_ns), TIME_UTC }, 0) &&
	       (!g->run->n_pids || run_knows(g->run, (int32_t)pid));
}

/* Also of a communicator that was made: a rank of which that is all never called. */
static bool call_of(const struct record *rec, struct record_nccl_call *ret)
{
	struct record_nccl_comm k;

	if (rec->kind == REC_NCCL_CALL) {
		record_part(rec, ret, sizeof(*ret));
		return true;
	}
	if (rec->kind != REC_NCCL_COMM)
		return false;
	record_part(rec, &k, sizeof(k));
	*ret = (struct record_nccl_call){ .rank = k.rank, .op = NCCL_OP_NONE, .group = k.group };
	return true;
}

static int collect(struct ring_calls *c, uint32_t segment, struct host_calls *h)
{
	const struct calls_segment *g = &c->segments[segment];
	struct segment_reader seg;
	struct error ignored = { 0 };
	struct record rec;

	if (segment_open(&seg, g->data, g->len, &ignored))
		return 0;
	while (ring_next(&seg, &rec)) {
		struct call call = { .segment = segment, .offset = rec.offset, .bytes = rec.bytes,
				     .time_ns = segment_realtime(&seg.head, rec.monotonic_ns) };
		const struct call_group *group;

		if (rec.seq < g->first_seq || !is_of_run(g, &seg, &rec) || !call_of(&rec, &call.k))
			continue;
		group = sane_rank(call.k.rank) >= 0 && is_collective(&call.k) ? group_of(c, call.k.group) : NULL;
		if (!group || group->mid_life)
			continue;
		call.group = (uint32_t)(group - c->groups);
		if (add_call(h, &call))
			return -1;
	}
	return 0;
}

static int compare_calls(const void *a, const void *b)
{
	const struct call *x = a, *y = b;

	if (x->k.rank != y->k.rank)
		return x->k.rank < y->k.rank ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

static const char *const op_names[] = {
	"none", "all_reduce", "broadcast",  "reduce", "all_gather", "reduce_scatter",
	"send", "recv",	      "all_to_all", "gather", "scatter",
};
static const char *const type_names[] = {
	"int8",	   "uint8",   "int32",	 "uint32",   "int64",	    "uint64",
	"float16", "float32", "float64", "bfloat16", "float8_e4m3", "float8_e5m2",
};

static struct flight_text text_of(const char *s)
{
	return (struct flight_text){ s, (uint32_t)strlen(s) };
}

static struct flight_entry entry_of(const struct ring_calls *c, const struct call *call, const char *group_name,
				    size_t i, uint32_t quoted)
{
	const struct record_nccl_call *k = &call->k;
	bool waits = k->seq > c->groups[call->group].all_entered;
	struct flight_entry e = {
		.record_id = (int64_t)i, .seq = (int64_t)k->seq, .p2p_seq = -1, .pg_id = -1, .peer = -1,
		.created_ns = waits ? call->time_ns : 0,
		.op = text_of(k->op < ARRAY_SIZE(op_names) ? op_names[k->op] : "unknown"),
		.group = text_of(group_name),
		.signature = signature_of(k), .in_numel = k->count, .out_numel = k->count,
		.state = waits ? FLIGHT_STARTED : FLIGHT_COMPLETED,
	};

	if (call->segment == quoted) {
		e.start = call->offset;
		e.end = call->offset + call->bytes;
	}
	snprintf(e.shape, sizeof(e.shape), "[%llu] %s", (unsigned long long)k->count,
		 k->dtype < ARRAY_SIZE(type_names) ? type_names[k->dtype] : "unknown");
	return e;
}

/* The groups of a rank, as pg_config and pg_status would list them. */
struct rank_groups {
	struct flight_group *config;
	struct flight_status *status;
	char (*names)[16];
	uint32_t *index;		/* in ring_calls.groups, rising */
	size_t n;
};

static int members_of(struct store *s, const struct call_group *g, struct flight_group *ret)
{
	uint32_t n = g->size > g->n ? g->size : g->n;

	ret->ranks = ARENA_ARRAY(&s->arena, int32_t, n ? n : 1);
	ret->n_ranks = 0;
	if (!ret->ranks)
		return -1;
	for (uint32_t k = 0; k < n; k++) {
		if (k < g->n && g->by_rank[k].seen)
			ret->ranks[ret->n_ranks++] = g->by_rank[k].rank;
		else if (k < g->size)
			ret->ranks[ret->n_ranks++] = (int32_t)k;
	}
	for (uint32_t i = 1; i < ret->n_ranks; i++)	/* nearly sorted as it is */
		for (uint32_t k = i; k && ret->ranks[k - 1] > ret->ranks[k]; k--) {
			int32_t swap = ret->ranks[k];

			ret->ranks[k] = ret->ranks[k - 1];
			ret->ranks[k - 1] = swap;
		}
	return 0;
}

static const struct call_member *own_membership(const struct call_group *g, int32_t rank)
{
	for (uint32_t k = 0; k < g->n; k++)
		if (g->by_rank[k].seen && g->by_rank[k].rank == rank)
			return &g->by_rank[k];
	return NULL;
}

static int groups_of_rank(struct store *s, const struct ring_calls *c, int32_t rank, struct rank_groups *ret)
{
	size_t n = c->n_groups ? c->n_groups : 1;

	ret->config = calloc(n, sizeof(*ret->config));
	ret->status = calloc(n, sizeof(*ret->status));
	ret->names = calloc(n, sizeof(*ret->names));
	ret->index = calloc(n, sizeof(*ret->index));
	if (!ret->config || !ret->status || !ret->names || !ret->index)
		return -1;
	for (size_t i = 0; i < c->n_groups; i++) {
		const struct call_group *g = &c->groups[i];
		const struct call_member *own = g->mid_life ? NULL : own_membership(g, rank);
		uint64_t done;

		if (!own)
			continue;
		if (members_of(s, g, &ret->config[ret->n]))
			return -1;
		snprintf(ret->names[ret->n], sizeof(ret->names[0]), "%zu", i + 1);
		ret->config[ret->n].name = text_of(ret->names[ret->n]);
		done = own->entered < g->all_entered ? own->entered : g->all_entered;
		ret->status[ret->n] = (struct flight_status){ (int64_t)ret->n, (int64_t)own->entered, (int64_t)done };
		ret->index[ret->n++] = (uint32_t)i;
	}
	return 0;
}

static void groups_free(struct rank_groups *g)
{
	free(g->config);
	free(g->status);
	free(g->names);
	free(g->index);
}

/* The segment whose records are quoted: that of the first call that waits, else of the last. */
static uint32_t quoted_segment(const struct ring_calls *c, const struct call *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].k.seq > c->groups[v[i].group].all_entered)
			return v[i].segment;
	return v[n - 1].segment;
}

static int fold_rank(struct store *s, const struct ring_calls *c, const struct call *v, size_t n, struct error *err)
{
	_cleanup_free_ struct flight_entry *entries = calloc(n, sizeof(*entries));
	_cleanup_(groups_free) struct rank_groups groups = { 0 };
	uint32_t quoted = quoted_segment(c, v, n);
	const struct calls_segment *seg = &c->segments[quoted];
	struct flight_dump d = { .version = text_of("uprobes"), .has_status = true, .whole = true };
	struct error refused = { 0 };

	if (!entries || groups_of_rank(s, c, v[0].k.rank, &groups))
		return error_set(err, ERR_NOMEM, "no memory for the NCCL calls");
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < groups.n && groups.index[k] != v[i].group)
			k++;
		if (k == groups.n || v[i].k.op == NCCL_OP_NONE)
			continue;
		entries[d.n_entries] = entry_of(c, &v[i], groups.names[k], d.n_entries, quoted);
		entries[d.n_entries++].pg_id = (int64_t)k;
	}
	d.entries = entries;
	d.groups = groups.config;
	d.n_groups = groups.n;
	d.status = groups.status;
	d.n_status = groups.n;
	/* refused: this rank's flight recorder was read, and knows more */
	collectives_fold(s, &d, v[0].k.rank, seg->member, seg->data, seg->captured_ns, &refused);
	s->members[seg->member].sources |= 1u << SRC_FLIGHT;
	return 0;
}

static int fold_ring(struct store *s, struct ring_calls *c, uint32_t from, uint32_t to, struct error *err)
{
	struct host_calls h = { 0 };
	int ret = 0;

	for (uint32_t i = from; ret == 0 && i < to; i++)
		ret = collect(c, i, &h) ? error_set(err, ERR_NOMEM, "no memory for the NCCL calls") : 0;
	if (h.n)
		qsort(h.v, h.n, sizeof(*h.v), compare_calls);
	for (size_t i = 0, n; ret == 0 && i < h.n; i += n) {
		for (n = 1; i + n < h.n && h.v[i + n].k.rank == h.v[i].k.rank; n++)
			;
		ret = fold_rank(s, c, &h.v[i], n, err);
	}
	free(h.v);
	return ret;
}

static void learn_segment(struct ring_calls *c, const struct calls_segment *g)
{
	struct segment_reader seg;
	struct error ignored = { 0 };
	struct record rec;

	if (segment_open(&seg, g->data, g->len, &ignored))
		return;
	while (ring_next(&seg, &rec)) {
		if (!is_of_run(g, &seg, &rec))
			continue;
		if (rec.kind == REC_NCCL_COMM)
			learn_comm(c, &rec);
		else if (rec.kind == REC_NCCL_CALL)
			learn_call(c, &rec);
	}
}

int ring_calls_fold(struct store *s, struct ring_calls *c, struct error *err)
{
	if (!c)
		return 0;
	for (size_t i = 0; i < c->n; i++)
		learn_segment(c, &c->segments[i]);
	complete_groups(c, s->identity->world_size);
	for (uint32_t from = 0, to; from < c->n; from = to) {
		for (to = from + 1; to < c->n && c->segments[to].ring == c->segments[from].ring; to++)
			;
		if (fold_ring(s, c, from, to, err))
			return -1;
	}
	return 0;
}
