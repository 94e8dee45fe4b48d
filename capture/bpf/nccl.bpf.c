/*
 * nccl - calls into libnccl.so, seen where they enter it.
 *
 * The daemon attaches a program to each function that the library exports, at its
 * first instruction or shortly behind it, where the arguments still stand as the
 * caller left them.  A communicator's group is a hash that all its members compute
 * alike; NCCL hands every member the same 128 bytes of ncclUniqueId.
 */
#include "capture/bpf/probe.h"

#define UNIQUE_ID_WORDS 16

struct comm_key {
	__u32 pid, reserved;
	__u64 comm;
};

struct comm_state {
	__u64 group;		/* 0: made before the probes were there */
	__u64 seq, sends, receives, splits;
	__s32 rank, size;
	__u32 flags, reserved;	/* as record_nccl_call.flags */
};

/* Least recently used ones go: a process that died leaves its communicators behind. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct comm_key);
	__type(value, struct comm_state);
} comms SEC(".maps");

/* What a thread that makes a communicator asked for, until it returns. */
struct pending {
	__u64 out;		/* where the handle will stand */
	struct record_nccl_comm r;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct pending);
} pendings SEC(".maps");

/* Stack pointers of threads inside ncclBcast, which may go on through ncclBroadcast. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u64);
} bcasts SEC(".maps");

/* ---- the calling convention ---- */

#if defined(__TARGET_ARCH_x86)
#define ARGS_IN_REGISTERS 6
#define STACK_ARGS_AT 8		/* behind the return address */
#else
#define ARGS_IN_REGISTERS 8
#define STACK_ARGS_AT 0
#endif

static __always_inline __u64 stack_word(struct pt_regs *ctx, __u32 n)
{
	__u64 v = 0;

	bpf_probe_read_user(&v, sizeof(v), (void *)(PT_REGS_SP(ctx) + STACK_ARGS_AT + n * 8));
	return v;
}

/* The n-th argument of word size, from 0; `n` is a constant. */
static __always_inline __u64 arg(struct pt_regs *ctx, __u32 n)
{
	switch (n) {
	case 0: return PT_REGS_PARM1(ctx);
	case 1: return PT_REGS_PARM2(ctx);
	case 2: return PT_REGS_PARM3(ctx);
	case 3: return PT_REGS_PARM4(ctx);
	case 4: return PT_REGS_PARM5(ctx);
#if defined(__TARGET_ARCH_x86)
	case 5: return ctx->r9;
#else
	case 5: return ((struct user_pt_regs *)ctx)->regs[5];
	case 6: return ((struct user_pt_regs *)ctx)->regs[6];
	case 7: return ((struct user_pt_regs *)ctx)->regs[7];
#endif
	default: return stack_word(ctx, n - ARGS_IN_REGISTERS);
	}
}

/* An ncclUniqueId passed by value as third argument; the rank is the argument behind it. */
#if defined(__TARGET_ARCH_x86)
#define UNIQUE_ID_ARG(ctx) (PT_REGS_SP(ctx) + STACK_ARGS_AT)	/* on the stack, and takes no register */
#define RANK_BEHIND_ID 2
#else
#define UNIQUE_ID_ARG(ctx) arg(ctx, 2)				/* a copy, by address */
#define RANK_BEHIND_ID 3
#endif

/* ---- groups ---- */

static __always_inline __u64 mix(__u64 h, __u64 word)
{
	h = (h ^ word) * 0xff51afd7ed558ccdull;
	return h ^ (h >> 32);
}

#define MIX_SEED 0x9e3779b97f4a7c15ull

/* Never 0, unless the bytes cannot be read. */
static __always_inline __u64 group_of_id(__u64 address)
{
	__u64 words[UNIQUE_ID_WORDS], h = MIX_SEED;

	if (bpf_probe_read_user(words, sizeof(words), (void *)address))
		return 0;
	for (int i = 0; i < UNIQUE_ID_WORDS; i++)
		h = mix(h, words[i]);
	return h ? h : 1;
}

static __always_inline __u64 group_of_split(__u64 parent, __s32 colour, __u64 nth)
{
	__u64 h;

	if (!parent)
		return 0;
	h = mix(mix(mix(MIX_SEED, parent), (__u32)colour), nth);
	return h ? h : 1;
}

/* ---- communicators ---- */

static __always_inline struct comm_key comm_key(__u64 comm)
{
	return (struct comm_key){ .pid = (__u32)(bpf_get_current_pid_tgid() >> 32), .comm = comm };
}

