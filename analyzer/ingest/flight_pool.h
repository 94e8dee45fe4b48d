/*
 * flight_pool - dumps are decoded by several threads and folded by one, in order.
 *
 * flight_pool_buffer() yields the buffer of the next dump, flight_pool_submit()
 * sends it off; the fold runs in the calling thread, in the order of submission.
 */
#pragma once
#include "analyzer/ingest/flight.h"
#include "analyzer/store.h"

struct flight_pool;

struct flight_job {
	uint32_t member;
	int32_t rank;
	int64_t captured_ns;		/* 0: unknown */
	bool again;			/* the recorder took two of each rank, and this is the later one */
};

int flight_pool_open(struct store *s, unsigned threads, struct flight_pool **ret, struct error *err);
/* A buffer that holds at least `size` bytes, its first `keep` bytes as before; NULL: no memory. */
uint8_t *flight_pool_buffer(struct flight_pool *p, size_t keep, size_t size);
void flight_pool_submit(struct flight_pool *p, size_t len, const struct flight_job *job);
void flight_pool_finish(struct flight_pool *p);	/* fold what is left */
void flight_pool_close(struct flight_pool *p);
