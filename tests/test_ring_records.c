/* What the recorder's records become: processes, the kernel, GPUs, ports, the host. */
#include "tests/ring_fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

#include "analyzer/identity.h"

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
	} senders[] = { { 99, "torchrun", "proc.terminated" },
			{ 800, "slurmstepd", "proc.exit" },
			{ 0, "", "proc.exit" } };

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
		BUILDER_PUT(&in.b, at, REC_PROCESS_SAMPLE,
			    (struct record_process_sample){ .pid = 100, .rank = 0, .state = 'R' });
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

/* Rank 0 computes, rank 1 waits now and then, rank 2 did until shortly before the end, rank 3 is not seen for long enough. */
static void test_busy_process(void **state)
{
	struct input in;

	(void)state;
	input_open(&in);
	builder_begin(&in.b, STREAM_PROC, "node07", 1);
	for (uint32_t rank = 0; rank < 4; rank++)
		put_process(&in, 1, 100 + rank, 99, (int32_t)rank, "python");
	for (int at = 2; at < 40; at++)
		for (uint32_t rank = 0; rank < 4; rank++) {
			struct record_process_sample p = { .pid = 100 + rank, .rank = (int32_t)rank, .state = 'R' };

			p.cpu_user_ms = (uint64_t)at * 900;
			p.voluntary_switches = rank == 1 ? (uint64_t)at * 40 : 7 + (at > 20);
			if (rank == 2 && at > 37)
				p.state = 'S';
			if (rank != 3 || at > 36)
				BUILDER_PUT(&in.b, at, REC_PROCESS_SAMPLE, p);
		}
	input_add(&in, "ring/proc-00.tcr");
	input_read(&in);
	assert_int_equal(must_find(&in, "proc.busy")->scope.rank, 0);
	assert_int_equal(count(&in, "proc.busy"), 1);
	assert_int_equal(in.a.status, VERDICT_NO_FAILURE);	/* computing is no fault */
	input_close(&in);
}

static void test_pid_in_container(void **state)
{
	struct input in;
	struct record_process p = { .pid = 90210,
				    .rank = 1,
				    .local_rank = 1,
				    .pid_in_ns = 42,
				    .is_rank = 1,
				    .start_ns = 5,
				    .comm = "python" };
	const struct observation *o;

	(void)state;
	input_open(&in);
	builder_begin(&in.b, STREAM_PROC, "node07", 1);
	BUILDER_PUT(&in.b, 1, REC_PROCESS, p);
	input_add(&in, "ring/proc-00.tcr");
	builder_begin(&in.b, STREAM_BPF, "node07", 1);
	BUILDER_PUT(&in.b, 9, REC_TASK_EXIT,
		    (struct record_task_exit){ .pid = 90210, .exit_code = 1 << 8, .rank = -1, .is_tracked = 1 });
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
	struct record_blocked_task b = {
		.pid = 101, .tid = 101, .rank = 1, .frames = 2, .blocked_ns = 40 * 1000000000ull, .comm = "python"
	};
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
	struct record_tcp t = { .event = TCP_EVENT_CONNECT_FAILED,
				.family = AF_INET,
				.remote_port = 29500,
				.remote = { 10, 0, 0, 9 },
				.pid = 101,
				.rank = 1,
				.error = EHOSTUNREACH,
				.count = 1,
				.comm = "python" };
	struct input in;

	(void)state;
	input_open(&in);
	builder_begin(&in.b, STREAM_BPF, "node07", 1);
	BUILDER_PUT(&in.b, 1, REC_BLOCK_IO, (struct record_block_io){ .major = 8, .error = EIO, .latency_ns = 1000 });
	BUILDER_PUT(&in.b, 2, REC_BLOCK_IO,
		    (struct record_block_io){ .major = 8, .minor = 16, .latency_ns = 12000000000 });
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
	builder_put(&in.b, 61, REC_GPU_EVENT,
		    &(struct record_gpu_event){ .index = 2, .event = GPU_EVENT_XID, .value = 79 },
		    sizeof(struct record_gpu_event), "Xid 79");
	builder_put(&in.b, 61, REC_GPU_EVENT,
		    &(struct record_gpu_event){ .index = 1, .event = GPU_EVENT_XID, .value = 13 },
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
	struct record_file_system log = {
		.bytes = 1 << 30, .bytes_free = 1 << 29, .inodes = 100, .inodes_free = 50, .role = 1
	};
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed_by_a_process),
		cmocka_unit_test(test_killed_by_launcher_or_scheduler),
		cmocka_unit_test(test_stopped_rank),
		cmocka_unit_test(test_oom_kill),
		cmocka_unit_test(test_process_samples),
		cmocka_unit_test(test_busy_process),
		cmocka_unit_test(test_pid_in_container),
		cmocka_unit_test(test_blocked_tasks),
		cmocka_unit_test(test_disks_and_tcp),
		cmocka_unit_test(test_gpus),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_file_systems),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