/* Known, or taken up now as one that is in the middle of its life. */
static __always_inline struct comm_state *comm_get(__u64 comm)
{
	struct comm_key k = comm_key(comm);
	struct comm_state *s = bpf_map_lookup_elem(&comms, &k);
	struct comm_state late = { .rank = -1, .flags = 1 };

	if (s)
		return s;
	bpf_map_update_elem(&comms, &k, &late, BPF_NOEXIST);
	return bpf_map_lookup_elem(&comms, &k);
}

static __always_inline void comm_send(const struct record_nccl_comm *r)
{
	struct record_nccl_comm *e = event_begin(REC_NCCL_COMM, sizeof(*e));

	if (!e)
		return;
	*e = *r;
	event_end(e, false);
}

static __always_inline bool comm_begin(struct record_nccl_comm *r, __u8 event)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct tracked_value *t = tracked_get((__u32)(id >> 32));

	if (!t)
		return false;
	r->pid = (__u32)(id >> 32);
	r->tid = (__u32)id;
	r->rank = t->rank;
	r->event = event;
	r->comm_rank = -1;
	r->colour = r->key = -1;
	r->result = -1;
	r->device = -1;
	return true;
}

/* It begins to be made: said at once, for it may never return. */
static __always_inline void making(const struct pending *p)
{
	__u64 id = bpf_get_current_pid_tgid();

	comm_send(&p->r);
	bpf_map_update_elem(&pendings, &id, p, BPF_ANY);
}

static __always_inline int init_rank(__u64 out, __u64 size, __u64 id_address, __u64 rank)
{
	struct pending p = { .out = out };

	if (!comm_begin(&p.r, NCCL_COMM_INIT))
		return 0;
	p.r.group = group_of_id(id_address);
	p.r.comm_rank = (__s32)rank;
	p.r.comm_size = (__s32)size;
	making(&p);
	return 0;
}

/* ncclCommInitRank(comm *, nranks, id, rank), ncclCommInitRankConfig(..., config *) */
SEC("uprobe")
int on_init_rank(struct pt_regs *ctx)
{
	return init_rank(arg(ctx, 0), arg(ctx, 1), UNIQUE_ID_ARG(ctx), arg(ctx, RANK_BEHIND_ID));
}

/* ncclCommInitRankScalable(comm *, nranks, rank, n_ids, ids *, config *): the ids are the same everywhere */
SEC("uprobe")
int on_init_scalable(struct pt_regs *ctx)
{
	return init_rank(arg(ctx, 0), arg(ctx, 1), arg(ctx, 4), arg(ctx, 2));
}

/* ncclCommSplit(parent, colour, key, comm *, config *) */
SEC("uprobe")
int on_split(struct pt_regs *ctx)
{
	struct pending p = { .out = arg(ctx, 3) };
	struct comm_state *parent;

	if (!comm_begin(&p.r, NCCL_COMM_SPLIT))
		return 0;
	parent = comm_get(arg(ctx, 0));
	if (!parent)
		return 0;
	p.r.colour = (__s32)arg(ctx, 1);
	p.r.key = (__s32)arg(ctx, 2);
	p.r.parent = parent->group;
	p.r.group = group_of_split(parent->group, p.r.colour, __sync_fetch_and_add(&parent->splits, 1) + 1);
	making(&p);
	return 0;
}

SEC("uretprobe")
int on_made(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct pending *p = bpf_map_lookup_elem(&pendings, &id);
	struct comm_state s = { 0 };
	struct record_nccl_comm r;
	struct comm_key k;

	if (!p)
		return 0;
	r = p->r;
	r.result = (__s32)PT_REGS_RC(ctx);
	bpf_probe_read_user(&r.comm, sizeof(r.comm), (void *)p->out);
	bpf_map_delete_elem(&pendings, &id);
	comm_send(&r);
	if (!r.comm)
		return 0;
	s.group = r.group;
	s.rank = r.comm_rank;
	s.size = r.comm_size;
	s.flags = r.group ? 0 : 1;
	k = comm_key(r.comm);
	bpf_map_update_elem(&comms, &k, &s, BPF_ANY);
	return 0;
}

/* `goes`: the handle means nothing afterwards. */
static __always_inline int comm_ends(struct pt_regs *ctx, __u8 event, bool goes)
{
	struct record_nccl_comm r = { .comm = arg(ctx, 0) };
	struct comm_key k = comm_key(r.comm);
	struct comm_state *s;

	if (!comm_begin(&r, event))
		return 0;
	s = bpf_map_lookup_elem(&comms, &k);
	if (s) {
		r.group = s->group;
		r.comm_rank = s->rank;
		r.comm_size = s->size;
	}
	comm_send(&r);
	if (goes)
		bpf_map_delete_elem(&comms, &k);
	return 0;
}

