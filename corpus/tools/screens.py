"""The screens of tools: nvidia-smi (-q, table), amd-smi, rocm-smi, dcgmi, NCCL RAS.  Real formats, invented content."""
import json

import scene as sc


def lines(*rows):
    return "\n".join(rows) + "\n"


def named(indent, name, value=None):
    """A line of `nvidia-smi -q`."""
    return " " * indent + (name if value is None else "%-*s : %s" % (37 - indent, name, value))


def smi_q(scene, host, ns, **over):
    """nvidia-smi -q; gN={"dram": 2, "heat": True, "pending": True} changes GPU N."""
    rows = ["", "==============NVSMI LOG==============", "", named(0, "Timestamp", sc.stamp(ns, "ctime")),
            named(0, "Driver Version", "550.90.07"), named(0, "CUDA Version", "12.4"), "", named(0, "Attached GPUs", len(host.bus))]
    for i, bus in enumerate(host.bus):
        how = over.get("g%d" % i, {})
        hot = "Active" if how.get("heat") else "Not Active"
        rows += ["GPU 0000%s" % bus.upper(), named(4, "Product Name", "NVIDIA H100 80GB HBM3"), named(4, "Persistence Mode", "Enabled"),
                 named(4, "Minor Number", i), named(4, "PCI"), named(8, "Bus Id", "0000%s" % bus.upper()), named(8, "GPU Link Info"),
                 named(12, "PCIe Generation"), named(16, "Max", 5), named(16, "Current", 5), named(12, "Link Width"), named(16, "Max", "16x"),
                 named(16, "Current", "16x"), named(4, "Clocks Event Reasons"), named(8, "Idle", "Not Active"), named(8, "HW Slowdown", hot),
                 named(12, "HW Thermal Slowdown", hot), named(12, "HW Power Brake Slowdown", "Not Active"), named(8, "SW Thermal Slowdown", "Not Active"),
                 named(4, "FB Memory Usage"), named(8, "Total", "81559 MiB"), named(8, "Used", "71240 MiB"), named(4, "Utilization"), named(8, "Gpu", "100 %"),
                 named(4, "ECC Errors"), named(8, "Volatile"), named(12, "SRAM Correctable", 0), named(12, "DRAM Correctable", 0),
                 named(12, "DRAM Uncorrectable", how.get("dram", 0)), named(8, "Aggregate"), named(12, "DRAM Uncorrectable", how.get("dram", 0)),
                 named(4, "Remapped Rows"), named(8, "Correctable Error", 0), named(8, "Uncorrectable Error", 1 if how.get("pending") else 0),
                 named(8, "Pending", "Yes" if how.get("pending") else "No"), named(8, "Remapping Failure Occurred", "No"),
                 named(4, "Temperature"), named(8, "GPU Current Temp", "%d C" % (89 if how.get("heat") else 52)),
                 named(4, "Processes"), named(8, "GPU instance ID", "N/A"), named(8, "Process ID", 40_000 + i), named(12, "Type", "C"),
                 named(12, "Name", "/usr/bin/python3"), named(12, "Used GPU Memory", "71002 MiB"), ""]
    return lines(*rows)


def smi_table(scene, host, ns, lost=()):
    """nvidia-smi; GPUs in `lost` answer nothing."""
    rule = "+-----------------------------------------+------------------------+----------------------+"
    rows = [sc.stamp(ns, "ctime"), "+-----------------------------------------------------------------------------------------+",
            "| NVIDIA-SMI 550.90.07              Driver Version: 550.90.07      CUDA Version: 12.4     |", rule.replace("+", "|", 1)[:-1] + "|",
            "| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |",
            "| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |",
            "|                                         |                        |               MIG M. |",
            "|=========================================+========================+======================|"]
    for i, bus in enumerate(host.bus):
        gone = i in lost
        rows += ["| %3d  NVIDIA H100 80GB HBM3          On  |   0000%s Off | %20s |" % (i, bus.upper(), "ERR!" if gone else "0"),
                 "| %s | %21s  | %7s      Default |" % (("ERR!  ERR! ERR!          ERR! / 700W   " if gone else "N/A   51C    P0             645W / 700W  "),
                                                      "0MiB / 81559MiB" if gone else "71240MiB / 81559MiB", "ERR!" if gone else "100%"),
                 "|                                         |                        |             Disabled |", rule]
    return lines(*rows)


