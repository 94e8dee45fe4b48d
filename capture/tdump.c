/*
 * tdump - a bundle of what this host knows about a failure.
 *
 * Asks the daemon; without one takes a snapshot; with a dead one reads its ring
 * from the disk.  docs/man/tdump.1 has the options and exit statuses.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/client.h"
#include "capture/config.h"
#include "capture/dump.h"
#include "capture/dump_ring.h"
#include "capture/tdump_status.h"

#define WAIT_S 180

enum exit_status {
	EXIT_DONE = 0,
	EXIT_NOTHING = 1,	/* no bundle */
	EXIT_USAGE = 2,
	EXIT_LATE = 3,		/* the daemon did not answer in time */
	EXIT_INCOMPLETE = 4,	/* a bundle that lacks members: the disk is full */
	EXIT_DENIED = 5,
};

struct options {
	const char *out, *reason, *job, *ring, *config;
	bool snapshot, status;
	unsigned wait_s;
};

static const char usage[] =
	"usage: tdump [-o FILE|DIR] [--reason TEXT] [--job ID] [--wait SECONDS]\n"
	"       tdump --snapshot [-o FILE|DIR] ...   without the daemon: what can be seen now\n"
	"       tdump --ring DIR [-o FILE|DIR] ...   the ring of a dead daemon\n"
	"       tdump --status                       what the daemon watches and holds\n"
	"       tdump --help | --version\n"
	"       all: [--config FILE]\n"
	"\n"
	"Writes tdump-<host>-<UTC time>-<trigger>.tar.zst and prints its path.\n";

static bool parse_seconds(const char *s, unsigned *ret)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(s, &end, 10);
	if (errno || end == s || *end || s[0] == '-' || v > 86400)
		return false;
	*ret = (unsigned)v;
	return true;
}

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "output", required_argument, NULL, 'o' }, { "reason", required_argument, NULL, 'r' },
		{ "job", required_argument, NULL, 'j' },    { "ring", required_argument, NULL, 'R' },
		{ "snapshot", no_argument, NULL, 's' },	    { "wait", required_argument, NULL, 'w' },
		{ "status", no_argument, NULL, 'S' },	    { "config", required_argument, NULL, 'c' },
		{ "version", no_argument, NULL, 'V' },	    { "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "o:hV", longs, NULL)) != -1) {
		switch (c) {
		case 'o': o->out = optarg; break;
		case 'r': o->reason = optarg; break;
		case 'j': o->job = optarg; break;
		case 'R': o->ring = optarg; break;
		case 's': o->snapshot = true; break;
		case 'S': o->status = true; break;
		case 'c': o->config = optarg; break;
		case 'w':
			if (parse_seconds(optarg, &o->wait_s))
				break;
			fprintf(stderr, "tdump: --wait takes seconds, 0 to 86400, not \"%s\"\n", optarg);
			return EXIT_USAGE;
		case 'V': printf("tdump %s\n", TACHOGRAPH_VERSION); return EXIT_DONE;
		case 'h': fputs(usage, stdout); return EXIT_DONE;
		default: fputs(usage, stderr); return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "tdump: \"%s\" is no option\n%s", argv[optind], usage);
		return EXIT_USAGE;
	}
	if (o->snapshot + o->status + (o->ring != NULL) > 1) {
		fprintf(stderr, "tdump: only one of --snapshot, --ring and --status\n");
		return EXIT_USAGE;
	}
	if (o->out && !o->out[0]) {
		fprintf(stderr, "tdump: -o takes a file or a directory\n");
		return EXIT_USAGE;
	}
	return -1;
}

/* Progress is for a terminal. */
static void progress(void *ctx, const char *line)
{
	(void)ctx;
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "  %s\n", line);
}

static int report(const struct error *err, int status)
{
	fprintf(stderr, "tdump: ");
	error_print(stderr, err);
	return status;
}

/* ---- with the daemon ---- */

static int copy(int from, const char *to, struct error *err)
{
	_cleanup_close_ int fd = -1;
	char partial[PATH_MAX];
	ssize_t n = 1;

	snprintf(partial, sizeof(partial), "%s.partial", to);
	fd = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd < 0)
		return error_sys(err, "cannot create %s", partial);
	lseek(from, 0, SEEK_SET);
	while (n > 0) {
		char buf[65536];

		n = read(from, buf, sizeof(buf));
		for (ssize_t at = 0; at < n;) {
			ssize_t w = write(fd, buf + at, (size_t)(n - at));

			if (w <= 0) {
				error_sys(err, "cannot write %s", partial);
				unlink(partial);
				return -1;
			}
			at += w;
		}
	}
	if (n < 0 || fsync(fd) || rename(partial, to))
		return error_sys(err, "cannot finish %s", to);
	return 0;
}

