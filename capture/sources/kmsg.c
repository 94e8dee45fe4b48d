#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/sources/sources.h"

#define RECORD_MAX 8192			/* the kernel's own limit of one record */
#define RECORDS_PER_TURN 256		/* then the loop's other callbacks have their turn */
#define QUIET_NS (2 * NS_PER_S)		/* what the buffer held at the start raises nothing */

struct kmsg {
	struct capture *c;
	int fd;
	struct loop_watch *watch;
	int64_t started_ns;
	uint64_t next_seq;	/* of the kernel's; 0: none read yet */
};

/* Lines that a bundle is worth taking for.  What they mean is the analyzer's business. */
static const struct {
	const char *trigger, *text;
} triggers[] = {
	{ "kernel", "NVRM: Xid (" }, { "kernel", "SXid (" }, { "kernel", "AER: Uncorrect" }, { "kernel", "severity=Uncorrect" },
	{ "kernel", "blocked for more than " }, { "oom", "oom-kill:" }, { "oom", "Out of memory: Killed process" },
	{ "kernel", "Kernel panic" }, { "kernel", "BUG: soft lockup" }, { "kernel", "hard LOCKUP" }, { "kernel", "Oops:" },
	{ "kernel", "fallen off the bus" }, { "kernel", "[Hardware Error]" }, { "kernel", "GPU reset begin" },
	{ "kernel", "not responding, still trying" }, { "kernel", "Remounting filesystem read-only" },
};

/* The n-th number of "prio,seq,usec,flags;text", n from 0. */
static uint64_t number_of(const char *s, size_t len, int n)
{
	const char *end = s + len;
	uint64_t v = 0;

	for (; n > 0; n--) {
		s = s < end ? memchr(s, ',', (size_t)(end - s)) : NULL;
		if (!s++)
			return 0;
	}
	for (; s < end && *s >= '0' && *s <= '9' && v < UINT64_MAX / 10000; s++)
		v = v * 10 + (uint64_t)(*s - '0');
	return v;
}

/* What the kernel overwrote before we came shows as a gap in its numbers. */
static void record(struct kmsg *k, const char *s, size_t len)
{
	uint64_t seq = number_of(s, len, 1);

	if (k->next_seq && seq > k->next_seq)
		ring_lost(k->c->ring, STREAM_KERNEL, "kmsg: overwritten", seq - k->next_seq);
	k->next_seq = seq + 1;
	/* the kernel's own clock: CLOCK_MONOTONIC but for its finer origin */
	ring_put(k->c->ring, STREAM_KERNEL, REC_KMSG, (int64_t)number_of(s, len, 2) * 1000, s, len, NULL, 0);
}

static void look_for_trigger(struct kmsg *k, const char *s, size_t len)
{
	const char *text = memchr(s, ';', len), *nl;
	size_t n;

	if (!text || loop_now() - k->started_ns < QUIET_NS)
		return;
	text++;
	nl = memchr(text, '\n', len - (size_t)(text - s));
	n = nl ? (size_t)(nl - text) : len - (size_t)(text - s);
	for (size_t i = 0; i < ARRAY_SIZE(triggers); i++)
		if (memmem(text, n, triggers[i].text, strlen(triggers[i].text))) {
			trigger_raise(k->c, triggers[i].trigger, -1, -1, "%.*s", (int)(n < 200 ? n : 200), text);
			return;
		}
}

static void on_readable(void *ctx, int fd, uint32_t events)
{
	struct kmsg *k = ctx;
	char buf[RECORD_MAX];

	(void)events;
	for (int i = 0; i < RECORDS_PER_TURN; i++) {
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n < 0 && (errno == EINTR || errno == EPIPE))	/* EPIPE: records were overwritten */
			continue;
		if (n < 0 && errno != EAGAIN) {
			capture_state(k->c, "kmsg", SOURCE_FAILED, "reading /dev/kmsg: %s", strerror(errno));
			loop_remove(k->c->loop, k->watch);
			k->watch = NULL;
		}
		if (n <= 0)
			return;
		record(k, buf, (size_t)n);
		look_for_trigger(k, buf, (size_t)n);
	}
}

static int start(struct capture *c, void **ret, struct error *err)
{
	_cleanup_free_ struct kmsg *k = calloc(1, sizeof(*k));

	if (!k)
		return error_set(err, ERR_NOMEM, "no memory");
	k->c = c;
	k->started_ns = loop_now();
	k->fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (k->fd < 0)
		return error_sys(err, "cannot open /dev/kmsg%s", errno == EPERM || errno == EACCES ? " (CAP_SYSLOG is missing)" : "");
	k->watch = loop_add_fd(c->loop, k->fd, EPOLLIN, on_readable, k, err);
	if (!k->watch) {
		close(k->fd);
		return -1;
	}
	*ret = take(k);
	return 0;
}

static void stop(struct capture *c, void *data)
{
	struct kmsg *k = data;

	if (!k)
		return;
	loop_remove(c->loop, k->watch);
	close(k->fd);
	free(k);
}

const struct source source_kmsg = {
	.name = "kmsg", .what = "the kernel log, through /dev/kmsg", .start = start, .stop = stop,
};
