#include "capture/scrub.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "bundle/cleanup.h"

#define NAME_BYTES_MAX 64		/* of "password" in "password = x" */
#define AGAIN_BYTES_MIN 8		/* a secret this long is also masked where it stands alone */

struct text {
	char *s;
	size_t len, masked;
};

/* ---- character classes ---- */

enum { WORD = 1, TOKEN = 2 };
static const uint8_t class_of[256] = {
	['0' ... '9'] = WORD | TOKEN, ['A' ... 'Z'] = WORD | TOKEN, ['a' ... 'z'] = WORD | TOKEN, ['_'] = WORD | TOKEN,
	['-'] = WORD | TOKEN, ['.'] = TOKEN, ['/'] = TOKEN, ['+'] = TOKEN, ['='] = TOKEN, ['~'] = TOKEN,
};

static bool is_word(char c) { return class_of[(uint8_t)c] & WORD; }
static bool is_token(char c) { return class_of[(uint8_t)c] & TOKEN; }
static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\0'; }
static bool is_quote(char c) { return c == '"' || c == '\''; }
static bool ends_value(char c) { return is_blank(c) || is_quote(c) || c == '\n' || c == '\r' || c == '&' || c == ',' || c == ';' || c == '}' || c == ')'; }

static size_t run_of(const struct text *t, size_t at, bool (*is)(char))
{
	size_t end = at;

	while (end < t->len && is(t->s[end]))
		end++;
	return end - at;
}

static bool stands_at(const struct text *t, size_t at, const char *what)
{
	size_t n = strlen(what);

	return t->len - at >= n && memcmp(t->s + at, what, n) == 0;
}

static bool stands_before(const struct text *t, size_t at, const char *what)
{
	size_t n = strlen(what);

	return at >= n && memcmp(t->s + at - n, what, n) == 0 && (at == n || !is_word(t->s[at - n - 1]));
}

/* ---- masking ---- */

/* Elsewhere in the text too: a secret that was assigned once is printed alone later. */
static void mask_again(struct text *t, const char *secret, size_t n)
{
	char *at = t->s, *end = t->s + t->len;

	while ((at = memmem(at, (size_t)(end - at), secret, n))) {
		memset(at, '*', n);
		at += n;
		t->masked++;
	}
}

static size_t mask(struct text *t, size_t at, size_t n)
{
	char secret[256];
	size_t kept = n < sizeof(secret) ? n : 0;

	if (n == 0 || t->s[at] == '*')
		return at + n;
	memcpy(secret, t->s + at, kept);
	memset(t->s + at, '*', n);
	t->masked++;
	if (kept >= AGAIN_BYTES_MIN)
		mask_again(t, secret, kept);
	return at + n;
}

/* ---- "name = value" ---- */

/* How sure a name makes us: the shortest value that is a secret, and whether it must look random. */
static const struct {
	const char *part;
	size_t value_min;
	bool at_end, random;
} names[] = {
	{ "password", 3, false, false }, { "passwd", 3, false, false }, { "passphrase", 3, false, false },
	{ "secret", 8, false, false }, { "api_key", 8, false, false }, { "api-key", 8, false, false },
	{ "apikey", 8, false, false }, { "access_key", 8, false, false }, { "access-key", 8, false, false },
	{ "private_key", 8, false, false }, { "credential", 8, false, true }, { "account_key", 8, false, true },
	{ "token", 16, true, true },		/* "num_tokens=8192" and "pad_token=<pad>" are none */
	{ "authorization", 8, true, false }, { "sig", 20, true, true },
};

static bool looks_random(const char *s, size_t n)
{
	bool letter = false, digit = false;

	for (size_t i = 0; i < n; i++) {
		digit |= s[i] >= '0' && s[i] <= '9';
		letter |= (s[i] | 32) >= 'a' && (s[i] | 32) <= 'z';
	}
	return letter && digit;
}

static bool contains(const char *s, size_t n, const char *part, bool at_end)
{
	size_t m = strlen(part);

	for (size_t i = at_end && n > m ? n - m : 0; i + m <= n; i++)
		if ((s[i] | 32) == (*part | 32) && strncasecmp(s + i, part, m) == 0)
			return true;
	return false;
}

