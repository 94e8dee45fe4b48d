/*
 * html_grid - who waited for whom: ranks down, stuck collectives across.
 *
 * Up to ROWS_MAX ranks have a row each.  Beyond that, ranks whose rows are equal
 * share one, culprits never; and what is still too much is left out, the ranks
 * that miss nothing first, and counted.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/identity.h"
#include "reports/html.h"

#define COLS_MAX 24
#define ROWS_MAX 64
#define BLOCK_ROWS 16 /* of a picture with few columns: blocks stand side by side */
#define BLOCK_COLS 6  /* few */
#define LISTED_MAX 48 /* collectives in the table */
#define WHO_MAX 256   /* ranks in the table of ranks */

/* Pixels. */
#define CELL 18
#define PITCH 22
#define CHAR_W 6.6
#define LABEL_CHARS 22
#define HOST_CHARS 14

enum cell { CELL_OUTSIDE, CELL_COMPLETED, CELL_ENTERED, CELL_UNKNOWN, CELL_MISSING, CELL_COUNT };

static const struct {
	const char *id, *name, *glyph;
} cells[CELL_COUNT] = {
	[CELL_OUTSIDE] = { "c-out", "not a member", NULL },
	[CELL_COMPLETED] = { "c-done", "completed", "M4.5 9.5 7.5 12.5 13.5 5.5" },
	[CELL_ENTERED] = { "c-wait", "entered, waiting", "M4.5 9h1.6M8.2 9h1.6M11.9 9h1.6" },
	[CELL_UNKNOWN] = { "c-unk", "unknown",
			   "M6.9 7.1a2.1 2.1 0 1 1 3.1 1.8q-1 .6-1 1.5M9 12.9v.1" },
	[CELL_MISSING] = { "c-miss", "did not enter", "M5.5 5.5l7 7M12.5 5.5l-7 7" },
};

struct row {
	uint32_t first, n; /* of grid.order */
	uint32_t rank;	   /* index of its lowest rank */
	uint8_t weight;	   /* culprits, then those that miss something, stay */
};

struct grid {
	const struct stuck_collective *cols;
	size_t n_cols, n_ranks, n_rows;
	int32_t *ranks;	  /* sorted */
	uint8_t *state;	  /* [rank * n_cols + col], enum cell */
	uint8_t *culprit; /* by rank index */
	uint32_t *order;  /* rank indexes, those of one row together */
	struct row *rows;
	size_t ranks_left_out;
	size_t host_chars; /* of the longest host name, as drawn */
};

static void grid_deinit(struct grid *g)
{
	free(g->ranks);
	free(g->state);
	free(g->culprit);
	free(g->order);
	free(g->rows);
}

/* ---- what to draw ---- */

static int by_rank(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return (x > y) - (x < y);
}

static bool has(const int32_t *ranks, size_t n, int32_t rank)
{
	return n && bsearch(&rank, ranks, n, sizeof(ranks[0]), by_rank);
}

static enum cell cell_of(const struct stuck_collective *c, int32_t rank)
{
	if (has(c->missing, c->n_missing, rank))
		return CELL_MISSING;
	if (has(c->completed, c->n_completed, rank))
		return CELL_COMPLETED;
	if (has(c->entered, c->n_entered, rank))
		return CELL_ENTERED;
	if (has(c->unknown, c->n_unknown, rank) || has(c->members, c->n_members, rank))
		return CELL_UNKNOWN;
	return CELL_OUTSIDE;
}

