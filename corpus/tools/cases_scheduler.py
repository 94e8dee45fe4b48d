"""Ends that the scheduler ordered, and pods."""
import json

import scene as sc
from case import case
from cases_program import small
from incident import merged, quick
from scene import MIN, SEC, stamp


def ended(box, s, lines, job, leader=190, cut=None):
    """One Slurm output file with all ranks in it; Slurm's lines at its end."""
    logs, end = quick(s, leader=leader, others=4)
    text = "\n".join(merged(s, logs, "srun") + [x % {"at": stamp(end + SEC, "iso_s"), "host": s.hosts[0].name, "job": job} for x in lines])
    box.put("slurm-%s.out" % job, text[:cut] if cut else text + "\n")
    return end


STEP = "slurmstepd: error: *** STEP %(job)s.0 ON %(host)s CANCELLED AT %(at)s"
JOB = "slurmstepd: error: *** JOB %(job)s ON %(host)s CANCELLED AT %(at)s"
ABORT = "srun: Job step aborted: Waiting up to 62 seconds for job step to finish."
TERM = ["srun: error: %(host)s: task 0: Terminated", "srun: error: %(host)s: task 2: Killed"]


@case("slurm_time_limit/eight-hours", "positive", "The job ran into its limit. Tasks that end with signal 15 and 9 are the effect.")
def limit(box):
    ended(box, small(501, "eider", start="2026-10-01 10:00:00"), [JOB + " DUE TO TIME LIMIT ***", STEP + " DUE TO TIME LIMIT ***", ABORT] + TERM, "70101")
    box.expect("outcome", "slurm_time_limit", evidence=["CANCELLED AT", "DUE TO TIME LIMIT"], must_not=["slurm_cancelled_by_user", "process_killed", "process_terminated"])


@case("slurm_time_limit/line-only", "degraded", "Only the error file with one line.")
def limit_cut(box):
    box.put("slurm-70107.err", ["slurmstepd: error: *** JOB 70107 ON eider-09 CANCELLED AT 2026-10-01T18:00:11 DUE TO TIME LIMIT ***"])
    box.expect("outcome", "slurm_time_limit", evidence=["DUE TO TIME LIMIT"], must_not=["slurm_cancelled_by_user"])


@case("slurm_preempted/requeued", "positive", "A job of higher priority took the nodes.")
def preempted(box):
    s = small(503, "eider", start="2026-10-02 10:00:00")
    end = ended(box, s, [JOB + " DUE TO PREEMPTION ***", ABORT] + TERM, "70202")
    box.put("sacct.txt", ["JobID|JobName|Partition|State|ExitCode|Start|End|NodeList",
                          "70202|atlas-7b|train|PREEMPTED|0:0|%s|%s|eider-01" % (stamp(s.start, "iso_s"), stamp(end + SEC, "iso_s")),
                          "70202.0|python|train|CANCELLED|0:15|%s|%s|eider-01" % (stamp(s.start, "iso_s"), stamp(end + 2 * SEC, "iso_s"))])
    box.expect("outcome", "slurm_preempted", evidence=["DUE TO PREEMPTION"], must_not=["slurm_cancelled_by_user", "slurm_time_limit", "process_killed"])


@case("slurm_cancelled_by_user/scancel", "positive", "No reason behind CANCELLED: somebody called scancel.")
def cancelled(box):
    s = small(505, "eider", start="2026-10-03 10:00:00")
    end = ended(box, s, [STEP + " ***", JOB + " ***", ABORT] + TERM, "70303")
    box.put("sacct.txt", ["JobID|JobName|Partition|State|ExitCode|Start|End|NodeList",
                          "70303|atlas-7b|train|CANCELLED by 5012|0:0|%s|%s|eider-01" % (stamp(s.start, "iso_s"), stamp(end + SEC, "iso_s"))])
    box.expect("outcome", "slurm_cancelled_by_user", evidence=["*** JOB 70303 ON eider-01 CANCELLED AT"], must_not=["slurm_time_limit", "slurm_preempted", "process_killed"])


@case("slurm_cancelled_by_user/output-cut", "degraded", "The output ends with the first line of Slurm's; the rest was lost.")
def cancelled_cut(box):
    s = small(507, "eider", start="2026-10-04 10:00:00")
    ended(box, s, [JOB + " ***", ABORT], "70404", leader=40, cut=-30)
    box.expect("outcome", "slurm_cancelled_by_user", evidence=["*** JOB 70404 ON eider-01 CANCELLED AT"], must_not=["slurm_time_limit", "slurm_preempted"])


