/*
 * identity - which rank, host, process and GPU is this about.
 *
 * One map, filled with facts of different trust while reading (NCCL's own line
 * beats a path), queried when observations are completed.  A contradiction of
 * equal or higher trust becomes an inconsistency, never a silent overwrite.
 */
#pragma once
#include "analyzer/store.h"

enum trust { TRUST_PATH = 1, TRUST_PREFIX, TRUST_LAUNCHER, TRUST_NCCL };

struct rank_identity {
	int32_t rank, local_rank, pid;
	sid host, gpu;
	enum trust trust, host_trust;	/* host_trust: of the map's own rows */
};

struct identity {
	struct rank_identity *ranks;	/* sorted by rank once sealed */
	size_t n_ranks, cap_ranks;
	int32_t world_size;		/* 0: unknown */
	sid job;
	struct host_alias {
		sid address, host;
	} *aliases;			/* address -> host name */
	size_t n_aliases, cap_aliases;
	sid *hosts;			/* every host met, sorted by name once sealed */
	size_t n_hosts, cap_hosts;
};

/* Learn what `id` knows; absent values (RANK_NONE, PID_NONE, 0) say nothing. */
void identity_learn(struct store *s, const struct rank_identity *id);
void identity_world(struct store *s, int32_t world_size);
void identity_host(struct store *s, sid host);

/* `address` is another name of `host`; observations get the host's name at the seal. */
void identity_alias(struct store *s, const char *address, sid host);

/* The host's name for a name or an address of it, as far as the input says. */
sid identity_host_of(struct store *s, const char *name);

/* Two names of one host: a short and a full one.  Addresses have no short form. */
bool host_same(const char *a, const char *b);
bool host_is_address(const char *name);

/* A process of the run's job. */
void run_learn(struct store *s, struct bundle_run *run, uint32_t pid);
bool run_knows(const struct bundle_run *run, int32_t pid);
/* Is a moment of the host decidedly before the run? */
bool run_is_after(const struct bundle_run *run, struct stamp t, int64_t error_ns);

/* By rank, or by (host, pid), or by (host, gpu); NULL when unknown. */
const struct rank_identity *identity_by_rank(const struct store *s, int32_t rank);
const struct rank_identity *identity_by_pid(const struct store *s, sid host, int32_t pid);
const struct rank_identity *identity_by_gpu(const struct store *s, sid host, sid gpu);

/* Sort, then fill what observations leave open about rank, host and GPU. */
void identity_seal(struct store *s);

/*
 * One spelling per GPU: "0000:3b:00.0" for any PCI form ("00000000:3B:00.0",
 * "PCI:0000:3b:00", "3b000"), anything else unchanged.
 */
sid gpu_canonical(struct intern *strings, const char *s, size_t len);
