#include "analyzer/ingest/log.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/device_codes.h"
#include "analyzer/identity.h"
#include "bundle/cleanup.h"

#define BLOCK ((size_t)512 << 10)
#define WINDOW ((size_t)64 << 10)	/* of a long line, looked at at once */
#define OVERLAP ((size_t)4 << 10)	/* of two windows, and kept of a line longer than a block */
#define MATCH_LIMIT 5000		/* shipped signatures need a few hundred; hostile lines end here */
#define TUNE_AFTER ((uint64_t)4 << 20)	/* bytes; then after 4 times as many, and so on */
#define TUNE_SAMPLE ((size_t)128 << 10)
#define TUNE_BYTES_PER_TRY 512	/* a try costs about as much as 64 bytes */
#define ABOVE ((size_t)16 << 10)
#define DAY_NS INT64_C(86400000000000)
#define NOTICED_LATE_NS INT64_C(60000000000)
/* How far the kernel log's clock may be from CLOCK_MONOTONIC: 50 ppm of the uptime, and 10 ms. */
#define UPTIME_DRIFT 20000
#define UPTIME_ERROR_NS INT64_C(10000000)

struct put_off {
	uint32_t sig;
	size_t at;
};

struct log {
	const struct scanner *sc;
	struct store *s;
	struct log_options opt;
	pcre2_match_data *match;
	pcre2_match_context *context;
	pcre2_jit_stack *jit_stack;
	struct series_set *series;
	struct literals *tuned;		/* the scanner's literals, as this text asks for; NULL: as they are */
	uint64_t scanned, tried, tune_at;	/* bytes, comparisons since they were last tuned; when to look again */
	uint8_t *buf;
	size_t have;			/* bytes in buf */
	uint32_t member;
	uint64_t base;			/* offset of buf in the member */
	uint64_t newlines;		/* before buf + counted */
	size_t counted;
	bool mid_line;			/* buf begins inside a line */
	bool in_pieces;			/* log_jump(): lines have no numbers */
	bool timed;			/* the member's first time is set */
	int64_t days, last_of_day;	/* midnights that times of day have passed; the last such time */
	uint64_t *seen;			/* by signature: window last judged, + 1 */
	struct put_off *put_off;	/* what waits for the end of the line, see settle() */
	size_t n_put_off;
	bool failed;			/* a signature made a failure of the line */
	size_t limit;			/* bytes of buf that are whole lines */
	/* the line under the last candidate */
	size_t line_start, line_end;
	int64_t uptime_error_ns;	/* of the time in `prefix` */
	size_t parsed_start;		/* line that `prefix` is of; SIZE_MAX: none */
	struct prefix prefix;
	uint64_t above_at;		/* offset of the last line whose time_above() was asked for, and the answer */
	struct stamp above;
	int32_t other_rank;		/* that the line under judgement is about as much */
	struct log_counts counts;
	uint64_t last_hit;		/* offset of the last line with a hit, + 1 */
};

int log_open(const struct scanner *sc, struct store *s, const struct log_options *opt,
	     struct log **ret, struct error *err)
{
	_cleanup_log_ struct log *l = calloc(1, sizeof(*l));

	if (!l)
		return error_set(err, ERR_NOMEM, "no memory");
	l->sc = sc;
	l->s = s;
	l->opt = *opt;
	l->tune_at = TUNE_AFTER;
	l->buf = malloc(BLOCK);
	l->seen = calloc(sc->n_sigs + BUILT_IN_COUNT, sizeof(*l->seen));
	l->put_off = calloc(sc->n_sigs + 1, sizeof(*l->put_off));
	l->match = pcre2_match_data_create(32, NULL);
	l->context = pcre2_match_context_create(NULL);
	l->jit_stack = pcre2_jit_stack_create(32 << 10, 1 << 20, NULL);
	l->series = series_open();
	if (!l->buf || !l->seen || !l->put_off || !l->match || !l->context || !l->jit_stack || !l->series)
		return error_set(err, ERR_NOMEM, "no memory for scanning");
	pcre2_set_match_limit(l->context, MATCH_LIMIT);
	pcre2_jit_stack_assign(l->context, NULL, l->jit_stack);
	*ret = take(l);
	return 0;
}