@case("slurm_preempted/submitit", "degraded", """A requeued job, as the wrapper in it and the step daemon tell it; nothing names the job but the daemon's line.""")
def preempted_wrapper(box):
    box.put("70505_0_log.err", ["submitit WARNING (2026-10-05 10:42:11,310) - Caught signal SIGUSR2 on eider-03: this job is preempted.",
                                "slurmstepd: error: *** JOB 70505 ON eider-03 CANCELLED AT 2026-10-05T10:42:13 DUE TO JOB REQUEUE ***",
                                "slurmstepd: error: *** STEP 70505.0 ON eider-03 CANCELLED AT 2026-10-05T10:42:13 DUE TO JOB REQUEUE ***",
                                "submitit WARNING (2026-10-05 10:42:13,402) - Bypassing signal SIGTERM"])
    box.expect("outcome", "slurm_preempted", culprits=[{"host": "eider-03"}], evidence=["this job is preempted"], must_not=["slurm_cancelled_by_user"])


@case("process_exited/step-ended-by-srun", "adjacent", """Shares its last line with slurm_cancelled_by_user; but srun itself ended the step, for one task had died of a bus error. Why is open.""")
def step_failed(box):
    ended(box, small(509, "eider", start="2026-10-06 10:00:00"), ["srun: error: %(host)s: task 2: Bus error", "srun: Terminating StepId=%(job)s.0", STEP + " ***"], "70606")
    box.expect("unattributed", "process_exited", culprits=[{"rank": 2}], evidence=["task 2: Bus error"], must_not=["slurm_cancelled_by_user", "process_terminated", "shm_exhausted"])


# ---------------------------------------------------------------- Kubernetes

def describe(pod, node, status, events, reason=None, extra=()):
    out = ["Name:             %s" % pod, "Namespace:        train", "Priority:         0", "Service Account:  default",
           "Node:             %s" % (node or "<none>"), "Labels:           app=atlas", "                  training.kubeflow.org/job-name=atlas-7b",
           "Annotations:      <none>", "Status:           %s" % status]
    if reason:
        out += ["Reason:           %s" % reason[0], "Message:          %s" % reason[1]]
    out += ["Containers:", "  pytorch:", "    Image:         registry.local/atlas/train:2026.09", "    Port:          23456/TCP", "    Limits:",
            "      memory:          900Gi", "      nvidia.com/gpu:  8", "    Requests:", "      memory:          900Gi", "      nvidia.com/gpu:  8"]
    out += list(extra) + ["Events:", "  Type     Reason               Age                From               Message", "  ----     ------               ----               ----               -------"]
    return out + ["  %-8s %-20s %-18s %-18s %s" % e for e in events]


@case("k8s_evicted/disk-pressure", "positive", "The node ran short of ephemeral storage and the kubelet evicted the pod.")
def evicted(box):
    box.put("describe-pod.txt", describe("atlas-7b-worker-3", "gpu-pool-b-17/10.60.4.17", "Failed", [
        ("Normal", "Scheduled", "7h12m", "default-scheduler", "Successfully assigned train/atlas-7b-worker-3 to gpu-pool-b-17"),
        ("Normal", "Pulled", "7h11m", "kubelet", 'Container image "registry.local/atlas/train:2026.09" already present on machine'),
        ("Normal", "Started", "7h11m", "kubelet", "Started container pytorch"),
        ("Warning", "Evicted", "4m2s", "kubelet", "The node was low on resource: ephemeral-storage. Threshold quantity: 99614720000, available: 88012344Ki. Container pytorch was using 712404Mi, request is 0, has larger consumption of ephemeral-storage. "),
        ("Normal", "Killing", "4m2s", "kubelet", "Stopping container pytorch")],
        ("Evicted", "The node was low on resource: ephemeral-storage. Threshold quantity: 99614720000, available: 88012344Ki. ")))
    box.put("describe-node.txt", ["Name:               gpu-pool-b-17", "Conditions:",
                                  "  Type             Status  LastHeartbeatTime                 LastTransitionTime                Reason                       Message",
                                  "  ----             ------  -----------------                 ------------------                ------                       -------",
                                  "  MemoryPressure   False   Mon, 12 Oct 2026 17:20:11 +0000   Mon, 05 Oct 2026 08:01:44 +0000   KubeletHasSufficientMemory   kubelet has sufficient memory available",
                                  "  DiskPressure     True    Mon, 12 Oct 2026 17:20:11 +0000   Mon, 12 Oct 2026 17:15:58 +0000   KubeletHasDiskPressure       kubelet has disk pressure",
                                  "  PIDPressure      False   Mon, 12 Oct 2026 17:20:11 +0000   Mon, 05 Oct 2026 08:01:44 +0000   KubeletHasSufficientPID      kubelet has sufficient PID available",
                                  "  Ready            True    Mon, 12 Oct 2026 17:20:11 +0000   Mon, 05 Oct 2026 08:02:15 +0000   KubeletReady                 kubelet is posting ready status"])
    s = small(511, "gpu-pool-b", start="2026-10-12 16:20:00")
    logs, _ = quick(s, leader=190, others=4)
    box.put("worker-3.log", [stamp(ns, "rfc3339") + " stdout F " + x for ns, x in sorted(logs[0])])
    box.expect("root_cause", "k8s_evicted", evidence=["The node was low on resource: ephemeral-storage"], must_not=["disk_full", "host_oom", "process_killed"])


