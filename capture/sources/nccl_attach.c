#include "capture/sources/nccl_attach.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "bundle/cleanup.h"
#include "capture/sources/elf_sites.h"

/* Functions of nccl.h, and of rccl where it spells one differently. */
static const struct {
	const char *function, *program;
	bool makes_comm;		/* its return is looked at too */
} probed[] = {
	{ "ncclCommInitRank", "on_init_rank", true },
	{ "ncclCommInitRankConfig", "on_init_rank", true },
	{ "ncclCommInitRankScalable", "on_init_scalable", true },
	{ "ncclCommSplit", "on_split", true },
	{ "ncclCommFinalize", "on_finalize", false },
	{ "ncclCommDestroy", "on_destroy", false },
	{ "ncclCommAbort", "on_abort", false },
	{ "ncclAllReduce", "on_all_reduce", false },
	{ "ncclBroadcast", "on_broadcast", false },
	{ "ncclBcast", "on_bcast", false },
	{ "ncclReduce", "on_reduce", false },
	{ "ncclAllGather", "on_all_gather", false },
	{ "ncclReduceScatter", "on_reduce_scatter", false },
	{ "ncclSend", "on_send", false },
	{ "ncclRecv", "on_recv", false },
	{ "ncclAlltoAll", "on_all_to_all", false },
	{ "ncclAllToAll", "on_all_to_all", false },
	{ "ncclGather", "on_gather", false },
	{ "ncclScatter", "on_scatter", false },
};

#define LIBRARIES_MAX 64

struct libraries {
	struct { dev_t device; ino_t inode; } known[LIBRARIES_MAX];
	size_t n;
};

static bool is_known(struct libraries *libs, const struct stat *st)
{
	for (size_t i = 0; i < libs->n; i++)
		if (libs->known[i].device == st->st_dev && libs->known[i].inode == st->st_ino)
			return true;
	return false;
}

static int attach_one(struct bpf_object *obj, const char *program, bool at_return, const char *path, uint64_t offset,
		      struct error *err)
{
	struct bpf_program *p = bpf_object__find_program_by_name(obj, program);
	struct bpf_link *link = p ? bpf_program__attach_uprobe(p, at_return, -1, path, offset) : NULL;

	if (!link && (errno == EPERM || errno == EACCES))
		return error_sys(err, "uprobes need CAP_SYS_ADMIN");
	if (!link)
		return error_sys(err, "cannot put a uprobe at offset %#llx", (unsigned long long)offset);
	bpf_link__disconnect(link);	/* it holds until this process ends */
	return 0;
}

static int attach_all(struct bpf_object *obj, const char *path, struct nccl_attached *ret, struct error *err)
{
	const char *names[ARRAY_SIZE(probed)];
	struct elf_site sites[ARRAY_SIZE(probed)];
	int found;

	for (size_t i = 0; i < ARRAY_SIZE(probed); i++)
		names[i] = probed[i].function;
	found = elf_sites_find(path, names, ARRAY_SIZE(probed), sites, err);
	if (found < 0)
		return -1;
	if (!found)
		return error_set(err, ERR_UNSUPPORTED, "%s has no symbols of NCCL", path);
	for (size_t i = 0; i < ARRAY_SIZE(probed); i++) {
		if (!sites[i].offset)
			continue;
		if (attach_one(obj, probed[i].program, false, path, sites[i].offset, err) ||
		    (probed[i].makes_comm && attach_one(obj, "on_made", true, path, sites[i].offset, err)))
			return -1;
		ret->functions++;
		ret->stepped += sites[i].is_stepped;
	}
	return 0;
}

static void refuse(struct worker_link *l, const struct error *err)
{
	char text[256];

	error_text(err, text, sizeof(text));
	worker_own(l, err->sys == EPERM || err->sys == EACCES ? NCCL_DENIED : NCCL_REFUSED, text, strlen(text));
}

static void library(struct worker_link *l, struct libraries *libs, struct bpf_object *obj, const char *path)
{
	struct {
		struct nccl_attached a;
		char path[256];
	} answer = { 0 };
	struct error err = { 0 };
	struct stat st;

	if (stat(path, &st)) {
		if (errno != ENOENT)		/* the process is gone, and its root with it */
			error_sys(&err, "cannot read %s", path);
	} else if (is_known(libs, &st)) {
		return;
	} else if (libs->n == LIBRARIES_MAX) {
		error_set(&err, ERR_LIMIT, "%s: more than %d libraries", path, LIBRARIES_MAX);
	} else {
		/* A library that failed is known too: it would fail again, for each of its processes. */
		libs->known[libs->n].device = st.st_dev;
		libs->known[libs->n++].inode = st.st_ino;
		if (!attach_all(obj, path, &answer.a, &err)) {
			size_t len = strlen(path);

			len = len < sizeof(answer.path) ? len : sizeof(answer.path);
			memcpy(answer.path, path, len);
			worker_own(l, NCCL_ATTACHED, &answer, sizeof(answer.a) + len);
		}
	}
	if (err.code != ERR_NONE)
		refuse(l, &err);
}

/* ---- the programs ---- */

/* The descriptor `fd` of process `pidfd`, under the same number here. */
static int take_descriptor(int pidfd, int fd, struct error *err)
{
	int got = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	if (got < 0)
		return error_sys(err, "cannot take over the probes from the daemon (CAP_SYS_PTRACE)");
	if (got == fd)
		return 0;
	if (dup2(got, fd) < 0)
		error_sys(err, "cannot take over the probes");
	close(got);
	return err->code == ERR_NONE ? 0 : -1;
}

/* A worker begins without its parent's descriptors: those of the programs are taken back, as libbpf knows them. */
static int take_programs(struct bpf_object *obj, struct error *err)
{
	_cleanup_close_ int low = (int)syscall(SYS_pidfd_open, getppid(), 0);
	_cleanup_close_ int pidfd = -1;
	struct bpf_program *p;

	if (low >= 0)
		pidfd = fcntl(low, F_DUPFD_CLOEXEC, 512);	/* out of the way of their numbers */
	if (pidfd < 0)
		return error_sys(err, "cannot reach the daemon's descriptors");
	close(low);
	low = -1;
	bpf_object__for_each_program(p, obj) {
		if (take_descriptor(pidfd, bpf_program__fd(p), err))
			return -1;
	}
	return 0;
}

void nccl_attach_run(struct worker_link *l, void *ctx)
{
	struct libraries libs = { .n = 0 };
	struct error err = { 0 };
	char path[512], text[256];
	uint16_t kind;
	size_t bytes;
	int r;

	if (take_programs(ctx, &err)) {
		error_text(&err, text, sizeof(text));
		worker_state(l, err.sys == EPERM ? SOURCE_DENIED : SOURCE_FAILED, "%s", text);
		return;
	}
	worker_own(l, NCCL_HELLO, NULL, 0);
	while ((r = worker_asked(l, NCCL_ATTACH_BUDGET_NS / NS_PER_MS / 3, &kind, path, sizeof(path) - 1, &bytes)) >= 0) {
		path[r ? bytes : 0] = '\0';
		if (r && kind == NCCL_LIBRARY)
			library(l, &libs, ctx, path);
		worker_alive(l);
	}
}
