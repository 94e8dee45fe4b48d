/*
 * NCCL's RAS status: processes that it holds for dead, errors that communicators keep, and
 * ranks that launched fewer operations than their peers.  Text (2.24) and JSON (2.28).
 *
 * Ranks are those of a communicator: they are the job's only where it has as many as the
 * largest one.
 */
#include <stdlib.h>

#include "analyzer/identity.h"
#include "analyzer/ingest/structured.h"
#include "bundle/cleanup.h"

#define RANKS_MAX (1u << 17)
#define GROUPS 256

/* What ncclResult_t and RAS's text call an error. */
static const struct {
	const char *words, *kind;
} errors[] = {
	[1] = { "Unhandled CUDA error", "nccl.cuda_error" },
	[2] = { "System error", "nccl.system_error" },
	[3] = { "Internal error", "nccl.internal_error" },
	[4] = { "Invalid argument", "nccl.api_misuse" },
	[5] = { "Invalid usage", "nccl.api_misuse" },
	[6] = { "Remote process error", "nccl.remote_error" },
};

struct process {
	int32_t rank, pid;
	sid host;
	struct place at;
};

struct ras {
	struct citer c;
	struct stamp time;
};

static void learn(struct ras *r, const struct process *p, bool world)
{
	const struct rank_identity id = { .rank = world ? p->rank : RANK_NONE, .local_rank = RANK_NONE, .pid = p->pid,
					  .host = p->host, .trust = TRUST_NCCL };

	identity_host(r->c.s, p->host);
	if (world && p->rank >= 0 && p->pid > 0)
		identity_learn(r->c.s, &id);
}

static struct observation about(struct ras *r, const struct process *p, bool world, const char *kind)
{
	struct observation o = citer_observation(&r->c, kind, SRC_APP);

	o.scope.rank = world ? p->rank : RANK_NONE;
	o.scope.pid = p->pid > 0 ? p->pid : PID_NONE;
	if (p->host)
		o.scope.host = p->host;
	o.time = r->time;
	return o;
}

static void observe(struct ras *r, const struct process *p, bool world, const char *kind)
{
	struct observation o = about(r, p, world, kind);

	citer_cite(&r->c, &o, p->at);
	store_observe(r->c.s, &o);
}

static void observe_behind(struct ras *r, const struct process *p, bool world, struct span op, int64_t launched, int64_t peers,
			   struct place peers_at)
{
	struct observation o = about(r, p, world, "nccl.behind");

	observation_field(r->c.s, &o, "op", op.s, op.len);
	observation_fieldf(r->c.s, &o, "launched", "%lld", (long long)launched);
	observation_fieldf(r->c.s, &o, "peers", "%lld", (long long)peers);
	citer_cite(&r->c, &o, p->at);
	citer_cite(&r->c, &o, peers_at);
	store_observe(r->c.s, &o);
}

static sid host_of(struct ras *r, struct span t)
{
	return t.len && t.len < 64 && !span_is(t, "unknown") ? intern(&r->c.s->strings, t.s, t.len) : 0;
}

/* ---- text ---- */

enum section { ELSEWHERE, GROUP_TABLE, DEAD, COMM_ERROR, COMM_MISMATCH, COMM_INCOMPLETE };

struct text {
	struct ras r;
	enum section section;
	int64_t size[GROUPS], largest;		/* ranks of a communicator, by group */
	bool world;				/* the communicator told of is the largest */
	size_t error;				/* what the ranks below reported; 0: none */
	/* of a mismatch: operation counts, the most frequent first */
	struct span op;
	int64_t peers, launched;		/* of most ranks; of those that follow */
	struct place peers_at;
	bool any;
};

/* The word behind `before`; empty: it is not there. */
static struct span word_behind(struct span t, const char *before)
{
	const char *p = span_find(t, before);
	size_t n = 0;

	if (!p)
		return span_of("", 0);
	t = span_after(t, (size_t)(p - t.s) + strlen(before));
	while (n < t.len && t.s[n] != ' ')
		n++;
	return span_of(t.s, n);
}

static int32_t small_number(struct span t)
{
	int64_t n = span_number(t);

	return n >= 0 && n <= INT32_MAX ? (int32_t)n : -1;
}

/* "Rank 3 -- GPU 3 managed by process 4242 on node 10.0.0.1", "Process 4242 on node 10.0.0.1 managing GPU 3" */
static struct process process_of(struct text *t, const struct line *l, struct span row)
{
	bool dead = span_starts(row, "Process ");

	return (struct process){
		.rank = dead ? RANK_NONE : small_number(word_behind(row, "Rank ")),
		.pid = small_number(word_behind(row, dead ? "Process " : "by process ")),
		.host = host_of(&t->r, word_behind(row, "on node ")),
		.at = { l->offset, l->len },
	};
}

static size_t error_named(struct span t)
{
	for (size_t i = 1; i < ARRAY_SIZE(errors); i++)
		if (span_find(t, errors[i].words))
			return i;
	return 0;
}

