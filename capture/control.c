#include "capture/control.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/dumps.h"

#define CLIENTS_MAX 16
#define BACKLOG 64
#define REQUEST_BYTES 4096
#define ANSWER_BYTES (64u << 10)	/* waiting for a client that does not read */
#define SILENCE_NS (INT64_C(10) * 1000000000)	/* until its request must have come */
#define CHECK_NS (INT64_C(2) * 1000000000)
#define GROUPS_MAX 256

struct client {
	struct control *control;
	int fd;				/* -1: free */
	struct loop_watch *watch;
	int64_t since_ns;
	char in[REQUEST_BYTES];
	size_t in_len;
	char *out;			/* ANSWER_BYTES */
	size_t out_len;
	bool waits;			/* for a dump's news */
	bool last;			/* closed when `out` is sent */
};

struct control {
	struct capture *c;
	int fd;
	struct loop_watch *watch, *timer;
	bool has_group;
	gid_t group;
	struct client clients[CLIENTS_MAX];
};

static void drop(struct client *cl)
{
	if (cl->fd < 0)
		return;
	loop_remove(cl->control->c->loop, cl->watch);
	close(cl->fd);
	free(cl->out);
	*cl = (struct client){ .control = cl->control, .fd = -1 };
}

/* ---- answers ---- */

static void on_client(void *ctx, int fd, uint32_t events);

/* Watch for room to write only while there is something to write. */
static void watch(struct client *cl)
{
	struct error err = { 0 };

	loop_remove(cl->control->c->loop, cl->watch);
	cl->watch = loop_add_fd(cl->control->c->loop, cl->fd, EPOLLIN | (cl->out_len ? EPOLLOUT : 0), on_client, cl, &err);
}

/* What the socket takes now. */
static void flush(struct client *cl)
{
	size_t before = cl->out_len;
	ssize_t n = cl->out_len ? send(cl->fd, cl->out, cl->out_len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		drop(cl);
		return;
	}
	if (n > 0) {
		memmove(cl->out, cl->out + n, cl->out_len - (size_t)n);
		cl->out_len -= (size_t)n;
	}
	if (cl->last && cl->out_len == 0)
		drop(cl);
	else if (!before != !cl->out_len || cl->out_len)
		watch(cl);
}

/* With a descriptor: only when nothing waits before it, else without. */
static bool send_with_fd(struct client *cl, const char *line, size_t len, int fd)
{
	struct iovec iov = { (void *)(uintptr_t)line, len };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

	memcpy(CMSG_DATA(&control.head), &fd, sizeof(int));
	return cl->out_len == 0 && sendmsg(cl->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
}

/* Takes `o`. */
static void answer(struct client *cl, json_t *o, int fd, bool last)
{
	char *line = json_dumps(o, JSON_COMPACT);
	size_t len = line ? strlen(line) : 0;

	json_decref(o);
	cl->last |= last;
	if (!line || cl->out_len + len + 1 > ANSWER_BYTES) {
		free(line);
		drop(cl);
		return;
	}
	line[len] = '\n';	/* in place of the NUL */
	if (fd < 0 || !send_with_fd(cl, line, len + 1, fd)) {
		memcpy(cl->out + cl->out_len, line, len + 1);
		cl->out_len += len + 1;
	}
	free(line);
	flush(cl);
}

static void on_news(void *ctx, enum dumps_news news, const char *text, int fd)
{
	struct control *k = ctx;

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *cl = &k->clients[i];

		if (cl->fd < 0 || !cl->waits)
			continue;
		if (news == DUMPS_PROGRESS)
			answer(cl, json_pack("{s:s}", "progress", text), -1, false);
		else if (news == DUMPS_FAILED)
			answer(cl, json_pack("{s:s}", "error", text), -1, true);
		else
			answer(cl, json_pack("{s:s, s:b}", "bundle", text, "complete", news == DUMPS_DONE), fd, true);
	}
}

static json_t *ring_status(const struct capture *c)
{
	json_t *list = json_array();

	for (int s = 0; c->ring && s < STREAM_COUNT; s++) {
		struct ring_stats st = ring_stats(c->ring, (enum stream_id)s);

		json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I, s:I}", "name", stream_name((enum stream_id)s), "records",
						      (json_int_t)st.appended, "lost", (json_int_t)st.lost, "bytes",
						      (json_int_t)st.bytes, "oldest_s",
						      (json_int_t)(st.oldest_monotonic_ns ? (loop_now() - st.oldest_monotonic_ns) / 1000000000 : -1)));
	}
	return list;
}

static json_t *status(const struct capture *c)
{
	size_t living = 0;

	for (size_t i = 0; i < c->track.n; i++)
		living += !c->track.by_slot[i].gone && c->track.by_slot[i].p.pid;
	return json_pack("{s:{s:s, s:i, s:I, s:s, s:I, s:s?, s:I, s:o, s:o, s:o}}", "status", "version", TACHOGRAPH_VERSION, "pid",
			 (int)getpid(), "uptime_s", (json_int_t)((loop_now() - c->started_ns) / 1000000000), "ring",
			 c->config.ring_dir, "ring_bytes", (json_int_t)(c->ring ? ring_bytes(c->ring) : 0), "trouble",
			 c->ring ? ring_trouble(c->ring) : "there is none", "tracked", (json_int_t)living, "sources", dumps_sources(c),
			 "streams", ring_status(c), "dumps", dumps_status(c));
}

/* ---- requests ---- */

static void refuse(struct client *cl, const char *why)
{
	answer(cl, json_pack("{s:s}", "error", why), -1, true);
}

