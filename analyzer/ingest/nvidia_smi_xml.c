#include "analyzer/ingest/gpu_readings.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <stdlib.h>

#include "bundle/cleanup.h"

#define FILE_BYTES ((size_t)4 << 20)
#define TAG_BYTES ((size_t)64 << 10)	/* libxml2 is quadratic in the attributes of a tag */
#define PROLOG_BYTES ((size_t)256)
#define DOCUMENTS 4096			/* of `nvidia-smi -l` in one member */
#define GPUS 1024			/* in one document */

struct smi {
	struct gpu_reader r;
	xmlParserCtxtPtr xml;
	size_t base, end;	/* the document within the member */
	char path[PATH_BYTES];	/* of the open element, below the root */
	size_t path_len;
	unsigned depth, gpu_depth, beyond;	/* beyond: open elements that `path` does not show */
	bool leaf, root, root_closed;
	char text[128];
	size_t text_len;
	size_t tag;		/* offset of the last start tag, or SIZE_MAX */
	struct error damage;
};

/* ---- libxml2 ---- */

/* Where the parser stands in the member. */
static size_t offset_now(const struct smi *p)
{
	long at = xmlByteConsumed(p->xml);
	size_t offset = at < 0 ? p->end : p->base + (size_t)at;

	return offset < p->end ? offset : p->end;
}

/* Keep the first complaint of the parser, and about where it arose. */
static void note_damage(struct smi *p)
{
	const xmlError *e = xmlCtxtGetLastError(p->xml);

	if (p->xml->wellFormed || p->damage.code || p->root_closed || !e || !e->message)
		return;
	error_at(&p->damage, ERR_FORMAT, offset_now(p), "%.*s", (int)strcspn(e->message, "\n"),
		 e->message);
}

static size_t tag_offset(const struct smi *p, const char *name)
{
	const char *lt = memrchr(p->r.c.data + p->base, '<', offset_now(p) - p->base);
	size_t room, n = strlen(name);

	if (!lt)
		return SIZE_MAX;
	room = (size_t)(p->r.c.data + p->end - lt);
	return room > n && memcmp(lt + 1, name, n) == 0 ? (size_t)(lt - p->r.c.data) : SIZE_MAX;
}

static void push_name(struct smi *p, const char *name)
{
	size_t n = strlen(name);

	if (p->depth == 1)
		return;		/* the root is not part of the path */
	if (p->beyond || p->path_len + 1 + n >= sizeof(p->path)) {
		p->beyond++;
		return;
	}
	p->path[p->path_len++] = '/';
	memcpy(p->path + p->path_len, name, n + 1);
	p->path_len += n;
}

static void open_gpu(struct smi *p, int n_attributes, const xmlChar **a)
{
	struct span id = span_of("", 0);
	struct place at = { 0 };

	p->gpu_depth = p->depth;
	if (p->tag != SIZE_MAX)		/* the parser stands before its '>' */
		at = (struct place){ p->tag, offset_now(p) + 1 - p->tag };
	for (int i = 0; i < n_attributes; i++, a += 5)	/* name, prefix, URI, value, end */
		if (strcmp((const char *)a[0], "id") == 0)
			id = span_of((const char *)a[3], (size_t)(a[4] - a[3]));
	gpu_reader_open(&p->r, id, at);
}

static void on_start(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
		     int n_ns, const xmlChar **ns, int n_attributes, int n_default, const xmlChar **a)
{
	struct smi *p = ctx;

	(void)prefix, (void)uri, (void)n_ns, (void)ns, (void)n_default;
	note_damage(p);
	p->depth++;
	push_name(p, (const char *)name);
	p->leaf = true;
	p->text_len = 0;
	p->tag = tag_offset(p, (const char *)name);
	if (p->depth == 1)
		p->root = strcmp((const char *)name, "nvidia_smi_log") == 0;
	if (p->depth == 2 && p->root && p->r.n_gpus < GPUS && strcmp((const char *)name, "gpu") == 0)
		open_gpu(p, n_attributes, a);
}

static void on_end(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
	struct smi *p = ctx;
	size_t end = offset_now(p);
	struct place at = { 0 };
	struct span text = span_trim(span_of(p->text, p->text_len));
	bool gpu = p->gpu_depth && p->depth > p->gpu_depth && !p->beyond;
	char value[sizeof(p->text)];

	(void)name, (void)prefix, (void)uri;
	note_damage(p);
	snprintf(value, sizeof(value), "%.*s", (int)text.len, text.s);
	if (p->tag != SIZE_MAX && end > p->tag && p->r.c.data[end - 1] == '>')
		at = (struct place){ p->tag, end - p->tag };
	if (p->leaf && gpu)
		gpu_reader_take(&p->r, p->path + strlen("/gpu"), value, at);
	else if (p->leaf && p->gpu_depth && p->depth == p->gpu_depth)
		gpu_reader_take(&p->r, "", value, at);	/* <gpu id="...">GPU is lost</gpu> */
	else if (p->leaf && p->root && p->depth == 2)
		gpu_reader_top(&p->r, p->path, value, at);
	if (gpu && strcmp(p->path, "/gpu/processes/process_info") == 0)
		gpu_reader_process(&p->r);
	if (p->gpu_depth && p->depth == p->gpu_depth) {
		gpu_reader_close(&p->r);
		p->gpu_depth = 0;
	}
	if (p->beyond)
		p->beyond--;
	else if (p->path_len)
		p->path_len = (size_t)(strrchr(p->path, '/') - p->path);
	p->path[p->path_len] = '\0';
	p->leaf = false;
	p->depth -= p->depth > 0;
	p->root_closed |= p->depth == 0;
}

