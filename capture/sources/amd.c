/*
 * AMD GPUs, through the amdgpu driver's files in sysfs.
 *
 * Many of them are answered by the device's firmware, so a worker reads them.
 * Memory-error counts (ras/) are asked for at every tenth sample only.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/sources/gpu_message.h"
#include "capture/sources/sources.h"
#include "capture/sources/sysfs.h"
#include "capture/sources/text_file.h"
#include "capture/sources/ticks.h"

#define GPUS_MAX 64
#define BLOCKS_MAX 24		/* parts of a GPU that count errors */
#define SLOW_TICKS 10
#define DEVICE_TICKS 600
#define BUDGET_NS (15 * NS_PER_S)
#define VENDOR_AMD 0x1002

struct amd_gpu {
	struct record_gpu_device identity;
	struct record_gpu_sample s;
	char address[32];		/* "0000:43:00.0" */
	int busy, memory_busy, memory_used, replay, width, speed;	/* descriptors */
	int power, sm_clock, memory_clock, temperature, memory_temperature;
	struct {
		int fd;
		char name[24];
		uint64_t uncorrectable;
	} block[BLOCKS_MAX];
	size_t n_blocks;
};

struct amd_gpus {
	struct amd_gpu gpu[GPUS_MAX];
	size_t n;
};

/* "16.0 GT/s PCIe" is generation 4. */
static uint32_t generation(const char *speed)
{
	static const uint32_t gt_x100[] = { 250, 500, 800, 1600, 3200, 6400 };
	uint64_t v = text_hundredths(speed);

	for (uint32_t i = 0; i < ARRAY_SIZE(gt_x100); i++)
		if (v == gt_x100[i])
			return i + 1;
	return UINT32_MAX;
}

static uint32_t narrow(uint64_t v)
{
	return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

/* The sensor of a kind ("temp", "freq") that has this label; -1 when there is none. */
static int sensor(int dir, const char *kind, const char *label)
{
	char name[48], text[32];

	for (int i = 1; i <= 8; i++) {
		snprintf(name, sizeof(name), "%s%d_label", kind, i);
		text_file_once(dir, name, text, sizeof(text));
		if (strcmp(text, label))
			continue;
		snprintf(name, sizeof(name), "%s%d_input", kind, i);
		return text_file_open(dir, name);
	}
	return -1;
}

static void open_sensors(struct amd_gpu *g, const char *device)
{
	char path[640];

	g->power = g->sm_clock = g->memory_clock = g->temperature = g->memory_temperature = -1;
	snprintf(path, sizeof(path), "%s/hwmon", device);

	_cleanup_sysfs_ struct sysfs_list monitors = sysfs_list(path);

	if (!monitors.n)
		return;
	snprintf(path, sizeof(path), "%s/hwmon/%s", device, monitors.name[0]);

	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t limit_uw = text_file_number_once(dir, "power1_cap");

	g->temperature = sensor(dir, "temp", "junction");
	if (g->temperature < 0)
		g->temperature = text_file_open(dir, "temp1_input");
	g->memory_temperature = sensor(dir, "temp", "mem");
	g->power = text_file_open(dir, "power1_average");
	if (g->power < 0)
		g->power = text_file_open(dir, "power1_input");
	g->sm_clock = sensor(dir, "freq", "sclk");
	g->memory_clock = sensor(dir, "freq", "mclk");
	g->identity.power_limit_mw = limit_uw == UINT64_MAX ? UINT32_MAX : narrow(limit_uw / 1000);
}

static void open_blocks(struct amd_gpu *g, const char *device)
{
	static const char suffix[] = "_err_count";
	char path[640];

	snprintf(path, sizeof(path), "%s/ras", device);

	_cleanup_sysfs_ struct sysfs_list files = sysfs_list(path);
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < files.n && g->n_blocks < BLOCKS_MAX; i++) {
		size_t len = strlen(files.name[i]), tail = sizeof(suffix) - 1;

		if (len <= tail || strcmp(files.name[i] + len - tail, suffix))
			continue;
		g->block[g->n_blocks].fd = text_file_open(dir, files.name[i]);
		g->block[g->n_blocks].uncorrectable = UINT64_MAX;
		snprintf(g->block[g->n_blocks].name, sizeof(g->block[0].name), "%.*s", (int)(len - tail),
			 files.name[i]);
		g->n_blocks++;
	}
}