/* All members of all columns and all culprits, each once. */
static int grid_ranks(struct grid *g, const struct analysis *a, struct error *err)
{
	size_t total = 1, n = 0;

	for (size_t i = 0; i < g->n_cols; i++)
		total += g->cols[i].n_members;
	for (size_t i = 0; i < a->primary.n; i++)
		total += a->findings[a->primary.v[i]].n_culprits;
	g->ranks = calloc(total, sizeof(g->ranks[0]));
	if (!g->ranks)
		return error_set(err, ERR_NOMEM, "no memory");
	for (size_t i = 0; i < g->n_cols; i++) {
		if (g->cols[i].n_members)
			memcpy(g->ranks + n, g->cols[i].members,
			       g->cols[i].n_members * sizeof(g->ranks[0]));
		n += g->cols[i].n_members;
	}
	for (size_t i = 0; i < a->primary.n; i++)
		for (size_t k = 0; k < a->findings[a->primary.v[i]].n_culprits; k++)
			if (a->findings[a->primary.v[i]].culprits[k].rank != RANK_NONE)
				g->ranks[n++] = a->findings[a->primary.v[i]].culprits[k].rank;
	qsort(g->ranks, n, sizeof(g->ranks[0]), by_rank);
	for (size_t i = 0; i < n; i++)
		if (g->n_ranks == 0 || g->ranks[g->n_ranks - 1] != g->ranks[i])
			g->ranks[g->n_ranks++] = g->ranks[i];
	return 0;
}

static void mark_culprits(struct grid *g, const struct analysis *a)
{
	for (size_t i = 0; i < a->primary.n; i++) {
		const struct finding *f = &a->findings[a->primary.v[i]];

		for (size_t k = 0; k < f->n_culprits; k++) {
			int32_t *at = bsearch(&f->culprits[k].rank, g->ranks, g->n_ranks,
					      sizeof(g->ranks[0]), by_rank);

			if (at)
				g->culprit[at - g->ranks] = 1;
		}
	}
}

/* ---- rows ---- */

/* A rank's row of cells, for finding those that look alike. */
struct look {
	const uint8_t *state;
	size_t n;
	uint32_t rank;
};

static int by_look(const void *a, const void *b)
{
	const struct look *x = a, *y = b;
	int d = memcmp(x->state, y->state, x->n);

	return d ? d : (x->rank > y->rank) - (x->rank < y->rank);
}

static int by_row_rank(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return (x->rank > y->rank) - (x->rank < y->rank);
}

static int by_weight(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return x->weight != y->weight ? y->weight - x->weight : by_row_rank(a, b);
}

/* Bring ranks that look alike together in g->order. */
static int order_ranks(struct grid *g, bool alike, struct error *err)
{
	_cleanup_free_ struct look *looks = calloc(g->n_ranks + 1, sizeof(looks[0]));

	if (!looks)
		return error_set(err, ERR_NOMEM, "no memory");
	for (uint32_t i = 0; i < g->n_ranks; i++)
		looks[i] = (struct look){ g->state + i * g->n_cols, g->n_cols, i };
	if (alike)
		qsort(looks, g->n_ranks, sizeof(looks[0]), by_look);
	for (size_t i = 0; i < g->n_ranks; i++)
		g->order[i] = looks[i].rank;
	return 0;
}

static uint8_t row_weight(const struct grid *g, uint32_t rank)
{
	uint8_t weight = g->culprit[rank] ? CELL_COUNT : CELL_OUTSIDE;

	for (size_t c = 0; c < g->n_cols; c++)
		if (g->state[rank * g->n_cols + c] > weight)
			weight = g->state[rank * g->n_cols + c];
	return weight;
}

static int grid_rows(struct grid *g, struct error *err)
{
	bool merge = g->n_ranks > ROWS_MAX;

	if (order_ranks(g, merge, err))
		return -1;
	for (uint32_t i = 0; i < g->n_ranks; i++) {
		struct row *last = g->n_rows ? &g->rows[g->n_rows - 1] : NULL;
		uint32_t r = g->order[i];

		if (merge && last && !g->culprit[r] && !g->culprit[last->rank] &&
		    memcmp(g->state + r * g->n_cols, g->state + last->rank * g->n_cols,
			   g->n_cols) == 0)
			last->n++;
		else
			g->rows[g->n_rows++] = (struct row){ i, 1, r, row_weight(g, r) };
	}
	if (g->n_rows > ROWS_MAX) {
		qsort(g->rows, g->n_rows, sizeof(g->rows[0]), by_weight);
		for (size_t i = ROWS_MAX; i < g->n_rows; i++)
			g->ranks_left_out += g->rows[i].n;
		g->n_rows = ROWS_MAX;
	}
	qsort(g->rows, g->n_rows, sizeof(g->rows[0]), by_row_rank);
	return 0;
}

