/* collectives_state - what folding leaves for the join; private to collectives.c and wait_for.c. */
#pragma once
#include "analyzer/collectives.h"

#define NO_SEQ (-1)

/* A process group: the same name, description and members on every rank. */
struct coll_group {
	sid name, desc;
	int32_t *members;		/* sorted; completed from rank_groups when unknown */
	uint32_t n_members;
	bool members_known;
	uint64_t key;
};

/* The first unfinished operation of a rank in a group, or of a rank towards a peer. */
struct coll_pending {
	bool set;
	int64_t seq;			/* collective: sequence number; p2p: index towards the peer */
	uint64_t order;			/* place in the rank's program */
	uint64_t signature;
	int64_t created_ns;
	sid op, shape;
	const uint8_t *raw;		/* its bytes in the dump, the tail when long */
	uint32_t raw_bytes;
	uint64_t offset;
	bool in_flight;			/* young when the dump was taken */
};

struct coll_rank_group {
	int32_t rank;
	uint32_t group, member;
	int64_t enqueued, completed;	/* highest known; NO_SEQ: none */
	bool has_p2p;
	struct coll_pending pending;
	sid last_op;			/* the last entry of all, for the quote */
	int64_t last_seq;
	const uint8_t *last_raw;
	uint32_t last_raw_bytes;
	uint64_t last_offset;
};

/* Sends (or receives) of a rank to (from) one peer, in order. */
struct coll_p2p {
	int32_t rank, peer;		/* global */
	uint32_t group, member;
	bool is_send, wrapped;
	int64_t total, done;
	struct coll_pending pending;
};

/* One collective over all ranks. */
struct coll_slot {
	uint32_t group;
	int64_t seq;
	uint64_t signature, aux;	/* of the first rank folded; aux: sizes of all_to_all */
	int32_t first_rank, last_rank;	/* last_rank: who arrived last */
	uint32_t n, n_differ;
	uint64_t sum_in, sum_out;
	int64_t arrived, arrived_before, arrived_first;	/* last, last but one, first; ns */
	int64_t left_last, left_others;	/* completion of last_rank, and the latest other one */
	bool totals;			/* sizes are judged by their totals */
};

/* A rank whose signature differs from the slot's. */
struct coll_differ {
	uint32_t slot;
	int32_t rank;
	uint64_t signature;
	bool aux;
};

struct coll_dump {
	int32_t rank;
	uint32_t member;
	bool has_entries, wrapped;
};

struct coll_state {
	struct coll_group *groups;
	size_t n_groups, cap_groups;
	struct coll_rank_group *rg;	/* sorted by (rank, group) at the join */
	size_t n_rg, cap_rg;
	struct coll_p2p *p2p;
	size_t n_p2p, cap_p2p;
	struct coll_slot *slots;
	size_t n_slots, cap_slots;
	uint32_t *slot_at;		/* hash: slot index + 1 */
	size_t slot_at_cap;
	struct coll_differ *differ;
	size_t n_differ, cap_differ;
	struct coll_dump *dumps;
	size_t n_dumps, cap_dumps;
	uint64_t *p2p_size;		/* hash of (group, size) -> how many p2p operations */
	uint32_t *p2p_size_n;
	size_t p2p_size_cap, n_p2p_size;
};

int wait_for_join(struct store *s, struct error *err);
struct coll_slot *coll_slot_find(const struct coll_state *c, uint32_t group, int64_t seq);
uint32_t coll_p2p_size_count(const struct coll_state *c, uint32_t group, uint64_t signature);
