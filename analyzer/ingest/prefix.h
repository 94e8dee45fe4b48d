/*
 * prefix - what stands before the message of a log line.
 *
 * Launchers, loggers and collectors put time, rank, host, process and level in
 * front of a line, several deep.  prefix_parse() strips them one by one and keeps
 * what they tell; the body is what the program itself wrote.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analyzer/store.h"

struct prefix {
	size_t body;			/* offset of the message in the line */
	size_t end;			/* past it, where something else follows; else SIZE_MAX */
	struct stamp time;
	int32_t rank, local_rank, pid;	/* RANK_NONE, PID_NONE: not stated */
	const char *host, *process;	/* in the line; NULL: not stated */
	size_t host_len, process_len;
	bool kernel;			/* the line is of a kernel log */
	bool user_written;		/* a kernel-log line that user space wrote */
	bool nccl;			/* "host:pid:tid [dev]": as trustworthy as NCCL itself */
};

struct prefix prefix_parse(const char *line, size_t len, int64_t tz_ns, bool tz_known);

/*
 * A time at the start of the text: bytes consumed, 0 when there is none.  Forms:
 * ISO 8601 / RFC 3339, "Sun Feb 23 16:24:18 2025", "Feb 23 16:24:18",
 * "Feb 27 2025 15:10:02", "0612 01:14:57.061", "07-01 00:38:05", "03:04:05".
 */
size_t time_parse(const char *s, size_t len, struct stamp *ret);

/* RFC 3339 with nanoseconds; the base decides what is left out (analysis.h, stamp_text). */
int64_t time_from_civil(int year, int month, int day);	/* days since 1970 */
