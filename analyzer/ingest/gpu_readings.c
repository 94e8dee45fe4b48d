#include "analyzer/ingest/gpu_readings.h"

#include <fnmatch.h>
#include <strings.h>

#include "analyzer/identity.h"
#include "bundle/cleanup.h"

#define UNKNOWN_ERRORS 3		/* one alone is a sensor that the board lacks */

/* How a reading counts. */
enum how {
	TEXT,		/* any value but "N/A" and its like */
	COUNT,		/* a number above 0 */
	FLAG,		/* "Yes" and its like */
	WANTED,		/* any value but "None": the text is kept as the name */
	UNREACHED,	/* "In Progress" or "Not Started" */
};

/*
 * Paths below a GPU, as fnmatch(3) patterns: the XML's names moved from driver 4xx to 59x, and
 * the text's are those of nvidia-smi's own screen.
 */
static const struct {
	const char *path;
	enum reading_id id;
	enum how how;
} paths[] = {
	{ "/product_name", PRODUCT, TEXT },
	{ "/uuid", UUID, TEXT },
	{ "/minor_number", MINOR, TEXT },
	{ "/pci/pci_bus_id", BUS_ID, TEXT },
	{ "/fb_memory_usage/total", MEM_TOTAL, TEXT },
	{ "/fb_memory_usage/used", MEM_USED, TEXT },
	{ "/utilization/gpu_util", UTIL, TEXT },
	{ "/temperature/gpu_temp", TEMP, TEXT },
	{ "/pci/pci_gpu_link_info/link_widths/current_link_width", WIDTH, TEXT },
	{ "/pci/pci_gpu_link_info/link_widths/max_link_width", MAX_WIDTH, TEXT },
	{ "/pci/pci_gpu_link_info/pcie_gen/current_link_gen", GEN, TEXT },
	{ "/pci/pci_gpu_link_info/pcie_gen/max_link_gen", MAX_GEN, TEXT },
	{ "/ecc_errors/volatile/dram_uncorrectable", DRAM, COUNT },
	{ "/ecc_errors/volatile/double_bit/device_memory", DRAM, COUNT },
	{ "/ecc_errors/volatile/sram_uncorrectable*", SRAM, COUNT },
	{ "/ecc_errors/volatile/double_bit/[!dt]*", SRAM, COUNT },	/* caches, registers, cbu */
	{ "/ecc_errors/volatile/double_bit/texture*", SRAM, COUNT },
	{ "/mig_devices/mig_device/ecc_error_count/volatile_count/sram_uncorrectable", SRAM, COUNT },
	{ "/ecc_errors/aggregate/?ram_uncorrectable*", AGGREGATE, COUNT },
	{ "/ecc_errors/aggregate/double_bit/total", AGGREGATE, COUNT },
	{ "/remapped_rows/*pending", REMAP_PENDING, FLAG },
	{ "/remapped_rows/*fail*", REMAP_FAILED, FLAG },
	{ "/clocks_*_reasons/clocks_*_reason_?w_thermal_slowdown", THERMAL, FLAG },
	{ "/clocks_*_reasons/clocks_*_reason_hw_power_brake_slowdown", BRAKE, FLAG },
	{ "/gpu_recovery_action", ACTION, WANTED },
	{ "/gpu_reset_status/*re*", ACTION, FLAG },
	{ "/processes/process_info/pid", PROC_PID, TEXT },
	{ "/processes/process_info/process_name", PROC_NAME, TEXT },
	{ "/processes/process_info/used_memory", PROC_MEM, TEXT },
	{ "/fabric/state", FABRIC, UNREACHED },
	{ "/fabric/health/*", FABRIC_FAULT, FLAG },
	/* nvidia-smi -q */
	{ "/gpu_uuid", UUID, TEXT },
	{ "/pci/bus_id", BUS_ID, TEXT },
	{ "/pci/gpu_link_info/link_width/current", WIDTH, TEXT },
	{ "/pci/gpu_link_info/link_width/max", MAX_WIDTH, TEXT },
	{ "/pci/gpu_link_info/pcie_generation/current", GEN, TEXT },
	{ "/pci/gpu_link_info/pcie_generation/max", MAX_GEN, TEXT },
	{ "/utilization/gpu", UTIL, TEXT },
	{ "/temperature/gpu_current_temp", TEMP, TEXT },
	{ "/clocks_*_reasons/?w_thermal_slowdown", THERMAL, FLAG },
	{ "/clocks_*_reasons/hw_slowdown/hw_thermal_slowdown", THERMAL, FLAG },
	{ "/clocks_*_reasons/hw_slowdown/hw_power_brake_slowdown", BRAKE, FLAG },
	{ "/processes/process_id", PROC_PID, TEXT },
	{ "/processes/process_id/name", PROC_NAME, TEXT },
	{ "/processes/process_id/used_gpu_memory", PROC_MEM, TEXT },
	/* the table of nvidia-smi */
	{ "/name", PRODUCT, TEXT },
	{ "/uncorrected_ecc", UNCORRECTED, COUNT },
	/* amd-smi */
	{ "/asic/market_name", PRODUCT, TEXT },
	{ "/asic/asic_serial", UUID, TEXT },
	{ "/bus/bdf", BUS_ID, TEXT },
	{ "/usage/gfx_activity", UTIL, TEXT },
	{ "/mem_usage/total_vram", MEM_TOTAL, TEXT },
	{ "/mem_usage/used_vram", MEM_USED, TEXT },
	{ "/temperature/hotspot", TEMP, TEXT },
	{ "/ecc/total_uncorrectable_count", UNCORRECTED, COUNT },
	/* rocm-smi */
	{ "/card_series", PRODUCT, TEXT },
	{ "/unique_id", UUID, TEXT },
	{ "/pci_bus", BUS_ID, TEXT },
	{ "/gpu_use", UTIL, TEXT },
	{ "/vram_total_memory_b", MEM_TOTAL, TEXT },
	{ "/vram_total_used_memory_b", MEM_USED, TEXT },
	{ "/temperature_sensor_junction_c", TEMP, TEXT },
	{ "/ras/*_uncorrectable", UNCORRECTED, COUNT },
};

