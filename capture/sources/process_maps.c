#include "capture/sources/process_maps.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/sources/proc_file.h"

#define LINES_MAX 200000	/* of one maps file */
#define GPUS_MAX 64

const char *maps_line_nccl(char *line)
{
	char *path = strchr(line, '/'), *base;

	if (!path)
		return NULL;
	path[strcspn(path, "\n")] = '\0';
	base = strrchr(path, '/') + 1;
	if (strncmp(base, "libnccl.so", 10) && strncmp(base, "librccl.so", 10))
		return NULL;
	return strstr(base, " (deleted)") ? NULL : path;
}

bool process_maps_nccl(uint32_t pid, char *path_ret, size_t size)
{
	int fd = proc_open(pid, "maps");
	_cleanup_fclose_ FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	_cleanup_free_ char *line = NULL;
	size_t room = 0;

	for (size_t i = 0; f && i < LINES_MAX && getline(&line, &room, f) > 0; i++) {
		const char *path = maps_line_nccl(line);
		int n = path ? snprintf(path_ret, size, "/proc/%u/root%s", pid, path) : 0;

		if (n > 0 && (size_t)n < size)
			return true;
	}
	*path_ret = '\0';
	return false;
}

static bool opens_gpu(const char *dir, const char *name, bool open_ret[GPUS_MAX])
{
	char path[320], target[64];
	char *end;
	ssize_t n;
	unsigned long gpu;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = '\0';
	if (strncmp(target, "/dev/nvidia", 11) || !isdigit((unsigned char)target[11]))
		return false;
	gpu = strtoul(target + 11, &end, 10);
	return !*end && gpu < GPUS_MAX && (open_ret[gpu] = true);
}

void process_open_gpus(uint32_t pid, char *ret, size_t size)
{
	bool gpu[GPUS_MAX] = { false };
	char path[32];
	const struct dirent *d;
	DIR *dir;

	*ret = '\0';
	snprintf(path, sizeof(path), "/proc/%u/fd", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir)))
		opens_gpu(path, d->d_name, gpu);
	if (dir)
		closedir(dir);
	for (unsigned i = 0; i < GPUS_MAX; i++)
		if (gpu[i])
			snprintf(ret + strlen(ret), size - strlen(ret), "%snvidia%u", *ret ? "," : "", i);
}
