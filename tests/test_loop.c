#include "test.h"

#include <sys/epoll.h>

#include "capture/loop.h"

struct seen {
	struct loop *l;
	struct loop_watch *self, *other;
	int fd;
	unsigned calls, other_calls;
	int64_t at_ns[8];
};

static struct loop *new_loop(void)
{
	struct error err = { 0 };
	struct loop *l;

	assert_int_equal(loop_open(&l, &err), 0);
	return l;
}

static void stop(void *ctx, int64_t now)
{
	(void)now;
	loop_stop(ctx);
}

static void run_for(struct loop *l, int64_t ns)
{
	struct error err = { 0 };

	assert_non_null(loop_add_timer(l, ns, 0, stop, l, &err));
	assert_int_equal(loop_run(l, &err), 0);
}

static void count(void *ctx, int64_t now)
{
	struct seen *s = ctx;

	if (s->calls < 8)
		s->at_ns[s->calls] = now;
	s->calls++;
}

static void test_timers(void **state)
{
	struct error err = { 0 };
	struct loop *l = new_loop();
	struct seen once = { 0 }, often = { 0 }, same = { 0 };

	(void)state;
	assert_non_null(loop_add_timer(l, 5 * NS_PER_MS, 0, count, &once, &err));
	assert_non_null(loop_add_timer(l, 0, 20 * NS_PER_MS, count, &often, &err));
	assert_non_null(loop_add_timer(l, 7 * NS_PER_MS, 20 * NS_PER_MS, count, &same, &err));
	run_for(l, 150 * NS_PER_MS);
	assert_int_equal(once.calls, 1);
	assert_in_range(often.calls, 3, 9);
	/* From the second on, timers of one period run at the same moment: on a grid. */
	assert_true(often.at_ns[2] == same.at_ns[1] || often.at_ns[2] == same.at_ns[2] || often.at_ns[3] == same.at_ns[2]);
	loop_close(l);
}

static void remove_both(void *ctx, int64_t now)
{
	struct seen *s = ctx;

	(void)now;
	s->calls++;
	loop_remove(s->l, s->other);
	loop_remove(s->l, s->self);
	loop_remove(s->l, s->self);	/* twice is once */
}

static void test_timer_removes_itself_and_its_neighbours(void **state)
{
	struct error err = { 0 };
	struct loop *l = new_loop();
	struct seen other = { 0 }, s = { .l = l };

	(void)state;
	for (int order = 0; order < 2; order++) {
		if (order)
			s.other = loop_add_timer(l, 0, NS_PER_MS, count, &other, &err);
		s.self = loop_add_timer(l, 0, NS_PER_MS, remove_both, &s, &err);
		if (!order)
			s.other = loop_add_timer(l, 2 * NS_PER_MS, NS_PER_MS, count, &other, &err);
		run_for(l, 10 * NS_PER_MS);
	}
	assert_int_equal(s.calls, 2);
	assert_int_equal(other.calls, 0);
	loop_close(l);
}

static void on_pipe(void *ctx, int fd, uint32_t events)
{
	struct seen *s = ctx;

	(void)fd;
	assert_true(events & EPOLLIN);
	s->calls++;
	loop_remove(s->l, s->other);	/* whose event is in the same batch */
	loop_remove(s->l, s->self);
}

static void test_watch_removed_inside_the_batch_is_not_called(void **state)
{
	struct error err = { 0 };
	struct loop *l = new_loop();
	struct seen a = { .l = l }, b = { .l = l };
	int pa[2], pb[2];

	(void)state;
	assert_int_equal(pipe(pa) | pipe(pb), 0);
	assert_int_equal(write(pa[1], "x", 1) + write(pb[1], "x", 1), 2);
	a.self = b.other = loop_add_fd(l, pa[0], EPOLLIN, on_pipe, &a, &err);
	b.self = a.other = loop_add_fd(l, pb[0], EPOLLIN, on_pipe, &b, &err);
	run_for(l, 5 * NS_PER_MS);
	assert_int_equal(a.calls + b.calls, 1);
	loop_close(l);
	close(pa[0]);
	close(pa[1]);
	close(pb[0]);
	close(pb[1]);
}

static void test_bad_descriptor_is_an_error(void **state)
{
	struct error err = { 0 };
	struct loop *l = new_loop();
	char text[256];

	(void)state;
	assert_null(loop_add_fd(l, 987654, EPOLLIN, on_pipe, NULL, &err));
	error_text(&err, text, sizeof(text));
	assert_string_equal(text, "cannot watch descriptor 987654: Bad file descriptor");
	run_for(l, NS_PER_MS);		/* and the loop goes on */
	loop_close(l);
	loop_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timers),
		cmocka_unit_test(test_timer_removes_itself_and_its_neighbours),
		cmocka_unit_test(test_watch_removed_inside_the_batch_is_not_called),
		cmocka_unit_test(test_bad_descriptor_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
