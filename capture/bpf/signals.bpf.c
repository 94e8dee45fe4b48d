/* signals - who sent which of the signals that end, stop or warn a process to whom. */
#include <asm/signal.h>

#include "capture/bpf/probe.h"

#define BIT(sig) (1ull << (sig))

static const __u64 followed = BIT(SIGHUP) | BIT(SIGINT) | BIT(SIGQUIT) | BIT(SIGILL) | BIT(SIGTRAP) | BIT(SIGABRT) |
			      BIT(SIGBUS) | BIT(SIGFPE) | BIT(SIGKILL) | BIT(SIGUSR1) | BIT(SIGSEGV) | BIT(SIGUSR2) |
			      BIT(SIGTERM) | BIT(SIGCONT) | BIT(SIGSTOP) | BIT(SIGTSTP) | BIT(SIGXCPU) | BIT(SIGSYS);

/* The kernel's two senders that are no structure. */
enum { INFO_USER = 0, INFO_KERNEL = 1 };

SEC("tp_btf/signal_generate")
int BPF_PROG(on_signal, int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)
{
	struct task_struct *sender;
	struct record_signal *r;
	struct tracked_value *t;
	__u32 pid;
	int code;

	if (sig < 1 || sig > 63 || !(followed & BIT((__u32)sig)))
		return 0;
	pid = (__u32)BPF_CORE_READ(task, tgid);
	t = tracked_get(pid);
	if (!t)
		return 0;
	if ((__u64)info == INFO_USER)
		code = 0;	/* SI_USER */
	else if ((__u64)info == INFO_KERNEL)
		code = 0x80;	/* SI_KERNEL */
	else
		code = BPF_CORE_READ(info, si_code);
	r = event_begin(REC_SIGNAL, sizeof(*r));
	if (!r)
		return 0;
	__builtin_memset(r, 0, sizeof(*r));
	if (code <= 0) {	/* positive: the kernel itself */
		sender = (struct task_struct *)bpf_get_current_task();
		r->sender_pid = (__u32)BPF_CORE_READ(sender, tgid);
		r->sender_uid = BPF_CORE_READ(sender, cred, uid.val);
		task_comm(sender, r->sender_comm);
	}
	r->target_pid = pid;
	r->target_rank = t->rank;
	r->signal = sig;
	r->code = code;
	r->result = result;
	task_comm(task, r->target_comm);
	event_end(r, sig == SIGTERM);
	return 0;
}
