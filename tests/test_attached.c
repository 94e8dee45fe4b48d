#include "test.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "capture/capture.h"
#include "tests/doubles/ring.h"

/* The source that the workers of these tests belong to: the first of the table. */
#define SOURCE (sources[0]->name)

struct run {
	struct capture c;
	struct attached_worker *w;
	unsigned owns;
	char own[16];
	bool detach;		/* from inside own() */
};

static void open_capture(struct run *r)
{
	struct ring_options opt = { 0 };
	struct error err = { 0 };

	*r = (struct run){ 0 };
	assert_int_equal(config_read(NULL, &r->c.config, &err), 0);
	for (size_t i = 0; sources[i]; i++)
		r->c.config.sources_off.item[r->c.config.sources_off.n++] = strdup(sources[i]->name);
	assert_int_equal(ring_open(&opt, &r->c.ring, &err), 0);
	assert_int_equal(loop_open(&r->c.loop, &err), 0);
	assert_int_equal(capture_start_sources(&r->c, &err), 0);
}

static void close_capture(struct run *r)
{
	capture_detach_worker(&r->c, r->w);
	capture_stop_sources(&r->c);
	loop_close(r->c.loop);
	ring_close(r->c.ring);
	config_free(&r->c.config);
}

static void stop(void *ctx, int64_t now)
{
	(void)now;
	loop_stop(ctx);
}

static void run_for(struct run *r, int64_t ns)
{
	struct error err = { 0 };

	loop_add_timer(r->c.loop, ns, 0, stop, r->c.loop, &err);
	assert_int_equal(loop_run(r->c.loop, &err), 0);
}

static void on_own(struct capture *c, void *ctx, uint16_t kind, const uint8_t *payload, size_t bytes)
{
	struct run *r = ctx;

	assert_int_equal(kind, 4);
	r->owns++;
	snprintf(r->own, sizeof(r->own), "%.*s", (int)bytes, (const char *)payload);
	if (!r->detach)
		return;
	capture_detach_worker(c, r->w);
	r->w = NULL;
}

static void attach(struct run *r, worker_fn *fn, int64_t budget_ns)
{
	struct error err = { 0 };

	r->w = capture_attach_worker(&r->c, SOURCE, fn, NULL, budget_ns, on_own, r, &err);
	assert_non_null(r->w);
}

static void talks(struct worker_link *l, void *ctx)
{
	(void)ctx;
	worker_record(l, STREAM_GPU, REC_GPU_EVENT, 7, "abc", 3, "def", 3);
	l->dropped = 5;		/* as if the socket had been full */
	worker_record(l, STREAM_COUNT, REC_GPU_EVENT, 7, "no such stream", 14, NULL, 0);
	worker_own(l, 4, "hello", 5);
	worker_own(l, 4, "again", 5);
	worker_state(l, SOURCE_OK, "two devices");
	pause();
}

static void test_messages_find_their_way(void **state)
{
	struct run r;
	const struct double_record *d;

	(void)state;
	open_capture(&r);
	attach(&r, talks, 0);
	run_for(&r, 300 * NS_PER_MS);
	d = double_ring_find(r.c.ring, REC_GPU_EVENT, 0);
	assert_int_equal(d->stream, STREAM_GPU);
	assert_int_equal(d->monotonic_ns, 7);
	assert_memory_equal(d->payload, "abcdef", 6);
	assert_int_equal(double_ring_count(r.c.ring, REC_GPU_EVENT), 1);
	assert_int_equal(double_ring_lost(r.c.ring), 0);	/* its loss names a stream that there is not */
	assert_int_equal(r.owns, 2);
	assert_string_equal(r.own, "again");
	assert_int_equal(r.c.status[0].state, SOURCE_OK);
	assert_string_equal(r.c.status[0].reason, "two devices");
	close_capture(&r);
}

static void loses(struct worker_link *l, void *ctx)
{
	(void)ctx;
	l->dropped = 5;
	worker_record(l, STREAM_GPU, REC_GPU_EVENT, 7, "abc", 3, NULL, 0);
	pause();
}

