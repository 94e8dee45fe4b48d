#include "analyzer/ingest/ingest.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyzer/collectives.h"
#include "analyzer/identity.h"
#include "analyzer/ingest/detect.h"
#include "analyzer/ingest/flight_pool.h"
#include "analyzer/ingest/ring.h"
#include "analyzer/ingest/structured.h"
#include "bundle/cleanup.h"
#include "bundle/digest.h"
#include "bundle/stream.h"

#define MANIFEST "manifest.json"
#define FILES_MAX 2000000
#define DEPTH_MAX 64
#define WHOLE_MAX ((size_t)512 << 20)	/* of a format that is read whole */
#define NESTED_MAX ((size_t)256 << 20)	/* of a compressed file inside an archive */
#define DIGEST_ALL ((uint64_t)16 << 20)	/* inputs up to this are digested without being asked */

/* Formats that are parsed from one buffer. */
static const struct {
	enum format format;
	int (*parse)(struct store *, uint32_t, const char *, size_t, struct error *);	/* above 0: the rest is a log */
	enum source_class source;	/* that it can witness; SRC_COUNT: it says nothing by being silent */
	bool is_text;			/* what the parser cannot read is a log all the same */
	bool also_log;			/* lines that the parser does not know may hold signatures */
} whole[] = {
	{ FMT_NVIDIA_SMI, ingest_nvidia_smi, SRC_DRIVER, false, false },
	{ FMT_GPU_TEXT, ingest_gpu_text, SRC_DRIVER, true, false },
	{ FMT_GPU_JSON, ingest_gpu_json, SRC_DRIVER, false, false },
	{ FMT_DCGM_TEXT, ingest_dcgm_text, SRC_COUNT, true, false },
	{ FMT_DCGM_JSON, ingest_dcgm_json, SRC_COUNT, false, false },
	{ FMT_RAS_TEXT, ingest_nccl_ras_text, SRC_COUNT, true, true },
	{ FMT_RAS_JSON, ingest_nccl_ras_json, SRC_COUNT, false, false },
	{ FMT_K8S_JSON, ingest_kubernetes_json, SRC_SCHEDULER, false, false },
	{ FMT_K8S_TEXT, ingest_kubernetes_text, SRC_SCHEDULER, true, false },
	{ FMT_STACKS, ingest_stacks, SRC_HOST, true, true },
	{ FMT_ELASTIC, ingest_elastic_error, SRC_LAUNCHER, false, false },
};

struct file_list {
	char **v;
	size_t n, cap;
};

struct intake {
	struct store *s;
	const struct ingest_options *opt;
	const struct pattern_set *set;
	struct scanner scanner;
	struct log *log;
	struct flight_pool *pool;
	bool digest;
	uint64_t bytes;
	/* of the bundle that is being read */
	int64_t captured_ns;
	sid bundle_host;
	size_t bundle_path;		/* length of the bundle's folder in the path of its manifest */
	sid bundle_manifest;		/* that path */
	struct bundle_run *run;		/* NULL: the manifest names none */
};

static bool stopped(const struct intake *in) { return in->opt->stop && *in->opt->stop; }

/* ---- the files of the inputs ---- */

static int add_file(struct file_list *l, const char *path, struct error *err)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 256;
		char **p = reallocarray(l->v, cap, sizeof(*p));

		if (!p)
			return error_set(err, ERR_NOMEM, "no memory for the list of files");
		l->v = p;
		l->cap = cap;
	}
	l->v[l->n] = strdup(path);
	if (!l->v[l->n])
		return error_set(err, ERR_NOMEM, "no memory for the list of files");
	l->n++;
	return 0;
}

/* By name, a manifest before all else: it says what the rest of its folder is. */
static int compare_paths(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	bool mx = strcmp(x, MANIFEST) == 0, my = strcmp(y, MANIFEST) == 0;

	return mx != my ? (mx ? -1 : 1) : strcmp(x, y);
}

/* Note a path that is not read, with the reason. */
static int unread(struct intake *in, const char *path, enum member_state state, const struct error *why, struct error *err)
{
	int64_t m = store_member(in->s, path, NULL, err);

	if (m < 0)
		return -1;
	store_damage(in->s, (uint32_t)m, why, true);
	in->s->members[m].state = state;
	return 0;
}

