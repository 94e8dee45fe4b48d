#include "capture/ring_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle/cleanup.h"

#define PREVIOUS_KEPT 2
#define SEGMENT_BYTES_MIN (256u << 10)
#define SEGMENT_BYTES_MAX (2u << 20)

static inline void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}
#define _cleanup_closedir_ _cleanup_(closedirp)

struct ring_layout ring_layout(uint64_t budget_bytes)
{
	static const uint8_t percent[] = {
#define X(id, name, share) [STREAM_##id] = share,
		STREAMS(X)
#undef X
	};
	struct ring_layout l = { 0 };

	for (int s = 0; s < STREAM_COUNT; s++) {
		uint64_t share = budget_bytes / 100 * percent[s], bytes = share / 8 & ~(uint64_t)4095, n;

		bytes = bytes < SEGMENT_BYTES_MIN ? SEGMENT_BYTES_MIN : bytes;
		bytes = bytes > SEGMENT_BYTES_MAX ? SEGMENT_BYTES_MAX : bytes;
		n = share / bytes;
		n = n < 4 ? 4 : n;
		if (n > SEGMENTS_MAX) {
			n = SEGMENTS_MAX;
			bytes = share / n & ~(uint64_t)4095;
			bytes = bytes > (256u << 20) ? (256u << 20) : bytes;
		}
		l.stream[s].segments = (uint32_t)n;
		l.stream[s].segment_bytes = (uint32_t)bytes;
		l.bytes += n * bytes;
	}
	return l;
}

void segment_name(char out[SEGMENT_NAME_BYTES], enum stream_id s, uint32_t index)
{
	snprintf(out, SEGMENT_NAME_BYTES, "%s-%02u.tcr", stream_name(s), index);
}

enum stream_id segment_name_stream(const char *name)
{
	const char *dash = strrchr(name, '-');
	size_t digits = dash ? strspn(dash + 1, "0123456789") : 0;

	if (!digits || strcmp(dash + 1 + digits, ".tcr"))
		return STREAM_COUNT;
	for (enum stream_id s = 0; s < STREAM_COUNT; s++)
		if (strlen(stream_name(s)) == (size_t)(dash - name) && strncmp(name, stream_name(s), (size_t)(dash - name)) == 0)
			return s;
	return STREAM_COUNT;
}

/* ---- directory and lock ---- */

int ring_dir_open(const char *dir, struct error *err)
{
	char path[PATH_MAX];
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "%s", dir) >= sizeof(path))
		return error_set(err, ERR_LIMIT, "the path is too long: %.80s...", dir);
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		mkdir(path, 0755);
		*p = '/';
	}
	if (mkdir(path, 0750) && errno != EEXIST)
		return error_sys(err, "cannot make the ring's directory %s", dir);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? error_sys(err, "cannot open the ring's directory %s", dir) : fd;
}

/*
 * A record lock: unlike flock() it is not inherited by the dump process and by
 * workers, which may outlive the daemon.
 */
int ring_lock(int dir_fd, struct error *err)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	_cleanup_close_ int fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);

	if (fd < 0)
		return error_sys(err, "cannot open the ring's lock");
	if (fcntl(fd, F_SETLK, &lock) == 0) {
		int locked = fd;

		fd = -1;
		return locked;
	}
	if (errno != EAGAIN && errno != EACCES)
		return error_sys(err, "cannot lock the ring");
	if (fcntl(fd, F_GETLK, &lock) || lock.l_type == F_UNLCK)
		lock.l_pid = 0;
	errno = EWOULDBLOCK;
	return error_sys(err, "another daemon (pid %d) holds this ring", (int)lock.l_pid);
}

/* ---- what stands there ---- */

void boot_id_read(uint8_t out[16])
{
	char text[64] = "";
	size_t n = 0;
	_cleanup_fclose_ FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	memset(out, 0, 16);
	if (!f || !fgets(text, sizeof(text), f))
		return;
	for (const char *p = text; p[0] && p[1] && n < 16;) {
		unsigned byte;

		if (*p == '-') {
			p++;
		} else if (sscanf(p, "%2x", &byte) == 1) {
			out[n++] = (uint8_t)byte;
			p += 2;
		} else {
			break;
		}
	}
}

