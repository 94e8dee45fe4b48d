/* What one GPU says about itself, field by field: what it does not say is all ones. */
#include "capture/sources/nvml.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "bundle/cleanup.h"

bool nvml_load(struct nvml *n, char *why, size_t size)
{
	*n = (struct nvml){ .library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL) };
	if (!n->library) {
		snprintf(why, size, "%s", dlerror());
		return false;
	}
#define F(name, symbol, args) n->name = (nvml_return(*) args)dlsym(n->library, symbol);
	NVML_FUNCTIONS(F)
#undef F
	n->error_string = (const char *(*)(nvml_return))dlsym(n->library, "nvmlErrorString");
	if (n->init && n->count && n->handle)
		return true;
	snprintf(why, size, "libnvidia-ml.so.1 lacks %s",
		 !n->init ? "nvmlInit_v2" : !n->count ? "nvmlDeviceGetCount_v2" : "nvmlDeviceGetHandleByIndex_v2");
	return false;
}

const char *nvml_error(const struct nvml *n, nvml_return status)
{
	const char *text = n->error_string ? n->error_string(status) : NULL;

	return text ? text : "NVML error";
}

/* ---- one reading ---- */

/* Several calls to one device: the first answer that means "gone" ends it, what was not read is all ones. */
struct reading {
	nvml_return gone;
};

static bool answered(struct reading *r, nvml_return status)
{
	if (status == NVML_GPU_IS_LOST || status == NVML_RESET_REQUIRED)
		r->gone = status;
	return status == NVML_SUCCESS;
}

/* Ask for one number into `field`; all ones when it cannot be told. */
#define ASK(r, n, field, fn, ...) \
	do { \
		if ((r)->gone || !answered((r), NVML_CALL((n), fn, __VA_ARGS__))) \
			memset((field), 0xff, sizeof(*(field))); \
	} while (0)

static void ask_text(struct reading *r, nvml_return (*fn)(struct nvml_device *, char *, unsigned int),
		     struct nvml_device *d, char *ret, unsigned int size)
{
	if (r->gone || !fn || !answered(r, fn(d, ret, size)))
		ret[0] = 0;
	ret[size - 1] = 0;
}

nvml_return nvml_identify(const struct nvml *n, struct nvml_gpu *g)
{
	struct record_gpu_device *id = &g->identity;
	struct nvml_pci pci = { 0 };
	struct nvml_memory memory;
	struct reading r = { 0 };
	char uuid[96], name[96], driver[96] = "";

	ASK(&r, n, &pci, pci, g->device, &pci);
	id->pci_domain = pci.domain;
	id->pci_bus = pci.bus;
	id->pci_device = pci.device;
	ask_text(&r, n->uuid, g->device, uuid, sizeof(uuid));
	ask_text(&r, n->name, g->device, name, sizeof(name));
	if (NVML_CALL(n, driver_version, driver, sizeof(driver)))
		driver[0] = 0;
	snprintf(id->uuid, sizeof(id->uuid), "%s", uuid);
	snprintf(id->name, sizeof(id->name), "%s", name);
	snprintf(id->driver, sizeof(id->driver), "%s", driver);
	id->vendor = 0x10de;
	ASK(&r, n, &id->pcie_width_max, pcie_width_max, g->device, &id->pcie_width_max);
	ASK(&r, n, &id->pcie_gen_max, pcie_gen_max, g->device, &id->pcie_gen_max);
	ASK(&r, n, &id->power_limit_mw, power_limit, g->device, &id->power_limit_mw);
	ASK(&r, n, &memory, memory, g->device, &memory);
	id->memory_bytes = memory.total;
	return r.gone;
}

/* ---- NVLink ---- */

static uint64_t field_number(const struct nvml_field *f)
{
	if (f->status)
		return UINT64_MAX;
	switch (f->type) {
	case NVML_VALUE_U32: return f->value.u32;
	case NVML_VALUE_ULONG:
	case NVML_VALUE_U64: return f->value.u64;
	case NVML_VALUE_S64: return f->value.s64 < 0 ? UINT64_MAX : (uint64_t)f->value.s64;
	case NVML_VALUE_S32: return f->value.s32 < 0 ? UINT64_MAX : (uint64_t)f->value.s32;
	case NVML_VALUE_U16: return f->value.u16;
	default: return UINT64_MAX;
	}
}

/* Add what is known; all ones stand for a sum of which nothing is known. */
static void sum_known(uint64_t *sum, uint64_t v)
{
	if (v != UINT64_MAX)
		*sum = (*sum == UINT64_MAX ? 0 : *sum) + v;
}

/* Totals over all links in one call; on generations that do not have them, link by link. */
static uint64_t link_errors(struct reading *r, const struct nvml *n, struct nvml_gpu *g, uint32_t active_links)
{
	struct nvml_field f[] = {
		{ .id = NVML_FIELD_LINK_CRC_FLIT }, { .id = NVML_FIELD_LINK_CRC_DATA },
		{ .id = NVML_FIELD_LINK_REPLAY }, { .id = NVML_FIELD_LINK_RECOVERY },
	};
	uint64_t sum = UINT64_MAX;

	if (!r->gone && answered(r, NVML_CALL(n, fields, g->device, (int)ARRAY_SIZE(f), f)))
		for (size_t i = 0; i < ARRAY_SIZE(f); i++)
			sum_known(&sum, field_number(&f[i]));
	if (sum != UINT64_MAX)
		return sum;
	for (unsigned int link = 0; link < NVML_LINKS_MAX; link++)
		for (int counter = 0; counter < NVML_LINK_COUNTERS && active_links & 1u << link && !r->gone;
		     counter++) {
			unsigned long long v;

			ASK(r, n, &v, link_errors, g->device, link, counter, &v);
			sum_known(&sum, v);
		}
	return sum;
}

