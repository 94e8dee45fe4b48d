/*
 * ring - segments of the recorder's ring (bundle/segment.h) become observations.
 *
 * A segment is taken as it is met; those of one ring are judged together, in the
 * order in which they were written, when all of them are there: what is derived (a
 * counter that rose, a process that stayed stopped) needs the order of time, and
 * a record that two copies of a segment hold counts once.
 * Records of the kernel's log and of log files are text, and go through the
 * scanner at once; in a bundle they are files of their own.
 */
#pragma once
#include "analyzer/ingest/log.h"
#include "analyzer/pattern.h"
#include "analyzer/store.h"

/* Does a member begin as a segment does? */
bool ring_is_segment(const uint8_t *head, size_t len);

/*
 * Take a member.  1: its records are text, ring_scan() it; 0: it is kept, or never
 * had anything in it; -1: it cannot be read, `err` says why.  Damage inside is noted.
 */
int ring_take(struct store *s, const struct pattern_set *set, uint32_t member, const void *data, size_t len,
	      struct error *err);
int ring_scan(struct store *s, uint32_t member, const void *data, size_t len, struct log *l, struct error *err);

/* After the last member: judge what is left, and fold the NCCL calls into s->collectives. */
int ring_settle(struct store *s, const struct pattern_set *set, struct error *err);
/* After collectives_join(): what follows from calls that were seen by probes has that witness. */
void ring_relabel(struct store *s);
void ring_free(struct store *s);
