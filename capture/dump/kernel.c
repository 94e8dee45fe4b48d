/* kernel - kernel/kmsg.log from /dev/kmsg itself, when the ring has no kernel log. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "capture/dump/sources.h"

static void run(struct worker_link *l, void *ctx)
{
	const struct dump_context *dc = ctx;
	_cleanup_dump_text_ struct dump_text t = { 0 };
	_cleanup_close_ int fd = -1;
	char record[8192];

	if (dc->has_kernel_log) {
		worker_state(l, SOURCE_OK, "%s", "");
		return;
	}
	fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		worker_state(l, errno == ENOENT ? SOURCE_ABSENT : SOURCE_DENIED, "/dev/kmsg: %s", strerror(errno));
		return;
	}
	while (t.len < DUMP_TEXT_MAX) {
		ssize_t n = read(fd, record, sizeof(record));

		if (n < 0 && (errno == EPIPE || errno == EINTR))	/* overwritten meanwhile: the next one is there */
			continue;
		if (n <= 0)
			break;
		dump_text_append(&t, record, (size_t)n);
	}
	if (!t.len && errno != EAGAIN) {
		worker_state(l, errno == EPERM ? SOURCE_DENIED : SOURCE_FAILED, "/dev/kmsg: %s", strerror(errno));
		return;
	}
	dump_send_text(l, "kernel/kmsg.log", &t);
	worker_state(l, SOURCE_OK, "%s", "");
}

const struct dump_source dump_kernel = { "kernel", 3, run };
