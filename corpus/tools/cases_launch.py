"""What launchers and schedulers say of an end, in the words of several of them."""
import scene as sc
from case import case
from cases_program import small
from cases_scheduler import describe
from incident import put_logs, quick, remote_error
from scene import MIN, SEC, stamp


def peers_lose(s, logs, rank, at):
    for r in s.ranks:
        if r.rank != rank:
            remote_error(logs[r.rank], r, at + SEC + r.rank * 9_000_000, s[rank].host.ip)


# ---------------------------------------------------------------- accelerate, Open MPI

def died_with(box, signal):
    s = small(971, "knot", n=4, start="2027-02-01 10:00:00")
    logs, end = quick(s, leader=190, others=6)
    peers_lose(s, logs, 2, end)
    put_logs(box, logs)
    box.put("launch.err", sc.traceback([("/opt/venv/bin/accelerate", 8, "<module>", "sys.exit(main())"),
                                        ("/opt/venv/lib/python3.12/site-packages/accelerate/commands/launch.py", 1189, "simple_launcher", "raise subprocess.CalledProcessError(returncode=process.returncode, cmd=cmd)")],
                                       "subprocess.CalledProcessError: Command '['/opt/venv/bin/python', 'pretrain.py', '--config', 'atlas-7b.yaml']' died with <Signals.%s>." % signal))


@case("process_segfault/accelerate", "adjacent", "The launcher states the signal that its child died with: a segmentation fault.")
def accelerate_segv(box):
    died_with(box, "SIGSEGV: 11")
    box.expect("root_cause", "process_segfault", evidence=["died with <Signals.SIGSEGV: 11>"], must_not=["process_killed", "python_exception", "comm_error"])


@case("process_killed/accelerate", "adjacent", "The twin of process_segfault/accelerate: the signal is SIGKILL, and nobody says who sent it.")
def accelerate_kill(box):
    died_with(box, "SIGKILL: 9")
    box.expect("unattributed", "process_killed", evidence=["died with <Signals.SIGKILL: 9>"], must_not=["process_segfault", "host_oom", "python_exception", "comm_error"])


@case("process_segfault/open-mpi", "adjacent", "Open MPI's block of a crashed process, and mpirun's line about it.")
def open_mpi(box):
    s = small(973, "knot", n=4, start="2027-02-02 10:00:00")
    logs, end = quick(s, leader=120, others=6)
    bad = s[3]
    who = "[knot-01:%d]" % bad.pid
    logs[3].say(end, who + " *** Process received signal ***", who + " Signal: Segmentation fault (11)", who + " Signal code: Address not mapped (1)", who + " Failing at address: (nil)",
                who + " [ 0] /lib/x86_64-linux-gnu/libc.so.6(+0x42520)[0x7f31d3042520]", who + " *** End of error message ***")
    peers_lose(s, logs, 3, end)
    put_logs(box, logs)
    box.put("mpirun.err", ["--------------------------------------------------------------------------",
                           "mpirun noticed that process rank 3 with PID %d on node knot-01 exited on signal 11 (Segmentation fault)." % bad.pid,
                           "--------------------------------------------------------------------------"])
    box.expect("root_cause", "process_segfault", culprits=[{"rank": 3, "pid": bad.pid}], evidence=["exited on signal 11 (Segmentation fault)"], must_not=["process_killed", "comm_error", "process_exited"])


# ---------------------------------------------------------------- Ray

def ray(box, seed, lines):
    s = small(seed, "ruff", n=4, hosts=2, start="2027-02-03 10:00:00")
    logs, end = quick(s, leader=150, others=6)
    out = ["ray.exceptions.RayTaskError(%s): ray::TrainWorker.fit() (pid=%d, ip=%s)" % ("ActorDiedError", s[5].pid, s[5].host.ip)]
    sc.died_with(logs[0], s[0], end + 8 * SEC, sc.TB_STEP, out[0])
    put_logs(box, logs)
    box.put("driver.log", [x % {"ip": s[5].host.ip, "pid": s[5].pid} for x in lines])


ACTOR = ["ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.", "	class_name: TrainWorker", "	pid: %(pid)d", "	ip: %(ip)s"]


@case("host_oom/ray-memory-monitor", "adjacent", "Ray's memory monitor kills a worker of the second host, and says so.")
def ray_oom(box):
    ray(box, 981, ["(raylet, ip=%(ip)s) node_manager.cc:3064: System memory low at node with IP %(ip)s. Used memory (951.20 GB) / total capacity (1000.00 GB) (0.9512) exceeds threshold 0.95, "
                   "killing latest task with name TrainWorker.fit ID: ffe11 to avoid running out of memory."] + ACTOR)
    box.expect("root_cause", "host_oom", culprits=[{"host": "ruff-02"}], evidence=["System memory low at node with IP 10.41.6.22"], must_not=["ended_by_peer", "python_exception", "rank_lost", "process_exited"])


@case("rank_lost/ray-node-died", "adjacent", "The twin of host_oom/ray-memory-monitor: the node itself is gone; why, nobody says.")
def ray_node(box):
    ray(box, 981, ["ray.exceptions.NodeDiedError: Task failed because the node it was running on is dead or unavailable. Node IP: %(ip)s, node ID: 77a10c3be1. This can happen if the node was preempted, "
                   "had a hardware failure, or its raylet crashed unexpectedly."] + ACTOR)
    box.expect("unattributed", "rank_lost", culprits=[{"host": "ruff-02"}], evidence=["Node IP: 10.41.6.22"], must_not=["host_oom", "python_exception", "node_failure", "ended_by_peer"])


# ---------------------------------------------------------------- Slurm

