#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "capture/loop.h"
#include "capture/worker.h"

static uint8_t buf[WORKER_MESSAGE_BYTES] __attribute__((aligned(8)));

/* Wait for the next message. */
static int receive(struct worker *w, struct worker_message *m, const uint8_t **payload, int *fd)
{
	struct pollfd p = { .fd = w->fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 10000), 1);
	return worker_receive(w, buf, m, payload, fd);
}

static void start(struct worker *w, worker_fn *fn, void *ctx, int64_t budget_ns)
{
	struct error err = { 0 };

	assert_int_equal(worker_start(w, "test", fn, ctx, budget_ns, &err), 0);
}

static bool is_alive(pid_t pid) { return kill(pid, 0) == 0 || errno != ESRCH; }

static bool dies(pid_t pid)
{
	for (int ms = 0; ms < 5000 && is_alive(pid); ms++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	return !is_alive(pid);
}

static void sleeps(struct worker_link *l, void *ctx)
{
	(void)l;
	(void)ctx;
	for (;;)
		pause();
}

static void talks(struct worker_link *l, void *ctx)
{
	worker_record(l, 3, 77, 42, "fixed", 5, "text", 4);
	worker_state(l, SOURCE_DENIED, "no %s", "way");
	worker_own(l, 9, ctx, 3);
	worker_alive(l);
}

static void test_messages(void **state)
{
	struct worker w = WORKER_NONE;
	struct worker_message m;
	const uint8_t *payload;
	int fd;

	(void)state;
	start(&w, talks, (void *)"own", 0);
	assert_int_equal(receive(&w, &m, &payload, &fd), 1);
	assert_int_equal(m.type, WORKER_RECORD);
	assert_int_equal(m.stream, 3);
	assert_int_equal(m.kind, 77);
	assert_int_equal(m.monotonic_ns, 42);
	assert_int_equal(m.bytes, 9);
	assert_memory_equal(payload, "fixedtext", 9);
	assert_int_equal(receive(&w, &m, &payload, &fd), 1);
	assert_int_equal(m.type, WORKER_STATE);
	assert_int_equal(m.kind, SOURCE_DENIED);
	assert_memory_equal(payload, "no way", m.bytes);
	assert_int_equal(receive(&w, &m, &payload, &fd), 1);
	assert_int_equal(m.type, WORKER_OWN);
	assert_memory_equal(payload, "own", 3);
	assert_int_equal(receive(&w, &m, &payload, &fd), 1);
	assert_int_equal(m.type, WORKER_ALIVE);
	assert_int_equal(receive(&w, &m, &payload, &fd), -1);	/* it returned: gone */
	assert_true(worker_end(&w));
	assert_int_equal(w.pid, 0);
	assert_true(worker_end(&w));
}

static void hands_over(struct worker_link *l, void *ctx)
{
	int fd = worker_memfd("member");

	(void)ctx;
	if (write(fd, "content", 7) == 7)
		worker_member(l, "host/df.txt", fd);
	if (fcntl(fd, F_GETFD) >= 0)
		worker_state(l, SOURCE_FAILED, "the descriptor is still open");
}

static void test_member_with_its_descriptor(void **state)
{
	struct worker w = WORKER_NONE;
	struct worker_message m;
	const uint8_t *payload;
	char content[16];
	int fd;

	(void)state;
	start(&w, hands_over, NULL, 0);
	assert_int_equal(receive(&w, &m, &payload, &fd), 1);
	assert_int_equal(m.type, WORKER_MEMBER);
	assert_memory_equal(payload, "host/df.txt", m.bytes);
	assert_int_equal(pread(fd, content, sizeof(content), 0), 7);
	assert_memory_equal(content, "content", 7);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	assert_int_equal(receive(&w, &m, &payload, &fd), -1);
	worker_end(&w);
}

static void test_hung_worker_is_abandoned_within_its_budget(void **state)
{
	struct worker w = WORKER_NONE;
	int64_t begun = loop_now();
	pid_t pid;

	(void)state;
	start(&w, sleeps, NULL, 50 * NS_PER_MS);
	pid = w.pid;
	assert_false(worker_is_hung(&w, begun));
	while (!worker_is_hung(&w, loop_now()))
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	assert_true(loop_now() - begun >= 50 * NS_PER_MS);
	assert_true(worker_end(&w));
	assert_false(is_alive(pid));
}

static void test_unread_message_is_no_silence(void **state)
{
	struct worker w = WORKER_NONE;
	struct pollfd p;

	(void)state;
	start(&w, talks, (void *)"own", 1);
	p = (struct pollfd){ .fd = w.fd, .events = POLLIN };
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_false(worker_is_hung(&w, loop_now() + NS_PER_S));
	worker_end(&w);
}

static void test_killed_worker_is_gone(void **state)
{
	struct worker w = WORKER_NONE;
	struct worker_message m;
	const uint8_t *payload;
	int fd;

	(void)state;
	start(&w, sleeps, NULL, 0);
	assert_int_equal(worker_receive(&w, buf, &m, &payload, &fd), 0);	/* nothing yet */
	kill(w.pid, SIGKILL);
	assert_int_equal(receive(&w, &m, &payload, &fd), -1);
	assert_true(worker_end(&w));
}

/* Far more than the socket holds, then, once the parent has read, one more. */
static void floods(struct worker_link *l, void *ctx)
{
	static char big[1000];
	uint16_t kind;
	size_t n;

	(void)ctx;
	for (int i = 0; i < 20000; i++)
		worker_record(l, 0, 1000, i, big, sizeof(big), NULL, 0);
	worker_asked(l, -1, &kind, big, sizeof(big), &n);
	worker_record(l, 0, 1001, 0, "last", 4, NULL, 0);
}

static void test_full_socket_drops_and_counts(void **state)
{
	struct worker w = WORKER_NONE;
	struct worker_message m = { 0 };
	const uint8_t *payload;
	struct record_loss loss = { 0 };
	uint64_t came = 0;
	bool asked = false;
	int fd;

	(void)state;
	start(&w, floods, NULL, 0);
	nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);	/* it fills the socket meanwhile; nothing depends on how far */
	while (m.kind != 1001) {
		int r = worker_receive(&w, buf, &m, &payload, &fd);

		assert_true(r >= 0);
		came += r == 1 && m.kind == 1000;
		if (r == 1 && m.kind == REC_LOSS) {
			struct record_loss part;

			memcpy(&part, payload, sizeof(part));
			loss.lost += part.lost;
			assert_string_equal(part.source, "test");
		}
		if (r == 0 && !asked)
			asked = worker_ask(&w, 1, NULL, 0);
	}
	assert_true(loss.lost > 0);
	assert_int_equal(came + loss.lost, 20000);
	worker_end(&w);
}

