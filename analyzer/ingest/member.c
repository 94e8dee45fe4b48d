#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/identity.h"
#include "analyzer/ingest/intake.h"
#include "analyzer/ingest/ring.h"
#include "analyzer/ingest/structured.h"
#include "bundle/cleanup.h"

#define WHOLE_MAX ((size_t)512 << 20)	/* of a format that is read whole */

/* Formats that are parsed from one buffer. */
static const struct {
	enum format format;
	int (*parse)(struct store *, uint32_t, const char *, size_t, struct error *);	/* above 0: the rest is a log */
	enum source_class source;	/* that it can witness; SRC_COUNT: it says nothing by being silent */
	bool is_text;			/* what the parser cannot read is a log all the same */
	bool also_log;			/* lines that the parser does not know may hold signatures */
} whole[] = {
	{ FMT_NVIDIA_SMI, ingest_nvidia_smi, SRC_DRIVER, false, false },
	{ FMT_GPU_TEXT, ingest_gpu_text, SRC_DRIVER, true, false },
	{ FMT_GPU_JSON, ingest_gpu_json, SRC_DRIVER, false, false },
	{ FMT_DCGM_TEXT, ingest_dcgm_text, SRC_COUNT, true, false },
	{ FMT_DCGM_JSON, ingest_dcgm_json, SRC_COUNT, false, false },
	{ FMT_RAS_TEXT, ingest_nccl_ras_text, SRC_COUNT, true, true },
	{ FMT_RAS_JSON, ingest_nccl_ras_json, SRC_COUNT, false, false },
	{ FMT_K8S_JSON, ingest_kubernetes_json, SRC_SCHEDULER, false, false },
	{ FMT_K8S_TEXT, ingest_kubernetes_text, SRC_SCHEDULER, true, false },
	{ FMT_STACKS, ingest_stacks, SRC_HOST, true, true },
	{ FMT_ELASTIC, ingest_elastic_error, SRC_LAUNCHER, false, false },
};

/* The scanner takes longer to build than a small input to read: only when there is text. */
static int need_log(struct intake *in, struct error *err)
{
	if (in->log)
		return 0;
	return scanner_init(&in->scanner, in->set, err) ? -1 : log_open(&in->scanner, in->s, &in->opt->log, &in->log, err);
}

static int read_log(struct intake *in, uint32_t member, struct tap *t, struct error *err)
{
	if (need_log(in, err))
		return -1;
	log_begin(in->log, member);
	while (!stopped(in)) {
		size_t room, n;
		uint8_t *to = log_room(in->log, &room);

		n = tap_read(t, to, room);
		if (n == 0)
			break;
		log_advance(in->log, n);
	}
	log_end(in->log);
	return 0;
}

/* Lines of a text that lies in memory, from one that begins at `from`. */
static int scan_buffer(struct intake *in, uint32_t member, const uint8_t *data, size_t len, size_t from, struct error *err)
{
	if (need_log(in, err))
		return -1;
	log_begin(in->log, member);
	if (from)
		log_jump(in->log, from);
	data += from;
	len -= from;
	while (len) {
		size_t room;
		uint8_t *to = log_room(in->log, &room);

		if (room > len)
			room = len;
		memcpy(to, data, room);
		log_advance(in->log, room);
		data += room;
		len -= room;
	}
	log_end(in->log);
	return 0;
}

/* Read the rest of a member into the pool's next buffer; its length, SIZE_MAX: too large. */
static size_t slurp(struct intake *in, struct tap *t, uint8_t **data_ret)
{
	size_t n = 0, size = (size_t)1 << 20, got;
	uint8_t *data = flight_pool_buffer(in->pool, 0, size);

	while (data && (got = tap_read(t, data + n, size - n)) > 0) {
		n += got;
		if (n < size)
			continue;
		if (size >= WHOLE_MAX) {
			error_at(&t->err, ERR_LIMIT, n, "larger than the %zu MiB that are read of such a file", WHOLE_MAX >> 20);
			break;
		}
		size *= 2;
		data = flight_pool_buffer(in->pool, n, size);
	}
	if (!data)
		error_set(&t->err, ERR_NOMEM, "no memory for the file");
	*data_ret = data;
	return data ? n : 0;
}