/* To where -o says; prints the path.  The daemon keeps its own. */
static int deliver(const struct options *o, struct client_answer *a, struct error *err)
{
	const char *slash = strrchr(a->path, '/'), *base = slash ? slash + 1 : a->path;
	_cleanup_close_ int fd = a->fd;
	char to[PATH_MAX];
	struct stat st;

	if (!o->out) {
		printf("%s\n", a->path);
		return 0;
	}
	if (stat(o->out, &st) == 0 && S_ISDIR(st.st_mode))
		snprintf(to, sizeof(to), "%s/%s", o->out, base);
	else
		snprintf(to, sizeof(to), "%s", o->out);
	if (fd < 0)
		fd = open(a->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_sys(err, "cannot read %s", a->path);
	if (copy(fd, to, err))
		return -1;
	printf("%s\n", to);
	return 0;
}

/* -1: there is no daemon. */
static int ask_daemon(const struct options *o, const struct config *config)
{
	struct client_answer a;
	struct error err = { 0 };
	json_t *request = o->status ? json_pack("{s:s}", "request", "status") :
				      json_pack("{s:s, s:s*, s:s*}", "request", "dump", "reason", o->reason, "job", o->job);
	enum client_result r;

	if (!request) {
		fprintf(stderr, "tdump: --reason and --job take UTF-8\n");
		return EXIT_USAGE;
	}
	r = client_ask(config->socket, request, o->wait_s, progress, NULL, &a, &err);
	switch (r) {
	case CLIENT_NO_DAEMON:
		return -1;
	case CLIENT_DENIED:
		return report(&err, EXIT_DENIED);
	case CLIENT_LATE:
		return report(&err, EXIT_LATE);
	case CLIENT_FAILED:
		return report(&err, EXIT_NOTHING);
	case CLIENT_DONE:
	case CLIENT_INCOMPLETE:
		break;
	}
	if (a.status) {
		tdump_status_print(a.status, stdout);
		json_decref(a.status);
		return EXIT_DONE;
	}
	if (deliver(o, &a, &err))
		return report(&err, EXIT_NOTHING);
	return r == CLIENT_DONE ? EXIT_DONE : EXIT_INCOMPLETE;
}

/* ---- without ---- */

static int dump_here(const struct options *o, const struct config *config, const char *ring)
{
	struct dump_request rq = { .trigger = "manual", .reason = o->reason, .job = o->job, .pid = -1, .rank = -1,
				   .ring_dir = ring, .out = o->out ? o->out : ".", .config = config, .live = true,
				   .from = ring ? "dead ring" : "snapshot", .more_fd = -1, .progress = progress };
	struct error err = { 0 };
	char path[PATH_MAX];
	int ours = ring ? ring_is_ours(ring) : 1, r;

	if (ours < 0) {
		fprintf(stderr, "tdump: there is no ring in %s\n", ring);
		return EXIT_NOTHING;
	}
	rq.live = ours == 1;
	r = dump_run(&rq, path, sizeof(path), &err);
	if (r < 0)
		return report(&err, EXIT_NOTHING);
	printf("%s\n", path);
	if (r == DUMP_INCOMPLETE)
		fprintf(stderr, "tdump: the disk is full: the bundle lacks members, its manifest-end.json says which\n");
	return r ? EXIT_INCOMPLETE : EXIT_DONE;
}

static int run(const struct options *o, const struct config *config)
{
	int r;

	if (o->snapshot || o->ring)
		return dump_here(o, config, o->ring);
	r = ask_daemon(o, config);
	if (r >= 0)
		return r;
	if (o->status) {
		fprintf(stderr, "tdump: no daemon listens at %s\n", config->socket);
		return EXIT_NOTHING;
	}
	if (ring_is_ours(config->ring_dir) >= 0) {
		fprintf(stderr, "tdump: the daemon is dead; reading its ring in %s\n", config->ring_dir);
		return dump_here(o, config, config->ring_dir);
	}
	fprintf(stderr, "tdump: no daemon listens at %s; taking a snapshot\n", config->socket);
	return dump_here(o, config, NULL);
}

int main(int argc, char **argv)
{
	struct options o = { .wait_s = WAIT_S };
	struct error err = { 0 };
	struct config config;
	int r = parse(argc, argv, &o);

	if (r >= 0)
		return r;
	signal(SIGPIPE, SIG_IGN);
	if (!o.config && access(CONFIG_FILE, R_OK) == 0)
		o.config = CONFIG_FILE;
	if (config_read(o.config, &config, &err))
		return report(&err, EXIT_USAGE);
	r = run(&o, &config);
	config_free(&config);
	return r;
}
