#!/bin/bash
# Flight-recorder dumps: decoding and whole analysis, against the loop that anybody
# would write in Python.  Medians of $RUNS alternating runs.
#
#	[BENCH_DIR=dir] [FULL=1] [RUNS=5] bench_dumps.sh
#
# FULL=1 adds 1,024 ranks (about 0.5 GB of dumps).  Exit status: 0 all asked ratios
# reached and all results agree, 1 not, 77 programs not built.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need "$BUILD/tanalyze"
tool gen_dumps

sizes="64 256"
[ -n "${FULL:-}" ] && sizes="$sizes 1024"
entries=2000

for n in $sizes; do
	if [ ! -f "$work/dumps-$n.txt" ]; then
		rm -rf "$work/dumps-$n"
		mkdir -p "$work/dumps-$n"
		"$work/gen_dumps" "$work/dumps-$n" "$n" "$entries" > "$work/dumps-$n.txt"
	fi
done

measure() { "$PYTHON" "$here/measure.py" -n "$1" -w "$2" -- "${@:3}"; }

# The culprit that the report names must be the rank that the generator left out.
culprit() { "$PYTHON" -c '
import json, sys
r = json.load(open(sys.argv[1]))
ids = r["verdict"]["findings"]
f = next((f for f in r["findings"] if ids and f["id"] == ids[0]), {})
print(",".join(sorted({str(c.get("rank")) for c in f.get("culprits") or []})) or "none")' "$1"; }

head_row
if [ -x "$BUILD/tanalyze-bench-decode" ]; then
	dir=$work/dumps-64
	bytes=$(field bytes < "$work/dumps-64.txt")
	out=$(measure "$RUNS" 1 "$BUILD/tanalyze-bench-decode" "$dir" --vs "$PYTHON" "$here/loop.py" "$dir")
	ours=$(sed -n 1p <<< "$out") peer=$(sed -n 2p <<< "$out")
	agree "entries decoded" "$(field entries <<< "$ours")" "$(field entries <<< "$peer")"
	agree "entries generated" "$(field entries < "$work/dumps-64.txt")" "$(field entries <<< "$peer")"
	a=$(field seconds <<< "$ours") b=$(field seconds <<< "$peer")
	row "decode, 64 ranks" "$a" "$b" "$(ratio "$b" "$a")" 8
	decode_note=$(printf 'decoding: %s MB/s, CPython %s MB/s (%s MB)\n' \
		"$(ratio "$bytes" "$(awk -v s="$a" 'BEGIN { print s * 1e6 }')")" \
		"$(ratio "$bytes" "$(awk -v s="$b" 'BEGIN { print s * 1e6 }')")" "$(ratio "$bytes" 1000000)")
else
	echo "skipped: $BUILD/tanalyze-bench-decode is not built" >&2
	decode_note=
fi

declare -A ours_s ours_mb asked=([256]=12)
for n in $sizes; do
	runs=$RUNS
	dir=$work/dumps-$n
	out=$(measure "$runs" 1 "$BUILD/tanalyze" --json "$work/report.json" "$dir" --vs "$PYTHON" "$here/loop.py" "$dir")
	ours=$(sed -n 1p <<< "$out") peer=$(sed -n 2p <<< "$out")
	agree "culprit of $n ranks" "$(culprit "$work/report.json")" "$(field culprit < "$work/dumps-$n.txt")"
	agree "exit status at $n ranks" "$(field rc <<< "$ours")" 0
	ours_s[$n]=$(field seconds <<< "$ours") ours_mb[$n]=$(field rss_mb <<< "$ours")
	b=$(field seconds <<< "$peer")
	row "whole, $n ranks" "${ours_s[$n]}" "$b" "$(ratio "$b" "${ours_s[$n]}")" "${asked[$n]:--}"
	row "  its memory (MB)" "${ours_mb[$n]}" "$(field rss_mb <<< "$peer")" "$(ratio "$(field rss_mb <<< "$peer")" "${ours_mb[$n]}")" -
done
row "time 256 / 64" "${ours_s[256]}" "${ours_s[64]}" "$(ratio "${ours_s[256]}" "${ours_s[64]}")" -
if [ -n "${FULL:-}" ]; then
	# Linear: four times the ranks take at most 4.4 times as long.
	row "time 1024 / 256" "${ours_s[1024]}" "${ours_s[256]}" "$(ratio "${ours_s[1024]}" "${ours_s[256]}")" -
	row "  4.4 x 256 / 1024" "${ours_s[1024]}" "${ours_s[256]}" \
		"$(awk -v a="${ours_s[256]}" -v b="${ours_s[1024]}" 'BEGIN { printf "%.2f", 4.4 * a / b }')" 1
	# The official analyzer takes 5,200 MB for 1,024 ranks x 2,000 entries (a stated figure, not of this run).
	row "official 5200 MB (stated)" "${ours_mb[1024]}" 5200 "$(ratio 5200 "${ours_mb[1024]}")" 10
fi
[ -n "$decode_note" ] && echo "$decode_note"
exit $failed
