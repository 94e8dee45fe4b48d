/*
 * reports_fixture - analyses built by hand, for the tests of the reports: no
 * engine, no file.  Included by test_reports.c alone.
 */
#pragma once
#include <stdio.h>

#include "analyzer/collectives.h"
#include "analyzer/identity.h"
#include "reports/report.h"
#include "tests/test.h"

#define SECOND INT64_C(1000000000)
#define T0 (INT64_C(1772331247) * SECOND + 123456789) /* 2026-03-01T02:14:07Z */
#define SCRIPT "</script><script>alert(1)</script>"
#define IMAGE "<img src=x onerror=alert(1)>"
#define ESCAPES "\x1b[2J\x1b]0;owned\a\r\n"
#define BIDI                                                                                       \
	"\xe2\x80\xae"                                                                             \
	"gnp.exe"                                                                                  \
	"\xe2\x81\xa6"
#define BROKEN "\xff\xfe\xc3("

struct fixture {
	struct store store;
	struct analysis a;
	struct collectives coll;
	struct arena *mem;
	bool hostile;
};

static void *must(void *p)
{
	assert_non_null(p);
	return p;
}

#define NEW(fx, type, n) ((type *)must(arena_alloc((fx)->mem, (n), sizeof(type))))

static sid name(struct fixture *fx, const char *s)
{
	return intern_cstr(&fx->store.strings, s);
}

static struct stamp at(double seconds)
{
	return (struct stamp){ T0 + (int64_t)(seconds * 1e9), TIME_UTC };
}

static uint32_t member(struct fixture *fx, const char *input, const char *inner, const char *kind,
		       int source, const char *host, int32_t rank)
{
	struct error err = { 0 };
	int64_t m = store_member(&fx->store, input, inner, &err);
	struct member *p;

	assert_true(m >= 0);
	p = &fx->store.members[m];
	p->kind = kind;
	p->sources = 1u << source;
	p->host = name(fx, host);
	p->rank = rank;
	p->bytes = 1000 + 37 * (uint64_t)m;
	p->first = at(-100);
	p->last = at(1900);
	return (uint32_t)m;
}

static uint32_t quote(struct fixture *fx, uint32_t m, uint64_t line, const char *text, double t)
{
	int64_t e = store_quote(&fx->store, m, line * 80, line, text, strlen(text), at(t));

	assert_true(e >= 0);
	return (uint32_t)e;
}

static struct scope who(struct fixture *fx, int32_t rank, const char *host, const char *gpu,
			int32_t pid)
{
	struct scope s = scope_none;

	s.rank = rank;
	s.local_rank = rank < 0 ? RANK_NONE : rank % 8;
	s.host = host ? name(fx, host) : 0;
	s.gpu = gpu ? name(fx, gpu) : 0;
	s.pid = pid;
	return s;
}

static uint32_t observe(struct fixture *fx, const char *kind, int source, struct scope sc, double t,
			int64_t evidence, const char *field, const char *value)
{
	struct observation o = observation_of(kind, (enum source_class)source);

	o.scope = sc;
	o.time = o.onset = o.first = o.last = at(t);
	if (field)
		observation_field(&fx->store, &o, field, value, strlen(value));
	observation_cite(&o, evidence);
	assert_int_equal(store_observe(&fx->store, &o), 0);
	return (uint32_t)fx->store.n_obs - 1;
}

static void push(struct fixture *fx, struct index_list *l, uint32_t v)
{
	uint32_t *grown = NEW(fx, uint32_t, l->n + 1);

	if (l->n)
		memcpy(grown, l->v, l->n * sizeof(*grown));
	grown[l->n] = v;
	l->v = grown;
	l->cap = ++l->n;
}

static const char *const gpu_advice[] = {
	"Drain node01 and power-cycle it; a driver reload does not bring the GPU back.",
	"Open a hardware case when the same slot fails again."
};
static const char *const gpu_refs[] = { "https://docs.nvidia.com/deploy/xid-errors/",
					"javascript:alert(1)" };
