/*
 * scan - which lines could hold a signature, and which do.
 *
 * All required literals are searched at once (literals.h); PCRE2 judges each
 * (line, signature) pair that has one, once.  What one text needs lies in struct
 * log; a scanner serves one thread, since it translates a regex to machine code
 * when a line first asks for it.
 */
#pragma once
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "analyzer/ingest/literals.h"
#include "analyzer/pattern.h"

/* Literals that are not a signature's: what C code looks for in text. */
enum built_in { BUILT_IN_LOSS, BUILT_IN_EXITCODE, BUILT_IN_COUNT };

enum capture_role {
	CAPTURE_FIELD, CAPTURE_RANK, CAPTURE_LOCAL_RANK, CAPTURE_ATTEMPT, CAPTURE_PID, CAPTURE_HOST, CAPTURE_GPU,
	CAPTURE_PROCESS, CAPTURE_LINK, CAPTURE_OBJECT, CAPTURE_SENDER, CAPTURE_TIMEOUT_MS, CAPTURE_TIMEOUT_S, CAPTURE_TIME,
	CAPTURE_OTHER_RANK, CAPTURE_EXIT_SIGNAL
};

struct capture {
	const char *name;
	uint32_t number;
	enum capture_role role;
};

struct compiled_signature {
	const struct signature *sig;
	pcre2_code *code;
	bool translated;		/* by scanner_translate() */
	const struct kind *kind;
	const struct kind **by_kinds;	/* as sig->by_values; NULL: drop the line */
	struct capture *captures;
	size_t n_captures;
};

struct scanner {
	const struct pattern_set *set;
	struct arena arena;
	struct compiled_signature *sigs;
	size_t n_sigs;
	struct literal *list;		/* all literals of all signatures; texts are the set's */
	struct literals *literals;
	uint32_t *literal_sig;		/* by literal id: signature, or n_sigs + enum built_in */
	size_t n_literals;
};

int scanner_init(struct scanner *sc, const struct pattern_set *set, struct error *err);
void scanner_deinit(struct scanner *sc);

/* To machine code, where the processor has a translator; before the first match. */
void scanner_translate(struct compiled_signature *c);
