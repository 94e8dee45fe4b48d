/* nvidia_smi - gpu/nvidia-smi.xml, as `nvidia-smi -q -x` gives it. */
#include <sys/wait.h>

#include "capture/dump/sources.h"

#define TIMEOUT_MS 14000

static void run(struct worker_link *l, void *ctx)
{
	static const char *const argv[] = { "nvidia-smi", "-q", "-x", NULL };
	_cleanup_dump_text_ struct dump_text t = { 0 };
	struct error err = { 0 };
	int status;

	(void)ctx;
	if (!dump_has_command(argv[0])) {
		worker_state(l, SOURCE_ABSENT, "there is no nvidia-smi");
		return;
	}
	status = dump_command(argv, TIMEOUT_MS, false, &t, &err);
	if (t.len)
		dump_send_text(l, "gpu/nvidia-smi.xml", &t);
	if (status < 0)
		worker_state(l, SOURCE_FAILED, "%s", err.code == ERR_LIMIT ? "hung" : err.what);
	else if (status)
		worker_state(l, SOURCE_FAILED, "nvidia-smi ended with status %d", WEXITSTATUS(status));
	else
		worker_state(l, SOURCE_OK, "%s", "");
}

const struct dump_source dump_nvidia_smi = { "nvidia_smi", 16, run };