/* "    0         1        16         8       128       128   RUNNING  MISMATCH" */
static void group_row(struct text *t, struct span row)
{
	int64_t n[6];

	for (size_t i = 0; i < ARRAY_SIZE(n); i++) {
		size_t len = 0;

		row = span_trim(row);
		while (len < row.len && row.s[len] != ' ')
			len++;
		n[i] = i == 3 ? 0 : span_number(span_of(row.s, len));	/* [3] may be a range */
		if (n[i] < 0)
			return;
		row = span_after(row, len);
	}
	if (n[0] < GROUPS)
		t->size[n[0]] = n[4];
	t->largest = n[4] > t->largest ? n[4] : t->largest;
}

/* "#0-1 (27a079b828ff1a75) MISMATCH" */
static void comm_head(struct text *t, struct span row)
{
	static const struct {
		const char *word;
		enum section section;
	} words[] = { { ") ERROR", COMM_ERROR }, { ") MISMATCH", COMM_MISMATCH }, { ") INCOMPLETE", COMM_INCOMPLETE } };
	size_t digits = 1;
	int64_t group;

	while (digits < row.len && row.s[digits] >= '0' && row.s[digits] <= '9')
		digits++;
	group = span_number(span_of(row.s + 1, digits - 1));
	t->section = ELSEWHERE;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (span_find(row, words[i].word))
			t->section = words[i].section;
	t->world = group >= 0 && group < GROUPS && t->size[group] > 0 && t->size[group] == t->largest;
	t->error = 0;
	t->op = span_of("", 0);
	t->peers = -1;
}

static void error_row(struct text *t, const struct line *l, struct span row)
{
	struct process p;
	size_t named = error_named(row);

	if (span_find(row, " ranks reported ")) {
		t->error = named;
	} else if (span_starts(row, "Rank ")) {
		p = process_of(t, l, row);
		learn(&t->r, &p, t->world);
		if (named || t->error)
			observe(&t->r, &p, t->world, errors[named ? named : t->error].kind);
	} else {
		t->error = 0;
	}
}

/* The operation count that a row states; -1: none. */
static int64_t launched_in(struct span row)
{
	if (span_find(row, "not launched any operations"))
		return 0;
	return span_number(word_behind(row, "launched up to operation "));
}

static void mismatch_row(struct text *t, const struct line *l, struct span row)
{
	int64_t launched = launched_in(row);
	struct process p;

	if (span_starts(row, "Communicator ranks have different ")) {
		t->op = span_find(row, " operation counts") ? word_behind(row, "have different ") : span_of("", 0);
		t->peers = t->launched = -1;
		return;
	}
	if (launched >= 0)
		t->launched = launched;
	if (launched >= 0 && t->peers < 0 && !span_starts(row, "Rank ")) {
		t->peers = launched;
		t->peers_at = (struct place){ l->offset, l->len };
	}
	if (!span_starts(row, "Rank "))
		return;
	p = process_of(t, l, row);
	learn(&t->r, &p, t->world);
	if (t->op.len && t->peers >= 0 && t->launched >= 0 && t->launched < t->peers)
		observe_behind(&t->r, &p, t->world, t->op, t->launched, t->peers, t->peers_at);
}

static void text_line(struct text *t, const struct line *l)
{
	struct span row = span_trim(span_of(l->s, l->len));
	struct process p;

	if (row.len == 0)
		return;
	if (row.s == l->s) {	/* at the margin: what comes next */
		t->any |= span_is(row, "Job summary");
		if (row.s[0] == '#')
			comm_head(t, row);
		else if (span_starts(row, "Group "))
			t->section = GROUP_TABLE;
		else
			t->section = span_is(row, "DEAD") ? DEAD : ELSEWHERE;
		return;
	}
	switch (t->section) {
	case GROUP_TABLE:
		group_row(t, row);
		break;
	case DEAD:
		p = process_of(t, l, row);
		if (p.pid > 0) {
			learn(&t->r, &p, false);
			observe(&t->r, &p, false, "agent.heartbeat_lost");
		}
		break;
	case COMM_ERROR:
		error_row(t, l, row);
		break;
	case COMM_MISMATCH:
		mismatch_row(t, l, row);
		break;
	case COMM_INCOMPLETE:
		if (span_starts(row, "Rank ")) {
			p = process_of(t, l, row);
			learn(&t->r, &p, t->world);
		}
		break;
	case ELSEWHERE:
		break;
	}
}

int ingest_nccl_ras_text(struct store *s, uint32_t member, const char *data, size_t len, struct error *err)
{
	struct text t = { .r.c = citer_of(s, member, data, len) };

	for (struct line l = line_first(data, len); l.ok; l = line_next(data, len, &l))
		text_line(&t, &l);
	return t.any ? 0 : error_at(err, ERR_FORMAT, 0, "no job summary of NCCL RAS");
}

/* ---- JSON ---- */

