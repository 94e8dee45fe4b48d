#include "analyzer/intern.h"

#include <stdlib.h>
#include <string.h>

uint64_t hash_bytes(const void *p, size_t len, uint64_t seed)
{
	const uint8_t *b = p;
	uint64_t h = seed ^ 0x9e3779b97f4a7c15u ^ len, w;

	for (; len >= 8; len -= 8, b += 8) {
		memcpy(&w, b, 8);
		h = (h ^ w) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	w = 0;
	if (len)
		memcpy(&w, b, len);
	h = (h ^ w) * 0xc4ceb9fe1a85ec53u;
	return h ^ h >> 29;
}

int intern_init(struct intern *in, struct arena *arena)
{
	*in = (struct intern){ .arena = arena, .n = 1, .cap = 1024 };
	in->str = calloc(in->cap, sizeof(*in->str));
	in->slot = calloc(in->cap, sizeof(*in->slot));
	if (!in->str || !in->slot) {
		intern_deinit(in);
		return -1;
	}
	in->str[0] = "";
	return 0;
}

void intern_deinit(struct intern *in)
{
	free(in->str);
	free(in->slot);
	in->str = NULL;
	in->slot = NULL;
}

/* The slot that holds the string, or the free one where it belongs. */
static uint32_t *find_slot(const struct intern *in, const char *s, size_t len)
{
	uint32_t mask = in->cap - 1;
	uint32_t i = (uint32_t)hash_bytes(s, len, 0) & mask;

	while (in->slot[i]) {
		const char *have = in->str[in->slot[i]];

		if (strncmp(have, s, len) == 0 && have[len] == '\0')
			break;
		i = (i + 1) & mask;
	}
	return &in->slot[i];
}

static int grow(struct intern *in)
{
	uint32_t cap = in->cap * 2;
	const char **str = realloc(in->str, cap * sizeof(*str));
	uint32_t *slot;

	if (str)
		in->str = str;
	slot = calloc(cap, sizeof(*slot));
	if (!str || !slot) {
		free(slot);
		return -1;
	}
	free(in->slot);
	in->slot = slot;
	in->cap = cap;
	for (uint32_t id = 1; id < in->n; id++)
		*find_slot(in, in->str[id], strlen(in->str[id])) = id;
	return 0;
}

sid intern_find(const struct intern *in, const char *s, size_t len)
{
	return len && !memchr(s, '\0', len) ? *find_slot(in, s, len) : 0;
}

sid intern(struct intern *in, const char *s, size_t len)
{
	const char *nul = len ? memchr(s, '\0', len) : NULL;
	uint32_t *slot;

	if (nul)
		len = (size_t)(nul - s);
	if (len == 0)
		return 0;
	slot = find_slot(in, s, len);
	if (*slot)
		return *slot;
	if (in->n * 2 >= in->cap) {
		if (grow(in)) {
			in->full = true;
			return 0;
		}
		slot = find_slot(in, s, len);
	}
	in->str[in->n] = arena_strdup(in->arena, s, len);
	if (!in->str[in->n]) {
		in->full = true;
		return 0;
	}
	return *slot = in->n++;
}

sid intern_cstr(struct intern *in, const char *s) { return s ? intern(in, s, strlen(s)) : 0; }

const char *intern_str(const struct intern *in, sid id) { return id < in->n ? in->str[id] : ""; }
