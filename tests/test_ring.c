/* Segments of the recorder's ring, from bytes to observations and verdicts. */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/analysis.h"
#include "analyzer/collectives.h"
#include "analyzer/identity.h"
#include "analyzer/ingest/ingest.h"
#include "patterns/detectors.h"
#include "tests/segment_builder.h"

static struct pattern_set set;

/* ---- an input directory, read ---- */

struct input {
	char dir[64];
	struct store s;
	struct analysis a;
	struct segment_builder b;	/* the segment that is being written */
	bool analysed;
};

static void input_open(struct input *in)
{
	memset(in, 0, sizeof(*in));
	snprintf(in->dir, sizeof(in->dir), "/tmp/test_ring.XXXXXX");
	assert_non_null(mkdtemp(in->dir));
}

static void write_bytes(struct input *in, const char *name, const void *data, size_t len)
{
	char path[256], *slash;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", in->dir, name);
	for (slash = path + strlen(in->dir) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		mkdir(path, 0700);
		*slash = '/';
	}
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
}

/* The segment that was begun becomes a file. */
static void input_add(struct input *in, const char *name)
{
	write_bytes(in, name, in->b.bytes, in->b.len);
}

static void input_read(struct input *in)
{
	char *inputs[] = { in->dir };
	struct ingest_options opt = { .jobs = 1 };
	struct error err = { 0 };

	assert_int_equal(store_init(&in->s, (size_t)64 << 20, &err), 0);
	assert_int_equal(ingest(&in->s, &set, inputs, 1, &opt, &err), 0);
	detectors_run(&in->s);
	assert_int_equal(analyze(&in->s, &set, &in->a, &err), 0);
	in->analysed = true;
}

static void input_close(struct input *in)
{
	char command[128];

	if (in->analysed) {
		analysis_deinit(&in->a);
		collectives_free(&in->s);
		store_deinit(&in->s);
	}
	snprintf(command, sizeof(command), "rm -rf %s", in->dir);
	assert_int_equal(system(command), 0);
}

static const struct observation *find(struct input *in, const char *kind)
{
	return store_next(&in->s, kind, NULL);
}

static const struct observation *must_find(struct input *in, const char *kind)
{
	const struct observation *o = find(in, kind);

	if (!o)
		fail_msg("no observation %s", kind);
	return o;
}

static size_t count(struct input *in, const char *kind)
{
	size_t n = 0;

	for (const struct observation *o = NULL; (o = store_next(&in->s, kind, o));)
		n += o->count;
	return n;
}

static const char *text(struct input *in, sid id) { return intern_str(&in->s.strings, id); }

static void assert_field(struct input *in, const struct observation *o, const char *name, const char *value)
{
	assert_string_equal(observation_get(&in->s, o, name), value);
}

/* Every quote is what stands in the file at its place. */
static void assert_quotes(struct input *in)
{
	for (size_t i = 0; i < in->s.n_evidence; i++) {
		const struct evidence *e = &in->s.evidence[i];
		char bytes[QUOTE_BYTES];
		struct error err = { 0 };

		assert_int_equal(ingest_reread(text(in, in->s.members[e->member].input), "", e->offset, bytes, e->length, &err), 0);
		assert_memory_equal(bytes, e->raw, e->length);
	}
}

static const struct finding *primary(const struct input *in)
{
	assert_true(in->a.primary.n > 0);
	return &in->a.findings[in->a.primary.v[0]];
}

/* ---- what the cases are made of ---- */

static void put_process(struct input *in, double at, uint32_t pid, uint32_t ppid, int32_t rank, const char *comm)
{
	struct record_process p = { .pid = pid, .ppid = ppid, .rank = rank, .local_rank = rank, .world_size = 4, .node_rank = 0,
				    .pid_in_ns = pid, .is_rank = rank >= 0, .start_ns = pid, .job = "4711", .attempt = -1 };

	memcpy(p.comm, comm, strlen(comm));
	BUILDER_PUT(&in->b, at, REC_PROCESS, p);
}

/* Ranks 0 to 3 are processes 100 to 103, which torchrun, 99, started. */
static void add_processes(struct input *in)
{
	builder_begin(&in->b, STREAM_PROC, "node07", 1);
	put_process(in, 1, 99, 1, -1, "torchrun");
	for (uint32_t rank = 0; rank < 4; rank++)
		put_process(in, 1, 100 + rank, 99, (int32_t)rank, "python");
	input_add(in, "ring/proc-00.tcr");
}

