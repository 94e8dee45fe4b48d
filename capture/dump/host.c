/* host - host/: file systems, limits, addresses, memory, what the job's processes are. */
#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <mntent.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/dump/sources.h"

static bool is_remote(const char *type)
{
	static const char *const types[] = { "nfs", "nfs4", "cifs", "smb3", "lustre", "ceph", "gpfs", "beegfs", "9p", "afs", "glusterfs" };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(type, types[i]) == 0)
			return true;
	return strncmp(type, "fuse", 4) == 0;
}

static unsigned used_pct(uint64_t used, uint64_t left)
{
	return used + left ? (unsigned)((used * 100 + used + left - 1) / (used + left)) : 0;
}

/* One line of df -P, and one of df -Pi. */
static void df_line(const struct mntent *m, struct dump_text *blocks, struct dump_text *inodes)
{
	struct statvfs s;
	uint64_t kib, used;

	if (statvfs(m->mnt_dir, &s) || s.f_blocks == 0)
		return;
	kib = s.f_frsize >= 1024 ? s.f_frsize / 1024 : 1;
	used = s.f_blocks - s.f_bfree;
	dump_text_add(blocks, "%s %llu %llu %llu %u%% %s\n", m->mnt_fsname, (unsigned long long)(s.f_blocks * kib),
		      (unsigned long long)(used * kib), (unsigned long long)(s.f_bavail * kib), used_pct(used, s.f_bavail),
		      m->mnt_dir);
	if (s.f_files)
		dump_text_add(inodes, "%s %llu %llu %llu %u%% %s\n", m->mnt_fsname, (unsigned long long)s.f_files,
			      (unsigned long long)(s.f_files - s.f_ffree), (unsigned long long)s.f_favail,
			      used_pct(s.f_files - s.f_ffree, s.f_favail), m->mnt_dir);
}

/* Local file systems first: a network file system may hang, and then only its own member is missing. */
static void send_df(struct worker_link *l, bool remote)
{
	_cleanup_dump_text_ struct dump_text blocks = { 0 };
	_cleanup_dump_text_ struct dump_text inodes = { 0 };
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent m;
	char buf[8192];
	size_t heading;

	dump_text_add(&blocks, "Filesystem 1024-blocks Used Available Capacity Mounted on\n");
	dump_text_add(&inodes, "Filesystem Inodes IUsed IFree IUse%% Mounted on\n");
	heading = blocks.len;
	while (f && getmntent_r(f, &m, buf, sizeof(buf)))
		if (is_remote(m.mnt_type) == remote)
			df_line(&m, &blocks, &inodes);
	if (f)
		endmntent(f);
	if (remote && blocks.len == heading)
		return;
	dump_send_text(l, remote ? "host/df-remote.txt" : "host/df.txt", &blocks);
	dump_send_text(l, remote ? "host/df-inodes-remote.txt" : "host/df-inodes.txt", &inodes);
}

static void send_addresses(struct worker_link *l)
{
	_cleanup_dump_text_ struct dump_text t = { 0 };
	struct ifaddrs *list = NULL;

	if (getifaddrs(&list))
		return;
	for (const struct ifaddrs *a = list; a; a = a->ifa_next) {
		char address[NI_MAXHOST];
		int family = a->ifa_addr ? a->ifa_addr->sa_family : AF_UNSPEC;
		socklen_t size = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

		if ((family == AF_INET || family == AF_INET6) &&
		    getnameinfo(a->ifa_addr, size, address, sizeof(address), NULL, 0, NI_NUMERICHOST) == 0)
			dump_text_add(&t, "%s %s %s %s\n", a->ifa_name, family == AF_INET ? "inet" : "inet6", address,
				      a->ifa_flags & IFF_UP ? "up" : "down");
	}
	freeifaddrs(list);
	dump_send_text(l, "host/ip.txt", &t);
}

static void send_file(struct worker_link *l, const char *path, const char *name)
{
	_cleanup_dump_text_ struct dump_text t = { 0 };

	if (dump_read_file(path, DUMP_TEXT_MAX, &t) == 0 && t.len)
		dump_send_text(l, name, &t);
}

/* What runs: state letter, command line (secrets are masked when it is sent). */
static void send_processes(struct worker_link *l, const struct dump_context *dc)
{
	_cleanup_dump_text_ struct dump_text t = { 0 };

	dump_text_add(&t, "pid rank uid state command\n");
	for (size_t i = 0; i < dc->n_tracks; i++) {
		const struct record_process *p = &dc->tracks[i].p;
		_cleanup_dump_text_ struct dump_text stat = { 0 };
		_cleanup_dump_text_ struct dump_text cmdline = { 0 };
		char path[64];
		const char *paren;

		snprintf(path, sizeof(path), "/proc/%u/stat", p->pid);
		dump_read_file(path, 4096, &stat);
		snprintf(path, sizeof(path), "/proc/%u/cmdline", p->pid);
		dump_read_file(path, 16384, &cmdline);
		paren = stat.s ? strrchr(stat.s, ')') : NULL;
		for (size_t k = 0; k < cmdline.len; k++)
			cmdline.s[k] = cmdline.s[k] && cmdline.s[k] != '\n' ? cmdline.s[k] : ' ';
		dump_text_add(&t, "%u %d %u %c ", p->pid, p->rank, p->uid, paren && paren[1] ? paren[2] : '-');
		if (cmdline.len)
			dump_text_append(&t, cmdline.s, cmdline.len);
		else
			dump_text_add(&t, "[%.16s]", p->comm);
		dump_text_add(&t, "\n");
	}
	dump_send_text(l, "host/processes.txt", &t);
}

static void send_limits(struct worker_link *l, const struct dump_context *dc)
{
	for (size_t i = 0; i < dc->n_tracks; i++) {
		char path[64], name[64];

		if (!dc->tracks[i].p.is_rank)
			continue;
		snprintf(path, sizeof(path), "/proc/%u/limits", dc->tracks[i].p.pid);
		snprintf(name, sizeof(name), "host/limits-%u.txt", dc->tracks[i].p.pid);
		send_file(l, path, name);
	}
}

static void run(struct worker_link *l, void *ctx)
{
	static const struct {
		const char *path, *name;
	} files[] = {
		{ "/proc/meminfo", "host/meminfo.txt" },
		{ "/proc/mounts", "host/mounts.txt" },
		{ "/proc/loadavg", "host/loadavg.txt" },
		{ "/proc/pressure/memory", "host/pressure-memory.txt" },
		{ "/proc/pressure/io", "host/pressure-io.txt" },
		{ "/proc/net/dev", "host/net-dev.txt" },
	};
	const struct dump_context *dc = ctx;

	send_df(l, false);
	send_addresses(l);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		send_file(l, files[i].path, files[i].name);
	send_limits(l, dc);
	send_processes(l, dc);
	send_df(l, true);
	worker_state(l, SOURCE_OK, "%s", "");
}

const struct dump_source dump_host = { "host", 5, run };
