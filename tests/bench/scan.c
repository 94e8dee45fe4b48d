/*
 * tanalyze-bench-scan FILE: our line path over one file on one thread, with the
 * shipped signatures that ripgrep can run too; prints the lines that match.
 * tanalyze-bench-scan --dump-patterns: those signatures, one regex a line, for
 * ripgrep.  Left out of both: what needs look-around, branch reset or an anchor
 * at the message (ripgrep does not know where a prefix ends).
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "analyzer/ingest/log.h"
#include "bundle/cleanup.h"
#include "patterns/detectors.h"

static bool both_can(const char *regex)
{
	static const char *const only_pcre[] = { "(?=", "(?!", "(?<=", "(?<!", "(?|", "(?>", "++", "*+", "?+", "\\K", "^", "\\R", "\\h" };

	for (size_t i = 0; i < ARRAY_SIZE(only_pcre); i++)
		if (strstr(regex, only_pcre[i]) && strcmp(only_pcre[i], "^"))
			return false;
	for (const char *p = regex; (p = strchr(p, '^')); p++)
		if (p == regex || (p[-1] != '[' && p[-1] != '\\'))
			return false;
	return true;
}

/* Groups without their names: ripgrep wants a name to be unique over all patterns. */
static void dump(const char *regex)
{
	for (const char *p = regex; *p; p++) {
		if (strncmp(p, "(?<", 3) == 0 && (p == regex || p[-1] != '\\')) {
			fputs("(?:", stdout);
			p = strchr(p, '>');
		} else {
			putchar(*p);
		}
	}
	putchar('\n');
}

static int keep_common(struct pattern_set *set)
{
	size_t kept = 0;

	for (size_t i = 0; i < set->n_signatures; i++)
		if (both_can(set->signatures[i].regex))
			set->signatures[kept++] = set->signatures[i];
	fprintf(stderr, "%zu of %zu signatures\n", kept, set->n_signatures);
	set->n_signatures = kept;
	return 0;
}

static int scan(const struct pattern_set *set, const char *path, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_log_ struct log *l = NULL;
	struct log_options opt = { 0 };
	struct scanner sc;
	struct store s;
	ssize_t n;

	if (fd < 0)
		return error_sys(err, "cannot open %s", path);
	if (store_init(&s, (size_t)4 << 30, err) || scanner_init(&sc, set, err) || store_member(&s, path, NULL, err) < 0 ||
	    log_open(&sc, &s, &opt, &l, err))
		return -1;
	log_begin(l, 0);
	for (;;) {
		size_t room;
		uint8_t *to = log_room(l, &room);

		n = read(fd, to, room);
		if (n <= 0)
			break;
		log_advance(l, (size_t)n);
	}
	log_end(l);
	printf("hits=%llu lines=%llu\n", (unsigned long long)log_counts(l).hit_lines, (unsigned long long)log_counts(l).lines);
	log_close(take(l));
	scanner_deinit(&sc);
	store_deinit(&s);
	return 0;
}

int main(int argc, char **argv)
{
	struct pattern_set set;
	struct error err = { 0 };
	int ret = 1;

	if (argc != 2) {
		fputs("usage: tanalyze-bench-scan FILE | --dump-patterns\n", stderr);
		return 2;
	}
	if (pattern_set_init(&set, &err) || patterns_add_shipped(&set, &err) || pattern_set_seal(&set, &err)) {
		error_print(stderr, &err);
		return 1;
	}
	keep_common(&set);
	if (strcmp(argv[1], "--dump-patterns") == 0) {
		for (size_t i = 0; i < set.n_signatures; i++)
			dump(set.signatures[i].regex);
		ret = 0;
	} else {
		ret = scan(&set, argv[1], &err) ? 1 : 0;
	}
	if (ret)
		error_print(stderr, &err);
	pattern_set_deinit(&set);
	return ret;
}
