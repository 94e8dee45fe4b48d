/* GPU samples and events: what is active, what rose, what is below its peers. */
#include "analyzer/ingest/ringer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/device_codes.h"
#include "analyzer/identity.h"
#include "bundle/cleanup.h"

#define GPUS_MAX 256
#define HELD 5			/* samples in a row: shorter than that is the ordinary play of clocks */
#define BUSY_PCT 50
#define COMPARED 30		/* busy samples before clocks are compared */
#define SLOW_CLOCK_PCT 70	/* of the peers' clock */

/* Bits of clock_event_reasons. */
#define SW_THERMAL 0x20ull
#define HW_THERMAL 0x40ull
#define POWER_BRAKE 0x80ull

/* Conditions that count when they hold for some samples. */
enum held { HELD_SW_THERMAL, HELD_HW_THERMAL, HELD_BRAKE, HELD_NARROW, HELD_SLOW_LINK, HELD_COUNT };

struct ring_gpu {
	uint32_t index;
	bool is_known;			/* d is */
	struct record_gpu_device d;
	struct record_gpu_sample first, last;
	bool sampled;
	struct run {
		unsigned n;
		int64_t since_ns;
	} held[HELD_COUNT];
	uint64_t busy, busy_mhz;	/* samples with work, and the sum of their clocks */
	int64_t quote, quote_ns;	/* of the last sample with work */
};

/* ---- devices ---- */

static struct ring_gpu *gpu_of(struct ringer *r, uint32_t index)
{
	for (size_t i = 0; i < r->n_gpus; i++)
		if (r->gpus[i].index == index)
			return &r->gpus[i];
	if (!r->gpus)
		r->gpus = calloc(GPUS_MAX, sizeof(*r->gpus));
	if (!r->gpus || r->n_gpus == GPUS_MAX)
		return NULL;
	r->gpus[r->n_gpus] = (struct ring_gpu){ .index = index, .quote = -1 };
	return &r->gpus[r->n_gpus++];
}

static sid address_of(const struct ringer *r, const struct ring_gpu *g)
{
	char text[48], uuid[sizeof(g->d.uuid) + 1];

	record_text(g->d.uuid, sizeof(g->d.uuid), uuid);
	if (g->is_known && g->d.pci_bus != UINT32_MAX)
		snprintf(text, sizeof(text), "%04x:%02x:%02x.0", g->d.pci_domain, g->d.pci_bus, g->d.pci_device);
	else if (g->is_known && uuid[0])
		snprintf(text, sizeof(text), "%.47s", uuid);
	else
		snprintf(text, sizeof(text), "%u", g->index);
	return gpu_canonical(&r->s->strings, text, strlen(text));
}

sid ring_gpu_address(const struct ringer *r, uint32_t index)
{
	for (size_t i = 0; i < r->n_gpus; i++)
		if (r->gpus[i].index == index && r->gpus[i].is_known)
			return address_of(r, &r->gpus[i]);
	return 0;
}

void ring_gpu_device(struct ringer *r, const struct record *rec)
{
	struct record_gpu_device d;
	struct ring_gpu *g;

	record_part(rec, &d, sizeof(d));
	g = gpu_of(r, d.index);
	if (!g)
		return;
	g->d = d;
	g->is_known = true;
}

static struct observation about(struct ringer *r, const struct ring_gpu *g, const char *kind, int64_t monotonic_ns)
{
	struct observation o = ringer_observation(r, kind, SRC_DRIVER, monotonic_ns);

	o.scope.gpu = address_of(r, g);
	return o;
}

/* ---- samples ---- */

/* Holds for the HELD-th time in a row: observe it once, at its first sample. */
static void hold(struct ringer *r, const struct record *rec, struct ring_gpu *g, enum held which, bool holds,
		 const char *kind, const char *name, const char *value)
{
	struct run *run = &g->held[which];
	struct observation o;

	if (!holds) {
		run->n = 0;
		return;
	}
	if (run->n++ == 0)
		run->since_ns = rec->monotonic_ns;
	if (run->n != HELD)
		return;
	o = about(r, g, kind, run->since_ns);
	observation_fieldf(r->s, &o, name, "%s", value);
	ringer_cite(r, &o, rec, "GPU %u: %s %s, %u C, %u MHz", g->index, name, value, g->last.temperature_c,
		    g->last.sm_mhz);
	store_observe(r->s, &o);
}

