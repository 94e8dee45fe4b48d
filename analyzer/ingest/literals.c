#include "analyzer/ingest/literals.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bundle/cleanup.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define GROUP 4				/* bytes that are hashed at once */
#define LONG (2 * GROUP - 1)		/* holds a whole group at a multiple of GROUP, however it lies */
#define SHORT 4				/* bytes of a shorter literal that the nibble tables know */
#define BUCKETS 8			/* of short literals: a bit of each nibble table entry */

#define FILTER_BITS 18
#define SLOT_BITS 13			/* 8,192: room for 2,000 literals before chains mix */

/* Bytes are compared without bit 5: letters of either case are one. */
#define FOLD 0x20202020u

/* A literal that has a group, `offset` bytes in; entries of one slot lie side by side. */
struct entry {
	uint32_t group;			/* folded */
	uint32_t literal;
	uint32_t offset;
};

struct literals {
	struct literal *list;		/* texts are our own copies */
	size_t n;
	uint32_t filter[(1u << FILTER_BITS) / 32];
	uint32_t slot[(1u << SLOT_BITS) + 1];	/* first entry of each slot */
	struct entry *entries;
	/* short literals, by the nibbles of `SHORT` bytes */
	uint8_t low[SHORT][16], high[SHORT][16];
	struct entry *shorts;		/* sorted by bucket; group: unused */
	uint32_t bucket[BUCKETS + 1];
	size_t n_shorts;
};

/* ---- what is ordinary ---- */

/*
 * Lines as healthy jobs write them by the million.  Windows are chosen so that
 * these lines hold as few of their groups as possible; nothing but speed depends
 * on it.
 */
static const char ordinary[] =
	"[rank12]: 2026-03-14 02:31:07,123 INFO trainer.loop: step 118000/500000 epoch 3 loss 2.2140 grad_norm 0.412 lr 2.90e-04 "
	"tokens/s 412345 tokens per second samples 1024 consumed samples: 2048 elapsed time per iteration (ms): 812.4 mem 61.2GiB\n"
	"[default3]:2026-03-14T02:31:07.123456Z DEBUG parallel.shard: step=118005 fwd=320.5ms forward backward optimizer bwd=644.7ms "
	"opt=25.3ms wait=2.4ms memory allocated reserved max throughput batch size number of iterations learning rate global batch size\n"
	"node-07:20123:20345 [4] NCCL INFO Channel 02/0 : 12[4] -> 13[5] [send] via NET/IB/2/GDRDMA(PCI) P2P/IPC/read P2P/CUMEM SHM/direct\n"
	"node-07:20123:20345 [4] NCCL INFO NET/Plugin: Could not find: libnccl-net.so. Using internal net plugin network NET/Socket : Using [0]eth0:\n"
	"node-07:20123:20345 [4] NCCL INFO Trees [0] 1/-1/-1->0->-1 [1] Connected all rings Connected all trees comm 0x55a1 nranks busId commId "
	"cudaDev nvmlDev Init COMPLETE Init START Bootstrap : Using threadThresholds P2P Chunksize set to 131072 Setting affinity for GPU\n"
	"[I314 02:31:07.123456 ProcessGroupNCCL.cpp:921] [PG ID 0 PG GUID 4(DATA_PARALLEL) Rank 12] work 12 done, last enqueued: 12, last "
	"completed: 11 ProcessGroupNCCL initialization options: size: 16, global rank: 0, TIMEOUT(ms): 600000 torch.distributed.elastic\n"
	"Mar 14 02:31:07 node-07 kernel: [601234.123456] audit: type=1400 audit(1710383467.123:45): apparmor=\"ALLOWED\" operation=\"open\" "
	"pid=4242 comm=\"python3\" mlx5_core 0000:1a:00.0: pci 0000:00:1f.0: usb 1-1: nvidia 0000:3b:00.0: NVRM: loading NVIDIA UNIX nfs: \n"
	"/opt/venv/lib/python3.12/site-packages/torch/utils/_pytree.py:185: UserWarning: is deprecated and will be removed in a future version "
	"warnings.warn( Loading checkpoint from /data/checkpoints/ saved checkpoint to /mnt/lustre/ shard of model tokenizer dataset loaded "
	"file \"/usr/lib/python3/dist-packages/transformers/trainer.py\", line 123, in forward return self._call_impl(*args, **kwargs)\n"
	"Epoch 0:  12%|####      | 1200/500000 [02:31<11:07, 1.12it/s, loss=2.214, v_num=0] validation accuracy process group world size device "
	"cuda:0 setting config memory cache time error warning info debug rank host node gpu: started connection server client port address\n";

