#!/bin/sh
# A bundle from every node of a failed job.
#
# In slurm.conf, on every node:   Epilog=/usr/local/share/tachograph/slurm-epilog.sh
# (or call it from the epilog that is there already).  slurmd runs it as root when the job's
# processes on the node have ended; the ring of tcaptured still has their last minutes.
#
# It always ends with status 0: an epilog that fails drains its node.
set -u

WAIT=${TDUMP_WAIT:-60}		# below PrologEpilogTimeout
PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin

job=${SLURM_JOB_ID:-}
[ -n "$job" ] || exit 0

# Only jobs that failed: "ExitCode=<status>:<signal>", and states that no exit status shows.
# When Slurm cannot be asked, a bundle too many is better than one too few.
seen=$(timeout 10 scontrol show job -o "$job" 2>/dev/null || true)
case $seen in
*JobState=FAILED* | *JobState=NODE_FAIL* | *JobState=TIMEOUT* | *JobState=OUT_OF_MEMORY* | *JobState=BOOT_FAIL*) ;;
*" ExitCode=0:0"*) exit 0 ;;
esac

timeout $((WAIT + 10)) tdump --wait "$WAIT" --job "$job" --reason "epilog of job $job" >/dev/null 2>&1 ||
	logger -t tdump "job $job: no bundle (status $?)" 2>/dev/null
exit 0
