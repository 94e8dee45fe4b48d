/* `amd-smi --json` (a list, or "gpu_data") and `rocm-smi --json` ("card0", "card1", ...). */
#include "analyzer/ingest/gpu_readings.h"

#include "bundle/cleanup.h"

struct reading_of_json {
	struct gpu_reader r;
	struct json_reader json;
	struct error damage;
};

static void take_scalar(void *ctx, const char *path, const struct value *v, struct place at)
{
	struct reading_of_json *p = ctx;
	char text[128];

	if (v->type == V_INT)
		snprintf(text, sizeof(text), "%lld", (long long)v->i);
	else if (v->type == V_STR)
		snprintf(text, sizeof(text), "%.*s", v->len < sizeof(text) ? (int)v->len : (int)sizeof(text) - 1, v->s);
	else
		return;
	gpu_reader_take(&p->r, path, text, at);
}

static void take_gpu(struct reading_of_json *p, const struct value *gpu, struct span id, struct place at)
{
	gpu_reader_open(&p->r, id, at);
	json_each_scalar(p->r.c.data, p->r.c.len, gpu, take_scalar, p);
	gpu_reader_close(&p->r);
}

static void take_object(struct reading_of_json *p, const struct value *top)
{
	const struct value *gpu = value_get(top, "gpu");
	char id[24];

	if (gpu && gpu->type == V_INT && gpu->i >= 0) {
		snprintf(id, sizeof(id), "%lld", (long long)gpu->i);
		take_gpu(p, top, span_of(id, strlen(id)), json_pair(p->r.c.data, p->r.c.len, gpu));
		return;
	}
	for (uint32_t i = 0; top->type == V_DICT && i + 2 <= top->seq->n; i += 2) {
		struct span key = span_of_value(&top->seq->v[i]);
		const struct value *card = &top->seq->v[i + 1];

		if (span_starts(key, "card") && span_number(span_after(key, 4)) >= 0 && card->type == V_DICT)
			take_gpu(p, card, span_after(key, 4), json_pair(p->r.c.data, p->r.c.len, card));
	}
}

static void read_object(void *ctx, size_t start, size_t end)
{
	struct reading_of_json *p = ctx;
	struct value top;
	struct error err = { 0 };

	if (json_reader_read(&p->json, p->r.c.data + start, end - start, &top, &err) == 0) {
		take_object(p, &top);
	} else if (!p->damage.code) {
		err.offset += start;
		p->damage = err;
	}
}

static void deinit(struct reading_of_json *p) { json_reader_deinit(&p->json); }

int ingest_gpu_json(struct store *s, uint32_t member, const char *data, size_t len, struct error *err)
{
	_cleanup_(deinit) struct reading_of_json p = { .r.c = citer_of(s, member, data, len) };

	if (json_reader_init(&p.json, len, err))
		return -1;
	json_each_object(data, len, "gpu_data", read_object, &p, &p.damage);
	if (p.r.n_gpus == 0 && p.damage.code)
		return *err = p.damage, -1;
	if (p.r.n_gpus == 0)
		return error_at(err, ERR_FORMAT, 0, "no GPU in the JSON");
	if (p.damage.code)
		store_damage(s, member, &p.damage, false);
	return 0;
}