static void read_flight(struct intake *in, uint32_t member, struct tap *t, const char *path)
{
	struct flight_job job = { .member = member, .rank = rank_from_path(path), .captured_ns = in->captured_ns,
				  .again = files_in_folder(in, path, "fr-2") };
	struct error why = { 0 };
	uint8_t *data;
	size_t n = slurp(in, t, &data);

	in->s->members[member].rank = job.rank;
	if (job.rank == RANK_NONE) {
		error_set(&why, ERR_UNSUPPORTED, "a flight-recorder dump whose file name states no rank");
		store_damage(in->s, member, &why, true);
		return;
	}
	flight_pool_submit(in->pool, n, &job);
}

static int64_t json_time(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));
	struct stamp t;

	return text && time_parse(text, strlen(text), &t) && t.base == TIME_UTC ? t.ns : 0;
}

/* The run that it is about, and when the kernel's clock stood at zero. */
static struct bundle_run *run_of_manifest(struct store *s, const json_t *o)
{
	const json_t *job = json_object_get(o, "job"), *clock = json_object_get(o, "clock"), *rank;
	int64_t realtime_ns = json_integer_value(json_object_get(clock, "realtime_ns"));
	int64_t monotonic_ns = json_integer_value(json_object_get(clock, "monotonic_ns"));
	struct bundle_run *run = ARENA_NEW(&s->arena, struct bundle_run);
	size_t i;

	if (!run)
		return NULL;
	run->begin_ns = json_time(job, "begin");
	if (monotonic_ns >= 0 && realtime_ns > monotonic_ns)
		run->boot_ns = realtime_ns - monotonic_ns;
	json_array_foreach(json_object_get(job, "ranks"), i, rank)
		run_learn(s, run, (uint32_t)json_integer_value(json_object_get(rank, "pid")));
	return run;
}

static void read_manifest(struct intake *in, uint32_t member, const uint8_t *data, size_t n)
{
	json_error_t je;
	json_t *o = json_loadb((const char *)data, n, 0, &je);
	const char *host = json_string_value(json_object_get(o, "host"));
	struct error why = { 0 };

	if (!o) {
		error_at(&why, ERR_FORMAT, (uint64_t)(je.position > 0 ? je.position : 0), "manifest: %s", je.text);
		store_damage(in->s, member, &why, false);
		return;
	}
	in->bundle_manifest = in->s->members[member].input;
	in->bundle_path = strlen(intern_str(&in->s->strings, in->bundle_manifest));
	if (!in->s->members[member].name && in->bundle_path >= sizeof(MANIFEST) - 1)
		in->bundle_path -= sizeof(MANIFEST) - 1;
	in->captured_ns = json_time(o, "time");
	in->run = run_of_manifest(in->s, o);
	in->bundle_host = intern_cstr(&in->s->strings, host);
	in->s->members[member].host = in->bundle_host;
	identity_host(in->s, in->bundle_host);
	json_decref(o);
}

static int read_whole(struct intake *in, uint32_t member, enum format f, struct tap *t, struct error *err)
{
	struct error why = { 0 };
	uint8_t *data;
	size_t n = slurp(in, t, &data);
	int rest;

	if (!data)
		return 0;
	if (f == FMT_MANIFEST)
		return read_manifest(in, member, data, n), 0;
	for (size_t i = 0; i < ARRAY_SIZE(whole); i++) {
		if (whole[i].format != f)
			continue;
		if (whole[i].source != SRC_COUNT)
			in->s->members[member].sources |= 1u << whole[i].source;
		rest = whole[i].parse(in->s, member, (const char *)data, n, &why);
		if (rest < 0 && !whole[i].is_text)
			store_damage(in->s, member, &why, true);
		else if (rest > 0)
			return scan_buffer(in, member, data, n, (size_t)rest, err);
		else if (whole[i].also_log || why.code)
			return scan_buffer(in, member, data, n, 0, err);
	}
	return 0;
}

