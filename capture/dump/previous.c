/* previous - previous/ring/: the newest ring of another boot that the daemon moved aside, once. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/dump/sources.h"
#include "capture/dump/taken.h"
#include "capture/ring.h"

struct sending {
	struct worker_link *link;
	const char *dir;
	unsigned n;
};

/* The file itself goes over: its readers find where it ends. */
static int send_segment(void *ctx, const char *name, const struct segment_reader *seg, const uint8_t *data, size_t len)
{
	struct sending *s = ctx;
	char path[PATH_MAX], member[128];
	int fd;

	(void)seg;
	(void)data;
	(void)len;
	snprintf(path, sizeof(path), "%s/%s", s->dir, name);
	snprintf(member, sizeof(member), "previous/ring/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		worker_member(s->link, member, fd);
		s->n++;
	}
	return 0;
}

/* The folder that changed last. */
static bool newest(const char *dir, char *name, size_t size)
{
	struct timespec best = { 0 };
	DIR *d = opendir(dir);

	name[0] = '\0';
	for (const struct dirent *e; d && (e = readdir(d));) {
		char path[PATH_MAX];
		struct stat st;

		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (e->d_name[0] == '.' || stat(path, &st) || !S_ISDIR(st.st_mode))
			continue;
		if (!name[0] || st.st_mtim.tv_sec > best.tv_sec ||
		    (st.st_mtim.tv_sec == best.tv_sec && st.st_mtim.tv_nsec > best.tv_nsec)) {
			snprintf(name, size, "%s", e->d_name);
			best = st.st_mtim;
		}
	}
	if (d)
		closedir(d);
	return name[0] != '\0';
}

static void run(struct worker_link *l, void *ctx)
{
	const struct dump_context *dc = ctx;
	struct sending s = { .link = l };
	char folder[PATH_MAX], dir[2 * PATH_MAX], name[256], key[300];
	struct error err = { 0 };

	snprintf(folder, sizeof(folder), "%s/previous", dc->ring_dir ? dc->ring_dir : "");
	if (!dc->ring_dir || !newest(folder, name, sizeof(name))) {
		worker_state(l, SOURCE_ABSENT, "no ring of another boot");
		return;
	}
	snprintf(key, sizeof(key), "ring %s", name);
	if (taken_before(dc, key)) {
		worker_state(l, SOURCE_ABSENT, "an earlier bundle has it");
		return;
	}
	snprintf(dir, sizeof(dir), "%s/%s", folder, name);
	s.dir = dir;
	if (ring_read(dir, send_segment, &s, &err) < 0 && !s.n) {
		worker_state(l, SOURCE_FAILED, "%s", err.what);
		return;
	}
	taken_note(dc, key);
	worker_state(l, SOURCE_OK, "%s", "");
}

const struct dump_source dump_previous = { "previous", 6, run };
