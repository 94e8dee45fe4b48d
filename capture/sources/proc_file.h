/* proc_file - what /proc/PID says, read and taken apart.  Stat, status and wchan take no lock that a hung process holds. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_stat {
	char comm[16];			/* NUL-terminated */
	char state;
	uint32_t ppid;
	uint32_t threads;
	int32_t tty;			/* controlling terminal; 0: none */
	bool is_kernel_thread;
	uint64_t major_faults;
	uint64_t user_ms, system_ms;
	uint64_t start_ns;		/* CLOCK_BOOTTIME, to the clock tick */
	uint64_t rss_kib;
	uint64_t env_start;		/* address: changes with every exec; 0: not allowed to see it */
	int32_t exit_code;		/* as wait(2) encodes it; of a zombie that we are allowed to see */
};

/* Open /proc/PID/NAME for reading; -1 with errno. */
int proc_open(uint32_t pid, const char *name);
/* Up to size - 1 bytes from the start, and a NUL; -1 with errno.  A process that ended yields ESRCH. */
ssize_t proc_pread(int fd, char *buf, size_t size);
/* Both at once. */
ssize_t proc_read(uint32_t pid, const char *name, char *buf, size_t size);

bool proc_stat_parse(const char *text, struct proc_stat *ret);
bool proc_stat_read(uint32_t pid, struct proc_stat *ret);
/* The number behind "\nKey:" in the text of a status file; the last one of its line with `last`. */
bool proc_status_number(const char *text, const char *key, bool last, uint64_t *ret);
