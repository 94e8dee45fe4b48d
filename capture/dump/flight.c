/*
 * flight - PyTorch's flight-recorder dumps: fr/ and, where ranks answer, fr-2/.
 *
 * Each rank writes <prefix><rank>, the prefix from its environment or a known
 * place.  A rank that has a dump pipe (<prefix of pipes><rank>.pipe) dumps when
 * anything is written to it; two takings tell what moved between them.  Nobody
 * dumps into a pipe without a reader: opening it never blocks.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "bundle/digest.h"
#include "capture/dump/sources.h"

#define FILES_MAX 1024
#define FILE_MAX ((off_t)256 << 20)
#define OLD_S 3600			/* an older dump is another run's */
#define BETWEEN_MS 3000
#define STEP_MS 100

struct file {
	char path[PATH_MAX];
	uint32_t pid;			/* whose root it is seen through; 0 */
	dev_t device;
	ino_t inode;
	struct timespec written;	/* as it was when it was taken */
};

struct flight {
	struct worker_link *link;
	const struct dump_context *dc;
	struct file *files;		/* FILES_MAX */
	size_t n_files;
	char (*pipes)[PATH_MAX];	/* FILES_MAX */
	size_t n_pipes;
};

/* ---- where they are ---- */

static void add_file(struct flight *f, const char *path, uint32_t pid)
{
	struct file *to = &f->files[f->n_files];
	struct stat st;

	if (f->n_files == FILES_MAX || stat(path, &st) || !S_ISREG(st.st_mode) || st.st_size == 0 ||
	    st.st_mtime < time(NULL) - OLD_S || st.st_mtime < f->dc->run_begin_ns / 1000000000)
		return;
	for (size_t i = 0; i < f->n_files; i++)
		if (f->files[i].device == st.st_dev && f->files[i].inode == st.st_ino)
			return;
	snprintf(to->path, sizeof(to->path), "%s", path);
	to->pid = pid;
	to->device = st.st_dev;
	to->inode = st.st_ino;
	f->n_files++;
}

static void add_glob(struct flight *f, const char *pattern, uint32_t pid)
{
	glob_t g = { 0 };

	if (glob(pattern, GLOB_NOSORT, NULL, &g) == 0)
		for (size_t i = 0; i < g.gl_pathc; i++)
			add_file(f, g.gl_pathv[i], pid);
	globfree(&g);
}

/* All ranks of a prefix: those that died as well. */
static void add_prefix(struct flight *f, uint32_t pid, const char *prefix)
{
	char path[PATH_MAX], pattern[2 * PATH_MAX];
	size_t w = 0;

	if (!prefix || !prefix[0])
		return;
	dump_path_of(pid, prefix, path, sizeof(path));
	for (const char *p = path; *p && w + 8 < sizeof(pattern); p++) {
		if (strchr("*?[\\", *p))
			pattern[w++] = '\\';
		pattern[w++] = *p;
	}
	snprintf(pattern + w, sizeof(pattern) - w, "[0-9]*");
	add_glob(f, pattern, pid);
}

static void add_default(struct flight *f, uint32_t pid, const char *base, const char *below)
{
	char prefix[PATH_MAX];

	if (!base || !base[0])
		return;
	snprintf(prefix, sizeof(prefix), "%s%s", base, below);
	add_prefix(f, pid, prefix);
}

static void find_files(struct flight *f)
{
	for (size_t i = 0; i < f->dc->n_tracks; i++) {
		_cleanup_dump_text_ struct dump_text env = { 0 };
		uint32_t pid = f->dc->tracks[i].p.pid;

		if (!f->dc->tracks[i].p.is_rank || dump_read_environ(pid, &env))
			continue;
		add_prefix(f, pid, dump_env(&env, "TORCH_FR_DUMP_TEMP_FILE"));
		add_prefix(f, pid, dump_env(&env, "TORCH_NCCL_DEBUG_INFO_TEMP_FILE"));
		add_default(f, pid, "/tmp", "/nccl_trace_rank_");
		add_default(f, pid, dump_env(&env, "XDG_CACHE_HOME"), "/torch/comm_lib_trace_rank_");
		add_default(f, pid, dump_env(&env, "HOME"), "/.cache/torch/comm_lib_trace_rank_");
	}
	for (size_t i = 0; i < f->dc->config->flight_dumps.n; i++)
		add_glob(f, f->dc->config->flight_dumps.item[i], 0);
	add_glob(f, "/tmp/nccl_trace_rank_[0-9]*", 0);
}

static void add_pipe(struct flight *f, const char *path)
{
	struct stat st;

	if (f->n_pipes < FILES_MAX && stat(path, &st) == 0 && S_ISFIFO(st.st_mode))
		snprintf(f->pipes[f->n_pipes++], PATH_MAX, "%s", path);
}

