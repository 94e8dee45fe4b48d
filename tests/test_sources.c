/*
 * The sources that sample hardware and host, each against something that plays it.
 *
 * Run as "test_sources" with a test double of NVML in LD_LIBRARY_PATH; "older" with
 * that of an older driver; "without" with none.
 */
#include "tests/test.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture/sources/filesystems.h"
#include "capture/sources/host.h"
#include "capture/sources/nvml.h"
#include "capture/sources/sysfs.h"
#include "bundle/segment.h"

#define BUDGET_NS (10 * NS_PER_S)
#define NONE64 UINT64_MAX
#define NONE32 UINT32_MAX

/* ---- a worker, and what it says ---- */

struct said {
	struct worker_message m;
	union {
		uint8_t bytes[1024];
		char text[1024];
		struct record_gpu_device device;
		struct record_gpu_sample sample;
		struct record_gpu_event event;
		struct record_ib_port port;
		struct record_file_system fs;
	};
};

/* The next message; false: the worker ended, or is silent for good. */
static bool next(struct worker *w, struct said *ret)
{
	static uint8_t buf[WORKER_MESSAGE_BYTES];
	struct pollfd p = { .fd = w->fd, .events = POLLIN };
	const uint8_t *payload;
	int fd, r;

	while ((r = worker_receive(w, buf, &ret->m, &payload, &fd)) == 0)
		if (poll(&p, 1, 2000) <= 0)
			return false;
	if (r < 0)
		return false;
	memset(ret->bytes, 0, sizeof(ret->bytes));
	memcpy(ret->bytes, payload, ret->m.bytes < sizeof(ret->bytes) ? ret->m.bytes : sizeof(ret->bytes) - 1);
	return true;
}

/* The next record of a kind. */
static bool next_record(struct worker *w, uint16_t kind, struct said *ret)
{
	while (next(w, ret))
		if (ret->m.type == WORKER_RECORD && ret->m.kind == kind)
			return true;
	return false;
}

static bool next_of_type(struct worker *w, uint16_t type, struct said *ret)
{
	while (next(w, ret))
		if (ret->m.type == type)
			return true;
	return false;
}

static void start(struct worker *w, const char *name, worker_fn *fn, void *ctx)
{
	struct error err = { 0 };

	*w = (struct worker)WORKER_NONE;
	assert_int_equal(worker_start(w, name, fn, ctx, BUDGET_NS, &err), 0);
}

/* ---- files to be read ---- */

static char root[64];

static void put(const char *name, const char *fmt, ...)
{
	char path[512], *slash;
	va_list ap;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	for (slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		mkdir(path, 0700);
		*slash = '/';
	}
	f = fopen(path, "w");
	assert_non_null(f);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fclose(f);
}

