#include "analyzer/pattern.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "bundle/cleanup.h"
#include "bundle/digest.h"

#define FILE_MAX ((size_t)16 << 20)
#define SET_BYTES ((size_t)256 << 20)

static const char *const role_names[] = { "cause", "symptom", "outcome", "precursor" };
static const char *const conf_names[] = { "possible", "probable", "confirmed" };

static const struct {
	const char *name;
	enum scope_key key;
} scope_keys[] = {
	{ "rank", KEY_RANK }, { "host", KEY_HOST }, { "gpu", KEY_GPU }, { "pid", KEY_PID },
	{ "link", KEY_LINK }, { "object", KEY_OBJECT }, { "member", KEY_MEMBER },
};

const char *pattern_role_name(enum pattern_role r) { return role_names[r]; }

/* One file while it is being loaded: where messages say they are. */
struct loader {
	struct pattern_set *set;
	const char *file;
	const char *text;
	size_t len;
	const char *subject;		/* id of the signature or cause */
	struct error *err;
};

/* Line on which `what` first stands, after the subject: good enough to find it. */
static int line_of(const struct loader *l, const char *what)
{
	const char *from = l->subject ? memmem(l->text, l->len, l->subject, strlen(l->subject)) : l->text;
	const char *at = from && what ? memmem(from, (size_t)(l->text + l->len - from), what, strlen(what)) : from;
	int n = 1;

	for (const char *p = l->text; at && p < at; p++)
		n += *p == '\n';
	return at ? n : 1;
}

static int refuse(const struct loader *l, const char *key, const char *why)
{
	return error_set(l->err, ERR_FORMAT, "%s:%d: %s%s%s%s", l->file, line_of(l, key),
			 l->subject ? l->subject : "", l->subject ? ": " : "", key ? key : "", why);
}

static const char *copy(struct loader *l, const char *s)
{
	return s ? arena_strdup(&l->set->arena, s, strlen(s)) : NULL;
}

static int get_text(struct loader *l, const json_t *o, const char *key, bool must, const char **ret)
{
	const json_t *v = json_object_get(o, key);

	if (!v)
		return must ? refuse(l, key, " is missing") : 0;
	if (!json_is_string(v))
		return refuse(l, key, " is not a string");
	*ret = copy(l, json_string_value(v));
	return *ret ? 0 : refuse(l, key, ": out of memory");
}

/* A string, or a list of strings. */
static int get_texts(struct loader *l, const json_t *o, const char *key, bool must, const char ***ret, size_t *n_ret)
{
	const json_t *v = json_object_get(o, key);
	size_t n = json_is_array(v) ? json_array_size(v) : v ? 1 : 0;

	if (!n)
		return must ? refuse(l, key, " is missing") : 0;
	*ret = ARENA_ARRAY(&l->set->arena, const char *, n);
	if (!*ret)
		return refuse(l, key, ": out of memory");
	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_is_array(v) ? json_array_get(v, i) : v;

		if (!json_is_string(item))
			return refuse(l, key, " holds something that is not a string");
		(*ret)[(*n_ret)++] = copy(l, json_string_value(item));
	}
	return 0;
}

static int get_word(struct loader *l, const json_t *o, const char *key, const char *const *words, size_t n, int *ret)
{
	const char *v = json_string_value(json_object_get(o, key));

	for (size_t i = 0; v && i < n; i++)
		if (strcmp(v, words[i]) == 0)
			return *ret = (int)i, 0;
	return json_object_get(o, key) ? refuse(l, key, " is none of the words allowed here") : 0;
}

static int get_keys(struct loader *l, const json_t *o, const char *key, uint32_t *bits)
{
	const char **names = NULL;
	size_t n = 0, k;

	if (get_texts(l, o, key, false, &names, &n))
		return -1;
	for (size_t i = 0; i < n; i++) {
		for (k = 0; k < ARRAY_SIZE(scope_keys) && strcmp(scope_keys[k].name, names[i]); k++)
			;
		if (k == ARRAY_SIZE(scope_keys))
			return refuse(l, names[i], " is no scope key");
		*bits |= scope_keys[k].key;
	}
	return 0;
}

