/*
 * nvml_abi - the part of NVIDIA's management library that is called here.
 *
 * Its C ABI is stable: a function that changes gets a new name ("_v2").  Every
 * function is looked up by name and may be missing; what it would have said is
 * then unknown.  Numbers are "unsigned int" and "unsigned long long" there.
 */
#pragma once
#include <stdint.h>

typedef int nvml_return;
enum {
	NVML_SUCCESS = 0,
	NVML_NOT_SUPPORTED = 3,
	NVML_NO_PERMISSION = 4,
	NVML_DRIVER_NOT_LOADED = 9,
	NVML_TIMEOUT = 10,
	NVML_FUNCTION_NOT_FOUND = 13,
	NVML_GPU_IS_LOST = 15,
	NVML_RESET_REQUIRED = 16,
};

struct nvml_device;		/* opaque, the library's */
struct nvml_event_set;

struct nvml_pci {
	char bus_id_legacy[16];
	uint32_t domain, bus, device, device_id, subsystem_id;
	char bus_id[32];
};

struct nvml_utilisation {
	uint32_t gpu_pct, memory_pct;
};

struct nvml_memory {
	uint64_t total, free, used;
};

struct nvml_violation {
	uint64_t reference_us, violation_ns;
};

struct nvml_event {
	struct nvml_device *device;
	uint64_t type, data;
	uint32_t gpu_instance, compute_instance;
};
#define NVML_EVENT_XID 0x8ull	/* data: its number */

enum { NVML_CLOCK_SM = 1, NVML_CLOCK_MEMORY = 2 };
enum { NVML_TEMPERATURE_GPU = 0 };
enum { NVML_ECC_UNCORRECTED = 1 };
enum { NVML_ECC_VOLATILE = 0, NVML_ECC_AGGREGATE = 1 };
enum { NVML_LOCATION_SRAM = 7 };
enum { NVML_POLICY_POWER = 0, NVML_POLICY_THERMAL = 1 };
enum { NVML_LINK_REPLAY, NVML_LINK_RECOVERY, NVML_LINK_CRC_FLIT, NVML_LINK_CRC_DATA, NVML_LINK_COUNTERS };
#define NVML_LINKS_MAX 18

enum {
	NVML_FIELD_LINK_CRC_FLIT = 38,	/* totals over all links */
	NVML_FIELD_LINK_CRC_DATA = 45,
	NVML_FIELD_LINK_REPLAY = 52,
	NVML_FIELD_LINK_RECOVERY = 59,
	NVML_FIELD_MEMORY_TEMPERATURE = 82,
};

enum {
	NVML_VALUE_DOUBLE, NVML_VALUE_U32, NVML_VALUE_ULONG, NVML_VALUE_U64, NVML_VALUE_S64, NVML_VALUE_S32, NVML_VALUE_U16,
};

struct nvml_field {
	uint32_t id, scope;
	int64_t timestamp_us, latency_us;
	uint32_t type;		/* of the value, NVML_VALUE_* */
	nvml_return status;
	union {
		double d;
		uint32_t u32;
		uint64_t u64;
		int64_t s64;
		int32_t s32;
		uint16_t u16;
	} value;
};
_Static_assert(sizeof(struct nvml_pci) == 68, "ABI");
_Static_assert(sizeof(struct nvml_event) == 32, "ABI");
_Static_assert(sizeof(struct nvml_field) == 40, "ABI");

