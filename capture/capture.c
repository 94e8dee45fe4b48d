#include "capture/capture.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bundle/text.h"

static const char *const state_names[] = {
	[SOURCE_OK] = "ok", [SOURCE_ABSENT] = "absent", [SOURCE_DENIED] = "denied",
	[SOURCE_FAILED] = "failed", [SOURCE_LOST] = "lost",
};

const char *source_state_name(enum source_state s)
{
	return (size_t)s < sizeof(state_names) / sizeof(state_names[0]) ? state_names[s] : "unknown";
}

void capture_say(const struct capture *c, const char *fmt, ...)
{
	char line[1024], safe[2048];
	va_list ap;

	if (!c->say)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	text_printable(line, strlen(line), safe, sizeof(safe));
	c->say(safe);
}

static size_t count(void)
{
	size_t n = 0;

	while (sources[n])
		n++;
	return n;
}

/* -1: no such source. */
static int find(const char *name)
{
	for (int i = 0; sources[i]; i++)
		if (!strcmp(sources[i]->name, name))
			return i;
	return -1;
}

void *capture_source_data(const struct capture *c, const char *source)
{
	int i = find(source);

	return i < 0 || !c->source_data ? NULL : c->source_data[i];
}

bool capture_source_is_ok(const struct capture *c, const char *source)
{
	int i = find(source);

	return i >= 0 && c->source_data && c->source_data[i] && c->status[i].state == SOURCE_OK;
}

static void record_status(struct capture *c, size_t i)
{
	struct record_source r = { .state = c->status[i].state };

	strncpy(r.source, sources[i]->name, sizeof(r.source) - 1);
	ring_put(c->ring, STREAM_HOST, REC_SOURCE, loop_now(), &r, sizeof(r), c->status[i].reason,
		 strlen(c->status[i].reason));
}

void capture_restate(struct capture *c)
{
	struct clock_triple now = clock_now();
	struct record_clock r = { .realtime_ns = now.realtime_ns, .boottime_ns = now.boottime_ns };

	ring_put(c->ring, STREAM_HOST, REC_CLOCK, now.monotonic_ns, &r, sizeof(r), NULL, 0);
	for (size_t i = 0; c->status && sources[i]; i++)
		record_status(c, i);
}

static void set_state(struct capture *c, size_t i, enum source_state state, const char *reason)
{
	struct source_status *s = &c->status[i];

	if (s->state == state && !strcmp(s->reason, reason))
		return;
	s->state = state;
	snprintf(s->reason, sizeof(s->reason), "%s", reason);
	record_status(c, i);
	capture_say(c, "%s: %s%s%s", sources[i]->name, source_state_name(state), *reason ? ": " : "", reason);
}

void capture_state(struct capture *c, const char *source, enum source_state state, const char *fmt, ...)
{
	int i = find(source);
	char reason[sizeof(c->status->reason)];
	va_list ap;

	if (i < 0 || !c->status)
		return;
	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	set_state(c, (size_t)i, state, reason);
}

void capture_tracked(struct capture *c, const struct tracked *t)
{
	for (size_t i = 0; c->source_data && sources[i]; i++)
		if (sources[i]->tracked && c->source_data[i])
			sources[i]->tracked(c, c->source_data[i], t);
}

/* A refusal by the kernel is `denied`, what is not there `absent`, the rest `failed`. */
static enum source_state state_of(const struct error *err)
{
	if (err->code != ERR_SYS)
		return err->code == ERR_UNSUPPORTED ? SOURCE_ABSENT : SOURCE_FAILED;
	if (err->sys == EPERM || err->sys == EACCES)
		return SOURCE_DENIED;
	return err->sys == ENOENT || err->sys == ENODEV || err->sys == ENOSYS ? SOURCE_ABSENT : SOURCE_FAILED;
}

/* While start() runs the status is "failed" without a reason; a source may state its own, else it is ok. */
static void start(struct capture *c, size_t i)
{
	struct source_status *s = &c->status[i];
	struct error err = { 0 };
	char text[512];

	*s = (struct source_status){ .state = SOURCE_FAILED };
	if (sources[i]->start(c, &c->source_data[i], &err) == 0) {
		if (s->state == SOURCE_FAILED && !*s->reason)
			set_state(c, i, SOURCE_OK, "");
		return;
	}
	c->source_data[i] = NULL;
	if (s->state != SOURCE_FAILED || *s->reason)
		return;			/* it has told why itself */
	error_text(&err, text, sizeof(text));
	set_state(c, i, state_of(&err), *text ? text : "gave no reason");
}

static void stop(struct capture *c, size_t i)
{
	if (c->source_data[i] && sources[i]->stop)
		sources[i]->stop(c, c->source_data[i]);
	c->source_data[i] = NULL;
}

int capture_start_sources(struct capture *c, struct error *err)
{
	c->status = calloc(count() + 1, sizeof(*c->status));
	c->source_data = calloc(count() + 1, sizeof(*c->source_data));
	if (!c->status || !c->source_data)
		return error_set(err, ERR_NOMEM, "no memory");
	for (size_t i = 0; sources[i]; i++)
		c->status[i].state = SOURCE_ABSENT;
	for (size_t i = 0; sources[i]; i++)
		if (config_source_is_off(&c->config, sources[i]->name))
			set_state(c, i, SOURCE_ABSENT, "switched off in the configuration");
		else
			start(c, i);
	return 0;
}

void capture_stop_sources(struct capture *c)
{
	for (size_t i = c->source_data ? count() : 0; i-- > 0;)
		stop(c, i);
	free(c->source_data);
	free(c->status);
	c->source_data = NULL;
	c->status = NULL;
}

/* Keep the old text when it differs from the new one, and say so. */
static void keep_text(char **fresh, char **old, const char *key, char *kept, size_t size)
{
	char *swap = *fresh;

	if (*fresh && *old ? !strcmp(*fresh, *old) : *fresh == *old)
		return;
	*fresh = *old;
	*old = swap;
	snprintf(kept + strlen(kept), size - strlen(kept), "%s%s", *kept ? ", " : "", key);
}

void capture_reload(struct capture *c, struct config *fresh, char *kept_ret, size_t kept_size)
{
	struct config old = c->config;

	*kept_ret = '\0';
	keep_text(&fresh->ring_dir, &old.ring_dir, "ring_dir", kept_ret, kept_size);
	keep_text(&fresh->socket, &old.socket, "socket", kept_ret, kept_size);
	keep_text(&fresh->group, &old.group, "group", kept_ret, kept_size);
	if (fresh->ring_bytes != old.ring_bytes) {
		snprintf(kept_ret + strlen(kept_ret), kept_size - strlen(kept_ret), "%sring_bytes", *kept_ret ? ", " : "");
		fresh->ring_bytes = old.ring_bytes;
	}
	c->config = *fresh;
	*fresh = (struct config){ 0 };
	for (size_t i = 0; sources[i]; i++) {
		if (config_source_is_off(&c->config, sources[i]->name)) {
			stop(c, i);
			set_state(c, i, SOURCE_ABSENT, "switched off in the configuration");
		} else if (!c->source_data[i]) {
			start(c, i);
			for (size_t t = 0; c->source_data[i] && sources[i]->tracked && t < c->track.n; t++)
				if (c->track.by_slot[t].p.pid && !c->track.by_slot[t].gone)
					sources[i]->tracked(c, c->source_data[i], &c->track.by_slot[t]);
		} else if (sources[i]->reload) {
			sources[i]->reload(c, c->source_data[i]);
		}
	}
	config_free(&old);
}
