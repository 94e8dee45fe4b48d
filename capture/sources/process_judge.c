#include "capture/sources/process_judge.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bundle/cleanup.h"
#include "capture/loop.h"
#include "capture/scrub.h"
#include "capture/sources/proc_file.h"
#include "capture/sources/process_maps.h"
#include "capture/track.h"

#define BUF_BYTES (256u << 10)		/* of an environment; what is beyond is not read */
#define MAPS_FIRST_NS (2 * NS_PER_S)
#define MAPS_MOST_NS (60 * NS_PER_S)
#define ANCESTORS_MAX 16

struct judged {
	struct process_told told;
	struct identity id;
	enum program program;
	enum role role;
	bool on_terminal;
	int64_t maps_ns, maps_wait_ns;	/* next look at its maps; 0: none needed */
};

/* What one reading of a process yields. */
struct reading {
	struct proc_stat stat;
	struct identity id;
	uint64_t uid, pid_in_ns;
	char cmdline[PROCESS_CMDLINE_MAX];
	size_t cmdline_len;
};

bool judge_open(struct judge *j, struct worker_link *l, const struct process_worker_context *c)
{
	*j = (struct judge){ .link = l, .context = c };
	j->judged = calloc(TRACK_MAX, sizeof(*j->judged));
	j->buf = malloc(BUF_BYTES);
	return j->judged && j->buf;
}

static struct judged *find(struct judge *j, uint32_t pid)
{
	for (size_t i = 0; i < j->n; i++)
		if (j->judged[i].told.p.pid == pid)
			return &j->judged[i];
	return NULL;
}

bool judge_is_there(uint32_t pid)
{
	char text[4096];
	uint64_t tgid;

	return proc_read(pid, "status", text, sizeof(text)) > 0 && proc_status_number(text, "Tgid", false, &tgid) &&
	       tgid == pid;
}

void judge_forget_ended(struct judge *j)
{
	size_t kept = 0;

	for (size_t i = 0; i < j->n; i++) {
		struct proc_stat st;

		if (proc_stat_read(j->judged[i].told.p.pid, &st) && st.start_ns == j->judged[i].told.p.start_ns)
			j->judged[kept++] = j->judged[i];
	}
	j->n = kept;
}

/* ---- reading ---- */

static bool is_poison(const struct process_page *page, uint32_t pid, uint64_t start_ns)
{
	for (size_t i = 0; i < page->n_poison && i < PROCESS_POISON_MAX; i++)
		if (page->poison[i].pid == pid && page->poison[i].start_ns == start_ns)
			return true;
	return false;
}

/* The command line with spaces between its words. */
static void read_cmdline(uint32_t pid, struct reading *r)
{
	ssize_t n = proc_read(pid, "cmdline", r->cmdline, sizeof(r->cmdline));

	r->cmdline_len = n > 0 ? (size_t)n : 0;
	while (r->cmdline_len && !r->cmdline[r->cmdline_len - 1])
		r->cmdline_len--;
	for (size_t i = 0; i < r->cmdline_len; i++)
		if (!r->cmdline[i])
			r->cmdline[i] = ' ';
	r->cmdline[r->cmdline_len] = '\0';
}

static bool read_status(uint32_t pid, struct reading *r)
{
	char text[4096];

	if (proc_read(pid, "status", text, sizeof(text)) <= 0)
		return false;
	r->pid_in_ns = pid;
	proc_status_number(text, "NSpid", true, &r->pid_in_ns);
	return proc_status_number(text, "Uid", false, &r->uid);
}

/* What tells strangers from the job's: most are strangers.  False: it ended, is not ours to read, or hung a worker before. */
static bool read_process(struct judge *j, uint32_t pid, struct reading *r)
{
	ssize_t n;

	if (!proc_stat_read(pid, &r->stat) || r->stat.is_kernel_thread || r->stat.state == 'Z' || is_poison(j->context->page, pid, r->stat.start_ns))
		return false;
	j->context->page->reading_pid = pid;
	n = proc_read(pid, "environ", j->buf, BUF_BYTES);
	if (n < 0 && (errno == EACCES || errno == EPERM))
		j->denied++;
	identity_parse(j->buf, n > 0 ? (size_t)n : 0, &j->context->config->track_env, &r->id);
	j->context->page->reading_pid = 0;
	return true;
}

/* The rest, of one that may be the job's. */
static bool read_more(struct judge *j, uint32_t pid, struct reading *r)
{
	j->context->page->reading_pid = pid;
	read_cmdline(pid, r);
	j->context->page->reading_pid = 0;
	return read_status(pid, r);
}

