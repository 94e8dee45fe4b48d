/*
 * A peer that others lost their connection to, and that reports no such loss itself,
 * ended first: those that do report one are its victims, one after the other.
 */
#include <string.h>

#include "analyzer/identity.h"
#include "patterns/detectors.h"

#define PEERS_MAX 64	/* looked at */
#define GONE_MAX 2	/* named: where more are silent, silence says little */

static const char *const losses[] = { "nccl.remote_error", "comm.peer_lost" };

static bool is_loss(const struct observation *o)
{
	for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++)
		if (o->kind == kind_find(losses[i]))
			return true;
	return false;
}

/* Does `host` report a loss, of whomever? */
static bool complains(const struct store *s, const char *host)
{
	for (size_t i = 0; i < s->n_obs; i++)
		if (is_loss(&s->obs[i]) && s->obs[i].scope.host && host_same(intern_str(&s->strings, s->obs[i].scope.host), host))
			return true;
	return false;
}

struct peer {
	sid host;
	uint32_t observation;	/* the first that names it */
	bool address;		/* no host's name is known for it */
};

static size_t list_peers(struct store *s, struct peer *peers)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_obs; i++) {
		const char *text = is_loss(&s->obs[i]) ? observation_get(s, &s->obs[i], "peer") : "";
		sid host = text[0] ? identity_host_of(s, text) : 0;
		size_t k = 0;

		while (k < n && peers[k].host != host)
			k++;
		if (host && k == n && n < PEERS_MAX)
			peers[n++] = (struct peer){ host, (uint32_t)i, host_is_address(intern_str(&s->strings, host)) };
	}
	return n;
}

static void run(struct store *s)
{
	struct peer peers[PEERS_MAX];
	size_t n = list_peers(s, peers), gone = 0;

	for (size_t i = 0; i < n; i++) {
		/* one of several bare addresses may be that of a host which complains under its name */
		if (n > 1 && peers[i].address)
			return;
		if (!complains(s, intern_str(&s->strings, peers[i].host)))
			peers[gone++] = peers[i];
	}
	for (size_t i = 0; i < gone && gone <= GONE_MAX; i++) {
		const struct observation *by = &s->obs[peers[i].observation];
		struct observation made = observation_of("comm.peer_gone", by->source);

		made.scope.host = peers[i].host;
		made.time = made.onset = by->onset;
		observation_cite(&made, by->n_evidence ? (int64_t)by->evidence[0] : -1);
		store_observe(s, &made);
	}
}

const struct detector detector_peer_gone = { "peer_gone", "the host whose peers lost it, and which lost nobody", run };
