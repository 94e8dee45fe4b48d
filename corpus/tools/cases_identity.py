"""Who the culprit is, where a line alone does not say so: file names, addresses, processes beside a device."""
import scene as sc
from case import case
from cases_program import small
from incident import put_logs, quick, remote_error
from scene import MIN, SEC, klog, stamp


@case("nic_no_ip_address/asked-in-vain", "positive", """The store times out on one host. Somebody then asked that host's interface for its address: the command is there,
and no answer below it.""")
def asked(box):
    s = small(951, "curlew", hosts=2, start="2026-09-10 08:00:00")
    address = s.hosts[0].ip
    for r in s.ranks[4:]:
        log = ["%s INFO atlas.launch: rank %d/%d on %s" % (stamp(s.start, "python"), r.rank, len(s.ranks), r.host.name)]
        log += ["%s INFO atlas.launch: waiting for the store, %d s" % (stamp(s.start + i * 10 * SEC, "python"), i * 10) for i in range(60)]
        log += ["[c10d] The client socket has timed out after 600000ms while trying to connect to (%s, 29500)." % address,
                "torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to connect to (%s, 29500)." % address]
        box.put("logs/rank_%d.log" % r.rank, log)
    box.put("checks-%s.txt" % s.hosts[1].name, ["$ ip -4 addr show ens9f0", "$ ip -4 addr show lo",
            "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000", "    inet 127.0.0.1/8 scope host lo"])
    box.expect("root_cause", "nic_no_ip_address", culprits=[{"host": "curlew-02"}], evidence=["$ ip -4 addr show ens9f0"],
               must_not=["bootstrap_unreachable", "rendezvous_incomplete"])


@case("bootstrap_unreachable/interface-has-its-address", "adjacent", """The same, but the interface answers with its address: then that is not it.""")
def answered(box):
    s = small(953, "curlew", hosts=2, start="2026-09-11 08:00:00")
    address = s.hosts[0].ip
    for r in s.ranks[4:]:
        box.put("logs/rank_%d.log" % r.rank, [
            "%s INFO atlas.launch: rank %d/%d on %s" % (stamp(s.start, "python"), r.rank, len(s.ranks), r.host.name),
            "torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to connect to (%s, 29500)." % address])
    box.put("checks-%s.txt" % s.hosts[1].name, ["$ ip -4 addr show ens9f0", "4: ens9f0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 9000 qdisc mq state UP group default qlen 1000",
                                               "    inet %s/22 brd 10.41.7.255 scope global ens9f0" % s.hosts[1].ip])
    box.expect("root_cause", "bootstrap_unreachable", must_not=["nic_no_ip_address"])


@case("comm_error/refused-by-one-peer", "degraded", """One line of one rank says that a peer refused the connection. Why is open; but the peer is named, by the name that its
address has in the look-up beside the log, and not the rank that complains.""")
def refused(box):
    box.put("train.log", ["RuntimeError: NCCL error in: /opt/src/torch/lib/c10d/ProcessGroupNCCL.cpp:911, unhandled system error, NCCL version 2.10.3",
                          "ncclSystemError: System call (socket, malloc, munmap, etc) failed."])
    box.put("nccl.log", ["knot-17:30411:30702 [3] include/socket.h:412 NCCL WARN Connect to 10.41.6.29<48211> failed : Connection refused"])
    box.put("lookup.txt", ["29.6.41.10.in-addr.arpa\tname = knot-29.ib.example.org."])
    box.expect("unattributed", "comm_error", culprits=[{"host": "knot-29"}], must_not=["node_network_broken"])


@case("process_segfault/local-rank-only", "degraded", """Two lines of torchrun, cut out: they know a local rank. As nothing speaks of a second node, that is the rank, and the
report says so.""")
def local_only(box):
    box.put("torchrun.log", ["E0912 03:11:09.120000 411 torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: -11) local_rank: 5 (pid: 480) of binary: /usr/bin/python3.12",
                             "  traceback : Signal 11 (SIGSEGV) received by PID 480"])
    box.expect("root_cause", "process_segfault", culprits=[{"rank": 5, "pid": 480}])


