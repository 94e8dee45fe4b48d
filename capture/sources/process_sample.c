#include "capture/sources/process_sample.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture/sources/proc_file.h"

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void process_files_close(struct process_files *f)
{
	close_one(&f->stat);
	close_one(&f->status);
	close_one(&f->wchan);
}

static ssize_t read_kept(int *fd, uint32_t pid, const char *name, char *buf, size_t size)
{
	if (*fd < 0)
		*fd = proc_open(pid, name);
	return *fd < 0 ? -1 : proc_pread(*fd, buf, size);
}

/* The size of /proc/PID/fd is their number, since Linux 6.2; 0 before. */
static uint32_t count_fds(uint32_t pid)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%u/fd", pid);
	return stat(path, &st) == 0 && st.st_size > 0 ? (uint32_t)st.st_size : UINT32_MAX;
}

static void take_switches(const char *status, struct record_process_sample *ret)
{
	uint64_t n;

	if (proc_status_number(status, "voluntary_ctxt_switches", false, &n))
		ret->voluntary_switches = n;
	if (proc_status_number(status, "nonvoluntary_ctxt_switches", false, &n))
		ret->involuntary_switches = n;
}

enum process_life process_sample(uint32_t pid, uint64_t start_ns, struct process_files *f, bool keep,
				 struct record_process_sample *ret, int32_t *exit_code_ret)
{
	struct proc_stat st;
	char text[4096];

	*exit_code_ret = -1;
	if (read_kept(&f->stat, pid, "stat", text, sizeof(text)) <= 0 || !proc_stat_parse(text, &st) ||
	    st.start_ns != start_ns)
		return PROCESS_ENDED;
	if (st.state == 'Z' || st.state == 'X') {
		*exit_code_ret = st.exit_code || geteuid() == 0 ? st.exit_code : -1;	/* 0 is also what the unprivileged see */
		return PROCESS_ZOMBIE;
	}
	*ret = (struct record_process_sample){
		.pid = pid, .cpu_user_ms = st.user_ms, .cpu_system_ms = st.system_ms, .rss_kib = st.rss_kib,
		.threads = st.threads, .state = (uint32_t)st.state, .major_faults = st.major_faults, .fds = count_fds(pid),
		.signal_stopped = st.state == 'T' || st.state == 't',
	};
	if (read_kept(&f->status, pid, "status", text, sizeof(text)) > 0)
		take_switches(text, ret);
	if (st.state != 'R' && read_kept(&f->wchan, pid, "wchan", text, sizeof(ret->wchan)) > 0 && strcmp(text, "0"))
		memcpy(ret->wchan, text, strnlen(text, sizeof(ret->wchan) - 1));
	if (!keep)
		process_files_close(f);
	return PROCESS_LIVES;
}