/* Path and id of its cgroup: that of version 2, else the memory controller's. */
static void read_cgroup(uint32_t pid, char *path, size_t size, uint64_t *id_ret)
{
	static const char *const mounts[][2] = { { "0::", "/sys/fs/cgroup" }, { ":memory:", "/sys/fs/cgroup/memory" } };
	char text[4096] = "", file[4600];
	struct stat st;

	*path = '\0';
	*id_ret = 0;
	if (proc_read(pid, "cgroup", text, sizeof(text)) <= 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(mounts) && !*id_ret; i++) {
		const char *at = strstr(text, mounts[i][0]);

		if (!at)
			continue;
		at += strlen(mounts[i][0]);
		snprintf(path, size, "%.*s", (int)strcspn(at, "\n"), at);
		snprintf(file, sizeof(file), "%s%s", mounts[i][1], path);
		if (stat(file, &st) == 0)
			*id_ret = st.st_ino;
	}
}

static bool is_in_cgroups(const struct config_list *globs, const char *path)
{
	for (size_t i = 0; i < globs->n; i++) {
		char below[PROCESS_CMDLINE_MAX];

		snprintf(below, sizeof(below), "%s/*", globs->item[i]);
		if (*path && (fnmatch(globs->item[i], path, 0) == 0 || fnmatch(below, path, 0) == 0))
			return true;
	}
	return false;
}

/* The daemon, its workers, its dump and what those run. */
static bool is_of_daemon(uint32_t pid, uint32_t daemon_pid)
{
	struct proc_stat st;

	for (int i = 0; i < 4 && pid > 1; i++) {
		if (pid == daemon_pid)
			return true;
		if (!proc_stat_read(pid, &st))
			return false;
		pid = st.ppid;
	}
	return false;
}

/* ---- judging ---- */

static void tell(struct judge *j, const struct judged *d, const struct reading *r)
{
	struct {
		struct process_told told;
		char cmdline[PROCESS_CMDLINE_MAX];
	} answer = { .told = d->told };
	struct reading again;

	if (!r) {
		read_cmdline(d->told.p.pid, &again);
		r = &again;
	}
	memcpy(answer.cmdline, r->cmdline, r->cmdline_len);
	scrub_text(answer.cmdline, r->cmdline_len);
	worker_own(j->link, PROCESS_TOLD, &answer, sizeof(answer.told) + r->cmdline_len);
}

static void set_role(struct judged *d, enum role role, int32_t parent_rank)
{
	d->role = role;
	d->told.p.is_rank = role == ROLE_RANK;
	d->told.p.rank = role == ROLE_LAUNCHER ? -1 : d->id.variable < 0 ? parent_rank : d->id.rank;
}

/* A rank was found: whoever above it was taken for one by a lesser sign only launches. */
static void demote_ancestors(struct judge *j, const struct judged *rank)
{
	uint32_t pid = rank->told.p.ppid;

	for (int i = 0; i < ANCESTORS_MAX; i++) {
		struct judged *d = find(j, pid);

		if (!d)
			return;
		if (!d->told.nccl_path[0] && d->role != ROLE_LAUNCHER && identity_demotes(&rank->id, &d->id)) {
			set_role(d, ROLE_LAUNCHER, -1);
			tell(j, d, NULL);
		}
		pid = d->told.p.ppid;
	}
}

/* The parent as far as it matters: from the table, else read for this. */
static void meet_parent(struct judge *j, uint32_t ppid, struct kin *k, struct reading *room, int32_t *rank_ret)
{
	const struct judged *d = find(j, ppid);

	*rank_ret = -1;
	if (d) {
		k->parent = &d->id;
		k->parent_program = d->role == ROLE_LAUNCHER ? PROGRAM_LAUNCHER : d->program;
		k->parent_on_terminal = d->on_terminal;
		k->parent_is_tracked = true;
		*rank_ret = d->told.p.rank;
	} else if (k->self->variable >= 0 && ppid > 1 && read_process(j, ppid, room) && read_more(j, ppid, room)) {
		k->parent = &room->id;
		k->parent_program = program_of(room->stat.comm, room->cmdline);
		k->parent_on_terminal = room->stat.tty != 0;
	}
}

static void fill(struct judged *d, uint32_t pid, const struct reading *r, uint64_t cgroup_id)
{
	struct record_process *p = &d->told.p;
	struct record_process fresh = {
		.pid = pid, .ppid = r->stat.ppid, .uid = (uint32_t)r->uid, .local_rank = r->id.local_rank,
		.world_size = r->id.world_size, .node_rank = r->id.node_rank, .local_world_size = r->id.local_world_size,
		.pid_in_ns = (uint32_t)r->pid_in_ns, .start_ns = r->stat.start_ns, .cgroup_id = cgroup_id,
		.attempt = r->id.attempt,
	};

	memcpy(fresh.job, r->id.job, sizeof(fresh.job));
	memcpy(fresh.gpu, r->id.gpu[0] ? r->id.gpu : p->gpu, sizeof(fresh.gpu));	/* else what it has open */
	memcpy(fresh.comm, r->stat.comm, sizeof(fresh.comm));
	*p = fresh;
	d->id = r->id;
	d->on_terminal = r->stat.tty != 0;
}

