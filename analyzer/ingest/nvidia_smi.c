#include "analyzer/ingest/structured.h"

#include <fnmatch.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <stdlib.h>
#include <strings.h>

#include "analyzer/identity.h"
#include "bundle/cleanup.h"

#define FILE_BYTES ((size_t)4 << 20)
#define TAG_BYTES ((size_t)64 << 10)	/* libxml2 is quadratic in the attributes of a tag */
#define PROLOG_BYTES ((size_t)256)
#define DOCUMENTS 4096			/* of `nvidia-smi -l` in one member */
#define GPUS 1024			/* in one document */
#define PLACES 4			/* quotes kept per fact */
#define UNKNOWN_ERRORS 3		/* one alone is a sensor that the board lacks */

/* What is kept of one <gpu>. */
enum reading_id {
	PRODUCT, UUID, MINOR, BUS_ID, MEM_TOTAL, MEM_USED, UTIL, TEMP,
	WIDTH, MAX_WIDTH, GEN, MAX_GEN,
	DRAM, SRAM, AGGREGATE, REMAP_PENDING, REMAP_FAILED,
	THERMAL, BRAKE, ACTION, LOST, UNKNOWN,
	PROC_PID, PROC_NAME, PROC_MEM,
	READINGS
};

/* How a reading counts. */
enum how {
	TEXT,		/* any value but "N/A" and its like */
	COUNT,		/* a number above 0 */
	FLAG,		/* "Yes" or "Active" */
	WANTED,		/* any value but "None": the text is kept as the name */
};

/* Element paths below <gpu>, as fnmatch(3) patterns, for names moved from driver 4xx to 59x. */
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
};

struct reading {
	unsigned n;		/* elements that said so */
	uint64_t total;
	char text[96];		/* the value, or the names of the elements */
	struct place at[PLACES];
};

struct smi {
	struct citer c;
	xmlParserCtxtPtr xml;
	size_t base, end;	/* the document within the member */
	char path[256];		/* of the open element, below the root */
	size_t path_len;
	unsigned depth, gpu_depth, beyond;	/* beyond: open elements that `path` does not show */
	bool leaf, root, root_closed;
	char text[128];
	size_t text_len;
	size_t tag;		/* offset of the last start tag, or SIZE_MAX */
	struct stamp time;
	char driver[64];
	int64_t attached;
	struct place attached_at, gpu_at;
	unsigned n_gpus;
	char gpu_id[48];
	struct reading gpu[READINGS];
	unsigned n_processes;
	char pids[256], largest[256];	/* largest: who holds most of the memory */
	int64_t largest_mib;
	struct error damage;
};

/* ---- one GPU's observations ---- */

static int64_t number_of(const struct reading *r)
{
	return span_number(span_of(r->text, strlen(r->text)));
}

static struct observation observation_here(struct smi *p, const char *kind)
{
	struct observation o = citer_observation(&p->c, kind, SRC_DRIVER);

	o.scope.rank = RANK_NONE;	/* the host's file names GPUs, not ranks */
	o.scope.gpu = gpu_canonical(&p->c.s->strings, p->gpu_id, strlen(p->gpu_id));
	o.time = p->time;
	return o;
}

static void field(struct smi *p, struct observation *o, const char *name, const char *value)
{
	if (value[0])
		observation_fieldf(p->c.s, o, name, "%s", value);
}

static void emit_state(struct smi *p)
{
	struct observation o = observation_here(p, "gpu.state");

	field(p, &o, "product", p->gpu[PRODUCT].text);
	field(p, &o, "uuid", p->gpu[UUID].text);
	field(p, &o, "driver", p->driver);
	observation_fieldf(p->c.s, &o, "index", "%u", p->n_gpus);
	field(p, &o, "minor", p->gpu[MINOR].text);
	field(p, &o, "memory_used", p->gpu[MEM_USED].text);
	field(p, &o, "memory_total", p->gpu[MEM_TOTAL].text);
	field(p, &o, "utilization", p->gpu[UTIL].text);
	observation_fieldf(p->c.s, &o, "processes", "%u", p->n_processes);
	field(p, &o, "pids", p->pids);
	field(p, &o, "largest_process", p->largest);
	if (p->gpu[AGGREGATE].n)
		observation_fieldf(p->c.s, &o, "aggregate_uncorrectable", "%llu",
				   (unsigned long long)p->gpu[AGGREGATE].total);
	citer_cite(&p->c, &o, p->gpu_at);
	citer_cite(&p->c, &o, p->gpu[UUID].at[0]);
	citer_cite(&p->c, &o, p->gpu[AGGREGATE].at[0]);
	store_observe(p->c.s, &o);
}

