#!/bin/sh
# docs/PRECISION.md is what the corpus says today: precision.sh TANALYZE SOURCE_DIR [--write]
set -eu
cd "$2"
{
	cat <<-'END'
	# Precision and recall

	Made by `make table` from the corpus (`tanalyze replay --table corpus`), checked by the tests. A pattern counts as named when it is the
	primary finding of a case. Look-alikes are cases whose `must_not` lists it: they hold its loudest line and are something else.

	END
	"$1" replay --table corpus
} > "${TMPDIR:-/tmp}/precision.$$"
trap 'rm -f "${TMPDIR:-/tmp}/precision.$$"' EXIT
if [ "${3:-}" = --write ]; then
	cp "${TMPDIR:-/tmp}/precision.$$" docs/PRECISION.md
else
	diff -u docs/PRECISION.md "${TMPDIR:-/tmp}/precision.$$" || { echo "docs/PRECISION.md is not up to date: make table"; exit 1; }
fi
