#include "analyzer/ingest/prefix.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "analyzer/ingest/detect.h"
#include "bundle/cleanup.h"

#define ROUNDS 10		/* prefixes on one line */
#define EPOCH_FROM 1000000000	/* seconds: no host is up for 31 years */

/* One line while it is being stripped. */
struct cursor {
	const char *line, *p, *end;
	struct prefix out;
};

static size_t left(const struct cursor *c) { return (size_t)(c->end - c->p); }
static bool is_digit(char ch) { return (unsigned)(ch - '0') <= 9; }

/* A number at `p`; -1 when there is none or it is too long to be a rank or a pid. */
static int32_t number(const char **p, const char *end)
{
	int32_t v = 0;
	int n = 0;

	for (; *p < end && is_digit(**p); (*p)++, n++)
		if (n < 9)
			v = v * 10 + (**p - '0');
	return n && n <= 9 ? v : -1;
}

static bool accept(const char **p, const char *end, const char *text)
{
	size_t n = strlen(text);

	if ((size_t)(end - *p) < n || memcmp(*p, text, n))
		return false;
	*p += n;
	return true;
}

static bool word_char(char ch) { return isalnum((unsigned char)ch) || strchr("._-<>", ch); }

static size_t word(const char *p, const char *end)
{
	size_t n = 0;

	while (p + n < end && p[n] && word_char(p[n]))
		n++;
	return n;
}

static void set_host(struct cursor *c, const char *s, size_t n)
{
	if (n && n < 256 && !c->out.host) {
		c->out.host = s;
		c->out.host_len = n;
	}
}

static bool set_time(struct cursor *c, struct stamp t)
{
	/* A date beats a time of day; the first of equal kinds stays. */
	if (c->out.time.base == TIME_UNKNOWN || (c->out.time.base > t.base && t.base != TIME_UNKNOWN))
		c->out.time = t;
	return true;
}

/* ---- strippers: each true when it moved c->p ---- */

static bool strip_colour(struct cursor *c)
{
	const char *p = c->p;

	if (left(c) < 3 || p[0] != 0x1b || p[1] != '[')
		return false;
	for (p += 2; p < c->end && !isalpha((unsigned char)*p); p++)
		;
	if (p >= c->end)
		return false;
	c->p = p + 1;
	return true;
}

static bool strip_space(struct cursor *c)
{
	const char *start = c->p;

	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t'))
		c->p++;
	return c->p != start;
}

/* "[rank3]:", "[default3]:", "[1,3]<stderr>:" */
static bool strip_launcher(struct cursor *c)
{
	const char *p = c->p;
	int32_t n;

	if (accept(&p, c->end, "[rank")) {
		n = number(&p, c->end);
		if (n < 0 || !accept(&p, c->end, "]:"))
			return false;
		c->out.rank = n;
	} else if (accept(&p, c->end, "[default")) {
		n = number(&p, c->end);
		if (n < 0 || !accept(&p, c->end, "]:"))
			return false;
		c->out.local_rank = n;
	} else if (accept(&p, c->end, "[1,")) {
		n = number(&p, c->end);
		if (n < 0 || !(accept(&p, c->end, "]<stderr>:") || accept(&p, c->end, "]<stdout>:")))
			return false;
		c->out.rank = n;
	} else {
		return false;
	}
	c->p = p;
	return true;
}

/* "12: " of srun --label, at the start of the line only */
static bool strip_label(struct cursor *c)
{
	const char *p = c->p;
	int32_t n = c->p == c->line ? number(&p, c->end) : -1;

	if (n < 0 || n >= 1 << 20 || p - c->p > 6 || !accept(&p, c->end, ": "))
		return false;
	c->out.rank = n;
	c->p = p;
	return true;
}

/*
 * "(RayTrainWorker pid=123, ip=10.0.0.1) ", "(Worker_TP3 pid=220) ", "(pid=123, ip=10.0.0.1) ",
 * "(VllmWorker rank=2 pid=220) ", "(raylet, ip=10.0.0.1) "
 */