@case("process_segfault/local-rank-of-two-nodes", "adjacent", """The same two lines beside the log of another node: now the local rank is no rank.""")
def local_of_two(box):
    box.put("avocet-01/torchrun.log", ["E0912 03:11:09.120000 411 torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: -11) local_rank: 5 (pid: 480) of binary: /usr/bin/python3.12"])
    box.put("avocet-02/torchrun.log", ["W0912 03:11:15.330000 388 torch/distributed/elastic/multiprocessing/api.py:900] Sending process 461 closing signal SIGTERM"])
    box.expect("root_cause", "process_segfault", culprits=[{"pid": 480, "host": "avocet-01"}])


@case("nccl_wrong_ifname/hosts-with-an-installers-name", "degraded", """Both hosts are called what the installer called them, and the files are named after their addresses: only those tell
them apart.""")
def installers_name(box):
    s = small(955, "ubuntu", hosts=1, n=1, start="2026-09-13 08:00:00")
    for i, name in enumerate(("10.41.9.11", "10.41.9.12")):
        lines = ["%s INFO atlas.launch: rank %d/2" % (stamp(s.start, "python"), i)]
        lines += ["ubuntu:4%d11:4%d11 [0] NCCL INFO NCCL version 2.21.5+cuda12.4" % (i, i)]
        if i:
            lines += ["ubuntu:4111:4111 [0] bootstrap.cc:45 NCCL WARN Bootstrap : no socket interface found",
                      "ubuntu:4111:4111 [0] NCCL INFO init.cc:128 -> 3"]
        box.put("rank%d-%s.log" % (i, name), lines)
    box.expect("root_cause", "nccl_wrong_ifname", culprits=[{"rank": 1, "host": "10.41.9.12"}])


@case("memlock_limit/worker-by-file-name", "degraded", """One warning in the log of a worker that is known by its file's name alone; the limits of two hosts beside it.""")
def worker(box):
    box.put("worker-k4.log", ["misc/ibvwrap.cc:211 NCCL WARN Call to ibv_create_cq failed with error Cannot allocate memory", "RuntimeError: NCCL error: unhandled system error"])
    box.put("limits.txt", ["k4-a: Max locked memory 65536 bytes", "k9-a: Max locked memory 8388608 bytes"])
    box.expect("root_cause", "memlock_limit", culprits=[{"host": "k4"}])


@case("cuda_illegal_memory_access/amd-process-beside", "positive", """An AMD GPU reports a page fault that names no process; a minute later the driver's job time-out does, for the same GPU.""")
def amd_process(box):
    s = small(957, "smew", n=4, start="2026-09-14 08:00:00")
    h, bad = s.hosts[0], s[1]
    logs, end = quick(s, leader=190, others=4)
    klog(h, end, "amdgpu %s: amdgpu: [gfxhub0] no-retry page fault (src_id:0 ring:88 vmid:4 pasid:32772)" % bad.gpu)
    klog(h, end + MIN, "[drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring comp_1.0.0 timeout, signaled seq=91044, emitted seq=91046")
    klog(h, end + MIN + 5_000, "[drm:amdgpu_job_timedout [amdgpu]] *ERROR* Process information: process python3 pid %d thread python3 pid %d" % (bad.pid, bad.pid + 3))
    klog(h, end + MIN + 9_000, "amdgpu %s: amdgpu: GPU reset begin!" % bad.gpu)
    for r in s.ranks:
        if r is not bad:
            remote_error(logs[r.rank], r, end + 65 * SEC, h.ip)
    put_logs(box, logs)
    box.put("dmesg.log", sc.kernel_log(s, h, end + 2 * MIN, "ctime", 40))
    box.expect("root_cause", "cuda_illegal_memory_access", culprits=[{"gpu": bad.gpu, "pid": bad.pid}], must_not=["gpu_hang_amd", "comm_error"])


