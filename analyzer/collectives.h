/*
 * collectives - flight-recorder dumps of all ranks, joined.
 *
 * Dumps are folded one at a time: per (rank, group) how far it came, per (group,
 * sequence number) one slot, per rank and group the first unfinished operation.
 * Memory grows with ranks, distinct collectives and unfinished work, not with the
 * entries read.  collectives_join() then builds the wait-for graph and turns it
 * into coll.* observations; docs/COLLECTIVES.md has the table.
 */
#pragma once
#include "analyzer/ingest/flight.h"
#include "analyzer/store.h"

/* A collective that did not complete everywhere; what the report's picture shows. */
struct stuck_collective {
	sid group;			/* "default_pg (0)" */
	int64_t seq;
	sid op;				/* "all_reduce [4096] BFloat16" */
	int32_t *members, *entered, *completed, *missing, *unknown;	/* ranks, sorted */
	size_t n_members, n_entered, n_completed, n_missing, n_unknown;
};

struct collectives {
	struct stuck_collective *stuck;	/* first unfinished of each group, in group order */
	size_t n_stuck;
	int32_t *ranks;			/* ranks with a dump, sorted */
	size_t n_ranks;
	uint64_t n_entries;		/* read in all dumps */
	struct coll_state *state;	/* private to collectives.c and wait_for.c */
};

/*
 * Fold the dump of `rank`, read from `member`, into s->collectives (made when it
 * is missing).  `data` are the dump's bytes; `captured_ns` is when it was taken
 * (0: unknown).  A second dump of a rank is refused, and noted as damage by the caller.
 */
int collectives_fold(struct store *s, const struct flight_dump *d, int32_t rank, uint32_t member,
		     const uint8_t *data, int64_t captured_ns, struct error *err);
/* A later dump of a rank that was folded: what waits in both is stuck, however young it is. */
void collectives_again(struct store *s, const struct flight_dump *d, int32_t rank);

/* After the last dump and identity_seal(): observations for what the ranks wait for. */
int collectives_join(struct store *s, struct error *err);
void collectives_free(struct store *s);
