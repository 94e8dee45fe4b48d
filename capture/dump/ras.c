/*
 * ras - nccl/ras.txt and nccl/ras.json, from NCCL's RAS threads (2.24 and later).
 *
 * A process of the job listens on the loopback.  The client says which protocol it
 * speaks, is answered, may set a time limit and (2.28 and later) a format, each
 * answered by a line, and asks for the status: text until the server closes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/dump/sources.h"

#define RAS_WAIT_S 3		/* what NCCL waits for other processes; each of the two questions */
#define CLIENT_PROTOCOL 2

static int dial(uint32_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval limit = { RAS_WAIT_S + 2, 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Say a line; the answer's line begins with `expect`. */
static bool say(int fd, const char *line, const char *expect)
{
	char answer[256];
	size_t n = 0;

	if (send(fd, line, strlen(line), MSG_NOSIGNAL) != (ssize_t)strlen(line))
		return false;
	while (expect && n + 1 < sizeof(answer) && (n == 0 || answer[n - 1] != '\n')) {
		ssize_t got = recv(fd, answer + n, 1, 0);

		if (got <= 0)
			return false;
		n += (size_t)got;
	}
	answer[n] = '\0';
	return !expect || strncasecmp(answer, expect, strlen(expect)) == 0;
}

/* Ask for the status in one format: 0; 1: it has no such format; -1 and what went wrong. */
static int ask(uint32_t port, bool json, struct dump_text *t, const char **why)
{
	_cleanup_close_ int fd = dial(port);
	char line[64], buf[16384];
	ssize_t n;

	if (fd < 0)
		return *why = strerror(errno), -1;
	snprintf(line, sizeof(line), "CLIENT PROTOCOL %d\n", CLIENT_PROTOCOL);
	if (!say(fd, line, "SERVER PROTOCOL "))
		return *why = "what listens there does not speak RAS", -1;
	snprintf(line, sizeof(line), "TIMEOUT %d\n", RAS_WAIT_S);
	if (!say(fd, line, "OK"))
		return *why = "it refuses a time limit", -1;
	if (json && !say(fd, "SET FORMAT json\n", "OK"))
		return 1;
	if (!say(fd, "VERBOSE STATUS\n", NULL))
		return *why = "it closed the connection", -1;
	while (t->len < DUMP_TEXT_MAX && (n = recv(fd, buf, sizeof(buf), 0)) > 0)
		dump_text_append(t, buf, (size_t)n);
	return t->len ? 0 : (*why = "it gives no status", -1);
}

static void run(struct worker_link *l, void *ctx)
{
	const struct dump_context *dc = ctx;
	_cleanup_dump_text_ struct dump_text text = { 0 };
	_cleanup_dump_text_ struct dump_text json = { 0 };
	const char *why = "";

	if (dc->config->ras_port == 0) {
		worker_state(l, SOURCE_ABSENT, "switched off");
		return;
	}
	if (ask(dc->config->ras_port, false, &text, &why)) {
		worker_state(l, errno == ECONNREFUSED ? SOURCE_ABSENT : SOURCE_FAILED, "port %u: %s", dc->config->ras_port, why);
		return;
	}
	dump_send_text(l, "nccl/ras.txt", &text);
	if (ask(dc->config->ras_port, true, &json, &why) == 0)
		dump_send_text(l, "nccl/ras.json", &json);
	worker_state(l, SOURCE_OK, "%s", "");
}

const struct dump_source dump_ras = { "ras", 14, run };
