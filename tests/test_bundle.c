/* bundle/: errors, the bounded reader, printable text, digests, wrapped streams. */
#include "tests/test.h"

#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "bundle/digest.h"
#include "bundle/reader.h"
#include "bundle/stream.h"
#include "bundle/text.h"

static void test_error_keeps_the_first(void **state)
{
	struct error e = { 0 };
	char text[256];

	(void)state;
	assert_int_equal(error_at(&e, ERR_FORMAT, 7, "first %d", 1), -1);
	assert_int_equal(error_set(&e, ERR_LIMIT, "second"), -1);
	error_in(&e, "rank3");
	error_in(&e, "run.tar.zst");
	error_text(&e, text, sizeof(text));
	assert_string_equal(text, "run.tar.zst: rank3: first 1 (at byte 7)");
	assert_int_equal(e.code, ERR_FORMAT);
}

static void test_reader_is_sticky(void **state)
{
	struct error e = { 0 };
	struct reader r = reader_over("\x01\x02\x03", 3, &e);

	(void)state;
	assert_int_equal(reader_u16(&r), 0x0201);
	assert_int_equal(reader_u32(&r), 0);
	assert_string_equal(e.what, "needs 4 bytes, has 1");
	assert_int_equal(e.offset, 2);
	assert_int_equal(reader_u8(&r), 0);	/* the byte is there, but after an error nothing is read */
	assert_null(reader_take(&r, 1));
}

static const struct {
	const char *name, *in, *out;
} texts[] = {
	{ "plain text stays", "rank 3: ok\t1", "rank 3: ok\t1" },
	{ "UTF-8 stays", "\xed\x95\x99\xec\x8a\xb5", "\xed\x95\x99\xec\x8a\xb5" },
	{ "escape sequences are shown", "\x1b[31mred", "\\x1b[31mred" },
	{ "C1 controls are shown", "\xc2\x9b" "31m", "\\x9b31m" },
	{ "bidi overrides are shown", "a\xe2\x80\xae" "b", "a\\u{202e}b" },
	{ "invalid bytes become U+FFFD", "a\xff\xc0\x80z", "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz" },
	{ "a surrogate is invalid", "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	{ "a cut character is invalid", "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd" },
};

static void test_text_is_printable(void **state)
{
	char out[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		print_message("    %s\n", texts[i].name);
		text_printable(texts[i].in, strlen(texts[i].in), out, sizeof(out));
		assert_string_equal(out, texts[i].out);
	}
	assert_int_equal(text_printable("\xe2\x82\xac\xe2\x82\xac", 6, out, 5), 3);	/* cut at a character */
}

static void test_digest(void **state)
{
	char hex[DIGEST_HEX], parts[DIGEST_HEX];
	struct digest *d = digest_open();

	(void)state;
	digest_hex("abc", 3, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	digest_add(d, "a", 1);
	digest_add(d, "bc", 2);
	digest_close(d, parts);
	assert_string_equal(parts, hex);
}

/* A gzip of 256 MiB of zeros ends with a limit, not with 256 MiB. */
static void test_stream_refuses_a_bomb(void **state)
{
	static uint8_t zeros[1 << 16], block[1 << 16];
	_cleanup_stream_ struct stream *s = NULL;
	struct error e = { 0 };
	const char *name;
	size_t cap = 1 << 20, total = 0;
	_cleanup_free_ uint8_t *gz = malloc(cap);
	z_stream z = { .next_out = gz, .avail_out = (unsigned)cap };
	ssize_t n;

	(void)state;
	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
	for (int i = 0; i < 4096; i++) {
		z.next_in = zeros;
		z.avail_in = sizeof(zeros);
		assert_int_equal(deflate(&z, i == 4095 ? Z_FINISH : Z_NO_FLUSH), i == 4095 ? Z_STREAM_END : Z_OK);
	}
	deflateEnd(&z);
	assert_int_equal(stream_open_memory(gz, cap - z.avail_out, &s, &e), 0);
	assert_int_equal(stream_next(s, &name, &e), 1);
	while ((n = stream_read(s, block, sizeof(block), &e)) > 0)
		total += (size_t)n;
	assert_int_equal(n, -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_string_equal(e.what, "expands more than 1000 to 1");
	assert_true(total < (size_t)80 << 20);
}

static void test_stream_reads_plain_bytes(void **state)
{
	_cleanup_stream_ struct stream *s = NULL;
	struct error e = { 0 };
	const char *name;
	char buf[16];

	(void)state;
	assert_int_equal(stream_open_memory(B("hello"), &s, &e), 0);
	assert_int_equal(stream_next(s, &name, &e), 1);
	assert_null(name);
	assert_int_equal(stream_read(s, buf, sizeof(buf), &e), 5);
	assert_int_equal(stream_read(s, buf, sizeof(buf), &e), 0);
	assert_int_equal(stream_next(s, &name, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error_keeps_the_first), cmocka_unit_test(test_reader_is_sticky),
		cmocka_unit_test(test_text_is_printable), cmocka_unit_test(test_digest),
		cmocka_unit_test(test_stream_refuses_a_bomb), cmocka_unit_test(test_stream_reads_plain_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