static int walk(struct intake *in, const char *path, int depth, struct file_list *files, struct error *err);

static int walk_dir(struct intake *in, const char *path, int depth, struct file_list *files, struct error *err)
{
	struct file_list names = { 0 };
	DIR *d = depth < DEPTH_MAX ? opendir(path) : NULL;
	struct error why = { 0 };
	int ret = 0;

	if (!d) {
		if (depth < DEPTH_MAX)
			error_sys(&why, "cannot open the directory");
		else
			error_set(&why, ERR_LIMIT, "directories nested deeper than %d are not read", DEPTH_MAX);
		return unread(in, path, MEMBER_UNREAD, &why, err);
	}
	for (struct dirent *e; ret == 0 && (e = readdir(d));)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			ret = add_file(&names, e->d_name, err);
	closedir(d);
	if (names.n)
		qsort(names.v, names.n, sizeof(*names.v), compare_paths);
	for (size_t i = 0; i < names.n; i++) {
		_cleanup_free_ char *child = NULL;
		size_t n = strlen(path);

		if (ret == 0 && asprintf(&child, "%s%s%s", path, n && path[n - 1] == '/' ? "" : "/", names.v[i]) < 0)
			ret = error_set(err, ERR_NOMEM, "no memory for a path");
		if (ret == 0)
			ret = walk(in, child, depth + 1, files, err);
		free(names.v[i]);
	}
	free(names.v);
	return ret;
}

static int walk(struct intake *in, const char *path, int depth, struct file_list *files, struct error *err)
{
	struct error why = { 0 };
	struct stat st;

	/* A link below a directory may lead out of the input: it is not followed. */
	if (depth ? lstat(path, &st) : stat(path, &st))
		return error_sys(&why, "cannot open"), unread(in, path, MEMBER_UNREAD, &why, err);
	if (S_ISDIR(st.st_mode))
		return walk_dir(in, path, depth, files, err);
	if (S_ISREG(st.st_mode) && files->n < FILES_MAX)
		return add_file(files, path, err);
	error_set(&why, ERR_UNSUPPORTED, "%s",
		  S_ISREG(st.st_mode) ? "more files than one analysis reads" :
		  S_ISLNK(st.st_mode) ? "a symbolic link, not followed" :
		  S_ISFIFO(st.st_mode) ? "a FIFO, not read" :
		  S_ISSOCK(st.st_mode) ? "a socket, not read" : "a device, not read");
	return unread(in, path, S_ISLNK(st.st_mode) ? MEMBER_IGNORED : MEMBER_UNREAD, &why, err);
}

/* ---- one member ---- */

/* The bytes of the member that is being read, with what was peeked at. */
struct tap {
	struct stream *stream;
	struct digest *digest;		/* NULL: not asked for */
	struct error err;		/* what ended the reading early */
	uint64_t bytes;
	const uint8_t *head;		/* read already */
	size_t head_len, head_pos;
};

static size_t tap_read(struct tap *t, uint8_t *buf, size_t size)
{
	ssize_t n;

	if (t->head_pos < t->head_len) {
		n = (ssize_t)(t->head_len - t->head_pos < size ? t->head_len - t->head_pos : size);
		memcpy(buf, t->head + t->head_pos, (size_t)n);
		t->head_pos += (size_t)n;
	} else {
		n = t->err.code ? 0 : stream_read(t->stream, buf, size, &t->err);
	}
	if (n <= 0)
		return 0;
	digest_add(t->digest, buf, (size_t)n);
	t->bytes += (uint64_t)n;
	return (size_t)n;
}

/* The first bytes of the member, for a look at what it is; they are read again. */
static void tap_peek(struct tap *t, uint8_t head[DETECT_BYTES])
{
	ssize_t n;

	while (t->head_len < DETECT_BYTES &&
	       (n = stream_read(t->stream, head + t->head_len, DETECT_BYTES - t->head_len, &t->err)) > 0)
		t->head_len += (size_t)n;
}

