#include "capture/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "bundle/cleanup.h"
#include "capture/capture.h"

#define FILE_BYTES_MAX (1u << 20)

enum kind { PATH, TEXT, SIZE, NUMBER, SECONDS, MILLISECONDS, BOOLEAN, GLOBS, NAMES, REGEXES, SOURCES };

/* A default is text as it would stand in the file; a list's items are parted by spaces. */
struct key {
	const char *name;
	enum kind kind;
	size_t at;			/* in struct config */
	uint64_t least, most;
	const char *preset;
};
#define KEY(field, ...) { #field, .at = offsetof(struct config, field), __VA_ARGS__ }

static const struct key keys[] = {
	KEY(ring_dir, .kind = PATH, .preset = "/var/lib/tachograph/ring"),
	KEY(bundle_dir, .kind = PATH, .preset = "/var/lib/tachograph/bundles"),
	KEY(socket, .kind = PATH, .preset = "/run/tachograph/tcaptured.sock"),
	KEY(group, .kind = TEXT),
	KEY(ring_bytes, .kind = SIZE, .least = 8u << 20, .most = 64ull << 30, .preset = "64M"),
	KEY(bundle_quota_bytes, .kind = SIZE, .least = 16u << 20, .most = 1ull << 50, .preset = "4G"),
	KEY(bundle_keep, .kind = NUMBER, .least = 1, .most = 100000, .preset = "32"),
	KEY(logs, .kind = GLOBS),
	KEY(flight_dumps, .kind = GLOBS),
	KEY(dump_pipes, .kind = GLOBS),
	KEY(track_cgroups, .kind = GLOBS),
	KEY(track_env, .kind = NAMES, .preset = "RANK SLURM_PROCID OMPI_COMM_WORLD_RANK PMI_RANK"),
	KEY(sources_off, .kind = SOURCES),
	KEY(nccl_libraries, .kind = GLOBS),
	KEY(sample_ms, .kind = MILLISECONDS, .least = 100, .most = 60000, .preset = "1000"),
	KEY(ras_port, .kind = NUMBER, .least = 0, .most = 65535, .preset = "28028"),
	KEY(trigger_exit, .kind = BOOLEAN, .preset = "yes"),
	KEY(trigger_oom, .kind = BOOLEAN, .preset = "yes"),
	KEY(trigger_kernel, .kind = BOOLEAN, .preset = "yes"),
	KEY(trigger_flight, .kind = BOOLEAN, .preset = "yes"),
	KEY(trigger_sigterm, .kind = BOOLEAN, .preset = "yes"),
	KEY(trigger_log, .kind = REGEXES),
	KEY(trigger_hang_s, .kind = SECONDS, .least = 0, .most = 86400, .preset = "300"),
	KEY(trigger_memory_pct, .kind = NUMBER, .least = 0, .most = 100, .preset = "0"),
	KEY(post_s, .kind = SECONDS, .least = 0, .most = 600, .preset = "5"),
	KEY(dedup_s, .kind = SECONDS, .least = 0, .most = 86400, .preset = "60"),
	KEY(bundles_per_hour, .kind = NUMBER, .least = 1, .most = 3600, .preset = "6"),
};

/* Where the parser stands; `first` is the line that gave a key, 0: none. */
struct parse {
	struct config *config;
	const char *name;
	unsigned line;
	unsigned first[ARRAY_SIZE(keys)];
	struct error *err;
};

/* ---- errors: "FILE:LINE: key = "value": what would have been right" ---- */

static int refuse(struct parse *p, const struct key *k, const char *value, const char *want)
{
	char where[96];

	error_set(p->err, ERR_FORMAT, "%s = \"%.60s%s\": expected %s", k->name, value, strlen(value) > 60 ? "..." : "", want);
	snprintf(where, sizeof(where), "%u", p->line);
	return error_in(p->err, where);
}

static void size_text(uint64_t bytes, char *buf, size_t size)
{
	static const char unit[] = "KMGT";
	size_t u = 0;

	for (bytes /= 1024; bytes >= 1024 && bytes % 1024 == 0 && u < 3; u++)
		bytes /= 1024;
	snprintf(buf, size, "%llu%c", (unsigned long long)bytes, unit[u]);
}

static int refuse_range(struct parse *p, const struct key *k, const char *value)
{
	char want[120], least[32], most[32];

	snprintf(least, sizeof(least), "%llu", (unsigned long long)k->least);
	snprintf(most, sizeof(most), "%llu", (unsigned long long)k->most);
	if (k->kind == SIZE) {
		size_text(k->least, least, sizeof(least));
		size_text(k->most, most, sizeof(most));
	}
	snprintf(want, sizeof(want), "a %s from %s to %s%s",
		 k->kind == SIZE ? "size" : k->kind == SECONDS ? "time" : k->kind == MILLISECONDS ? "time" : "whole number",
		 least, most,
		 k->kind == SIZE ? ", with K, M, G or T" : k->kind == SECONDS ? " seconds" :
		 k->kind == MILLISECONDS ? " milliseconds" : "");
	return refuse(p, k, value, want);
}