static void read_identity(struct amd_gpu *g, int dir, const char *device)
{
	char text[128], link[512];
	ssize_t n = readlink(device, link, sizeof(link) - 1);
	const char *at = NULL;

	link[n > 0 ? n : 0] = 0;
	snprintf(g->address, sizeof(g->address), "%.31s", strrchr(link, '/') ? strrchr(link, '/') + 1 : link);
	g->identity.pci_domain = (uint32_t)strtoul(g->address, (char **)&at, 16);
	g->identity.pci_bus = *at == ':' ? (uint32_t)strtoul(at + 1, (char **)&at, 16) : UINT32_MAX;
	g->identity.pci_device = *at == ':' ? (uint32_t)strtoul(at + 1, NULL, 16) : UINT32_MAX;
	g->identity.vendor = VENDOR_AMD;
	text_file_once(dir, "unique_id", text, sizeof(text));
	snprintf(g->identity.uuid, sizeof(g->identity.uuid), "%s%s", text[0] ? "GPU-" : "", text);
	text_file_once(dir, "product_name", text, sizeof(text));
	snprintf(g->identity.name, sizeof(g->identity.name), "%s", text[0] ? text : "AMD GPU");
	g->identity.memory_bytes = text_file_number_once(dir, "mem_info_vram_total");
	g->identity.pcie_width_max = narrow(text_file_number_once(dir, "max_link_width"));
	text_file_once(dir, "max_link_speed", text, sizeof(text));
	g->identity.pcie_gen_max = generation(text);
	g->identity.power_limit_mw = UINT32_MAX;
}

static void open_gpu(struct amd_gpus *all, const char *root, const char *card)
{
	struct amd_gpu *g = &all->gpu[all->n];
	char device[512];

	snprintf(device, sizeof(device), "%s/%s/device", root, card);

	_cleanup_close_ int dir = open(device, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0 || text_file_number_once(dir, "vendor") != VENDOR_AMD)
		return;
	*g = (struct amd_gpu){ .identity.index = (uint32_t)all->n };
	read_identity(g, dir, device);
	g->busy = text_file_open(dir, "gpu_busy_percent");
	g->memory_busy = text_file_open(dir, "mem_busy_percent");
	g->memory_used = text_file_open(dir, "mem_info_vram_used");
	g->replay = text_file_open(dir, "pcie_replay_count");
	g->width = text_file_open(dir, "current_link_width");
	g->speed = text_file_open(dir, "current_link_speed");
	memset(&g->s, 0xff, sizeof(g->s));
	g->s.index = g->identity.index;
	g->s.reserved = 0;
	open_sensors(g, device);
	open_blocks(g, device);
	all->n++;
}

static void report(struct worker_link *l, const struct amd_gpu *g, enum gpu_event event, uint64_t value,
		   const char *what)
{
	struct gpu_message m = { .e = { .index = g->identity.index, .event = event, .value = value } };
	int n = snprintf(m.text, sizeof(m.text), "%s on GPU %s (%s, index %u)", what, g->address, g->identity.uuid,
			 g->identity.index);

	gpu_message_send(l, loop_now(), &m, (size_t)n);
}

