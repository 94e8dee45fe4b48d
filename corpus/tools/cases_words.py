"""A program's last words: what they say decides, and what they do not say stays open."""
import scene as sc
from case import case
from cases_program import memcg_oom, small
from incident import launchers, put_logs, quick, remote_error
from scene import MIN, SEC, Log, klog, xid


def raise_all(s, logs, at, frames, error):
    for r in s.ranks:
        sc.died_with(logs[r.rank], r, at + r.rank * 60_000_000, frames, error)


def raise_one(s, logs, rank, at, frames, error, below=()):
    """One rank dies of it, the others lose their peer."""
    sc.died_with(logs[rank], s[rank], at, frames, error)
    logs[rank].say(at, *["[rank%d]: %s" % (rank, x) for x in below])
    for r in s.ranks:
        if r.rank != rank:
            remote_error(logs[r.rank], r, at + 3 * SEC + r.rank * 9_000_000, s[rank].host.ip)


def starting(s):
    """Logs that end while the job starts, a minute in."""
    logs = {}
    for r in s.ranks:
        logs[r.rank] = Log()
        sc.startup(s, logs[r.rank], r, s.start)
        sc.nccl_init(s, logs[r.rank], r, s.start + 20 * SEC)
    return logs, s.start + MIN


def kernel(box, s, end, host=0):
    box.put("kernel/%s.log" % s.hosts[host].name, sc.kernel_log(s, s.hosts[host], end + 2 * MIN, "ctime", quiet=12))


# ---------------------------------------------------------------- services

TB_UPLOAD = sc.TB_SAVE + [(sc.APP + "atlas/ckpt/remote.py", 57, "put", "self.client.upload_file(path, bucket, key)")]


def upload(box, seed, error):
    s = small(seed, "dunlin", n=8, start="2027-01-02 10:00:00")
    logs, end = quick(s, leader=150, others=4)
    raise_all(s, logs, end, TB_UPLOAD, error)
    put_logs(box, logs)
    launchers(box, s, end + 2 * SEC, s[3], 1)


@case("external_service_outage/object-store-slow-down", "positive", "The object store answers SlowDown to every rank's upload until the client gives up.")
def slow_down(box):
    upload(box, 901, "botocore.exceptions.ClientError: An error occurred (SlowDown) when calling the UploadPart operation (reached max retries: 4): Please reduce your request rate.")
    box.expect("root_cause", "external_service_outage", evidence=["An error occurred (SlowDown)"], must_not=["python_exception", "config_error", "disk_full"])


@case("python_exception/object-store-denies", "adjacent", "The twin of external_service_outage/object-store-slow-down: the store answers, and refuses: the credentials are wrong.")
def denied(box):
    upload(box, 901, "botocore.exceptions.ClientError: An error occurred (AccessDenied) when calling the UploadPart operation: Access Denied")
    box.expect("root_cause", "python_exception", evidence=["An error occurred (AccessDenied)"], must_not=["external_service_outage"])


@case("external_service_outage/log-cut", "degraded", "One log, cut inside the line with the status.")
def status_cut(box):
    s = small(903, "dunlin", n=8, start="2027-01-03 10:00:00")
    logs, end = starting(s)
    sc.died_with(logs[0], s[0], end, sc.TB_SETUP, "huggingface_hub.errors.HfHubHTTPError: 503 Server Error: Service Temporarily Unavailable for url: https://models.example.org/api/atlas")
    text = "\n".join(logs[0].lines())
    box.put("rank_0.log", text[:-40])
    box.expect("root_cause", "external_service_outage", evidence=["503 Server Error"], must_not=["python_exception", "config_error"])


# ---------------------------------------------------------------- checkpoints, paths, samples

TB_LOAD = sc.TB_SETUP + [(sc.APP + "atlas/ckpt/load.py", 44, "load", "state = torch.load(path, map_location=\"cpu\")")]


def loading(box, seed, error, server=False, ranks=None):
    s = small(seed, "garganey", n=8, start="2027-01-05 10:00:00")
    logs, end = starting(s)
    raise_all(s, logs, end, TB_LOAD, error)
    put_logs(box, {r: logs[r] for r in ranks or logs})
    if server:
        klog(s.hosts[0], end - 50 * SEC, "nfs: server 10.41.9.2 not responding, still trying", 5)
    if not ranks:
        launchers(box, s, end + 2 * SEC, s[0], 1)
        kernel(box, s, end)


@case("checkpoint_corrupt/no-central-directory", "positive", "The newest checkpoint was cut when the last run died; every rank fails to read it.")
def ckpt(box):
    loading(box, 911, "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory")
    box.expect("root_cause", "checkpoint_corrupt", evidence=["failed finding central directory"], must_not=["config_error", "python_exception", "storage_hang"])


