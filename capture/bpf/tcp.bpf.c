/* tcp - retransmissions, resets and failed connects, counted by pair of addresses. */
#include "capture/bpf/probe.h"

enum { FAMILY_INET = 2, FAMILY_INET6 = 10 };
enum { STATE_SYN_SENT = 2, STATE_CLOSE = 7 };

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, AGGREGATE_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct tcp_key);
	__type(value, struct tcp_value);
} tcp_counts SEC(".maps");

/* Who connected: packets are handled in nobody's context. */
struct owner {
	__u32 pid;
	__s32 rank;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, TRACKED_MAX);
	__type(key, __u64);
	__type(value, struct owner);
} owners SEC(".maps");

static __always_inline bool put_addresses(struct tcp_key *k, const struct sock *sk)
{
	k->family = (__u8)BPF_CORE_READ(sk, __sk_common.skc_family);
	k->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	k->remote_port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (k->family == FAMILY_INET) {
		BPF_CORE_READ_INTO((__u32(*)[1])k->local, sk, __sk_common.skc_rcv_saddr);
		BPF_CORE_READ_INTO((__u32(*)[1])k->remote, sk, __sk_common.skc_daddr);
	} else if (k->family == FAMILY_INET6) {
		BPF_CORE_READ_INTO(&k->local, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&k->remote, sk, __sk_common.skc_v6_daddr);
	} else {
		return false;
	}
	return true;
}

static __always_inline void tcp_count(const struct sock *sk, __u8 event, __s32 error)
{
	struct tcp_value first = { .count = 1, .rank = -1 }, *v;
	struct tcp_key k = { 0 };
	__u64 address = (__u64)sk;
	struct owner *o;

	k.event = event;
	k.error = error;
	if (!put_addresses(&k, sk))
		return;
	v = bpf_map_lookup_elem(&tcp_counts, &k);
	if (v) {
		__sync_fetch_and_add(&v->count, 1);
		return;
	}
	o = bpf_map_lookup_elem(&owners, &address);
	if (o) {
		first.pid = o->pid;
		first.rank = o->rank;
		__builtin_memcpy(first.comm, o->comm, sizeof(first.comm));
	}
	if (bpf_map_update_elem(&tcp_counts, &k, &first, BPF_NOEXIST))
		count(COUNT_UNAGGREGATED);
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(on_retransmit, const struct sock *sk)
{
	if (sk)
		tcp_count(sk, TCP_EVENT_RETRANSMIT, 0);
	return 0;
}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(on_send_reset, const struct sock *sk)
{
	if (sk)		/* none: somebody knocked at a closed port */
		tcp_count(sk, TCP_EVENT_RESET_SENT, 0);
	return 0;
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(on_receive_reset, const struct sock *sk)
{
	if (sk && BPF_CORE_READ(sk, __sk_common.skc_state) != STATE_SYN_SENT)	/* that one is a failed connect */
		tcp_count(sk, TCP_EVENT_RESET_RECEIVED, 0);
	return 0;
}

static __always_inline void owner_put(__u64 address)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u32 pid = (__u32)(bpf_get_current_pid_tgid() >> 32);
	struct tracked_value *t = tracked_get(pid);
	struct owner o = { .pid = pid };

	if (!t)
		return;
	o.rank = t->rank;
	task_comm(task, o.comm);
	bpf_map_update_elem(&owners, &address, &o, BPF_ANY);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_set_state, const struct sock *sk, int from, int to)
{
	__u64 address = (__u64)sk;

	if (from == STATE_CLOSE && to == STATE_SYN_SENT) {
		owner_put(address);
	} else if (to == STATE_CLOSE && bpf_map_lookup_elem(&owners, &address)) {
		__s32 error = BPF_CORE_READ(sk, sk_err);

		if (from == STATE_SYN_SENT && error > 0)
			tcp_count(sk, TCP_EVENT_CONNECT_FAILED, error);
		bpf_map_delete_elem(&owners, &address);
	}
	return 0;
}
