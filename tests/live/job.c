/*
 * job - a small training job to be watched: N processes, a loop of all_reduces, logs,
 * flight-recorder dumps, and ranks that misbehave when told to.  A test program.
 *
 *     job [options] DIR
 *
 * Without RANK in the environment it is the launcher: it starts --ranks copies of
 * itself with RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR and
 * TORCHELASTIC_RUN_ID set, waits, and when one fails ends the others (SIGTERM, two
 * seconds later SIGKILL) and exits 1, as torchrun does.  With RANK it is that rank
 * of a job whose other ranks somebody else starts with the same DIR.
 *
 * DIR (made) holds rank-<r>.log, pids (one "rank pid" a line) and nccl_id, by which ranks find
 * each other.  Dumps go to $TORCH_FR_DUMP_TEMP_FILE<r> (default DIR/trace_<r>):
 *   - when somebody writes to the pipe $TORCH_NCCL_DEBUG_INFO_PIPE_FILE<r>.pipe, if that is set;
 *   - when a collective is --timeout seconds old; then, after a line like PyTorch's watchdog's, abort().
 *
 *   --ranks N       ranks to launch (2)
 *   --steps N       then finish in order, 0: never (0)
 *   --step-ms N     compute time of a step (50)
 *   --count N       elements of the all_reduce (1048576)
 *   --timeout S     age of a collective at which the watchdog dumps and aborts; 0: never (0)
 *   --no-abort      the watchdog only dumps
 *   --keep          the launcher does not end the others when one fails
 *   --variable NAME the environment of a launched rank holds its number as NAME, too
 *   --await FILE    the ranks begin when there is such a file
 *   --split         also: odd and even ranks in groups of their own, one all_gather there a step
 *
 * One rank, one step (R@S): from that step on rank R
 *   --spin R@S      computes for ever, outside NCCL
 *   --blocked R@S   sleeps uninterruptibly (D): the parent of a vfork whose child sleeps
 *   --sleep R@S     sleeps, interruptibly
 *   --mismatch R@S  enters the all_reduce with one element more
 *   --alloc R@S     allocates and touches 8 MiB every 10 ms, until it is killed
 *   --exit R@S:C    exits with code C, behind a traceback in its log
 *   --segv R@S      writes to address 0
 *   --fill R@S      logs until the disk is full, then fails with that error
 *   --straggle R@S  takes ten times as long for each step
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fake_nccl.h"
#include "flight_writer.h"

#define ENTRIES 64
#define RANKS_MAX 64

enum fault { FAULT_NONE, FAULT_SPIN, FAULT_BLOCKED, FAULT_SLEEP, FAULT_MISMATCH, FAULT_ALLOC, FAULT_EXIT, FAULT_SEGV,
	     FAULT_FILL, FAULT_STRAGGLE, FAULT_MAX };

struct options {
	const char *dir, *variable, *await;
	int ranks, steps, step_ms, timeout_s;
	uint64_t count;
	int no_abort, keep, split;
	struct { int rank, step, code; } fault[FAULT_MAX];	/* rank -1: not */
};

struct job {
	struct options opt;
	int rank, size;
	FILE *log;
	ncclComm_t comm, half;
	pthread_mutex_t lock;		/* guards what follows */
	struct flight_entry entry[ENTRIES];	/* by record id */
	uint64_t n;
};

