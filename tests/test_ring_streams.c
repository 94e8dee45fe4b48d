/* Segments as such: calls over all ranks, copies that overlap, text, damage. */
#include "tests/ring_fixture.h"

#include <signal.h>

/* ---- NCCL ---- */

static void put_call(struct input *in, double at, int32_t rank, uint64_t seq, uint64_t elements)
{
	BUILDER_PUT(&in->b, at, REC_NCCL_CALL,
		    (struct record_nccl_call){ .pid = 100 + (uint32_t)rank,
					       .rank = rank,
					       .op = NCCL_OP_ALL_REDUCE,
					       .dtype = 7,
					       .comm = 0x1000,
					       .group = 0xabcd,
					       .seq = seq,
					       .count = elements,
					       .peer_or_root = -1,
					       .comm_rank = rank });
}

static void put_communicator(struct input *in, int32_t rank)
{
	BUILDER_PUT(&in->b, 2, REC_NCCL_COMM, (struct record_nccl_comm){
		.pid = 100 + (uint32_t)rank, .rank = rank, .event = NCCL_COMM_INIT, .comm = 0x1000, .group = 0xabcd,
		.comm_rank = rank, .comm_size = 4 });
}

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
	struct record_nccl_call k = {
		.op = NCCL_OP_ALL_REDUCE, .flags = 1, .group = 7, .peer_or_root = -1, .count = 1
	};
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
	static const char line[] =
		"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
		"79.11 GiB of which 1.00 GiB is free.\n";
	struct record_log_file file = { .file = 5, .rank = 3 };
	struct record_log_bytes at = { .file = 5 };
	struct input in;
	const struct observation *o;

	(void)state;
	input_open(&in);
	builder_begin(&in.b, STREAM_KERNEL, "node07", 1);
	builder_put(&in.b, 5, REC_KMSG, NULL, 0, "6,100,4000000,-;usb 1-1: new device\n");
	builder_put(&in.b, 6, REC_KMSG, NULL, 0,
		    "4,101,5000000,-;NVRM: Xid (PCI:0000:1b:00): 79, pid=100, GPU has fallen off the bus.\n");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