static void emit_facts(struct smi *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(facts); i++) {
		const struct reading *r = &p->gpu[facts[i].id];
		struct observation o = observation_here(p, facts[i].kind);

		if (r->n == 0)
			continue;
		if (facts[i].field)
			field(p, &o, facts[i].field, r->text);
		if (facts[i].count)
			observation_fieldf(p->c.s, &o, "count", "%llu", (unsigned long long)r->total);
		for (unsigned k = 0; k < r->n && k < PLACES; k++)
			citer_cite(&p->c, &o, r->at[k]);
		if (facts[i].id == THERMAL)
			citer_cite(&p->c, &o, p->gpu[TEMP].at[0]);
		store_observe(p->c.s, &o);
	}
}

static void add_text(struct smi *p, struct observation *o, const char *name, enum reading_id id)
{
	field(p, o, name, p->gpu[id].text);
	citer_cite(&p->c, o, p->gpu[id].at[0]);
}

/* A narrow link always counts; a slow one only under load, for ASPM lowers idle links. */
static void emit_link(struct smi *p)
{
	int64_t width = number_of(&p->gpu[WIDTH]), gen = number_of(&p->gpu[GEN]);
	bool narrow = width > 0 && width < number_of(&p->gpu[MAX_WIDTH]);
	bool slow = gen > 0 && gen < number_of(&p->gpu[MAX_GEN]) && number_of(&p->gpu[UTIL]) > 0;
	struct observation o = observation_here(p, "pcie.link_degraded");

	if (narrow) {
		add_text(p, &o, "width", WIDTH);
		add_text(p, &o, "max_width", MAX_WIDTH);
	}
	if (slow) {
		add_text(p, &o, "gen", GEN);
		add_text(p, &o, "max_gen", MAX_GEN);
		citer_cite(&p->c, &o, p->gpu[UTIL].at[0]);
	}
	if (narrow || slow)
		store_observe(p->c.s, &o);
}

static void emit_lost(struct smi *p)
{
	bool lost = p->gpu[LOST].n > 0;
	const struct reading *r = &p->gpu[lost ? LOST : UNKNOWN];
	struct observation o = observation_here(p, "gpu.lost");

	if (!lost && r->n < UNKNOWN_ERRORS)
		return;
	field(p, &o, "reading", lost ? "GPU is lost" : "Unknown Error");
	citer_cite(&p->c, &o, p->gpu_at);
	for (unsigned k = 0; k < r->n && k < PLACES; k++)
		citer_cite(&p->c, &o, r->at[k]);
	store_observe(p->c.s, &o);
}

static void finish_gpu(struct smi *p)
{
	if (!p->gpu_id[0])
		snprintf(p->gpu_id, sizeof(p->gpu_id), "%.47s",
			 p->gpu[BUS_ID].n ? p->gpu[BUS_ID].text : p->gpu[UUID].text);
	emit_state(p);
	emit_lost(p);
	emit_facts(p);
	emit_link(p);
	p->n_gpus++;
	p->gpu_depth = 0;
}

/* ---- elements ---- */

static void remember(struct reading *r, struct place at)
{
	if (r->n < PLACES)
		r->at[r->n] = at;
	r->n++;
}

