#include "reports/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/identity.h"
#include "bundle/text.h"

#define CULPRITS_IN_FULL 3 /* more are grouped by host */
#define CULPRIT_GROUPS 8
#define DISTINCT_MAX 4096 /* beyond this, equal culprits are not looked for */

void words_deinit(struct words *w)
{
	free(w->s);
	*w = (struct words){ 0 };
}

/* Room for `n` more bytes and a NUL; NULL when there is none. */
static char *words_room(struct words *w, size_t n)
{
	size_t cap = w->cap ? w->cap : 256;
	char *s;

	while (cap - w->len <= n) {
		if (cap > SIZE_MAX / 2) {
			w->full = true;
			return NULL;
		}
		cap *= 2;
	}
	s = cap == w->cap ? w->s : realloc(w->s, cap);
	if (!s) {
		w->full = true;
		return NULL;
	}
	w->s = s;
	w->cap = cap;
	return s + w->len;
}

void words_bytes(struct words *w, const void *bytes, size_t len)
{
	char *at = words_room(w, len);

	if (!at)
		return;
	if (len)
		memcpy(at, bytes, len);
	at[len] = '\0';
	w->len += len;
}

void words_addv(struct words *w, const char *fmt, va_list ap)
{
	va_list again;
	char *at;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	at = n < 0 ? NULL : words_room(w, (size_t)n);
	if (at) {
		vsnprintf(at, (size_t)n + 1, fmt, again);
		w->len += (size_t)n;
	} else {
		w->full = true;
	}
	va_end(again);
}

void words_add(struct words *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	words_addv(w, fmt, ap);
	va_end(ap);
}

void words_printable(struct words *dst, const char *src, size_t len, size_t max)
{
	size_t shown = len < max ? len : max;
	uint32_t cp;
	char *at;

	/* Cut between characters: up to three bytes earlier, when they begin one. */
	for (size_t back = 1; shown < len && back <= 3 && back <= shown; back++) {
		size_t n = text_utf8(src + shown - back, len - shown + back, &cp);

		if (n > back)
			shown -= back;
		if (n)
			break;
	}
	words_clear(dst);
	at = words_room(dst, TEXT_PRINTABLE_MAX(shown));
	if (!at)
		return;
	dst->len += text_printable(src, shown, at, TEXT_PRINTABLE_MAX(shown));
	if (shown < len)
		words_add(dst, "... (%zu more bytes)", len - shown);
}

/* ---- numbers ---- */

void words_ranks(struct words *w, const int32_t *ranks, size_t n)
{
	if (n == 0)
		words_add(w, "none");
	for (size_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && (int64_t)ranks[end] - ranks[end - 1] <= 1; end++)
			;
		words_add(w, "%s%" PRId32, i ? "," : "", ranks[i]);
		if (ranks[end - 1] != ranks[i])
			words_add(w, "%s%" PRId32, end - i > 2 ? "-" : ",", ranks[end - 1]);
	}
}

void words_rank_list(struct words *w, const struct index_list *ranks)
{
	words_ranks(w, (const int32_t *)ranks->v, ranks->n);
}

void words_rank_noun(struct words *w, const int32_t *ranks, size_t n)
{
	words_add(w, n == 1 ? "rank " : "ranks ");
	words_ranks(w, ranks, n);
}

void words_count(struct words *w, size_t n, const char *one, const char *many)
{
	words_add(w, "%zu %s", n, n == 1 ? one : many);
}

void words_duration(struct words *w, int64_t ns)
{
	uint64_t abs = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
	uint64_t ms = (abs + 500000) / 1000000, s = ms / 1000;

	if (s < 60)
		words_add(w, "%" PRIu64 ".%03" PRIu64 " s", s, ms % 1000);
	else if (s < 3600)
		words_add(w, "%" PRIu64 " min %02" PRIu64 " s", s / 60, s % 60);
	else if (s < 48 * 3600)
		words_add(w, "%" PRIu64 " h %02" PRIu64 " min", s / 3600, s / 60 % 60);
	else
		words_add(w, "%" PRIu64 " d %02" PRIu64 " h", s / 86400, s / 3600 % 24);
}

