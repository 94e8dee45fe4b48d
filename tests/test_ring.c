/* The ring: segments and their reader, the writer, what survives. */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bundle/crc32c.h"
#include "capture/ring.h"

/* ---- fixtures: a folder of its own for each test ---- */

static int make_dir(void **state)
{
	char path[] = "/tmp/test_ring.XXXXXX";

	*state = strdup(mkdtemp(path));
	return *state ? 0 : -1;
}

static int drop_dir(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", (char *)*state);
	free(*state);
	return system(command);
}

static struct ring *open_ring(const char *dir)
{
	struct ring_options opt = { .dir = dir, .budget_bytes = RING_BYTES_MIN, .host = "node07" };
	struct ring *r = NULL;
	struct error err = { 0 };

	if (ring_open(&opt, &r, &err))
		error_print(stderr, &err);
	assert_non_null(r);
	return r;
}

static bool put(struct ring *r, enum stream_id s, const char *text)
{
	return ring_put(r, s, REC_KMSG, 42, text, strlen(text), NULL, 0);
}

/* What ring_read() finds: texts of REC_KMSG in order, joined by '|'. */
struct found {
	char text[4096];
	uint64_t records, damaged, gaps, losses;
	uint64_t last_seq;
};

static int collect(void *ctx, const char *name, const struct segment_reader *seg, const uint8_t *data, size_t len)
{
	struct found *f = ctx;
	struct segment_reader r = *seg;
	struct record rec;

	(void)name, (void)data, (void)len;
	while (segment_next(&r, &rec)) {
		size_t at = strlen(f->text);

		f->records++;
		f->last_seq = rec.seq;
		if (rec.kind == REC_LOSS)
			f->losses += ((const struct record_loss *)(const void *)rec.payload)->lost;
		else if (at + rec.bytes + 2 < sizeof(f->text))
			snprintf(f->text + at, sizeof(f->text) - at, "%.*s|", (int)rec.bytes, (const char *)rec.payload);
	}
	f->damaged += r.damaged;
	f->gaps += r.gaps;
	return 0;
}

static struct found read_all(const char *dir)
{
	struct found f = { 0 };
	struct error err = { 0 };

	assert_int_equal(ring_read(dir, collect, &f, &err), 0);
	return f;
}

/* ---- checksum ---- */

static void test_crc_is_castagnoli(void **state)
{
	uint8_t zeros[32] = { 0 };

	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, zeros, sizeof(zeros)), 0x8a9136aa);
	assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

/* ---- writer and reader ---- */

static void test_what_is_put_is_read(void **state)
{
	struct ring *r = open_ring(*state);
	struct found f;

	assert_true(put(r, STREAM_KERNEL, "one"));
	assert_true(put(r, STREAM_KERNEL, ""));
	assert_true(put(r, STREAM_KERNEL, "three"));
	f = read_all(*state);		/* while the writer holds it */
	assert_string_equal(f.text, "one||three|");
	assert_int_equal(f.damaged + f.gaps, 0);
	ring_close(r);
	assert_string_equal(read_all(*state).text, "one||three|");
}

static void test_a_restart_goes_on(void **state)
{
	struct ring *r = open_ring(*state);
	struct found f;

	put(r, STREAM_BPF, "before");
	ring_lost(r, STREAM_BPF, "test", 5);
	put(r, STREAM_BPF, "last");
	ring_close(r);
	r = open_ring(*state);
	put(r, STREAM_BPF, "after");
	f = read_all(*state);
	assert_string_equal(f.text, "before|last|after|");
	assert_int_equal(f.losses, 5);
	assert_int_equal(f.last_seq, 4);
	assert_int_equal(f.gaps, 0);
	ring_close(r);
}

static void test_the_oldest_is_recycled(void **state)
{
	struct ring *r = open_ring(*state);
	static char kib[1024];
	struct ring_stats stats;
	struct found f;

	memset(kib, 'x', sizeof(kib));
	for (int i = 0; i < 20000; i++)
		assert_true(ring_put(r, STREAM_HOST, REC_KMSG, i, kib, sizeof(kib), NULL, 0));
	stats = ring_stats(r, STREAM_HOST);
	f = read_all(*state);
	assert_int_equal(f.last_seq, 20000);
	assert_int_equal(f.records, stats.next_seq - stats.first_seq);
	assert_in_range(f.records, 600, 2000);	/* about a mebibyte */
	assert_int_equal(f.damaged + f.gaps, 0);
	ring_close(r);
}

