#include "test.h"

#include "capture/sources/proc_file.h"
#include "capture/sources/process_identity.h"
#include "capture/sources/process_maps.h"

static struct config_list names = { { (char *)"RANK", (char *)"SLURM_PROCID", (char *)"OMPI_COMM_WORLD_RANK" }, 3 };

static const struct {
	const char *env;
	size_t len;
	struct identity id;	/* variable, rank, local_rank, world_size, node_rank, local_world_size, attempt, job, gpu */
} environments[] = {
	{ B(""), { -1, -1, -1, -1, -1, -1, -1, "", "" } },
	{ B("HOME=/root\0PATH=/bin\0"), { -1, -1, -1, -1, -1, -1, -1, "", "" } },
	{ B("SLURM_PROCID=2\0RANK=17\0LOCAL_RANK=1\0WORLD_SIZE=32\0LOCAL_WORLD_SIZE=8\0GROUP_RANK=2\0"),
	  { 0, 17, 1, 32, 2, 8, -1, "", "" } },
	{ B("SLURM_LOCALID=3\0SLURM_PROCID=11\0SLURM_NTASKS=16\0SLURM_JOB_ID=991\0SLURM_NODEID=1\0SLURM_RESTART_COUNT=2\0"),
	  { 1, 11, 3, 16, 1, -1, 2, "991", "" } },
	{ B("LOCAL_RANK=4\0SLURM_LOCALID=0\0RANK=4\0"), { 0, 4, 4, -1, -1, -1, -1, "", "" } },
	{ B("TORCHELASTIC_RUN_ID=none\0RANK=0\0TORCHELASTIC_RESTART_COUNT=3\0"), { 0, 0, -1, -1, -1, -1, 3, "", "" } },
	{ B("TORCHELASTIC_RUN_ID=e1\0SLURM_JOB_ID=7\0RANK=0\0CUDA_VISIBLE_DEVICES=0,1\0"), { 0, 0, -1, -1, -1, -1, -1, "7", "0,1" } },
	{ B("RANK=\0SLURM_PROCID=5\0"), { 1, 5, -1, -1, -1, -1, -1, "", "" } },		/* not a number: the next variable */
	{ B("RANK=x3\0RANK2=4\0XRANK=5\0"), { -1, -1, -1, -1, -1, -1, -1, "", "" } },
	{ B("RANK=-1\0"), { -1, -1, -1, -1, -1, -1, -1, "", "" } },
	{ B("RANK=99999999999\0"), { -1, -1, -1, -1, -1, -1, -1, "", "" } },
	{ B("LOCAL_RANK=1\0RANK=1"), { -1, -1, 1, -1, -1, -1, -1, "", "" } },			/* cut inside the last one */
	{ B("\0=\0=x\0novalue\0RANK=1\0"), { 0, 1, -1, -1, -1, -1, -1, "", "" } },
	{ B("RANK=1\0SLURM_JOB_ID=0123456789012345678901234567890123456789xyz\0"),
	  { 0, 1, -1, -1, -1, -1, -1, "012345678901234567890123456789012345678", "" } },
};

static void test_environments(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(environments); i++) {
		const struct identity *want = &environments[i].id;
		struct identity got;

		print_message("    %zu\n", i);
		identity_parse(environments[i].env, environments[i].len, &names, &got);
		assert_int_equal(got.variable, want->variable);
		assert_int_equal(got.rank, want->rank);
		assert_int_equal(got.local_rank, want->local_rank);
		assert_int_equal(got.world_size, want->world_size);
		assert_int_equal(got.node_rank, want->node_rank);
		assert_int_equal(got.local_world_size, want->local_world_size);
		assert_int_equal(got.attempt, want->attempt);
		assert_string_equal(got.job, want->job);
		assert_string_equal(got.gpu, want->gpu);
	}
}

