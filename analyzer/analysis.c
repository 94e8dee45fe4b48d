#include "analyzer/analysis.h"

#include <stdio.h>
#include <string.h>

#include "analyzer/engine.h"
#include "analyzer/ingest/prefix.h"

#define ANALYSIS_BYTES ((size_t)1 << 30)

const char *verdict_status_name(enum verdict_status s)
{
	static const char *const names[] = { "root_cause", "unattributed", "outcome", "no_failure" };

	return names[s];
}

const char *confidence_name(enum confidence c)
{
	static const char *const names[] = { "possible", "probable", "confirmed" };

	return names[c];
}

const char *exclusion_state_name(enum exclusion_state s)
{
	static const char *const names[] = { "excluded", "open", "not_evaluable" };

	return names[s];
}

int analyze(const struct store *s, const struct pattern_set *patterns, struct analysis *a, struct error *err)
{
	struct engine e = { .s = s, .set = patterns, .a = a };

	*a = (struct analysis){ .store = s, .patterns = patterns };
	arena_init(&a->arena, ANALYSIS_BYTES);
	if (match_patterns(&e) || graph_build(&e) || verdict_reach(&e))
		return error_set(err, ERR_NOMEM, "no memory for the analysis");
	return 0;
}

void analysis_deinit(struct analysis *a) { arena_deinit(&a->arena); }

static void civil(int64_t days, int *y, int *m, int *d)
{
	int year = (int)(1970 + days / 366);

	while (time_from_civil(year + 1, 1, 1) <= days)
		year++;
	for (*m = 12; time_from_civil(year, *m, 1) > days; (*m)--)
		;
	*y = year;
	*d = (int)(days - time_from_civil(year, *m, 1)) + 1;
}

void stamp_text(struct stamp t, char buf[48])
{
	const int64_t second = INT64_C(1000000000), day = 86400 * second;
	int64_t days = t.ns / day, rest = t.ns % day;
	int y, m, d;
	long long s;

	buf[0] = '\0';
	if (t.base == TIME_UNKNOWN || t.ns < 0)
		return;
	if (t.base == TIME_BOOT) {
		snprintf(buf, 48, "+%lld.%09llds", (long long)(t.ns / second), (long long)(t.ns % second));
		return;
	}
	s = rest / second;
	if (t.base == TIME_DAY) {
		snprintf(buf, 48, "%02lld:%02lld:%02lld.%09lld", s / 3600, s / 60 % 60, s % 60, (long long)(rest % second));
		return;
	}
	civil(days, &y, &m, &d);
	if (t.base == TIME_YEARLESS)
		snprintf(buf, 48, "--%02d-%02dT%02lld:%02lld:%02lld.%09lld", m, d, s / 3600, s / 60 % 60, s % 60,
			 (long long)(rest % second));
	else
		snprintf(buf, 48, "%04d-%02d-%02dT%02lld:%02lld:%02lld.%09lld%s", y, m, d, s / 3600, s / 60 % 60, s % 60,
			 (long long)(rest % second), t.base == TIME_UTC ? "Z" : "");
}
