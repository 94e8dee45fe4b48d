"""Jobs that were started again: several runs in one input, one verdict each."""
from case import case
from cases_program import small
from incident import logs_of, merged, put_logs
import scene as sc
from scene import MIN, SEC, Log, klog, stamp, xid

AGENT = "torch/distributed/elastic/agent/server/api.py"
OOM = ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.25 GiB. GPU %d has a total capacity of 79.11 GiB of which 1.06 GiB is free. "
       "Including non-PyTorch memory, this process has 78.02 GiB memory in use. Of the allocated memory 74.90 GiB is allocated by PyTorch, "
       "and 1.83 GiB is reserved by PyTorch but unallocated.")


def again(s, log, host, ns, number, most=3, why="failed"):
    """The agent of one host starts its workers again: `number` restarts so far."""
    def say(t, line, text):
        log.say(t, "I%s %d %s:%d] %s" % (stamp(t, "glog"), sc.host_agent(s, host), AGENT, line, text))
    if why == "failed":
        say(ns, 879, "[default] Worker group FAILED. %d/%d attempts left; will restart worker group" % (most - number + 1, most))
    else:
        say(ns, 891, "[default] Detected 1 new nodes from group_rank=0; will restart worker group")
    say(ns + MIN // 4, 702, "[default] Rendezvous'ing worker group")
    say(ns + MIN // 2, 566, "[default] Rendezvous complete for workers. Result:")
    for line in ("restart_count=%d" % number, "master_addr=%s" % host.name, "master_port=29500", "group_rank=0", "group_world_size=%d" % len(s.hosts)):
        log.say(ns + MIN // 2, "  " + line)


def ended(s, log, host, ns, failed, code):
    """How the agent notes a failed worker when it has attempts left: without the closing block."""
    for r in s.on(host):
        if r is not failed:
            log.say(ns, "W%s %d torch/distributed/elastic/multiprocessing/api.py:900] Sending process %d closing signal SIGTERM" % (
                stamp(ns, "glog"), sc.host_agent(s, host), r.pid))
    log.say(ns + 2 * SEC, "E%s %d torch/distributed/elastic/multiprocessing/api.py:874] failed (exitcode: %d) local_rank: %d (pid: %d) of binary: "
            "/opt/venv/bin/python" % (stamp(ns + 2 * SEC, "glog"), sc.host_agent(s, host), code, failed.local, failed.pid))


def new_pids(s, by):
    for r in s.ranks:
        r.pid += by


def run(s, begin, minutes, lines=120, others=8, init=True):
    """Logs of one run, and when it was last fine."""
    end = begin + minutes * MIN
    return logs_of(s, others, begin + MIN, end, leader_lines=lines, init=init), end


def joined(box, s, parts, name="train.log"):
    """Runs that were appended to one file."""
    box.put(name, [line for logs in parts for line in (logs.lines() if isinstance(logs, Log) else merged(s, logs, "srun"))])


def two_runs(s, first, second, why="failed", gap=2):
    """`first` and `second` fill the last moments of a run; the agent stands between them."""
    agent, host = Log(), s.hosts[0]
    one, end = run(s, s.start, 40)
    failed = first(one, end)
    if failed:
        ended(s, agent, host, end + SEC, failed, 1)
    if why:
        again(s, agent, host, end + 5 * SEC, 1, why=why)
    new_pids(s, 4_000)
    s.start = end + gap * MIN
    two, end = run(s, s.start, 30)
    failed = second(two, end)
    if failed:
        sc.torchrun(s, agent, host, end + SEC, failed, 1)
    return one, two, agent


def raises(s, rank, error, frames=sc.TB_STEP):
    def fill(logs, end):
        sc.died_with(logs[rank], s[rank], end, frames, error)
        return s[rank]
    return fill


@case("cuda_oom/after-a-restart", "positive", """The first run ends with a bug in one rank, torchrun starts the workers again, and the second run,
which is the one that ended the job, runs out of GPU memory on another rank.""")
def oom_after(box):
    s = small(901, "dunlin", start="2026-09-01 08:00:00")
    one, two, agent = two_runs(s, raises(s, 1, "KeyError: 'segment_ids'"), raises(s, 2, OOM % 2, sc.TB_FORWARD))
    put_logs(box, one, folder="attempt_0")
    put_logs(box, two, folder="attempt_1")
    box.put("torchrun.log", agent)
    box.expect("root_cause", "cuda_oom", culprits=[{"rank": 2}], evidence=["CUDA out of memory. Tried to allocate 2.25 GiB"],
               must_not=["python_exception_one_rank"], runs=["python_exception_one_rank", "cuda_oom"])


@case("python_exception_one_rank/oom-a-run-ago", "adjacent", """The same two ends the other way round: the job died of the bug.""")
def oom_before(box):
    s = small(903, "dunlin", start="2026-09-02 08:00:00")
    one, two, agent = two_runs(s, raises(s, 2, OOM % 2, sc.TB_FORWARD), raises(s, 1, "KeyError: 'segment_ids'"))
    put_logs(box, one, folder="attempt_0")
    put_logs(box, two, folder="attempt_1")
    box.put("torchrun.log", agent)
    box.expect("root_cause", "python_exception_one_rank", culprits=[{"rank": 1}], evidence=["KeyError: 'segment_ids'"],
               must_not=["cuda_oom"], runs=["cuda_oom", "python_exception_one_rank"])


@case("cuda_oom/appended-logs", "degraded", """Both runs in the same file of each rank; its tracebacks have no times, and only the dated lines above them
tell to which run they belong.""")
def oom_appended(box):
    s = small(905, "dunlin", start="2026-09-03 08:00:00")
    one, two, agent = two_runs(s, raises(s, 1, "KeyError: 'segment_ids'"), raises(s, 2, OOM % 2, sc.TB_FORWARD))
    for r in s.ranks:
        box.put("logs/rank_%d.log" % r.rank, one[r.rank].lines() + two[r.rank].lines())
    box.put("torchrun.log", agent)
    box.expect("root_cause", "cuda_oom", culprits=[{"rank": 2}], evidence=["CUDA out of memory. Tried to allocate 2.25 GiB"],
               must_not=["python_exception_one_rank"], runs=["python_exception_one_rank", "cuda_oom"])


@case("cuda_oom/restart-not-stated", "degraded", """The agent logs warnings only, as it does by default, so no line says that the workers were started again; but it
noted two failed workers, half an hour apart. No NCCL lines.""")
def oom_not_stated(box):
    s = small(915, "dunlin", start="2026-09-08 08:00:00")
    one, two, agent = two_runs(s, raises(s, 1, "KeyError: 'segment_ids'"), raises(s, 2, OOM % 2, sc.TB_FORWARD), why=None)
    for r in s.ranks:
        box.put("logs/rank_%d.log" % r.rank, [x for x in one[r.rank].lines() + two[r.rank].lines() if "NCCL" not in x])
    box.put("torchrun.log", agent)
    box.expect("root_cause", "cuda_oom", culprits=[{"rank": 2}], evidence=["CUDA out of memory. Tried to allocate 2.25 GiB"],
               must_not=["python_exception_one_rank"], runs=["python_exception_one_rank", "cuda_oom"])


@case("cuda_oom/new-processes", "degraded", """Only the ranks' logs: the restart shows by the new processes that set up NCCL on the same GPUs.""")
def oom_new_processes(box):
    s = small(917, "dunlin", start="2026-09-09 08:00:00")
    one, two, _ = two_runs(s, raises(s, 1, "KeyError: 'segment_ids'"), raises(s, 2, OOM % 2, sc.TB_FORWARD), why=None)
    for r in s.ranks:
        box.put("logs/rank_%d.log" % r.rank, one[r.rank].lines() + two[r.rank].lines())
    box.expect("root_cause", "cuda_oom", culprits=[{"rank": 2}], evidence=["CUDA out of memory. Tried to allocate 2.25 GiB"],
               must_not=["python_exception_one_rank"], runs=["python_exception_one_rank", "cuda_oom"])


def lost_gpu(s, box, second, gap):
    """Run one loses a GPU; `second` ends run two."""
    k, bad = s.hosts[0], s[3]

    def dies(logs, end):
        xid(k, end, bad, 79, "GPU has fallen off the bus.")
        klog(k, end + 4_000, "NVRM: GPU %s: GPU has fallen off the bus." % bad.gpu)
        sc.died_with(logs[3], bad, end + 20_000_000, sc.TB_FORWARD, "RuntimeError: CUDA error: unspecified launch failure")
        return bad
    one, two, agent = two_runs(s, dies, second, gap=gap)
    for r in s.ranks:
        box.put("logs/rank_%d.log" % r.rank, one[r.rank].lines() + two[r.rank].lines())
    box.put("torchrun.log", agent)
    box.put("dmesg.log", sc.kernel_log(s, k, s.start + 50 * MIN, "ctime", 40))
    return bad


@case("gpu_fell_off_bus/next-run-finds-no-device", "positive", """A GPU falls off the bus; torchrun starts the workers again on the same host, where the rank
finds no such device. The second run ended the job, the first explains it.""")
def lost_then_missing(box):
    s = small(907, "siskin", start="2026-09-04 08:00:00")

    def no_device(logs, end):
        log = logs[3]
        log[:] = [x for x in log if x[0] < s.start + 30 * SEC]
        sc.died_with(log, s[3], s.start + 31 * SEC, sc.TB_SETUP, "RuntimeError: CUDA error: invalid device ordinal")
        return s[3]
    bad = lost_gpu(s, box, no_device, gap=1)
    box.expect("root_cause", "gpu_fell_off_bus", culprits=[{"gpu": bad.gpu}], evidence=["GPU has fallen off the bus."],
               must_not=["rank_gpu_misassignment", "gpu_missing"], runs=["gpu_fell_off_bus", "gpu_fell_off_bus"])


@case("python_exception_one_rank/gpu-lost-a-run-ago", "adjacent", """A run that lost its GPU, and half an hour into the next one a bug: the GPU has nothing to do with it.""")
def lost_then_bug(box):
    s = small(909, "siskin", start="2026-09-05 08:00:00")
    lost_gpu(s, box, raises(s, 1, "KeyError: 'segment_ids'"), gap=20)
    box.expect("root_cause", "python_exception_one_rank", culprits=[{"rank": 1}], evidence=["KeyError: 'segment_ids'"],
               must_not=["gpu_fell_off_bus"], runs=["gpu_fell_off_bus", "python_exception_one_rank"])


@case("none/elastic-scale-up", "benign", """A node joins: the agent starts the workers again, and both runs are well.""")
def scale_up(box):
    s = small(911, "whimbrel", start="2026-09-06 08:00:00")
    one, two, agent = two_runs(s, lambda logs, end: None, lambda logs, end: None, why="scaled")
    for r in s.ranks:
        box.put("logs/rank_%d.log" % r.rank, one[r.rank].lines() + two[r.rank].lines())
    box.put("torchrun.log", agent)
    box.expect("no_failure", runs=["", ""])


@case("python_exception_one_rank/requeued-until-the-limit", "positive", """The job was requeued once, by hand and after a bug; its second run trained until the time limit. Both in one
output file, as --open-mode=append leaves it. The run that failed is judged; the one that was ended has its own line.""")
def requeued(box):
    s = small(913, "eider", start="2026-09-07 08:00:00")
    one, end = run(s, s.start, 40)
    sc.died_with(one[1], s[1], end, sc.TB_STEP, "KeyError: 'segment_ids'")
    mark, limit = Log(), Log()
    mark.say(end + MIN, "slurmstepd: error: *** JOB 81220 ON %s CANCELLED AT %s DUE TO JOB REQUEUE ***" % (s.hosts[0].name, stamp(end + MIN, "iso_s")))
    s.start = end + 5 * MIN
    two, end = run(s, s.start, 30)
    limit.say(end, "slurmstepd: error: *** JOB 81220 ON %s CANCELLED AT %s DUE TO TIME LIMIT ***" % (s.hosts[0].name, stamp(end, "iso_s")))
    joined(box, s, [one, mark, two, limit], "slurm-81220.out")
    box.expect("root_cause", "python_exception_one_rank", culprits=[{"rank": 1}], evidence=["KeyError: 'segment_ids'"], must_not=["slurm_time_limit"],
               runs=["python_exception_one_rank", "slurm_time_limit"])
