/* What the kernel makes processes wait for: blocked tasks, disks, TCP. */
#include "analyzer/ingest/ringer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bundle/cleanup.h"

#define BLOCKED_NS (10 * SECOND_NS)
#define STILL_NS (15 * SECOND_NS)	/* a task that is told of no more for so long went on */
#define LATE_NS (10 * SECOND_NS)
#define RETRANSMITS 100

bool ring_is_storage(struct span stack)
{
	static const char *const symbols[] = {
		"nfs", "rpc_wait", "rpc_execute", "lustre", "ptlrpc", "ldlm_", "osc_", "ll_file", "cl_sync_io", "fuse_",
		"request_wait_answer", "ceph_", "cxiWait", "mmfs", "gpfs", "Fhgfs", "beegfs", "wekafs", "cifs", "smb2_",
		"p9_client", "daos", "afs_",
	};

	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++)
		if (span_find(stack, symbols[i]))
			return true;
	return false;
}

void ring_blocked_task(struct ringer *r, const struct record *rec)
{
	struct record_blocked_task b;
	struct span stack = record_part(rec, &b, sizeof(b));
	bool went_on = r->end_ns - rec->monotonic_ns > STILL_NS;
	struct observation o;
	const char *kind;
	char comm[17];

	record_text(b.comm, sizeof(b.comm), comm);
	if (b.blocked_ns < (uint64_t)BLOCKED_NS)
		return;
	kind = went_on ? "host.task_waited" : ring_is_storage(stack) ? "storage.blocked" : "host.hung_task";
	o = ringer_observation(r, kind, SRC_EBPF, rec->monotonic_ns);
	o.onset.ns -= b.blocked_ns < (uint64_t)SANE_NS ? (int64_t)b.blocked_ns : 0;
	ringer_scope(r, &o, b.pid, b.rank, comm);
	if (stack.len)
		observation_field(r->s, &o, "symbol", stack.s, strcspn(stack.s, "+ \n") < stack.len ?
				  strcspn(stack.s, "+ \n") : stack.len);
	ringer_cite(r, &o, rec, "%s (pid %u, thread %u) waits in the kernel for %llu s:\n%.*s", comm, b.pid, b.tid,
		    (unsigned long long)(b.blocked_ns / (uint64_t)SECOND_NS),
		    (int)(stack.len < 800 ? stack.len : 800), stack.s);
	store_observe(r->s, &o);
}

/* Errors of a device; others are answers ("not supported"). */
static bool is_failure(int error)
{
	return error == EIO || error == ETIMEDOUT || error == ENODATA || error == EILSEQ || error == ENOLINK ||
	       error == EREMOTEIO;
}

void ring_block_io(struct ringer *r, const struct record *rec)
{
	struct record_block_io b;
	struct observation o;
	char object[32];

	record_part(rec, &b, sizeof(b));
	if (!is_failure(b.error) && b.latency_ns < (uint64_t)LATE_NS)
		return;
	o = ringer_observation(r, is_failure(b.error) ? "disk.io_error" : "disk.timeout", SRC_EBPF, rec->monotonic_ns);
	snprintf(object, sizeof(object), "block device %u:%u", b.major, b.minor);
	o.scope.object = intern_cstr(&r->s->strings, object);
	observation_fieldf(r->s, &o, "direction", "%s", b.is_write ? "write" : "read");
	if (b.error)
		observation_fieldf(r->s, &o, "error", "%s", errno_text(b.error));
	ringer_cite(r, &o, rec, "%s: %s of %u bytes %s after %llu ms", object, b.is_write ? "write" : "read", b.bytes,
		    b.error ? errno_text(b.error) : "done", (unsigned long long)(b.latency_ns / 1000000));
	store_observe(r->s, &o);
}

static const char *tcp_kind(const struct record_tcp *t)
{
	switch (t->event) {
	case TCP_EVENT_CONNECT_FAILED:
		if (t->rank < 0)
			return NULL;	/* some other program of the host */
		return t->error == ECONNREFUSED ? "net.refused" : "net.unreachable";
	case TCP_EVENT_RETRANSMIT:
		return t->count >= RETRANSMITS ? "net.retransmits" : NULL;
	case TCP_EVENT_RESET_SENT:
	case TCP_EVENT_RESET_RECEIVED:
		return t->rank >= 0 ? "net.reset" : NULL;
	default:
		return NULL;
	}
}

void ring_tcp(struct ringer *r, const struct record *rec)
{
	static const char *const events[] = { "", "segments sent again", "resets sent", "resets received",
					      "failed connects" };
	struct record_tcp t;
	struct observation o;
	const char *kind;
	char remote[INET6_ADDRSTRLEN] = "?", peer[INET6_ADDRSTRLEN + 8], comm[17];

	record_part(rec, &t, sizeof(t));
	kind = tcp_kind(&t);
	if (!kind)
		return;
	inet_ntop(t.family == AF_INET6 ? AF_INET6 : AF_INET, t.remote, remote, sizeof(remote));
	snprintf(peer, sizeof(peer), t.family == AF_INET6 ? "[%s]:%u" : "%s:%u", remote, t.remote_port);
	record_text(t.comm, sizeof(t.comm), comm);
	o = ringer_observation(r, kind, SRC_EBPF, rec->monotonic_ns);
	if (t.pid)
		ringer_scope(r, &o, t.pid, t.rank, comm);
	o.scope.object = intern_cstr(&r->s->strings, peer);
	if (t.error)
		observation_fieldf(r->s, &o, "error", "%s", errno_text(t.error));
	o.count = t.count ? t.count : 1;
	ringer_cite(r, &o, rec, "%u %s, peer %s, %s (pid %u)", t.count, events[t.event], peer, comm, t.pid);
	store_observe(r->s, &o);
}