static void answers(struct worker_link *l, void *ctx)
{
	char text[8];
	uint16_t kind;
	size_t n;

	(void)ctx;
	while (worker_asked(l, -1, &kind, text, sizeof(text), &n) > 0)
		worker_own(l, kind, text, n);
	worker_state(l, SOURCE_OK, "unreachable: the parent is gone");
}

static void test_questions(void **state)
{
	struct worker w = WORKER_NONE;
	struct worker_message m;
	const uint8_t *payload;
	int fd;

	(void)state;
	start(&w, answers, NULL, 0);
	assert_true(worker_ask(&w, 5, "what?", 5));
	assert_true(worker_ask(&w, 6, "longer than room", 16));
	assert_int_equal(receive(&w, &m, &payload, &fd), 1);
	assert_int_equal(m.kind, 5);
	assert_memory_equal(payload, "what?", 5);
	assert_int_equal(receive(&w, &m, &payload, &fd), 1);
	assert_int_equal(m.bytes, 8);
	worker_end(&w);
	assert_false(worker_ask(&w, 5, "gone", 4));
}

static void misbehaves(struct worker_link *l, void *ctx)
{
	struct worker_message m = { .type = WORKER_RECORD, .bytes = 1000 };

	(void)ctx;
	send(l->fd, &m, sizeof(m), 0);
	pause();
}