void words_stamp(struct words *w, struct stamp t)
{
	char buf[48], *dot, *rest;

	stamp_text(t, buf);
	if (!buf[0]) {
		words_add(w, "time unknown");
		return;
	}
	dot = strchr(buf, '.');
	rest = dot ? dot + 1 + strspn(dot + 1, "0123456789") : NULL;
	if (dot && rest - dot > 4)
		words_add(w, "%.*s%s", (int)(dot + 4 - buf), buf, rest);
	else
		words_add(w, "%s", buf);
	if (t.base == TIME_LOCAL || t.base == TIME_YEARLESS || t.base == TIME_DAY)
		words_add(w, " (zone unknown)");
	else if (t.base == TIME_BOOT)
		words_add(w, " since boot");
}

void words_run_end(struct words *w, const struct run_end *r)
{
	static const char *const ends[] = {
		[VERDICT_ROOT_CAUSE] = "root cause",
		[VERDICT_UNATTRIBUTED] = "failed",
		[VERDICT_OUTCOME] = "ended from outside",
		[VERDICT_NO_FAILURE] = NULL,
	};

	words_add(w, "%s", r->headline ? r->headline : "");
	if (ends[r->status])
		words_add(w, " [%s%s%s]", ends[r->status], r->status == VERDICT_ROOT_CAUSE ? ", " : "",
			  r->status == VERDICT_ROOT_CAUSE ? confidence_name(r->confidence) : "");
}

/* ---- who ---- */

static const char *str(const struct store *s, sid id)
{
	return intern_str(&s->strings, id);
}

/* ", " between parts, nothing before the first. */
static void part(struct words *w, size_t start, const char *label, const char *value)
{
	words_add(w, "%s%s%s", w->len > start ? ", " : "", label, value);
}

void words_scope(struct words *w, const struct store *s, const struct scope *sc)
{
	size_t start = w->len;

	if (sc->rank != RANK_NONE) {
		words_add(w, "rank %" PRId32, sc->rank);
		if (sc->local_rank != RANK_NONE && sc->local_rank != sc->rank)
			words_add(w, " (local rank %" PRId32 ")", sc->local_rank);
		if (sc->host)
			words_add(w, " on %s", str(s, sc->host));
	} else if (sc->host) {
		words_add(w, "host %s", str(s, sc->host));
	}
	if (sc->attempt > 0)
		words_add(w, "%sattempt %" PRId32, w->len > start ? ", " : "", sc->attempt);
	if (sc->gpu)
		part(w, start, "GPU ", str(s, sc->gpu));
	if (sc->pid != PID_NONE)
		words_add(w, "%spid %" PRId32, w->len > start ? ", " : "", sc->pid);
	if (sc->process)
		part(w, start, "process ", str(s, sc->process));
	if (sc->link)
		part(w, start, "link ", str(s, sc->link));
	if (sc->object)
		part(w, start, "", str(s, sc->object));
	if (sc->sender)
		part(w, start, "sent by ", str(s, sc->sender));
	if (w->len == start)
		words_add(w, "not identified");
}

static int by_rank(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return (x > y) - (x < y);
}

static bool scope_equal(const struct scope *a, const struct scope *b)
{
	return a->rank == b->rank && a->local_rank == b->local_rank && a->attempt == b->attempt &&
	       a->pid == b->pid && a->host == b->host && a->gpu == b->gpu &&
	       a->process == b->process && a->link == b->link && a->object == b->object &&
	       a->sender == b->sender;
}

static int by_host(const void *a, const void *b)
{
	const struct scope *x = a, *y = b;

	if (x->host != y->host)
		return x->host < y->host ? -1 : 1;
	return by_rank(&x->rank, &y->rank);
}

/* The ranks of one host as one group; what is no rank, one by one. */
static void culprit_groups(struct words *w, const struct store *s, struct scope *all, size_t n,
			   int32_t *ranks)
{
	size_t groups = 0, i = 0;

	qsort(all, n, sizeof(all[0]), by_host);
	while (i < n && groups < CULPRIT_GROUPS) {
		const struct scope *first = &all[i];
		size_t n_ranks = 0;

		words_add(w, "%s", groups++ ? "; " : "");
		if (first->rank == RANK_NONE) {
			words_scope(w, s, first);
			i++;
			continue;
		}
		while (i < n && all[i].host == first->host)
			ranks[n_ranks++] = all[i++].rank;
		words_rank_noun(w, ranks, n_ranks);
		if (first->host)
			words_add(w, " on %s", str(s, first->host));
	}
	if (i < n)
		words_add(w, "; and %zu more", n - i);
}

