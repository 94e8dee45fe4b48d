/*
 * intake - what the files of ingest share: the files to be read, one input at a time,
 * and the bytes of the member that is being read.
 */
#pragma once
#include <sys/types.h>

#include "analyzer/ingest/detect.h"
#include "analyzer/ingest/flight_pool.h"
#include "analyzer/ingest/ingest.h"
#include "bundle/digest.h"
#include "bundle/stream.h"

#define MANIFEST "manifest.json"

struct file_list {
	char **v;
	size_t n, cap;
};

struct intake {
	struct store *s;
	const struct ingest_options *opt;
	const struct pattern_set *set;
	struct scanner scanner;
	struct log *log;
	struct flight_pool *pool;
	bool digest;
	uint64_t bytes;
	/* of the bundle that is being read */
	int64_t captured_ns;
	sid bundle_host;
	size_t bundle_path;		/* length of the bundle's folder in the path of its manifest */
	sid bundle_manifest;		/* that path */
	struct bundle_run *run;		/* NULL: the manifest names none */
};

static inline bool stopped(const struct intake *in) { return in->opt->stop && *in->opt->stop; }

/* ---- files.c: the files of the inputs ---- */

int files_add(struct file_list *l, const char *path, struct error *err);
int files_walk(struct intake *in, const char *path, int depth, struct file_list *files, struct error *err);
void files_manifests_first(struct file_list *files);	/* each in front of its folder, wherever it was named */
uint64_t files_size(const struct file_list *files, uint64_t enough);	/* together, counted until it is enough */
bool files_in_folder(const struct intake *in, const char *path, const char *folder);
void files_deinit(struct file_list *files);

/* Note a path that is not read, with the reason. */
int files_unread(struct intake *in, const char *path, enum member_state state, const struct error *why, struct error *err);

/* ---- tap.c: the bytes of one member ---- */

/* The bytes of the member that is being read, with what was peeked at. */
struct tap {
	struct stream *stream;
	struct digest *digest;		/* NULL: not asked for */
	struct error err;		/* what ended the reading early */
	uint64_t bytes;
	const uint8_t *head;		/* read already */
	size_t head_len, head_pos;
};

size_t tap_read(struct tap *t, uint8_t *buf, size_t size);
/* The first bytes, for a look at what they are; they are read again. */
void tap_peek(struct tap *t, uint8_t head[DETECT_BYTES]);
/* All of a compressed member; NULL: too many. */
uint8_t *tap_slurp(struct tap *t, size_t *n_ret, struct error *why);

/* ---- member.c: one member, by its format ---- */

void member_name(struct intake *in, struct member *m, const char *path);
int member_read(struct intake *in, uint32_t member, struct tap *t, const char *path, struct error *err);
void member_finish(struct intake *in, uint32_t index, struct tap *t);

/* ---- settle.c: what can be said only when all is read ---- */

void settle_years(struct store *s);	/* yearless stamps take the one that brings them nearest to what is dated */
void settle_hosts(struct store *s);	/* files named after a host that is known by content are about it */
void settle_damage(struct store *s);	/* damage is an observation, too */
