/* pstore - previous/pstore/: what the kernel left of a panic.  The firmware keeps it until somebody removes it. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bundle/cleanup.h"
#include "capture/dump/sources.h"
#include "capture/dump/taken.h"

static unsigned take_folder(struct worker_link *l, const struct dump_context *dc, const char *dir)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	for (const struct dirent *e; d && (e = readdir(d));) {
		_cleanup_dump_text_ struct dump_text t = { 0 };
		char path[PATH_MAX], name[300], key[400];
		struct stat st;

		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (e->d_name[0] == '.' || stat(path, &st) || !S_ISREG(st.st_mode))
			continue;
		snprintf(key, sizeof(key), "pstore %s %lld", e->d_name, (long long)st.st_mtime);
		if (!taken_before(dc, key) && dump_read_file(path, DUMP_TEXT_MAX, &t) == 0) {
			snprintf(name, sizeof(name), "previous/pstore/%s", e->d_name);
			n += dump_send_text(l, name, &t);
			taken_note(dc, key);
		}
	}
	if (d)
		closedir(d);
	return n;
}

static void run(struct worker_link *l, void *ctx)
{
	unsigned n = take_folder(l, ctx, "/sys/fs/pstore");

	n += take_folder(l, ctx, "/var/lib/systemd/pstore");
	if (n)
		worker_state(l, SOURCE_OK, "%s", "");
	else
		worker_state(l, SOURCE_ABSENT, "no record of a panic that was not taken before");
}

const struct dump_source dump_pstore = { "pstore", 3, run };
