#include "capture/dump_collect.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/dump/common.h"
#include "capture/loop.h"

/* Room for one more; NULL: no memory. */
static void *grow(void *v, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return v;
	*cap = *cap ? 2 * *cap : 64;
	return reallocarray(v, *cap, size);
}

int collect_open(struct collect *c, struct error *err)
{
	*c = (struct collect){ 0 };
	c->buf = malloc(WORKER_MESSAGE_BYTES);
	return c->buf ? 0 : error_set(err, ERR_NOMEM, "no memory");
}

void collect_close(struct collect *c)
{
	for (size_t i = 0; i < c->n_jobs; i++)
		if (c->jobs[i].running)
			worker_end(&c->jobs[i].worker);
	for (size_t i = 0; i < c->n_members; i++)
		if (c->members[i].fd >= 0)
			close(c->members[i].fd);
	for (size_t i = 0; i < c->n_notes; i++)
		free(c->notes[i]);
	free(c->members);
	free(c->notes);
	free(c->processes);
	free(c->buf);
}

void collect_note(struct collect *c, const char *fmt, ...)
{
	char line[400];
	char **v = grow(c->notes, c->n_notes, &c->cap_notes, sizeof(*v));
	va_list ap;

	if (!v)
		return;
	c->notes = v;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	v[c->n_notes] = strdup(line);
	c->n_notes += v[c->n_notes] != NULL;
}

static void set_state(struct collect *c, size_t i, enum source_state state, const char *reason, size_t len)
{
	c->states[i].state = state;
	snprintf(c->states[i].reason, sizeof(c->states[i].reason), "%.*s", (int)len, reason);
	c->jobs[i].has_state = true;
}

static void end_job(struct collect *c, size_t i)
{
	worker_end(&c->jobs[i].worker);
	c->jobs[i].running = false;
	if (c->done)
		c->done(c->ctx, &c->states[i]);
}

void collect_start(struct collect *c, const struct dump_source *s, const struct dump_context *ctx)
{
	struct error err = { 0 };
	struct collect_job *j = &c->jobs[c->n_jobs];
	size_t i = c->n_jobs;

	if (c->n_jobs == COLLECT_MAX)
		return;
	c->n_jobs++;
	*j = (struct collect_job){ .source = s, .worker = WORKER_NONE };
	c->states[i] = (struct manifest_source){ .when = "dump" };
	snprintf(c->states[i].name, sizeof(c->states[i].name), "%s", s->name);
	j->until_ns = loop_now() + (int64_t)s->budget_s * 1000000000;
	if (worker_start(&j->worker, s->name, s->run, (void *)(uintptr_t)ctx, (int64_t)s->budget_s * 1000000000, &err)) {
		set_state(c, i, SOURCE_FAILED, err.what, strlen(err.what));
		return;
	}
	j->running = true;
}

/* A name that is there already gets a number behind. */
static void add_member(struct collect *c, const uint8_t *name, size_t len, int fd)
{
	struct collected *v = grow(c->members, c->n_members, &c->cap_members, sizeof(*v)), *m;
	size_t equal = 0;

	if (!v || fd < 0) {
		if (fd >= 0)
			close(fd);
		return;
	}
	c->members = v;
	m = &v[c->n_members];
	m->fd = fd;
	snprintf(m->name, sizeof(m->name) - 8, "%.*s", (int)len, (const char *)name);
	for (size_t i = 0; i < c->n_members; i++)
		equal += strcmp(v[i].name, m->name) == 0;
	if (equal)
		snprintf(m->name + strlen(m->name), 8, ".%zu", equal + 1);
	c->n_members++;
}

static void add_own(struct collect *c, const struct worker_message *m, const uint8_t *payload)
{
	struct record_process *v;
	uint64_t n = 0;

	switch ((enum dump_own)m->kind) {
	case DUMP_OWN_MASKED:
		memcpy(&n, payload, m->bytes < sizeof(n) ? m->bytes : sizeof(n));
		c->masked += n;
		break;
	case DUMP_OWN_NOTE:
		collect_note(c, "%.*s", (int)m->bytes, (const char *)payload);
		break;
	case DUMP_OWN_PROCESS:
		v = grow(c->processes, c->n_processes, &c->cap_processes, sizeof(*v));
		if (!v || m->bytes != sizeof(*v))
			break;
		c->processes = v;
		memcpy(&v[c->n_processes++], payload, sizeof(*v));
		break;
	}
}

/* Everything that one worker has sent. */
static void receive(struct collect *c, size_t i)
{
	struct collect_job *j = &c->jobs[i];
	struct worker_message m;
	const uint8_t *payload;
	int fd, r;

	while ((r = worker_receive(&j->worker, c->buf, &m, &payload, &fd)) > 0) {
		if (m.type == WORKER_MEMBER)
			add_member(c, payload, m.bytes, fd);
		else if (m.type == WORKER_STATE)
			set_state(c, i, (enum source_state)m.kind, (const char *)payload, m.bytes);
		else if (m.type == WORKER_OWN)
			add_own(c, &m, payload);
	}
	if (r == 0)
		return;
	if (!j->has_state)
		set_state(c, i, SOURCE_FAILED, "it died", strlen("it died"));
	end_job(c, i);
}

bool collect_busy(const struct collect *c)
{
	for (size_t i = 0; i < c->n_jobs; i++)
		if (c->jobs[i].running)
			return true;
	return false;
}

void collect_poll(struct collect *c, int timeout_ms, int extra_fd)
{
	struct pollfd fds[COLLECT_MAX + 1];
	size_t which[COLLECT_MAX], n = 0;
	int64_t now = loop_now();

	for (size_t i = 0; i < c->n_jobs; i++) {
		if (!c->jobs[i].running)
			continue;
		if (now >= c->jobs[i].until_ns) {
			set_state(c, i, SOURCE_FAILED, "hung", 4);
			end_job(c, i);
			continue;
		}
		which[n] = i;
		fds[n++] = (struct pollfd){ c->jobs[i].worker.fd, POLLIN, 0 };
	}
	fds[n] = (struct pollfd){ extra_fd, POLLIN, 0 };
	if (poll(fds, n + 1, timeout_ms) <= 0)
		return;
	for (size_t k = 0; k < n; k++)
		if (fds[k].revents)
			receive(c, which[k]);
}