/* Facts that are observations as they stand. */
static const struct {
	enum reading_id id;
	const char *kind;
	const char *field;	/* name of the field that holds which elements said so */
	bool count;
} facts[] = {
	{ DRAM, "gpu.ecc_uncorrectable", "counter", true },
	{ SRAM, "gpu.sram_ecc", "counter", true },
	{ REMAP_PENDING, "gpu.row_remap_pending", NULL, false },
	{ REMAP_FAILED, "gpu.row_remap_failed", NULL, false },
	{ THERMAL, "gpu.thermal", "reason", false },
	{ BRAKE, "gpu.power_brake", "reason", false },
	{ ACTION, "gpu.recovery_action", "action", false },
	{ FABRIC, "fabric.not_ready", "state", false },
	{ FABRIC_FAULT, "fabric.degraded", "what", false },
	{ UNCORRECTED, "gpu.ecc_counter", "counter", true },
};

/* ---- one GPU's observations ---- */

static int64_t number_of(const struct reading *x)
{
	return span_number(span_of(x->text, strlen(x->text)));
}

static struct observation observation_here(struct gpu_reader *r, const char *kind)
{
	struct observation o = citer_observation(&r->c, kind, SRC_DRIVER);

	o.scope.rank = RANK_NONE;	/* the host's file names GPUs, not ranks */
	o.scope.gpu = gpu_canonical(&r->c.s->strings, r->id, strlen(r->id));
	o.time = r->time;
	return o;
}

static void field(struct gpu_reader *r, struct observation *o, const char *name, const char *value)
{
	if (value[0])
		observation_fieldf(r->c.s, o, name, "%s", value);
}

static void emit_state(struct gpu_reader *r)
{
	struct observation o = observation_here(r, "gpu.state");

	field(r, &o, "product", r->gpu[PRODUCT].text);
	field(r, &o, "uuid", r->gpu[UUID].text);
	field(r, &o, "driver", r->driver);
	observation_fieldf(r->c.s, &o, "index", "%u", r->n_gpus);
	field(r, &o, "minor", r->gpu[MINOR].text);
	field(r, &o, "memory_used", r->gpu[MEM_USED].text);
	field(r, &o, "memory_total", r->gpu[MEM_TOTAL].text);
	field(r, &o, "utilization", r->gpu[UTIL].text);
	if (r->n_processes)
		observation_fieldf(r->c.s, &o, "processes", "%u", r->n_processes);
	field(r, &o, "pids", r->pids);
	field(r, &o, "largest_process", r->largest);
	if (r->gpu[AGGREGATE].n)
		observation_fieldf(r->c.s, &o, "aggregate_uncorrectable", "%llu",
				   (unsigned long long)r->gpu[AGGREGATE].total);
	citer_cite(&r->c, &o, r->at);
	citer_cite(&r->c, &o, r->gpu[UUID].at[0]);
	citer_cite(&r->c, &o, r->gpu[AGGREGATE].at[0]);
	store_observe(r->c.s, &o);
}

