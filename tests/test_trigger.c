#include "test.h"

#include <stdio.h>

#include "capture/capture.h"
#include "capture/trigger.h"
#include "tests/doubles/dumps.h"
#include "tests/doubles/ring.h"

static struct capture new_capture(const char *config)
{
	struct ring_options opt = { 0 };
	struct capture c = { 0 };
	struct error err = { 0 };

	assert_int_equal(config_parse("t", config, strlen(config), &c.config, &err), 0);
	assert_int_equal(ring_open(&opt, &c.ring, &err), 0);
	assert_int_equal(triggers_open(&c, &err), 0);
	double_dumps = (struct double_dumps){ 0 };
	return c;
}

static void free_capture(struct capture *c)
{
	triggers_close(c);
	ring_close(c->ring);
	track_free(&c->track);
	config_free(&c->config);
}

static struct record_trigger recorded(const struct capture *c, size_t n)
{
	const struct double_record *d = double_ring_find(c->ring, REC_TRIGGER, n);
	struct record_trigger r;

	assert_non_null(d);
	assert_int_equal(d->stream, STREAM_HOST);
	memcpy(&r, d->payload, sizeof(r));
	return r;
}

static void test_what_is_raised_is_recorded_and_dumped(void **state)
{
	struct capture c = new_capture("");

	(void)state;
	trigger_raise(&c, "exit", 42, 3, "process %d exited with code %d", 42, 1);
	assert_int_equal(double_dumps.started, 1);
	assert_string_equal(double_dumps.trigger, "exit");
	assert_string_equal(double_dumps.reason, "process 42 exited with code 1");
	assert_int_equal(double_dumps.pid, 42);
	assert_int_equal(double_dumps.rank, 3);
	assert_string_equal(recorded(&c, 0).kind, "exit");
	assert_int_equal(recorded(&c, 0).pid, 42);
	assert_true(recorded(&c, 0).id != 0);
	assert_string_equal(double_ring_find(c.ring, REC_TRIGGER, 0)->payload + sizeof(struct record_trigger),
			    "process 42 exited with code 1");
	free_capture(&c);
}

static void test_equal_ones_are_one(void **state)
{
	struct capture c = new_capture("post_s = 0");

	(void)state;
	trigger_raise(&c, "exit", 42, 3, "first");
	trigger_raise(&c, "exit", 43, 3, "same kind and rank");
	trigger_raise(&c, "exit", 44, 4, "other rank");
	trigger_raise(&c, "oom", 44, 3, "other kind");
	assert_int_equal(double_dumps.started, 3);
	assert_int_equal(double_ring_count(c.ring, REC_TRIGGER), 4);
	assert_int_equal(recorded(&c, 1).id, 0);
	assert_true(recorded(&c, 0).id != recorded(&c, 2).id);
	free_capture(&c);
}

static void test_without_dedup_each_counts(void **state)
{
	struct capture c = new_capture("post_s = 0\ndedup_s = 0");

	(void)state;
	trigger_raise(&c, "exit", 42, 3, "first");
	trigger_raise(&c, "exit", 42, 3, "second");
	assert_int_equal(double_dumps.started, 2);
	free_capture(&c);
}

static void test_within_the_post_window_they_join(void **state)
{
	struct capture c = new_capture("post_s = 600\nbundles_per_hour = 1");

	(void)state;
	trigger_raise(&c, "exit", 42, 3, "first");
	trigger_raise(&c, "oom", 43, 4, "joins, and is not counted");
	assert_int_equal(double_dumps.started, 2);	/* which adds it to the one that runs */
	assert_true(recorded(&c, 0).id == recorded(&c, 1).id);
	free_capture(&c);
}

static void test_rate(void **state)
{
	struct capture c = new_capture("post_s = 0\nbundles_per_hour = 2\ndedup_s = 0");

	(void)state;
	for (int rank = 0; rank < 5; rank++)
		trigger_raise(&c, "exit", 1, rank, "exit");
	assert_int_equal(double_dumps.started, 2);
	assert_int_equal(double_ring_count(c.ring, REC_TRIGGER), 5);
	assert_int_equal(recorded(&c, 4).id, 0);
	trigger_raise(&c, "manual", -1, -1, "the operator");
	trigger_raise(&c, "manual", -1, -1, "the operator, again");
	assert_int_equal(double_dumps.started, 4);
	assert_true(recorded(&c, 6).id != 0);
	free_capture(&c);
}

