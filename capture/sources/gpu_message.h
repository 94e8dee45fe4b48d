/* gpu_message - something that happened to a GPU: for the ring, and for the trigger. */
#pragma once
#include "capture/capture.h"

struct gpu_message {
	struct record_gpu_event e;
	char text[176];
};

/* WORKER_OWN kind */
enum { GPU_OWN_EVENT = 1 };

/* In the worker: record it and tell the daemon; `text_bytes` of the text (what snprintf said). */
static inline void gpu_message_send(struct worker_link *l, int64_t monotonic_ns, const struct gpu_message *m,
				    size_t text_bytes)
{
	if (text_bytes >= sizeof(m->text))
		text_bytes = sizeof(m->text) - 1;
	worker_record(l, STREAM_GPU, REC_GPU_EVENT, monotonic_ns, &m->e, sizeof(m->e), m->text, text_bytes);
	worker_own(l, GPU_OWN_EVENT, m, sizeof(m->e) + text_bytes);
}

/* In the daemon: a worker_own_fn. */
static inline void gpu_message_trigger(struct capture *c, void *ctx, uint16_t kind, const uint8_t *payload,
				       size_t bytes)
{
	(void)ctx;
	if (kind == GPU_OWN_EVENT && bytes > sizeof(struct record_gpu_event))
		trigger_raise(c, "gpu", -1, -1, "%.*s", (int)(bytes - sizeof(struct record_gpu_event)),
			      (const char *)payload + sizeof(struct record_gpu_event));
}
