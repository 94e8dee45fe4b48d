#include "analyzer/identity.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ranks that an input may name; a larger number in a line is no rank. */
#define RANKS_MAX (1 << 20)
#define RUN_PIDS_MAX 8192	/* of one host */

static int compare_ranks(const void *a, const void *b)
{
	const struct rank_identity *x = a, *y = b;

	return (x->rank > y->rank) - (x->rank < y->rank);
}

static struct rank_identity *find_rank(const struct identity *map, int32_t rank)
{
	size_t lo = 0, hi = map->n_ranks;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (map->ranks[mid].rank < rank)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < map->n_ranks ? &map->ranks[lo] : NULL;
}

/* The row of `rank`, made when it is new; the table stays sorted. */
static struct rank_identity *rank_row(struct store *s, int32_t rank)
{
	struct identity *map = s->identity;
	struct rank_identity *row = find_rank(map, rank);
	size_t at = row ? (size_t)(row - map->ranks) : map->n_ranks;
	void *p;

	if (row && row->rank == rank)
		return row;
	p = arena_grow(&s->arena, map->ranks, map->n_ranks, &map->cap_ranks, sizeof(*map->ranks));
	if (!p)
		return NULL;
	map->ranks = p;
	memmove(&map->ranks[at + 1], &map->ranks[at], (map->n_ranks - at) * sizeof(*map->ranks));
	map->ranks[at] = (struct rank_identity){ .rank = rank, .local_rank = RANK_NONE, .pid = PID_NONE };
	map->n_ranks++;
	return &map->ranks[at];
}

bool host_is_address(const char *name) { return name[strspn(name, "0123456789.")] == '\0' || strchr(name, ':'); }

bool host_same(const char *a, const char *b)
{
	size_t n = strcspn(a, "."), m = strcspn(b, ".");

	if (host_is_address(a) || host_is_address(b))
		return strcmp(a, b) == 0;
	return n == m && strncasecmp(a, b, n) == 0;
}

/* Take a value of higher trust; note a contradiction of equal trust. */
static void settle_sid(struct store *s, struct rank_identity *row, sid *have, sid new,
		       enum trust trust, enum trust known, const char *what)
{
	const char *a = intern_str(&s->strings, *have), *b = intern_str(&s->strings, new);

	if (!new || *have == new || (*have && host_same(a, b)))
		return;
	if (*have && trust == known && trust > TRUST_PATH)
		store_inconsistency(s, "rank %d: %s is \"%s\" and \"%s\"", row->rank, what, a, b);
	if (!*have || trust > known)
		*have = new;
}

static void settle_int(int32_t *have, int32_t new, bool better)
{
	if (new >= 0 && (*have < 0 || better))
		*have = new;
}

void identity_learn(struct store *s, const struct rank_identity *id)
{
	struct rank_identity *row;

	identity_host(s, id->host);
	if (id->rank < 0 || id->rank >= RANKS_MAX)
		return;
	row = rank_row(s, id->rank);
	if (!row)
		return;
	settle_sid(s, row, &row->host, id->host, id->trust, row->host_trust, "host");
	settle_sid(s, row, &row->gpu, id->gpu, id->trust, row->trust, "GPU");
	if (id->host && id->trust > row->host_trust)
		row->host_trust = id->trust;
	settle_int(&row->pid, id->pid, id->trust > row->trust);
	settle_int(&row->local_rank, id->local_rank, id->trust > row->trust);
	if (id->trust > row->trust)
		row->trust = id->trust;
}

void identity_world(struct store *s, int32_t world_size)
{
	if (world_size > s->identity->world_size && world_size <= RANKS_MAX)
		s->identity->world_size = world_size;
}

void identity_host(struct store *s, sid host)
{
	struct identity *map = s->identity;
	void *p;

	if (!host)
		return;
	for (size_t i = 0; i < map->n_hosts; i++)
		if (map->hosts[i] == host)
			return;
	p = map->n_hosts < 65536 ?
		arena_grow(&s->arena, map->hosts, map->n_hosts, &map->cap_hosts, sizeof(sid)) : NULL;
	if (!p)
		return;
	map->hosts = p;
	map->hosts[map->n_hosts++] = host;
}

void identity_alias(struct store *s, const char *address, sid host)
{
	struct identity *map = s->identity;
	sid a = intern_cstr(&s->strings, address);
	void *p;

	if (!a || !host || a == host)
		return;
	for (size_t i = 0; i < map->n_aliases; i++)
		if (map->aliases[i].address == a)
			return;
	p = map->n_aliases < 65536 ?
		arena_grow(&s->arena, map->aliases, map->n_aliases, &map->cap_aliases, sizeof(*map->aliases)) : NULL;
	if (!p)
		return;
	map->aliases = p;
	map->aliases[map->n_aliases++] = (struct host_alias){ a, host };
}

