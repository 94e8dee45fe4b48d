/* bundle/: the writer, read back by our reader and by tar; cuts, damage and full disks; manifests. */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle/bundle_write.h"
#include "bundle/manifest.h"
#include "bundle/stream.h"

struct bytes {
	uint8_t *data;
	size_t len;
};

static char folder[] = "/tmp/test_bundle_write.XXXXXX";

static const char *in_folder(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

/* Half random, half text: compresses two to one. */
static uint8_t *sample(size_t len, unsigned seed)
{
	uint8_t *p = malloc(len + 1);

	assert_non_null(p);
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525u + 1013904223u;
		p[i] = i / 64 % 2 ? (uint8_t)("rank 0 step 1 ok\n"[i % 17]) : (uint8_t)(seed >> 24);
	}
	return p;
}

static struct bytes slurp(const char *path)
{
	struct bytes b = { 0 };
	struct stat st;
	_cleanup_close_ int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	b.len = (size_t)st.st_size;
	b.data = malloc(b.len + 1);
	assert_non_null(b.data);
	assert_int_equal(read(fd, b.data, b.len), (ssize_t)b.len);
	return b;
}

/* What a reader got: every byte of every member in one hash. */
struct course {
	size_t members;
	uint64_t bytes, hash;
	char last[BUNDLE_NAME_BYTES];
	struct error err;
};

static struct course drain(struct stream *s)
{
	static uint8_t buf[100000];
	struct course c = { .hash = 14695981039346656037u };
	const char *name;
	int r;

	while ((r = stream_next(s, &name, &c.err)) > 0) {
		ssize_t n;

		c.members++;
		snprintf(c.last, sizeof(c.last), "%s", name ? name : "");
		while ((n = stream_read(s, buf, sizeof(buf), &c.err)) > 0) {
			c.bytes += (uint64_t)n;
			for (ssize_t i = 0; i < n; i++)
				c.hash = (c.hash ^ buf[i]) * 1099511628211u;
		}
		if (n < 0)
			break;
	}
	return c;
}

static struct course read_file(const char *path)
{
	struct course c = { 0 };
	_cleanup_stream_ struct stream *s = NULL;
	_cleanup_close_ int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	if (stream_open_fd(fd, &s, &c.err) == 0)
		c = drain(s);
	return c;
}

static struct course read_memory(const void *data, size_t len)
{
	struct course c = { 0 };
	_cleanup_stream_ struct stream *s = NULL;

	if (stream_open_memory(data, len, &s, &c.err) == 0)
		c = drain(s);
	return c;
}

static void put_file(const char *path, const void *data, size_t len)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, data, len), (ssize_t)len);
}

/* A manifest, a long name, an empty member, one of 3 MiB, one of a file. */
static void write_sample(const char *path)
{
	_cleanup_bundle_writer_ struct bundle_writer *b = NULL;
	_cleanup_free_ uint8_t *big = sample(3 << 20, 1);
	_cleanup_close_ int fd = -1;
	struct error e = { 0 };
	char name[BUNDLE_NAME_BYTES] = "logs/";

	memset(name + 5, 'x', 200);
	strcpy(name + 205, "-end.log");
	assert_int_equal(bundle_create(path, &b, &e), 0);
	assert_int_equal(bundle_add(b, "manifest.json", B("{}\n"), 3, &e), 0);
	assert_int_equal(bundle_add(b, name, B("a line\n"), 3, &e), 0);
	assert_int_equal(bundle_add(b, "empty", "", 0, 3, &e), 0);
	assert_int_equal(bundle_add(b, "ring/big.tcr", big, 3 << 20, 1, &e), 0);
	put_file(in_folder("source"), "0123456789", 10);
	fd = open(in_folder("source"), O_RDONLY);
	assert_int_equal(lseek(fd, 2, SEEK_SET), 2);
	assert_int_equal(bundle_add_fd(b, "of a file", fd, 5, 3, &e), 0);
	assert_int_equal(bundle_add(b, "manifest-end.json", B("{}\n"), 3, &e), 0);
	assert_int_equal(bundle_finish(b, &e), 0);
}