def amd_smi(n, **over):
    """amd-smi metric; gN=3 gives GPU N that many uncorrectable errors."""
    rows = []
    for i in range(n):
        bad = over.get("g%d" % i, 0)
        rows += ["GPU: %d" % i, "    USAGE:", "        GFX_ACTIVITY: 97 %", "        UMC_ACTIVITY: 41 %", "    POWER:", "        SOCKET_POWER: 612 W",
                 "    TEMPERATURE:", "        HOTSPOT: 71 \u00b0C", "    ECC:", "        TOTAL_CORRECTABLE_COUNT: 0", "        TOTAL_UNCORRECTABLE_COUNT: %d" % bad,
                 "        TOTAL_DEFERRED_COUNT: 0", "    MEM_USAGE:", "        TOTAL_VRAM: 196592 MB", "        USED_VRAM: 171003 MB", ""]
    return lines(*rows)


def rocm_smi_json(buses):
    return json.dumps({**{"card%d" % i: {"Device ID": "0x74a1", "Temperature (Sensor edge) (C)": "45.0", "Temperature (Sensor junction) (C)": "61.0",
                                         "GPU use (%)": "98", "PCI Bus": bus.upper(), "VRAM Total Memory (B)": "206141652992",
                                         "VRAM Total Used Memory (B)": "178203459584", "PCIe Replay Count": "0"} for i, bus in enumerate(buses)},
                       "system": {"Driver version": "6.8.5"}}, indent=1) + "\n"


def dcgm_row(left, right=""):
    return "| %-25s | %-46s |" % (left, right)


def dcgm_diag(test, gpu, words):
    """dcgmi diag -r 3: one test fails on one GPU; `words` is the sentence, a row a string."""
    return lines("Successfully ran diagnostic for group.", "+---------------------------+------------------------------------------------+",
                 dcgm_row("Diagnostic", "Result"), "+===========================+================================================+",
                 "|-----  Deployment  --------+------------------------------------------------|",
                 *(dcgm_row(t, "Pass") for t in ("Denylist", "NVML Library", "CUDA Main Library", "Permissions and OS Blocks", "Persistence Mode",
                                                 "Environment Variables", "Page Retirement/Row Remap", "Graphics Processes", "Inforom")),
                 "+-----  Integration  -------+------------------------------------------------+", dcgm_row("PCIe", "Pass - All"),
                 "+-----  Hardware  ----------+------------------------------------------------+",
                 dcgm_row(test, "Fail - GPU: %d" % gpu), dcgm_row("Warning", words[0]), *(dcgm_row("", w) for w in words[1:]), dcgm_row("Pulse Test", "Pass - All"),
                 "+-----  Stress  ------------+------------------------------------------------+", dcgm_row("Targeted Power", "Pass - All"),
                 "+---------------------------+------------------------------------------------+")


def dcgm_dmon(n, rows, **over):
    """dcgmi dmon -e 203,150,230,312; gN={row: (xid, dbe)} changes GPU N from that row on."""
    out = []
    for row in range(rows):
        if row % 20 == 0:
            out += ["#Entity     GPUTL          TMPTR          XIDER          EDVTL", "ID"]
        for i in range(n):
            xid, dbe = next((v for at, v in sorted(over.get("g%d" % i, {}).items(), reverse=True) if row >= at), (0, 0))
            out.append("GPU %-7d %-14d %-14d %-14d %d" % (i, 97 + (row + i) % 3, 50 + (row * 7 + i) % 9, xid, dbe))
    return lines(*out)


def where(scene, r):
    return "GPU %d managed by process %d on node %s" % (r.index, r.pid, r.host.ip)


