#include "analyzer/ingest/ring.h"

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

#define NOBODY UINT32_MAX

static const struct {
	uint16_t kind;
	ring_record_fn *fn;
	enum source_class source;
	uint32_t pid_at;		/* in the payload: the process that it is about; NOBODY: the host */
} readers[] = {
	{ REC_PROCESS, ring_process_record, SRC_HOST, offsetof(struct record_process, pid) },
	{ REC_PROCESS_SAMPLE, ring_process_sample, SRC_HOST, offsetof(struct record_process_sample, pid) },
	{ REC_EXEC, ring_exec, SRC_EBPF, offsetof(struct record_exec, pid) },
	{ REC_TASK_EXIT, ring_task_exit, SRC_EBPF, offsetof(struct record_task_exit, pid) },
	{ REC_SIGNAL, ring_signal, SRC_EBPF, offsetof(struct record_signal, target_pid) },
	{ REC_OOM_KILL, ring_oom_kill, SRC_EBPF, offsetof(struct record_oom_kill, victim_pid) },
	{ REC_BLOCKED_TASK, ring_blocked_task, SRC_EBPF, offsetof(struct record_blocked_task, pid) },
	{ REC_BLOCK_IO, ring_block_io, SRC_EBPF, NOBODY },
	{ REC_TCP, ring_tcp, SRC_EBPF, offsetof(struct record_tcp, pid) },
	{ REC_GPU_DEVICE, ring_gpu_device, SRC_DRIVER, NOBODY },
	{ REC_GPU_SAMPLE, ring_gpu_sample, SRC_DRIVER, NOBODY },
	{ REC_GPU_EVENT, ring_gpu_event, SRC_DRIVER, NOBODY },
	{ REC_IB_PORT, ring_ib_port, SRC_NET, NOBODY },
	{ REC_NETDEV, ring_netdev, SRC_NET, NOBODY },
	{ REC_HOST_SAMPLE, ring_host_sample, SRC_HOST, NOBODY },
	{ REC_FILE_SYSTEM, ring_file_system, SRC_HOST, NOBODY },
};

bool ring_is_segment(const uint8_t *head, size_t len)
{
	return len >= sizeof(SEGMENT_MAGIC) - 1 && memcmp(head, SEGMENT_MAGIC, sizeof(SEGMENT_MAGIC) - 1) == 0;
}

/* ---- one segment ---- */

static uint32_t subject_of(const struct record *rec, uint32_t pid_at)
{
	uint32_t pid = 0;

	if (pid_at < rec->bytes && rec->bytes - pid_at >= sizeof(pid))
		memcpy(&pid, rec->payload + pid_at, sizeof(pid));
	return pid;
}

/* The manifest names all ranks of the run on this host. */
static bool is_of_other_job(const struct bundle_run *run, const struct record *rec)
{
	struct record_process p;
	struct record_task_exit t;

	switch (rec->kind) {
	case REC_PROCESS:
		record_part(rec, &p, sizeof(p));
		return p.is_rank == 1 || !run_knows(run, (int32_t)p.ppid);
	case REC_TASK_EXIT:
		record_part(rec, &t, sizeof(t));
		return t.is_tracked == 1;
	default:
		return false;
	}
}

/* About a process of another run than the bundle's: one before it, or another job's beside it. */
static bool is_of_other_run(struct ringer *r, const struct record *rec, uint32_t pid)
{
	const struct bundle_run *run = r->s->members[r->member].run;

	if (!run || !run->begin_ns)
		return false;
	if (run_is_after(run, ringer_time(r, rec->monotonic_ns), 0))
		return true;
	return run->n_pids && !run_knows(run, (int32_t)pid) && is_of_other_job(run, rec);
}

static void read_record(struct ringer *r, const struct record *rec)
{
	ringer_note_time(r, rec->monotonic_ns);
	if (ringer_common(r, rec))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		if (readers[i].kind == rec->kind) {
			r->s->members[r->member].sources |= 1u << readers[i].source;
			if (readers[i].pid_at == NOBODY || !is_of_other_run(r, rec, subject_of(rec, readers[i].pid_at)))
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
	int64_t end_ns = 0;

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
	free(r.process_slot);
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

	return !first ||
	       (in->place == place && in->n < SEGMENTS_MAX && memcmp(first->boot_id, head->boot_id, 16) == 0 &&
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