static struct process process_at(struct ras *r, const struct value *v)
{
	int64_t rank = value_int(value_get(v, "rank"), -1), pid = value_int(value_get(v, "pid"), -1);

	return (struct process){
		.rank = rank >= 0 && rank < (int64_t)RANKS_MAX ? (int32_t)rank : RANK_NONE,
		.pid = pid > 0 && pid <= INT32_MAX ? (int32_t)pid : PID_NONE,
		.host = host_of(r, span_of_value(value_get(v, "host"))),
		.at = json_pair(r->c.data, r->c.len, value_get(v, "pid")),
	};
}

static void read_error(struct ras *r, const struct value *rank, bool world)
{
	static const char *const where[] = { "async_error", "init_state" };
	const struct value *status = value_get(rank, "status");
	struct process p = process_at(r, rank);

	learn(r, &p, world);
	for (size_t i = 0; i < ARRAY_SIZE(where); i++) {
		const struct value *v = value_get(status, where[i]);
		int64_t code = value_int(v, 0);

		if (code <= 0 || code >= (int64_t)ARRAY_SIZE(errors))
			continue;
		p.at = json_pair(r->c.data, r->c.len, v);
		observe(r, &p, world, errors[code].kind);
		return;
	}
}

static void read_missing(struct ras *r, const struct value *rank, bool world)
{
	const struct value *dead = value_get(value_get(rank, "status"), "considered_dead");
	struct process p = process_at(r, rank);

	learn(r, &p, world);
	if (!dead || dead->type != V_BOOL || !dead->i)
		return;
	p.at = json_pair(r->c.data, r->c.len, dead);
	observe(r, &p, world, "agent.heartbeat_lost");
}

/* Those that launched fewest of an operation, when they are fewer than half. */
static void read_counts(struct ras *r, const struct value_seq *ranks, struct span op, bool world)
{
	char name[40];
	int64_t least = INT64_MAX, most = -1;
	uint32_t behind = 0, most_at = 0;

	snprintf(name, sizeof(name), "%.*s", op.len < sizeof(name) ? (int)op.len : 0, op.s);
	for (uint32_t i = 0; i < ranks->n; i++) {
		int64_t n = value_int(value_get(value_get(&ranks->v[i], "collective_counts"), name), -1);

		if (n < 0)
			return;
		behind = n < least ? 1 : behind + (n == least);
		least = n < least ? n : least;
		most_at = n > most ? i : most_at;
		most = n > most ? n : most;
	}
	for (uint32_t i = 0; i < ranks->n && least < most && behind * 2 < ranks->n; i++) {
		const struct value *v = value_get(value_get(&ranks->v[i], "collective_counts"), name);
		const struct value *peer = value_get(value_get(&ranks->v[most_at], "collective_counts"), name);
		struct process p = process_at(r, &ranks->v[i]);

		if (value_int(v, -1) != least)
			continue;
		p.at = json_pair(r->c.data, r->c.len, v);
		observe_behind(r, &p, world, op, least, most, json_pair(r->c.data, r->c.len, peer));
	}
}

static const struct value_seq *list_of(const struct value *v, const char *key)
{
	const struct value *list = value_get(v, key);

	return list && list->type == V_LIST ? list->seq : NULL;
}

static void read_comm(struct ras *r, const struct value *comm, bool world)
{
	const struct value_seq *ranks = list_of(comm, "ranks"), *missing = list_of(comm, "missing_ranks");
	const struct value *counts = ranks && ranks->n ? value_get(&ranks->v[0], "collective_counts") : NULL;

	for (uint32_t i = 0; missing && i < missing->n; i++)
		read_missing(r, &missing->v[i], world);
	for (uint32_t i = 0; ranks && i < ranks->n; i++)
		read_error(r, &ranks->v[i], world);
	for (uint32_t i = 0; counts && counts->type == V_DICT && i + 2 <= counts->seq->n && i < 64; i += 2)
		read_counts(r, ranks, span_of_value(&counts->seq->v[i]), world);
}

int ingest_nccl_ras_json(struct store *s, uint32_t member, const char *data, size_t len, struct error *err)
{
	_cleanup_(json_reader_deinit) struct json_reader reader = { 0 };
	struct ras r = { .c = citer_of(s, member, data, len) };
	struct value top = { .type = V_NONE };
	const struct value_seq *comms;
	int64_t largest = 0;
	int ret;

	if (json_reader_init(&reader, len, err))
		return -1;
	ret = json_reader_read(&reader, data, len, &top, err);
	comms = list_of(&top, "communicators");
	r.time = span_time(span_of_value(value_get(&top, "timestamp")));
	for (uint32_t i = 0; comms && i < comms->n; i++) {
		int64_t size = value_int(value_get(&comms->v[i], "size"), 0);

		largest = size > largest ? size : largest;
	}
	for (uint32_t i = 0; comms && i < comms->n; i++)
		read_comm(&r, &comms->v[i], value_int(value_get(&comms->v[i], "size"), 0) == largest);
	return ret;
}