@case("host_oom/ray-names-the-node", "degraded", """Ray's driver, cut out: the raylet of one node ended a worker for want of memory. The node and the worker are the ones in the
message, not the raylet that writes it, nor the node of the worker that then lost a peer.""")
def ray_node(box):
    box.put("driver.log", [
        "2026-09-15 08:00:01,004\tINFO worker.py:1942 -- Connected to Ray cluster.",
        "(FitWorker pid=5121, ip=10.41.8.4) step 118000 loss 2.21", "(FitWorker pid=5230, ip=10.41.8.9) step 118000 loss 2.21",
        "(raylet, ip=10.41.8.9) [2026-09-15 08:41:10,220 E 611 611] (raylet) node_manager.cc:3040: 1 Workers (tasks / actors) killed due to memory pressure (OOM), "
        "0 Workers crashed due to other reasons at node (ID: 5c1f09, IP: 10.41.8.9) over the last time period.",
        "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.",
        "Memory on the node (IP: 10.41.8.9, ID: 5c1f09) where the task (task ID: 9b20, name=FitWorker.step, pid=5230, memory used=201.71GB) was running was "
        "242.10GB / 251.50GB (0.962624), which exceeds the memory usage threshold of 0.95.",
        "(FitWorker pid=5121, ip=10.41.8.4) RuntimeError: NCCL error: remote process exited or there was a network error, NCCL version 2.21.5"])
    box.expect("root_cause", "host_oom", culprits=[{"host": "10.41.8.9", "pid": 5230}], evidence=["pid=5230"], must_not=["comm_error"])


@case("host_oom/pods-with-their-nodes", "degraded", """The wide table of pods, and nothing else: the NODE column says where the killed one ran.""")
def pods(box):
    box.put("pods.txt", [
        "NAME           READY   STATUS      RESTARTS      AGE     IP           NODE       NOMINATED NODE   READINESS GATES",
        "fit-worker-0   1/1     Running     0             3h12m   10.42.3.17   gn-a-03    <none>           <none>",
        "fit-worker-1   0/1     OOMKilled   1 (41s ago)   3h12m   10.42.4.12   gn-a-04    <none>           <none>",
        "fit-worker-2   1/1     Running     0             3h12m   10.42.5.10   gn-a-05    <none>           <none>"])
    box.expect("root_cause", "host_oom", culprits=[{"host": "gn-a-04"}], evidence=["OOMKilled"])


@case("rank_gpu_misassignment/both-ranks", "degraded", """NCCL refuses two ranks on one device. The line is about both, whichever of them prints it.""")
def both(box):
    box.put("train.log", ["heron-04:2210:2231 [0] init.cc:871 NCCL WARN Duplicate GPU detected : rank 6 and rank 7 both on CUDA device 4b000",
                          "[rank6]: torch.distributed.DistBackendError: NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.hpp:275, invalid usage, NCCL version 2.21.5"])
    box.expect("root_cause", "rank_gpu_misassignment", culprits=[{"rank": 6, "host": "heron-04"}, {"rank": 7, "host": "heron-04"}], evidence=["Duplicate GPU"])


@case("process_segfault/in-front-of-the-line", "degraded", """UCX says host and process in front of the line, and nothing else does.""")
def ucx(box):
    box.put("job.out", ["[1789459200.118263] [teal-11:40117:0]    ucp_worker.c:1855 UCX  INFO    ep_cfg[2]: tag(rc_mlx5/mlx5_0:1)",
                        "[teal-12:40331:0:40377] Caught signal 11 (Segmentation fault: address not mapped to object at address 0x18)",
                        "==== backtrace (tid:  40377) ===="])
    box.expect("root_cause", "process_segfault", culprits=[{"host": "teal-12", "pid": 40331}])