static void find_pipes(struct flight *f)
{
	for (size_t i = 0; i < f->dc->n_tracks; i++) {
		static const char *const names[] = { "TORCH_FR_DEBUG_INFO_PIPE_FILE", "TORCH_NCCL_DEBUG_INFO_PIPE_FILE" };
		const struct record_process *p = &f->dc->tracks[i].p;
		_cleanup_dump_text_ struct dump_text env = { 0 };

		if (!p->is_rank || p->rank < 0 || dump_read_environ(p->pid, &env))
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
			const char *stem = dump_env(&env, names[k]);
			char name[PATH_MAX], path[PATH_MAX];

			if (!stem || !stem[0])
				continue;
			snprintf(name, sizeof(name), "%s%d.pipe", stem, p->rank);
			dump_path_of(p->pid, name, path, sizeof(path));
			add_pipe(f, path);
		}
	}
	for (size_t i = 0; i < f->dc->config->dump_pipes.n; i++) {
		glob_t g = { 0 };

		if (glob(f->dc->config->dump_pipes.item[i], GLOB_NOSORT, NULL, &g) == 0)
			for (size_t k = 0; k < g.gl_pathc; k++)
				add_pipe(f, g.gl_pathv[k]);
		globfree(&g);
	}
}

/* ---- taking them ---- */

/* How many ranks were asked. */
static size_t ask(const struct flight *f)
{
	size_t asked = 0;

	for (size_t i = 0; i < f->n_pipes; i++) {
		_cleanup_close_ int fd = open(f->pipes[i], O_WRONLY | O_NONBLOCK | O_CLOEXEC);

		asked += fd >= 0 && write(fd, "1\n", 2) == 2;
	}
	return asked;
}

static void wait_ms(struct flight *f, int ms)
{
	for (; ms > 0; ms -= STEP_MS) {
		usleep(STEP_MS * 1000);
		if (ms % 1000 == 0)
			worker_alive(f->link);
	}
}

/* Folders keep files of one name apart: containers have their own /tmp. */
static void member_name(const struct flight *f, size_t i, const char *folder, char *name, size_t size)
{
	const char *slash = strrchr(f->files[i].path, '/'), *base = slash ? slash + 1 : f->files[i].path;
	bool twice = false;

	for (size_t k = 0; k < i && !twice; k++) {
		const char *other = strrchr(f->files[k].path, '/');

		twice = strcmp(other ? other + 1 : f->files[k].path, base) == 0;
	}
	if (twice)
		snprintf(name, size, "%s/%u-%zu/%.180s", folder, f->files[i].pid, i, base);
	else
		snprintf(name, size, "%s/%.200s", folder, base);
}

/* Was it written since it was taken?  Notes when it was. */
static bool is_written(struct file *f, int fd)
{
	struct stat st;
	bool same = fstat(fd, &st) || (st.st_mtim.tv_sec == f->written.tv_sec && st.st_mtim.tv_nsec == f->written.tv_nsec);

	f->written = st.st_mtim;
	return !same;
}

/* A copy: the next dump overwrites the file. */
static int copy_of(int fd)
{
	int copy = worker_memfd("flight");
	off_t left = FILE_MAX;
	ssize_t n = 1;

	while (copy >= 0 && left > 0 && n > 0) {
		n = sendfile(copy, fd, NULL, (size_t)(left < 1 << 20 ? left : 1 << 20));
		left -= n > 0 ? n : 0;
	}
	if (copy >= 0)
		lseek(copy, 0, SEEK_SET);
	return copy;
}

/* A later taking has only what was written anew: the same twice is to mean that a rank wrote it twice. */
static size_t take_files(struct flight *f, const char *folder)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n_files; i++) {
		_cleanup_close_ int fd = open(f->files[i].path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		char name[300];
		int copy;

		if (fd >= 0 && !is_written(&f->files[i], fd))
			continue;
		copy = fd < 0 ? -1 : copy_of(fd);

		member_name(f, i, folder, name, sizeof(name));
		if (copy >= 0) {
			worker_member(f->link, name, copy);
			n++;
		} else {
			dump_note(f->link, "flight: cannot read %s: %s", f->files[i].path, strerror(errno));
		}
	}
	return n;
}

static void run(struct worker_link *l, void *ctx)
{
	struct flight f = { .link = l, .dc = ctx };
	size_t asked, taken;

	f.files = calloc(FILES_MAX, sizeof(*f.files));
	f.pipes = calloc(FILES_MAX, sizeof(*f.pipes));
	if (!f.files || !f.pipes) {
		worker_state(l, SOURCE_FAILED, "no memory");
		return;
	}
	find_pipes(&f);
	asked = ask(&f);
	if (asked)
		wait_ms(&f, BETWEEN_MS);
	find_files(&f);
	taken = take_files(&f, "fr");
	if (asked && (asked = ask(&f))) {
		wait_ms(&f, BETWEEN_MS);
		take_files(&f, "fr-2");
	}
	if (f.n_pipes && !asked)
		dump_note(l, "flight: no rank reads its dump pipe any more");
	if (taken)
		worker_state(l, SOURCE_OK, "%s", "");
	else
		worker_state(l, SOURCE_ABSENT, "no dump of the last hour, %zu dump pipes", f.n_pipes);
}

const struct dump_source dump_flight = { "flight", 12, run };
