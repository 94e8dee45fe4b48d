/*
 * detectors - what a regular expression cannot see.
 *
 * A detector reads the store's observations and adds others: joins across ranks,
 * scope, absence.  It never prints, never names a cause, never reads files.  One
 * file each, one line in the table.  They run in table order after the input is
 * read, so that a later one sees what an earlier one added.
 */
#pragma once
#include "analyzer/store.h"

struct detector {
	const char *id;		/* "work_lag" */
	const char *what;	/* one clause for people */
	void (*run)(struct store *s);
};

extern const struct detector detector_bus_errors, detector_driver_stuck, detector_exception_scope,
	detector_fewer_devices, detector_ignored_exception, detector_left_behind, detector_link_flap, detector_lost_devices,
	detector_nan_parameter, detector_no_address,
	detector_peer_gone, detector_slow_pair, detector_soft_lockups, detector_work_lag, detector_wrapped_message;

/* How many different lines `o` quotes: a log that was copied twice says nothing twice. */
unsigned distinct_quotes(const struct store *s, const struct observation *o);

void detectors_run(struct store *s);
size_t detector_count(void);
const struct detector *detector_at(size_t i);

struct pattern_set;
/* The shipped signatures and causes, which the build embeds. */
int patterns_add_shipped(struct pattern_set *set, struct error *err);
