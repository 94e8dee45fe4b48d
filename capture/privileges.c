#include "capture/privileges.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "bundle/cleanup.h"
#include "capture/capture.h"
#include "capture/sources/proc_file.h"

#define OOM_SCORE_ADJ "-900"
#define DESCRIPTORS 32768u
#define INITIAL_PID_NAMESPACE 0xEFFFFFFCu	/* inode number of the host's, the same on every kernel */

/* linux/capability.h of older distributions ends before these. */
#define CAP_PERFMON_BIT 38
#define CAP_BPF_BIT 39

static const struct {
	unsigned bit;
	const char *name, *without;
} wanted[] = {
	{ CAP_BPF_BIT, "CAP_BPF", "no eBPF: exits, signals, OOM kills, blocked tasks, TCP trouble and NCCL calls are not seen" },
	{ CAP_PERFMON_BIT, "CAP_PERFMON", "no eBPF: exits, signals, OOM kills, blocked tasks, TCP trouble and NCCL calls are not seen" },
	{ CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "ranks of other users are not recognised, and their stacks not read" },
	{ CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "logs and flight-recorder dumps of other users may not be readable" },
	{ CAP_SYSLOG, "CAP_SYSLOG", "the kernel log may not be readable" },
	{ CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE", "the daemon is not protected from the OOM killer" },
};

static uint64_t effective(void)
{
	char text[4096];
	const char *at;

	if (proc_read((uint32_t)getpid(), "status", text, sizeof(text)) <= 0)
		return 0;
	at = strstr(text, "\nCapEff:");
	return at ? strtoull(at + 8, NULL, 16) : 0;
}

static void protect_from_oom(const struct capture *c)
{
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, OOM_SCORE_ADJ, strlen(OOM_SCORE_ADJ)) < 0)
		capture_say(c, "cannot set oom_score_adj to " OOM_SCORE_ADJ ": the OOM killer may choose the daemon");
}

/* A few per tracked process. */
static void raise_descriptors(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur >= DESCRIPTORS)
		return;
	l.rlim_cur = l.rlim_max < DESCRIPTORS ? l.rlim_max : DESCRIPTORS;
	setrlimit(RLIMIT_NOFILE, &l);
}

static void check_namespace(const struct capture *c)
{
	struct stat st;

	if (stat("/proc/self/ns/pid", &st) == 0 && st.st_ino != INITIAL_PID_NAMESPACE)
		capture_say(c, "runs in a pid namespace of its own: only its processes are seen, and what eBPF tells names "
			       "others; give it the host's (hostPID: true, --pid=host)");
}

void privileges_prepare(const struct capture *c)
{
	uint64_t have = effective();

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!(have >> wanted[i].bit & 1) && !(wanted[i].bit >= CAP_PERFMON_BIT && have >> CAP_SYS_ADMIN & 1))
			capture_say(c, "without %s: %s", wanted[i].name, wanted[i].without);
	protect_from_oom(c);
	raise_descriptors();
	check_namespace(c);
}
