/* Ports and interfaces: links that went down or came up, errors that they count. */
#include "analyzer/ingest/ringer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORTS_MAX 512
#define ACTIVE 4		/* state of an InfiniBand port */
#define INITIALISING 2
#define PHYSICALLY_UP 5

struct ring_port {
	char name[48];
	bool is_up, is_ib;
	uint64_t downs;		/* times that the link went down, as the device counts */
	uint64_t errors;
};

/* The row of a link; *is_new_ret: first met now. */
static struct ring_port *port_of(struct ringer *r, const char *name, bool *is_new_ret)
{
	*is_new_ret = false;
	for (size_t i = 0; i < r->n_ports; i++)
		if (strcmp(r->ports[i].name, name) == 0)
			return &r->ports[i];
	if (!r->ports)
		r->ports = calloc(PORTS_MAX, sizeof(*r->ports));
	if (!r->ports || r->n_ports == PORTS_MAX)
		return NULL;
	*is_new_ret = true;
	snprintf(r->ports[r->n_ports].name, sizeof(r->ports[0].name), "%s", name);
	return &r->ports[r->n_ports++];
}

static void observe_link(struct ringer *r, const struct record *rec, const char *kind, const char *link,
			 const char *what)
{
	struct observation o = ringer_observation(r, kind, SRC_NET, rec->monotonic_ns);

	o.scope.link = intern_cstr(&r->s->strings, link);
	ringer_cite(r, &o, rec, "%s: %s", link, what);
	store_observe(r->s, &o);
}

static void follow_link(struct ringer *r, const struct record *rec, struct ring_port *p, bool is_up, uint64_t downs,
			bool is_new)
{
	bool counted = downs != UINT64_MAX && p->downs != UINT64_MAX && downs > p->downs;
	bool blinked = !is_new && is_up && p->is_up && counted;

	if (!is_new && p->is_up && (!is_up || blinked))
		observe_link(r, rec, "net.link_down", p->name,
			     blinked ? "went down and up between two samples" : "went down");
	if (!is_new && is_up && (!p->is_up || blinked))
		observe_link(r, rec, "net.link_up", p->name, "came up");
	p->is_up = is_up;
	p->downs = downs;
}

/* All ones stand for a counter that the port does not have. */
static uint64_t known(uint64_t v)
{
	return v == UINT64_MAX ? 0 : v;
}

void ring_ib_port(struct ringer *r, const struct record *rec)
{
	struct record_ib_port p;
	struct ring_port *row;
	uint64_t errors;
	bool is_new;
	char device[sizeof(p.device) + 1], name[48], what[96];

	record_part(rec, &p, sizeof(p));
	snprintf(name, sizeof(name), "%s/%u", record_text(p.device, sizeof(p.device), device), p.port);
	row = port_of(r, name, &is_new);
	if (!row)
		return;
	if (p.state == INITIALISING && p.physical_state == PHYSICALLY_UP && !p.is_ethernet && (is_new || row->is_up))
		observe_link(r, rec, "ib.state_init", name,
			     "physically up, state INIT: no subnet manager has set it up");
	else if (is_new && p.state != ACTIVE)
		observe_link(r, rec, "ib.port_down", name, "down");
	errors = known(p.symbol_error) + known(p.local_link_integrity) + known(p.link_error_recovery);
	if (!is_new && errors > row->errors) {
		snprintf(what, sizeof(what), "%llu more link errors", (unsigned long long)(errors - row->errors));
		observe_link(r, rec, "ib.symbol_errors", name, what);
	}
	row->errors = errors;
	row->is_ib = true;
	follow_link(r, rec, row, p.state == ACTIVE, p.link_downed, is_new);
}

void ring_netdev(struct ringer *r, const struct record *rec)
{
	struct record_netdev n;
	struct ring_port *row;
	bool is_new;
	char name[sizeof(n.name) + 1];

	record_part(rec, &n, sizeof(n));
	row = port_of(r, record_text(n.name, sizeof(n.name), name), &is_new);
	if (row)	/* a change down and a change up are two */
		follow_link(r, rec, row, n.is_up,
			    n.carrier_changes == UINT64_MAX ? UINT64_MAX : n.carrier_changes / 2, is_new);
}