/* Its row: the one it has, or a new one; a row of another process with this pid begins anew. */
static struct judged *row_of(struct judge *j, uint32_t pid, uint64_t start_ns)
{
	struct judged *d = find(j, pid);

	if (!d && j->n == TRACK_MAX)
		judge_forget_ended(j);
	if (!d && j->n == TRACK_MAX)
		return NULL;
	if (!d)
		d = &j->judged[j->n++];
	else if (d->told.p.start_ns == start_ns)
		return d;
	*d = (struct judged){ 0 };
	return d;
}

void judge_process(struct judge *j, uint32_t pid)
{
	struct reading r, parent;
	struct kin k = { .self = &r.id };
	const struct judged *known = find(j, pid);
	char cgroup[PROCESS_CMDLINE_MAX];
	uint64_t cgroup_id;
	int32_t parent_rank;
	struct judged *d;
	enum role role;

	if (!read_process(j, pid, &r) ||
	    (r.id.variable < 0 && !find(j, r.stat.ppid) && !j->context->config->track_cgroups.n) || !read_more(j, pid, &r))
		return;
	k.self_program = program_of(r.stat.comm, r.cmdline);
	meet_parent(j, r.stat.ppid, &k, &parent, &parent_rank);
	read_cgroup(pid, cgroup, sizeof(cgroup), &cgroup_id);
	k.in_cgroup = is_in_cgroups(&j->context->config->track_cgroups, cgroup);
	k.maps_nccl = known && known->told.p.start_ns == r.stat.start_ns && known->told.nccl_path[0];
	role = role_of(&k);
	if (role == ROLE_NONE || is_of_daemon(pid, j->context->daemon_pid))
		return;
	d = row_of(j, pid, r.stat.start_ns);
	if (!d)
		return;
	fill(d, pid, &r, cgroup_id);
	d->program = k.self_program;
	set_role(d, role, parent_rank);
	if (!d->maps_wait_ns) {
		d->maps_wait_ns = MAPS_FIRST_NS;
		d->maps_ns = loop_now() + MAPS_FIRST_NS;
	}
	tell(j, d, &r);
	if (role == ROLE_RANK)
		demote_ancestors(j, d);
}

/* ---- maps ---- */

static bool wants_maps(const struct judged *d)
{
	return d->maps_ns && (d->role == ROLE_RANK || (d->role == ROLE_HELPER && d->id.variable >= 0));
}

static void look_at_maps(struct judge *j, struct judged *d, int64_t now)
{
	struct process_told *t = &d->told;
	bool had_nccl = t->nccl_path[0], had_gpu = t->p.gpu[0];

	j->context->page->reading_pid = t->p.pid;
	if (!had_nccl)
		process_maps_nccl(t->p.pid, t->nccl_path, sizeof(t->nccl_path));
	if (t->nccl_path[0] && !had_gpu)
		process_open_gpus(t->p.pid, t->p.gpu, sizeof(t->p.gpu));
	j->context->page->reading_pid = 0;
	d->maps_ns = t->nccl_path[0] && (t->p.gpu[0] || d->maps_wait_ns == MAPS_MOST_NS) ? 0 : now + d->maps_wait_ns;
	d->maps_wait_ns = d->maps_wait_ns * 2 > MAPS_MOST_NS ? MAPS_MOST_NS : d->maps_wait_ns * 2;
	if ((!had_nccl && t->nccl_path[0]) || (!had_gpu && t->p.gpu[0]))
		judge_process(j, t->p.pid);	/* what maps it may be a rank after all */
}

void judge_look_at_maps(struct judge *j)
{
	int64_t now = loop_now();

	for (size_t i = 0; i < j->n; i++)
		if (wants_maps(&j->judged[i]) && j->judged[i].maps_ns <= now &&
		    !is_poison(j->context->page, j->judged[i].told.p.pid, j->judged[i].told.p.start_ns))
			look_at_maps(j, &j->judged[i], now);
}

int judge_wait_ms(const struct judge *j, int most)
{
	int64_t due = loop_now() + most * NS_PER_MS, now = loop_now();

	for (size_t i = 0; i < j->n; i++)
		if (wants_maps(&j->judged[i]) && j->judged[i].maps_ns < due)
			due = j->judged[i].maps_ns;
	return due <= now ? 0 : (int)((due - now) / NS_PER_MS) + 1;
}
