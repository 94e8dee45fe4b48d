#include "reports/html.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "bundle/digest.h"

/* What the input says is cut in one text or attribute, and more so on a crowded page. */
#define VALUE_BYTES 2048
#define VALUE_BYTES_CROWDED 256

/* ---- elements ---- */

static const xmlChar *xml(const char *s)
{
	return (const xmlChar *)s;
}

static void check(struct page *p, int written)
{
	if (written < 0)
		p->failed = true;
	else
		p->written += (size_t)written;
}

void page_open(struct page *p, const char *name, const char *class)
{
	check(p, xmlTextWriterStartElement(p->out, xml(name)));
	if (class)
		check(p, xmlTextWriterWriteAttribute(p->out, xml("class"), xml(class)));
}

void page_close(struct page *p)
{
	check(p, xmlTextWriterFullEndElement(p->out));
}

void page_void(struct page *p)
{
	check(p, xmlTextWriterEndElement(p->out));
}

void page_line(struct page *p)
{
	check(p, xmlTextWriterWriteString(p->out, xml("\n")));
}

void page_style(struct page *p)
{
	page_open(p, "style", NULL);
	check(p, xmlTextWriterWriteRaw(p->out, xml(page_css)));
	page_close(p);
}

/* Make the phrase printable and begin anew. */
static void finish(struct page *p)
{
	words_printable(&p->safe, words_str(&p->w), p->w.len,
			page_crowded(p) ? VALUE_BYTES_CROWDED : VALUE_BYTES);
	words_clear(&p->w);
}

void page_words(struct page *p)
{
	finish(p);
	if (p->safe.len)
		check(p, xmlTextWriterWriteString(p->out, xml(words_str(&p->safe))));
}

void page_words_attr(struct page *p, const char *name)
{
	finish(p);
	check(p, xmlTextWriterWriteAttribute(p->out, xml(name), xml(words_str(&p->safe))));
}

void page_words_leaf(struct page *p, const char *name, const char *class)
{
	page_open(p, name, class);
	page_words(p);
	page_close(p);
}

/* Format into the scratch phrase; what was there has been said already. */
static void vphrase(struct page *p, const char *fmt, va_list ap)
{
	words_clear(&p->w);
	words_addv(&p->w, fmt, ap);
}

void page_attr(struct page *p, const char *name, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vphrase(p, fmt, ap);
	va_end(ap);
	page_words_attr(p, name);
}

void page_say(struct page *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vphrase(p, fmt, ap);
	va_end(ap);
	page_words(p);
}

void page_leaf(struct page *p, const char *name, const char *class, const char *fmt, ...)
{
	va_list ap;

	page_open(p, name, class);
	va_start(ap, fmt);
	vphrase(p, fmt, ap);
	va_end(ap);
	page_words(p);
	page_close(p);
}

void page_advice(struct page *p, const char *name, const char *advice)
{
	bool command = false;

	page_open(p, name, NULL);
	for (const char *at = advice; ; command = !command) {
		size_t len = strcspn(at, "`");

		if (len && command)
			page_leaf(p, "code", NULL, "%.*s", (int)len, at);
		else if (len)
			page_say(p, "%.*s", (int)len, at);
		if (!at[len])
			break;
		at += len + 1;
	}
	page_close(p);
}

/* ---- parts ---- */

void page_section(struct page *p, const char *id, const char *title)
{
	page_line(p);
	page_open(p, "section", NULL);
	page_attr(p, "id", "%s", id);
	page_attr(p, "aria-labelledby", "h-%s", id);
	page_open(p, "h2", NULL);
	page_attr(p, "id", "h-%s", id);
	page_say(p, "%s", title);
	page_close(p);
	page_line(p);
}

void page_table(struct page *p, const char *label, const char *const *heads, size_t n)
{
	page_open(p, "div", "scroll");
	page_attr(p, "role", "region");
	page_attr(p, "aria-label", "%s", label);
	page_attr(p, "tabindex", "0");
	page_open(p, "table", NULL);
	page_open(p, "thead", NULL);
	page_open(p, "tr", NULL);
	for (size_t i = 0; i < n; i++) {
		page_open(p, "th", NULL);
		page_attr(p, "scope", "col");
		page_say(p, "%s", heads[i]);
		page_close(p);
	}
	page_close(p);
	page_close(p);
	page_line(p);
	page_open(p, "tbody", NULL);
}

void page_table_end(struct page *p)
{
	page_close(p);
	page_close(p);
	page_close(p);
	page_line(p);
}

void page_time(struct page *p, struct stamp t)
{
	char full[48];

	stamp_text(t, full);
	page_open(p, "time", NULL);
	if (t.base == TIME_UTC)
		page_attr(p, "datetime", "%s", full);
	if (full[0])
		page_attr(p, "title", "%s", full);
	words_stamp(&p->w, t);
	page_words(p);
	page_close(p);
}

/* Byte range and digest: what a reader needs to check the quote. */
static void quote_title(struct page *p, const struct evidence *e)
{
	char hex[DIGEST_HEX] = "";

	if (e->raw)
		digest_hex(e->raw, e->length, hex);
	page_attr(p, "title", "byte %" PRIu64 ", %" PRIu32 " bytes%s%.12s%s", e->offset, e->length,
		  hex[0] ? ", sha256 " : "", hex, e->decoded ? "; decoded" : "");
}

void page_quote(struct page *p, uint32_t evidence)
{
	const struct evidence *e = &p->s->evidence[evidence];

	page_open(p, "blockquote", NULL);
	if (!p->cited[evidence])
		page_attr(p, "id", "e%" PRIu32, evidence + 1);
	p->cited[evidence] = 1;
	page_open(p, "cite", NULL);
	quote_title(p, e);
	words_where(&p->w, p->s, evidence);
	page_words(p);
	page_close(p);
	if (page_crowded(p)) {
		page_leaf(p, "p", "quiet", "Not shown: the page has reached its size.");
	} else {
		words_quote(&p->w, p->s, evidence);
		page_words_leaf(p, "pre", NULL);
	}
	page_close(p);
	page_line(p);
}

void page_cite(struct page *p, uint32_t evidence)
{
	bool linked = p->cited[evidence];

	page_open(p, linked ? "a" : "span", "where");
	if (linked)
		page_attr(p, "href", "#e%" PRIu32, evidence + 1);
	quote_title(p, &p->s->evidence[evidence]);
	words_where(&p->w, p->s, evidence);
	page_words(p);
	page_close(p);
}

void page_more(struct page *p, const char *element, size_t total, size_t shown, const char *what)
{
	if (total > shown)
		page_leaf(p, element, "more", "and %zu more %s", total - shown, what);
}

void page_finding_link(struct page *p, uint32_t finding)
{
	page_open(p, "a", NULL);
	page_attr(p, "href", "#%s", p->a->findings[finding].id);
	page_say(p, "%s", p->a->findings[finding].pattern->title);
	page_close(p);
}

const char *role_title(enum pattern_role role)
{
	switch (role) {
	case ROLE_CAUSE:
		return "Cause";
	case ROLE_SYMPTOM:
		return "Symptom";
	case ROLE_OUTCOME:
		return "Outcome";
	case ROLE_PRECURSOR:
		return "Precursor";
	}
	return "Finding";
}
