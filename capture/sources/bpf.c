/* bpf - the source that follows processes, signals, OOM kills, blocked tasks, block I/O and TCP in the kernel. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "bundle/cleanup.h"
#include "capture/bpf/block_io.skel.h"
#include "capture/bpf/blocked.skel.h"
#include "capture/bpf/oom.skel.h"
#include "capture/bpf/process.skel.h"
#include "capture/bpf/signals.skel.h"
#include "capture/bpf/tcp.skel.h"
#include "capture/sources/bpf.h"
#include "capture/sources/bpf_look.h"
#include "capture/sources/probe_stream.h"
#include "capture/sources/process.h"
#include "capture/sources/sources.h"

#define EVENTS_BYTES (1u << 20)

enum { PROBE_PROCESS, PROBE_SIGNALS, PROBE_OOM, PROBE_BLOCKED, PROBE_BLOCK_IO, PROBE_TCP, PROBE_MAX };

struct bpf_source {
	struct capture *c;
	struct probe_stream stream;
	struct probe probes[PROBE_MAX];
};

/* The victim as a task or, in old kernels, as a number: load the program that fits. */
static void prepare_oom(struct bpf_object *obj, const struct btf *kernel)
{
	const struct btf_type *t = NULL;
	int id = btf__find_by_name_kind(kernel, "btf_trace_mark_victim", BTF_KIND_TYPEDEF);
	bool by_task = false;

	if (id > 0)
		t = btf__type_by_id(kernel, btf__type_by_id(kernel, (uint32_t)id)->type);	/* pointer to function */
	if (t)
		t = btf__type_by_id(kernel, t->type);
	if (t && btf_is_func_proto(t) && btf_vlen(t) >= 2)
		by_task = btf_is_ptr(btf__type_by_id(kernel, btf_params(t)[1].type));
	bpf_program__set_autoload(bpf_object__find_program_by_name(obj, by_task ? "on_victim_pid" : "on_victim_task"), false);
}

static const struct probe_desc descs[PROBE_MAX] = {
	[PROBE_PROCESS] = { "process", process_probe__elf_bytes, NULL },
	[PROBE_SIGNALS] = { "signals", signals_probe__elf_bytes, NULL },
	[PROBE_OOM] = { "oom", oom_probe__elf_bytes, prepare_oom },
	[PROBE_BLOCKED] = { "blocked", blocked_probe__elf_bytes, NULL },
	[PROBE_BLOCK_IO] = { "block_io", block_io_probe__elf_bytes, NULL },
	[PROBE_TCP] = { "tcp", tcp_probe__elf_bytes, NULL },
};

/* ---- events ---- */

/* A crash, or a kill that no orderly end explains: what pools do to their helpers is none. */
static bool is_violent(int signal)
{
	return signal == SIGKILL || signal == SIGSEGV || signal == SIGBUS || signal == SIGABRT || signal == SIGILL ||
	       signal == SIGFPE || signal == SIGSYS;
}

