/*
 * The structured readers.  The first byte picks one; the rest is its member.  A
 * failure must say what and where, and every quote must be bytes of the input.
 */
#include <stdlib.h>
#include <string.h>

#include "analyzer/ingest/structured.h"
#include "bundle/cleanup.h"
#include "fuzz/fuzz.h"

#define BUDGET ((size_t)32 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int (*const readers[])(struct store *, uint32_t, const char *, size_t,
				      struct error *) = {
		ingest_nvidia_smi, ingest_kubernetes_json, ingest_kubernetes_text, ingest_stacks,
		ingest_elastic_error, ingest_gpu_text, ingest_gpu_json, ingest_dcgm_text, ingest_dcgm_json,
		ingest_nccl_ras_text, ingest_nccl_ras_json,
	};
	/* of its exact size, for the sanitizer */
	_cleanup_free_ char *copy = malloc(size > 1 ? size - 1 : 1);
	struct error err = { 0 };
	struct store s;
	int ret;

	if (size == 0)
		return 0;
	CHECK(copy && store_init(&s, BUDGET, &err) == 0);
	CHECK(store_member(&s, "stacks/41.txt", NULL, &err) == 0);
	memcpy(copy, data + 1, size - 1);
	ret = readers[data[0] % ARRAY_SIZE(readers)](&s, 0, copy, size - 1, &err);
	CHECK(ret <= (int)(size - 1));
	check_error(ret < 0 ? -1 : 0, &err, size - 1);
	check_store(&s);
	check_quotes(&s, 0, copy, size - 1);
	for (const struct damage *d = s.members[0].damage; d; d = d->next)
		CHECK(d->offset == UINT64_MAX || d->offset <= size - 1);
	store_deinit(&s);
	return 0;
}
