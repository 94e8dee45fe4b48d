/* How processes end: exits, signals and who sent them, the OOM killer. */
#include "analyzer/ingest/ringer.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "analyzer/identity.h"
#include "bundle/cleanup.h"

#define FROM_KERNEL 128		/* SI_KERNEL */
#define STOP_NS (3 * SECOND_NS)	/* stopped for less harms nobody */

const char *signal_text(int signal)
{
	return sigabbrev_np(signal) ? sigabbrev_np(signal) : "?";
}

/* Programs that end processes because somebody asked them to. */
static const struct {
	const char *comm;		/* prefix */
	const char *kind;
} senders[] = {
	{ "slurm", "scheduler" }, { "kubelet", "scheduler" }, { "containerd", "scheduler" }, { "runc", "scheduler" },
	{ "crun", "scheduler" }, { "conmon", "scheduler" }, { "dockerd", "scheduler" }, { "systemd", "scheduler" },
	{ "pbs_mom", "scheduler" }, { "sbatchd", "scheduler" }, { "sge_", "scheduler" }, { "tini", "scheduler" },
	{ "systemd-oomd", "oom_daemon" }, { "earlyoom", "oom_daemon" }, { "oomd", "oom_daemon" },
	{ "srun", "launcher" }, { "torchrun", "launcher" }, { "pt_elastic", "launcher" }, { "mpirun", "launcher" },
	{ "mpiexec", "launcher" }, { "orted", "launcher" }, { "prted", "launcher" }, { "hydra_", "launcher" },
	{ "raylet", "launcher" }, { "accelerate", "launcher" }, { "deepspeed", "launcher" },
};

/* The program that started it; a shell starts and ends things because somebody types. */
static bool is_launcher(struct ringer *r, const struct record_signal *sig, const char *comm)
{
	static const char *const shells[] = { "sh",   "bash", "dash",	      "zsh",	"ksh",
					      "fish", "sshd", "tmux: server", "screen", "sudo" };
	const struct ring_process *target = ringer_process(r, sig->target_pid);

	for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
		if (strcmp(comm, shells[i]) == 0)
			return false;
	return target && target->ppid == sig->sender_pid;
}

static const char *sender_kind(struct ringer *r, const struct record_signal *sig, const char *comm)
{
	const char *best = NULL;
	size_t best_len = 0;

	if (!sig->sender_pid || sig->code == FROM_KERNEL)
		return "kernel";
	if (sig->sender_pid == sig->target_pid)
		return "itself";
	for (size_t i = 0; i < ARRAY_SIZE(senders); i++) {
		size_t len = strlen(senders[i].comm);

		if (len > best_len && strncmp(comm, senders[i].comm, len) == 0) {
			best = senders[i].kind;
			best_len = len;
		}
	}
	if (best)
		return best;
	return is_launcher(r, sig, comm) ? "launcher" : "process";
}

/* Signals that end or stop whoever does not handle them, and the one that lets go on. */
static bool matters(int signal)
{
	static const int ones[] = { SIGHUP,  SIGINT,  SIGQUIT, SIGILL,	SIGTRAP, SIGABRT,   SIGBUS,  SIGFPE,
				    SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2, SIGTERM, SIGSTKFLT, SIGXCPU, SIGXFSZ,
				    SIGSYS,  SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT };

	for (size_t i = 0; i < ARRAY_SIZE(ones); i++)
		if (ones[i] == signal)
			return true;
	return false;
}

