/*
 * probe_cost - a process of a job that does nothing but call NCCL, or send itself signals.
 *
 *     probe_cost LIBRARY [--empty] [--signals] [--rate N --seconds S | --calls N]
 *
 * Prints "pid P", waits for a line, then calls ncclAllReduce on a communicator of
 * one rank (or kill(self, SIGCONT)): --calls times as fast as it can, or --rate a
 * second.  Prints "calls N ns X": X is the CPU time of a call, at a rate its share of the clock.  With --empty it first
 * puts a uprobe with an empty BPF program on the function: what any probe costs.
 */
#include <dlfcn.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "capture/sources/elf_sites.h"
#include "tests/live/fake_nccl.h"

struct work {
	const char *library;
	bool empty, signals;
	uint64_t calls, rate, seconds;
	ncclComm_t comm;
	__typeof__(ncclAllReduce) *all_reduce;
};

static int64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A BPF program "return 0" on the function, through the uprobe PMU. */
static int attach_empty(const char *library)
{
	static const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	const char *name = "ncclAllReduce";
	struct perf_event_attr attr = { .size = sizeof(attr) };
	struct error err = { 0 };
	struct elf_site site;
	int program, event;
	FILE *f = fopen("/sys/bus/event_source/devices/uprobe/type", "r");

	if (!f || fscanf(f, "%u", &attr.type) != 1 || elf_sites_find(library, &name, 1, &site, &err) != 1)
		return -1;
	fclose(f);
	attr.config1 = (uint64_t)(uintptr_t)library;
	attr.config2 = site.offset;
	program = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "empty", "GPL", nothing, 2, NULL);
	event = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (program < 0 || event < 0 || ioctl(event, PERF_EVENT_IOC_SET_BPF, program))
		return -1;
	return ioctl(event, PERF_EVENT_IOC_ENABLE, 0);
}

static int begin(struct work *w)
{
	void *lib = dlopen(w->library, RTLD_NOW);
	__typeof__(ncclCommInitRank) *init = lib ? (__typeof__(init))dlsym(lib, "ncclCommInitRank") : NULL;
	ncclUniqueId id = { { 0 } };

	if (!init || !(w->all_reduce = (__typeof__(w->all_reduce))dlsym(lib, "ncclAllReduce")))
		return -1;
	if (w->empty && attach_empty(w->library))
		return -1;
	printf("pid %d\n", getpid());
	fflush(stdout);
	if (getchar() == EOF)
		return -1;
	memcpy(id.internal, &(pid_t){ getpid() }, sizeof(pid_t));
	return init(&w->comm, 1, id, 0) == ncclSuccess ? 0 : -1;
}

static void call(const struct work *w, uint64_t n)
{
	static float buffer[4];

	for (uint64_t i = 0; i < n; i++) {
		if (w->signals)
			kill(getpid(), SIGCONT);
		else
			w->all_reduce(buffer, buffer, 4, ncclFloat32, ncclSum, w->comm, NULL);
	}
}

/* In portions of a millisecond; a late one is made up for. */
static uint64_t call_at_rate(const struct work *w)
{
	int64_t start = now_ns(CLOCK_MONOTONIC);
	uint64_t done = 0, all = w->rate * w->seconds;

	while (done < all) {
		uint64_t due = (uint64_t)(now_ns(CLOCK_MONOTONIC) - start) * w->rate / 1000000000;

		due = due < all ? due : all;
		call(w, due - done);
		done = due;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return done;
}

int main(int argc, char **argv)
{
	struct work w = { .library = argc > 1 ? argv[1] : "", .calls = 200000 };
	clockid_t clock;
	int64_t start;

	for (int i = 2; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "0";

		w.empty = w.empty || !strcmp(argv[i], "--empty");
		w.signals = w.signals || !strcmp(argv[i], "--signals");
		if (!strcmp(argv[i], "--rate"))
			w.rate = strtoull(value, NULL, 10);
		if (!strcmp(argv[i], "--seconds"))
			w.seconds = strtoull(value, NULL, 10);
		if (!strcmp(argv[i], "--calls"))
			w.calls = strtoull(value, NULL, 10);
	}
	if (begin(&w)) {
		fprintf(stderr, "probe_cost: cannot set up\n");
		return EXIT_FAILURE;
	}
	clock = w.rate ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID;
	start = now_ns(clock);
	if (w.rate)
		w.calls = call_at_rate(&w);
	else
		call(&w, w.calls);
	printf("calls %llu ns %.1f\n", (unsigned long long)w.calls, (double)(now_ns(clock) - start) / (double)w.calls);
	return EXIT_SUCCESS;
}
