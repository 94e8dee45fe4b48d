#include "test.h"

#include "capture/config.h"

static void test_presets(void **state)
{
	struct error err = { 0 };
	struct config c;

	(void)state;
	assert_int_equal(config_read(NULL, &c, &err), 0);
	assert_string_equal(c.ring_dir, "/var/lib/tachograph/ring");
	assert_null(c.group);
	assert_int_equal(c.ring_bytes, 64u << 20);
	assert_int_equal(c.bundle_quota_bytes, 4ull << 30);
	assert_int_equal(c.track_env.n, 4);
	assert_string_equal(c.track_env.item[0], "RANK");
	assert_string_equal(c.track_env.item[3], "PMI_RANK");
	assert_int_equal(c.logs.n, 0);
	assert_int_equal(c.sample_ms, 1000);
	assert_true(c.trigger_exit && c.trigger_oom && c.trigger_kernel && c.trigger_flight && c.trigger_sigterm);
	assert_int_equal(c.trigger_hang_s, 300);
	assert_int_equal(c.trigger_memory_pct, 0);
	assert_int_equal(c.bundles_per_hour, 6);
	config_free(&c);
}

static void test_everything(void **state)
{
	static const char text[] = "\n# a comment\n  ring_bytes =  128M \r\nlogs = /a/*.log\nlogs=/b/# 1\ntrack_env = MY_RANK\n"
				   "trigger_exit = off\ntrigger_log = ^ERROR .* = \\d+\nsources_off = process\ngroup = hpc\n"
				   "sample_ms = 500\nnccl_libraries =\n";
	struct error err = { 0 };
	struct config c;

	(void)state;
	assert_int_equal(config_parse("t", text, strlen(text), &c, &err), 0);
	assert_int_equal(c.ring_bytes, 128u << 20);
	assert_int_equal(c.logs.n, 2);
	assert_string_equal(c.logs.item[1], "/b/# 1");
	assert_int_equal(c.track_env.n, 1);	/* a list that is given replaces its default */
	assert_string_equal(c.track_env.item[0], "MY_RANK");
	assert_false(c.trigger_exit);
	assert_string_equal(c.trigger_log.item[0], "^ERROR .* = \\d+");
	assert_true(config_source_is_off(&c, "process"));
	assert_false(config_source_is_off(&c, "proc"));
	assert_string_equal(c.group, "hpc");
	assert_int_equal(c.sample_ms, 500);
	config_free(&c);
}

#define LONG100 "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"

static const struct {
	const char *in;
	const char *text;	/* of the error, whole */
} bad[] = {
	{ "ring_bytes = lots", "t: 1: ring_bytes = \"lots\": expected a size from 8M to 64G, with K, M, G or T" },
	{ "\n\nring_bytes = 4M", "t: 3: ring_bytes = \"4M\": expected a size from 8M to 64G, with K, M, G or T" },
	{ "ring_bytes = 99999999999999T", "t: 1: ring_bytes = \"99999999999999T\": expected a size from 8M to 64G, with K, M, G or T" },
	{ "ring_bytes = 64MB", "t: 1: ring_bytes = \"64MB\": expected a size from 8M to 64G, with K, M, G or T" },
	{ "ring_bytes = -1", "t: 1: ring_bytes = \"-1\": expected a size from 8M to 64G, with K, M, G or T" },
	{ "sample_ms = 99", "t: 1: sample_ms = \"99\": expected a time from 100 to 60000 milliseconds" },
	{ "sample_ms = 1s", "t: 1: sample_ms = \"1s\": expected a time from 100 to 60000 milliseconds" },
	{ "post_s = 601", "t: 1: post_s = \"601\": expected a time from 0 to 600 seconds" },
	{ "bundles_per_hour = 0", "t: 1: bundles_per_hour = \"0\": expected a whole number from 1 to 3600" },
	{ "ras_port = 65536", "t: 1: ras_port = \"65536\": expected a whole number from 0 to 65535" },
	{ "trigger_exit = maybe", "t: 1: trigger_exit = \"maybe\": expected yes or no" },
	{ "trigger_exit =", "t: 1: trigger_exit = \"\": expected a value" },
	{ "ring_dir = ring", "t: 1: ring_dir = \"ring\": expected a path that begins with /" },
	{ "logs = *.log", "t: 1: logs = \"*.log\": expected a path or glob that begins with /" },
	{ "track_env = MY RANK", "t: 1: track_env = \"MY RANK\": expected the name of an environment variable" },
	{ "trigger_log = (a", "t: 1: trigger_log = \"(a\": expected a regular expression; missing closing parenthesis at character 3" },
	{ "ring_byte = 64M", "t: 1: no key is called \"ring_byte\"; did you mean ring_bytes?" },
	{ "sausage = 64M", "t: 1: no key is called \"sausage\"" },
	{ "ring_bytes 64M", "t: 1: neither a comment nor \"key = value\"" },
	{ "= 64M", "t: 1: no key is called \"\"" },
	{ "post_s = 1\npost_s = 2", "t: 2: post_s = \"2\": expected it once; line 1 has it already" },
	{ "ring_dir = /x\nbundle_dir = /x", "t: ring_dir and bundle_dir are both \"/x\": expected two directories" },
	{ "logs = " LONG100, "t: 1: logs = \"012345678901234567890123456789012345678901234567890123456789...\": expected a path or glob that begins with /" },
};

