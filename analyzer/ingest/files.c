#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "analyzer/ingest/intake.h"
#include "bundle/cleanup.h"

#define FILES_MAX 2000000
#define DEPTH_MAX 64

int files_add(struct file_list *l, const char *path, struct error *err)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 256;
		char **p = reallocarray(l->v, cap, sizeof(*p));

		if (!p)
			return error_set(err, ERR_NOMEM, "no memory for the list of files");
		l->v = p;
		l->cap = cap;
	}
	l->v[l->n] = strdup(path);
	if (!l->v[l->n])
		return error_set(err, ERR_NOMEM, "no memory for the list of files");
	l->n++;
	return 0;
}

/* By name, a manifest before all else: it says what the rest of its folder is. */
static int compare_paths(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	bool mx = strcmp(x, MANIFEST) == 0, my = strcmp(y, MANIFEST) == 0;

	return mx != my ? (mx ? -1 : 1) : strcmp(x, y);
}

/* Note a path that is not read, with the reason. */
int files_unread(struct intake *in, const char *path, enum member_state state, const struct error *why, struct error *err)
{
	int64_t m = store_member(in->s, path, NULL, err);

	if (m < 0)
		return -1;
	store_damage(in->s, (uint32_t)m, why, true);
	in->s->members[m].state = state;
	return 0;
}

static int walk_dir(struct intake *in, const char *path, int depth, struct file_list *files, struct error *err)
{
	struct file_list names = { 0 };
	DIR *d = depth < DEPTH_MAX ? opendir(path) : NULL;
	struct error why = { 0 };
	int ret = 0;

	if (!d) {
		if (depth < DEPTH_MAX)
			error_sys(&why, "cannot open the directory");
		else
			error_set(&why, ERR_LIMIT, "directories nested deeper than %d are not read", DEPTH_MAX);
		return files_unread(in, path, MEMBER_UNREAD, &why, err);
	}
	for (struct dirent *e; ret == 0 && (e = readdir(d));)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			ret = files_add(&names, e->d_name, err);
	closedir(d);
	if (names.n)
		qsort(names.v, names.n, sizeof(*names.v), compare_paths);
	for (size_t i = 0; i < names.n; i++) {
		_cleanup_free_ char *child = NULL;
		size_t n = strlen(path);

		if (ret == 0 && asprintf(&child, "%s%s%s", path, n && path[n - 1] == '/' ? "" : "/", names.v[i]) < 0)
			ret = error_set(err, ERR_NOMEM, "no memory for a path");
		if (ret == 0)
			ret = files_walk(in, child, depth + 1, files, err);
		free(names.v[i]);
	}
	free(names.v);
	return ret;
}

int files_walk(struct intake *in, const char *path, int depth, struct file_list *files, struct error *err)
{
	struct error why = { 0 };
	struct stat st;

	/* A link below a directory may lead out of the input: it is not followed. */
	if (depth ? lstat(path, &st) : stat(path, &st))
		return error_sys(&why, "cannot open"), files_unread(in, path, MEMBER_UNREAD, &why, err);
	if (S_ISDIR(st.st_mode))
		return walk_dir(in, path, depth, files, err);
	if (S_ISREG(st.st_mode) && files->n < FILES_MAX)
		return files_add(files, path, err);
	error_set(&why, ERR_UNSUPPORTED, "%s",
		  S_ISREG(st.st_mode) ? "more files than one analysis reads" :
		  S_ISLNK(st.st_mode) ? "a symbolic link, not followed" :
		  S_ISFIFO(st.st_mode) ? "a FIFO, not read" :
		  S_ISSOCK(st.st_mode) ? "a socket, not read" : "a device, not read");
	return files_unread(in, path, S_ISLNK(st.st_mode) ? MEMBER_IGNORED : MEMBER_UNREAD, &why, err);
}

/* A manifest goes in front of the first file of its folder, wherever it was named. */
void files_manifests_first(struct file_list *files)
{
	for (size_t i = 0; i < files->n; i++) {
		const char *slash = strrchr(files->v[i], '/');
		size_t dir = slash ? (size_t)(slash - files->v[i]) + 1 : 0, k = 0;
		char *manifest = files->v[i];

		if (strcmp(manifest + dir, MANIFEST))
			continue;
		while (k < i && strncmp(files->v[k], manifest, dir))
			k++;
		memmove(&files->v[k + 1], &files->v[k], (i - k) * sizeof(*files->v));
		files->v[k] = manifest;
	}
}

uint64_t files_size(const struct file_list *files, uint64_t enough)
{
	uint64_t sum = 0;
	struct stat st;

	for (size_t i = 0; i < files->n && sum <= enough; i++)
		if (stat(files->v[i], &st) == 0)
			sum += (uint64_t)st.st_size;
	return sum;
}

void files_deinit(struct file_list *files)
{
	for (size_t i = 0; i < files->n; i++)
		free(files->v[i]);
	free(files->v);
}

/* Is it in this folder of the bundle that is being read? */
bool files_in_folder(const struct intake *in, const char *path, const char *folder)
{
	size_t n = strlen(folder), skip = 0;

	if (!in->bundle_manifest)
		return false;
	if (strncmp(path, intern_str(&in->s->strings, in->bundle_manifest), in->bundle_path) == 0)
		skip = in->bundle_path;		/* unpacked */
	return strncmp(path + skip, folder, n) == 0 && path[skip + n] == '/';
}
