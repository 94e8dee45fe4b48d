#include "capture/dump_ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bundle/cleanup.h"
#include "capture/ring.h"

struct visit {
	struct ring_take *t;
	struct bundle_writer *b;
};

/* The fixed part of a payload; what a shorter one lacks is zero. */
static void fixed_part(const struct record *r, void *to, size_t bytes)
{
	memset(to, 0, bytes);
	memcpy(to, r->payload, r->bytes < bytes ? r->bytes : bytes);
}

/* ---- logs ---- */

static struct log_file *find_log(struct ring_take *t, uint32_t id, uint32_t run)
{
	for (size_t i = t->n_logs; i-- > 0;)
		if (t->logs[i].id == id && t->logs[i].run == run)
			return &t->logs[i];
	return NULL;
}

static void note_log(struct ring_take *t, const struct record *r, uint32_t run)
{
	struct record_log_file head;
	size_t len = r->bytes > sizeof(head) ? r->bytes - sizeof(head) : 0;
	struct log_file *f;

	fixed_part(r, &head, sizeof(head));
	f = find_log(t, head.file, run);
	if (f || len == 0)
		return;
	if (t->n_logs == t->cap_logs) {
		size_t cap = t->cap_logs ? 2 * t->cap_logs : 32;
		struct log_file *v = reallocarray(t->logs, cap, sizeof(*v));

		if (!v)
			return;
		t->logs = v;
		t->cap_logs = cap;
	}
	f = &t->logs[t->n_logs];
	*f = (struct log_file){ .path = strndup((const char *)r->payload + sizeof(head), len), .device = head.device,
				.inode = head.inode, .rank = head.rank, .id = head.file, .run = run };
	t->n_logs += f->path != NULL;
}

static void drop_oldest(struct log_file *f)
{
	f->bytes -= f->pieces[0].text.len;
	dump_text_free(&f->pieces[0].text);
	memmove(f->pieces, f->pieces + 1, --f->n_pieces * sizeof(*f->pieces));
}

static void add_log_bytes(struct ring_take *t, const struct record *r, const struct segment_head *h)
{
	struct record_log_bytes head;
	size_t len = r->bytes > sizeof(head) ? r->bytes - sizeof(head) : 0;
	struct log_file *f;
	struct log_piece *last, *v;

	fixed_part(r, &head, sizeof(head));
	t->masked += head.masked;
	f = find_log(t, head.file, h->writer_pid);
	if (!f)
		return;
	f->last_ns = segment_realtime(h, r->monotonic_ns);
	f->reached = head.offset + len > f->reached ? head.offset + len : f->reached;
	if (len == 0)
		return;
	last = f->n_pieces ? &f->pieces[f->n_pieces - 1] : NULL;
	if (!last || last->at + last->text.len != head.offset || last->text.len > RING_LOG_BYTES / 4) {
		v = reallocarray(f->pieces, f->n_pieces + 1, sizeof(*v));
		if (!v)
			return;
		f->pieces = v;
		last = &v[f->n_pieces++];
		*last = (struct log_piece){ .at = head.offset };
	}
	dump_text_append(&last->text, r->payload + sizeof(head), len);
	f->bytes += len;
	while (f->bytes > RING_LOG_BYTES && f->n_pieces > 1)
		drop_oldest(f);
}

void log_file_text(const struct log_file *f, uint64_t end, struct dump_text *t)
{
	uint64_t at = f->n_pieces ? f->pieces[0].at : 0;

	for (size_t i = 0; i < f->n_pieces && f->pieces[i].at < end; i++) {
		const struct log_piece *p = &f->pieces[i];
		size_t len = p->text.len < end - p->at ? p->text.len : (size_t)(end - p->at);

		if (p->at > at)
			dump_text_add(t, "%s[tdump: %llu bytes are missing here]\n",
				      t->len && t->s[t->len - 1] != '\n' ? "\n" : "", (unsigned long long)(p->at - at));
		dump_text_append(t, p->text.s, len);
		at = p->at + len;
	}
}

/* ---- what records say about the capture itself ---- */

static void note_source(struct ring_take *t, const struct record *r)
{
	struct record_source head;
	struct manifest_source *s = NULL;
	size_t len = r->bytes > sizeof(head) ? r->bytes - sizeof(head) : 0;

	fixed_part(r, &head, sizeof(head));
	head.source[sizeof(head.source) - 1] = '\0';
	for (size_t i = 0; i < t->n_sources && !s; i++)
		if (strcmp(t->sources[i].name, head.source) == 0)
			s = &t->sources[i];
	if (!s && t->n_sources < ARRAY_SIZE(t->sources))
		s = &t->sources[t->n_sources++];
	if (!s)
		return;
	memcpy(s->name, head.source, sizeof(s->name));
	s->when = "ring";
	s->state = head.state <= SOURCE_LOST ? (enum source_state)head.state : SOURCE_FAILED;
	snprintf(s->reason, sizeof(s->reason), "%.*s", (int)len, len ? (const char *)r->payload + sizeof(head) : "");
}

static void note_process(struct ring_take *t, const struct record *r)
{
	struct record_process p;

	fixed_part(r, &p, sizeof(p));
	for (size_t i = 0; i < t->n_processes; i++)
		if (t->processes[i].pid == p.pid && t->processes[i].start_ns == p.start_ns) {
			t->processes[i] = p;
			return;
		}
	if (t->n_processes == t->cap_processes) {
		size_t cap = t->cap_processes ? 2 * t->cap_processes : 64;
		struct record_process *v = reallocarray(t->processes, cap, sizeof(*v));

		if (!v)
			return;
		t->processes = v;
		t->cap_processes = cap;
	}
	t->processes[t->n_processes++] = p;
}