static int class_of(const char *name)
{
	for (int i = 0; i < SRC_COUNT; i++)
		if (strcmp(source_name((enum source_class)i), name) == 0)
			return i;
	return -1;
}

/* ---- premises ---- */

/* "re:..." is a regular expression, anything else is plain text. */
static bool value_is_sound(const char *value)
{
	PCRE2_SIZE at;
	pcre2_code *code;
	bool sound;
	int why;

	if (strncmp(value, "re:", 3))
		return true;
	code = pcre2_compile((PCRE2_SPTR)value + 3, PCRE2_ZERO_TERMINATED, 0, &why, &at, NULL);
	sound = code != NULL;
	pcre2_code_free(code);
	return sound;
}

static int get_where(struct loader *l, const json_t *o, struct premise *p)
{
	const json_t *where = json_object_get(o, "where"), *v;
	const char *name;

	if (!where)
		return 0;
	if (!json_is_object(where))
		return refuse(l, "where", " is not an object");
	p->where = ARENA_ARRAY(&l->set->arena, struct where, json_object_size(where) + 1);
	if (!p->where)
		return refuse(l, "where", ": out of memory");
	json_object_foreach((json_t *)where, name, v) {
		struct where *w = &p->where[p->n_where++];

		(void)v;
		w->name = copy(l, name);
		if (get_texts(l, where, name, true, &w->values, &w->n_values))
			return -1;
		for (size_t i = 0; i < w->n_values; i++)
			if (!value_is_sound(w->values[i]))
				return refuse(l, w->values[i], " is no regular expression");
	}
	return 0;
}

static int get_premise(struct loader *l, const json_t *o, struct premise *p)
{
	static const char *const orders[] = { "any", "after", "before" };
	const char **sources = NULL;
	size_t n = 0;
	int order = ORDER_ANY;

	*p = (struct premise){ .within_s = -1, .min_count = 1 };
	p->absent = json_object_get(o, "absent") != NULL;
	if (get_text(l, o, "as", false, &p->as) ||
	    get_texts(l, o, p->absent ? "absent" : "kind", true, &p->kinds, &p->n_kinds) || get_where(l, o, p) ||
	    get_keys(l, o, "same", &p->same) || get_keys(l, o, "names", &p->names) || get_word(l, o, "order", orders, ARRAY_SIZE(orders), &order) ||
	    get_texts(l, o, "sources", false, &sources, &n))
		return -1;
	p->order = (enum premise_order)order;
	if (json_object_get(o, "within_s"))
		p->within_s = json_integer_value(json_object_get(o, "within_s"));
	if (json_object_get(o, "min_count"))
		p->min_count = (uint32_t)json_integer_value(json_object_get(o, "min_count"));
	for (size_t i = 0; i < n; i++) {
		if (class_of(sources[i]) < 0)
			return refuse(l, sources[i], " is no source class");
		p->sources |= 1u << class_of(sources[i]);
	}
	return 0;
}

static int get_premises(struct loader *l, const json_t *o, const char *key, bool must, struct premise **ret, size_t *n_ret)
{
	const json_t *list = json_object_get(o, key);
	size_t n = json_array_size(list);

	if (must && !n)
		return refuse(l, key, " is missing");
	*ret = n ? ARENA_ARRAY(&l->set->arena, struct premise, n) : NULL;
	for (size_t i = 0; i < n; i++)
		if (!*ret || get_premise(l, json_array_get(list, i), &(*ret)[(*n_ret)++]))
			return -1;
	return 0;
}

static int get_rivals(struct loader *l, const json_t *o, struct pattern *p)
{
	const json_t *list = json_object_get(o, "rivals");
	size_t n = json_array_size(list);

	p->rivals = n ? ARENA_ARRAY(&l->set->arena, struct rival, n) : NULL;
	for (size_t i = 0; p->rivals && i < n; i++) {
		const json_t *item = json_array_get(list, i), *m = json_object_get(item, "measure");
		struct rival *r = &p->rivals[p->n_rivals++];

		if (get_text(l, item, "pattern", true, &r->pattern) ||
		    get_premises(l, item, "excluded_by", false, &r->excluded_by, &r->n_excluded_by) ||
		    get_text(l, m, "command", false, &r->command) || get_text(l, m, "side_effect", false, &r->side_effect))
			return -1;
		r->minutes = (int)json_integer_value(json_object_get(m, "minutes"));
	}
	return 0;
}