@case("k8s_evicted/events-only", "degraded", "Only the event list.")
def evicted_cut(box):
    box.put("events.txt", ["LAST SEEN   TYPE      REASON      OBJECT                  MESSAGE",
                           "7h12m       Normal    Scheduled   Pod/atlas-7b-worker-1   Successfully assigned train/atlas-7b-worker-1 to gpu-pool-b-04",
                           "5m41s       Warning   Evicted     Pod/atlas-7b-worker-1   The node was low on resource: memory. Threshold quantity: 100Mi, available: 61240Ki. Container pytorch was using 901120Mi, request is 900Gi."])
    box.expect("root_cause", "k8s_evicted", evidence=["The node was low on resource: memory"], must_not=["host_oom", "k8s_unschedulable"])


NO_GPU = "0/24 nodes are available: 8 node(s) had untolerated taint {maintenance: true}, 16 Insufficient nvidia.com/gpu. preemption: 0/24 nodes are available: 8 Preemption is not helpful for scheduling, 16 No preemption victims found for incoming pod."


@case("k8s_unschedulable/no-gpus", "positive", "The pod waits for GPUs that the cluster does not have; it was never placed.")
def unschedulable(box):
    rows = [("Warning", "FailedScheduling", "%dm" % (41 - i * 5), "default-scheduler", NO_GPU) for i in range(9)]
    box.put("describe-pod.txt", describe("atlas-7b-worker-0", None, "Pending", rows))
    s = small(513, "ctl", start="2026-10-14 10:00:00")
    box.put("operator.log", ["%s INFO controller: reconcile PyTorchJob train/atlas-7b: 0 running, 0 succeeded, 0 failed, generation %d" % (stamp(s.start + i * 12 * SEC, "iso"), i) for i in range(210)])
    box.expect("root_cause", "k8s_unschedulable", evidence=["16 Insufficient nvidia.com/gpu"], must_not=["k8s_evicted", "gpu_missing"])


@case("k8s_unschedulable/events-json", "degraded", "The event list as JSON, nothing else.")
def unschedulable_json(box):
    item = {"apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": "FailedScheduling", "message": NO_GPU, "count": 12,
            "firstTimestamp": "2026-10-14T10:01:00Z", "lastTimestamp": "2026-10-14T10:41:00Z", "involvedObject": {"kind": "Pod", "namespace": "train", "name": "atlas-7b-worker-2"},
            "metadata": {"name": "atlas-7b-worker-2.17fe0c31", "namespace": "train"}, "source": {"component": "default-scheduler"}}
    box.put("events.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": [item]}, indent=4) + "\n")
    box.expect("root_cause", "k8s_unschedulable", evidence=["16 Insufficient nvidia.com/gpu"], must_not=["k8s_evicted"])


@case("none/failed-scheduling-then-scheduled", "benign", "Shares its line with k8s_unschedulable; a node was added and the pod runs.")
def scheduled(box):
    box.put("describe-pod.txt", describe("atlas-7b-worker-5", "gpu-pool-c-02/10.60.8.2", "Running", [
        ("Warning", "FailedScheduling", "52m", "default-scheduler", NO_GPU),
        ("Normal", "TriggeredScaleUp", "52m", "cluster-autoscaler", "pod triggered scale-up: [{gpu-pool-c 1->2 (max: 8)}]"),
        ("Normal", "Scheduled", "45m", "default-scheduler", "Successfully assigned train/atlas-7b-worker-5 to gpu-pool-c-02"),
        ("Normal", "Pulled", "41m", "kubelet", 'Successfully pulled image "registry.local/atlas/train:2026.09" in 3m50.221s'),
        ("Normal", "Started", "41m", "kubelet", "Started container pytorch")]))
    box.expect("no_failure", must_not=["k8s_unschedulable", "k8s_evicted"])
