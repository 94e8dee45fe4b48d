/* Inputs that change under the reader: the hook that says what is read next changes them. */
#include "tests/shipped.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#include "analyzer/collectives.h"
#include "analyzer/ingest/ingest.h"
#include "patterns/detectors.h"

#define LINES 4000

struct change {
	const char *path;
	off_t to;			/* length it gets */
};

static void on_progress(void *ctx, const char *path, uint64_t bytes)
{
	const struct change *c = ctx;

	(void)path;
	(void)bytes;
	assert_int_equal(truncate(c->path, c->to), 0);
}

/* A log of LINES lines, or that in one zstd frame; its bytes. */
static size_t write_log(const char *path, bool packed)
{
	static char text[LINES * 16 + 1], frame[sizeof(text) + 1024];
	size_t n = 0, len;
	FILE *f = fopen(path, "we");

	for (int i = 0; i < LINES; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "step %d\n", i * 7919);
	len = packed ? ZSTD_compress(frame, sizeof(frame), text, n, 1) : n;
	assert_non_null(f);
	assert_int_equal(fwrite(packed ? frame : text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	return len;
}

static const struct {
	const char *name;
	bool packed;
	int by;				/* percent of its length that it gets */
	enum member_state state;
	const char *what;		/* NULL: nothing is said */
} changes[] = {
	{ "stays as it is", false, 100, MEMBER_OK, NULL },
	{ "grows", false, 250, MEMBER_OK, "the file grew while it was read: of now %zu bytes the %zu that it had at first were read" },
	{ "grows without end in sight", false, 2000000000, MEMBER_OK,
	  "the file grew while it was read: of now %zu bytes the %zu that it had at first were read" },
	{ "shrinks", false, 50, MEMBER_DAMAGED, "the file shrank while it was read: %zu of %zu bytes are left" },
	{ "is emptied", false, 0, MEMBER_DAMAGED, "the file shrank while it was read: %zu of %zu bytes are left" },
	{ "compressed, grows", true, 200, MEMBER_OK,
	  "the file grew while it was read: of now %zu bytes the %zu that it had at first were read" },
	{ "compressed, shrinks", true, 90, MEMBER_DAMAGED, "the file shrank while it was read: %zu of %zu bytes are left" },
};

static bool says(const struct member *m, const char *what)
{
	for (const struct damage *d = m->damage; d; d = d->next)
		if (strcmp(d->what, what) == 0)
			return true;
	return false;
}

static void test_files_that_change(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		char path[] = "/tmp/intake-XXXXXX", *inputs[] = { path };
		int fd = mkstemp(path);
		size_t size = write_log(path, changes[i].packed), now = size / 100 * (size_t)changes[i].by + size % 100;
		struct change c = { path, (off_t)(changes[i].by == 100 ? size : now) };
		struct ingest_options opt = { .jobs = 1, .progress = on_progress, .ctx = &c };
		struct error err = { 0 };
		struct store s;
		char what[256] = "";

		print_message("    %s\n", changes[i].name);
		assert_true(fd >= 0);
		assert_int_equal(store_init(&s, (size_t)64 << 20, &err), 0);
		assert_int_equal(ingest(&s, &set, inputs, 1, &opt, &err), 0);
		assert_int_equal(s.n_members, 1);
		assert_int_equal(s.members[0].state, changes[i].state);
		if (changes[i].what) {
			snprintf(what, sizeof(what), changes[i].what, (size_t)c.to, size);
			assert_true(says(&s.members[0], what));
		} else {
			assert_null(s.members[0].damage);
		}
		if (!changes[i].packed && changes[i].state == MEMBER_OK)
			assert_int_equal(s.members[0].bytes, size);
		collectives_free(&s);
		store_deinit(&s);
		close(fd);
		unlink(path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_files_that_change) };

	return cmocka_run_group_tests(tests, load, unload);
}
