/* topology - gpu/nccl-topo.xml: what NCCL_TOPO_DUMP_FILE of the job's processes names. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "capture/dump/sources.h"

static void run(struct worker_link *l, void *ctx)
{
	const struct dump_context *dc = ctx;
	const char *value;

	for (size_t i = 0; i < dc->n_tracks; i++) {
		_cleanup_dump_text_ struct dump_text env = { 0 };
		_cleanup_dump_text_ struct dump_text t = { 0 };
		uint32_t pid = dc->tracks[i].p.pid;
		char path[PATH_MAX];

		if (dump_read_environ(pid, &env) || !(value = dump_env(&env, "NCCL_TOPO_DUMP_FILE")) || !value[0])
			continue;
		dump_path_of(pid, value, path, sizeof(path));
		if (dump_read_file(path, DUMP_TEXT_MAX, &t)) {
			worker_state(l, SOURCE_FAILED, "cannot read %s: %s", value, strerror(errno));
			return;
		}
		dump_send_text(l, "gpu/nccl-topo.xml", &t);
		worker_state(l, SOURCE_OK, "%s", "");
		return;
	}
	worker_state(l, SOURCE_ABSENT, "no process of the job has NCCL_TOPO_DUMP_FILE");
}

const struct dump_source dump_topology = { "topology", 3, run };
