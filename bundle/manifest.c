#include "bundle/manifest.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bundle/cleanup.h"
#include "bundle/text.h"

const char *manifest_state_name(enum source_state s)
{
	static const char *const names[] = {
		[SOURCE_OK] = "ok", [SOURCE_ABSENT] = "absent", [SOURCE_DENIED] = "denied",
		[SOURCE_FAILED] = "failed", [SOURCE_LOST] = "lost",
	};

	return (size_t)s < ARRAY_SIZE(names) ? names[s] : "failed";
}

/* NULL and "" are null. */
static json_t *text(const char *s)
{
	char shown[1024];

	if (!s || !s[0])
		return json_null();
	text_printable(s, strnlen(s, sizeof(shown)), shown, sizeof(shown));
	return json_string(shown);
}

static json_t *number(int64_t v) { return v < 0 ? json_null() : json_integer(v); }

/* RFC 3339, UTC, with nanoseconds; 0 is null. */
static json_t *moment(int64_t ns)
{
	char day[32], full[48];
	time_t s = (time_t)(ns / 1000000000);
	struct tm tm;

	if (ns <= 0 || !gmtime_r(&s, &tm))
		return json_null();
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(full, sizeof(full), "%s.%09lldZ", day, (long long)(ns % 1000000000));
	return json_string(full);
}

static json_t *trigger_json(const struct manifest_trigger *t)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "kind", text(t->kind), "reason", text(t->reason), "pid", number(t->pid),
			 "rank", number(t->rank), "time", moment(t->realtime_ns));
}

static json_t *clock_json(const struct manifest_host *h)
{
	return json_pack("{s:I, s:I, s:I, s:o, s:I, s:I}", "realtime_ns", (json_int_t)h->clock.realtime_ns, "monotonic_ns",
			 (json_int_t)h->clock.monotonic_ns, "boottime_ns", (json_int_t)h->clock.boottime_ns, "state",
			 text(h->clock_state), "offset_ns", (json_int_t)h->clock_offset_ns, "error_ns",
			 (json_int_t)h->clock_error_ns);
}

static json_t *job_json(const struct manifest *m)
{
	json_t *ranks = json_array();

	for (size_t i = 0; i < m->n_ranks; i++) {
		const struct manifest_rank *r = &m->ranks[i];

		json_array_append_new(ranks, json_pack("{s:o, s:o, s:I, s:o, s:o}", "rank", number(r->rank), "local_rank",
						       number(r->local_rank), "pid", (json_int_t)r->pid, "attempt",
						       number(r->attempt), "gpu", text(r->gpu)));
	}
	return json_pack("{s:o, s:o, s:o, s:o}", "id", text(m->job), "begin", moment(m->begin_ns), "world_size",
			 number(m->world_size), "ranks", ranks);
}

static json_t *ring_json(const struct manifest *m)
{
	if (!m->ring_dir)
		return json_null();
	return json_pack("{s:o, s:I, s:b}", "directory", text(m->ring_dir), "bytes", (json_int_t)m->ring_bytes,
			 "survives_panic", !m->ring_is_volatile);
}

static char *finish(json_t *o)
{
	char *s = o ? json_dumps(o, JSON_INDENT(1)) : NULL;

	json_decref(o);
	return s;
}

char *manifest_json(const struct manifest *m)
{
	json_t *sources = json_array();

	for (size_t i = 0; m->planned && m->planned[i]; i++)
		json_array_append_new(sources, json_pack("{s:o, s:s}", "name", text(m->planned[i]), "state", "planned"));
	return finish(json_pack("{s:s, s:{s:s, s:s}, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
				"schema", "tachograph.bundle/1", "tool", "name", "tdump", "version", TACHOGRAPH_VERSION,
				"host", text(m->host->name), "boot_id", text(m->host->boot_id), "kernel",
				text(m->host->kernel), "machine", text(m->host->machine), "time",
				moment(m->captured_ns), "clock", clock_json(m->host), "job", job_json(m), "trigger",
				trigger_json(&m->trigger), "from", text(m->from), "ring", ring_json(m), "sources",
				sources));
}

static json_t *stream_json(const struct manifest_stream *s)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:o}", "name", s->name, "records", (json_int_t)s->records, "lost",
			 (json_int_t)s->lost, "damaged", (json_int_t)s->damaged, "missing", (json_int_t)s->gaps, "first",
			 moment(s->first_ns), "last", moment(s->last_ns));
}

static json_t *member_json(const struct bundle_member *m)
{
	return json_pack("{s:o, s:I, s:s, s:b}", "name", text(m->name), "bytes", (json_int_t)m->bytes, "sha256", m->sha256,
			 "padded", (int)m->is_short);
}

char *manifest_end_json(const struct manifest_end *m)
{
	json_t *sources = json_array(), *streams = json_array(), *members = json_array(), *lost = json_array();
	json_t *more = json_array(), *notes = json_array();

	for (size_t i = 0; i < m->n_sources; i++)
		json_array_append_new(sources, json_pack("{s:o, s:o, s:s, s:o}", "name", text(m->sources[i].name), "when",
							 text(m->sources[i].when), "state",
							 manifest_state_name(m->sources[i].state), "reason",
							 text(m->sources[i].reason)));
	for (size_t i = 0; i < m->n_streams; i++)
		json_array_append_new(streams, stream_json(&m->streams[i]));
	for (size_t i = 0; i < m->n_members; i++)
		json_array_append_new(members, member_json(&m->members[i]));
	for (size_t i = 0; i < m->n_lost; i++)
		json_array_append_new(lost, text(m->lost[i].name));
	for (size_t i = 0; i < m->n_more; i++)
		json_array_append_new(more, trigger_json(&m->more[i]));
	for (size_t i = 0; i < m->n_notes; i++)
		json_array_append_new(notes, text(m->notes[i]));
	return finish(json_pack("{s:s, s:o, s:o, s:o, s:I, s:o, s:o, s:o}", "schema", "tachograph.bundle-end/1", "sources",
				sources, "streams", streams, "triggers", more, "masked_secrets", (json_int_t)m->masked,
				"lost_members", lost, "notes", notes, "members", members));
}
