/*
 * A test double of libnvidia-ml.so.1: the same symbols and layouts, no GPU behind them.
 *
 * It plays the script that NVML_DOUBLE names, lines of
 *
 *     STEP GPU FIELD VALUE	# set at sample number STEP (utilisation reads of GPU 0, from 0)
 *
 * GPU may be "*".  FIELD is a row of FIELDS; "gpus" (how many; at step 0) and "init" (what nvmlInit_v2 returns)
 * belong to no GPU.  "xid" queues an event, "lost" 1 makes every call fail with
 * GPU_IS_LOST, "hang" 1 makes the next utilisation read of the GPU never return.
 * Built with WITHOUT_NEWER_SYMBOLS it is a library of an older driver.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/sources/nvml_abi.h"

#define GPUS_MAX 16
#define LINES_MAX 256

/* FIELD(name, value at the start) */
#define FIELDS(F) \
	F(gpus, 2) F(init, 0) F(xid, 0) F(lost, 0) F(hang, 0) \
	F(utilisation, 97) F(memory_utilisation, 40) F(memory_total, 85899345920) F(memory_used, 64424509440) \
	F(sm_mhz, 1980) F(memory_mhz, 2619) F(temperature, 55) F(memory_temperature, 70) \
	F(power_mw, 650000) F(power_limit_mw, 700000) F(reasons, 0) \
	F(pcie_width, 16) F(pcie_gen, 5) F(pcie_width_max, 16) F(pcie_gen_max, 5) F(replay, 0) \
	F(ecc_volatile, 0) F(ecc_aggregate, 0) F(ecc_sram, 0) \
	F(remapped_correctable, 0) F(remapped_uncorrectable, 0) F(remap_pending, 0) F(remap_failed, 0) \
	F(links, 18) F(links_down, 0) F(link_errors, 0) F(thermal_ns, 0) F(power_ns, 0)

enum field_id {
#define F(name, value) F_##name,
	FIELDS(F)
#undef F
	F_COUNT
};

static const char *const field_names[] = {
#define F(name, value) #name,
	FIELDS(F)
#undef F
};

struct nvml_device {
	unsigned int index;
	unsigned long long v[F_COUNT];
};

struct nvml_event_set {
	bool registered[GPUS_MAX];
};

static struct double_state {
	struct nvml_device gpu[GPUS_MAX];
	struct script_line {
		unsigned long step, gpu;	/* gpu: GPUS_MAX is all of them */
		enum field_id field;
		unsigned long long value;
		bool done;
	} line[LINES_MAX];
	size_t n_lines;
	unsigned long step;
	struct nvml_event_set set;
} state;

/* ---- the script ---- */

static void apply(void)
{
	for (size_t i = 0; i < state.n_lines; i++) {
		struct script_line *l = &state.line[i];

		for (unsigned int g = 0; g < GPUS_MAX && !l->done && l->step <= state.step; g++)
			if (l->gpu == GPUS_MAX || l->gpu == g)
				state.gpu[g].v[l->field] = l->value;
		l->done |= l->step <= state.step;
	}
}

static void parse_line(const char *text)
{
	struct script_line l = { 0 };
	char gpu[8], name[32];

	if (text[0] == '#' || sscanf(text, "%lu %7s %31s %llu", &l.step, gpu, name, &l.value) != 4)
		return;
	l.gpu = gpu[0] == '*' ? GPUS_MAX : strtoul(gpu, NULL, 10);
	for (l.field = 0; l.field < F_COUNT && strcmp(name, field_names[l.field]); l.field++)
		;
	if (l.field == F_COUNT || state.n_lines == LINES_MAX) {
		fprintf(stderr, "NVML_DOUBLE: cannot play '%s'\n", text);
		abort();
	}
	state.line[state.n_lines++] = l;
}

