/*
 * stream - the bytes of an input, whatever wraps them.
 *
 * A file, standard input, a gzip or zstd file, or an archive (tar, also
 * compressed: a bundle) is a sequence of members that are read front to back.
 * Wrapping is recognised by content.  Nothing is ever extracted: member names are
 * labels, and only regular files are handed out; the rest is counted.
 * Limits: a compressed input may not expand more than 1000 to 1 beyond 64 MiB,
 * and an archive has at most 1,000,000 members.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bundle/error.h"

struct stream;

/* `fd` stays the caller's.  Memory: `data` must outlive the stream. */
int stream_open_fd(int fd, struct stream **ret, struct error *err);
int stream_open_memory(const void *data, size_t len, struct stream **ret, struct error *err);
void stream_close(struct stream *s);			/* NULL is fine */

/* 1: the next member is open, *name_ret its name (NULL: the input itself); 0: no more; -1: error. */
int stream_next(struct stream *s, const char **name_ret, struct error *err);

/* Bytes read of the open member, 0 at its end, -1: error (what was read before counts). */
ssize_t stream_read(struct stream *s, void *buf, size_t size, struct error *err);

/*
 * A file is read as long as it was when it was opened.  Did it change since?
 * 1: it grew, what was added was not read; -1: it shrank; 0: no, or not a file.
 */
int stream_changed(const struct stream *s, struct error *why);

bool stream_is_archive(const struct stream *s);
uint64_t stream_skipped(const struct stream *s);	/* links, devices, ... of the archive */

/* Do these first bytes say that the rest is wrapped (gzip, zstd, tar)? */
bool stream_wrapped(const void *head, size_t len);

static inline void stream_closep(struct stream **s) { stream_close(*s); }
#define _cleanup_stream_ __attribute__((cleanup(stream_closep)))