static int64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void sleep_ms(int ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

/* ---- the log ---- */

__attribute__((format(printf, 3, 4)))
static int say(struct job *j, const char *level, const char *fmt, ...)
{
	char when[32];
	int64_t now = now_ns(CLOCK_REALTIME);
	time_t s = (time_t)(now / 1000000000);
	struct tm tm;
	va_list ap;

	gmtime_r(&s, &tm);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	fprintf(j->log, "%s,%03d - %s - [rank%d]: ", when, (int)(now / 1000000 % 1000), level, j->rank);
	va_start(ap, fmt);
	vfprintf(j->log, fmt, ap);
	va_end(ap);
	fputc('\n', j->log);
	return fflush(j->log);
}

/* ---- the flight recorder ---- */

static uint64_t entry_begin(struct job *j, const char *name, uint64_t elements)
{
	uint64_t id;

	pthread_mutex_lock(&j->lock);
	id = j->n++;
	j->entry[id % ENTRIES] = (struct flight_entry){
		.record_id = id, .seq = id + 1, .op_id = id + 1, .name = name, .elements = elements,
		.created_ns = now_ns(CLOCK_REALTIME),
	};
	pthread_mutex_unlock(&j->lock);
	return id;
}

static void entry_end(struct job *j, uint64_t id)
{
	pthread_mutex_lock(&j->lock);
	j->entry[id % ENTRIES].completed_ns = now_ns(CLOCK_REALTIME);
	j->entry[id % ENTRIES].retired = true;
	pthread_mutex_unlock(&j->lock);
}

static void dump(struct job *j)
{
	struct flight_entry sorted[ENTRIES];
	struct flight_dump d = {
		.rank = j->rank, .world_size = j->size, .entries = sorted, .function = "train_step", .file = "train.py",
		.line = 128, .timeout_ms = (j->opt.timeout_s ? j->opt.timeout_s : 600) * 1000,
	};
	const char *prefix = getenv("TORCH_FR_DUMP_TEMP_FILE");
	char path[4096];

	pthread_mutex_lock(&j->lock);
	for (uint64_t id = j->n > ENTRIES ? j->n - ENTRIES : 0; id < j->n; id++)
		sorted[d.n++] = j->entry[id % ENTRIES];
	pthread_mutex_unlock(&j->lock);
	for (size_t i = 0; i < d.n; i++) {
		d.last_enqueued = sorted[i].seq;
		if (sorted[i].completed_ns)
			d.last_completed = sorted[i].seq;
	}
	if (prefix)
		snprintf(path, sizeof(path), "%s%d", prefix, j->rank);
	else
		snprintf(path, sizeof(path), "%s/trace_%d", j->opt.dir, j->rank);
	if (flight_write(path, &d))
		say(j, "ERROR", "cannot write %s: %s", path, strerror(errno));
}

/* The oldest that has not completed, and its age; false: none. */
static bool oldest_pending(struct job *j, struct flight_entry *ret, int64_t *age_ns)
{
	bool found = false;

	pthread_mutex_lock(&j->lock);
	for (uint64_t id = j->n > ENTRIES ? j->n - ENTRIES : 0; id < j->n && !found; id++) {
		*ret = j->entry[id % ENTRIES];
		found = !ret->completed_ns;
	}
	pthread_mutex_unlock(&j->lock);
	*age_ns = found ? now_ns(CLOCK_REALTIME) - ret->created_ns : 0;
	return found;
}

static void check_age(struct job *j)
{
	struct flight_entry e;
	int64_t age_ns;

	if (!j->opt.timeout_s || !oldest_pending(j, &e, &age_ns) || age_ns < (int64_t)j->opt.timeout_s * 1000000000)
		return;
	say(j, "ERROR", "[PG ID 0 PG GUID 0(default_pg) Rank %d] Watchdog caught collective operation timeout: "
	    "WorkNCCL(SeqNum=%llu, OpType=ALLREDUCE, NumelIn=%llu, NumelOut=%llu, Timeout(ms)=%d) ran for %lld "
	    "milliseconds before timing out.", j->rank, (unsigned long long)e.seq, (unsigned long long)e.elements,
	    (unsigned long long)e.elements, j->opt.timeout_s * 1000, (long long)(age_ns / 1000000));
	dump(j);
	if (!j->opt.no_abort)
		abort();
	j->opt.timeout_s = 0;	/* once */
}

static int pipe_open(int rank)
{
	const char *stem = getenv("TORCH_NCCL_DEBUG_INFO_PIPE_FILE");
	char path[4096];

	if (!stem)
		return -1;
	snprintf(path, sizeof(path), "%s%d.pipe", stem, rank);
	unlink(path);
	return mkfifo(path, 0666) ? -1 : open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

static void *watchdog(void *ctx)
{
	struct job *j = ctx;
	int pipe_fd = pipe_open(j->rank);
	char buf[128];

	for (;;) {
		if (pipe_fd >= 0 && read(pipe_fd, buf, sizeof(buf)) > 0)
			dump(j);
		check_age(j);
		sleep_ms(100);
	}
	return NULL;
}

/* ---- faults ---- */

static bool strikes(const struct job *j, enum fault f, int step)
{
	return j->opt.fault[f].rank == j->rank && step >= j->opt.fault[f].step;
}

/* The parent of a vfork waits in D until its child goes; the child goes with it. */
static void block(void)
{
	pid_t child = vfork();

	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
}

static void allocate(void)
{
	for (;;) {
		char *p = malloc(8u << 20);

		if (p)
			memset(p, 1, 8u << 20);
		sleep_ms(10);
	}
}

static void fill(struct job *j)
{
	static char padding[4096];

	memset(padding, 'x', sizeof(padding) - 1);
	while (!say(j, "INFO", "%s", padding))
		;
	fprintf(stderr, "[rank%d]: Traceback (most recent call last):\n[rank%d]: OSError: [Errno %d] %s: '%s/rank-%d.log'\n", j->rank, j->rank,
		errno, strerror(errno), j->opt.dir, j->rank);
	exit(1);
}

static void misbehave(struct job *j, int step)
{
	static volatile uint64_t busy;

	while (strikes(j, FAULT_SPIN, step))
		busy++;
	if (strikes(j, FAULT_BLOCKED, step))
		block();
	while (strikes(j, FAULT_SLEEP, step))
		pause();
	if (strikes(j, FAULT_ALLOC, step))
		allocate();
	if (strikes(j, FAULT_FILL, step))
		fill(j);
	if (strikes(j, FAULT_SEGV, step))
		*(volatile int *)(uintptr_t)(step < 0) = 1;
	if (strikes(j, FAULT_EXIT, step)) {
		say(j, "ERROR", "Traceback (most recent call last):\n  File \"train.py\", line 128, in train_step\n"
		    "    loss = model(batch)\nValueError: batch of step %d has no samples", step);
		exit(j->opt.fault[FAULT_EXIT].code);
	}
	if (strikes(j, FAULT_STRAGGLE, step))
		sleep_ms(j->opt.step_ms * 9);
}

/* ---- a rank ---- */

/* Rank 0 writes the id under another name first, so that nobody reads half of it. */
static void share_id(const struct job *j, ncclUniqueId *id)
{
	char path[4096], made[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/nccl_id", j->opt.dir);
	snprintf(made, sizeof(made), "%s/nccl_id.made", j->opt.dir);
	if (j->rank == 0) {
		ncclGetUniqueId(id);
		f = fopen(made, "wb");
		if (!f || fwrite(id, sizeof(*id), 1, f) != 1 || fclose(f) || rename(made, path))
			exit(2);
		return;
	}
	while (!(f = fopen(path, "rb")))
		sleep_ms(10);
	if (fread(id, sizeof(*id), 1, f) != 1)
		exit(2);
	fclose(f);
}

static void train(struct job *j)
{
	static float buffer[16];	/* nothing is moved */

	for (int step = 0; !j->opt.steps || step < j->opt.steps; step++) {
		uint64_t count = j->opt.count + strikes(j, FAULT_MISMATCH, step), id;

		sleep_ms(j->opt.step_ms);
		misbehave(j, step);
		if (j->half)
			ncclAllGather(buffer, buffer, 16, ncclFloat32, j->half, NULL);
		id = entry_begin(j, "nccl:all_reduce", count);
		if (ncclAllReduce(buffer, buffer, count, ncclFloat32, ncclSum, j->comm, NULL) != ncclSuccess) {
			say(j, "ERROR", "all_reduce failed");
			exit(1);
		}
		entry_end(j, id);
		say(j, "INFO", "step %d loss %.4f", step, 10.0 / (step + 1));
	}
}

static int run_rank(const struct options *opt, int rank, int size)
{
	struct job j = { .opt = *opt, .rank = rank, .size = size, .lock = PTHREAD_MUTEX_INITIALIZER };
	ncclUniqueId id;
	pthread_t t;
	char path[4096];

	snprintf(path, sizeof(path), "%s/rank-%d.log", opt->dir, rank);
	j.log = fopen(path, "a");
	if (!j.log) {
		perror(path);
		return 2;
	}
	say(&j, "INFO", "start, pid %d, world size %d", getpid(), size);
	while (opt->await && access(opt->await, F_OK))
		sleep_ms(10);
	share_id(&j, &id);
	if (ncclCommInitRankConfig(&j.comm, size, id, rank, NULL) != ncclSuccess)
		return 2;
	if (opt->split && ncclCommSplit(j.comm, rank % 2, rank, &j.half, NULL) != ncclSuccess)
		return 2;
	if (pthread_create(&t, NULL, watchdog, &j))
		return 2;
	train(&j);
	say(&j, "INFO", "finished");
	if (j.half)
		ncclCommDestroy(j.half);
	ncclCommFinalize(j.comm);
	ncclCommDestroy(j.comm);
	return 0;
}

/* ---- the launcher ---- */

static pid_t launch(const struct options *opt, char **argv, int rank)
{
	char number[16], path[4096] = "";
	pid_t pid = fork();

	if (pid)
		return pid;
	snprintf(number, sizeof(number), "%d", rank);
	setenv("RANK", number, 1);
	setenv("LOCAL_RANK", number, 1);
	if (opt->variable)
		setenv(opt->variable, number, 1);
	snprintf(number, sizeof(number), "%d", opt->ranks);
	setenv("WORLD_SIZE", number, 1);
	setenv("LOCAL_WORLD_SIZE", number, 1);
	setenv("MASTER_ADDR", "127.0.0.1", 1);
	setenv("TORCHELASTIC_RUN_ID", "live", 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (readlink("/proc/self/exe", path, sizeof(path) - 1) > 0)	/* by its name, which /proc shows */
		execv(path, argv);
	_exit(127);
}

static void end_all(const pid_t *pid, int n)
{
	for (int r = 0; r < n; r++)
		if (pid[r] > 0)
			kill(pid[r], SIGTERM);
	sleep(2);
	for (int r = 0; r < n; r++)
		if (pid[r] > 0)
			kill(pid[r], SIGKILL);
}

static int await_all(const struct options *opt, pid_t *pid)
{
	bool failed = false;
	int status;
	pid_t p;

	while ((p = wait(&status)) > 0) {
		for (int r = 0; r < opt->ranks; r++)
			if (pid[r] == p)
				pid[r] = 0;
		if (status && !failed && !opt->keep)
			end_all(pid, opt->ranks);
		failed = failed || status;
	}
	return failed ? 1 : 0;
}

static int run_launcher(const struct options *opt, char **argv)
{
	pid_t pid[RANKS_MAX] = { 0 };
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/nccl_id", opt->dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/pids", opt->dir);
	f = fopen(path, "w");
	if (!f) {
		perror(path);
		return 2;
	}
	for (int r = 0; r < opt->ranks; r++) {
		pid[r] = launch(opt, argv, r);
		fprintf(f, "%d %d\n", r, pid[r]);
		fflush(f);
	}
	fclose(f);
	return await_all(opt, pid);
}

/* ---- options ---- */

enum { OPT_RANKS = 256, OPT_STEPS, OPT_STEP_MS, OPT_COUNT, OPT_TIMEOUT, OPT_VARIABLE, OPT_AWAIT, OPT_FAULT };

static const struct option longs[] = {
	{ "ranks", required_argument, NULL, OPT_RANKS },
	{ "steps", required_argument, NULL, OPT_STEPS },
	{ "step-ms", required_argument, NULL, OPT_STEP_MS },
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "variable", required_argument, NULL, OPT_VARIABLE },
	{ "await", required_argument, NULL, OPT_AWAIT },
	{ "no-abort", no_argument, NULL, 'n' },
	{ "keep", no_argument, NULL, 'k' },
	{ "split", no_argument, NULL, 's' },
	{ "spin", required_argument, NULL, OPT_FAULT + FAULT_SPIN },
	{ "blocked", required_argument, NULL, OPT_FAULT + FAULT_BLOCKED },
	{ "sleep", required_argument, NULL, OPT_FAULT + FAULT_SLEEP },
	{ "mismatch", required_argument, NULL, OPT_FAULT + FAULT_MISMATCH },
	{ "alloc", required_argument, NULL, OPT_FAULT + FAULT_ALLOC },
	{ "exit", required_argument, NULL, OPT_FAULT + FAULT_EXIT },
	{ "segv", required_argument, NULL, OPT_FAULT + FAULT_SEGV },
	{ "fill", required_argument, NULL, OPT_FAULT + FAULT_FILL },
	{ "straggle", required_argument, NULL, OPT_FAULT + FAULT_STRAGGLE },
	{ 0 },
};

static int number(const char *s)
{
	return (int)strtol(s, NULL, 10);
}

/* "R@S" or "R@S:C" */
static bool parse_fault(struct options *opt, int fault, const char *s)
{
	const char *at = strchr(s, '@'), *colon = strchr(s, ':');

	if (!at)
		return false;
	opt->fault[fault].rank = number(s);
	opt->fault[fault].step = number(at + 1);
	opt->fault[fault].code = colon ? number(colon + 1) : 1;
	return true;
}

static bool parse(struct options *opt, int argc, char **argv)
{
	int o;

	for (int f = 0; f < FAULT_MAX; f++)
		opt->fault[f].rank = -1;
	while ((o = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (o) {
		case OPT_RANKS: opt->ranks = number(optarg); break;
		case OPT_STEPS: opt->steps = number(optarg); break;
		case OPT_STEP_MS: opt->step_ms = number(optarg); break;
		case OPT_COUNT: opt->count = strtoull(optarg, NULL, 10); break;
		case OPT_TIMEOUT: opt->timeout_s = number(optarg); break;
		case OPT_VARIABLE: opt->variable = optarg; break;
		case OPT_AWAIT: opt->await = optarg; break;
		case 'n': opt->no_abort = 1; break;
		case 'k': opt->keep = 1; break;
		case 's': opt->split = 1; break;
		default:
			if (o <= OPT_FAULT || !parse_fault(opt, o - OPT_FAULT, optarg))
				return false;
		}
	}
	opt->dir = argv[optind];
	return opt->dir && optind + 1 == argc && opt->ranks > 0 && opt->ranks <= RANKS_MAX;
}

int main(int argc, char **argv)
{
	struct options opt = { .ranks = 2, .step_ms = 50, .count = 1u << 20 };
	const char *rank = getenv("RANK"), *size = getenv("WORLD_SIZE");

	if (!parse(&opt, argc, argv)) {
		fprintf(stderr, "usage: job [options] DIR; job.c lists them\n");
		return 2;
	}
	mkdir(opt.dir, 0755);
	return rank ? run_rank(&opt, number(rank), size ? number(size) : opt.ranks) : run_launcher(&opt, argv);
}