/* ---- causes ---- */

static int check_keys(struct loader *l, const json_t *o, const char *const *known, size_t n)
{
	const char *key;
	json_t *v;
	size_t i;

	json_object_foreach((json_t *)o, key, v) {
		for (i = 0; i < n && strcmp(known[i], key); i++)
			;
		(void)v;
		if (i == n)
			return refuse(l, key, " is no key that is known here");
	}
	return 0;
}

static int add_cause(struct loader *l, const json_t *o)
{
	static const char *const keys[] = { "id", "title", "role", "cap", "fail_slow", "premises", "corroboration",
					    "promote", "rivals", "explains", "culprit", "action", "advice", "references" };
	struct pattern_set *set = l->set;
	void *grown = arena_grow(&set->arena, set->patterns, set->n_patterns, &set->cap_patterns, sizeof(*set->patterns));
	const json_t *culprit = json_object_get(o, "culprit");
	struct pattern p = { .cap = 2, .origin = copy(l, l->file) };
	int role = ROLE_CAUSE;

	if (!grown)
		return refuse(l, NULL, "out of memory");
	set->patterns = grown;
	l->subject = json_string_value(json_object_get(o, "id"));
	if (check_keys(l, o, keys, ARRAY_SIZE(keys)) || get_text(l, o, "id", true, &p.id) ||
	    get_text(l, o, "title", true, &p.title) || get_word(l, o, "role", role_names, ARRAY_SIZE(role_names), &role) ||
	    get_word(l, o, "cap", conf_names, ARRAY_SIZE(conf_names), &p.cap) ||
	    get_premises(l, o, "premises", true, &p.premises, &p.n_premises) ||
	    get_premises(l, o, "corroboration", false, &p.corroboration, &p.n_corroboration) ||
	    get_premises(l, o, "promote", false, &p.promote, &p.n_promote) ||
	    get_premises(l, o, "explains", false, &p.explains, &p.n_explains) || get_rivals(l, o, &p) ||
	    get_text(l, culprit, "from", false, &p.culprit_from) || get_keys(l, culprit, "keys", &p.culprit_keys) ||
	    get_text(l, o, "action", true, &p.action) || get_texts(l, o, "advice", true, &p.advice, &p.n_advice) ||
	    get_texts(l, o, "references", false, &p.references, &p.n_references))
		return -1;
	p.role = (enum pattern_role)role;
	p.fail_slow = json_is_true(json_object_get(o, "fail_slow"));
	p.line = line_of(l, NULL);
	if (p.premises[0].absent)
		return refuse(l, "premises", ": the first one cannot be an absence");
	set->patterns[set->n_patterns++] = p;
	return 0;
}

/* ---- signatures ---- */

/* Each Xid has its kind. */
static int take_xid_kinds(struct loader *l, struct signature *sig)
{
	size_t n = 0;

	while (xid_at(n))
		n++;
	sig->by_field = "code";
	sig->by_values = ARENA_ARRAY(&l->set->arena, const char *, n);
	sig->by_kinds = ARENA_ARRAY(&l->set->arena, const char *, n);
	if (!sig->by_values || !sig->by_kinds)
		return refuse(l, "codes", ": out of memory");
	for (; sig->n_by < n; sig->n_by++) {
		char value[16];

		snprintf(value, sizeof(value), "%u", xid_at(sig->n_by)->code);
		sig->by_values[sig->n_by] = copy(l, value);
		sig->by_kinds[sig->n_by] = xid_at(sig->n_by)->kind;
	}
	return 0;
}