static int grid_init(struct grid *g, const struct analysis *a, struct error *err)
{
	const struct collectives *c = a->store->collectives;

	g->cols = c->stuck;
	g->n_cols = c->n_stuck < COLS_MAX ? c->n_stuck : COLS_MAX;
	if (grid_ranks(g, a, err))
		return -1;
	g->state = calloc(g->n_ranks + 1, g->n_cols);
	g->culprit = calloc(g->n_ranks + 1, 1);
	g->order = calloc(g->n_ranks + 1, sizeof(g->order[0]));
	g->rows = calloc(g->n_ranks + 1, sizeof(g->rows[0]));
	if (!g->state || !g->culprit || !g->order || !g->rows)
		return error_set(err, ERR_NOMEM, "no memory");
	mark_culprits(g, a);
	for (size_t i = 0; i < g->n_ranks; i++) {
		const struct rank_identity *id = identity_by_rank(a->store, g->ranks[i]);

		if (id &&
		    strnlen(intern_str(&a->store->strings, id->host), HOST_CHARS) > g->host_chars)
			g->host_chars =
				strnlen(intern_str(&a->store->strings, id->host), HOST_CHARS);
		for (size_t k = 0; k < g->n_cols; k++)
			g->state[i * g->n_cols + k] = (uint8_t)cell_of(&g->cols[k], g->ranks[i]);
	}
	return grid_rows(g, err);
}

/* ---- drawing ---- */

static void put_shape(struct page *p, enum cell c)
{
	page_open(p, "g", cells[c].id);
	page_attr(p, "id", "%s", cells[c].id);
	if (c == CELL_OUTSIDE) {
		page_open(p, "circle", NULL);
		page_attr(p, "cx", "9");
		page_attr(p, "cy", "9");
		page_attr(p, "r", "1.5");
		page_void(p);
	} else {
		page_open(p, "rect", NULL);
		page_attr(p, "x", ".75");
		page_attr(p, "y", ".75");
		page_attr(p, "width", "16.5");
		page_attr(p, "height", "16.5");
		page_attr(p, "rx", "3.5");
		page_void(p);
		page_open(p, "path", NULL);
		page_attr(p, "d", "%s", cells[c].glyph);
		page_void(p);
	}
	page_close(p);
}

static void put_legend(struct page *p)
{
	static const enum cell shown[] = { CELL_MISSING, CELL_ENTERED, CELL_COMPLETED, CELL_UNKNOWN,
					   CELL_OUTSIDE };

	page_open(p, "ul", "legend");
	for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
		page_open(p, "li", NULL);
		page_open(p, "svg", "grid");
		page_attr(p, "width", "%d", CELL);
		page_attr(p, "height", "%d", CELL);
		page_attr(p, "aria-hidden", "true");
		put_shape(p, shown[i]);
		page_close(p);
		page_say(p, "%s", cells[shown[i]].name);
		page_close(p);
	}
	page_close(p);
	page_line(p);
}

/* At most `chars` bytes of a name: of what the input says there may be a megabyte. */
static void say_short(struct page *p, const char *s, size_t chars)
{
	size_t n = strnlen(s, chars + 1);

	words_bytes(&p->w, s, n <= chars ? n : chars - 1);
	if (n > chars)
		words_add(&p->w, "\xe2\x80\xa6");
	page_words(p);
}

static void say_column(struct page *p, const struct stuck_collective *c)
{
	const char *op = intern_str(&p->s->strings, c->op);
	char name[LABEL_CHARS + 24];

	snprintf(name, sizeof(name), "#%" PRId64 " %.*s", c->seq, (int)strcspn(op, " "), op);
	say_short(p, name, LABEL_CHARS);
}

static void put_text(struct page *p, const char *class, double x, double y)
{
	page_open(p, "text", class);
	page_attr(p, "x", "%.0f", x);
	page_attr(p, "y", "%.0f", y);
}

static sid rank_host(const struct page *p, int32_t rank)
{
	const struct rank_identity *id = identity_by_rank(p->s, rank);

	return id ? id->host : 0;
}