static bool strip_actor(struct cursor *c)
{
	const char *p = c->p, *name, *ip;
	int32_t pid = PID_NONE, rank = RANK_NONE;
	size_t n, ip_len = 0;
	bool daemon;

	if (!accept(&p, c->end, "("))
		return false;
	name = p;
	n = word(p, c->end);
	n = n == 3 && memcmp(p, "pid", 3) == 0 ? 0 : n;
	daemon = (n == 6 && memcmp(p, "raylet", 6) == 0) || (n == 10 && memcmp(p, "gcs_server", 10) == 0);
	p += n;
	if (n && accept(&p, c->end, " rank=") && (rank = number(&p, c->end)) < 0)
		return false;
	if (!(n && !daemon ? accept(&p, c->end, " pid=") : accept(&p, c->end, "pid="))) {
		if (!daemon)
			return false;
	} else if ((pid = number(&p, c->end)) < 0) {
		return false;
	}
	ip = p;
	if (accept(&ip, c->end, ", ip="))
		p = ip + (ip_len = word(ip, c->end));
	if (!accept(&p, c->end, ")"))
		return false;
	c->out.process = n ? name : c->out.process;
	c->out.process_len = n ? n : c->out.process_len;
	c->out.pid = pid >= 0 ? pid : c->out.pid;
	c->out.rank = rank >= 0 ? rank : c->out.rank;
	set_host(c, ip, ip_len);
	c->p = p;
	return true;
}

/* "worker-3 | " of docker compose and kubetail: a name that ends in a number */
static bool strip_container(struct cursor *c)
{
	size_t n = word(c->p, c->end);
	const char *p = c->p + n;

	if (!n || !is_digit(p[-1]) || c->p != c->line)
		return false;
	while (p < c->end && *p == ' ')
		p++;
	if (!accept(&p, c->end, "| "))
		return false;
	c->p = p;
	return true;
}

/* "<6>", "kern  :warn  : ", "6,1234,5678901,-;" */
static bool strip_kernel(struct cursor *c)
{
	static const char *const facilities[] = { "kern", "user", "daemon", "auth", "syslog", "cron" };
	const char *p = c->p;
	int32_t prio, us;
	struct stamp t = { 0, TIME_BOOT };

	if (accept(&p, c->end, "<")) {
		prio = number(&p, c->end);
		if (prio < 0 || prio > 191 || !accept(&p, c->end, ">"))
			return false;
		c->out.user_written |= prio > 7 && p < c->end && *p == '[';
		c->p = p;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(facilities); i++) {
		if (!accept(&p, c->end, facilities[i]))
			continue;
		while (p < c->end && *p == ' ')
			p++;
		if (!accept(&p, c->end, ":"))
			return false;
		while (p < c->end && (islower((unsigned char)*p) || *p == ' '))
			p++;
		if (!accept(&p, c->end, ": "))
			return false;
		c->out.kernel = true;
		c->out.user_written |= i != 0;
		c->p = p;
		return true;
	}
	prio = c->p == c->line ? number(&p, c->end) : -1;
	if (prio < 0 || prio > 191 || !accept(&p, c->end, ",") || number(&p, c->end) == -1 || !accept(&p, c->end, ","))
		return false;
	for (; p < c->end && is_digit(*p); p++)
		if (t.ns < INT64_MAX / 100000)
			t.ns = t.ns * 10 + (*p - '0');
	us = t.ns < INT64_MAX / 1000;
	t.ns = us ? t.ns * 1000 : 0;
	if (!accept(&p, c->end, ","))
		return false;
	p = memchr(p, ';', (size_t)(c->end - p));
	if (!p)
		return false;
	set_time(c, t);
	c->out.kernel = true;
	c->out.user_written |= prio > 7;
	c->p = p + 1;
	return true;
}

/* "[  123.456789] ", with "[ T1946] " behind it; UCX writes seconds since 1970 there */
static bool strip_uptime(struct cursor *c)
{
	const char *p = c->p, *dot;
	int64_t s = 0, ns = 0, unit = 100000000;

	if (!accept(&p, c->end, "["))
		return false;
	while (p < c->end && *p == ' ')
		p++;
	dot = p;
	for (; p < c->end && is_digit(*p) && s < INT64_C(4000000000); p++)
		s = s * 10 + (*p - '0');
	if (p == dot || !accept(&p, c->end, "."))
		return false;
	for (; p < c->end && is_digit(*p); p++, unit /= 10)
		ns += (*p - '0') * unit;
	if (!accept(&p, c->end, "]"))
		return false;
	set_time(c, (struct stamp){ s * 1000000000 + ns, s < EPOCH_FROM ? TIME_BOOT : TIME_UTC });
	c->out.kernel |= s < EPOCH_FROM;
	while (p < c->end && *p == ' ')
		p++;
	if (c->end - p > 3 && p[0] == '[' && memchr(p, ']', (size_t)(c->end - p < 16 ? c->end - p : 16)) &&
	    (p[1] == ' ' || p[1] == 'T' || p[1] == 'C'))
		p = (const char *)memchr(p, ']', (size_t)(c->end - p)) + 1;
	c->p = p;
	return true;
}

