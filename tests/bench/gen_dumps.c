/*
 * gen_dumps - flight-recorder dumps of a big job, for benchmarks.
 *
 *	gen_dumps OUTDIR RANKS ENTRIES
 *
 * One file per rank in the style of torch::jit::Pickler (protocol 2, every distinct
 * string memoised, frames memoised after their body), version 2.9, stacks of about
 * 30 shared frames.  Everything completes except the last world all_reduce, which
 * rank RANKS/3 never enters.  Prints "ranks=R entries=N bytes=B culprit=C".
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TP = 8, LAYERS = 24, DEPTH = 30, FRAMES_MAX = 4096, SLOTS = 16384, NAME_MAX_ = 128 };

struct out {
	unsigned char *data;
	size_t len, cap;
	uint32_t memos;
	struct { char *text; uint32_t id; } slot[SLOTS];
};

static void die(const char *what)
{
	fprintf(stderr, "gen_dumps: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void put(struct out *o, const void *p, size_t n)
{
	if (o->len + n > o->cap) {
		o->cap = (o->len + n) * 2;
		o->data = realloc(o->data, o->cap);
		if (!o->data)
			die("memory");
	}
	memcpy(o->data + o->len, p, n);
	o->len += n;
}

static void op(struct out *o, char c) { put(o, &c, 1); }

static void put_le(struct out *o, uint64_t v, int bytes)
{
	unsigned char b[8];

	for (int i = 0; i < bytes; i++)
		b[i] = (unsigned char)(v >> (8 * i));
	put(o, b, (size_t)bytes);
}

static uint32_t store(struct out *o)
{
	uint32_t id = o->memos++;

	if (id < 256) {
		op(o, 'q');
		put_le(o, id, 1);
	} else {
		op(o, 'r');
		put_le(o, id, 4);
	}
	return id;
}

static void fetch(struct out *o, uint32_t id)
{
	if (id < 256) {
		op(o, 'h');
		put_le(o, id, 1);
	} else {
		op(o, 'j');
		put_le(o, id, 4);
	}
}

static void str(struct out *o, const char *s)
{
	uint32_t h = 2166136261u;

	for (const char *p = s; *p; p++)
		h = (h ^ (unsigned char)*p) * 16777619u;
	for (uint32_t i = h % SLOTS;; i = (i + 1) % SLOTS) {
		if (!o->slot[i].text) {
			size_t n = strlen(s);

			op(o, 'X');
			put_le(o, n, 4);
			put(o, s, n);
			o->slot[i].text = strdup(s);
			if (!o->slot[i].text)
				die("memory");
			o->slot[i].id = store(o);
			return;
		}
		if (!strcmp(o->slot[i].text, s)) {
			fetch(o, o->slot[i].id);
			return;
		}
	}
}

static void num(struct out *o, int64_t v)
{
	if (v >= 0 && v < 256) {
		op(o, 'K');
		put_le(o, (uint64_t)v, 1);
	} else if (v >= 0 && v < 65536) {
		op(o, 'M');
		put_le(o, (uint64_t)v, 2);
	} else if (v >= INT32_MIN && v <= INT32_MAX) {
		op(o, 'J');
		put_le(o, (uint64_t)v, 4);
	} else {
		put(o, "\x8a\x08", 2);
		put_le(o, (uint64_t)v, 8);
	}
}

static void key_num(struct out *o, const char *k, int64_t v) { str(o, k); num(o, v); }
static void key_str(struct out *o, const char *k, const char *v) { str(o, k); str(o, v); }

/* ---- stacks: per layer and operation, most frames shared ---- */

struct frame {
	char name[48], file[NAME_MAX_];
	int line;
	int uses;
	int64_t memo;
};
static struct frame frames[FRAMES_MAX];
static int n_frames;
static int stacks[LAYERS * 2 + 4][DEPTH];

static int frame(const char *name, const char *file, int line)
{
	for (int i = 0; i < n_frames; i++)
		if (frames[i].line == line && !strcmp(frames[i].name, name) && !strcmp(frames[i].file, file))
			return i;
	if (n_frames == FRAMES_MAX)
		die("frames");
	snprintf(frames[n_frames].name, sizeof frames[0].name, "%s", name);
	snprintf(frames[n_frames].file, sizeof frames[0].file, "%s", file);
	frames[n_frames].line = line;
	return n_frames++;
}