static void read_blocks(struct worker_link *l, struct amd_gpu *g)
{
	uint64_t total = 0;

	for (size_t i = 0; i < g->n_blocks; i++) {
		char text[128], what[96];
		uint64_t v;

		text_file_read(g->block[i].fd, text, sizeof(text));
		v = text_value(text, "ue:");
		if (v == UINT64_MAX)
			continue;
		total += v;
		snprintf(what, sizeof(what), "%llu uncorrectable errors in %s", (unsigned long long)v,
			 g->block[i].name);
		if (g->block[i].uncorrectable != UINT64_MAX && v > g->block[i].uncorrectable)
			report(l, g, GPU_EVENT_RAS, v, what);
		g->block[i].uncorrectable = v;
	}
	g->s.ecc_uncorrected_volatile = g->n_blocks ? total : UINT64_MAX;
}

static uint32_t scaled(int fd, uint64_t divisor)
{
	uint64_t v = text_file_number(fd);

	return v == UINT64_MAX ? UINT32_MAX : narrow(v / divisor);
}

static void sample(struct worker_link *l, struct amd_gpu *g, bool slow)
{
	struct record_gpu_sample *s = &g->s;
	bool was_lost = s->lost == 1;
	char speed[64];

	s->utilisation_pct = scaled(g->busy, 1);
	s->memory_utilisation_pct = scaled(g->memory_busy, 1);
	s->memory_used_bytes = text_file_number(g->memory_used);
	s->sm_mhz = scaled(g->sm_clock, 1000000);
	s->memory_mhz = scaled(g->memory_clock, 1000000);
	s->temperature_c = scaled(g->temperature, 1000);
	s->memory_temperature_c = scaled(g->memory_temperature, 1000);
	s->power_mw = scaled(g->power, 1000);
	s->pcie_width = scaled(g->width, 1);
	text_file_read(g->speed, speed, sizeof(speed));
	s->pcie_gen = generation(speed);
	/* A device that went away takes its files along: the driver always tells the memory in use. */
	s->lost = g->memory_used >= 0 && s->memory_used_bytes == UINT64_MAX;
	if (s->lost && !was_lost)
		report(l, g, GPU_EVENT_LOST, 0, "the driver does not answer");
	if (slow) {
		s->pcie_replay = text_file_number(g->replay);
		read_blocks(l, g);
	}
	worker_record(l, STREAM_GPU, REC_GPU_SAMPLE, loop_now(), s, sizeof(*s), NULL, 0);
}

void amd_run(struct worker_link *l, void *ctx)
{
	const struct sysfs_options *opt = ctx;
	struct ticks ticks = ticks_every(opt->sample_ms);
	_cleanup_sysfs_ struct sysfs_list cards = sysfs_list(opt->root);
	_cleanup_free_ struct amd_gpus *all = calloc(1, sizeof(*all));

	if (!all)
		return;
	for (size_t i = 0; i < cards.n && all->n < GPUS_MAX; i++)
		if (strncmp(cards.name[i], "card", 4) == 0 && !strchr(cards.name[i], '-'))
			open_gpu(all, opt->root, cards.name[i]);
	if (!all->n) {
		worker_state(l, SOURCE_ABSENT, "no AMD GPU below %s", opt->root);
		return;
	}
	worker_state(l, SOURCE_OK, "%zu GPUs", all->n);
	for (uint64_t tick = 0;; tick++) {
		for (size_t i = 0; i < all->n; i++) {
			if (tick % DEVICE_TICKS == 0)
				worker_record(l, STREAM_GPU, REC_GPU_DEVICE, loop_now(), &all->gpu[i].identity,
					      sizeof(all->gpu[i].identity), NULL, 0);
			sample(l, &all->gpu[i], tick % SLOW_TICKS == 0);
		}
		worker_alive(l);
		if (!ticks_wait(&ticks, l))
			return;
	}
}

static int amd_start(struct capture *c, void **ret, struct error *err)
{
	return sysfs_start(c, "amd", "/sys/class/drm", amd_run, BUDGET_NS, gpu_message_trigger, ret, err);
}

const struct source source_amd = {
	.name = "amd",
	.what = "AMD GPUs: health, load, clocks",
	.start = amd_start,
	.stop = sysfs_stop,
};