/* A level word: its length, 0 when there is none */
static size_t level(const char *p, const char *end)
{
	static const char *const words[] = { "INFO", "WARNING", "WARN", "ERROR", "DEBUG", "CRITICAL", "FATAL",
					     "NOTICE", "TRACE", "info", "warning", "warn", "error", "debug" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		size_t n = strlen(words[i]);

		if ((size_t)(end - p) > n && memcmp(p, words[i], n) == 0 && !isalnum((unsigned char)p[n]) && p[n] != '_')
			return n;
	}
	return 0;
}

/* "[E709 17:05:38.162 File.cpp:632] ", "E0612 01:14:57.061 390838 api.py:914] ", "[E File.cpp:577] " */
static bool strip_glog(struct cursor *c)
{
	const char *p = c->p, *close;
	bool bracket = accept(&p, c->end, "[");
	struct stamp t;
	size_t n;

	if (c->end - p < 4 || !strchr("IWEFDC", *p) || !*p)
		return false;
	p++;
	if (bracket && *p == ' ' && (close = memchr(p, ']', (size_t)(c->end - p))) && close - p < 80 &&
	    memmem(p, (size_t)(close - p), ".cpp:", 5)) {
		c->p = close + 1;
		return true;
	}
	n = time_parse(p, (size_t)(c->end - p), &t);
	if (!n || t.base != TIME_YEARLESS)
		return false;
	set_time(c, t);
	p += n;
	close = memchr(p, ']', (size_t)(c->end - p < 200 ? c->end - p : 200));
	if (!close)
		return false;
	c->p = close + 1;
	return true;
}

/* " E 411 417]" behind the time, of Ray's own processes: level, pid, thread */
static bool ray_tail(struct cursor *c, const char **p)
{
	const char *q = *p;
	int32_t pid;

	if (c->end - q < 4 || *q++ != ' ' || !strchr("IWEFDC", *q++) || *q++ != ' ')
		return false;
	pid = number(&q, c->end);
	if (pid < 0 || !accept(&q, c->end, " ") || number(&q, c->end) < 0 || !accept(&q, c->end, "]"))
		return false;
	c->out.pid = pid;
	*p = q;
	return true;
}

/* A bare or bracketed time, a CRI tag behind it */
static bool strip_time(struct cursor *c)
{
	static const char *const cri[] = { " stderr F ", " stdout F ", " stderr P ", " stdout P " };
	const char *p = c->p;
	bool bracket = accept(&p, c->end, "[");
	struct stamp t;
	size_t n = time_parse(p, (size_t)(c->end - p), &t);

	if (!n)
		return false;
	/* "[Sun Feb 23 16:24:18 2025]": dmesg -T; nothing else writes the weekday so */
	c->out.kernel |= bracket && isalpha((unsigned char)*p) && n > 20;
	p += n;
	if (bracket && !accept(&p, c->end, "]") && !ray_tail(c, &p))
		return false;
	if (!bracket && p < c->end && (!*p || !strchr(" ,:|-\t]", *p)))
		return false;
	if (!bracket && c->end - p > 1 && p[0] == ':' && p[1] == ' ')
		p++;
	for (size_t i = 0; i < ARRAY_SIZE(cri); i++)
		if (accept(&p, c->end, cri[i]))
			break;
	set_time(c, t);
	c->p = p;
	return true;
}

/* "host kernel: ", "host slurmd[123]: ", after a time */
static bool strip_syslog(struct cursor *c)
{
	const char *p = c->p, *host = p, *prog;
	size_t n = word(p, c->end), m;
	int32_t pid = -1;

	if (c->out.time.base == TIME_UNKNOWN || c->out.kernel || !n || p + n >= c->end || p[n] != ' ' ||
	    level(p, c->end))
		return false;
	p += n + 1;
	prog = p;
	m = word(p, c->end);
	p += m;
	if (!m)
		return false;
	if (accept(&p, c->end, "[")) {
		pid = number(&p, c->end);
		if (pid < 0 || !accept(&p, c->end, "]"))
			return false;
	}
	if (!accept(&p, c->end, ": "))
		return false;
	set_host(c, host, n);
	if (m == 6 && memcmp(prog, "kernel", 6) == 0)
		c->out.kernel = true;
	else if (pid > 0)
		c->out.pid = pid;
	c->p = p;
	return true;
}