void log_close(struct log *l)
{
	if (!l)
		return;
	pcre2_jit_stack_free(l->jit_stack);
	pcre2_match_context_free(l->context);
	pcre2_match_data_free(l->match);
	series_close(l->series);
	literals_close(l->tuned);
	free(l->put_off);
	free(l->seen);
	free(l->buf);
	free(l);
}

void log_begin(struct log *l, uint32_t member)
{
	l->member = member;
	l->have = l->counted = 0;
	l->base = l->newlines = 0;
	l->days = l->last_of_day = 0;
	l->mid_line = l->timed = l->in_pieces = false;
	l->last_hit = l->above_at = 0;
	l->above = (struct stamp){ 0 };
	memset(l->seen, 0, (l->sc->n_sigs + BUILT_IN_COUNT) * sizeof(*l->seen));
}

uint8_t *log_room(struct log *l, size_t *room_ret)
{
	*room_ret = BLOCK - l->have;
	return l->buf + l->have;
}

/* Every byte is counted once: worth the widest vectors that the processor has. */
#if defined(__x86_64__) && !defined(__clang__) && !defined(SANITIZED)
__attribute__((target_clones("avx2", "default")))
#endif
static uint64_t count_newlines(const uint8_t *p, size_t n)
{
	uint64_t sum = 0;

	while (n) {
		size_t run = n < 255 * 32 ? n : 255 * 32;
		uint32_t part = 0;

		for (size_t i = 0; i < run; i++)
			part += p[i] == '\n';
		sum += part;
		p += run;
		n -= run;
	}
	return sum;
}

/* Number of the line that begins at `at`. */
static uint64_t line_number(struct log *l, size_t at)
{
	if (at < l->counted)		/* an earlier line of this block: count again */
		return l->in_pieces ? 0 : l->newlines - count_newlines(l->buf + at, l->counted - at) + 1;
	l->newlines += count_newlines(l->buf + l->counted, at - l->counted);
	l->counted = at;
	return l->in_pieces ? 0 : l->newlines + 1;
}

static void settle(struct log *l);

/* Make line_start..line_end the line around `at`; each byte is searched once per line. */
static void find_line(struct log *l, size_t at)
{
	const uint8_t *nl;

	if (at < l->line_end && at >= l->line_start)
		return;
	settle(l);
	nl = at > l->line_end ? memrchr(l->buf + l->line_end, '\n', at - l->line_end) : NULL;
	l->line_start = nl ? (size_t)(nl - l->buf) + 1 : l->line_end;
	nl = memchr(l->buf + at, '\n', l->limit - at);
	l->line_end = nl ? (size_t)(nl - l->buf) + 1 : l->limit;
}

/* A bundle says when its host's clock stood at zero; the kernel's log keeps a clock of its own. */
static void place_uptime(struct log *l)
{
	const struct bundle_run *run = l->s->members[l->member].run;

	if (!run || !run->boot_ns)
		return;
	l->uptime_error_ns = l->prefix.time.ns / UPTIME_DRIFT + UPTIME_ERROR_NS;
	l->prefix.time = (struct stamp){ l->prefix.time.ns + run->boot_ns, TIME_UTC };
}

/* A time of day that falls back by hours within one text is of the next day. */
static struct stamp past_midnight(struct log *l, struct stamp t)
{
	if (t.base != TIME_DAY)
		return t;
	t.ns += l->days * DAY_NS;
	if (l->last_of_day - t.ns > DAY_NS / 2) {
		l->days++;
		t.ns += DAY_NS;
	}
	l->last_of_day = t.ns;
	return t;
}

static void need_prefix(struct log *l)
{
	size_t len = l->line_end - l->line_start;

	if (l->parsed_start == l->line_start)
		return;
	l->parsed_start = l->line_start;
	l->uptime_error_ns = 0;
	l->prefix = prefix_parse((const char *)l->buf + l->line_start, len < 4096 ? len : 4096,
				 l->opt.tz_ns, l->opt.tz_known);
	l->prefix.time = past_midnight(l, l->prefix.time);
	if (l->prefix.body > len)
		l->prefix.body = len;
	if (l->prefix.time.base == TIME_BOOT)
		place_uptime(l);
}

/* ---- one hit ---- */

