/*
 * The block that torchrun prints for each failed worker:
 *
 *	  time      : 2026-06-12_01:14:57
 *	  host      : node07
 *	  rank      : 5 (local_rank: 5)
 *	  exitcode  : -9 (pid: 4711)
 *
 * Found by its exitcode line; the lines before it say whose it is.
 */
#include <stdlib.h>
#include <string.h>

#include "analyzer/identity.h"
#include "analyzer/ingest/log.h"

#define LINES_BACK 5

/* The value of "  key   : value" in a line, or NULL. */
static const char *value_of(const char *line, size_t len, const char *key, size_t *n_ret)
{
	const char *p = memmem(line, len, key, strlen(key));
	const char *colon = p ? memchr(p, ':', (size_t)(line + len - p)) : NULL;

	if (!colon || colon - p > 12)
		return NULL;
	for (colon++; colon < line + len && *colon == ' '; colon++)
		;
	for (*n_ret = 0; colon + *n_ret < line + len && !strchr(" \r\n", colon[*n_ret]); (*n_ret)++)
		;
	return colon;
}

static int32_t number_after(const char *line, size_t len, const char *text)
{
	const char *p = memmem(line, len, text, strlen(text));
	char buf[16];
	size_t n;

	if (!p)
		return -1;
	p += strlen(text);
	n = (size_t)(line + len - p) < sizeof(buf) - 1 ? (size_t)(line + len - p) : sizeof(buf) - 1;
	memcpy(buf, p, n);
	buf[n] = '\0';
	return (int32_t)strtol(buf, NULL, 10);
}

static void take_line(struct store *s, struct observation *o, const char *line, size_t len)
{
	size_t n;
	const char *v;

	if ((v = value_of(line, len, "host ", &n)) && n)
		o->scope.host = intern(&s->strings, v, n);
	if ((v = value_of(line, len, "rank ", &n)) && n) {
		o->scope.rank = number_after(line, len, ": ");
		o->scope.local_rank = number_after(line, len, "local_rank: ");
	}
	if ((v = value_of(line, len, "time ", &n)) && n)
		time_parse(v, (size_t)(line + len - v), &o->time);
}

void torchrun_block(struct store *s, const struct log_line *line, const char *before, size_t before_len)
{
	struct observation o = observation_of("proc.exit", SRC_LAUNCHER);
	size_t n, end = before_len;
	const char *code = value_of(line->s, line->len, "exitcode", &n);
	bool killed_by_launcher;

	if (!code || !n)
		return;
	killed_by_launcher = n == 3 && memcmp(code, "-15", 3) == 0;
	if (killed_by_launcher)
		o.kind = kind_find("proc.terminated");
	observation_field(s, &o, "exitcode", code, n);
	o.scope.pid = number_after(line->s, line->len, "(pid: ");
	for (int i = 0; i < LINES_BACK && end > 0; i++) {
		const char *nl = memrchr(before, '\n', end - 1);
		size_t start = nl ? (size_t)(nl - before) + 1 : 0;

		take_line(s, &o, before + start, end - start);
		end = start;
	}
	if (o.scope.pid <= 0)
		o.scope.pid = PID_NONE;
	o.onset = o.time;
	o.error_ns = INT64_C(60000000000);	/* torchrun writes the block after it ended the others */
	n = line->len;
	while (n && (line->s[n - 1] == '\n' || line->s[n - 1] == '\r'))
		n--;
	observation_cite(&o, store_quote(s, line->member, line->offset, line->number, line->s, n, o.time));
	s->members[line->member].sources |= 1u << SRC_LAUNCHER;
	store_observe(s, &o);
	identity_learn(s, &(struct rank_identity){ .rank = o.scope.rank, .local_rank = o.scope.local_rank,
						   .pid = o.scope.pid, .host = o.scope.host, .trust = TRUST_LAUNCHER });
}
