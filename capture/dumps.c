#include "capture/dumps.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/dump.h"
#include "capture/retention.h"

#define MESSAGE_BYTES 4096
#define LAST_MAX 8
#define GIVE_UP_NS (INT64_C(900) * 1000000000)

struct last_dump {
	char bundle[PATH_MAX], trigger[24];
	enum dumps_news news;
	int64_t realtime_ns;
};

struct dumps {
	struct capture *c;
	pid_t pid;			/* 0: none runs */
	bool tidying;			/* it is not a dump, it only tidies the folder */
	bool told;			/* how it ended was told */
	int fd, more_fd, pid_fd;	/* its news; triggers for it; readable: it ended */
	struct loop_watch *watch, *end, *limit;
	struct dump_trigger current, waiting;	/* waiting.kind "": none */
	char waiting_job[64];
	struct last_dump last[LAST_MAX];	/* newest first */
	size_t n_last;
	dumps_listener *listener;
	void *listener_ctx;
};

/* What the process needs; copied by fork. */
struct order {
	const struct capture *c;
	const struct dump_trigger *trigger;
	const char *job, *sources_json;
	bool tidy_only;
};

/* ---- in the process ---- */

#define NEWS_FD 3
#define MORE_FD 4

static void send_news(enum dumps_news news, const char *text, int fd)
{
	char line[MESSAGE_BYTES];
	struct iovec iov = { line, 0 };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	iov.iov_len = (size_t)snprintf(line, sizeof(line), "%c%s", news, text);
	iov.iov_len = iov.iov_len < sizeof(line) ? iov.iov_len : sizeof(line) - 1;
	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
						 .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(int));
	}
	sendmsg(NEWS_FD, &msg, MSG_NOSIGNAL);
}

static void say(void *ctx, const char *line)
{
	(void)ctx;
	send_news(DUMPS_PROGRESS, line, -1);
}

static void make_dump(const struct order *o)
{
	const struct config *config = &o->c->config;
	const struct dump_request rq = {
		.trigger = o->trigger->kind, .reason = o->trigger->reason, .job = o->job, .pid = o->trigger->pid,
		.rank = o->trigger->rank, .ring_dir = config->ring_dir, .config = config, .track = &o->c->track,
		.sources_json = o->sources_json, .post_s = config->post_s, .live = true, .from = "daemon", .more_fd = MORE_FD, .progress = say,
	};
	char path[PATH_MAX], why[512];
	struct error err = { 0 };
	int r = dump_run(&rq, path, sizeof(path), &err);
	_cleanup_close_ int fd = r < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);

	error_text(&err, why, sizeof(why));
	send_news(r < 0 ? DUMPS_FAILED : r == DUMP_INCOMPLETE ? DUMPS_INCOMPLETE : DUMPS_DONE, r < 0 ? why : path, fd);
}