@case("gpu_fell_off_bus/journal-as-json", "degraded", """The journals of two hosts in one file, an object a line: each object says whose it is.""")
def journal(box):
    t = sc.at("2026-09-16 08:00:00") // 1000
    row = lambda i, host, message: '{"__REALTIME_TIMESTAMP":"%d","_HOSTNAME":"%s","_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"kernel","PRIORITY":"4","MESSAGE":"%s"}' % (
        t + i * 1_000_000, host, message)
    rows = [row(i, "pintail-0%d" % (1 + i % 2), "mlx5_core 0000:9d:00.0 eth2: Link up") for i in range(40)]
    rows += [row(60, "pintail-02", "NVRM: Xid (PCI:0000:bb:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."),
             row(61, "pintail-01", "mlx5_core 0000:9d:00.0 eth2: Link up")]
    box.put("journal.json", rows)
    box.expect("root_cause", "gpu_fell_off_bus", culprits=[{"host": "pintail-02", "gpu": "0000:bb:00.0"}], evidence=["Xid (PCI:0000:bb:00): 79"])


@case("gpu_fell_off_bus/gathered-from-hosts", "degraded", """Kernel logs of several hosts, gathered by a parallel shell that writes the host in front of each line.""")
def gathered(box):
    rows = ["wigeon-0%d: [%9.6f] pci 0000:bb:00.0: BAR 1: assigned" % (i % 4 + 1, 3.1 + i / 100) for i in range(40)]
    rows.append("wigeon-03: [684210.118201] NVRM: Xid (PCI:0000:bb:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.")
    box.put("dmesg.txt", rows)
    box.expect("root_cause", "gpu_fell_off_bus", culprits=[{"host": "wigeon-03", "gpu": "0000:bb:00.0"}], evidence=["Xid (PCI:0000:bb:00): 79"])


def lost(host, pid, peer):
    return ["%s:%d:%d [0] misc/socket.cc:58 NCCL WARN socketProgress: Connection closed by remote peer %s<40117>" % (host, pid, pid + 90, peer),
            "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely."]


@case("comm_error/losses-in-a-row", "degraded", """Three hosts lose their peers one after the other. The first of the row is the one that others lost and that lost nobody; its
address has a name in its own NCCL line.""")
def in_a_row(box):
    box.put("plover-01.log", ["plover-01:771:771 [0] NCCL INFO Bootstrap: Using eno1:10.41.7.21<0>"])
    box.put("plover-02.log", ["plover-02:772:772 [0] NCCL INFO Bootstrap: Using eno1:10.41.7.22<0>", *lost("plover-02", 772, "10.41.7.21")])
    box.put("plover-03.log", ["plover-03:773:773 [0] NCCL INFO Bootstrap: Using eno1:10.41.7.23<0>", *lost("plover-03", 773, "10.41.7.22")])
    box.expect("unattributed", "comm_error", culprits=[{"host": "plover-01"}])


@case("comm_error/everybody-lost-somebody", "adjacent", """The same, but the first host lost a peer too: who began is open, and nobody is named.""")
def everybody(box):
    box.put("plover-01.log", ["plover-01:771:771 [0] NCCL INFO Bootstrap: Using eno1:10.41.7.21<0>", *lost("plover-01", 771, "10.41.7.22")])
    box.put("plover-02.log", ["plover-02:772:772 [0] NCCL INFO Bootstrap: Using eno1:10.41.7.22<0>", *lost("plover-02", 772, "10.41.7.21")])
    box.expect("unattributed", "comm_error", must_not=["rank_lost"], nobody=True)


@case("cuda_illegal_memory_access/folder-called-like-a-host", "degraded", """The logs lie in a folder whose name reads like a host's. NCCL's own lines say where each rank runs, and that counts.""")
def folder(box):
    s = small(961, "garganey", hosts=2, n=2, start="2026-09-17 08:00:00")
    logs, end = quick(s, leader=60, others=12)
    logs[3].say(end, "RuntimeError: CUDA error: an illegal memory access was encountered")
    put_logs(box, logs, folder="sweep17")
    box.expect("root_cause", "cuda_illegal_memory_access", culprits=[{"rank": 3, "host": s[3].host.name}])
