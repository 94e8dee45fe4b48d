#include "capture/sources/process_exit.h"

#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

/* <linux/pidfd.h> of 6.15, which older headers lack: struct pidfd_info and its request. */
#define PIDFD_EXIT_MASK (1ull << 3)
struct pidfd_info_6_15 {
	uint64_t mask, cgroupid;
	uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	int32_t exit_code;
};
#define PIDFD_GET_INFO_6_15 _IOWR(0xFF, 11, struct pidfd_info_6_15)

int32_t process_exit_code(int pidfd)
{
	struct pidfd_info_6_15 info = { .mask = PIDFD_EXIT_MASK };

	if (pidfd < 0 || ioctl(pidfd, PIDFD_GET_INFO_6_15, &info) < 0 || !(info.mask & PIDFD_EXIT_MASK))
		return -1;
	return info.exit_code;
}

void process_exit_record(struct capture *c, const struct tracked *t, int32_t exit_code)
{
	struct record_task_exit r = {
		.pid = t->p.pid, .ppid = t->p.ppid, .exit_code = (uint32_t)exit_code, .rank = t->p.rank, .uid = t->p.uid,
		.is_tracked = t->p.is_rank ? 1 : 2, .start_ns = t->p.start_ns, .cgroup_id = t->p.cgroup_id,
	};

	if (exit_code < 0)
		return;
	memcpy(r.comm, t->p.comm, sizeof(r.comm));
	ring_put(c->ring, STREAM_BPF, REC_TASK_EXIT, loop_now(), &r, sizeof(r), NULL, 0);
	if (!t->p.is_rank)
		return;
	if (WIFSIGNALED(exit_code))
		trigger_raise(c, "exit", (int32_t)t->p.pid, t->p.rank, "process %u (%.16s) was ended by signal %d", t->p.pid,
			      t->p.comm, WTERMSIG(exit_code));
	else if (WEXITSTATUS(exit_code))
		trigger_raise(c, "exit", (int32_t)t->p.pid, t->p.rank, "process %u (%.16s) exited with code %d", t->p.pid,
			      t->p.comm, WEXITSTATUS(exit_code));
}