/* F(name here, symbol, arguments): all of them yield an nvml_return but the text of an error. */
#define NVML_FUNCTIONS(F) \
	F(init, "nvmlInit_v2", (void)) \
	F(shutdown, "nvmlShutdown", (void)) \
	F(driver_version, "nvmlSystemGetDriverVersion", (char *, unsigned int)) \
	F(count, "nvmlDeviceGetCount_v2", (unsigned int *)) \
	F(handle, "nvmlDeviceGetHandleByIndex_v2", (unsigned int, struct nvml_device **)) \
	F(pci, "nvmlDeviceGetPciInfo_v3", (struct nvml_device *, struct nvml_pci *)) \
	F(uuid, "nvmlDeviceGetUUID", (struct nvml_device *, char *, unsigned int)) \
	F(name, "nvmlDeviceGetName", (struct nvml_device *, char *, unsigned int)) \
	F(utilisation, "nvmlDeviceGetUtilizationRates", (struct nvml_device *, struct nvml_utilisation *)) \
	F(memory, "nvmlDeviceGetMemoryInfo", (struct nvml_device *, struct nvml_memory *)) \
	F(clock, "nvmlDeviceGetClockInfo", (struct nvml_device *, int, unsigned int *)) \
	F(event_reasons, "nvmlDeviceGetCurrentClocksEventReasons", (struct nvml_device *, unsigned long long *)) \
	F(throttle_reasons, "nvmlDeviceGetCurrentClocksThrottleReasons", (struct nvml_device *, unsigned long long *)) \
	F(temperature, "nvmlDeviceGetTemperature", (struct nvml_device *, int, unsigned int *)) \
	F(power, "nvmlDeviceGetPowerUsage", (struct nvml_device *, unsigned int *)) \
	F(power_limit, "nvmlDeviceGetEnforcedPowerLimit", (struct nvml_device *, unsigned int *)) \
	F(ecc_total, "nvmlDeviceGetTotalEccErrors", (struct nvml_device *, int, int, unsigned long long *)) \
	F(ecc_location, "nvmlDeviceGetMemoryErrorCounter", \
	  (struct nvml_device *, int, int, int, unsigned long long *)) \
	F(remapped, "nvmlDeviceGetRemappedRows", \
	  (struct nvml_device *, unsigned int *, unsigned int *, unsigned int *, unsigned int *)) \
	F(pcie_width, "nvmlDeviceGetCurrPcieLinkWidth", (struct nvml_device *, unsigned int *)) \
	F(pcie_gen, "nvmlDeviceGetCurrPcieLinkGeneration", (struct nvml_device *, unsigned int *)) \
	F(pcie_width_max, "nvmlDeviceGetMaxPcieLinkWidth", (struct nvml_device *, unsigned int *)) \
	F(pcie_gen_max, "nvmlDeviceGetMaxPcieLinkGeneration", (struct nvml_device *, unsigned int *)) \
	F(pcie_replay, "nvmlDeviceGetPcieReplayCounter", (struct nvml_device *, unsigned int *)) \
	F(link_state, "nvmlDeviceGetNvLinkState", (struct nvml_device *, unsigned int, unsigned int *)) \
	F(link_errors, "nvmlDeviceGetNvLinkErrorCounter", \
	  (struct nvml_device *, unsigned int, int, unsigned long long *)) \
	F(violation, "nvmlDeviceGetViolationStatus", (struct nvml_device *, int, struct nvml_violation *)) \
	F(fields, "nvmlDeviceGetFieldValues", (struct nvml_device *, int, struct nvml_field *)) \
	F(event_set, "nvmlEventSetCreate", (struct nvml_event_set **)) \
	F(event_set_free, "nvmlEventSetFree", (struct nvml_event_set *)) \
	F(event_types, "nvmlDeviceGetSupportedEventTypes", (struct nvml_device *, unsigned long long *)) \
	F(event_register, "nvmlDeviceRegisterEvents", \
	  (struct nvml_device *, unsigned long long, struct nvml_event_set *)) \
	F(event_wait, "nvmlEventSetWait_v2", (struct nvml_event_set *, struct nvml_event *, unsigned int))

struct nvml {
	void *library;
	const char *(*error_string)(nvml_return);	/* "nvmlErrorString" */
#define F(name, symbol, args) nvml_return (*name) args;
	NVML_FUNCTIONS(F)
#undef F
};

/* Call a function that may be missing. */
#define NVML_CALL(nvml, fn, ...) ((nvml)->fn ? (nvml)->fn(__VA_ARGS__) : NVML_FUNCTION_NOT_FOUND)
