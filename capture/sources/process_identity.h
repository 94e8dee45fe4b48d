/*
 * process_identity - what a process is to the job, from its environment and its parent.
 *
 * What operators have: torchrun gives its children RANK and LOCAL_RANK; under srun the
 * launcher and all below it inherit SLURM_PROCID; mpirun sets OMPI_COMM_WORLD_RANK on a
 * shell that starts the program; a pod may carry RANK for every process in it; data-loader
 * workers have all that their rank has.  So: the first variable of config.track_env that
 * is a number decides; a process with the same identity as its parent is the rank's helper, unless that
 * parent only wraps (a shell, a profiler); a launcher is no rank, and neither is a process
 * below which another identity appears.  Pure functions: nothing is read here.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bundle/records.h"
#include "capture/config.h"

/* What the environment says; -1 and "" where it does not. */
struct identity {
	int variable;			/* index in config.track_env; -1: nothing makes it a rank */
	int32_t rank, local_rank, world_size, node_rank, local_world_size, attempt;
	char job[40], gpu[48];
};

/* `env`: NUL-parted NAME=VALUE; a last one without NUL was cut, and is not taken. */
void identity_parse(const char *env, size_t len, const struct config_list *track_env, struct identity *ret);

enum program {
	PROGRAM_OTHER,
	PROGRAM_WRAPPER,		/* runs the rank for the launcher: a shell, a profiler; has the rank's number */
	PROGRAM_LAUNCHER,		/* torchrun, srun, mpirun: no rank's number is its own */
	PROGRAM_OURS,			/* tcaptured, tdump: never the job's */
};
/* By name, and for `python -m torch.distributed.run` and its like by command line (NULs as spaces). */
enum program program_of(const char *comm, const char *cmdline);

enum role { ROLE_NONE, ROLE_RANK, ROLE_HELPER, ROLE_WRAPPER, ROLE_LAUNCHER };

/* One process beside its parent. */
struct kin {
	const struct identity *self, *parent;	/* parent: NULL not known */
	enum program self_program, parent_program;
	bool parent_on_terminal;	/* somebody types there */
	bool parent_is_tracked;
	bool in_cgroup;			/* a configured one */
	bool maps_nccl;
};
enum role role_of(const struct kin *k);
/* Does this rank below it prove that the ancestor only launches? */
bool identity_demotes(const struct identity *rank, const struct identity *ancestor);
