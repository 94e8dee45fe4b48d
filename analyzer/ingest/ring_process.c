/* Processes of the job: who they are, and whether they run. */
#include "analyzer/ingest/ringer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/identity.h"
#include "bundle/cleanup.h"

#define PROCESSES_MAX 262144
/* Held to the last sample, and at least for so long. */
#define STOPPED_NS (2 * SECOND_NS)
#define BLOCKED_NS (20 * SECOND_NS)
#define BUSY_NS (5 * SECOND_NS)
#define BUSY_WAITS 2		/* of a sample */

static size_t slot_of(const struct ringer *r, uint32_t pid)
{
	size_t i = (size_t)(pid * 0x9e3779b97f4a7c15u >> 24) & (r->process_slots - 1);

	while (r->process_slot[i] && r->processes[r->process_slot[i] - 1].pid != pid)
		i = (i + 1) & (r->process_slots - 1);
	return i;
}

struct ring_process *ringer_process(struct ringer *r, uint32_t pid)
{
	uint32_t at = pid && r->process_slots ? r->process_slot[slot_of(r, pid)] : 0;

	return at ? &r->processes[at - 1] : NULL;
}

/* Room for one more row, at least half of the slots free. */
static int grow_processes(struct ringer *r)
{
	size_t cap = r->cap_processes ? r->cap_processes * 2 : 256;
	uint32_t *slot;
	void *v;

	if (r->n_processes < r->cap_processes)
		return 0;
	v = cap <= PROCESSES_MAX ? reallocarray(r->processes, cap, sizeof(*r->processes)) : NULL;
	if (!v)
		return -1;
	r->processes = v;
	slot = calloc(cap * 2, sizeof(*slot));
	if (!slot)
		return -1;
	free(r->process_slot);
	r->process_slot = slot;
	r->process_slots = cap * 2;
	r->cap_processes = cap;
	for (size_t i = 0; i < r->n_processes; i++)
		slot[slot_of(r, r->processes[i].pid)] = (uint32_t)i + 1;
	return 0;
}

struct ring_process *ringer_add_process(struct ringer *r, uint32_t pid)
{
	struct ring_process *p = ringer_process(r, pid);

	if (p || !pid || grow_processes(r))
		return p;
	p = &r->processes[r->n_processes];
	*p = (struct ring_process){ .pid = pid, .stopped_quote = -1, .blocked_quote = -1, .busy_quote = -1 };
	r->process_slot[slot_of(r, pid)] = (uint32_t)++r->n_processes;
	return p;
}

/* The one GPU that a process may see, by its PCI address. */
static sid gpu_of(struct ringer *r, const char *visible)
{
	char *end;
	unsigned long index = strtoul(visible, &end, 10);

	return visible[0] >= '0' && visible[0] <= '9' && !*end ? ring_gpu_address(r, (uint32_t)index) : 0;
}

void ring_process_record(struct ringer *r, const struct record *rec)
{
	struct bundle_run *run = r->s->members[r->member].run;
	struct record_process p;
	struct ring_process *row;
	char gpu[sizeof(p.gpu) + 1], job[sizeof(p.job) + 1], comm[sizeof(p.comm) + 1];
	struct rank_identity id;

	record_part(rec, &p, sizeof(p));
	row = ringer_add_process(r, p.pid);
	if (!row)
		return;
	/* A number that is used again is another process. */
	if (row->is_known && row->start_ns != p.start_ns)
		*row = (struct ring_process){ .pid = p.pid, .stopped_quote = -1, .blocked_quote = -1,
					      .busy_quote = -1 };
	row->p = p;
	row->ppid = p.ppid;
	row->start_ns = p.start_ns;
	row->is_known = true;
	memcpy(row->comm, p.comm, sizeof(row->comm));
	if (run) {
		run->has_processes = true;
		run_learn(r->s, run, p.pid);
		run_learn(r->s, run, p.ppid);	/* the launcher's end is the job's matter too */
	}
	if (!p.is_rank || sane_rank(p.rank) < 0)
		return;
	record_text(p.gpu, sizeof(p.gpu), gpu);
	record_text(p.job, sizeof(p.job), job);
	record_text(p.comm, sizeof(p.comm), comm);
	id = (struct rank_identity){
		.rank = p.rank,
		.local_rank = sane_rank(p.local_rank),
		.pid = sane_pid(p.pid_in_ns ? p.pid_in_ns : p.pid),
		.host = r->host,
		.gpu = gpu_of(r, gpu),
		.trust = TRUST_NCCL,
	};
	identity_learn(r->s, &id);
	identity_world(r->s, p.world_size);
	if (job[0] && !r->s->identity->job)
		r->s->identity->job = intern_cstr(&r->s->strings, job);
}

