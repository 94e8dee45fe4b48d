#include <string.h>
#include <strings.h>

#include "analyzer/ingest/prefix.h"

#define SECOND INT64_C(1000000000)
#define DAY (86400 * SECOND)

int64_t time_from_civil(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* Days since 1 January, in a year that has a 29 February. */
static int64_t day_of_year(int month, int day) { return time_from_civil(1972, month, day) - time_from_civil(1972, 1, 1); }

/* Exactly `n` digits; -1 when they are not there. */
static int digits(const char **p, const char *end, int n)
{
	int v = 0;

	if (end - *p < n)
		return -1;
	for (int i = 0; i < n; i++) {
		unsigned d = (unsigned)((*p)[i] - '0');

		if (d > 9)
			return -1;
		v = v * 10 + (int)d;
	}
	*p += n;
	return v;
}

static bool skip(const char **p, const char *end, char c)
{
	if (*p >= end || **p != c)
		return false;
	(*p)++;
	return true;
}

/* ".678901" or ",678": nanoseconds. */
static int64_t fraction(const char **p, const char *end)
{
	int64_t ns = 0, unit = SECOND / 10;

	if (*p + 1 >= end || (**p != '.' && **p != ',') || (unsigned)((*p)[1] - '0') > 9)
		return 0;
	for ((*p)++; *p < end && (unsigned)(**p - '0') <= 9; (*p)++) {
		ns += (**p - '0') * unit;
		unit /= 10;
	}
	return ns;
}

/* "03:04:05.678"; -1 when it is none. */
static int64_t clock_time(const char **p, const char *end)
{
	const char *q = *p;
	int h = digits(&q, end, 2), m, s;

	if (h < 0 || h > 23 || !skip(&q, end, ':'))
		return -1;
	m = digits(&q, end, 2);
	if (m < 0 || m > 59 || !skip(&q, end, ':'))
		return -1;
	s = digits(&q, end, 2);
	if (s < 0 || s > 60)
		return -1;
	*p = q;
	return (h * 3600 + m * 60 + s) * SECOND + fraction(p, end);
}

/* "Z", "+02:00", "+0200", " +0000": the zone's offset, when there is one. */
static bool zone(const char **p, const char *end, int64_t *offset)
{
	const char *q = *p;
	int sign, h, m = 0;

	if (skip(&q, end, 'Z')) {
		*p = q;
		*offset = 0;
		return true;
	}
	if (q >= end || (*q != '+' && *q != '-'))
		return false;
	sign = *q++ == '-' ? -1 : 1;
	h = digits(&q, end, 2);
	skip(&q, end, ':');
	m = digits(&q, end, 2);
	if (h < 0 || h > 14 || m < 0 || m > 59)
		return false;
	*p = q;
	*offset = sign * (h * 60 + m) * 60 * SECOND;
	return true;
}

static int month_name(const char *s, const char *end)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	for (int i = 0; end - s >= 3 && i < 12; i++)
		if (strncasecmp(s, names + 3 * i, 3) == 0)
			return i + 1;
	return 0;
}

static size_t made(struct stamp *ret, enum time_base base, int64_t days, int64_t clock, size_t used)
{
	*ret = (struct stamp){ days * DAY + clock, base };
	return used;
}

/* 2026-01-02T03:04:05.678Z, 2026-01-02 03:04:05,678, 2026-06-12_01:14:57, 2026/01/02 03:04:05 */
static size_t iso(const char *s, const char *end, struct stamp *ret)
{
	const char *p = s;
	int64_t clock, offset;
	int y = digits(&p, end, 4), m, d;
	char dash = p < end ? *p : 0;

	if (y < 1990 || y > 2100 || (dash != '-' && dash != '/'))
		return 0;
	p++;
	m = digits(&p, end, 2);
	if (m < 1 || m > 12 || !skip(&p, end, dash))
		return 0;
	d = digits(&p, end, 2);
	if (d < 1 || d > 31 || p >= end || !strchr("T _-", *p))
		return 0;
	p++;
	clock = clock_time(&p, end);
	if (clock < 0)
		return 0;
	if (zone(&p, end, &offset))
		return made(ret, TIME_UTC, time_from_civil(y, m, d), clock - offset, (size_t)(p - s));
	return made(ret, TIME_LOCAL, time_from_civil(y, m, d), clock, (size_t)(p - s));
}

/* [Sun ]Feb 23 [2025 ]16:24:18[.678][ 2025] */
static size_t named_month(const char *s, const char *end, struct stamp *ret)
{
	static const char weekdays[] = "SunMonTueWedThuFriSat";
	const char *p = s, *q;
	int64_t clock;
	int m, d, y = 0;

	for (int i = 0; end - p > 4 && i < 7; i++)
		if (strncmp(p, weekdays + 3 * i, 3) == 0 && p[3] == ' ') {
			p += 4;
			break;
		}
	m = month_name(p, end);
	if (!m || end - p < 4 || p[3] != ' ')
		return 0;
	for (p += 3; p < end && *p == ' '; p++)
		;
	d = end - p > 1 && p[1] == ' ' ? digits(&p, end, 1) : digits(&p, end, 2);
	if (d < 1 || d > 31 || !skip(&p, end, ' '))
		return 0;
	q = p;
	y = digits(&q, end, 4);
	if (y > 1990 && y < 2100 && skip(&q, end, ' '))
		p = q;
	else
		y = 0;
	clock = clock_time(&p, end);
	if (clock < 0)
		return 0;
	q = p;
	if (!y && skip(&q, end, ' ')) {
		y = digits(&q, end, 4);
		if (y > 1990 && y < 2100)
			p = q;
		else
			y = 0;		/* any number may follow a time */
	}
	if (!y)
		return made(ret, TIME_YEARLESS, day_of_year(m, d), clock, (size_t)(p - s));
	return made(ret, TIME_LOCAL, time_from_civil(y, m, d), clock, (size_t)(p - s));
}

/* "0612 01:14:57.061" (glog), also "709 17:05:38" (month without its zero), "07-01 00:38:05" */
static size_t yearless(const char *s, const char *end, struct stamp *ret)
{
	const char *p = s;
	int64_t clock;
	int m = digits(&p, end, 2), d;

	if (m < 0)
		return 0;
	if (p < end && *p == '-')
		p++;
	d = digits(&p, end, 2);
	if (d < 0) {	/* three digits: the month has one */
		p = s;
		m = digits(&p, end, 1);
		d = digits(&p, end, 2);
	}
	if (m < 1 || m > 12 || d < 1 || d > 31 || !skip(&p, end, ' '))
		return 0;
	clock = clock_time(&p, end);
	return clock < 0 ? 0 : made(ret, TIME_YEARLESS, day_of_year(m, d), clock, (size_t)(p - s));
}

size_t time_parse(const char *s, size_t len, struct stamp *ret)
{
	const char *end = s + len, *p = s;
	int64_t clock;
	size_t n;

	if (len < 8)
		return 0;
	if ((unsigned)(s[0] - '0') > 9)
		return named_month(s, end, ret);
	n = iso(s, end, ret);
	if (!n)
		n = yearless(s, end, ret);
	if (n)
		return n;
	clock = clock_time(&p, end);
	return clock < 0 ? 0 : made(ret, TIME_DAY, 0, clock, (size_t)(p - s));
}
