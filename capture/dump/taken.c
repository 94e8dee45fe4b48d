#include "capture/dump/taken.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/dump/common.h"

static bool path_of(const struct dump_context *dc, char *path, size_t size)
{
	if (!dc->remember_dir)
		return false;
	snprintf(path, size, "%s/.taken", dc->remember_dir);
	return true;
}

bool taken_before(const struct dump_context *dc, const char *key)
{
	_cleanup_dump_text_ struct dump_text t = { 0 };
	char path[PATH_MAX], line[512];

	if (!path_of(dc, path, sizeof(path)) || dump_read_file(path, DUMP_TEXT_MAX, &t))
		return false;
	snprintf(line, sizeof(line), "%s\n", key);
	return t.s && strstr(t.s, line);
}

void taken_note(const struct dump_context *dc, const char *key)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];

	if (!path_of(dc, path, sizeof(path)))
		return;
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd >= 0)
		dprintf(fd, "%s\n", key);
}
