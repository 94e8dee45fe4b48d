/* process - the source that knows which processes are the job's, and samples them. */
#include "capture/sources/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "bundle/cleanup.h"
#include "capture/sources/proc_file.h"
#include "capture/sources/process_exit.h"
#include "capture/sources/process_sample.h"
#include "capture/sources/process_worker.h"
#include "capture/sources/sources.h"

#define NAME "process"
#define WORKER_BUDGET_NS (20 * NS_PER_S)
#define EXEC_DELAY_NS (200 * NS_PER_MS)	/* what ended by then needs no look at its environment */
#define LOOK_NS (30 * NS_PER_S)			/* through all of /proc */
#define LOOK_SOON_NS (5 * NS_PER_S)		/* ... when more pids came than can be asked for one by one */
#define PIDS_PER_TICK 512			/* of new pids, found without the bpf source */
#define PIDS_PER_TICK_BESIDE_BPF 64
#define AGAIN_NS (300 * NS_PER_S)		/* identities are recorded again, to outlive recycled segments */
#define HELPERS_EVERY 5				/* a helper is sampled every fifth tick ... */
#define HELPERS_PER_TICK 64			/* ... as long as that is no more than so many a tick */
#define HELPER_CMDLINE 512

/* Beside each slot of the track table. */
struct follow {
	uint32_t pid;				/* 0: free */
	int pidfd;
	struct loop_watch *watch;
	struct process_files files;
	char *cmdline;
	int64_t recorded_ns;
	bool exit_seen;				/* its end waits for the bpf source's record of it */
};

struct process_source {
	struct capture *c;
	struct follow *follow;			/* TRACK_MAX */
	struct process_page *page;		/* shared with the worker */
	struct process_worker_context context;
	struct attached_worker *worker;
	struct loop_watch *sample_timer, *look_timer, *exec_timer;
	uint32_t exec[PROCESS_PIDS_MAX];	/* pids that called exec, to be asked for */
	uint32_t n_exec;
	uint64_t exec_dropped;
	int loadavg_fd;
	uint32_t last_pid;			/* newest of the host, as /proc/loadavg has it; 0: not known */
	int64_t looked_ns;
	size_t helper_from;			/* slot where the next tick's helpers begin, modulo the table */
};

static struct follow *follow_of(struct process_source *s, const struct tracked *t)
{
	return &s->follow[t - s->c->track.by_slot];
}

/* ---- the end of a process ---- */

static void unfollow(struct process_source *s, struct follow *f)
{
	loop_remove(s->c->loop, f->watch);
	if (f->pidfd >= 0)
		close(f->pidfd);
	process_files_close(&f->files);
	free(f->cmdline);
	*f = (struct follow){ .pidfd = -1, .files = PROCESS_FILES_NONE };
}

static void end_process(struct process_source *s, struct tracked *t)
{
	unfollow(s, follow_of(s, t));
	track_end(&s->c->track, t);
	capture_tracked(s->c, t);
}

/* Without the bpf source nobody else sees how it ended. */
static void end_unseen(struct process_source *s, struct tracked *t, int32_t exit_code)
{
	if (!capture_source_is_ok(s->c, "bpf"))
		process_exit_record(s->c, t, exit_code >= 0 ? exit_code : process_exit_code(follow_of(s, t)->pidfd));
	end_process(s, t);
}

static void on_pidfd(void *ctx, int fd, uint32_t events)
{
	struct process_source *s = ctx;
	struct record_process_sample sample;
	int32_t exit_code = -1;

	(void)events;
	for (size_t i = 0; i < s->c->track.n; i++) {
		struct follow *f = &s->follow[i];

		if (f->pidfd != fd || !f->pid)
			continue;
		loop_remove(s->c->loop, f->watch);
		f->watch = NULL;
		f->exit_seen = true;		/* the next tick ends it; the bpf source usually before */
		if (!capture_source_is_ok(s->c, "bpf")) {
			process_sample(f->pid, s->c->track.by_slot[i].p.start_ns, &f->files, true, &sample, &exit_code);
			end_unseen(s, &s->c->track.by_slot[i], exit_code);
		}
		return;
	}
}

void track_exit(struct capture *c, const struct record_task_exit *e)
{
	struct process_source *s = capture_source_data(c, NAME);
	struct tracked *t = s ? track_find(&c->track, e->pid) : NULL;

	/* Ours is cut to the clock tick: an older process with the same pid differs by more. */
	if (t && (!e->start_ns || llabs((long long)(e->start_ns - t->p.start_ns)) < NS_PER_S / 50))
		end_process(s, t);
}

/* ---- what the worker found out ---- */

static void record_identity(struct process_source *s, const struct tracked *t, struct follow *f, int64_t now)
{
	ring_put(s->c->ring, STREAM_PROC, REC_PROCESS, now, &t->p, sizeof(t->p), f->cmdline, f->cmdline ? strlen(f->cmdline) : 0);
	f->recorded_ns = now;
}

