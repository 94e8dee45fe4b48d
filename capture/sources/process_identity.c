#include "capture/sources/process_identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bundle/cleanup.h"
#include "capture/scrub.h"

#define NAMES_MAX 6

/* Where a value comes from: the first name that is set, in this order. */
static const struct number_field {
	size_t at;
	const char *name[NAMES_MAX];
} number_fields[] = {
	{ offsetof(struct identity, local_rank), { "LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID" } },
	{ offsetof(struct identity, world_size),
	  { "WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE" } },
	{ offsetof(struct identity, node_rank), { "GROUP_RANK", "NODE_RANK", "SLURM_NODEID" } },
	{ offsetof(struct identity, local_world_size), { "LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS" } },
	{ offsetof(struct identity, attempt), { "TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT" } },
};

static const struct text_field {
	size_t at, size;
	const char *name[NAMES_MAX];
} text_fields[] = {
	{ offsetof(struct identity, job), sizeof(((struct identity *)0)->job),
	  { "SLURM_JOB_ID", "SLURM_JOBID", "PBS_JOBID", "LSB_JOBID", "TORCHELASTIC_RUN_ID" } },
	{ offsetof(struct identity, gpu), sizeof(((struct identity *)0)->gpu),
	  { "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES" } },
};

/* Which alternative filled a field, so that an earlier name wins over what was met first. */
struct filled {
	size_t number[ARRAY_SIZE(number_fields)], text[ARRAY_SIZE(text_fields)];
};

static bool is_name(const char *name, size_t len, const char *want) { return !strncmp(name, want, len) && !want[len]; }

/* Index in `names`, or NAMES_MAX. */
static size_t place_of(const char *name, size_t len, const char *const names[NAMES_MAX])
{
	size_t i = 0;

	while (i < NAMES_MAX && names[i] && !is_name(name, len, names[i]))
		i++;
	return i < NAMES_MAX && names[i] ? i : NAMES_MAX;
}

static bool parse_count(const char *value, int32_t *ret)
{
	char *end;
	long n = strtol(value, &end, 10);

	if (end == value || *end || n < 0 || n > INT32_MAX)
		return false;
	*ret = (int32_t)n;
	return true;
}

static void take_rank(const char *name, size_t len, const char *value, const struct config_list *track_env,
		      struct identity *id)
{
	for (size_t i = 0; i < track_env->n; i++)
		if ((id->variable < 0 || (int)i < id->variable) && is_name(name, len, track_env->item[i]) &&
		    parse_count(value, &id->rank))
			id->variable = (int)i;
}

static void take_fields(const char *name, size_t len, const char *value, struct identity *id, struct filled *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(number_fields); i++) {
		size_t place = place_of(name, len, number_fields[i].name);

		if (place < f->number[i] && parse_count(value, (int32_t *)((char *)id + number_fields[i].at)))
			f->number[i] = place;
	}
	for (size_t i = 0; i < ARRAY_SIZE(text_fields); i++) {
		size_t place = place_of(name, len, text_fields[i].name);

		if (place >= f->text[i] || !*value || !strcmp(value, "none") || !scrub_env_allowed(name, len))
			continue;
		snprintf((char *)id + text_fields[i].at, text_fields[i].size, "%s", value);
		f->text[i] = place;
	}
}

void identity_parse(const char *env, size_t len, const struct config_list *track_env, struct identity *ret)
{
	const char *end = env + len, *next;
	struct filled f;

	*ret = (struct identity){ -1, -1, -1, -1, -1, -1, -1, "", "" };
	for (size_t i = 0; i < ARRAY_SIZE(f.number); i++)
		f.number[i] = NAMES_MAX;
	for (size_t i = 0; i < ARRAY_SIZE(f.text); i++)
		f.text[i] = NAMES_MAX;
	for (const char *s = env; s < end && (next = memchr(s, '\0', (size_t)(end - s))); s = next + 1) {
		const char *eq = strchr(s, '=');

		if (!eq || eq == s)
			continue;
		take_rank(s, (size_t)(eq - s), eq + 1, track_env, ret);
		take_fields(s, (size_t)(eq - s), eq + 1, ret, &f);
	}
}

