#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <errno.h>
#include <fnmatch.h>
#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/sources/logs.h"

#define FILES_MAX 16384
#define OPEN_MAX 256			/* files kept open; the others are opened when they grow */
#define FOLDERS_MAX 1024
#define BUCKETS 4096
#define RESCAN_NS (10 * NS_PER_S)	/* folders that appear later, and what inotify could not tell */
#define TICK_MS 500
#define MATCH_LIMIT 100000

struct folder {
	int wd;
	char *path;
};

struct state {
	struct worker_link *link;
	const struct config *config;
	struct log_reader reader;
	int inotify;
	struct folder folders[FOLDERS_MAX];
	size_t n_folders;
	struct log_file *bucket[BUCKETS];
	struct log_file *open[OPEN_MAX];	/* the most recently read */
	size_t n_files;
	pcre2_code *trigger[CONFIG_LIST_MAX];
	size_t n_triggers;
	pcre2_match_data *match;
	pcre2_match_context *context;
	bool started;				/* the first scan is over: new files are read from their start */
	bool has_refused;			/* too many files: said once */
};

/* ---- lines ---- */

static void raise_trigger(struct state *s, const struct log_file *f, const char *line, size_t n)
{
	char buf[sizeof(struct logs_process) + 200];

	n = n < 200 ? n : 200;
	memcpy(buf, &f->owner, sizeof(f->owner));
	memcpy(buf + sizeof(f->owner), line, n);
	worker_own(s->link, LOGS_TRIGGER, buf, sizeof(f->owner) + n);
}

static void on_lines(void *ctx, struct log_file *f, const char *text, size_t n)
{
	struct state *s = ctx;
	const struct logs_active active = { f->owner, f->written_ns };

	worker_own(s->link, LOGS_ACTIVE, &active, sizeof(active));
	for (size_t i = 0; i < s->n_triggers && s->started; i++) {
		PCRE2_SIZE *v = pcre2_get_ovector_pointer(s->match);
		const char *from, *to;

		if (pcre2_match(s->trigger[i], (PCRE2_SPTR)text, n, 0, 0, s->match, s->context) < 0)
			continue;
		from = v[0] ? memrchr(text, '\n', v[0]) : NULL;
		from = from ? from + 1 : text;
		to = memchr(text + v[0], '\n', n - v[0]);
		raise_trigger(s, f, from, (size_t)((to ? to : text + n) - from));
		return;
	}
}

static void compile_triggers(struct state *s)
{
	s->match = pcre2_match_data_create(1, NULL);
	s->context = pcre2_match_context_create(NULL);
	if (!s->match || !s->context)
		return;
	pcre2_set_match_limit(s->context, MATCH_LIMIT);
	for (size_t i = 0; i < s->config->trigger_log.n; i++) {
		PCRE2_SIZE at;
		int code;
		pcre2_code *c = pcre2_compile((PCRE2_SPTR)s->config->trigger_log.item[i], PCRE2_ZERO_TERMINATED,
					      PCRE2_MULTILINE, &code, &at, NULL);

		if (!c)
			continue;	/* the configuration was checked when it was read */
		pcre2_jit_compile(c, PCRE2_JIT_COMPLETE);
		s->trigger[s->n_triggers++] = c;
	}
}

/* ---- files ---- */

static size_t bucket_of(const char *path)
{
	uint32_t h = 2166136261u;

	for (; *path; path++)
		h = (h ^ (uint8_t)*path) * 16777619u;
	return h % BUCKETS;
}

static struct log_file *find_file(struct state *s, const char *path)
{
	struct log_file *f = s->bucket[bucket_of(path)];

	while (f && strcmp(f->path, path))
		f = f->next;
	return f;
}