static void test_read_back(void **state)
{
	char path[256];
	_cleanup_stream_ struct stream *s = NULL;
	_cleanup_close_ int fd = -1;
	struct error e = { 0 };
	const char *name;
	char buf[16];

	(void)state;
	snprintf(path, sizeof(path), "%s", in_folder("whole.tar.zst"));
	write_sample(path);
	assert_int_equal(access(in_folder("whole.tar.zst.partial"), F_OK), -1);
	assert_int_equal(read_file(path).members, 6);
	assert_int_equal(read_file(path).err.code, ERR_NONE);
	fd = open(path, O_RDONLY);
	assert_int_equal(stream_open_fd(fd, &s, &e), 0);
	assert_int_equal(stream_next(s, &name, &e), 1);
	assert_string_equal(name, "manifest.json");
	assert_int_equal(stream_next(s, &name, &e), 1);
	assert_int_equal(strlen(name), 213);
	assert_int_equal(stream_read(s, buf, sizeof(buf), &e), 7);
	for (int i = 0; i < 3; i++)
		assert_int_equal(stream_next(s, &name, &e), 1);
	assert_string_equal(name, "of a file");
	assert_int_equal(stream_read(s, buf, sizeof(buf), &e), 5);
	assert_memory_equal(buf, "23456", 5);
}

static void test_tar_reads_it(void **state)
{
	char command[1024];
	_cleanup_free_ uint8_t *big = sample(3 << 20, 1);
	struct bytes got;

	(void)state;
	if (system("tar --version >/dev/null 2>&1 && zstd --version >/dev/null 2>&1"))
		skip();
	write_sample(in_folder("tar.tar.zst"));
	snprintf(command, sizeof(command), "mkdir %s/out && tar --zstd -xf %s/tar.tar.zst -C %s/out && "
		 "zstd -q -t %s/tar.tar.zst && test $(ls %s/out/logs | wc -c) = 209", folder, folder, folder, folder, folder);
	assert_int_equal(system(command), 0);
	got = slurp(in_folder("out/ring/big.tcr"));
	assert_int_equal(got.len, 3 << 20);
	assert_memory_equal(got.data, big, got.len);
	free(got.data);
}

/* An existing .partial is somebody's; an existing bundle is replaced. */
static void test_partial_is_not_taken(void **state)
{
	_cleanup_bundle_writer_ struct bundle_writer *b = NULL, *second = NULL;
	struct error e = { 0 };

	(void)state;
	assert_int_equal(bundle_create(in_folder("one"), &b, &e), 0);
	assert_int_equal(bundle_create(in_folder("one"), &second, &e), -1);
	assert_int_equal(e.sys, EEXIST);
}

/* Every cut yields whole members in order, and says that it is cut when one is missing. */
static void test_every_cut(void **state)
{
	char path[256];
	_cleanup_bundle_writer_ struct bundle_writer *b = NULL;
	_cleanup_free_ uint8_t *text = sample(3000, 7);
	struct error e = { 0 };
	struct bytes all;
	size_t most = 0;

	(void)state;
	snprintf(path, sizeof(path), "%s", in_folder("small.tar.zst"));
	assert_int_equal(bundle_create(path, &b, &e), 0);
	for (int i = 0; i < 4; i++) {
		char name[32];

		snprintf(name, sizeof(name), "member-%d", i);
		assert_int_equal(bundle_add(b, name, text, 3000, 3, &e), 0);
		assert_int_equal(bundle_sync(b, &e), 0);
	}
	assert_int_equal(bundle_finish(b, &e), 0);
	all = slurp(path);
	for (size_t cut = 4; cut < all.len; cut++) {	/* fewer bytes are no zstd */
		struct course c = read_memory(all.data, cut);

		if (c.members >= 1 && c.last[0])
			assert_memory_equal(c.last, "member-", 7);
		most = c.members > most ? c.members : most;
		assert_true(c.members >= most);			/* more bytes, no fewer members */
		if (c.bytes % 3000)
			assert_int_not_equal(c.err.code, ERR_NONE);
	}
	assert_int_equal(most, 4);
	free(all.data);
}

/* Decoding ahead changes nothing: not the bytes, not the error, not its place. */
static void test_damage_reads_alike(void **state)
{
	char path[256], hurt[256];
	_cleanup_bundle_writer_ struct bundle_writer *b = NULL;
	_cleanup_free_ uint8_t *data = sample(6 << 20, 3);
	struct error e = { 0 };
	struct bytes all;
	unsigned differ = 0;

	(void)state;
	snprintf(path, sizeof(path), "%s", in_folder("large.tar.zst"));
	snprintf(hurt, sizeof(hurt), "%s", in_folder("hurt.tar.zst"));
	assert_int_equal(bundle_create(path, &b, &e), 0);
	for (size_t at = 0, n = 1; at + n < 6 << 20; at += n, n += 90001)
		assert_int_equal(bundle_add(b, "m", data + at, n, 1, &e), 0);
	assert_int_equal(bundle_finish(b, &e), 0);
	all = slurp(path);
	assert_true(all.len > 1 << 20);
	for (unsigned i = 0; i < 48; i++) {
		size_t at = (size_t)i * (all.len / 48) + i * 37, len = i % 3 == 2 ? at : all.len;
		struct course ahead, plain;

		all.data[at] ^= i % 3 == 1 ? 1 << i % 8 : 0;
		put_file(hurt, all.data, len);
		ahead = read_file(hurt);
		plain = read_memory(all.data, len);
		all.data[at] ^= i % 3 == 1 ? 1 << i % 8 : 0;
		assert_int_equal(ahead.members, plain.members);
		assert_int_equal(ahead.bytes, plain.bytes);
		assert_int_equal(ahead.hash, plain.hash);
		assert_string_equal(ahead.err.what, plain.err.what);
		assert_int_equal(ahead.err.code, plain.err.code);
		assert_int_equal(ahead.err.offset, plain.err.offset);
		differ += plain.err.code != ERR_NONE;
	}
	assert_true(differ >= 16);
	free(all.data);
}