static struct rival gpu_rivals[3];
static struct pattern shelf[] = {
	{ .id = "gpu_lost",
	  .title = "GPU fell off the PCIe bus",
	  .role = ROLE_CAUSE,
	  .action = "restart_without",
	  .advice = (const char **)gpu_advice,
	  .n_advice = 2,
	  .references = (const char **)gpu_refs,
	  .n_references = 2,
	  .rivals = gpu_rivals,
	  .n_rivals = 3 },
	{ .id = "rank_stalled", .title = "Rank did not enter a collective", .role = ROLE_SYMPTOM },
	{ .id = "watchdog_timeout", .title = "Collective timed out", .role = ROLE_SYMPTOM },
	{ .id = "row_remap_pending",
	  .title = "GPU memory row waits to be remapped",
	  .role = ROLE_PRECURSOR },
	{ .id = "collective_desync",
	  .title = "Ranks issued different collectives",
	  .role = ROLE_CAUSE },
};

static struct finding *finding(struct fixture *fx, int pattern, enum confidence c, struct scope sc,
			       double t)
{
	struct finding *f = &fx->a.findings[fx->a.n_findings++];

	snprintf(f->id, sizeof(f->id), "f%zu", fx->a.n_findings);
	f->pattern = &shelf[pattern];
	f->role = shelf[pattern].role;
	f->confidence = c;
	f->onset = at(t);
	f->error_ns = 10000000;
	f->culprits = NEW(fx, struct scope, 1);
	f->culprits[0] = sc;
	f->n_culprits = 1;
	return f;
}

static void edge(struct fixture *fx, uint32_t from, uint32_t to)
{
	push(fx, &fx->a.findings[from].explains, to);
	push(fx, &fx->a.findings[to].explained_by, from);
}

static int32_t *ranks(struct fixture *fx, int32_t from, int32_t to, int32_t but, size_t *n_ret)
{
	int32_t *v = NEW(fx, int32_t, to - from + 2);
	size_t n = 0;

	for (int32_t r = from; r <= to; r++)
		if (r != but)
			v[n++] = r;
	*n_ret = n;
	return v;
}

static void stuck(struct fixture *fx, const char *group, int64_t seq, const char *op, int32_t from,
		  int32_t to, int32_t missing, bool completed)
{
	struct stuck_collective *c = &fx->coll.stuck[fx->coll.n_stuck++];

	*c = (struct stuck_collective){ .group = name(fx, group), .seq = seq, .op = name(fx, op) };
	c->members = ranks(fx, from, to, -1, &c->n_members);
	c->entered = ranks(fx, from, to, missing, &c->n_entered);
	if (completed)
		c->completed = ranks(fx, from, from, -1, &c->n_completed);
	if (missing >= from && missing <= to)
		c->missing = ranks(fx, missing, missing, -1, &c->n_missing);
	if (to < 13 || from > 11)
		return;
	c->unknown = ranks(fx, 12, 13, -1, &c->n_unknown); /* they left nothing behind */
	c->n_entered = 0;
	for (size_t i = 0; i < c->n_members; i++)
		if (c->members[i] != missing && c->members[i] != 12 && c->members[i] != 13)
			c->entered[c->n_entered++] = c->members[i];
}

static void fixture_init(struct fixture *fx, bool hostile)
{
	struct error err = { 0 };

	*fx = (struct fixture){ .hostile = hostile };
	assert_int_equal(store_init(&fx->store, 64 << 20, &err), 0);
	fx->mem = &fx->store.arena;
	fx->a.store = &fx->store;
	fx->a.findings = NEW(fx, struct finding, 64);
	fx->coll.stuck = NEW(fx, struct stuck_collective, 64);
}

static void fixture_deinit(struct fixture *fx)
{
	fx->store.collectives = NULL;
	store_deinit(&fx->store);
}

