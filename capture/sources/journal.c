#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/scrub.h"
#include "capture/sources/sources.h"

/*
 * What the host's services say, where journald keeps it: read through journalctl, as
 * text, into the logs stream under the name "journal".  The kernel's lines come from
 * /dev/kmsg.
 */
#define CHUNK_BYTES (32u << 10)
#define ALIVE_MS 2000
#define BUDGET_NS (30 * NS_PER_S)
#define JOURNAL_FILE 0x6a000000u	/* number of the pseudo file; real ones count from 1 */
#define RESTATE_NS (60 * NS_PER_S)

static const char *const command[] = {
	"journalctl", "--follow", "--lines=0", "--quiet", "--no-pager", "--output=short-iso-precise",
	"--unit=slurmd*", "--unit=kubelet*", "--unit=containerd*", "--unit=docker*", "--unit=nvidia-*", "--unit=systemd-oomd*",
	"--unit=systemd-logind*", "--unit=lustre*", "--unit=gpfs*", "--unit=rdma*", "--unit=opensm*", NULL,
};

/* `complaints`: a file for what it says on standard error. */
static int run_journalctl(pid_t *pid_ret, int complaints)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return -1;
	*pid_ret = fork();
	if (*pid_ret == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fds[1], STDOUT_FILENO);
		dup2(complaints, STDERR_FILENO);
		execvp(command[0], (char *const *)(uintptr_t)command);
		_exit(127);
	}
	close(fds[1]);
	if (*pid_ret < 0) {
		close(fds[0]);
		return -1;
	}
	return fds[0];
}

struct state {
	struct worker_link *link;
	uint64_t offset;
	int64_t stated_ns;
	size_t have;
	char buf[CHUNK_BYTES];
};

static void send(struct state *s, size_t n)
{
	static const char name[] = "journal";
	int64_t now = loop_now();
	struct record_log_file file = { .file = JOURNAL_FILE, .rank = -1 };
	struct record_log_bytes bytes = { .file = JOURNAL_FILE, .offset = s->offset };

	if (!s->stated_ns || now - s->stated_ns > RESTATE_NS) {
		worker_record(s->link, STREAM_LOGS, REC_LOG_FILE, now, &file, sizeof(file), name, strlen(name));
		s->stated_ns = now;
	}
	bytes.masked = (uint32_t)scrub_text(s->buf, n);
	worker_record(s->link, STREAM_LOGS, REC_LOG_BYTES, now, &bytes, sizeof(bytes), s->buf, n);
	s->offset += n;
	s->have -= n;
	memmove(s->buf, s->buf + n, s->have);
}

/* Whole lines; one longer than the buffer is cut. */
static bool read_lines(struct state *s, int fd)
{
	ssize_t n = read(fd, s->buf + s->have, sizeof(s->buf) - s->have);
	const char *nl;

	if (n <= 0)
		return n < 0 && errno == EINTR;
	s->have += (size_t)n;
	nl = memrchr(s->buf, '\n', s->have);
	if (nl)
		send(s, (size_t)(nl - s->buf) + 1);
	else if (s->have == sizeof(s->buf))
		send(s, s->have);
	return true;
}

/* Its status, and the first line of what it complained of. */
static void tell_end(struct worker_link *l, pid_t pid, int complaints)
{
	char why[120] = "";
	int status = 0;

	waitpid(pid, &status, 0);
	if (pread(complaints, why, sizeof(why) - 1, 0) > 0)
		why[strcspn(why, "\n")] = '\0';
	worker_state(l, SOURCE_FAILED, "journalctl ended with status %d%s%s", WIFEXITED(status) ? WEXITSTATUS(status) : -1, *why ? ": " : "", why);
}

static void worker(struct worker_link *l, void *ctx)
{
	_cleanup_free_ struct state *s = calloc(1, sizeof(*s));
	_cleanup_close_ int complaints = worker_memfd("journalctl");
	_cleanup_close_ int fd = -1;
	pid_t pid = 0;

	(void)ctx;
	fd = s ? run_journalctl(&pid, complaints) : -1;
	if (fd < 0)
		return;
	s->link = l;
	for (bool goes_on = true; goes_on;) {
		struct pollfd fds[] = { { fd, POLLIN, 0 }, { l->fd, POLLIN, 0 } };

		poll(fds, 2, ALIVE_MS);
		if (fds[1].revents) {	/* nobody asks anything: the daemon is gone */
			kill(pid, SIGKILL);
			return;
		}
		if (fds[0].revents)
			goes_on = read_lines(s, fd);
		worker_alive(l);
	}
	tell_end(l, pid, complaints);
}

static int start(struct capture *c, void **ret, struct error *err)
{
	if (access("/run/log/journal", F_OK) && access("/var/log/journal", F_OK)) {
		errno = ENOENT;
		return error_sys(err, "no journal on this host");
	}
	if (access("/usr/bin/journalctl", X_OK) && access("/bin/journalctl", X_OK)) {
		errno = ENOENT;
		return error_sys(err, "there is no journalctl");
	}
	*ret = capture_attach_worker(c, "journal", worker, NULL, BUDGET_NS, NULL, NULL, err);
	return *ret ? 0 : -1;
}

static void stop(struct capture *c, void *data) { capture_detach_worker(c, data); }

const struct source source_journal = {
	.name = "journal", .what = "what the host's services tell journald", .start = start, .stop = stop,
};
