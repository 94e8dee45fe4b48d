#!/bin/bash
# What the recorder costs: ring, CPU, memory, a uprobe hit, 50,000 events/s without loss, scheduling and system calls beside it.
#
#	[RUNS=5] [SECONDS_OF_LOAD=60] bench_capture.sh
#
# Exit status: 0 all that is asked was reached, 1 not, 77 something is missing.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need "$BUILD/tcaptured" "$BUILD/tdump" "$BUILD/probe_driver" "$BUILD/probe_cost" "$BUILD/ring-bench"
[ "$(id -u)" = 0 ] || { echo "skipped: bench_capture needs root" >&2; exit 77; }
command -v perf > /dev/null || { echo "skipped: bench_capture needs perf" >&2; exit 77; }
exec "$PYTHON" "$here/bench_capture.py" "$BUILD" "$RUNS" "${SECONDS_OF_LOAD:-60}"
