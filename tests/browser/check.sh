#!/bin/sh
# Look at the HTML report in a real browser, light and dark; see check.html.
# Run as: check.sh TEST_REPORTS_BINARY [PAGE.html...]; exits 77 where there is no chromium.
set -eu
bin=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
	echo "no chromium here: skipped"
	exit 77
}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/pages"
"$bin" --write "$tmp/pages"
query=
for page in "$tmp"/pages/*.html "$@"; do
	query="$query&page=file://$(realpath "$page")"
done
bad=0
for scheme in 1 0; do	# 1: light, 0: dark
	"$chromium" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
		--disable-background-networking --disable-component-update --disable-sync \
		--user-data-dir="$tmp/profile$scheme" --allow-file-access-from-files \
		--blink-settings=preferredColorScheme=$scheme --virtual-time-budget=120000 \
		--dump-dom "file://$here/check.html?${query#&}" 2>"$tmp/err" |
		sed -n '/<pre id="result">/,/<\/pre>/p' | sed 's/<[^>]*>//g' >"$tmp/out"
	sed "s/^/$( [ $scheme = 1 ] && echo light || echo dark ): /" "$tmp/out"
	grep -q ': 0 problems$' "$tmp/out" && grep -q '^finished$' "$tmp/out" || bad=1
done
[ $bad = 0 ] || tail -3 "$tmp/err"
exit $bad