/* The distinct culprits of the findings; their number. */
static size_t culprits_collect(const struct analysis *a, const struct index_list *findings,
			       struct scope *all)
{
	size_t n = 0;

	for (size_t i = 0; i < findings->n; i++) {
		const struct finding *f = &a->findings[findings->v[i]];

		for (size_t c = 0; c < f->n_culprits; c++) {
			size_t k = 0;

			while (k < n && k < DISTINCT_MAX && !scope_equal(&all[k], &f->culprits[c]))
				k++;
			if (k == n || k == DISTINCT_MAX)
				all[n++] = f->culprits[c];
		}
	}
	return n;
}

void words_culprits(struct words *w, const struct analysis *a, const struct index_list *findings)
{
	_cleanup_free_ struct scope *all = NULL;
	_cleanup_free_ int32_t *ranks = NULL;
	size_t n = 0;

	for (size_t i = 0; i < findings->n; i++)
		n += a->findings[findings->v[i]].n_culprits;
	all = calloc(n + 1, sizeof(all[0]));
	ranks = calloc(n + 1, sizeof(ranks[0]));
	if (!all || !ranks) {
		w->full = true;
		return;
	}
	n = culprits_collect(a, findings, all);
	if (n > CULPRITS_IN_FULL) {
		culprit_groups(w, a->store, all, n, ranks);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		words_add(w, "%s", i ? "; " : "");
		words_scope(w, a->store, &all[i]);
	}
}

/* ---- what was seen, and where ---- */

void words_member(struct words *w, const struct store *s, uint32_t member)
{
	const struct member *m = &s->members[member];

	words_add(w, "%s", str(s, m->input));
	if (m->name)
		words_add(w, ": %s", str(s, m->name));
}

void words_where(struct words *w, const struct store *s, uint32_t evidence)
{
	const struct evidence *e = &s->evidence[evidence];

	words_member(w, s, e->member);
	if (e->line)
		words_add(w, ":%" PRIu64, e->line);
	else
		words_add(w, " (byte %" PRIu64 ")", e->offset);
}

void words_quote(struct words *w, const struct store *s, uint32_t evidence)
{
	const struct evidence *e = &s->evidence[evidence];
	size_t len = e->raw ? e->length : 0, start = 0;

	if (e->decoded && e->text) {
		words_add(w, "%s", e->text);
		return;
	}
	while (len && (e->raw[len - 1] == '\n' || e->raw[len - 1] == '\r'))
		len--;
	while (start < len && (e->raw[start] == ' ' || e->raw[start] == '\t'))
		start++;
	if (len)
		words_bytes(w, e->raw + start, len - start);
}

void words_observation(struct words *w, const struct store *s, const struct observation *o)
{
	words_add(w, "%s", o->kind->what && o->kind->what[0] ? o->kind->what : o->kind->name);
	for (uint8_t i = 0; i < o->n_fields && i < FIELDS_MAX; i++)
		words_add(w, "%s%s=%s", i ? ", " : " (", str(s, o->fields[i].name),
			  str(s, o->fields[i].value));
	words_add(w, "%s", o->n_fields ? ")" : "");
	if (o->count > 1)
		words_add(w, ", %" PRIu32 " times", o->count);
}

/* ---- verdict ---- */

const char *verdict_phrase(enum verdict_status s)
{
	switch (s) {
	case VERDICT_ROOT_CAUSE:
		return "Root cause";
	case VERDICT_UNATTRIBUTED:
		return "Failure, cause not proven";
	case VERDICT_OUTCOME:
		return "Ended from outside, not a fault";
	case VERDICT_NO_FAILURE:
		return "No failure";
	}
	return "Verdict";
}

static bool names_somebody(const struct analysis *a)
{
	return a->primary.n && a->findings[a->primary.v[0]].n_culprits;
}

void words_action(struct words *w, const struct analysis *a)
{
	static const char *const phrases[][2] = {
		{ "restart", "restart the job" },
		{ "restart_without", "restart the job without" },
		{ "fix_code", "fix the program, then restart" },
		{ "fix_config", "fix the configuration, then restart" },
		{ "free_resource", "free the exhausted resource, then restart" },
		{ "wait", "wait; nothing here needs a repair" },
		{ "investigate", "investigate before a restart" },
	};
	const char *action = a->action ? a->action : "";
	const char *phrase = action;

	for (size_t i = 0; i < ARRAY_SIZE(phrases); i++)
		if (strcmp(action, phrases[i][0]) == 0)
			phrase = phrases[i][1];
	words_add(w, "%s", phrase);
	if (a->action_hosts.n == 0)
		words_add(w, "%s", strcmp(action, "restart_without") ? "" :
			  names_somebody(a) ? " the culprit" : " the host that failed, once you know which: the evidence does not name it");
	else if (strcmp(action, "restart_without"))
		words_add(w, "; look at");
	for (size_t i = 0; i < a->action_hosts.n; i++)
		words_add(w, "%s%s", i ? ", " : " ", str(a->store, a->action_hosts.v[i]));
}

