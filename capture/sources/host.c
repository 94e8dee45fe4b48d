/*
 * The host: CPU, memory, pressure, disks, network, from files of /proc that
 * answer without waiting for any device; read in the main thread through
 * descriptors that stay open.
 */
#include "capture/sources/host.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/sources/sources.h"

#define SLOW_TICKS 10		/* samples between two records of every interface */
#define FILE_BYTES 65536

static int open_below(const char *root, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s%s", root, name);
	return text_file_open(AT_FDCWD, path);
}

void host_open(struct host_files *f, const char *root)
{
	f->stat = open_below(root, "/proc/stat");
	f->meminfo = open_below(root, "/proc/meminfo");
	f->loadavg = open_below(root, "/proc/loadavg");
	f->vmstat = open_below(root, "/proc/vmstat");
	f->diskstats = open_below(root, "/proc/diskstats");
	f->psi_cpu = open_below(root, "/proc/pressure/cpu");
	f->psi_memory = open_below(root, "/proc/pressure/memory");
	f->psi_io = open_below(root, "/proc/pressure/io");
}

void host_close(struct host_files *f)
{
	int fds[] = { f->stat, f->meminfo, f->loadavg, f->vmstat, f->diskstats, f->psi_cpu, f->psi_memory, f->psi_io };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		closep(&fds[i]);
}

/* ---- parsing ---- */