static void test_too_long_is_lost_and_counted(void **state)
{
	struct ring *r = open_ring(*state);
	uint8_t *much = calloc(1, RECORD_BYTES_MAX + 1);

	assert_true(ring_put(r, STREAM_LOGS, REC_LOG_BYTES, 0, much, RECORD_BYTES_MAX, NULL, 0));
	assert_false(ring_put(r, STREAM_LOGS, REC_LOG_BYTES, 0, much, RECORD_BYTES_MAX + 1, NULL, 0));
	assert_int_equal(ring_stats(r, STREAM_LOGS).lost, 1);
	put(r, STREAM_LOGS, "next");
	assert_int_equal(read_all(*state).losses, 1);
	free(much);
	ring_close(r);
}

static void test_losses_of_many_sources_are_all_counted(void **state)
{
	struct ring *r = open_ring(*state);

	for (int i = 0; i < 20; i++) {
		char name[16];

		snprintf(name, sizeof(name), "source-%d", i);
		ring_lost(r, STREAM_PROC, name, 10);
	}
	put(r, STREAM_PROC, "x");
	assert_int_equal(read_all(*state).losses, 200);
	ring_close(r);
}

/* ---- damage ---- */

static uint8_t *one_segment(const char *dir, size_t *len_ret)
{
	char path[256];
	uint8_t *data;
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/kernel-00.tcr", dir);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	*len_ret = (size_t)st.st_size;
	data = malloc(*len_ret);
	assert_int_equal(read(fd, data, *len_ret), (ssize_t)*len_ret);
	close(fd);
	return data;
}

static uint8_t *small_segment(const char *dir, size_t *used_ret, size_t *len_ret)
{
	struct ring *r = open_ring(dir);
	struct segment_reader seg;
	struct record rec;
	struct error err = { 0 };
	uint8_t *data;

	put(r, STREAM_KERNEL, "first");
	put(r, STREAM_KERNEL, "second, longer than the first");
	put(r, STREAM_KERNEL, "third");
	ring_close(r);
	data = one_segment(dir, len_ret);
	assert_int_equal(segment_open(&seg, data, *len_ret, &err), 0);
	while (segment_next(&seg, &rec))
		;
	*used_ret = seg.pos;
	return data;
}

/* How many records are read; each must be one of the three. */
static uint64_t read_true(const uint8_t *data, size_t len, uint64_t *damaged_ret)
{
	static const char *const texts[] = { "first", "second, longer than the first", "third" };
	struct segment_reader seg;
	struct record rec;
	struct error err = { 0 };
	uint64_t n = 0;

	*damaged_ret = 0;
	if (segment_open(&seg, data, len, &err)) {
		*damaged_ret = 1;
		return 0;
	}
	while (segment_next(&seg, &rec)) {
		assert_in_range(rec.seq, 1, 3);
		assert_int_equal(rec.bytes, strlen(texts[rec.seq - 1]));
		assert_memory_equal(rec.payload, texts[rec.seq - 1], rec.bytes);
		n++;
	}
	*damaged_ret = seg.damaged + seg.gaps + seg.cut;
	return n;
}

