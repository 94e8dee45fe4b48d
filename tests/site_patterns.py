#!/usr/bin/python3
"""A site's own signatures and causes: the example of docs/PATTERNS.md works as it stands, and what is wrong is refused with file, line and reason.

usage: site_patterns.py TANALYZE SOURCE_DIR
"""
import json, os, re, subprocess, sys, tempfile

SIGNATURE = {"id": "site.s", "kind": "x.s", "class": "application", "literal": "gateway", "regex": "gateway (?<code>\\d+)", "match": ["gateway 7"], "no_match": ["gateway up"]}
CAUSE = {"id": "x_cause", "title": "T", "premises": [{"as": "p", "kind": "x.s"}], "rivals": [{"pattern": "disk_full"}], "action": "wait", "advice": ["Wait."]}

# what is changed of the two, and what lint says of it
WRONG = [
    ("a match line that does not match", {"match": ["gateway x"]}, {}, r"s\.json:\d+: site\.s: this match line does not match: gateway x"),
    ("a match line without the literal", {"match": ["gatewax 7"]}, {}, r"s\.json:\d+: site\.s: this match line holds none of the literals"),
    ("a no_match line that matches", {"no_match": ["gateway 8"]}, {}, r"s\.json:\d+: site\.s: this no_match line matches: gateway 8"),
    ("no no_match line", {"no_match": []}, {}, r"s\.json:\d+: site\.s: no_match is missing"),
    ("a literal that leads nowhere", {"literal": ["gateway", "plumbing"]}, {}, r"s\.json:\d+: site\.s: this literal is neither in the regex nor in a match line: plumbing"),
    ("nested quantifiers", {"regex": "gateway (?<code>(\\d+)+)$"}, {}, r"s\.json:\d+: site\.s: the regex backtracks without end"),
    ("a broken regex", {"regex": "gateway (\\d+"}, {}, r"s\.json:\d+: site\.s: regex: missing closing parenthesis"),
    ("a kind of nobody", {}, {"premises": [{"as": "p", "kind": "x.nobody"}]}, r"c\.json:\d+: x_cause: no signature yields this kind: x\.nobody"),
    ("a kind that is none", {}, {"premises": [{"as": "p", "kind": "nobody"}]}, r"c\.json:\d+: x_cause: nobody is no kind"),
    ("a rival that is none", {}, {"rivals": [{"pattern": "nobody"}]}, r"c\.json:\d+: x_cause: rival nobody is no pattern"),
    ("a culprit of no premise", {}, {"culprit": {"from": "q"}}, r"c\.json:\d+: x_cause: no premise is called as culprit\.from says: q"),
    ("an action that is none", {}, {"action": "pray"}, r"c\.json:\d+: x_cause: is no action: pray"),
    ("a value that is no regex", {}, {"premises": [{"as": "p", "kind": "x.s", "where": {"code": ["re:("]}}]}, r"c\.json:\d+: x_cause: re:\( is no regular expression"),
    ("a key that is none", {}, {"titel": "t"}, r"c\.json:\d+: x_cause: titel is no key"),
    ("the name of a shipped cause", {}, {"id": "disk_full"}, r"disk_full exists already"),
]
GARBAGE = [b"", b"{", b"[]", b"null", b"\x80\x02}q\x00.", b"\0" * 100, b'{"signatures": 3}', b'{"signatures": [[]]}', b"[" * 100000, b'{"id": "\xff\xfe"}', b'{"id": 1, "id": 2}']


def write(folder, name, data):
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data if isinstance(data, bytes) else json.dumps(data, indent=1).encode())


def run(*argv):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return p.returncode, p.stdout.decode(errors="replace")


def check_example(tanalyze, text, top):
    blocks = re.findall(r"```json\n(.*?)```", text, re.S)
    log = re.search(r"```text\n(.*?)```", text, re.S)[1]
    folder = os.path.join(top, "example")
    os.mkdir(folder)
    for i, block in enumerate(blocks):
        write(folder, "%d.json" % i, block.encode())
    write(top, "rank_3.log", log.encode())
    assert run(tanalyze, "lint", folder)[0] == 0, run(tanalyze, "lint", folder)
    code, out = run(tanalyze, "--json", "-", "--patterns", folder, os.path.join(top, "rank_3.log"))
    report = json.loads(out)
    primary = {f["id"]: f for f in report["findings"]}[report["verdict"]["findings"][0]]
    assert (report["verdict"]["status"], primary["pattern"]) == ("root_cause", json.loads(blocks[1])["id"]), report["verdict"]
    plain = json.loads(run(tanalyze, "--json", "-", os.path.join(top, "rank_3.log"))[1])
    assert primary["pattern"] not in {f["pattern"] for f in plain["findings"]}


def main():
    tanalyze, root = os.path.abspath(sys.argv[1]), sys.argv[2]
    failed = 0
    with tempfile.TemporaryDirectory() as top:
        with open(os.path.join(root, "docs/PATTERNS.md")) as f:
            check_example(tanalyze, f.read(), top)
        for i, (what, signature, cause, expected) in enumerate(WRONG):
            folder = os.path.join(top, str(i))
            os.mkdir(folder)
            write(folder, "s.json", {"signatures": [dict(SIGNATURE, **signature)]})
            write(folder, "c.json", dict(CAUSE, **cause))
            code, out = run(tanalyze, "lint", folder)
            ok = code == 1 and re.search(expected, out)
            failed += not ok
            print("%s %s: %s" % ("ok   " if ok else "WRONG", what, out.strip().split("\n")[0]))
        for i, data in enumerate(GARBAGE):
            folder = os.path.join(top, "g%d" % i)
            os.mkdir(folder)
            write(folder, "g.json", data)
            for argv in ((tanalyze, "lint", folder), (tanalyze, "--patterns", folder, os.path.join(top, "rank_3.log"))):
                code, out = run(*argv)
                ok = code == (1 if argv[1] == "lint" else 2) and "g.json:" in out
                failed += not ok
                print("%s garbage %d, %s: %d %s" % ("ok   " if ok else "WRONG", i, argv[1], code, out.strip().split("\n")[0][:120]))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