@case("config_error/checkpoint-path", "positive", "The twin of checkpoint_corrupt/no-central-directory: the path does not exist.")
def ckpt_path(box):
    loading(box, 911, "FileNotFoundError: [Errno 2] No such file or directory: '/ckpt/atlas-7b/step_0118000/model.pt'")
    box.expect("root_cause", "config_error", evidence=["No such file or directory: '/ckpt/atlas-7b"], must_not=["checkpoint_corrupt", "python_exception", "storage_hang"])


@case("storage_hang/path-behind-dead-server", "adjacent", "The twin of config_error/checkpoint-path: the server that holds the path does not respond.")
def ckpt_server(box):
    loading(box, 911, "FileNotFoundError: [Errno 2] No such file or directory: '/ckpt/atlas-7b/step_0118000/model.pt'", True)
    box.expect("root_cause", "storage_hang", culprits=[{"host": "garganey-01"}], evidence=["nfs: server 10.41.9.2 not responding"], must_not=["config_error", "checkpoint_corrupt"])


@case("checkpoint_corrupt/two-logs", "degraded", "Two of eight logs, no launcher, no kernel log.")
def ckpt_cut(box):
    loading(box, 913, "RuntimeError: unexpected EOF, expected 771204 more bytes. The file might be corrupted.", ranks=[1, 5])
    box.expect("root_cause", "checkpoint_corrupt", evidence=["The file might be corrupted"], must_not=["config_error", "python_exception"])


@case("config_error/one-log", "degraded", "One log.")
def module_cut(box):
    loading(box, 915, "ModuleNotFoundError: No module named 'atlas_kernels'", ranks=[2])
    box.expect("root_cause", "config_error", evidence=["No module named 'atlas_kernels'"], must_not=["python_exception", "python_exception_one_rank"])


@case("input_data_corrupt/truncated-image", "positive", "A sample of rank 3 cannot be decoded.")
def sample(box):
    s = small(917, "garganey", n=4, start="2027-01-07 10:00:00")
    logs, end = quick(s, leader=190, others=6)
    raise_one(s, logs, 3, end, sc.TB_LOADER, "OSError: image file is truncated (1184 bytes not processed)")
    put_logs(box, logs)
    launchers(box, s, end + 5 * SEC, s[3], 1)
    kernel(box, s, end)
    box.expect("root_cause", "input_data_corrupt", culprits=[{"rank": 3}], evidence=["image file is truncated"], must_not=["python_exception_one_rank", "comm_error", "local_disk_failure"])


@case("input_data_corrupt/log-only", "degraded", "The log of the rank alone.")
def sample_cut(box):
    s = small(919, "garganey", n=4, start="2027-01-08 10:00:00")
    logs, end = quick(s, leader=40, others=20)
    sc.died_with(logs[3], s[3], end, sc.TB_LOADER, "EOFError: Compressed file ended before the end-of-stream marker was reached")
    put_logs(box, {3: logs[3]})
    box.expect("root_cause", "input_data_corrupt", culprits=[{"rank": 3}], evidence=["Compressed file ended"], must_not=["python_exception_one_rank"])


@case("python_exception_one_rank/bad-sample-of-own-making", "adjacent", "The twin of input_data_corrupt/truncated-image: the reader's own check fails, which says nothing about the file.")
def sample_own(box):
    s = small(917, "garganey", n=4, start="2027-01-07 10:00:00")
    logs, end = quick(s, leader=190, others=6)
    raise_one(s, logs, 3, end, sc.TB_LOADER, "ValueError: sample has 3 channels, the model takes 1")
    put_logs(box, logs)
    launchers(box, s, end + 5 * SEC, s[3], 1)
    kernel(box, s, end)
    box.expect("root_cause", "python_exception_one_rank", culprits=[{"rank": 3}], evidence=["sample has 3 channels"], must_not=["input_data_corrupt", "comm_error"])


# ---------------------------------------------------------------- what only says that something else ended

def pool(box, seed, oom, logs_too=True):
    s = small(seed, "teal", n=4, start="2027-01-10 10:00:00")
    logs, end = quick(s, leader=120 if logs_too else 30, others=4)
    if logs_too:
        raise_one(s, logs, 1, end, sc.TB_LOADER, "concurrent.futures.process.BrokenProcessPool: A process in the process pool was terminated abruptly while the future was running or pending.")
        put_logs(box, logs)
    else:
        sc.died_with(logs[1], s[1], end, sc.TB_LOADER, "torch.distributed.elastic.rendezvous.api.RendezvousClosedError")
        put_logs(box, {1: logs[1]})
    if oom:
        memcg_oom(s.hosts[0], end - SEC, s[1].pid + 911, "python3")
    if logs_too:
        kernel(box, s, end)