static void put_row_label(struct page *p, const struct grid *g, const struct row *r, double label_w,
			  sid *host)
{
	int32_t rank = g->ranks[g->order[r->first]];
	sid at = rank_host(p, rank);

	page_open(p, "title", NULL);
	for (uint32_t i = 0; i < r->n && i < 512; i++)
		words_add(&p->w, "%s%" PRId32,
			  i	   ? "," :
			  r->n > 1 ? "ranks " :
				     "rank ",
			  g->ranks[g->order[r->first + i]]);
	if (r->n == 1 && at)
		words_add(&p->w, " on %s", intern_str(&p->s->strings, at));
	page_words(p);
	page_close(p);
	if (r->n == 1 && at && at != *host) {
		put_text(p, "host", 8, 13);
		say_short(p, intern_str(&p->s->strings, at), HOST_CHARS);
		page_close(p);
	}
	*host = r->n == 1 ? at : 0;
	put_text(p, "rank", label_w - 8, 13);
	if (r->n == 1)
		page_say(p, "%" PRId32, rank);
	else
		page_say(p, "%" PRId32 " and %" PRIu32 " alike", rank, r->n - 1);
	page_close(p);
}

static void put_row(struct page *p, const struct grid *g, const struct row *r, double y,
		    double label_w, double width, sid *host)
{
	uint32_t at = g->order[r->first];

	page_open(p, "g", g->culprit[at] ? "row culprit" : "row");
	page_attr(p, "transform", "translate(0,%.0f)", y);
	if (g->culprit[at]) {
		page_open(p, "rect", "band");
		page_attr(p, "y", "-2");
		page_attr(p, "width", "%.0f", width);
		page_attr(p, "height", "%d", PITCH);
		page_attr(p, "rx", "4");
		page_void(p);
	}
	put_row_label(p, g, r, label_w, host);
	for (size_t c = 0; c < g->n_cols; c++) {
		page_open(p, "use", NULL);
		page_attr(p, "href", "#%s", cells[g->state[at * g->n_cols + c]].id);
		page_attr(p, "x", "%.0f", label_w + (double)(c * PITCH));
		page_void(p);
	}
	page_close(p);
	page_line(p);
}

/* Rows `from` up to `to`, under column labels of their own. */
static void put_block(struct page *p, const struct grid *g, size_t from, size_t to)
{
	double label_w = g->n_ranks > ROWS_MAX ? 168 : 56 + (double)g->host_chars * CHAR_W;
	double slant = LABEL_CHARS * CHAR_W * 0.71, head = slant + 12;
	double body_w = label_w + (double)(g->n_cols * PITCH), width = body_w + slant;
	double height = head + (double)((to - from) * PITCH) + 2;
	sid host = 0;

	page_open(p, "svg", "grid");
	page_attr(p, "role", "img");
	page_attr(p, "aria-label",
		  "Ranks by stuck collective; the table below says the same in words");
	page_attr(p, "viewBox", "0 0 %.0f %.0f", width, height);
	page_attr(p, "width", "%.0f", width);
	page_attr(p, "height", "%.0f", height);
	page_line(p);
	for (size_t c = 0; c < g->n_cols; c++) {
		page_open(p, "text", "col");
		page_attr(p, "transform", "translate(%.0f,%.0f) rotate(-45)",
			  label_w + (double)(c * PITCH) + CELL * 0.7, head - 8);
		say_column(p, &g->cols[c]);
		page_close(p);
	}
	for (size_t i = from; i < to; i++)
		put_row(p, g, &g->rows[i], head + (double)((i - from) * PITCH), label_w, body_w,
			&host);
	page_close(p);
	page_line(p);
}

static void put_picture(struct page *p, const struct grid *g)
{
	size_t step = g->n_cols <= BLOCK_COLS ? BLOCK_ROWS : ROWS_MAX;

	put_legend(p);
	page_open(p, "div", "scroll blocks");
	page_attr(p, "role", "region");
	page_attr(p, "aria-label", "Picture: ranks by stuck collective");
	page_attr(p, "tabindex", "0");
	for (size_t i = 0; i < g->n_rows; i += step)
		put_block(p, g, i, i + step < g->n_rows ? i + step : g->n_rows);
	page_close(p);
	if (g->ranks_left_out)
		page_leaf(p, "p", "more",
			  "\xe2\x80\xa6 and %zu more ranks, the least conspicuous, are not drawn",
			  g->ranks_left_out);
}

