/*
 * stacks - stacks/<pid>.kernel.txt, .native.txt, .python.txt of the job's processes.
 *
 * The kernel's come first: reading them stops nobody.  A thread in an
 * uninterruptible sleep, and a process that is stopped or dead, is never attached
 * to.  What is not reached within the budget is said.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/dump/native.h"
#include "capture/dump/sources.h"

#define PROCESSES_MAX 128
#define THREADS_MAX 512
#define NATIVE_MS 6000			/* of all processes together */
#define NATIVE_PROCESS_MS 1500
#define PYTHON_MS 6000
#define PYTHON_PROCESS_MS 3000

struct thread {
	pid_t tid;
	char state;			/* of /proc/PID/stat; '?': gone */
	char comm[64];
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void read_thread(uint32_t pid, pid_t tid, struct thread *t)
{
	_cleanup_dump_text_ struct dump_text stat = { 0 };
	char path[64];
	const char *open, *close;

	*t = (struct thread){ .tid = tid, .state = '?' };
	snprintf(path, sizeof(path), "/proc/%u/task/%d/stat", pid, tid);
	if (dump_read_file(path, 4096, &stat))
		return;
	open = strchr(stat.s, '(');
	close = strrchr(stat.s, ')');
	if (!open || !close || !close[1] || !close[2])
		return;
	snprintf(t->comm, sizeof(t->comm), "%.*s", (int)(close - open - 1), open + 1);
	t->state = close[2];
}

/* The main thread first. */
static size_t list_threads(uint32_t pid, struct thread *v, size_t max)
{
	char path[64];
	size_t n = 0;
	DIR *d;

	read_thread(pid, (pid_t)pid, &v[n++]);
	snprintf(path, sizeof(path), "/proc/%u/task", pid);
	d = opendir(path);
	for (const struct dirent *e; d && n < max && (e = readdir(d));) {
		long tid = strtol(e->d_name, NULL, 10);

		if (tid > 0 && (uint32_t)tid != pid)
			read_thread(pid, (pid_t)tid, &v[n++]);
	}
	if (d)
		closedir(d);
	return v[0].state == '?' ? 0 : n;
}

static size_t kernel_stacks(struct worker_link *l, uint32_t pid, const struct thread *v, size_t n)
{
	_cleanup_dump_text_ struct dump_text t = { 0 };
	size_t got = 0;
	char path[80];

	for (size_t i = 0; i < n; i++) {
		_cleanup_dump_text_ struct dump_text wchan = { 0 };

		snprintf(path, sizeof(path), "/proc/%u/task/%d/wchan", pid, v[i].tid);
		dump_read_file(path, 256, &wchan);
		dump_text_add(&t, "/proc/%u/task/%d/stack \"%s\" state %c wchan %s\n", pid, v[i].tid, v[i].comm, v[i].state,
			      wchan.len && strcmp(wchan.s, "0") ? wchan.s : "-");
		snprintf(path, sizeof(path), "/proc/%u/task/%d/stack", pid, v[i].tid);
		got += dump_read_file(path, 16384, &t) == 0;
		dump_text_add(&t, "\n");
	}
	snprintf(path, sizeof(path), "stacks/%u.kernel.txt", pid);
	if (n)
		dump_send_text(l, path, &t);
	return got;
}

/* How the whole process stands: 'T' stopped, 't' traced, 'Z' or 'X' dead: nothing is to be had there. */
static bool may_attach(const struct thread *t) { return strchr("RSI", t->state) != NULL; }

static void native_stacks(struct worker_link *l, uint32_t pid, const struct thread *v, size_t n, int64_t until)
{
	_cleanup_dump_text_ struct dump_text t = { 0 };
	struct native *native = n && may_attach(&v[0]) ? native_open((pid_t)pid) : NULL;
	size_t done = 0;
	char name[64];

	until = now_ms() + NATIVE_PROCESS_MS < until ? now_ms() + NATIVE_PROCESS_MS : until;
	for (; native && done < n && now_ms() < until; done++) {
		const char *why = "";

		dump_text_add(&t, "Thread %zu (Thread 0x0 (LWP %d) \"%s\"):\n", done + 1, v[done].tid, v[done].comm);
		if (!may_attach(&v[done]))
			dump_text_add(&t, "not read: state %c\n", v[done].state);
		else if (!native_thread(native, v[done].tid, &t, &why))
			dump_text_add(&t, "not read: %s\n", why);
		dump_text_add(&t, "\n");
	}
	native_close(native);
	if (n && !may_attach(&v[0]))
		dump_note(l, "stacks: no native stack of pid %u: state %c", pid, v[0].state);
	else if (done < n)
		dump_note(l, "stacks: native stacks of pid %u: %zu of %zu threads within the budget", pid, done, n);
	snprintf(name, sizeof(name), "stacks/%u.native.txt", pid);
	if (done)
		dump_send_text(l, name, &t);
}

static void python_stack(struct worker_link *l, uint32_t pid, int64_t until)
{
	_cleanup_dump_text_ struct dump_text t = { 0 };
	struct error err = { 0 };
	char number[16], name[64];
	const char *const argv[] = { "py-spy", "dump", "--nonblocking", "--pid", number, NULL };
	int64_t left = until - now_ms();

	snprintf(number, sizeof(number), "%u", pid);
	snprintf(name, sizeof(name), "stacks/%u.python.txt", pid);
	if (left <= 0)
		dump_note(l, "stacks: no Python stack of pid %u within the budget", pid);
	else if (dump_command(argv, (unsigned)(left < PYTHON_PROCESS_MS ? left : PYTHON_PROCESS_MS), false, &t, &err) < 0)
		dump_note(l, "stacks: pid %u: %s", pid, err.what);
	if (t.len)
		dump_send_text(l, name, &t);
	worker_alive(l);
}

static void run(struct worker_link *l, void *ctx)
{
	const struct dump_context *dc = ctx;
	struct thread *threads = calloc(THREADS_MAX, sizeof(*threads));
	size_t processes = dc->n_tracks < PROCESSES_MAX ? dc->n_tracks : PROCESSES_MAX, kernel = 0, n;
	int64_t until;

	if (!threads || !processes) {
		worker_state(l, SOURCE_ABSENT, threads ? "no process of the job lives" : "no memory");
		return;
	}
	for (size_t i = 0; i < processes; i++)
		kernel += kernel_stacks(l, dc->tracks[i].p.pid, threads,
					list_threads(dc->tracks[i].p.pid, threads, THREADS_MAX));
	worker_alive(l);
	until = now_ms() + PYTHON_MS;
	for (size_t i = 0; i < processes && dump_has_command("py-spy"); i++)
		if (list_threads(dc->tracks[i].p.pid, threads, 1) && may_attach(&threads[0]))
			python_stack(l, dc->tracks[i].p.pid, until);
	until = now_ms() + NATIVE_MS;
	for (size_t i = 0; i < processes && now_ms() < until; i++) {
		n = list_threads(dc->tracks[i].p.pid, threads, THREADS_MAX);
		native_stacks(l, dc->tracks[i].p.pid, threads, n, until);
		worker_alive(l);
	}
	if (kernel)
		worker_state(l, SOURCE_OK, "%s", "");
	else
		worker_state(l, SOURCE_DENIED, "kernel stacks cannot be read: %s", strerror(errno));
}

const struct dump_source dump_stacks = { "stacks", 15, run };
