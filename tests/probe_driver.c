/*
 * probe_driver - the BPF and NCCL sources without the daemon: what they would put
 * into the ring goes to stdout.
 *
 *     probe_driver [--count] [SOURCE...]      (bpf, nccl; default both)
 *
 * Reads commands, a line each: "rank PID RANK [PATH of libnccl.so]", "launcher PID",
 * "gone PID", "quit".  Writes JSON, a line each: records with their payload in
 * hexadecimal, triggers, losses, and the state of a source.  With --count records
 * are only counted, and the sums come at the end.
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
#include "capture/sources/sources.h"

struct driver {
	struct capture c;
	bool count_only;
	uint64_t records, lost;
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

	driver_of(r)->records++;
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
	(void)s;
	driver_of(r)->lost += n;
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

void capture_state(struct capture *c, const char *source, enum source_state state, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	(void)c;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printf("{\"source\": \"%s\", \"state\": %d, \"reason\": \"%s\"}\n", source, state, text);
	fflush(stdout);
}

/* ---- commands ---- */

const struct source *const sources[] = { &source_bpf, &source_nccl, NULL };

static void tell(struct driver *d, const struct tracked *t)
{
	for (size_t i = 0; sources[i]; i++)
		if (d->c.source_data[i])
			sources[i]->tracked(&d->c, d->c.source_data[i], t);
}

static void track(struct driver *d, unsigned pid, int rank, bool is_rank, const char *nccl)
{
	struct record_process p = { .pid = pid, .rank = rank, .is_rank = is_rank };
	struct tracked *t = track_put(&d->c.track, &p);

	if (!t)
		return;
	snprintf(t->nccl_path, sizeof(t->nccl_path), "%s", nccl);
	tell(d, t);
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
			t->gone = true;
			tell(d, t);
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

static void on_flush(void *ctx, int64_t monotonic_ns)
{
	(void)ctx;
	(void)monotonic_ns;
	fflush(stdout);
}

static bool is_asked(int argc, char **argv, const char *name)
{
	bool any = false;

	for (int i = 1; i < argc; i++) {
		any = any || argv[i][0] != '-';
		if (!strcmp(argv[i], name))
			return true;
	}
	return !any;
}

int main(int argc, char **argv)
{
	struct driver *d = calloc(1, sizeof(*d));
	struct error err = { 0 };

	if (!d || !(d->c.track.by_slot = calloc(TRACK_MAX, sizeof(struct tracked))) ||
	    !(d->c.source_data = calloc(3, sizeof(void *))) || loop_open(&d->c.loop, &err))
		return EXIT_FAILURE;
	d->c.ring = (struct ring *)d;
	d->count_only = argc > 1 && !strcmp(argv[1], "--count");
	for (size_t i = 0; sources[i]; i++) {
		if (!is_asked(argc, argv, sources[i]->name))
			continue;
		if (sources[i]->start(&d->c, &d->c.source_data[i], &err)) {
			error_print(stderr, &err);
			return 77;
		}
	}
	if (!loop_add_fd(d->c.loop, STDIN_FILENO, EPOLLIN, on_command, d, &err) ||
	    !loop_add_timer(d->c.loop, 50000000, 50000000, on_flush, d, &err) || loop_run(d->c.loop, &err)) {
		error_print(stderr, &err);
		return EXIT_FAILURE;
	}
	for (size_t i = 0; sources[i]; i++)
		sources[i]->stop(&d->c, d->c.source_data[i]);
	printf("{\"records\": %llu, \"all_lost\": %llu}\n", (unsigned long long)d->records, (unsigned long long)d->lost);
	loop_close(d->c.loop);
	free(d->c.source_data);
	free(d->c.track.by_slot);
	free(d);
	return EXIT_SUCCESS;
}
