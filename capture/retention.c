#include "capture/retention.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle/cleanup.h"

#define BUNDLES_MAX 8192
#define SUFFIX ".tar.zst"
#define PARTIAL ".tar.zst.partial"

struct kept {
	char name[NAME_MAX + 1];
	struct timespec when;
	uint64_t bytes;
};

struct tidy {
	const char *dir;
	retention_say *say;
	void *ctx;
};

static void tell(const struct tidy *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void tell(const struct tidy *t, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	t->say(t->ctx, line);
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

/* Its writer holds a lock as long as it lives. */
static void keep_cut(const struct tidy *t, const char *name)
{
	char from[PATH_MAX], to[PATH_MAX];
	_cleanup_close_ int fd = -1;

	snprintf(from, sizeof(from), "%s/%s", t->dir, name);
	snprintf(to, sizeof(to), "%s/%.*s-cut" SUFFIX, t->dir, (int)(strlen(name) - strlen(PARTIAL)), name);
	fd = open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
		return;
	if (access(to, F_OK) && rename(from, to) == 0)
		tell(t, "an interrupted dump is kept as %s", to);
}

static int oldest_first(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	if (x->when.tv_sec != y->when.tv_sec)
		return x->when.tv_sec < y->when.tv_sec ? -1 : 1;
	if (x->when.tv_nsec != y->when.tv_nsec)
		return x->when.tv_nsec < y->when.tv_nsec ? -1 : 1;
	return strcmp(x->name, y->name);
}

static size_t list(const struct tidy *t, struct kept *v)
{
	DIR *d = opendir(t->dir);
	size_t n = 0;

	for (const struct dirent *e; d && n < BUNDLES_MAX && (e = readdir(d));) {
		struct stat st;

		if (strncmp(e->d_name, "tdump-", 6) || !ends_with(e->d_name, SUFFIX) ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
			continue;
		snprintf(v[n].name, sizeof(v[n].name), "%s", e->d_name);
		v[n].when = st.st_mtim;
		v[n++].bytes = (uint64_t)st.st_blocks * 512;
	}
	if (d)
		closedir(d);
	qsort(v, n, sizeof(*v), oldest_first);
	return n;
}

static void remove_oldest(const struct tidy *t, const struct config *config)
{
	_cleanup_free_ struct kept *v = calloc(BUNDLES_MAX, sizeof(*v));
	size_t n = v ? list(t, v) : 0, left = n;
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += v[i].bytes;
	for (size_t i = 0; i + 1 < n && (left > config->bundle_keep || bytes > config->bundle_quota_bytes); i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/%s", t->dir, v[i].name);
		if (unlink(path))
			continue;
		tell(t, "removed %s: more than %u bundles or %llu MiB", path, config->bundle_keep,
		     (unsigned long long)(config->bundle_quota_bytes >> 20));
		bytes -= v[i].bytes;
		left--;
	}
}

void retention_tidy(const struct config *config, retention_say *say, void *ctx)
{
	const struct tidy t = { config->bundle_dir, say, ctx };
	DIR *d = opendir(t.dir);

	for (const struct dirent *e; d && (e = readdir(d));)
		if (strncmp(e->d_name, "tdump-", 6) == 0 && ends_with(e->d_name, PARTIAL))
			keep_cut(&t, e->d_name);
	if (d)
		closedir(d);
	remove_oldest(&t, config);
}