/* "node07:4711:4802 [3] " */
static bool strip_nccl(struct cursor *c)
{
	const char *p = c->p, *host = p;
	size_t n = word(p, c->end);
	int32_t pid;

	p += n;
	if (!n || !accept(&p, c->end, ":") || (pid = number(&p, c->end)) < 0 || !accept(&p, c->end, ":") ||
	    number(&p, c->end) < 0 || !accept(&p, c->end, " ["))
		return false;
	while (p < c->end && *p != ']')
		p++;
	if (!accept(&p, c->end, "]"))
		return false;
	set_host(c, host, n);
	c->out.pid = pid;
	c->out.nccl = true;
	c->p = p;
	return true;
}

/* "[node12:2331:0] ", "[node12:2331:0:2340] " of UCX; "[node12:2331] *** Process received signal" of Open MPI */
static bool strip_bracketed_process(struct cursor *c)
{
	const char *p = c->p, *host;
	size_t n;
	int32_t pid;
	int more = 0;

	if (!accept(&p, c->end, "["))
		return false;
	host = p;
	n = word(p, c->end);
	p += n;
	if (!n || !accept(&p, c->end, ":") || (pid = number(&p, c->end)) <= 0)
		return false;
	while (p < c->end && *p == ' ')
		p++;
	for (; more < 2 && accept(&p, c->end, ":"); more++)
		if (number(&p, c->end) < 0)
			return false;
	if (!accept(&p, c->end, "] ") || (!more && !accept(&p, c->end, "*** ") && !accept(&p, c->end, "Signal")))
		return false;
	set_host(c, host, n);
	c->out.pid = pid;
	c->p = memchr(c->p, ']', left(c)) + 1;
	return true;
}

/* "node07: [ 123.4] ...", "node07: Mar  3 10:00:00 ..." of pdsh and its kin, at the start of the line */
static bool strip_gathered(struct cursor *c)
{
	const char *p = c->p;
	size_t n = c->p == c->line ? word(p, c->end) : 0;
	struct stamp t;

	p += n;
	if (!n || !accept(&p, c->end, ": "))
		return false;
	if (!(c->end - p > 8 && *p == '[' && (p[1] == ' ' || is_digit(p[1]))) && !time_parse(p, (size_t)(c->end - p), &t))
		return false;
	if (!reads_like_host(c->p, n))
		return false;
	set_host(c, c->p, n);
	c->p = p;
	return true;
}

/* The value of a key of one JSON object on one line, where it is a string or a number; escapes stay. */
static const char *json_value(const struct cursor *c, const char *key, size_t *n_ret)
{
	size_t n = strlen(key);
	const char *p = c->p;

	while ((p = memmem(p, (size_t)(c->end - p), key, n))) {
		const char *q = p + n, *from;

		p = q;
		while (q < c->end && (*q == ' ' || *q == ':'))
			q++;
		if (q == p || q >= c->end || q[-1] == '{')
			continue;
		if (*q != '"') {
			from = q;
			while (q < c->end && is_digit(*q))
				q++;
			*n_ret = (size_t)(q - from);
			return *n_ret ? from : NULL;
		}
		for (from = ++q; q < c->end && *q != '"'; q++)
			q += *q == '\\' && q + 1 < c->end;
		*n_ret = (size_t)(q - from);
		return from;
	}
	return NULL;
}

/* {"_HOSTNAME":"node07", "MESSAGE":"..."} of journalctl -o json, {"log":"...","time":"..."} of Docker: the message, and who says it */
static bool strip_object(struct cursor *c)
{
	static const char *const messages[] = { "\"MESSAGE\"", "\"log\"", "\"message\"", "\"msg\"" };
	static const char *const hosts[] = { "\"_HOSTNAME\"", "\"hostname\"", "\"host\"" };
	static const char *const times[] = { "\"time\"", "\"@timestamp\"", "\"timestamp\"" };
	const char *message = NULL, *v;
	size_t len = 0, n;
	struct stamp t;

	if (c->p != c->line || left(c) < 12 || *c->p != '{')
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(messages) && !message; i++)
		message = json_value(c, messages[i], &len);
	if (!message)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(hosts) && !c->out.host; i++)
		if ((v = json_value(c, hosts[i], &n)))
			set_host(c, v, n);
	if ((v = json_value(c, "\"__REALTIME_TIMESTAMP\"", &n)) && n == 16)
		set_time(c, (struct stamp){ strtoll(v, NULL, 10) * 1000, TIME_UTC });
	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		if ((v = json_value(c, times[i], &n)) && time_parse(v, n, &t))
			set_time(c, t);
	if ((v = json_value(c, "\"_TRANSPORT\"", &n)) && n == 6 && memcmp(v, "kernel", 6) == 0)
		c->out.kernel = true;
	else if ((v = json_value(c, "\"_PID\"", &n)))
		c->out.pid = number(&v, v + n);
	if (len > 1 && memcmp(message + len - 2, "\\n", 2) == 0)
		len -= 2;
	c->p = c->line = message;
	c->end = message + len;
	c->out.end = 1;
	return true;
}