static void watch_conditions(struct ringer *r, const struct record *rec, struct ring_gpu *g)
{
	const struct record_gpu_sample *s = &g->last;
	uint64_t reasons = s->clock_event_reasons == UINT64_MAX ? 0 : s->clock_event_reasons;
	bool busy = s->utilisation_pct != UINT32_MAX && s->utilisation_pct >= BUSY_PCT;
	bool knows_link = g->is_known && s->pcie_width != UINT32_MAX && s->pcie_gen != UINT32_MAX && s->pcie_width;
	bool narrow = knows_link && g->d.pcie_width_max != UINT32_MAX && s->pcie_width < g->d.pcie_width_max;
	bool slow = knows_link && busy && g->d.pcie_gen_max != UINT32_MAX && s->pcie_gen < g->d.pcie_gen_max;
	char width[16], gen[16];

	snprintf(width, sizeof(width), "x%u", s->pcie_width);
	snprintf(gen, sizeof(gen), "%u", s->pcie_gen);
	hold(r, rec, g, HELD_SW_THERMAL, reasons & SW_THERMAL, "gpu.thermal", "reason", "SW Thermal Slowdown");
	hold(r, rec, g, HELD_HW_THERMAL, reasons & HW_THERMAL, "gpu.thermal", "reason", "HW Thermal Slowdown");
	hold(r, rec, g, HELD_BRAKE, reasons & POWER_BRAKE, "gpu.power_brake", "reason", "HW Power Brake Slowdown");
	hold(r, rec, g, HELD_NARROW, narrow, "pcie.link_degraded", "width", width);
	/* idle links go to a lower speed by themselves */
	hold(r, rec, g, HELD_SLOW_LINK, slow, "pcie.link_degraded", "gen", gen);
	if (busy && s->sm_mhz != UINT32_MAX) {
		g->busy++;
		g->busy_mhz += s->sm_mhz;
		g->quote_ns = rec->monotonic_ns;
	}
}

/* A counter that rose since the sample before; all ones are no value. */
static bool rose(uint64_t before, uint64_t now)
{
	return before != UINT64_MAX && now != UINT64_MAX && now > before;
}

static void observe_count(struct ringer *r, const struct record *rec, const struct ring_gpu *g, const char *kind,
			  const char *counter, uint64_t before, uint64_t now)
{
	struct observation o = about(r, g, kind, rec->monotonic_ns);

	observation_fieldf(r->s, &o, "counter", "%s", counter);
	ringer_cite(r, &o, rec, "GPU %u: %s %llu -> %llu", g->index, counter, (unsigned long long)before,
		    (unsigned long long)now);
	store_observe(r->s, &o);
}

static void watch_counters(struct ringer *r, const struct record *rec, const struct ring_gpu *g,
			   const struct record_gpu_sample *was)
{
	const struct record_gpu_sample *s = &g->last;
	bool sram = rose(was->ecc_sram_uncorrected, s->ecc_sram_uncorrected);

	if (sram)
		observe_count(r, rec, g, "gpu.sram_ecc", "sram_uncorrectable", was->ecc_sram_uncorrected,
			      s->ecc_sram_uncorrected);
	else if (rose(was->ecc_uncorrected_volatile, s->ecc_uncorrected_volatile))
		observe_count(r, rec, g, g->d.vendor == 0x1002 ? "gpu.amd_uncorrectable" : "gpu.ecc_uncorrectable",
			      "uncorrectable", was->ecc_uncorrected_volatile, s->ecc_uncorrected_volatile);
	if (rose(was->nvlink_errors, s->nvlink_errors))
		observe_count(r, rec, g, "gpu.nvlink_counter", "replay, recovery, CRC", was->nvlink_errors,
			      s->nvlink_errors);
	if (rose(was->pcie_replay, s->pcie_replay))
		observe_count(r, rec, g, "pcie.corrected", "replay", was->pcie_replay, s->pcie_replay);
}

