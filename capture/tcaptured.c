/*
 * tcaptured - the recorder.  What it consists of is wired together here: configuration,
 * ring, sources (capture/sources.c), triggers, control socket, dumps, and the signals.
 * docs/CAPTURE.md is the map.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "bundle/cleanup.h"
#include "capture/capture.h"
#include "capture/control.h"
#include "capture/dumps.h"
#include "capture/notify.h"
#include "capture/privileges.h"

#define CLOCK_STEP_NS (50 * NS_PER_MS)	/* a second of slewing moves less */
#define RESTATE_S 60			/* clock and sources are recorded again so often */
#define WATCHDOG_S 10
#define EXIT_USAGE 2

struct options {
	const char *config;		/* NULL: the default file, if there is one */
	const char *ring_dir;
	bool foreground, check_config;
};

struct daemon {
	struct capture c;
	struct options opt;
	int64_t offset_ns;		/* realtime - monotonic, a second ago */
	unsigned seconds;
	int signal_fd;
};

static void say(const char *line) { fprintf(stderr, "tcaptured: %s\n", line); }

static void say_error(const struct error *err)
{
	fputs("tcaptured: ", stderr);
	error_print(stderr, err);
}

static void usage(FILE *f)
{
	fputs("usage: tcaptured [--config FILE] [--ring DIR] [--foreground]\n"
	      "       tcaptured --check-config [--config FILE]\n"
	      "Records what a training host does into a ring that survives a crash; tdump makes a bundle of it.\n\n"
	      "  --config FILE   instead of " CONFIG_FILE "\n"
	      "  --ring DIR      instead of ring_dir of the configuration\n"
	      "  --foreground    stay attached: for a service manager, and to look on\n"
	      "  --check-config  say whether the configuration is right, and end\n"
	      "  --version, --help\n\n"
	      "SIGTERM ends it, SIGHUP reads the configuration again.\n", f);
}

/* 0: run; 1: done; -1: wrong usage. */
static int parse_options(int argc, char **argv, struct options *ret)
{
	enum { CONFIG = 1, RING, FOREGROUND, CHECK, VERSION, HELP };
	static const struct option longs[] = {
		{ "config", required_argument, NULL, CONFIG }, { "ring", required_argument, NULL, RING },
		{ "foreground", no_argument, NULL, FOREGROUND }, { "check-config", no_argument, NULL, CHECK },
		{ "version", no_argument, NULL, VERSION }, { "help", no_argument, NULL, HELP }, { 0 },
	};
	int o;

	while ((o = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (o == CONFIG) {
			ret->config = optarg;
		} else if (o == RING) {
			ret->ring_dir = optarg;
		} else if (o == FOREGROUND) {
			ret->foreground = true;
		} else if (o == CHECK) {
			ret->check_config = true;
		} else if (o == VERSION) {
			puts("tcaptured " TACHOGRAPH_VERSION);
			return 1;
		} else if (o == HELP) {
			usage(stdout);
			return 1;
		} else {
			usage(stderr);
			return -1;
		}
	}
	if (optind == argc)
		return 0;
	fprintf(stderr, "tcaptured: takes no argument \"%s\"\n", argv[optind]);
	usage(stderr);
	return -1;
}

static int read_config(const struct options *opt, struct config *ret, struct error *err)
{
	const char *path = opt->config ? opt->config : access(CONFIG_FILE, F_OK) == 0 ? CONFIG_FILE : NULL;

	if (config_read(path, ret, err))
		return -1;
	if (!opt->ring_dir)
		return 0;
	free(ret->ring_dir);
	ret->ring_dir = strdup(opt->ring_dir);
	return ret->ring_dir ? 0 : error_set(err, ERR_NOMEM, "no memory");
}

/* ---- while it runs ---- */

static int64_t clock_offset(void)
{
	struct clock_triple now = clock_now();

	return now.realtime_ns - now.monotonic_ns;
}

static void on_second(void *ctx, int64_t now)
{
	struct daemon *d = ctx;
	int64_t offset_ns = clock_offset(), step_ns = offset_ns - d->offset_ns;

	d->offset_ns = offset_ns;
	if (step_ns > CLOCK_STEP_NS || step_ns < -CLOCK_STEP_NS) {
		capture_say(&d->c, "the clock was stepped by %.3f s", (double)step_ns / 1e9);
		capture_restate(&d->c);
	} else if (++d->seconds % RESTATE_S == 0) {
		capture_restate(&d->c);
	}
	trigger_tick(&d->c, now);
	ring_sync(d->c.ring);
	if (d->seconds % WATCHDOG_S == 0)
		notify("WATCHDOG=1");
}

static void reload(struct daemon *d)
{
	struct error err = { 0 };
	struct config fresh;
	char kept[256], state[64];

	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)(loop_now() / 1000));
	notify(state);
	if (read_config(&d->opt, &fresh, &err)) {
		say_error(&err);
		capture_say(&d->c, "the configuration stays as it was");
	} else {
		capture_reload(&d->c, &fresh, kept, sizeof(kept));
		capture_say(&d->c, "configuration read again%s%s%s", *kept ? "; only a restart changes " : "", kept,
			    *kept ? ", which stay as they were" : "");
	}
	notify("READY=1");
}

