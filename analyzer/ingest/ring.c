#include "analyzer/ingest/ring.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/identity.h"
#include "analyzer/ingest/ringer.h"
#include "bundle/cleanup.h"

#define SEGMENTS_MAX 4096		/* of one ring */

/* A segment that waits for the others of its ring. */
struct ring_segment {
	uint32_t member;
	struct segment_head head;
	uint8_t *data;
	size_t len;
};

struct ring_intake {
	struct ring_segment *segments;	/* of the ring that is being read */
	size_t n, cap;
	sid place;			/* the folder that it lies in, of ring-after that of ring */
	struct ring_calls *calls;	/* of all rings */
};

/* Streams in the order in which they are judged. */
static const uint8_t order_of[STREAM_COUNT] = {
	[STREAM_PROC] = 0, [STREAM_GPU] = 1, [STREAM_HOST] = 2, [STREAM_BPF] = 3, [STREAM_NCCL] = 4,
	[STREAM_KERNEL] = 5, [STREAM_LOGS] = 6,
};

static const struct {
	uint16_t kind;
	ring_record_fn *fn;
	enum source_class source;
} readers[] = {
	{ REC_PROCESS, ring_process_record, SRC_HOST },
	{ REC_PROCESS_SAMPLE, ring_process_sample, SRC_HOST },
	{ REC_EXEC, ring_exec, SRC_EBPF },
	{ REC_TASK_EXIT, ring_task_exit, SRC_EBPF },
	{ REC_SIGNAL, ring_signal, SRC_EBPF },
	{ REC_OOM_KILL, ring_oom_kill, SRC_EBPF },
	{ REC_BLOCKED_TASK, ring_blocked_task, SRC_EBPF },
	{ REC_BLOCK_IO, ring_block_io, SRC_EBPF },
	{ REC_TCP, ring_tcp, SRC_EBPF },
	{ REC_GPU_DEVICE, ring_gpu_device, SRC_DRIVER },
	{ REC_GPU_SAMPLE, ring_gpu_sample, SRC_DRIVER },
	{ REC_GPU_EVENT, ring_gpu_event, SRC_DRIVER },
	{ REC_IB_PORT, ring_ib_port, SRC_NET },
	{ REC_NETDEV, ring_netdev, SRC_NET },
	{ REC_HOST_SAMPLE, ring_host_sample, SRC_HOST },
	{ REC_FILE_SYSTEM, ring_file_system, SRC_HOST },
};

bool ring_is_segment(const uint8_t *head, size_t len)
{
	return len >= sizeof(SEGMENT_MAGIC) - 1 && memcmp(head, SEGMENT_MAGIC, sizeof(SEGMENT_MAGIC) - 1) == 0;
}

/* ---- what the readers share ---- */

struct span record_part(const struct record *rec, void *ret, size_t size)
{
	size_t have = rec->bytes < size ? rec->bytes : size;

	memset(ret, 0, size);
	memcpy(ret, rec->payload, have);
	return span_of((const char *)rec->payload + have, rec->bytes - have);
}

int ring_next(struct segment_reader *seg, struct record *ret)
{
	int r;

	while ((r = segment_next(seg, ret)) > 0 && (ret->monotonic_ns < 0 || ret->monotonic_ns > SANE_NS))
		;
	return r;
}

const char *errno_text(int error)
{
	return strerrordesc_np(error) ? strerrordesc_np(error) : "unknown error";
}

const char *record_text(const char *field, size_t size, char *buf)
{
	memcpy(buf, field, size);
	buf[size] = 0;
	return buf;
}

struct stamp ringer_time(const struct ringer *r, int64_t monotonic_ns)
{
	return (struct stamp){ segment_realtime(&r->head, monotonic_ns), TIME_UTC };
}

int64_t ringer_quote(struct ringer *r, const struct record *rec, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return store_decoded(r->s, r->member, rec->offset, rec->payload, rec->bytes, text, ringer_time(r, rec->monotonic_ns));
}

struct observation ringer_observation(struct ringer *r, const char *kind, enum source_class source, int64_t monotonic_ns)
{
	struct observation o = observation_of(kind, source);

	o.member = r->member;
	o.scope.host = r->host;
	o.time = o.onset = ringer_time(r, monotonic_ns);
	return o;
}

