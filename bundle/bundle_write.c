#include "bundle/bundle_write.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "bundle/pack.h"

#define TAR_BLOCK 512
#define TAR_NAME 100
#define TAR_SIZE_MAX ((uint64_t)8 << 30)	/* eleven octal digits */
#define TOGETHER_BYTES ((size_t)256 << 10)	/* a frame with more than that is ended rather than cutting a member */
#define COPY_BYTES ((size_t)256 << 10)

struct tar_head {
	char name[TAR_NAME], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8];
	char type, linkname[100], magic[6], version[2], uname[32], gname[32], devmajor[8], devminor[8];
	char prefix[155], pad[12];
};
_Static_assert(sizeof(struct tar_head) == TAR_BLOCK, "file format");

struct member_list {
	struct bundle_member *v;
	size_t n, cap;
};

struct bundle_writer {
	char path[PATH_MAX], partial[PATH_MAX];
	int fd;
	struct pack *pack;
	time_t begun;
	struct member_list members, lost;
	uint8_t *buf;			/* COPY_BYTES */
};

static const uint8_t zeros[2 * TAR_BLOCK];

static int list_add(struct member_list *l, const struct bundle_member *m, struct error *err)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct bundle_member *v = reallocarray(l->v, cap, sizeof(*v));

		if (!v)
			return error_set(err, ERR_NOMEM, "no memory");
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = *m;
	return 0;
}

int bundle_create(const char *path, struct bundle_writer **ret, struct error *err)
{
	_cleanup_bundle_writer_ struct bundle_writer *b = calloc(1, sizeof(*b));

	if (!b)
		return error_set(err, ERR_NOMEM, "no memory");
	b->fd = -1;
	b->begun = time(NULL);
	b->buf = malloc(COPY_BYTES);
	if (!b->buf)
		return error_set(err, ERR_NOMEM, "no memory");
	if ((size_t)snprintf(b->path, sizeof(b->path), "%s", path) >= sizeof(b->path) ||
	    (size_t)snprintf(b->partial, sizeof(b->partial), "%s.partial", path) >= sizeof(b->partial))
		return error_set(err, ERR_LIMIT, "the path is too long: %.80s...", path);
	b->fd = open(b->partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (b->fd < 0)
		return error_sys(err, "cannot create %s", b->partial);
	flock(b->fd, LOCK_EX | LOCK_NB);	/* tells others that its writer lives */
	if (pack_open(b->fd, &b->pack, err))
		return -1;
	*ret = take(b);
	return 0;
}

/* ---- tar ---- */

static int put_head(struct bundle_writer *b, const char *name, uint64_t bytes, char type, int level, struct error *err)
{
	struct tar_head h = { .mode = "0000640", .uid = "0000000", .gid = "0000000", .magic = "ustar",
			      .version = { '0', '0' }, .uname = "root", .gname = "root", .type = type };
	const uint8_t *raw = (const uint8_t *)&h;
	unsigned sum = 0;

	memcpy(h.name, name, strnlen(name, TAR_NAME));
	snprintf(h.size, sizeof(h.size), "%011llo", (unsigned long long)bytes);
	snprintf(h.mtime, sizeof(h.mtime), "%011llo", (unsigned long long)b->begun);
	memset(h.checksum, ' ', sizeof(h.checksum));
	for (size_t i = 0; i < sizeof(h); i++)
		sum += raw[i];
	snprintf(h.checksum, 7, "%06o", sum);	/* six digits, NUL, and the space that is there */
	return pack_write(b->pack, &h, sizeof(h), level, err);
}

static int put_padding(struct bundle_writer *b, uint64_t bytes, int level, struct error *err)
{
	return pack_write(b->pack, zeros, (size_t)(-bytes & (TAR_BLOCK - 1)), level, err);
}

/* A longer name travels in a pax header: "<length of this record> path=<name>\n". */
static int put_long_name(struct bundle_writer *b, const char *name, int level, struct error *err)
{
	char record[BUNDLE_NAME_BYTES + 16];
	size_t rest = strlen(" path=") + strlen(name) + 1, len = rest + 2;

	len = len >= 100 ? rest + 3 : len;	/* the length counts its own digits */
	snprintf(record, sizeof(record), "%zu path=%s\n", len, name);
	return put_head(b, "././@PaxHeader", len, 'x', level, err) || pack_write(b->pack, record, len, level, err) ||
	       put_padding(b, len, level, err) ? -1 : 0;
}

static int begin_member(struct bundle_writer *b, struct bundle_member *m, const char *name, uint64_t bytes, int level,
			struct error *err)
{
	if (strlen(name) >= sizeof(m->name) || bytes >= TAR_SIZE_MAX)
		return error_set(err, ERR_LIMIT, "too long for a member: %.80s", name);
	snprintf(m->name, sizeof(m->name), "%s", name);
	m->bytes = bytes;
	if ((bytes >= PACK_FRAME_BYTES || (pack_pending(b->pack) > TOGETHER_BYTES &&
					   pack_pending(b->pack) + bytes > PACK_FRAME_BYTES)) &&
	    pack_flush(b->pack, err))
		return -1;
	if (strlen(name) > TAR_NAME && put_long_name(b, name, level, err))
		return -1;
	return put_head(b, name, bytes, '0', level, err);
}

/* A large member begins and ends a frame, so that a full disk costs no other with it. */
static int end_member(struct bundle_writer *b, const struct bundle_member *m, int level, struct error *err)
{
	if (put_padding(b, m->bytes, level, err) || list_add(&b->members, m, err))
		return -1;
	pack_mark(b->pack, b->members.n);
	return b->members.n == 1 || m->bytes >= PACK_FRAME_BYTES ? pack_flush(b->pack, err) : 0;
}

/* A member that failed counts as lost; what stood of it goes with bundle_recover(). */
static int lose(struct bundle_writer *b, const char *name)
{
	struct bundle_member m = { 0 };
	struct error ignored = { 0 };

	snprintf(m.name, sizeof(m.name), "%s", name);
	if (b->members.n == 0 || strcmp(b->members.v[b->members.n - 1].name, name))
		list_add(&b->lost, &m, &ignored);
	return -1;
}

int bundle_add(struct bundle_writer *b, const char *name, const void *data, size_t len, int level, struct error *err)
{
	struct bundle_member m = { 0 };

	digest_hex(data, len, m.sha256);
	if (begin_member(b, &m, name, len, level, err) || pack_write(b->pack, data, len, level, err) ||
	    end_member(b, &m, level, err))
		return lose(b, name);
	return 0;
}

static int copy_fd(struct bundle_writer *b, int fd, struct bundle_member *m, int level, struct error *err)
{
	struct digest *digest = digest_open();
	uint64_t left = m->bytes;
	int r = 0;

	while (left && r == 0) {
		size_t want = left < COPY_BYTES ? (size_t)left : COPY_BYTES;
		ssize_t n = m->is_short ? 0 : read(fd, b->buf, want);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			m->is_short = true;
			memset(b->buf, 0, want);
			n = (ssize_t)want;
		}
		digest_add(digest, b->buf, (size_t)n);
		r = pack_write(b->pack, b->buf, (size_t)n, level, err);
		left -= (uint64_t)n;
	}
	digest_close(digest, m->sha256);
	return r;
}