static void on_exit_event(struct bpf_source *s, const struct record_task_exit *r)
{
	const struct tracked *t = track_find(&s->c->track, r->pid);
	bool is_rank = r->is_tracked == 1 || (t && t->p.is_rank);	/* the kernel's map may be a moment behind */
	int status = (int)r->exit_code;

	if (WIFSIGNALED(status) && (is_rank || is_violent(WTERMSIG(status))))
		trigger_raise(s->c, "exit", (int32_t)r->pid, r->rank, "%s %u (%.16s) was ended by signal %d (%s)",
			      is_rank ? "process" : "child process", r->pid, r->comm, WTERMSIG(status),
			      sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?");
	else if (is_rank && WIFEXITED(status) && WEXITSTATUS(status))
		trigger_raise(s->c, "exit", (int32_t)r->pid, r->rank, "process %u (%.16s) exited with code %d", r->pid,
			      r->comm, WEXITSTATUS(status));
}

static void on_signal_event(struct bpf_source *s, const struct record_signal *r)
{
	const struct tracked *t;

	if (r->signal != SIGTERM || r->result > 1)
		return;
	t = track_find(&s->c->track, r->target_pid);
	if (t && (t->p.is_rank || t->p.rank < 0))	/* a rank or a launcher, no helper of theirs */
		trigger_raise(s->c, "sigterm", (int32_t)r->target_pid, r->target_rank,
			      "SIGTERM to process %u (%.16s) from process %u (%.16s) of uid %u", r->target_pid,
			      r->target_comm, r->sender_pid, r->sender_comm, r->sender_uid);
}

static void on_oom_event(struct bpf_source *s, const struct oom_event *e, int64_t monotonic_ns)
{
	char path[CGROUP_DEPTH_MAX * (CGROUP_NAME_BYTES + 1) + 2] = "/";
	size_t len = 0;

	for (uint32_t i = e->depth < CGROUP_DEPTH_MAX ? e->depth : CGROUP_DEPTH_MAX; i > 0; i--)
		len += (size_t)snprintf(path + len, sizeof(path) - len, "/%.*s", CGROUP_NAME_BYTES - 1, e->name[i - 1]);
	ring_put(s->c->ring, STREAM_BPF, REC_OOM_KILL, monotonic_ns, &e->kill, sizeof(e->kill), path, strlen(path));
	if (track_find(&s->c->track, e->kill.victim_pid) || e->kill.victim_rank >= 0)
		trigger_raise(s->c, "oom", (int32_t)e->kill.victim_pid, e->kill.victim_rank,
			      "the kernel killed process %u (%.16s) for want of memory in %.80s", e->kill.victim_pid,
			      e->kill.victim_comm, path);
}

/* Payload of exactly this kind's size, else NULL. */
#define PAYLOAD(e, size, type) \
	((size) >= sizeof(*(e)) + sizeof(type) && (e)->bytes == sizeof(type) ? (const type *)((e) + 1) : NULL)

static void on_event(void *ctx, const struct probe_event *e, size_t size)
{
	struct bpf_source *s = ctx;
	const struct record_task_exit *ended = PAYLOAD(e, size, struct record_task_exit);
	const struct record_signal *sig = PAYLOAD(e, size, struct record_signal);
	const struct record_exec *exec = PAYLOAD(e, size, struct record_exec);
	const struct oom_event *oom = PAYLOAD(e, size, struct oom_event);

	if (e->kind == REC_OOM_KILL && oom) {
		on_oom_event(s, oom, e->monotonic_ns);
		return;
	}
	if (e->kind == REC_EXEC && exec && !track_find(&s->c->track, exec->pid)) {
		track_exec(s->c, exec);		/* of everybody: only what turns out to be the job's is recorded */
		return;
	}
	ring_put(s->c->ring, STREAM_BPF, e->kind, e->monotonic_ns, e + 1, e->bytes, NULL, 0);
	if (e->kind == REC_EXEC && exec)
		track_exec(s->c, exec);
	if (e->kind == REC_SIGNAL && sig)
		on_signal_event(s, sig);
	if (e->kind == REC_TASK_EXIT && ended) {
		on_exit_event(s, ended);
		track_exit(s->c, ended);
	}
}

static void on_look(void *ctx)
{
	struct bpf_source *s = ctx;
	struct probe_counts lost = probe_counts_take(&s->stream.maps, &s->stream.counts);
	uint64_t n = lost.n[COUNT_DROPPED] + lost.n[COUNT_UNAGGREGATED];

	bpf_look_tcp(&s->probes[PROBE_TCP], s->c->ring);
	bpf_look_block_io(&s->probes[PROBE_BLOCK_IO], s->c->ring);
	bpf_look_blocked(&s->probes[PROBE_BLOCKED], s->c->ring);
	if (n)
		ring_lost(s->c->ring, STREAM_BPF, "bpf", n);
}

static const struct probe_stream_ops ops = { .event = on_event, .look = on_look };

/* ---- life ---- */

static void bpf_stop(struct capture *c, void *data)
{
	struct bpf_source *s = data;

	(void)c;
	if (!s)
		return;
	probe_stream_close(&s->stream);
	for (size_t i = 0; i < PROBE_MAX; i++)
		probe_unload(&s->probes[i]);
	free(s);
}

/* Load what loads; `without` names the rest.  The number that did. */
static size_t load_all(struct bpf_source *s, char *without, size_t size, struct error *first)
{
	struct btf *kernel = btf__load_vmlinux_btf();
	size_t n = 0, len = 0;

	for (size_t i = 0; i < PROBE_MAX && kernel; i++) {
		struct error err = { 0 };
		char text[120];

		if (!probe_load(&descs[i], &s->stream.maps, kernel, &s->probes[i], &err)) {
			n++;
			continue;
		}
		error_text(&err, text, sizeof(text));
		if (len < size)
			len += (size_t)snprintf(without + len, size - len, "%s%s (%s)", len ? ", " : "", descs[i].name, text);
		if (first->code == ERR_NONE)
			*first = err;
	}
	btf__free(kernel);
	malloc_trim(0);		/* the kernel's types took some 10 MiB, for this moment only */
	return n;
}

static int begin(struct bpf_source *s, struct error *err)
{
	struct error first = { 0 };
	char without[120] = "";

	if (!load_all(s, without, sizeof(without), &first)) {
		*err = first;
		return error_set(err, ERR_SYS, "no probe loads");
	}
	if (probe_stream_begin(&s->stream, &ops, s, err))
		return -1;
	capture_state(s->c, "bpf", SOURCE_OK, "%s%s", *without ? "without: " : "all probes attached", without);
	return 0;
}

static int bpf_start(struct capture *c, void **ret, struct error *err)
{
	const struct probe_settings set = {
		.blocked_ns = 10 * NS_PER_S, .block_io_ns = NS_PER_S, .execs_per_s = 500,
		.page_kib = (uint32_t)sysconf(_SC_PAGESIZE) / 1024,
	};
	_cleanup_free_ struct bpf_source *s = calloc(1, sizeof(*s));

	if (!s)
		return error_set(err, ERR_NOMEM, "no memory");
	s->c = c;
	if (probe_stream_open(&s->stream, c, "bpf", EVENTS_BYTES, -1, set, err))
		return -1;
	if (begin(s, err)) {
		bpf_stop(c, take(s));
		return -1;
	}
	*ret = take(s);
	return 0;
}

static void bpf_tracked(struct capture *c, void *data, const struct tracked *t)
{
	struct bpf_source *s = data;

	(void)c;
	probe_track(&s->stream.maps, t);
}

int bpf_tracked_map(const struct capture *c)
{
	const struct bpf_source *s = capture_source_data(c, "bpf");

	return s ? s->stream.maps.tracked : -1;
}

const struct source source_bpf = {
	.name = "bpf",
	.what = "exits, signals, OOM kills, blocked tasks, block I/O and TCP trouble, from the kernel",
	.start = bpf_start,
	.stop = bpf_stop,
	.tracked = bpf_tracked,
};
