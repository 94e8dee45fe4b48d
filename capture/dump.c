#include "capture/dump.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "bundle/manifest.h"
#include "capture/dump/find.h"
#include "capture/dump/logs.h"
#include "capture/dump_collect.h"
#include "capture/dump_manifest.h"
#include "capture/dump_reserve.h"
#include "capture/dump_ring.h"
#include "capture/loop.h"
#include "capture/run.h"

#define MORE_MAX 64
#define STEP_MS 200
#define MEMBER_MAX ((uint64_t)512 << 20)

struct dump {
	const struct dump_request *rq;
	struct bundle_writer *b;
	char path[PATH_MAX];
	struct reserve reserve;
	struct manifest_host host;
	struct ring_take ring;
	bool has_ring, has_logs, early_text;
	size_t early_members;		/* that the early part keeps: manifest and segments */
	struct tracked *tracks;		/* living, of the job, ranks first */
	size_t n_tracks;
	struct run run;			/* that the bundle is about */
	struct record_process *processes;	/* of it, the dead too */
	size_t n_processes;
	struct dump_context context;
	struct collect collect;
	struct dump_trigger more[MORE_MAX];
	size_t n_more;
	struct dump_facts facts;
};

static void say(const struct dump *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct dump *d, const char *fmt, ...)
{
	char line[500];
	va_list ap;

	if (!d->rq->progress)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	d->rq->progress(d->rq->progress_ctx, line);
}

/* ---- members: what a full disk refuses is lost, and the next is tried ---- */

static void add(struct dump *d, const char *name, const void *data, size_t len, int level)
{
	struct error err = { 0 };

	if (bundle_add(d->b, name, data, len, level, &err) == 0)
		return;
	collect_note(&d->collect, "%s: %s", name, err.code == ERR_SYS ? strerror(err.sys) : err.what);
	if (err.code == ERR_SYS)
		bundle_recover(d->b);
}

static bool is_binary(const char *name) { return strstr(name, ".tcr") != NULL; }

/* Members that sources have sent so far. */
static void add_collected(struct dump *d)
{
	for (size_t i = 0; i < d->collect.n_members; i++) {
		struct collected *m = &d->collect.members[i];
		struct error err = { 0 };

		if (m->fd < 0)
			continue;
		if (bundle_add_fd(d->b, m->name, m->fd, MEMBER_MAX, is_binary(m->name) ? 1 : 3, &err)) {
			collect_note(&d->collect, "%s: %s", m->name, err.code == ERR_SYS ? strerror(err.sys) : err.what);
			if (err.code == ERR_SYS)
				bundle_recover(d->b);
		}
		close(m->fd);
		m->fd = -1;
	}
}

/* ---- where to ---- */

