/*
 * fake_nccl - a stand-in for libnccl.so without GPUs: a test double.
 *
 * Ranks are processes of one host.  A communicator is a board in shared memory on
 * which each rank posts what it enters; a call returns when all members have posted
 * the same operation, and never when they differ, as with the real library.  A
 * member that dies leaves the others waiting.  ncclCommAbort() from another thread
 * ends the wait.  Calls wait on the host (the real ones on the stream), and no
 * payload is moved.
 */
#include "fake_nccl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RANKS_MAX 64
#define SLOTS 4			/* a member may be one operation ahead of another */
#define GROUP_MAX 256

enum op { OP_ALL_REDUCE = 1, OP_REDUCE_SCATTER, OP_REDUCE, OP_BROADCAST, OP_ALL_GATHER, OP_ALL_TO_ALL, OP_GATHER,
	  OP_SCATTER, OP_SPLIT, OP_SEND, OP_RECV };

struct signature {
	uint32_t op, type, redop;
	int32_t root;
	uint64_t count;
};

struct member {
	_Atomic uint64_t posted;	/* operations entered */
	struct signature slot[SLOTS];
	int32_t colour[SLOTS], key[SLOTS];	/* OP_SPLIT */
};

struct board {
	_Atomic uint32_t bell;		/* rises with every post: waiters sleep on it */
	_Atomic uint32_t joined;
	struct member member[RANKS_MAX];
	_Atomic uint64_t sent[RANKS_MAX][RANKS_MAX], received[RANKS_MAX][RANKS_MAX];	/* [from][to] */
};

struct ncclComm {
	struct board *board;
	uint64_t id;
	int rank, size;
	uint64_t posted, splits;
	_Atomic int aborted;
};

/* One operation of a ncclGroupStart() ... ncclGroupEnd(), posted but not yet waited for. */
struct queued {
	ncclComm_t comm;
	enum op op;
	int peer;
	uint64_t nth;
};

static _Thread_local struct {
	int depth;
	size_t n;
	struct queued q[GROUP_MAX];
} group;

/* ---- the board ---- */

