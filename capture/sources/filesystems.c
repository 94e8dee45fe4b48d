/*
 * Free blocks and inodes of the file systems that a job depends on: the only
 * witness of a full log disk.
 *
 * statvfs() of a dead NFS server never returns: a worker asks, and tells what it
 * asks for, so that its successor leaves out what hung.
 */
#include "capture/sources/filesystems.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include "bundle/cleanup.h"
#include "capture/sources/sources.h"
#include "capture/sources/ticks.h"

#define PERIOD_MS 10000
#define AGAIN_TICKS 60	/* rounds between two tries of what hung */
#define BUDGET_NS (25 * NS_PER_S)

static void watch(struct file_systems *all, const char *path, size_t len, uint32_t role)
{
	char dir[sizeof(all->watched[0].path)];

	if (len == 0 || len >= sizeof(dir))
		return;
	snprintf(dir, sizeof(dir), "%.*s", (int)len, path);
	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->watched[i].path, dir) == 0) {
			all->watched[i].role |= role;
			return;
		}
	if (all->n == FILE_SYSTEMS_MAX)
		return;
	memcpy(all->watched[all->n].path, dir, sizeof(dir));
	all->watched[all->n++].role = role;
}

/* The directory above the first wildcard of a glob, or of a plain file. */
static size_t glob_directory(const char *glob)
{
	size_t len = strcspn(glob, "*?[{");

	while (len > 1 && glob[len - 1] != '/')
		len--;
	return len > 1 ? len - 1 : len;
}

void file_systems_of(const struct config *config, struct file_systems *ret)
{
	const char *tmp = getenv("TMPDIR");

	*ret = (struct file_systems){ .period_ms = PERIOD_MS, .asking = ASKING_NOTHING };
	watch(ret, "/dev/shm", 8, FILE_SYSTEM_SHM);
	watch(ret, "/tmp", 4, FILE_SYSTEM_TEMPORARY);
	watch(ret, "/var/tmp", 8, FILE_SYSTEM_TEMPORARY);
	if (tmp)
		watch(ret, tmp, strlen(tmp), FILE_SYSTEM_TEMPORARY);
	watch(ret, config->ring_dir, strlen(config->ring_dir), FILE_SYSTEM_RING);
	watch(ret, config->bundle_dir, strlen(config->bundle_dir), FILE_SYSTEM_RING);
	for (size_t i = 0; i < config->logs.n; i++)
		watch(ret, config->logs.item[i], glob_directory(config->logs.item[i]), FILE_SYSTEM_LOG);
}

/* ---- in the worker ---- */

/* The mount point and type of the device that `path` is on, from the kernel's table. */
static void find_mount(dev_t device, char *point, size_t point_size, char *type, size_t type_size)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096], at[1024], fs[64];
	unsigned int major, minor;

	while (f && fgets(line, sizeof(line), f)) {
		const char *dash = strstr(line, " - ");

		if (sscanf(line, "%*u %*u %u:%u %*s %1023s", &major, &minor, at) == 3 && dash &&
		    sscanf(dash, " - %63s", fs) == 1 && makedev(major, minor) == device) {
			snprintf(point, point_size, "%s", at);
			snprintf(type, type_size, "%s", fs);
			return;
		}
	}
}

/* False: nothing is there, or it did not say. */
static bool ask(const char *path, uint32_t role, dev_t *device_ret, struct record_file_system *ret, char *point,
		size_t size)
{
	struct statvfs v;
	struct stat st;

	if (stat(path, &st) || statvfs(path, &v))
		return false;
	*ret = (struct record_file_system){
		.bytes = v.f_blocks * v.f_frsize,
		.bytes_free = v.f_bavail * v.f_frsize,
		.inodes = v.f_files,
		.inodes_free = v.f_favail,
		.role = role,
		.is_read_only = (v.f_flag & ST_RDONLY) != 0,
	};
	snprintf(point, size, "%s", path);
	find_mount(st.st_dev, point, size, ret->type, sizeof(ret->type));
	*device_ret = st.st_dev;
	return true;
}

static void tell_asking(struct worker_link *l, int32_t index)
{
	worker_own(l, FILE_SYSTEMS_OWN_ASKING, &index, sizeof(index));
}

