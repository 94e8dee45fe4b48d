#include "analyzer/ingest/detect.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "analyzer/ingest/flight.h"
#include "analyzer/ingest/ring.h"
#include "bundle/cleanup.h"

#define SCREEN_BYTES 600	/* a tool's screen shows what it is in these */

const char *format_name(enum format f)
{
	static const char *const names[FMT_COUNT] = {
		[FMT_EMPTY] = "empty", [FMT_FLIGHT] = "flight_recorder", [FMT_NVIDIA_SMI] = "nvidia_smi",
		[FMT_GPU_TEXT] = "gpu_tool", [FMT_GPU_JSON] = "gpu_tool", [FMT_DCGM_TEXT] = "dcgm", [FMT_DCGM_JSON] = "dcgm",
		[FMT_RAS_TEXT] = "nccl_ras", [FMT_RAS_JSON] = "nccl_ras", [FMT_K8S_JSON] = "kubernetes", [FMT_K8S_TEXT] = "kubernetes", [FMT_STACKS] = "stacks",
		[FMT_ELASTIC] = "elastic_error", [FMT_MANIFEST] = "manifest", [FMT_TOPOLOGY] = "nccl_topology",
		[FMT_RING] = "ring", [FMT_BINARY] = "binary", [FMT_LOG] = "log",
	};

	return names[f];
}

static bool has(const uint8_t *p, size_t n, const char *text) { return memmem(p, n, text, strlen(text)) != NULL; }

static enum format json_format(const uint8_t *p, size_t n)
{
	if (has(p, n < 4096 ? n : 4096, "\"tachograph.bundle/"))
		return FMT_MANIFEST;
	if (flight_sniff_json(p, n))
		return FMT_FLIGHT;
	if (has(p, n, "\"involvedObject\"") || has(p, n, "\"kind\":\"Pod\"") || has(p, n, "\"kind\": \"Pod\"") ||
	    has(p, n, "\"kind\": \"Event\"") || has(p, n, "\"kind\":\"Event\"") || has(p, n, "\"containerStatuses\"") ||
	    has(p, n, "\"regarding\"") || has(p, n, "\"nodeInfo\""))
		return FMT_K8S_JSON;
	if (has(p, n, "\"communicators_count\"") && has(p, n, "\"missing_ranks_count\""))
		return FMT_RAS_JSON;
	if (has(p, n, "\"DCGM Diagnostic\"") || has(p, n, "\"DCGM GPU Diagnostic\"") || has(p, n, "\"Health Monitor Report\""))
		return FMT_DCGM_JSON;
	if ((has(p, n, "\"card0\"") && has(p, n, "Temperature (Sensor")) ||
	    (has(p, n, "\"gpu\":") && (has(p, n, "\"gfx_activity\"") || has(p, n, "\"total_uncorrectable_count\"") || has(p, n, "\"bdf\""))))
		return FMT_GPU_JSON;
	if (has(p, n < 256 ? n : 256, "\"message\"") && (has(p, n, "\"extraInfo\"") || has(p, n, "\"py_callstack\"")))
		return FMT_ELASTIC;
	return FMT_LOG;		/* JSON lines of a logger, or JSON that we have no parser for */
}

static bool is_stacks(const uint8_t *p, size_t n)
{
	return (has(p, n, "Thread 0x") && has(p, n, "(most recent call first):")) || has(p, n, "Python v3.") ||
	       (has(p, n, "Thread ") && (has(p, n, "(idle)") || has(p, n, "(active)") || has(p, n, "(active+gil)")) &&
		has(p, n, ".py:")) ||
	       (n > 5 && (memcmp(p, "[<0>] ", 5) == 0 || has(p, n, "\n[<0>] "))) ||
	       (has(p, n, "#0  0x") && has(p, n, "#1  0x"));
}

static bool is_kubectl(const uint8_t *p, size_t n)
{
	return (has(p, n, "Namespace:") && has(p, n, "\nStatus:")) || has(p, n, "LAST SEEN") ||
	       (has(p, n, "Events:") && has(p, n, "Reason") && has(p, n, "From") && has(p, n, "Message")) ||
	       (has(p, n, "\nConditions:") && has(p, n, "MemoryPressure"));
}

/* Screens of tools, by their first lines: further down in a log they are part of it. */
static enum format screen_format(const uint8_t *p, size_t n)
{
	static const struct {
		const char *text;
		enum format format;
	} heads[] = {
		{ "==NVSMI LOG==", FMT_GPU_TEXT }, { "| NVIDIA-SMI ", FMT_GPU_TEXT },
		{ "= ROCm System Management Interface =", FMT_GPU_TEXT }, { "\nGPU[0]\t", FMT_GPU_TEXT },
		{ "| Diagnostic      ", FMT_DCGM_TEXT }, { "Health Monitor Report", FMT_DCGM_TEXT },
		{ "#Entity  ", FMT_DCGM_TEXT }, { "\nJob summary\n===", FMT_RAS_TEXT },
	};

