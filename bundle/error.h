/*
 * error - what went wrong, where, and at which byte.
 *
 * Every function that can fail returns 0 or -1 and takes a `struct error *`
 * as its last argument.  The caller owns the struct (usually on its stack);
 * setting an error never allocates.  The first error wins: a later
 * error_set() on a struct that already holds one changes nothing.
 * Library code never prints; only the programs do, with error_print().
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum err {
	ERR_NONE,
	ERR_NOMEM,
	ERR_SYS,		/* a system call failed; see error.sys */
	ERR_FORMAT,		/* the input breaks its own format */
	ERR_LIMIT,		/* the input asks for more than we grant */
	ERR_UNSUPPORTED,	/* well formed, but we do not read it */
	ERR_USAGE,		/* the command line asks for what cannot be */
};

struct error {
	enum err code;
	int sys;		/* errno, ERR_SYS only */
	bool has_offset;
	uint64_t offset;	/* bytes from the start of `where` */
	char where[200];	/* outermost first: "run.tar.zst: rank3/fr.pickle" */
	char what[200];		/* one clause, lower case, no full stop */
};

/* Record an error; always returns -1, so that callers can `return error_set(...)`. */
int error_set(struct error *e, enum err code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same for a failed system call: takes errno. */
int error_sys(struct error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same, with the byte at which the input went wrong. */
int error_at(struct error *e, enum err code, uint64_t offset, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Put a name in front of error.where while the error travels up; returns -1. */
int error_in(struct error *e, const char *name);

/* "where: what (at byte N)" or "where: what: strerror", without a newline, into `buf`. */
void error_text(const struct error *e, char *buf, size_t size);

/* The same text and a newline, made safe for a terminal. */
void error_print(FILE *f, const struct error *e);