/* ---- in words ---- */

static void put_ranks_cell(struct page *p, const int32_t *ranks, size_t n)
{
	page_open(p, "td", n ? "ranks" : "ranks quiet");
	if (n)
		words_ranks(&p->w, ranks, n);
	else
		words_add(&p->w, "\xe2\x80\x93");
	page_words(p);
	page_close(p);
}

static void put_list(struct page *p, const struct collectives *c)
{
	static const char *const cols[] = { "Collective", "Group",     "Did not enter", "Unknown",
					    "Entered",	  "Completed", "Members" };
	const struct intern *in = &p->s->strings;

	page_table(p, "Stuck collectives", cols, ARRAY_SIZE(cols));
	for (size_t i = 0; i < c->n_stuck && i < LISTED_MAX; i++) {
		const struct stuck_collective *k = &c->stuck[i];

		page_open(p, "tr", NULL);
		page_open(p, "th", NULL);
		page_attr(p, "scope", "row");
		page_say(p, "%s #%" PRId64, intern_str(in, k->op), k->seq);
		page_close(p);
		page_leaf(p, "td", NULL, "%s", intern_str(in, k->group));
		put_ranks_cell(p, k->missing, k->n_missing);
		put_ranks_cell(p, k->unknown, k->n_unknown);
		put_ranks_cell(p, k->entered, k->n_entered);
		put_ranks_cell(p, k->completed, k->n_completed);
		put_ranks_cell(p, k->members, k->n_members);
		page_close(p);
		page_line(p);
	}
	page_table_end(p);
	page_more(p, "p", c->n_stuck, LISTED_MAX, "stuck collectives, in the JSON report");
}

static void put_who(struct page *p)
{
	static const char *const cols[] = { "Rank", "Host", "Local rank", "GPU", "Pid" };
	const struct identity *id = p->s->identity;
	const struct intern *in = &p->s->strings;

	if (!id || id->n_ranks == 0)
		return;
	page_open(p, "details", NULL);
	page_leaf(p, "summary", NULL, "Which rank is where (%zu)", id->n_ranks);
	page_table(p, "Ranks", cols, ARRAY_SIZE(cols));
	for (size_t i = 0; i < id->n_ranks && i < WHO_MAX; i++) {
		const struct rank_identity *r = &id->ranks[i];

		page_open(p, "tr", NULL);
		page_leaf(p, "th", NULL, "%" PRId32, r->rank);
		page_leaf(p, "td", NULL, "%s", intern_str(in, r->host));
		page_open(p, "td", NULL);
		if (r->local_rank != RANK_NONE)
			page_say(p, "%" PRId32, r->local_rank);
		page_close(p);
		page_leaf(p, "td", NULL, "%s", intern_str(in, r->gpu));
		page_open(p, "td", NULL);
		if (r->pid != PID_NONE)
			page_say(p, "%" PRId32, r->pid);
		page_close(p);
		page_close(p);
	}
	page_table_end(p);
	page_more(p, "p", id->n_ranks, WHO_MAX, "ranks, in the JSON report");
	page_close(p);
}

int html_grid(struct page *p, struct error *err)
{
	_cleanup_(grid_deinit) struct grid g = { 0 };
	const struct collectives *c = p->s->collectives;

	page_section(p, "collectives", "Who waited for whom");
	if (!c) {
		page_leaf(p, "p", "lead",
			  "No flight-recorder dump was in the input, so collectives cannot be "
			  "judged.");
	} else if (c->n_stuck == 0) {
		page_open(p, "p", "lead");
		words_add(&p->w, "No stuck collective in the dumps of ");
		words_rank_noun(&p->w, c->ranks, c->n_ranks);
		words_add(&p->w, ".");
		page_words(p);
		page_close(p);
	} else {
		if (grid_init(&g, p->a, err))
			return -1;
		put_picture(p, &g);
		page_more(p, "p", c->n_stuck, COLS_MAX, "stuck collectives are not drawn");
		put_list(p, c);
	}
	put_who(p);
	page_close(p);
	return 0;
}
