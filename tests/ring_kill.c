/*
 * ring_kill N: the ring's writer is killed N times at random points, under load, and
 * on until three in ten of N kills have hit the inside of an append.
 *
 * The child appends records of random sizes whose bytes follow from their sequence
 * number, and notes in a shared page, outside the ring, what append had returned
 * for and whether it is inside one.  After each SIGKILL the directory is read back:
 * everything that was committed and is not recycled must be there, byte for byte,
 * without a gap, and at most the one record whose append had not returned may be
 * there besides.  The next child goes on with the same ring.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "capture/ring.h"

#define KILLED_INSIDE_MIN(n) ((n) * 3 / 10)
#define PAYLOAD_MAX 3000
#define SLICES 1024

struct shared {
	volatile uint64_t committed[STREAM_COUNT];	/* sequence number of the last append that returned */
	volatile uint32_t inside;			/* an append (or the segment change in it) has begun and not returned */
	volatile uint32_t open;				/* the child has its ring */
};

static uint32_t payload_bytes(uint64_t seq) { return (uint32_t)(seq * 2654435761u >> 7) % PAYLOAD_MAX; }

/* The payload is a slice of this; making it must cost nothing beside the append. */
static uint8_t pattern[PAYLOAD_MAX + SLICES];

static void make_pattern(void)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 2654435761u >> 11);
}

static uint8_t *payload(enum stream_id s, uint64_t seq) { return pattern + (seq * 31 + (uint64_t)s) % SLICES; }

static void write_for_ever(const char *dir, struct shared *sh)
{
	struct ring_options opt = { .dir = dir, .budget_bytes = RING_BYTES_MIN, .host = "test" };
	struct error err = { 0 };
	struct ring *r = NULL;
	uint64_t seq[STREAM_COUNT];

	if (ring_open(&opt, &r, &err)) {
		error_print(stderr, &err);
		_exit(1);
	}
	for (int s = 0; s < STREAM_COUNT; s++)
		seq[s] = ring_stats(r, s).next_seq;
	sh->open = 1;
	for (uint64_t n = 0;; n++) {
		enum stream_id s = n % 3 == 0 ? STREAM_BPF : n % 3 == 1 ? STREAM_HOST : STREAM_LOGS;
		struct iovec iov = { payload(s, seq[s]), payload_bytes(seq[s]) };

		sh->inside = 1;
		if (!ring_append(r, s, REC_KMSG, (int64_t)seq[s], &iov, 1))
			_exit(1);
		sh->inside = 0;
		sh->committed[s] = seq[s]++;
	}
}

struct reading {
	uint64_t next[STREAM_COUNT], first[STREAM_COUNT];
	const char *wrong;
	uint64_t at;
};

static int check(void *ctx, const char *name, const struct segment_reader *seg, const uint8_t *data, size_t len)
{
	struct reading *rd = ctx;
	struct segment_reader r = *seg;
	enum stream_id s = r.head.stream;
	struct record rec;

	(void)name, (void)data, (void)len;
	while (segment_next(&r, &rec)) {
		if (rec.bytes != payload_bytes(rec.seq) || memcmp(rec.payload, payload(s, rec.seq), rec.bytes) || rec.monotonic_ns != (int64_t)rec.seq)
			rd->wrong = "a record that was never written";
		if (rd->next[s] && rec.seq != rd->next[s])
			rd->wrong = "a gap";
		if (!rd->next[s])
			rd->first[s] = rec.seq;
		rd->next[s] = rec.seq + 1;
		rd->at = rec.seq;
	}
	if (r.damaged)
		rd->wrong = "damage";
	return rd->wrong ? 1 : 0;
}

static int read_back(const char *dir, struct shared *sh)
{
	struct reading rd = { 0 };
	struct error err = { 0 };

	if (ring_read(dir, check, &rd, &err) < 0) {
		error_print(stderr, &err);
		return -1;
	}
	for (int s = 0; s < STREAM_COUNT && !rd.wrong; s++) {
		uint64_t last = rd.next[s] ? rd.next[s] - 1 : 0;

		rd.at = sh->committed[s];
		if (last < sh->committed[s])
			rd.wrong = "a committed record is missing";
		if (last > sh->committed[s] + 1)
			rd.wrong = "more records than appends begun";
		sh->committed[s] = last;	/* what stands there now must stand there next time */
	}
	if (rd.wrong)
		fprintf(stderr, "ring_kill: %s (record %llu)\n", rd.wrong, (unsigned long long)rd.at);
	return rd.wrong ? -1 : 0;
}

/* Starts a writer and kills it: 2 to 10 ms after it has its ring, or (any_time) after it was started. */
static int kill_one(const char *dir, struct shared *sh, bool any_time)
{
	struct timespec wait = { .tv_nsec = 2000000 + rand() % 8000000 }, poll = { .tv_nsec = 50000 };
	pid_t child = fork();
	int status = 0;

	if (child == 0)
		write_for_ever(dir, sh);
	while (!any_time && !sh->open && waitpid(child, &status, WNOHANG) == 0)
		nanosleep(&poll, NULL);
	if (status)
		return -1;
	nanosleep(&wait, NULL);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) ? 0 : -1;
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/ring_kill.XXXXXX", command[64];
	int n = argc > 1 ? atoi(argv[1]) : 0, kills, inside = 0, ret = 0;
	struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (n <= 0 || sh == MAP_FAILED || !mkdtemp(dir)) {
		fputs("usage: ring_kill TIMES\n", stderr);
		return 2;
	}
	make_pattern();
	srand((unsigned)time(NULL));
	for (kills = 0; ret == 0 && (kills < n || (inside < KILLED_INSIDE_MIN(n) && kills < 4 * n)); kills++) {
		ret = kill_one(dir, sh, kills % 10 == 0) || read_back(dir, sh);
		inside += sh->inside != 0;
		sh->inside = sh->open = 0;
	}
	printf("%d kills, %d of them inside an append\n", kills, inside);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command))
		ret = 1;
	if (inside < KILLED_INSIDE_MIN(n)) {
		fprintf(stderr, "ring_kill: too few kills inside an append\n");
		ret = 1;
	}
	return ret;
}
