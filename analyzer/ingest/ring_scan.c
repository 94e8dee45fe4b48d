/* Kernel-log records and bytes of log files: text, each piece at its own offset in the segment. */
#include <stdlib.h>
#include <string.h>

#include "analyzer/ingest/ring.h"
#include "analyzer/ingest/ringer.h"
#include "bundle/cleanup.h"

/* Bytes of one file. */
struct piece {
	uint32_t file, order;
	uint64_t offset;		/* in the segment */
	uint32_t bytes;
	int64_t monotonic_ns;
};

struct pieces {
	struct piece *v;
	size_t n, cap;
	struct {
		uint32_t file;
		int32_t rank;
	} files[256];			/* those whose rank the segment tells */
	size_t n_files;
};

static int add_piece(struct pieces *all, struct piece p)
{
	if (all->n == all->cap) {
		size_t cap = all->cap ? all->cap * 2 : 1024;
		void *v = reallocarray(all->v, cap, sizeof(*all->v));

		if (!v)
			return -1;
		all->v = v;
		all->cap = cap;
	}
	p.order = (uint32_t)all->n;
	all->v[all->n++] = p;
	return 0;
}

static void note_file(struct pieces *all, const struct record *rec)
{
	struct record_log_file f;

	record_part(rec, &f, sizeof(f));
	if (all->n_files == ARRAY_SIZE(all->files))
		return;
	all->files[all->n_files].file = f.file;
	all->files[all->n_files++].rank = f.rank;
}

static int32_t rank_of_file(const struct pieces *all, uint32_t file)
{
	for (size_t i = all->n_files; i-- > 0;)
		if (all->files[i].file == file)
			return sane_rank(all->files[i].rank);
	return RANK_NONE;
}

static int take_record(struct pieces *all, const struct record *rec)
{
	struct record_log_bytes b;
	struct piece p = { .offset = rec->offset, .bytes = rec->bytes, .monotonic_ns = rec->monotonic_ns };

	if (rec->kind == REC_KMSG)
		return add_piece(all, p);
	if (rec->kind == REC_LOG_FILE)
		note_file(all, rec);
	if (rec->kind != REC_LOG_BYTES || rec->bytes <= sizeof(b))
		return 0;
	record_part(rec, &b, sizeof(b));
	p.file = b.file;
	p.offset += sizeof(b);
	p.bytes -= (uint32_t)sizeof(b);
	return add_piece(all, p);
}

static int compare_pieces(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

static void feed(struct log *l, const struct piece *p, const uint8_t *data)
{
	const uint8_t *at = data + p->offset;
	size_t left = p->bytes;

	log_jump(l, p->offset);
	while (left) {
		size_t room;
		uint8_t *to = log_room(l, &room);

		if (room > left)
			room = left;
		memcpy(to, at, room);
		log_advance(l, room);
		at += room;
		left -= room;
	}
}

int ring_scan(struct store *s, uint32_t member, const void *data, size_t len, struct log *l, struct error *err)
{
	struct ringer r = { .s = s };
	struct pieces all = { 0 };
	struct segment_reader seg;
	struct record rec;
	int ret = segment_open(&seg, data, len, err);

	if (ret)
		return 0;	/* ring_take() said why */
	ringer_begin(&r, s, member, &seg.head);
	s->members[member].sources |= 1u << (r.stream == STREAM_KERNEL ? SRC_KERNEL : SRC_APP);
	while (ret == 0 && ring_next(&seg, &rec))
		if (!ringer_common(&r, &rec))
			ret = take_record(&all, &rec) ? error_set(err, ERR_NOMEM, "no memory for the ring's text") : 0;
	ringer_damage(&r, &seg);
	if (all.n)
		qsort(all.v, all.n, sizeof(*all.v), compare_pieces);
	for (size_t i = 0; ret == 0 && i < all.n; i++) {
		if (i == 0 || all.v[i].file != all.v[i - 1].file) {
			if (i)
				log_end(l);
			log_begin(l, member);
			s->members[member].rank = rank_of_file(&all, all.v[i].file);
		}
		feed(l, &all.v[i], data);
	}
	if (ret == 0 && all.n)
		log_end(l);
	s->members[member].rank = RANK_NONE;
	free(all.v);
	return ret;
}
