/*
 * html - the report as one page, in four files.
 *
 * html_page.c writes elements and text, html.c the sections that argue,
 * html_grid.c the picture of ranks and collectives, html_tables.c the lists.
 * Text and attribute values leave only through page_say() and page_attr(),
 * which make them printable and let libxml2 escape them: nothing that the
 * input says can become markup.  Only page_style() writes bytes as they are,
 * and those are ours.
 */
#pragma once
#include <libxml/xmlwriter.h>

#include "analyzer/analysis.h"
#include "reports/words.h"

extern const char page_css[];	/* reports/page.css, embedded by the build */

struct page {
	xmlTextWriterPtr out;
	const struct analysis *a;
	const struct store *s;
	struct words w;		/* a phrase in the making */
	struct words safe;	/* the same, made printable */
	bool failed;		/* sticky: libxml2 had no memory */
	size_t written;		/* bytes */
	uint8_t *cited;		/* by evidence: its quote stands on the page as #eN */
};

/* No more quotes, and shorter texts: the lists need room too. */
#define PAGE_CROWDED (400 << 10)
static inline bool page_crowded(const struct page *p)
{
	return p->written > PAGE_CROWDED;
}

/* No more rows: a list that stops here says how much it leaves out. */
#define PAGE_FULL (850 << 10)
static inline bool page_full(const struct page *p)
{
	return p->written > PAGE_FULL;
}

/* ---- elements ---- */

void page_open(struct page *p, const char *name, const char *class);	/* class may be NULL */
void page_close(struct page *p);			/* writes an end tag */
void page_void(struct page *p);				/* ends an element that has none */
void page_attr(struct page *p, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void page_say(struct page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The phrase in p->w, as text or as an attribute; then it is empty. */
void page_words(struct page *p);
void page_words_attr(struct page *p, const char *name);
/* An element with text and nothing else. */
void page_leaf(struct page *p, const char *name, const char *class, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void page_words_leaf(struct page *p, const char *name, const char *class);
/* An element with a pattern's advice; what it puts between `backticks` is a command, set as code. */
void page_advice(struct page *p, const char *name, const char *advice);
void page_line(struct page *p);				/* a line break in the source */
void page_style(struct page *p);			/* the style sheet */

/* ---- parts that several sections use ---- */

/* "<section id=..><h2>title</h2>"; closed with page_close(). */
void page_section(struct page *p, const char *id, const char *title);
/* A table that scrolls inside its own box; two page_close() plus page_table_end(). */
void page_table(struct page *p, const char *label, const char *const *heads, size_t n);
void page_table_end(struct page *p);
void page_time(struct page *p, struct stamp t);
/* The quote with file and line; the first time it gets the id eN. */
void page_quote(struct page *p, uint32_t evidence);
/* "file:line", linked to the quote where that stands on the page. */
void page_cite(struct page *p, uint32_t evidence);
/* "and N more ..." when something was left out. */
void page_more(struct page *p, const char *element, size_t total, size_t shown, const char *what);
/* "f3" as a link */
void page_finding_link(struct page *p, uint32_t finding);
const char *role_title(enum pattern_role role);

/* ---- sections ---- */

int html_grid(struct page *p, struct error *err);
int html_timeline(struct page *p, struct error *err);
void html_findings(struct page *p);
int html_observations(struct page *p, struct error *err);
void html_inputs(struct page *p);
void html_coverage(struct page *p);
