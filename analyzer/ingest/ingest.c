#include "analyzer/ingest/ingest.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/collectives.h"
#include "analyzer/identity.h"
#include "analyzer/ingest/intake.h"
#include "analyzer/ingest/ring.h"
#include "bundle/cleanup.h"

#define DIGEST_ALL ((uint64_t)16 << 20)	/* inputs up to this are digested without being asked */

static int read_stream(struct intake *in, const char *input, struct stream *st, const char *outer, struct error *err);

/* A compressed file inside an archive: unwrapped in memory. */
static int read_nested(struct intake *in, const char *input, const char *name, struct tap *t, struct error *err)
{
	_cleanup_stream_ struct stream *inner = NULL;
	struct error why = { 0 };
	size_t n = 0;
	_cleanup_free_ uint8_t *data = tap_slurp(t, &n, &why);

	if (!data || stream_open_memory(data, n, &inner, &why))
		return error_in(&why, name), files_unread(in, input, MEMBER_UNREAD, &why, err);
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
	member_name(in, &in->s->members[member], path);
	if (files_in_folder(in, path, "logs-before")) {
		in->s->members[member].state = MEMBER_IGNORED;
		in->s->members[member].kind = "log";
		member_finish(in, (uint32_t)member, &t);
		return 0;
	}
	if (member_read(in, (uint32_t)member, &t, path, err)) {
		digest_close(t.digest, (char[DIGEST_HEX]){ 0 });
		return -1;
	}
	member_finish(in, (uint32_t)member, &t);
	return 0;
}

static int read_stream(struct intake *in, const char *input, struct stream *st, const char *outer, struct error *err)
{
	struct error why = { 0 };
	const char *name;
	int r;

	while (!stopped(in) && (r = stream_next(st, &name, &why)) != 0) {
		if (r < 0)
			return outer ? error_in(&why, outer) : 0, files_unread(in, input, MEMBER_DAMAGED, &why, err);
		if (read_member(in, input, name ? name : outer, st, outer != NULL, err))
			return -1;
	}
	if (stream_skipped(st)) {
		error_set(&why, ERR_UNSUPPORTED, "%llu links, devices or other special members were not read",
			  (unsigned long long)stream_skipped(st));
		return files_unread(in, input, MEMBER_IGNORED, &why, err);
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
		return error_sys(&why, "cannot open"), files_unread(in, path, MEMBER_UNREAD, &why, err);
	if (stream_open_fd(fd, &st, &why))
		return files_unread(in, path, MEMBER_UNREAD, &why, err);
	return read_stream(in, path, st, NULL, err) ? -1 : note_change(in, path, st, first, err);
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
		ret = strcmp(inputs[i], "-") ? files_walk(&in, inputs[i], 0, &files, err) : files_add(&files, "-", err);
	files_manifests_first(&files);
	in.digest = opt->digest || files_size(&files, DIGEST_ALL) <= DIGEST_ALL;
	if (ret == 0)
		ret = read_all(&in, &files, err);
	log_close(in.log);
	scanner_deinit(&in.scanner);
	files_deinit(&files);
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
	settle_damage(s);
	return 0;
}
