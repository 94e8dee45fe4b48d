#include "analyzer/ingest/ringer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "analyzer/identity.h"
#include "bundle/cleanup.h"

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

static int64_t quote(struct ringer *r, const struct record *rec, const char *fmt, va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	return store_decoded(r->s, r->member, rec->offset, rec->payload, rec->bytes, text,
			     ringer_time(r, rec->monotonic_ns));
}

int64_t ringer_quote(struct ringer *r, const struct record *rec, const char *fmt, ...)
{
	va_list ap;
	int64_t id;

	va_start(ap, fmt);
	id = quote(r, rec, fmt, ap);
	va_end(ap);
	return id;
}

void ringer_cite(struct ringer *r, struct observation *o, const struct record *rec, const char *fmt, ...)
{
	va_list ap;

	if (!store_wants_quote(r->s, o))
		return;
	va_start(ap, fmt);
	observation_cite(o, quote(r, rec, fmt, ap));
	va_end(ap);
}

struct observation ringer_observation(struct ringer *r, const char *kind, enum source_class source,
				      int64_t monotonic_ns)
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
	ringer_cite(r, &o, rec, "%llu records of %s were lost", (unsigned long long)l.lost, source);
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
	ringer_cite(r, &o, rec, "source %s: %s: %.*s", source, state, (int)why.len, why.s);
	store_observe(r->s, &o);
}

static void note_trigger(struct ringer *r, const struct record *rec)
{
	struct record_trigger t;
	struct span what = record_part(rec, &t, sizeof(t));
	char kind[sizeof(t.kind) + 1];
	struct observation o;

	record_text(t.kind, sizeof(t.kind), kind);
	o = ringer_observation(r, strcmp(kind, "hang") == 0 ? "job.no_progress" : "capture.trigger", SRC_HOST,
			       rec->monotonic_ns);
	if (t.pid > 0)
		ringer_scope(r, &o, (uint32_t)t.pid, t.rank, "");
	o.scope.rank = sane_rank(t.rank) >= 0 ? t.rank : o.scope.rank;
	observation_fieldf(r->s, &o, "trigger", "%s", kind);
	ringer_cite(r, &o, rec, "trigger %s: %.*s", kind, (int)what.len, what.s);
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

/* ---- the segment that is read ---- */

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
		error_at(&why, ERR_FORMAT, seg->damaged_at, "%llu damaged records were skipped",
			 (unsigned long long)seg->damaged);
		store_damage(r->s, r->member, &why, false);
	} else if (seg->gaps) {
		error_set(&why, ERR_FORMAT, "%llu records are missing", (unsigned long long)seg->gaps);
		store_damage(r->s, r->member, &why, false);
	}
}
