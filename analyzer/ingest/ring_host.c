/* The host's samples: memory pressure, file systems without room. */
#include "analyzer/ingest/ringer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOUNTS_MAX 128
#define PRESSURE_X100 1000	/* all tasks waited for memory in a tenth of the time */
#define FULL_BYTES (1ull << 20)
#define ROLE_LOG 1u
#define ROLE_SHM 2u
#define ROLE_TEMPORARY 4u

struct ring_mount {
	char point[256];
	bool is_full, is_read_only;
};

void ring_host_sample(struct ringer *r, const struct record *rec)
{
	struct record_host_sample s;
	struct observation o;

	record_part(rec, &s, sizeof(s));
	if (s.psi_memory_full_x100 == UINT32_MAX || s.psi_memory_full_x100 < PRESSURE_X100)
		return;
	o = ringer_observation(r, "host.memory_pressure", SRC_HOST, rec->monotonic_ns);
	if (store_wants_quote(r->s, &o))
		ringer_cite(r, &o, rec,
			    "all tasks waited for memory %u.%02u %% of the last 10 s, %llu of %llu MiB available",
			    s.psi_memory_full_x100 / 100, s.psi_memory_full_x100 % 100,
			    (unsigned long long)s.memory_available_kib >> 10,
			    (unsigned long long)s.memory_total_kib >> 10);
	store_observe(r->s, &o);
}

static struct ring_mount *mount_of(struct ringer *r, struct span point, bool *is_new_ret)
{
	size_t len = point.len < sizeof(r->mounts->point) - 1 ? point.len : sizeof(r->mounts->point) - 1;

	*is_new_ret = false;
	for (size_t i = 0; i < r->n_mounts; i++)
		if (strlen(r->mounts[i].point) == len && memcmp(r->mounts[i].point, point.s, len) == 0)
			return &r->mounts[i];
	if (!r->mounts)
		r->mounts = calloc(MOUNTS_MAX, sizeof(*r->mounts));
	if (!r->mounts || r->n_mounts == MOUNTS_MAX)
		return NULL;
	*is_new_ret = true;
	memcpy(r->mounts[r->n_mounts].point, point.s, len);
	return &r->mounts[r->n_mounts++];
}

static void observe_mount(struct ringer *r, const struct record *rec, const char *kind, const struct ring_mount *m,
			  const struct record_file_system *f)
{
	struct observation o = ringer_observation(r, kind, SRC_HOST, rec->monotonic_ns);

	o.scope.object = intern_cstr(&r->s->strings, m->point);
	ringer_cite(r, &o, rec, "%s: %llu of %llu MiB and %llu of %llu inodes free%s", m->point,
		    (unsigned long long)f->bytes_free >> 20, (unsigned long long)f->bytes >> 20,
		    (unsigned long long)f->inodes_free, (unsigned long long)f->inodes,
		    f->is_read_only ? ", read-only" : "");
	store_observe(r->s, &o);
}

void ring_file_system(struct ringer *r, const struct record *rec)
{
	struct record_file_system f;
	struct span point = record_part(rec, &f, sizeof(f));
	bool is_new, is_full;
	struct ring_mount *m = mount_of(r, point, &is_new);

	if (!m)
		return;
	is_full = !f.is_read_only && ((f.bytes && f.bytes_free < FULL_BYTES) || (f.inodes && !f.inodes_free));
	if (is_full && !m->is_full)
		observe_mount(r, rec, f.role & ROLE_SHM ? "shm.at_capacity" :
			      !is_new && f.role & (ROLE_LOG | ROLE_TEMPORARY) ? "disk.job_full" : "disk.at_capacity", m, &f);
	if (f.is_read_only && !m->is_read_only && !is_new)
		observe_mount(r, rec, "disk.read_only", m, &f);
	m->is_full = is_full;
	m->is_read_only = f.is_read_only;
}
