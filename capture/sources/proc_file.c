#include "capture/sources/proc_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bundle/cleanup.h"

#define FLAG_KERNEL_THREAD 0x00200000	/* PF_KTHREAD */

/* Fields of /proc/PID/stat, counted from 1 as proc(5) does. */
enum {
	STATE = 3, PPID = 4, TTY = 7, FLAGS = 9, MAJOR_FAULTS = 12, USER = 14, SYSTEM = 15, THREADS = 20, START = 22,
	RSS = 24, ENV_START = 50, EXIT_CODE = 52, FIELDS
};

int proc_open(uint32_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/%s", pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

ssize_t proc_pread(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	do {
		n = pread(fd, buf + len, size - 1 - len, (off_t)len);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0 && len < size - 1);
	if (n < 0 && !len)
		return -1;
	buf[len] = '\0';
	return (ssize_t)len;
}

ssize_t proc_read(uint32_t pid, const char *name, char *buf, size_t size)
{
	_cleanup_close_ int fd = proc_open(pid, name);

	return fd < 0 ? -1 : proc_pread(fd, buf, size);
}

static uint64_t ticks_ms(uint64_t ticks) { return ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK); }

bool proc_stat_parse(const char *text, struct proc_stat *ret)
{
	const char *open = strchr(text, '('), *close = strrchr(text, ')');	/* the name may hold both */
	uint64_t field[FIELDS] = { 0 };
	size_t n = PPID;
	char *at;

	if (!open || !close || close < open || close[1] != ' ' || !close[2] || close[3] != ' ')
		return false;
	*ret = (struct proc_stat){ .state = close[2] };
	snprintf(ret->comm, sizeof(ret->comm), "%.*s", (int)(close - open - 1), open + 1);
	for (const char *s = close + 3; n < FIELDS; s = at, n++) {
		field[n] = *s == ' ' && s[1] == '-' ? (uint64_t)strtoll(s, &at, 10) : strtoull(s, &at, 10);
		if (at == s)
			break;
	}
	if (n <= RSS)
		return false;
	ret->ppid = (uint32_t)field[PPID];
	ret->threads = (uint32_t)field[THREADS];
	ret->tty = (int32_t)field[TTY];
	ret->is_kernel_thread = field[FLAGS] & FLAG_KERNEL_THREAD;
	ret->major_faults = field[MAJOR_FAULTS];
	ret->user_ms = ticks_ms(field[USER]);
	ret->system_ms = ticks_ms(field[SYSTEM]);
	ret->start_ns = field[START] * (1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK));
	ret->rss_kib = field[RSS] * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
	ret->env_start = field[ENV_START];
	ret->exit_code = (int32_t)field[EXIT_CODE];
	return true;
}

bool proc_stat_read(uint32_t pid, struct proc_stat *ret)
{
	char text[1024];

	return proc_read(pid, "stat", text, sizeof(text)) > 0 && proc_stat_parse(text, ret);
}

bool proc_status_number(const char *text, const char *key, bool last, uint64_t *ret)
{
	size_t len = strlen(key);
	const char *s = text;
	char *end;

	while (s && (strncmp(s, key, len) || s[len] != ':')) {
		s = strchr(s, '\n');
		s = s ? s + 1 : NULL;
	}
	if (!s)
		return false;
	s += len + 1;
	*ret = strtoull(s, &end, 10);
	if (end == s)
		return false;
	while (last && (*end == '\t' || *end == ' ')) {
		char *next;
		uint64_t value = strtoull(end, &next, 10);

		if (next == end)
			break;
		*ret = value;
		end = next;
	}
	return true;
}
