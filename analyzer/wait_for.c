/*
 * The wait-for graph: rank r waits for the ranks that its oldest unfinished
 * operation still lacks.  One pass over the ranks fills `struct waiter`, then the
 * rows of the table in docs/COLLECTIVES.md are tried in their order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/collectives_state.h"
#include "bundle/cleanup.h"

#define STRAGGLER_OPS 20	/* fewer collectives say nothing about who is last */
#define STRAGGLER_SHARE 80	/* percent of them */
#define BEHIND_MAX 32		/* edges of a rank to ranks that are merely blocked earlier */
#define CITED_RANKS 8		/* waiting ranks quoted for one that is waited for */

enum role { IDLE, WAITS, MISMATCH, STALLED, NOT_ENTERED, SILENT, DEAD, STUCK, DEADLOCK };

/* What one rank is doing; index = position in the sorted list of all ranks. */
struct waiter {
	int32_t rank;
	bool has_dump, lacked;
	enum role role;
	const struct coll_rank_group *rg;	/* its oldest unfinished collective, */
	const struct coll_p2p *p2p;		/* or send / recv; both NULL: waits for nobody */
	uint32_t *waits_for;			/* indexes */
	size_t n_waits, cap_waits;
	uint32_t witness[CITED_RANKS];		/* who waits for it */
	size_t n_witness;
	bool unknown;				/* lacks ranks of which nothing is known */
};

/* Who is missing in an operation; most members of a group wait in the same one. */
struct absence {
	bool known;
	int64_t seq;
	bool done;			/* all have entered: it is over somewhere */
	int32_t *missing, *blocked;	/* blocked: entered, but the device waits in an earlier one */
	uint32_t n_missing, n_blocked;
	bool unknown;
};

struct graph {
	struct store *s;
	struct absence *absence;	/* by group */
	struct coll_state *c;
	struct waiter *w;
	size_t n;
};

static struct waiter *waiter_of(const struct graph *g, int32_t rank)
{
	size_t lo = 0, hi = g->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (g->w[mid].rank < rank)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < g->n && g->w[lo].rank == rank ? &g->w[lo] : NULL;
}

static int compare_rg(const void *a, const void *b)
{
	const struct coll_rank_group *x = a, *y = b;

	return x->group != y->group ? (x->group < y->group ? -1 : 1) : (x->rank > y->rank) - (x->rank < y->rank);
}

static const struct coll_rank_group *rg_of(const struct coll_state *c, uint32_t group, int32_t rank)
{
	struct coll_rank_group key = { .rank = rank, .group = group };

	return bsearch(&key, c->rg, c->n_rg, sizeof(*c->rg), compare_rg);
}

static int compare_int32(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return (x > y) - (x < y);
}

/* Members of a group whose configuration no dump stated: the ranks seen in it. */
static int complete_members(struct graph *g)
{
	for (size_t i = 0; i < g->c->n_groups; i++) {
		struct coll_group *group = &g->c->groups[i];

		if (group->members_known)
			continue;
		group->members = ARENA_ARRAY(&g->s->arena, int32_t, g->c->n_rg);
		if (!group->members)
			return -1;
		for (size_t k = 0; k < g->c->n_rg; k++)
			if (g->c->rg[k].group == i)
				group->members[group->n_members++] = g->c->rg[k].rank;
	}
	return 0;
}

/* Everybody a dump or a group names, sorted. */
static int list_ranks(struct graph *g)
{
	size_t total = g->c->n_dumps, n = 0;
	_cleanup_free_ int32_t *all = NULL;

	for (size_t i = 0; i < g->c->n_groups; i++)
		total += g->c->groups[i].n_members;
	all = calloc(total ? total : 1, sizeof(*all));
	if (!all)
		return -1;
	for (size_t i = 0; i < g->c->n_dumps; i++)
		all[n++] = g->c->dumps[i].rank;
	for (size_t i = 0; i < g->c->n_groups; i++)
		for (uint32_t k = 0; k < g->c->groups[i].n_members; k++)
			all[n++] = g->c->groups[i].members[k];
	qsort(all, n, sizeof(*all), compare_int32);
	g->w = calloc(n ? n : 1, sizeof(*g->w));
	if (!g->w)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (i == 0 || all[i] != all[i - 1])
			g->w[g->n++].rank = all[i];
	for (size_t i = 0; i < g->c->n_dumps; i++)
		waiter_of(g, g->c->dumps[i].rank)->has_dump = true;
	return 0;
}