static bool is_folder(const char *path)
{
	struct stat st;
	size_t n = strlen(path);

	return (n && path[n - 1] == '/') || (stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

/* "<dir>/tdump-<host>-<time>-<trigger>[-<n>].tar.zst" */
static void name_bundle(struct dump *d, const char *dir, unsigned n)
{
	char host[65], trigger[24], when[32], again[16] = "";
	time_t now = time(NULL);
	struct tm tm;

	snprintf(host, sizeof(host), "%s", d->host.name[0] ? d->host.name : "host");
	snprintf(trigger, sizeof(trigger), "%s", d->rq->trigger);
	dump_plain_name(host);
	dump_plain_name(trigger);
	strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
	if (n)
		snprintf(again, sizeof(again), "-%u", n + 1);
	snprintf(d->path, sizeof(d->path), "%s/tdump-%s-%s-%s%s.tar.zst", dir, host, when, trigger, again);
}

static int create(struct dump *d, struct error *err)
{
	const char *out = d->rq->out ? d->rq->out : d->rq->config->bundle_dir;
	char dir[PATH_MAX];
	struct stat st;
	int r = -1;

	snprintf(dir, sizeof(dir), "%s", out);
	for (size_t n = strlen(dir); n > 1 && dir[n - 1] == '/'; n--)
		dir[n - 1] = '\0';
	if (!d->rq->out && mkdir(dir, 0750) && errno != EEXIST)
		return error_sys(err, "cannot make %s", dir);
	if (!is_folder(out)) {
		char *slash = strrchr(dir, '/');

		if (slash)
			slash[slash == dir] = '\0';
		snprintf(d->path, sizeof(d->path), "%s", out);
		reserve_open(&d->reserve, slash ? dir : ".", false);
		return bundle_create(d->path, &d->b, err);
	}
	reserve_open(&d->reserve, dir, !d->rq->out);
	for (unsigned n = 0; n < 100 && r; n++) {
		*err = (struct error){ 0 };
		name_bundle(d, dir, n);
		if (stat(d->path, &st))
			r = bundle_create(d->path, &d->b, err);
		if (r && err->code && err->sys != EEXIST)
			return -1;
	}
	return r;
}

/* ---- who ---- */

/* All that were ever tracked; of those the living, ranks first, and the run that is meant. */
static void set_processes(struct dump *d, const struct tracked *v, size_t n)
{
	d->tracks = calloc(n + 1, sizeof(*d->tracks));
	d->processes = calloc(n + 1, sizeof(*d->processes));
	if (!d->tracks || !d->processes)
		return;
	d->run = run_of(v, n, d->rq->pid, d->rq->job);
	for (int ranks = 1; ranks >= 0; ranks--)
		for (size_t i = 0; i < n; i++) {
			if (!v[i].p.pid || (v[i].p.is_rank == 1) != (ranks == 1))
				continue;
			if (!v[i].gone)
				d->tracks[d->n_tracks++] = v[i];
			if (run_has(&d->run, &v[i].p))
				d->processes[d->n_processes++] = v[i].p;
		}
}

static void set_records(struct dump *d, const struct record_process *v, size_t n, bool gone)
{
	struct tracked *t = calloc(n + 1, sizeof(*t));

	for (size_t i = 0; t && i < n; i++)
		t[i] = (struct tracked){ .p = v[i], .gone = gone };
	if (t)
		set_processes(d, t, n);
	free(t);
}

/* CLOCK_REALTIME; 0: unknown. */
static int64_t run_begin(const struct dump *d)
{
	const struct clock_triple *c = &d->host.clock;

	return d->run.begin_ns ? c->realtime_ns - (c->boottime_ns - (int64_t)d->run.begin_ns) : 0;
}

static void find_processes(struct dump *d)
{
	if (d->rq->track) {
		set_processes(d, d->rq->track->by_slot, d->rq->track->n);
		return;
	}
	collect_start(&d->collect, &dump_find, &d->context);
	while (collect_busy(&d->collect))
		collect_poll(&d->collect, STEP_MS, -1);
	set_records(d, d->collect.processes, d->collect.n_processes, false);
}

/* ---- the parts of a bundle ---- */

/* Of a dead daemon's ring: what it is must be known before the first member is written. */
static int read_dead(struct dump *d, struct error *err)
{
	struct ring_take first = { 0 };
	int r = ring_take_read(&first, d->rq->ring_dir, NULL, err);

	if (r == 0) {
		dump_host_of_ring(&first, &d->host);
		d->facts.captured_ns = first.last_ns ? first.last_ns : first.clock.realtime_ns;
		set_records(d, first.processes, first.n_processes, true);	/* they live no more, or on another host */
	}
	ring_take_free(&first);
	return r;
}

static void add_kernel(struct dump *d)
{
	if (d->ring.kernel.len)
		add(d, "kernel/kmsg.log", d->ring.kernel.s, d->ring.kernel.len, 3);
}

/* What the ring has of the logs that no source sent. */
static void add_ring_logs(struct dump *d)
{
	for (size_t i = 0; i < d->ring.n_logs; i++) {
		_cleanup_dump_text_ struct dump_text t = { 0 };
		char name[BUNDLE_NAME_BYTES];
		bool sent = false;

		dump_log_name(&d->ring, i, name, sizeof(name));
		for (size_t k = 0; k < d->collect.n_members && !sent; k++)
			sent = strcmp(d->collect.members[k].name, name) == 0;
		if (sent)
			continue;
		log_file_text(&d->ring.logs[i], UINT64_MAX, &t);
		if (t.len)
			add(d, name, t.s, t.len, 3);
	}
}

/* manifest.json, the ring as it is at the trigger: on the disk when this returns. */
static int write_early(struct dump *d, struct error *err)
{
	_cleanup_free_ char *json = dump_manifest_begin(&d->facts);
	struct error why = { 0 };

	if (!json)
		return error_set(err, ERR_NOMEM, "no memory");
	add(d, MANIFEST_NAME, json, strlen(json), 3);
	if (d->rq->ring_dir) {
		d->has_ring = ring_take_read(&d->ring, d->rq->ring_dir, d->b, &why) == 0;
		if (!d->has_ring)
			collect_note(&d->collect, "no ring: %s", why.what);
	}
	if (bundle_sync(d->b, &why))
		bundle_recover(d->b);
	bundle_members(d->b, &d->early_members);
	if (d->early_members == 0) {
		*err = why;
		return error_set(err, ERR_SYS, "not even the manifest could be written");
	}
	if (d->has_ring && d->rq->live) {
		add_kernel(d);
		add_ring_logs(d);
		d->early_text = true;
		if (bundle_sync(d->b, &why))
			bundle_recover(d->b);
	}
	say(d, "the ring is safe");
	return 0;
}

static void read_more(struct dump *d)
{
	struct pollfd p = { d->rq->more_fd, POLLIN, 0 };

	while (d->rq->more_fd >= 0 && d->n_more < MORE_MAX && poll(&p, 1, 0) == 1 && p.revents & POLLIN) {
		struct dump_trigger *t = &d->more[d->n_more];

		if (read(d->rq->more_fd, t, sizeof(*t)) != sizeof(*t))
			return;
		t->kind[sizeof(t->kind) - 1] = t->reason[sizeof(t->reason) - 1] = '\0';
		say(d, "another trigger meanwhile: %s", t->kind);
		d->n_more++;
	}
}

/* All dump sources side by side, and the post window. */
static void take_sources(struct dump *d, int64_t until_ns)
{
	for (size_t i = 0; d->rq->live && dump_sources[i]; i++)
		collect_start(&d->collect, dump_sources[i], &d->context);
	while (collect_busy(&d->collect) || loop_now() < until_ns) {
		int64_t left = (until_ns - loop_now()) / 1000000;
		int step = collect_busy(&d->collect) || left > STEP_MS ? STEP_MS : left < 1 ? 1 : (int)left;

		collect_poll(&d->collect, step, -1);
		read_more(d);
	}
}

/* What the early part had as text only comes again, longer; segments that changed come beside the first ones. */
static void write_late(struct dump *d)
{
	struct error why = { 0 };

	if (d->early_text)
		bundle_rewind(d->b, d->early_members);
	if (d->has_ring && d->rq->live)
		ring_take_read(&d->ring, d->rq->ring_dir, d->b, &why);
	add_kernel(d);
	if (d->rq->live) {
		say(d, "reading logs");
		collect_start(&d->collect, &dump_logs, &d->context);
		while (collect_busy(&d->collect)) {
			collect_poll(&d->collect, STEP_MS, -1);
			add_collected(d);
		}
	}
	add_collected(d);
	add_ring_logs(d);
}

static int finish(struct dump *d, struct error *err)
{
	const struct dump_outcome o = { &d->collect, d->more, d->n_more };
	size_t n_lost;
	int r = -1;

	for (int attempt = 0; attempt < 2 && r; attempt++) {
		_cleanup_free_ char *json = NULL;

		bundle_lost(d->b, &n_lost);
		if (n_lost || attempt)
			reserve_release(&d->reserve);
		json = dump_manifest_end(&d->facts, &o, d->b);
		*err = (struct error){ 0 };
		if (!json)
			return error_set(err, ERR_NOMEM, "no memory");
		r = bundle_add(d->b, MANIFEST_END_NAME, json, strlen(json), 3, err) || bundle_finish(d->b, err) ? -1 : 0;
		if (r)
			bundle_recover(d->b);
	}
	return r ? -1 : n_lost ? DUMP_INCOMPLETE : 0;
}

static int run(struct dump *d, struct error *err)
{
	int64_t until_ns = loop_now() + (int64_t)d->rq->post_s * 1000000000;

	d->facts = (struct dump_facts){ .rq = d->rq, .host = &d->host };
	d->context = (struct dump_context){ .config = d->rq->config, .ring_dir = d->rq->ring_dir,
					    .remember_dir = d->rq->out ? NULL : d->rq->config->bundle_dir };
	if (!d->rq->live && d->rq->ring_dir) {
		if (read_dead(d, err))
			return -1;
	} else {
		dump_host_now(&d->host);
		d->facts.captured_ns = d->host.clock.realtime_ns;
		find_processes(d);
	}
	d->facts.processes = d->processes;
	d->facts.n_processes = d->n_processes;
	d->facts.run_begin_ns = d->context.run_begin_ns = d->ring.run_begin_ns = run_begin(d);
	if (create(d, err) || write_early(d, err))
		return -1;
	d->facts.ring = d->context.ring = d->has_ring ? &d->ring : NULL;
	d->context.tracks = d->tracks;
	d->context.n_tracks = d->n_tracks;
	d->context.has_kernel_log = d->ring.kernel.len > 0;
	take_sources(d, d->rq->live ? until_ns : 0);
	write_late(d);
	read_more(d);
	return finish(d, err);
}

static void source_done(void *ctx, const struct manifest_source *s)
{
	say(ctx, "%s: %s%s%s", s->name, manifest_state_name(s->state), s->reason[0] ? ": " : "", s->reason);
}

int dump_run(const struct dump_request *rq, char *path_ret, size_t path_size, struct error *err)
{
	struct rlimit files;
	struct dump *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return error_set(err, ERR_NOMEM, "no memory");
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {	/* members wait as open files */
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	d->rq = rq;
	r = collect_open(&d->collect, err);
	d->collect.done = source_done;
	d->collect.ctx = d;
	r = r ? r : run(d, err);
	snprintf(path_ret, path_size, "%s", d->path);
	collect_close(&d->collect);
	bundle_writer_close(d->b);
	reserve_close(&d->reserve);
	ring_take_free(&d->ring);
	free(d->tracks);
	free(d->processes);
	free(d);
	return r;
}