static const struct {
	const char *comm, *cmdline;
	enum program program;
} programs[] = {
	{ "bash", "bash run.sh", PROGRAM_WRAPPER },
	{ "torchrun", "/usr/bin/python3 /usr/bin/torchrun --nproc-per-node 8 train.py", PROGRAM_LAUNCHER },
	{ "python3", "/usr/bin/python3 /opt/conda/bin/torchrun --nproc-per-node 8 train.py", PROGRAM_LAUNCHER },
	{ "python", "python -m torch.distributed.run --nnodes 2 train.py", PROGRAM_LAUNCHER },
	{ "pt_elastic", "python -m torch.distributed.run", PROGRAM_LAUNCHER },
	{ "python", "python train.py --launcher torchrun", PROGRAM_OTHER },
	{ "python", "python train.py", PROGRAM_OTHER },
	{ "python", "python", PROGRAM_OTHER },
	{ "train", "./train -m torch.distributed.run", PROGRAM_OTHER },
	{ "srun", "srun -n 8 ./train", PROGRAM_LAUNCHER },
	{ "tdump", "tdump --reason epilog", PROGRAM_OURS },
};

static void test_programs(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		assert_int_equal(program_of(programs[i].comm, programs[i].cmdline), programs[i].program);
}

/* variable, rank, local rank */
#define ID(v, r, l) { v, r, l, -1, -1, -1, -1, "", "" }
#define NOBODY ID(-1, -1, -1)

static const struct {
	const char *name;
	struct identity self, parent;
	enum program self_program, parent_program;
	bool terminal, tracked, cgroup, nccl;
	enum role role;
} kins[] = {
	{ "a stranger", NOBODY, NOBODY, .role = ROLE_NONE },
	{ "child of the job without variables", NOBODY, NOBODY, .tracked = true, .role = ROLE_HELPER },
	{ "in a configured cgroup", NOBODY, NOBODY, .cgroup = true, .role = ROLE_HELPER },
	{ "rank of torchrun", ID(0, 3, 3), NOBODY, .parent_program = PROGRAM_LAUNCHER, .role = ROLE_RANK },
	{ "rank of torchrun under srun", ID(0, 3, 3), ID(1, 0, 0), .parent_program = PROGRAM_LAUNCHER, .tracked = true, .role = ROLE_RANK },
	{ "torchrun under srun", ID(1, 0, 0), NOBODY, .self_program = PROGRAM_LAUNCHER, .role = ROLE_LAUNCHER },
	{ "data-loader worker", ID(0, 3, 3), ID(0, 3, 3), .tracked = true, .role = ROLE_HELPER },
	{ "program that srun starts", ID(1, 5, 1), NOBODY, .role = ROLE_RANK },
	{ "shell that srun starts", ID(1, 5, 1), NOBODY, .self_program = PROGRAM_WRAPPER, .role = ROLE_WRAPPER },
	{ "program that this shell starts", ID(1, 5, 1), ID(1, 5, 1), .parent_program = PROGRAM_WRAPPER, .role = ROLE_RANK },
	{ "program typed into srun --pty bash", ID(1, 0, 0), ID(1, 0, 0), .parent_program = PROGRAM_WRAPPER, .terminal = true, .role = ROLE_HELPER },
	{ "the same once it maps NCCL", ID(1, 0, 0), ID(1, 0, 0), .parent_program = PROGRAM_WRAPPER, .terminal = true, .nccl = true, .role = ROLE_RANK },
	{ "RANK=0 typed in front of it", ID(0, 0, -1), NOBODY, .parent_program = PROGRAM_WRAPPER, .terminal = true, .role = ROLE_RANK },
	{ "rank 0 in a pod whose RANK is the node's", ID(0, 0, 0), ID(0, 0, -1), .role = ROLE_RANK },
	{ "rank 8 in such a pod", ID(0, 8, 0), ID(0, 1, -1), .role = ROLE_RANK },
	{ "same value under an unknown launcher of that name", ID(0, 0, -1), ID(0, 0, -1), .parent_program = PROGRAM_LAUNCHER, .role = ROLE_RANK },
	{ "tdump in a preStop hook", ID(0, 3, 3), NOBODY, .self_program = PROGRAM_OURS, .role = ROLE_NONE },
};

static void test_roles(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kins); i++) {
		struct kin k = {
			.self = &kins[i].self, .parent = &kins[i].parent, .self_program = kins[i].self_program,
			.parent_program = kins[i].parent_program, .parent_on_terminal = kins[i].terminal,
			.parent_is_tracked = kins[i].tracked, .in_cgroup = kins[i].cgroup, .maps_nccl = kins[i].nccl,
		};

		print_message("    %s\n", kins[i].name);
		assert_int_equal(role_of(&k), kins[i].role);
	}
}

