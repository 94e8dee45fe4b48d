#!/usr/bin/env python3
"""Make every fixture of the corpus anew, byte for byte.

    make_corpus.py [ROOT] [--only SUBSTRING] [--list] [--check] [--twins]

ROOT is the corpus folder (default: the one above this script).  --check makes nothing:
it verifies that what lies there is what the generators make, and that expectations
and inputs fit together.  --twins lists the pairs of rivals that no two fixtures tell
apart by the deciding evidence alone; which these are, the text of a case says: "the
twin of PATTERN/CASE".
"""
import argparse
import filecmp
import json
import os
import re
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import case  # noqa: E402
import cases_flight  # noqa: E402,F401
import cases_gpu  # noqa: E402,F401
import cases_host  # noqa: E402,F401
import cases_identity  # noqa: E402,F401
import cases_launch  # noqa: E402,F401
import cases_network  # noqa: E402,F401
import cases_none  # noqa: E402,F401
import cases_program  # noqa: E402,F401
import cases_runs  # noqa: E402,F401
import cases_scheduler  # noqa: E402,F401
import cases_tools  # noqa: E402,F401
import cases_twins  # noqa: E402,F401
import cases_words  # noqa: E402,F401


def tree(folder):
    return {os.path.relpath(os.path.join(b, n), folder) for b, _, names in os.walk(folder) for n in names}


TWIN_OF = re.compile(r"[Tt]wins? of ([a-z0-9_]+/[\w-]+)")


def twins():
    """(case, its twin), as the texts state them."""
    return [(p, t) for p in sorted(case.TABLE) for t in TWIN_OF.findall(case.TABLE[p][2])]


def rivals(folder):
    """Pairs of patterns that a cause file calls rivals, each once."""
    pairs = set()
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name)) as f:
            cause = json.load(f)
        pairs |= {tuple(sorted((cause["id"], r["pattern"]))) for r in cause.get("rivals", [])}
    return sorted(pairs)


def list_twins(root):
    told_apart = {tuple(sorted((a.split("/")[0], b.split("/")[0]))) for a, b in twins()}
    pairs = rivals(os.path.join(root, "..", "patterns", "causes"))
    missing = [p for p in pairs if p not in told_apart]
    for a, b in missing:
        print("%-28s %s" % (a, b))
    print("%d of %d pairs of rivals have twins" % (len(pairs) - len(missing), len(pairs)))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("root", nargs="?", default=os.path.dirname(HERE))
    ap.add_argument("--only", default="")
    ap.add_argument("--list", action="store_true")
    ap.add_argument("--check", action="store_true")
    ap.add_argument("--twins", action="store_true")
    a = ap.parse_args()
    if a.twins:
        list_twins(a.root)
        return 0
    paths = [p for p in sorted(case.TABLE) if a.only in p]
    if a.list:
        for p in paths:
            print("%-9s %-55s %s" % (case.TABLE[p][1], p, case.TABLE[p][2]))
        return 0
    problems = ["%s: its twin %s does not exist" % (p, t) for p, t in twins() if t not in case.TABLE]
    size = 0
    root = tempfile.mkdtemp() if a.check else a.root
    for p in paths:
        case.make(root, p)
        problems += ["%s: %s" % (p, b) for b in case.check(root, p)]
        folder = os.path.join(root, p)
        size += sum(os.path.getsize(os.path.join(folder, n)) for n in tree(folder))
        if a.check:
            there = os.path.join(a.root, p)
            if tree(folder) != tree(there):
                problems.append("%s: other files than the generators make" % p)
            else:
                _, differ, odd = filecmp.cmpfiles(folder, there, tree(folder), shallow=False)
                problems += ["%s: %s differs" % (p, n) for n in differ + odd]
    if not a.only:
        known = {p.split("/")[0] for p in case.TABLE} | {"tools"}
        for top in sorted(os.listdir(a.root)):
            if os.path.isdir(os.path.join(a.root, top)) and top in known and top != "tools":
                for c in sorted(os.listdir(os.path.join(a.root, top))):
                    if "%s/%s" % (top, c) not in case.TABLE:
                        problems.append("%s/%s: no generator makes it" % (top, c))
    for line in problems:
        print(line, file=sys.stderr)
    kinds = [case.TABLE[p][1] for p in paths]
    print("%d cases (%s) of %d patterns, %.2f MB, %d problems" % (
        len(paths), ", ".join("%d %s" % (kinds.count(k), k) for k in case.KINDS if k in kinds),
        len({p.split("/")[0] for p in paths}), size / 1e6, len(problems)))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