static void test_losses_are_counted_by_the_ring(void **state)
{
	struct run r;

	(void)state;
	open_capture(&r);
	attach(&r, loses, 0);
	run_for(&r, 300 * NS_PER_MS);
	assert_int_equal(double_ring_lost(r.c.ring), 5);
	assert_int_equal(double_ring_count(r.c.ring, REC_LOSS), 0);
	close_capture(&r);
}

static void test_detached_inside_its_own_callback(void **state)
{
	struct run r;

	(void)state;
	open_capture(&r);
	r.detach = true;
	attach(&r, talks, 0);
	run_for(&r, 300 * NS_PER_MS);
	assert_int_equal(r.owns, 1);
	close_capture(&r);
}

static void hangs(struct worker_link *l, void *ctx)
{
	(void)l;
	(void)ctx;
	for (;;)
		pause();
}

static void gives_up(struct worker_link *l, void *ctx)
{
	(void)ctx;
	worker_state(l, SOURCE_ABSENT, "no such device");
}

static void ends(struct worker_link *l, void *ctx)
{
	(void)l;
	(void)ctx;
}

static const struct {
	worker_fn *fn;
	int64_t budget_ns;
	enum source_state state;
	const char *reason;
} endings[] = {
	{ hangs, 50 * NS_PER_MS, SOURCE_FAILED, "hung; its worker was abandoned" },
	{ gives_up, 0, SOURCE_ABSENT, "no such device" },
	{ ends, 0, SOURCE_FAILED, "its worker ended; started again later" },
};

static void test_endings(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		struct run r;

		open_capture(&r);
		attach(&r, endings[i].fn, endings[i].budget_ns);
		run_for(&r, 2100 * NS_PER_MS);
		assert_int_equal(r.c.status[0].state, endings[i].state);
		assert_string_equal(r.c.status[0].reason, endings[i].reason);
		close_capture(&r);
	}
}

static void test_states_are_recorded_when_they_change(void **state)
{
	struct run r;
	size_t before;

	(void)state;
	open_capture(&r);
	assert_string_equal(r.c.status[0].reason, "switched off in the configuration");
	before = double_ring_count(r.c.ring, REC_SOURCE);
	capture_state(&r.c, SOURCE, SOURCE_LOST, "gone %d", 1);
	capture_state(&r.c, SOURCE, SOURCE_LOST, "gone %d", 1);
	capture_state(&r.c, "no such source", SOURCE_LOST, "gone");
	assert_int_equal(double_ring_count(r.c.ring, REC_SOURCE), before + 1);
	assert_memory_equal(double_ring_find(r.c.ring, REC_SOURCE, before)->payload + sizeof(struct record_source), "gone 1", 6);
	close_capture(&r);
}

static void test_reload_keeps_what_only_a_restart_changes(void **state)
{
	static const char text[] = "ring_bytes = 32M\nsocket = /x\npost_s = 9";
	struct error err = { 0 };
	struct config fresh;
	struct run r;
	char kept[256];

	(void)state;
	open_capture(&r);
	assert_int_equal(config_parse("t", text, strlen(text), &fresh, &err), 0);
	for (size_t i = 0; sources[i]; i++)
		fresh.sources_off.item[fresh.sources_off.n++] = strdup(sources[i]->name);
	capture_reload(&r.c, &fresh, kept, sizeof(kept));
	assert_string_equal(kept, "socket, ring_bytes");
	assert_int_equal(r.c.config.ring_bytes, 64u << 20);
	assert_string_equal(r.c.config.socket, "/run/tachograph/tcaptured.sock");
	assert_int_equal(r.c.config.post_s, 9);
	close_capture(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_find_their_way),
		cmocka_unit_test(test_losses_are_counted_by_the_ring),
		cmocka_unit_test(test_detached_inside_its_own_callback),
		cmocka_unit_test(test_endings),
		cmocka_unit_test(test_states_are_recorded_when_they_change),
		cmocka_unit_test(test_reload_keeps_what_only_a_restart_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