static int64_t to_number(const char *s, size_t n)
{
	int64_t v = 0;

	if (n == 0 || n > 15)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -1;
		v = v * 10 + (s[i] - '0');
	}
	return v;
}

static int32_t to_id(const char *s, size_t n)
{
	int64_t v = to_number(s, n);

	return v >= 0 && v <= INT32_MAX ? (int32_t)v : -1;
}

static void take_capture(struct log *l, struct observation *o, const struct capture *c, const char *s, size_t n,
			 int64_t *timeout_ns)
{
	struct intern *in = &l->s->strings;
	int64_t v = to_number(s, n);

	switch (c->role) {
	case CAPTURE_RANK: o->scope.rank = to_id(s, n); break;
	case CAPTURE_LOCAL_RANK: o->scope.local_rank = to_id(s, n); break;
	case CAPTURE_ATTEMPT: o->scope.attempt = to_id(s, n); break;
	case CAPTURE_PID: o->scope.pid = to_id(s, n); break;
	case CAPTURE_HOST: o->scope.host = intern(in, s, n); break;
	case CAPTURE_GPU: o->scope.gpu = gpu_canonical(in, s, n); break;
	case CAPTURE_PROCESS: o->scope.process = intern(in, s, n); break;
	case CAPTURE_LINK: o->scope.link = intern(in, s, n); break;
	case CAPTURE_OBJECT: o->scope.object = intern(in, s, n); break;
	case CAPTURE_SENDER: o->scope.sender = intern(in, s, n); break;
	case CAPTURE_TIMEOUT_MS: *timeout_ns = v > 0 && v < INT64_C(1000000000000) ? v * 1000000 : 0; break;
	case CAPTURE_TIMEOUT_S: *timeout_ns = v > 0 && v < 1000000000 ? v * 1000000000 : 0; break;
	case CAPTURE_TIME: time_parse(s, n, &o->time); break;
	case CAPTURE_OTHER_RANK: l->other_rank = to_id(s, n); break;
	case CAPTURE_EXIT_SIGNAL: observation_fieldf(l->s, o, "exitcode", "-%.*s", (int)(n < 4 ? n : 4), s); break;
	case CAPTURE_FIELD: observation_field(l->s, o, c->name, s, n < 200 ? n : 200); break;
	}
}

/* A kernel line that some watcher passed on: "... node07 kernel: [12.3] ..." */
static sid forwarding_host(struct log *l)
{
	static const char tag[] = " kernel: ";
	const char *s = (const char *)l->buf + l->line_start;
	size_t n = l->line_end - l->line_start, len = 0;
	const char *at = memmem(s, n < 512 ? n : 512, tag, sizeof(tag) - 1);

	while (at && at - len > s && at[-(ptrdiff_t)len - 1] != ' ')
		len++;
	return at && len && len < 64 ? intern(&l->s->strings, at - len, len) : 0;
}

