#!/bin/sh
# What the BPF and NCCL sources cost: a uprobe hit, 50,000 events/s without loss, scheduling and system calls beside them.
# usage: bench_capture.sh BUILD [ROUNDS]; SECONDS_OF_LOAD=60
set -eu
build=${1:?usage: bench_capture.sh BUILD [ROUNDS]}
[ "$(id -u)" = 0 ] || { echo "bench_capture: needs root" >&2; exit 77; }
command -v perf >/dev/null || { echo "bench_capture: needs perf" >&2; exit 77; }
exec python3 "$(dirname "$0")/bench_capture.py" "$build" "${2:-7}" "${SECONDS_OF_LOAD:-60}"