static uint32_t narrow(uint64_t v)
{
	return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

/* cpu  user nice system idle iowait irq softirq steal guest guest_nice, in ticks */
static void parse_stat(const char *text, struct record_host_sample *s)
{
	uint64_t v[8] = { 0 }, tick_ms = 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
	const char *p = text + 3;

	for (size_t i = 0; i < ARRAY_SIZE(v) && strncmp(text, "cpu ", 4) == 0; i++) {
		v[i] = text_number(p, &p);
		if (v[i] == UINT64_MAX)
			v[i] = 0;
	}
	s->cpu_user_ms = (v[0] + v[1]) * tick_ms;
	s->cpu_system_ms = (v[2] + v[5] + v[6]) * tick_ms;
	s->cpu_idle_ms = v[3] * tick_ms;
	s->cpu_iowait_ms = v[4] * tick_ms;
	s->cpu_steal_ms = v[7] * tick_ms;
	s->running = narrow(text_value(text, "procs_running"));
	s->blocked = narrow(text_value(text, "procs_blocked"));
}

static void parse_meminfo(const char *text, struct record_host_sample *s)
{
	uint64_t swap = text_value(text, "SwapTotal:"), swap_free = text_value(text, "SwapFree:");

	s->memory_total_kib = text_value(text, "MemTotal:");
	s->memory_available_kib = text_value(text, "MemAvailable:");
	s->swap_used_kib = swap == UINT64_MAX || swap_free > swap ? 0 : swap - swap_free;
	s->shmem_kib = text_value(text, "Shmem:");
	s->dirty_kib = text_value(text, "Dirty:");
}

/* avg10 of the line that starts with `which` */
static uint32_t pressure(const char *text, const char *which)
{
	const char *line = strstr(text, which), *avg = line ? strstr(line, "avg10=") : NULL;

	return avg ? narrow(text_hundredths(avg + 6)) : UINT32_MAX;
}

/* Whole disks only: what is stacked on them, and their partitions, would count twice. */
static bool is_whole_disk(const char *name, size_t len, const char *disk, size_t disk_len)
{
	static const char *const stacked[] = { "loop", "ram", "zram", "dm-", "md", "sr", "fd" };

	for (size_t i = 0; i < ARRAY_SIZE(stacked); i++)
		if (strncmp(name, stacked[i], strlen(stacked[i])) == 0)
			return false;
	return !disk_len || len <= disk_len || strncmp(name, disk, disk_len) != 0;
}

/* major minor name reads merged sectors ms writes merged sectors ms in-flight busy-ms ... */
static void parse_diskstats(const char *text, struct record_host_sample *s)
{
	const char *disk = "", *p = text;
	size_t disk_len = 0;

	for (const char *line = text; *line; line = *p ? p + 1 : p) {
		uint64_t v[11];
		const char *name;

		text_number(line, &p);
		text_number(p, &p);
		name = p + strspn(p, " ");
		p = name + strcspn(name, " \n");
		if (is_whole_disk(name, (size_t)(p - name), disk, disk_len)) {
			disk = name;
			disk_len = (size_t)(p - name);
			for (size_t i = 0; i < 10; i++) {
				v[i] = text_number(p, &p);
				v[i] = v[i] == UINT64_MAX ? 0 : v[i];
			}
			s->disk_read_kib += v[2] / 2;
			s->disk_write_kib += v[6] / 2;
			s->disk_io_ms += v[9];
		}
		p += strcspn(p, "\n");
	}
}

void host_read(const struct host_files *f, struct record_host_sample *ret)
{
	char text[FILE_BYTES];

	*ret = (struct record_host_sample){ 0 };
	text_file_read(f->stat, text, sizeof(text));
	parse_stat(text, ret);
	text_file_read(f->meminfo, text, sizeof(text));
	parse_meminfo(text, ret);
	text_file_read(f->loadavg, text, sizeof(text));
	ret->load1_x100 = narrow(text_hundredths(text));
	text_file_read(f->vmstat, text, sizeof(text));
	ret->oom_kills = text_value(text, "oom_kill ");
	text_file_read(f->diskstats, text, sizeof(text));
	parse_diskstats(text, ret);
	text_file_read(f->psi_cpu, text, sizeof(text));
	ret->psi_cpu_some_x100 = pressure(text, "some");
	text_file_read(f->psi_memory, text, sizeof(text));
	ret->psi_memory_some_x100 = pressure(text, "some");
	ret->psi_memory_full_x100 = pressure(text, "full");
	text_file_read(f->psi_io, text, sizeof(text));
	ret->psi_io_some_x100 = pressure(text, "some");
	ret->psi_io_full_x100 = pressure(text, "full");
}

/* ---- the source ---- */

struct host_source {
	struct capture *c;
	struct host_files files;
	struct interfaces interfaces;
	struct loop_watch *timer;
	int64_t now_ns;
	uint64_t tick;
};

static void put_interface(void *ctx, const struct record_netdev *n)
{
	struct host_source *h = ctx;

	ring_put(h->c->ring, STREAM_HOST, REC_NETDEV, h->now_ns, n, sizeof(*n), NULL, 0);
}

static void host_tick(void *ctx, int64_t monotonic_ns)
{
	struct host_source *h = ctx;
	struct record_host_sample s;

	h->now_ns = monotonic_ns;
	host_read(&h->files, &s);
	ring_put(h->c->ring, STREAM_HOST, REC_HOST_SAMPLE, monotonic_ns, &s, sizeof(s), NULL, 0);
	interfaces_read(&h->interfaces, h->tick++ % SLOW_TICKS == 0, put_interface, h);
}

static void host_stop(struct capture *c, void *data)
{
	struct host_source *h = data;

	if (!h)
		return;
	loop_remove(c->loop, h->timer);
	host_close(&h->files);
	interfaces_close(&h->interfaces);
	free(h);
}

static int host_start(struct capture *c, void **ret, struct error *err)
{
	struct host_source *h = calloc(1, sizeof(*h));
	int64_t period_ns = c->config.sample_ms * NS_PER_MS;

	if (!h)
		return error_set(err, ERR_NOMEM, "no memory");
	h->c = c;
	host_open(&h->files, "");
	interfaces_open(&h->interfaces, "");
	if (h->files.stat < 0)
		error_sys(err, "cannot read /proc/stat");
	else
		h->timer = loop_add_timer(c->loop, period_ns, period_ns, host_tick, h, err);
	if (!h->timer) {
		host_stop(c, h);
		return -1;
	}
	capture_state(c, "host", SOURCE_OK,
		      h->files.psi_memory < 0 ? "no pressure information: the kernel has no PSI" : "");
	*ret = h;
	return 0;
}

const struct source source_host = {
	.name = "host",
	.what = "the host: CPU, memory, pressure, disks, network",
	.start = host_start,
	.stop = host_stop,
};