static void begin(void)
{
	static const unsigned long long start[] = {
#define F(name, value) value,
		FIELDS(F)
#undef F
	};
	const char *path = getenv("NVML_DOUBLE");
	FILE *f = path ? fopen(path, "r") : NULL;
	char text[256];

	memset(&state, 0, sizeof(state));
	for (unsigned int i = 0; i < GPUS_MAX; i++) {
		state.gpu[i].index = i;
		memcpy(state.gpu[i].v, start, sizeof(start));
	}
	while (f && fgets(text, sizeof(text), f))
		parse_line(text);
	if (f)
		fclose(f);
	apply();
}

/* ---- the library ---- */

#define API __attribute__((visibility("default")))
#define LIVE(d) do { if ((d)->v[F_lost]) return NVML_GPU_IS_LOST; } while (0)

/* One number of the device. */
#define NUMBER(symbol, field) \
	API nvml_return symbol(struct nvml_device *d, unsigned int *ret); \
	nvml_return symbol(struct nvml_device *d, unsigned int *ret) \
	{ \
		LIVE(d); \
		*ret = (unsigned int)d->v[field]; \
		return NVML_SUCCESS; \
	}

#define REASONS(symbol) \
	API nvml_return symbol(struct nvml_device *d, unsigned long long *ret); \
	nvml_return symbol(struct nvml_device *d, unsigned long long *ret) \
	{ \
		LIVE(d); \
		*ret = d->v[F_reasons]; \
		return NVML_SUCCESS; \
	}

API nvml_return nvmlInit_v2(void);
nvml_return nvmlInit_v2(void)
{
	begin();
	return (nvml_return)state.gpu[0].v[F_init];
}

API nvml_return nvmlShutdown(void);
nvml_return nvmlShutdown(void)
{
	return NVML_SUCCESS;
}

API const char *nvmlErrorString(nvml_return status);
const char *nvmlErrorString(nvml_return status)
{
	return status == NVML_GPU_IS_LOST ? "GPU is lost" : status == NVML_DRIVER_NOT_LOADED ? "Driver Not Loaded" :
	       status == NVML_SUCCESS ? "Success" : "Unknown Error";
}

API nvml_return nvmlSystemGetDriverVersion(char *ret, unsigned int size);
nvml_return nvmlSystemGetDriverVersion(char *ret, unsigned int size)
{
	snprintf(ret, size, "550.54.15");
	return NVML_SUCCESS;
}

API nvml_return nvmlDeviceGetCount_v2(unsigned int *ret);
nvml_return nvmlDeviceGetCount_v2(unsigned int *ret)
{
	*ret = (unsigned int)state.gpu[0].v[F_gpus];
	return NVML_SUCCESS;
}

API nvml_return nvmlDeviceGetHandleByIndex_v2(unsigned int index, struct nvml_device **ret);
nvml_return nvmlDeviceGetHandleByIndex_v2(unsigned int index, struct nvml_device **ret)
{
	LIVE(&state.gpu[index]);
	*ret = &state.gpu[index];
	return NVML_SUCCESS;
}

API nvml_return nvmlDeviceGetPciInfo_v3(struct nvml_device *d, struct nvml_pci *ret);
nvml_return nvmlDeviceGetPciInfo_v3(struct nvml_device *d, struct nvml_pci *ret)
{
	LIVE(d);
	*ret = (struct nvml_pci){ .bus = 0x1b + 0x20 * d->index };
	snprintf(ret->bus_id, sizeof(ret->bus_id), "00000000:%02X:00.0", ret->bus);
	return NVML_SUCCESS;
}

API nvml_return nvmlDeviceGetUUID(struct nvml_device *d, char *ret, unsigned int size);
nvml_return nvmlDeviceGetUUID(struct nvml_device *d, char *ret, unsigned int size)
{
	LIVE(d);
	snprintf(ret, size, "GPU-00000000-0000-0000-0000-%012u", d->index);
	return NVML_SUCCESS;
}

API nvml_return nvmlDeviceGetName(struct nvml_device *d, char *ret, unsigned int size);
nvml_return nvmlDeviceGetName(struct nvml_device *d, char *ret, unsigned int size)
{
	LIVE(d);
	snprintf(ret, size, "Test double GPU");
	return NVML_SUCCESS;
}

