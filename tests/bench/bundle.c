/*
 * What bench_bundle.sh times: bundles written and read.
 *
 *	bundle read FILE		every byte of every member
 *	bundle pack LEVEL OUT FILE...	a bundle of these files, synced and renamed
 *	bundle fill DIR			a ring of 64 MiB, full of events, samples and log lines
 *
 * The last line says seconds=S members=N bytes=N.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bundle/bundle_write.h"
#include "bundle/cleanup.h"
#include "bundle/stream.h"
#include "capture/ring.h"

#define RING_BYTES ((uint64_t)64 << 20)

struct sum {
	uint64_t members, bytes;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int read_all(const char *path, struct sum *sum, struct error *err)
{
	static uint8_t buf[256 << 10];
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_stream_ struct stream *s = NULL;
	const char *name;
	int r;

	if (fd < 0)
		return error_sys(err, "cannot open %s", path);
	if (stream_open_fd(fd, &s, err))
		return -1;
	while ((r = stream_next(s, &name, err)) > 0) {
		ssize_t n;

		sum->members++;
		while ((n = stream_read(s, buf, sizeof(buf), err)) > 0)
			sum->bytes += (uint64_t)n;
		if (n < 0)
			return -1;
	}
	return r;
}

static int pack(int level, const char *out, char **files, struct sum *sum, struct error *err)
{
	_cleanup_bundle_writer_ struct bundle_writer *b = NULL;

	if (bundle_create(out, &b, err) || bundle_add(b, "manifest.json", "{}", 2, 3, err))
		return -1;
	for (; *files; files++) {
		const char *slash = strrchr(*files, '/');
		_cleanup_close_ int fd = open(*files, O_RDONLY | O_CLOEXEC);
		size_t n;

		if (fd < 0)
			return error_sys(err, "cannot open %s", *files);
		if (bundle_add_fd(b, slash ? slash + 1 : *files, fd, UINT64_MAX, level, err))
			return -1;
		sum->bytes += bundle_members(b, &n)[n - 1].bytes;
		sum->members = n;
	}
	return bundle_finish(b, err);
}

static uint64_t next_random(uint64_t *x)
{
	*x = *x * 6364136223846793005u + 1442695040888963407u;
	return *x >> 33;
}

/* One log record of whole lines, as training jobs write them. */
static size_t log_lines(char *buf, size_t size, uint64_t *x, unsigned step)
{
	size_t n = sizeof(struct record_log_bytes);
	struct record_log_bytes head = { .file = (uint32_t)(next_random(x) % 8 + 1), .offset = (uint64_t)step * 1000 };

	memcpy(buf, &head, sizeof(head));
	for (int i = 0; i < 6; i++)
		n += (size_t)snprintf(buf + n, size - n, "2026-03-14 02:%02u:%02u,%03u INFO trainer: step %u loss %u.%04u lr 3.0e-04 tokens/s %u\n",
				      step / 60 % 60, step % 60, (unsigned)(next_random(x) % 1000), step, (unsigned)(next_random(x) % 4),
				      (unsigned)(next_random(x) % 10000), (unsigned)(100000 + next_random(x) % 9000));
	return n;
}

/* Every stream written over several times. */
static int fill(const char *dir, struct sum *sum, struct error *err)
{
	static const struct { enum stream_id stream; uint16_t kind; uint32_t bytes; } kinds[] = {
		{ STREAM_BPF, REC_TASK_EXIT, sizeof(struct record_task_exit) }, { STREAM_GPU, REC_GPU_SAMPLE, sizeof(struct record_gpu_sample) },
		{ STREAM_HOST, REC_HOST_SAMPLE, sizeof(struct record_host_sample) },
		{ STREAM_PROC, REC_PROCESS_SAMPLE, sizeof(struct record_process_sample) },
		{ STREAM_NCCL, REC_NCCL_CALL, sizeof(struct record_nccl_call) },
	};
	const struct ring_options opt = { .dir = dir, .budget_bytes = RING_BYTES };
	_cleanup_ring_ struct ring *r = NULL;
	uint64_t x = 1;

	if (ring_open(&opt, &r, err))
		return -1;
	for (unsigned step = 0; sum->bytes < 3 * RING_BYTES; step++) {
		char lines[4096];
		uint32_t fields[128] = { 0 };
		size_t k = step % (sizeof(kinds) / sizeof(kinds[0]));

		for (size_t i = 0; i < kinds[k].bytes / 4; i++)		/* counters move a little, half stays as it was */
			fields[i] = i % 2 ? (uint32_t)i : (uint32_t)(next_random(&x) % 512 + step);
		ring_put(r, kinds[k].stream, kinds[k].kind, (int64_t)step * 100000, fields, kinds[k].bytes, NULL, 0);
		if (step % 3 == 0) {
			size_t n = log_lines(lines, sizeof(lines), &x, step);

			ring_put(r, STREAM_LOGS, REC_LOG_BYTES, (int64_t)step * 100000, lines, n, NULL, 0);
			ring_put(r, STREAM_KERNEL, REC_KMSG, (int64_t)step * 100000, "6,1,1,-;link is up\n", 19, NULL, 0);
			sum->bytes += n;
		}
		sum->bytes += kinds[k].bytes;
		sum->members++;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct error err = { 0 };
	struct sum sum = { 0 };
	double begin = now();
	int r;

	if (argc == 3 && strcmp(argv[1], "read") == 0) {
		r = read_all(argv[2], &sum, &err);
	} else if (argc > 4 && strcmp(argv[1], "pack") == 0) {
		r = pack((int)strtol(argv[2], NULL, 10), argv[3], argv + 4, &sum, &err);
	} else if (argc == 3 && strcmp(argv[1], "fill") == 0) {
		r = fill(argv[2], &sum, &err);
	} else {
		fprintf(stderr, "usage: bundle read FILE | bundle pack LEVEL OUT FILE... | bundle fill DIR\n");
		return 2;
	}
	if (r) {
		error_print(stderr, &err);
		return 1;
	}
	printf("seconds=%.4f members=%" PRIu64 " bytes=%" PRIu64 "\n", now() - begin, sum.members, sum.bytes);
	return 0;
}
