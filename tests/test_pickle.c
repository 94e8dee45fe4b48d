/* The data-only pickle machine and the JSON reader: bad input by table, truncation, entries before damage. */
#include "tests/test.h"

#include <stdlib.h>

#include "analyzer/ingest/flight.h"

#define DUMP_ENTRY "}(X\x0e\0\0\0profiling_nameX\x0f\0\0\0nccl:all_reduceX\x11\0\0\0collective_seq_idK\x05X\x05\0\0\0stateX\x09\0\0\0scheduledu"
#define DUMP_HEAD "\x80\x02}(X\x07\0\0\0versionX\x04\0\0\0" "2.10X\x07\0\0\0entries]("

static const struct {
	const char *name;
	const char *in;
	size_t len;
	enum err code;		/* ERR_NONE: must parse */
	uint64_t offset;	/* where the error must point */
	size_t entries;		/* handed out all the same */
} cases[] = {
	{ "none", B("\x80\x04N."), ERR_NONE, 0, 0 },
	{ "a dump with two entries", B(DUMP_HEAD DUMP_ENTRY DUMP_ENTRY "eu."), ERR_NONE, 0, 2 },
	{ "the bare list of 2023", B("\x80\x02](" DUMP_ENTRY "e."), ERR_NONE, 0, 1 },
	{ "one entry by APPEND", B("\x80\x02]" DUMP_ENTRY "a."), ERR_NONE, 0, 1 },
	{ "build_intlist is a list", B("\x80\x02" "ctorch.jit._pickle\nbuild_intlist\n](K\x01K\x02" "e\x85R."), ERR_NONE, 0, 0 },
	{ "empty input", B(""), ERR_FORMAT, 0, 0 },
	{ "no STOP", B("\x80\x04N"), ERR_FORMAT, 3, 0 },
	{ "string past the end", B("\x80\x04\x8c\x09" "abc."), ERR_FORMAT, 4, 0 },
	{ "a string of 4 GiB", B("\x80\x02X\xff\xff\xff\xff" "abc."), ERR_FORMAT, 7, 0 },
	{ "BINUNICODE8 of 2^63", B("\x80\x04\x8d\0\0\0\0\0\0\0\x80."), ERR_FORMAT, 11, 0 },
	{ "GLOBAL is refused", B("\x80\x02" "cos\nsystem\n."), ERR_UNSUPPORTED, 2, 0 },
	{ "REDUCE is refused", B("\x80\x02)R."), ERR_UNSUPPORTED, 3, 0 },
	{ "STACK_GLOBAL is refused", B("\x80\x04\x93."), ERR_UNSUPPORTED, 2, 0 },
	{ "BUILD is refused", B("\x80\x02N}b."), ERR_UNSUPPORTED, 4, 0 },
	{ "another global is no build_intlist", B("\x80\x02" "ctorch.jit._pickle\nbuild_boollist\n."), ERR_UNSUPPORTED, 2, 0 },
	{ "an unknown byte", B("\x80\x02\xff."), ERR_FORMAT, 2, 0 },
	{ "protocol 6", B("\x80\x06N."), ERR_FORMAT, 0, 0 },
	{ "APPEND into an int", B("\x80\x02K\x01K\x02" "a."), ERR_FORMAT, 6, 0 },
	{ "SETITEMS, odd count", B("\x80\x02}(K\x01u."), ERR_FORMAT, 6, 0 },
	{ "SETITEMS without a mark", B("\x80\x02}u."), ERR_FORMAT, 3, 0 },
	{ "tuple across a mark", B("\x80\x02K\x01(\x85."), ERR_FORMAT, 5, 0 },
	{ "memo never set", B("\x80\x02h\x05."), ERR_FORMAT, 2, 0 },
	{ "memo index too large", B("\x80\x02Nr\xff\xff\xff\xff."), ERR_LIMIT, 3, 0 },
	{ "memo index of text, no number", B("\x80\x02Ngx\n."), ERR_FORMAT, 3, 0 },
	{ "two values at STOP", B("\x80\x02NN."), ERR_FORMAT, 4, 0 },
	{ "an open mark at STOP", B("\x80\x02N(."), ERR_FORMAT, 4, 0 },
	{ "DUP of nothing", B("\x80\x02" "2."), ERR_FORMAT, 2, 0 },
	{ "entry, then code", B(DUMP_HEAD DUMP_ENTRY "cos\nsystem\n(X\x04\0\0\0truetR"), ERR_UNSUPPORTED, 129, 1 },
	{ "entry, then the end", B(DUMP_HEAD DUMP_ENTRY "}("), ERR_FORMAT, 131, 1 },
	{ "JSON: cut in an entry", B("{\"version\":\"2.10\",\"entries\":[{\"profiling_name\":\"nccl:send 0->1\"},{\"pro"), ERR_FORMAT, 67, 1 },
	{ "JSON: a closing too many", B("{\"pg_config\":]"), ERR_FORMAT, 14, 0 },
	{ "JSON: bad escape", B("{\"pg_config\":\"\\x\"}"), ERR_FORMAT, 16, 0 },
	{ "JSON: no value", B("{\"pg_config\":?}"), ERR_FORMAT, 13, 0 },
};