int bundle_add_fd(struct bundle_writer *b, const char *name, int fd, uint64_t max, int level, struct error *err)
{
	struct bundle_member m = { 0 };
	struct stat st;
	off_t at = lseek(fd, 0, SEEK_CUR);
	uint64_t bytes;

	if (at < 0 || fstat(fd, &st))
		return error_sys(err, "cannot read %s", name);
	bytes = st.st_size > at ? (uint64_t)(st.st_size - at) : 0;
	if (begin_member(b, &m, name, bytes < max ? bytes : max, level, err) || copy_fd(b, fd, &m, level, err) ||
	    end_member(b, &m, level, err))
		return lose(b, name);
	return 0;
}

/* ---- the file ---- */

int bundle_sync(struct bundle_writer *b, struct error *err)
{
	if (pack_drain(b->pack, err))
		return -1;
	return fdatasync(b->fd) ? error_sys(err, "cannot sync %s", b->partial) : 0;
}

void bundle_rewind(struct bundle_writer *b, size_t n)
{
	size_t kept = (size_t)pack_rewind(b->pack, n);

	b->members.n = kept < b->members.n ? kept : b->members.n;
}

void bundle_recover(struct bundle_writer *b)
{
	struct error ignored = { 0 };
	size_t kept = (size_t)pack_rollback(b->pack);

	for (size_t i = kept; i < b->members.n; i++)
		list_add(&b->lost, &b->members.v[i], &ignored);
	b->members.n = kept < b->members.n ? kept : b->members.n;
}

const struct bundle_member *bundle_members(const struct bundle_writer *b, size_t *n_ret)
{
	*n_ret = b->members.n;
	return b->members.v;
}

const struct bundle_member *bundle_lost(const struct bundle_writer *b, size_t *n_ret)
{
	*n_ret = b->lost.n;
	return b->lost.v;
}

static void sync_folder(const char *path)
{
	char dir[PATH_MAX];
	char *slash;
	_cleanup_close_ int fd = -1;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		fsync(fd);
}

int bundle_finish(struct bundle_writer *b, struct error *err)
{
	if (pack_write(b->pack, zeros, sizeof(zeros), 1, err) || pack_finish(b->pack, err))
		return error_in(err, b->partial);
	if (fsync(b->fd))
		return error_sys(err, "cannot sync %s", b->partial);
	if (rename(b->partial, b->path))
		return error_sys(err, "cannot rename to %s", b->path);
	sync_folder(b->path);
	return 0;
}

void bundle_writer_close(struct bundle_writer *b)
{
	if (!b)
		return;
	pack_close(b->pack);
	if (b->fd >= 0)
		close(b->fd);
	free(b->members.v);
	free(b->lost.v);
	free(b->buf);
	free(b);
}