static void test_errors(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = { 0 };
		struct config c = { .ring_dir = (char *)"untouched" };
		char text[512];

		assert_int_equal(config_parse("t", bad[i].in, strlen(bad[i].in), &c, &err), -1);
		error_text(&err, text, sizeof(text));
		assert_string_equal(text, bad[i].text);
		assert_string_equal(c.ring_dir, "untouched");
	}
}

static void test_unknown_source_names_the_known(void **state)
{
	static const char text[] = "sources_off = gpu0";
	struct error err = { 0 };
	struct config c;

	(void)state;
	assert_int_equal(config_parse("t", text, strlen(text), &c, &err), -1);
	assert_non_null(strstr(err.what, "sources_off = \"gpu0\": expected one of: process"));
}

static void test_a_list_ends_somewhere(void **state)
{
	char text[CONFIG_LIST_MAX * 16 + 32] = "";
	struct error err = { 0 };
	struct config c;

	(void)state;
	for (int i = 0; i <= CONFIG_LIST_MAX; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "logs = /%d\n", i);
	assert_int_equal(config_parse("t", text, strlen(text), &c, &err), -1);
	assert_string_equal(err.where, "t: 65");
	assert_string_equal(err.what, "logs = \"/64\": expected at most 64 of them");
}

static void test_binary_is_refused(void **state)
{
	struct error err = { 0 };
	struct config c;

	(void)state;
	assert_int_equal(config_parse("t", B("post_s = 1\n\0post_s"), &c, &err), -1);
	assert_string_equal(err.what, "is not text: it holds a NUL");
	assert_int_equal(err.offset, 11);
}

static void test_files(void **state)
{
	char path[] = "/tmp/test_config_XXXXXX", line[] = "post_s = 7\n", text[512];
	struct error err = { 0 };
	struct config c;
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, line, strlen(line)), strlen(line));
	assert_int_equal(config_read(path, &c, &err), 0);
	assert_int_equal(c.post_s, 7);
	config_free(&c);
	assert_int_equal(ftruncate(fd, 2 << 20), 0);
	assert_int_equal(config_read(path, &c, &err), -1);
	assert_string_equal(err.what, "longer than 1 MiB");
	close(fd);
	unlink(path);
	err = (struct error){ 0 };
	assert_int_equal(config_read("/nonexistent/x", &c, &err), -1);
	error_text(&err, text, sizeof(text));
	assert_string_equal(text, "cannot open /nonexistent/x: No such file or directory");
}

static char *read_shipped(void)
{
	FILE *f = fopen("capture/install/tcaptured.conf", "r");
	char *text = calloc(1, 65536);

	assert_non_null(f);
	assert_non_null(text);
	assert_true(fread(text, 1, 65535, f) > 1000);
	fclose(f);
	return text;
}

/* Every key is shown, with a value that it takes; of one that is no list, the default. */
static void test_the_shipped_file_is_true(void **state)
{
	_cleanup_free_ char *text = read_shipped();
	struct error err = { 0 };
	struct config preset, shown;
	const char *key;

	(void)state;
	for (size_t i = 0; (key = config_key(i)); i++) {
		char line[64], *at;

		snprintf(line, sizeof(line), "\n#%s =", key);
		at = strstr(text, line);
		if (!at)
			fail_msg("tcaptured.conf does not show %s", key);
	}
	for (char *at = text; (at = strstr(at, "\n#")); at += 2)
		if (at[2] != ' ' && at[2] != '\n')
			at[1] = ' ';
	if (config_parse("shipped", text, strlen(text), &shown, &err))
		fail_msg("%s: %s", err.where, err.what);
	assert_int_equal(config_read(NULL, &preset, &err), 0);
#define SAME(field) assert_int_equal(shown.field, preset.field)
	assert_string_equal(shown.ring_dir, preset.ring_dir);
	assert_string_equal(shown.bundle_dir, preset.bundle_dir);
	assert_string_equal(shown.socket, preset.socket);
	assert_null(shown.group);
	SAME(ring_bytes);
	SAME(bundle_quota_bytes);
	SAME(bundle_keep);
	SAME(track_env.n);
	SAME(sample_ms);
	SAME(ras_port);
	SAME(trigger_exit);
	SAME(trigger_oom);
	SAME(trigger_kernel);
	SAME(trigger_flight);
	SAME(trigger_sigterm);
	SAME(trigger_hang_s);
	SAME(trigger_memory_pct);
	SAME(post_s);
	SAME(dedup_s);
	SAME(bundles_per_hour);
#undef SAME
	config_free(&shown);
	config_free(&preset);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_presets),
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_unknown_source_names_the_known),
		cmocka_unit_test(test_a_list_ends_somewhere),
		cmocka_unit_test(test_binary_is_refused),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_the_shipped_file_is_true),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