/* A segment of the recorder's ring: what is text in it is scanned like any other. */
static int read_ring(struct intake *in, uint32_t member, struct tap *t, struct error *err)
{
	struct error why = { 0 };
	uint8_t *data;
	size_t n = slurp(in, t, &data);
	int r = data ? ring_take(in->s, in->set, member, data, n, &why) : 0;

	if (r < 0)
		return store_damage(in->s, member, &why, true), 0;
	if (r == 0)
		return 0;
	return need_log(in, err) ? -1 : ring_scan(in->s, member, data, n, in->log, err);
}

void member_name(struct intake *in, struct member *m, const char *path)
{
	const char *host, *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	size_t n = host_from_path(path, &host);

	m->rank = rank_from_path(path);
	m->rank_from_path = true;
	/* A trailing number names a rank only where the name says so. */
	if (!strcasestr(base, "rank") && !looks_like_dump(path))
		m->rank = RANK_NONE;
	m->run = files_in_folder(in, path, "previous") ? NULL : in->run;
	m->host = in->bundle_host;
	if (!m->host && n) {
		m->host = intern(&in->s->strings, host, n);
		m->host_from_path = true;
	}
}

void member_finish(struct intake *in, uint32_t index, struct tap *t)
{
	struct member *m = &in->s->members[index];

	m->bytes = t->bytes;
	if (t->err.code)
		store_damage(in->s, index, &t->err, false);
	if (t->digest)
		digest_close(t->digest, m->sha256);
	in->bytes += t->bytes;
}

int member_read(struct intake *in, uint32_t member, struct tap *t, const char *path, struct error *err)
{
	enum format f = detect(t->head, t->head_len);
	struct member *m = &in->s->members[member];
	struct error why = { 0 };

	m->kind = format_name(f);
	switch (f) {
	case FMT_EMPTY:
		if (looks_like_dump(path)) {
			m->kind = format_name(FMT_FLIGHT);
			error_at(&why, ERR_FORMAT, 0, "the file is empty");
			store_damage(in->s, member, &why, false);
		} else {
			m->state = MEMBER_IGNORED;
		}
		return 0;
	case FMT_FLIGHT:
		return read_flight(in, member, t, path), 0;
	case FMT_BINARY:
		if (looks_like_dump(path)) {
			m->kind = format_name(FMT_FLIGHT);
			error_at(&why, ERR_FORMAT, 0, "named like a flight-recorder dump, but neither a pickle nor JSON");
			store_damage(in->s, member, &why, true);
			return 0;
		}
		m->state = MEMBER_IGNORED;
		return 0;
	case FMT_TOPOLOGY:
		m->state = MEMBER_IGNORED;
		return 0;
	case FMT_LOG:
		if (named_like_dump(path)) {
			error_at(&why, ERR_FORMAT, 0, "named like a flight-recorder dump, but neither a pickle nor JSON");
			store_damage(in->s, member, &why, false);
		}
		m->sources |= 1u << SRC_APP;
		return read_log(in, member, t, err);
	case FMT_RING:
		return read_ring(in, member, t, err);
	case FMT_NVIDIA_SMI:
	case FMT_GPU_TEXT:
	case FMT_GPU_JSON:
	case FMT_DCGM_TEXT:
	case FMT_DCGM_JSON:
	case FMT_RAS_TEXT:
	case FMT_RAS_JSON:
	case FMT_K8S_JSON:
	case FMT_K8S_TEXT:
	case FMT_STACKS:
	case FMT_ELASTIC:
	case FMT_MANIFEST:
	case FMT_COUNT:
		break;
	}
	return read_whole(in, member, f, t, err);
}