static void test_message_against_the_form_is_the_end(void **state)
{
	struct worker w = WORKER_NONE;
	struct worker_message m;
	const uint8_t *payload;
	int fd;

	(void)state;
	start(&w, misbehaves, NULL, 0);
	assert_int_equal(receive(&w, &m, &payload, &fd), -1);
	worker_end(&w);
}

/* What the child is: alone with its socket, leader of a session, with default signals. */
static void describes_itself(struct worker_link *l, void *ctx)
{
	const int *other = ctx;
	char comm[17] = "";
	sigset_t blocked;

	prctl(PR_GET_NAME, comm);
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	if (fcntl(*other, F_GETFD) >= 0)
		worker_state(l, SOURCE_FAILED, "descriptor %d came along", *other);
	else if (getsid(0) != getpid() || sigismember(&blocked, SIGTERM) || strcmp(comm, "tcap-test"))
		worker_state(l, SOURCE_FAILED, "session, signals or name are wrong: %s", comm);
	else
		worker_state(l, SOURCE_OK, "fine");
}

static void test_child_keeps_nothing_of_the_parent(void **state)
{
	struct worker w = WORKER_NONE;
	struct worker_message m;
	const uint8_t *payload;
	int low = open("/dev/null", O_RDONLY), high = fcntl(low, F_DUPFD, 500), fd;
	sigset_t term;

	(void)state;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	for (int i = 0; i < 2; i++) {
		start(&w, describes_itself, i ? &high : &low, 0);
		assert_int_equal(receive(&w, &m, &payload, &fd), 1);
		assert_int_equal(m.kind, SOURCE_OK);
		worker_end(&w);
	}
	sigprocmask(SIG_UNBLOCK, &term, NULL);
	close(low);
	close(high);
}

static void runs_a_command(struct worker_link *l, void *ctx)
{
	pid_t pid = fork();

	(void)ctx;
	if (pid == 0)
		execlp("sleep", "sleep", "1000", NULL);
	worker_own(l, 1, &pid, sizeof(pid));
	pause();
}

static void test_end_ends_what_it_runs(void **state)
{
	struct worker w = WORKER_NONE;
	struct worker_message m;
	const uint8_t *payload;
	pid_t pid;
	int fd;

	(void)state;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	start(&w, runs_a_command, NULL, 0);
	assert_int_equal(receive(&w, &m, &payload, &fd), 1);
	memcpy(&pid, payload, sizeof(pid));
	worker_end(&w);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void test_death_of_the_parent_ends_the_worker(void **state)
{
	int told[2];
	pid_t parent, pid;

	(void)state;
	assert_int_equal(pipe(told), 0);
	parent = fork();
	if (parent == 0) {
		struct worker w = WORKER_NONE;
		struct error err = { 0 };

		worker_start(&w, "test", sleeps, NULL, 0, &err);
		if (write(told[1], &w.pid, sizeof(w.pid)) < 0)
			_exit(1);
		pause();
	}
	assert_int_equal(read(told[0], &pid, sizeof(pid)), sizeof(pid));
	assert_true(is_alive(pid));
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	kill(parent, SIGKILL);
	waitpid(parent, NULL, 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);	/* reparented here, and ended by itself */
	assert_true(dies(pid));
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	close(told[0]);
	close(told[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_member_with_its_descriptor),
		cmocka_unit_test(test_hung_worker_is_abandoned_within_its_budget),
		cmocka_unit_test(test_unread_message_is_no_silence),
		cmocka_unit_test(test_killed_worker_is_gone),
		cmocka_unit_test(test_full_socket_drops_and_counts),
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_message_against_the_form_is_the_end),
		cmocka_unit_test(test_child_keeps_nothing_of_the_parent),
		cmocka_unit_test(test_end_ends_what_it_runs),
		cmocka_unit_test(test_death_of_the_parent_ends_the_worker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