static void ring_bell(struct board *b)
{
	atomic_fetch_add(&b->bell, 1);
	syscall(SYS_futex, &b->bell, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void await_bell(struct board *b, uint32_t seen)
{
	struct timespec second = { .tv_sec = 1 };

	syscall(SYS_futex, &b->bell, FUTEX_WAIT, seen, &second, NULL, 0);
}

static void board_name(uint64_t id, char name[64])
{
	snprintf(name, 64, "/fake-nccl-%016llx", (unsigned long long)id);
}

static struct board *board_open(uint64_t id)
{
	char name[64];
	void *p;
	int fd;

	board_name(id, name);
	fd = shm_open(name, O_RDWR | O_CREAT, 0600);
	if (fd < 0)
		return NULL;
	p = ftruncate(fd, sizeof(struct board)) ? MAP_FAILED :
	    mmap(NULL, sizeof(struct board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

/* Join and wait for the rest; the last one takes the name away, so that nothing is left behind. */
static ncclResult_t comm_make(ncclComm_t *ret, int size, uint64_t id, int rank)
{
	struct ncclComm *c;
	char name[64];

	if (size < 1 || size > RANKS_MAX || rank < 0 || rank >= size)
		return ncclInvalidArgument;
	c = calloc(1, sizeof(*c));
	if (!c || !(c->board = board_open(id))) {
		free(c);
		return ncclSystemError;
	}
	c->id = id;
	c->rank = rank;
	c->size = size;
	if (atomic_fetch_add(&c->board->joined, 1) + 1 == (uint32_t)size) {
		board_name(id, name);
		shm_unlink(name);
	}
	ring_bell(c->board);
	for (;;) {
		uint32_t seen = atomic_load(&c->board->bell);

		if (atomic_load(&c->board->joined) >= (uint32_t)size)
			break;
		await_bell(c->board, seen);
	}
	*ret = c;
	return ncclSuccess;
}

static void comm_free(ncclComm_t c)
{
	munmap(c->board, sizeof(*c->board));
	free(c);
}

/* ---- operations ---- */

static int all_agree(const struct ncclComm *c, uint64_t nth)
{
	const struct signature *mine = &c->board->member[c->rank].slot[nth % SLOTS];

	for (int r = 0; r < c->size; r++) {
		const struct member *m = &c->board->member[r];

		if (atomic_load(&m->posted) < nth || memcmp(&m->slot[nth % SLOTS], mine, sizeof(*mine)) != 0)
			return 0;
	}
	return 1;
}

static int is_done(const struct queued *q)
{
	struct board *b = q->comm->board;
	int me = q->comm->rank;

	if (q->op == OP_SEND)
		return atomic_load(&b->received[me][q->peer]) >= q->nth;
	if (q->op == OP_RECV)
		return atomic_load(&b->sent[q->peer][me]) >= q->nth;
	return all_agree(q->comm, q->nth);
}

static ncclResult_t await(const struct queued *q)
{
	for (;;) {
		uint32_t seen = atomic_load(&q->comm->board->bell);

		if (atomic_load(&q->comm->aborted))
			return ncclInternalError;
		if (is_done(q))
			return ncclSuccess;
		await_bell(q->comm->board, seen);
	}
}

static ncclResult_t enter(struct queued q)
{
	ring_bell(q.comm->board);
	if (!group.depth)
		return await(&q);
	if (group.n == GROUP_MAX)
		return ncclInvalidUsage;
	group.q[group.n++] = q;
	return ncclSuccess;
}

static struct queued post(ncclComm_t c, const struct signature *s)
{
	struct member *me = &c->board->member[c->rank];
	uint64_t nth = ++c->posted;

	me->slot[nth % SLOTS] = *s;
	atomic_store(&me->posted, nth);
	return (struct queued){ .comm = c, .op = s->op, .nth = nth };
}

static ncclResult_t collective(ncclComm_t c, enum op op, size_t count, ncclDataType_t type, uint32_t redop, int root)
{
	struct signature s = { .op = op, .type = type, .redop = redop, .root = root, .count = count };

	if (!c || root >= c->size)
		return ncclInvalidArgument;
	return enter(post(c, &s));
}

static ncclResult_t pair(ncclComm_t c, enum op op, int peer)
{
	struct queued q = { .comm = c, .op = op, .peer = peer };

	if (!c || peer < 0 || peer >= c->size)
		return ncclInvalidArgument;
	if (op == OP_SEND)
		q.nth = atomic_fetch_add(&c->board->sent[c->rank][peer], 1) + 1;
	else
		q.nth = atomic_fetch_add(&c->board->received[peer][c->rank], 1) + 1;
	return enter(q);
}

#define NONE (-1)

ncclResult_t ncclAllReduce(const void *send, void *recv, size_t count, ncclDataType_t type, ncclRedOp_t op,
			   ncclComm_t comm, cudaStream_t stream)
{
	(void)send, (void)recv, (void)stream;
	return collective(comm, OP_ALL_REDUCE, count, type, op, NONE);
}

ncclResult_t ncclReduceScatter(const void *send, void *recv, size_t count, ncclDataType_t type, ncclRedOp_t op,
			       ncclComm_t comm, cudaStream_t stream)
{
	(void)send, (void)recv, (void)stream;
	return collective(comm, OP_REDUCE_SCATTER, count, type, op, NONE);
}

ncclResult_t ncclReduce(const void *send, void *recv, size_t count, ncclDataType_t type, ncclRedOp_t op, int root,
			ncclComm_t comm, cudaStream_t stream)
{
	(void)send, (void)recv, (void)stream;
	return collective(comm, OP_REDUCE, count, type, op, root);
}

ncclResult_t ncclBroadcast(const void *send, void *recv, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
			   cudaStream_t stream)
{
	(void)send, (void)recv, (void)stream;
	return collective(comm, OP_BROADCAST, count, type, 0, root);
}

/* As in the real library: through the exported function. */
ncclResult_t ncclBcast(void *buffer, size_t count, ncclDataType_t type, int root, ncclComm_t comm, cudaStream_t stream)
{
	return ncclBroadcast(buffer, buffer, count, type, root, comm, stream);
}

ncclResult_t ncclAllGather(const void *send, void *recv, size_t count, ncclDataType_t type, ncclComm_t comm,
			   cudaStream_t stream)
{
	(void)send, (void)recv, (void)stream;
	return collective(comm, OP_ALL_GATHER, count, type, 0, NONE);
}

ncclResult_t ncclAlltoAll(const void *send, void *recv, size_t count, ncclDataType_t type, ncclComm_t comm,
			  cudaStream_t stream)
{
	(void)send, (void)recv, (void)stream;
	return collective(comm, OP_ALL_TO_ALL, count, type, 0, NONE);
}

ncclResult_t ncclGather(const void *send, void *recv, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
			cudaStream_t stream)
{
	(void)send, (void)recv, (void)stream;
	return collective(comm, OP_GATHER, count, type, 0, root);
}

ncclResult_t ncclScatter(const void *send, void *recv, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
			 cudaStream_t stream)
{
	(void)send, (void)recv, (void)stream;
	return collective(comm, OP_SCATTER, count, type, 0, root);
}

ncclResult_t ncclSend(const void *buffer, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
		      cudaStream_t stream)
{
	(void)buffer, (void)count, (void)type, (void)stream;
	return pair(comm, OP_SEND, peer);
}

ncclResult_t ncclRecv(void *buffer, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream)
{
	(void)buffer, (void)count, (void)type, (void)stream;
	return pair(comm, OP_RECV, peer);
}

ncclResult_t ncclGroupStart(void)
{
	group.depth++;
	return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void)
{
	ncclResult_t result = ncclSuccess;

	if (!group.depth)
		return ncclInvalidUsage;
	if (--group.depth)
		return ncclSuccess;
	for (size_t i = 0; i < group.n && result == ncclSuccess; i++)
		result = await(&group.q[i]);
	group.n = 0;
	return result;
}

/* ---- communicators ---- */

ncclResult_t ncclGetVersion(int *version)
{
	*version = 22703;
	return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
	memset(id, 0, sizeof(*id));
	return getrandom(id->internal, 24, 0) == 24 ? ncclSuccess : ncclSystemError;
}

static uint64_t id_number(const ncclUniqueId *id)
{
	uint64_t n;

	memcpy(&n, id->internal, sizeof(n));
	return n;
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int nranks, ncclUniqueId id, int rank)
{
	return comm_make(comm, nranks, id_number(&id), rank);
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int nranks, ncclUniqueId id, int rank, ncclConfig_t *config)
{
	(void)config;
	return comm_make(comm, nranks, id_number(&id), rank);
}

ncclResult_t ncclCommInitRankScalable(ncclComm_t *comm, int nranks, int rank, int n_ids, ncclUniqueId *ids,
				      ncclConfig_t *config)
{
	(void)config;
	if (n_ids < 1)
		return ncclInvalidArgument;
	return comm_make(comm, nranks, id_number(&ids[0]), rank);
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int colour, int key, ncclComm_t *ret, ncclConfig_t *config)
{
	struct signature s = { .op = OP_SPLIT, .root = NONE };
	struct member *m = comm->board->member;
	uint64_t slot = (comm->posted + 1) % SLOTS, nth = ++comm->splits;
	int size = 0, rank = 0;
	struct queued q;
	ncclResult_t result;

	(void)config;
	*ret = NULL;
	m[comm->rank].colour[slot] = colour;
	m[comm->rank].key[slot] = key;
	q = post(comm, &s);
	ring_bell(comm->board);
	result = await(&q);
	if (result != ncclSuccess || colour == NCCL_SPLIT_NOCOLOR)
		return result;
	for (int r = 0; r < comm->size; r++) {
		if (m[r].colour[slot] != colour)
			continue;
		size++;
		rank += m[r].key[slot] < key || (m[r].key[slot] == key && r < comm->rank);
	}
	return comm_make(ret, size, comm->id * 31 + nth * 1000003 + (uint64_t)colour + 1, rank);
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
	return comm ? ncclSuccess : ncclInvalidArgument;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
	if (!comm)
		return ncclInvalidArgument;
	comm_free(comm);
	return ncclSuccess;
}

/* The memory stays: another thread may still be on its way out of a call. */
ncclResult_t ncclCommAbort(ncclComm_t comm)
{
	if (!comm)
		return ncclInvalidArgument;
	atomic_store(&comm->aborted, 1);
	ring_bell(comm->board);
	return ncclSuccess;
}

ncclResult_t ncclCommCount(ncclComm_t comm, int *count)
{
	*count = comm->size;
	return ncclSuccess;
}

ncclResult_t ncclCommUserRank(ncclComm_t comm, int *rank)
{
	*rank = comm->rank;
	return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
	return result == ncclSuccess ? "no error" : "unhandled system error";
}