void ringer_scope(struct ringer *r, struct observation *o, uint32_t pid, int32_t rank, const char *comm)
{
	const struct ring_process *p = ringer_process(r, pid);

	o->scope.rank = sane_rank(rank) >= 0 ? rank : p && p->is_known ? sane_rank(p->p.rank) : RANK_NONE;
	o->scope.pid = sane_pid(pid);
	if (p && p->is_known) {
		o->scope.local_rank = p->p.is_rank ? sane_rank(p->p.local_rank) : RANK_NONE;
		o->scope.attempt = p->p.attempt > 0 ? p->p.attempt : o->scope.attempt;
		if (p->p.pid_in_ns && p->p.pid_in_ns != pid) {
			o->scope.pid = sane_pid(p->p.pid_in_ns);
			observation_fieldf(r->s, o, "host_pid", "%u", pid);
		}
	}
	o->scope.process = comm[0] ? intern_cstr(&r->s->strings, comm) : 0;
}

/* ---- records that every stream may hold ---- */

enum source_class ring_class_of(const char *source)
{
	static const struct {
		const char *source;
		enum source_class class;
	} classes[] = {
		{ "kmsg", SRC_KERNEL }, { "bpf", SRC_EBPF }, { "nccl", SRC_FLIGHT }, { "flight", SRC_FLIGHT },
		{ "nvml", SRC_DRIVER }, { "amd", SRC_DRIVER }, { "infiniband", SRC_NET }, { "host", SRC_HOST },
		{ "filesystems", SRC_HOST }, { "process", SRC_HOST }, { "logs", SRC_APP }, { "journal", SRC_APP },
	};

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (strcmp(source, classes[i].source) == 0)
			return classes[i].class;
	return SRC_INPUT;
}

static void note_loss(struct ringer *r, const struct record *rec)
{
	struct record_loss l;
	struct observation o = ringer_observation(r, "input.lost", SRC_INPUT, rec->monotonic_ns);
	char source[sizeof(l.source) + 1];

	record_part(rec, &l, sizeof(l));
	record_text(l.source, sizeof(l.source), source);
	if (!l.lost)
		return;
	observation_fieldf(r->s, &o, "source", "%s", source);
	observation_fieldf(r->s, &o, "lost", "%llu", (unsigned long long)l.lost);
	observation_cite(&o, ringer_quote(r, rec, "%llu records of %s were lost", (unsigned long long)l.lost, source));
	store_observe(r->s, &o);
}

static void note_source(struct ringer *r, const struct record *rec)
{
	static const char *const states[] = { "ok", "absent", "denied", "failed", "lost" };
	struct record_source src;
	struct observation o = ringer_observation(r, "capture.source", SRC_INPUT, rec->monotonic_ns);
	struct span why = record_part(rec, &src, sizeof(src));
	char source[sizeof(src.source) + 1];
	const char *state = src.state < ARRAY_SIZE(states) ? states[src.state] : "unknown";

	record_text(src.source, sizeof(src.source), source);
	if (src.state == SOURCE_OK) {
		r->s->members[r->member].sources |= 1u << ring_class_of(source);
		return;
	}
	observation_fieldf(r->s, &o, "source", "%s", source);
	observation_fieldf(r->s, &o, "class", "%s", source_name(ring_class_of(source)));
	observation_fieldf(r->s, &o, "state", "%s", state);
	observation_field(r->s, &o, "reason", why.s, why.len < 200 ? why.len : 200);
	observation_cite(&o, ringer_quote(r, rec, "source %s: %s: %.*s", source, state, (int)why.len, why.s));
	store_observe(r->s, &o);
}

static void note_trigger(struct ringer *r, const struct record *rec)
{
	struct record_trigger t;
	struct span what = record_part(rec, &t, sizeof(t));
	char kind[sizeof(t.kind) + 1];
	struct observation o;

	record_text(t.kind, sizeof(t.kind), kind);
	o = ringer_observation(r, strcmp(kind, "hang") == 0 ? "job.no_progress" : "capture.trigger", SRC_HOST, rec->monotonic_ns);
	if (t.pid > 0)
		ringer_scope(r, &o, (uint32_t)t.pid, t.rank, "");
	o.scope.rank = sane_rank(t.rank) >= 0 ? t.rank : o.scope.rank;
	observation_fieldf(r->s, &o, "trigger", "%s", kind);
	observation_cite(&o, ringer_quote(r, rec, "trigger %s: %.*s", kind, (int)what.len, what.s));
	store_observe(r->s, &o);
}

