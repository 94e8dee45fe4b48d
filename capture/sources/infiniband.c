/*
 * InfiniBand and RoCE ports, from sysfs.
 *
 * Reading them asks the adapter's firmware, which may be what is broken: a
 * worker does it.  States are read at every sample, counters at every tenth or
 * when a state changed.  Recorded is what changed, and everything every 10 s.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bundle/cleanup.h"
#include "capture/sources/sources.h"
#include "capture/sources/sysfs.h"
#include "capture/sources/text_file.h"
#include "capture/sources/ticks.h"

#define PORTS_MAX 64
#define SLOW_TICKS 10
#define BUDGET_NS (15 * NS_PER_S)

/* counter of the record, file below ports/N */
#define COUNTERS(C) \
	C(link_downed, "counters/link_downed") \
	C(link_error_recovery, "counters/link_error_recovery") \
	C(symbol_error, "counters/symbol_error") \
	C(port_rcv_errors, "counters/port_rcv_errors") \
	C(local_link_integrity, "counters/local_link_integrity_errors") \
	C(rcv_bytes, "counters/port_rcv_data") \
	C(xmit_bytes, "counters/port_xmit_data") \
	C(out_of_sequence, "hw_counters/out_of_sequence") \
	C(packet_seq_err, "hw_counters/packet_seq_err") \
	C(local_ack_timeout, "hw_counters/local_ack_timeout_err")

struct port {
	struct record_ib_port p;
	int state, physical_state, rate, lid;	/* descriptors */
	struct {
#define C(name, file) int name;
		COUNTERS(C)
#undef C
	} fd;
};

struct ports {
	struct port port[PORTS_MAX];
	size_t n;
};

static void open_port(struct ports *all, int device_fd, const char *device, const char *name)
{
	struct port *p = &all->port[all->n];
	_cleanup_close_ int dir = openat(device_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char text[64];

	if (dir < 0)
		return;
	*p = (struct port){ .p = { .port = (uint32_t)text_number(name, NULL) } };
	snprintf(p->p.device, sizeof(p->p.device), "%s", device);
	text_file_once(dir, "link_layer", text, sizeof(text));
	p->p.is_ethernet = strcmp(text, "Ethernet") == 0;
	text_file_once(dir, "gid_attrs/ndevs/0", text, sizeof(text));
	snprintf(p->p.netdev, sizeof(p->p.netdev), "%s", text);
	p->state = text_file_open(dir, "state");
	p->physical_state = text_file_open(dir, "phys_state");
	p->rate = text_file_open(dir, "rate");
	p->lid = text_file_open(dir, "lid");
#define C(counter, file) p->fd.counter = text_file_open(dir, file);
	COUNTERS(C)
#undef C
	all->n++;
}

static void open_ports(struct ports *all, const char *root)
{
	_cleanup_sysfs_ struct sysfs_list devices = sysfs_list(root);

	for (size_t i = 0; i < devices.n; i++) {
		char path[512];

		snprintf(path, sizeof(path), "%s/%s/ports", root, devices.name[i]);

		_cleanup_sysfs_ struct sysfs_list ports = sysfs_list(path);
		_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		for (size_t k = 0; k < ports.n && all->n < PORTS_MAX; k++)
			open_port(all, dir, devices.name[i], ports.name[k]);
	}
}

/* "4: ACTIVE": 4; nothing is known of a port that is gone. */
static uint32_t small(uint64_t v)
{
	return v == UINT64_MAX ? 0 : (uint32_t)v;
}

static void read_counters(struct port *p)
{
#define C(name, file) p->p.name = text_file_number(p->fd.name);
	COUNTERS(C)
#undef C
	/* The port counts words of four bytes. */
	p->p.rcv_bytes = p->p.rcv_bytes == UINT64_MAX ? UINT64_MAX : p->p.rcv_bytes * 4;
	p->p.xmit_bytes = p->p.xmit_bytes == UINT64_MAX ? UINT64_MAX : p->p.xmit_bytes * 4;
}

static void sample(struct worker_link *l, struct port *p, bool slow)
{
	struct record_ib_port before = p->p;

	p->p.state = small(text_file_number(p->state));
	p->p.physical_state = small(text_file_number(p->physical_state));
	if (p->p.state != before.state || p->p.physical_state != before.physical_state)
		slow = true;
	if (!slow)
		return;
	p->p.rate_gbps = small(text_file_number(p->rate));
	p->p.lid = small(text_file_number(p->lid));
	read_counters(p);
	worker_record(l, STREAM_GPU, REC_IB_PORT, loop_now(), &p->p, sizeof(p->p), NULL, 0);
}

void infiniband_run(struct worker_link *l, void *ctx)
{
	const struct sysfs_options *opt = ctx;
	struct ticks ticks = ticks_every(opt->sample_ms);
	_cleanup_free_ struct ports *all = calloc(1, sizeof(*all));

	if (!all)
		return;
	open_ports(all, opt->root);
	if (!all->n) {
		worker_state(l, SOURCE_ABSENT, "no port below %s", opt->root);
		return;
	}
	worker_state(l, SOURCE_OK, "%zu ports", all->n);
	for (uint64_t tick = 0;; tick++) {
		for (size_t i = 0; i < all->n; i++)
			sample(l, &all->port[i], tick % SLOW_TICKS == 0);
		worker_alive(l);
		if (!ticks_wait(&ticks, l))
			return;
	}
}

static int infiniband_start(struct capture *c, void **ret, struct error *err)
{
	return sysfs_start(c, "infiniband", "/sys/class/infiniband", infiniband_run, BUDGET_NS, NULL, ret, err);
}

const struct source source_infiniband = {
	.name = "infiniband",
	.what = "InfiniBand and RoCE ports: states, errors, traffic",
	.start = infiniband_start,
	.stop = sysfs_stop,
};
