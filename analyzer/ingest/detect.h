/* detect - what a file is, from its first bytes (and, for an empty one, its name). */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "analyzer/store.h"

enum format {
	FMT_EMPTY, FMT_FLIGHT, FMT_NVIDIA_SMI, FMT_GPU_TEXT, FMT_GPU_JSON, FMT_DCGM_TEXT, FMT_DCGM_JSON, FMT_RAS_TEXT, FMT_RAS_JSON,
	FMT_K8S_JSON, FMT_K8S_TEXT, FMT_STACKS, FMT_ELASTIC,
	FMT_MANIFEST, FMT_TOPOLOGY, FMT_RING, FMT_BINARY, FMT_LOG, FMT_COUNT
};
const char *format_name(enum format f);

#define DETECT_BYTES ((size_t)64 << 10)

enum format detect(const uint8_t *head, size_t len);

/*
 * What a path says, at the lowest trust: the rank at the end of a file name
 * ("nccl_trace_rank_node07_40", "rank3.log", "worker-3.out"), and a host name
 * ("node07/dmesg.log", "dmesg-node07.log").
 */
int32_t rank_from_path(const char *path);
size_t host_from_path(const char *path, const char **start_ret);	/* length, 0: none */
/* Letters first, a number in it, none of the words that files are named by. */
bool reads_like_host(const char *s, size_t n);
bool looks_like_dump(const char *path);
bool named_like_dump(const char *path);	/* exactly as PyTorch names them */