static void put_signal(struct input *in, double at, int signal, uint32_t sender, const char *comm, uint32_t target)
{
	struct record_signal s = { .sender_pid = sender, .sender_uid = 1000, .target_pid = target,
				   .target_rank = target >= 100 && target < 104 ? (int32_t)target - 100 : -1,
				   .signal = signal, .target_comm = "python" };

	memcpy(s.sender_comm, comm, strlen(comm));
	BUILDER_PUT(&in->b, at, REC_SIGNAL, s);
}

static void put_exit(struct input *in, double at, uint32_t pid, uint32_t status)
{
	BUILDER_PUT(&in->b, at, REC_TASK_EXIT, (struct record_task_exit){
		.pid = pid, .ppid = 99, .exit_code = status, .rank = (int32_t)pid - 100, .is_tracked = 1, .comm = "python" });
}

static void put_call(struct input *in, double at, int32_t rank, uint64_t seq, uint64_t elements)
{
	BUILDER_PUT(&in->b, at, REC_NCCL_CALL, (struct record_nccl_call){
		.pid = 100 + (uint32_t)rank, .rank = rank, .op = NCCL_OP_ALL_REDUCE, .dtype = 7, .comm = 0x1000, .group = 0xabcd,
		.seq = seq, .count = elements, .peer_or_root = -1, .comm_rank = rank });
}

static void put_communicator(struct input *in, int32_t rank)
{
	BUILDER_PUT(&in->b, 2, REC_NCCL_COMM, (struct record_nccl_comm){
		.pid = 100 + (uint32_t)rank, .rank = rank, .event = NCCL_COMM_INIT, .comm = 0x1000, .group = 0xabcd,
		.comm_rank = rank, .comm_size = 4 });
}

/* ---- processes ---- */

static void test_killed_by_a_process(void **state)
{
	struct input in;
	const struct observation *o;

	(void)state;
	input_open(&in);
	add_processes(&in);
	builder_begin(&in.b, STREAM_BPF, "node07", 1);
	put_signal(&in, 100, SIGKILL, 555, "bash", 102);
	put_exit(&in, 100.01, 102, SIGKILL);
	put_signal(&in, 101, SIGTERM, 99, "torchrun", 100);
	put_exit(&in, 101.1, 100, SIGTERM);
	input_add(&in, "ring/bpf-00.tcr");
	write_bytes(&in, "dmesg.log", B("[    1.000000] Linux version 6.1\n[    2.000000] usb 1-1: new device\n"));
	input_read(&in);

	o = must_find(&in, "proc.exit");
	assert_int_equal(o->scope.rank, 2);
	assert_int_equal(o->scope.pid, 102);
	assert_int_equal(o->source, SRC_EBPF);
	assert_string_equal(text(&in, o->scope.host), "node07");
	assert_string_equal(text(&in, o->scope.sender), "bash (pid 555, uid 1000)");
	assert_field(&in, o, "exitcode", "-9");
	assert_field(&in, o, "sender_kind", "process");
	assert_int_equal(o->onset.base, TIME_UTC);
	assert_int_equal(o->onset.ns, BUILDER_BOOT_NS + INT64_C(100010000000));
	assert_int_equal(count(&in, "proc.exit"), 1);
	assert_int_equal(count(&in, "proc.terminated"), 1);
	assert_int_equal(in.a.status, VERDICT_ROOT_CAUSE);
	assert_string_equal(primary(&in)->pattern->id, "process_killed");
	assert_int_equal(primary(&in)->n_culprits, 1);
	assert_int_equal(primary(&in)->culprits[0].rank, 2);
	assert_string_equal(text(&in, primary(&in)->culprits[0].sender), "bash (pid 555, uid 1000)");
	assert_quotes(&in);
	input_close(&in);
}

