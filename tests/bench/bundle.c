/*
 * What bench_bundle.sh times: bundles written and read.
 *
 *	bundle read FILE		every byte of every member
 *	bundle pack LEVEL OUT FILE...	a bundle of these files, synced and renamed
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
	} else {
		fprintf(stderr, "usage: bundle read FILE | bundle pack LEVEL OUT FILE...\n");
		return 2;
	}
	if (r) {
		error_print(stderr, &err);
		return 1;
	}
	printf("seconds=%.4f members=%" PRIu64 " bytes=%" PRIu64 "\n", now() - begin, sum.members, sum.bytes);
	return 0;
}