void words_silent(struct words *w, const struct analysis *a)
{
	const struct index_list *l = &a->silent_ranks;

	if (l->n) {
		words_add(w, "no evidence from ");
		words_rank_noun(w, (const int32_t *)l->v, l->n);
		if (a->world_size > 0)
			words_add(w, " of %" PRId32, a->world_size);
	} else if (a->world_size > 0) {
		words_add(w, "every rank left evidence (%" PRId32 " of %" PRId32 ")", a->world_size,
			  a->world_size);
	} else {
		words_add(w, "world size unknown: ranks without evidence cannot be named");
	}
}

/* ---- what to show, and in which order ---- */

static int by_depth(const void *a, const void *b)
{
	const struct chain_link *x = a, *y = b;

	if (x->depth != y->depth)
		return x->depth < y->depth ? -1 : 1;
	return (x->finding > y->finding) - (x->finding < y->finding);
}

#define NOT_REACHED UINT32_MAX

/* Where the chain begins: the verdict, and without a proven cause what may be one. */
static void chain_seed(const struct analysis *a, uint32_t *depth)
{
	for (size_t i = 0; i < a->primary.n; i++)
		depth[a->primary.v[i]] = 0;
	if (a->status != VERDICT_UNATTRIBUTED)
		return;
	for (size_t c = 0; c < a->n_candidates; c++)
		for (size_t f = 0; f < a->n_findings; f++)
			if (a->findings[f].pattern == a->candidates[c])
				depth[f] = 0;
}

/* Push `depth` along the edges of one finding; true when something moved. */
static bool chain_push(const struct analysis *a, uint32_t from, uint32_t *depth)
{
	const struct index_list *to = &a->findings[from].explains;
	bool moved = false;

	for (size_t i = 0; i < to->n; i++) {
		uint32_t *d = &depth[to->v[i]];

		if (*d == NOT_REACHED || *d < depth[from] + 1) {
			*d = depth[from] + 1;
			moved = true;
		}
	}
	return moved;
}

int report_chain(const struct analysis *a, struct chain_link **ret, size_t *n_ret,
		 struct error *err)
{
	_cleanup_free_ uint32_t *depth = malloc((a->n_findings + 1) * sizeof(depth[0]));
	_cleanup_free_ struct chain_link *links = calloc(a->n_findings + 1, sizeof(links[0]));
	bool moved = true;
	size_t n = 0;

	if (!depth || !links)
		return error_set(err, ERR_NOMEM, "no memory");
	memset(depth, 0xff, (a->n_findings + 1) * sizeof(depth[0]));
	chain_seed(a, depth);
	/* The longest way from the start: a symptom stands after all that explain it. */
	for (size_t round = 0; moved && round < a->n_findings; round++) {
		moved = false;
		for (uint32_t f = 0; f < a->n_findings; f++)
			if (depth[f] != NOT_REACHED)
				moved |= chain_push(a, f, depth);
	}
	for (uint32_t f = 0; f < a->n_findings; f++)
		if (depth[f] != NOT_REACHED)
			links[n++] = (struct chain_link){ f, depth[f] };
	qsort(links, n, sizeof(links[0]), by_depth);
	*ret = take(links);
	*n_ret = n;
	return 0;
}

static bool about_other_run(const struct analysis *a, const struct observation *o)
{
	return a->hidden && a->hidden[o - a->store->obs];
}

bool report_any_stop(const struct analysis *a)
{
	for (size_t i = 0; i < a->store->n_obs; i++)
		if (a->store->obs[i].kind->stop && !about_other_run(a, &a->store->obs[i]))
			return true;
	return false;
}

bool observation_is_failure(const struct analysis *a, const struct observation *o, bool any_stop)
{
	return !about_other_run(a, o) && (any_stop ? o->kind->stop : o->kind->severity == SEV_FATAL);
}