SEC("uprobe")
int on_finalize(struct pt_regs *ctx)
{
	return comm_ends(ctx, NCCL_COMM_FINALIZE, false);
}

SEC("uprobe")
int on_destroy(struct pt_regs *ctx)
{
	return comm_ends(ctx, NCCL_COMM_DESTROY, true);
}

SEC("uprobe")
int on_abort(struct pt_regs *ctx)
{
	return comm_ends(ctx, NCCL_COMM_ABORT, true);
}

/* ---- calls ---- */

static __always_inline __u64 next_seq(struct comm_state *s, __u8 op)
{
	if (op == NCCL_OP_SEND)
		return __sync_fetch_and_add(&s->sends, 1) + 1;
	if (op == NCCL_OP_RECV)
		return __sync_fetch_and_add(&s->receives, 1) + 1;
	return __sync_fetch_and_add(&s->seq, 1) + 1;
}

static __always_inline int call(__u8 op, __u64 n, __u64 dtype, __u64 redop, __u64 peer, __u64 comm, __u64 stream)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct tracked_value *t = tracked_get((__u32)(id >> 32));
	struct comm_state *s = t ? comm_get(comm) : NULL;
	struct record_nccl_call *r;
	__u64 seq;

	if (!s)
		return 0;
	seq = next_seq(s, op);	/* also of a call whose record is lost */
	r = event_begin(REC_NCCL_CALL, sizeof(*r));
	if (!r)
		return 0;
	*r = (struct record_nccl_call){
		.pid = (__u32)(id >> 32), .tid = (__u32)id, .rank = t->rank,
		.op = op, .dtype = (__u8)dtype, .redop = (__u8)redop, .flags = (__u8)s->flags,
		.comm = comm, .group = s->group, .seq = seq, .count = n,
		.peer_or_root = (__s32)peer, .comm_rank = s->rank, .stream = stream,
	};
	event_end(r, false);
	return 0;
}

#define NO_REDOP 255
#define NO_PEER ((__u64)-1)
#define A(n) arg(ctx, n)

/* send, recv, count, type, op, comm, stream */
#define REDUCING(name, op) \
	SEC("uprobe") int name(struct pt_regs *ctx) { return call(op, A(2), A(3), A(4), NO_PEER, A(5), A(6)); }
/* send, recv, count, type, comm, stream */
#define MOVING(name, op) \
	SEC("uprobe") int name(struct pt_regs *ctx) { return call(op, A(2), A(3), NO_REDOP, NO_PEER, A(4), A(5)); }
/* send, recv, count, type, root, comm, stream */
#define ROOTED(name, op) \
	SEC("uprobe") int name(struct pt_regs *ctx) { return call(op, A(2), A(3), NO_REDOP, A(4), A(5), A(6)); }
/* buffer, count, type, peer, comm, stream */
#define PEERED(name, op) \
	SEC("uprobe") int name(struct pt_regs *ctx) { return call(op, A(1), A(2), NO_REDOP, A(3), A(4), A(5)); }

REDUCING(on_all_reduce, NCCL_OP_ALL_REDUCE)
REDUCING(on_reduce_scatter, NCCL_OP_REDUCE_SCATTER)
MOVING(on_all_gather, NCCL_OP_ALL_GATHER)
MOVING(on_all_to_all, NCCL_OP_ALL_TO_ALL)
ROOTED(on_gather, NCCL_OP_GATHER)
ROOTED(on_scatter, NCCL_OP_SCATTER)
PEERED(on_send, NCCL_OP_SEND)
PEERED(on_recv, NCCL_OP_RECV)

/* send, recv, count, type, op, root, comm, stream */
SEC("uprobe")
int on_reduce(struct pt_regs *ctx)
{
	return call(NCCL_OP_REDUCE, A(2), A(3), A(4), A(5), A(6), A(7));
}

/* buffer, count, type, root, comm, stream: ncclBroadcast in place */
SEC("uprobe")
int on_bcast(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), sp = PT_REGS_SP(ctx);

	if (!tracked_get((__u32)(id >> 32)))
		return 0;
	bpf_map_update_elem(&bcasts, &id, &sp, BPF_ANY);
	return call(NCCL_OP_BROADCAST, A(1), A(2), NO_REDOP, A(3), A(4), A(5));
}

SEC("uprobe")
int on_broadcast(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), sp = PT_REGS_SP(ctx);
	__u64 *outer = bpf_map_lookup_elem(&bcasts, &id);

	if (outer) {
		bool inside = *outer - sp < 1024 && A(0) == A(1);

		bpf_map_delete_elem(&bcasts, &id);
		if (inside)
			return 0;
	}
	return call(NCCL_OP_BROADCAST, A(2), A(3), NO_REDOP, A(4), A(5), A(6));
}