API nvml_return nvmlDeviceGetUtilizationRates(struct nvml_device *d, struct nvml_utilisation *ret);
nvml_return nvmlDeviceGetUtilizationRates(struct nvml_device *d, struct nvml_utilisation *ret)
{
	if (d->index == 0) {
		apply();
		state.step++;
	}
	while (d->v[F_hang])
		pause();
	LIVE(d);
	ret->gpu_pct = (uint32_t)d->v[F_utilisation];
	ret->memory_pct = (uint32_t)d->v[F_memory_utilisation];
	return NVML_SUCCESS;
}

API nvml_return nvmlDeviceGetMemoryInfo(struct nvml_device *d, struct nvml_memory *ret);
nvml_return nvmlDeviceGetMemoryInfo(struct nvml_device *d, struct nvml_memory *ret)
{
	LIVE(d);
	*ret = (struct nvml_memory){ d->v[F_memory_total], d->v[F_memory_total] - d->v[F_memory_used],
				     d->v[F_memory_used] };
	return NVML_SUCCESS;
}

API nvml_return nvmlDeviceGetClockInfo(struct nvml_device *d, int which, unsigned int *ret);
nvml_return nvmlDeviceGetClockInfo(struct nvml_device *d, int which, unsigned int *ret)
{
	LIVE(d);
	*ret = (unsigned int)d->v[which == NVML_CLOCK_SM ? F_sm_mhz : F_memory_mhz];
	return NVML_SUCCESS;
}

API nvml_return nvmlDeviceGetTemperature(struct nvml_device *d, int which, unsigned int *ret);
nvml_return nvmlDeviceGetTemperature(struct nvml_device *d, int which, unsigned int *ret)
{
	(void)which;
	LIVE(d);
	*ret = (unsigned int)d->v[F_temperature];
	return NVML_SUCCESS;
}

NUMBER(nvmlDeviceGetPowerUsage, F_power_mw)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, F_power_limit_mw)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, F_pcie_width)
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, F_pcie_gen)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, F_pcie_width_max)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, F_pcie_gen_max)
NUMBER(nvmlDeviceGetPcieReplayCounter, F_replay)
REASONS(nvmlDeviceGetCurrentClocksThrottleReasons)

API nvml_return nvmlDeviceGetTotalEccErrors(struct nvml_device *d, int type, int counter, unsigned long long *ret);
nvml_return nvmlDeviceGetTotalEccErrors(struct nvml_device *d, int type, int counter, unsigned long long *ret)
{
	LIVE(d);
	*ret = type != NVML_ECC_UNCORRECTED ? 0 : d->v[counter == NVML_ECC_VOLATILE ? F_ecc_volatile : F_ecc_aggregate];
	return NVML_SUCCESS;
}

API nvml_return nvmlDeviceGetMemoryErrorCounter(struct nvml_device *d, int type, int counter, int location,
						unsigned long long *ret);
nvml_return nvmlDeviceGetMemoryErrorCounter(struct nvml_device *d, int type, int counter, int location,
					    unsigned long long *ret)
{
	LIVE(d);
	if (type != NVML_ECC_UNCORRECTED || counter != NVML_ECC_VOLATILE || location != NVML_LOCATION_SRAM)
		return NVML_NOT_SUPPORTED;
	*ret = d->v[F_ecc_sram];
	return NVML_SUCCESS;
}

API nvml_return nvmlDeviceGetNvLinkState(struct nvml_device *d, unsigned int link, unsigned int *ret);
nvml_return nvmlDeviceGetNvLinkState(struct nvml_device *d, unsigned int link, unsigned int *ret)
{
	LIVE(d);
	if (link >= d->v[F_links])
		return NVML_NOT_SUPPORTED;
	*ret = link >= d->v[F_links_down];
	return NVML_SUCCESS;
}

API nvml_return nvmlDeviceGetNvLinkErrorCounter(struct nvml_device *d, unsigned int link, int counter,
						unsigned long long *ret);
