#include <string.h>

#include "bundle/digest.h"
#include "fuzz/fuzz.h"

void check_error(int ret, const struct error *err, uint64_t size)
{
	CHECK(ret == 0 || ret == -1);
	CHECK((ret == -1) == (err->code != ERR_NONE));
	if (ret == 0)
		return;
	CHECK(err->what[0] && memchr(err->what, '\0', sizeof(err->what)));
	CHECK(memchr(err->where, '\0', sizeof(err->where)));
	CHECK(!err->has_offset || err->offset <= size);
}

static void check_stamp(struct stamp t)
{
	CHECK(t.base <= TIME_BOOT);
}

static void check_member(const struct store *s, const struct member *m)
{
	CHECK(m->input && m->input < s->strings.n && m->name < s->strings.n &&
	      m->host < s->strings.n);
	CHECK(m->kind && m->kind[0] && m->state <= MEMBER_IGNORED && m->rank >= RANK_NONE);
	CHECK(m->sources < 1u << SRC_COUNT);
	CHECK(!m->sha256[0] || strlen(m->sha256) == DIGEST_HEX - 1);
	check_stamp(m->first);
	check_stamp(m->last);
	for (const struct damage *d = m->damage; d; d = d->next)
		CHECK(d->what && d->what[0]);
}

static void check_scope(const struct store *s, const struct scope *c)
{
	const sid names[] = { c->host, c->gpu, c->process, c->link, c->object, c->sender };

	CHECK(c->rank >= RANK_NONE && c->local_rank >= RANK_NONE && c->attempt >= RANK_NONE &&
	      c->pid >= PID_NONE);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		CHECK(names[i] < s->strings.n);
}

static void check_observation(const struct store *s, const struct observation *o)
{
	CHECK(o->kind && o->kind->name[0] && o->source < SRC_COUNT && o->count >= 1);
	CHECK(o->n_fields <= FIELDS_MAX && o->n_evidence <= QUOTES_MAX && o->error_ns >= 0);
	for (unsigned i = 0; i < o->n_fields; i++)
		CHECK(o->fields[i].name && o->fields[i].name < s->strings.n &&
		      o->fields[i].value < s->strings.n);
	for (unsigned i = 0; i < o->n_evidence; i++)
		CHECK(o->evidence[i] < s->n_evidence);
	check_scope(s, &o->scope);
	check_stamp(o->time);
	check_stamp(o->onset);
	CHECK(stamp_order(o->first, o->last, 0) <= 0);
}

void check_store(const struct store *s)
{
	for (size_t i = 0; i < s->n_members; i++)
		check_member(s, &s->members[i]);
	for (size_t i = 0; i < s->n_evidence; i++) {
		const struct evidence *e = &s->evidence[i];

		CHECK(e->member < s->n_members && e->raw && e->length <= QUOTE_BYTES);
		CHECK(e->decoded == (e->text != NULL));
		check_stamp(e->time);
	}
	for (size_t i = 0; i < s->n_obs; i++)
		check_observation(s, &s->obs[i]);
}

void check_quotes(const struct store *s, size_t first, const void *data, size_t len)
{
	const char *text = data;

	for (size_t i = first; i < s->n_evidence; i++) {
		const struct evidence *e = &s->evidence[i];
		uint64_t line = 1;

		CHECK(e->length > 0 && e->offset <= len && e->length <= len - e->offset);
		CHECK(memcmp(e->raw, text + e->offset, e->length) == 0);
		if (!e->line)		/* of a format without lines */
			continue;
		for (const char *p = text; (p = memchr(p, '\n', (size_t)(text + e->offset - p)));
		     p++)
			line++;
		CHECK(e->line == line);
	}
}
