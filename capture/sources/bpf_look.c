#include "capture/sources/bpf_look.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/loop.h"

/* Take any entry out of a map; false: it is empty. */
static bool map_take(int map, void *key, void *value)
{
	if (bpf_map_get_next_key(map, NULL, key))
		return false;
	if (!bpf_map_lookup_and_delete_elem(map, key, value))
		return true;
	return !bpf_map_lookup_elem(map, key, value) && !bpf_map_delete_elem(map, key);	/* before 5.14 */
}

void bpf_look_tcp(const struct probe *p, struct ring *r)
{
	int map = probe_map(p, "tcp_counts");
	struct tcp_value v;
	struct tcp_key k;

	for (int i = 0; map >= 0 && i < AGGREGATE_MAX && map_take(map, &k, &v); i++) {
		struct record_tcp t = {
			.event = k.event, .family = k.family, .local_port = k.local_port, .remote_port = k.remote_port,
			.pid = v.pid, .rank = v.rank, .error = k.error, .count = (uint32_t)v.count,
		};

		memcpy(t.local, k.local, sizeof(t.local));
		memcpy(t.remote, k.remote, sizeof(t.remote));
		memcpy(t.comm, v.comm, sizeof(t.comm));
		ring_put(r, STREAM_BPF, REC_TCP, loop_now(), &t, sizeof(t), NULL, 0);
	}
}

int32_t block_status_errno(int32_t status)
{
	static const int known[] = {	/* blk_status_t */
		[2] = ETIMEDOUT, [3] = ENOSPC, [4] = ENOLINK, [5] = EREMOTEIO, [6] = EBADE, [7] = ENODATA,
		[8] = EILSEQ, [9] = ENOMEM,
	};

	if (status <= 0)
		return -status;
	if ((size_t)status < ARRAY_SIZE(known) && known[status])
		return known[status];
	return EIO;
}

void bpf_look_block_io(const struct probe *p, struct ring *r)
{
	int map = probe_map(p, "block_counts");
	struct block_value v;
	struct block_key k;

	for (int i = 0; map >= 0 && i < AGGREGATE_MAX && map_take(map, &k, &v); i++) {
		struct record_block_io b = {
			.major = k.major, .minor = k.minor, .is_write = k.is_write, .error = block_status_errno(k.status),
			.latency_ns = v.latency_ns, .bytes = v.bytes, .count = v.count,
		};

		ring_put(r, STREAM_BPF, REC_BLOCK_IO, loop_now(), &b, sizeof(b), NULL, 0);
	}
}

/* Bytes of `n` lines; 0: they are not all there. */
static size_t lines_bytes(const char *text, size_t len, uint32_t n)
{
	size_t pos = 0;

	for (uint32_t i = 0; i < n; i++) {
		const char *end = memchr(text + pos, '\n', len - pos);

		if (!end)
			return 0;
		pos = (size_t)(end - text) + 1;
	}
	return pos;
}

/* Records of whole tasks in `buf`; the bytes used. */
static size_t put_blocked(struct ring *r, const char *buf, size_t len)
{
	struct blocked_head h;
	size_t pos = 0;

	while (len - pos >= sizeof(h)) {
		size_t text;

		memcpy(&h, buf + pos, sizeof(h));
		if (h.magic != BLOCKED_MAGIC)
			return len;	/* lost the thread: the next look starts anew */
		text = lines_bytes(buf + pos + sizeof(h), len - pos - sizeof(h), h.record.frames);
		if (h.record.frames && !text)
			break;
		ring_put(r, STREAM_BPF, REC_BLOCKED_TASK, loop_now(), &h.record, sizeof(h.record),
			 buf + pos + sizeof(h), text);
		pos += sizeof(h) + text;
	}
	return pos;
}

void bpf_look_blocked(const struct probe *p, struct ring *r)
{
	_cleanup_close_ int fd = p->n_links ? bpf_iter_create(bpf_link__fd(p->links[0])) : -1;
	char buf[32 << 10];
	size_t have = 0;
	ssize_t n;

	while (fd >= 0 && have < sizeof(buf) && (n = read(fd, buf + have, sizeof(buf) - have)) > 0) {
		size_t used;

		have += (size_t)n;
		used = put_blocked(r, buf, have);
		have -= used;
		memmove(buf, buf + used, have);
	}
}
