/* slurm - slurm/job.txt: what the scheduler says about the job. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "capture/dump/sources.h"

/* Of the first process that has one; else of this program (an epilog). */
static bool find_job(const struct dump_context *dc, char *id, size_t size)
{
	const char *own = getenv("SLURM_JOB_ID");

	for (size_t i = 0; i < dc->n_tracks; i++) {
		_cleanup_dump_text_ struct dump_text env = { 0 };
		const char *value = dump_read_environ(dc->tracks[i].p.pid, &env) ? NULL : dump_env(&env, "SLURM_JOB_ID");

		if (value && value[0]) {
			snprintf(id, size, "%s", value);
			return true;
		}
	}
	snprintf(id, size, "%s", own ? own : "");
	return id[0] != '\0';
}

static void run(struct worker_link *l, void *ctx)
{
	_cleanup_dump_text_ struct dump_text t = { 0 };
	struct error err = { 0 };
	char id[32];
	const char *const argv[] = { "scontrol", "show", "job", "-d", id, NULL };
	int status;

	if (!find_job(ctx, id, sizeof(id)) || !isdigit((unsigned char)id[0])) {
		worker_state(l, SOURCE_ABSENT, "no job of Slurm");
		return;
	}
	if (!dump_has_command(argv[0])) {
		worker_state(l, SOURCE_ABSENT, "there is no scontrol");
		return;
	}
	status = dump_command(argv, 6000, true, &t, &err);
	if (t.len)
		dump_send_text(l, "slurm/job.txt", &t);
	if (status < 0)
		worker_state(l, SOURCE_FAILED, "%s", err.code == ERR_LIMIT ? "hung" : err.what);
	else if (status)
		worker_state(l, SOURCE_FAILED, "scontrol ended with status %d", WEXITSTATUS(status));
	else
		worker_state(l, SOURCE_OK, "%s", "");
}

const struct dump_source dump_slurm = { "slurm", 8, run };
