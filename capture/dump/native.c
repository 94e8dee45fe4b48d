#include "capture/dump/native.h"

#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRAMES_MAX 96
#define STOP_MS 200

struct native {
	pid_t pid;
	Dwfl *dwfl;
};

struct walk {
	struct native *n;
	struct dump_text *t;
	unsigned frames;
};

/* A file of the process, in the process's mount namespace; the vDSO is read from its memory. */
static int find_elf(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base, char **file_name, Elf **elf)
{
	char path[PATH_MAX];

	if (name[0] != '/' || !*userdata)
		return dwfl_linux_proc_find_elf(mod, userdata, name, base, file_name, elf);
	dump_path_of((uint32_t)(uintptr_t)*userdata, name, path, sizeof(path));
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* No debug information is looked for, on disk or elsewhere: symbol and unwind tables do. */
static int find_debuginfo(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base, const char *file_name,
			  const char *link, GElf_Word crc, char **debug_name)
{
	(void)mod, (void)userdata, (void)name, (void)base, (void)file_name, (void)link, (void)crc, (void)debug_name;
	return -1;
}

static int name_process(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr start, void *arg)
{
	const struct native *n = arg;

	(void)mod, (void)name, (void)start;
	*userdata = (void *)(uintptr_t)n->pid;
	return DWARF_CB_OK;
}

struct native *native_open(pid_t pid)
{
	static const Dwfl_Callbacks callbacks = { .find_elf = find_elf, .find_debuginfo = find_debuginfo };
	struct native *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->pid = pid;
	n->dwfl = dwfl_begin(&callbacks);
	if (n->dwfl && dwfl_linux_proc_report(n->dwfl, pid) == 0 && dwfl_report_end(n->dwfl, NULL, NULL) == 0 &&
	    dwfl_getmodules(n->dwfl, name_process, n, 0) == 0 && dwfl_linux_proc_attach(n->dwfl, pid, true) == 0)
		return n;
	native_close(n);
	return NULL;
}

void native_close(struct native *n)
{
	if (n && n->dwfl)
		dwfl_end(n->dwfl);
	free(n);
}

static int add_frame(Dwfl_Frame *frame, void *arg)
{
	struct walk *w = arg;
	bool exact = false;
	Dwarf_Addr pc;
	Dwfl_Module *mod;
	const char *symbol, *file;

	if (!dwfl_frame_pc(frame, &pc, &exact))
		return DWARF_CB_ABORT;
	mod = dwfl_addrmodule(w->n->dwfl, exact ? pc : pc - 1);
	symbol = mod ? dwfl_module_addrname(mod, exact ? pc : pc - 1) : NULL;
	file = mod ? dwfl_module_info(mod, NULL, NULL, NULL, NULL, NULL, NULL, NULL) : NULL;
	dump_text_add(w->t, "#%-2u 0x%016llx in %.300s () from %.300s\n", w->frames, (unsigned long long)pc,
		      symbol ? symbol : "??", file ? file : "??");
	return ++w->frames < FRAMES_MAX ? DWARF_CB_OK : DWARF_CB_ABORT;
}

/* Wait for the stop, not longer than STOP_MS. */
static bool stopped(pid_t tid)
{
	for (int ms = 0; ms < STOP_MS; ms++) {
		int status;
		pid_t got = waitpid(tid, &status, __WALL | WNOHANG);

		if (got == tid)
			return WIFSTOPPED(status);
		if (got < 0 && errno != EINTR)
			return false;
		usleep(1000);
	}
	return false;
}

bool native_thread(struct native *n, pid_t tid, struct dump_text *t, const char **why)
{
	struct walk w = { .n = n, .t = t };

	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL)) {
		*why = strerror(errno);
		return false;
	}
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) || !stopped(tid)) {
		*why = "it does not stop";	/* it runs on, unhindered, when this process ends */
		return false;
	}
	dwfl_getthread_frames(n->dwfl, tid, add_frame, &w);
	ptrace(PTRACE_DETACH, tid, NULL, NULL);
	*why = "no frame could be read";
	return w.frames > 0;
}
