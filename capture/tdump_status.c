#include "capture/tdump_status.h"

#include <string.h>
#include <time.h>

#include "bundle/text.h"

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static long long number_of(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

static const char *safe(const char *s)
{
	static char out[2048];

	text_printable(s, strnlen(s, sizeof(out) / 8), out, sizeof(out));
	return out;
}

static void print_sources(const json_t *list, FILE *f)
{
	const json_t *o;
	size_t i;

	fprintf(f, "\n%-14s %-8s %s\n", "source", "state", "reason");
	json_array_foreach((json_t *)(uintptr_t)list, i, o) {
		fprintf(f, "%-14s %-8s ", text_of(o, "name"), text_of(o, "state"));
		fprintf(f, "%s\n", safe(text_of(o, "reason")));
	}
}

static void print_streams(const json_t *list, FILE *f)
{
	const json_t *o;
	size_t i;

	fprintf(f, "\n%-10s %12s %10s %12s  %s\n", "stream", "records", "lost", "bytes", "goes back");
	json_array_foreach((json_t *)(uintptr_t)list, i, o) {
		long long s = number_of(o, "oldest_s");

		fprintf(f, "%-10s %12lld %10lld %12lld  ", text_of(o, "name"), number_of(o, "records"), number_of(o, "lost"),
			number_of(o, "bytes"));
		if (s < 0)
			fprintf(f, "-\n");
		else
			fprintf(f, "%lld min %02lld s\n", s / 60, s % 60);
	}
}

static void print_dumps(const json_t *dumps, FILE *f)
{
	const json_t *list = json_object_get(dumps, "last"), *o;
	size_t i;

	if (text_of(dumps, "running")[0])
		fprintf(f, "\na dump is running (%s)\n", safe(text_of(dumps, "running")));
	if (json_array_size(list))
		fprintf(f, "\nlast bundles\n");
	json_array_foreach((json_t *)(uintptr_t)list, i, o) {
		time_t s = (time_t)(number_of(o, "time") / 1000000000);
		char when[32];
		struct tm tm;

		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&s, &tm));
		fprintf(f, "%s %-8s %-10s %s\n", when, text_of(o, "trigger"), text_of(o, "state"), safe(text_of(o, "bundle")));
	}
}

void tdump_status_print(const json_t *status, FILE *f)
{
	long long s = number_of(status, "uptime_s");

	fprintf(f, "tcaptured %s, pid %lld, up %lld h %02lld min, %lld processes tracked\n", text_of(status, "version"),
		number_of(status, "pid"), s / 3600, s / 60 % 60, number_of(status, "tracked"));
	fprintf(f, "ring %s, %lld MiB\n", safe(text_of(status, "ring")), number_of(status, "ring_bytes") >> 20);
	if (text_of(status, "trouble")[0])
		fprintf(f, "trouble: %s\n", safe(text_of(status, "trouble")));
	print_sources(json_object_get(status, "sources"), f);
	print_streams(json_object_get(status, "streams"), f);
	print_dumps(json_object_get(status, "dumps"), f);
}
