#include "capture/sources/sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sysfs_source {
	struct sysfs_options options;
	struct attached_worker *worker;
};

static int is_name(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

struct sysfs_list sysfs_list(const char *dir)
{
	struct sysfs_list l = { 0 };
	struct dirent **entries;
	int n = scandir(dir, &entries, is_name, alphasort);

	if (n < 0)
		return l;
	l.name = calloc((size_t)n + 1, sizeof(*l.name));
	for (int i = 0; i < n; i++) {
		if (l.name && (l.name[l.n] = strdup(entries[i]->d_name)))
			l.n++;
		free(entries[i]);
	}
	free(entries);
	return l;
}

void sysfs_list_free(struct sysfs_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->name[i]);
	free(l->name);
}

int sysfs_start(struct capture *c, const char *source, const char *root, worker_fn *run, int64_t budget_ns,
		worker_own_fn *own, void **ret, struct error *err)
{
	_cleanup_free_ struct sysfs_source *s = calloc(1, sizeof(*s));

	if (!s)
		return error_set(err, ERR_NOMEM, "no memory");
	if (access(root, R_OK | X_OK)) {
		capture_state(c, source, errno == EACCES ? SOURCE_DENIED : SOURCE_ABSENT, "%s: %s", root,
			      strerror(errno));
		*ret = NULL;
		return 0;
	}
	snprintf(s->options.root, sizeof(s->options.root), "%s", root);
	s->options.sample_ms = c->config.sample_ms;
	s->worker = capture_attach_worker(c, source, run, &s->options, budget_ns + s->options.sample_ms * NS_PER_MS,
					  own, NULL, err);
	if (!s->worker)
		return -1;
	*ret = take(s);
	return 0;
}

void sysfs_stop(struct capture *c, void *data)
{
	struct sysfs_source *s = data;

	if (!s)
		return;
	capture_detach_worker(c, s->worker);
	free(s);
}