static void test_demotion(void **state)
{
	const struct identity by_slurm = ID(1, 0, 0), rank = ID(0, 3, 3), same = ID(0, 3, 3), pod = ID(0, 1, -1), none = NOBODY;

	(void)state;
	assert_true(identity_demotes(&rank, &by_slurm));	/* SLURM_PROCID above, RANK below */
	assert_true(identity_demotes(&rank, &pod));
	assert_false(identity_demotes(&rank, &same));
	assert_false(identity_demotes(&by_slurm, &rank));	/* a lesser sign below proves nothing */
	assert_false(identity_demotes(&rank, &none));
}

static void test_stat(void **state)
{
	static const char text[] =
		"42 (a) b) (c) S 7 42 42 34816 42 4194304 100 0 5 0 250 30 0 0 20 0 9 0 1234 1000000 50 184467 1 2 3 4 5 0 0 0 0 0 "
		"0 0 17 1 0 0 0 0 0 10 11 12 13 14 1407 15 9\n";
	struct proc_stat st;

	(void)state;
	assert_true(proc_stat_parse(text, &st));
	assert_string_equal(st.comm, "a) b) (c");
	assert_int_equal(st.state, 'S');
	assert_int_equal(st.ppid, 7);
	assert_int_equal(st.tty, 34816);
	assert_int_equal(st.major_faults, 5);
	assert_int_equal(st.user_ms, 250000 / sysconf(_SC_CLK_TCK));
	assert_int_equal(st.threads, 9);
	assert_int_equal(st.start_ns, 1234 * (1000000000 / sysconf(_SC_CLK_TCK)));
	assert_int_equal(st.rss_kib, 50 * sysconf(_SC_PAGESIZE) / 1024);
	assert_int_equal(st.env_start, 1407);
	assert_int_equal(st.exit_code, 9);
	assert_false(st.is_kernel_thread);
	for (const char *end = text; end <= strstr(text, " 50 "); end++) {	/* up to the last field that is needed */
		char cut[128] = "";

		memcpy(cut, text, (size_t)(end - text));
		assert_false(proc_stat_parse(cut, &st));
	}
}

static void test_status(void **state)
{
	static const char text[] = "Name:\tTgid: 9\nTgid:\t42\nUid:\t1000\t1001\t1000\t1000\nNSpid:\t42\t7\t1\nNoNumber:\tx\n";
	uint64_t n;

	(void)state;
	assert_true(proc_status_number(text, "Tgid", false, &n) && n == 42);
	assert_true(proc_status_number(text, "Uid", false, &n) && n == 1000);
	assert_true(proc_status_number(text, "NSpid", true, &n) && n == 1);
	assert_false(proc_status_number(text, "NoNumber", false, &n));
	assert_false(proc_status_number(text, "NSpgid", false, &n));
}

static void test_maps_lines(void **state)
{
	static const struct {
		const char *line, *path;
	} lines[] = {
		{ "7f00-7f01 r-xp 00000000 08:01 9 /opt/lib/libnccl.so.2\n", "/opt/lib/libnccl.so.2" },
		{ "7f00-7f01 r-xp 00000000 08:01 9 /opt/a b/librccl.so.1\n", "/opt/a b/librccl.so.1" },
		{ "7f00-7f01 r-xp 00000000 08:01 9 /opt/lib/libnccl.so.2 (deleted)\n", NULL },
		{ "7f00-7f01 r-xp 00000000 08:01 9 /opt/libnccl.so/libc.so.6\n", NULL },
		{ "7f00-7f01 rw-p 00000000 00:00 0 [heap]\n", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		char line[128];
		const char *path;

		strcpy(line, lines[i].line);
		path = maps_line_nccl(line);
		assert_int_equal(!path, !lines[i].path);
		if (path)
			assert_string_equal(path, lines[i].path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_environments),
		cmocka_unit_test(test_programs),
		cmocka_unit_test(test_roles),
		cmocka_unit_test(test_demotion),
		cmocka_unit_test(test_stat),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_maps_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