/* States that count whenever they began. */
static void watch_states(struct ringer *r, const struct record *rec, const struct ring_gpu *g,
			 const struct record_gpu_sample *was, bool first)
{
	const struct record_gpu_sample *s = &g->last;

	if (s->remap_pending == 1 && (first || was->remap_pending != 1))
		observe_count(r, rec, g, "gpu.row_remap_pending", "rows waiting to be remapped", 0, 1);
	if (s->remap_failed == 1 && (first || was->remap_failed != 1))
		observe_count(r, rec, g, "gpu.row_remap_failed", "row remapping failed", 0, 1);
	if (s->lost == 1 && (first || was->lost != 1))
		observe_count(r, rec, g, "gpu.lost", "lost", 0, 1);
	if (first && s->ecc_uncorrected_volatile && s->ecc_uncorrected_volatile != UINT64_MAX)
		observe_count(r, rec, g, "gpu.ecc_counter", "uncorrectable", 0, s->ecc_uncorrected_volatile);
}

void ring_gpu_sample(struct ringer *r, const struct record *rec)
{
	struct record_gpu_sample s, was;
	struct ring_gpu *g;
	bool first;

	record_part(rec, &s, sizeof(s));
	g = gpu_of(r, s.index);
	if (!g)
		return;
	first = !g->sampled;
	was = first ? s : g->last;
	if (first)
		g->first = s;
	g->sampled = true;
	g->last = s;
	watch_states(r, rec, g, &was, first);
	if (s.lost == 1)
		return;
	watch_counters(r, rec, g, &was);
	watch_conditions(r, rec, g);
	if (g->busy == COMPARED && g->quote < 0)
		g->quote = ringer_quote(r, rec, "GPU %u: %u MHz at %u %% load", s.index, s.sm_mhz, s.utilisation_pct);
}

/* ---- events ---- */

void ring_gpu_event(struct ringer *r, const struct record *rec)
{
	struct record_gpu_event e;
	struct span text = record_part(rec, &e, sizeof(e));
	const struct xid *xid = e.value <= UINT32_MAX ? xid_find((uint32_t)e.value) : NULL;
	const char *kind = e.event == GPU_EVENT_XID ? xid ? xid->kind : "gpu.xid_unknown" : e.event == GPU_EVENT_LOST ? "gpu.lost" :
			   e.event == GPU_EVENT_RAS ? "gpu.amd_uncorrectable" : NULL;
	struct ring_gpu *g = gpu_of(r, e.index);
	struct observation o;

	if (!kind || !g)
		return;
	o = about(r, g, kind, rec->monotonic_ns);
	if (e.event == GPU_EVENT_XID)
		observation_fieldf(r->s, &o, "code", "%llu", (unsigned long long)e.value);
	if (e.event == GPU_EVENT_XID && xid)
		observation_fieldf(r->s, &o, "meaning", "%s", xid->meaning);
	ringer_cite(r, &o, rec, "%.*s", (int)text.len, text.s);
	store_observe(r->s, &o);
}

/* ---- peers ---- */

static int compare_mhz(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* GPUs of one host do the same work: a clock far below the median is one of a sick device. */
void ring_gpu_end(struct ringer *r)
{
	uint64_t mhz[GPUS_MAX], median;
	size_t n = 0;

	for (size_t i = 0; i < r->n_gpus; i++)
		if (r->gpus[i].busy >= COMPARED)
			mhz[n++] = r->gpus[i].busy_mhz / r->gpus[i].busy;
	if (n < 3)
		return;
	qsort(mhz, n, sizeof(*mhz), compare_mhz);
	median = mhz[n / 2];
	for (size_t i = 0; i < r->n_gpus; i++) {
		const struct ring_gpu *g = &r->gpus[i];
		struct observation o;

		if (g->busy < COMPARED || g->busy_mhz / g->busy * 100 >= median * SLOW_CLOCK_PCT)
			continue;
		o = about(r, g, "gpu.slow_clock", g->quote_ns);
		observation_fieldf(r->s, &o, "mhz", "%llu", (unsigned long long)(g->busy_mhz / g->busy));
		observation_fieldf(r->s, &o, "peers_mhz", "%llu", (unsigned long long)median);
		observation_cite(&o, g->quote);
		store_observe(r->s, &o);
	}
}