static void emit_facts(struct gpu_reader *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(facts); i++) {
		const struct reading *x = &r->gpu[facts[i].id];
		struct observation o = observation_here(r, facts[i].kind);

		if (x->n == 0)
			continue;
		if (facts[i].field)
			field(r, &o, facts[i].field, x->text);
		if (facts[i].count)
			observation_fieldf(r->c.s, &o, "count", "%llu", (unsigned long long)x->total);
		for (unsigned k = 0; k < x->n && k < GPU_PLACES; k++)
			citer_cite(&r->c, &o, x->at[k]);
		if (facts[i].id == THERMAL)
			citer_cite(&r->c, &o, r->gpu[TEMP].at[0]);
		store_observe(r->c.s, &o);
	}
}

static void add_text(struct gpu_reader *r, struct observation *o, const char *name, enum reading_id id)
{
	field(r, o, name, r->gpu[id].text);
	citer_cite(&r->c, o, r->gpu[id].at[0]);
}

/* A narrow link always counts; a slow one only under load, for ASPM lowers idle links. */
static void emit_link(struct gpu_reader *r)
{
	int64_t width = number_of(&r->gpu[WIDTH]), gen = number_of(&r->gpu[GEN]);
	bool narrow = width > 0 && width < number_of(&r->gpu[MAX_WIDTH]);
	bool slow = gen > 0 && gen < number_of(&r->gpu[MAX_GEN]) && number_of(&r->gpu[UTIL]) > 0;
	struct observation o = observation_here(r, "pcie.link_degraded");

	if (narrow) {
		add_text(r, &o, "width", WIDTH);
		add_text(r, &o, "max_width", MAX_WIDTH);
	}
	if (slow) {
		add_text(r, &o, "gen", GEN);
		add_text(r, &o, "max_gen", MAX_GEN);
		citer_cite(&r->c, &o, r->gpu[UTIL].at[0]);
	}
	if (narrow || slow)
		store_observe(r->c.s, &o);
}

static void emit_lost(struct gpu_reader *r)
{
	bool lost = r->gpu[LOST].n > 0;
	const struct reading *x = &r->gpu[lost ? LOST : UNKNOWN];
	struct observation o = observation_here(r, "gpu.lost");

	if (!lost && x->n < UNKNOWN_ERRORS)
		return;
	field(r, &o, "reading", lost ? "GPU is lost" : "Unknown Error");
	citer_cite(&r->c, &o, r->at);
	for (unsigned k = 0; k < x->n && k < GPU_PLACES; k++)
		citer_cite(&r->c, &o, x->at[k]);
	store_observe(r->c.s, &o);
}

void gpu_reader_close(struct gpu_reader *r)
{
	if (!r->open)
		return;
	/* an index is no name where an address is known */
	if ((!r->id[0] || strlen(r->id) < 4) && (r->gpu[BUS_ID].n || !r->id[0]))
		snprintf(r->id, sizeof(r->id), "%.47s",
			 r->gpu[BUS_ID].n ? r->gpu[BUS_ID].text : r->gpu[UUID].text);
	emit_state(r);
	emit_lost(r);
	emit_facts(r);
	emit_link(r);
	r->n_gpus++;
	r->open = false;
}

/* ---- values ---- */

void gpu_reader_open(struct gpu_reader *r, struct span id, struct place at)
{
	size_t n = id.len < sizeof(r->id) ? id.len : 0;

	gpu_reader_close(r);
	memset(r->gpu, 0, sizeof(r->gpu));
	r->open = true;
	r->at = at;
	r->n_processes = 0;
	r->pids[0] = r->largest[0] = '\0';
	r->largest_mib = 0;
	memcpy(r->id, id.s, n);
	r->id[n] = '\0';
}


static void remember(struct reading *x, struct place at)
{
	if (x->n < GPU_PLACES)
		x->at[x->n] = at;
	x->n++;
}

static void append_name(struct reading *x, const char *name)
{
	size_t used = strlen(x->text);

	snprintf(x->text + used, sizeof(x->text) - used, "%s%s", used ? " " : "", name);
}

static bool says_nothing(const char *text)
{
	static const char *const nothing[] = { "", "N/A", "[N/A]", "Not Supported", "[Not Supported]",
					       "Unknown Error", "[Unknown Error]", "ERR!",
					       "GPU is lost", "[GPU is lost]" };

	for (size_t i = 0; i < ARRAY_SIZE(nothing); i++)
		if (strcasecmp(text, nothing[i]) == 0)
			return true;
	return strncmp(text, "Requested functionality", 23) == 0;	/* "... has been deprecated" */
}