/* What the input calls its second host: in the hostile case, everything at once. */
static const char *host1(const struct fixture *fx)
{
	return fx->hostile ? "node01" SCRIPT IMAGE ESCAPES BIDI BROKEN "\"'`&amp;" : "node01";
}

static void fill_job(struct fixture *fx)
{
	for (int32_t r = 0; r < 16; r++) {
		char gpu[32];
		struct rank_identity id = {
			.rank = r, .local_rank = r % 8, .pid = 41000 + r, .trust = TRUST_NCCL
		};

		snprintf(gpu, sizeof(gpu), "0000:%02x:00.0", 0x1b + 0x10 * (r % 8));
		id.gpu = name(fx, gpu);
		id.host = name(fx, r < 8 ? "node00" : host1(fx));
		identity_learn(&fx->store, &id);
	}
	identity_host(&fx->store, name(fx, "node00"));
	identity_host(&fx->store, name(fx, host1(fx)));
	identity_world(&fx->store, 16);
	identity_seal(&fx->store);
	fx->a.world_size = 16;
	push(fx, &fx->a.silent_ranks, 12);
	push(fx, &fx->a.silent_ranks, 13);
}

static void fill_collectives(struct fixture *fx)
{
	stuck(fx, "default_pg (0)", 20537, "all_reduce [4096, 8192] BFloat16", 0, 15, 9, false);
	stuck(fx, fx->hostile ? SCRIPT : "tp_1 (3)", 811, "all_gather [1024] BFloat16", 8, 11, 9,
	      false);
	stuck(fx, "dp_1 (7)", 77, fx->hostile ? IMAGE ESCAPES : "reduce_scatter [512] Float", 1, 5,
	      -1, true);
	fx->coll.ranks = ranks(fx, 0, 11, -1, &fx->coll.n_ranks);
	fx->coll.n_entries = 24000;
	fx->store.collectives = &fx->coll;
}

static void fill_ledger(struct fixture *fx, struct finding *f, uint32_t evidence)
{
	f->exclusions = NEW(fx, struct exclusion, 3);
	f->n_exclusions = 3;
	f->exclusions[0] = (struct exclusion){
		.pattern = "host_oom",
		.state = RIVAL_EXCLUDED,
		.reason = "the kernel log covers the window and holds no OOM kill"
	};
	f->exclusions[1] =
		(struct exclusion){ .pattern = "pcie_fatal",
				    .state = RIVAL_OPEN,
				    .reason = fx->hostile ? SCRIPT :
							    "no AER line, but AER may be masked" };
	f->exclusions[2] =
		(struct exclusion){ .pattern = "nvswitch_fatal",
				    .state = RIVAL_NOT_EVALUABLE,
				    .reason = "the fabric manager's log was not captured" };
	push(fx, &f->exclusions[0].evidence, evidence);
}

