/*
 * device_codes - what the numbers of NVIDIA's drivers mean: Xids of GPUs, SXids of
 * NVSwitches.
 *
 * The signatures take the kind of an Xid from here, the reports what it means.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Whose trouble a code is. */
enum code_scope { SCOPE_PROGRAM, SCOPE_GPU, SCOPE_LINK, SCOPE_HOST };

enum sxid_severity { SXID_NONFATAL, SXID_FATAL, SXID_FATAL_HOST, SXID_AS_STATED };

/* Whose numbers a signature's "code" is; and the words for them in pattern files. */
enum code_table { CODES_NONE, CODES_XID, CODES_SXID };

struct xid {
	uint32_t code;
	const char *kind;	/* of the observation */
	enum code_scope scope;
	bool alone;		/* false: needs corroboration to name a cause */
	const char *action;
	const char *meaning, *follows;
};

struct sxid {
	uint32_t first, last;	/* the same for a code with a row of its own */
	enum sxid_severity severity;
	const char *meaning;	/* of the code, or the unit that reports it */
};

const struct xid *xid_find(uint32_t code);	/* NULL: unknown */
const struct xid *xid_at(size_t i);		/* NULL past the last */
const struct sxid *sxid_find(uint32_t code);	/* NULL: unknown */

const char *code_scope_name(enum code_scope scope);
const char *sxid_severity_name(enum sxid_severity severity);

/* "xid:79" or "sxid:20034", for people; -1 when the text names no code. */
int code_explain(const char *text, FILE *out);