/* The scanner takes longer to build than a small input to read: only when there is text. */
static int need_log(struct intake *in, struct error *err)
{
	if (in->log)
		return 0;
	return scanner_init(&in->scanner, in->set, err) ? -1 : log_open(&in->scanner, in->s, &in->opt->log, &in->log, err);
}

static int read_log(struct intake *in, uint32_t member, struct tap *t, struct error *err)
{
	if (need_log(in, err))
		return -1;
	log_begin(in->log, member);
	while (!stopped(in)) {
		size_t room, n;
		uint8_t *to = log_room(in->log, &room);

		n = tap_read(t, to, room);
		if (n == 0)
			break;
		log_advance(in->log, n);
	}
	log_end(in->log);
	return 0;
}

/* Lines of a text that lies in memory, from one that begins at `from`. */
static int scan_buffer(struct intake *in, uint32_t member, const uint8_t *data, size_t len, size_t from, struct error *err)
{
	if (need_log(in, err))
		return -1;
	log_begin(in->log, member);
	if (from)
		log_jump(in->log, from);
	data += from;
	len -= from;
	while (len) {
		size_t room;
		uint8_t *to = log_room(in->log, &room);

		if (room > len)
			room = len;
		memcpy(to, data, room);
		log_advance(in->log, room);
		data += room;
		len -= room;
	}
	log_end(in->log);
	return 0;
}

/* Read the rest of a member into the pool's next buffer; its length, SIZE_MAX: too large. */
static size_t slurp(struct intake *in, struct tap *t, uint8_t **data_ret)
{
	size_t n = 0, size = (size_t)1 << 20, got;
	uint8_t *data = flight_pool_buffer(in->pool, 0, size);

	while (data && (got = tap_read(t, data + n, size - n)) > 0) {
		n += got;
		if (n < size)
			continue;
		if (size >= WHOLE_MAX) {
			error_at(&t->err, ERR_LIMIT, n, "larger than the %zu MiB that are read of such a file", WHOLE_MAX >> 20);
			break;
		}
		size *= 2;
		data = flight_pool_buffer(in->pool, n, size);
	}
	if (!data)
		error_set(&t->err, ERR_NOMEM, "no memory for the file");
	*data_ret = data;
	return data ? n : 0;
}

/* Is it in this folder of the bundle that is being read? */
static bool in_folder(const struct intake *in, const char *path, const char *folder)
{
	size_t n = strlen(folder), skip = 0;

	if (!in->bundle_manifest)
		return false;
	if (strncmp(path, intern_str(&in->s->strings, in->bundle_manifest), in->bundle_path) == 0)
		skip = in->bundle_path;		/* unpacked */
	return strncmp(path + skip, folder, n) == 0 && path[skip + n] == '/';
}

static void read_flight(struct intake *in, uint32_t member, struct tap *t, const char *path)
{
	struct flight_job job = { .member = member, .rank = rank_from_path(path), .captured_ns = in->captured_ns,
				  .again = in_folder(in, path, "fr-2") };
	struct error why = { 0 };
	uint8_t *data;
	size_t n = slurp(in, t, &data);

	in->s->members[member].rank = job.rank;
	if (job.rank == RANK_NONE) {
		error_set(&why, ERR_UNSUPPORTED, "a flight-recorder dump whose file name states no rank");
		store_damage(in->s, member, &why, true);
		return;
	}
	flight_pool_submit(in->pool, n, &job);
}

static int64_t json_time(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));
	struct stamp t;

	return text && time_parse(text, strlen(text), &t) && t.base == TIME_UTC ? t.ns : 0;
}

/* The run that it is about, and when the kernel's clock stood at zero. */
static struct bundle_run *run_of_manifest(struct store *s, const json_t *o)
{
	const json_t *job = json_object_get(o, "job"), *clock = json_object_get(o, "clock"), *rank;
	int64_t realtime_ns = json_integer_value(json_object_get(clock, "realtime_ns"));
	int64_t monotonic_ns = json_integer_value(json_object_get(clock, "monotonic_ns"));
	struct bundle_run *run = ARENA_NEW(&s->arena, struct bundle_run);
	size_t i;

