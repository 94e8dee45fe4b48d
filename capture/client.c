#include "capture/client.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/loop.h"

#define ANSWER_BYTES (128u << 10)

struct conversation {
	int fd;
	char *in;		/* ANSWER_BYTES */
	size_t len;
	struct client_answer *ret;
	client_progress *progress;
	void *ctx;
	struct error *err;
};

static enum client_result dial(const char *path, int *fd_ret, struct error *err)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0) {
		*fd_ret = fd;
		return CLIENT_DONE;
	}
	error_sys(err, "cannot ask the daemon at %s", path);
	if (fd >= 0)
		close(fd);
	return err->sys == EACCES || err->sys == EPERM ? CLIENT_DENIED : CLIENT_NO_DAEMON;
}

/* More bytes of the answer, and the bundle's descriptor when it comes along.  False: the end. */
static bool receive(struct conversation *v)
{
	struct iovec iov = { v->in + v->len, ANSWER_BYTES - 1 - v->len };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(v->fd, &msg, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (head && head->cmsg_type == SCM_RIGHTS && v->ret->fd < 0)
		memcpy(&v->ret->fd, CMSG_DATA(head), sizeof(int));
	if (n < 0 && errno == EINTR)
		return true;
	v->len += n > 0 ? (size_t)n : 0;
	return n > 0;
}

/* One line of the answer; true: it was the last, and *result says how it went. */
static bool understand(struct conversation *v, const char *line, size_t len, enum client_result *result)
{
	json_t *o = json_loadb(line, len, 0, NULL);
	const char *error = json_string_value(json_object_get(o, "error"));
	const char *bundle = json_string_value(json_object_get(o, "bundle"));
	const char *progress = json_string_value(json_object_get(o, "progress"));
	json_t *status = json_object_get(o, "status");

	if (progress && v->progress)
		v->progress(v->ctx, progress);
	if (error) {
		error_set(v->err, ERR_UNSUPPORTED, "%s", error);
		*result = strstr(error, "may ask") ? CLIENT_DENIED : CLIENT_FAILED;
	} else if (bundle) {
		snprintf(v->ret->path, sizeof(v->ret->path), "%s", bundle);
		*result = json_is_true(json_object_get(o, "complete")) ? CLIENT_DONE : CLIENT_INCOMPLETE;
	} else if (status) {
		v->ret->status = json_incref(status);
		*result = CLIENT_DONE;
	}
	json_decref(o);
	return error || bundle || status;
}

static enum client_result listen_to(struct conversation *v, unsigned wait_s)
{
	int64_t until = loop_now() + (int64_t)wait_s * NS_PER_S;
	enum client_result result = CLIENT_FAILED;

	for (;;) {
		struct pollfd p = { v->fd, POLLIN, 0 };
		int64_t left = (until - loop_now()) / NS_PER_MS;
		char *nl;

		if (left <= 0 || poll(&p, 1, left > 60000 ? 60000 : (int)left) < 0) {
			error_set(v->err, ERR_LIMIT, "the daemon has not answered within %u s; it goes on", wait_s);
			return CLIENT_LATE;
		}
		if (!p.revents)
			continue;
		if (!receive(v)) {
			error_set(v->err, ERR_FORMAT, "the daemon closed the connection");
			return CLIENT_FAILED;
		}
		while ((nl = memchr(v->in, '\n', v->len))) {
			size_t n = (size_t)(nl - v->in);

			if (understand(v, v->in, n, &result))
				return result;
			v->len -= n + 1;
			memmove(v->in, nl + 1, v->len);
		}
	}
}

enum client_result client_ask(const char *socket, json_t *request, unsigned wait_s, client_progress *progress, void *ctx,
			      struct client_answer *ret, struct error *err)
{
	_cleanup_free_ char *line = json_dumps(request, JSON_COMPACT);
	_cleanup_free_ char *in = malloc(ANSWER_BYTES);
	_cleanup_close_ int fd = -1;
	struct conversation v = { .in = in, .ret = ret, .progress = progress, .ctx = ctx, .err = err };
	enum client_result r;

	json_decref(request);
	*ret = (struct client_answer){ .fd = -1 };
	if (!line || !in)
		return error_set(err, ERR_NOMEM, "no memory"), CLIENT_FAILED;
	r = dial(socket, &fd, err);
	if (r != CLIENT_DONE)
		return r;
	v.fd = fd;
	/* a refusal may come before the request is read: what cannot be sent is not the news */
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0 || send(fd, "\n", 1, MSG_NOSIGNAL) < 0)
		errno = 0;
	return listen_to(&v, wait_s);
}