nvml_return nvmlDeviceGetNvLinkErrorCounter(struct nvml_device *d, unsigned int link, int counter,
					    unsigned long long *ret)
{
	LIVE(d);
	*ret = link == d->v[F_links] - 1 && counter == NVML_LINK_REPLAY ? d->v[F_link_errors] : 0;
	return NVML_SUCCESS;
}

API nvml_return nvmlDeviceGetViolationStatus(struct nvml_device *d, int policy, struct nvml_violation *ret);
nvml_return nvmlDeviceGetViolationStatus(struct nvml_device *d, int policy, struct nvml_violation *ret)
{
	LIVE(d);
	ret->violation_ns = d->v[policy == NVML_POLICY_THERMAL ? F_thermal_ns : F_power_ns];
	return NVML_SUCCESS;
}

#ifndef WITHOUT_NEWER_SYMBOLS
REASONS(nvmlDeviceGetCurrentClocksEventReasons)

API nvml_return nvmlDeviceGetRemappedRows(struct nvml_device *d, unsigned int *correctable, unsigned int *uncorrectable,
					  unsigned int *pending, unsigned int *failed);
nvml_return nvmlDeviceGetRemappedRows(struct nvml_device *d, unsigned int *correctable, unsigned int *uncorrectable,
				      unsigned int *pending, unsigned int *failed)
{
	LIVE(d);
	*correctable = (unsigned int)d->v[F_remapped_correctable];
	*uncorrectable = (unsigned int)d->v[F_remapped_uncorrectable];
	*pending = (unsigned int)d->v[F_remap_pending];
	*failed = (unsigned int)d->v[F_remap_failed];
	return NVML_SUCCESS;
}

API nvml_return nvmlDeviceGetFieldValues(struct nvml_device *d, int n, struct nvml_field *f);
nvml_return nvmlDeviceGetFieldValues(struct nvml_device *d, int n, struct nvml_field *f)
{
	LIVE(d);
	for (int i = 0; i < n; i++) {
		f[i].status = NVML_SUCCESS;
		f[i].type = NVML_VALUE_U64;
		f[i].value.u64 = f[i].id == NVML_FIELD_LINK_REPLAY ? d->v[F_link_errors] : 0;
		if (f[i].id == NVML_FIELD_MEMORY_TEMPERATURE) {
			f[i].type = NVML_VALUE_U32;
			f[i].value.u32 = (uint32_t)d->v[F_memory_temperature];
		}
	}
	return NVML_SUCCESS;
}

API nvml_return nvmlEventSetCreate(struct nvml_event_set **ret);
nvml_return nvmlEventSetCreate(struct nvml_event_set **ret)
{
	*ret = &state.set;
	return NVML_SUCCESS;
}

API nvml_return nvmlEventSetFree(struct nvml_event_set *set);
nvml_return nvmlEventSetFree(struct nvml_event_set *set)
{
	memset(set, 0, sizeof(*set));
	return NVML_SUCCESS;
}

API nvml_return nvmlDeviceRegisterEvents(struct nvml_device *d, unsigned long long types, struct nvml_event_set *set);
nvml_return nvmlDeviceRegisterEvents(struct nvml_device *d, unsigned long long types, struct nvml_event_set *set)
{
	set->registered[d->index] = (types & NVML_EVENT_XID) != 0;
	return NVML_SUCCESS;
}

API nvml_return nvmlEventSetWait_v2(struct nvml_event_set *set, struct nvml_event *ret, unsigned int timeout_ms);
nvml_return nvmlEventSetWait_v2(struct nvml_event_set *set, struct nvml_event *ret, unsigned int timeout_ms)
{
	for (unsigned int i = 0; i < GPUS_MAX; i++)
		if (set->registered[i] && state.gpu[i].v[F_xid]) {
			*ret = (struct nvml_event){ .device = &state.gpu[i], .type = NVML_EVENT_XID,
						    .data = state.gpu[i].v[F_xid], .gpu_instance = UINT32_MAX,
						    .compute_instance = UINT32_MAX };
			state.gpu[i].v[F_xid] = 0;
			return NVML_SUCCESS;
		}
	usleep(timeout_ms * 1000);
	return NVML_TIMEOUT;
}
#endif
