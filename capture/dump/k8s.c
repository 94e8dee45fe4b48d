/*
 * k8s - k8s/: who the pod is, by its environment and its downward-API files.
 *
 * The service account's token is never read, only its namespace.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "bundle/cleanup.h"
#include "capture/dump/sources.h"

#define FILE_MAX ((size_t)64 << 10)

static bool is_of_pod(const char *name, size_t len)
{
	static const char *const names[] = { "POD_NAME", "POD_NAMESPACE", "POD_UID", "POD_IP", "NODE_NAME", "HOSTNAME",
					     "JOB_COMPLETION_INDEX", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (len == strlen(names[i]) && strncmp(name, names[i], len) == 0)
			return true;
	return false;
}

static void send_environment(struct worker_link *l, const struct dump_text *env)
{
	_cleanup_dump_text_ struct dump_text t = { 0 };

	for (size_t at = 0; at < env->len; at += strlen(env->s + at) + 1)
		if (is_of_pod(env->s + at, strcspn(env->s + at, "=")))
			dump_text_add(&t, "%s\n", env->s + at);
	if (t.len)
		dump_send_text(l, "k8s/environment.txt", &t);
}

static void send_downward(struct worker_link *l, uint32_t pid)
{
	char dir[PATH_MAX];
	DIR *d;

	dump_path_of(pid, "/etc/podinfo", dir, sizeof(dir));
	d = opendir(dir);
	for (const struct dirent *e; d && (e = readdir(d));) {
		_cleanup_dump_text_ struct dump_text t = { 0 };
		char path[PATH_MAX + 256], name[300];

		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		snprintf(name, sizeof(name), "k8s/podinfo-%s", e->d_name);
		dump_plain_name(name + 4);
		if (e->d_name[0] != '.' && dump_read_file(path, FILE_MAX, &t) == 0 && t.len)
			dump_send_text(l, name, &t);
	}
	if (d)
		closedir(d);
}

static void run(struct worker_link *l, void *ctx)
{
	const struct dump_context *dc = ctx;

	for (size_t i = 0; i < dc->n_tracks; i++) {
		_cleanup_dump_text_ struct dump_text env = { 0 };
		_cleanup_dump_text_ struct dump_text space = { 0 };
		uint32_t pid = dc->tracks[i].p.pid;
		char path[PATH_MAX];

		if (dump_read_environ(pid, &env) || !dump_env(&env, "KUBERNETES_SERVICE_HOST"))
			continue;
		send_environment(l, &env);
		send_downward(l, pid);
		dump_path_of(pid, "/var/run/secrets/kubernetes.io/serviceaccount/namespace", path, sizeof(path));
		if (dump_read_file(path, FILE_MAX, &space) == 0 && space.len)
			dump_send_text(l, "k8s/namespace.txt", &space);
		worker_state(l, SOURCE_OK, "%s", "");
		return;
	}
	worker_state(l, SOURCE_ABSENT, "no process of the job is in a pod");
}

const struct dump_source dump_k8s = { "k8s", 3, run };