static void take_reading(struct gpu_reader *r, size_t i, const char *path, const char *text, struct place at)
{
	struct reading *x = &r->gpu[paths[i].id];
	const char *name = strrchr(path, '/') + 1, *reason = strstr(name, "_reason_");
	int64_t n = span_number(span_of(text, strlen(text)));
	bool yes = !strcmp(text, "Yes") || !strcmp(text, "Active") || !strcmp(text, "True") || !strcmp(text, "Degraded");

	if (says_nothing(text))
		return;
	switch (paths[i].how) {
	case TEXT:
		snprintf(x->text, sizeof(x->text), "%.*s", (int)sizeof(x->text) - 1, text);
		x->n = 0;	/* the last of several holds */
		break;
	case COUNT:
		if (n <= 0)
			return;
		x->total += (uint64_t)n;
		append_name(x, name);
		break;
	case FLAG:
		if (!yes)
			return;
		append_name(x, reason ? reason + strlen("_reason_") : name);
		break;
	case WANTED:
		if (strcmp(text, "None") == 0)
			return;
		append_name(x, text);
		break;
	case UNREACHED:
		if (strcmp(text, "In Progress") && strcmp(text, "Not Started"))
			return;
		append_name(x, text);
		break;
	}
	remember(x, at);
}

void gpu_reader_take(struct gpu_reader *r, const char *path, const char *text, struct place at)
{
	if (strcasestr(text, "GPU is lost"))
		remember(&r->gpu[LOST], at);
	else if (strcasestr(text, "Unknown Error") || strcmp(text, "ERR!") == 0)
		remember(&r->gpu[UNKNOWN], at);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (fnmatch(paths[i].path, path, FNM_PATHNAME) == 0) {
			take_reading(r, i, path, text, at);
			return;
		}
}

/* A process that holds memory of this GPU. */
void gpu_reader_process(struct gpu_reader *r)
{
	int64_t pid = number_of(&r->gpu[PROC_PID]), mib = number_of(&r->gpu[PROC_MEM]);
	struct rank_identity id = { .rank = RANK_NONE, .local_rank = RANK_NONE,
				    .trust = TRUST_LAUNCHER };
	size_t used = strlen(r->pids);

	if (pid > 0 && pid <= INT32_MAX) {
		r->n_processes++;
		if (used + 12 < sizeof(r->pids))
			sprintf(r->pids + used, "%s%lld", used ? " " : "", (long long)pid);
		id.pid = (int32_t)pid;
		id.host = r->c.s->members[r->c.member].host;
		id.gpu = gpu_canonical(&r->c.s->strings, r->id, strlen(r->id));
		identity_learn(r->c.s, &id);
	}
	if (pid > 0 && mib > r->largest_mib) {
		r->largest_mib = mib;
		snprintf(r->largest, sizeof(r->largest), "%s (pid %lld): %s",
			 r->gpu[PROC_NAME].n ? r->gpu[PROC_NAME].text : "?", (long long)pid,
			 r->gpu[PROC_MEM].text);
	}
	for (int i = PROC_PID; i <= PROC_MEM; i++)
		r->gpu[i] = (struct reading){ 0 };
}

void gpu_reader_top(struct gpu_reader *r, const char *path, const char *text, struct place at)
{
	if (strcmp(path, "/timestamp") == 0) {
		r->time = span_time(span_of(text, strlen(text)));
	} else if (strcmp(path, "/driver_version") == 0) {
		snprintf(r->driver, sizeof(r->driver), "%.*s", (int)sizeof(r->driver) - 1, text);
	} else if (strcmp(path, "/attached_gpus") == 0) {
		r->attached = span_number(span_of(text, strlen(text)));
		r->attached_at = at;
	}
}

/* `nvidia-smi -i` lists fewer than are attached, too, but then it lists few. */
void gpu_reader_end(struct gpu_reader *r, bool whole)
{
	struct observation o;
	int64_t listed;

	gpu_reader_close(r);
	o = observation_here(r, "gpu.missing");
	listed = r->n_gpus;
	if (!whole || r->attached <= listed || r->attached > 2 * listed)
		return;
	o.scope.gpu = 0;
	observation_fieldf(r->c.s, &o, "attached", "%lld", (long long)r->attached);
	observation_fieldf(r->c.s, &o, "listed", "%u", r->n_gpus);
	citer_cite(&r->c, &o, r->attached_at);
	store_observe(r->c.s, &o);
}