/* Of the open ones the least recently read is closed. */
static void keep_open(struct state *s, struct log_file *f)
{
	size_t oldest = 0;

	for (size_t i = 0; i < OPEN_MAX; i++) {
		if (s->open[i] == f)
			return;
		if (!s->open[i] || (s->open[oldest] && s->open[i]->active_ns < s->open[oldest]->active_ns))
			oldest = i;
		if (!s->open[i])
			break;
	}
	if (s->open[oldest])
		log_file_close(s->open[oldest]);
	s->open[oldest] = f;
}

static void forget(struct state *s, struct log_file *f)
{
	struct log_file **at = &s->bucket[bucket_of(f->path)];

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	for (size_t i = 0; i < OPEN_MAX; i++)
		if (s->open[i] == f)
			s->open[i] = NULL;
	log_file_close(f);
	free(f->path);
	free(f);
	s->n_files--;
}

static struct log_file *add_file(struct state *s, const char *path, struct logs_process owner)
{
	struct log_file *f;
	size_t b = bucket_of(path);
	struct stat st;

	if (stat(path, &st) || !S_ISREG(st.st_mode))
		return NULL;
	if (s->n_files == FILES_MAX) {
		if (!s->has_refused)
			worker_state(s->link, SOURCE_OK, "follows %d files; there are more, which are not followed", FILES_MAX);
		s->has_refused = true;
		return NULL;
	}
	f = calloc(1, sizeof(*f));
	if (!f || !(f->path = strdup(path))) {
		free(f);
		return NULL;
	}
	f->fd = -1;
	f->owner = owner;
	f->next = s->bucket[b];
	s->bucket[b] = f;
	s->n_files++;
	log_file_begin(&s->reader, f, !s->started, loop_now());
	return f;
}

static void read_file(struct state *s, struct log_file *f)
{
	if (!log_file_read(&s->reader, f, loop_now()))
		forget(s, f);
	else if (f->fd >= 0)
		keep_open(s, f);
}

static bool is_wanted(const struct state *s, const char *path)
{
	for (size_t i = 0; i < s->config->logs.n; i++)
		if (fnmatch(s->config->logs.item[i], path, FNM_PATHNAME) == 0)
			return true;
	return false;
}

static void touch(struct state *s, const char *path)
{
	struct log_file *f = find_file(s, path);

	if (!f && is_wanted(s, path))
		f = add_file(s, path, (struct logs_process){ -1, -1 });
	if (f)
		read_file(s, f);
}

/* ---- folders ---- */

static void watch_folder_of(struct state *s, const char *path)
{
	char folder[PATH_MAX];
	char *slash;
	int wd;

	snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (!slash)
		return;
	slash[slash == folder] = '\0';
	for (size_t i = 0; i < s->n_folders; i++)
		if (!strcmp(s->folders[i].path, folder))
			return;
	if (s->n_folders == FOLDERS_MAX)
		return;			/* the rescan still finds what grows there */
	wd = inotify_add_watch(s->inotify, folder, IN_CREATE | IN_MODIFY | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_ONLYDIR);
	if (wd < 0)
		return;
	s->folders[s->n_folders].wd = wd;
	s->folders[s->n_folders].path = strdup(folder);
	s->n_folders += s->folders[s->n_folders].path != NULL;
}

static void folder_gone(struct state *s, int wd)
{
	for (size_t i = 0; i < s->n_folders; i++)
		if (s->folders[i].wd == wd) {
			free(s->folders[i].path);
			s->folders[i--] = s->folders[--s->n_folders];
		}
}

static void on_event(struct state *s, const struct inotify_event *e)
{
	char path[PATH_MAX];

	if (e->mask & (IN_IGNORED | IN_DELETE_SELF)) {
		folder_gone(s, e->wd);
		return;
	}
	for (size_t i = 0; i < s->n_folders && e->len; i++)
		if (s->folders[i].wd == e->wd &&
		    (size_t)snprintf(path, sizeof(path), "%s/%s", s->folders[i].path, e->name) < sizeof(path))
			touch(s, path);
}