bool ringer_common(struct ringer *r, const struct record *rec)
{
	switch (rec->kind) {
	case REC_LOSS: note_loss(r, rec); return true;
	case REC_SOURCE: note_source(r, rec); return true;
	case REC_TRIGGER: note_trigger(r, rec); return true;
	case REC_CLOCK: return true;
	default: return false;
	}
}

/* ---- one segment ---- */

void ringer_begin(struct ringer *r, struct store *s, uint32_t member, const struct segment_head *head)
{
	struct member *m = &s->members[member];

	r->s = s;
	r->member = member;
	r->head = *head;
	r->stream = (enum stream_id)head->stream;
	r->host = intern(&s->strings, head->host, strnlen(head->host, sizeof(head->host)));
	if (r->host) {
		m->host = r->host;
		m->host_from_path = false;
		identity_host(s, r->host);
	}
	if (!r->host)
		r->host = m->host;
}

void ringer_note_time(struct ringer *r, int64_t monotonic_ns)
{
	struct member *m = &r->s->members[r->member];
	struct stamp t = ringer_time(r, monotonic_ns);

	if (!m->first.base)
		m->first = t;
	m->last = t;
}

/* What the reading of a segment met. */
void ringer_damage(struct ringer *r, const struct segment_reader *seg)
{
	struct error why = { 0 };

	if (seg->damaged) {
		error_at(&why, ERR_FORMAT, seg->damaged_at, "%llu damaged records were skipped", (unsigned long long)seg->damaged);
		store_damage(r->s, r->member, &why, false);
	} else if (seg->gaps) {
		error_set(&why, ERR_FORMAT, "%llu records are missing", (unsigned long long)seg->gaps);
		store_damage(r->s, r->member, &why, false);
	}
}

static void read_record(struct ringer *r, const struct record *rec)
{
	ringer_note_time(r, rec->monotonic_ns);
	if (ringer_common(r, rec))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		if (readers[i].kind == rec->kind) {
			r->s->members[r->member].sources |= 1u << readers[i].source;
			readers[i].fn(r, rec);
			return;
		}
}

/* Records of `g` from `*next_seq` on: what an earlier copy of the segment held counts once. */
static void read_segment(struct ringer *r, const struct ring_segment *g, uint64_t *next_seq)
{
	struct segment_reader seg;
	struct error ignored = { 0 };
	struct record rec;

	if (segment_open(&seg, g->data, g->len, &ignored))
		return;
	ringer_begin(r, r->s, g->member, &g->head);
	while (ring_next(&seg, &rec)) {
		if (rec.seq < *next_seq)
			continue;
		*next_seq = rec.seq + 1;
		read_record(r, &rec);	/* calls are kept for later, and no reader knows them */
	}
	ringer_damage(r, &seg);
}

/* ---- one ring ---- */

static int compare_segments(const void *a, const void *b)
{
	const struct ring_segment *x = a, *y = b;

	if (x->head.stream != y->head.stream)
		return order_of[x->head.stream] < order_of[y->head.stream] ? -1 : 1;
	if (x->head.first_seq != y->head.first_seq)
		return x->head.first_seq < y->head.first_seq ? -1 : 1;
	return (x->member > y->member) - (x->member < y->member);
}

/* The last moment that any stream tells of. */
static int64_t last_moment(const struct ring_intake *in)
{
	int64_t end_ns = INT64_MIN;

	for (size_t i = 0; i < in->n; i++) {
		struct segment_reader seg;
		struct error ignored = { 0 };
		struct record rec;

		if (segment_open(&seg, in->segments[i].data, in->segments[i].len, &ignored))
			continue;
		while (ring_next(&seg, &rec))
			if (rec.monotonic_ns > end_ns)
				end_ns = rec.monotonic_ns;
	}
	return end_ns;
}

