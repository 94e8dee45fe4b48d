#include "bundle/error.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "bundle/text.h"

static int set(struct error *e, enum err code, const char *fmt, va_list ap)
{
	if (e->code != ERR_NONE)
		return -1;
	e->code = code;
	vsnprintf(e->what, sizeof(e->what), fmt, ap);
	return -1;
}

int error_set(struct error *e, enum err code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set(e, code, fmt, ap);
	va_end(ap);
	return -1;
}

int error_sys(struct error *e, const char *fmt, ...)
{
	int saved = errno;
	bool first = e->code == ERR_NONE;
	va_list ap;

	va_start(ap, fmt);
	set(e, ERR_SYS, fmt, ap);
	va_end(ap);
	if (first)
		e->sys = saved;
	return -1;
}

int error_at(struct error *e, enum err code, uint64_t offset, const char *fmt, ...)
{
	bool first = e->code == ERR_NONE;
	va_list ap;

	va_start(ap, fmt);
	set(e, code, fmt, ap);
	va_end(ap);
	if (first) {
		e->has_offset = true;
		e->offset = offset;
	}
	return -1;
}

int error_in(struct error *e, const char *name)
{
	char inner[sizeof(e->where)];

	memcpy(inner, e->where, sizeof(inner));
	inner[sizeof(inner) - 1] = '\0';
	snprintf(e->where, sizeof(e->where), "%s%s%s", name, inner[0] ? ": " : "", inner);
	return -1;
}

void error_text(const struct error *e, char *buf, size_t size)
{
	char at[40] = "";

	if (e->has_offset)
		snprintf(at, sizeof(at), " (at byte %llu)", (unsigned long long)e->offset);
	snprintf(buf, size, "%s%s%s%s%s%s", e->where, e->where[0] ? ": " : "", e->what,
		 e->code == ERR_SYS ? ": " : "", e->code == ERR_SYS ? strerror(e->sys) : "", at);
}

void error_print(FILE *f, const struct error *e)
{
	char line[512], safe[1024];

	error_text(e, line, sizeof(line));
	text_printable(line, strlen(line), safe, sizeof(safe));
	fprintf(f, "%s\n", safe);
}