/* The launcher ends what is left of a job; slurmstepd does what somebody asked for: neither is a cause. */
static void test_killed_by_launcher_or_scheduler(void **state)
{
	static const struct {
		uint32_t pid;
		const char *comm, *kind;
	} senders[] = { { 99, "torchrun", "proc.terminated" }, { 800, "slurmstepd", "proc.exit" }, { 0, "", "proc.exit" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(senders); i++) {
		struct input in;

		input_open(&in);
		add_processes(&in);
		builder_begin(&in.b, STREAM_BPF, "node07", 1);
		put_signal(&in, 100, SIGKILL, senders[i].pid, senders[i].comm, 102);
		put_exit(&in, 100.01, 102, SIGKILL);
		input_add(&in, "ring/bpf-00.tcr");
		input_read(&in);
		must_find(&in, senders[i].kind);
		assert_int_not_equal(in.a.status, VERDICT_ROOT_CAUSE);
		input_close(&in);
	}
}

static void test_stopped_rank(void **state)
{
	struct input in;
	const struct observation *o;

	(void)state;
	input_open(&in);
	add_processes(&in);
	builder_begin(&in.b, STREAM_BPF, "node07", 1);
	put_signal(&in, 100, SIGSTOP, 555, "bash", 101);
	put_signal(&in, 100, SIGSTOP, 555, "bash", 103);
	put_signal(&in, 101, SIGCONT, 555, "bash", 103);
	BUILDER_PUT(&in.b, 500, REC_TRIGGER, (struct record_trigger){ .kind = "hang", .pid = -1, .rank = -1, .id = 1 });
	input_add(&in, "ring/bpf-00.tcr");
	input_read(&in);
	o = must_find(&in, "proc.stopped");
	assert_int_equal(o->scope.rank, 1);
	assert_field(&in, o, "stopped_s", "400");
	assert_int_equal(count(&in, "proc.stopped"), 1);
	assert_int_equal(in.a.status, VERDICT_ROOT_CAUSE);
	assert_string_equal(primary(&in)->pattern->id, "rank_stalled");
	assert_string_equal(text(&in, primary(&in)->culprits[0].sender), "bash (pid 555, uid 1000)");
	input_close(&in);
}

static void test_oom_kill(void **state)
{
	struct input in;
	const struct observation *o;

	(void)state;
	input_open(&in);
	add_processes(&in);
	builder_begin(&in.b, STREAM_BPF, "node07", 1);
	builder_put(&in.b, 100, REC_OOM_KILL, &(struct record_oom_kill){
		.victim_pid = 103, .victim_rank = 3, .trigger_pid = 103, .is_memcg = 1, .anon_rss_kib = 4096,
		.victim_comm = "python" }, sizeof(struct record_oom_kill), "/job_4711");
	put_signal(&in, 100, SIGKILL, 0, "", 103);
	put_exit(&in, 100.01, 103, SIGKILL);
	input_add(&in, "ring/bpf-00.tcr");
	input_read(&in);
	o = must_find(&in, "host.oom_kill");
	assert_int_equal(o->scope.rank, 3);
	assert_string_equal(text(&in, o->scope.object), "/job_4711");
	assert_field(&in, o, "constraint", "memcg");
	assert_int_equal(in.a.status, VERDICT_ROOT_CAUSE);
	assert_string_equal(primary(&in)->pattern->id, "host_oom");
	assert_int_equal(primary(&in)->culprits[0].rank, 3);
	input_close(&in);
}

static void test_process_samples(void **state)
{
	struct input in;

	(void)state;
	input_open(&in);
	builder_begin(&in.b, STREAM_PROC, "node07", 1);
	for (uint32_t rank = 0; rank < 4; rank++)
		put_process(&in, 1, 100 + rank, 99, (int32_t)rank, "python");
	for (int at = 2; at < 40; at++) {
		BUILDER_PUT(&in.b, at, REC_PROCESS_SAMPLE, (struct record_process_sample){ .pid = 100, .rank = 0, .state = 'R' });
		BUILDER_PUT(&in.b, at, REC_PROCESS_SAMPLE, (struct record_process_sample){
			.pid = 101, .rank = 1, .state = 'D', .wchan = "rpc_wait_bit_killable" });
		/* one that went on, one that is in that state now and then */
		BUILDER_PUT(&in.b, at, REC_PROCESS_SAMPLE, (struct record_process_sample){
			.pid = 102, .rank = 2, .state = at < 35 ? 'D' : 'S' });
		BUILDER_PUT(&in.b, at, REC_PROCESS_SAMPLE, (struct record_process_sample){
			.pid = 103, .rank = 3, .state = at % 2 ? 'D' : 'S' });
	}
	input_add(&in, "ring/proc-00.tcr");
	input_read(&in);
	assert_int_equal(must_find(&in, "storage.blocked")->scope.rank, 1);
	assert_int_equal(count(&in, "storage.blocked"), 1);
	assert_int_equal(count(&in, "host.hung_task"), 0);
	assert_int_equal(identity_by_rank(&in.s, 2)->pid, 102);
	assert_int_equal(in.s.identity->world_size, 4);
	assert_string_equal(text(&in, in.s.identity->job), "4711");
	input_close(&in);
}

static void test_pid_in_container(void **state)
{
	struct input in;
	struct record_process p = { .pid = 90210, .rank = 1, .local_rank = 1, .pid_in_ns = 42, .is_rank = 1, .start_ns = 5, .comm = "python" };
	const struct observation *o;

	(void)state;
	input_open(&in);
	builder_begin(&in.b, STREAM_PROC, "node07", 1);
	BUILDER_PUT(&in.b, 1, REC_PROCESS, p);
	input_add(&in, "ring/proc-00.tcr");
	builder_begin(&in.b, STREAM_BPF, "node07", 1);
	BUILDER_PUT(&in.b, 9, REC_TASK_EXIT, (struct record_task_exit){ .pid = 90210, .exit_code = 1 << 8, .rank = -1, .is_tracked = 1 });
	input_add(&in, "ring/bpf-00.tcr");
	input_read(&in);
	o = must_find(&in, "proc.exit");
	assert_int_equal(o->scope.rank, 1);
	assert_int_equal(o->scope.pid, 42);
	assert_field(&in, o, "host_pid", "90210");
	assert_field(&in, o, "exitcode", "1");
	input_close(&in);
}

/* ---- the kernel ---- */

static void test_blocked_tasks(void **state)
{
	struct record_blocked_task b = { .pid = 101, .tid = 101, .rank = 1, .frames = 2, .blocked_ns = 40 * 1000000000ull, .comm = "python" };
	struct input in;

	(void)state;
	input_open(&in);
	builder_begin(&in.b, STREAM_BPF, "node07", 1);
	builder_put(&in.b, 20, REC_BLOCKED_TASK, &b, sizeof(b), "blkdev_issue_flush+0x1\nvfs_fsync\n");
	builder_put(&in.b, 100, REC_BLOCKED_TASK, &b, sizeof(b), "rpc_wait_bit_killable+0x21\nnfs4_proc_getattr\n");
	input_add(&in, "ring/bpf-00.tcr");
	input_read(&in);
	assert_int_equal(must_find(&in, "storage.blocked")->scope.rank, 1);
	assert_int_equal(find(&in, "storage.blocked")->onset.ns, BUILDER_BOOT_NS + INT64_C(60000000000));
	assert_field(&in, find(&in, "storage.blocked"), "symbol", "rpc_wait_bit_killable");
	assert_int_equal(count(&in, "host.task_waited"), 1);
	assert_null(find(&in, "host.hung_task"));
	input_close(&in);
}

static void test_disks_and_tcp(void **state)
{
	struct record_tcp t = { .event = TCP_EVENT_CONNECT_FAILED, .family = AF_INET, .remote_port = 29500, .remote = { 10, 0, 0, 9 },
				.pid = 101, .rank = 1, .error = EHOSTUNREACH, .count = 1, .comm = "python" };
	struct input in;

	(void)state;
	input_open(&in);
	builder_begin(&in.b, STREAM_BPF, "node07", 1);
	BUILDER_PUT(&in.b, 1, REC_BLOCK_IO, (struct record_block_io){ .major = 8, .error = EIO, .latency_ns = 1000 });
	BUILDER_PUT(&in.b, 2, REC_BLOCK_IO, (struct record_block_io){ .major = 8, .minor = 16, .latency_ns = 12000000000 });
	BUILDER_PUT(&in.b, 3, REC_BLOCK_IO, (struct record_block_io){ .major = 8, .minor = 32, .error = EOPNOTSUPP });
	BUILDER_PUT(&in.b, 4, REC_TCP, t);
	t.rank = -1;		/* not the job's */
	t.remote[3] = 10;
	BUILDER_PUT(&in.b, 5, REC_TCP, t);
	t.event = TCP_EVENT_RETRANSMIT;
	t.count = 500;
	BUILDER_PUT(&in.b, 6, REC_TCP, t);
	input_add(&in, "ring/bpf-00.tcr");
	input_read(&in);
	assert_string_equal(text(&in, must_find(&in, "disk.io_error")->scope.object), "block device 8:0");
	assert_string_equal(text(&in, must_find(&in, "disk.timeout")->scope.object), "block device 8:16");
	assert_int_equal(count(&in, "disk.io_error"), 1);
	assert_string_equal(text(&in, must_find(&in, "net.unreachable")->scope.object), "10.0.0.9:29500");
	assert_int_equal(count(&in, "net.unreachable"), 1);
	assert_string_equal(text(&in, must_find(&in, "net.retransmits")->scope.object), "10.0.0.10:29500");
	input_close(&in);
}

/* ---- GPUs, ports, the host ---- */

static struct record_gpu_sample healthy(uint32_t index)
{
	struct record_gpu_sample s;

	memset(&s, 0xff, sizeof(s));
	s.index = index;
	s.lost = s.reserved = 0;
	s.utilisation_pct = 95;
	s.sm_mhz = 1980;
	s.temperature_c = 60;
	s.pcie_width = 16;
	s.pcie_gen = 5;
	s.clock_event_reasons = 0;
	s.ecc_uncorrected_volatile = s.ecc_sram_uncorrected = 0;
	s.remap_pending = s.remap_failed = 0;
	return s;
}

static void put_device(struct input *in, uint32_t index)
{
	BUILDER_PUT(&in->b, 1, REC_GPU_DEVICE, (struct record_gpu_device){
		.index = index, .pci_bus = 0x1b + index, .vendor = 0x10de, .pcie_width_max = 16, .pcie_gen_max = 5 });
}

static void test_gpus(void **state)
{
	struct input in;
	const struct observation *o;

	(void)state;
	input_open(&in);
	builder_begin(&in.b, STREAM_GPU, "node07", 1);
	for (uint32_t i = 0; i < 4; i++)
		put_device(&in, i);
	for (int at = 2; at < 60; at++)
		for (uint32_t i = 0; i < 4; i++) {
			struct record_gpu_sample s = healthy(i);

			if (i == 0 && at == 20)
				s.clock_event_reasons = 0x40;	/* a moment: no news */
			if (i == 1 && at >= 30)
				s.clock_event_reasons = 0x40;
			if (i == 2)
				s.ecc_uncorrected_volatile = at >= 40 ? 3 : 0;
			if (i == 3) {
				s.pcie_width = at >= 10 ? 4 : 16;
				s.sm_mhz = 900;
			}
			BUILDER_PUT(&in.b, at, REC_GPU_SAMPLE, s);
		}
	builder_put(&in.b, 61, REC_GPU_EVENT, &(struct record_gpu_event){ .index = 2, .event = GPU_EVENT_XID, .value = 79 },
		    sizeof(struct record_gpu_event), "Xid 79");
	builder_put(&in.b, 61, REC_GPU_EVENT, &(struct record_gpu_event){ .index = 1, .event = GPU_EVENT_XID, .value = 13 },
		    sizeof(struct record_gpu_event), "Xid 13");
	input_add(&in, "ring/gpu-00.tcr");
	input_read(&in);
	o = must_find(&in, "gpu.thermal");
	assert_string_equal(text(&in, o->scope.gpu), "0000:1c:00.0");
	assert_int_equal(o->onset.ns, BUILDER_BOOT_NS + INT64_C(30000000000));
	assert_int_equal(count(&in, "gpu.thermal"), 1);
	assert_string_equal(text(&in, must_find(&in, "gpu.ecc_uncorrectable")->scope.gpu), "0000:1d:00.0");
	assert_field(&in, must_find(&in, "pcie.link_degraded"), "width", "x4");
	assert_string_equal(text(&in, must_find(&in, "gpu.slow_clock")->scope.gpu), "0000:1e:00.0");
	assert_string_equal(text(&in, must_find(&in, "gpu.lost")->scope.gpu), "0000:1d:00.0");
	assert_string_equal(text(&in, must_find(&in, "gpu.xid_app")->scope.gpu), "0000:1c:00.0");
	assert_quotes(&in);
	input_close(&in);
}

static void test_ports(void **state)
{
	struct record_ib_port p = { .device = "mlx5_0", .port = 1, .state = 4, .physical_state = 5 };
	struct record_netdev n = { .name = "eth0", .is_up = 1, .carrier_changes = 2 };
	struct input in;

	(void)state;
	input_open(&in);
	builder_begin(&in.b, STREAM_GPU, "node07", 1);
	BUILDER_PUT(&in.b, 1, REC_IB_PORT, p);
	p.state = 1;
	BUILDER_PUT(&in.b, 50, REC_IB_PORT, p);
	p.state = 4;
	p.link_downed = 1;
	BUILDER_PUT(&in.b, 60, REC_IB_PORT, p);
	p.symbol_error = 12;
	BUILDER_PUT(&in.b, 70, REC_IB_PORT, p);
	input_add(&in, "ring/gpu-00.tcr");
	builder_begin(&in.b, STREAM_HOST, "node07", 1);
	BUILDER_PUT(&in.b, 1, REC_NETDEV, n);
	n.carrier_changes = 4;	/* down and up between two samples */
	BUILDER_PUT(&in.b, 40, REC_NETDEV, n);
	input_add(&in, "ring/host-00.tcr");
	input_read(&in);
	assert_int_equal(count(&in, "net.link_down"), 2);
	assert_int_equal(count(&in, "net.link_up"), 2);
	assert_string_equal(text(&in, must_find(&in, "ib.symbol_errors")->scope.link), "mlx5_0/1");
	assert_int_equal(must_find(&in, "net.link_down")->source, SRC_NET);
	input_close(&in);
}

static void test_file_systems(void **state)
{
	struct record_file_system log = { .bytes = 1 << 30, .bytes_free = 1 << 29, .inodes = 100, .inodes_free = 50, .role = 1 };
	struct record_file_system shm = { .bytes = 1 << 30, .bytes_free = 1 << 29, .role = 2 };
	struct record_file_system old = { .bytes = 1 << 30, .bytes_free = 0, .role = 8 };
	struct input in;

	(void)state;
	input_open(&in);
	add_processes(&in);
	builder_begin(&in.b, STREAM_HOST, "node07", 1);
	for (int at = 10; at < 60; at += 10) {
		log.inodes_free = at < 40 ? 50 : 0;
		shm.bytes_free = at < 40 ? 1 << 29 : 0;
		builder_put(&in.b, at, REC_FILE_SYSTEM, &log, sizeof(log), "/var/log/job");
		builder_put(&in.b, at, REC_FILE_SYSTEM, &shm, sizeof(shm), "/dev/shm");
		builder_put(&in.b, at, REC_FILE_SYSTEM, &old, sizeof(old), "/mnt/archive");
	}
	BUILDER_PUT(&in.b, 61, REC_HOST_SAMPLE, (struct record_host_sample){ .psi_memory_full_x100 = 4200 });
	input_add(&in, "ring/host-00.tcr");
	builder_begin(&in.b, STREAM_BPF, "node07", 1);
	put_exit(&in, 62, 100, 1 << 8);
	input_add(&in, "ring/bpf-00.tcr");
	input_read(&in);
	assert_string_equal(text(&in, must_find(&in, "disk.job_full")->scope.object), "/var/log/job");
	assert_string_equal(text(&in, must_find(&in, "shm.at_capacity")->scope.object), "/dev/shm");
	assert_string_equal(text(&in, must_find(&in, "disk.at_capacity")->scope.object), "/mnt/archive");
	must_find(&in, "host.memory_pressure");
	assert_string_equal(primary(&in)->pattern->id, "disk_full");
	assert_string_equal(text(&in, primary(&in)->culprits[0].object), "/var/log/job");
	input_close(&in);
}

/* ---- NCCL ---- */

static void test_calls_show_who_did_not_enter(void **state)
{
	struct input in;
	const struct observation *o;

	(void)state;
	input_open(&in);
	add_processes(&in);
	builder_begin(&in.b, STREAM_NCCL, "node07", 1);
	for (int32_t rank = 0; rank < 4; rank++)
		put_communicator(&in, rank);
	for (uint64_t seq = 1; seq <= 20; seq++)
		for (int32_t rank = 0; rank < 4; rank++)
			if (rank != 2 || seq <= 17)
				put_call(&in, 10 + (double)seq, rank, seq, 4096);
	BUILDER_PUT(&in.b, 330, REC_TRIGGER, (struct record_trigger){ .kind = "hang", .pid = -1, .rank = -1, .id = 1 });
	input_add(&in, "ring/nccl-00.tcr");
	input_read(&in);
	o = must_find(&in, "coll.not_entered");
	assert_int_equal(o->scope.rank, 2);
	assert_int_equal(o->source, SRC_EBPF);
	assert_int_equal(count(&in, "coll.not_entered"), 1);
	assert_null(find(&in, "coll.gpu_stalled"));
	assert_null(find(&in, "coll.stuck"));
	assert_int_equal(in.s.collectives->stuck[0].seq, 18);
	assert_int_equal(in.a.status, VERDICT_UNATTRIBUTED);
	assert_string_equal(primary(&in)->pattern->id, "rank_stalled");
	assert_quotes(&in);
	input_close(&in);
}

static void test_calls_that_differ(void **state)
{
	struct input in;

	(void)state;
	input_open(&in);
	add_processes(&in);
	builder_begin(&in.b, STREAM_NCCL, "node07", 1);
	for (int32_t rank = 0; rank < 4; rank++)
		put_communicator(&in, rank);
	for (uint64_t seq = 1; seq <= 20; seq++)
		for (int32_t rank = 0; rank < 4; rank++)
			put_call(&in, 10 + (double)seq, rank, seq, rank == 3 && seq == 20 ? 2048 : 4096);
	BUILDER_PUT(&in.b, 330, REC_TRIGGER, (struct record_trigger){ .kind = "hang", .pid = -1, .rank = -1, .id = 1 });
	input_add(&in, "ring/nccl-00.tcr");
	input_read(&in);
	assert_int_equal(must_find(&in, "coll.mismatch")->scope.rank, 3);
	assert_int_equal(in.a.status, VERDICT_ROOT_CAUSE);
	assert_string_equal(primary(&in)->pattern->id, "collective_desync");
	input_close(&in);
}

/* A communicator that was first seen mid-life counts from anywhere. */
static void test_calls_from_mid_life(void **state)
{
	struct record_nccl_call k = { .op = NCCL_OP_ALL_REDUCE, .flags = 1, .group = 7, .peer_or_root = -1, .count = 1 };
	struct input in;

	(void)state;
	input_open(&in);
	add_processes(&in);
	builder_begin(&in.b, STREAM_NCCL, "node07", 1);
	for (int32_t rank = 0; rank < 4; rank++)
		for (k.seq = 1; k.seq < 9 + (uint64_t)rank; k.seq++) {
			k.rank = k.comm_rank = rank;
			BUILDER_PUT(&in.b, 10, REC_NCCL_CALL, k);
		}
	BUILDER_PUT(&in.b, 330, REC_TRIGGER, (struct record_trigger){ .kind = "hang", .pid = -1, .rank = -1, .id = 1 });
	input_add(&in, "ring/nccl-00.tcr");
	input_read(&in);
	assert_null(find(&in, "coll.not_entered"));
	input_close(&in);
}

/* ---- the ring itself ---- */

static void test_segments_that_overlap_count_once(void **state)
{
	struct input in;

	(void)state;
	input_open(&in);
	add_processes(&in);
	builder_begin(&in.b, STREAM_BPF, "node07", 1);
	put_exit(&in, 10, 100, 1 << 8);
	input_add(&in, "ring/bpf-01.tcr");
	put_exit(&in, 20, 101, 1 << 8);
	input_add(&in, "ring-after/bpf-01.tcr");
	/* the boot before has numbers of its own */
	builder_begin(&in.b, STREAM_BPF, "node07", 1);
	put_exit(&in, 30, 102, 1 << 8);
	input_add(&in, "previous/ring/bpf-01.tcr");
	input_read(&in);
	assert_int_equal(count(&in, "proc.exit"), 3);
	input_close(&in);
}

static void test_damage_loss_and_states(void **state)
{
	struct input in;
	const struct observation *o;

	(void)state;
	input_open(&in);
	builder_begin(&in.b, STREAM_BPF, "node07", 1);
	builder_put(&in.b, 1, REC_SOURCE, &(struct record_source){ .source = "bpf", .state = SOURCE_DENIED },
		    sizeof(struct record_source), "no CAP_BPF");
	BUILDER_PUT(&in.b, 2, REC_LOSS, (struct record_loss){ .lost = 12, .source = "bpf" });
	put_exit(&in, 10, 100, 1 << 8);
	put_exit(&in, 20, 101, 1 << 8);
	in.b.bytes[SEGMENT_HEAD_BYTES + 3 * 32 + 40 + 32 + 16 + 4] ^= 1;	/* somewhere in the records */
	input_add(&in, "ring/bpf-00.tcr");
	write_bytes(&in, "ring/gpu-00.tcr", in.b.bytes, 100);
	input_read(&in);
	o = must_find(&in, "capture.source");
	assert_field(&in, o, "class", "ebpf");
	assert_field(&in, o, "reason", "no CAP_BPF");
	o = find(&in, "input.lost");
	assert_true(o || find(&in, "proc.exit"));
	assert_int_equal(count(&in, "input.damaged"), 2);
	assert_true(in.a.any_damage);
	input_close(&in);
}

static void test_text_streams(void **state)
{
	static const char line[] = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
		"79.11 GiB of which 1.00 GiB is free.\n";
	struct record_log_file file = { .file = 5, .rank = 3 };
	struct record_log_bytes at = { .file = 5 };
	struct input in;
	const struct observation *o;

	(void)state;
	input_open(&in);
	builder_begin(&in.b, STREAM_KERNEL, "node07", 1);
	builder_put(&in.b, 5, REC_KMSG, NULL, 0, "6,100,4000000,-;usb 1-1: new device\n");
	builder_put(&in.b, 6, REC_KMSG, NULL, 0, "4,101,5000000,-;NVRM: Xid (PCI:0000:1b:00): 79, pid=100, GPU has fallen off the bus.\n");
	input_add(&in, "ring/kernel-00.tcr");
	builder_begin(&in.b, STREAM_LOGS, "node07", 1);
	builder_put(&in.b, 1, REC_LOG_FILE, &file, sizeof(file), "/logs/rank3.log");
	builder_put(&in.b, 2, REC_LOG_BYTES, &at, sizeof(at), "step 1 loss 2.0\n");
	at.file = 6;
	builder_put(&in.b, 3, REC_LOG_BYTES, &at, sizeof(at), "nothing of note\n");
	at.file = 5;
	builder_put(&in.b, 4, REC_LOG_BYTES, &at, sizeof(at), line);
	input_add(&in, "ring/logs-00.tcr");
	input_read(&in);
	o = must_find(&in, "gpu.lost");
	assert_string_equal(text(&in, o->scope.host), "node07");
	assert_string_equal(text(&in, o->scope.gpu), "0000:1b:00.0");
	o = must_find(&in, "cuda.oom");
	assert_int_equal(o->scope.rank, 3);
	assert_int_equal(in.s.evidence[o->evidence[0]].line, 0);
	assert_quotes(&in);
	input_close(&in);
}

/* Every cut and every flipped byte of a good segment reads without a crash, and nothing is made up. */
static void test_truncation_and_flips(void **state)
{
	struct input in;
	size_t whole;

	(void)state;
	input_open(&in);
	builder_begin(&in.b, STREAM_BPF, "node07", 1);
	put_signal(&in, 100, SIGKILL, 555, "bash", 102);
	put_exit(&in, 100.01, 102, SIGKILL);
	whole = in.b.len;
	for (size_t i = 0; i < 2 * whole; i++) {
		struct input again = in;

		again.b.len = i < whole ? i : whole;
		if (i >= whole)
			again.b.bytes[i - whole] ^= 0x40;
		input_add(&again, "ring/bpf-00.tcr");
		input_read(&again);
		assert_true(count(&again, "proc.exit") <= 1);
		assert_true(count(&again, "proc.signal") <= 1);
		analysis_deinit(&again.a);
		store_deinit(&again.s);
	}
	input_close(&in);
}

static int load(void **state)
{
	struct error err = { 0 };

	(void)state;
	return pattern_set_init(&set, &err) || patterns_add_shipped(&set, &err) || pattern_set_seal(&set, &err);
}

static int unload(void **state)
{
	(void)state;
	pattern_set_deinit(&set);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed_by_a_process),
		cmocka_unit_test(test_killed_by_launcher_or_scheduler),
		cmocka_unit_test(test_stopped_rank),
		cmocka_unit_test(test_oom_kill),
		cmocka_unit_test(test_process_samples),
		cmocka_unit_test(test_pid_in_container),
		cmocka_unit_test(test_blocked_tasks),
		cmocka_unit_test(test_disks_and_tcp),
		cmocka_unit_test(test_gpus),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_file_systems),
		cmocka_unit_test(test_calls_show_who_did_not_enter),
		cmocka_unit_test(test_calls_that_differ),
		cmocka_unit_test(test_calls_from_mid_life),
		cmocka_unit_test(test_segments_that_overlap_count_once),
		cmocka_unit_test(test_damage_loss_and_states),
		cmocka_unit_test(test_text_streams),
		cmocka_unit_test(test_truncation_and_flips),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