static void obey(struct client *cl, const char *line, size_t len)
{
	json_t *o = json_loadb(line, len, 0, NULL);
	const char *request = json_string_value(json_object_get(o, "request"));
	const char *reason = json_string_value(json_object_get(o, "reason"));
	const char *job = json_string_value(json_object_get(o, "job"));

	if (request && strcmp(request, "status") == 0) {
		answer(cl, status(cl->control->c), -1, true);
	} else if (request && strcmp(request, "dump") == 0) {
		cl->waits = true;
		if (!dumps_start_job(cl->control->c, "manual", reason, job, -1, -1))
			refuse(cl, "the dump could not be started");
	} else {
		refuse(cl, "no such request: \"dump\" and \"status\" are");
	}
	json_decref(o);
}

static void on_client(void *ctx, int fd, uint32_t events)
{
	struct client *cl = ctx;
	char *nl;
	ssize_t n;

	if (events & EPOLLOUT)
		flush(cl);
	if (cl->fd != fd || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	n = recv(fd, cl->in + cl->in_len, sizeof(cl->in) - cl->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(cl);
		return;
	}
	if (cl->waits || cl->last)	/* one request a connection: what follows is thrown away */
		return;
	cl->in_len += (size_t)n;
	nl = memchr(cl->in, '\n', cl->in_len);
	if (nl)
		obey(cl, cl->in, (size_t)(nl - cl->in));
	else if (cl->in_len == sizeof(cl->in))
		refuse(cl, "the request is too long");
}

static bool in_group(int fd, const struct ucred *peer, gid_t group)
{
	gid_t groups[GROUPS_MAX];
	socklen_t len = sizeof(groups);

	if (peer->gid == group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		return false;
	for (size_t i = 0; i < len / sizeof(gid_t); i++)
		if (groups[i] == group)
			return true;
	return false;
}

static bool may_ask(const struct control *k, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return false;
	return peer.uid == 0 || peer.uid == geteuid() || (k->has_group && in_group(fd, &peer, k->group));
}

/* Without room it is closed at once: the client sees that. */
static void welcome(struct control *k, int fd)
{
	struct client *cl = NULL;

	for (size_t i = 0; i < CLIENTS_MAX && !cl; i++)
		cl = k->clients[i].fd < 0 ? &k->clients[i] : NULL;
	if (!cl || !(cl->out = malloc(ANSWER_BYTES))) {
		close(fd);
		return;
	}
	cl->fd = fd;
	cl->since_ns = loop_now();
	watch(cl);
	if (!may_ask(k, fd))
		refuse(cl, "only root and the group of the configuration may ask for a bundle");
}

static void on_connect(void *ctx, int listening, uint32_t events)
{
	int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0)
		welcome(ctx, fd);
}

/* Who has not asked for anything, or does not read its answer. */
static void on_timer(void *ctx, int64_t now_ns)
{
	struct control *k = ctx;

	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (k->clients[i].fd >= 0 && now_ns - k->clients[i].since_ns > SILENCE_NS &&
		    (!k->clients[i].waits || k->clients[i].last))
			drop(&k->clients[i]);
}

/* ---- the socket ---- */

static void find_group(struct control *k)
{
	const struct group *g = k->c->config.group ? getgrnam(k->c->config.group) : NULL;

	k->has_group = g != NULL;
	k->group = g ? g->gr_gid : 0;
	if (k->c->config.group && !g)
		capture_say(k->c, "there is no group %s: only root may ask for bundles", k->c->config.group);
}

static int listen_at(struct control *k, const char *path, struct error *err)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char dir[sizeof(at.sun_path)];
	char *slash;

	if (strlen(path) >= sizeof(at.sun_path))
		return error_set(err, ERR_LIMIT, "the socket's path is too long: %.80s", path);
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash && slash != dir) {
		*slash = '\0';
		mkdir(dir, 0755);
	}
	k->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (k->fd < 0)
		return error_sys(err, "cannot make a socket");
	unlink(path);		/* the ring's lock says that no other daemon of this ring lives */
	if (bind(k->fd, (struct sockaddr *)&at, sizeof(at)) || listen(k->fd, BACKLOG))
		return error_sys(err, "cannot listen at %s", path);
	if (chmod(path, k->has_group ? 0660 : 0600) || (k->has_group && chown(path, (uid_t)-1, k->group)))
		return error_sys(err, "cannot open %s to its group", path);
	return 0;
}

int control_open(struct capture *c, struct error *err)
{
	struct control *k = calloc(1, sizeof(*k));

	if (!k)
		return error_set(err, ERR_NOMEM, "no memory");
	k->c = c;
	k->fd = -1;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		k->clients[i] = (struct client){ .control = k, .fd = -1 };
	c->control = k;
	find_group(k);
	if (listen_at(k, c->config.socket, err) ||
	    !(k->watch = loop_add_fd(c->loop, k->fd, EPOLLIN, on_connect, k, err)) ||
	    !(k->timer = loop_add_timer(c->loop, CHECK_NS, CHECK_NS, on_timer, k, err))) {
		control_close(c);
		return -1;
	}
	dumps_listen(c, on_news, k);
	return 0;
}

void control_close(struct capture *c)
{
	struct control *k = c->control;

	c->control = NULL;
	if (!k)
		return;
	dumps_listen(c, NULL, NULL);
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		drop(&k->clients[i]);
	loop_remove(c->loop, k->watch);
	loop_remove(c->loop, k->timer);
	if (k->fd >= 0) {
		close(k->fd);
		unlink(c->config.socket);
	}
	free(k);
}