	if (!run)
		return NULL;
	run->begin_ns = json_time(job, "begin");
	if (monotonic_ns >= 0 && realtime_ns > monotonic_ns)
		run->boot_ns = realtime_ns - monotonic_ns;
	json_array_foreach(json_object_get(job, "ranks"), i, rank)
		run_learn(s, run, (uint32_t)json_integer_value(json_object_get(rank, "pid")));
	return run;
}

static void read_manifest(struct intake *in, uint32_t member, const uint8_t *data, size_t n)
{
	json_error_t je;
	json_t *o = json_loadb((const char *)data, n, 0, &je);
	const char *host = json_string_value(json_object_get(o, "host"));
	struct error why = { 0 };

	if (!o) {
		error_at(&why, ERR_FORMAT, (uint64_t)(je.position > 0 ? je.position : 0), "manifest: %s", je.text);
		store_damage(in->s, member, &why, false);
		return;
	}
	in->bundle_manifest = in->s->members[member].input;
	in->bundle_path = strlen(intern_str(&in->s->strings, in->bundle_manifest));
	if (!in->s->members[member].name && in->bundle_path >= sizeof(MANIFEST) - 1)
		in->bundle_path -= sizeof(MANIFEST) - 1;
	in->captured_ns = json_time(o, "time");
	in->run = run_of_manifest(in->s, o);
	in->bundle_host = intern_cstr(&in->s->strings, host);
	in->s->members[member].host = in->bundle_host;
	identity_host(in->s, in->bundle_host);
	json_decref(o);
}

static int read_whole(struct intake *in, uint32_t member, enum format f, struct tap *t, struct error *err)
{
	struct error why = { 0 };
	uint8_t *data;
	size_t n = slurp(in, t, &data);
	int rest;

	if (!data)
		return 0;
	if (f == FMT_MANIFEST)
		return read_manifest(in, member, data, n), 0;
	for (size_t i = 0; i < ARRAY_SIZE(whole); i++) {
		if (whole[i].format != f)
			continue;
		if (whole[i].source != SRC_COUNT)
			in->s->members[member].sources |= 1u << whole[i].source;
		rest = whole[i].parse(in->s, member, (const char *)data, n, &why);
		if (rest < 0 && !whole[i].is_text)
			store_damage(in->s, member, &why, true);
		else if (rest > 0)
			return scan_buffer(in, member, data, n, (size_t)rest, err);
		else if (whole[i].also_log || why.code)
			return scan_buffer(in, member, data, n, 0, err);
	}
	return 0;
}

/* A segment of the recorder's ring: what is text in it is scanned like any other. */
static int read_ring(struct intake *in, uint32_t member, struct tap *t, struct error *err)
{
	struct error why = { 0 };
	uint8_t *data;
	size_t n = slurp(in, t, &data);
	int r = data ? ring_take(in->s, in->set, member, data, n, &why) : 0;

	if (r < 0)
		return store_damage(in->s, member, &why, true), 0;
	if (r == 0)
		return 0;
	return need_log(in, err) ? -1 : ring_scan(in->s, member, data, n, in->log, err);
}

static void name_member(struct intake *in, struct member *m, const char *path)
{
	const char *host, *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	size_t n = host_from_path(path, &host);

	m->rank = rank_from_path(path);
	m->rank_from_path = true;
	/* A trailing number names a rank only where the name says so. */
	if (!strcasestr(base, "rank") && !looks_like_dump(path))
		m->rank = RANK_NONE;
	m->run = in_folder(in, path, "previous") ? NULL : in->run;
	m->host = in->bundle_host;
	if (!m->host && n) {
		m->host = intern(&in->s->strings, host, n);
		m->host_from_path = true;
	}
}

static void finish_member(struct intake *in, uint32_t index, struct tap *t)
{
	struct member *m = &in->s->members[index];

	m->bytes = t->bytes;
	if (t->err.code)
		store_damage(in->s, index, &t->err, false);
	if (t->digest)
		digest_close(t->digest, m->sha256);
	in->bytes += t->bytes;
}

