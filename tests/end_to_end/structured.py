"""XML, JSON and manifests that are bombs or lies."""
import json

from place import beside, check, want


@check("XML billion laughs, XXE")
def _(p):
    secret = p.write("secret.txt", "the secret of the host\n")
    laughs = "<!DOCTYPE nvidia_smi_log [<!ENTITY l0 \"ha\">" + "".join(
        '<!ENTITY l%d "%s">' % (i + 1, "&l%d;" % i * 10) for i in range(12)) + "]>"
    xxe = '<!DOCTYPE nvidia_smi_log [<!ENTITY x SYSTEM "file://%s"><!ENTITY %% y SYSTEM "file://%s">%%y;]>' % (secret, secret)
    body = "<nvidia_smi_log><timestamp>%s</timestamp><driver_version>%s</driver_version><attached_gpus>1</attached_gpus><gpu id=\"00000000:1B:00.0\">" \
           "<product_name>%s</product_name><uuid>%s</uuid></gpu></nvidia_smi_log>"
    for i, (dtd, entity) in enumerate(((laughs, "&l12;"), (xxe, "&x;"), ('<!DOCTYPE nvidia_smi_log SYSTEM "file://%s">' % secret, "&x;"), ("", "&x;&#0;&#xffffffff;"),
                                       ('<!DOCTYPE nvidia_smi_log SYSTEM "http://127.0.0.1:1/x.dtd">', ""))):
        p.write("in/bad/smi-%d.xml" % i, '<?xml version="1.0" ?>\n' + dtd + "\n" + body % ((entity,) * 4))
    p.write("in/bad/deep.xml", '<?xml version="1.0" ?>\n<nvidia_smi_log>' + "<gpu>" * 1000000)
    p.write("in/bad/wide.xml", '<?xml version="1.0" ?>\n<nvidia_smi_log>' + '<gpu id="x"/>' * 1000000 + "</nvidia_smi_log>")
    p.write("in/bad/attributes.xml", '<?xml version="1.0" ?>\n<nvidia_smi_log ' + " ".join("a%d=''" % i for i in range(200000)) + "></nvidia_smi_log>")
    p.write("in/bad/long.xml", '<?xml version="1.0" ?>\n<nvidia_smi_log><gpu id="' + "x" * 20000000 + '"><uuid>' + "y" * 20000000)
    p.write("in/bad/heads.xml", '<nvidia_smi_log><?xml version="1.0" ?>' * 200000)
    seen = beside(p, "in/bad")
    report, run = p.report("in/bad")
    want("secret of the host" not in json.dumps(report), "an external entity was read")
    return seen


@check("deep and odd JSON")
def _(p):
    deep = 100000
    for i, (a, z) in enumerate((("[", "]"), ('{"a":', "}"))):
        nest = a * deep + "1" + z * deep
        for close in (nest, a * deep, a * 10000000):
            k = "%d-%d" % (i, len(close))
            p.write("in/bad/events-%s.json" % k, '{"kind": "Event", "involvedObject": ' + close + "}")
            p.write("in/bad/nccl_trace_rank_%d.json" % (i * 7 + len(close) % 7 + 20), '{"version": "2.4", "entries": [' + close + "]}")
            p.write("in/bad/error-%s.json" % k, '{"message": {"message": "x", "extraInfo": {"py_callstack": ' + close + "}}}")
            p.write("in/bad/manifest-%s/manifest.json" % k, '{"schema": "tachograph.bundle/1", "x": ' + close + "}")
            p.write("in/bad/plain-%s.json" % k, close)
    p.write("in/bad/numbers.json", '{"kind": "Event", "involvedObject": {}, "count": 1e999999, "x": %s, "y": -%s}' % ("9" * 100000, "9" * 400))
    p.write("in/bad/dupes.json", '{"kind": "Event", "involvedObject": {' + '"a": 1,' * 500000 + '"a": 2}}')
    p.write("in/bad/keys.json", '{"kind": "Event", "involvedObject": {' + ",".join('"%d": 1' % i for i in range(300000)) + '}}')
    p.write("in/bad/surrogates.json", '{"kind": "Event", "involvedObject": {"name": "\\ud800 \\udc00\\u0000"}, "message": "\\u202e\\u001b[31m"}')
    p.write("in/bad/items.json", '{"kind": "List", "items": [' + ",".join(['{"kind": "Event", "involvedObject": {}}'] * 200000) + "]}")
    return beside(p, "in/bad", mib=2048)


@check("manifests that lie")
def _(p):
    for i, manifest in enumerate(('{"schema": "tachograph.bundle/1", "host": 7, "time": []}', '[]', '{"schema": "tachograph.bundle/1", "host": "\\u001b[31m<script>"}',
                                  '{"schema": "tachograph.bundle/1", "host": "%s", "time": "9999-12-31T23:59:59Z"}' % ("h" * 100000), '{"schema":"tachograph.bundle/1"')):
        p.write("in/bad/m%d/manifest.json" % i, manifest)
        p.write("in/bad/m%d/logs/rank_1.log" % i, "step 1\n")
    return beside(p, "in/bad")
