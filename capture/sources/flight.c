#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/sources/sources.h"

/*
 * Flight-recorder dumps are watched, not copied: PyTorch writes them when a collective
 * times out, in place and without a sign that they are whole.  A worker looks every two
 * seconds; a file that is new, or newer than before, asks for a bundle, which copies it.
 */
#define LOOK_MS 2000
#define BUDGET_NS (30 * NS_PER_S)
#define PATTERNS_MAX 256
#define FILES_MAX 8192
#define ENVIRON_BYTES (256u << 10)

enum { FLIGHT_FOLLOW_PROCESS = 1 };	/* parent to worker: int32_t pid */
enum { FLIGHT_DUMPED = 1 };		/* worker to parent: path */

struct dump_file {
	uint64_t device, inode;
	struct timespec changed;
};

struct state {
	struct worker_link *link;
	char *pattern[PATTERNS_MAX];
	size_t n_patterns;
	struct dump_file *files;	/* FILES_MAX */
	size_t n_files;
	bool started;			/* what was there before raises nothing */
};

static const char *const places[] = {	/* of PyTorch before and after the recorder was renamed */
	"/tmp/nccl_trace_rank_*", "/tmp/comm_lib_trace_rank_*", "/root/.cache/torch/comm_lib_trace_rank_*",
	"/home/*/.cache/torch/comm_lib_trace_rank_*",
};

static void add_pattern(struct state *s, const char *fmt, const char *root, const char *middle)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), fmt, root, middle) >= sizeof(path))
		return;
	for (size_t i = 0; i < s->n_patterns; i++)
		if (!strcmp(s->pattern[i], path))
			return;
	if (s->n_patterns < PATTERNS_MAX && (s->pattern[s->n_patterns] = strdup(path)))
		s->n_patterns++;
}

/* Where this process would write one: its environment says, seen from its own file system. */
static void follow_process(struct state *s, int pid)
{
	static const struct {
		const char *name, *pattern;
	} variables[] = {
		{ "TORCH_FR_DUMP_TEMP_FILE=", "%s%s*" }, { "TORCH_NCCL_DEBUG_INFO_TEMP_FILE=", "%s%s*" },
		{ "XDG_CACHE_HOME=", "%s%s/torch/comm_lib_trace_rank_*" }, { "HOME=", "%s%s/.cache/torch/comm_lib_trace_rank_*" },
	};
	char path[64], ours[64] = "", theirs[64] = "", root[64] = "";
	_cleanup_free_ char *env = malloc(ENVIRON_BYTES + 1);
	_cleanup_close_ int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = env && fd >= 0 ? read(fd, env, ENVIRON_BYTES) : -1;
	if (n <= 0)
		return;
	env[n] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	if (readlink(path, theirs, sizeof(theirs) - 1) > 0 && readlink("/proc/self/ns/mnt", ours, sizeof(ours) - 1) > 0 &&
	    strcmp(ours, theirs))
		snprintf(root, sizeof(root), "/proc/%d/root", pid);
	for (const char *e = env; e < env + n; e += strlen(e) + 1)
		for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
			if (!strncmp(e, variables[i].name, strlen(variables[i].name)))
				add_pattern(s, variables[i].pattern, root, e + strlen(variables[i].name));
	if (root[0]) {
		add_pattern(s, "%s%s", root, places[0]);
		add_pattern(s, "%s%s", root, places[1]);
	}
}

static void look_at(struct state *s, const char *path)
{
	struct dump_file *f = NULL;
	struct stat st;

	if (stat(path, &st) || !S_ISREG(st.st_mode))
		return;
	for (size_t i = 0; i < s->n_files && !f; i++)
		if (s->files[i].inode == st.st_ino && s->files[i].device == st.st_dev)
			f = &s->files[i];
	if (f && f->changed.tv_sec == st.st_mtim.tv_sec && f->changed.tv_nsec == st.st_mtim.tv_nsec)
		return;
	if (!f && s->n_files < FILES_MAX)
		f = &s->files[s->n_files++];
	if (!f)
		return;
	*f = (struct dump_file){ .device = st.st_dev, .inode = st.st_ino, .changed = st.st_mtim };
	if (s->started)
		worker_own(s->link, FLIGHT_DUMPED, path, strlen(path));
}

static void look(struct state *s)
{
	for (size_t i = 0; i < s->n_patterns; i++) {
		glob_t found = { 0 };

		if (glob(s->pattern[i], GLOB_NOSORT, NULL, &found) == 0)
			for (size_t k = 0; k < found.gl_pathc; k++)
				look_at(s, found.gl_pathv[k]);
		globfree(&found);
		worker_alive(s->link);
	}
	s->started = true;
}

static void worker(struct worker_link *l, void *ctx)
{
	const struct config *config = ctx;
	_cleanup_free_ struct dump_file *files = calloc(FILES_MAX, sizeof(*files));
	struct state s = { .link = l, .files = files };
	int32_t pid;
	uint16_t kind;
	size_t bytes;
	int r = 0;

	if (!files)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		add_pattern(&s, "%s%s", "", places[i]);
	for (size_t i = 0; i < config->flight_dumps.n; i++)
		add_pattern(&s, "%s%s", "", config->flight_dumps.item[i]);
	look(&s);
	while (r >= 0) {
		r = worker_asked(l, LOOK_MS, &kind, &pid, sizeof(pid), &bytes);
		if (r > 0 && kind == FLIGHT_FOLLOW_PROCESS && bytes == sizeof(pid))
			follow_process(&s, pid);
		else if (r == 0)
			look(&s);
		worker_alive(l);
	}
}

/* ---- in the daemon ---- */

static void own(struct capture *c, void *ctx, uint16_t kind, const uint8_t *payload, size_t bytes)
{
	(void)ctx;
	if (kind == FLIGHT_DUMPED)
		trigger_raise(c, "flight", -1, -1, "a flight-recorder dump: %.*s", (int)bytes, (const char *)payload);
}

static void tracked(struct capture *c, void *data, const struct tracked *t)
{
	int32_t pid = (int32_t)t->p.pid;

	(void)c;
	if (!t->gone && t->p.is_rank)
		attached_worker_ask(data, FLIGHT_FOLLOW_PROCESS, &pid, sizeof(pid));
}

static int start(struct capture *c, void **ret, struct error *err)
{
	*ret = capture_attach_worker(c, "flight", worker, &c->config, BUDGET_NS, own, NULL, err);
	return *ret ? 0 : -1;
}

static void stop(struct capture *c, void *data) { capture_detach_worker(c, data); }

const struct source source_flight = {
	.name = "flight", .what = "flight-recorder dumps that PyTorch writes", .start = start, .stop = stop, .tracked = tracked,
};