static int read_format(struct intake *in, uint32_t member, struct tap *t, const char *path, struct error *err)
{
	enum format f = detect(t->head, t->head_len);
	struct member *m = &in->s->members[member];
	struct error why = { 0 };

	m->kind = format_name(f);
	switch (f) {
	case FMT_EMPTY:
		if (looks_like_dump(path)) {
			m->kind = format_name(FMT_FLIGHT);
			error_at(&why, ERR_FORMAT, 0, "the file is empty");
			store_damage(in->s, member, &why, false);
		} else {
			m->state = MEMBER_IGNORED;
		}
		return 0;
	case FMT_FLIGHT:
		return read_flight(in, member, t, path), 0;
	case FMT_BINARY:
		if (looks_like_dump(path)) {
			m->kind = format_name(FMT_FLIGHT);
			error_at(&why, ERR_FORMAT, 0, "named like a flight-recorder dump, but neither a pickle nor JSON");
			store_damage(in->s, member, &why, true);
			return 0;
		}
		m->state = MEMBER_IGNORED;
		return 0;
	case FMT_TOPOLOGY:
		m->state = MEMBER_IGNORED;
		return 0;
	case FMT_LOG:
		if (named_like_dump(path)) {
			error_at(&why, ERR_FORMAT, 0, "named like a flight-recorder dump, but neither a pickle nor JSON");
			store_damage(in->s, member, &why, false);
		}
		m->sources |= 1u << SRC_APP;
		return read_log(in, member, t, err);
	case FMT_RING:
		return read_ring(in, member, t, err);
	case FMT_NVIDIA_SMI:
	case FMT_GPU_TEXT:
	case FMT_GPU_JSON:
	case FMT_DCGM_TEXT:
	case FMT_DCGM_JSON:
	case FMT_RAS_TEXT:
	case FMT_RAS_JSON:
	case FMT_K8S_JSON:
	case FMT_K8S_TEXT:
	case FMT_STACKS:
	case FMT_ELASTIC:
	case FMT_MANIFEST:
	case FMT_COUNT:
		break;
	}
	return read_whole(in, member, f, t, err);
}

static int read_stream(struct intake *in, const char *input, struct stream *st, const char *outer, struct error *err);

/* The bytes of a compressed member; NULL: too many. */
static uint8_t *slurp_nested(struct tap *t, size_t *n_ret, struct error *why)
{
	_cleanup_free_ uint8_t *data = NULL;
	size_t n = 0, cap = 0, got;

	do {
		if (n == cap) {
			uint8_t *p = cap < NESTED_MAX ? realloc(data, cap = cap ? cap * 2 : 1 << 20) : NULL;

			if (!p) {
				error_set(why, ERR_LIMIT, "a compressed member larger than %zu MiB", NESTED_MAX >> 20);
				return NULL;
			}
			data = p;
		}
		got = tap_read(t, data + n, cap - n);
		n += got;
	} while (got);
	*n_ret = n;
	return take(data);
}

/* A compressed file inside an archive: unwrapped in memory. */
static int read_nested(struct intake *in, const char *input, const char *name, struct tap *t, struct error *err)
{
	_cleanup_stream_ struct stream *inner = NULL;
	struct error why = { 0 };
	size_t n = 0;
	_cleanup_free_ uint8_t *data = slurp_nested(t, &n, &why);

	if (!data || stream_open_memory(data, n, &inner, &why))
		return error_in(&why, name), unread(in, input, MEMBER_UNREAD, &why, err);
	return read_stream(in, input, inner, name, err);
}

static int read_member(struct intake *in, const char *input, const char *name, struct stream *st, bool nested,
		       struct error *err)
{
	uint8_t head[DETECT_BYTES];
	struct tap t = { .stream = st, .head = head };
	const char *path = name ? name : input;
	int64_t member;

	tap_peek(&t, head);
	if (name && !nested && stream_wrapped(head, t.head_len))
		return read_nested(in, input, name, &t, err);
	member = store_member(in->s, input, name, err);
	if (member < 0)
		return -1;
	if (in->opt->progress)
		in->opt->progress(in->opt->ctx, path, in->bytes);
	t.digest = in->digest ? digest_open() : NULL;
	name_member(in, &in->s->members[member], path);
	if (in_folder(in, path, "logs-before")) {
		in->s->members[member].state = MEMBER_IGNORED;
		in->s->members[member].kind = "log";
		finish_member(in, (uint32_t)member, &t);
		return 0;
	}
	if (read_format(in, (uint32_t)member, &t, path, err)) {
		digest_close(t.digest, (char[DIGEST_HEX]){ 0 });
		return -1;
	}
	finish_member(in, (uint32_t)member, &t);
	return 0;
}