static int make_root(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/test_sources.XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

/* ---- NVML ---- */

static struct nvml_options every_5_ms = { .sample_ms = 5 };

static void play(struct worker *w, const char *script)
{
	char path[128];

	put("script", "%s", script);
	snprintf(path, sizeof(path), "%s/script", root);
	setenv("NVML_DOUBLE", path, 1);
	start(w, "nvml", nvml_run, &every_5_ms);
}

/* The n-th sample (from 0) of a GPU. */
static void sample_of(struct worker *w, uint32_t index, unsigned n, struct said *ret)
{
	do
		assert_true(next_record(w, REC_GPU_SAMPLE, ret));
	while (ret->sample.index != index || n-- > 0);
}

static void test_identities_and_values(void **state)
{
	struct worker w;
	struct said s;

	(void)state;
	play(&w, "0 * gpus 3\n0 1 pcie_width 8\n0 1 ecc_sram 4\n0 1 link_errors 17\n0 1 links_down 2\n");
	for (uint32_t i = 0; i < 3; i++) {
		assert_true(next_record(&w, REC_GPU_DEVICE, &s));
		assert_int_equal(s.device.index, i);
		assert_int_equal(s.device.pci_bus, 0x1b + 0x20 * i);
		assert_int_equal(s.device.vendor, 0x10de);
		assert_int_equal(s.device.pcie_width_max, 16);
		assert_int_equal(s.device.memory_bytes, 85899345920);
		assert_string_equal(s.device.driver, "550.54.15");
	}
	assert_true(next(&w, &s));
	assert_int_equal(s.m.type, WORKER_STATE);
	assert_int_equal(s.m.kind, SOURCE_OK);
	sample_of(&w, 1, 0, &s);
	assert_int_equal(s.sample.utilisation_pct, 97);
	assert_int_equal(s.sample.memory_used_bytes, 64424509440);
	assert_int_equal(s.sample.sm_mhz, 1980);
	assert_int_equal(s.sample.temperature_c, 55);
	assert_int_equal(s.sample.memory_temperature_c, 70);
	assert_int_equal(s.sample.power_mw, 650000);
	assert_int_equal(s.sample.pcie_width, 8);
	assert_int_equal(s.sample.ecc_sram_uncorrected, 4);
	assert_int_equal(s.sample.nvlink_errors, 17);
	assert_int_equal(s.sample.nvlink_active, 16);
	assert_int_equal(s.sample.nvlink_inactive, 2);
	assert_int_equal(s.sample.remap_pending, 0);
	assert_int_equal(s.sample.lost, 0);
	worker_end(&w);
}

static void test_values_that_change(void **state)
{
	struct worker w;
	struct said s;

	(void)state;
	play(&w, "2 0 temperature 91\n2 0 reasons 64\n2 0 ecc_volatile 1\n1 0 remap_pending 1\n");
	sample_of(&w, 0, 1, &s);
	assert_int_equal(s.sample.temperature_c, 55);
	sample_of(&w, 0, 0, &s);
	assert_int_equal(s.sample.temperature_c, 91);
	assert_int_equal(s.sample.clock_event_reasons, 64);
	assert_int_equal(s.sample.ecc_uncorrected_volatile, 1);
	assert_int_equal(s.sample.remap_pending, 0);		/* asked for at every tenth sample only */
	sample_of(&w, 0, NVML_SLOW_TICKS - 3, &s);
	assert_int_equal(s.sample.remap_pending, 1);
	worker_end(&w);
}

static void test_xid_is_recorded_and_told(void **state)
{
	struct worker w;
	struct said s;

	(void)state;
	play(&w, "2 1 xid 79\n2 1 remap_pending 1\n");
	assert_true(next_record(&w, REC_GPU_EVENT, &s));
	assert_int_equal(s.event.index, 1);
	assert_int_equal(s.event.event, GPU_EVENT_XID);
	assert_int_equal(s.event.value, 79);
	assert_string_equal(s.text + sizeof(s.event),
			    "Xid 79 on GPU 0000:3b:00.0 (GPU-00000000-0000-0000-0000-000000000001, index 1)");
	assert_true(next_of_type(&w, WORKER_OWN, &s));
	assert_int_equal(s.event.value, 79);
	sample_of(&w, 1, 0, &s);
	assert_int_equal(s.sample.remap_pending, 1);		/* after an event everything is asked for at once */
	worker_end(&w);
}

static void test_gpu_is_lost(void **state)
{
	struct worker w;
	struct said s;

	(void)state;
	play(&w, "3 1 lost 1\n");
	assert_true(next_record(&w, REC_GPU_EVENT, &s));
	assert_int_equal(s.event.event, GPU_EVENT_LOST);
	assert_int_equal(s.event.index, 1);
	sample_of(&w, 1, 0, &s);
	assert_int_equal(s.sample.lost, 1);
	assert_int_equal(s.sample.temperature_c, NONE32);
	assert_int_equal(s.sample.ecc_uncorrected_aggregate, NONE64);
	for (unsigned i = 0; i < 40; i++) {			/* told once, and the other one goes on */
		assert_true(next(&w, &s));
		assert_false(s.m.type == WORKER_RECORD && s.m.kind == REC_GPU_EVENT);
	}
	sample_of(&w, 0, 0, &s);
	assert_int_equal(s.sample.temperature_c, 55);
	worker_end(&w);
}

static void test_gpu_lost_from_the_start(void **state)
{
	struct worker w;
	struct said s;

	(void)state;
	play(&w, "0 1 lost 1\n");
	assert_true(next_record(&w, REC_GPU_EVENT, &s));
	assert_int_equal(s.event.index, 1);
	sample_of(&w, 1, 0, &s);
	assert_int_equal(s.sample.lost, 1);
	assert_int_equal(s.sample.utilisation_pct, NONE32);
	worker_end(&w);
}

static void test_hung_call(void **state)
{
	struct worker w;
	struct said s;

	(void)state;
	play(&w, "2 1 hang 1\n");
	sample_of(&w, 0, 2, &s);
	assert_false(next(&w, &s));				/* silent, but there */
	assert_false(worker_is_hung(&w, w.heard_ns + BUDGET_NS - 1));
	assert_true(worker_is_hung(&w, w.heard_ns + BUDGET_NS + 1));
	worker_end(&w);
}

static void test_no_driver(void **state)
{
	struct worker w;
	struct said s;

	(void)state;
	play(&w, "0 0 init 9\n");
	assert_true(next_of_type(&w, WORKER_STATE, &s));
	assert_int_equal(s.m.kind, SOURCE_ABSENT);
	assert_string_equal(s.text, "NVML: Driver Not Loaded");
	assert_false(next(&w, &s));
	worker_end(&w);
}

static void test_older_library(void **state)
{
	struct worker w;
	struct said s;

	(void)state;
	play(&w, "0 * reasons 32\n0 * link_errors 5\n");
	assert_true(next_of_type(&w, WORKER_STATE, &s));
	assert_string_equal(s.text, "2 GPUs; no Xid events");
	sample_of(&w, 0, 0, &s);
	assert_int_equal(s.sample.temperature_c, 55);
	assert_int_equal(s.sample.clock_event_reasons, 32);
	assert_int_equal(s.sample.nvlink_errors, 5);		/* link by link */
	assert_int_equal(s.sample.memory_temperature_c, NONE32);
	assert_int_equal(s.sample.remap_pending, NONE32);
	assert_int_equal(s.sample.remapped_correctable, NONE64);
	worker_end(&w);
}

static void test_no_library(void **state)
{
	struct worker w;
	struct said s;

	(void)state;
	start(&w, "nvml", nvml_run, &every_5_ms);
	assert_true(next_of_type(&w, WORKER_STATE, &s));
	assert_int_equal(s.m.kind, SOURCE_ABSENT);
	assert_non_null(strstr(s.text, "libnvidia-ml.so.1"));
	assert_false(next(&w, &s));
	worker_end(&w);
}

/* ---- AMD ---- */

static struct sysfs_options options_at(const char *dir)
{
	struct sysfs_options o = { .sample_ms = 5 };

	snprintf(o.root, sizeof(o.root), "%s/%s", root, dir);
	return o;
}

static void put_amd_gpu(void)
{
	char link[256];

	put("amd/0000:43:00.0/vendor", "0x1002\n");
	put("amd/0000:43:00.0/unique_id", "f7ac6b1e8d1a1d05\n");
	put("amd/0000:43:00.0/gpu_busy_percent", "87\n");
	put("amd/0000:43:00.0/mem_info_vram_total", "206141652992\n");
	put("amd/0000:43:00.0/mem_info_vram_used", "1024\n");
	put("amd/0000:43:00.0/current_link_width", "16\n");
	put("amd/0000:43:00.0/current_link_speed", "32.0 GT/s PCIe\n");
	put("amd/0000:43:00.0/max_link_width", "16\n");
	put("amd/0000:43:00.0/max_link_speed", "32.0 GT/s PCIe\n");
	put("amd/0000:43:00.0/hwmon/hwmon5/temp1_label", "edge\n");
	put("amd/0000:43:00.0/hwmon/hwmon5/temp1_input", "40000\n");
	put("amd/0000:43:00.0/hwmon/hwmon5/temp2_label", "junction\n");
	put("amd/0000:43:00.0/hwmon/hwmon5/temp2_input", "71000\n");
	put("amd/0000:43:00.0/hwmon/hwmon5/temp3_label", "mem\n");
	put("amd/0000:43:00.0/hwmon/hwmon5/temp3_input", "65000\n");
	put("amd/0000:43:00.0/hwmon/hwmon5/power1_average", "550000000\n");
	put("amd/0000:43:00.0/hwmon/hwmon5/power1_cap", "750000000\n");
	put("amd/0000:43:00.0/hwmon/hwmon5/freq1_label", "sclk\n");
	put("amd/0000:43:00.0/hwmon/hwmon5/freq1_input", "2100000000\n");
	put("amd/0000:43:00.0/ras/umc_err_count", "ue: 0\nce: 3\n");
	put("amd/0000:43:00.0/ras/gfx_err_count", "ue: 0\nce: 0\n");
	put("drm/card1/uevent", "\n");
	put("drm/card2/device/vendor", "0x10de\n");
	put("drm/card1-DP-1/status", "\n");
	snprintf(link, sizeof(link), "%s/drm/card1/device", root);
	assert_int_equal(symlink("../../amd/0000:43:00.0", link), 0);
}

static void test_amd(void **state)
{
	struct sysfs_options o = options_at("drm");
	struct worker w;
	struct said s;

	(void)state;
	put_amd_gpu();
	start(&w, "amd", amd_run, &o);
	assert_true(next_record(&w, REC_GPU_DEVICE, &s));
	assert_int_equal(s.device.pci_bus, 0x43);
	assert_string_equal(s.device.uuid, "GPU-f7ac6b1e8d1a1d05");
	assert_int_equal(s.device.memory_bytes, 206141652992);
	assert_int_equal(s.device.pcie_gen_max, 5);
	assert_int_equal(s.device.power_limit_mw, 750000);
	assert_true(next_record(&w, REC_GPU_SAMPLE, &s));
	assert_int_equal(s.sample.utilisation_pct, 87);
	assert_int_equal(s.sample.temperature_c, 71);
	assert_int_equal(s.sample.memory_temperature_c, 65);
	assert_int_equal(s.sample.power_mw, 550000);
	assert_int_equal(s.sample.sm_mhz, 2100);
	assert_int_equal(s.sample.memory_mhz, NONE32);
	assert_int_equal(s.sample.pcie_gen, 5);
	assert_int_equal(s.sample.ecc_uncorrected_volatile, 0);
	assert_int_equal(s.sample.clock_event_reasons, NONE64);
	put("amd/0000:43:00.0/ras/umc_err_count", "ue: 2\nce: 3\n");
	assert_true(next_record(&w, REC_GPU_EVENT, &s));
	assert_int_equal(s.event.event, GPU_EVENT_RAS);
	assert_int_equal(s.event.value, 2);
	assert_string_equal(s.text + sizeof(s.event),
			    "2 uncorrectable errors in umc on GPU 0000:43:00.0 (GPU-f7ac6b1e8d1a1d05, index 0)");
	put("amd/0000:43:00.0/mem_info_vram_used", "%s", "");
	assert_true(next_record(&w, REC_GPU_EVENT, &s));
	assert_int_equal(s.event.event, GPU_EVENT_LOST);
	worker_end(&w);
}

static void test_no_amd(void **state)
{
	struct sysfs_options o = options_at("nowhere");
	struct worker w;
	struct said s;

	(void)state;
	start(&w, "amd", amd_run, &o);
	assert_true(next_of_type(&w, WORKER_STATE, &s));
	assert_int_equal(s.m.kind, SOURCE_ABSENT);
	worker_end(&w);
}

/* ---- InfiniBand ---- */

static void test_infiniband(void **state)
{
	struct sysfs_options o = options_at("ib");
	struct worker w;
	struct said s;

	(void)state;
	put("ib/mlx5_0/ports/1/state", "4: ACTIVE\n");
	put("ib/mlx5_0/ports/1/phys_state", "5: LinkUp\n");
	put("ib/mlx5_0/ports/1/rate", "400 Gb/sec (4X NDR)\n");
	put("ib/mlx5_0/ports/1/lid", "0x1f\n");
	put("ib/mlx5_0/ports/1/link_layer", "InfiniBand\n");
	put("ib/mlx5_0/ports/1/counters/port_rcv_data", "1000\n");
	put("ib/mlx5_0/ports/1/counters/link_downed", "0\n");
	put("ib/mlx5_0/ports/1/hw_counters/packet_seq_err", "7\n");
	put("ib/mlx5_bond_0/ports/1/link_layer", "Ethernet\n");
	put("ib/mlx5_bond_0/ports/1/gid_attrs/ndevs/0", "bond0\n");
	start(&w, "infiniband", infiniband_run, &o);
	assert_true(next_record(&w, REC_IB_PORT, &s));
	assert_string_equal(s.port.device, "mlx5_0");
	assert_int_equal(s.port.state, 4);
	assert_int_equal(s.port.physical_state, 5);
	assert_int_equal(s.port.rate_gbps, 400);
	assert_int_equal(s.port.lid, 0x1f);
	assert_int_equal(s.port.rcv_bytes, 4000);
	assert_int_equal(s.port.packet_seq_err, 7);
	assert_int_equal(s.port.symbol_error, NONE64);
	assert_int_equal(s.port.is_ethernet, 0);
	assert_true(next_record(&w, REC_IB_PORT, &s));
	assert_int_equal(s.port.is_ethernet, 1);
	assert_string_equal(s.port.netdev, "bond0");
	put("ib/mlx5_0/ports/1/state", "1: DOWN\n");
	put("ib/mlx5_0/ports/1/counters/link_downed", "1\n");
	do
		assert_true(next_record(&w, REC_IB_PORT, &s));
	while (s.port.is_ethernet || s.port.state != 1);
	worker_end(&w);
}

/* ---- the host ---- */

static unsigned n_interfaces;
static struct record_netdev interfaces[8];

static void keep_interface(void *ctx, const struct record_netdev *n)
{
	(void)ctx;
	interfaces[n_interfaces++ % 8] = *n;
}

static void test_host(void **state)
{
	struct host_files f;
	struct record_host_sample s;

	(void)state;
	put("proc/stat", "cpu  100 5 30 9000 40 1 2 7 0 0\ncpu0 1 2 3\nintr 5\nprocs_running 3\nprocs_blocked 2\n");
	put("proc/meminfo",
	    "MemTotal:       1000 kB\nMemFree:   1 kB\nMemAvailable:    250 kB\nDirty: 9 kB\nShmem:   12 kB\n"
	    "SwapTotal:      50 kB\nSwapFree:       20 kB\n");
	put("proc/loadavg", "12.34 5.00 1.00 3/400 999\n");
	put("proc/vmstat", "nr_free_pages 1\noom_kill 4\n");
	put("proc/diskstats", "   7 0 loop0 9 0 9000 0 0 0 0 0 0 0 0\n 259 0 nvme0n1 10 0 2000 5 20 0 4000 8 0 77 13\n"
			      " 259 1 nvme0n1p1 10 0 2000 5 20 0 4000 8 0 77 13\n   8 0 sda 1 0 20 1 1 0 40 1 0 3 2\n"
			      "   8 1 sda1 1 0 20 1 1 0 40 1 0 3 2\n 253 0 dm-0 1 0 2000 0 0 0 0 0 0 0 0\n");
	put("proc/pressure/memory",
	    "some avg10=1.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=12.07 avg60=0.00 avg300=0.00 total=1\n");
	host_open(&f, root);
	host_read(&f, &s);
	host_close(&f);
	assert_int_equal(s.cpu_user_ms, 105 * 10);
	assert_int_equal(s.cpu_system_ms, 33 * 10);
	assert_int_equal(s.cpu_steal_ms, 70);
	assert_int_equal(s.running, 3);
	assert_int_equal(s.blocked, 2);
	assert_int_equal(s.memory_total_kib, 1000);
	assert_int_equal(s.memory_available_kib, 250);
	assert_int_equal(s.swap_used_kib, 30);
	assert_int_equal(s.load1_x100, 1234);
	assert_int_equal(s.oom_kills, 4);
	assert_int_equal(s.disk_read_kib, 1010);
	assert_int_equal(s.disk_write_kib, 2020);
	assert_int_equal(s.disk_io_ms, 80);
	assert_int_equal(s.psi_memory_some_x100, 150);
	assert_int_equal(s.psi_memory_full_x100, 1207);
	assert_int_equal(s.psi_io_full_x100, NONE32);	/* a kernel without it */
}

static void test_interfaces(void **state)
{
	struct interfaces all;

	(void)state;
	put("proc/net/dev", "Inter-|   Receive |  Transmit\n face |bytes packets\n"
			    "    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 500 5 1 2 0 0 0 0 700 6 3 0 0 0 0 0\n"
			    "veth12: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n");
	put("sys/class/net/eth0/operstate", "up\n");
	put("sys/class/net/eth0/carrier_changes", "2\n");
	interfaces_open(&all, root);
	interfaces_read(&all, false, keep_interface, NULL);
	assert_int_equal(n_interfaces, 1);		/* the first reading is news */
	assert_string_equal(interfaces[0].name, "eth0");
	assert_int_equal(interfaces[0].is_up, 1);
	assert_int_equal(interfaces[0].rx_bytes, 500);
	assert_int_equal(interfaces[0].rx_errors, 1);
	assert_int_equal(interfaces[0].rx_dropped, 2);
	assert_int_equal(interfaces[0].tx_bytes, 700);
	assert_int_equal(interfaces[0].tx_errors, 3);
	interfaces_read(&all, false, keep_interface, NULL);
	assert_int_equal(n_interfaces, 1);		/* traffic alone is not */
	put("sys/class/net/eth0/carrier_changes", "4\n");
	interfaces_read(&all, false, keep_interface, NULL);
	assert_int_equal(n_interfaces, 2);
	put("proc/net/dev", "%s", "Inter-|\n");
	interfaces_read(&all, true, keep_interface, NULL);
	assert_int_equal(n_interfaces, 2);		/* it went away */
	assert_int_equal(all.n, 0);
	interfaces_close(&all);
}

/* ---- file systems ---- */

static void test_file_systems(void **state)
{
	struct config c = { .ring_dir = (char *)"/proc/nowhere", .bundle_dir = (char *)"/",
			    .logs = { .item = { (char *)"/tmp/*/rank*.log", (char *)"/proc/version" }, .n = 2 } };
	struct file_systems all;
	struct worker w;
	struct said s;
	uint32_t roles = 0;

	(void)state;
	file_systems_of(&c, &all);
	all.period_ms = 5;
	start(&w, "filesystems", filesystems_run, &all);
	for (int i = 0; i < 3; i++) {
		assert_true(next_record(&w, REC_FILE_SYSTEM, &s));
		roles |= s.fs.role;
		assert_true(s.text[sizeof(s.fs)] == '/');
		assert_true(s.fs.type[0]);
	}
	assert_true(roles & FILE_SYSTEM_LOG);
	assert_true(roles & FILE_SYSTEM_RING);
	worker_end(&w);
}

/* What a worker asked for when it fell silent is left out by the next one, until it answers. */
static void test_hung_file_system(void **state)
{
	struct file_systems all = { .asking = ASKING_NOTHING, .n = 3 };

	(void)state;
	filesystems_note(&all, ASKING_BEGINS);
	filesystems_note(&all, 0);
	filesystems_note(&all, 1);
	assert_int_equal(all.hung, 1u << 1);		/* 0 answered; 1 did not so far */
	filesystems_note(&all, ASKING_BEGINS);		/* the worker was abandoned */
	filesystems_note(&all, 0);
	filesystems_note(&all, 2);
	filesystems_note(&all, ASKING_NOTHING);
	assert_int_equal(all.hung, 1u << 1);
	filesystems_note(&all, 1);			/* asked again, and it answers */
	filesystems_note(&all, ASKING_NOTHING);
	assert_int_equal(all.hung, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest with_library[] = {
		cmocka_unit_test(test_identities_and_values),
		cmocka_unit_test(test_values_that_change),
		cmocka_unit_test(test_xid_is_recorded_and_told),
		cmocka_unit_test(test_gpu_is_lost),
		cmocka_unit_test(test_gpu_lost_from_the_start),
		cmocka_unit_test(test_hung_call),
		cmocka_unit_test(test_no_driver),
		cmocka_unit_test(test_amd),
		cmocka_unit_test(test_no_amd),
		cmocka_unit_test(test_infiniband),
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_interfaces),
		cmocka_unit_test(test_file_systems),
		cmocka_unit_test(test_hung_file_system),
	};
	const struct CMUnitTest with_older[] = { cmocka_unit_test(test_older_library) };
	const struct CMUnitTest without[] = { cmocka_unit_test(test_no_library) };
	const char *which = argc > 1 ? argv[1] : "";

	if (strcmp(which, "older") == 0)
		return cmocka_run_group_tests(with_older, make_root, remove_root);
	if (strcmp(which, "without") == 0)
		return cmocka_run_group_tests(without, make_root, remove_root);
	return cmocka_run_group_tests(with_library, make_root, remove_root);
}
