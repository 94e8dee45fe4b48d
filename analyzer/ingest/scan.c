#include "analyzer/ingest/scan.h"

#include <stdlib.h>
#include <string.h>

#include "bundle/cleanup.h"

static const char *const built_in_literals[BUILT_IN_COUNT] = {
	[BUILT_IN_LOSS] = "loss", [BUILT_IN_EXITCODE] = "exitcode  :",
};

static enum capture_role role_of(const char *name)
{
	static const struct {
		const char *name;
		enum capture_role role;
	} roles[] = {
		{ "rank", CAPTURE_RANK }, { "local_rank", CAPTURE_LOCAL_RANK }, { "attempt", CAPTURE_ATTEMPT },
		{ "pid", CAPTURE_PID }, { "host", CAPTURE_HOST }, { "gpu", CAPTURE_GPU },
		{ "process", CAPTURE_PROCESS }, { "link", CAPTURE_LINK }, { "object", CAPTURE_OBJECT },
		{ "sender", CAPTURE_SENDER }, { "timeout_ms", CAPTURE_TIMEOUT_MS }, { "timeout_s", CAPTURE_TIMEOUT_S },
		{ "time", CAPTURE_TIME },
	};

	for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
		if (strcmp(name, roles[i].name) == 0)
			return roles[i].role;
	return CAPTURE_FIELD;
}

static int list_captures(struct scanner *sc, struct compiled_signature *c)
{
	uint32_t n = 0, size = 0;
	PCRE2_SPTR table = NULL;

	pcre2_pattern_info(c->code, PCRE2_INFO_NAMECOUNT, &n);
	pcre2_pattern_info(c->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
	pcre2_pattern_info(c->code, PCRE2_INFO_NAMETABLE, &table);
	c->captures = ARENA_ARRAY(&sc->arena, struct capture, n + 1);
	if (!c->captures)
		return -1;
	for (uint32_t i = 0; i < n; i++, table += size)
		c->captures[c->n_captures++] = (struct capture){
			.name = (const char *)table + 2, .number = (uint32_t)table[0] << 8 | table[1],
			.role = role_of((const char *)table + 2),
		};
	return 0;
}

static int compile_one(struct scanner *sc, struct compiled_signature *c, struct error *err)
{
	PCRE2_SIZE at = 0;
	int code = 0;

	c->code = pcre2_compile((PCRE2_SPTR)c->sig->regex, PCRE2_ZERO_TERMINATED,
				PCRE2_DUPNAMES, &code, &at, NULL);
	if (!c->code) {
		char why[120];

		pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof(why));
		return error_set(err, ERR_FORMAT, "%s: signature %s: regex: %s at %zu", c->sig->origin, c->sig->id, why, at);
	}
	pcre2_jit_compile(c->code, PCRE2_JIT_COMPLETE);
	c->kind = pattern_kind(sc->set, c->sig->kind);
	c->by_kinds = ARENA_ARRAY(&sc->arena, const struct kind *, c->sig->n_by + 1);
	if (!c->by_kinds || list_captures(sc, c))
		return error_set(err, ERR_NOMEM, "no memory for the signatures");
	for (size_t i = 0; i < c->sig->n_by; i++)
		c->by_kinds[i] = c->sig->by_kinds[i][0] ? pattern_kind(sc->set, c->sig->by_kinds[i]) : NULL;
	return 0;
}

static int build_database(struct scanner *sc, struct error *err)
{
	size_t max = BUILT_IN_COUNT, n = 0;
	_cleanup_free_ const char **text = NULL;
	_cleanup_free_ unsigned *flags = NULL, *ids = NULL;
	_cleanup_free_ size_t *lens = NULL;
	hs_compile_error_t *why = NULL;

	for (size_t i = 0; i < sc->n_sigs; i++)
		max += sc->sigs[i].sig->n_literals;
	text = calloc(max, sizeof(*text));
	flags = calloc(max, sizeof(*flags));
	ids = calloc(max, sizeof(*ids));
	lens = calloc(max, sizeof(*lens));
	sc->literal_sig = ARENA_ARRAY(&sc->arena, uint32_t, max);
	if (!text || !flags || !ids || !lens || !sc->literal_sig)
		return error_set(err, ERR_NOMEM, "no memory for the signatures");
	for (size_t i = 0; i < sc->n_sigs; i++)
		for (size_t k = 0; k < sc->sigs[i].sig->n_literals; k++, n++) {
			text[n] = sc->sigs[i].sig->literals[k];
			flags[n] = sc->sigs[i].sig->nocase ? HS_FLAG_CASELESS : 0;
			sc->literal_sig[n] = (uint32_t)i;
		}
	for (int b = 0; b < BUILT_IN_COUNT; b++, n++) {
		text[n] = built_in_literals[b];
		sc->literal_sig[n] = (uint32_t)(sc->n_sigs + (size_t)b);
	}
	for (size_t i = 0; i < n; i++) {
		ids[i] = (unsigned)i;
		lens[i] = strlen(text[i]);
	}
	sc->n_literals = n;
	if (hs_compile_lit_multi(text, flags, ids, lens, (unsigned)n, HS_MODE_BLOCK, NULL, &sc->db, &why) != HS_SUCCESS) {
		error_set(err, ERR_FORMAT, "literals: %s", why ? why->message : "cannot compile");
		hs_free_compile_error(why);
		return -1;
	}
	return 0;
}

int scanner_init(struct scanner *sc, const struct pattern_set *set, struct error *err)
{
	*sc = (struct scanner){ .set = set };
	arena_init(&sc->arena, (size_t)64 << 20);
	sc->sigs = ARENA_ARRAY(&sc->arena, struct compiled_signature, set->n_signatures + 1);
	if (!sc->sigs)
		return error_set(err, ERR_NOMEM, "no memory for the signatures");
	for (size_t i = 0; i < set->n_signatures; i++) {
		sc->sigs[i].sig = &set->signatures[i];
		sc->n_sigs++;
		if (compile_one(sc, &sc->sigs[i], err))
			return -1;
	}
	return build_database(sc, err);
}

void scanner_deinit(struct scanner *sc)
{
	for (size_t i = 0; i < sc->n_sigs; i++)
		pcre2_code_free(sc->sigs[i].code);
	hs_free_database(sc->db);
	arena_deinit(&sc->arena);
	*sc = (struct scanner){ 0 };
}
