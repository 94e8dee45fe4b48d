#include "flight_writer.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMO_MAX 256

struct pickler {
	FILE *f;
	char *memo[MEMO_MAX];	/* strings by id */
	size_t n;
};

static void byte(struct pickler *p, int b)
{
	fputc(b, p->f);
}

static void little(struct pickler *p, uint64_t v, size_t bytes)
{
	v = htole64(v);
	fwrite(&v, 1, bytes, p->f);
}

/* A string is written once and then fetched: BINUNICODE, BINPUT; BINGET. */
static void text(struct pickler *p, const char *s)
{
	for (size_t i = 0; i < p->n; i++) {
		if (strcmp(p->memo[i], s) == 0) {
			byte(p, 'h');
			byte(p, (int)i);
			return;
		}
	}
	byte(p, 'X');
	little(p, strlen(s), 4);
	fputs(s, p->f);
	if (p->n == MEMO_MAX)
		abort();	/* the original would go on with LONG_BINPUT; our dumps have 60 strings */
	byte(p, 'q');
	byte(p, (int)p->n);
	p->memo[p->n++] = strdup(s);
}

static void integer(struct pickler *p, int64_t v)
{
	if (v >= 0 && v <= UINT8_MAX) {
		byte(p, 'K');
		little(p, (uint64_t)v, 1);
	} else if (v >= 0 && v <= UINT16_MAX) {
		byte(p, 'M');
		little(p, (uint64_t)v, 2);
	} else if (v >= INT32_MIN && v <= INT32_MAX) {
		byte(p, 'J');
		little(p, (uint64_t)v, 4);
	} else {
		byte(p, 0x8a);
		byte(p, 8);
		little(p, (uint64_t)v, 8);
	}
}

static void begin(struct pickler *p, char container)
{
	byte(p, container);
	byte(p, '(');
}

static void key_text(struct pickler *p, const char *key, const char *value)
{
	text(p, key);
	text(p, value);
}

static void key_integer(struct pickler *p, const char *key, int64_t value)
{
	text(p, key);
	integer(p, value);
}

static void key_bool(struct pickler *p, const char *key, bool value)
{
	text(p, key);
	byte(p, value ? 0x88 : 0x89);
}

/* 0: None. */
static void key_time(struct pickler *p, const char *key, int64_t value)
{
	text(p, key);
	if (value)
		integer(p, value);
	else
		byte(p, 'N');
}

static void sizes(struct pickler *p, const char *key, uint64_t elements)
{
	text(p, key);
	begin(p, ']');
	begin(p, ']');
	integer(p, (int64_t)elements);
	byte(p, 'e');
	byte(p, 'e');
}

static void types(struct pickler *p, const char *key)
{
	text(p, key);
	begin(p, ']');
	text(p, "Float");
	byte(p, 'e');
}

static void entry(struct pickler *p, const struct flight_dump *d, const struct flight_entry *e)
{
	begin(p, '}');
	text(p, "frames");
	begin(p, ']');
	begin(p, '}');
	key_text(p, "name", d->function);
	key_text(p, "filename", d->file);
	key_integer(p, "line", d->line);
	byte(p, 'u');
	byte(p, 'e');
	key_integer(p, "record_id", (int64_t)e->record_id);
	key_integer(p, "pg_id", 0);
	text(p, "process_group");
	text(p, "0");
	text(p, "default_pg");
	byte(p, 0x86);
	key_integer(p, "collective_seq_id", (int64_t)e->seq);
	key_integer(p, "p2p_seq_id", (int64_t)e->p2p_seq);
	key_integer(p, "op_id", (int64_t)e->op_id);
	key_text(p, "profiling_name", e->name);
	key_integer(p, "time_created_ns", e->created_ns);
	sizes(p, "input_sizes", e->elements);
	types(p, "input_dtypes");
	sizes(p, "output_sizes", e->elements);
	types(p, "output_dtypes");
	key_text(p, "state", e->completed_ns ? "completed" : "scheduled");
	key_time(p, "time_discovered_started_ns", 0);
	key_time(p, "time_discovered_completed_ns", e->completed_ns);
	key_bool(p, "retired", e->retired);
	key_integer(p, "timeout_ms", d->timeout_ms);
	key_bool(p, "is_p2p", e->is_p2p);
	byte(p, 'u');
}

static void header(struct pickler *p, const struct flight_dump *d)
{
	char ranks[512] = "[";
	size_t len = 1;

	for (int r = 0; r < d->world_size && len < sizeof(ranks) - 8; r++)
		len += (size_t)snprintf(ranks + len, sizeof(ranks) - len, "%s%d", r ? ", " : "", r);
	snprintf(ranks + len, sizeof(ranks) - len, "]");
	key_text(p, "version", "2.10");
	text(p, "pg_config");
	begin(p, '}');
	text(p, "0");
	begin(p, '}');
	key_text(p, "name", "0");
	key_text(p, "desc", "default_pg");
	key_text(p, "ranks", ranks);
	byte(p, 'u');
	byte(p, 'u');
	key_text(p, "comm_lib_version", "2.27.3");
	text(p, "pg_status");
	begin(p, '}');
	text(p, "0");
	begin(p, '}');
	key_integer(p, "last_enqueued_collective", d->last_enqueued ? (int64_t)d->last_enqueued : -1);
	key_integer(p, "last_started_collective", -1);
	key_integer(p, "last_completed_collective", d->last_completed ? (int64_t)d->last_completed : -1);
	byte(p, 'u');
	byte(p, 'u');
}

int flight_write(const char *path, const struct flight_dump *d)
{
	struct pickler p = { .f = fopen(path, "wb") };

	if (!p.f)
		return -1;
	byte(&p, 0x80);
	byte(&p, 2);
	begin(&p, '}');
	header(&p, d);
	text(&p, "entries");
	begin(&p, ']');
	for (size_t i = 0; i < d->n; i++)
		entry(&p, d, &d->entries[i]);
	byte(&p, 'e');
	byte(&p, 'u');
	byte(&p, '.');
	for (size_t i = 0; i < p.n; i++)
		free(p.memo[i]);
	return fclose(p.f);
}