static int read_stream(struct intake *in, const char *input, struct stream *st, const char *outer, struct error *err)
{
	struct error why = { 0 };
	const char *name;
	int r;

	while (!stopped(in) && (r = stream_next(st, &name, &why)) != 0) {
		if (r < 0)
			return outer ? error_in(&why, outer) : 0, unread(in, input, MEMBER_DAMAGED, &why, err);
		if (read_member(in, input, name ? name : outer, st, outer != NULL, err))
			return -1;
	}
	if (stream_skipped(st)) {
		error_set(&why, ERR_UNSUPPORTED, "%llu links, devices or other special members were not read",
			  (unsigned long long)stream_skipped(st));
		return unread(in, input, MEMBER_IGNORED, &why, err);
	}
	return 0;
}

/* Say of a file that it changed while it was read: of its one member, else of the archive. */
static int note_change(struct intake *in, const char *path, const struct stream *st, size_t first, struct error *err)
{
	struct error why = { 0 };
	int change = stream_changed(st, &why);
	int64_t m = (int64_t)first;

	if (change == 0)
		return 0;
	if (stream_is_archive(st) || first == in->s->n_members)
		m = store_member(in->s, path, NULL, err);
	if (m < 0)
		return -1;
	if (change < 0)
		store_damage(in->s, (uint32_t)m, &why, false);
	else
		store_note(in->s, (uint32_t)m, &why);
	return 0;
}

static int read_file(struct intake *in, const char *path, struct error *err)
{
	bool is_stdin = strcmp(path, "-") == 0;
	_cleanup_close_ int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_cleanup_stream_ struct stream *st = NULL;
	size_t first = in->s->n_members;
	struct error why = { 0 };

	/* what a manifest said holds for its own bundle only */
	if (in->bundle_manifest && strncmp(path, intern_str(&in->s->strings, in->bundle_manifest), in->bundle_path)) {
		in->bundle_manifest = in->bundle_host = 0;
		in->captured_ns = 0;
		in->run = NULL;
	}
	if (fd < 0)
		return error_sys(&why, "cannot open"), unread(in, path, MEMBER_UNREAD, &why, err);
	if (stream_open_fd(fd, &st, &why))
		return unread(in, path, MEMBER_UNREAD, &why, err);
	return read_stream(in, path, st, NULL, err) ? -1 : note_change(in, path, st, first, err);
}

/* ---- all ---- */

/* A manifest goes in front of the first file of its folder, wherever it was named. */
static void manifests_first(struct file_list *files)
{
	for (size_t i = 0; i < files->n; i++) {
		const char *slash = strrchr(files->v[i], '/');
		size_t dir = slash ? (size_t)(slash - files->v[i]) + 1 : 0, k = 0;
		char *manifest = files->v[i];

		if (strcmp(manifest + dir, MANIFEST))
			continue;
		while (k < i && strncmp(files->v[k], manifest, dir))
			k++;
		memmove(&files->v[k + 1], &files->v[k], (i - k) * sizeof(*files->v));
		files->v[k] = manifest;
	}
}

static uint64_t total_size(const struct file_list *files)
{
	uint64_t sum = 0;
	struct stat st;

	for (size_t i = 0; i < files->n && sum <= DIGEST_ALL; i++)
		if (stat(files->v[i], &st) == 0)
			sum += (uint64_t)st.st_size;
	return sum;
}

#define DAY_NS INT64_C(86400000000000)
#define MARCH 60	/* days before 1 March in a leap year */

/* Times that state their year: from the first to the last of them. */
struct dated {
	int64_t from, to;
	bool any;
};

static struct dated dated_sources(const struct store *s)
{
	struct dated d = { 0 };

