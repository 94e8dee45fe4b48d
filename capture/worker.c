#include "capture/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/loop.h"

#define SOCKET_BYTES (1 << 20)		/* kernel memory that a worker's messages may wait in */
#define OLD_KERNEL_FDS 65536		/* without close_range(2): as many are closed one by one */
#define REAP_WAIT_MS 20			/* a process that can die at all is gone by then */

/* ---- in the child ---- */

/* One message of up to three pieces; `flags` as sendmsg(2). */
static bool send_pieces(int fd, struct worker_message *m, struct iovec piece[2], int member_fd, int flags)
{
	struct iovec iov[3] = { { m, sizeof(*m) }, piece[0], piece[1] };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 3 };
	ssize_t n;

	if (iov[1].iov_len > WORKER_PAYLOAD_BYTES)
		iov[1].iov_len = WORKER_PAYLOAD_BYTES;
	if (iov[2].iov_len > WORKER_PAYLOAD_BYTES - iov[1].iov_len)
		iov[2].iov_len = WORKER_PAYLOAD_BYTES - iov[1].iov_len;
	m->bytes = (uint32_t)(iov[1].iov_len + iov[2].iov_len);
	if (member_fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
						 .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.head), &member_fd, sizeof(int));
	}
	do {
		n = sendmsg(fd, &msg, flags | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n >= 0;
}

static bool send_record(struct worker_link *l, uint8_t stream, uint16_t kind, int64_t monotonic_ns,
			struct iovec piece[2])
{
	struct worker_message m = { .type = WORKER_RECORD, .kind = kind, .stream = stream,
				    .monotonic_ns = monotonic_ns };

	return send_pieces(l->fd, &m, piece, -1, MSG_DONTWAIT);
}

/* What was dropped is told before the next record. */
static bool send_loss(struct worker_link *l, uint8_t stream, int64_t monotonic_ns)
{
	struct record_loss loss = { .lost = l->dropped };
	struct iovec piece[2] = { { &loss, sizeof(loss) } };

	strncpy(loss.source, l->name, sizeof(loss.source) - 1);
	if (!send_record(l, stream, REC_LOSS, monotonic_ns, piece))
		return false;
	l->dropped = 0;
	return true;
}

void worker_record(struct worker_link *l, uint8_t stream, uint16_t kind, int64_t monotonic_ns,
		   const void *fixed, size_t fixed_bytes, const void *text, size_t text_bytes)
{
	struct iovec piece[2] = { { (void *)fixed, fixed_bytes }, { (void *)text, text ? text_bytes : 0 } };

	if ((l->dropped && !send_loss(l, stream, monotonic_ns)) || !send_record(l, stream, kind, monotonic_ns, piece))
		l->dropped++;
}

void worker_member(struct worker_link *l, const char *name, int fd)
{
	_cleanup_close_ int owned = fd;
	struct worker_message m = { .type = WORKER_MEMBER, .monotonic_ns = loop_now() };
	struct iovec piece[2] = { { (void *)name, strlen(name) } };

	send_pieces(l->fd, &m, piece, owned, 0);
}

void worker_state(struct worker_link *l, int state, const char *fmt, ...)
{
	struct worker_message m = { .type = WORKER_STATE, .kind = (uint16_t)state, .monotonic_ns = loop_now() };
	char reason[256];
	struct iovec piece[2] = { { reason, 0 } };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	piece[0].iov_len = strlen(reason);
	send_pieces(l->fd, &m, piece, -1, 0);
}

void worker_own(struct worker_link *l, uint16_t kind, const void *payload, size_t bytes)
{
	struct worker_message m = { .type = WORKER_OWN, .kind = kind, .monotonic_ns = loop_now() };
	struct iovec piece[2] = { { (void *)payload, bytes } };

	send_pieces(l->fd, &m, piece, -1, 0);
}

void worker_alive(struct worker_link *l)
{
	struct worker_message m = { .type = WORKER_ALIVE, .monotonic_ns = loop_now() };
	struct iovec piece[2] = { 0 };

	send_pieces(l->fd, &m, piece, -1, MSG_DONTWAIT);
}

int worker_memfd(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

int worker_asked(struct worker_link *l, int timeout_ms, uint16_t *kind_ret, void *buf, size_t size, size_t *bytes_ret)
{
	struct worker_message m;
	struct iovec iov[2] = { { &m, sizeof(m) }, { buf, size } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	struct pollfd p = { .fd = l->fd, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, timeout_ms) <= 0)
		return 0;
	n = recvmsg(l->fd, &msg, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < (ssize_t)sizeof(m))
		return -1;
	*kind_ret = m.kind;
	*bytes_ret = (size_t)n - sizeof(m);
	return 1;
}

static void become_killable(void)
{
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "0", 1) < 0)
		return;		/* stays as protected as the daemon: no harm done */
}