/* "MESSAGE=", "_HOSTNAME=node07", "__REALTIME_TIMESTAMP=..." of journalctl -o export */
static bool strip_export(struct cursor *c)
{
	const char *p = c->p;

	if (c->p != c->line)
		return false;
	if (accept(&p, c->end, "_HOSTNAME="))
		set_host(c, p, word(p, c->end));
	else if (accept(&p, c->end, "__REALTIME_TIMESTAMP=") && c->end - p == 16)
		set_time(c, (struct stamp){ strtoll(p, NULL, 10) * 1000, TIME_UTC });
	else if (!accept(&p, c->end, "MESSAGE="))
		return false;
	c->p = p;
	return true;
}

/* "INFO ", "| ERROR | ", "[WARNING] ", "ERROR:root:", "- " */
static bool strip_level(struct cursor *c)
{
	const char *p = c->p;
	bool bracket = accept(&p, c->end, "[");
	size_t n;

	if (c->out.kernel)
		return false;	/* "INFO: task ..." is the kernel's own wording */
	if (!bracket && (*p == '|' || (*p == '-' && c->end - p > 1 && p[1] == ' '))) {
		c->p = p + 1;
		return true;
	}
	n = level(p, c->end);
	if (!n)
		return false;
	p += n;
	if (bracket && !accept(&p, c->end, "]"))
		return false;
	if (!bracket && (p >= c->end || (*p != ' ' && *p != ':' && *p != '|')))
		return false;
	if (p < c->end && *p == ':')
		p++;
	c->p = p;
	return true;
}

/* "[engine.py:458] ", "[checkpointing.py:226:save] ", "[tid 12727] " */
static bool strip_place(struct cursor *c)
{
	const char *p = c->p, *close;

	if (left(c) < 6 || *p != '[')
		return false;
	close = memchr(p, ']', left(c) < 120 ? left(c) : 120);
	if (!close)
		return false;
	if (!memmem(p, (size_t)(close - p), ".py:", 4) && !memmem(p, (size_t)(close - p), ".cc:", 4) &&
	    !memmem(p, (size_t)(close - p), ".cpp:", 5) && memcmp(p, "[tid ", 5) != 0)
		return false;
	c->p = close + 1;
	return true;
}

static bool (*const strippers[])(struct cursor *) = {
	strip_object, strip_export, strip_gathered, strip_space, strip_colour, strip_launcher, strip_label, strip_kernel, strip_uptime, strip_time,
	strip_glog, strip_actor, strip_container, strip_syslog, strip_nccl, strip_bracketed_process, strip_level,
	strip_place,
};

struct prefix prefix_parse(const char *line, size_t len, int64_t tz_ns, bool tz_known)
{
	struct cursor c = { .line = line, .p = line, .end = line + len };
	const char *cr;

	c.out.rank = c.out.local_rank = RANK_NONE;
	c.out.pid = PID_NONE;
	while (c.end > c.p && strchr("\r\n ", c.end[-1]) && c.end[-1])
		c.end--;
	cr = memrchr(c.p, '\r', left(&c));	/* a progress bar: what is shown last counts */
	if (cr)
		c.line = c.p = cr + 1;
	for (int round = 0; round < ROUNDS; round++) {
		bool moved = false;

		for (size_t i = 0; i < ARRAY_SIZE(strippers) && c.p < c.end; i++)
			moved |= strippers[i](&c);
		if (!moved)
			break;
	}
	c.out.body = (size_t)(c.p - line);
	c.out.end = c.out.end ? (size_t)(c.end - line) : SIZE_MAX;
	if (tz_known && c.out.time.base == TIME_LOCAL)
		c.out.time = (struct stamp){ c.out.time.ns - tz_ns, TIME_UTC };
	return c.out;
}