static void make_stacks(void)
{
	for (int s = 0; s < LAYERS * 2 + 4; s++) {
		char name[48], file[NAME_MAX_];
		int layer = s / 2, d = 0;

		stacks[s][d++] = frame(s & 1 ? "all_reduce" : "reduce_scatter_tensor",
				       "/opt/venv/lib/python3.12/site-packages/torch/distributed/distributed_c10d.py",
				       2829 + (s & 1) * 1342);
		stacks[s][d++] = frame("wrapper", "/opt/venv/lib/python3.12/site-packages/torch/distributed/c10d_logger.py", 81);
		while (d < 12) {
			snprintf(name, sizeof name, "stage_%d", d);
			snprintf(file, sizeof file, "/tmp/torchinductor_job/%02x/c%06xlayer%02d.py", (layer * 37) & 255,
				 (unsigned)layer * 2654435u & 0xffffff, layer);
			stacks[s][d] = frame(name, file, 40 + 7 * d);
			d++;
		}
		while (d < 20) {
			snprintf(name, sizeof name, "forward_%d", d);
			stacks[s][d] = frame(name, "/srv/atlas/atlas/model/block.py", 60 + layer * 3 + d);
			d++;
		}
		while (d < DEPTH) {
			snprintf(name, sizeof name, "engine_%d", d);
			stacks[s][d] = frame(name, "/srv/atlas/atlas/engine/loop.py", 90 + d);
			d++;
		}
	}
}

/* ---- the program of every rank ---- */

struct call {
	int group;		/* 0 world, 1 tensor, 2 data */
	int stack;
	const char *name, *dtype;
	int64_t size;
};

static struct call call_at(int i, int entries)
{
	int k = i % 64;

	if (i == entries - 1 || k == 63)
		return (struct call){ 0, LAYERS * 2 + 1, "nccl:all_reduce", "Float", 1 };
	if (k == 20 || k == 21 || k == 40 || k == 41)
		return (struct call){ 2, LAYERS * 2, "nccl:_reduce_scatter_base", "Float", 4194304 };
	if (k == 0)
		return (struct call){ 1, LAYERS * 2 + 2, "nccl:broadcast", "Long", 4096 };
	return (struct call){ 1, i % (LAYERS * 2), "nccl:all_reduce", "BFloat16", 16777216 };
}

static void ranks_text(struct out *o, int first, int step, int last)
{
	char *text = malloc((size_t)(last - first) / (size_t)step * 8 + 32);
	size_t n = 0;

	if (!text)
		die("memory");
	text[n++] = '[';
	for (int r = first; r < last; r += step)
		n += (size_t)sprintf(text + n, "%s%d", n > 1 ? ", " : "", r);
	text[n++] = ']';
	text[n] = 0;
	key_str(o, "ranks", text);
	free(text);
}