/* "Bearer x", "Basic x": the scheme stays. */
static size_t skip_scheme(const struct text *t, size_t at)
{
	static const char *const schemes[] = { "Bearer ", "bearer ", "Basic ", "basic ", "Token ", "token " };

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (stands_at(t, at, schemes[i]))
			return at + strlen(schemes[i]);
	return at;
}

/* The value at `at` belongs to the name that ends at `name_end`. */
static size_t judge_value(struct text *t, size_t name_end, size_t at)
{
	size_t start = name_end, n = 0, from = skip_scheme(t, at);

	while (start > 0 && name_end - start < NAME_BYTES_MAX && is_word(t->s[start - 1]))
		start--;
	while (from + n < t->len && !ends_value(t->s[from + n]))
		n++;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (n < names[i].value_min || !contains(t->s + start, name_end - start, names[i].part, names[i].at_end))
			continue;
		if (!names[i].random || (run_of(t, from, is_token) == n && looks_random(t->s + from, n)))
			return mask(t, from, n);
	}
	return 0;
}

static size_t on_assignment(struct text *t, size_t at)
{
	size_t name_end = at, value = at + 1;

	while (name_end > 0 && (is_blank(t->s[name_end - 1]) || is_quote(t->s[name_end - 1])) && at - name_end < 3)
		name_end--;
	if (name_end == 0 || !is_word(t->s[name_end - 1]))
		return 0;
	while (value < t->len && (is_blank(t->s[value]) || is_quote(t->s[value])) && value - at < 4)
		value++;
	return judge_value(t, name_end, value);
}

/* "--password x" */
static size_t on_option(struct text *t, size_t at)
{
	size_t n = run_of(t, at, is_word), end = at + n;

	return n > 2 && end + 1 < t->len && is_blank(t->s[end]) && t->s[end + 1] != '-' ? judge_value(t, end, end + 1) : 0;
}

/* "scheme://user:password@host" */
static size_t on_url(struct text *t, size_t at)
{
	size_t colon = 0, i = at + 3;

	for (; i < t->len && i - at < 512 && !ends_value(t->s[i]) && t->s[i] != '/' && t->s[i] != '@'; i++)
		if (t->s[i] == ':' && !colon)
			colon = i;
	return colon && i < t->len && t->s[i] == '@' ? mask(t, colon + 1, i - colon - 1) : 0;
}

/* ---- tokens that are known by their shape ---- */

static size_t on_private_key(struct text *t, size_t at)
{
	const char *end = memmem(t->s + at, t->len - at, "-----END", 8);
	const char *line = memchr(t->s + at, '\n', t->len - at);
	size_t from, n;

	if (!stands_at(t, at, "-----BEGIN") || !line ||
	    !memmem(t->s + at, (size_t)(line - t->s) - at, "PRIVATE KEY", 11))
		return 0;
	from = (size_t)(line - t->s) + 1;
	n = (end ? (size_t)(end - t->s) : t->len) - from;
	for (size_t i = from; i < from + n; i++)
		if (t->s[i] != '\n')
			t->s[i] = '*';
	t->masked++;
	return from + n;
}

#define SHAPE_BYTES_MIN 16
static const struct shape {
	char trigger;		/* the last byte of `prefix` */
	const char *prefix;
	size_t min;		/* bytes behind the prefix, SHAPE_BYTES_MIN or more */
} shapes[] = {
	{ '_', "ghp_", 30 }, { '_', "gho_", 30 }, { '_', "ghu_", 30 }, { '_', "ghs_", 30 }, { '_', "ghr_", 30 },
	{ '_', "github_pat_", 30 }, { '_', "hf_", 30 }, { '-', "glpat-", 16 }, { '-', "sk-", 20 },
	{ '-', "xoxb-", 16 }, { '-', "xoxp-", 16 }, { '-', "xoxa-", 16 }, { '-', "xoxs-", 16 }, { '-', "xapp-", 16 },
	{ 'A', "AKIA", 16 }, { 'A', "ASIA", 16 }, { 'I', "AI", 36 }, { 'J', "eyJ", 30 },
};

