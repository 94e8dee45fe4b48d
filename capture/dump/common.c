#include "capture/dump/common.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "bundle/digest.h"
#include "capture/scrub.h"

static bool reserve(struct dump_text *t, size_t more)
{
	size_t cap = t->cap ? t->cap : 4096;
	char *s;

	if (t->len + more + 1 <= t->cap)
		return true;
	while (cap < t->len + more + 1)
		cap *= 2;
	s = realloc(t->s, cap);
	if (!s)
		return false;
	t->s = s;
	t->cap = cap;
	return true;
}

void dump_text_append(struct dump_text *t, const void *data, size_t len)
{
	if (!reserve(t, len))
		return;
	memcpy(t->s + t->len, data, len);
	t->len += len;
	t->s[t->len] = '\0';
}

void dump_text_add(struct dump_text *t, const char *fmt, ...)
{
	char line[4096];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n > 0)
		dump_text_append(t, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

void dump_text_free(struct dump_text *t)
{
	free(t->s);
	*t = (struct dump_text){ 0 };
}

bool dump_send_text(struct worker_link *l, const char *name, struct dump_text *t)
{
	uint64_t masked = t->len ? scrub_text(t->s, t->len) : 0;
	int fd = worker_memfd(name);

	if (fd < 0)
		return false;
	for (size_t at = 0; at < t->len;) {
		ssize_t n = write(fd, t->s + at, t->len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	if (masked)
		worker_own(l, DUMP_OWN_MASKED, &masked, sizeof(masked));
	lseek(fd, 0, SEEK_SET);
	worker_member(l, name, fd);
	return true;
}

void dump_note(struct worker_link *l, const char *fmt, ...)
{
	char line[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	worker_own(l, DUMP_OWN_NOTE, line, strlen(line));
}

int dump_read_file(const char *path, size_t max, struct dump_text *t)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	size_t got = 0;

	if (fd < 0)
		return -1;
	while (got < max) {
		size_t want = max - got < 65536 ? max - got : 65536;
		ssize_t n;

		if (!reserve(t, want))
			return errno = ENOMEM, -1;
		n = read(fd, t->s + t->len, want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return got ? 0 : -1;
		if (n == 0)
			break;
		t->len += (size_t)n;
		got += (size_t)n;
	}
	if (reserve(t, 0))
		t->s[t->len] = '\0';
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static _Noreturn void become(const char *const argv[], int out, bool both)
{
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(both ? out : null, STDERR_FILENO);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

int dump_command(const char *const argv[], unsigned timeout_ms, bool both, struct dump_text *t, struct error *err)
{
	int64_t until = now_ms() + timeout_ms;
	int pipe_fds[2], status;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC))
		return error_sys(err, "cannot make a pipe");
	pid = fork();
	if (pid == 0)
		become(argv, pipe_fds[1], both);
	close(pipe_fds[1]);
	while (pid > 0 && t->len < DUMP_TEXT_MAX) {
		struct pollfd p = { pipe_fds[0], POLLIN, 0 };
		int64_t left = until - now_ms();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) == 0 || !reserve(t, 65536)) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, WNOHANG);
			close(pipe_fds[0]);
			return error_set(err, ERR_LIMIT, "%s does not end within %u ms", argv[0], timeout_ms);
		}
		n = read(pipe_fds[0], t->s + t->len, 65536);
		if (n == 0 || (n < 0 && errno != EINTR))
			break;
		t->len += n > 0 ? (size_t)n : 0;
		t->s[t->len] = '\0';
	}
	close(pipe_fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return error_sys(err, "cannot run %s", argv[0]);
	return status;
}

bool dump_has_command(const char *name)
{
	const char *path = getenv("PATH");

	for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
		size_t n = strcspn(p, ":");
		char full[PATH_MAX];

		snprintf(full, sizeof(full), "%.*s/%s", (int)n, p, name);
		if (access(full, X_OK) == 0)
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

const char *dump_env(const struct dump_text *env, const char *name)
{
	size_t n = strlen(name);

	for (size_t at = 0; at < env->len;) {
		const char *p = env->s + at;

		if (strncmp(p, name, n) == 0 && p[n] == '=')
			return p + n + 1;
		at += strlen(p) + 1;
	}
	return NULL;
}

int dump_read_environ(uint32_t pid, struct dump_text *env)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/environ", pid);
	return dump_read_file(path, (size_t)1 << 20, env);
}

void dump_path_of(uint32_t pid, const char *path, char *buf, size_t size)
{
	if (path[0] == '/')
		snprintf(buf, size, "/proc/%u/root%s", pid, path);
	else
		snprintf(buf, size, "/proc/%u/cwd/%s", pid, path);
}

void dump_flat_name(const char *path, char *buf, size_t size)
{
	const size_t most = size - 1 < 255 ? size - 1 : 255;	/* of a file name */
	char flat[3 * PATH_MAX], hex[DIGEST_HEX];
	size_t w = 0;

	for (const char *p = path; *p && w + 4 < sizeof(flat); p++) {
		if (*p == '/' || *p == '%')
			w += (size_t)snprintf(flat + w, 4, *p == '/' ? "%%2F" : "%%25");
		else
			flat[w++] = *p;
	}
	flat[w] = '\0';
	if (w <= most) {
		snprintf(buf, size, "%s", flat);
		return;
	}
	digest_hex(path, strlen(path), hex);
	snprintf(buf, size, "%.8s~%s", hex, flat + w - (most - 9));
}

void dump_plain_name(char *s)
{
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("._-", *s))
			*s = '_';
}
