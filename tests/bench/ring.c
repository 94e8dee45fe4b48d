/*
 * ring-bench: ns per 64-byte event, appended to the ring and written with write(),
 * alternating in one run; medians of seven.  Prints "ring=NS write=NS".
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "capture/ring.h"

#define EVENTS 400000
#define ROUNDS 7

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	struct ring_options opt = { .dir = argc > 1 ? argv[1] : "", .budget_bytes = 64u << 20 };
	double ring_ns[ROUNDS], write_ns[ROUNDS];
	struct ring *r = NULL;
	struct error err = { 0 };
	uint8_t event[64] = { 1 };
	char path[256];
	int fd;

	if (argc != 2) {
		fputs("usage: ring-bench DIR\n", stderr);
		return 2;
	}
	snprintf(path, sizeof(path), "%s/written", argv[1]);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (ring_open(&opt, &r, &err) || fd < 0) {
		error_print(stderr, &err);
		return 1;
	}
	for (int round = 0; round < ROUNDS; round++) {
		int64_t t0 = clock_now().monotonic_ns, t1;

		for (int i = 0; i < EVENTS; i++)
			ring_put(r, STREAM_NCCL, REC_NCCL_CALL, t0 + i, event, sizeof(event), NULL, 0);
		t1 = clock_now().monotonic_ns;
		ring_ns[round] = (double)(t1 - t0) / EVENTS;
		if (ftruncate(fd, 0))
			return 1;
		t0 = clock_now().monotonic_ns;
		for (int i = 0; i < EVENTS; i++)
			if (write(fd, event, sizeof(event)) != sizeof(event))
				return 1;
		t1 = clock_now().monotonic_ns;
		write_ns[round] = (double)(t1 - t0) / EVENTS;
	}
	qsort(ring_ns, ROUNDS, sizeof(double), by_value);
	qsort(write_ns, ROUNDS, sizeof(double), by_value);
	printf("ring=%.1f write=%.1f\n", ring_ns[ROUNDS / 2], write_ns[ROUNDS / 2]);
	ring_close(r);
	unlink(path);
	return 0;
}
