/*
 * ring_files - the ring's directory: its layout, its lock, what earlier boots left.
 * Private to capture/ring.c and capture/ring_read.c.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "bundle/segment.h"

#define SEGMENTS_MAX 64		/* of one stream */

/* How a budget is shared out. */
struct ring_layout {
	struct {
		uint32_t segments, segment_bytes;
	} stream[STREAM_COUNT];
	uint64_t bytes;
};
struct ring_layout ring_layout(uint64_t budget_bytes);

#define SEGMENT_NAME_BYTES 32
void segment_name(char out[SEGMENT_NAME_BYTES], enum stream_id s, uint32_t index);
/* The stream that a file name belongs to, or STREAM_COUNT. */
enum stream_id segment_name_stream(const char *name);

/* Make `dir` and its parents (0750) and open it. */
int ring_dir_open(const char *dir, struct error *err);
/* Take the lock of the directory `dir_fd`; its descriptor keeps it.  The text names who has it. */
int ring_lock(int dir_fd, struct error *err);

void boot_id_read(uint8_t out[16]);
/*
 * Do the directory's segments belong to this boot and this layout?  When there are some
 * and they do not, move them to previous/ and let go of the oldest there.
 */
int ring_keep_or_move(int dir_fd, const struct ring_layout *layout, bool *keep_ret, struct error *err);