static int judge_ring(struct ring_intake *in, struct store *s, const struct pattern_set *set)
{
	static ring_end_fn *const ends[] = { ring_process_end, ring_task_end, ring_gpu_end };
	struct ringer r = { .s = s, .set = set };
	uint64_t next_seq[STREAM_COUNT] = { 0 };
	int ret = 0;

	if (!in->n)
		return 0;
	qsort(in->segments, in->n, sizeof(*in->segments), compare_segments);
	r.end_ns = last_moment(in);
	for (size_t i = 0; i < in->n; i++) {
		struct ring_segment *g = &in->segments[i];

		uint64_t first_seq = next_seq[g->head.stream];

		read_segment(&r, g, &next_seq[g->head.stream]);
		if (g->head.stream == STREAM_NCCL)
			ret |= ring_calls_add(&in->calls, &r, take(g->data), g->len, first_seq);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		ends[i](&r);
	for (size_t i = 0; i < in->n; i++)
		free(in->segments[i].data);
	in->n = 0;
	free(r.processes);
	free(r.gpus);
	free(r.ports);
	free(r.mounts);
	return ret;
}

/* The folder of a member, where ring-after/ is the same as ring/: sequence numbers rise within it. */
static sid place_of(struct store *s, const struct member *m)
{
	static const char after[] = "-after";
	const char *name = intern_str(&s->strings, m->name ? m->name : m->input), *slash = strrchr(name, '/');
	size_t len = slash ? (size_t)(slash - name) : 0;
	char text[4096];

	if (len >= sizeof(after) - 1 && memcmp(name + len - (sizeof(after) - 1), after, sizeof(after) - 1) == 0)
		len -= sizeof(after) - 1;
	snprintf(text, sizeof(text), "%s\n%.*s", m->name ? intern_str(&s->strings, m->input) : "", (int)len, name);
	return intern_cstr(&s->strings, text);
}

static bool same_ring(const struct ring_intake *in, const struct segment_head *head, sid place)
{
	const struct segment_head *first = in->n ? &in->segments[0].head : NULL;

	return !first || (in->place == place && in->n < SEGMENTS_MAX && memcmp(first->boot_id, head->boot_id, 16) == 0 &&
			  memcmp(first->host, head->host, sizeof(head->host)) == 0);
}

static int keep(struct ring_intake *in, uint32_t member, const struct segment_head *head, const void *data, size_t len)
{
	struct ring_segment *g;

	if (in->n == in->cap) {
		size_t cap = in->cap ? in->cap * 2 : 64;
		void *p = reallocarray(in->segments, cap, sizeof(*in->segments));

		if (!p)
			return -1;
		in->segments = p;
		in->cap = cap;
	}
	g = &in->segments[in->n];
	*g = (struct ring_segment){ .member = member, .head = *head, .data = malloc(len), .len = len };
	if (!g->data)
		return -1;
	memcpy(g->data, data, len);
	in->n++;
	return 0;
}

int ring_take(struct store *s, const struct pattern_set *set, uint32_t member, const void *data, size_t len,
	      struct error *err)
{
	struct segment_reader seg;
	int r = segment_open(&seg, data, len, err);
	sid place;

	if (r < 0)
		return -1;
	if (r == 0 && (seg.head.clock.realtime_ns < 0 || seg.head.clock.realtime_ns > SANE_NS ||
		       seg.head.clock.monotonic_ns < 0 || seg.head.clock.monotonic_ns > SANE_NS))
		return error_at(err, ERR_FORMAT, offsetof(struct segment_head, clock), "a segment of no possible time");
	if (r > 0 || seg.head.stream >= STREAM_COUNT)
		return s->members[member].state = MEMBER_IGNORED, 0;
	if (seg.head.stream == STREAM_KERNEL || seg.head.stream == STREAM_LOGS)
		return 1;
	if (!s->ring)
		s->ring = calloc(1, sizeof(*s->ring));
	place = place_of(s, &s->members[member]);
	if (!s->ring || (!same_ring(s->ring, &seg.head, place) && judge_ring(s->ring, s, set)))
		return error_set(err, ERR_NOMEM, "no memory for the ring");
	s->ring->place = place;
	return keep(s->ring, member, &seg.head, data, len) ? error_set(err, ERR_NOMEM, "no memory for the ring") : 0;
}

int ring_settle(struct store *s, const struct pattern_set *set, struct error *err)
{
	if (!s->ring)
		return 0;
	if (judge_ring(s->ring, s, set))
		return error_set(err, ERR_NOMEM, "no memory for the ring");
	return ring_calls_fold(s, s->ring->calls, err);
}

void ring_relabel(struct store *s)
{
	for (size_t i = 0; i < s->n_obs; i++) {
		struct observation *o = &s->obs[i];

		if (o->source == SRC_FLIGHT && o->n_evidence &&
		    strcmp(s->members[s->evidence[o->evidence[0]].member].kind, "ring") == 0)
			o->source = SRC_EBPF;
	}
}

void ring_free(struct store *s)
{
	if (!s->ring)
		return;
	for (size_t i = 0; i < s->ring->n; i++)
		free(s->ring->segments[i].data);
	free(s->ring->segments);
	ring_calls_free(s->ring->calls);
	free(s->ring);
	s->ring = NULL;
}