sid identity_host_of(struct store *s, const char *name)
{
	sid host = intern_cstr(&s->strings, name);

	for (size_t i = 0; i < s->identity->n_aliases; i++)
		if (s->identity->aliases[i].address == host)
			return s->identity->aliases[i].host;
	return host;
}

const struct rank_identity *identity_by_rank(const struct store *s, int32_t rank)
{
	struct rank_identity *row = find_rank(s->identity, rank);

	return row && row->rank == rank ? row : NULL;
}

const struct rank_identity *identity_by_pid(const struct store *s, sid host, int32_t pid)
{
	const struct rank_identity *hit = NULL;

	for (size_t i = 0; pid > 0 && i < s->identity->n_ranks; i++) {
		const struct rank_identity *r = &s->identity->ranks[i];

		if (r->pid != pid || (host && r->host && r->host != host))
			continue;
		if (hit)
			return NULL;	/* two ranks could be meant */
		hit = r;
	}
	return hit;
}

const struct rank_identity *identity_by_gpu(const struct store *s, sid host, sid gpu)
{
	const struct rank_identity *hit = NULL;

	for (size_t i = 0; gpu && i < s->identity->n_ranks; i++) {
		const struct rank_identity *r = &s->identity->ranks[i];

		if (r->gpu != gpu || (host && r->host && r->host != host))
			continue;
		if (hit)
			return NULL;
		hit = r;
	}
	return hit;
}

/* A GPU that no rank of the job uses, where every rank's GPU is known. */
static bool is_foreign(const struct store *s, const struct observation *o)
{
	const struct identity *map = s->identity;
	size_t with_gpu = 0;

	if (!o->scope.gpu || (o->source != SRC_KERNEL && o->source != SRC_DRIVER) || map->n_ranks == 0 ||
	    (int32_t)map->n_ranks != map->world_size)
		return false;
	for (size_t i = 0; i < map->n_ranks; i++) {
		if (map->ranks[i].gpu == o->scope.gpu)
			return false;
		with_gpu += map->ranks[i].gpu != 0;
	}
	return with_gpu == map->n_ranks && strchr(intern_str(&s->strings, o->scope.gpu), ':') != NULL;
}

/* ---- the run of a bundle ---- */

#define RUN_SLACK_NS INT64_C(20000000)	/* the start of a process is known to a tick */

bool run_knows(const struct bundle_run *run, int32_t pid)
{
	for (size_t i = 0; i < run->n_pids; i++)
		if (run->pids[i] == pid)
			return true;
	return false;
}

void run_learn(struct store *s, struct bundle_run *run, uint32_t pid)
{
	void *p;

	if (!pid || pid > INT32_MAX || run_knows(run, (int32_t)pid) || run->n_pids == RUN_PIDS_MAX)
		return;
	p = arena_grow(&s->arena, run->pids, run->n_pids, &run->cap_pids, sizeof(*run->pids));
	if (!p)
		return;
	run->pids = p;
	run->pids[run->n_pids++] = (int32_t)pid;
}

bool run_is_after(const struct bundle_run *run, struct stamp t, int64_t error_ns)
{
	return run && t.base == TIME_UTC && t.ns + error_ns < run->begin_ns - RUN_SLACK_NS;
}

/* The kernel on a process of which the recorder says that it is none of the job's. */
static bool is_of_stranger(const struct bundle_run *run, const struct observation *o)
{
	return run->has_processes && o->source == SRC_KERNEL && o->scope.pid > 0 &&
	       (strcmp(o->kind->name, "proc.segfault") == 0 || strcmp(o->kind->name, "host.oom_kill") == 0) &&
	       !run_knows(run, o->scope.pid);
}

static void place_in_run(const struct store *s, struct observation *o)
{
	const struct bundle_run *run = o->member < s->n_members ? s->members[o->member].run : NULL;
	bool before = run_is_after(run, o->last.base ? o->last : o->time, o->error_ns);
	bool personal = o->kind->stop || o->scope.pid > 0 || (o->scope.rank >= 0 && !o->scope.gpu);

	if (!run)
		return;
	o->foreign |= (before && personal) || is_of_stranger(run, o);
	o->earlier = before;
}