/* Names that an installer gives: several hosts of one job may have the same. */
static bool is_default_name(const char *s, size_t n)
{
	static const char *const names[] = { "localhost", "ubuntu", "debian", "centos", "rocky", "fedora" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (n == strlen(names[i]) && strncasecmp(s, names[i], n) == 0)
			return true;
	return false;
}

/* The host that the line's prefix states, if it tells more than the file's name does. */
static sid prefix_host(struct log *l)
{
	const struct prefix *p = &l->prefix;

	if (!p->host || (l->s->members[l->member].host && is_default_name(p->host, p->host_len)))
		return 0;
	return intern(&l->s->strings, p->host, p->host_len);
}

/* What the line does not say about itself, its prefix and its file do. */
static void complete_scope(struct log *l, struct observation *o)
{
	const struct member *m = &l->s->members[l->member];
	const struct prefix *p = &l->prefix;

	if (!o->scope.host)
		o->scope.host = prefix_host(l);
	if (!o->scope.host && o->source == SRC_KERNEL)
		o->scope.host = forwarding_host(l);
	if (!o->scope.host) {
		o->scope.host = m->host;
		o->host_from_path = m->host && m->host_from_path;
	}
	if (o->source == SRC_KERNEL || o->source == SRC_NET || o->source == SRC_FABRIC)
		return;		/* a host's log is about no rank by itself */
	if (o->scope.rank < 0)
		o->scope.rank = p->rank >= 0 ? p->rank : m->rank;
	if (o->scope.local_rank < 0)
		o->scope.local_rank = p->local_rank;
	if (o->source == SRC_SCHEDULER || o->source == SRC_LAUNCHER)
		return;		/* the process that writes reports what another one met */
	if (o->scope.pid < 0)
		o->scope.pid = p->pid;
	if (!o->scope.process && p->process)
		o->scope.process = intern(&l->s->strings, p->process, p->process_len);
}

/* A host's address, as such or in the four parts of a reverse look-up. */
static void learn_alias(struct log *l, const struct observation *o)
{
	char reverse[64];

	snprintf(reverse, sizeof(reverse), "%s.%s.%s.%s", observation_get(l->s, o, "a"), observation_get(l->s, o, "b"),
		 observation_get(l->s, o, "c"), observation_get(l->s, o, "d"));
	if (is_default_name(intern_str(&l->s->strings, o->scope.host), strlen(intern_str(&l->s->strings, o->scope.host))))
		return;
	identity_alias(l->s, reverse[0] == '.' ? observation_get(l->s, o, "address") : reverse, o->scope.host);
}

static void learn(struct log *l, const struct observation *o)
{
	const struct member *m = &l->s->members[l->member];
	struct rank_identity id = {
		.rank = o->scope.rank, .local_rank = o->scope.local_rank, .pid = o->scope.pid,
		.gpu = 0, .trust = TRUST_PREFIX,
	};

	/* A host that the message names may be a peer: only prefix and file say where the rank runs. */
	id.host = prefix_host(l);
	if (!id.host && m->host_from_path)
		identity_learn(l->s, &(struct rank_identity){ .rank = o->scope.rank, .local_rank = RANK_NONE, .pid = PID_NONE,
							      .host = m->host, .trust = TRUST_PATH });
	else if (!id.host)
		id.host = m->host;

	if (strcmp(o->kind->name, "nccl.init_rank") == 0) {
		id.gpu = o->scope.gpu;
		id.trust = l->prefix.nccl ? TRUST_NCCL : TRUST_LAUNCHER;
		identity_world(l->s, to_id(observation_get(l->s, o, "nranks"), strlen(observation_get(l->s, o, "nranks"))));
	} else if (o->source == SRC_KERNEL || o->source == SRC_NET) {
		id.rank = RANK_NONE;
	} else if (strcmp(o->kind->name, "host.address") == 0) {
		learn_alias(l, o);
	}
	identity_learn(l->s, &id);
}

/*
 * Time of the last dated line above this one; what earlier blocks end with counts too.
 * No further up than ABOVE bytes, or than the line that was asked about last.
 */
static struct stamp time_above(struct log *l)
{
	size_t end = l->line_start, stop = end > ABOVE ? end - ABOVE : 0;
	struct stamp t = { 0 };

	if (l->base && !l->timed)
		return t;
	while (!t.base && end > stop && l->base + end != l->above_at) {
		const uint8_t *nl = memrchr(l->buf, '\n', end - 1);
		size_t start = nl ? (size_t)(nl - l->buf) + 1 : 0;

		t = prefix_parse((const char *)l->buf + start, end - start < 512 ? end - start : 512, l->opt.tz_ns, l->opt.tz_known).time;
		end = start;
	}
	if (!t.base && l->base + end == l->above_at)
		t = l->above;
	else if (!t.base && end == 0 && l->base)
		t = l->s->members[l->member].last;
	l->above_at = l->base + l->line_start;
	l->above = t;
	return t;
}

static const struct kind *kind_of(const struct compiled_signature *c, const struct store *s, const struct observation *o)
{
	const char *value = c->sig->by_field ? observation_get(s, o, c->sig->by_field) : "";

	for (size_t i = 0; i < c->sig->n_by; i++)
		if (strcmp(value, c->sig->by_values[i]) == 0)
			return c->by_kinds[i];
	return c->kind;
}

/* Evidence: the whole line, or as much of it around the match as a quote may hold. */
static int64_t quote(struct log *l, size_t from, size_t to)
{
	size_t start = l->line_start, end = l->line_end;

	while (end > start && (l->buf[end - 1] == '\n' || l->buf[end - 1] == '\r'))
		end--;
	if (end - start > QUOTE_BYTES) {
		size_t lead = from - start < 200 ? from - start : 200;

		start = from - lead;
		if (end - start > QUOTE_BYTES)
			end = start + QUOTE_BYTES;
		if (end < to && to - start <= QUOTE_BYTES)
			end = to;
	}
	return store_quote(l->s, l->member, l->base + start, line_number(l, l->line_start),
			   (const char *)l->buf + start, end - start, l->prefix.time);
}

static void text_field(struct store *s, struct observation *o, const char *name, const char *value)
{
	observation_field(s, o, name, value, strlen(value));
}

/* A driver's number says little to people. */
static void code_fields(struct store *s, struct observation *o, enum code_table table)
{
	uint32_t code = (uint32_t)strtoul(observation_get(s, o, "code"), NULL, 10);
	const struct xid *x = table == CODES_XID ? xid_find(code) : NULL;
	const struct sxid *sx = table == CODES_SXID ? sxid_find(code) : NULL;

	if (table == CODES_NONE)
		return;
	text_field(s, o, "meaning", x ? x->meaning : sx ? sx->meaning : "not known");
	if (x)
		text_field(s, o, "action", x->action);
}

static void observe(struct log *l, const struct compiled_signature *c, size_t subject)
{
	const PCRE2_SIZE *v = pcre2_get_ovector_pointer(l->match);
	const char *s = (const char *)l->buf + subject;
	struct observation o = { .source = c->sig->source, .scope = scope_none, .count = 1, .member = l->member };
	int64_t timeout_ns = 0;

	l->other_rank = RANK_NONE;
	for (size_t i = 0; i < c->sig->n_set; i++)
		observation_field(l->s, &o, c->sig->set_names[i], c->sig->set_values[i], strlen(c->sig->set_values[i]));
	for (size_t i = 0; i < c->n_captures; i++) {
		PCRE2_SIZE from = v[2 * c->captures[i].number], to = v[2 * c->captures[i].number + 1];

		if (from != PCRE2_UNSET && to > from)
			take_capture(l, &o, &c->captures[i], s + from, to - from, &timeout_ns);
	}
	o.kind = kind_of(c, l->s, &o);
	if (!o.kind)
		return;
	code_fields(l->s, &o, c->sig->codes);
	complete_scope(l, &o);
	o.user_written = o.source == SRC_KERNEL && l->prefix.user_written && !l->opt.injected;
	if (!o.time.base)
		o.time = l->prefix.time;
	if (!o.time.base)
		o.above = time_above(l);
	o.onset = o.time;
	if (o.time.base)
		o.onset.ns -= timeout_ns;
	/* A launcher notices an end when it polls, and writes of it after the clean-up. */
	if (o.source == SRC_LAUNCHER)
		o.error_ns = NOTICED_LATE_NS;
	else
		o.error_ns = l->uptime_error_ns;
	if (store_wants_quote(l->s, &o))
		observation_cite(&o, quote(l, subject + v[0], subject + v[1]));
	l->counts.hits++;
	l->counts.hit_lines += l->base + l->line_start + 1 != l->last_hit;
	l->last_hit = l->base + l->line_start + 1;
	l->failed |= o.kind->stop || o.kind->severity == SEV_FATAL;
	l->s->members[l->member].sources |= 1u << o.source;
	store_observe(l->s, &o);
	learn(l, &o);
	if (l->other_rank >= 0) {	/* whose pid the line does not say */
		o.scope.rank = l->other_rank;
		o.scope.pid = PID_NONE;
		o.scope.local_rank = RANK_NONE;
		store_observe(l->s, &o);
	}
}

static size_t window_start(const struct log *l, size_t at)
{
	return l->line_start + (at - l->line_start) / (WINDOW - OVERLAP) * (WINDOW - OVERLAP);
}

static void judge(struct log *l, uint32_t sig, size_t at)
{
	struct compiled_signature *c = &l->sc->sigs[sig];
	size_t start = window_start(l, at), end = start + WINDOW;
	int rc;

	need_prefix(l);
	if (start < l->line_start + l->prefix.body)
		start = l->line_start + l->prefix.body;
	if (end > l->line_end)
		end = l->line_end;
	if (end - l->line_start > l->prefix.end)
		end = l->line_start + l->prefix.end;
	if (start >= end)
		return;
	while (end > start && (l->buf[end - 1] == '\n' || l->buf[end - 1] == '\r'))
		end--;
	if (!c->translated)
		scanner_translate(c);
	rc = pcre2_match(c->code, l->buf + start, end - start, 0, 0, l->match, l->context);
	if (rc > 0)
		observe(l, c, start);
	else if (rc != PCRE2_ERROR_NOMATCH)
		l->counts.undecided++;
}

/* Judge a (window, signature) pair once. */
static void judge_once(struct log *l, uint32_t sig, size_t at)
{
	uint64_t mark = l->base + window_start(l, at) + 1;

	if (l->seen[sig] == mark)
		return;
	l->seen[sig] = mark;
	if (!l->sc->sigs[sig].sig->otherwise)
		judge(l, sig, at);
	else if (l->n_put_off < l->sc->n_sigs)
		l->put_off[l->n_put_off++] = (struct put_off){ sig, at };
}

static int compare_put_off(const void *x, const void *y)
{
	const struct put_off *a = x, *b = y;

	return a->sig != b->sig ? (a->sig > b->sig) - (a->sig < b->sig) : (a->at > b->at) - (a->at < b->at);
}

/* The line is over: what applies only where nothing else did, the first that fits. */
static void settle(struct log *l)
{
	if (l->n_put_off > 1)
		qsort(l->put_off, l->n_put_off, sizeof(*l->put_off), compare_put_off);
	for (size_t i = 0; i < l->n_put_off && !l->failed; i++)
		judge(l, l->put_off[i].sig, l->put_off[i].at);
	l->n_put_off = 0;
	l->failed = false;
}

static uint64_t current_line(void *ctx)
{
	struct log *l = ctx;

	return line_number(l, l->line_start);
}

static void built_in(struct log *l, enum built_in which, size_t at)
{
	struct log_line line = { .member = l->member, .prefix = &l->prefix };
	size_t slot = l->sc->n_sigs + which;
	uint64_t mark = l->base + l->line_start + 1;

	if (l->seen[slot] == mark || l->line_end - l->line_start > 4096)
		return;
	l->seen[slot] = mark;
	line.s = (const char *)l->buf + l->line_start;
	line.len = l->line_end - l->line_start;
	line.offset = l->base + l->line_start;
	if (which == BUILT_IN_LOSS) {
		/* such lines are many: no prefix is parsed, and lines are counted only where one is kept */
		line.prefix = NULL;
		series_line(l->series, &line, at - l->line_start, current_line, l);
		return;
	}
	need_prefix(l);
	line.number = line_number(l, l->line_start);
	torchrun_block(l->s, &line, (const char *)l->buf, l->line_start);
}

static void candidate(uint32_t literal, size_t at, void *ctx)
{
	struct log *l = ctx;
	uint32_t sig = l->sc->literal_sig[literal];

	find_line(l, at);
	if (sig < l->sc->n_sigs)
		judge_once(l, sig, at);
	else
		built_in(l, (enum built_in)(sig - l->sc->n_sigs), at);
}

/* ---- blocks ---- */

/* The host of a shell prompt, "[user@node07 dir]$ " or "root@node07:~# ". */
static sid prompt_host(struct log *l, const char *s, size_t n)
{
	const char *at, *end = s + n, *p = n && *s == '(' ? memmem(s, n < 40 ? n : 40, ") ", 2) : NULL;
	size_t len = 0;

	if (p) {	/* "(venv) " in front */
		n -= (size_t)(p + 2 - s);
		s = p + 2;
	}
	p = at = n ? memchr(s, '@', n < 64 ? n : 64) : NULL;

	if (!at || at == s || memchr(s, ' ', (size_t)(at - s)))
		return 0;
	while (p + 1 + len < end && (isalnum((unsigned char)p[1 + len]) || p[1 + len] == '-' || p[1 + len] == '_'))
		len++;
	p += 1 + len;
	if (len < 2 || p >= end || (*p != ' ' && *p != ':') ||
	    !(memmem(p, (size_t)(end - p), "$ ", 2) || memmem(p, (size_t)(end - p), "# ", 2)))
		return 0;
	return intern(&l->s->strings, at + 1, len);
}

/* First and last time of the text, and the host that its prefixes name. */
static void note_times(struct log *l, size_t limit)
{
	struct member *m = &l->s->members[l->member];
	size_t at = 0;

	for (int tries = 0; tries < 64 && at < limit && !l->timed; tries++) {
		const uint8_t *nl = memchr(l->buf + at, '\n', limit - at);
		size_t end = nl ? (size_t)(nl - l->buf) : limit;
		struct prefix p = prefix_parse((const char *)l->buf + at, end - at < 512 ? end - at : 512,
					       l->opt.tz_ns, l->opt.tz_known);

		if (p.kernel)
			m->sources |= 1u << SRC_KERNEL;
		if (p.kernel && p.host && (!m->host || m->host_from_path)) {
			m->host = intern(&l->s->strings, p.host, p.host_len);
			m->host_from_path = false;
			identity_host(l->s, m->host);
		}
		if (p.nccl && m->host_from_path && !is_default_name(p.host, p.host_len) &&
		    !host_same(intern_str(&l->s->strings, m->host), intern_str(&l->s->strings, intern(&l->s->strings, p.host, p.host_len)))) {
			m->host = 0;	/* the path is called after something else */
			m->host_from_path = false;
		}
		if (!m->host)
			m->host = prompt_host(l, (const char *)l->buf + at, end - at);
		if (p.time.base) {
			m->first = p.time;
			l->timed = true;
		}
		at = end + 1;
	}
	for (int tries = 0; tries < 8 && limit > 1; tries++) {
		const uint8_t *nl = memrchr(l->buf, '\n', limit - 1);
		size_t start = nl ? (size_t)(nl - l->buf) + 1 : 0;
		struct prefix p = prefix_parse((const char *)l->buf + start, limit - start < 512 ? limit - start : 512,
					       l->opt.tz_ns, l->opt.tz_known);

		if (p.time.base) {
			m->last = p.time;
			return;
		}
		limit = start;
	}
}

/* A long text of a kind that makes the search stumble: choose what is searched for by its own words. */
static void tune(struct log *l, size_t limit)
{
	struct literals *better = NULL;
	struct error err = { 0 };

	if (l->scanned < l->tune_at)
		return;
	if (l->tried > l->scanned / TUNE_BYTES_PER_TRY &&
	    literals_open(l->sc->list, l->sc->n_literals, l->buf, limit < TUNE_SAMPLE ? limit : TUNE_SAMPLE, &better, &err) == 0) {
		literals_close(l->tuned);
		l->tuned = better;
	}
	l->scanned = l->tried = 0;
	l->tune_at *= 4;
}

static void scan(struct log *l, size_t limit)
{
	if (limit == 0)
		return;
	l->limit = limit;
	l->line_start = l->line_end = 0;
	l->parsed_start = SIZE_MAX;
	tune(l, limit);
	l->tried += literals_scan(l->tuned ? l->tuned : l->sc->literals, l->buf, limit, candidate, l);
	settle(l);
	l->scanned += limit;
	note_times(l, limit);
	line_number(l, limit);
}

/* Scan what is whole, keep the rest. */
static void drain(struct log *l, bool end)
{
	const uint8_t *nl = memrchr(l->buf, '\n', l->have);
	size_t limit = end ? l->have : nl ? (size_t)(nl - l->buf) + 1 : l->have;
	size_t keep;

	scan(l, limit);
	/* A line longer than a block goes on: windows overlap, so that nothing is cut in two. */
	keep = limit == l->have && !nl && !end ? OVERLAP : l->have - limit;
	memmove(l->buf, l->buf + l->have - keep, keep);
	l->base += l->have - keep;
	l->have = keep;
	l->counted = 0;
}

void log_advance(struct log *l, size_t n)
{
	l->have += n;
	if (l->have == BLOCK)
		drain(l, false);
}

void log_jump(struct log *l, uint64_t offset)
{
	if (l->have)
		drain(l, true);
	l->base = offset;
	l->in_pieces = true;
}

void log_end(struct log *l)
{
	drain(l, true);
	l->counts.lines += l->newlines;
	series_end(l->series, l->s);
}

struct log_counts log_counts(const struct log *l) { return l->counts; }
