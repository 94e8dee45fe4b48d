#!/bin/bash
# Bundles: reading one of many frames, and a foreign archive of one frame, against `zstd -d`
# of the same file; the dump of a full ring of 64 MiB against `tar` into `zstd -1 -T2`.
# Medians of $RUNS alternating runs.  Ours reads tar as well, syncs, and computes digests.
#
#	[BENCH_DIR=dir] [SIZE=1073741824] [RUNS=5] bench_bundle.sh
#
# Exit status: 0 all asked ratios reached, 1 not, 77 a program is missing.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

bundle=$BUILD/tanalyze-bench-bundle
need "$bundle" "$BUILD/tdump"
tool gen_log

SIZE=${SIZE:-$((1 << 30))}
log=$work/text-$SIZE.log
[ -f "$log" ] || "$work/gen_log" sparse "$SIZE" > "$log"
[ -f "$work/many.tar.zst" ] || "$bundle" pack 3 "$work/many.tar.zst" "$log" > /dev/null
[ -f "$work/one.tar.zst" ] || tar -c -C "$work" "$(basename "$log")" | zstd -q -3 -o "$work/one.tar.zst"
[ -d "$work/ring" ] || "$bundle" fill "$work/ring" > /dev/null

# compare CASE FILE ASKED: reading
compare()
{
	local out ours peer a b
	cat "$2" > /dev/null
	out=$(measured -n "$RUNS" -w 1 -- "$bundle" read "$2" --vs zstd -d -q -f -o /dev/null "$2")
	ours=$(sed -n 1p <<< "$out") peer=$(sed -n 2p <<< "$out")
	a=$(field seconds <<< "$ours") b=$(field seconds <<< "$peer")
	row "$1" "$a" "$b" "$(ratio "$b" "$a")" "$3"
	# of a bundle also the manifest of two bytes
	agree "bytes of $1" "$(( $(field bytes <<< "$ours") / SIZE ))" 1
}

head_row
compare "read, frames of 1 MiB" "$work/many.tar.zst" 1.5
compare "read, one frame" "$work/one.tar.zst" 0.9

dump=(bash -c 'rm -f "$2"; exec "$0" --ring "$1" -o "$2" > /dev/null' "$BUILD/tdump" "$work/ring" "$work/dump.tar.zst")
peer=(bash -c 'rm -f "$1"; tar -c -C "$0" . | zstd -q -1 -T2 -o "$1"' "$work/ring" "$work/peer.tar.zst")
# A ring of another boot: without what is taken of the living host.
"$PYTHON" "$here/other_boot.py" "$work/ring"
cat "$work"/ring/*.tcr > /dev/null
out=$(measured -n "$RUNS" -w 1 -- "${dump[@]}" --vs "${peer[@]}")
a=$(sed -n 1p <<< "$out" | field seconds) b=$(sed -n 2p <<< "$out" | field seconds)
row "dump of a 64 MiB ring" "$a" "$b" "$(ratio "$b" "$a")" 0.83
row "dump, below one second" "$a" 1.0 "$(ratio 1.0 "$a")" 1
printf 'sizes: dump %s, peer %s bytes\n' "$(stat -c %s "$work/dump.tar.zst")" "$(stat -c %s "$work/peer.tar.zst")"
exit $failed