static void default_signals(void)
{
	sigset_t none;

	for (int s = 1; s < _NSIG; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void close_between(int first, int last)
{
	if (first > last || close_range((unsigned)first, (unsigned)last, 0) == 0)
		return;
	for (int fd = first; fd <= last && fd < OLD_KERNEL_FDS; fd++)
		close(fd);
}

static void keep_only(int fd)
{
	close_between(3, fd - 1);
	close_between(fd > 2 ? fd + 1 : 3, INT_MAX);
}

static __attribute__((noreturn)) void child(const char *name, int fd, pid_t parent, worker_fn *fn, void *ctx)
{
	struct worker_link link = { .fd = fd, .name = name };
	char comm[16];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	default_signals();
	setsid();
	keep_only(fd);
	become_killable();
	snprintf(comm, sizeof(comm), "tcap-%s", name);
	prctl(PR_SET_NAME, comm);
	fn(&link, ctx);
	_exit(0);
}

/* ---- in the parent ---- */

static void enlarge(int fd)
{
	int bytes = SOCKET_BYTES;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

int worker_start(struct worker *w, const char *name, worker_fn *fn, void *ctx, int64_t budget_ns, struct error *err)
{
	pid_t parent = getpid(), pid;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_sys(err, "cannot make a socket pair for the worker %s", name);
	enlarge(pair[1]);
	pid = fork();
	if (pid == 0)
		child(name, pair[1], parent, fn, ctx);
	if (pid < 0)
		error_sys(err, "cannot fork the worker %s", name);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return -1;
	}
	*w = (struct worker){ .pid = pid, .fd = pair[0], .budget_ns = budget_ns, .heard_ns = loop_now(), .name = name };
	return 0;
}

/* The descriptor that came along, or -1. */
static int received_fd(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	int fd = -1;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(c), sizeof(int));
	return fd;
}

int worker_receive(struct worker *w, void *buf, struct worker_message *ret, const uint8_t **payload_ret, int *fd_ret)
{
	struct iovec iov = { buf, WORKER_MESSAGE_BYTES };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	_cleanup_close_ int fd = -1;
	ssize_t n = recvmsg(w->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < (ssize_t)sizeof(*ret))
		return -1;
	fd = received_fd(&msg);
	memcpy(ret, buf, sizeof(*ret));
	if (ret->bytes != (size_t)n - sizeof(*ret) || (ret->type == WORKER_MEMBER) != (fd >= 0))
		return -1;
	w->heard_ns = loop_now();
	*payload_ret = (const uint8_t *)buf + sizeof(*ret);
	*fd_ret = fd;
	fd = -1;
	return 1;
}

bool worker_ask(struct worker *w, uint16_t kind, const void *payload, size_t bytes)
{
	struct worker_message m = { .type = WORKER_OWN, .kind = kind, .monotonic_ns = loop_now() };
	struct iovec piece[2] = { { (void *)payload, bytes } };

	return w->fd >= 0 && send_pieces(w->fd, &m, piece, -1, MSG_DONTWAIT);
}

bool worker_is_hung(const struct worker *w, int64_t now_ns)
{
	struct pollfd p = { .fd = w->fd, .events = POLLIN };

	return w->budget_ns && w->fd >= 0 && now_ns - w->heard_ns > w->budget_ns && poll(&p, 1, 0) == 0;
}

bool worker_end(struct worker *w)
{
	int tries = w->fd >= 0 ? REAP_WAIT_MS : 1;

	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
	if (w->pid <= 0)
		return true;
	kill(-w->pid, SIGKILL);		/* what it runs; nothing while it has no session yet */
	kill(w->pid, SIGKILL);
	while (tries-- > 0) {
		if (waitpid(w->pid, NULL, WNOHANG) != 0) {
			w->pid = 0;
			return true;
		}
		if (tries)
			nanosleep(&(struct timespec){ .tv_nsec = NS_PER_MS }, NULL);
	}
	return false;
}
