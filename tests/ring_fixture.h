/*
 * ring_fixture - a directory of segments, read, scanned and judged with the shipped patterns.
 * Included by the tests of the ring's ingest alone.
 */
#pragma once
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/analysis.h"
#include "analyzer/collectives.h"
#include "analyzer/ingest/ingest.h"
#include "patterns/detectors.h"
#include "tests/segment_builder.h"
#include "tests/shipped.h"

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
	assert_int_equal(analyze(&in->s, &set, RUN_CHOSEN, &in->a, &err), 0);
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

__attribute__((unused))
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

		assert_int_equal(ingest_reread(text(in, in->s.members[e->member].input), "", e->offset, bytes,
					       e->length, &err),
				 0);
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
	struct record_process p = { .pid = pid,
				    .ppid = ppid,
				    .rank = rank,
				    .local_rank = rank,
				    .world_size = 4,
				    .node_rank = 0,
				    .pid_in_ns = pid,
				    .is_rank = rank >= 0,
				    .start_ns = pid,
				    .job = "4711",
				    .attempt = -1 };

	memcpy(p.comm, comm, strlen(comm));
	BUILDER_PUT(&in->b, at, REC_PROCESS, p);
}

/* Ranks 0 to 3 are processes 100 to 103, which torchrun, 99, started. */
__attribute__((unused))
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
	BUILDER_PUT(&in->b, at, REC_TASK_EXIT,
		    (struct record_task_exit){ .pid = pid,
					       .ppid = 99,
					       .exit_code = status,
					       .rank = (int32_t)pid - 100,
					       .is_tracked = 1,
					       .comm = "python" });
}