@case("process_exited/process-pool", "adjacent", "A process of a pool ended; why, no source says. The other ranks only lost their peer.")
def pool_open(box):
    pool(box, 921, False)
    box.expect("unattributed", "process_exited", culprits=[{"rank": 1}], evidence=["BrokenProcessPool"], must_not=["python_exception_one_rank", "host_oom", "comm_error"])


@case("host_oom/process-pool", "adjacent", "The twin of process_exited/process-pool: the kernel log has the OOM kill.")
def pool_oom(box):
    pool(box, 921, True)
    box.expect("root_cause", "host_oom", culprits=[{"host": "teal-01"}], evidence=["Memory cgroup out of memory"], must_not=["process_exited", "python_exception_one_rank"])


@case("ended_by_peer/rendezvous-closed", "degraded", "One log that ends with a closed rendezvous.")
def closed(box):
    pool(box, 923, False, False)
    box.expect("unattributed", "ended_by_peer", evidence=["RendezvousClosedError"], must_not=["python_exception_one_rank", "rendezvous_incomplete"])


# ---------------------------------------------------------------- shared memory without a reason

def shared(box, seed, reason, kind="adjacent"):
    s = small(seed, "scaup", n=4, start="2027-01-12 10:00:00")
    logs, end = quick(s, leader=190, others=6)
    raise_one(s, logs, 2, end, sc.TB_LOADER, "RuntimeError: unable to open shared memory object </torch_%d_1183_907> in read-write mode%s" % (s[2].pid + 40, reason))
    put_logs(box, logs)
    launchers(box, s, end + 5 * SEC, s[2], 1)


@case("shm_open_failed/no-reason", "adjacent", "Shared memory could not be opened, and the line does not say why: descriptors or space.")
def shm_open(box):
    shared(box, 931, "")
    box.expect("unattributed", "shm_open_failed", culprits=[{"rank": 2}], evidence=["unable to open shared memory object"], must_not=["fd_limit", "shm_exhausted", "python_exception_one_rank", "comm_error"])


@case("fd_limit/shared-tensor", "adjacent", "The twin of shm_open_failed/no-reason: the line says that too many files are open.")
def shm_fd(box):
    shared(box, 931, ": Too many open files (24)")
    box.expect("root_cause", "fd_limit", culprits=[{"rank": 2}], evidence=["Too many open files (24)"], must_not=["shm_exhausted", "shm_open_failed", "comm_error"])


@case("shm_exhausted/shared-tensor", "adjacent", "The twin of shm_open_failed/no-reason: the tensor's file could not be written for lack of space.")
def shm_space(box):
    s = small(931, "scaup", n=4, start="2027-01-12 10:00:00")
    logs, end = quick(s, leader=190, others=6)
    raise_one(s, logs, 2, end, sc.TB_LOADER, "RuntimeError: unable to write to file </torch_%d_1183_907>: No space left on device (28)" % (s[2].pid + 40))
    put_logs(box, logs)
    launchers(box, s, end + 5 * SEC, s[2], 1)
    box.expect("root_cause", "shm_exhausted", culprits=[{"rank": 2}], evidence=["No space left on device (28)"], must_not=["fd_limit", "disk_full", "shm_open_failed", "comm_error"])


# ---------------------------------------------------------------- numbers on the lines below

def refused(box, seed, rows, one_log=False):
    s = small(seed, "pochard", n=4, start="2027-01-14 10:00:00")
    logs, end = quick(s, leader=190, others=6)
    raise_one(s, logs, 0, end, sc.TB_FORWARD, "ValueError: Expected parameter logits (Tensor of shape (8, 128256)) of distribution Categorical(logits: torch.Size([8, 128256])) to satisfy "
              "the constraint IndependentConstraint(Real(), 1), but found invalid values:", rows)
    put_logs(box, {0: logs[0]} if one_log else logs)
    if not one_log:
        launchers(box, s, end + 5 * SEC, s[0], 1)


NAN_ROWS = ["tensor([[nan, nan, nan,  ..., nan, nan, nan],", "        [nan, nan, nan,  ..., nan, nan, nan]], device='cuda:0',", "       grad_fn=<SubBackward0>)"]


@case("nan_loss/distribution-refuses", "positive", "The policy's logits are NaN; a distribution refuses them and prints them below its exception.")
def logits(box):
    refused(box, 941, NAN_ROWS)
    box.expect("root_cause", "nan_loss", evidence=["Expected parameter logits", "tensor([[nan, nan, nan,"], must_not=["python_exception_one_rank", "python_exception", "comm_error"])


