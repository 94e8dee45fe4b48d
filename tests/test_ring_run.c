/* A bundle is about the run that its manifest names: what its ring and its kernel log hold from before is another story. */
#include "tests/ring_fixture.h"

#include <signal.h>
#include <time.h>

#define BEGIN_S 90	/* of the run; the ring goes back to 1 s */

static void put_manifest(struct input *in, bool names_run)
{
	time_t s = BUILDER_BOOT_NS / 1000000000 + BEGIN_S;
	char begin[64] = "null", json[1024];

	if (names_run)
		strftime(begin, sizeof(begin), "\"%Y-%m-%dT%H:%M:%S.000000000Z\"", gmtime(&s));
	snprintf(json, sizeof(json),
		 "{\"schema\": \"tachograph.bundle/1\", \"host\": \"node07\", \"clock\": {\"realtime_ns\": %lld, \"monotonic_ns\": 110000000000},\n"
		 " \"job\": {\"id\": \"4711\", \"begin\": %s, \"ranks\": [{\"rank\": 0, \"pid\": 100}, {\"rank\": 1, \"pid\": 101}]}}\n",
		 (long long)(BUILDER_BOOT_NS + INT64_C(110000000000)), begin);
	write_bytes(in, "manifest.json", json, strlen(json));
}

/* Rank 3 of the run before is killed at 50 s, rank 1 of this one at 100 s. */
static void put_ring(struct input *in)
{
	builder_begin(&in->b, STREAM_PROC, "node07", 1);
	put_process(in, 1, 203, 98, 3, "python");
	for (uint32_t rank = 0; rank < 4; rank++)
		put_process(in, BEGIN_S + 1, 100 + rank, 99, (int32_t)rank, "python");
	input_add(in, "ring/proc-00.tcr");
	builder_begin(&in->b, STREAM_BPF, "node07", 1);
	put_signal(in, 50, SIGKILL, 444, "htop", 203);
	BUILDER_PUT(&in->b, 50.01, REC_TASK_EXIT,
		    (struct record_task_exit){ .pid = 203, .ppid = 98, .exit_code = SIGKILL, .rank = 3, .is_tracked = 1 });
	put_signal(in, 100, SIGKILL, 555, "bash", 101);
	put_exit(in, 100.01, 101, SIGKILL);
	input_add(in, "ring/bpf-00.tcr");
}

static void put_kernel_log(struct input *in, const char *more)
{
	char text[2048];

	snprintf(text, sizeof(text),
		 "6,1,1000000,-;Linux version 6.1.0\n"
		 "6,2,40000000,-;Memory cgroup out of memory: Killed process 777 (sorter) total-vm:900kB, anon-rss:800kB, file-rss:0kB, "
		 "shmem-rss:0kB, UID:0 pgtables:40kB oom_score_adj:0\n"
		 "6,3,95000000,-;sorter[888]: segfault at 0 ip 00007f1200000000 sp 00007ffc00000000 error 4 in libz.so.1[7f1200000000+1000]\n%s", more);
	write_bytes(in, "kernel/kmsg.log", text, strlen(text));
}

static void test_the_run_before_is_left_out(void **state)
{
	struct input in;

	(void)state;
	input_open(&in);
	put_manifest(&in, true);
	put_ring(&in);
	put_kernel_log(&in, "");
	write_bytes(&in, "logs-before/rank_1.log", B("[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n"));
	input_read(&in);
	assert_int_equal(in.a.status, VERDICT_ROOT_CAUSE);
	assert_int_equal(in.a.primary.n, 1);
	assert_string_equal(primary(&in)->pattern->id, "process_killed");
	assert_int_equal(primary(&in)->n_culprits, 1);
	assert_int_equal(primary(&in)->culprits[0].rank, 1);
	assert_int_equal(count(&in, "proc.exit"), 1);
	assert_null(find(&in, "cuda.oom"));
	assert_int_equal(must_find(&in, "host.oom_kill")->time.base, TIME_UTC);
	assert_int_equal(must_find(&in, "host.oom_kill")->time.ns, BUILDER_BOOT_NS + INT64_C(40000000000));
	assert_quotes(&in);
	input_close(&in);
}

/* The same line within the run, about one of its ranks. */
static void test_what_is_in_the_run_counts(void **state)
{
	struct input in;

	(void)state;
	input_open(&in);
	put_manifest(&in, true);
	put_ring(&in);
	put_kernel_log(&in, "6,4,99900000,-;Memory cgroup out of memory: Killed process 101 (python) total-vm:900kB, anon-rss:800kB, "
		       "file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:40kB oom_score_adj:0\n");
	input_read(&in);
	assert_true(in.a.status != VERDICT_NO_FAILURE);
	for (size_t i = 0; i < in.a.n_findings; i++)
		if (strcmp(in.a.findings[i].pattern->id, "host_oom") == 0)
			assert_int_equal(in.a.findings[i].culprits[0].pid, 101);
	input_close(&in);
}

/* Without the run's begin nothing is left out. */
static void test_a_manifest_without_a_run(void **state)
{
	struct input in;

	(void)state;
	input_open(&in);
	put_manifest(&in, false);
	put_ring(&in);
	input_read(&in);
	assert_int_equal(count(&in, "proc.exit"), 2);
	input_close(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_run_before_is_left_out),
		cmocka_unit_test(test_what_is_in_the_run_counts),
		cmocka_unit_test(test_a_manifest_without_a_run),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
