/*
 * gen_log - a multi-rank training log of any size, for benchmarks.
 *
 *	gen_log MODE BYTES		to stdout
 *
 * MODE: sparse (one failure line in 10,000), near (every second line holds the words
 * of a failure but states none), dense (every second line is a failure), long (sparse,
 * with one line of 8 MB in the middle).  The same arguments give the same bytes.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANKS = 1024, LINE = 1024, LONG_LINE = 8 << 20 };

static uint64_t state = 0x2545f4914f6cdd1du;

static unsigned draw(unsigned n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)((state >> 11) % n);
}

struct now {
	unsigned rank, host, local, h, m, s, ms;
	uint64_t step;
};

static int benign(char *b, const struct now *t)
{
	unsigned k = draw(100);

	if (k < 26)
		return snprintf(b, LINE, "[rank%u]: 2026-03-14 %02u:%02u:%02u,%03u INFO atlas.engine.loop: step %" PRIu64
				" loss %u.%04u grad_norm 0.%03u lr 2.90e-04 tokens/s %u mem 61.%uGiB\n", t->rank, t->h, t->m, t->s, t->ms,
				t->step, 1 + draw(2), draw(10000), draw(1000), 400000 + draw(9000), draw(10));
	if (k < 48)
		return snprintf(b, LINE, "[rank%u]: 2026-03-14 %02u:%02u:%02u,%03u DEBUG atlas.parallel.shard: step=%" PRIu64
				" fwd=%u.%ums bwd=%u.%ums opt=%u.%ums wait=%u.%ums\n", t->rank, t->h, t->m, t->s, t->ms, t->step,
				310 + draw(20), draw(10), 640 + draw(40), draw(10), 24 + draw(4), draw(10), draw(6), draw(10));
	if (k < 60)
		return snprintf(b, LINE, "%u: 2026-03-14 %02u:%02u:%02u,%03u INFO atlas.data.feed: opened /data/tokens/part-%05u.bin (%u documents)\n",
				t->rank, t->h, t->m, t->s, t->ms, draw(1834), draw(9000));
	if (k < 69)
		return snprintf(b, LINE, "tern-%04u:%u:%u [%u] NCCL INFO Channel %02u/0 : %u[%u] -> %u[%u] [send] via NET/IB/%u/GDRDMA\n",
				t->host, 20000 + draw(90000), 20000 + draw(90000), t->local, draw(16), t->rank, t->local, draw(RANKS), t->local, draw(4));
	if (k < 75)
		return snprintf(b, LINE, "[rank%u]:[I314 %02u:%02u:%02u.%03u%06u ProcessGroupNCCL.cpp:%u] [PG ID %u PG GUID %u(DATA_PARALLEL) Rank %u] work %u done, "
				"last enqueued: %u, last completed: %u\n", t->rank, t->h, t->m, t->s, t->ms, draw(1000000), 900 + draw(1200),
				draw(9), draw(40), t->rank, draw(90000), draw(90000), draw(90000));
	if (k < 81)
		return snprintf(b, LINE, "Epoch 0: %3u%%|%.*s| %" PRIu64 "/500000 [%02u:%02u:%02u<%02u:%02u, %u.%02us/it, loss=%u.%03u]\n", draw(100),
				(int)(1 + draw(20)), "####################", t->step, t->h, t->m, t->s, draw(60), draw(60), 1 + draw(8), draw(100), 2, draw(1000));
	if (k < 87)
		return snprintf(b, LINE, "Mar 14 %02u:%02u:%02u tern-%04u kernel: [%u.%06u] audit: type=1400 apparmor=\"ALLOWED\" operation=\"open\" pid=%u comm=\"python3\"\n",
				t->h, t->m, t->s, t->host, 600000 + draw(90000), draw(1000000), draw(90000));
	if (k < 92)
		return snprintf(b, LINE, "[rank%u]: 2026-03-14 %02u:%02u:%02u,%03u INFO atlas.ckpt.save: wrote shard %u of step %" PRIu64 " in %u.%02u s, checksum ok\n",
				t->rank, t->h, t->m, t->s, t->ms, t->rank, t->step, 2 + draw(8), draw(100));
	if (k < 96)
		return snprintf(b, LINE, "[rank%u]: 2026-03-14 %02u:%02u:%02u,%03u DEBUG atlas.health: last error: none, error budget %u/100, timeouts 0, retries 0\n",
				t->rank, t->h, t->m, t->s, t->ms, 90 + draw(11));
	return snprintf(b, LINE, "{\"time\": \"2026-03-14T%02u:%02u:%02u.%03uZ\", \"level\": \"info\", \"rank\": %u, \"host\": \"tern-%04u\", \"msg\": \"heartbeat ok\", "
			"\"gpu_util\": %u, \"temp\": %u, \"ecc_errors\": 0}\n", t->h, t->m, t->s, t->ms, t->rank, t->host, draw(100), 40 + draw(50));
}

static int failure(char *b, const struct now *t)
{
	static const unsigned xid[] = { 31, 48, 63, 74, 79, 94, 119 };

	switch (draw(16)) {
	case 0:
		return snprintf(b, LINE, "[rank%u]:[E314 %02u:%02u:%02u.%03u000000 ProcessGroupNCCL.cpp:683] [Rank %u] Watchdog caught collective operation timeout: "
				"WorkNCCL(SeqNum=%u, OpType=ALLREDUCE, NumelIn=%u, NumelOut=%u, Timeout(ms)=600000) ran for %u milliseconds before timing out.\n",
				t->rank, t->h, t->m, t->s, t->ms, t->rank, draw(90000), draw(1 << 24), draw(1 << 24), 600000 + draw(90));
	case 1:
		return snprintf(b, LINE, "Mar 14 %02u:%02u:%02u tern-%04u kernel: [%u.%06u] NVRM: Xid (PCI:0000:%02x:00): %u, pid=%u, name=python, Ch 00000012\n",
				t->h, t->m, t->s, t->host, draw(900000), draw(1000000), draw(256), xid[draw(7)], draw(90000));
	case 2:
		return snprintf(b, LINE, "Mar 14 %02u:%02u:%02u tern-%04u kernel: [%u.%06u] Memory cgroup out of memory: Killed process %u (python) total-vm:%ukB, "
				"anon-rss:%ukB, file-rss:0kB, shmem-rss:0kB, UID:5012 pgtables:612344kB oom_score_adj:0\n", t->h, t->m, t->s, t->host,
				draw(900000), draw(1000000), draw(90000), draw(1 << 30), draw(1 << 29));
	case 3:
		return snprintf(b, LINE, "[rank%u]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate %u.%02u GiB. GPU %u has a total capacity of 79.11 GiB of "
				"which 1.20 GiB is free.\n", t->rank, 1 + draw(20), draw(100), t->local);
	case 4:
		return snprintf(b, LINE, "tern-%04u:%u:%u [%u] transport/net_ib.cc:2268 NCCL WARN NET/IB: Got completion from peer 10.41.%u.%u<%u> with "
				"status=IBV_WC_RETRY_EXC_ERR(12) opcode=0 len=0 vendor_err=129 (Recv) localGid fe80::1 remoteGid fe80::2 hca mlx5_3\n",
				t->host, draw(90000), draw(90000), t->local, draw(256), draw(256), draw(60000));
	case 5:
		return snprintf(b, LINE, "[rank%u]: torch.AcceleratorError: CUDA error: an illegal memory access was encountered\n", t->rank);
	case 6:
		return snprintf(b, LINE, "Mar 14 %02u:%02u:%02u tern-%04u kernel: [%u.%06u] INFO: task pt_main_thread:%u blocked for more than 122 seconds.\n",
				t->h, t->m, t->s, t->host, draw(900000), draw(1000000), draw(90000));
	case 7:
		return snprintf(b, LINE, "[rank%u]: RuntimeError: DataLoader worker (pid %u) is killed by signal: Killed. \n", t->rank, draw(90000));
	case 8:
		return snprintf(b, LINE, "[rank%u]: OSError: [Errno 28] No space left on device: '/ckpt/atlas/step_%07" PRIu64 "/shard_%u.tmp'\n", t->rank, t->step, t->rank);
	case 9:
		return snprintf(b, LINE, "Mar 14 %02u:%02u:%02u tern-%04u kernel: [%u.%06u] mlx5_core 0000:%02x:00.0 mlx5_%u: Port: 1 Link DOWN\n", t->h, t->m, t->s,
				t->host, draw(900000), draw(1000000), draw(256), draw(8));
	case 10:
		return snprintf(b, LINE, "E0314 %02u:%02u:%02u.%03u000 %u torch/distributed/elastic/multiprocessing/api.py:874] failed (exitcode: -%u) local_rank: %u (pid: %u) "
				"of binary: /opt/venv/bin/python\n", t->h, t->m, t->s, t->ms, draw(90000), draw(2) ? 6 : 9, t->local, draw(90000));
	case 11:
		return snprintf(b, LINE, "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.\n");
	case 12:
		return snprintf(b, LINE, "slurmstepd: error: *** STEP %u.0 ON tern-%04u CANCELLED AT 2026-03-14T%02u:%02u:%02u DUE TO TIME LIMIT ***\n", draw(90000),
				t->host, t->h, t->m, t->s);
	case 13:
		return snprintf(b, LINE, "Mar 14 %02u:%02u:%02u tern-%04u kernel: [%u.%06u] nfs: server 10.41.9.%u not responding, still trying\n", t->h, t->m, t->s,
				t->host, draw(900000), draw(1000000), draw(256));
	case 14:
		return snprintf(b, LINE, "[rank%u]: torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered\n", t->rank);
	default:
		return snprintf(b, LINE, "Mar 14 %02u:%02u:%02u tern-%04u kernel: [%u.%06u] nvidia 0000:%02x:00.0: PCIe Bus Error: severity=Uncorrectable (Fatal), "
				"type=Transaction Layer, (Receiver ID)\n", t->h, t->m, t->s, t->host, draw(900000), draw(1000000), draw(256));
	}
}

static int near_miss(char *b, const struct now *t)
{
	switch (draw(10)) {
	case 0:
		return snprintf(b, LINE, "[rank%u]: hint: a message such as Watchdog caught collective operation timeout means that a peer is late; see docs\n", t->rank);
	case 1:
		return snprintf(b, LINE, "[rank%u]: health: NVRM: Xid counters of the last hour: none (%u checks)\n", t->rank, draw(1000));
	case 2:
		return snprintf(b, LINE, "[rank%u]: note: CUDA out of memory can be avoided with expandable_segments (%u)\n", t->rank, draw(1000));
	case 3:
		return snprintf(b, LINE, "[rank%u]: self-test: completion from peer ok, status=0, %u samples\n", t->rank, draw(1000));
	case 4:
		return snprintf(b, LINE, "[rank%u]: docs: if you see 'No space left on device', clean the cache (%u files there)\n", t->rank, draw(1000));
	case 5:
		return snprintf(b, LINE, "[rank%u]: loader: a DataLoader worker is killed by no signal here, %u alive\n", t->rank, draw(64));
	case 6:
		return snprintf(b, LINE, "[rank%u]: for debugging consider passing CUDA_LAUNCH_BLOCKING=1, device-side assertions need TORCH_USE_CUDA_DSA (%u)\n", t->rank, draw(99));
	case 7:
		return snprintf(b, LINE, "[rank%u]: probe: link of mlx5_%u is up, last Link change %u days ago\n", t->rank, draw(8), draw(90));
	case 8:
		return snprintf(b, LINE, "[rank%u]: agent: exitcode: none, all %u workers alive, nothing failed\n", t->rank, draw(8));
	default:
		return snprintf(b, LINE, "[rank%u]: storage: server responding, %u ms, blocked for 0 seconds\n", t->rank, draw(90));
	}
}

int main(int argc, char **argv)
{
	uint64_t want = argc == 3 ? strtoull(argv[2], NULL, 10) : 0, total = 0, lines = 0;
	const char *mode = argc == 3 ? argv[1] : "";
	int dense = !strcmp(mode, "dense"), near = !strcmp(mode, "near"), longer = !strcmp(mode, "long");
	struct now t = { .step = 118000 };
	uint64_t ms = 8000000;
	char line[LINE];

	if (!want || (!dense && !near && !longer && strcmp(mode, "sparse"))) {
		fprintf(stderr, "usage: gen_log sparse|near|dense|long BYTES\n");
		return 2;
	}
	while (total < want) {
		int n;

		ms += draw(3);
		t.rank = draw(RANKS), t.host = t.rank / 8, t.local = t.rank % 8;
		t.h = (unsigned)(ms / 3600000 % 24), t.m = (unsigned)(ms / 60000 % 60), t.s = (unsigned)(ms / 1000 % 60), t.ms = (unsigned)(ms % 1000);
		t.step += lines % 1024 == 0;
		if (longer && total > want / 2) {
			for (uint64_t k = 0; k < LONG_LINE; k += 16, total += 16)
				fputs("tokens 48213 ok ", stdout);
			putchar('\n');
			total++, lines++;
			longer = 0;
		}
		if (dense && lines % 2)
			n = failure(line, &t);
		else if (near && lines % 2)
			n = near_miss(line, &t);
		else if (!dense && !near && draw(10000) == 0)
			n = failure(line, &t);
		else
			n = benign(line, &t);
		fwrite(line, 1, (size_t)n, stdout);
		total += (uint64_t)n;
		lines++;
	}
	return fflush(stdout) != 0;
}
