/*
 * host - what the host as a whole does; the files of /proc that no device stands behind.
 *
 * Private to host.c, host_net.c and their test: `root` is "" outside of tests.
 */
#pragma once
#include "capture/sources/text_file.h"
#include "capture/ring.h"

struct host_files {
	int stat, meminfo, loadavg, vmstat, diskstats;
	int psi_cpu, psi_memory, psi_io;
};
void host_open(struct host_files *f, const char *root);
void host_close(struct host_files *f);
void host_read(const struct host_files *f, struct record_host_sample *ret);

#define INTERFACES_MAX 32

struct interface {
	struct record_netdev n;		/* as last recorded */
	int operstate, carrier_changes;	/* descriptors */
	bool seen;
};
struct interfaces {
	struct interface by_slot[INTERFACES_MAX];
	size_t n;
	int dev, root_fd;		/* /proc/net/dev, /sys/class/net */
};
void interfaces_open(struct interfaces *all, const char *root);
void interfaces_close(struct interfaces *all);
/* Read all; those whose state or errors changed, or all with `everything`, go to `put`. */
typedef void interface_fn(void *ctx, const struct record_netdev *n);
void interfaces_read(struct interfaces *all, bool everything, interface_fn *put, void *ctx);