/* A disk that fills up (here: a limit on the file's size) costs whole members, and what comes later has room. */
static void test_full_disk(void **state)
{
	struct rlimit old, little = { 1 << 20, RLIM_INFINITY };
	_cleanup_bundle_writer_ struct bundle_writer *b = NULL;
	_cleanup_free_ uint8_t *big = sample(4 << 20, 5);
	struct error e = { 0 };
	const struct bundle_member *lost;
	struct course c;
	size_t n;
	int failed;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	little.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(bundle_create(in_folder("full.tar.zst"), &b, &e), 0);
	assert_int_equal(bundle_add(b, "manifest.json", B("{}"), 3, &e), 0);
	assert_int_equal(bundle_add(b, "small", big, 1000, 3, &e), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
	failed = bundle_add(b, "big", big, 4 << 20, 1, &e) || bundle_sync(b, &e);
	bundle_recover(b);
	assert_int_equal(failed, 1);
	assert_int_equal(e.code, ERR_SYS);
	e = (struct error){ 0 };
	lost = bundle_lost(b, &n);
	assert_int_equal(n, 1);
	assert_string_equal(lost[0].name, "big");
	assert_int_equal(bundle_add(b, "manifest-end.json", B("{}"), 3, &e), 0);
	assert_int_equal(bundle_finish(b, &e), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	bundle_members(b, &n);
	assert_int_equal(n, 3);
	c = read_file(in_folder("full.tar.zst"));
	assert_int_equal(c.members, 3);
	assert_int_equal(c.err.code, ERR_NONE);
	assert_string_equal(c.last, "manifest-end.json");
}

static void test_manifests(void **state)
{
	const struct manifest_host host = { .name = "node\xff" "03", .boot_id = "b", .clock_state = "synchronised" };
	const char *const planned[] = { "kernel", NULL };
	const struct manifest m = { .host = &host, .captured_ns = 1773455467000000005, .world_size = -1, .planned = planned,
				    .trigger = { .kind = "exit", .reason = "pid 7 \"died\"\n", .pid = 7, .rank = -1 } };
	const struct bundle_member member = { .name = "a", .bytes = 3, .sha256 = "00" };
	const struct manifest_source source = { "nvidia_smi", "dump", SOURCE_FAILED, "hung" };
	const struct manifest_end end = { .sources = &source, .n_sources = 1, .members = &member, .n_members = 1, .masked = 2 };
	_cleanup_free_ char *first = manifest_json(&m), *last = manifest_end_json(&end);
	json_t *o = json_loads(first, 0, NULL), *t = json_object_get(o, "trigger");

	(void)state;
	assert_string_equal(json_string_value(json_object_get(o, "schema")), "tachograph.bundle/1");
	assert_string_equal(json_string_value(json_object_get(o, "host")), "node\xef\xbf\xbd" "03");
	assert_string_equal(json_string_value(json_object_get(o, "time")), "2026-03-14T02:31:07.000000005Z");
	assert_int_equal(json_integer_value(json_object_get(t, "pid")), 7);
	assert_true(json_is_null(json_object_get(t, "rank")));
	json_decref(o);
	o = json_loads(last, 0, NULL);
	t = json_array_get(json_object_get(o, "sources"), 0);
	assert_string_equal(json_string_value(json_object_get(t, "state")), "failed");
	assert_int_equal(json_integer_value(json_object_get(o, "masked_secrets")), 2);
	assert_int_equal(json_array_size(json_object_get(o, "members")), 1);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_back), cmocka_unit_test(test_tar_reads_it),
		cmocka_unit_test(test_partial_is_not_taken), cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_damage_reads_alike), cmocka_unit_test(test_full_disk), cmocka_unit_test(test_manifests),
	};
	char command[64];
	int failed;

	if (!mkdtemp(folder))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command) ? 1 : failed;
}
