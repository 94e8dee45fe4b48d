#include "analyzer/ingest/structured.h"

#include <ctype.h>
#include <stdlib.h>

#include "bundle/cleanup.h"

#define FRAMES 128		/* kept per thread, innermost first */
#define LOADER_QUOTES 6

enum format { NO_STACK, PY_SPY, FAULTHANDLER, GDB, KERNEL };

/* What a thread does, by what it says about its process. */
enum doing { NOTHING, OTHER, SIDE_COLLECTIVE, COLLECTIVE, LOADER };

struct frame {
	struct span function, file;	/* file: with its line, as written */
	struct place at;
};

struct thread {
	enum format format;
	bool main, known;		/* known: the heading says whether it is the main one */
	int64_t id;			/* decimal id of the system; -1: unknown */
	struct span state;
	struct span outermost;		/* function of the last frame, kept or not */
	struct place heading;
	unsigned n_frames;
	struct frame frame[FRAMES];
};

struct stacks {
	struct citer c;
	struct thread thread;		/* the one being read */
	int64_t pid;			/* of the process being read; -1: not stated */
	sid process;
	bool has_main;
	enum doing best;
	struct observation found;	/* what `best` says */
	unsigned n_stacks;
};

/* ---- what a frame tells ---- */

static bool has(struct span t, const char *text)
{
	return span_find(t, text) != NULL;
}

static bool is_loader(const struct frame *f)
{
	return has(f->file, "torch/utils/data/") ||
	       (has(f->file, "dataloader") &&
		(span_is(f->function, "_try_get_data") || span_is(f->function, "_next_data")));
}

