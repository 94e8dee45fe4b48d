#include "reports/verify.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "analyzer/ingest/ingest.h"
#include "bundle/cleanup.h"
#include "bundle/digest.h"
#include "bundle/text.h"

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* A report may come from anywhere: it must not lead out of the inputs. */
static bool leads_up(const char *path)
{
	for (const char *p = path; (p = strstr(p, "..")); p += 2)
		if ((p == path || p[-1] == '/') && (p[2] == '/' || p[2] == '\0'))
			return true;
	return false;
}

/* The file that `path` of the report means now; NULL when no input has it. */
static char *locate(const char *path, char *const *inputs, size_t n)
{
	struct stat st;

	for (size_t i = 0; i < n && !leads_up(path); i++) {
		if (stat(inputs[i], &st))
			continue;
		if (!S_ISDIR(st.st_mode)) {
			if (strcmp(base_name(inputs[i]), base_name(path)) == 0)
				return strdup(inputs[i]);
			continue;
		}
		for (const char *tail = path; tail; tail = strchr(tail, '/') ? strchr(tail, '/') + 1 : NULL) {
			char *full = NULL;

			if (asprintf(&full, "%s/%s", inputs[i], tail) < 0)
				return NULL;
			if (*tail && lstat(full, &st) == 0 && S_ISREG(st.st_mode))
				return full;
			free(full);
		}
	}
	return NULL;
}

static const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* The bytes of one quote again; -1 with why. */
static int check(const json_t *e, char *const *inputs, size_t n, struct error *err)
{
	_cleanup_free_ char *path = locate(str(e, "input"), inputs, n);
	json_int_t length = json_integer_value(json_object_get(e, "length"));
	json_int_t offset = json_integer_value(json_object_get(e, "offset"));
	uint8_t buf[QUOTE_BYTES];
	char sha[DIGEST_HEX];

	if (length < 0 || length > (json_int_t)sizeof(buf) || offset < 0)
		return error_set(err, ERR_FORMAT, "a quote of %lld bytes", (long long)length);
	if (!path)
		return error_set(err, ERR_FORMAT, "not in the inputs");
	if (ingest_reread(path, str(e, "member"), (uint64_t)offset, buf, (size_t)length, err))
		return -1;
	digest_hex(buf, (size_t)length, sha);
	if (strcmp(sha, str(e, "sha256")))
		return error_at(err, ERR_FORMAT, (uint64_t)offset, "the bytes differ from the quote");
	if (strcmp(str(e, "form"), "raw") == 0) {
		char safe[TEXT_PRINTABLE_MAX(QUOTE_BYTES)];

		text_printable((const char *)buf, (size_t)length, safe, sizeof(safe));
		if (strcmp(safe, str(e, "text")))
			return error_at(err, ERR_FORMAT, (uint64_t)offset, "the text differs from the quote");
	}
	return 0;
}

int report_verify(const char *path, char *const *inputs, size_t n_inputs, FILE *out, size_t *checked_ret,
		  size_t *bad_ret, struct error *err)
{
	json_error_t why;
	json_auto_t *report = json_load_file(path, 0, &why);
	const json_t *list = json_object_get(report, "evidence");

	if (!report)
		return error_set(err, ERR_FORMAT, "%s:%d: %s", path, why.line, why.text);
	if (strcmp(str(report, "schema"), "tachograph.report/1"))
		return error_set(err, ERR_FORMAT, "%s: not a report of schema tachograph.report/1", path);
	*checked_ret = json_array_size(list);
	*bad_ret = 0;
	for (size_t i = 0; i < *checked_ret; i++) {
		const json_t *e = json_array_get(list, i);
		struct error bad = { 0 };

		if (check(e, inputs, n_inputs, &bad) == 0)
			continue;
		(*bad_ret)++;
		error_in(&bad, str(e, "input"));
		error_in(&bad, str(e, "id"));
		error_print(out, &bad);
	}
	return 0;
}