static uint64_t dump(const char *dir, int rank, int ranks, int entries, int culprit)
{
	static struct out o;
	int seq[3] = { 0, 0, 0 }, done[3] = { 0, 0, 0 };
	int mine = rank == culprit ? entries - 1 : entries;
	const char *desc[3] = { "default_pg", "TENSOR_PARALLEL", "DATA_PARALLEL" };
	char name[3][16], path[4096];
	uint64_t noise = (uint64_t)rank * 0x9e3779b97f4a7c15u + 1;

	for (int i = 0; i < SLOTS; i++) {
		free(o.slot[i].text);
		o.slot[i].text = NULL;
	}
	o.len = o.memos = 0;
	for (int i = 0; i < n_frames; i++) {
		frames[i].uses = 0;
		frames[i].memo = -1;
	}
	snprintf(name[0], sizeof name[0], "0");
	snprintf(name[1], sizeof name[1], "%d", 1 + rank / TP);
	snprintf(name[2], sizeof name[2], "%d", 1 + ranks / TP + rank % TP);
	for (int i = 0; i < mine; i++) {
		struct call c = call_at(i, entries);

		seq[c.group]++;
		done[c.group] += i < entries - 1;
		for (int d = 0; d < DEPTH; d++)
			frames[stacks[c.stack][d]].uses++;
	}
	put(&o, "\x80\x02}(", 4);
	key_str(&o, "version", "2.9");
	str(&o, "pg_config");
	put(&o, "}(", 2);
	for (int g = 0; g < 3; g++) {
		str(&o, name[g]);
		put(&o, "}(", 2);
		key_str(&o, "name", name[g]);
		key_str(&o, "desc", desc[g]);
		if (g == 0)
			ranks_text(&o, 0, 1, ranks);
		else if (g == 1)
			ranks_text(&o, rank / TP * TP, 1, rank / TP * TP + TP);
		else
			ranks_text(&o, rank % TP, TP, ranks);
		op(&o, 'u');
	}
	op(&o, 'u');
	key_str(&o, "nccl_version", "2.27.3");
	str(&o, "pg_status");
	put(&o, "}(", 2);
	for (int g = 0; g < 3; g++) {
		char id[2] = { (char)('0' + g), 0 };

		str(&o, id);
		put(&o, "}(", 2);
		key_num(&o, "last_enqueued_collective", seq[g]);
		key_num(&o, "last_started_collective", -1);
		key_num(&o, "last_completed_collective", done[g]);
		op(&o, 'u');
	}
	op(&o, 'u');
	str(&o, "entries");
	put(&o, "](", 2);
	seq[0] = seq[1] = seq[2] = 0;
	for (int i = 0; i < mine; i++) {
		struct call c = call_at(i, entries);
		bool pending = i == entries - 1;
		int64_t t = 1773455000000000000 + (int64_t)i * 3000000;

		noise ^= noise << 13, noise ^= noise >> 7, noise ^= noise << 17;
		put(&o, "}(", 2);
		str(&o, "frames");
		put(&o, "](", 2);
		for (int d = 0; d < DEPTH; d++) {
			struct frame *f = &frames[stacks[c.stack][d]];

			if (f->memo >= 0) {
				fetch(&o, (uint32_t)f->memo);
				continue;
			}
			put(&o, "}(", 2);
			key_str(&o, "name", f->name);
			key_str(&o, "filename", f->file);
			key_num(&o, "line", f->line);
			op(&o, 'u');
			if (f->uses > 1)
				f->memo = store(&o);
		}
		op(&o, 'e');
		key_num(&o, "record_id", i);
		key_num(&o, "pg_id", c.group);
		str(&o, "process_group");
		str(&o, name[c.group]);
		str(&o, desc[c.group]);
		op(&o, '\x86');
		key_str(&o, "thread_name", i % 5 ? "pt_main_thread" : "pt_autograd_0");
		key_str(&o, "thread_id", i % 5 ? "139700000004096" : "139700000008192");
		key_num(&o, "collective_seq_id", ++seq[c.group]);
		key_num(&o, "p2p_seq_id", 0);
		key_num(&o, "op_id", seq[c.group]);
		key_str(&o, "profiling_name", c.name);
		key_num(&o, "time_created_ns", t + (int64_t)(noise % 300000));
		for (int io = 0; io < 2; io++) {
			int64_t size = io && c.group == 2 ? c.size / (ranks / TP ? ranks / TP : 1) : c.size;

			str(&o, io ? "output_sizes" : "input_sizes");
			put(&o, "](](", 4);
			num(&o, size);
			put(&o, "ee", 2);
			str(&o, io ? "output_dtypes" : "input_dtypes");
			put(&o, "](", 2);
			str(&o, c.dtype);
			op(&o, 'e');
		}
		key_str(&o, "state", pending ? "scheduled" : "completed");
		str(&o, "time_discovered_started_ns");
		op(&o, 'N');
		str(&o, "time_discovered_completed_ns");
		if (pending)
			op(&o, 'N');
		else
			num(&o, t + 2000000 + (int64_t)(noise >> 40) % 90000);
		str(&o, "retired");
		op(&o, pending ? '\x89' : '\x88');
		key_num(&o, "timeout_ms", 600000);
		str(&o, "is_p2p");
		op(&o, '\x89');
		op(&o, 'u');
	}
	put(&o, "eu", 2);
	store(&o);
	op(&o, '.');

	snprintf(path, sizeof path, "%s/nccl_trace_rank_%d", dir, rank);
	FILE *f = fopen(path, "wb");
	if (!f || fwrite(o.data, 1, o.len, f) != o.len || fclose(f))
		die(path);
	return o.len;
}

int main(int argc, char **argv)
{
	int ranks = argc > 2 ? atoi(argv[2]) : 0, entries = argc > 3 ? atoi(argv[3]) : 0;
	uint64_t bytes = 0;

	if (argc != 4 || ranks < TP || ranks % TP || entries < 2) {
		fprintf(stderr, "usage: gen_dumps OUTDIR RANKS ENTRIES   (RANKS a multiple of %d)\n", TP);
		return 2;
	}
	make_stacks();
	for (int r = 0; r < ranks; r++)
		bytes += dump(argv[1], r, ranks, entries, ranks / 3);
	printf("ranks=%d entries=%lld bytes=%" PRIu64 " culprit=%d\n", ranks, (long long)ranks * entries - 1, bytes, ranks / 3);
	return 0;
}
