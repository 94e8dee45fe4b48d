/*
 * log - lines of text become observations.
 *
 * A log is fed block by block, in any sizes: log_room() says where to put the
 * next bytes, log_advance() how many came.  Memory is one block whatever the
 * length of a line; a line is looked at in windows of at most 64 KiB.
 */
#pragma once
#include "analyzer/ingest/prefix.h"
#include "analyzer/ingest/scan.h"

struct log_options {
	int64_t tz_ns;			/* offset of times that state no zone */
	bool tz_known;
	bool injected;		/* kernel-log lines of user space are a test's: as good as the kernel's */
};

struct log;

int log_open(const struct scanner *sc, struct store *s, const struct log_options *opt,
	     struct log **ret, struct error *err);
void log_close(struct log *l);

/* Begin the text of a member. */
void log_begin(struct log *l, uint32_t member);
uint8_t *log_room(struct log *l, size_t *room_ret);
void log_advance(struct log *l, size_t n);
/*
 * What comes next stands at `offset` of the member and begins a line; what came
 * before is whole.  For text in pieces: its lines have no numbers.
 */
void log_jump(struct log *l, uint64_t offset);
/* The text ends; notes what its lines as a whole say (first and last time, the course of the loss). */
void log_end(struct log *l);

struct log_counts {
	uint64_t lines, hits, hit_lines;	/* hits: (line, signature) pairs */
	uint64_t undecided;			/* a regex hit its match limit */
};
struct log_counts log_counts(const struct log *l);

static inline void log_closep(struct log **l) { log_close(*l); }
#define _cleanup_log_ _cleanup_(log_closep)

/* One line, where it stands, and what its prefix says. */
struct log_line {
	uint32_t member;
	const char *s;
	size_t len;
	uint64_t offset, number;
	const struct prefix *prefix;
};

/* The course of a training loss (series.c). */
struct series_set;
struct series_set *series_open(void);
/* A line whose first "loss" is at `at`; number() counts its line number, when the line is kept. */
void series_line(struct series_set *set, const struct log_line *line, size_t at, uint64_t (*number)(void *ctx), void *ctx);
void series_end(struct series_set *set, struct store *s);	/* observations; then empty */
void series_close(struct series_set *set);

/* The failure block that torchrun prints (torchrun.c): `before` are the bytes before the line. */
void torchrun_block(struct store *s, const struct log_line *line, const char *before, size_t before_len);
