#include "test.h"

#include "capture/track.h"

static struct record_process process(uint32_t pid, uint64_t start_ns)
{
	return (struct record_process){ .pid = pid, .start_ns = start_ns, .rank = 1 };
}

static struct tracked *put(struct track *t, uint32_t pid, uint64_t start_ns)
{
	struct record_process p = process(pid, start_ns);

	return track_put(t, &p);
}

static void test_put_find_end(void **state)
{
	struct track t = { 0 };
	struct tracked *a, *b;
	struct record_process more = process(10, 1);

	(void)state;
	assert_null(track_find(&t, 10));
	a = put(&t, 10, 1);
	b = put(&t, 11, 1);
	assert_ptr_equal(track_find(&t, 10), a);
	assert_ptr_equal(track_find(&t, 11), b);
	assert_null(track_find(&t, 0));
	a->last_log_ns = 5;
	more.rank = 7;
	assert_ptr_equal(track_put(&t, &more), a);	/* completed, not new */
	assert_int_equal(a->p.rank, 7);
	assert_int_equal(a->last_log_ns, 5);
	track_end(&t, a);
	track_end(&t, a);
	assert_null(track_find(&t, 10));
	assert_int_equal(t.n_ended, 1);
	track_free(&t);
}

static void test_pid_used_again_is_another_process(void **state)
{
	struct track t = { 0 };
	struct tracked *old = put(&t, 10, 1), *fresh;

	(void)state;
	old->last_call_ns = 5;
	fresh = put(&t, 10, 2);
	assert_ptr_not_equal(fresh, old);
	assert_true(old->gone);
	assert_int_equal(fresh->last_call_ns, 0);
	assert_ptr_equal(track_find(&t, 10), fresh);
	track_free(&t);
}

static void test_full_of_the_living(void **state)
{
	struct track t = { 0 };
	struct tracked *victim;

	(void)state;
	for (uint32_t i = 0; i < TRACK_MAX; i++)
		assert_non_null(put(&t, i + 1, 1));
	assert_null(put(&t, TRACK_MAX + 1, 1));
	victim = track_find(&t, 77);
	track_end(&t, victim);
	assert_ptr_equal(put(&t, TRACK_MAX + 1, 1), victim);
	assert_int_equal(t.n_ended, 0);
	assert_non_null(track_find(&t, TRACK_MAX + 1));
	track_free(&t);
}

static void test_ended_ones_are_kept_and_reused_oldest_first(void **state)
{
	struct track t = { 0 };
	struct tracked *first = put(&t, 1, 1);

	(void)state;
	track_end(&t, first);
	for (uint32_t i = 0; i < TRACK_ENDED_KEPT; i++)
		track_end(&t, put(&t, 100 + i, 1));
	assert_int_equal(first->p.pid, 1);		/* still there for who asks */
	assert_ptr_equal(put(&t, 5000, 1), first);
	for (uint32_t i = 0; i < 100000; i++)
		track_end(&t, put(&t, 6000 + i, 1));
	assert_true(t.n <= TRACK_ENDED_KEPT + 3);	/* a fork storm does not grow it */
	assert_non_null(track_find(&t, 5000));
	track_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put_find_end),
		cmocka_unit_test(test_pid_used_again_is_another_process),
		cmocka_unit_test(test_full_of_the_living),
		cmocka_unit_test(test_ended_ones_are_kept_and_reused_oldest_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
