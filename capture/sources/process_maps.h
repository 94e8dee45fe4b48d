/* process_maps - what a process maps and has open.  The files may hang: for a worker only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The NCCL (or RCCL) library that it maps, as a path through /proc/PID/root. */
bool process_maps_nccl(uint32_t pid, char *path_ret, size_t size);
/* The path of one line of a maps file, when it is such a library's; NULL: it is not. */
const char *maps_line_nccl(char *line);
/* The GPUs it has open, as "nvidia0,nvidia3"; "" none. */
void process_open_gpus(uint32_t pid, char *ret, size_t size);