static void on_text(void *ctx, const xmlChar *s, int len)
{
	struct smi *p = ctx;
	size_t room = sizeof(p->text) - 1 - p->text_len, n = (size_t)len < room ? (size_t)len : room;

	memcpy(p->text + p->text_len, s, n);
	p->text_len += n;
}

static void free_parserp(xmlParserCtxtPtr *p) { xmlFreeParserCtxt(*p); }	/* NULL is fine */

/* One document; what a broken one holds before the break counts. */
static int read_document(struct smi *p, struct error *err)
{
	_cleanup_(free_parserp) xmlParserCtxtPtr xml = xmlNewParserCtxt();
	xmlDocPtr doc;

	if (!xml)
		return error_set(err, ERR_NOMEM, "no memory for the XML parser");
	*xml->sax = (xmlSAXHandler){ .initialized = XML_SAX2_MAGIC, .startElementNs = on_start,
				     .endElementNs = on_end, .characters = on_text, .cdataBlock = on_text };
	xml->userData = p;
	p->xml = xml;
	doc = xmlCtxtReadMemory(xml, p->r.c.data + p->base, (int)(p->end - p->base), NULL, NULL,
				XML_PARSE_NONET | XML_PARSE_RECOVER | XML_PARSE_NOERROR |
					XML_PARSE_NOWARNING);
	xmlFreeDoc(doc);	/* the handlers build none */
	if (!p->root)
		return error_at(err, ERR_FORMAT, p->base, "no <nvidia_smi_log> element");
	gpu_reader_close(&p->r);
	note_damage(p);
	if (!p->root_closed)
		error_at(&p->damage, ERR_FORMAT, p->end, "the document ends inside an element");
	if (p->damage.code)
		store_damage(p->r.c.s, p->r.c.member, &p->damage, false);
	gpu_reader_end(&p->r, p->root_closed);
	return 0;
}

/* ---- the member ---- */

/* The XML declaration or DOCTYPE at `p` is like nvidia-smi's: short, and declares nothing. */
static bool plain_prolog(struct span p)
{
	const char *gt = memchr(p.s, '>', p.len < PROLOG_BYTES ? p.len : PROLOG_BYTES);
	unsigned quotes = 0, apostrophes = 0;

	if (!gt)
		return p.len < PROLOG_BYTES;	/* cut */
	p.len = (size_t)(gt - p.s);
	for (size_t i = 0; i < p.len; i++) {
		quotes += p.s[i] == '"';
		apostrophes += p.s[i] == '\'';
	}
	if (span_find(p, "encoding") && !span_find(p, "UTF-8") && !span_find(p, "utf-8"))
		return false;	/* libxml2 would convert it, and our offsets would not hold */
	return quotes % 2 == 0 && apostrophes % 2 == 0 && (!quotes || !apostrophes) && !span_find(p, "[");
}

/*
 * What must not reach libxml2.  A tag ends before the next '<' at the latest:
 * libxml2 gives up a tag there, whatever its quotes say.
 */
static int refuse(const char *data, size_t len, struct error *err)
{
	const char *p = data, *end = data + len, *next;

	for (p = len ? memchr(p, '<', len) : NULL; p; p = next) {
		struct span rest = span_of(p, (size_t)(end - p));

		next = memchr(p + 1, '<', rest.len - 1);
		if ((next ? (size_t)(next - p) : rest.len) > TAG_BYTES)
			return error_at(err, ERR_LIMIT, (uint64_t)(p - data),
					"a tag of more than %zu bytes", TAG_BYTES);
		if ((span_starts(rest, "<!DOCTYPE") || span_starts(rest, "<?xml")) &&
		    !plain_prolog(rest))
			return error_at(err, ERR_UNSUPPORTED, (uint64_t)(p - data),
					"a DOCTYPE or XML declaration that nvidia-smi does not write");
	}
	return 0;
}

int ingest_nvidia_smi(struct store *s, uint32_t member, const char *data, size_t len,
		      struct error *err)
{
	const char *nul = len ? memchr(data, '\0', len) : NULL, *start;
	_cleanup_free_ struct smi *p = malloc(sizeof(*p));
	struct error first = { 0 };
	unsigned n_read = 0;

	if (!p)
		return error_set(err, ERR_NOMEM, "no memory");
	if (len > FILE_BYTES)
		return error_at(err, ERR_LIMIT, FILE_BYTES, "more than %zu bytes of XML", FILE_BYTES);
	if (nul) {
		len = (size_t)(nul - data);
		error_at(&first, ERR_FORMAT, len, "a NUL byte ends the text");
	}
	if (refuse(data, len, err))
		return -1;
	*p = (struct smi){ .r.c = citer_of(s, member, data, len) };
	start = len ? memmem(data, len, "<?xml", 5) : NULL;
	if (!start && len)
		start = memchr(data, '<', len);
	if (!start)
		return error_at(err, ERR_FORMAT, 0, "no nvidia-smi document");
	for (unsigned n = 0; start && n < DOCUMENTS; n++) {
		size_t left = (size_t)(data + len - start);
		const char *next = left > 5 ? memmem(start + 5, left - 5, "<?xml", 5) : NULL;

		*p = (struct smi){ .r.c = p->r.c, .base = (size_t)(start - data),
				   .end = next ? (size_t)(next - data) : len };
		if (read_document(p, &first) == 0)
			n_read++;
		start = next;
	}
	if (start)
		error_at(&first, ERR_LIMIT, (uint64_t)(start - data), "more than %d documents",
			 DOCUMENTS);
	if (n_read == 0)
		return *err = first, -1;
	if (first.code)
		store_damage(s, member, &first, false);
	return 0;
}