static void append_name(struct reading *r, const char *name)
{
	size_t used = strlen(r->text);

	snprintf(r->text + used, sizeof(r->text) - used, "%s%s", used ? " " : "", name);
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

static void take_reading(struct smi *p, size_t i, const char *text, struct place at)
{
	struct reading *r = &p->gpu[paths[i].id];
	const char *name = strrchr(p->path, '/') + 1, *reason = strstr(name, "_reason_");
	int64_t n = span_number(span_of(text, strlen(text)));
	bool yes = strcmp(text, "Yes") == 0 || strcmp(text, "Active") == 0;

	if (says_nothing(text))
		return;
	switch (paths[i].how) {
	case TEXT:
		snprintf(r->text, sizeof(r->text), "%.*s", (int)sizeof(r->text) - 1, text);
		r->n = 0;	/* the last of several holds */
		break;
	case COUNT:
		if (n <= 0)
			return;
		r->total += (uint64_t)n;
		append_name(r, name);
		break;
	case FLAG:
		if (!yes)
			return;
		append_name(r, reason ? reason + strlen("_reason_") : name);
		break;
	case WANTED:
		if (strcmp(text, "None") == 0)
			return;
		append_name(r, text);
		break;
	}
	remember(r, at);
}

static void take_leaf(struct smi *p, const char *below_gpu, const char *text, struct place at)
{
	if (strcasestr(text, "GPU is lost"))
		remember(&p->gpu[LOST], at);
	else if (strcasestr(text, "Unknown Error") || strcmp(text, "ERR!") == 0)
		remember(&p->gpu[UNKNOWN], at);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (fnmatch(paths[i].path, below_gpu, FNM_PATHNAME) == 0) {
			take_reading(p, i, text, at);
			return;
		}
}

/* A process that holds memory of this GPU. */
static void finish_process(struct smi *p)
{
	int64_t pid = number_of(&p->gpu[PROC_PID]), mib = number_of(&p->gpu[PROC_MEM]);
	struct rank_identity id = { .rank = RANK_NONE, .local_rank = RANK_NONE,
				    .trust = TRUST_LAUNCHER };
	size_t used = strlen(p->pids);

	if (pid > 0 && pid <= INT32_MAX) {
		p->n_processes++;
		if (used + 12 < sizeof(p->pids))
			sprintf(p->pids + used, "%s%lld", used ? " " : "", (long long)pid);
		id.pid = (int32_t)pid;
		id.host = p->c.s->members[p->c.member].host;
		id.gpu = gpu_canonical(&p->c.s->strings, p->gpu_id, strlen(p->gpu_id));
		identity_learn(p->c.s, &id);
	}
	if (pid > 0 && mib > p->largest_mib) {
		p->largest_mib = mib;
		snprintf(p->largest, sizeof(p->largest), "%s (pid %lld): %s",
			 p->gpu[PROC_NAME].n ? p->gpu[PROC_NAME].text : "?", (long long)pid,
			 p->gpu[PROC_MEM].text);
	}
	for (int i = PROC_PID; i <= PROC_MEM; i++)
		p->gpu[i] = (struct reading){ 0 };
}

static void take_top(struct smi *p, const char *text, struct place at)
{
	if (strcmp(p->path, "/timestamp") == 0) {
		p->time = span_time(span_of(text, strlen(text)));
	} else if (strcmp(p->path, "/driver_version") == 0) {
		snprintf(p->driver, sizeof(p->driver), "%.*s", (int)sizeof(p->driver) - 1, text);
	} else if (strcmp(p->path, "/attached_gpus") == 0) {
		p->attached = span_number(span_of(text, strlen(text)));
		p->attached_at = at;
	}
}

/* ---- libxml2 ---- */

/* Where the parser stands in the member. */
static size_t offset_now(const struct smi *p)
{
	long at = xmlByteConsumed(p->xml);
	size_t offset = at < 0 ? p->end : p->base + (size_t)at;

	return offset < p->end ? offset : p->end;
}

/* Keep the first complaint of the parser, and about where it arose. */
static void note_damage(struct smi *p)
{
	const xmlError *e = xmlCtxtGetLastError(p->xml);

	if (p->xml->wellFormed || p->damage.code || p->root_closed || !e || !e->message)
		return;
	error_at(&p->damage, ERR_FORMAT, offset_now(p), "%.*s", (int)strcspn(e->message, "\n"),
		 e->message);
}

static size_t tag_offset(const struct smi *p, const char *name)
{
	const char *lt = memrchr(p->c.data + p->base, '<', offset_now(p) - p->base);
	size_t room, n = strlen(name);

	if (!lt)
		return SIZE_MAX;
	room = (size_t)(p->c.data + p->end - lt);
	return room > n && memcmp(lt + 1, name, n) == 0 ? (size_t)(lt - p->c.data) : SIZE_MAX;
}

static void push_name(struct smi *p, const char *name)
{
	size_t n = strlen(name);

	if (p->depth == 1)
		return;		/* the root is not part of the path */
	if (p->beyond || p->path_len + 1 + n >= sizeof(p->path)) {
		p->beyond++;
		return;
	}
	p->path[p->path_len++] = '/';
	memcpy(p->path + p->path_len, name, n + 1);
	p->path_len += n;
}

static void open_gpu(struct smi *p, int n_attributes, const xmlChar **a)
{
	memset(p->gpu, 0, sizeof(p->gpu));
	p->gpu_depth = p->depth;
	p->n_processes = 0;
	p->gpu_id[0] = p->pids[0] = p->largest[0] = '\0';
	p->largest_mib = 0;
	p->gpu_at = (struct place){ 0 };
	if (p->tag != SIZE_MAX)		/* the parser stands before its '>' */
		p->gpu_at = (struct place){ p->tag, offset_now(p) + 1 - p->tag };
	for (int i = 0; i < n_attributes; i++, a += 5)	/* name, prefix, URI, value, end */
		if (strcmp((const char *)a[0], "id") == 0 && a[4] - a[3] < (ptrdiff_t)sizeof(p->gpu_id)) {
			memcpy(p->gpu_id, a[3], (size_t)(a[4] - a[3]));
			p->gpu_id[a[4] - a[3]] = '\0';
		}
}

static void on_start(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
		     int n_ns, const xmlChar **ns, int n_attributes, int n_default, const xmlChar **a)
{
	struct smi *p = ctx;

	(void)prefix, (void)uri, (void)n_ns, (void)ns, (void)n_default;
	note_damage(p);
	p->depth++;
	push_name(p, (const char *)name);
	p->leaf = true;
	p->text_len = 0;
	p->tag = tag_offset(p, (const char *)name);
	if (p->depth == 1)
		p->root = strcmp((const char *)name, "nvidia_smi_log") == 0;
	if (p->depth == 2 && p->root && p->n_gpus < GPUS && strcmp((const char *)name, "gpu") == 0)
		open_gpu(p, n_attributes, a);
}

static void on_end(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
	struct smi *p = ctx;
	size_t end = offset_now(p);
	struct place at = { 0 };
	struct span text = span_trim(span_of(p->text, p->text_len));
	bool gpu = p->gpu_depth && p->depth > p->gpu_depth && !p->beyond;
	char value[sizeof(p->text)];

	(void)name, (void)prefix, (void)uri;
	note_damage(p);
	snprintf(value, sizeof(value), "%.*s", (int)text.len, text.s);
	if (p->tag != SIZE_MAX && end > p->tag && p->c.data[end - 1] == '>')
		at = (struct place){ p->tag, end - p->tag };
	if (p->leaf && gpu)
		take_leaf(p, p->path + strlen("/gpu"), value, at);
	else if (p->leaf && p->gpu_depth && p->depth == p->gpu_depth)
		take_leaf(p, "", value, at);	/* <gpu id="...">GPU is lost</gpu> */
	else if (p->leaf && p->root && p->depth == 2)
		take_top(p, value, at);
	if (gpu && strcmp(p->path, "/gpu/processes/process_info") == 0)
		finish_process(p);
	if (p->gpu_depth && p->depth == p->gpu_depth)
		finish_gpu(p);
	if (p->beyond)
		p->beyond--;
	else if (p->path_len)
		p->path_len = (size_t)(strrchr(p->path, '/') - p->path);
	p->path[p->path_len] = '\0';
	p->leaf = false;
	p->depth -= p->depth > 0;
	p->root_closed |= p->depth == 0;
}

static void on_text(void *ctx, const xmlChar *s, int len)
{
	struct smi *p = ctx;
	size_t room = sizeof(p->text) - 1 - p->text_len, n = (size_t)len < room ? (size_t)len : room;

	memcpy(p->text + p->text_len, s, n);
	p->text_len += n;
}

/* `nvidia-smi -i` lists fewer than are attached, too, but then it lists few. */
static void missing_gpus(struct smi *p)
{
	struct observation o = observation_here(p, "gpu.missing");
	int64_t listed = p->n_gpus;

	if (!p->root_closed || p->attached <= listed || p->attached > 2 * listed)
		return;
	o.scope.gpu = 0;
	observation_fieldf(p->c.s, &o, "attached", "%lld", (long long)p->attached);
	observation_fieldf(p->c.s, &o, "listed", "%u", p->n_gpus);
	citer_cite(&p->c, &o, p->attached_at);
	store_observe(p->c.s, &o);
}

static void free_parserp(xmlParserCtxtPtr *p) { xmlFreeParserCtxt(*p); }	/* NULL is fine */

/* One document; what a broken one holds before the break counts. */
static int read_document(struct smi *p, struct error *err)
{
	_cleanup_(free_parserp) xmlParserCtxtPtr xml = xmlNewParserCtxt();
	xmlDocPtr doc;

	if (!xml)
		return error_set(err, ERR_NOMEM, "no memory for the XML parser");
	*xml->sax = (xmlSAXHandler){ .initialized = XML_SAX2_MAGIC, .startElementNs = on_start,
				     .endElementNs = on_end, .characters = on_text, .cdataBlock = on_text };
	xml->userData = p;
	p->xml = xml;
	doc = xmlCtxtReadMemory(xml, p->c.data + p->base, (int)(p->end - p->base), NULL, NULL,
				XML_PARSE_NONET | XML_PARSE_RECOVER | XML_PARSE_NOERROR |
					XML_PARSE_NOWARNING);
	xmlFreeDoc(doc);	/* the handlers build none */
	if (!p->root)
		return error_at(err, ERR_FORMAT, p->base, "no <nvidia_smi_log> element");
	if (p->gpu_depth)
		finish_gpu(p);
	note_damage(p);
	if (!p->root_closed)
		error_at(&p->damage, ERR_FORMAT, p->end, "the document ends inside an element");
	if (p->damage.code)
		store_damage(p->c.s, p->c.member, &p->damage, false);
	missing_gpus(p);
	return 0;
}

/* ---- the member ---- */

/* The XML declaration or DOCTYPE at `p` is like nvidia-smi's: short, and declares nothing. */
static bool plain_prolog(struct span p)
{
	const char *gt = memchr(p.s, '>', p.len < PROLOG_BYTES ? p.len : PROLOG_BYTES);
	unsigned quotes = 0, apostrophes = 0;

	if (!gt)
		return p.len < PROLOG_BYTES;	/* cut */
	p.len = (size_t)(gt - p.s);
	for (size_t i = 0; i < p.len; i++) {
		quotes += p.s[i] == '"';
		apostrophes += p.s[i] == '\'';
	}
	if (span_find(p, "encoding") && !span_find(p, "UTF-8") && !span_find(p, "utf-8"))
		return false;	/* libxml2 would convert it, and our offsets would not hold */
	return quotes % 2 == 0 && apostrophes % 2 == 0 && (!quotes || !apostrophes) && !span_find(p, "[");
}

/*
 * What must not reach libxml2.  A tag ends before the next '<' at the latest:
 * libxml2 gives up a tag there, whatever its quotes say.
 */
static int refuse(const char *data, size_t len, struct error *err)
{
	const char *p = data, *end = data + len, *next;

	for (p = len ? memchr(p, '<', len) : NULL; p; p = next) {
		struct span rest = span_of(p, (size_t)(end - p));

		next = memchr(p + 1, '<', rest.len - 1);
		if ((next ? (size_t)(next - p) : rest.len) > TAG_BYTES)
			return error_at(err, ERR_LIMIT, (uint64_t)(p - data),
					"a tag of more than %zu bytes", TAG_BYTES);
		if ((span_starts(rest, "<!DOCTYPE") || span_starts(rest, "<?xml")) &&
		    !plain_prolog(rest))
			return error_at(err, ERR_UNSUPPORTED, (uint64_t)(p - data),
					"a DOCTYPE or XML declaration that nvidia-smi does not write");
	}
	return 0;
}

int ingest_nvidia_smi(struct store *s, uint32_t member, const char *data, size_t len,
		      struct error *err)
{
	const char *nul = len ? memchr(data, '\0', len) : NULL, *start;
	_cleanup_free_ struct smi *p = malloc(sizeof(*p));
	struct error first = { 0 };
	unsigned n_read = 0;

	if (!p)
		return error_set(err, ERR_NOMEM, "no memory");
	if (len > FILE_BYTES)
		return error_at(err, ERR_LIMIT, FILE_BYTES, "more than %zu bytes of XML", FILE_BYTES);
	if (nul) {
		len = (size_t)(nul - data);
		error_at(&first, ERR_FORMAT, len, "a NUL byte ends the text");
	}
	if (refuse(data, len, err))
		return -1;
	*p = (struct smi){ .c = citer_of(s, member, data, len) };
	start = len ? memmem(data, len, "<?xml", 5) : NULL;
	if (!start && len)
		start = memchr(data, '<', len);
	if (!start)
		return error_at(err, ERR_FORMAT, 0, "no nvidia-smi document");
	for (unsigned n = 0; start && n < DOCUMENTS; n++) {
		size_t left = (size_t)(data + len - start);
		const char *next = left > 5 ? memmem(start + 5, left - 5, "<?xml", 5) : NULL;

		*p = (struct smi){ .c = p->c, .base = (size_t)(start - data),
				   .end = next ? (size_t)(next - data) : len };
		if (read_document(p, &first) == 0)
			n_read++;
		start = next;
	}
	if (start)
		error_at(&first, ERR_LIMIT, (uint64_t)(start - data), "more than %d documents",
			 DOCUMENTS);
	if (n_read == 0)
		return *err = first, -1;
	if (first.code)
		store_damage(s, member, &first, false);
	return 0;
}