	n = n < SCREEN_BYTES ? n : SCREEN_BYTES;
	if (n > 8 && memcmp(p, "GPU: ", 5) == 0 && has(p, n, "\n    ") && has(p, n, ":\n"))
		return FMT_GPU_TEXT;	/* amd-smi */
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		if (has(p, n, heads[i].text))
			return heads[i].format;
	return FMT_LOG;
}

/* Text has few NULs and control bytes; logs of crashed hosts may hold a run of NULs. */
static bool is_binary(const uint8_t *p, size_t n)
{
	size_t odd = 0;

	if (n >= 4 && (memcmp(p, "\x7f" "ELF", 4) == 0 || memcmp(p, "PK\x03\x04", 4) == 0))
		return true;
	for (size_t i = 0; i < n; i++)
		odd += p[i] < 0x20 && !strchr("\t\n\r\x1b\b\f", p[i] ? p[i] : 1);
	return odd * 4 > n;
}

enum format detect(const uint8_t *head, size_t len)
{
	size_t i = 0;

	if (len == 0)
		return FMT_EMPTY;
	if (ring_is_segment(head, len))
		return FMT_RING;
	if (flight_sniff_pickle(head, len))
		return FMT_FLIGHT;
	while (i < len && isspace(head[i]))
		i++;
	if (len - i >= 3 && memcmp(head + i, "\xef\xbb\xbf", 3) == 0)
		i += 3;
	if (i < len && head[i] == '<' && (has(head, len, "<nvidia_smi_log") || has(head, len, "nvsmi_device")))
		return FMT_NVIDIA_SMI;
	if (i < len && head[i] == '<' && (has(head, len, "<system ") || has(head, len, "<graphs ")))
		return FMT_TOPOLOGY;
	if (i < len && (head[i] == '{' || head[i] == '['))
		if (json_format(head + i, len - i) != FMT_LOG)
			return json_format(head + i, len - i);
	if (is_binary(head, len))
		return FMT_BINARY;
	if (screen_format(head + i, len - i) != FMT_LOG)
		return screen_format(head + i, len - i);
	if (is_kubectl(head, len))
		return FMT_K8S_TEXT;
	return is_stacks(head, len) ? FMT_STACKS : FMT_LOG;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Length of a file name without the extensions that say how it is stored. */
static size_t stem(const char *name)
{
	static const char *const extensions[] = { ".pickle", ".pkl", ".json", ".gz", ".zst", ".log", ".txt",
						  ".out", ".err", ".bin", ".stdout", ".stderr" };
	size_t n = strlen(name);
	bool cut = true;

	while (cut) {
		cut = false;
		for (size_t i = 0; i < ARRAY_SIZE(extensions); i++) {
			size_t m = strlen(extensions[i]);

			if (n > m && strncasecmp(name + n - m, extensions[i], m) == 0) {
				n -= m;
				cut = true;
			}
		}
	}
	return n;
}

static int32_t digits_at(const char *s, size_t n)
{
	int32_t v = 0;

	if (n == 0 || n > 7)
		return RANK_NONE;
	for (size_t i = 0; i < n; i++)
		v = v * 10 + (s[i] - '0');
	return v;
}

int32_t rank_from_path(const char *path)
{
	const char *name = base_name(path), *p;
	size_t n = stem(name), k = 0;

	for (p = name; (p = strcasestr(p, "rank")); p += 4) {
		const char *q = p + 4;

		while (*q == '_' || *q == '-' || *q == '.')
			q++;
		for (k = 0; isdigit((unsigned char)q[k]); k++)
			;
		if (k && !isalnum((unsigned char)q[k]) && q[k] != '_')
			return digits_at(q, k);
	}
	for (k = 0; k < n && isdigit((unsigned char)name[n - 1 - k]); k++)
		;
	if (k == n || k == 0 || k > 6)
		return k == n && k && k <= 5 ? digits_at(name, k) : RANK_NONE;
	return digits_at(name + n - k, k);
}

bool looks_like_dump(const char *path)
{
	const char *name = base_name(path);

	return rank_from_path(path) != RANK_NONE &&
	       (strstr(name, "trace") || strstr(name, "dump") || strstr(name, "comm_lib") || strstr(name, "fr_"));
}

bool named_like_dump(const char *path)
{
	static const char *const prefixes[] = { "nccl_trace_rank_", "comm_lib_trace_rank_", "_dump_" };
	const char *name = base_name(path);

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0 && !strchr(name, '.'))
			return true;
	return false;
}

