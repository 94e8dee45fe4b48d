#include "capture/dump/find.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/dump/common.h"

struct found {
	struct record_process *v;
	size_t n, cap;
};

static int32_t number(const struct dump_text *env, const char *name)
{
	const char *s = dump_env(env, name);
	char *end;
	long v = s ? strtol(s, &end, 10) : -1;

	return s && end != s && v >= 0 && v <= INT32_MAX ? (int32_t)v : -1;
}

/* The first that is set. */
static int32_t first_number(const struct dump_text *env, const char *const names[])
{
	int32_t v = -1;

	for (size_t i = 0; names[i] && v < 0; i++)
		v = number(env, names[i]);
	return v;
}

static void first_text(const struct dump_text *env, const char *const names[], char *buf, size_t size)
{
	for (size_t i = 0; names[i]; i++) {
		const char *s = dump_env(env, names[i]);

		if (s && s[0]) {
			snprintf(buf, size, "%s", s);
			return;
		}
	}
}

static int read_stat(uint32_t pid, struct record_process *p)
{
	_cleanup_dump_text_ struct dump_text t = { 0 };
	char path[64];
	const char *open, *close, *at;
	long tick = sysconf(_SC_CLK_TCK);
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	if (dump_read_file(path, 4096, &t) || stat(path, &st))
		return -1;
	open = strchr(t.s, '(');
	close = strrchr(t.s, ')');
	at = close && close[1] ? close + 2 : NULL;
	if (!open || !at)
		return -1;
	snprintf(p->comm, sizeof(p->comm), "%.*s", (int)(close - open - 1), open + 1);
	p->pid = pid;
	p->uid = st.st_uid;
	for (int field = 3; field < 22; field++) {	/* from the state on to the start time */
		if (field == 4)
			p->ppid = (uint32_t)strtoul(at, NULL, 10);
		at = strchr(at, ' ');
		if (!at++)
			return -1;
	}
	p->start_ns = strtoull(at, NULL, 10) * (UINT64_C(1000000000) / (uint64_t)(tick > 0 ? tick : 100));
	return 0;
}

static void read_identity(const struct dump_context *dc, const struct dump_text *env, struct record_process *p)
{
	static const char *const local[] = { "LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", NULL };
	static const char *const world[] = { "WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", NULL };
	static const char *const node[] = { "GROUP_RANK", "NODE_RANK", "SLURM_NODEID", NULL };
	static const char *const local_world[] = { "LOCAL_WORLD_SIZE", "SLURM_NTASKS_PER_NODE", "OMPI_COMM_WORLD_LOCAL_SIZE", NULL };
	static const char *const attempt[] = { "TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT", NULL };
	static const char *const job[] = { "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", NULL };
	static const char *const gpu[] = { "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", NULL };

	for (size_t i = 0; i < dc->config->track_env.n && p->rank < 0; i++)
		p->rank = number(env, dc->config->track_env.item[i]);
	p->local_rank = first_number(env, local);
	p->world_size = first_number(env, world);
	p->node_rank = first_number(env, node);
	p->local_world_size = first_number(env, local_world);
	p->attempt = first_number(env, attempt);
	first_text(env, job, p->job, sizeof(p->job));
	first_text(env, gpu, p->gpu, sizeof(p->gpu));
}

static void add(struct found *f, const struct record_process *p)
{
	if (f->n == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 64;
		struct record_process *v = reallocarray(f->v, cap, sizeof(*v));

		if (!v)
			return;
		f->v = v;
		f->cap = cap;
	}
	f->v[f->n++] = *p;
}

/* A child inherits the environment: the rank itself is the one whose parent is not of the same rank. */
static bool is_rank(const struct found *f, const struct record_process *p)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->v[i].pid == p->ppid)
			return f->v[i].rank != p->rank;
	return true;
}

static void run(struct worker_link *l, void *ctx)
{
	const struct dump_context *dc = ctx;
	struct found f = { 0 };
	DIR *d = opendir("/proc");

	for (const struct dirent *e; d && (e = readdir(d));) {
		struct record_process p = { .rank = -1 };
		_cleanup_dump_text_ struct dump_text env = { 0 };
		unsigned long pid = strtoul(e->d_name, NULL, 10);

		if (pid == 0 || pid == (unsigned long)getpid() || pid == (unsigned long)getppid() ||
		    dump_read_environ((uint32_t)pid, &env) || !env.len)
			continue;
		read_identity(dc, &env, &p);
		if (p.rank >= 0 && read_stat((uint32_t)pid, &p) == 0)
			add(&f, &p);
	}
	if (d)
		closedir(d);
	for (int ranks = 1; ranks >= 0; ranks--)	/* ranks first */
		for (size_t i = 0; i < f.n; i++) {
			f.v[i].is_rank = is_rank(&f, &f.v[i]);
			if ((int)f.v[i].is_rank == ranks)
				worker_own(l, DUMP_OWN_PROCESS, &f.v[i], sizeof(f.v[i]));
		}
	if (f.n)
		worker_state(l, SOURCE_OK, "%s", "");
	else
		worker_state(l, SOURCE_ABSENT, "no process has an environment of a rank");
	free(f.v);
}

const struct dump_source dump_find = { "processes", 3, run };