static void read_in_exact_buffer(struct flight_dump *d, const char *in, size_t len, struct error *err, int *ret)
{
	_cleanup_free_ char *copy = malloc(len ? len : 1);	/* exact size: a sanitizer sees one byte too many */

	memcpy(copy, in, len);
	*ret = flight_read(d, copy, len, err);
}

static void test_cases(void **state)
{
	struct flight_dump *d = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = { 0 };
		int ret;

		print_message("    %s\n", cases[i].name);
		read_in_exact_buffer(d, cases[i].in, cases[i].len, &err, &ret);
		assert_int_equal(ret, cases[i].code == ERR_NONE ? 0 : -1);
		assert_int_equal(err.code, cases[i].code);
		assert_int_equal(err.offset, cases[i].offset);
		assert_int_equal(d->n_entries, cases[i].entries);
	}
}

/* Every prefix of a good dump fails cleanly, and gives every whole entry before the cut. */
static void test_truncation(void **state)
{
	static const char good[] = DUMP_HEAD DUMP_ENTRY DUMP_ENTRY DUMP_ENTRY "eu.";
	const size_t head = sizeof(DUMP_HEAD) - 1, entry = sizeof(DUMP_ENTRY) - 1;
	struct flight_dump *d = *state;

	for (size_t len = 2; len < sizeof(good); len++) {
		struct error err = { 0 };
		size_t whole = len <= head ? 0 : (len - head) / entry;
		int ret;

		read_in_exact_buffer(d, good, len, &err, &ret);
		assert_int_equal(ret, len == sizeof(good) - 1 ? 0 : -1);
		assert_true(ret == 0 || err.offset <= len);
		assert_int_equal(d->n_entries, whole > 3 ? 3 : whole);
	}
}

/* Each byte of a good dump, flipped: no crash, and an error points into the input. */
static void test_flips(void **state)
{
	static const char good[] = DUMP_HEAD DUMP_ENTRY DUMP_ENTRY "eu.";
	struct flight_dump *d = *state;

	for (size_t i = 0; i < sizeof(good) - 1; i++)
		for (int bit = 0; bit < 8; bit++) {
			char copy[sizeof(good)];
			struct error err = { 0 };
			int ret;

			memcpy(copy, good, sizeof(good));
			copy[i] ^= (char)(1 << bit);
			read_in_exact_buffer(d, copy, sizeof(good) - 1, &err, &ret);
			assert_true(ret == 0 || (err.what[0] && err.offset <= sizeof(good) - 1));
		}
}