/* ---- values ---- */

/* Digits, then a suffix out of `units` (each 1024 times the one before), or none. */
static bool parse_number(const char *s, const char *units, uint64_t *ret)
{
	char *end;
	const char *unit;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	*ret = strtoull(s, &end, 10);
	if (errno)
		return false;
	if (!*end)
		return true;
	unit = end[1] ? NULL : strchr(units, toupper((unsigned char)*end));
	return unit && !__builtin_mul_overflow(*ret, 1ull << (10 * (unit - units + 1)), ret);
}

static int set_number(struct parse *p, const struct key *k, const char *value)
{
	char *at = (char *)p->config + k->at;
	uint64_t n;

	if (!parse_number(value, k->kind == SIZE ? "KMGT" : "", &n) || n < k->least || n > k->most)
		return refuse_range(p, k, value);
	if (k->kind == SIZE)
		*(uint64_t *)at = n;
	else
		*(uint32_t *)at = (uint32_t)n;
	return 0;
}

static int set_boolean(struct parse *p, const struct key *k, const char *value)
{
	static const char *const words[] = { "no", "yes", "off", "on", "false", "true", "0", "1" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcasecmp(value, words[i])) {
			*(bool *)((char *)p->config + k->at) = i % 2;
			return 0;
		}
	return refuse(p, k, value, "yes or no");
}

static int set_text(struct parse *p, const struct key *k, const char *value)
{
	char **at = (char **)((char *)p->config + k->at);

	if (k->kind == PATH && *value != '/')
		return refuse(p, k, value, "a path that begins with /");
	free(*at);
	*at = *value ? strdup(value) : NULL;
	return *value && !*at ? error_set(p->err, ERR_NOMEM, "no memory") : 0;
}

static int check_regex(struct parse *p, const struct key *k, const char *value)
{
	PCRE2_SIZE at;
	PCRE2_UCHAR why[100];
	char want[160];
	int code;
	pcre2_code *re = pcre2_compile((PCRE2_SPTR)value, PCRE2_ZERO_TERMINATED, 0, &code, &at, NULL);

	pcre2_code_free(re);
	if (re)
		return 0;
	pcre2_get_error_message(code, why, sizeof(why));
	snprintf(want, sizeof(want), "a regular expression; %s at character %zu", (const char *)why, at + 1);
	return refuse(p, k, value, want);
}

static int check_source(struct parse *p, const struct key *k, const char *value)
{
	char want[160] = "one of:";

	for (size_t i = 0; sources[i]; i++) {
		if (!strcmp(sources[i]->name, value))
			return 0;
		snprintf(want + strlen(want), sizeof(want) - strlen(want), " %s", sources[i]->name);
	}
	return refuse(p, k, value, want);
}

static int check_item(struct parse *p, const struct key *k, const char *value)
{
	if (k->kind == GLOBS && *value != '/')
		return refuse(p, k, value, "a path or glob that begins with /");
	if (k->kind == NAMES && value[strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")])
		return refuse(p, k, value, "the name of an environment variable");
	if (k->kind == REGEXES)
		return check_regex(p, k, value);
	return k->kind == SOURCES ? check_source(p, k, value) : 0;
}

static void list_clear(struct config_list *l)
{
	while (l->n)
		free(l->item[--l->n]);
}

/* An empty value leaves the list as it is: the first line of a key has emptied it already. */
static int add_item(struct parse *p, const struct key *k, const char *value)
{
	struct config_list *l = (struct config_list *)((char *)p->config + k->at);

	if (!*value)
		return 0;
	if (check_item(p, k, value))
		return -1;
	if (l->n == CONFIG_LIST_MAX)
		return refuse(p, k, value, "at most 64 of them");
	l->item[l->n] = strdup(value);
	if (!l->item[l->n])
		return error_set(p->err, ERR_NOMEM, "no memory");
	l->n++;
	return 0;
}

static bool is_list(enum kind kind) { return kind == GLOBS || kind == NAMES || kind == REGEXES || kind == SOURCES; }

static int set_value(struct parse *p, const struct key *k, const char *value)
{
	if (is_list(k->kind))
		return add_item(p, k, value);
	if (k->kind == PATH || k->kind == TEXT)
		return set_text(p, k, value);
	return k->kind == BOOLEAN ? set_boolean(p, k, value) : set_number(p, k, value);
}

/* ---- lines ---- */

static size_t edit_distance(const char *a, const char *b)
{
	size_t row[64], n = strlen(b);

	if (strlen(a) >= ARRAY_SIZE(row) || n >= ARRAY_SIZE(row))
		return SIZE_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t change = corner + (a[i - 1] != b[j - 1]), add = row[j - 1] + 1, drop = row[j] + 1;

			corner = row[j];
			row[j] = change < add ? change : add;
			row[j] = drop < row[j] ? drop : row[j];
		}
	}
	return row[n];
}