/* Away from the daemon: none of its descriptors (its ring's lock is one of them), its signals as they were. */
static _Noreturn void child(const struct order *o, int news, int more)
{
	sigset_t none;

	setsid();
	for (int s = 1; s < _NSIG; s++)
		signal(s, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	news = fcntl(news, F_DUPFD, 10);
	more = fcntl(more, F_DUPFD, 10);
	dup2(news, NEWS_FD);
	dup2(more, MORE_FD);
	fcntl(MORE_FD, F_SETFL, O_NONBLOCK);
	if (close_range(MORE_FD + 1, UINT_MAX, 0))
		for (int fd = MORE_FD + 1; fd < 65536; fd++)
			close(fd);
	retention_tidy(&o->c->config, say, NULL);
	if (!o->tidy_only) {
		make_dump(o);
		retention_tidy(&o->c->config, say, NULL);
	}
	_exit(0);
}

/* ---- in the daemon ---- */

static bool start_process(struct dumps *d, const struct dump_trigger *t, const char *job);

static void tell(struct dumps *d, enum dumps_news news, const char *text, int fd)
{
	static const char *const before[] = {
		[DUMPS_DONE] = "bundle: ", [DUMPS_INCOMPLETE] = "the disk is full, members are missing from the bundle: ",
		[DUMPS_FAILED] = "dump failed: ",
	};

	if (d->tidying)
		capture_say(d->c, "%s", text);
	else if (news != DUMPS_PROGRESS && (size_t)news < ARRAY_SIZE(before) && before[news])
		capture_say(d->c, "%s%s", before[news], text);
	if (d->listener && !d->tidying)
		d->listener(d->listener_ctx, news, text, fd);
	if (d->tidying || news == DUMPS_PROGRESS)
		return;
	d->told = true;
	memmove(d->last + 1, d->last, sizeof(d->last) - sizeof(d->last[0]));
	d->n_last += d->n_last < LAST_MAX;
	d->last[0] = (struct last_dump){ .news = news, .realtime_ns = clock_now().realtime_ns };
	snprintf(d->last[0].bundle, sizeof(d->last[0].bundle), "%s", text);
	snprintf(d->last[0].trigger, sizeof(d->last[0].trigger), "%s", d->current.kind);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* The process is gone, or given up: no more of it; the one that waits may begin. */
static void forget(struct dumps *d)
{
	loop_remove(d->c->loop, d->watch);
	loop_remove(d->c->loop, d->end);
	loop_remove(d->c->loop, d->limit);
	d->watch = d->end = d->limit = NULL;
	close_fd(&d->fd);
	close_fd(&d->more_fd);
	close_fd(&d->pid_fd);
	d->pid = 0;
}

static void ended(struct dumps *d, const char *how)
{
	struct dump_trigger next = d->waiting;
	char job[sizeof(d->waiting_job)];

	if (!d->tidying && !d->told)
		tell(d, DUMPS_FAILED, how, -1);
	forget(d);
	d->tidying = false;
	d->waiting.kind[0] = '\0';
	memcpy(job, d->waiting_job, sizeof(job));
	if (next.kind[0])
		start_process(d, &next, job[0] ? job : NULL);
}

/* One piece of news; false: there is none. */
static bool receive(struct dumps *d)
{
	char line[MESSAGE_BYTES + 1];
	struct iovec iov = { line, MESSAGE_BYTES };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(d->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	_cleanup_close_ int bundle = -1;
	const struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (n <= 0)
		return false;
	if (head && head->cmsg_type == SCM_RIGHTS)
		memcpy(&bundle, CMSG_DATA(head), sizeof(int));
	line[n] = '\0';
	tell(d, (enum dumps_news)line[0], line + 1, bundle);
	return true;
}

static void on_news(void *ctx, int fd, uint32_t events)
{
	struct dumps *d = ctx;

	(void)fd;
	if (receive(d) || !(events & EPOLLHUP))
		return;
	loop_remove(d->c->loop, d->watch);
	d->watch = NULL;
}

static void on_end(void *ctx, int fd, uint32_t events)
{
	struct dumps *d = ctx;

	(void)fd, (void)events;
	while (receive(d))
		;
	waitpid(d->pid, NULL, WNOHANG);
	ended(d, "the dump process died");
}

static void on_limit(void *ctx, int64_t now_ns)
{
	struct dumps *d = ctx;

	(void)now_ns;
	kill(d->pid, SIGKILL);
	ended(d, "hung");
}

static bool start_process(struct dumps *d, const struct dump_trigger *t, const char *job)
{
	struct error err = { 0 };
	int news[2] = { -1, -1 }, more[2] = { -1, -1 };
	json_t *list = dumps_sources(d->c);
	char *sources_json = json_dumps(list, JSON_COMPACT);
	struct order o = { d->c, t, job, sources_json, t == NULL };

	json_decref(list);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, news) == 0 && pipe2(more, O_CLOEXEC) == 0)
		d->pid = fork();
	else
		d->pid = -1;
	if (d->pid == 0)
		child(&o, news[1], more[0]);
	free(sources_json);
	close_fd(&news[1]);
	close_fd(&more[0]);
	d->fd = news[0];
	d->more_fd = more[1];
	d->pid_fd = d->pid > 0 ? pidfd_open(d->pid, 0) : -1;
	d->told = false;
	d->tidying = !t;
	if (t)
		d->current = *t;
	if (d->pid_fd < 0)
		error_sys(&err, "cannot start a process");
	else if ((d->watch = loop_add_fd(d->c->loop, d->fd, EPOLLIN, on_news, d, &err)) &&
		 (d->end = loop_add_fd(d->c->loop, d->pid_fd, EPOLLIN, on_end, d, &err)) &&
		 (d->limit = loop_add_timer(d->c->loop, GIVE_UP_NS, 0, on_limit, d, &err)))
		return true;
	capture_say(d->c, "dump: %s", err.what);
	forget(d);
	return false;
}

int dumps_open(struct capture *c, struct error *err)
{
	struct dumps *d = calloc(1, sizeof(*d));

	if (!d)
		return error_set(err, ERR_NOMEM, "no memory");
	d->c = c;
	d->fd = d->more_fd = d->pid_fd = -1;
	c->dumps = d;
	start_process(d, NULL, NULL);
	return 0;
}

/* A dump that runs goes on without us. */
void dumps_close(struct capture *c)
{
	struct dumps *d = c->dumps;

	c->dumps = NULL;
	if (!d)
		return;
	forget(d);
	free(d);
}

bool dumps_start_job(struct capture *c, const char *trigger, const char *reason, const char *job, int32_t pid,
		     int32_t rank)
{
	struct dumps *d = c->dumps;
	struct dump_trigger t = { .pid = pid, .rank = rank, .realtime_ns = clock_now().realtime_ns };

	if (!d)
		return false;
	snprintf(t.kind, sizeof(t.kind), "%s", trigger);
	snprintf(t.reason, sizeof(t.reason), "%s", reason ? reason : "");
	if (d->pid == 0)
		return start_process(d, &t, job);
	if (d->tidying || d->told) {	/* too late for this one: the next */
		if (!d->waiting.kind[0]) {
			d->waiting = t;
			snprintf(d->waiting_job, sizeof(d->waiting_job), "%s", job ? job : "");
		}
		return true;
	}
	return write(d->more_fd, &t, sizeof(t)) == sizeof(t);
}

bool dumps_start(struct capture *c, const char *trigger, const char *reason, int32_t pid, int32_t rank)
{
	return dumps_start_job(c, trigger, reason, NULL, pid, rank);
}

void dumps_listen(struct capture *c, dumps_listener *fn, void *ctx)
{
	if (!c->dumps)
		return;
	c->dumps->listener = fn;
	c->dumps->listener_ctx = ctx;
}

json_t *dumps_sources(const struct capture *c)
{
	json_t *list = json_array();

	for (size_t i = 0; c->status && sources[i]; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", sources[i]->name, "state",
						      source_state_name(c->status[i].state), "reason", c->status[i].reason));
	return list;
}

json_t *dumps_status(const struct capture *c)
{
	const struct dumps *d = c->dumps;
	json_t *last = json_array();

	for (size_t i = 0; d && i < d->n_last; i++) {
		const struct last_dump *l = &d->last[i];

		json_array_append_new(last, json_pack("{s:s, s:s, s:s, s:I}", "bundle", l->bundle, "trigger", l->trigger, "state",
						      l->news == DUMPS_DONE ? "ok" : l->news == DUMPS_FAILED ? "failed" : "incomplete",
						      "time", (json_int_t)l->realtime_ns));
	}
	return json_pack("{s:s?, s:o}", "running", d && d->pid && !d->tidying ? d->current.kind : NULL, "last", last);
}