static void complete(struct store *s, struct observation *o)
{
	struct scope *c = &o->scope;
	const struct rank_identity *r = NULL;

	for (size_t i = 0; c->host && i < s->identity->n_aliases; i++)
		if (s->identity->aliases[i].address == c->host)
			c->host = s->identity->aliases[i].host;
	if (c->rank >= 0)
		r = identity_by_rank(s, c->rank);
	/* a launcher's task number is a rank only if the rank runs there */
	if (r && o->source == SRC_LAUNCHER && c->host && r->host && r->trust > TRUST_LAUNCHER &&
	    !host_same(intern_str(&s->strings, c->host), intern_str(&s->strings, r->host))) {
		store_inconsistency(s, "the launcher's task %d on %s is not rank %d, which runs on %s", c->rank,
				    intern_str(&s->strings, c->host), c->rank, intern_str(&s->strings, r->host));
		c->rank = RANK_NONE;
		return;
	}
	if (c->rank < 0 && c->pid > 0)
		r = identity_by_pid(s, c->host, c->pid);
	else if (c->rank < 0 && c->gpu && o->source != SRC_NET)
		r = identity_by_gpu(s, c->host, c->gpu);
	o->foreign = !r && is_foreign(s, o);
	if (!r)
		return;
	if (c->rank < 0)
		c->rank = r->rank;
	if (!c->host || (o->host_from_path && r->host_trust > TRUST_PATH))
		c->host = r->host;
	if (!c->gpu)
		c->gpu = r->gpu;
	if (c->pid < 0)
		c->pid = r->pid;
	if (c->local_rank < 0)
		c->local_rank = r->local_rank;
}

static int compare_hosts(const void *a, const void *b, void *strings)
{
	return strcmp(intern_str(strings, *(const sid *)a), intern_str(strings, *(const sid *)b));
}

/* Nothing speaks of a second node: no other host, and no rank that is not its local rank. */
static bool one_node(const struct store *s)
{
	const struct identity *map = s->identity;

	for (size_t i = 0; i < map->n_ranks; i++)
		if (map->ranks[i].local_rank >= 0 && map->ranks[i].local_rank != map->ranks[i].rank)
			return false;
	return map->n_hosts <= 1 && map->n_ranks == 0 && map->world_size == 0;
}

/* Where only local ranks are known and all there is comes from one node, they are the ranks; the report says so. */
static void take_local_ranks(struct store *s)
{
	bool taken = false;

	for (size_t i = 0; one_node(s) && i < s->n_obs; i++) {
		struct scope *c = &s->obs[i].scope;

		if (s->obs[i].source != SRC_LAUNCHER || c->rank >= 0 || c->local_rank < 0)
			continue;
		c->rank = c->local_rank;
		taken = true;
	}
	if (taken)
		store_inconsistency(s, "only local ranks are known: as nothing speaks of a second node, they are taken for ranks");
}

void identity_seal(struct store *s)
{
	struct identity *map = s->identity;

	if (map->n_ranks)
		qsort(map->ranks, map->n_ranks, sizeof(*map->ranks), compare_ranks);
	if (map->n_hosts)
		qsort_r(map->hosts, map->n_hosts, sizeof(sid), compare_hosts, &s->strings);
	for (size_t i = 0; i < s->n_obs; i++) {
		if (s->obs[i].host_from_path)	/* which the file itself may have contradicted */
			s->obs[i].scope.host = s->members[s->obs[i].member].host;
		complete(s, &s->obs[i]);
		place_in_run(s, &s->obs[i]);
	}
	take_local_ranks(s);
}

static size_t hex_run(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && isxdigit((unsigned char)s[n]))
		n++;
	return n;
}

/* [domain:]bus:device[.function] of the `len` bytes; false when they are none. */
static bool parse_bdf(const char *s, size_t len, unsigned v[4])
{
	unsigned part[3] = { 0 }, n = 0;
	size_t i = 0;

	while (n < 3) {
		size_t run = hex_run(s + i, len - i);

		if (run == 0 || run > 8)
			return false;
		part[n++] = (unsigned)strtoul(s + i, NULL, 16);
		i += run;
		if (i >= len || s[i] != ':')
			break;
		i++;
	}
	if (n < 2 || (i < len && s[i] != '.'))
		return false;
	v[0] = n == 3 ? part[0] : 0;
	v[1] = part[n - 2];
	v[2] = part[n - 1];
	v[3] = i + 1 < len ? (unsigned)strtoul(s + i + 1, NULL, 16) : 0;
	return v[1] <= 0xff && v[2] <= 0x1f;
}

sid gpu_canonical(struct intern *strings, const char *s, size_t len)
{
	char text[40], copy[40];
	unsigned v[4];

	if (len >= sizeof(copy))
		return intern(strings, s, len);
	memcpy(copy, s, len);
	copy[len] = '\0';
	if (strncasecmp(copy, "PCI:", 4) == 0)
		memmove(copy, copy + 4, strlen(copy + 4) + 1);
	if (!parse_bdf(copy, strlen(copy), v)) {
		/* NCCL's busId: bus, device and function run together, "9b000" */
		size_t n = hex_run(copy, strlen(copy));
		unsigned long all;

		if (copy[n] || n < 4 || n > 9)
			return intern(strings, s, len);
		all = strtoul(copy, NULL, 16);
		v[3] = all & 0xf;
		v[2] = all >> 4 & 0xff;
		v[1] = all >> 12 & 0xff;
		v[0] = (unsigned)(all >> 20);
	}
	snprintf(text, sizeof(text), "%04x:%02x:%02x.%x", v[0], v[1], v[2], v[3]);
	return intern_cstr(strings, text);
}
