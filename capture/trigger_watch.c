#include "capture/trigger_watch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bundle/cleanup.h"
#include "capture/capture.h"

#define JOBS_MAX 16		/* on one host at a time */

struct job {
	char name[sizeof(((struct record_process *)0)->job)];
	int64_t active_ns;	/* latest sign of life of any of its processes; 0: never one */
	int64_t raised_ns;	/* the active_ns of the silence that was raised */
	uint32_t living;	/* ranks */
	int32_t pid, rank;	/* of the rank that has been silent longest ... */
	int64_t silent_since_ns;	/* ... since then */
};

struct trigger_watch {
	struct job job[JOBS_MAX];
	size_t n_jobs;
	int pressure_fd;	/* /proc/pressure/memory; -1 */
	bool above;
};

struct trigger_watch *trigger_watch_open(void)
{
	struct trigger_watch *w = calloc(1, sizeof(*w));

	if (w)
		w->pressure_fd = open("/proc/pressure/memory", O_RDONLY | O_CLOEXEC);
	return w;
}

void trigger_watch_close(struct trigger_watch *w)
{
	if (!w)
		return;
	if (w->pressure_fd >= 0)
		close(w->pressure_fd);
	free(w);
}

/* The job's row; NULL: too many jobs. */
static struct job *job_of(struct trigger_watch *w, const char *name)
{
	struct job *j;

	for (size_t i = 0; i < w->n_jobs; i++)
		if (!strncmp(w->job[i].name, name, sizeof(w->job[i].name)))
			return &w->job[i];
	if (w->n_jobs == JOBS_MAX)
		return NULL;
	j = &w->job[w->n_jobs++];
	*j = (struct job){ 0 };
	memcpy(j->name, name, sizeof(j->name));
	return j;
}

/* Jobs whose ranks have all gone give their rows away. */
static void forget_ended(struct trigger_watch *w)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->n_jobs; i++)
		if (w->job[i].living)
			w->job[kept++] = w->job[i];
	w->n_jobs = kept;
}

static void count_process(struct trigger_watch *w, const struct tracked *t)
{
	int64_t active = t->last_log_ns > t->last_call_ns ? t->last_log_ns : t->last_call_ns;
	struct job *j = job_of(w, t->p.job);

	if (!j)
		return;
	j->active_ns = active > j->active_ns ? active : j->active_ns;
	if (!t->p.is_rank)
		return;
	if (!j->living++ || active < j->silent_since_ns) {
		j->pid = (int32_t)t->p.pid;
		j->rank = t->p.rank;
		j->silent_since_ns = active;
	}
}

static void look_for_hang(struct trigger_watch *w, struct capture *c, int64_t now)
{
	int64_t limit_ns = (int64_t)c->config.trigger_hang_s * NS_PER_S;

	for (size_t i = 0; i < w->n_jobs; i++)
		w->job[i].living = 0;
	for (size_t i = 0; i < c->track.n; i++)
		if (!c->track.by_slot[i].gone)
			count_process(w, &c->track.by_slot[i]);
	for (size_t i = 0; i < w->n_jobs; i++) {
		struct job *j = &w->job[i];

		if (!j->living || !j->active_ns || j->raised_ns == j->active_ns || now - j->active_ns < limit_ns)
			continue;
		j->raised_ns = j->active_ns;
		trigger_raise(c, "hang", j->pid, j->rank, "no NCCL call and no log output of %s%s for %lld s while %u of its ranks live here",
			      *j->name ? "job " : "the job", j->name, (long long)((now - j->active_ns) / NS_PER_S), j->living);
	}
	forget_ended(w);
}

/* "full avg10=12.34 ...", in percent x 100; -1: not readable. */
static int full_avg10_x100(int fd)
{
	char buf[256];
	ssize_t n = pread(fd, buf, sizeof(buf) - 1, 0);
	const char *at;
	unsigned whole, part;

	if (n <= 0)
		return -1;
	buf[n] = '\0';
	at = strstr(buf, "full avg10=");
	return at && sscanf(at, "full avg10=%u.%2u", &whole, &part) == 2 ? (int)(whole * 100 + part) : -1;
}

static void look_at_memory(struct trigger_watch *w, struct capture *c)
{
	int limit = (int)c->config.trigger_memory_pct * 100, full = full_avg10_x100(w->pressure_fd);

	if (full > limit && !w->above) {
		w->above = true;
		trigger_raise(c, "memory", -1, -1, "all tasks waited for memory %d.%02d %% of the last 10 s (PSI full), limit %u %%",
			      full / 100, full % 100, c->config.trigger_memory_pct);
	} else if (full < limit / 2) {
		w->above = false;
	}
}

void trigger_watch_look(struct trigger_watch *w, struct capture *c, int64_t monotonic_ns)
{
	if (c->config.trigger_hang_s)
		look_for_hang(w, c, monotonic_ns);
	if (c->config.trigger_memory_pct && w->pressure_fd >= 0)
		look_at_memory(w, c);
}