static void read_links(struct reading *r, const struct nvml *n, struct nvml_gpu *g)
{
	struct record_gpu_sample *s = &g->last;
	uint32_t active_links = 0, seen = 0;

	s->nvlink_active = s->nvlink_inactive = 0;
	for (unsigned int link = 0; link < NVML_LINKS_MAX && !r->gone; link++) {
		unsigned int is_active = 0;

		if (!answered(r, NVML_CALL(n, link_state, g->device, link, &is_active)))
			continue;
		seen++;
		active_links |= is_active ? 1u << link : 0;
		s->nvlink_active += is_active != 0;
		s->nvlink_inactive += is_active == 0;
	}
	if (!seen)
		s->nvlink_active = s->nvlink_inactive = UINT32_MAX;
	s->nvlink_errors = seen ? link_errors(r, n, g, active_links) : UINT64_MAX;
}

/* ---- the sample ---- */

static void read_slow(struct reading *r, const struct nvml *n, struct nvml_gpu *g)
{
	struct record_gpu_sample *s = &g->last;
	struct nvml_device *d = g->device;
	struct nvml_violation thermal, power;
	struct {
		unsigned int correctable, uncorrectable, pending, failed;
	} rows;
	unsigned int replay;

	ASK(r, n, &s->ecc_uncorrected_aggregate, ecc_total, d, NVML_ECC_UNCORRECTED, NVML_ECC_AGGREGATE,
	    &s->ecc_uncorrected_aggregate);
	ASK(r, n, &s->ecc_sram_uncorrected, ecc_location, d, NVML_ECC_UNCORRECTED, NVML_ECC_VOLATILE,
	    NVML_LOCATION_SRAM, &s->ecc_sram_uncorrected);
	ASK(r, n, &rows, remapped, d, &rows.correctable, &rows.uncorrectable, &rows.pending, &rows.failed);
	s->remapped_correctable = rows.correctable == UINT32_MAX ? UINT64_MAX : rows.correctable;
	s->remapped_uncorrectable = rows.uncorrectable == UINT32_MAX ? UINT64_MAX : rows.uncorrectable;
	s->remap_pending = rows.pending;
	s->remap_failed = rows.failed;
	ASK(r, n, &replay, pcie_replay, d, &replay);
	s->pcie_replay = replay == UINT32_MAX ? UINT64_MAX : replay;
	ASK(r, n, &thermal, violation, d, NVML_POLICY_THERMAL, &thermal);
	ASK(r, n, &power, violation, d, NVML_POLICY_POWER, &power);
	s->thermal_violation_ns = thermal.violation_ns;
	s->power_violation_ns = power.violation_ns;
	read_links(r, n, g);
}

static void read_fast(struct reading *r, const struct nvml *n, struct nvml_gpu *g)
{
	struct record_gpu_sample *s = &g->last;
	struct nvml_device *d = g->device;
	struct nvml_utilisation utilisation;
	struct nvml_memory memory;
	struct nvml_field heat = { .id = NVML_FIELD_MEMORY_TEMPERATURE };
	uint64_t memory_temperature;

	ASK(r, n, &utilisation, utilisation, d, &utilisation);
	s->utilisation_pct = utilisation.gpu_pct;
	s->memory_utilisation_pct = utilisation.memory_pct;
	ASK(r, n, &memory, memory, d, &memory);
	s->memory_used_bytes = memory.used;
	ASK(r, n, &s->sm_mhz, clock, d, NVML_CLOCK_SM, &s->sm_mhz);
	ASK(r, n, &s->memory_mhz, clock, d, NVML_CLOCK_MEMORY, &s->memory_mhz);
	if (n->event_reasons)
		ASK(r, n, &s->clock_event_reasons, event_reasons, d, &s->clock_event_reasons);
	else
		ASK(r, n, &s->clock_event_reasons, throttle_reasons, d, &s->clock_event_reasons);
	ASK(r, n, &s->temperature_c, temperature, d, NVML_TEMPERATURE_GPU, &s->temperature_c);
	ASK(r, n, &heat, fields, d, 1, &heat);
	memory_temperature = field_number(&heat);
	s->memory_temperature_c = memory_temperature > UINT32_MAX ? UINT32_MAX : (uint32_t)memory_temperature;
	ASK(r, n, &s->power_mw, power, d, &s->power_mw);
	ASK(r, n, &s->pcie_width, pcie_width, d, &s->pcie_width);
	ASK(r, n, &s->pcie_gen, pcie_gen, d, &s->pcie_gen);
	ASK(r, n, &s->ecc_uncorrected_volatile, ecc_total, d, NVML_ECC_UNCORRECTED, NVML_ECC_VOLATILE,
	    &s->ecc_uncorrected_volatile);
}

nvml_return nvml_sample(const struct nvml *n, struct nvml_gpu *g, bool slow)
{
	struct record_gpu_sample *s = &g->last;
	struct reading r = { .gone = g->device ? NVML_SUCCESS : NVML_GPU_IS_LOST };

	read_fast(&r, n, g);
	if (slow || r.gone)
		read_slow(&r, n, g);
	s->index = g->identity.index;
	s->reserved = 0;
	s->lost = r.gone != NVML_SUCCESS;
	return r.gone;
}