	for (size_t i = 0; i < s->n_members; i++) {
		struct stamp t[] = { s->members[i].first, s->members[i].last };

		for (size_t k = 0; k < ARRAY_SIZE(t); k++) {
			if (t[k].base != TIME_UTC && t[k].base != TIME_LOCAL)
				continue;
			d.from = !d.any || t[k].ns < d.from ? t[k].ns : d.from;
			d.to = !d.any || t[k].ns > d.to ? t[k].ns : d.to;
			d.any = true;
		}
	}
	return d;
}

static int year_of(int64_t ns)
{
	int year = 1970;

	while (year < 2200 && time_from_civil(year + 1, 1, 1) <= ns / DAY_NS)
		year++;
	return year;
}

/* A yearless stamp in that year; the leap day that it lacks is taken out. */
static int64_t in_year(int64_t ns, int year)
{
	bool leap = time_from_civil(year, 3, 1) - time_from_civil(year, 1, 1) == MARCH;

	return ns + time_from_civil(year, 1, 1) * DAY_NS - (!leap && ns >= MARCH * DAY_NS ? DAY_NS : 0);
}

/* In the year that brings it nearest to what is dated: 31 December belongs to the year before 1 January. */
static int64_t nearest(int64_t ns, const struct dated *d)
{
	int64_t best = 0, best_gap = INT64_MAX;

	for (int year = year_of(d->from) - 1; year <= year_of(d->to) + 1; year++) {
		int64_t t = in_year(ns, year), gap = t < d->from ? d->from - t : t > d->to ? t - d->to : 0;

		if (gap < best_gap)
			best = t, best_gap = gap;
	}
	return best;
}

static void settle_years(struct store *s)
{
	const struct dated d = dated_sources(s);

	for (size_t i = 0; d.any && i < s->n_obs; i++) {
		struct stamp *t[] = { &s->obs[i].time, &s->obs[i].onset, &s->obs[i].first, &s->obs[i].last,
				      &s->obs[i].above, &s->obs[i].above_last };

		for (size_t k = 0; k < ARRAY_SIZE(t); k++)
			if (t[k]->base == TIME_YEARLESS)
				*t[k] = (struct stamp){ nearest(t[k]->ns, &d), TIME_LOCAL };
	}
}

/* Does the path hold this name, not as part of a longer word? */
static bool path_names(const char *path, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = path; n > 2 && (p = strstr(p, name)); p++)
		if ((p == path || !isalnum((unsigned char)p[-1])) && !isalnum((unsigned char)p[n]))
			return true;
	return false;
}

/* A file named after a host that the input knows by its content is about that host. */
static void settle_hosts(struct store *s)
{
	const uint32_t host_sources = 1u << SRC_KERNEL | 1u << SRC_DRIVER | 1u << SRC_FABRIC;
	const struct identity *map = s->identity;

	for (size_t i = 0; i < s->n_members; i++) {
		struct member *m = &s->members[i];
		const char *path = intern_str(&s->strings, m->name ? m->name : m->input);

		for (size_t h = 0; h < map->n_hosts && (!m->host || m->host_from_path); h++)
			if (path_names(path, intern_str(&s->strings, map->hosts[h])))
				m->host = map->hosts[h];
	}
	/* a kernel log or telemetry without a name, where all there is comes from one host */
	for (size_t i = 0; map->n_hosts == 1 && i < s->n_members; i++)
		if (!s->members[i].host && (s->members[i].sources & host_sources))
			s->members[i].host = map->hosts[0];
	for (size_t i = 0; i < s->n_obs; i++)
		if (!s->obs[i].scope.host && s->obs[i].n_evidence)
			s->obs[i].scope.host = s->members[s->evidence[s->obs[i].evidence[0]].member].host;
}

/* Damage is an observation too: it must not get lost between the lines. */
static void observe_damage(struct store *s)
{
	for (size_t i = 0; i < s->n_members; i++) {
		struct member *m = &s->members[i];
		struct observation o = observation_of("input.damaged", SRC_INPUT);

		if (m->state != MEMBER_DAMAGED && !(m->state == MEMBER_UNREAD && m->damage))
			continue;
		o.scope.rank = m->rank;
		o.scope.object = m->name ? m->name : m->input;
		observation_fieldf(s, &o, "what", "%s", m->damage ? m->damage->what : "damaged");
		store_observe(s, &o);
	}
}

