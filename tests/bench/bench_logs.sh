#!/bin/bash
# Log scan with all shipped signatures on one thread, against ripgrep with one thread
# and the same patterns.  Medians of $RUNS alternating runs.
#
#	[BENCH_DIR=dir] [SIZE=268435456 | FULL=1] [RUNS=5] bench_logs.sh
#
# Exit status: 0 all asked ratios reached, 1 not, 77 a program is missing.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

scan=$BUILD/tanalyze-bench-scan
need "$scan"
if ! command -v rg > /dev/null; then
	echo "skipped: rg (ripgrep) is not installed" >&2
	exit 77
fi
tool gen_log

SIZE=${SIZE:-$((256 << 20))}
[ -n "${FULL:-}" ] && SIZE=$((1 << 30))
"$scan" --dump-patterns > "$work/patterns.txt"

# case, bytes, asked ratio (peer time / our time)
cases="sparse $SIZE 4
near $((SIZE / 4)) 0.5
dense $((SIZE / 8)) 0.5
long $((SIZE / 4)) 0.5"

head_row
notes=
while read -r mode bytes asked; do
	log=$work/$mode-$bytes.log
	[ -f "$log" ] || "$work/gen_log" "$mode" "$bytes" > "$log"
	cat "$log" > /dev/null
	out=$("$PYTHON" "$here/measure.py" -n "$RUNS" -w 1 -- "$scan" "$log" --vs \
		rg --no-config --no-unicode -a -n -j1 -f "$work/patterns.txt" "$log")
	ours=$(sed -n 1p <<< "$out") peer=$(sed -n 2p <<< "$out")
	a=$(field seconds <<< "$ours") b=$(field seconds <<< "$peer")
	row "$mode, $((bytes >> 20)) MB" "$a" "$b" "$(ratio "$b" "$a")" "$asked"
	# Ours prints "hits=N lines=N" as its last line; hits are the lines that match.
	mine=$(field hits <<< "$ours")
	theirs=$(field lines <<< "$peer")
	agree "matching lines of $mode" "$mine" "$theirs"
	notes="$notes$mode: ours ${mine:-?} hits, ripgrep $theirs lines; $(ratio "$bytes" "$(awk -v s="$a" 'BEGIN { print s * 1e6 }')") MB/s
"
done <<< "$cases"
printf '%s' "$notes"
exit $failed