static uint8_t folded(uint8_t c) { return c | 0x20; }

static uint32_t group_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v | FOLD;
}

static uint32_t hash(uint32_t group) { return group * 0x9e3779b1u; }

static uint32_t filter_of(uint32_t group) { return hash(group) >> (32 - FILTER_BITS); }

static uint32_t slot_of(uint32_t group) { return hash(group) >> (32 - SLOT_BITS); }

/* ---- choosing windows ---- */

#define COUNTERS (1u << 16)

/* Where runs of 2 to 4 folded bytes are counted; two that share a counter only spoil a choice. */
static uint32_t counter_of(const uint8_t *s, size_t n)
{
	uint32_t v = (uint32_t)n;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | folded(s[i]);
	return (v * 0x85ebca6bu) >> 16;
}

static void count_runs(uint16_t *count, const uint8_t *s, size_t len)
{
	for (size_t i = 0; i + GROUP <= len; i++)
		for (size_t n = 2; n <= GROUP; n++) {
			uint16_t *c = &count[counter_of(s + i, n)];

			*c += *c < UINT16_MAX;
		}
}

/* How ordinary `n` bytes are: their groups above all, and where those are unknown, what the groups are made of. */
static unsigned ordinariness(const uint16_t *count, const uint8_t *s, size_t n)
{
	static const unsigned weight[GROUP + 1] = { [2] = 1, [3] = 16, [4] = 256 };
	unsigned sum = 0;

	for (size_t k = 2; k <= GROUP; k++)
		for (size_t i = 0; i + k <= n; i++)
			sum += weight[k] * count[counter_of(s + i, k)];
	return sum;
}

/* The least ordinary `n` bytes of a literal among those at `from`, `from` + `step`, ... */
static size_t choose(const uint16_t *count, const struct literal *lit, size_t n, size_t from, size_t step)
{
	size_t best = from;
	unsigned least = UINT32_MAX;

	for (size_t at = from; at + n <= lit->len; at += step) {
		unsigned sum = ordinariness(count, (const uint8_t *)lit->text + at, n);

		if (sum < least) {
			least = sum;
			best = at;
		}
	}
	return best;
}

/* ---- building ---- */

static int copy_list(struct literals *l, const struct literal *list, size_t n, struct error *err)
{
	l->list = calloc(n + 1, sizeof(*l->list));
	if (!l->list)
		return error_set(err, ERR_NOMEM, "no memory for the literals");
	for (; l->n < n; l->n++) {
		if (list[l->n].len < LITERAL_MIN)
			return error_set(err, ERR_FORMAT, "literal '%s' has less than %d bytes", list[l->n].text, LITERAL_MIN);
		l->list[l->n] = list[l->n];
		l->list[l->n].text = strndup(list[l->n].text, list[l->n].len);
		if (!l->list[l->n].text)
			return error_set(err, ERR_NOMEM, "no memory for the literals");
	}
	return 0;
}

/* Entries side by side, slot after slot. */
static int file_entries(struct literals *l, const struct entry *all, size_t n, struct error *err)
{
	l->entries = calloc(n + 1, sizeof(*l->entries));
	if (!l->entries)
		return error_set(err, ERR_NOMEM, "no memory for the literals");
	for (size_t i = 0; i < n; i++) {
		l->slot[slot_of(all[i].group) + 1]++;
		l->filter[filter_of(all[i].group) / 32] |= 1u << filter_of(all[i].group) % 32;
	}
	for (size_t s = 0; s < 1u << SLOT_BITS; s++)
		l->slot[s + 1] += l->slot[s];
	/* filled from the back, so that each slot's number ends as its start */
	for (size_t i = n; i-- > 0;)
		l->entries[--l->slot[slot_of(all[i].group) + 1]] = all[i];
	for (size_t s = 0; s < 1u << SLOT_BITS; s++)
		l->slot[s] = l->slot[s + 1];
	l->slot[1u << SLOT_BITS] = (uint32_t)n;
	return 0;
}

