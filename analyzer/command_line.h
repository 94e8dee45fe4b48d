/*
 * command_line - what tanalyze was asked to do.
 *
 * One table of commands and one of options, from which parsing, the checks and
 * --help are made.  Nothing is guessed and nothing given is passed over: a word
 * that is wrong, given twice or of no use to the command is an ERR_USAGE that
 * names it.  Options may follow operands; a command is the first word that is
 * no option.
 */
#pragma once
#include <stdbool.h>
#include <stdio.h>

#include "analyzer/ingest/log.h"
#include "bundle/error.h"

enum command {
	COMMAND_ANALYZE, COMMAND_REPLAY, COMMAND_VERIFY, COMMAND_LINT, COMMAND_EXPLAIN, COMMAND_LIST, COMMAND_VERSION, COMMAND_COUNT
};

struct command_line {
	enum command command;
	bool help;			/* of `command`; nothing else was checked */
	char **operands;		/* in argv */
	size_t n_operands;
	const char *html, *json, *text;	/* where to; NULL: not asked for; "-": standard output */
	char *named[3];			/* names given to those that came without one */
	const char *patterns, *job, *explain;
	struct stamp since, until;
	struct log_options log;
	long run;			/* from 1; 0: not given */
	long time_limit_s, jobs;	/* 0: not given */
	bool digest, exit_code, table;
};

/* Words of `argv` are kept and their order is changed. */
int command_line_parse(int argc, char **argv, struct command_line *ret, struct error *err);
void command_line_deinit(struct command_line *c);

void command_line_help(enum command command, FILE *out);
