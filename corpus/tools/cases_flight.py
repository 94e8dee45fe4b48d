"""Hangs that flight-recorder dumps explain, or do not."""
import flight
import scene as sc
from case import bundle, case
from flight import Call, Group, Run
from incident import hang, launchers, put_logs, quick
from scene import MIN, SEC, at


def grid(fault, culprit=3, ranks=8, steps=4, tp=4, **kw):
    run = flight.make_run(ranks, steps, "grid", tp, **kw)
    flight.FAULTS[fault](run, culprit)
    return run


def hung_job(box, run, s, end, culprit=None, align=0, skip=(), first=0, prefix="plain", leader=170, others=4, launcher=None, **how):
    """Logs and dumps of a run that hung at `end`."""
    logs, _ = quick(s, minutes=(end - s.start) // MIN - 2, leader=leader, others=others)
    run.align(align, end)
    last = hang(s, logs, run, end + 5_000_000, skip=skip, first=first)
    put_logs(box, logs, prefix=prefix, scene=s)
    box.dumps(run, **how)
    if launcher is not None:
        launchers(box, s, last + SEC, s[launcher], -6)
    return logs


# ---------------------------------------------------------------- rank_stalled

@case("rank_stalled/one-host-stopped", "positive", """Rank 3 stopped issuing work: nothing is unfinished on it, its tensor-parallel peers wait for it, and the rest
waits for them. Nothing says why, so the rank is named and the cause stays open.""")
def stalled(box):
    s = sc.Scene(["rook-01"], seed=101, start="2026-02-11 04:00:00")
    hung_job(box, grid("not_entered", 3, seed=101), s, at("2026-02-11 04:51:40.25"), align=3, first=6, launcher=6, record_base=40_000)
    box.expect("unattributed", "rank_stalled", culprits=[{"rank": 3}],
               must_not=["collective_desync", "gpu_stalled", "collective_order_deadlock", "rank_lost", "straggler"], observations=["coll.not_entered"])


@case("rank_stalled/active-only", "degraded", "As one-host-stopped, in dumps of active work only, without stacks, one healthy rank's file cut and no logs.")
def stalled_active(box):
    run = grid("not_entered", 6, seed=103).align(6, at("2026-02-12 10:00:01"))
    box.dumps(run, prefix="_dump_", active_only=True, frames=False, version="2.7", edit={1: flight.cut(0.55)})
    box.expect("unattributed", "rank_stalled", culprits=[{"rank": 6}], must_not=["gpu_stalled", "rank_lost"], observations=["coll.not_entered", "input.damaged"])


@case("rank_stalled/two-groups", "compound", "Two ranks stopped at once, in two tensor-parallel groups: both are named.")
def stalled_two(box):
    s = sc.Scene(["rook-05"], seed=105, start="2026-02-13 04:00:00")
    hung_job(box, grid("two_not_entered", 2, seed=105), s, at("2026-02-13 04:20:00"), align=2, first=0, leader=40, style="py2", version="2.8")
    box.expect("unattributed", "rank_stalled", culprits=[{"rank": 2}, {"rank": 6}], must_not=["gpu_stalled", "collective_desync"])


@case("rank_stalled/pipeline-peer-missing", "positive", """A pipeline of sends and receives: rank 3 posts nothing in the last round; its neighbours wait, the others are done or wait
for them.""")
def stalled_pipe(box):
    s = sc.Scene(["rook-07"], seed=107, start="2026-02-14 04:00:00")
    run = flight.chain(8, 6, missing=3, seed=107)
    hung_job(box, run, s, at("2026-02-14 04:40:00"), align=3, first=4, version="2.9")
    box.expect("unattributed", "rank_stalled", culprits=[{"rank": 3}], must_not=["collective_desync", "gpu_stalled", "collective_order_deadlock"])


@case("rank_stalled/same-group-names", "positive", """split_group gave both tensor-parallel groups the name 1: name and members tell them apart, and rank 5 is missing in the second.""")
def stalled_names(box):
    n = 8
    groups = [Group("0", "default_pg", range(n)), Group("1", "split:tp", range(4)), Group("1", "split:tp", range(4, 8))]
    programs = {}
    for r in range(n):
        tp = groups[1 + r // 4]
        programs[r] = []
        for _ in range(5):
            programs[r] += [Call(tp, "all_reduce", [[1024, 512]], stack="forward") for _ in range(6)]
            programs[r].append(Call(groups[0], "all_reduce", [[1]], dtype="Float", stack="norm"))
    run = Run(groups, programs, seed=109)
    run.host_stop[5] = flight.find_call(run, 5, "split:tp", nth=-2)
    s = sc.Scene(["rook-09"], seed=109, start="2026-02-15 04:00:00")
    hung_job(box, run, s, at("2026-02-15 04:40:00"), align=5, first=1, version="2.10")
    box.expect("unattributed", "rank_stalled", culprits=[{"rank": 5}], must_not=["collective_desync", "rank_lost"])


@case("rank_stalled/host-names-in-files", "degraded", "No logs; host names in the names of the dumps, as version 2.2 wrote them: entries first, header last.")
def stalled_hosts(box):
    run = grid("not_entered", 5, seed=111).align(5, at("2026-02-16 10:00:01"))
    box.dumps(run, prefix="nccl_trace_rank_", version="2.2", host_of={r: "podium-%d" % (r // 4) for r in range(8)})
    box.expect("unattributed", "rank_stalled", culprits=[{"rank": 5}], must_not=["gpu_stalled"])


@case("rank_stalled/time-limit-after-the-hang", "adjacent", """Shares the time-limit line with slurm_time_limit, but the job hung nine minutes before: the limit only ended it.""")
def stalled_limit(box):
    s = sc.Scene(["rook-11"], seed=113, start="2026-02-17 04:00:00", job="9107")
    end = at("2026-02-17 04:51:30")
    logs, _ = quick(s, minutes=48, leader=120)
    run = grid("not_entered", 3, seed=113).align(3, end)
    kill = end + 9 * MIN
    put_logs(box, logs)
    box.dumps(run)
    box.put("slurm-9107.err", ["slurmstepd: error: *** STEP 9107.0 ON rook-11 CANCELLED AT %s DUE TO TIME LIMIT ***" % sc.stamp(kill, "iso_s"),
                               "slurmstepd: error: *** JOB 9107 ON rook-11 CANCELLED AT %s DUE TO TIME LIMIT ***" % sc.stamp(kill, "iso_s"),
                               "srun: Job step aborted: Waiting up to 62 seconds for job step to finish."])
    box.expect("unattributed", "rank_stalled", culprits=[{"rank": 3}], must_not=["slurm_time_limit", "slurm_cancelled_by_user"])


# ---------------------------------------------------------------- gpu_stalled

@case("gpu_stalled/one-device", "positive", """Rank 6's device never finished a collective that its three peers finished; its host ran on. The others wait for its next one.""")
def gpu_one(box):
    s = sc.Scene(["gull-01"], seed=121, start="2026-03-01 15:00:00")
    hung_job(box, grid("gpu_stalled", 6, seed=121), s, at("2026-03-01 15:47:12"), align=6, first=0, launcher=0, record_base=9_000)
    box.expect("root_cause", "gpu_stalled", culprits=[{"rank": 6}], must_not=["rank_stalled", "collective_desync", "collective_stuck"],
               observations=["coll.gpu_stalled"])


@case("gpu_stalled/group-behind", "positive", """Sixteen ranks in four tensor-parallel groups: rank 9's device is stalled, its group waits for it, and the other three groups hang behind that.
CPython-written dumps, no stacks.""")
def gpu_behind(box):
    s = sc.Scene(["gull-03", "gull-04"], seed=123, start="2026-03-02 15:00:00")
    run = flight.make_run(16, 2, "grid", 4, seed=123)
    flight.FAULTS["gpu_stalled"](run, 9)
    hung_job(box, run, s, at("2026-03-02 15:40:00"), align=9, first=2, leader=200, others=4, style="py5", frames=False)
    box.expect("root_cause", "gpu_stalled", culprits=[{"rank": 9}], must_not=["rank_stalled", "collective_stuck", "collective_desync"])


@case("gpu_stalled/culprit-dump-cut", "degraded", """The stalled rank's dump is cut in the middle: its header still says how far it came.""")
def gpu_cut(box):
    run = grid("gpu_stalled", 2, seed=125).align(2, at("2026-03-03 10:00:01"))
    box.dumps(run, edit={2: flight.cut(0.5)}, version="2.6")
    box.expect("root_cause", "gpu_stalled", culprits=[{"rank": 2}], must_not=["rank_stalled"], observations=["input.damaged"])


@case("rank_stalled/device-stopped-ring-wrapped", "degraded", """The stalled rank issued so much behind its unfinished collective that its ring no longer holds it; the status counters do.""")
def gpu_wrapped(box):
    run = flight.make_run(8, 5, "grid", 4, seed=127, ahead=5)
    extra = Group("77", "SIDE_GROUP", [1])
    run.groups.append(extra)
    flight.FAULTS["gpu_stalled"](run, 1)
    i = run.dev_stop[1]
    run.programs[1][i + 1:i + 1] = [Call(extra, "all_reduce", [[8]], dtype="Float", stack="stats") for _ in range(40)]
    # Only the culprit's host may run far ahead: its side group waits for nobody.
    run.host_stop[1] = i + 31
    run.ahead = 31
    for r in range(8):
        if r != 1:
            run.host_stop[r] = min(run.host_stop.get(r, 1 << 30), i + 5)
    run.align(1, at("2026-03-04 10:00:01"))
    box.dumps(run, per_rank={1: {"ring": 24}})
    # who is provable; that its device stopped, and not the program, was lost with the ring
    box.expect("unattributed", "rank_stalled", culprits=[{"rank": 1}], must_not=["collective_desync"])


@case("gpu_stalled/and-a-host-stopped", "compound", """Two culprits at once: rank 3's device stalled and, in the other tensor-parallel group, rank 7's host stopped.""")
def gpu_and_host(box):
    s = sc.Scene(["gull-09"], seed=129, start="2026-03-05 15:00:00")
    hung_job(box, grid("stalled_and_stopped", 3, seed=129), s, at("2026-03-05 15:31:00"), align=3, first=1, leader=60)
    box.expect("root_cause", "gpu_stalled", culprits=[{"rank": 3}], also=["rank_stalled"], must_not=["collective_desync", "collective_stuck"])


# ---------------------------------------------------------------- collective_stuck, rank_lost

@case("collective_stuck/all-entered", "positive", """All ranks are in the same collective and none gets out. Program order is fine, nobody is missing: transport or hardware, and nothing
here says which.""")
def stuck(box):
    s = sc.Scene(["kite-01", "kite-02"], per_host=4, bus=sc.A100[:4], seed=131, start="2026-03-08 20:00:00")
    hung_job(box, grid("stuck", 0, seed=131), s, at("2026-03-08 20:45:00"), align=0, first=4, launcher=4)
    box.expect("unattributed", "collective_stuck", must_not=["rank_stalled", "gpu_stalled", "collective_desync", "nic_link_flap"], observations=["coll.stuck"])


@case("collective_stuck/one-group-no-stacks", "degraded", "One tensor-parallel group is stuck; dumps of active work only, no stacks, no logs.")
def stuck_group(box):
    run = grid("stuck_group", 5, seed=133).align(5, at("2026-03-09 10:00:01"))
    box.dumps(run, active_only=True, frames=False, version="2.10")
    box.expect("unattributed", "collective_stuck", must_not=["rank_stalled", "gpu_stalled", "collective_desync"])


@case("collective_stuck/looked-at-after-15-minutes", "adjacent", """The dumps of none/work-in-flight, but the manifest says that they were taken fifteen minutes later: now it is stuck.""")
def stuck_late(box):
    live(box, 15 * MIN)
    box.expect("unattributed", "collective_stuck", must_not=["gpu_stalled", "rank_stalled"])


@case("none/work-in-flight", "benign", "A bundle taken by hand from a live job: the last collective is two seconds old on every rank.")
def in_flight(box):
    live(box, 2 * SEC)
    box.expect("no_failure", must_not=["collective_stuck", "rank_stalled", "gpu_stalled"])


def live(box, age):
    s = sc.Scene(["swift-01"], seed=135, start="2026-03-10 08:00:00")
    end = at("2026-03-10 08:30:00")
    logs, _ = quick(s, minutes=27, leader=20, others=3)
    run = grid("stuck", 0, seed=135).align(0, end)
    put_logs(box, logs, folder="logs")
    box.dumps(run, folder="fr")
    box.manifest(s, s.hosts[0], end + age, "", sources=[("logs", "ok", None), ("fr", "ok", None), ("kernel", "denied", "/dev/kmsg: Operation not permitted")])


@case("rank_lost/silent", "positive", """Rank 5 left neither log nor dump; everybody waits for it. That it is lost is all that can be said.""")
def lost(box):
    s = sc.Scene(["dove-01", "dove-02"], per_host=4, bus=sc.A100[:4], seed=141, start="2026-03-12 20:00:00")
    end = at("2026-03-12 20:41:00")
    logs, _ = quick(s, minutes=38)
    run = grid("not_entered", 5, seed=141).align(5, end)
    hang(s, logs, run, end, skip=[5], first=2)
    del logs[5]
    put_logs(box, logs)
    box.dumps(run, skip=[5])
    box.expect("unattributed", "rank_lost", culprits=[{"rank": 5}], must_not=["gpu_stalled", "collective_desync", "straggler"], observations=["coll.silent"])


@case("rank_lost/dumps-only", "degraded", "Only dumps, one missing, one cut.")
def lost_dumps(box):
    run = grid("not_entered", 1, seed=143).align(1, at("2026-03-13 10:00:01"))
    box.dumps(run, skip=[1], edit={6: flight.cut(0.7)}, style="py4", version="2.9", frames=False)
    box.expect("unattributed", "rank_lost", culprits=[{"rank": 1}], must_not=["gpu_stalled", "collective_desync"])


# ---------------------------------------------------------------- collective_desync, collective_order_deadlock

@case("collective_desync/size", "positive", "Rank 2 brings two elements to an all_reduce of one. Everybody times out in it.")
def desync(box):
    s = sc.Scene(["lapwing-01"], seed=151, start="2026-04-01 20:00:00")
    hung_job(box, grid("size", 2, seed=151), s, at("2026-04-01 20:42:00"), align=2, first=7, launcher=7)
    box.expect("root_cause", "collective_desync", culprits=[{"rank": 2}], must_not=["collective_stuck", "rank_stalled", "gpu_stalled"], observations=["coll.mismatch"])


@case("collective_desync/culprit-is-rank-0", "positive", "Rank 0, the one that tools take for the reference, is the one that differs: another dtype. JSON dumps.")
def desync_first(box):
    s = sc.Scene(["lapwing-02"], per_host=4, seed=153, start="2026-04-02 20:00:00")
    hung_job(box, grid("dtype", 0, ranks=4, tp=2, seed=153), s, at("2026-04-02 20:42:00"), align=0, first=0, style="json")
    box.expect("root_cause", "collective_desync", culprits=[{"rank": 0}], must_not=["collective_stuck", "rank_stalled"])


@case("collective_desync/extra-call", "positive", """Rank 3 calls one collective more than the others: from there on its calls are one behind theirs. No logs. Version 2.0.""")
def desync_extra(box):
    run = grid("extra", 3, seed=155).align(3, at("2026-04-03 10:00:01"))
    box.dumps(run, version="2.0")
    box.expect("root_cause", "collective_desync", culprits=[{"rank": 3}], must_not=["rank_stalled", "gpu_stalled"], dumps_only=True)


@case("collective_desync/two-ranks", "positive", "A group of two disagrees: there is no majority, so both sides are named.")
def desync_two(box):
    s = sc.Scene(["lapwing-03"], per_host=2, seed=157, start="2026-04-04 20:00:00")
    run = flight.make_run(2, 12, "flat", seed=157)
    flight.FAULTS["op"](run, 1)
    hung_job(box, run, s, at("2026-04-04 20:42:00"), align=0, first=0, leader=180, others=60)
    box.expect("root_cause", "collective_desync", culprits=[{"rank": 0}, {"rank": 1}], must_not=["collective_stuck"])


@case("collective_desync/dumps-damaged", "degraded", "Another operation on rank 4; one healthy rank's dump is empty, another's cut, a third's missing.")
def desync_cut(box):
    run = grid("op", 4, seed=159).align(4, at("2026-04-05 10:00:01"))
    box.dumps(run, skip=[6], edit={1: flight.cut(0), 2: flight.cut(0.4)}, frames=False)
    box.expect("root_cause", "collective_desync", culprits=[{"rank": 4}], must_not=["gpu_stalled", "rank_stalled"], observations=["input.damaged"])


@case("collective_order_deadlock/two-groups", "positive", """Seven ranks take group 101 before group 102, rank 3 the other way round: a cycle.""")
def order(box):
    s = sc.Scene(["plover-01"], seed=161, start="2026-04-08 20:00:00")
    hung_job(box, grid("order_deadlock", 3, seed=161), s, at("2026-04-08 20:42:00"), align=3, first=3, launcher=3)
    box.expect("root_cause", "collective_order_deadlock", must_not=["collective_stuck", "rank_stalled", "collective_desync", "gpu_stalled"],
               observations=["coll.order_deadlock"])


@case("collective_order_deadlock/hosts-ran-ahead", "positive", """The same cycle, but every host had enqueued both operations: only the order of their records shows it.""")
def order_ahead(box):
    run = grid("order_deadlock_ahead", 6, seed=163).align(6, at("2026-04-09 10:00:01"))
    box.dumps(run, version="2.10")
    box.expect("root_cause", "collective_order_deadlock", must_not=["collective_stuck", "rank_stalled", "gpu_stalled"], dumps_only=True)


@case("collective_order_deadlock/receive-first", "degraded", "Two neighbours both receive before they send, outside of any batch; dumps of active work, nothing else.")
def order_p2p(box):
    g = Group("0", "default_pg", range(2))
    run = Run([g], {0: [], 1: []}, seed=165, ahead=1)
    for r in (0, 1):
        for _ in range(20):
            run.programs[r].append(Call(g, "all_reduce", [[1]], dtype="Float", stack="norm"))
        run.programs[r].append(Call(g, "recv", stack="pipe", p2p=[("recv", 1 - r, [4, 2048])], batched=False))
        run.programs[r].append(Call(g, "send", stack="pipe", p2p=[("send", 1 - r, [4, 2048])], batched=False))
    run.align(0, at("2026-04-10 10:00:01"))
    box.dumps(run, active_only=True)
    box.expect("root_cause", "collective_order_deadlock", must_not=["rank_stalled", "gpu_stalled", "collective_desync"])


# ---------------------------------------------------------------- straggler

@case("straggler/late-rank", "positive", "Everything completes, but rank 5 comes last to every collective, 38 ms behind its peers.")
def straggler(box):
    s = sc.Scene(["tit-01"], seed=171, start="2026-04-12 20:00:00")
    logs, end = quick(s, leader=170, others=4)
    run = flight.make_run(8, 8, "flat", seed=171, timing=True)
    flight.FAULTS["straggler"](run, 5)
    run.align(5, end)
    put_logs(box, logs)
    box.dumps(run)
    box.expect("root_cause", "straggler", culprits=[{"rank": 5}], must_not=["gpu_stalled", "rank_stalled", "collective_stuck"], observations=["coll.straggler"])


@case("straggler/ring-of-24", "degraded", "No timing, no logs, no stacks, and rings so small that only the last 24 operations are left.")
def straggler_cut(box):
    run = flight.make_run(8, 8, "flat", seed=173)
    flight.FAULTS["straggler"](run, 2)
    run.align(2, at("2026-04-13 10:00:01"))
    box.dumps(run, ring=24, frames=False, version="2.8")
    box.expect("root_cause", "straggler", culprits=[{"rank": 2}], must_not=["rank_lost", "rank_stalled"])


# ---------------------------------------------------------------- healthy and odd dumps

@case("none/healthy-16-ranks", "benign", "Sixteen ranks finished; every entry completed.")
def healthy(box):
    s = sc.Scene(["robin-01", "robin-02"], seed=181, start="2026-04-20 20:00:00")
    logs, end = quick(s, leader=60, others=4)
    for r in s.ranks:
        logs[r.rank].say(end, "%s INFO atlas.launch: finished after 20000 steps, exit 0" % sc.stamp(end, "python"))
    put_logs(box, logs)
    box.dumps(flight.make_run(16, 3, "grid", 8, seed=181).align(0, end))
    box.expect("no_failure", must_not=["collective_stuck", "rank_stalled", "gpu_stalled", "straggler", "collective_desync", "rank_lost"])


@case("none/rings-wrapped", "benign", """All rings wrapped and one rank recorded ten operations more: record ids differ, nothing else.""")
def wrapped(box):
    run = flight.make_run(8, 9, "grid", 4, seed=183).align(0, at("2026-04-21 10:00:01"))
    box.dumps(run, ring=40, record_base=5_000, per_rank={3: {"record_base": 5_010}})
    box.expect("no_failure", must_not=["collective_desync", "rank_stalled", "gpu_stalled", "rank_lost"])


@case("none/pipeline-completed", "benign", "Coalesced sends and receives through a pipeline; members stay scheduled for ever, their closing entries are complete.")
def pipe_ok(box):
    run = flight.chain(8, 8, seed=185).align(0, at("2026-04-22 10:00:01"))
    box.dumps(run, version="2.10")
    box.expect("no_failure", must_not=["collective_desync", "rank_stalled", "gpu_stalled", "collective_stuck", "collective_order_deadlock"])


@case("none/coalesced-groups", "benign", "Coalesced all-gathers (2.7): members are recorded, stay scheduled, and share one sequence number.")
def coalesced(box):
    g = flight.groups_flat(8)
    programs = {}
    for r in range(8):
        programs[r] = []
        for _ in range(12):
            programs[r].append(Call(g[0], "ALLGATHER_coalesced", stack="gather", parts=[
                ("_all_gather_base", [[8192]], [[65536]]), ("_all_gather_base", [[1024]], [[8192]])]))
            programs[r].append(Call(g[0], "all_reduce", [[1]], dtype="Float", stack="norm"))
    box.dumps(Run(g, programs, seed=187).align(0, at("2026-04-23 10:00:01")), version="2.7")
    box.expect("no_failure", must_not=["collective_desync", "collective_stuck", "rank_stalled"])


@case("none/single-sends", "benign", "Sends and receives outside of batches, JSON dumps, all complete.")
def singles(box):
    box.dumps(flight.chain(6, 6, seed=189, single=True).align(0, at("2026-04-24 10:00:01")), style="json")
    box.expect("no_failure", must_not=["collective_desync", "collective_stuck", "rank_stalled", "collective_order_deadlock"])


@case("none/dumps-of-2023", "benign", "The first recorder: a bare list of entries, sizes written with a GLOBAL. Complete.")
def bare(box):
    box.dumps(flight.make_run(4, 8, "flat", seed=191).align(0, at("2026-04-25 10:00:01")), version="bare")
    box.expect("no_failure", must_not=["collective_stuck", "rank_stalled"])


@case("none/damaged-dump", "benign", "A run that finished; one dump is cut, one is empty. That is damage of the input, not a failure of the job.")
def damaged(box):
    s = sc.Scene(["robin-05"], seed=193, start="2026-04-26 20:00:00")
    logs, end = quick(s, leader=30, others=4)
    for r in s.ranks:
        logs[r.rank].say(end, "%s INFO atlas.launch: finished after 20000 steps, exit 0" % sc.stamp(end, "python"))
    put_logs(box, logs)
    box.dumps(flight.make_run(8, 3, "grid", 4, seed=193).align(0, end), edit={4: flight.cut(0.6), 7: flight.cut(0)})
    box.expect("no_failure", must_not=["rank_lost", "rank_stalled", "gpu_stalled"], observations=["input.damaged"])


@case("none/unsafe-pickle", "benign", """A run that finished; the file of rank 2 is a pickle that would run /bin/true. It must be named, and never obeyed.""")
def unsafe(box):
    s = sc.Scene(["robin-07"], seed=195, start="2026-04-27 20:00:00")
    logs, end = quick(s, leader=30, others=4)
    for r in s.ranks:
        logs[r.rank].say(end, "%s INFO atlas.launch: finished after 20000 steps, exit 0" % sc.stamp(end, "python"))
    put_logs(box, logs)
    box.dumps(flight.make_run(8, 3, "grid", 4, seed=195).align(0, end), edit={2: lambda data: flight.HARMLESS_COMMAND})
    box.expect("no_failure", must_not=["rank_lost", "rank_stalled"], observations=["input.unsafe_pickle"])


@case("none/bundle-healthy", "benign", "A bundle.tar.zst of a healthy job: manifest first and in a frame of its own.")
def bundled(box):
    s = sc.Scene(["robin-09"], per_host=4, bus=sc.A100[:4], seed=197, start="2026-04-28 20:00:00")
    logs, end = quick(s, leader=30, others=4)
    run = flight.make_run(4, 4, "grid", 2, seed=197).align(0, end)
    members = [("logs/rank_%d.log" % r, ("\n".join(log.lines()) + "\n").encode()) for r, log in sorted(logs.items())]
    members += [("fr/nccl_trace_rank_%d" % r, flight.encode(flight.dump(run, r), "cpp")) for r in range(4)]
    members.append(("kernel/kmsg.log", ("\n".join(sc.kernel_log(s, s.hosts[0], end, "kmsg", quiet=10)) + "\n").encode()))
    members.append(("manifest-end.json", b'{"sources": [], "members": []}\n'))
    import os
    bundle(os.path.join(box.input, "bundle.tar.zst"), box.manifest(s, s.hosts[0], end + 30 * SEC), members, end)
    box.expect("no_failure", must_not=["collective_stuck", "rank_stalled"])