/* A call of torch.distributed that waits for other ranks. */
static bool is_python_collective(const struct frame *f)
{
	static const char *const files[] = {
		"torch/distributed/distributed_c10d.py", "torch/distributed/_functional_collectives",
		"torch/distributed/nn/functional", "deepspeed/comm/",
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (has(f->file, files[i]))
			return true;
	return false;
}

/* The same below Python; the threads that NCCL and c10d keep for themselves are none. */
static bool is_native_collective(const struct frame *f)
{
	static const char *const starts[] = { "ncclKernel", "ncclDevKernel", "ncclGroupEnd",
					      "ncclAllReduce", "ncclAllGather", "ncclReduceScatter",
					      "ncclBroadcast", "ncclSend", "ncclRecv" };
	struct span n = f->function;

	if (has(n, "atchdog") || has(n, "eartbeat") || has(n, "roxy"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(starts); i++)
		if (span_starts(n, starts[i]))
			return true;
	return has(n, "c10d::ProcessGroup");
}

/* Kernel functions in which a task waits for a remote file system. */
static const char *waits_for(struct span function)
{
	static const struct {
		const char *prefix, *fs;
	} waits[] = {
		{ "rpc_wait_", "nfs" },		{ "nfs_", "nfs" },	   { "nfs4_", "nfs" },
		{ "nfs3_", "nfs" },		{ "__rpc_execute", "nfs" }, { "ll_", "lustre" },
		{ "cl_sync_io_wait", "lustre" }, { "cl_lock_", "lustre" }, { "ldlm_", "lustre" },
		{ "ptlrpc_", "lustre" },	{ "osc_", "lustre" },	   { "lov_", "lustre" },
		{ "mdc_", "lustre" },		{ "cxiWaitEventWait", "gpfs" }, { "kxWaitCondvar", "gpfs" },
		{ "_ZN6ThCond", "gpfs" },	{ "gpfs_", "gpfs" },	   { "request_wait_answer", "fuse" },
		{ "fuse_", "fuse" },		{ "__fuse_", "fuse" },	   { "ceph_", "ceph" },
		{ "cifs_", "cifs" },		{ "smb2_", "cifs" },	   { "wait_for_response", "cifs" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(waits); i++)
		if (span_starts(function, waits[i].prefix))
			return waits[i].fs;
	return NULL;
}

/* ---- observations ---- */

static struct observation observation_here(struct stacks *p, const char *kind)
{
	const struct thread *t = &p->thread;
	struct observation o = citer_observation(&p->c, kind, SRC_HOST);

	citer_cite(&p->c, &o, t->heading);
	return o;
}

static int shown(struct span t) { return t.len < 200 ? (int)t.len : 200; }

static void field_frame(struct stacks *p, struct observation *o, const char *name,
			const struct frame *f)
{
	observation_fieldf(p->c.s, o, name, "%.*s (%.*s)", shown(f->function), f->function.s,
			   shown(f->file), f->file.s);
}

static void found(struct stacks *p, enum doing what, const struct observation *o)
{
	if (what > p->best) {
		p->best = what;
		p->found = *o;
	}
}

/* `at`: the innermost frame of the loader. */
static void found_loader(struct stacks *p, unsigned at)
{
	const struct thread *t = &p->thread;
	struct observation o = observation_here(p, "stack.data_loader");
	unsigned i = at;

	observation_field(p->c.s, &o, "function", t->frame[at].function.s, t->frame[at].function.len);
	field_frame(p, &o, "innermost", &t->frame[0]);
	if (t->state.len)
		observation_field(p->c.s, &o, "state", t->state.s, t->state.len);
	for (; i < t->n_frames && i < at + LOADER_QUOTES && is_loader(&t->frame[i]); i++)
		citer_cite(&p->c, &o, t->frame[i].at);
	if (i < t->n_frames)
		citer_cite(&p->c, &o, t->frame[i].at);	/* who asked the loader */
	found(p, LOADER, &o);
}

static void found_collective(struct stacks *p, unsigned at)
{
	const struct thread *t = &p->thread;
	struct observation o = observation_here(p, "stack.collective");

	observation_field(p->c.s, &o, "op", t->frame[at].function.s, t->frame[at].function.len);
	for (unsigned i = at; i < t->n_frames && i < at + 3; i++)
		citer_cite(&p->c, &o, t->frame[i].at);
	found(p, t->main ? COLLECTIVE : SIDE_COLLECTIVE, &o);
}

static void found_other(struct stacks *p)
{
	const struct thread *t = &p->thread;
	struct observation o = observation_here(p, "stack.other");

	field_frame(p, &o, "innermost", &t->frame[0]);
	for (unsigned i = 0; i < t->n_frames && i < 3; i++)
		citer_cite(&p->c, &o, t->frame[i].at);
	/* the main thread speaks for its process */
	if (t->main && p->best == OTHER)
		p->best = NOTHING;
	found(p, OTHER, &o);
}

/* "stacks/4242.txt", "trace-pid4242", "proc/4242/stack": the pid in the member's name, or -1. */
static int64_t pid_of_path(const struct stacks *p)
{
	const struct member *m = &p->c.s->members[p->c.member];
	const char *path = intern_str(&p->c.s->strings, m->name ? m->name : m->input);
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	const char *proc = strstr(path, "proc/"), *pid = strstr(base, "pid");
	size_t n = strspn(base, "0123456789");

	if (n > 0 && (base[n] == '.' || base[n] == '\0') && (n > 2 || strstr(path, "stacks/")))
		return span_number(span_of(base, n));
	if (proc)
		return span_number(span_of(proc + 5, strlen(proc + 5)));
	if (!pid)
		return -1;
	pid += 3 + strspn(pid + 3, "-_.=");
	return span_number(span_of(pid, strlen(pid)));
}

static void set_process(struct stacks *p, struct observation *o)
{
	int64_t pid = p->pid >= 0 ? p->pid : pid_of_path(p);

	if (pid > 0 && pid <= INT32_MAX)
		o->scope.pid = (int32_t)pid;
	o->scope.process = p->process;
}

/* The kernel's side of a task; said at once, beside what its user side shows. */
static void kernel_stack(struct stacks *p)
{
	const struct thread *t = &p->thread;
	const char *fs = NULL;
	unsigned at = 0;
	struct observation o;

	for (; at < t->n_frames; at++)
		if ((fs = waits_for(t->frame[at].function)))
			break;
	if (!fs) {
		found_other(p);
		return;
	}
	o = observation_here(p, "host.hung_task");
	observation_field(p->c.s, &o, "fs", fs, strlen(fs));
	observation_field(p->c.s, &o, "function", t->frame[at].function.s, t->frame[at].function.len);
	for (unsigned i = 0; i < t->n_frames && i < 4; i++)
		citer_cite(&p->c, &o, t->frame[i].at);
	if (at >= 4)
		citer_cite(&p->c, &o, t->frame[at].at);
	set_process(p, &o);
	store_observe(p->c.s, &o);
}

static void python_stack(struct stacks *p)
{
	const struct thread *t = &p->thread;

	for (unsigned i = 0; i < t->n_frames; i++)	/* a loader's worker waits for work: health */
		if (span_is(t->frame[i].function, "_worker_loop")) {
			found_other(p);
			return;
		}
	for (unsigned i = 0; i < t->n_frames; i++) {
		const struct frame *f = &t->frame[i];

		if (is_python_collective(f) || (t->main && is_native_collective(f))) {
			found_collective(p, i);
			return;
		}
		if (t->main && is_loader(f)) {
			found_loader(p, i);
			return;
		}
	}
	found_other(p);
}

static void end_thread(struct stacks *p)
{
	struct thread *t = &p->thread;

	if (t->n_frames) {
		p->n_stacks++;
		if (!t->known)	/* threading.py starts every other thread */
			t->main = !span_starts(t->outermost, "_bootstrap");
		if (t->format == KERNEL)
			kernel_stack(p);
		else
			python_stack(p);
	}
	t->n_frames = 0;
	t->format = NO_STACK;
}

static void end_process(struct stacks *p)
{
	end_thread(p);
	if (p->best != NOTHING) {
		set_process(p, &p->found);
		store_observe(p->c.s, &p->found);
	}
	p->best = NOTHING;
	p->has_main = false;
	p->process = 0;
	p->pid = -1;
}

/* ---- lines ---- */

static void begin_thread(struct stacks *p, enum format format, const struct line *l)
{
	end_thread(p);
	p->thread.format = format;
	p->thread.main = p->thread.known = false;
	p->thread.id = -1;
	p->thread.state = p->thread.outermost = span_of("", 0);
	p->thread.heading = l ? (struct place){ l->offset, l->len } : (struct place){ 0 };
}

/* Process 4242: /usr/bin/python -u train.py */
static bool process_line(struct stacks *p, const struct line *l)
{
	struct span t = span_of(l->s, l->len), command;
	int64_t pid;
	size_t n;

	if (!span_starts(t, "Process "))
		return false;
	t = span_after(t, 8);
	pid = span_number(t);
	for (n = 0; n < t.len && isdigit((unsigned char)t.s[n]); n++)
		;
	if (pid <= 0 || n >= t.len || t.s[n] != ':')
		return false;
	end_process(p);
	p->pid = pid;
	command = span_trim(span_after(t, n + 1));
	for (n = 0; n < command.len && command.s[n] != ' '; n++)
		if (command.s[n] == '/') {
			command = span_after(command, n + 1);
			n = (size_t)-1;
		}
	p->process = intern(&p->c.s->strings, command.s, n < 200 ? n : 200);
	return true;
}

/* Thread 4242 (idle): "MainThread" */
static bool py_spy_thread(struct stacks *p, const struct line *l)
{
	struct span t = span_after(span_of(l->s, l->len), strlen("Thread "));
	const char *open = span_find(t, " ("), *close = span_find(t, ")"), *quote = span_find(t, "\"");
	bool hex = span_starts(t, "0x"), main;
	int64_t id = hex ? -1 : span_number(t);

	if (!open || !close || close < open || (!hex && id < 0))
		return false;
	main = has(t, "\"MainThread\"");
	if (main && p->has_main)	/* the next process, without a heading */
		end_process(p);
	begin_thread(p, PY_SPY, l);
	p->thread.id = id;
	p->thread.main = main;
	p->thread.known = quote != NULL;
	p->thread.state = span_of(open + 2, (size_t)(close - open - 2));
	p->has_main |= main;
	if (main && p->pid < 0)
		p->pid = id;	/* on Linux the main thread's id is the pid */
	return true;
}

/* Thread 3 (Thread 0x7f12 (LWP 4242) "python"): */
static void gdb_thread(struct stacks *p, const struct line *l)
{
	struct span t = span_of(l->s, l->len);
	const char *lwp = span_find(t, "LWP ");
	bool first = span_starts(t, "Thread 1 ");

	begin_thread(p, GDB, l);
	p->thread.id = span_number(span_after(t, (size_t)(lwp + 4 - l->s)));
	p->thread.main = first;
	p->thread.known = true;
	if (first && p->pid < 0)
		p->pid = p->thread.id;
}

static bool heading(struct stacks *p, const struct line *l)
{
	struct span t = span_of(l->s, l->len);
	const char *proc = span_find(t, "/proc/");
	int64_t pid;

	if (process_line(p, l))
		return true;
	if (has(t, "(most recent call first)")) {
		bool thread = span_starts(t, "Thread 0x") || span_starts(t, "Current thread 0x");

		if (!thread && !span_starts(t, "Traceback ") && !span_starts(t, "Stack "))
			return false;
		begin_thread(p, FAULTHANDLER, l);
		return true;
	}
	if (span_starts(t, "Thread "))
		return has(t, "LWP ") ? gdb_thread(p, l), true : py_spy_thread(p, l);
	pid = proc ? span_number(span_after(t, (size_t)(proc + 6 - l->s))) : -1;
	if (pid > 0 && pid != p->pid) {
		end_process(p);
		p->pid = pid;
		return true;
	}
	if (proc && pid > 0)
		end_thread(p);
	return false;
}

/* "    wait (threading.py:306)" */
static bool py_spy_frame(struct span t, struct frame *f)
{
	const char *open = NULL;

	if (t.len < 8 || !span_starts(t, "    ") || t.s[4] == ' ' || t.s[t.len - 1] != ')')
		return false;
	for (const char *p = t.s; p + 1 < t.s + t.len; p++)
		if (p[0] == ' ' && p[1] == '(')
			open = p;
	if (!open || open < t.s + 4)
		return false;
	f->function = span_of(t.s + 4, (size_t)(open - t.s - 4));
	f->file = span_of(open + 2, (size_t)(t.s + t.len - 1 - (open + 2)));
	return true;
}

/* `  File "x.py", line 12 in f`; gdb's py-bt writes ", in f" */
static bool faulthandler_frame(struct span t, struct frame *f)
{
	const char *quote, *in;

	if (!span_starts(t, "  File \""))
		return false;
	t = span_after(t, 8);
	quote = span_find(t, "\", line ");
	in = quote ? span_find(span_after(t, (size_t)(quote - t.s)), " in ") : NULL;
	if (!in)
		return false;
	f->file = span_of(t.s, (size_t)(quote - t.s));
	f->function = span_of(in + 4, (size_t)(t.s + t.len - in - 4));
	return true;
}

/* "#1  0x00007f12 in poll () from libc.so.6" */
static bool gdb_frame(struct span t, struct frame *f)
{
	const char *in, *open, *from;
	int64_t n;

	if (t.len < 4 || t.s[0] != '#')
		return false;
	n = span_number(span_after(t, 1));
	if (n < 0)
		return false;
	for (t = span_after(t, 1); t.len && isdigit((unsigned char)t.s[0]); t = span_after(t, 1))
		;
	t = span_trim(t);
	in = span_starts(t, "0x") ? span_find(t, " in ") : NULL;
	if (in)
		t = span_after(t, (size_t)(in + 4 - t.s));
	open = span_find(t, " (");
	from = span_find(t, " from ");
	if (!from)
		from = span_find(t, " at ");
	if (!open && !from)
		return false;
	f->function = span_of(t.s, (size_t)((open ? open : from) - t.s));
	f->file = from ? span_trim(span_after(t, (size_t)(from + 4 - t.s))) : span_of("?", 1);
	return true;
}

/* "[<0>] rpc_wait_bit_killable+0x24/0xb0 [sunrpc]" */
static bool kernel_frame(struct span t, struct frame *f)
{
	const char *close, *plus;

	t = span_trim(t);
	if (!span_starts(t, "[<"))
		return false;
	close = span_find(t, ">] ");
	plus = close ? span_find(t, "+0x") : NULL;
	if (!plus || plus < close + 3)
		return false;
	f->function = span_of(close + 3, (size_t)(plus - close - 3));
	f->file = span_of("kernel", 6);
	return true;
}

/* A frame of the format that its own look says; opens a thread when there is none. */
static bool frame_line(struct stacks *p, const struct line *l)
{
	struct span t = span_of(l->s, l->len);
	struct frame f = { .at = { l->offset, l->len } };
	struct thread *th = &p->thread;
	enum format format = th->format;

	while (t.len && (t.s[t.len - 1] == '\r' || t.s[t.len - 1] == ' '))
		t.len--;
	if (kernel_frame(t, &f))
		format = KERNEL;
	else if (gdb_frame(t, &f))
		format = GDB;
	else if ((format == FAULTHANDLER && faulthandler_frame(t, &f)) ||
		 (format == PY_SPY && py_spy_frame(t, &f)))
		;
	else
		return false;
	if (format != th->format || (format == GDB && span_starts(t, "#0 ") && th->n_frames)) {
		begin_thread(p, format, NULL);
	}
	if (th->n_frames < FRAMES)
		th->frame[th->n_frames++] = f;
	th->outermost = f.function;
	return true;
}

int ingest_stacks(struct store *s, uint32_t member, const char *data, size_t len,
		  struct error *err)
{
	_cleanup_free_ struct stacks *p = calloc(1, sizeof(*p));

	if (!p)
		return error_set(err, ERR_NOMEM, "no memory");
	p->c = citer_of(s, member, data, len);
	p->pid = -1;
	for (struct line l = line_first(data, len); l.ok; l = line_next(data, len, &l)) {
		if (frame_line(p, &l) || heading(p, &l))
			continue;
		if (l.len == 0 || l.s[0] != ' ')
			end_thread(p);
	}
	end_process(p);
	if (p->n_stacks == 0)
		return error_at(err, ERR_FORMAT, 0, "no stack of a process");
	return 0;
}