/* 16 ranks on two hosts; rank 9 loses its GPU and never enters; the rest waits. */
static void fill_hang(struct fixture *fx)
{
	uint32_t dmesg = member(fx, fx->hostile ? IMAGE "/dmesg" BROKEN ".log" : "node01/dmesg.log",
				NULL, "dmesg", SRC_KERNEL, host1(fx), RANK_NONE);
	uint32_t log =
		member(fx, "run-4711.tar.zst", "logs/rank3.log", "log", SRC_APP, "node00", 3);
	uint32_t dump =
		member(fx, "fr/rank3.pickle", NULL, "flight_recorder", SRC_FLIGHT, "node00", 3);
	uint32_t cut =
		member(fx, "fr/rank12.pickle", NULL, "flight_recorder", SRC_FLIGHT, host1(fx), 12);
	struct error bad = { .code = ERR_FORMAT,
			     .has_offset = true,
			     .offset = 8192,
			     .what = "needs 8 bytes, has 3" };
	struct scope nine = who(fx, 9, host1(fx), "0000:2b:00.0", 41009);
	const char *xid = fx->hostile ? "NVRM: Xid 79 " SCRIPT IMAGE ESCAPES BIDI BROKEN :
					"[1812345.678901] NVRM: Xid (PCI:0000:2b:00): 79, "
					"pid=41009, name=python, GPU has fallen off the bus.";
	uint32_t e0 = quote(fx, dmesg, 1234, xid, 0), e1, e2, e3, o0, o1, o2, o3;
	struct finding *f;

	e1 = (uint32_t)store_decoded(
		&fx->store, dump, 5120, "\x80\x02}q", 4,
		"rank 3: all_reduce #20537 of default_pg started, never completed", at(2));
	e2 = quote(fx, log, 88,
		   "[rank3]:[E301 02:44:07.9] [PG 0 Rank 3] Watchdog caught collective operation "
		   "timeout: "
		   "WorkNCCL(SeqNum=20537, OpType=ALLREDUCE, Timeout(ms)=1800000) ran for 1800000 "
		   "milliseconds before "
		   "timing out.",
		   1800.8);
	e3 = quote(fx, dmesg, 17, "[1700000.1] NVRM: Xid (PCI:0000:3b:00): 63, Row remapping event",
		   -90);
	store_damage(&fx->store, cut, &bad, false);
	fx->a.any_damage = true;
	o3 = observe(fx, "gpu.row_remap_pending", SRC_KERNEL,
		     who(fx, 10, host1(fx), "0000:3b:00.0", -1), -90, e3, NULL, "");
	o0 = observe(fx, "gpu.lost", SRC_KERNEL, nine, 0, e0, "code", fx->hostile ? SCRIPT : "79");
	o1 = observe(fx, "coll.not_entered", SRC_FLIGHT, nine, 2, e1, "seq", "20537");
	o2 = observe(fx, "torch.watchdog_timeout", SRC_APP, who(fx, 3, "node00", NULL, 41003),
		     1800.8, e2, NULL, "");

	f = finding(fx, 0, CONF_CONFIRMED, nine, 0);
	f->reasons[0] = "the kernel log and the flight recorder agree";
	f->reasons[1] = "no rival is true";
	f->n_reasons = 2;
	push(fx, &f->evidence, e0);
	push(fx, &f->anchors, o1);
	fill_ledger(fx, f, e3);
	f = finding(fx, 1, CONF_PROBABLE, nine, 2);
	push(fx, &f->evidence, e1);
	f = finding(fx, 2, CONF_CONFIRMED, who(fx, 3, "node00", NULL, 41003), 1800.8);
	push(fx, &f->evidence, e2);
	for (int i = 0; i < 4; i++)
		push(fx, &f->evidence,
		     quote(fx, log, 90 + (uint64_t)i, "[rank3]: further words of the watchdog",
			   1801));
	f = finding(fx, 3, CONF_POSSIBLE, who(fx, 10, host1(fx), "0000:3b:00.0", -1), -90);
	push(fx, &f->evidence, e3);
	edge(fx, 0, 1);
	edge(fx, 1, 2);
	edge(fx, 0, 2);
	push(fx, &fx->a.primary, 0);
	push(fx, &fx->a.action_hosts, name(fx, host1(fx)));

	fx->a.timeline = NEW(fx, struct timeline_row, 4);
	fx->a.n_timeline = 4;
	fx->a.timeline[0] = (struct timeline_row){ at(-90), o3, 3 };
	fx->a.timeline[1] = (struct timeline_row){ at(0), o0, 0 };
	fx->a.timeline[2] = (struct timeline_row){ at(2), o1, 1 };
	fx->a.timeline[3] = (struct timeline_row){ at(1800.8), o2, 2 };
	fx->a.status = VERDICT_ROOT_CAUSE;
	fx->a.action = "restart_without";
	fx->a.headline = fx->hostile ?
				 "GPU fell off: " SCRIPT IMAGE ESCAPES BIDI BROKEN :
				 "GPU fell off the PCIe bus: rank 9, host node01, GPU 0000:2b:00.0";
	store_inconsistency(&fx->store, "rank 4 is on %s by path and on node00 by NCCL", host1(fx));
}