static void take_record(struct ring_take *t, const struct segment_head *h, const struct record *r)
{
	struct record_loss loss;

	switch (r->kind) {
	case REC_KMSG:
		dump_text_append(&t->kernel, r->payload, r->bytes);
		if (r->bytes && r->payload[r->bytes - 1] != '\n')
			dump_text_append(&t->kernel, "\n", 1);
		break;
	case REC_LOG_FILE:
		note_log(t, r, h->writer_pid);
		break;
	case REC_LOG_BYTES:
	case REC_LOG_MARK:
		add_log_bytes(t, r, h);
		break;
	case REC_SOURCE:
		note_source(t, r);
		break;
	case REC_PROCESS:
		note_process(t, r);
		break;
	case REC_LOSS:
		fixed_part(r, &loss, sizeof(loss));
		t->lost_there[h->stream] += loss.lost;
		break;
	default:
		break;
	}
}

/* ---- segments ---- */

static void boot_id_text(const uint8_t id[16], char text[37])
{
	for (size_t i = 0, w = 0; i < 16; i++)
		w += (size_t)sprintf(text + w, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", id[i]);
}

static void take_head(struct ring_take *t, const struct segment_head *h)
{
	struct manifest_stream *s = &t->streams[h->stream];

	s->name = stream_name(h->stream);
	if (h->first_seq >= t->newest_seq[h->stream]) {
		t->newest_seq[h->stream] = h->first_seq;
		t->lost_there[h->stream] = 0;
		s->lost = h->lost;
	}
	if (h->clock.realtime_ns < t->clock.realtime_ns)
		return;
	t->clock = h->clock;
	snprintf(t->host, sizeof(t->host), "%.*s", (int)sizeof(h->host), h->host);
	boot_id_text(h->boot_id, t->boot_id);
}

/* Records that the reading before did not see. */
static void take_records(struct ring_take *t, struct segment_reader r)
{
	const uint8_t stream = r.head.stream;
	struct manifest_stream *s = &t->streams[stream];
	struct record rec;

	while (segment_next(&r, &rec)) {
		int64_t when = segment_realtime(&r.head, rec.monotonic_ns);

		if (rec.seq < t->next_seq[stream])
			continue;
		if (s->records && rec.seq > t->next_seq[stream])
			s->gaps += rec.seq - t->next_seq[stream];
		t->next_seq[stream] = rec.seq + 1;
		s->records++;
		s->first_ns = s->first_ns ? s->first_ns : when;
		s->last_ns = when > s->last_ns ? when : s->last_ns;
		t->last_ns = when > t->last_ns ? when : t->last_ns;
		take_record(t, &r.head, &rec);
	}
	s->damaged += t->again ? 0 : r.damaged;
}

/* The kernel log and the logs travel as text; a segment that did not change since the first reading not at all. */
static bool goes_along(struct ring_take *t, const struct segment_head *h, size_t len)
{
	size_t slot = ((size_t)h->index * STREAM_COUNT + h->stream) % RING_SEGMENTS_MAX;
	bool same = t->segments[slot].nonce == h->nonce && t->segments[slot].len == len;

	t->segments[slot] = (struct taken_segment){ h->nonce, len };
	return h->stream != STREAM_KERNEL && h->stream != STREAM_LOGS && !same;
}

static int visit_segment(void *ctx, const char *name, const struct segment_reader *seg, const uint8_t *data, size_t len)
{
	struct visit *v = ctx;
	struct error full = { 0 };
	char member[128];

	if (seg->head.stream >= STREAM_COUNT)
		return 0;
	if (seg->head.nonce)		/* else its header is damaged */
		take_head(v->t, &seg->head);
	take_records(v->t, *seg);
	if (!goes_along(v->t, &seg->head, len) || !v->b)
		return 0;
	snprintf(member, sizeof(member), "%s/%s", v->t->again ? "ring-after" : "ring", name);
	if (bundle_add(v->b, member, data, len, 1, &full))
		bundle_recover(v->b);		/* the next may have room */
	return 0;
}

int ring_take_read(struct ring_take *t, const char *dir, struct bundle_writer *b, struct error *err)
{
	struct visit v = { t, b };
	int r;

	if (!t->segments)
		t->segments = calloc(RING_SEGMENTS_MAX, sizeof(*t->segments));
	if (!t->segments)
		return error_set(err, ERR_NOMEM, "no memory");
	r = ring_read(dir, visit_segment, &v, err);
	for (size_t i = 0; r == 0 && !t->again && i < STREAM_COUNT; i++)
		t->streams[i].name = stream_name((enum stream_id)i);
	t->again = true;
	return r;
}

static int compare_boot(void *ctx, const char *name, const struct segment_reader *seg, const uint8_t *data, size_t len)
{
	_cleanup_dump_text_ struct dump_text now = { 0 };
	bool *ours = ctx;
	char text[37];

	(void)name, (void)data, (void)len;
	boot_id_text(seg->head.boot_id, text);
	*ours = dump_read_file("/proc/sys/kernel/random/boot_id", 36, &now) == 0 && strcmp(now.s, text) == 0;
	return 1;
}

int ring_is_ours(const char *dir)
{
	struct error err = { 0 };
	bool ours = false;

	return ring_read(dir, compare_boot, &ours, &err) == 1 ? ours : -1;
}

void ring_take_free(struct ring_take *t)
{
	for (size_t i = 0; i < t->n_logs; i++) {
		for (size_t k = 0; k < t->logs[i].n_pieces; k++)
			dump_text_free(&t->logs[i].pieces[k].text);
		free(t->logs[i].pieces);
		free(t->logs[i].path);
	}
	free(t->logs);
	free(t->processes);
	free(t->segments);
	dump_text_free(&t->kernel);
}