static const struct {
	const char *comm;
	enum program program;
} programs[] = {
	{ "tcaptured", PROGRAM_OURS }, { "tdump", PROGRAM_OURS },
	{ "sh", PROGRAM_WRAPPER }, { "bash", PROGRAM_WRAPPER }, { "dash", PROGRAM_WRAPPER }, { "ash", PROGRAM_WRAPPER },
	{ "busybox", PROGRAM_WRAPPER }, { "zsh", PROGRAM_WRAPPER }, { "ksh", PROGRAM_WRAPPER }, { "csh", PROGRAM_WRAPPER },
	{ "tcsh", PROGRAM_WRAPPER }, { "fish", PROGRAM_WRAPPER }, { "nsys", PROGRAM_WRAPPER }, { "ncu", PROGRAM_WRAPPER },
	{ "rocprof", PROGRAM_WRAPPER }, { "strace", PROGRAM_WRAPPER }, { "gdb", PROGRAM_WRAPPER },
	{ "valgrind", PROGRAM_WRAPPER }, { "perf", PROGRAM_WRAPPER }, { "time", PROGRAM_WRAPPER },
	{ "timeout", PROGRAM_WRAPPER }, { "tini", PROGRAM_WRAPPER }, { "dumb-init", PROGRAM_WRAPPER },
	{ "docker-init", PROGRAM_WRAPPER }, { "singularity", PROGRAM_WRAPPER }, { "apptainer", PROGRAM_WRAPPER },
	{ "starter", PROGRAM_WRAPPER }, { "conda", PROGRAM_WRAPPER }, { "sudo", PROGRAM_WRAPPER },
	{ "torchrun", PROGRAM_LAUNCHER }, { "pt_elastic", PROGRAM_LAUNCHER }, { "accelerate", PROGRAM_LAUNCHER }, { "deepspeed", PROGRAM_LAUNCHER },
	{ "srun", PROGRAM_LAUNCHER }, { "slurmstepd", PROGRAM_LAUNCHER }, { "mpirun", PROGRAM_LAUNCHER },
	{ "mpiexec", PROGRAM_LAUNCHER }, { "mpiexec.hydra", PROGRAM_LAUNCHER }, { "orterun", PROGRAM_LAUNCHER },
	{ "prterun", PROGRAM_LAUNCHER }, { "orted", PROGRAM_LAUNCHER }, { "prted", PROGRAM_LAUNCHER },
	{ "hydra_pmi_proxy", PROGRAM_LAUNCHER }, { "horovodrun", PROGRAM_LAUNCHER },
};

static const char *const launcher_modules[] = {
	"torch.distributed.run", "torch.distributed.launch", "accelerate.commands.launch", "deepspeed.launcher",
	"torchrun", "horovod.runner",
};

/* `python -m MODULE`, `python .../torchrun`: what python runs, not an argument of a script. */
static bool runs_launcher(const char *cmdline)
{
	const char *script = strstr(cmdline, ".py "), *python = strstr(cmdline, "python"), *space = strchr(cmdline, ' ');

	if (!python || !space || python > space)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(launcher_modules); i++) {
		const char *at = strstr(space, launcher_modules[i]);

		if (at && strchr(" /", at[-1]) && (!script || at < script))
			return true;
	}
	return false;
}

enum program program_of(const char *comm, const char *cmdline)
{
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		if (!strcmp(comm, programs[i].comm))
			return programs[i].program;
	return runs_launcher(cmdline) ? PROGRAM_LAUNCHER : PROGRAM_OTHER;
}

static bool is_same(const struct identity *a, const struct identity *b)
{
	return a->variable == b->variable && a->rank == b->rank && a->local_rank == b->local_rank;
}

enum role role_of(const struct kin *k)
{
	if (k->self_program == PROGRAM_OURS)
		return ROLE_NONE;
	if (k->self->variable < 0)
		return k->parent_is_tracked || k->in_cgroup ? ROLE_HELPER : ROLE_NONE;
	if (k->self_program == PROGRAM_LAUNCHER)
		return ROLE_LAUNCHER;
	if (k->self_program == PROGRAM_WRAPPER)
		return ROLE_WRAPPER;
	if (!k->parent || !is_same(k->self, k->parent) || k->parent_program == PROGRAM_LAUNCHER)
		return ROLE_RANK;
	if (k->parent_program != PROGRAM_WRAPPER)
		return ROLE_HELPER;
	return k->parent_on_terminal && !k->maps_nccl ? ROLE_HELPER : ROLE_RANK;
}

bool identity_demotes(const struct identity *rank, const struct identity *ancestor)
{
	return ancestor->variable >= 0 && !is_same(rank, ancestor) && rank->variable <= ancestor->variable;
}
