/*
 * The structured readers.  The first byte picks one; the rest is its member.  A
 * failure must say what and where, and every quote must be bytes of the input.
 */
#include <stdlib.h>
#include <string.h>

#include "analyzer/ingest/structured.h"
#include "bundle/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		__builtin_trap();
}

static void check_store(const struct store *s, const char *data, size_t len)
{
	for (size_t i = 0; i < s->n_evidence; i++) {
		const struct evidence *e = &s->evidence[i];

		check(e->length > 0 && e->length <= QUOTE_BYTES);
		check(e->offset <= len && e->length <= len - e->offset);
		check(memcmp(e->raw, data + e->offset, e->length) == 0);
		check(e->line >= 1 && e->line <= e->offset + 1);
	}
	for (size_t i = 0; i < s->n_obs; i++)
		check(s->obs[i].kind && s->obs[i].n_fields <= FIELDS_MAX &&
		      s->obs[i].n_evidence <= QUOTES_MAX);
	for (const struct damage *d = s->members[0].damage; d; d = d->next)
		check(d->what[0] && (d->offset == UINT64_MAX || d->offset <= len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int (*const readers[])(struct store *, uint32_t, const char *, size_t, struct error *) = {
		ingest_nvidia_smi, ingest_kubernetes_json, ingest_kubernetes_text, ingest_stacks,
		ingest_elastic_error,
	};
	struct error err = { 0 };
	struct store s;
	char *copy;
	int ret;

	if (size == 0 || store_init(&s, 32 << 20, &err))
		return 0;
	copy = malloc(size > 1 ? size - 1 : 1);	/* of its exact size, for the sanitizer */
	check(copy && store_member(&s, "stacks/41.txt", NULL, &err) == 0);
	memcpy(copy, data + 1, size - 1);
	ret = readers[data[0] % ARRAY_SIZE(readers)](&s, 0, copy, size - 1, &err);
	check(ret == 0 || ret == -1);
	check((ret == -1) == (err.code != ERR_NONE));
	check(ret == 0 || (err.what[0] && (!err.has_offset || err.offset <= size - 1)));
	check_store(&s, copy, size - 1);
	store_deinit(&s);
	free(copy);
	return 0;
}
