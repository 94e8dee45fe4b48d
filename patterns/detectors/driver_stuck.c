/*
 * A task that the kernel reports as blocked, and whose stack below that line is inside
 * the GPU driver.
 */
#include "patterns/detectors.h"

#define STACK_LINES 40

static bool below(const struct store *s, const struct observation *stack, const struct observation *task)
{
	const struct evidence *a, *b;

	if (!stack->n_evidence || !task->n_evidence)
		return false;
	a = &s->evidence[stack->evidence[0]];
	b = &s->evidence[task->evidence[0]];
	return a->member == b->member && a->line > b->line && a->line - b->line < STACK_LINES;
}

/* The last blocked task above the stack: its own. */
static const struct observation *blocked_task(const struct store *s, const struct observation *stack)
{
	const struct observation *own = NULL;

	for (const struct observation *x = NULL; (x = store_next(s, "host.hung_task", x));)
		if (below(s, stack, x) && (!own || s->evidence[x->evidence[0]].line > s->evidence[own->evidence[0]].line))
			own = x;
	return own;
}

static void run(struct store *s)
{
	size_t before = s->n_obs;

	for (size_t i = 0; i < before; i++) {
		const struct observation *task = s->obs[i].kind == kind_find("host.gpu_wait") ? blocked_task(s, &s->obs[i]) : NULL;
		struct observation made = observation_of("gpu.driver_stuck", s->obs[i].source);

		if (!task)
			continue;
		made.scope = task->scope;
		made.time = made.onset = task->onset;
		observation_cite(&made, task->evidence[0]);
		observation_cite(&made, s->obs[i].evidence[0]);
		store_observe(s, &made);
	}
}

const struct detector detector_driver_stuck = {
	"driver_stuck", "a task that is blocked inside the GPU driver", run,
};