static int get_kind_by(struct loader *l, const json_t *o, struct signature *sig)
{
	const json_t *by = json_object_get(o, "kind_by"), *kinds = json_object_get(by, "kinds");
	const char *value;
	json_t *kind;

	if (!by)
		return sig->codes == CODES_XID ? take_xid_kinds(l, sig) : 0;
	if (get_text(l, by, "field", true, &sig->by_field))
		return -1;
	sig->by_values = ARENA_ARRAY(&l->set->arena, const char *, json_object_size(kinds) + 1);
	sig->by_kinds = ARENA_ARRAY(&l->set->arena, const char *, json_object_size(kinds) + 1);
	if (!sig->by_values || !sig->by_kinds)
		return refuse(l, "kind_by", ": out of memory");
	json_object_foreach((json_t *)kinds, value, kind) {
		if (!json_is_string(kind))
			return refuse(l, value, ": the kind is not a string");
		sig->by_values[sig->n_by] = copy(l, value);
		sig->by_kinds[sig->n_by++] = copy(l, json_string_value(kind));
	}
	return 0;
}

static int get_set(struct loader *l, const json_t *o, struct signature *sig)
{
	const json_t *fields = json_object_get(o, "set");
	const char *name;
	json_t *v;

	sig->set_names = ARENA_ARRAY(&l->set->arena, const char *, json_object_size(fields) + 1);
	sig->set_values = ARENA_ARRAY(&l->set->arena, const char *, json_object_size(fields) + 1);
	if (!sig->set_names || !sig->set_values)
		return refuse(l, "set", ": out of memory");
	json_object_foreach((json_t *)fields, name, v) {
		if (!json_is_string(v))
			return refuse(l, name, " is not a string");
		sig->set_names[sig->n_set] = copy(l, name);
		sig->set_values[sig->n_set++] = copy(l, json_string_value(v));
	}
	return 0;
}

static int add_signature(struct loader *l, const json_t *o)
{
	static const char *const keys[] = { "id", "kind", "class", "literal", "nocase", "otherwise", "regex",
					    "set", "codes", "kind_by", "match", "no_match" };
	static const char *const tables[] = { [CODES_NONE] = "none", [CODES_XID] = "xid", [CODES_SXID] = "sxid" };
	struct pattern_set *set = l->set;
	void *grown = arena_grow(&set->arena, set->signatures, set->n_signatures, &set->cap_signatures,
				 sizeof(*set->signatures));
	struct signature sig = { .origin = copy(l, l->file) };
	const char *class = NULL;
	int codes = CODES_NONE;

	if (!grown)
		return refuse(l, NULL, "out of memory");
	set->signatures = grown;
	l->subject = json_string_value(json_object_get(o, "id"));
	if (get_word(l, o, "codes", tables, ARRAY_SIZE(tables), &codes))
		return -1;
	sig.codes = (enum code_table)codes;
	if (check_keys(l, o, keys, ARRAY_SIZE(keys)) || get_text(l, o, "id", true, &sig.id) ||
	    get_text(l, o, "kind", true, &sig.kind) || get_text(l, o, "class", true, &class) ||
	    get_texts(l, o, "literal", true, &sig.literals, &sig.n_literals) ||
	    get_text(l, o, "regex", true, &sig.regex) || get_kind_by(l, o, &sig) || get_set(l, o, &sig) ||
	    get_texts(l, o, "match", true, &sig.match, &sig.n_match) ||
	    get_texts(l, o, "no_match", false, &sig.no_match, &sig.n_no_match))
		return -1;
	if (class_of(class) < 0)
		return refuse(l, class, " is no source class");
	for (size_t i = 0; i < sig.n_literals; i++)
		if (strlen(sig.literals[i]) < 4)
			return refuse(l, sig.literals[i], ": a literal has at least 4 bytes");
	sig.source = (enum source_class)class_of(class);
	sig.line = line_of(l, NULL);
	sig.nocase = json_is_true(json_object_get(o, "nocase"));
	sig.otherwise = json_is_true(json_object_get(o, "otherwise"));
	set->signatures[set->n_signatures++] = sig;
	return 0;
}

/* ---- sets ---- */

int pattern_set_init(struct pattern_set *set, struct error *err)
{
	(void)err;
	*set = (struct pattern_set){ 0 };
	arena_init(&set->arena, SET_BYTES);
	return 0;
}