static void test_many_kinds_of_ranks_are_remembered_latest(void **state)
{
	struct capture c = new_capture("post_s = 0\nbundles_per_hour = 3600");

	(void)state;
	for (int rank = 0; rank < 1000; rank++)
		trigger_raise(&c, "exit", 1, rank, "exit");
	assert_int_equal(double_dumps.started, 1000);
	trigger_raise(&c, "exit", 1, 999, "remembered");
	assert_int_equal(double_dumps.started, 1000);
	trigger_raise(&c, "exit", 1, 0, "long forgotten");
	assert_int_equal(double_dumps.started, 1001);
	free_capture(&c);
}

static void test_switched_off(void **state)
{
	static const char *const kinds[] = { "exit", "oom", "kernel", "flight", "sigterm" };
	struct capture c = new_capture("trigger_exit = no\ntrigger_oom = no\ntrigger_kernel = no\ntrigger_flight = no\n"
				       "trigger_sigterm = no");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		trigger_raise(&c, kinds[i], 1, 1, "nothing");
	assert_int_equal(double_dumps.started, 0);
	assert_int_equal(double_ring_count(c.ring, REC_TRIGGER), 0);
	trigger_raise(&c, "log", 1, 1, "on");
	assert_int_equal(double_dumps.started, 1);
	free_capture(&c);
}

/* ---- hang ---- */

static struct tracked *rank(struct capture *c, uint32_t pid, int32_t number, const char *job)
{
	struct record_process p = { .pid = pid, .rank = number, .is_rank = 1, .start_ns = 1 };

	strcpy(p.job, job);
	return track_put(&c->track, &p);
}

static void test_hang_is_the_silence_of_a_job_once_heard(void **state)
{
	struct capture c = new_capture("trigger_hang_s = 10\npost_s = 0\ndedup_s = 0");
	struct tracked *a = rank(&c, 10, 0, "j"), *b = rank(&c, 11, 1, "j");

	(void)state;
	trigger_tick(&c, 1000 * NS_PER_S);
	assert_int_equal(double_dumps.started, 0);		/* never heard: nothing watches its logs or calls */
	a->last_log_ns = 1000 * NS_PER_S;
	b->last_call_ns = 1005 * NS_PER_S;
	trigger_tick(&c, 1014 * NS_PER_S);
	assert_int_equal(double_dumps.started, 0);		/* the freshest of all counts */
	trigger_tick(&c, 1015 * NS_PER_S);
	assert_int_equal(double_dumps.started, 1);
	assert_string_equal(double_dumps.trigger, "hang");
	assert_int_equal(double_dumps.pid, 10);			/* silent longest */
	assert_string_equal(double_dumps.reason,
			    "no NCCL call and no log output of job j for 10 s while 2 of its ranks live here");
	trigger_tick(&c, 1300 * NS_PER_S);
	assert_int_equal(double_dumps.started, 1);		/* once per silence */
	b->last_call_ns = 1301 * NS_PER_S;
	trigger_tick(&c, 1302 * NS_PER_S);
	trigger_tick(&c, 1311 * NS_PER_S);
	assert_int_equal(double_dumps.started, 2);		/* another one */
	free_capture(&c);
}

static void test_hang_needs_a_living_rank_and_keeps_jobs_apart(void **state)
{
	struct capture c = new_capture("trigger_hang_s = 10\npost_s = 0\ndedup_s = 0");
	struct tracked *a = rank(&c, 10, 0, "a"), *b = rank(&c, 11, 0, "b");

	(void)state;
	a->last_log_ns = 1000 * NS_PER_S;
	b->last_log_ns = 1019 * NS_PER_S;
	track_end(&c.track, a);
	trigger_tick(&c, 1020 * NS_PER_S);
	assert_int_equal(double_dumps.started, 0);		/* ended, and the other one works */
	a = rank(&c, 12, 0, "a");
	a->last_log_ns = 1001 * NS_PER_S;
	trigger_tick(&c, 1021 * NS_PER_S);
	assert_int_equal(double_dumps.started, 1);
	assert_int_equal(double_dumps.pid, 12);
	free_capture(&c);
}

static void test_hang_off(void **state)
{
	struct capture c = new_capture("trigger_hang_s = 0");

	(void)state;
	rank(&c, 10, 0, "a")->last_log_ns = 1;
	trigger_tick(&c, 1000000 * NS_PER_S);
	assert_int_equal(double_dumps.started, 0);
	free_capture(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_raised_is_recorded_and_dumped),
		cmocka_unit_test(test_equal_ones_are_one),
		cmocka_unit_test(test_without_dedup_each_counts),
		cmocka_unit_test(test_within_the_post_window_they_join),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_many_kinds_of_ranks_are_remembered_latest),
		cmocka_unit_test(test_switched_off),
		cmocka_unit_test(test_hang_is_the_silence_of_a_job_once_heard),
		cmocka_unit_test(test_hang_needs_a_living_rank_and_keeps_jobs_apart),
		cmocka_unit_test(test_hang_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
