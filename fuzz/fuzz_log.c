/*
 * Logs with all shipped signatures.  Properties: a quote is bytes of the input and
 * knows its line; what the store gets is valid; the same text gives the same
 * observations in whatever sizes it arrives; where a block of the reader ends
 * changes no quote; and inside a line longer than a block quotes are true all the same.
 */
#include <stdlib.h>
#include <string.h>

#include "analyzer/identity.h"
#include "analyzer/ingest/log.h"
#include "bundle/cleanup.h"
#include "fuzz/fuzz.h"
#include "patterns/detectors.h"

#define BUDGET ((size_t)64 << 20)

/* Compiled once, as tanalyze does; the log keeps nothing of a text behind its end. */
static struct pattern_set set;
static struct scanner scanner;
static struct store store;
static struct log *the_log;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct log_options opt = { 0 };
	struct error err = { 0 };

	(void)argc;
	(void)argv;
	if (pattern_set_init(&set, &err) || patterns_add_shipped(&set, &err) ||
	    pattern_set_seal(&set, &err) || scanner_init(&scanner, &set, &err) ||
	    log_open(&scanner, &store, &opt, &the_log, &err)) {
		error_print(stderr, &err);
		abort();
	}
	return 0;
}

/* The next bytes into the log, at most `most`. */
static void feed(const uint8_t **data, size_t *len, size_t most)
{
	size_t room;
	uint8_t *to = log_room(the_log, &room);

	CHECK(room > 0);
	if (room > *len)
		room = *len;
	if (room > most)
		room = most;
	memcpy(to, *data, room);
	*data += room;
	*len -= room;
	log_advance(the_log, room);
}

/* Read the text into a new store; the seed says in what sizes, 0: as it comes. */
static struct log_counts read_text(const uint8_t *data, size_t len, uint64_t seed)
{
	struct log_counts before = log_counts(the_log), after;
	struct error err = { 0 };
	const uint8_t *p = data;
	size_t left = len;

	CHECK(store_init(&store, BUDGET, &err) == 0);
	CHECK(store_member(&store, "rank_3.log", NULL, &err) == 0);
	log_begin(the_log, 0);
	while (left) {
		if (seed)
			seed = hash_bytes(&seed, sizeof(seed), 1) | 1;
		feed(&p, &left, seed ? 1 + (seed >> 16) % 700 : SIZE_MAX);
	}
	log_end(the_log);
	after = log_counts(the_log);
	check_store(&store);
	check_quotes(&store, 0, data, len);
	return (struct log_counts){ .lines = after.lines - before.lines,
				    .hits = after.hits - before.hits,
				    .undecided = after.undecided - before.undecided };
}

static void add(uint64_t *h, const void *p, size_t n) { *h = hash_bytes(p, n, *h); }
static void add_number(uint64_t *h, int64_t v) { add(h, &v, sizeof(v)); }

/* What is quoted, by its distance from `origin`. */
static uint64_t hash_quotes(uint64_t origin, uint64_t lines)
{
	uint64_t h = 1;

	for (size_t i = 0; i < store.n_evidence; i++) {
		const struct evidence *e = &store.evidence[i];

		add_number(&h, (int64_t)(e->offset - origin));
		add_number(&h, (int64_t)(e->line - lines));
		add(&h, e->raw, e->length);
		add_number(&h, e->time.ns);
		add_number(&h, e->time.base);
	}
	return h;
}

static uint64_t hash_observations(void)
{
	uint64_t h = 1;

	for (size_t i = 0; i < store.n_obs; i++) {
		const struct observation *o = &store.obs[i];
		const int64_t facts[] = {
			o->source, o->user_written, o->count, o->time.base, o->time.ns, o->onset.ns,
			o->first.ns, o->last.ns, o->n_fields, o->n_evidence, o->scope.rank,
			o->scope.local_rank, o->scope.attempt, o->scope.pid, o->scope.host,
			o->scope.gpu, o->scope.process, o->scope.link, o->scope.object,
			o->scope.sender,
		};

		add(&h, o->kind->name, strlen(o->kind->name));
		add(&h, facts, sizeof(facts));
		add(&h, o->fields, o->n_fields * sizeof(o->fields[0]));
		add(&h, o->evidence, o->n_evidence * sizeof(o->evidence[0]));
	}
	return h;
}

/* The text behind a filler that puts the end of a block inside it. */
static void across_blocks(const uint8_t *data, size_t len, uint64_t seed, bool own_line)
{
	_cleanup_free_ uint8_t *text = NULL;
	size_t block, filler;
	uint64_t quotes = hash_quotes(0, 0);

	log_begin(the_log, 0);
	log_room(the_log, &block);
	filler = block - (seed >> 20) % (len < block ? len : block);
	text = malloc(filler + len);
	CHECK(text);
	memset(text, ' ', filler);
	memcpy(text + filler, data, len);
	if (own_line)
		text[filler - 1] = '\n';
	store_deinit(&store);
	read_text(text, filler + len, 0);
	CHECK(!own_line || hash_quotes(filler, 1) == quotes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t seed = hash_bytes(data, size, 1) | 1, quotes, observations;
	struct log_counts whole, parts;
	size_t lines = 0;

	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	whole = read_text(data, size, 0);
	CHECK(whole.lines == lines);
	quotes = hash_quotes(0, 0);
	observations = hash_observations();
	store_deinit(&store);

	parts = read_text(data, size, seed);
	CHECK(memcmp(&whole, &parts, sizeof(whole)) == 0);
	CHECK(hash_quotes(0, 0) == quotes && hash_observations() == observations);
	if (size && seed % 8 == 1)	/* costs as much as ten short texts */
		across_blocks(data, size, seed, seed & 16);
	store_deinit(&store);
	return 0;
}