static bool is_stop(int signal)
{
	return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

void ring_exec(struct ringer *r, const struct record *rec)
{
	struct record_exec e;
	struct ring_process *p;

	record_part(rec, &e, sizeof(e));
	p = ringer_add_process(r, e.pid);
	if (!p)
		return;
	p->ppid = e.ppid;
	memcpy(p->comm, e.comm, sizeof(p->comm));
}

/* It went on, or the records end: what stopped it counts when that took long enough to matter. */
static void end_stop(struct ringer *r, struct ring_process *p, int64_t monotonic_ns)
{
	struct observation *o = p->stop;
	int64_t stopped_ns = o ? ringer_time(r, monotonic_ns).ns - o->time.ns : 0;

	p->stop = NULL;
	if (stopped_ns < STOP_NS)
		return;
	observation_fieldf(r->s, o, "stopped_s", "%lld", (long long)(stopped_ns / SECOND_NS));
	store_observe(r->s, o);
}

/* What the signal changes of its target. */
static void follow_signal(struct ringer *r, const struct record *rec, const struct record_signal *sig,
			  const char *sender, const char *kind, const struct observation *o)
{
	struct ring_process *p = ringer_add_process(r, sig->target_pid);

	if (!p || sig->result == 1)	/* ignored */
		return;
	if (sig->signal == SIGCONT) {
		end_stop(r, p, rec->monotonic_ns);
		return;
	}
	if (is_stop(sig->signal)) {
		if (!p->stop)
			p->stop = ARENA_NEW(&r->s->arena, struct observation);
		if (p->stop && !p->stop->kind) {
			*p->stop = *o;
			p->stop->kind = kind_find("proc.stopped");
		}
		return;
	}
	p->signal = sig->signal;
	p->sender_kind = kind;
	snprintf(p->sender, sizeof(p->sender), "%s", sender);
}

void ring_task_end(struct ringer *r)
{
	for (size_t i = 0; i < r->n_processes; i++)
		end_stop(r, &r->processes[i], r->end_ns);
}

void ring_signal(struct ringer *r, const struct record *rec)
{
	struct record_signal sig;
	struct observation o;
	char sender[17], target[17], text[64];
	const char *kind;

	record_part(rec, &sig, sizeof(sig));
	record_text(sig.sender_comm, sizeof(sig.sender_comm), sender);
	record_text(sig.target_comm, sizeof(sig.target_comm), target);
	if (!matters(sig.signal))
		return;
	kind = sender_kind(r, &sig, sender);
	if (strcmp(kind, "kernel") == 0)
		snprintf(text, sizeof(text), "the kernel");
	else
		snprintf(text, sizeof(text), "%s (pid %u, uid %u)", sender, sig.sender_pid, sig.sender_uid);
	o = ringer_observation(r, "proc.signal", SRC_EBPF, rec->monotonic_ns);
	ringer_scope(r, &o, sig.target_pid, sig.target_rank, target);
	o.scope.sender = intern_cstr(&r->s->strings, text);
	observation_fieldf(r->s, &o, "signal", "%d", sig.signal);
	observation_fieldf(r->s, &o, "sender_kind", "%s", kind);
	ringer_cite(r, &o, rec, "SIG%s to %s (pid %u, rank %d) from %s%s", signal_text(sig.signal), target,
		    sig.target_pid, sig.target_rank, text, sig.result == 1 ? ", ignored" : "");
	store_observe(r->s, &o);
	follow_signal(r, rec, &sig, text, kind, &o);
}

/* As the launchers say it: -N for a signal. */
static int exit_code(uint32_t status)
{
	return WIFSIGNALED((int)status) ? -WTERMSIG((int)status) : WEXITSTATUS((int)status);
}

/* A child of a rank that returns non-zero is the rank's business; one that dies by a signal is news. */
static bool is_news(const struct record_task_exit *t, int code)
{
	if (!code || !t->is_tracked)
		return false;
	return t->is_tracked == 1 ||
	       (code < 0 && code != -SIGTERM && code != -SIGINT && code != -SIGPIPE && code != -SIGHUP);
}

void ring_task_exit(struct ringer *r, const struct record *rec)
{
	struct record_task_exit t;
	const struct ring_process *p;
	struct observation o;
	char comm[17];
	int code;
	bool by_signal, by_launcher;

	record_part(rec, &t, sizeof(t));
	record_text(t.comm, sizeof(t.comm), comm);
	if (t.is_tracked && r->s->members[r->member].run)
		run_learn(r->s, r->s->members[r->member].run, t.pid);
	code = exit_code(t.exit_code);
	if (!is_news(&t, code))
		return;
	p = ringer_process(r, t.pid);
	by_signal = p && code < 0 && p->signal == -code && p->sender[0];
	by_launcher = by_signal && strcmp(p->sender_kind, "launcher") == 0;
	o = ringer_observation(r,
			       by_launcher || code == -SIGTERM || code == -SIGINT ? "proc.terminated" : "proc.exit",
			       SRC_EBPF, rec->monotonic_ns);
	ringer_scope(r, &o, t.pid, t.rank, comm);
	if (by_signal && strcmp(p->sender_kind, "itself")) {
		o.scope.sender = intern_cstr(&r->s->strings, p->sender);
		observation_fieldf(r->s, &o, "sender_kind", "%s", p->sender_kind);
	}
	observation_fieldf(r->s, &o, "exitcode", "%d", code);
	if (t.is_tracked == 2)
		observation_fieldf(r->s, &o, "role", "child");
	if (code < 0)
		ringer_cite(r, &o, rec, "%s (pid %u, rank %d) ended by SIG%s", comm, t.pid, t.rank, signal_text(-code));
	else
		ringer_cite(r, &o, rec, "%s (pid %u, rank %d) ended with exit code %d", comm, t.pid, t.rank, code);
	store_observe(r->s, &o);
}

void ring_oom_kill(struct ringer *r, const struct record *rec)
{
	struct record_oom_kill k;
	struct span cgroup = record_part(rec, &k, sizeof(k));
	struct observation o = ringer_observation(r, "host.oom_kill", SRC_EBPF, rec->monotonic_ns);
	char victim[17];

	record_text(k.victim_comm, sizeof(k.victim_comm), victim);
	ringer_scope(r, &o, k.victim_pid, k.victim_rank, victim);
	o.scope.object = cgroup.len ? intern(&r->s->strings, cgroup.s, cgroup.len < 200 ? cgroup.len : 200) : 0;
	observation_fieldf(r->s, &o, "constraint", "%s", k.is_memcg ? "memcg" : "host");
	observation_fieldf(r->s, &o, "anon_rss_kib", "%llu", (unsigned long long)k.anon_rss_kib);
	ringer_cite(r, &o, rec, "OOM kill of %s (pid %u, rank %d), %llu KiB, limit of %s%.*s", victim, k.victim_pid,
		    k.victim_rank, (unsigned long long)k.anon_rss_kib, k.is_memcg ? "cgroup " : "the host",
		    k.is_memcg ? (int)cgroup.len : 0, cgroup.s);
	store_observe(r->s, &o);
}
