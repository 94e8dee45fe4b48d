/* Which processes are one run of a job. */
#include <string.h>

#include "capture/run.h"
#include "test.h"

static struct tracked rank_of(const char *job, int32_t rank, uint32_t pid, uint64_t start_ns, int32_t attempt)
{
	struct tracked t = { .p = { .pid = pid, .rank = rank, .is_rank = 1, .start_ns = start_ns, .attempt = attempt } };

	strncpy(t.p.job, job, sizeof(t.p.job) - 1);
	return t;
}

static void the_run_of_a_trigger(void **state)
{
	const struct tracked v[] = {
		rank_of("a", 0, 10, 100, -1), rank_of("a", 1, 11, 110, -1), rank_of("b", 0, 20, 500, -1), rank_of("b", 1, 21, 490, -1),
	};
	struct run r = run_of(v, 4, 11, NULL);

	(void)state;
	assert_int_equal(r.begin_ns, 100);
	assert_string_equal(r.job, "a");
	assert_true(run_has(&r, &v[0].p));
	assert_false(run_has(&r, &v[2].p));
	r = run_of(v, 4, 20, NULL);
	assert_int_equal(r.begin_ns, 490);
	assert_false(run_has(&r, &v[0].p));
}

static void a_job_that_is_started_again(void **state)
{
	const struct tracked v[] = {
		rank_of("a", 0, 10, 100, -1), rank_of("a", 1, 11, 110, -1), rank_of("a", 0, 20, 200, -1), rank_of("a", 1, 21, 210, -1),
	};
	struct run r = run_of(v, 4, 21, NULL);

	(void)state;
	assert_int_equal(r.begin_ns, 200);
	assert_false(run_has(&r, &v[1].p));
	assert_true(run_has(&r, &v[2].p));
}

/* The second attempt goes on with fewer ranks. */
static void attempts_tell_runs_apart(void **state)
{
	const struct tracked v[] = { rank_of("a", 0, 10, 100, 0), rank_of("a", 1, 11, 110, 0), rank_of("a", 0, 20, 200, 1) };

	(void)state;
	assert_int_equal(run_of(v, 3, 20, NULL).begin_ns, 200);
}

static void without_a_process(void **state)
{
	struct tracked v[] = { rank_of("a", 0, 10, 100, -1), rank_of("b", 0, 20, 500, -1), rank_of("c", 0, 30, 300, -1) };
	struct run r;

	(void)state;
	v[0].gone = true;
	r = run_of(v, 3, -1, NULL);		/* b and c live */
	assert_true(r.several);
	assert_int_equal(r.begin_ns, 300);
	assert_string_equal(r.job, "");
	assert_true(run_has(&r, &v[1].p) && run_has(&r, &v[2].p) && !run_has(&r, &v[0].p));
	r = run_of(v, 3, -1, "a");	/* an epilog names its job */
	assert_int_equal(r.begin_ns, 100);
	assert_string_equal(r.job, "a");
	assert_true(run_of(v, 3, -1, "4711").several);
	v[1].gone = v[2].gone = true;
	r = run_of(v, 3, -1, NULL);		/* all ended: the last one */
	assert_int_equal(r.begin_ns, 500);
	assert_string_equal(r.job, "b");
	assert_int_equal(run_of(v, 0, -1, NULL).begin_ns, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_run_of_a_trigger),
		cmocka_unit_test(a_job_that_is_started_again),
		cmocka_unit_test(attempts_tell_runs_apart),
		cmocka_unit_test(without_a_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