/* One file: 1 as the layout has it (never begun, or of this boot), 0 not, -1 not there. */
static int fits(int dir_fd, const struct ring_layout *layout, enum stream_id s, uint32_t index, const uint8_t boot[16],
		uint8_t boot_ret[16])
{
	char name[SEGMENT_NAME_BYTES];
	struct segment_reader r;
	uint8_t head[SEGMENT_HEAD_BYTES];
	struct error ignored = { 0 };
	struct stat st;
	_cleanup_close_ int fd = -1;
	int rc;

	segment_name(name, s, index);
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) || pread(fd, head, sizeof(head), 0) != sizeof(head))
		return fd < 0 && errno == ENOENT ? -1 : 0;
	rc = segment_open(&r, head, sizeof(head), &ignored);
	if (rc == 0)
		memcpy(boot_ret, r.head.boot_id, 16);
	if (rc < 0 && ignored.code == ERR_UNSUPPORTED)
		return 0;
	return (uint64_t)st.st_size == layout->stream[s].segment_bytes && (rc != 0 || memcmp(r.head.boot_id, boot, 16) == 0);
}

static void remove_folder(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_closedir_ DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.')
			unlinkat(fd, e->d_name, 0);
	unlinkat(dir_fd, name, AT_REMOVEDIR);
}

/* All but the newest of previous/. */
static void forget_old(int previous_fd)
{
	for (;;) {
		_cleanup_closedir_ DIR *d = NULL;
		int fd = openat(previous_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		char oldest[256] = "";
		struct timespec when = { 0 };
		size_t n = 0;

		d = fd >= 0 ? fdopendir(fd) : NULL;
		for (struct dirent *e; d && (e = readdir(d));) {
			struct stat st;

			if (e->d_name[0] == '.' || fstatat(previous_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode))
				continue;
			n++;
			if (!oldest[0] || st.st_mtim.tv_sec < when.tv_sec ||
			    (st.st_mtim.tv_sec == when.tv_sec && st.st_mtim.tv_nsec < when.tv_nsec)) {
				snprintf(oldest, sizeof(oldest), "%s", e->d_name);
				when = st.st_mtim;
			}
		}
		if (n <= PREVIOUS_KEPT)
			return;
		remove_folder(previous_fd, oldest);
	}
}

static int move_aside(int dir_fd, const uint8_t boot[16], struct error *err)
{
	char folder[64] = "";
	_cleanup_close_ int previous = -1, to = -1;
	_cleanup_closedir_ DIR *d = NULL;
	int fd, tries = 0;

	mkdirat(dir_fd, "previous", 0750);
	previous = openat(dir_fd, "previous", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (previous < 0)
		return error_sys(err, "cannot keep the earlier ring: previous/");
	do {
		int n = 0;

		for (int i = 0; i < 16; i++)
			n += snprintf(folder + n, sizeof(folder) - (size_t)n, "%02x", boot[i]);
		snprintf(folder + n, sizeof(folder) - (size_t)n, "-%d", tries++);
	} while (mkdirat(previous, folder, 0750) && errno == EEXIST && tries < 1000);
	to = openat(previous, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (to < 0)
		return error_sys(err, "cannot keep the earlier ring: previous/%s", folder);
	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd >= 0 ? fdopendir(fd) : NULL;
	for (struct dirent *e; d && (e = readdir(d));)
		if (segment_name_stream(e->d_name) < STREAM_COUNT && renameat(dir_fd, e->d_name, to, e->d_name))
			return error_sys(err, "cannot keep the earlier ring: %s", e->d_name);
	forget_old(previous);
	return 0;
}

int ring_keep_or_move(int dir_fd, const struct ring_layout *layout, bool *keep_ret, struct error *err)
{
	uint8_t boot[16], theirs[16] = { 0 };
	bool any = false, all = true;

	boot_id_read(boot);
	for (enum stream_id s = 0; s < STREAM_COUNT; s++)
		for (uint32_t i = 0; i <= layout->stream[s].segments; i++) {
			int rc = fits(dir_fd, layout, s, i, boot, theirs);
			bool planned = i < layout->stream[s].segments;	/* one more would be of a larger ring */

			any |= rc >= 0;
			all &= planned ? rc == 1 : rc == -1;
		}
	*keep_ret = any && all;
	return any && !all ? move_aside(dir_fd, theirs, err) : 0;
}
