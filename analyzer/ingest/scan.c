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
		{ "time", CAPTURE_TIME }, { "other_rank", CAPTURE_OTHER_RANK },
		{ "exit_signal", CAPTURE_EXIT_SIGNAL },
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
		return error_set(err, ERR_FORMAT, "%s:%d: %s: regex: %s at %zu", c->sig->origin, c->sig->line, c->sig->id, why, at);
	}
	c->kind = pattern_kind(sc->set, c->sig->kind);
	c->by_kinds = ARENA_ARRAY(&sc->arena, const struct kind *, c->sig->n_by + 1);
	if (!c->by_kinds || list_captures(sc, c))
		return error_set(err, ERR_NOMEM, "no memory for the signatures");
	for (size_t i = 0; i < c->sig->n_by; i++)
		c->by_kinds[i] = c->sig->by_kinds[i][0] ? pattern_kind(sc->set, c->sig->by_kinds[i]) : NULL;
	return 0;
}

static int list_literals(struct scanner *sc, struct error *err)
{
	size_t max = BUILT_IN_COUNT;

	for (size_t i = 0; i < sc->n_sigs; i++)
		max += sc->sigs[i].sig->n_literals;
	sc->list = ARENA_ARRAY(&sc->arena, struct literal, max);
	sc->literal_sig = ARENA_ARRAY(&sc->arena, uint32_t, max);
	if (!sc->list || !sc->literal_sig)
		return error_set(err, ERR_NOMEM, "no memory for the signatures");
	for (size_t i = 0; i < sc->n_sigs; i++)
		for (size_t k = 0; k < sc->sigs[i].sig->n_literals; k++) {
			const char *text = sc->sigs[i].sig->literals[k];

			sc->literal_sig[sc->n_literals] = (uint32_t)i;
			sc->list[sc->n_literals++] = (struct literal){ text, strlen(text), sc->sigs[i].sig->nocase };
		}
	for (size_t b = 0; b < BUILT_IN_COUNT; b++) {
		sc->literal_sig[sc->n_literals] = (uint32_t)(sc->n_sigs + b);
		sc->list[sc->n_literals++] = (struct literal){ built_in_literals[b], strlen(built_in_literals[b]), false };
	}
	return literals_open(sc->list, sc->n_literals, NULL, 0, &sc->literals, err);
}

void scanner_translate(struct compiled_signature *c)
{
	c->translated = true;
	pcre2_jit_compile(c->code, PCRE2_JIT_COMPLETE);
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
	return list_literals(sc, err);
}

void scanner_deinit(struct scanner *sc)
{
	for (size_t i = 0; i < sc->n_sigs; i++)
		pcre2_code_free(sc->sigs[i].code);
	literals_close(sc->literals);
	arena_deinit(&sc->arena);
	*sc = (struct scanner){ 0 };
}
