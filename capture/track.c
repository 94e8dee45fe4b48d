#include "capture/track.h"

#include <stdlib.h>

struct tracked *track_find(struct track *t, uint32_t pid)
{
	for (size_t i = 0; pid && i < t->n; i++)
		if (t->pid[i] == pid && !t->by_slot[i].gone)
			return &t->by_slot[i];
	return NULL;
}

/* The slot of the one that ended first; NULL: all live. */
static struct tracked *oldest_ended(struct track *t)
{
	struct tracked *oldest = NULL;

	for (size_t i = 0; i < t->n; i++)
		if (t->by_slot[i].gone && (!oldest || t->by_slot[i].ended < oldest->ended))
			oldest = &t->by_slot[i];
	return oldest;
}

static struct tracked *free_slot(struct track *t)
{
	struct tracked *s = t->n < TRACK_MAX ? &t->by_slot[t->n] : NULL;

	if (!s || t->n_ended > TRACK_ENDED_KEPT) {
		s = oldest_ended(t);
		if (s && t->n_ended)
			t->n_ended--;
		return s;
	}
	t->n++;
	return s;
}

static bool allocate(struct track *t)
{
	if (!t->by_slot)
		t->by_slot = calloc(TRACK_MAX, sizeof(*t->by_slot));
	if (!t->pid)
		t->pid = calloc(TRACK_MAX, sizeof(*t->pid));
	return t->by_slot && t->pid;
}

struct tracked *track_put(struct track *t, const struct record_process *p)
{
	struct tracked *s;

	if (!allocate(t))
		return NULL;
	s = track_find(t, p->pid);
	if (s && s->p.start_ns == p->start_ns) {
		s->p = *p;
		return s;
	}
	if (s)
		track_end(t, s);
	s = free_slot(t);
	if (!s)
		return NULL;
	*s = (struct tracked){ .p = *p };
	t->pid[s - t->by_slot] = p->pid;
	return s;
}

void track_end(struct track *t, struct tracked *of_t)
{
	if (of_t->ended)
		return;
	of_t->gone = true;
	of_t->ended = ++t->ends;
	t->pid[of_t - t->by_slot] = 0;
	t->n_ended++;
}

void track_free(struct track *t)
{
	free(t->by_slot);
	free(t->pid);
	*t = (struct track){ 0 };
}
