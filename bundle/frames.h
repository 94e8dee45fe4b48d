/*
 * frames - a zstd file of many frames, decoded ahead on two threads.
 *
 * Hands out whole frames in order.  Anything that is not a whole, undamaged frame
 * of moderate size ends it: the caller goes on from frames_offset() with a decoder
 * of its own, which then finds what is wrong and where.  So no error comes from
 * here, and nothing is believed that the frames do not say themselves (an index
 * behind them is not needed: the blocks of a frame say how long it is).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frames;

/*
 * Of the zstd data of the regular file `fd` (the caller's, read with pread) from
 * `offset` to `end`.  NULL: not worth it (one frame, little data), or no memory.
 */
struct frames *frames_open(int fd, uint64_t offset, uint64_t end);
/* The next frame's bytes, valid until the next call; NULL: no more.  Skippable frames are passed over. */
const uint8_t *frames_next(struct frames *f, size_t *len_ret);
/* Of the first byte behind what was handed out. */
uint64_t frames_offset(const struct frames *f);
void frames_close(struct frames *f);		/* NULL is fine */