static void on_signal(void *ctx, int fd, uint32_t events)
{
	struct daemon *d = ctx;
	struct signalfd_siginfo si;

	(void)events;
	if (read(fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGHUP) {
		reload(d);
		return;
	}
	capture_say(&d->c, "ends on SIG%s from process %u", sigabbrev_np((int)si.ssi_signo), si.ssi_pid);
	loop_stop(d->c.loop);
}

static int watch_signals(struct daemon *d, struct error *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	d->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->signal_fd < 0)
		return error_sys(err, "cannot receive signals");
	return loop_add_fd(d->c.loop, d->signal_fd, EPOLLIN, on_signal, d, err) ? 0 : -1;
}

/* ---- start and end ---- */

static int open_ring(struct daemon *d, struct error *err)
{
	struct ring_options opt = { .dir = d->c.config.ring_dir, .budget_bytes = d->c.config.ring_bytes };

	if (ring_open(&opt, &d->c.ring, err))
		return -1;
	capture_say(&d->c, TACHOGRAPH_VERSION ": ring %s, %llu MiB", opt.dir, (unsigned long long)(opt.budget_bytes >> 20));
	return 0;
}

/* What the operator can live without is told, and the rest goes on. */
static void optional(int result, struct error *err)
{
	if (result)
		say_error(err);
	*err = (struct error){ 0 };
}

static int start(struct daemon *d, struct error *err)
{
	d->c.started_ns = loop_now();
	d->offset_ns = clock_offset();
	umask(0027);
	privileges_prepare(&d->c);
	if (loop_open(&d->c.loop, err) || watch_signals(d, err) || open_ring(d, err) || triggers_open(&d->c, err))
		return -1;
	optional(dumps_open(&d->c, err), err);
	if (capture_start_sources(&d->c, err))
		return -1;
	optional(control_open(&d->c, err), err);
	capture_restate(&d->c);
	return loop_add_timer(d->c.loop, NS_PER_S, NS_PER_S, on_second, d, err) ? 0 : -1;
}

static void end(struct daemon *d)
{
	notify("STOPPING=1");
	control_close(&d->c);
	if (d->c.loop)
		capture_stop_sources(&d->c);
	dumps_close(&d->c);
	triggers_close(&d->c);
	ring_close(d->c.ring);
	loop_close(d->c.loop);
	closep(&d->signal_fd);
	track_free(&d->c.track);
	config_free(&d->c.config);
}

/*
 * Without --foreground: the parent waits until the child runs, then ends; its exit
 * status tells whether it does.  Yields the descriptor to write to then; -1: none.
 */
static int detach(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		perror("tcaptured: cannot go to the background");
		exit(EXIT_FAILURE);
	}
	if (pid > 0) {
		close(ready[1]);
		exit(read(ready[0], &byte, 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
	}
	close(ready[0]);
	setsid();
	return ready[1];
}

/* The terminal is given back; a log file or pipe on stderr stays. */
static void tell_ready(int ready_fd)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	notify("READY=1");
	if (ready_fd < 0)
		return;
	for (int fd = 0; fd <= 2 && null >= 0; fd++)
		if (fd < 2 || isatty(fd))
			dup2(null, fd);
	if (write(ready_fd, "", 1) < 0)
		perror("tcaptured: nobody waits for the start");
	close(ready_fd);
}

static int run(struct daemon *d, struct error *err)
{
	int ready_fd = d->opt.foreground ? -1 : detach();

	if (start(d, err))
		return -1;
	tell_ready(ready_fd);
	return loop_run(d->c.loop, err);
}

int main(int argc, char **argv)
{
	struct daemon d = { .signal_fd = -1, .c.say = say };
	struct error err = { 0 };
	int r = parse_options(argc, argv, &d.opt);

	if (r)
		return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
	if (read_config(&d.opt, &d.c.config, &err)) {
		say_error(&err);
		return EXIT_USAGE;
	}
	if (d.opt.check_config) {
		puts("the configuration is right");
		config_free(&d.c.config);
		return EXIT_SUCCESS;
	}
	r = run(&d, &err);
	if (r)
		say_error(&err);
	end(&d);
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}