static size_t on_shape(struct text *t, size_t at)
{
	for (size_t k = 1; k <= SHAPE_BYTES_MIN; k++)	/* most words end sooner */
		if (at + k >= t->len || !is_token(t->s[at + k]))
			return 0;
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		const struct shape *sh = &shapes[i];
		size_t n;

		if (sh->trigger != t->s[at] || !stands_before(t, at + 1, sh->prefix))
			continue;
		n = run_of(t, at + 1, is_token);
		/* AKIA: capitals and digits; eyJ: a JWT has its dots */
		if (n < sh->min || !looks_random(t->s + at + 1, n) || (sh->trigger == 'J' && !memchr(t->s + at, '.', n)))
			continue;
		return mask(t, at + 1 - strlen(sh->prefix), n + strlen(sh->prefix));
	}
	return 0;
}

static size_t on_bearer(struct text *t, size_t at)
{
	size_t n;

	if (!stands_at(t, at + 1, "earer ") || (at && is_word(t->s[at - 1])))
		return 0;
	n = run_of(t, at + 7, is_token);
	return n >= 16 && looks_random(t->s + at + 7, n) ? mask(t, at + 7, n) : 0;
}

static size_t on_dash(struct text *t, size_t at)
{
	size_t next = 0;

	if (stands_at(t, at, "-----"))
		next = on_private_key(t, at);
	else if (stands_at(t, at, "--") && (at == 0 || is_blank(t->s[at - 1])))
		next = on_option(t, at + 2);
	return next ? next : on_shape(t, at);
}

/* Bytes at which something may begin; all others cost one look. */
enum trigger { T_NONE, T_ASSIGN, T_COLON, T_DASH, T_SHAPE, T_BEARER };
static const uint8_t trigger_of[256] = {
	['='] = T_ASSIGN, [':'] = T_COLON, ['-'] = T_DASH, ['_'] = T_SHAPE, ['A'] = T_SHAPE, ['I'] = T_SHAPE,
	['J'] = T_SHAPE, ['B'] = T_BEARER, ['b'] = T_BEARER,
};

size_t scrub_text(char *s, size_t len)
{
	struct text t = { .s = s, .len = len };

	for (size_t i = 0; i < len;) {
		size_t next = 0;

		if (!trigger_of[(uint8_t)s[i]]) {
			i++;
			continue;
		}
		switch ((enum trigger)trigger_of[(uint8_t)s[i]]) {
		case T_NONE: break;
		case T_ASSIGN: next = on_assignment(&t, i); break;
		case T_COLON: next = stands_at(&t, i, "://") ? on_url(&t, i) : on_assignment(&t, i); break;
		case T_DASH: next = on_dash(&t, i); break;
		case T_SHAPE: next = on_shape(&t, i); break;
		case T_BEARER: next = on_bearer(&t, i); break;
		}
		i = next > i ? next : i + 1;
	}
	return t.masked;
}

/* ---- environment ---- */

bool scrub_env_allowed(const char *name, size_t len)
{
	static const char *const whole[] = {
		"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "NODE_RANK", "GROUP_WORLD_SIZE",
		"MASTER_ADDR", "MASTER_PORT", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
		"NVIDIA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "CUDA_DEVICE_ORDER", "LD_LIBRARY_PATH", "PYTORCH_CUDA_ALLOC_CONF",
		"OMP_NUM_THREADS", "HOME", "XDG_CACHE_HOME", "TMPDIR", "HOSTNAME", "LSB_JOBID", "PBS_JOBID", "PMI_RANK", "PMI_SIZE",
		"POD_NAME", "POD_NAMESPACE", "NODE_NAME", "TORCH_DISTRIBUTED_DEBUG", "JOB_ID",
	};
	static const char *const families[] = {
		"NCCL_", "TORCH_NCCL_", "TORCH_FR_", "TORCHELASTIC_", "OMPI_COMM_WORLD_", "RCCL_", "UCX_", "FI_", "SLURM_",
	};
	static const char *const never[] = { "KEY", "TOKEN", "SECRET", "PASS", "CRED", "AUTH", "JWT" };

	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		if (contains(name, len, never[i], false))
			return false;
	for (size_t i = 0; i < ARRAY_SIZE(whole); i++)
		if (strlen(whole[i]) == len && memcmp(name, whole[i], len) == 0)
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (len > strlen(families[i]) && memcmp(name, families[i], strlen(families[i])) == 0)
			return true;
	return false;
}