static void drain_events(struct state *s)
{
	char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	while ((n = read(s->inotify, buf, sizeof(buf))) > 0)
		for (char *p = buf; p < buf + n;) {
			const struct inotify_event *e = (const void *)p;

			on_event(s, e);
			p += sizeof(*e) + e->len;
		}
}

/* Find what the globs say; every known file is looked at, so that nothing depends on inotify alone. */
static void scan(struct state *s)
{
	for (size_t i = 0; i < s->config->logs.n; i++) {
		glob_t found = { 0 };

		watch_folder_of(s, s->config->logs.item[i]);	/* where it has no wildcard in its folder */
		if (glob(s->config->logs.item[i], GLOB_NOSORT, NULL, &found) == 0)
			for (size_t k = 0; k < found.gl_pathc; k++) {
				watch_folder_of(s, found.gl_pathv[k]);
				touch(s, found.gl_pathv[k]);
				worker_alive(s->link);
			}
		globfree(&found);
	}
}

/* Lines without an end, and files whose folder is not watched (those of processes may be in another mount namespace). */
static void look_again(struct state *s)
{
	int64_t now = loop_now();

	for (size_t i = 0; i < OPEN_MAX; i++)
		if (s->open[i] && now - s->open[i]->active_ns > TICK_MS * 1000000LL)
			read_file(s, s->open[i]);
}

static bool is_file(const char *path, const struct stat *wanted)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_dev == wanted->st_dev && st.st_ino == wanted->st_ino;
}

/* Where the file that the process has open lies for us: as it names it, or, from another mount namespace, below its root. */
static bool path_of_descriptor(int32_t pid, int fd, char *ret, size_t size)
{
	char link[64], path[PATH_MAX];
	struct stat st;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)pid, fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0 || path[0] != '/' || stat(link, &st))
		return false;
	path[n] = '\0';
	if (is_file(path, &st))
		return (size_t)snprintf(ret, size, "%s", path) < size;
	return (size_t)snprintf(ret, size, "/proc/%d/root%s", (int)pid, path) < size && is_file(ret, &st);
}

static void follow_process(struct state *s, const struct logs_process *p)
{
	for (int fd = 1; fd <= 2; fd++) {
		char path[PATH_MAX];
		struct log_file *f;

		if (!path_of_descriptor(p->pid, fd, path, sizeof(path)))
			continue;
		f = find_file(s, path);
		if (!f)
			f = add_file(s, path, *p);
		if (!f)
			continue;
		f->owner = *p;
		watch_folder_of(s, path);
		read_file(s, f);
	}
}

void logs_worker(struct worker_link *l, void *ctx)
{
	const struct logs_context *c = ctx;
	_cleanup_free_ struct state *s = calloc(1, sizeof(*s));
	int64_t scanned = 0;

	if (!s || !(s->reader.buf = malloc(LOG_CHUNK_BYTES)))
		return;
	s->link = s->reader.link = l;
	s->reader.lines = on_lines;
	s->reader.lines_ctx = s;
	s->config = c->config;
	s->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	compile_triggers(s);
	for (;;) {
		struct pollfd fds[] = { { l->fd, POLLIN, 0 }, { s->inotify, POLLIN, 0 } };
		struct logs_process asked;
		uint16_t kind;
		size_t bytes;
		int r;

		if (loop_now() - scanned > RESCAN_NS || !scanned) {
			scan(s);
			scanned = loop_now();
			s->started = true;
		}
		poll(fds, s->inotify >= 0 ? 2 : 1, TICK_MS);
		drain_events(s);
		look_again(s);
		while ((r = worker_asked(l, 0, &kind, &asked, sizeof(asked), &bytes)) > 0)
			if (kind == LOGS_FOLLOW_PROCESS && bytes == sizeof(asked))
				follow_process(s, &asked);
		if (r < 0)
			return;
		worker_alive(l);
	}
}
