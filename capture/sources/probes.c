#include "capture/sources/probes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bundle/cleanup.h"

static const char kernel_btf[] = "/sys/kernel/btf/vmlinux";

/* ---- may we at all ---- */

/* The mode in brackets of "none [integrity] confidentiality". */
static bool kernel_is_locked_down(void)
{
	_cleanup_close_ int fd = open("/sys/kernel/security/lockdown", O_RDONLY | O_CLOEXEC);
	char text[128] = "";

	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strstr(text, "[confidentiality]");
}

bool probes_are_impossible(enum source_state *state_ret, char *reason, size_t size)
{
	_cleanup_close_ int map = -1;
	int why;

	*state_ret = SOURCE_ABSENT;
	if (access(kernel_btf, R_OK)) {
		snprintf(reason, size, "the kernel describes no types (no %s)", kernel_btf);
		return true;
	}
	map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "tachograph", 4, 8, 1, NULL);
	if (map >= 0)
		return false;
	why = errno;
	if (why == ENOSYS || why == EINVAL) {
		snprintf(reason, size, "the kernel has no bpf()");
		return true;
	}
	*state_ret = SOURCE_DENIED;
	if (kernel_is_locked_down())
		snprintf(reason, size, "kernel lockdown (confidentiality) forbids BPF");
	else
		snprintf(reason, size, "needs root, or CAP_BPF and CAP_PERFMON: %s", strerror(why));
	return true;
}

/* ---- maps ---- */

static int map_make(enum bpf_map_type type, const char *name, uint32_t key, uint32_t value, uint32_t entries,
		    uint32_t flags, int *ret, struct error *err)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);

	*ret = bpf_map_create(type, name, key, value, entries, &opts);
	return *ret < 0 ? error_sys(err, "cannot make the BPF map %s", name) : 0;
}

int probe_maps_make(uint32_t ring_bytes, int tracked, struct probe_maps *ret, struct error *err)
{
	struct probe_maps m = PROBE_MAPS_NONE;
	int r;

	if (libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL) == 0)
		return error_set(err, ERR_UNSUPPORTED, "the kernel has no BPF ring buffer");
	r = map_make(BPF_MAP_TYPE_RINGBUF, "events", 0, 0, ring_bytes, 0, &m.events, err) ||
	    map_make(BPF_MAP_TYPE_ARRAY, "settings", 4, sizeof(struct probe_settings), 1, 0, &m.settings, err) ||
	    map_make(BPF_MAP_TYPE_PERCPU_ARRAY, "counts", 4, 8, COUNT_MAX, 0, &m.counts, err);
	if (!r && tracked >= 0) {
		m.tracked = fcntl(tracked, F_DUPFD_CLOEXEC, 3);
		r = m.tracked < 0 ? error_sys(err, "cannot share the map of tracked processes") : 0;
	} else if (!r) {
		r = map_make(BPF_MAP_TYPE_HASH, "tracked", 4, sizeof(struct tracked_value), TRACKED_MAX,
			     BPF_F_NO_PREALLOC, &m.tracked, err);
	}
	if (r) {
		probe_maps_close(&m);
		return -1;
	}
	*ret = m;
	return 0;
}

void probe_maps_close(struct probe_maps *m)
{
	int fds[] = { m->events, m->tracked, m->settings, m->counts };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	*m = (struct probe_maps)PROBE_MAPS_NONE;
}

/* ---- objects ---- */

static int share_maps(struct bpf_object *obj, const struct probe_maps *m, struct error *err)
{
	const struct { const char *name; int fd; } shared[] = {
		{ "events", m->events }, { "tracked", m->tracked }, { "settings", m->settings }, { "counts", m->counts },
	};

	for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(obj, shared[i].name);

		if (map && bpf_map__reuse_fd(map, shared[i].fd))
			return error_sys(err, "cannot share the map %s", shared[i].name);
	}
	return 0;
}

static const char *tracepoint_of(const struct bpf_program *p)
{
	static const char prefix[] = "tp_btf/";
	const char *section = bpf_program__section_name(p);

	return strncmp(section, prefix, sizeof(prefix) - 1) ? NULL : section + sizeof(prefix) - 1;
}