static int add_long(struct literals *l, const uint16_t *count, struct error *err)
{
	_cleanup_free_ struct entry *all = calloc(l->n * GROUP + 1, sizeof(*all));
	size_t n = 0;

	if (!all)
		return error_set(err, ERR_NOMEM, "no memory for the literals");
	for (size_t i = 0; i < l->n; i++) {
		/* one group for each way that the literal can lie on the multiples of GROUP */
		for (size_t k = 0; k < GROUP && l->list[i].len >= LONG; k++) {
			size_t at = choose(count, &l->list[i], GROUP, k, GROUP);

			all[n++] = (struct entry){ .group = group_at((const uint8_t *)l->list[i].text + at),
						   .literal = (uint32_t)i, .offset = (uint32_t)at };
		}
	}
	return file_entries(l, all, n, err);
}

static int compare_shorts(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->group != y->group ? (x->group < y->group ? -1 : 1) : (x->literal > y->literal) - (x->literal < y->literal);
}

/* Buckets of neighbours in the alphabet: their nibbles have most in common. */
static int add_short(struct literals *l, const uint16_t *count, struct error *err)
{
	l->shorts = calloc(l->n + 1, sizeof(*l->shorts));
	if (!l->shorts)
		return error_set(err, ERR_NOMEM, "no memory for the literals");
	for (size_t i = 0; i < l->n; i++) {
		const uint8_t *s = (const uint8_t *)l->list[i].text;
		size_t at;

		if (l->list[i].len >= LONG)
			continue;
		at = choose(count, &l->list[i], SHORT, 0, 1);
		l->shorts[l->n_shorts++] = (struct entry){
			.group = __builtin_bswap32(group_at(s + at)),	/* first byte highest: sorts as text */
			.literal = (uint32_t)i, .offset = (uint32_t)at };
	}
	qsort(l->shorts, l->n_shorts, sizeof(*l->shorts), compare_shorts);
	for (size_t b = 0; b <= BUCKETS; b++)
		l->bucket[b] = (uint32_t)(l->n_shorts * b / BUCKETS);
	for (size_t b = 0; b < BUCKETS; b++)
		for (size_t i = l->bucket[b]; i < l->bucket[b + 1]; i++)
			for (size_t k = 0; k < SHORT; k++) {
				uint8_t c = (uint8_t)(l->shorts[i].group >> 8 * (SHORT - 1 - k));

				l->low[k][c & 15] |= (uint8_t)(1u << b);
				l->high[k][c >> 4] |= (uint8_t)(1u << b);
			}
	return 0;
}

void literals_close(struct literals *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n; i++)
		free((char *)l->list[i].text);
	free(l->list);
	free(l->entries);
	free(l->shorts);
	free(l);
}

static void literals_closep(struct literals **l) { literals_close(*l); }

int literals_open(const struct literal *list, size_t n, const uint8_t *sample, size_t sample_len, struct literals **ret,
		  struct error *err)
{
	_cleanup_(literals_closep) struct literals *l = calloc(1, sizeof(*l));
	_cleanup_free_ uint16_t *count = calloc(COUNTERS, sizeof(*count));

	if (!l || !count)
		return error_set(err, ERR_NOMEM, "no memory for the literals");
	count_runs(count, (const uint8_t *)ordinary, sizeof(ordinary) - 1);
	count_runs(count, sample, sample_len);
	if (copy_list(l, list, n, err) || add_long(l, count, err) || add_short(l, count, err))
		return -1;
	*ret = take(l);
	return 0;
}

/* ---- scanning ---- */

struct scan {
	const struct literals *l;
	const uint8_t *text;
	size_t n;
	literals_found *found;
	void *ctx;
	size_t tried;			/* comparisons with a literal */
};

/* Does the literal lie there, so that its byte `offset` is at `at`? */
static void prove(struct scan *s, const struct entry *e, size_t at)
{
	const struct literal *lit = &s->l->list[e->literal];
	size_t start = at - e->offset;

	s->tried++;
	if (at < e->offset || lit->len > s->n - start)
		return;
	/* most that fail, fail here: a call costs more */
	if (folded(s->text[start]) != folded((uint8_t)lit->text[0]) ||
	    folded(s->text[start + lit->len - 1]) != folded((uint8_t)lit->text[lit->len - 1]))
		return;
	if (lit->nocase ? strncasecmp((const char *)s->text + start, lit->text, lit->len) == 0 :
			  memcmp(s->text + start, lit->text, lit->len) == 0)
		s->found(e->literal, start, s->ctx);
}

static void try_group(struct scan *s, size_t at)
{
	uint32_t group = group_at(s->text + at), slot = slot_of(group);

	for (uint32_t i = s->l->slot[slot]; i < s->l->slot[slot + 1]; i++)
		if (s->l->entries[i].group == group)
			prove(s, &s->l->entries[i], at);
}