def controller(box, seed, lines, logs_too=True):
    s = small(seed, "whimbrel", n=4, start="2027-02-05 10:00:00", job="81001")
    logs, end = quick(s, leader=150, others=6)
    if logs_too:
        put_logs(box, logs)
    at = lambda k: "[%s.%03d] " % (stamp(end + k * SEC, "iso_s"), 100 + k)
    box.put("slurmctld.log", [at(i) + x for i, x in enumerate(lines)])


@case("process_killed/slurmctld", "degraded", "The controller's log has the signal, and nothing else is left but ranks that say nothing.")
def ctld_kill(box):
    controller(box, 985, ["_job_complete: JobId=81001 WTERMSIG 9", "_job_complete: JobId=81001 done"])
    box.expect("unattributed", "process_killed", evidence=["JobId=81001 WTERMSIG 9"], must_not=["host_oom", "slurm_cancelled_by_user", "slurm_time_limit"])


@case("slurm_time_limit/slurmctld", "adjacent", "The twin of process_killed/slurmctld: the line before says that the time was up.")
def ctld_limit(box):
    controller(box, 985, ["Time limit exhausted for JobId=81001", "_job_complete: JobId=81001 WTERMSIG 9", "_job_complete: JobId=81001 done"])
    box.expect("outcome", "slurm_time_limit", evidence=["Time limit exhausted for JobId=81001"], must_not=["process_killed"])


@case("host_oom/slurmctld", "adjacent", "The twin of process_killed/slurmctld: the controller saw that memory ran out.")
def ctld_oom(box):
    controller(box, 985, ["_job_complete: JobId=81001 OOM failure", "_job_complete: JobId=81001 WTERMSIG 9", "_job_complete: JobId=81001 done"])
    box.expect("root_cause", "host_oom", evidence=["JobId=81001 OOM failure"], must_not=["process_killed"])


def launch(box, why):
    s = small(987, "whimbrel", n=4, hosts=2, start="2027-02-06 10:00:00", job="81007")
    t = s.start
    box.put("slurm-81007.err", ["srun: error: Task launch for StepId=81007.0 failed on node whimbrel-02: Communication connection failure", "srun: error: Application launch failed: Communication connection failure",
                                "srun: Job step aborted: Waiting up to 62 seconds for job step to finish."])
    lines = ["[%s.100] sched: Allocate JobId=81007 NodeList=whimbrel-[01-02] #CPUs=256 Partition=train" % stamp(t, "iso_s")]
    if why:
        lines.append("[%s.200] error: Nodes whimbrel-02 not responding, setting DOWN" % stamp(t + 20 * SEC, "iso_s"))
    box.put("slurmctld.log", lines)


@case("launch_failed/connection", "adjacent", "The step could not be started on one host; the controller's log does not say why.")
def launch_open(box):
    launch(box, False)
    box.expect("unattributed", "launch_failed", culprits=[{"host": "whimbrel-02"}], evidence=["failed on node whimbrel-02"], must_not=["node_failure", "config_error"])


@case("node_failure/task-launch", "adjacent", "The twin of launch_failed/connection: the controller has lost the host.")
def launch_node(box):
    launch(box, True)
    box.expect("root_cause", "node_failure", culprits=[{"host": "whimbrel-02"}], evidence=["Nodes whimbrel-02 not responding, setting DOWN"], must_not=["launch_failed"])


# ---------------------------------------------------------------- Kubernetes

def pod(box, why, kind="Warning"):
    box.put("describe-pod.txt", describe("atlas-7b-worker-1", "gpu-pool-c-04/10.60.5.4", "Failed", [
        ("Normal", "Scheduled", "3h12m", "default-scheduler", "Successfully assigned train/atlas-7b-worker-1 to gpu-pool-c-04"),
        ("Normal", "Started", "3h11m", "kubelet", "Started container pytorch"), why,
        ("Normal", "Killing", "2m2s", "kubelet", "Stopping container pytorch")]))


@case("slurm_preempted/kubernetes", "adjacent", "The scheduler of Kubernetes took the pod's place for one of higher priority.")
def k8s_preempted(box):
    pod(box, ("Normal", "Preempted", "2m2s", "default-scheduler", "Preempted by pod 77a1b0c2-5d1e on node gpu-pool-c-04"))
    box.expect("outcome", "slurm_preempted", evidence=["Preempted by pod 77a1b0c2-5d1e"], must_not=["k8s_evicted"])


@case("k8s_evicted/memory", "adjacent", "The twin of slurm_preempted/kubernetes: the node ran short of memory.")
def k8s_memory(box):
    pod(box, ("Warning", "Evicted", "2m2s", "kubelet", "The node was low on resource: memory. Threshold quantity: 1Gi, available: 901Mi."))
    box.expect("root_cause", "k8s_evicted", evidence=["The node was low on resource: memory"], must_not=["slurm_preempted", "host_oom"])


@case("gpu_missing/admission", "adjacent", "The kubelet admits no pod: it asks for eight devices, and the node has seven.")
def admission(box):
    row = "%-11s %-9s %-26s %-24s %s"
    box.put("events.txt", [row % x for x in (
        ("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"),
        ("9s", "Normal", "Scheduled", "pod/atlas-7b-worker-1", "Successfully assigned train/atlas-7b-worker-1 to gpu-pool-c-04"),
        ("8s", "Warning", "UnexpectedAdmissionError", "pod/atlas-7b-worker-1",
         "Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. Requested: 8, Available: 7, which is unexpected"))])
    box.expect("root_cause", "gpu_missing", evidence=["Requested: 8, Available: 7"], must_not=["container_runtime_error", "k8s_unschedulable"], with_less=["container_runtime_error"])
