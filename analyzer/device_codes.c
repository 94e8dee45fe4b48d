#include "analyzer/device_codes.h"

#include <stdlib.h>
#include <string.h>

#include "bundle/cleanup.h"

#define DO_NOTHING "nothing by itself"
#define DO_WATCH "nothing now; watch whether it comes again"
#define DO_CHECK_PROGRAM "look at the program; the GPU only when it comes again there with another program"
#define DO_RESTART_PROGRAM "restart the program"
#define DO_RESET_LATER "reset the GPU at the next pause"
#define DO_RESET_GPU "reset the GPU"
#define DO_REPLACE_GPU "take the GPU out of use and replace it"
#define DO_RESTART_HOST "restart the host"
#define DO_CHECK_POWER "look at the power cables and the power supply"
#define DO_CHECK_LINK "look at both ends of the link"
#define DO_ASK_VENDOR "ask the vendor"
#define DO_AS_IT_SAYS "what the line says"

static const struct xid xids[] = {
#define XID(code, kind, scope, alone, action, meaning, follows) \
	{ code, kind, SCOPE_##scope, alone, DO_##action, meaning, follows },
#include "analyzer/xids.def"
};

static const struct sxid sxids[] = {
#define SXID(code, severity, meaning) { code, code, SXID_##severity, meaning },
#define SXID_UNIT(first, last, unit) { first, last, SXID_AS_STATED, unit },
#include "analyzer/sxids.def"
};

const struct xid *xid_find(uint32_t code)
{
	for (size_t i = 0; i < ARRAY_SIZE(xids); i++)
		if (xids[i].code == code)
			return &xids[i];
	return NULL;
}

const struct xid *xid_at(size_t i)
{
	return i < ARRAY_SIZE(xids) ? &xids[i] : NULL;
}

/* Codes stand before the units that hold them. */
const struct sxid *sxid_find(uint32_t code)
{
	for (size_t i = 0; i < ARRAY_SIZE(sxids); i++)
		if (code >= sxids[i].first && code <= sxids[i].last)
			return &sxids[i];
	return NULL;
}

const char *code_scope_name(enum code_scope scope)
{
	static const char *const names[] = {
		[SCOPE_PROGRAM] = "program", [SCOPE_GPU] = "GPU", [SCOPE_LINK] = "link", [SCOPE_HOST] = "host",
	};

	return names[scope];
}

const char *sxid_severity_name(enum sxid_severity severity)
{
	static const char *const names[] = {
		[SXID_NONFATAL] = "not fatal", [SXID_FATAL] = "fatal: the GPUs on the link have to be reset",
		[SXID_FATAL_HOST] = "fatal: the host has to be restarted", [SXID_AS_STATED] = "as fatal as its line says",
	};

	return names[severity];
}

static void explain_xid(uint32_t code, FILE *out)
{
	const struct xid *x = xid_find(code);

	if (!x) {
		fprintf(out, "Xid %u: not known\n", code);
		return;
	}
	fprintf(out, "Xid %u: %s\n  scope: %s\n  observation: %s\n  by itself: %s\n", x->code, x->meaning, code_scope_name(x->scope),
		x->kind, x->alone ? "shows its cause" : "needs another witness");
	if (x->follows[0])
		fprintf(out, "  may follow: %s\n", x->follows);
	fprintf(out, "  do: %s\n", x->action);
}

static void explain_sxid(uint32_t code, FILE *out)
{
	const struct sxid *x = sxid_find(code);

	if (!x)
		fprintf(out, "SXid %u: not known\n", code);
	else
		fprintf(out, "SXid %u: %s%s\n  severity: %s\n", code, x->first == x->last ? "" : "no row of its own; from ", x->meaning,
			sxid_severity_name(x->severity));
}

int code_explain(const char *text, FILE *out)
{
	bool of_switch = strncasecmp(text, "sxid:", 5) == 0;
	const char *digits = strchr(text, ':');
	char *end;
	unsigned long code;

	if (!digits || (!of_switch && strncasecmp(text, "xid:", 4)))
		return -1;
	code = strtoul(digits + 1, &end, 10);
	if (end == digits + 1 || *end || code > UINT32_MAX)
		return -1;
	if (of_switch)
		explain_sxid((uint32_t)code, out);
	else
		explain_xid((uint32_t)code, out);
	return 0;
}
