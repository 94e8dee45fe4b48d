#include "capture/dump_reserve.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle/cleanup.h"

static void make(const struct reserve *r)
{
	_cleanup_close_ int fd = open(r->path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct stat st;

	if (fd < 0 || (fstat(fd, &st) == 0 && st.st_size == RESERVE_BYTES))
		return;
	if (posix_fallocate(fd, 0, RESERVE_BYTES))
		unlink(r->path);
}

void reserve_open(struct reserve *r, const char *dir, bool keep)
{
	if (keep)
		snprintf(r->path, sizeof(r->path), "%.*s/.reserve", PATH_MAX - 40, dir);
	else
		snprintf(r->path, sizeof(r->path), "%.*s/.tdump-reserve-%d", PATH_MAX - 40, dir, (int)getpid());
	r->keep = keep;
	make(r);
}

void reserve_release(struct reserve *r)
{
	if (r->path[0])
		unlink(r->path);
}

void reserve_close(struct reserve *r)
{
	if (r->path[0] && r->keep)
		make(r);
	else
		reserve_release(r);
	r->path[0] = '\0';
}