static void make_hang(struct fixture *fx, bool hostile)
{
	fixture_init(fx, hostile);
	fill_job(fx);
	fill_collectives(fx);
	fill_hang(fx);
}

static void make_unattributed(struct fixture *fx)
{
	const struct pattern **c;

	make_hang(fx, false);
	fx->a.status = VERDICT_UNATTRIBUTED;
	fx->a.headline = "Rank did not enter a collective: rank 9; cause open";
	fx->a.action = "investigate";
	fx->a.action_hosts.n = 0;
	fx->a.findings[0].confidence = CONF_POSSIBLE;
	fx->a.primary.v[0] = 1;
	c = NEW(fx, const struct pattern *, 2);
	c[0] = &shelf[0];
	c[1] = &shelf[4];
	fx->a.candidates = c;
	fx->a.n_candidates = 2;
	fx->a.next_measurement = "nvidia-smi -q -x on node01 (no side effect, 1 minute)";
}

static void make_quiet(struct fixture *fx)
{
	fixture_init(fx, false);
	member(fx, "rank0.log", NULL, "log", SRC_APP, "node00", 0);
	fx->a.status = VERDICT_NO_FAILURE;
	fx->a.headline = "no failure found";
}

/* More of everything than a page may show: 1,024 ranks, 30 collectives, a line of a megabyte. */
static void make_large(struct fixture *fx)
{
	char text[600], *huge;
	uint32_t m;

	make_hang(fx, true);
	huge = NEW(fx, char, (1 << 20) + 1);
	memset(huge, '\x1b', 1 << 20);
	m = member(fx, huge, NULL, "log", SRC_APP, huge, 1);
	memset(text, '&', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (int i = 0; i < 27; i++)
		stuck(fx, "tp_group (12)", 100 + i, "all_reduce [1] Float", i, i + 1023, -1, false);
	for (size_t i = 3; i < 10; i++) { /* a rank is a member by its bits: few rows are alike */
		struct stuck_collective *c = &fx->coll.stuck[i];

		c->n_members = 0;
		for (int32_t r = 0; r < 1024; r++)
			if (r >> (i - 3) & 1)
				c->members[c->n_members++] = r;
		c->n_entered = c->n_unknown = 0;
	}
	fx->coll.stuck[0].members = ranks(fx, 0, 1023, -1, &fx->coll.stuck[0].n_members);
	fx->coll.stuck[0].entered = ranks(fx, 0, 1023, 9, &fx->coll.stuck[0].n_entered);
	for (int i = 0; i < 2000; i++) {
		text[0] = (char)('a' + i % 26);
		text[1] = (char)('a' + i / 26 % 26);
		text[2] = (char)('a' + i / 676);
		observe(fx, "proc.exit", SRC_APP, who(fx, i % 1024, "node00", NULL, i), i,
			quote(fx, m, (uint64_t)i, text, i), "code", text);
	}
	for (int i = 0; i < 50; i++) {
		struct finding *f =
			finding(fx, 2, CONF_PROBABLE, who(fx, i, "node00", NULL, -1), i);

		for (uint32_t k = 0; k < 30; k++)
			push(fx, &f->evidence, 20 + (uint32_t)i * 30 + k);
		edge(fx, 0, (uint32_t)fx->a.n_findings - 1);
	}
	fx->a.timeline = NEW(fx, struct timeline_row, 2000);
	for (uint32_t i = 0; i < 2000; i++)
		fx->a.timeline[i] = (struct timeline_row){ at(i), i, i % 7 ? -1 : 2 };
	fx->a.n_timeline = 2000;
	fx->a.headline = huge;
}