static void begin_follow(struct process_source *s, const struct tracked *t, struct follow *f)
{
	struct error err = { 0 };

	*f = (struct follow){ .pid = t->p.pid, .files = PROCESS_FILES_NONE };
	f->pidfd = (int)syscall(SYS_pidfd_open, t->p.pid, 0);
	if (f->pidfd >= 0)
		f->watch = loop_add_fd(s->c->loop, f->pidfd, EPOLLIN, on_pidfd, s, &err);
}

static void on_told(struct process_source *s, const struct process_told *told, const char *cmdline, size_t bytes)
{
	struct tracked *t = track_find(&s->c->track, told->p.pid);
	struct follow *f = t ? follow_of(s, t) : NULL;
	bool is_new, is_same_path, changed;

	if (t && t->p.start_ns != told->p.start_ns) {
		end_unseen(s, t, -1);
		t = NULL;
	}
	is_new = !t;
	is_same_path = t && !strcmp(t->nccl_path, told->nccl_path);
	bytes = told->p.is_rank || bytes < HELPER_CMDLINE ? bytes : HELPER_CMDLINE;
	changed = is_new || !f->pid || memcmp(&t->p, &told->p, sizeof(t->p)) ||
		  (f->cmdline && (strncmp(f->cmdline, cmdline, bytes) || strlen(f->cmdline) != bytes));
	if (!changed && is_same_path)
		return;
	t = track_put(&s->c->track, &told->p);
	if (!t) {
		ring_lost(s->c->ring, STREAM_PROC, NAME, 1);
		return;
	}
	f = follow_of(s, t);
	memcpy(t->nccl_path, told->nccl_path, sizeof(t->nccl_path));
	if (is_new || !f->pid)
		begin_follow(s, t, f);
	free(f->cmdline);
	f->cmdline = strndup(cmdline, bytes);
	if (changed)
		record_identity(s, t, f, loop_now());
	capture_tracked(s->c, t);
}

static void on_answer(struct capture *c, void *ctx, uint16_t kind, const uint8_t *payload, size_t bytes)
{
	struct process_source *s = ctx;
	struct process_told told;
	uint64_t skipped;

	if (kind == PROCESS_SKIPPED && bytes == sizeof(skipped)) {
		memcpy(&skipped, payload, sizeof(skipped));
		ring_lost(c->ring, STREAM_PROC, NAME, skipped);
	}
	if (kind != PROCESS_TOLD || bytes < sizeof(told))
		return;
	memcpy(&told, payload, sizeof(told));
	told.nccl_path[sizeof(told.nccl_path) - 1] = '\0';
	if (told.p.pid)
		on_told(s, &told, (const char *)payload + sizeof(told), bytes - sizeof(told));
}

/* ---- new processes ---- */

static void ask_about_execs(void *ctx, int64_t now)
{
	struct process_source *s = ctx;

	(void)now;
	s->exec_timer = NULL;			/* a timer that runs once is gone by itself */
	if (s->n_exec && !attached_worker_ask(s->worker, PROCESS_ASK_PIDS, s->exec, s->n_exec * sizeof(*s->exec)))
		s->exec_dropped += s->n_exec;
	s->n_exec = 0;
	if (s->exec_dropped)
		ring_lost(s->c->ring, STREAM_PROC, NAME, s->exec_dropped);
	s->exec_dropped = 0;
}

static void queue_pid(struct process_source *s, uint32_t pid)
{
	struct error err = { 0 };

	if (s->n_exec == PROCESS_PIDS_MAX) {
		s->exec_dropped++;
		return;
	}
	s->exec[s->n_exec++] = pid;
	if (!s->exec_timer)
		s->exec_timer = loop_add_timer(s->c->loop, EXEC_DELAY_NS, 0, ask_about_execs, s, &err);
}

void track_exec(struct capture *c, const struct record_exec *e)
{
	struct process_source *s = capture_source_data(c, NAME);

	if (s)
		queue_pid(s, e->pid);
}

/* The pid that was given out last, threads included. */
static uint32_t newest_pid(int loadavg_fd)
{
	char text[128];
	const char *last = loadavg_fd >= 0 && proc_pread(loadavg_fd, text, sizeof(text)) > 0 ? strrchr(text, ' ') : NULL;

	return last ? (uint32_t)strtoul(last, NULL, 10) : 0;
}

static void look_through(struct process_source *s, int64_t now)
{
	if (attached_worker_ask(s->worker, PROCESS_ASK_LOOK, NULL, 0))
		s->looked_ns = now;
}

/* Numbers are given out in order: what is new lies between the newest of then and of now. */
static void on_look(void *ctx, int64_t now)
{
	struct process_source *s = ctx;
	uint32_t newest = newest_pid(s->loadavg_fd), last = s->last_pid;
	bool beside_bpf = capture_source_is_ok(s->c, "bpf");
	uint32_t most = beside_bpf ? PIDS_PER_TICK_BESIDE_BPF : PIDS_PER_TICK;

	s->last_pid = newest;
	if (now - s->looked_ns >= LOOK_NS)
		look_through(s, now);
	else if (last && newest >= last && newest - last <= most)
		for (uint32_t pid = last + 1; pid <= newest; pid++)
			queue_pid(s, pid);
	else if (!beside_bpf && now - s->looked_ns >= LOOK_SOON_NS)
		look_through(s, now);
}