static const struct coll_pending *pending_of(const struct waiter *w)
{
	return w->rg ? &w->rg->pending : w->p2p ? &w->p2p->pending : NULL;
}

/* ---- who entered what ---- */

enum answer { NO, YES, UNKNOWN };

/* An operation that ends nowhere before all members have entered it. */
static bool synchronises(const char *op)
{
	static const char *const names[] = { "all_reduce", "all_gather", "_all_gather", "reduce_scatter",
					     "_reduce_scatter", "all_to_all", "barrier", "allreduce" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strncmp(op, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static enum answer entered(const struct graph *g, uint32_t group, int32_t rank, int64_t seq)
{
	const struct coll_rank_group *rg = rg_of(g->c, group, rank);
	const struct waiter *w = waiter_of(g, rank);

	if (!w || !w->has_dump)
		return UNKNOWN;
	return rg && rg->enqueued >= seq ? YES : NO;
}

static bool completed(const struct graph *g, uint32_t group, int32_t rank, int64_t seq)
{
	const struct coll_rank_group *rg = rg_of(g->c, group, rank);

	return rg && rg->completed >= seq;
}

static bool completed_anywhere(const struct graph *g, uint32_t group, int64_t seq)
{
	const struct coll_group *m = &g->c->groups[group];

	for (uint32_t i = 0; i < m->n_members; i++)
		if (completed(g, group, m->members[i], seq))
			return true;
	return false;
}

/*
 * Which of two unfinished collectives of a rank came first?  Where a cut file has
 * lost that, the one that a member has completed; then by group, so that the order
 * of the dumps does not matter.
 */
static bool is_older(const struct graph *g, const struct coll_rank_group *a, const struct coll_rank_group *b)
{
	bool done_a, done_b;

	if (a->pending.order != b->pending.order)
		return a->pending.order < b->pending.order;
	done_a = completed_anywhere(g, a->group, a->pending.seq);
	done_b = completed_anywhere(g, b->group, b->pending.seq);
	return done_a != done_b ? done_a : g->c->groups[a->group].key < g->c->groups[b->group].key;
}

/* Each rank's oldest unfinished operation. */
static void find_oldest(struct graph *g)
{
	for (size_t i = 0; i < g->c->n_rg; i++) {
		const struct coll_rank_group *rg = &g->c->rg[i];
		struct waiter *w = waiter_of(g, rg->rank);

		if (rg->pending.set && g->c->groups[rg->group].n_members > 1 &&
		    (!w->rg || is_older(g, rg, w->rg)))
			w->rg = rg;
	}
	for (size_t i = 0; i < g->c->n_p2p; i++) {
		const struct coll_p2p *p = &g->c->p2p[i];
		struct waiter *w = waiter_of(g, p->rank);
		const struct coll_pending *have = pending_of(w);

		if (p->pending.set && (!have || p->pending.order < have->order)) {
			w->rg = NULL;
			w->p2p = p;
		}
	}
	for (size_t i = 0; i < g->n; i++)
		g->w[i].role = pending_of(&g->w[i]) ? WAITS : IDLE;
}

/* The other end of a send / recv, and whether the operation of this index was posted there. */
static const struct coll_p2p *other_end(const struct graph *g, const struct coll_p2p *p)
{
	for (size_t i = 0; i < g->c->n_p2p; i++) {
		const struct coll_p2p *q = &g->c->p2p[i];

		if (q->group == p->group && q->rank == p->peer && q->peer == p->rank && q->is_send != p->is_send)
			return q;
	}
	return NULL;
}

static bool posted(const struct coll_p2p *p, const struct coll_p2p *other)
{
	if (!other)
		return false;
	/* A wrapped ring has lost the count: align on what is still unfinished. */
	if (p->wrapped || other->wrapped)
		return other->pending.set;
	return other->total > p->pending.seq;
}

/* An edge of the graph; `lacks`: the other has not even entered. */
static void wait_for(struct graph *g, struct waiter *w, int32_t rank, bool lacks)
{
	struct waiter *other = waiter_of(g, rank);

	if (!other || other == w || (!lacks && w->n_waits >= BEHIND_MAX))
		return;
	if (w->n_waits == w->cap_waits) {
		size_t cap = w->cap_waits ? w->cap_waits * 2 : 4;
		uint32_t *p = reallocarray(w->waits_for, cap, sizeof(*p));

		if (!p)
			return;
		w->waits_for = p;
		w->cap_waits = cap;
	}
	w->waits_for[w->n_waits++] = (uint32_t)(other - g->w);
	other->lacked |= lacks;
	if (lacks && other->n_witness < CITED_RANKS)
		other->witness[other->n_witness++] = (uint32_t)(w - g->w);
}

/* It has enqueued the operation, but its device waits in an earlier one. */
static bool blocked_before(const struct graph *g, uint32_t group, int32_t rank, int64_t seq)
{
	const struct waiter *w = waiter_of(g, rank);

	return w && pending_of(w) && !completed(g, group, rank, seq) &&
	       (!w->rg || w->rg->group != group || w->rg->pending.seq != seq);
}

static int find_absence(struct graph *g, struct absence *a, uint32_t group, int64_t seq, const char *op)
{
	const struct coll_group *m = &g->c->groups[group];
	uint32_t silent = 0;

	free(a->missing);
	free(a->blocked);
	*a = (struct absence){ .known = true, .seq = seq };
	a->missing = calloc(m->n_members + 1, sizeof(*a->missing));
	a->blocked = calloc(m->n_members + 1, sizeof(*a->blocked));
	if (!a->missing || !a->blocked)
		return -1;
	a->done = completed_anywhere(g, group, seq) && synchronises(op);
	for (uint32_t i = 0; i < m->n_members && !a->done; i++)
		silent += entered(g, group, m->members[i], seq) == UNKNOWN;
	for (uint32_t i = 0; i < m->n_members && !a->done; i++) {
		enum answer in = entered(g, group, m->members[i], seq);

		/* With most dumps missing, silence says nothing about a rank. */
		if (in == NO || (in == UNKNOWN && silent * 2 <= m->n_members))
			a->missing[a->n_missing++] = m->members[i];
		else if (in == YES && a->n_blocked < BEHIND_MAX && blocked_before(g, group, m->members[i], seq))
			a->blocked[a->n_blocked++] = m->members[i];
	}
	a->unknown = silent > 0;
	return 0;
}

static void draw_collective(struct graph *g, struct waiter *w)
{
	struct absence *a = &g->absence[w->rg->group];
	int64_t seq = w->rg->pending.seq;

	if ((!a->known || a->seq != seq) &&
	    find_absence(g, a, w->rg->group, seq, intern_str(&g->s->strings, w->rg->pending.op)))
		return;
	for (uint32_t i = 0; i < a->n_missing; i++)
		wait_for(g, w, a->missing[i], true);
	for (uint32_t i = 0; i < a->n_blocked; i++)
		wait_for(g, w, a->blocked[i], false);
	w->unknown |= a->unknown;
}

/* Is `p` part of what its rank is waiting in?  A batch of sends and receives ends as one. */
static bool in_oldest(const struct graph *g, const struct coll_p2p *p)
{
	const struct waiter *w = waiter_of(g, p->rank);

	return w->p2p && p->pending.set && p->pending.order == w->p2p->pending.order;
}

static void draw_edges(struct graph *g)
{
	for (size_t i = 0; i < g->n; i++) {
		struct waiter *w = &g->w[i];

		if (w->rg)
			draw_collective(g, w);
	}
	for (size_t i = 0; i < g->c->n_p2p; i++)
		if (in_oldest(g, &g->c->p2p[i]) && !posted(&g->c->p2p[i], other_end(g, &g->c->p2p[i])))
			wait_for(g, waiter_of(g, g->c->p2p[i].rank), g->c->p2p[i].peer, true);
}

/* ---- observations ---- */

static const char *str(const struct graph *g, sid id) { return intern_str(&g->s->strings, id); }

static void group_label(const struct graph *g, uint32_t group, char *buf, size_t size)
{
	const struct coll_group *m = &g->c->groups[group];

	if (m->desc)
		snprintf(buf, size, "%s (%s)", str(g, m->desc), str(g, m->name));
	else
		snprintf(buf, size, "%s", str(g, m->name));
}

static struct stamp utc(int64_t ns)
{
	return ns > 0 ? (struct stamp){ ns, TIME_UTC } : (struct stamp){ 0, TIME_UNKNOWN };
}

/* Quote the operation that `w` is waiting in. */
static void cite_waiter(struct graph *g, struct observation *o, const struct waiter *w)
{
	const struct coll_pending *p = pending_of(w);
	uint32_t group = w->rg ? w->rg->group : w->p2p ? w->p2p->group : 0;
	char label[128], text[400];

	if (!p)
		return;
	group_label(g, group, label, sizeof(label));
	if (w->rg)
		snprintf(text, sizeof(text), "rank %d: %s #%lld in %s %s: entered, not completed", w->rank,
			 str(g, p->op), (long long)p->seq, label, str(g, p->shape));
	else
		snprintf(text, sizeof(text), "rank %d: %s rank %d in %s %s: posted, not completed", w->rank,
			 w->p2p->is_send ? "send to" : "recv from", w->p2p->peer, label, str(g, p->shape));
	observation_cite(o, store_decoded(g->s, w->rg ? w->rg->member : w->p2p->member, p->offset, p->raw,
					  p->raw_bytes, text, utc(p->created_ns)));
}

/* Quote the last thing that `w` did in a group. */
static void cite_last(struct graph *g, struct observation *o, const struct waiter *w, uint32_t group)
{
	const struct coll_rank_group *rg = rg_of(g->c, group, w->rank);
	char label[128], text[400];

	if (!rg || !rg->last_raw)
		return;
	group_label(g, group, label, sizeof(label));
	snprintf(text, sizeof(text), "rank %d: last operation in %s is %s #%lld", w->rank, label,
		 str(g, rg->last_op), (long long)rg->last_seq);
	observation_cite(o, store_decoded(g->s, rg->member, rg->last_offset, rg->last_raw,
					  rg->last_raw_bytes, text, utc(0)));
}

static struct observation about(struct graph *g, const char *kind, const struct waiter *subject,
				const struct waiter *at)
{
	struct observation o = observation_of(kind, SRC_FLIGHT);
	const struct coll_pending *p = at ? pending_of(at) : NULL;
	uint32_t group = at && at->rg ? at->rg->group : at && at->p2p ? at->p2p->group : 0;
	char label[128];

	o.scope.rank = subject ? subject->rank : RANK_NONE;
	if (p) {
		group_label(g, group, label, sizeof(label));
		o.time = o.onset = utc(p->created_ns);
		observation_fieldf(g->s, &o, "group", "%s", label);
		observation_fieldf(g->s, &o, "op", "%s", str(g, p->op));
		if (at->rg)
			observation_fieldf(g->s, &o, "seq", "%lld", (long long)p->seq);
	}
	return o;
}

/* ---- row 1: members of one operation differ ---- */

static bool is_first_pending(const struct graph *g, uint32_t group, int64_t seq)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->w[i].rg && g->w[i].rg->group == group && g->w[i].rg->pending.seq == seq)
			return true;
	return false;
}

static void observe_mismatch(struct graph *g, struct waiter *culprit, const struct waiter *peer, const char *how)
{
	struct observation o = about(g, "coll.mismatch", culprit, pending_of(culprit) ? culprit : peer);

	observation_fieldf(g->s, &o, "differs", "%s", how);
	cite_waiter(g, &o, culprit);
	if (peer)
		cite_waiter(g, &o, peer);
	culprit->role = MISMATCH;
	store_observe(g->s, &o);
}

/* How many of the slot's ranks share `signature`. */
static uint32_t votes(const struct graph *g, const struct coll_slot *slot, uint64_t signature, bool aux)
{
	uint32_t index = (uint32_t)(slot - g->c->slots), n = 0, others = 0;

	for (size_t i = 0; i < g->c->n_differ; i++) {
		const struct coll_differ *d = &g->c->differ[i];

		if (d->slot != index || d->aux != aux)
			continue;
		others++;
		n += d->signature == signature;
	}
	return signature == (aux ? slot->aux : slot->signature) ? slot->n - others : n;
}

static uint64_t signature_of(const struct graph *g, const struct coll_slot *slot, int32_t rank, bool aux)
{
	uint32_t index = (uint32_t)(slot - g->c->slots);

	for (size_t i = 0; i < g->c->n_differ; i++)
		if (g->c->differ[i].slot == index && g->c->differ[i].rank == rank && g->c->differ[i].aux == aux)
			return g->c->differ[i].signature;
	return aux ? slot->aux : slot->signature;
}

/* It entered, and its entry was read: of a cut dump, the head may know of an entry that the file lost. */
static bool entry_seen(const struct graph *g, const struct coll_slot *slot, int32_t rank)
{
	const struct coll_rank_group *rg = rg_of(g->c, slot->group, rank);

	return entered(g, slot->group, rank, slot->seq) == YES &&
	       (rg->last_seq >= slot->seq || (rg->pending.raw && rg->pending.seq == slot->seq));
}

/* Whoever is not with the strict majority; without one, everybody in it. */
static void judge_slot(struct graph *g, const struct coll_slot *slot, bool aux)
{
	const struct coll_group *m = &g->c->groups[slot->group];
	const struct waiter *normal = NULL;
	uint64_t major = 0;

	for (uint32_t i = 0; i < m->n_members; i++) {
		uint64_t sig = signature_of(g, slot, m->members[i], aux);

		if (entry_seen(g, slot, m->members[i]) && votes(g, slot, sig, aux) * 2 > slot->n) {
			major = sig;
			normal = waiter_of(g, m->members[i]);
			break;
		}
	}
	for (uint32_t i = 0; i < m->n_members; i++) {
		struct waiter *w = waiter_of(g, m->members[i]);

		if (!entry_seen(g, slot, m->members[i]))
			continue;
		if (!major || signature_of(g, slot, m->members[i], aux) != major)
			observe_mismatch(g, w, normal, aux ? "sizes" : "operation, size or type");
		else if (w->role == WAITS && w->rg && w->rg->group == slot->group)
			w->role = MISMATCH;	/* waits in it; not at fault */
	}
}

static void find_mismatches(struct graph *g)
{
	uint32_t last = UINT32_MAX;

	for (size_t i = 0; i < g->c->n_differ; i++) {
		const struct coll_differ *d = &g->c->differ[i];
		const struct coll_slot *slot = &g->c->slots[d->slot];

		if (d->slot == last || slot->n < 2 || !is_first_pending(g, slot->group, slot->seq))
			continue;
		/* all_to_all sizes may differ; what is sent must be what is received */
		if (d->aux && (slot->sum_in == slot->sum_out || slot->n < g->c->groups[slot->group].n_members))
			continue;
		last = d->slot;
		judge_slot(g, slot, d->aux);
	}
}

static void find_p2p_mismatches(struct graph *g)
{
	for (size_t i = 0; i < g->c->n_p2p; i++) {
		const struct coll_p2p *p = &g->c->p2p[i], *other = in_oldest(g, p) ? other_end(g, p) : NULL;
		struct waiter *w = waiter_of(g, p->rank);

		if (!other || !other->pending.set || other->pending.signature == p->pending.signature ||
		    (!p->wrapped && !other->wrapped && other->pending.seq != p->pending.seq))
			continue;
		/* The size that the group uses otherwise is the right one; on a tie both are named. */
		if (coll_p2p_size_count(g->c, p->group, p->pending.signature) <=
		    coll_p2p_size_count(g->c, p->group, other->pending.signature)) {
			w->p2p = p;
			observe_mismatch(g, w, waiter_of(g, p->peer), "size");
		} else if (w->role == WAITS) {
			w->role = MISMATCH;
		}
	}
}

/* ---- rows 2 to 6 ---- */

static bool done_at_peer(const struct graph *g, const struct waiter *w)
{
	const struct coll_p2p *other;

	if (w->rg)
		return completed_anywhere(g, w->rg->group, w->rg->pending.seq);
	other = other_end(g, w->p2p);
	return other && !w->p2p->wrapped && !other->wrapped && other->done > w->p2p->pending.seq;
}

static void find_stalled(struct graph *g)
{
	for (size_t i = 0; i < g->n; i++) {
		struct waiter *w = &g->w[i];
		struct observation o;

		if (w->role != WAITS || w->n_waits || !done_at_peer(g, w))
			continue;
		w->role = STALLED;
		o = about(g, "coll.gpu_stalled", w, w);
		cite_waiter(g, &o, w);
		store_observe(g->s, &o);
	}
}

/* Did some other source see this rank's process end? */
static bool process_ended(const struct graph *g, int32_t rank)
{
	static const char *const kinds[] = { "proc.exit", "proc.segfault", "proc.crashed", "host.oom_kill" };

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (const struct observation *o = NULL; (o = store_next(g->s, kinds[k], o));)
			if (o->scope.rank == rank)
				return true;
	return false;
}

static void find_absent(struct graph *g)
{
	for (size_t i = 0; i < g->n; i++) {
		struct waiter *w = &g->w[i];
		const struct waiter *witness;
		struct observation o;
		bool dead;

		if (w->role != IDLE || !w->lacked)
			continue;
		witness = &g->w[w->witness[0]];
		dead = process_ended(g, w->rank);
		w->role = dead ? DEAD : w->has_dump ? NOT_ENTERED : SILENT;
		o = about(g, dead ? "coll.rank_dead" : w->has_dump ? "coll.not_entered" : "coll.silent", w, witness);
		if (witness->rg)
			cite_last(g, &o, w, witness->rg->group);
		for (size_t k = 0; k < w->n_witness; k++)
			cite_waiter(g, &o, &g->w[w->witness[k]]);
		store_observe(g->s, &o);
	}
}

/* Waiting for somebody whose state is explained is explained too. */
static void propagate(struct graph *g, bool *explained)
{
	bool changed = true;

	for (size_t i = 0; i < g->n; i++)
		explained[i] = g->w[i].role != WAITS || g->w[i].n_waits == 0;
	while (changed) {
		changed = false;
		for (size_t i = 0; i < g->n; i++)
			for (size_t k = 0; !explained[i] && k < g->w[i].n_waits; k++)
				if (explained[g->w[i].waits_for[k]])
					explained[i] = changed = true;
	}
}

static bool reaches_itself(const struct graph *g, uint32_t from, bool *seen, uint32_t *todo)
{
	size_t n = 0;

	memset(seen, 0, g->n * sizeof(*seen));
	todo[n++] = from;
	while (n) {
		const struct waiter *w = &g->w[todo[--n]];

		for (size_t k = 0; k < w->n_waits; k++) {
			uint32_t next = w->waits_for[k];

			if (next == from)
				return true;
			if (!seen[next]) {
				seen[next] = true;
				todo[n++] = next;
			}
		}
	}
	return false;
}

static int find_deadlock(struct graph *g)
{
	_cleanup_free_ bool *explained = calloc(g->n + 1, sizeof(*explained));
	_cleanup_free_ bool *seen = calloc(g->n + 1, sizeof(*seen));
	_cleanup_free_ uint32_t *todo = calloc(g->n + 1, sizeof(*todo));

	if (!explained || !seen || !todo)
		return -1;
	propagate(g, explained);
	for (size_t i = 0; i < g->n; i++) {
		struct observation o;

		if (explained[i] || !reaches_itself(g, (uint32_t)i, seen, todo))
			continue;
		g->w[i].role = DEADLOCK;
		o = about(g, "coll.order_deadlock", &g->w[i], &g->w[i]);
		cite_waiter(g, &o, &g->w[i]);
		for (size_t k = 0; k < g->w[i].n_waits && k < 2; k++)
			cite_waiter(g, &o, &g->w[g->w[i].waits_for[k]]);
		store_observe(g->s, &o);
	}
	return 0;
}

static void find_stuck(struct graph *g)
{
	for (size_t i = 0; i < g->n; i++) {
		struct waiter *w = &g->w[i];
		struct observation o;

		if (w->role != WAITS || w->n_waits || !w->rg || done_at_peer(g, w))
			continue;
		o = about(g, "coll.stuck", NULL, w);
		observation_fieldf(g->s, &o, "known", "%s", w->unknown ? "in part" : "all members");
		for (size_t k = i; k < g->n; k++) {
			struct waiter *v = &g->w[k];

			if (v->role != WAITS || v->n_waits || !v->rg || v->rg->group != w->rg->group ||
			    v->rg->pending.seq != w->rg->pending.seq)
				continue;
			if (v != w)
				v->role = STUCK;
			cite_waiter(g, &o, v);
		}
		w->role = STUCK;
		store_observe(g->s, &o);
	}
}

/* ---- row 7: all complete ---- */

/*
 * Clocks of hosts differ: a rank whose completions are late by as much as its
 * arrivals has a late clock, it is not late itself.
 */
static bool really_last(const struct coll_slot *s)
{
	int64_t late = s->arrived - s->arrived_before, spread = s->arrived_before - s->arrived_first;
	int64_t clock = s->left_last && s->left_others ? s->left_last - s->left_others : 0;

	return late > 3 * spread && late - (clock > 0 ? clock : 0) > late / 2 && late > 1000000;
}

static void find_straggler(struct graph *g)
{
	_cleanup_free_ uint32_t *last = calloc(g->n + 1, sizeof(*last)), *total = calloc(g->n + 1, sizeof(*total));

	if (!last || !total)
		return;
	for (size_t i = 0; i < g->c->n_slots; i++) {
		const struct coll_slot *slot = &g->c->slots[i];
		const struct coll_group *m = &g->c->groups[slot->group];

		if (slot->n < 3 || slot->n < m->n_members || slot->last_rank == RANK_NONE)
			continue;
		for (uint32_t k = 0; k < m->n_members; k++)
			total[waiter_of(g, m->members[k]) - g->w]++;
		if (really_last(slot))
			last[waiter_of(g, slot->last_rank) - g->w]++;
	}
	for (size_t i = 0; i < g->n; i++) {
		struct observation o;

		if (total[i] < STRAGGLER_OPS || (uint64_t)last[i] * 100 < (uint64_t)total[i] * STRAGGLER_SHARE)
			continue;
		o = about(g, "coll.straggler", &g->w[i], NULL);
		observation_fieldf(g->s, &o, "last_in", "%u of %u collectives", last[i], total[i]);
		for (size_t k = 0; k < g->c->n_rg; k++)
			if (g->c->rg[k].rank == g->w[i].rank)
				cite_last(g, &o, &g->w[i], g->c->rg[k].group);
		store_observe(g->s, &o);
	}
}

/* ---- the picture ---- */

static void list_members(struct graph *g, struct stuck_collective *st, uint32_t group, int64_t seq)
{
	const struct coll_group *m = &g->c->groups[group];
	int32_t *all = ARENA_ARRAY(&g->s->arena, int32_t, (size_t)m->n_members * 4 + 1);

	if (!all)
		return;
	st->members = m->members;
	st->n_members = m->n_members;
	st->entered = all;
	st->completed = all + m->n_members;
	st->missing = all + 2 * (size_t)m->n_members;
	st->unknown = all + 3 * (size_t)m->n_members;
	for (uint32_t i = 0; i < m->n_members; i++) {
		enum answer a = entered(g, group, m->members[i], seq);

		if (a == UNKNOWN)
			st->unknown[st->n_unknown++] = m->members[i];
		else if (a == NO)
			st->missing[st->n_missing++] = m->members[i];
		else
			st->entered[st->n_entered++] = m->members[i];
		if (completed(g, group, m->members[i], seq))
			st->completed[st->n_completed++] = m->members[i];
	}
}

static void list_stuck(struct graph *g)
{
	struct collectives *out = g->s->collectives;
	char label[128], op[160];

	out->stuck = ARENA_ARRAY(&g->s->arena, struct stuck_collective, g->c->n_groups + 1);
	for (size_t i = 0; out->stuck && i < g->c->n_groups; i++) {
		const struct coll_rank_group *first = NULL;
		struct stuck_collective *st;

		for (size_t k = 0; k < g->c->n_rg; k++)
			if (g->c->rg[k].group == i && g->c->rg[k].pending.set &&
			    (!first || g->c->rg[k].pending.seq < first->pending.seq))
				first = &g->c->rg[k];
		if (!first || g->c->groups[i].n_members < 2)
			continue;
		st = &out->stuck[out->n_stuck++];
		group_label(g, (uint32_t)i, label, sizeof(label));
		snprintf(op, sizeof(op), "%s %s", str(g, first->pending.op), str(g, first->pending.shape));
		st->group = intern_cstr(&g->s->strings, label);
		st->op = intern_cstr(&g->s->strings, op);
		st->seq = first->pending.seq;
		list_members(g, st, (uint32_t)i, st->seq);
	}
}

static void list_dumps(struct graph *g)
{
	struct collectives *out = g->s->collectives;

	out->ranks = ARENA_ARRAY(&g->s->arena, int32_t, g->n + 1);
	for (size_t i = 0; out->ranks && i < g->n; i++)
		if (g->w[i].has_dump)
			out->ranks[out->n_ranks++] = g->w[i].rank;
}

/* Work that was young when the dump was taken is no hang. */
static bool only_in_flight(struct graph *g)
{
	const struct waiter *young = NULL;
	struct observation o;

	for (size_t i = 0; i < g->n; i++) {
		const struct coll_pending *p = pending_of(&g->w[i]);

		if (p && !p->in_flight)
			return false;
		if (p)
			young = &g->w[i];
	}
	if (!young)
		return false;
	o = about(g, "coll.in_flight", young, young);
	cite_waiter(g, &o, young);
	store_observe(g->s, &o);
	return true;
}

static int judge(struct graph *g)
{
	bool waiting = false;

	for (size_t i = 0; i < g->n; i++)
		waiting |= g->w[i].role == WAITS;
	if (!waiting)
		return find_straggler(g), 0;
	if (only_in_flight(g))
		return 0;
	list_stuck(g);
	draw_edges(g);
	find_mismatches(g);
	find_p2p_mismatches(g);
	find_stalled(g);
	find_absent(g);
	if (find_deadlock(g))
		return -1;
	find_stuck(g);
	return 0;
}

int wait_for_join(struct store *s, struct error *err)
{
	struct graph g = { .s = s, .c = s->collectives->state };
	int ret = -1;

	qsort(g.c->rg, g.c->n_rg, sizeof(*g.c->rg), compare_rg);
	g.absence = calloc(g.c->n_groups + 1, sizeof(*g.absence));
	if (g.absence && complete_members(&g) == 0 && list_ranks(&g) == 0) {
		list_dumps(&g);
		find_oldest(&g);
		ret = judge(&g);
	}
	for (size_t i = 0; g.w && i < g.n; i++)
		free(g.w[i].waits_for);
	free(g.w);
	for (size_t i = 0; g.absence && i < g.c->n_groups; i++) {
		free(g.absence[i].missing);
		free(g.absence[i].blocked);
	}
	free(g.absence);
	return ret ? error_set(err, ERR_NOMEM, "no memory for the wait-for graph") : 0;
}

int collectives_join(struct store *s, struct error *err)
{
	return s->collectives && s->collectives->state ? wait_for_join(s, err) : 0;
}
