# Shared by the benchmarks: a scratch folder, the tools, a table.  Sourced, not run.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
BUILD=${BUILD:-$root/build/release}
RUNS=${RUNS:-5}
PYTHON=${PYTHON:-python3}
CC=${CC:-cc}
failed=0

if [ -n "${BENCH_DIR:-}" ]; then
	work=$BENCH_DIR
	mkdir -p "$work"
else
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
fi

# tool NAME: compile NAME.c of this folder into the scratch folder, unless it is newer there.
tool()
{
	[ "$work/$1" -nt "$here/$1.c" ] || "$CC" -O2 -std=c17 -o "$work/$1" "$here/$1.c"
}

# need FILE...: stop, and say so, when a program of ours is not built.
need()
{
	local p
	for p in "$@"; do
		if [ ! -x "$p" ]; then
			echo "skipped: $p is not built" >&2
			exit 77
		fi
	done
}

# measured ARG...: measure.py, ahead of the neighbours where that is allowed; what it compares has the same advantage.
measured()
{
	local ahead=()
	chrt -f 1 true 2> /dev/null && ahead=(chrt -f 1)
	"${ahead[@]}" "$PYTHON" "$here/measure.py" "$@"
}

# field NAME <<< "k=v k=v": the value of the first field of that name.
field()
{
	awk -v k="$1=" '{ for (i = 1; i <= NF; i++) if (index($i, k) == 1) { print substr($i, length(k) + 1); exit } }'
}

head_row()
{
	printf '%-26s %10s %10s %9s %9s  %s\n' case 'ours s' 'peer s' ratio asked 'ok?'
}

# row CASE OURS PEER RATIO ASKED: one line of the table; ok when RATIO >= ASKED ("-": nothing is asked).
row()
{
	local ok
	ok=$(awk -v r="$4" -v a="$5" 'BEGIN { if (a == "-") print "-"; else print (r >= a) ? "yes" : "NO" }')
	[ "$ok" = NO ] && failed=1
	printf '%-26s %10s %10s %9s %9s  %s\n' "$1" "$2" "$3" "$4" "$5" "$ok"
}

ratio()
{
	awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "0" }'
}

# agree WHAT OURS PEER: results must be equal before times mean anything.
agree()
{
	if [ "$2" != "$3" ]; then
		echo "DISAGREE: $1: ours $2, peer $3" >&2
		failed=1
	fi
}