/* ---- samples ---- */

static void sample_one(struct process_source *s, struct tracked *t, struct follow *f, int64_t now)
{
	struct record_process_sample sample;
	int32_t exit_code;
	enum process_life life = process_sample(t->p.pid, t->p.start_ns, &f->files, t->p.is_rank, &sample, &exit_code);

	if (life != PROCESS_LIVES) {
		end_unseen(s, t, exit_code);
		return;
	}
	sample.rank = t->p.rank;
	ring_put(s->c->ring, STREAM_PROC, REC_PROCESS_SAMPLE, now, &sample, sizeof(sample), NULL, 0);
	if (now - f->recorded_ns > AGAIN_NS)
		record_identity(s, t, f, now);
}

/* The next few helpers, so that each has its turn every HELPERS_EVERY ticks, or later where they are many. */
static void sample_helpers(struct process_source *s, int64_t now)
{
	struct track *track = &s->c->track;
	size_t budget = track->n / HELPERS_EVERY + 1;

	budget = budget < HELPERS_PER_TICK ? budget : HELPERS_PER_TICK;
	for (size_t seen = 0; seen < track->n && budget; seen++) {
		size_t i = s->helper_from++ % track->n;
		struct tracked *t = &track->by_slot[i];

		if (t->gone || !s->follow[i].pid || t->p.is_rank)
			continue;
		sample_one(s, t, &s->follow[i], now);
		budget--;
	}
}

static void on_sample(void *ctx, int64_t now)
{
	struct process_source *s = ctx;
	struct track *track = &s->c->track;

	for (size_t i = 0; i < track->n; i++) {
		struct tracked *t = &track->by_slot[i];

		if (t->gone || !s->follow[i].pid)
			continue;
		if (s->follow[i].exit_seen)
			end_unseen(s, t, -1);
		else if (t->p.is_rank)
			sample_one(s, t, &s->follow[i], now);
	}
	sample_helpers(s, now);
}

/* ---- the source ---- */

static void process_stop(struct capture *c, void *data)
{
	struct process_source *s = data;

	if (!s)
		return;
	capture_detach_worker(c, s->worker);
	loop_remove(c->loop, s->sample_timer);
	loop_remove(c->loop, s->look_timer);
	loop_remove(c->loop, s->exec_timer);
	for (size_t i = 0; s->follow && i < TRACK_MAX; i++)
		if (s->follow[i].pid)
			unfollow(s, &s->follow[i]);
	if (s->loadavg_fd >= 0)
		close(s->loadavg_fd);
	if (s->page)
		munmap(s->page, sizeof(*s->page));
	free(s->follow);
	free(s);
}

static int attach(struct process_source *s, struct error *err)
{
	struct capture *c = s->c;
	int64_t period_ns = c->config.sample_ms * NS_PER_MS;

	s->last_pid = newest_pid(s->loadavg_fd);
	s->looked_ns = loop_now();		/* a worker begins with a look: what is newer is not in it */
	s->worker = capture_attach_worker(c, NAME, process_worker, &s->context, WORKER_BUDGET_NS, on_answer, s, err);
	if (!s->worker)
		return -1;
	s->sample_timer = loop_add_timer(c->loop, period_ns, period_ns, on_sample, s, err);
	s->look_timer = loop_add_timer(c->loop, NS_PER_S, NS_PER_S, on_look, s, err);
	return s->sample_timer && s->look_timer ? 0 : -1;
}

static int process_start(struct capture *c, void **ret, struct error *err)
{
	struct process_source *s = calloc(1, sizeof(*s));

	if (!s)
		return error_set(err, ERR_NOMEM, "no memory");
	s->c = c;
	s->loadavg_fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	s->follow = calloc(TRACK_MAX, sizeof(*s->follow));
	s->page = mmap(NULL, sizeof(*s->page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s->page = s->page == MAP_FAILED ? NULL : s->page;
	s->context = (struct process_worker_context){ .config = &c->config, .page = s->page, .daemon_pid = (uint32_t)getpid() };
	if (!s->follow || !s->page)
		error_set(err, ERR_NOMEM, "no memory");
	else if (attach(s, err) == 0) {
		*ret = s;
		return 0;
	}
	process_stop(c, s);
	return -1;
}

/* The worker has a copy of the configuration: a new one begins with the new. */
static void process_reload(struct capture *c, void *data)
{
	struct process_source *s = data;
	struct error err = { 0 };
	char text[512];

	capture_detach_worker(c, s->worker);
	loop_remove(c->loop, s->sample_timer);
	loop_remove(c->loop, s->look_timer);
	s->sample_timer = s->look_timer = NULL;
	if (attach(s, &err)) {
		error_text(&err, text, sizeof(text));
		capture_state(c, NAME, SOURCE_FAILED, "%s", text);
	}
}

const struct source source_process = {
	.name = NAME,
	.what = "the job's processes: who they are, and a sample a second",
	.start = process_start,
	.stop = process_stop,
	.reload = process_reload,
};