void pattern_set_deinit(struct pattern_set *set)
{
	arena_deinit(&set->arena);
	*set = (struct pattern_set){ 0 };
}

/* The digest of the set is a chain: of the one before, and the file. */
static void chain_digest(struct pattern_set *set, const void *json, size_t len)
{
	struct digest *d = digest_open();

	digest_add(d, set->digest, strlen(set->digest));
	digest_add(d, json, len);
	digest_close(d, set->digest);
}

int pattern_set_add(struct pattern_set *set, const char *name, const void *json, size_t len, struct error *err)
{
	struct loader l = { .set = set, .file = name, .text = json, .len = len, .err = err };
	json_error_t je;
	json_auto_t *o = json_loadb(json, len, JSON_REJECT_DUPLICATES, &je);
	const json_t *list = json_object_get(o, "signatures");

	if (!o)
		return error_set(err, ERR_FORMAT, "%s:%d: %s", name, je.line, je.text);
	chain_digest(set, json, len);
	if (!list)
		return add_cause(&l, o);
	if (!json_is_array(list))
		return refuse(&l, "signatures", " is no list");
	for (size_t i = 0; i < json_array_size(list); i++) {
		l.subject = NULL;
		if (add_signature(&l, json_array_get(list, i)))
			return -1;
	}
	return 0;
}

static int add_path(struct pattern_set *set, const char *path, struct error *err)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *text = malloc(FILE_MAX);
	size_t n;

	if (!f)
		return error_sys(err, "cannot open %s", path);
	if (!text)
		return error_set(err, ERR_NOMEM, "no memory");
	n = fread(text, 1, FILE_MAX, f);
	if (n == FILE_MAX)
		return error_set(err, ERR_LIMIT, "%s: larger than a pattern file may be", path);
	return pattern_set_add(set, path, text, n, err);
}

static int is_json(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	return dot && strcmp(dot, ".json") == 0;
}

int pattern_set_add_dir(struct pattern_set *set, const char *dir, struct error *err)
{
	struct dirent **names = NULL;
	int n = scandir(dir, &names, is_json, alphasort), ret = 0;

	if (n < 0)
		return error_sys(err, "cannot read the patterns in %s", dir);
	if (n == 0)
		ret = error_set(err, ERR_FORMAT, "%s: holds no .json file", dir);
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *path = NULL;

		if (ret == 0 && asprintf(&path, "%s/%s", dir, names[i]->d_name) < 0)
			ret = error_set(err, ERR_NOMEM, "no memory");
		if (ret == 0)
			ret = add_path(set, path, err);
		free(names[i]);
	}
	free(names);
	return ret;
}

const struct kind *pattern_kind(const struct pattern_set *set, const char *name)
{
	for (size_t i = 0; i < set->n_site_kinds; i++)
		if (strcmp(set->site_kinds[i].name, name) == 0)
			return &set->site_kinds[i];
	return kind_find(name);
}

/* A kind must exist; "x." kinds come into being by being named. */
static int need_kind(struct pattern_set *set, const char *name, const char *origin, int line, const char *id, struct error *err)
{
	void *grown;

	if (pattern_kind(set, name))
		return 0;
	if (strncmp(name, "x.", 2))
		return error_set(err, ERR_FORMAT, "%s:%d: %s: %s is no kind (a site's own begins with \"x.\")", origin, line, id, name);
	/* Pointers to kinds are taken only after the seal: the array may still move. */
	grown = arena_grow(&set->arena, set->site_kinds, set->n_site_kinds, &set->cap_site_kinds, sizeof(*set->site_kinds));
	if (!grown)
		return error_set(err, ERR_NOMEM, "no memory");
	set->site_kinds = grown;
	set->site_kinds[set->n_site_kinds++] = (struct kind){ name, SEV_ERROR, false, 5, "a site's own observation" };
	return 0;
}

static int check_premises(struct pattern_set *set, const struct pattern *p, const struct premise *list, size_t n,
			  struct error *err)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < list[i].n_kinds; k++)
			if (need_kind(set, list[i].kinds[k], p->origin, p->line, p->id, err))
				return -1;
	return 0;
}