static unsigned buckets_at(const struct literals *l, const uint8_t *p)
{
	unsigned m = (1u << BUCKETS) - 1;

	for (size_t k = 0; k < SHORT; k++)
		m &= (unsigned)(l->low[k][folded(p[k]) & 15] & l->high[k][folded(p[k]) >> 4]);
	return m;
}

static void try_shorts(struct scan *s, size_t at)
{
	unsigned m = buckets_at(s->l, s->text + at);

	for (; m; m &= m - 1) {
		unsigned b = (unsigned)__builtin_ctz(m);

		for (uint32_t i = s->l->bucket[b]; i < s->l->bucket[b + 1]; i++)
			prove(s, &s->l->shorts[i], at);
	}
}

/* Byte by byte, from a multiple of GROUP on. */
static void scan_rest(struct scan *s, size_t from)
{
	const struct literals *l = s->l;

	for (size_t at = from; at < s->n; at++) {
		if (at + SHORT <= s->n && buckets_at(l, s->text + at))
			try_shorts(s, at);
		if (at % GROUP == 0 && at + GROUP <= s->n) {
			uint32_t f = filter_of(group_at(s->text + at));

			if (l->filter[f / 32] >> f % 32 & 1)
				try_group(s, at);
		}
	}
}

#if defined(__x86_64__)
#define STEP 32

/* Bit i: the group at byte i (a multiple of GROUP) passes the filter. */
__attribute__((target("avx2,bmi2"))) static inline uint32_t groups_passing(const struct literals *l, __m256i folded_text)
{
	__m256i h = _mm256_mullo_epi32(folded_text, _mm256_set1_epi32((int)hash(1)));
	__m256i f = _mm256_srli_epi32(h, 32 - FILTER_BITS);
	__m256i word = _mm256_i32gather_epi32((const int *)l->filter, _mm256_srli_epi32(f, 5), 4);
	__m256i bit = _mm256_sllv_epi32(word, _mm256_andnot_si256(f, _mm256_set1_epi32(31)));
	return ((uint32_t)_mm256_movemask_epi8(bit) & 0x88888888u) >> (GROUP - 1);
}

__attribute__((target("avx2,bmi2"))) static inline __m256i nibbles_of(const uint8_t *low, const uint8_t *high, __m256i v)
{
	const __m256i nibble = _mm256_set1_epi8(15);
	__m256i lo = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)low));
	__m256i hi = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)high));

	return _mm256_and_si256(_mm256_shuffle_epi8(lo, _mm256_and_si256(v, nibble)),
				_mm256_shuffle_epi8(hi, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble)));
}

__attribute__((target("avx2,bmi2"))) static size_t scan_vectors(struct scan *s)
{
	const __m256i fold = _mm256_set1_epi8(0x20);
	const struct literals *l = s->l;
	size_t at = 0;

	for (; at + STEP + SHORT - 1 <= s->n; at += STEP) {
		const uint8_t *p = s->text + at;
		__m256i v[SHORT], m;
		uint32_t groups, shorts;

		for (size_t k = 0; k < SHORT; k++)
			v[k] = _mm256_or_si256(_mm256_loadu_si256((const __m256i *)(p + k)), fold);
		m = nibbles_of(l->low[0], l->high[0], v[0]);
		for (size_t k = 1; k < SHORT; k++)
			m = _mm256_and_si256(m, nibbles_of(l->low[k], l->high[k], v[k]));
		shorts = ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(m, _mm256_setzero_si256()));
		groups = groups_passing(l, v[0]);
		for (uint32_t any = groups | shorts; any; any &= any - 1) {
			unsigned i = (unsigned)__builtin_ctz(any);

			if (shorts >> i & 1)
				try_shorts(s, at + i);
			if (groups >> i & 1)
				try_group(s, at + i);
		}
	}
	return at;
}
#endif

size_t literals_scan_plain(const struct literals *l, const uint8_t *text, size_t n, literals_found *found, void *ctx)
{
	struct scan s = { l, text, n, found, ctx, 0 };

	scan_rest(&s, 0);
	return s.tried;
}

size_t literals_scan(const struct literals *l, const uint8_t *text, size_t n, literals_found *found, void *ctx)
{
	struct scan s = { l, text, n, found, ctx, 0 };
	size_t done = 0;

#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		done = scan_vectors(&s);
#endif
	scan_rest(&s, done);
	return s.tried;
}