/* Since when a state holds; a quote of the sample that shows that it held for `long_ns`. */
static void follow(struct ringer *r, const struct record *rec, bool holds, int64_t long_ns, const char *what,
		   int64_t *since_ns, int64_t *quote)
{
	if (!holds) {
		*since_ns = 0;
		*quote = -1;
	} else if (!*since_ns) {
		*since_ns = rec->monotonic_ns;
	} else if (*quote < 0 && rec->monotonic_ns - *since_ns >= long_ns) {
		*quote = ringer_quote(r, rec, "%s", what);
	}
}

/* Since the sample before it has computed, and given the processor up to others only (and to whoever looked at its stack). */
static bool is_busy(struct ring_process *row, const struct record_process_sample *p, int64_t monotonic_ns)
{
	uint64_t cpu_ms = p->cpu_user_ms + p->cpu_system_ms;
	bool busy = row->sampled_ns && p->state == 'R' && cpu_ms > row->cpu_ms && p->voluntary_switches - row->waits <= BUSY_WAITS;

	row->sampled_ns = monotonic_ns;
	row->cpu_ms = cpu_ms;
	row->waits = p->voluntary_switches;
	return busy;
}

void ring_process_sample(struct ringer *r, const struct record *rec)
{
	struct record_process_sample p;
	struct ring_process *row;
	char what[128], wchan[sizeof(p.wchan) + 1];

	record_part(rec, &p, sizeof(p));
	row = ringer_process(r, p.pid);
	if (!row)
		return;
	record_text(p.wchan, sizeof(p.wchan), wchan);
	snprintf(what, sizeof(what), "process %u (rank %d) is in state %c%s%s", p.pid, p.rank,
		 p.state >= 'A' && p.state <= 'z' ? (char)p.state : '?', wchan[0] ? ", waiting in " : "", wchan);
	follow(r, rec, p.signal_stopped || p.state == 'T' || p.state == 't', STOPPED_NS, what, &row->stopped_ns,
	       &row->stopped_quote);
	follow(r, rec, p.state == 'D', BLOCKED_NS, what, &row->blocked_ns, &row->blocked_quote);
	snprintf(what, sizeof(what), "process %u (rank %d) computes: %llu ms of CPU time, no wait", p.pid, p.rank,
		 (unsigned long long)(p.cpu_user_ms + p.cpu_system_ms));
	follow(r, rec, is_busy(row, &p, rec->monotonic_ns), BUSY_NS, what, &row->busy_ns, &row->busy_quote);
	memcpy(row->wchan, p.wchan, sizeof(row->wchan));
}

/* A state that held to the last sample. */
static void observe_state(struct ringer *r, const struct ring_process *p, const char *kind, int64_t since_ns,
			  int64_t quote, const char *detail)
{
	struct observation o = ringer_observation(r, kind, SRC_HOST, since_ns);
	char comm[sizeof(p->comm) + 1];

	ringer_scope(r, &o, p->pid, p->p.rank, record_text(p->comm, sizeof(p->comm), comm));
	if (detail[0])
		observation_fieldf(r->s, &o, "waits_in", "%s", detail);
	observation_cite(&o, quote);
	store_observe(r->s, &o);
}

void ring_process_end(struct ringer *r)
{
	for (size_t i = 0; i < r->n_processes; i++) {
		const struct ring_process *p = &r->processes[i];
		char wchan[sizeof(p->wchan) + 1];
		size_t len;

		record_text(p->wchan, sizeof(p->wchan), wchan);
		len = strlen(wchan);
		if (p->stopped_quote >= 0)
			observe_state(r, p, "proc.stopped", p->stopped_ns, p->stopped_quote, "");
		if (p->busy_quote >= 0 && p->p.is_rank)
			observe_state(r, p, "proc.busy", p->busy_ns, p->busy_quote, "");
		if (p->blocked_quote >= 0)
			observe_state(r, p, ring_is_storage(span_of(wchan, len)) ? "storage.blocked" : "host.hung_task",
				      p->blocked_ns, p->blocked_quote, wchan);
	}
}
