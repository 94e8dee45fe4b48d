"""What an operator sees of tanalyze: options, exit statuses, reports, bundles, and what it makes of bad input.

usage: python3 tests/end_to_end TANALYZE SOURCE_DIR SUBJECT [WORD...]

SUBJECT is a module beside this one; only its checks whose name contains a WORD.

FULL=1: every corpus case, 5 GB lines, 100,000 files.  SLOW=N: N times the time and memory (sanitizer builds).
Closes with "N passed, N failed, N skipped"; exit 1 when something failed.
"""
import collections, importlib, os, sys, tempfile, time

from place import Failure, Place, SLOW, Skip, checks


def one(number, name, function):
    with tempfile.TemporaryDirectory(prefix="tanalyze-e2e-") as folder:
        began = time.monotonic()
        try:
            word, seen = "ok", function(Place(folder))
        except Skip as why:
            word, seen = "skip", str(why)
        except Failure as why:
            word, seen = "not ok", str(why)
        except Exception as why:
            word, seen = "not ok", "the check itself: %s: %s" % (type(why).__name__, why)
        return word, "%s %d - %s: %s [%.1f s]" % (word if word != "skip" else "skip", number, name, seen, time.monotonic() - began)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    Place.tanalyze, Place.source = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    with open(Place.tanalyze, "rb") as f:
        Place.sanitized = b"__asan_init" in f.read()
    Place.slow = SLOW or (6 if Place.sanitized else 1)
    importlib.import_module(sys.argv[3])
    words = sys.argv[4:]
    count = collections.Counter()
    for number, (name, function) in enumerate(checks, 1):
        if words and not any(w in name for w in words):
            continue
        word, line = one(number, name, function)
        count[word] += 1
        print(line, flush=True)
    print("%d passed, %d failed, %d skipped" % (count["ok"], count["not ok"], count["skip"]))
    return 1 if count["not ok"] else 0


if __name__ == "__main__":
    sys.exit(main())
