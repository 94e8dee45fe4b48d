#include "capture/sources/process_worker.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bundle/cleanup.h"
#include "capture/loop.h"
#include "capture/sources/proc_file.h"
#include "capture/sources/process_identity.h"
#include "capture/sources/process_judge.h"
#include "capture/sources/process_maps.h"

#define WAIT_MS 5000			/* a sign of life at least so often */
#define JUDGED_PER_S 200		/* in a fork storm the rest waits for the next look */
#define JUDGED_BURST 2000

/* What is known of every process of the host, so that a look judges only what is new: sorted by pid. */
struct seen {
	uint32_t pid, is_new;
	uint64_t start_ns, env_start;
};

struct look {
	struct seen *seen;
	size_t n, room;
};

struct state {
	struct worker_link *link;
	struct judge judge;
	struct look look;
	double tokens;
	int64_t tokens_ns;
};

static bool grow(struct look *l)
{
	struct seen *more;

	if (l->n < l->room)
		return true;
	more = reallocarray(l->seen, l->room ? l->room * 2 : 1024, sizeof(*more));
	if (!more)
		return false;
	l->seen = more;
	l->room = l->room ? l->room * 2 : 1024;
	return true;
}

static int by_pid(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* Parents come before their children; of the same clock tick the lower pid. */
static int by_start(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	return x->start_ns < y->start_ns ? -1 : x->start_ns > y->start_ns ? 1 : by_pid(a, b);
}

static bool is_known(const struct look *l, const struct seen *s)
{
	const struct seen *k = l->n ? bsearch(s, l->seen, l->n, sizeof(*s), by_pid) : NULL;

	return k && k->start_ns == s->start_ns && k->env_start == s->env_start;
}

/* All processes that are there now, kernel threads aside. */
static struct look list_processes(const struct look *before)
{
	DIR *dir = opendir("/proc");
	struct look now = { 0 };
	const struct dirent *d;

	while (dir && (d = readdir(dir))) {
		uint32_t pid = isdigit((unsigned char)*d->d_name) ? (uint32_t)strtoul(d->d_name, NULL, 10) : 0;
		struct proc_stat st;

		if (!pid || !proc_stat_read(pid, &st) || st.is_kernel_thread || !grow(&now))
			continue;
		now.seen[now.n] = (struct seen){ .pid = pid, .start_ns = st.start_ns, .env_start = st.env_start };
		now.seen[now.n].is_new = !is_known(before, &now.seen[now.n]);
		now.n++;
	}
	if (dir)
		closedir(dir);
	return now;
}

static void look_through(struct state *s)
{
	struct look now = list_processes(&s->look);

	if (now.n)
		qsort(now.seen, now.n, sizeof(*now.seen), by_start);
	s->judge.denied = 0;
	for (size_t i = 0; i < now.n; i++)
		if (now.seen[i].is_new) {
			judge_process(&s->judge, now.seen[i].pid);
			worker_alive(s->link);
		}
	if (now.n)
		qsort(now.seen, now.n, sizeof(*now.seen), by_pid);
	free(s->look.seen);
	s->look = now;
	judge_forget_ended(&s->judge);
	if (s->judge.denied)
		worker_state(s->link, SOURCE_OK, "cannot see %u processes of other users: CAP_SYS_PTRACE is missing", s->judge.denied);
}

/* Work for one more?  JUDGED_PER_S, with bursts. */
static bool take_token(struct state *s)
{
	int64_t now = loop_now();

	s->tokens += (double)(now - s->tokens_ns) * JUDGED_PER_S / 1e9;
	s->tokens = s->tokens > JUDGED_BURST ? JUDGED_BURST : s->tokens;
	s->tokens_ns = now;
	if (s->tokens < 1)
		return false;
	s->tokens--;
	return true;
}

static void judge_pids(struct state *s, const uint32_t *pid, size_t n)
{
	uint64_t skipped = 0;

	for (size_t i = 0; i < n; i++)
		if (!judge_is_there(pid[i]))
			continue;
		else if (take_token(s))
			judge_process(&s->judge, pid[i]);
		else
			skipped++;
	if (skipped)
		worker_own(s->link, PROCESS_SKIPPED, &skipped, sizeof(skipped));
}

/* What hung the worker before this one. */
static void note_poison(struct process_page *page)
{
	struct proc_stat st;

	if (page->reading_pid && proc_stat_read(page->reading_pid, &st)) {
		size_t i = page->n_poison++ % PROCESS_POISON_MAX;

		page->poison[i].pid = page->reading_pid;
		page->poison[i].start_ns = st.start_ns;
	}
	page->reading_pid = 0;
}

void process_worker(struct worker_link *l, void *ctx)
{
	const struct process_worker_context *c = ctx;
	_cleanup_free_ struct state *s = calloc(1, sizeof(*s));
	_cleanup_free_ uint32_t *pids = calloc(PROCESS_PIDS_MAX, sizeof(*pids));
	size_t bytes;
	uint16_t kind;
	int r = 0;

	if (!s || !pids || !judge_open(&s->judge, l, c))
		return;
	s->link = l;
	s->tokens = JUDGED_BURST;
	s->tokens_ns = loop_now();
	note_poison(c->page);
	look_through(s);
	while (r >= 0) {
		r = worker_asked(l, judge_wait_ms(&s->judge, WAIT_MS), &kind, pids, PROCESS_PIDS_MAX * sizeof(*pids), &bytes);
		if (r > 0 && kind == PROCESS_ASK_LOOK)
			look_through(s);
		else if (r > 0 && kind == PROCESS_ASK_PIDS)
			judge_pids(s, pids, bytes / sizeof(*pids));
		judge_look_at_maps(&s->judge);
		worker_alive(l);
	}
}
