#include "capture/dump_manifest.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/capture.h"

#define SOURCES_MAX 96

/* ---- who ---- */

static void read_clock_state(struct manifest_host *h)
{
	struct timex t = { 0 };
	int state = adjtimex(&t);

	h->clock_state = state < 0 ? "unknown" : t.status & STA_UNSYNC || state == TIME_ERROR ? "unsynchronised" : "synchronised";
	h->clock_offset_ns = t.status & STA_NANO ? t.offset : t.offset * 1000;
	h->clock_error_ns = t.maxerror * 1000;
}

void dump_host_now(struct manifest_host *ret)
{
	_cleanup_dump_text_ struct dump_text boot = { 0 };
	struct utsname u;

	*ret = (struct manifest_host){ .clock = clock_now() };
	gethostname(ret->name, sizeof(ret->name) - 1);
	if (uname(&u) == 0) {
		snprintf(ret->kernel, sizeof(ret->kernel), "%s %s", u.release, u.version);
		snprintf(ret->machine, sizeof(ret->machine), "%s", u.machine);
	}
	if (dump_read_file("/proc/sys/kernel/random/boot_id", 36, &boot) == 0)
		snprintf(ret->boot_id, sizeof(ret->boot_id), "%s", boot.s);
	read_clock_state(ret);
}

void dump_host_of_ring(const struct ring_take *t, struct manifest_host *ret)
{
	*ret = (struct manifest_host){ .clock = t->clock, .clock_state = "unknown" };
	snprintf(ret->name, sizeof(ret->name), "%s", t->host);
	snprintf(ret->boot_id, sizeof(ret->boot_id), "%s", t->boot_id);
}

/* ---- the first ---- */

static struct manifest_trigger trigger_of(const struct dump_trigger *t)
{
	return (struct manifest_trigger){ t->kind, t->reason, t->pid, t->rank, t->realtime_ns };
}

/* Sources of the daemon by their table, then those of the dump. */
static void plan(const struct dump_facts *f, const char *planned[SOURCES_MAX])
{
	size_t n = 0;

	for (size_t i = 0; f->rq->ring_dir && sources[i] && n + 1 < SOURCES_MAX; i++)
		if (!config_source_is_off(f->rq->config, sources[i]->name))
			planned[n++] = sources[i]->name;
	for (size_t i = 0; f->rq->live && dump_sources[i] && n + 2 < SOURCES_MAX; i++)
		planned[n++] = dump_sources[i]->name;
	planned[n++] = dump_logs.name;
	planned[n] = NULL;
}

/* Of its files. */
static uint64_t segments_bytes(const char *dir)
{
	DIR *d = opendir(dir);
	uint64_t sum = 0;

	for (const struct dirent *e; d && (e = readdir(d));) {
		struct stat st;

		if (strstr(e->d_name, ".tcr") && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			sum += (uint64_t)st.st_size;
	}
	if (d)
		closedir(d);
	return sum;
}

char *dump_manifest_begin(const struct dump_facts *f)
{
	_cleanup_free_ struct manifest_rank *ranks = calloc(f->n_processes + 1, sizeof(*ranks));
	const char *planned[SOURCES_MAX];
	struct manifest m = { .host = f->host, .captured_ns = f->captured_ns, .begin_ns = f->run_begin_ns, .job = f->rq->job, .world_size = -1,
			      .ranks = ranks, .planned = planned, .ring_dir = f->rq->ring_dir,
			      .ring_is_volatile = f->rq->ring_dir && ring_is_volatile(f->rq->ring_dir) };

	if (!ranks)
		return NULL;
	plan(f, planned);
	m.trigger = (struct manifest_trigger){ f->rq->trigger, f->rq->reason, f->rq->pid, f->rq->rank, f->host->clock.realtime_ns };
	m.from = f->rq->from;
	m.ring_bytes = f->rq->ring_dir ? segments_bytes(f->rq->ring_dir) : 0;
	for (size_t i = 0; i < f->n_processes; i++) {
		const struct record_process *p = &f->processes[i];

		if (!p->is_rank)
			continue;
		ranks[m.n_ranks++] = (struct manifest_rank){ p->rank, p->local_rank, p->attempt, p->pid, p->gpu };
		m.world_size = p->world_size > m.world_size ? p->world_size : m.world_size;
		if (!m.job && p->job[0])
			m.job = p->job;
	}
	return manifest_json(&m);
}

/* ---- the last ---- */

static enum source_state state_by_name(const char *name)
{
	for (int s = SOURCE_OK; s <= SOURCE_LOST; s++)
		if (name && strcmp(name, manifest_state_name((enum source_state)s)) == 0)
			return (enum source_state)s;
	return SOURCE_FAILED;
}

/* What the daemon says of its sources; of a dead one what its ring says. */
static size_t ring_sources(const struct dump_facts *f, struct manifest_source *v, size_t max)
{
	json_t *list = f->rq->sources_json ? json_loads(f->rq->sources_json, 0, NULL) : NULL, *o;
	size_t n = 0, i;

	json_array_foreach(list, i, o) {
		const char *name = json_string_value(json_object_get(o, "name"));
		const char *reason = json_string_value(json_object_get(o, "reason"));

		if (!name || n == max)
			continue;
		v[n] = (struct manifest_source){ .when = "ring",
						 .state = state_by_name(json_string_value(json_object_get(o, "state"))) };
		snprintf(v[n].name, sizeof(v[n].name), "%s", name);
		snprintf(v[n].reason, sizeof(v[n].reason), "%s", reason ? reason : "");
		n++;
	}
	json_decref(list);
	for (i = 0; !n && f->ring && i < f->ring->n_sources && i < max; i++)
		v[i] = f->ring->sources[i];
	return n ? n : i;
}

char *dump_manifest_end(const struct dump_facts *f, const struct dump_outcome *o, const struct bundle_writer *b)
{
	struct manifest_source states[SOURCES_MAX];
	struct manifest_stream streams[STREAM_COUNT];
	struct manifest_trigger *more = calloc(o->n_more + 1, sizeof(*more));
	struct manifest_end end = { .sources = states, .streams = streams, .more = more, .n_more = o->n_more,
				    .notes = (const char *const *)o->collected->notes, .n_notes = o->collected->n_notes,
				    .masked = o->collected->masked };
	char *json;

	if (!more)
		return NULL;
	end.n_sources = ring_sources(f, states, SOURCES_MAX - COLLECT_MAX);
	for (size_t i = 0; i < o->collected->n_jobs; i++)
		states[end.n_sources++] = o->collected->states[i];
	for (size_t i = 0; f->ring && i < STREAM_COUNT; i++) {
		streams[end.n_streams] = f->ring->streams[i];
		streams[end.n_streams].lost += f->ring->lost_there[i];
		end.n_streams += streams[end.n_streams].name != NULL;
	}
	for (size_t i = 0; i < o->n_more; i++)
		more[i] = trigger_of(&o->more[i]);
	end.masked += f->ring ? f->ring->masked : 0;
	end.members = bundle_members(b, &end.n_members);
	end.lost = bundle_lost(b, &end.n_lost);
	json = manifest_end_json(&end);
	free(more);
	return json;
}
