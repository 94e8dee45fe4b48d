/* common - what the dump sources share.  All of it runs in a worker: it may block, and it may be killed. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/dump.h"
#include "capture/worker.h"

#define DUMP_TEXT_MAX ((size_t)16 << 20)	/* of one text member */

/* kinds of WORKER_OWN that dump sources send */
enum dump_own {
	DUMP_OWN_MASKED = 1,	/* uint64_t: secrets masked since the last one */
	DUMP_OWN_NOTE,		/* text for the manifest */
	DUMP_OWN_PROCESS,	/* struct record_process: a living one of the job */
};

/* A growing text; `s` is NUL-terminated when it is not NULL. */
struct dump_text {
	char *s;
	size_t len, cap;
};
void dump_text_add(struct dump_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void dump_text_append(struct dump_text *t, const void *data, size_t len);
void dump_text_free(struct dump_text *t);
#define _cleanup_dump_text_ __attribute__((cleanup(dump_text_free)))

/* Masks the secrets in it and hands it over as the member `name`; false: no memory file. */
bool dump_send_text(struct worker_link *l, const char *name, struct dump_text *t);
void dump_note(struct worker_link *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Append at most `max` bytes of a file (from its start); 0, or -1 and errno. */
int dump_read_file(const char *path, size_t max, struct dump_text *t);
/*
 * Run a program of PATH and append what it writes to standard output (and, when
 * `both`, to standard error).  Its wait status; -1 and an error when it cannot run
 * or does not end in time: then it is killed, and nobody waits for it.
 */
int dump_command(const char *const argv[], unsigned timeout_ms, bool both, struct dump_text *t, struct error *err);
/* Is there such a program in PATH? */
bool dump_has_command(const char *name);

/* The value of an environment variable of a process in `env` (as /proc/PID/environ has it); NULL. */
const char *dump_env(const struct dump_text *env, const char *name);
/* Its environment: 0, or -1 and errno. */
int dump_read_environ(uint32_t pid, struct dump_text *env);
/* `path` as the process sees it, seen from here: through /proc/PID/root. */
void dump_path_of(uint32_t pid, const char *path, char *buf, size_t size);
/* A path as one file name: '/' as %2F, '%' as %25; a long one keeps its end behind a digest. */
void dump_flat_name(const char *path, char *buf, size_t size);
/* Anything but letters, digits and "._-" becomes '_'. */
void dump_plain_name(char *s);
