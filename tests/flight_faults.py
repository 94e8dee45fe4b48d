#!/usr/bin/env python3
"""Every fault of the shared dump generator, in every style, topology and timing: right observation, right culprit.

usage: flight_faults.py TANALYZE GENERATOR [--quick] [--ranks 8,64]

Exit 77 (skip) when the generator is not there.
"""
import argparse, itertools, json, os, random, shutil, subprocess, sys, tempfile

# fault -> (status, observation kind, pattern); None: nothing of the kind
WANT = {
    "none": ("no_failure", None), "hostname_prefix": ("no_failure", None), "version_mix": ("no_failure", None),
    "wrap_skew": ("no_failure", None), "no_entries": ("no_failure", None), "partial_clean": ("no_failure", None),
    "p2p_ok": ("no_failure", None), "p2p_chain_ok": ("no_failure", None), "p2p_single_ok": ("no_failure", None),
    "p2p_only": ("no_failure", None),
    "truncated": ("no_failure", "input.damaged"), "empty_file": ("no_failure", "input.damaged"),
    "malicious": ("no_failure", "input.unsafe_pickle"),
    "missing_rank": ("unattributed", "coll.not_entered"), "missing_rank_cascade": ("unattributed", "coll.not_entered"),
    "p2p_missing": ("unattributed", "coll.not_entered"), "partial": ("unattributed", "coll.silent"),
    "size_mismatch": ("root_cause", "coll.mismatch"), "dtype_mismatch": ("root_cause", "coll.mismatch"),
    "type_mismatch": ("root_cause", "coll.mismatch"), "culprit_first": ("root_cause", "coll.mismatch"),
    "order_swap": ("root_cause", "coll.mismatch"), "p2p_mismatch": ("root_cause", "coll.mismatch"),
    "a2a_mismatch": ("root_cause", "coll.mismatch"),
    "stuck_rank": ("root_cause", "coll.gpu_stalled"), "straggler": ("root_cause", "coll.straggler"),
    "all_stuck": ("unattributed", "coll.stuck"),
}
NO_CULPRIT = {f for f, (status, _) in WANT.items() if status == "no_failure"} | {"all_stuck"}


def expected_culprits(truth, fault):
    if fault in NO_CULPRIT:
        return set()
    culprits = set(truth["culprit_ranks"])
    if fault == "order_swap" and truth["topology"] == "3d" and truth["ranks"] == 8:
        culprits |= {(min(culprits) + 4) % 8}       # a group of two: both are named
    return culprits


def check(tanalyze, folder, truth, fault):
    run = subprocess.run([tanalyze, "--json", "-", folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    if run.returncode not in (0, 4):
        return "exit %d: %s" % (run.returncode, run.stderr.decode()[-300:])
    report = json.loads(run.stdout)
    status, kind = WANT[fault]
    verdict = report["verdict"]
    kinds = {o["kind"] for o in report["observations"]}
    primary = [f for f in report["findings"] if f["id"] in verdict["findings"]]
    named = {c["rank"] for f in primary for c in f["culprits"] if c["rank"] is not None}
    problems = []
    if verdict["status"] != status:
        problems.append("status %s, expected %s" % (verdict["status"], status))
    if kind and kind not in kinds:
        problems.append("no %s among %s" % (kind, sorted(kinds)))
    extra = {k for k in kinds if k.startswith("coll.")} - {kind}
    if extra:
        problems.append("also %s" % sorted(extra))
    if named != expected_culprits(truth, fault):
        problems.append("names %s, expected %s" % (sorted(named), sorted(expected_culprits(truth, fault))))
    return "; ".join(problems)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("tanalyze")
    ap.add_argument("generator")
    ap.add_argument("--quick", action="store_true", help="one style for each fault and topology")
    ap.add_argument("--ranks", default="8,64")
    ap.add_argument("--only", default="")
    a = ap.parse_args()
    if not os.path.exists(a.generator):
        print("skipped: %s is not there (it is not part of the project)" % a.generator)
        return 77
    bad = total = 0
    combos = itertools.product(map(int, a.ranks.split(",")), sorted(WANT), ("cpp", "py2", "py4", "json"), ("3d", "flat"), (False, True))
    for n, (ranks, fault, style, topology, timing) in enumerate(combos):
        if a.only not in fault or (a.quick and (style != ("cpp", "py2", "py4", "json")[n // 4 % 4 - 1] and not style == "cpp")):
            continue
        if a.quick and timing and style != "cpp":
            continue
        work = tempfile.mkdtemp(prefix="flight-")
        try:
            out = os.path.join(work, "dumps")
            gen = [sys.executable, a.generator, out, "--ranks", str(ranks), "--fault", fault, "--style", style,
                   "--topology", topology, "--jobs", "1", "--marker", os.path.join(work, "EXECUTED")] + ["--timing"] * timing
            subprocess.run(gen, check=True, stdout=subprocess.DEVNULL)
            truth = json.load(open(out + ".truth.json"))
            problem = check(a.tanalyze, out, truth, fault)
            if os.path.exists(os.path.join(work, "EXECUTED")):
                problem += "; the pickle was executed"
            total += 1
            if problem:
                bad += 1
                print("not ok: %s ranks=%d style=%s topology=%s timing=%s: %s" % (fault, ranks, style, topology, timing, problem))
        finally:
            shutil.rmtree(work)
    print("%d passed, %d failed" % (total - bad, bad))
    return 1 if bad or not total else 0


if __name__ == "__main__":
    sys.exit(main())