/* `n` times one byte, after a head; ends with a limit or a format error, quickly and in bounds. */
static void repeat(struct flight_dump *d, const char *head, size_t head_len, char byte, size_t n, enum err want)
{
	_cleanup_free_ char *in = malloc(head_len + n);
	struct error err = { 0 };
	int ret;

	memcpy(in, head, head_len);
	memset(in + head_len, byte, n);
	ret = flight_read(d, in, head_len + n, &err);
	assert_int_equal(ret, -1);
	assert_int_equal(err.code, want);
	assert_true(d->scratch.used <= d->scratch.cap);
}

static void test_bombs(void **state)
{
	struct flight_dump *d = *state;

	repeat(d, B("\x80\x02"), ']', 10000000, ERR_LIMIT);	/* lists nested 10 million deep */
	repeat(d, B("\x80\x02"), '(', 5000000, ERR_LIMIT);
	repeat(d, B("\x80\x02N"), '2', 20000000, ERR_LIMIT);
	repeat(d, B("\x80\x02N2\x86q\0"), '2', 100, ERR_FORMAT);
	repeat(d, B("{\"pg_config\":"), '[', 100000, ERR_FORMAT);
	repeat(d, B("{\"pg_config\":"), '[', 3000000, ERR_LIMIT);
}

/* A memo bomb is read in one step per opcode: 2^200 virtual leaves. */
static void test_memo_bomb(void **state)
{
	struct flight_dump *d = *state;
	char in[2 + 1 + 200 * 2 + 1];
	struct error err = { 0 };
	size_t n = 0;

	in[n++] = '\x80';
	in[n++] = 2;
	in[n++] = ')';
	for (int i = 0; i < 200; i++) {
		in[n++] = '2';
		in[n++] = '\x86';
	}
	in[n++] = '.';
	assert_int_equal(flight_read(d, in, n, &err), 0);
	assert_true(d->scratch.used < 65536);
}

static void test_entry_fields(void **state)
{
	static const char in[] =
		"{\"version\":\"2.10\",\"pg_config\":{\"7\":{\"name\":\"7\",\"desc\":\"dp\",\"ranks\":\"[4, 0, 12]\"}},"
		"\"pg_status\":{\"0\":{\"last_enqueued_collective\":\"9\",\"last_completed_collective\":\"8\"}},"
		"\"entries\":[{\"pg_id\":0,\"process_group\":[\"7\",\"dp\"],\"profiling_name\":\"nccl:recv 2<-0\","
		"\"p2p_seq_id\":3,\"collective_seq_id\":9,\"input_sizes\":[[2,3]],\"output_sizes\":[[6]],"
		"\"input_dtypes\":[\"Half\"],\"state\":\"started\",\"time_created_ns\":99999999999999999999999}]}";
	struct flight_dump *d = *state;
	struct error err = { 0 };

	assert_int_equal(flight_read(d, in, sizeof(in) - 1, &err), 0);
	assert_int_equal(d->major, 2);
	assert_int_equal(d->minor, 10);
	assert_int_equal(d->n_groups, 1);
	assert_int_equal(d->groups[0].n_ranks, 3);
	assert_int_equal(d->groups[0].ranks[0], 0);
	assert_int_equal(d->groups[0].ranks[2], 12);
	assert_int_equal(d->status[0].enqueued, 9);
	assert_int_equal(d->n_entries, 1);
	assert_int_equal(d->entries[0].peer, 0);
	assert_false(d->entries[0].is_send);
	assert_int_equal(d->entries[0].in_numel, 6);
	assert_int_equal(d->entries[0].state, FLIGHT_STARTED);
	assert_int_equal(d->entries[0].created_ns, 0);		/* a number beyond 64 bits is no time */
	assert_string_equal(d->entries[0].shape, "[2, 3] Half");
}

static int set_up(void **state)
{
	static struct flight_dump d;
	struct error err = { 0 };

	*state = &d;
	return flight_dump_init(&d, FLIGHT_SCRATCH_BYTES, &err);
}

static int tear_down(void **state)
{
	flight_dump_deinit(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases), cmocka_unit_test(test_truncation), cmocka_unit_test(test_flips),
		cmocka_unit_test(test_bombs), cmocka_unit_test(test_memo_bomb), cmocka_unit_test(test_entry_fields),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
