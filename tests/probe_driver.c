/*
 * probe_driver - the BPF and NCCL sources without the daemon: what they would put
 * into the ring goes to stdout.
 *
 *     probe_driver [--count] [SOURCE...]      (bpf, nccl; default both)
 *
 * Reads commands, a line each: "rank PID RANK [PATH of libnccl.so]", "launcher PID",
 * "gone PID", "quit".  Writes JSON, a line each: records with their payload in
 * hexadecimal, triggers, losses, and what the sources say.  With --count records are
 * only counted; their sums by kind come at the end in any case.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "bundle/error.h"
#include "capture/capture.h"
#include "capture/sources/process.h"
#include "capture/sources/sources.h"

struct driver {
	struct capture c;
	bool count_only;
	uint64_t records[256];		/* by kind */
	uint64_t lost[STREAM_COUNT];
};

/* ---- in place of the ring, the triggers, the manifest ---- */

static struct driver *driver_of(const struct ring *r)
{
	return (struct driver *)(uintptr_t)r;	/* the sources only pass it on */
}

bool ring_put(struct ring *r, enum stream_id s, uint16_t kind, int64_t monotonic_ns, const void *fixed,
	      size_t fixed_bytes, const char *text, size_t text_bytes)
{
	const uint8_t *part[] = { fixed, (const uint8_t *)text };
	size_t bytes[] = { fixed_bytes, text_bytes };

	driver_of(r)->records[kind & 255]++;
	if (driver_of(r)->count_only)
		return true;
	printf("{\"stream\": %d, \"kind\": %u, \"ns\": %lld, \"hex\": \"", s, kind, (long long)monotonic_ns);
	for (size_t p = 0; p < 2; p++)
		for (size_t i = 0; i < bytes[p]; i++)
			printf("%02x", part[p][i]);
	printf("\"}\n");
	return true;
}

void ring_lost(struct ring *r, enum stream_id s, const char *source, uint64_t n)
{
	driver_of(r)->lost[s] += n;
	if (!driver_of(r)->count_only)
		printf("{\"lost\": %llu, \"source\": \"%s\"}\n", (unsigned long long)n, source);
}

void trigger_raise(struct capture *c, const char *kind, int32_t pid, int32_t rank, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	(void)c;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printf("{\"trigger\": \"%s\", \"pid\": %d, \"rank\": %d, \"text\": \"%s\"}\n", kind, pid, rank, text);
}

void track_exec(struct capture *c, const struct record_exec *e)
{
	(void)c;
	(void)e;
}

void track_exit(struct capture *c, const struct record_task_exit *e)
{
	(void)c;
	(void)e;
}

static void say(const char *line)
{
	printf("{\"say\": \"%s\"}\n", line);
	fflush(stdout);
}

/* ---- commands ---- */

const struct source *const sources[] = { &source_bpf, &source_nccl, NULL };

static void track(struct driver *d, unsigned pid, int rank, bool is_rank, const char *nccl)
{
	struct record_process p = { .pid = pid, .rank = rank, .is_rank = is_rank };
	struct tracked *t = track_put(&d->c.track, &p);

	if (!t)
		return;
	snprintf(t->nccl_path, sizeof(t->nccl_path), "%s", nccl);
	capture_tracked(&d->c, t);
}

static void command(struct driver *d, const char *line)
{
	char path[256] = "";
	unsigned pid;
	int rank;

	if (sscanf(line, "rank %u %d %255s", &pid, &rank, path) >= 2) {
		track(d, pid, rank, true, path);
	} else if (sscanf(line, "launcher %u", &pid) == 1) {
		track(d, pid, -1, false, "");
	} else if (sscanf(line, "gone %u", &pid) == 1) {
		struct tracked *t = track_find(&d->c.track, pid);

		if (t) {
			track_end(&d->c.track, t);
			capture_tracked(&d->c, t);
		}
	} else {
		loop_stop(d->c.loop);
	}
}

static void on_command(void *ctx, int fd, uint32_t events)
{
	char line[512];
	size_t n = 0;

	(void)events;
	while (n < sizeof(line) - 1 && read(fd, line + n, 1) == 1 && line[n] != '\n')
		n++;
	line[n] = '\0';
	command(ctx, n ? line : "quit");
	printf("{\"done\": \"%s\"}\n", line);
	fflush(stdout);
}

static void sums(const struct driver *d)
{
	const char *comma = "";

	printf("{\"records\": {");
	for (int k = 0; k < 256; k++) {
		if (!d->records[k])
			continue;
		printf("%s\"%d\": %llu", comma, k, (unsigned long long)d->records[k]);
		comma = ", ";
	}
	printf("}, \"bpf_lost\": %llu, \"nccl_lost\": %llu}\n", (unsigned long long)d->lost[STREAM_BPF],
	       (unsigned long long)d->lost[STREAM_NCCL]);
}

static void on_flush(void *ctx, int64_t monotonic_ns)
{
	(void)ctx;
	(void)monotonic_ns;
	fflush(stdout);
}

/* The sources that are not named are off. */
static int configure(struct config *c, int argc, char **argv, struct error *err)
{
	char text[256] = "";

	for (size_t i = 0; sources[i]; i++) {
		bool on = argc == 1;

		for (int a = 1; a < argc; a++)
			on = on || !strcmp(argv[a], sources[i]->name) || (a == 1 && argc == 2 && argv[a][0] == '-');
		if (!on)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "sources_off = %s\n", sources[i]->name);
	}
	return config_parse("driver", text, strlen(text), c, err);
}

static void end(struct driver *d)
{
	capture_stop_sources(&d->c);
	loop_close(d->c.loop);
	track_free(&d->c.track);
	config_free(&d->c.config);
}

/* EXIT_SUCCESS, EXIT_FAILURE with an error, 77: no source starts. */
static int drive(struct driver *d, int argc, char **argv, struct error *err)
{
	bool any = false;

	if (configure(&d->c.config, argc, argv, err) || loop_open(&d->c.loop, err) || capture_start_sources(&d->c, err))
		return EXIT_FAILURE;
	for (size_t i = 0; sources[i]; i++)
		any = any || d->c.source_data[i];
	if (!any)
		return 77;
	if (!loop_add_fd(d->c.loop, STDIN_FILENO, EPOLLIN, on_command, d, err) ||
	    !loop_add_timer(d->c.loop, 50 * NS_PER_MS, 50 * NS_PER_MS, on_flush, d, err))
		return EXIT_FAILURE;
	return loop_run(d->c.loop, err) ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct driver d = { .c.say = say };
	struct error err = { 0 };
	int status;

	d.c.ring = (struct ring *)&d;
	d.count_only = argc > 1 && !strcmp(argv[1], "--count");
	status = drive(&d, argc, argv, &err);
	if (status == EXIT_FAILURE)
		error_print(stderr, &err);
	end(&d);
	sums(&d);
	return status;
}