def ras_text(scene, op, count, behind=(), dead=(), errors=()):
    """NCCL RAS, text: ranks `behind` are one operation short, `dead` do not answer, `errors` maps a rank to what it reports."""
    n, hosts = len(scene.ranks), len(scene.hosts)
    word = "MISMATCH" if behind else "INCOMPLETE" if dead else "OK"
    rows = ["NCCL version 2.27.3 compiled with CUDA 12.9", "CUDA runtime version 12090, driver version 12090", "", "Job summary", "===========", "",
            "  Nodes  Processes         GPUs  Processes     GPUs", "(total)   per node  per process    (total)  (total)",
            "%7d  %9d  %11d  %9d  %7d" % (hosts, n // hosts, 1, n, n), "", "Communicators... (0.01s)", "=============", "",
            "Group     Comms     Nodes     Ranks     Ranks     Ranks    Status  Errors", "    #  in group  per comm  per node  per comm  in group",
            "%5d  %8d  %8d  %8d  %8d  %8d  %8s  %6s" % (0, 1, hosts, n // hosts, n, n, "RUNNING", word),
            "%5d  %8d  %8d  %8d  %8d  %8d  %8s  %6s" % (1, hosts, 1, n // hosts, n // hosts, n, "RUNNING", "OK"), "", "Errors", "======", ""]
    if dead:
        rows += ["DEAD", "  %d job process is considered dead (unreachable via the RAS network)" % len(dead)]
        rows += ["  Process %d on node %s managing GPU %d" % (r.pid, r.host.ip, r.index) for r in dead] + [""]
        rows += ["#0-0 (27a079b828ff1a75) INCOMPLETE", "  Missing communicator data from %d rank" % len(dead)]
        rows += ["  Rank %d -- %s" % (r.rank, where(scene, r)) for r in dead] + [""]
    if errors:
        rows += ["#0-0 (27a079b828ff1a75) ERROR", "  Asynchronous error on 1 rank"]
        rows += ["  Rank %d reported %s -- %s" % (r.rank, text, where(scene, r)) for r, text in errors] + [""]
    rows += ["Warnings", "========", ""]
    if behind:
        rows += ["#0-0 (27a079b828ff1a75) MISMATCH", "  Communicator ranks have different %s operation counts" % op,
                 "  %d ranks have launched up to operation %d" % (n - len(behind), count)]
        rows += ["  Rank %d has launched up to operation %d -- %s" % (r.rank, count - 1, where(scene, r)) for r in behind] + [""]
    return lines(*rows)


def ras_json(scene, ns, op, count, dead=(), short=()):
    ranks = [{"rank": r.rank, "host": r.host.ip, "pid": r.pid, "cuda_dev": r.index, "nvml_dev": r.index,
              "status": {"init_state": 0, "async_error": 0, "finalize_called": False, "destroy_flag": False, "abort_flag": False},
              "collective_counts": {"Broadcast": 12, "Reduce": 0, "AllGather": 40, "ReduceScatter": 40, op: count - (r in short)}}
             for r in scene.ranks if r not in dead]
    missing = [{"rank": r.rank, "host": r.host.ip, "pid": r.pid, "cuda_dev": r.index, "nvml_dev": r.index,
                "status": {"unresponsive": True, "considered_dead": True}} for r in dead]
    return json.dumps({"nccl_version": "2.28.3", "cuda_runtime_version": 12090, "cuda_driver_version": 12090, "timestamp": sc.stamp(ns, "python")[:19],
                       "communicators_count": 1, "communicators": [{"hash": "0x27a079b828ff1a75", "secondary_hash": "0x1:0x2", "size": len(scene.ranks),
                       "ranks_count": len(ranks), "missing_ranks_count": len(missing), "ranks": ranks, "missing_ranks": missing}],
                       "ras": {"collection_time_sec": 0.012, "timeouts_count": 0}}, indent=2) + "\n"


def journal_json(host, rows, unit="session-4.scope"):
    """journalctl -o json: (ns, identifier, message); the kernel's come by the kernel transport."""
    out = []
    for i, (ns, who, text) in enumerate(rows):
        kernel = who == "kernel"
        out.append(json.dumps({"__CURSOR": "s=5f;i=%x" % (4096 + i), "__REALTIME_TIMESTAMP": str(ns // 1000), "__MONOTONIC_TIMESTAMP": str(ns // 1000 % 10 ** 10),
                               "_BOOT_ID": host.boot_id.replace("-", ""), "PRIORITY": "4", "_HOSTNAME": host.name, "_TRANSPORT": "kernel" if kernel else "stdout",
                               "SYSLOG_IDENTIFIER": who, **({} if kernel else {"_SYSTEMD_UNIT": unit}), "MESSAGE": text}, separators=(",", ":")))
    return lines(*out)