static int resolve(struct pattern_set *set, struct premise *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		list[i].index = set->n_premises++;
		list[i].resolved = ARENA_ARRAY(&set->arena, const struct kind *, list[i].n_kinds + 1);
		for (size_t k = 0; list[i].resolved && k < list[i].n_kinds; k++)
			list[i].resolved[k] = pattern_kind(set, list[i].kinds[k]);
		if (!list[i].resolved)
			return -1;
	}
	return 0;
}

static int resolve_pattern(struct pattern_set *set, struct pattern *p, struct error *err)
{
	int bad = resolve(set, p->premises, p->n_premises) || resolve(set, p->corroboration, p->n_corroboration) ||
		  resolve(set, p->promote, p->n_promote) || resolve(set, p->explains, p->n_explains);

	for (size_t i = 0; i < p->n_rivals; i++)
		bad |= resolve(set, p->rivals[i].excluded_by, p->rivals[i].n_excluded_by);
	return bad ? error_set(err, ERR_NOMEM, "no memory for the patterns") : 0;
}

static int check_pattern(struct pattern_set *set, const struct pattern *p, struct error *err)
{
	if (check_premises(set, p, p->premises, p->n_premises, err) ||
	    check_premises(set, p, p->corroboration, p->n_corroboration, err) ||
	    check_premises(set, p, p->promote, p->n_promote, err) || check_premises(set, p, p->explains, p->n_explains, err))
		return -1;
	for (size_t i = 0; i < p->n_rivals; i++) {
		if (check_premises(set, p, p->rivals[i].excluded_by, p->rivals[i].n_excluded_by, err))
			return -1;
		if (!pattern_find(set, p->rivals[i].pattern))
			return error_set(err, ERR_FORMAT, "%s:%d: %s: rival %s is no pattern", p->origin, p->line, p->id, p->rivals[i].pattern);
	}
	return 0;
}

static int compare_patterns(const void *a, const void *b)
{
	return strcmp(((const struct pattern *)a)->id, ((const struct pattern *)b)->id);
}

static int compare_signatures(const void *a, const void *b)
{
	return strcmp(((const struct signature *)a)->id, ((const struct signature *)b)->id);
}

int pattern_set_seal(struct pattern_set *set, struct error *err)
{
	if (set->n_patterns)
		qsort(set->patterns, set->n_patterns, sizeof(*set->patterns), compare_patterns);
	if (set->n_signatures)
		qsort(set->signatures, set->n_signatures, sizeof(*set->signatures), compare_signatures);
	for (size_t i = 1; i < set->n_patterns; i++)
		if (strcmp(set->patterns[i].id, set->patterns[i - 1].id) == 0)
			return error_set(err, ERR_FORMAT, "%s:%d: %s exists already (%s)", set->patterns[i].origin, set->patterns[i].line,
					 set->patterns[i].id, set->patterns[i - 1].origin);
	for (size_t i = 0; i < set->n_signatures; i++) {
		const struct signature *sig = &set->signatures[i];

		if (i && strcmp(sig->id, sig[-1].id) == 0)
			return error_set(err, ERR_FORMAT, "%s:%d: signature %s exists already (%s)", sig->origin, sig->line, sig->id,
					 sig[-1].origin);
		if (need_kind(set, sig->kind, sig->origin, sig->line, sig->id, err))
			return -1;
		for (size_t k = 0; k < sig->n_by; k++)
			if (sig->by_kinds[k][0] && need_kind(set, sig->by_kinds[k], sig->origin, sig->line, sig->id, err))
				return -1;
	}
	for (size_t i = 0; i < set->n_patterns; i++)
		if (check_pattern(set, &set->patterns[i], err))
			return -1;
	for (size_t i = 0; i < set->n_patterns; i++)	/* now that no kind moves any more */
		if (resolve_pattern(set, &set->patterns[i], err))
			return -1;
	return 0;
}

const struct pattern *pattern_find(const struct pattern_set *set, const char *id)
{
	for (size_t i = 0; i < set->n_patterns; i++)
		if (strcmp(set->patterns[i].id, id) == 0)
			return &set->patterns[i];
	return NULL;
}