static int refuse_key(struct parse *p, const char *name)
{
	const char *near = NULL;
	size_t best = 4;
	char where[24];

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t d = edit_distance(name, keys[i].name);

		if (d < best) {
			best = d;
			near = keys[i].name;
		}
	}
	error_set(p->err, ERR_FORMAT, "no key is called \"%.60s\"%s%s%s", name, near ? "; did you mean " : "",
		  near ? near : "", near ? "?" : "");
	snprintf(where, sizeof(where), "%u", p->line);
	return error_in(p->err, where);
}

static int refuse_line(struct parse *p, const char *what)
{
	char where[24];

	error_set(p->err, ERR_FORMAT, "%s", what);
	snprintf(where, sizeof(where), "%u", p->line);
	return error_in(p->err, where);
}

static char *trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	return s;
}

static int parse_line(struct parse *p, char *line)
{
	char *name = trim(line), *eq, *value;
	size_t i = 0;

	if (!*name || *name == '#')
		return 0;
	eq = strchr(name, '=');
	if (!eq)
		return refuse_line(p, "neither a comment nor \"key = value\"");
	*eq = '\0';
	name = trim(name);
	value = trim(eq + 1);
	while (i < ARRAY_SIZE(keys) && strcmp(keys[i].name, name))
		i++;
	if (i == ARRAY_SIZE(keys))
		return refuse_key(p, name);
	if (!p->first[i] && is_list(keys[i].kind))
		list_clear((struct config_list *)((char *)p->config + keys[i].at));
	if (p->first[i] && !is_list(keys[i].kind)) {
		char want[64];

		snprintf(want, sizeof(want), "it once; line %u has it already", p->first[i]);
		return refuse(p, &keys[i], value, want);
	}
	p->first[i] = p->line;
	if (!*value && !is_list(keys[i].kind) && keys[i].kind != TEXT)
		return refuse(p, &keys[i], value, "a value");
	return set_value(p, &keys[i], value);
}

static int set_presets(struct parse *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		_cleanup_free_ char *words = strdup(keys[i].preset ? keys[i].preset : "");
		char *save, *word = words ? strtok_r(words, " ", &save) : NULL;

		if (!words)
			return error_set(p->err, ERR_NOMEM, "no memory");
		for (; word; word = strtok_r(NULL, " ", &save))
			if (set_value(p, &keys[i], word))
				return -1;
	}
	return 0;
}

static int parse_lines(struct parse *p, char *text)
{
	while (text) {
		char *line = strsep(&text, "\n");

		p->line++;
		if (parse_line(p, line))
			return -1;
	}
	p->line = 0;
	if (!strcmp(p->config->ring_dir, p->config->bundle_dir))
		return error_set(p->err, ERR_FORMAT, "ring_dir and bundle_dir are both \"%.60s\": expected two directories",
				 p->config->ring_dir);
	return 0;
}

static void config_freep(struct config *c) { config_free(c); }

int config_parse(const char *name, const char *text, size_t len, struct config *ret, struct error *err)
{
	_cleanup_(config_freep) struct config c = { 0 };
	_cleanup_free_ char *copy = strndup(text ? text : "", len);
	struct parse p = { .config = &c, .name = name, .err = err };

	if (!copy)
		return error_set(err, ERR_NOMEM, "no memory");
	if (set_presets(&p))
		return -1;
	if (strlen(copy) != len)
		error_at(err, ERR_FORMAT, strlen(copy), "is not text: it holds a NUL");
	else if (parse_lines(&p, copy) == 0) {
		*ret = c;
		c = (struct config){ 0 };
		return 0;
	}
	return error_in(err, name);
}

int config_read(const char *path, struct config *ret, struct error *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	ssize_t n;

	if (!path)
		return config_parse("defaults", NULL, 0, ret, err);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_sys(err, "cannot open %s", path);
	text = malloc(FILE_BYTES_MAX + 1);
	if (!text)
		return error_set(err, ERR_NOMEM, "no memory");
	while (len <= FILE_BYTES_MAX && (n = read(fd, text + len, FILE_BYTES_MAX + 1 - len)) > 0)
		len += (size_t)n;
	if (len > FILE_BYTES_MAX) {
		error_set(err, ERR_LIMIT, "longer than 1 MiB");
		return error_in(err, path);
	}
	if (n < 0)
		return error_sys(err, "cannot read %s", path);
	return config_parse(path, text, len, ret, err);
}

void config_free(struct config *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		char *at = (char *)c + keys[i].at;

		if (is_list(keys[i].kind))
			list_clear((struct config_list *)at);
		else if (keys[i].kind == PATH || keys[i].kind == TEXT) {
			free(*(char **)at);
			*(char **)at = NULL;
		}
	}
}

const char *config_key(size_t i) { return i < ARRAY_SIZE(keys) ? keys[i].name : NULL; }

bool config_source_is_off(const struct config *c, const char *source)
{
	for (size_t i = 0; i < c->sources_off.n; i++)
		if (!strcmp(c->sources_off.item[i], source))
			return true;
	return false;
}