static void test_every_flipped_bit_is_noticed(void **state)
{
	size_t used, len;
	uint8_t *data = small_segment(*state, &used, &len);
	uint64_t damaged;

	assert_int_equal(read_true(data, len, &damaged), 3);
	assert_int_equal(damaged, 0);
	for (size_t bit = 0; bit < used * 8; bit++) {
		uint64_t n;

		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		n = read_true(data, len, &damaged);
		if (n == 3 && !damaged)		/* padding behind a payload and reserved words of no record */
			assert_in_range(bit / 8, SEGMENT_HEAD_BYTES, used - 1);
		else
			assert_true(damaged > 0);
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(data);
}

static void test_every_cut_gives_what_stands_before_it(void **state)
{
	size_t used, len;
	uint8_t *data = small_segment(*state, &used, &len);
	uint64_t last = 0;

	for (size_t cut = 0; cut <= used; cut++) {
		uint8_t *exact = malloc(cut ? cut : 1);	/* so that reading one byte more is seen */
		uint64_t damaged, n;

		memcpy(exact, data, cut);
		n = read_true(exact, cut, &damaged);
		assert_true(n >= last && n <= 3);
		last = n;
		free(exact);
	}
	assert_int_equal(last, 3);
	free(data);
}

/* What a power loss may leave: any pages of the file written back, the others as they were made. */
static void test_missing_pages_give_only_true_records(void **state)
{
	struct ring *r = open_ring(*state);
	uint8_t *data, *part;
	size_t len;

	for (int i = 0; i < 3000; i++) {
		char text[64];

		snprintf(text, sizeof(text), "record %d", i + 1);
		put(r, STREAM_KERNEL, text);
	}
	ring_close(r);
	data = one_segment(*state, &len);
	part = malloc(len);
	srand(7);
	for (int round = 0; round < 200; round++) {
		struct segment_reader seg;
		struct record rec;
		struct error err = { 0 };
		char text[64];

		for (size_t page = 0; page < len; page += 4096) {
			if (rand() % 8 == 0)
				memset(part + page, 0, 4096);
			else
				memcpy(part + page, data + page, 4096);
		}
		if (segment_open(&seg, part, len, &err))
			continue;
		while (segment_next(&seg, &rec)) {
			snprintf(text, sizeof(text), "record %llu", (unsigned long long)rec.seq);
			assert_int_equal(rec.bytes, strlen(text));
			assert_memory_equal(rec.payload, text, rec.bytes);
		}
	}
	free(part);
	free(data);
}

static void test_a_recycled_segment_shows_nothing_old(void **state)
{
	struct ring *r = open_ring(*state);
	static char kib[1024];

	for (int i = 0; i < 1100; i++)	/* all segments of the stream once, and the first anew */
		ring_put(r, STREAM_HOST, REC_KMSG, i, kib, sizeof(kib), NULL, 0);
	assert_int_equal(read_all(*state).damaged, 0);
	assert_int_equal(read_all(*state).last_seq, 1100);
	ring_close(r);
}

static void test_errors_say_what(void **state)
{
	static const struct {
		const char *name;
		size_t at;
		uint8_t byte;
		enum err code;
		uint64_t offset;
		const char *text;
	} cases[] = {
		{ "magic", 0, 'X', ERR_FORMAT, 0, "not a ring segment" },
		{ "version", 8, 9, ERR_UNSUPPORTED, 8, "ring segment of version 9, this program reads 1" },
		{ "header", 40, 0xff, ERR_FORMAT, 252, "the segment's header is damaged" },
	};
	size_t used, len;
	uint8_t *data = small_segment(*state, &used, &len);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct segment_reader seg;
		struct error err = { 0 };
		uint8_t was = data[cases[i].at];

		print_message("    %s\n", cases[i].name);
		data[cases[i].at] = cases[i].byte;
		assert_int_equal(segment_open(&seg, data, len, &err), -1);
		assert_int_equal(err.code, cases[i].code);
		assert_int_equal(err.offset, cases[i].offset);
		assert_string_equal(err.what, cases[i].text);
		data[cases[i].at] = was;
	}
	free(data);
}

/* ---- the directory ---- */

static void test_a_second_daemon_is_refused(void **state)
{
	struct ring *r = open_ring(*state);
	int status;
	pid_t child = fork();	/* a lock is a process's */

	if (child == 0) {
		struct ring_options opt = { .dir = *state, .budget_bytes = RING_BYTES_MIN };
		struct ring *other = NULL;
		struct error err = { 0 };
		char want[64];

		snprintf(want, sizeof(want), "another daemon (pid %d) holds this ring", (int)getppid());
		_exit(ring_open(&opt, &other, &err) == -1 && err.sys == EWOULDBLOCK && strstr(err.what, want) &&
		      ring_holder(*state) == (int)getppid() ? 0 : 1);
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	ring_close(r);
	assert_int_equal(ring_holder(*state), 0);
}

static void spoil(const char *dir, const char *name, off_t at, const void *bytes, size_t n)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0 && pwrite(fd, bytes, n, at) == (ssize_t)n);
	close(fd);
}

static unsigned count_previous(const char *dir)
{
	char command[256];
	unsigned n = 0;
	FILE *p;

	snprintf(command, sizeof(command), "ls '%s/previous' 2>/dev/null | wc -l", dir);
	p = popen(command, "r");
	assert_non_null(p);
	assert_int_equal(fscanf(p, "%u", &n), 1);
	pclose(p);
	return n;
}