/* Leave out what the kernel has no tracepoint for. */
static void choose_programs(struct bpf_object *obj, const struct btf *kernel)
{
	struct bpf_program *p;

	bpf_object__for_each_program(p, obj) {
		const char *name = tracepoint_of(p);
		char type[96];

		if (!name)
			continue;
		snprintf(type, sizeof(type), "btf_trace_%s", name);
		if (btf__find_by_name_kind(kernel, type, BTF_KIND_TYPEDEF) < 0)
			bpf_program__set_autoload(p, false);
	}
}

static int refused(struct error *err)
{
	if (!kernel_is_locked_down())
		return error_sys(err, "the kernel refuses it");
	errno = EPERM;
	return error_sys(err, "kernel lockdown (confidentiality) refuses it");
}

static int open_and_load(const struct probe_desc *d, const struct probe_maps *m, const struct btf *kernel,
			 struct bpf_object **ret, struct error *err)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = d->name);
	size_t size;
	const void *elf = d->elf(&size);
	struct bpf_object *obj = bpf_object__open_mem(elf, size, &opts);

	if (!obj)
		return error_sys(err, "cannot open");
	choose_programs(obj, kernel);
	if (d->prepare)
		d->prepare(obj, kernel);
	if (share_maps(obj, m, err) || (bpf_object__load(obj) && refused(err))) {
		bpf_object__close(obj);
		return -1;
	}
	*ret = obj;
	return 0;
}

static int attach(struct probe *p, struct error *err)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, p->obj) {
		struct bpf_link *link;

		if (!bpf_program__autoload(prog) || bpf_program__type(prog) == BPF_PROG_TYPE_KPROBE)
			continue;	/* uprobes wait for their library */
		if (p->n_links == PROBE_LINKS_MAX)
			return error_set(err, ERR_LIMIT, "more than %d programs", PROBE_LINKS_MAX);
		link = bpf_program__attach(prog);
		if (!link)
			return error_sys(err, "cannot attach %s", bpf_program__name(prog));
		p->links[p->n_links++] = link;
	}
	return 0;
}

int probe_load(const struct probe_desc *d, const struct probe_maps *m, const struct btf *kernel, struct probe *ret,
	       struct error *err)
{
	struct probe p = { 0 };

	if (open_and_load(d, m, kernel, &p.obj, err))
		return -1;
	if (attach(&p, err)) {
		probe_unload(&p);
		return -1;
	}
	*ret = p;
	return 0;
}

void probe_unload(struct probe *p)
{
	for (size_t i = 0; i < p->n_links; i++)
		bpf_link__destroy(p->links[i]);
	bpf_object__close(p->obj);
	*p = (struct probe){ 0 };
}

int probe_map(const struct probe *p, const char *name)
{
	return p->obj ? bpf_object__find_map_fd_by_name(p->obj, name) : -1;
}

/* ---- tracked processes, counts ---- */

/* The same process?  /proc rounds its start to ticks of 10 ms. */
static bool same_start(uint64_t a, uint64_t b)
{
	return !a || !b || (a > b ? a - b : b - a) < 20000000;
}

void probe_track(const struct probe_maps *m, const struct tracked *t)
{
	struct tracked_value v = { .rank = t->p.rank, .start_ns = t->p.start_ns }, old;
	uint32_t pid = t->p.pid;

	if (t->p.is_rank)
		v.kind = TRACKED_RANK;
	else
		v.kind = t->p.rank < 0 ? TRACKED_LAUNCHER : TRACKED_CHILD;
	if (!t->gone)
		bpf_map_update_elem(m->tracked, &pid, &v, BPF_ANY);
	else if (!bpf_map_lookup_elem(m->tracked, &pid, &old) && same_start(old.start_ns, v.start_ns))
		bpf_map_delete_elem(m->tracked, &pid);
}

struct probe_counts probe_counts_take(const struct probe_maps *m, struct probe_counts *last)
{
	int n_cpus = libbpf_num_possible_cpus();
	struct probe_counts now = { 0 }, new;

	for (uint32_t i = 0; i < COUNT_MAX && n_cpus > 0; i++) {
		_cleanup_free_ uint64_t *per_cpu = calloc((size_t)n_cpus, sizeof(*per_cpu));

		now.n[i] = last->n[i];
		if (!per_cpu || bpf_map_lookup_elem(m->counts, &i, per_cpu))
			continue;
		now.n[i] = 0;
		for (int cpu = 0; cpu < n_cpus; cpu++)
			now.n[i] += per_cpu[cpu];
	}
	for (uint32_t i = 0; i < COUNT_MAX; i++)
		new.n[i] = now.n[i] - last->n[i];
	*last = now;
	return new;
}