struct answer {
	struct record_file_system r;
	char point[512];
	dev_t device;
};

/* Several paths on one file system are one record with all their roles; `n` answers are there already.  How many
 * then. */
static size_t add_answer(struct worker_link *l, const struct file_systems *all, size_t i, struct answer *answers,
			 size_t n)
{
	struct answer *a = &answers[n];

	tell_asking(l, (int32_t)i);
	if (!ask(all->watched[i].path, all->watched[i].role, &a->device, &a->r, a->point, sizeof(a->point)))
		return n;
	for (size_t k = 0; k < n; k++)
		if (answers[k].device == a->device) {
			answers[k].r.role |= a->r.role;
			return n;
		}
	return n + 1;
}

/* One round; with `again` also what once hung, last. */
static void sample(struct worker_link *l, struct file_systems *all, bool again)
{
	struct answer answers[FILE_SYSTEMS_MAX];
	size_t n = 0, told;

	for (size_t i = 0; i < all->n; i++)
		if (!(all->hung & 1u << i))
			n = add_answer(l, all, i, answers, n);
	for (told = 0; told < n; told++)
		worker_record(l, STREAM_HOST, REC_FILE_SYSTEM, loop_now(), &answers[told].r, sizeof(answers[told].r),
			      answers[told].point, strlen(answers[told].point));
	worker_alive(l);
	for (size_t i = 0; i < all->n && again; i++)
		if (all->hung & 1u << i)
			add_answer(l, all, i, answers, n < FILE_SYSTEMS_MAX ? n : n - 1);
	tell_asking(l, ASKING_NOTHING);
	if (again && all->hung) {
		all->hung = 0;		/* all of them answered */
		worker_state(l, SOURCE_OK, "%s", "");
	}
}

void filesystems_run(struct worker_link *l, void *ctx)
{
	struct file_systems *all = ctx;
	struct ticks ticks = ticks_every(all->period_ms);
	uint64_t tick = 0;

	tell_asking(l, ASKING_BEGINS);
	if (all->hung)
		worker_state(l, SOURCE_FAILED, "hung: %d of %zu paths do not answer, among them %s",
			     __builtin_popcount(all->hung), all->n, all->watched[__builtin_ctz(all->hung)].path);
	else
		worker_state(l, SOURCE_OK, "%s", "");
	do
		sample(l, all, ++tick % AGAIN_TICKS == 0);
	while (ticks_wait(&ticks, l));
}

/* ---- in the daemon ---- */

struct filesystems_source {
	struct file_systems all;
	struct attached_worker *worker;
};

void filesystems_note(struct file_systems *all, int32_t index)
{
	if (all->asking >= 0 && index != ASKING_BEGINS)
		all->hung &= ~(1u << all->asking);	/* it answered */
	all->asking = index >= 0 && index < FILE_SYSTEMS_MAX ? index : ASKING_NOTHING;
	if (all->asking >= 0)
		all->hung |= 1u << all->asking;		/* until it does */
}

static void filesystems_own(struct capture *c, void *ctx, uint16_t kind, const uint8_t *payload, size_t bytes)
{
	int32_t index;

	(void)c;
	if (kind != FILE_SYSTEMS_OWN_ASKING || bytes != sizeof(index))
		return;
	memcpy(&index, payload, sizeof(index));
	filesystems_note(ctx, index);
}

static int filesystems_start(struct capture *c, void **ret, struct error *err)
{
	_cleanup_free_ struct filesystems_source *s = calloc(1, sizeof(*s));

	if (!s)
		return error_set(err, ERR_NOMEM, "no memory");
	file_systems_of(&c->config, &s->all);
	s->worker = capture_attach_worker(c, "filesystems", filesystems_run, &s->all, BUDGET_NS, filesystems_own,
					  &s->all, err);
	if (!s->worker)
		return -1;
	*ret = take(s);
	return 0;
}

static void filesystems_stop(struct capture *c, void *data)
{
	struct filesystems_source *s = data;

	if (!s)
		return;
	capture_detach_worker(c, s->worker);
	free(s);
}

const struct source source_filesystems = {
	.name = "filesystems",
	.what = "free space of the file systems of logs, shared memory, temporary files and bundles",
	.start = filesystems_start,
	.stop = filesystems_stop,
};