@case("nan_loss/distribution-log-only", "degraded", "The log of the rank alone.")
def logits_cut(box):
    refused(box, 943, NAN_ROWS[:1], True)
    box.expect("root_cause", "nan_loss", evidence=["Expected parameter logits"], must_not=["python_exception_one_rank", "python_exception"])


@case("python_exception_one_rank/distribution-refuses", "adjacent", "The twin of nan_loss/distribution-refuses: the values are finite and negative, the program's mistake.")
def logits_finite(box):
    refused(box, 941, [x.replace("nan", "-0.3125") for x in NAN_ROWS])
    box.expect("root_cause", "python_exception_one_rank", culprits=[{"rank": 0}], evidence=["Expected parameter logits"], must_not=["nan_loss", "comm_error"])


# ---------------------------------------------------------------- the device, by words that name no cause

def device(box, seed, lost, error):
    s = small(seed, "smew", n=8, start="2027-01-16 10:00:00")
    logs, end = quick(s, leader=160, others=6)
    raise_one(s, logs, 5, end, sc.TB_FORWARD, error)
    if lost:
        xid(s.hosts[0], end - SEC, s[5], 79, "GPU has fallen off the bus.")
    put_logs(box, logs)
    kernel(box, s, end)


CUDNN = "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"


@case("cuda_error/cudnn-not-initialized", "adjacent", "cuDNN could not start on rank 5; the words fit a full device, a broken one and a wrong library alike.")
def cudnn(box):
    device(box, 951, False, CUDNN)
    box.expect("unattributed", "cuda_error", culprits=[{"rank": 5}], evidence=["CUDNN_STATUS_NOT_INITIALIZED"], must_not=["python_exception_one_rank", "gpu_fell_off_bus", "comm_error"])


@case("gpu_fell_off_bus/cudnn-not-initialized", "adjacent", "The twin of cuda_error/cudnn-not-initialized: the kernel log has the lost GPU.")
def cudnn_lost(box):
    device(box, 951, True, CUDNN)
    box.expect("root_cause", "gpu_fell_off_bus", evidence=["GPU has fallen off the bus"], must_not=["cuda_error", "python_exception_one_rank"])


@case("cuda_error/unknown-error-at-start", "degraded", "One log: CUDA does not start, and its own guess at the environment is not evidence.")
def unknown(box):
    s = small(953, "smew", n=8, start="2027-01-17 10:00:00")
    logs, end = starting(s)
    sc.died_with(logs[0], s[0], end, sc.TB_SETUP, "RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env variable CUDA_VISIBLE_DEVICES "
                 "after program start. Setting the available devices to be zero.")
    put_logs(box, {0: logs[0]})
    box.expect("unattributed", "cuda_error", evidence=["CUDA unknown error"], must_not=["python_exception", "python_exception_one_rank", "config_error", "rank_gpu_misassignment"])


@case("gpu_memory_taken/tpu-in-use", "adjacent", "Shares the failed start with cuda_error/unknown-error-at-start: another process holds the device, and its pid is named.")
def tpu(box):
    s = small(955, "smew", n=4, start="2027-01-18 10:00:00")
    logs = {0: Log()}
    sc.startup(s, logs[0], s[0], s.start)
    sc.died_with(logs[0], s[0], s.start + 20 * SEC, sc.TB_SETUP, "RuntimeError: Unable to initialize backend 'tpu': ABORTED: The TPU is already in use by process with pid 31877. "
                 "Not attempting to load libtpu.so in this process. (set JAX_PLATFORMS='' to automatically choose an available backend)")
    put_logs(box, logs)
    box.expect("root_cause", "gpu_memory_taken", evidence=["already in use by process with pid 31877"], must_not=["python_exception", "python_exception_one_rank", "cuda_error"])


@case("comm_error/unavailable", "adjacent", "A call to the coordinator is not answered; the words do not say whether it died or the network did.")
def unavailable(box):
    s = small(957, "smew", n=4, start="2027-01-19 10:00:00")
    logs, end = quick(s, leader=60, others=20)
    sc.died_with(logs[2], s[2], end, sc.TB_STEP, "jaxlib.xla_extension.XlaRuntimeError: UNAVAILABLE: failed to connect to all addresses; last error: UNKNOWN: ipv4:10.41.6.21:41877")
    put_logs(box, {2: logs[2]})
    box.expect("unattributed", "comm_error", evidence=["UNAVAILABLE: failed to connect to all addresses"], must_not=["python_exception_one_rank", "external_service_outage"])
