#include "analyzer/explain.h"

#include "analyzer/analysis.h"

void explain_list(const struct pattern_set *set, FILE *out)
{
	for (size_t i = 0; i < set->n_patterns; i++)
		fprintf(out, "%-28s %-9s %s\n", set->patterns[i].id, pattern_role_name(set->patterns[i].role),
			set->patterns[i].title);
}

static void premise(const struct premise *p, FILE *out)
{
	static const char *const keys[] = { "rank", "host", "gpu", "pid", "link", "object", "file" };

	fprintf(out, "    - %s", p->absent ? "nothing of: " : "");
	for (size_t k = 0; k < p->n_kinds; k++) {
		const struct kind *kind = kind_find(p->kinds[k]);

		fprintf(out, "%s%s (%s)", k ? ", or " : "", kind ? kind->what : "a site's own observation", p->kinds[k]);
	}
	for (size_t i = 0; i < p->n_where; i++) {
		fprintf(out, ", %s is ", p->where[i].name);
		for (size_t v = 0; v < p->where[i].n_values; v++)
			fprintf(out, "%s%s", v ? " or " : "", p->where[i].values[v]);
	}
	for (size_t b = 0; b < sizeof(keys) / sizeof(keys[0]); b++)
		if (p->same & (1u << b))
			fprintf(out, ", same %s", keys[b]);
	if (p->order != ORDER_ANY)
		fprintf(out, ", %s", p->order == ORDER_AFTER ? "not before" : "not after");
	if (p->within_s >= 0)
		fprintf(out, ", within %lld s", (long long)p->within_s);
	if (p->min_count > 1)
		fprintf(out, ", at least %u times", p->min_count);
	fputc('\n', out);
}

static void premises(const char *title, const struct premise *list, size_t n, FILE *out)
{
	if (n)
		fprintf(out, "  %s\n", title);
	for (size_t i = 0; i < n; i++)
		premise(&list[i], out);
}

void explain_pattern(const struct pattern *p, FILE *out)
{
	fprintf(out, "%s: %s\n  role: %s; never more than %s\n", p->id, p->title, pattern_role_name(p->role),
		confidence_name((enum confidence)p->cap));
	premises("named when all of these hold:", p->premises, p->n_premises, out);
	premises("more certain with:", p->corroboration, p->n_corroboration, out);
	premises("a cause, not just a symptom, with:", p->promote, p->n_promote, out);
	premises("it explains:", p->explains, p->n_explains, out);
	if (p->n_rivals)
		fputs("  not to be confused with:\n", out);
	for (size_t i = 0; i < p->n_rivals; i++) {
		fprintf(out, "    - %s", p->rivals[i].pattern);
		if (p->rivals[i].command)
			fprintf(out, "; to tell: %s (%d min; side effect: %s)", p->rivals[i].command, p->rivals[i].minutes,
				p->rivals[i].side_effect ? p->rivals[i].side_effect : "none");
		fputc('\n', out);
	}
	fprintf(out, "  action: %s\n", p->action);
	for (size_t i = 0; i < p->n_advice; i++)
		fprintf(out, "    - %s\n", p->advice[i]);
	for (size_t i = 0; i < p->n_references; i++)
		fprintf(out, "  see: %s\n", p->references[i]);
}