static int read_all(struct intake *in, const struct file_list *files, struct error *err)
{
	unsigned jobs = in->opt->jobs;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int ret = 0;

	if (!jobs)
		jobs = cpus > 0 ? (unsigned)cpus : 1;
	if (flight_pool_open(in->s, jobs, &in->pool, err))
		return -1;
	for (size_t i = 0; ret == 0 && i < files->n && !stopped(in); i++)
		ret = read_file(in, files->v[i], err);
	flight_pool_finish(in->pool);
	flight_pool_close(in->pool);
	if (ret == 0)
		ret = ring_settle(in->s, in->set, err);
	ring_free(in->s);
	return ret;
}

int ingest(struct store *s, const struct pattern_set *set, char *const *inputs, size_t n_inputs,
	   const struct ingest_options *opt, struct error *err)
{
	struct intake in = { .s = s, .set = set, .opt = opt };
	struct file_list files = { 0 };
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < n_inputs; i++)
		ret = strcmp(inputs[i], "-") ? walk(&in, inputs[i], 0, &files, err) : add_file(&files, "-", err);
	manifests_first(&files);
	in.digest = opt->digest || total_size(&files) <= DIGEST_ALL;
	if (ret == 0)
		ret = read_all(&in, &files, err);
	log_close(in.log);
	scanner_deinit(&in.scanner);
	for (size_t i = 0; i < files.n; i++)
		free(files.v[i]);
	free(files.v);
	if (ret)
		return -1;
	s->interrupted = stopped(&in);
	settle_years(s);
	settle_hosts(s);
	identity_seal(s);
	if (collectives_join(s, err))
		return -1;
	ring_relabel(s);
	identity_seal(s);
	observe_damage(s);
	return 0;
}

/* ---- reading a quote again ---- */

/* Bytes of a member, wanted again. */
struct reread {
	const char *member;
	uint64_t offset;
	void *buf;
	size_t len;
};

/* The member from the bytes `t` on; 1, or -1 with why. */
static int reread_bytes(const struct reread *want, struct tap *t, struct error *err)
{
	uint8_t block[65536];
	uint64_t at = 0;
	size_t have = 0, n;

	while (have < want->len && (n = tap_read(t, block, sizeof(block))) > 0) {
		for (size_t i = 0; i < n && have < want->len; i++)
			if (at + i >= want->offset)
				((uint8_t *)want->buf)[have++] = block[i];
		at += n;
	}
	return have == want->len ? 1 : error_set(err, ERR_FORMAT, "ends before the quoted bytes");
}

/* 1: read; 0: no such member; -1: error. */
static int reread_stream(const struct reread *want, struct stream *st, const char *outer, struct error *err)
{
	uint8_t head[DETECT_BYTES];
	const char *name;
	int r;

	while ((r = stream_next(st, &name, err)) > 0) {
		struct tap t = { .stream = st, .head = head };

		tap_peek(&t, head);
		if (name && !outer && stream_wrapped(head, t.head_len)) {	/* as read_nested() */
			_cleanup_stream_ struct stream *inner = NULL;
			struct error why = { 0 };
			size_t n = 0;
			_cleanup_free_ uint8_t *data = slurp_nested(&t, &n, &why);

			if (data && stream_open_memory(data, n, &inner, &why) == 0 &&
			    reread_stream(want, inner, name, &why) > 0)
				return 1;
			continue;
		}
		name = name ? name : outer;
		if (!want->member[0] || (name && strcmp(name, want->member) == 0))
			return reread_bytes(want, &t, err);
	}
	return r;
}

int ingest_reread(const char *input, const char *member, uint64_t offset, void *buf, size_t len, struct error *err)
{
	const struct reread want = { .member = member, .offset = offset, .buf = buf, .len = len };
	_cleanup_close_ int fd = open(input, O_RDONLY | O_CLOEXEC);
	_cleanup_stream_ struct stream *st = NULL;
	int r;

	if (fd < 0)
		return error_sys(err, "cannot open");
	if (stream_open_fd(fd, &st, err))
		return -1;
	r = reread_stream(&want, st, NULL, err);
	return r > 0 ? 0 : r < 0 ? -1 : error_set(err, ERR_FORMAT, "no such member: %s", member);
}