static void test_another_version_is_kept_aside(void **state)
{
	struct ring *r = open_ring(*state);

	put(r, STREAM_KERNEL, "of a newer daemon");
	ring_close(r);
	spoil(*state, "kernel-00.tcr", 8, "\x63", 1);
	r = open_ring(*state);
	put(r, STREAM_KERNEL, "new");
	assert_string_equal(read_all(*state).text, "new|");
	assert_int_equal(count_previous(*state), 1);
	ring_close(r);
}

/* The boot id is covered by the header's checksum: a header of another boot is made, not patched. */
static void test_a_previous_boot_is_kept_and_the_oldest_let_go(void **state)
{
	for (int boot = 0; boot < 4; boot++) {
		struct ring *r = open_ring(*state);
		struct segment_head h;
		char path[256];
		int fd;

		put(r, STREAM_KERNEL, "boot");
		ring_close(r);
		snprintf(path, sizeof(path), "%s/kernel-00.tcr", (char *)*state);
		fd = open(path, O_RDWR);
		assert_int_equal(pread(fd, &h, sizeof(h), 0), sizeof(h));
		h.boot_id[0] ^= (uint8_t)(boot + 1);
		h.crc = segment_head_crc(&h);
		assert_int_equal(pwrite(fd, &h, sizeof(h), 0), sizeof(h));
		close(fd);
	}
	ring_close(open_ring(*state));
	assert_int_equal(count_previous(*state), 2);
	assert_int_equal(read_all(*state).records, 0);
}

static void test_a_vanished_directory_comes_back(void **state)
{
	struct ring *r = open_ring(*state);
	char command[128];

	put(r, STREAM_KERNEL, "before");
	snprintf(command, sizeof(command), "rm -rf '%s'", (char *)*state);
	assert_int_equal(system(command), 0);
	put(r, STREAM_KERNEL, "meanwhile");
	ring_sync(r);
	assert_null(ring_trouble(r));
	put(r, STREAM_KERNEL, "after");
	assert_string_equal(read_all(*state).text, "before|meanwhile|after|");
	ring_close(r);
}

static void test_a_truncated_file_is_made_again(void **state)
{
	struct ring *r = open_ring(*state);
	char path[256];

	put(r, STREAM_KERNEL, "before");
	snprintf(path, sizeof(path), "%s/kernel-00.tcr", (char *)*state);
	assert_int_equal(truncate(path, 0), 0);
	assert_true(put(r, STREAM_KERNEL, "into nothing"));	/* SIGBUS, caught */
	ring_sync(r);
	assert_true(put(r, STREAM_KERNEL, "after"));
	assert_string_equal(read_all(*state).text, "after|");	/* what the file lost is lost, what comes is kept */
	ring_close(r);
}

static void test_a_full_disk_says_how_much_is_needed(void **state)
{
	struct ring_options opt = { .dir = *state, .budget_bytes = RING_BYTES_MIN };
	struct ring *r = NULL;
	struct error err = { 0 };
	char text[512];

	if (mount("tmpfs", *state, "tmpfs", 0, "size=4m")) {
		print_message("    skipped: cannot mount a small file system here\n");
		skip();
	}
	assert_int_equal(ring_open(&opt, &r, &err), -1);
	error_text(&err, text, sizeof(text));
	assert_int_equal(err.sys, ENOSPC);
	assert_non_null(strstr(text, "the ring needs 1"));
	assert_true(ring_is_volatile(*state));
	assert_int_equal(umount(*state), 0);
}

int main(void)
{
#define RING_TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, drop_dir)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc_is_castagnoli),
		RING_TEST(test_what_is_put_is_read),
		RING_TEST(test_a_restart_goes_on),
		RING_TEST(test_the_oldest_is_recycled),
		RING_TEST(test_too_long_is_lost_and_counted),
		RING_TEST(test_losses_of_many_sources_are_all_counted),
		RING_TEST(test_every_flipped_bit_is_noticed),
		RING_TEST(test_every_cut_gives_what_stands_before_it),
		RING_TEST(test_missing_pages_give_only_true_records),
		RING_TEST(test_a_recycled_segment_shows_nothing_old),
		RING_TEST(test_errors_say_what),
		RING_TEST(test_a_second_daemon_is_refused),
		RING_TEST(test_another_version_is_kept_aside),
		RING_TEST(test_a_previous_boot_is_kept_and_the_oldest_let_go),
		RING_TEST(test_a_vanished_directory_comes_back),
		RING_TEST(test_a_truncated_file_is_made_again),
		RING_TEST(test_a_full_disk_says_how_much_is_needed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
