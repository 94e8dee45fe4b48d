/*
 * probe_stream - a set of probes in the daemon's loop: its maps, and its events as they come.
 *
 * Events wake the loop when a quarter of the buffer is full; a timer fetches what is less.
 * Probes are the owner's: loaded after opening, unloaded after closing.
 */
#pragma once
#include "capture/sources/probes.h"

struct probe_stream_ops {
	void (*begin)(void *ctx);	/* before events are handed over; may be NULL */
	/* `e` and its payload, which has e->bytes; `size` is both together. */
	void (*event)(void *ctx, const struct probe_event *e, size_t size);
	void (*look)(void *ctx);	/* once a second, and last of all: aggregates, losses */
};

struct probe_stream {
	struct capture *c;
	const struct probe_stream_ops *ops;
	void *ctx;
	struct probe_maps maps;
	struct ring_buffer *events;
	struct probe_counts counts;
	struct loop_watch *wakeup, *drain, *look;
	int left;			/* events that this drain may still take */
};

/*
 * Make the maps and the event buffer; `tracked`: as probe_maps_make().  `set` is
 * completed with the fill level that wakes.  Where the kernel would not let us at all,
 * the source's state says so.  On failure nothing is left to close.
 */
int probe_stream_open(struct probe_stream *s, struct capture *c, const char *source, uint32_t events_bytes, int tracked,
		      struct probe_settings set, struct error *err);
/* Begin: hand over events, and follow what is tracked already. */
int probe_stream_begin(struct probe_stream *s, const struct probe_stream_ops *ops, void *ctx, struct error *err);
void probe_stream_close(struct probe_stream *s);	/* what came since the last time is handed over first */
