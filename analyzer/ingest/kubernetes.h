/*
 * kubernetes - facts about pods and nodes, whether they came as JSON or as kubectl's text.
 *
 * kubernetes_json.c and kubernetes_text.c find them, kubernetes.c knows what the API's
 * words mean, drops what an object overcame later, and makes observations.
 */
#pragma once
#include "analyzer/ingest/structured.h"

enum meaning {
	NOTHING, UNSCHEDULABLE, SCHEDULED, STARTED, CONTAINER_ERROR, EVICTED, PRESSURE, NOT_READY, OOM,
	ENDED, PREEMPTED, NO_DEVICE
};

/* One fact about an object.  Spans are copied before the next item is read. */
struct fact {
	enum meaning meaning;
	sid object, node, container, reason, message;
	bool event, scheduled;	/* scheduled: it was, later on */
	struct stamp time;
	int64_t age_s;		/* since it was last seen; -1: not stated */
	int64_t exit_code;	/* -1: not stated */
	struct place at[3];
};

struct facts {
	struct citer c;
	struct fact *v;
	size_t n, cap;
	unsigned n_objects;
	struct error damage;
};

sid fact_text(struct facts *k, struct span t);

/* A fact from an event; the fact is about the object that `f` names so far. */
void fact_event(struct facts *k, struct fact f, struct span reason, struct span message);
/* From a state of a container; `running`: it runs now, so an earlier end was overcome. */
void fact_state(struct facts *k, struct fact f, struct span reason, bool running);
void fact_condition(struct facts *k, struct fact f, bool node, struct span type, struct span status);

/* All were told of; -1 with `what` when no object was met, or why not. */
int facts_finish(struct facts *k, const char *what, struct error *err);
void facts_deinit(struct facts *k);
