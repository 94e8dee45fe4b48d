#include <ctype.h>
#include <string.h>

#include "analyzer/identity.h"
#include "analyzer/ingest/intake.h"
#include "bundle/cleanup.h"

#define DAY_NS INT64_C(86400000000000)
#define MARCH 60	/* days before 1 March in a leap year */

/* Times that state their year: from the first to the last of them. */
struct dated {
	int64_t from, to;
	bool any;
};

static struct dated dated_sources(const struct store *s)
{
	struct dated d = { 0 };

	for (size_t i = 0; i < s->n_members; i++) {
		struct stamp t[] = { s->members[i].first, s->members[i].last };

		for (size_t k = 0; k < ARRAY_SIZE(t); k++) {
			if (t[k].base != TIME_UTC && t[k].base != TIME_LOCAL)
				continue;
			d.from = !d.any || t[k].ns < d.from ? t[k].ns : d.from;
			d.to = !d.any || t[k].ns > d.to ? t[k].ns : d.to;
			d.any = true;
		}
	}
	return d;
}

static int year_of(int64_t ns)
{
	int year = 1970;

	while (year < 2200 && time_from_civil(year + 1, 1, 1) <= ns / DAY_NS)
		year++;
	return year;
}

/* A yearless stamp in that year; the leap day that it lacks is taken out. */
static int64_t in_year(int64_t ns, int year)
{
	bool leap = time_from_civil(year, 3, 1) - time_from_civil(year, 1, 1) == MARCH;

	return ns + time_from_civil(year, 1, 1) * DAY_NS - (!leap && ns >= MARCH * DAY_NS ? DAY_NS : 0);
}

/* In the year that brings it nearest to what is dated: 31 December belongs to the year before 1 January. */
static int64_t nearest(int64_t ns, const struct dated *d)
{
	int64_t best = 0, best_gap = INT64_MAX;

	for (int year = year_of(d->from) - 1; year <= year_of(d->to) + 1; year++) {
		int64_t t = in_year(ns, year), gap = t < d->from ? d->from - t : t > d->to ? t - d->to : 0;

		if (gap < best_gap)
			best = t, best_gap = gap;
	}
	return best;
}

void settle_years(struct store *s)
{
	const struct dated d = dated_sources(s);

	for (size_t i = 0; d.any && i < s->n_obs; i++) {
		struct stamp *t[] = { &s->obs[i].time, &s->obs[i].onset, &s->obs[i].first, &s->obs[i].last,
				      &s->obs[i].above, &s->obs[i].above_last };

		for (size_t k = 0; k < ARRAY_SIZE(t); k++)
			if (t[k]->base == TIME_YEARLESS)
				*t[k] = (struct stamp){ nearest(t[k]->ns, &d), TIME_LOCAL };
	}
}

/* Does the path hold this name, not as part of a longer word? */
static bool path_names(const char *path, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = path; n > 2 && (p = strstr(p, name)); p++)
		if ((p == path || !isalnum((unsigned char)p[-1])) && !isalnum((unsigned char)p[n]))
			return true;
	return false;
}

/* A file named after a host that the input knows by its content is about that host. */
void settle_hosts(struct store *s)
{
	const uint32_t host_sources = 1u << SRC_KERNEL | 1u << SRC_DRIVER | 1u << SRC_FABRIC;
	const struct identity *map = s->identity;

	for (size_t i = 0; i < s->n_members; i++) {
		struct member *m = &s->members[i];
		const char *path = intern_str(&s->strings, m->name ? m->name : m->input);

		for (size_t h = 0; h < map->n_hosts && (!m->host || m->host_from_path); h++)
			if (path_names(path, intern_str(&s->strings, map->hosts[h])))
				m->host = map->hosts[h];
	}
	/* a kernel log or telemetry without a name, where all there is comes from one host */
	for (size_t i = 0; map->n_hosts == 1 && i < s->n_members; i++)
		if (!s->members[i].host && (s->members[i].sources & host_sources))
			s->members[i].host = map->hosts[0];
	for (size_t i = 0; i < s->n_obs; i++)
		if (!s->obs[i].scope.host && s->obs[i].n_evidence)
			s->obs[i].scope.host = s->members[s->evidence[s->obs[i].evidence[0]].member].host;
}

/* Damage is an observation too: it must not get lost between the lines. */
void settle_damage(struct store *s)
{
	for (size_t i = 0; i < s->n_members; i++) {
		struct member *m = &s->members[i];
		struct observation o = observation_of("input.damaged", SRC_INPUT);

		if (m->state != MEMBER_DAMAGED && !(m->state == MEMBER_UNREAD && m->damage))
			continue;
		o.scope.rank = m->rank;
		o.scope.object = m->name ? m->name : m->input;
		observation_fieldf(s, &o, "what", "%s", m->damage ? m->damage->what : "damaged");
		store_observe(s, &o);
	}
}
