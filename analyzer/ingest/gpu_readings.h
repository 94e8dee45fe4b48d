/*
 * gpu_readings - what a tool says about GPUs, one after the other, becomes observations.
 *
 * nvidia-smi (XML, text, table), amd-smi and rocm-smi (text, JSON) name much the same
 * things by much the same words.  A reader opens a GPU, hands over each value with the
 * path of names above it ("/ecc_errors/volatile/dram_uncorrectable": lower case, "_" for
 * all that is neither letter nor digit), and closes the GPU.
 */
#pragma once
#include "analyzer/ingest/structured.h"

#define GPU_PLACES 4		/* quotes kept per fact */

/* What is kept of one GPU. */
enum reading_id {
	PRODUCT, UUID, MINOR, BUS_ID, MEM_TOTAL, MEM_USED, UTIL, TEMP,
	WIDTH, MAX_WIDTH, GEN, MAX_GEN,
	DRAM, SRAM, AGGREGATE, REMAP_PENDING, REMAP_FAILED,
	THERMAL, BRAKE, ACTION, FABRIC, FABRIC_FAULT, UNCORRECTED, LOST, UNKNOWN,
	PROC_PID, PROC_NAME, PROC_MEM,
	READINGS
};

struct reading {
	unsigned n;		/* values that said so */
	uint64_t total;
	char text[96];		/* the value, or the last names of the paths */
	struct place at[GPU_PLACES];
};

struct gpu_reader {
	struct citer c;
	struct stamp time;
	char driver[64];
	int64_t attached;
	struct place attached_at;
	unsigned n_gpus;
	/* of the GPU that is open */
	bool open;
	struct place at;
	char id[48];
	struct reading gpu[READINGS];
	unsigned n_processes;
	char pids[256], largest[256];	/* largest: who holds most of the memory */
	int64_t largest_mib;
};

/* What stands above the GPUs: a time, the driver's version, how many are attached. */
void gpu_reader_top(struct gpu_reader *r, const char *path, const char *text, struct place at);

void gpu_reader_open(struct gpu_reader *r, struct span id, struct place at);
void gpu_reader_take(struct gpu_reader *r, const char *path, const char *text, struct place at);
void gpu_reader_process(struct gpu_reader *r);	/* a process was told of to the end */
void gpu_reader_close(struct gpu_reader *r);	/* nothing when none is open */

/* All GPUs were told of, when `whole`: fewer than are attached is an observation. */
void gpu_reader_end(struct gpu_reader *r, bool whole);
