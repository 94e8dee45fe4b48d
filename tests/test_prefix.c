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
	{ "(pid=88, ip=10.1.2.3) o", "o", "", -1, -1, 88, "10.1.2.3" },
	{ "(VllmWorker rank=2 pid=88) p", "p", "", 2, -1, 88, NULL },
	{ "(raylet, ip=10.1.2.3) [2026-01-02 03:04:05,678 E 41 42] q", "q", "2026-01-02T03:04:05.678000000", -1, -1, 41, "10.1.2.3" },
	{ "[1709881221.500000] [n13:77:0]  ib_mlx5_log.c:177  r", "ib_mlx5_log.c:177  r", "2024-03-08T07:00:21.500000000Z", -1, -1, 77, "n13" },
	{ "[n13:77 :0:78] Caught s", "Caught s", "", -1, -1, 77, "n13" },
	{ "[n13:00077] *** t", "*** t", "", -1, -1, 77, "n13" },
	{ "[loop:120] u", "[loop:120] u", "", -1, -1, -1, NULL },
	{ "gn-07: [   12.500000] v", "v", "+12.500000000s", -1, -1, -1, "gn-07" },
	{ "rank3: [   12.500000] w", "rank3: [   12.500000] w", "", -1, -1, -1, NULL },
	{ "MESSAGE=x", "x", "", -1, -1, -1, NULL },
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

/* One JSON object a line: the message within it, and who says it. */
static void test_objects(void **state)
{
	static const struct {
		const char *line, *message, *time, *host;
		int pid;
		bool kernel;
	} objects[] = {
		{ "{\"_HOSTNAME\":\"n01\",\"_TRANSPORT\":\"kernel\",\"MESSAGE\":\"NVRM: \\\"a\\\"\",\"__REALTIME_TIMESTAMP\":\"1767323045500000\",\"_PID\":\"7\"}",
		  "NVRM: \\\"a\\\"", "2026-01-02T03:04:05.500000000Z", "n01", -1, true },
		{ "{ \"MESSAGE\" : \"b\", \"_PID\" : \"7\" }", "b", "", NULL, 7, false },
		{ "{\"log\":\"[rank3]: c\\n\",\"stream\":\"stderr\",\"time\":\"2026-01-02T03:04:05.5Z\"}", "c", "2026-01-02T03:04:05.500000000Z", NULL, -1, false },
		{ "{\"level\":\"e\",\"msg\":\"d\",\"hostname\":\"n01\"}", "d", "", "n01", -1, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		const char *line = objects[i].line;
		struct prefix p = prefix_parse(line, strlen(line), 0, false);
		char time[48];

		stamp_text(p.time, time);
		assert_int_equal(p.end - p.body, strlen(objects[i].message));
		assert_memory_equal(line + p.body, objects[i].message, p.end - p.body);
		assert_string_equal(time, objects[i].time);
		assert_int_equal(p.host_len, objects[i].host ? strlen(objects[i].host) : 0);
		assert_int_equal(p.pid, objects[i].pid);
		assert_int_equal(p.kernel, objects[i].kernel);
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
	{ "dumps/nccl_trace_rank_12", 12, NULL }, { "dumps/nccl_trace_rank_node07_40", 40, "node07" },
	{ "a/_dump_3", 3, NULL }, { "logs/rank3.log", 3, NULL }, { "rank_5.stderr.gz", 5, NULL },
	{ "dmesg-node07.log", -1, "node07" }, { "hosts/gpu-a12/dmesg", -1, "gpu-a12" }, { "notes.txt", -1, NULL },
	{ "gpu08.log", -1, "gpu08" }, { "gpu3.log", -1, NULL }, { "node-a12_dmesg.log", -1, "node-a12" }, { "kern_trn09_20260101.log", -1, "trn09" },
	{ "rank3-10.3.4.6.log", 3, "10.3.4.6" }, { "worker-w4.log", -1, "w4" }, { "run-h100.log", -1, NULL }, { "dmesg.n17.example.org.txt", -1, "n17" },
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
		assert_int_equal(n, paths[i].host ? strlen(paths[i].host) : 0);
		assert_true(!n || memcmp(host, paths[i].host, n) == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines), cmocka_unit_test(test_objects), cmocka_unit_test(test_truncation), cmocka_unit_test(test_zone_is_applied),
		cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
