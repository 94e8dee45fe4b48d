/* What stands before the message of a log line, and the times in it. */
#include "tests/test.h"

#include <stdlib.h>

#include "analyzer/analysis.h"
#include "analyzer/ingest/detect.h"
#include "analyzer/ingest/prefix.h"

static const struct {
	const char *line, *body;
	const char *time;	/* stamp_text() */
	int rank, local_rank, pid;
	const char *host;
} lines[] = {
	{ "[rank3]: ValueError: x", "ValueError: x", "", 3, -1, -1, NULL },
	{ "[default5]:loading", "loading", "", -1, 5, -1, NULL },
	{ "12: step 4", "step 4", "", 12, -1, -1, NULL },
	{ "[1,7]<stderr>:boom", "boom", "", 7, -1, -1, NULL },
	{ "(RayTrainWorker pid=88, ip=10.1.2.3) hello", "hello", "", -1, -1, 88, "10.1.2.3" },
	{ "(Worker pid=9) [rank1]:[E1118 20:32:23.957372583 ProcessGroupNCCL.cpp:9] [Rank 1] x", "[Rank 1] x",
	  "--11-18T20:32:23.957372583", 1, -1, 9, NULL },
	{ "[rank2]:[E709 17:05:38.5 ProcessGroupNCCL.cpp:632] y", "y", "--07-09T17:05:38.500000000", 2, -1, -1, NULL },
	{ "E0612 01:14:57.061000 390 torch/a.py:914] failed", "failed", "--06-12T01:14:57.061000000", -1, -1, -1, NULL },
	{ "node7:47:48 [3] NCCL WARN z", "NCCL WARN z", "", -1, -1, 47, "node7" },
	{ "[   12.500000] NVRM: a", "NVRM: a", "+12.500000000s", -1, -1, -1, NULL },
	{ "[  130.456250] [ T1946] NVRM: b", "NVRM: b", "+130.456250000s", -1, -1, -1, NULL },
	{ "[Sun Jan  5 20:25:34 2025] INFO: task a:1 blocked", "INFO: task a:1 blocked", "2025-01-05T20:25:34.000000000", -1, -1, -1, NULL },
	{ "kern  :warn  : 2025-01-21T04:41:44,283575+00:00 NVRM: c", "NVRM: c", "2025-01-21T04:41:44.283575000Z", -1, -1, -1, NULL },
	{ "6,1234,5678901,-;mlx5_core d", "mlx5_core d", "+5.678901000s", -1, -1, -1, NULL },
	{ "Nov 20 03:04:05 n01 kernel: [9.1] NVRM: e", "NVRM: e", "--11-20T03:04:05.000000000", -1, -1, -1, "n01" },
	{ "2026-01-02T03:04:05.678901+02:00 n02 slurmd[77]: f", "f", "2026-01-02T01:04:05.678901000Z", -1, -1, 77, "n02" },
	{ "2026-01-02T03:04:05.6Z stderr F g", "g", "2026-01-02T03:04:05.600000000Z", -1, -1, -1, NULL },
	{ "2026-01-02 03:04:05,678 - ERROR - h", "h", "2026-01-02T03:04:05.678000000", -1, -1, -1, NULL },
	{ "[2026-01-02 03:04:05,678] [INFO] [engine.py:9:run] i", "i", "2026-01-02T03:04:05.678000000", -1, -1, -1, NULL },
	{ "ERROR 07-01 00:38:05 [engine.py:458] j", "j", "--07-01T00:38:05.000000000", -1, -1, -1, NULL },
	{ "worker-3 | k", "k", "", -1, -1, -1, NULL },
	{ "\x1b[31mRed\x1b[0m", "Red\x1b[0m", "", -1, -1, -1, NULL },
	{ "10%|# |\r20%|## |\rl", "l", "", -1, -1, -1, NULL },
	{ "[Feb 27 2025 15:10:02] [ERROR] [tid 127] m", "m", "2025-02-27T15:10:02.000000000", -1, -1, -1, NULL },
	{ "plain text", "plain text", "", -1, -1, -1, NULL },
	{ "[rank99999999999]: n", "[rank99999999999]: n", "", -1, -1, -1, NULL },
};

static void test_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct prefix p = prefix_parse(lines[i].line, strlen(lines[i].line), 0, false);
		char time[48];

		print_message("    %s\n", lines[i].body);
		stamp_text(p.time, time);
		assert_string_equal(lines[i].line + p.body, lines[i].body);
		assert_string_equal(time, lines[i].time);
		assert_int_equal(p.rank, lines[i].rank);
		assert_int_equal(p.local_rank, lines[i].local_rank);
		assert_int_equal(p.pid, lines[i].pid);
		assert_int_equal(p.host_len, lines[i].host ? strlen(lines[i].host) : 0);
		assert_true(!lines[i].host || memcmp(p.host, lines[i].host, p.host_len) == 0);
	}
}

/* No prefix of any line reads past its end: the buffers are exact. */
static void test_truncation(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		for (size_t n = 0; n <= strlen(lines[i].line); n++) {
			_cleanup_free_ char *copy = malloc(n ? n : 1);

			memcpy(copy, lines[i].line, n);
			assert_true(prefix_parse(copy, n, 0, false).body <= n);
		}
}

static void test_zone_is_applied(void **state)
{
	static const char line[] = "2026-01-02 03:04:05 x";
	char text[48];

	(void)state;
	stamp_text(prefix_parse(line, strlen(line), INT64_C(2) * 3600 * 1000000000, true).time, text);
	assert_string_equal(text, "2026-01-02T01:04:05.000000000Z");
}

static const struct {
	const char *path;
	int rank;
	const char *host;
} paths[] = {
	{ "dumps/nccl_trace_rank_12", 12, NULL }, { "dumps/nccl_trace_rank_node07_40", 40, NULL },
	{ "a/_dump_3", 3, NULL }, { "logs/rank3.log", 3, NULL }, { "rank_5.stderr.gz", 5, NULL },
	{ "dmesg-node07.log", -1, "node07" }, { "hosts/gpu-a12/dmesg", -1, "gpu-a12" }, { "notes.txt", -1, NULL },
};

static void test_paths(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		const char *host = NULL;
		size_t n = host_from_path(paths[i].path, &host);

		print_message("    %s\n", paths[i].path);
		if (paths[i].rank >= 0)
			assert_int_equal(rank_from_path(paths[i].path), paths[i].rank);
		if (paths[i].host) {
			assert_int_equal(n, strlen(paths[i].host));
			assert_memory_equal(host, paths[i].host, n);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines), cmocka_unit_test(test_truncation), cmocka_unit_test(test_zone_is_applied),
		cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