static bool begins_with(const char *s, size_t n, const char *word)
{
	size_t m = strlen(word);

	return n >= m && strncasecmp(s, word, m) == 0;
}

/* Words that files and prefixes are full of, and that no host begins with. */
static bool common_word(const char *s, size_t n)
{
	static const char *const words[] = { "rank", "dmesg", "log", "job", "slurm", "trace", "worker", "nccl", "attempt", "step",
					     "stdout", "stderr", "pid", "version", "iter", "local", "part", "run", "epoch", "smi",
					     "train", "main", "test", "xid", "case", "incident", "issue", "bug", "tmp", "out" };

	static const char *const products[] = { "a100", "h100", "h200", "b200", "b300", "gb200", "gb300", "v100", "l40s", "mi250", "mi300x",
						"nvl72", "bf16", "fp16", "fp8", "cuda12", "cuda13" };

	for (size_t i = 0; i < ARRAY_SIZE(products); i++)
		if (n == strlen(products[i]) && begins_with(s, n, products[i]))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (begins_with(s, n, words[i]))
			return true;
	return n == 0;
}

bool reads_like_host(const char *s, size_t n)
{
	bool digit = false;

	for (size_t i = 0; i < n; i++)
		digit |= isdigit((unsigned char)s[i]) != 0;
	/* "gpu3" is a device, "gpu03", "gpu017" and "gpu-a12" are hosts */
	if (begins_with(s, n, "gpu") && (n <= 4 || (n == 5 && s[3] != '0')))
		return false;
	return n >= 3 && n <= 63 && digit && isalpha((unsigned char)s[0]) && !common_word(s, n);
}

/* Length of "10.0.3.7" at `s`; 0: none. */
static size_t address_at(const char *s)
{
	const char *p = s;

	for (int part = 0; part < 4; part++) {
		size_t n = strspn(p, "0123456789");

		if (n < 1 || n > 3 || (part < 3 && p[n] != '.'))
			return 0;
		p += n + (part < 3);
	}
	return isalnum((unsigned char)*p) || (*p == '.' && isdigit((unsigned char)p[1])) ? 0 : (size_t)(p - s);
}

/* Does `s` begin with a word that hosts are called by, with a number behind it?  Then it may be the whole name of a file. */
static bool named_as_host(const char *s, size_t n)
{
	static const char *const words[] = { "node", "host", "gpu", "dgx", "hgx", "nid", "compute", "trn", "server", "ip-" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (begins_with(s, n, words[i]))
			return reads_like_host(s, n);
	return false;
}

/* "worker-w1", "host-c2": what stands behind the word is a name, however short */
static size_t role_host(const char *s, size_t n, const char **start_ret)
{
	static const char *const roles[] = { "worker-", "host-", "node-" };

	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		size_t skip = strlen(roles[i]);

		if (n == skip + 2 && strncasecmp(s, roles[i], skip) == 0 && isalpha((unsigned char)s[skip]) &&
		    isdigit((unsigned char)s[skip + 1])) {
			*start_ret = s + skip;
			return 2;
		}
	}
	return 0;
}

/* In a part of a file's name that holds no '.' and no '_', neither of which host names hold. */
static size_t host_in_part(const char *s, size_t n, bool first, const char **start_ret)
{
	for (size_t i = 0; i < n; i++)
		if ((i ? s[i - 1] == '-' && reads_like_host(s + i, n - i) : !first && reads_like_host(s, n)) || (!i && named_as_host(s, n))) {
			*start_ret = s + i;
			return n - i;
		}
	return role_host(s, n, start_ret);
}

size_t host_from_path(const char *path, const char **start_ret)
{
	const char *name = base_name(path), *p;
	size_t n;

	for (p = name; *p; p++)
		if ((p == name || !isalnum((unsigned char)p[-1])) && (n = address_at(p))) {
			*start_ret = p;
			return n;
		}
	/* "dmesg-node07.log", "nvidia-smi.node07.xml": the part behind the kind */
	for (p = name; *p; p += n + (p[n] != '\0')) {
		size_t found;

		n = strcspn(p, "._");
		found = host_in_part(p, n, p == name, start_ret);
		if (found)
			return found;
	}
	/* the directory: "hosts/node07/dmesg" */
	if (name > path + 1) {
		const char *end = name - 1, *dir = end;

		while (dir > path && dir[-1] != '/')
			dir--;
		if (reads_like_host(dir, (size_t)(end - dir))) {
			*start_ret = dir;
			return (size_t)(end - dir);
		}
	}
	return 0;
}
