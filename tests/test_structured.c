/* The readers of GPU tools, DCGM, NCCL RAS, Kubernetes, stacks and torchrun's error files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyzer/ingest/structured.h"
#include "bundle/cleanup.h"

typedef int reader(struct store *, uint32_t, const char *, size_t, struct error *);

#define SMI_HEAD "<?xml version=\"1.0\" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM \"nvsmi_device_v12.dtd\">\n" \
	"<nvidia_smi_log>\n\t<timestamp>Tue Mar  3 04:05:06 2026</timestamp>\n" \
	"\t<driver_version>570.1</driver_version>\n"
#define SMI_TAIL "</nvidia_smi_log>\n"
#define GPU(body) "\t<gpu id=\"00000000:3B:00.0\">\n" body "\t</gpu>\n"
#define ONE_GPU(body) SMI_HEAD "\t<attached_gpus>1</attached_gpus>\n" GPU(body) SMI_TAIL

#define POD_HEAD "Name:             trainer-7\nNamespace:        ml\nNode:             kestrel-03/10.0.0.3\n" \
	"Status:           Running\nContainers:\n  worker:\n    Image:          repo/worker:1\n"
#define EVENT_HEAD "Events:\n  Type     Reason            Age                From               Message\n" \
	"  ----     ------            ----               ----               -------\n"

#define EVENT(kind, name, reason, message, time) \
	"{\"kind\": \"Event\", \"involvedObject\": {\"kind\": \"" kind "\", \"name\": \"" name "\"},\n" \
	" \"reason\": \"" reason "\",\n \"message\": \"" message "\",\n \"lastTimestamp\": \"" time "\"}"

#define LOADER_STACK \
	"Thread 5151 (idle): \"MainThread\"\n" \
	"    wait (threading.py:331)\n" \
	"    get (queue.py:180)\n" \
	"    _try_get_data (torch/utils/data/dataloader.py:1131)\n" \
	"    _next_data (torch/utils/data/dataloader.py:1328)\n" \
	"    train_step (loop.py:77)\n" \
	"    <module> (main.py:9)\n"

/* One expected observation; NULL: not looked at. */
struct expected {
	const char *kind, *gpu, *object, *host;
	int32_t pid;		/* 0: not looked at */
	const char *field, *value;
	const char *quote;	/* one of its quotes */
	uint64_t line;		/* and its line */
};

static const struct {
	const char *name;
	reader *read;
	const char *member, *in;
	struct expected want[4];
	const char *never[3];	/* kinds that must not arise */
} cases[] = {
	{ "a healthy GPU", ingest_nvidia_smi, "smi.xml",
	  ONE_GPU("\t\t<product_name>NVIDIA H100</product_name>\n\t\t<uuid>GPU-1</uuid>\n"
		  "\t\t<ecc_errors><volatile><dram_uncorrectable>0</dram_uncorrectable></volatile></ecc_errors>\n"
		  "\t\t<remapped_rows>N/A</remapped_rows>\n"
		  "\t\t<clocks_event_reasons>\n\t\t\t<clocks_event_reason_hw_thermal_slowdown>Not Active"
		  "</clocks_event_reason_hw_thermal_slowdown>\n\t\t</clocks_event_reasons>\n"),
	  { { "gpu.state", "0000:3b:00.0", .field = "product", .value = "NVIDIA H100",
	      .quote = "<gpu id=\"00000000:3B:00.0\">", .line = 7 } },
	  { "gpu.ecc_uncorrectable", "gpu.thermal", "gpu.missing" } },
	{ "uncorrectable DRAM and SRAM errors, new names", ingest_nvidia_smi, "smi.xml",
	  ONE_GPU("\t\t<ecc_errors>\n\t\t<volatile>\n\t\t\t<sram_uncorrectable_parity>2</sram_uncorrectable_parity>\n"
		  "\t\t\t<sram_uncorrectable_secded>1</sram_uncorrectable_secded>\n"
		  "\t\t\t<dram_uncorrectable>4</dram_uncorrectable>\n\t\t</volatile>\n\t\t</ecc_errors>\n"),
	  { { "gpu.ecc_uncorrectable", "0000:3b:00.0", .field = "count", .value = "4",
	      .quote = "<dram_uncorrectable>4</dram_uncorrectable>", .line = 12 },
	    { "gpu.sram_ecc", .field = "count", .value = "3",
	      .quote = "<sram_uncorrectable_secded>1</sram_uncorrectable_secded>", .line = 11 } }, { NULL } },
	{ "the same in DTD 10", ingest_nvidia_smi, "smi.xml",
	  ONE_GPU("<ecc_errors><volatile><double_bit>\n<device_memory>3</device_memory>\n<l2_cache>5</l2_cache>\n"
		  "<total>8</total></double_bit></volatile></ecc_errors>\n"),
	  { { "gpu.ecc_uncorrectable", .field = "count", .value = "3", .quote = "<device_memory>3</device_memory>",
	      .line = 9 },
	    { "gpu.sram_ecc", .field = "counter", .value = "l2_cache", .quote = "<l2_cache>5</l2_cache>", .line = 10 } },
	  { NULL } },
	{ "an aggregate count alone is history", ingest_nvidia_smi, "smi.xml",
	  ONE_GPU("<ecc_errors><aggregate><dram_uncorrectable>9</dram_uncorrectable></aggregate></ecc_errors>\n"),
	  { { "gpu.state", .field = "aggregate_uncorrectable", .value = "9" } }, { "gpu.ecc_uncorrectable" } },
	{ "row remapping", ingest_nvidia_smi, "smi.xml",
	  ONE_GPU("<remapped_rows>\n<remapped_row_pending>Yes</remapped_row_pending>\n"
		  "<remapped_row_failure>Yes</remapped_row_failure></remapped_rows>\n"),
	  { { "gpu.row_remap_pending", .quote = "<remapped_row_pending>Yes</remapped_row_pending>", .line = 9 },
	    { "gpu.row_remap_failed", .quote = "<remapped_row_failure>Yes</remapped_row_failure>", .line = 10 } },
	  { NULL } },
	{ "heat and power brake, old names", ingest_nvidia_smi, "smi.xml",
	  ONE_GPU("<clocks_throttle_reasons>\n"
		  "<clocks_throttle_reason_sw_thermal_slowdown>Active</clocks_throttle_reason_sw_thermal_slowdown>\n"
		  "<clocks_throttle_reason_hw_power_brake_slowdown>Active"
		  "</clocks_throttle_reason_hw_power_brake_slowdown></clocks_throttle_reasons>\n"
		  "<temperature><gpu_temp>91 C</gpu_temp></temperature>\n"),
	  { { "gpu.thermal", .field = "reason", .value = "sw_thermal_slowdown", .quote = "<gpu_temp>91 C</gpu_temp>",
	      .line = 11 },
	    { "gpu.power_brake", .field = "reason", .value = "hw_power_brake_slowdown" } }, { NULL } },
	{ "counters of throttling are history", ingest_nvidia_smi, "smi.xml",
	  ONE_GPU("<clocks_event_reasons_counters><clocks_event_reasons_counters_hw_therm_slowdown>9 us"
		  "</clocks_event_reasons_counters_hw_therm_slowdown></clocks_event_reasons_counters>\n"),
	  { { .kind = "gpu.state" } }, { "gpu.thermal" } },
	{ "a lost GPU", ingest_nvidia_smi, "smi.xml",
	  ONE_GPU("<product_name>NVIDIA H100</product_name>\n<utilization><gpu_util>GPU is lost</gpu_util></utilization>\n"),
	  { { "gpu.lost", "0000:3b:00.0", .quote = "<gpu_util>GPU is lost</gpu_util>", .line = 9 } }, { NULL } },
	{ "one unknown error is a sensor that the board lacks", ingest_nvidia_smi, "smi.xml",
	  ONE_GPU("<fan_speed>Unknown Error</fan_speed>\n"), { { .kind = "gpu.state" } }, { "gpu.lost" } },
	{ "unknown errors all over", ingest_nvidia_smi, "smi.xml",
	  ONE_GPU("<fan_speed>[Unknown Error]</fan_speed>\n<performance_state>[Unknown Error]</performance_state>\n"
		  "<uuid>[Unknown Error]</uuid>\n"),
	  { { "gpu.lost", .field = "reading", .value = "Unknown Error", .quote = "<uuid>[Unknown Error]</uuid>",
	      .line = 10 } }, { NULL } },
	{ "fewer GPUs than attached", ingest_nvidia_smi, "smi.xml",
	  SMI_HEAD "<attached_gpus>2</attached_gpus>\n" GPU("") SMI_TAIL,
	  { { "gpu.missing", .field = "listed", .value = "1", .quote = "<attached_gpus>2</attached_gpus>", .line = 6 } },
	  { NULL } },
	{ "a selected GPU (-i) is not a missing one", ingest_nvidia_smi, "smi.xml",
	  SMI_HEAD "<attached_gpus>8</attached_gpus>\n" GPU("") SMI_TAIL, { { .kind = "gpu.state" } }, { "gpu.missing" } },
	{ "a narrow link, and a slow one under load", ingest_nvidia_smi, "smi.xml",
	  ONE_GPU("<pci><pci_gpu_link_info><pcie_gen><max_link_gen>5</max_link_gen>\n"
		  "<current_link_gen>1</current_link_gen></pcie_gen><link_widths><max_link_width>16x</max_link_width>\n"
		  "<current_link_width>4x</current_link_width></link_widths></pci_gpu_link_info></pci>\n"
		  "<utilization><gpu_util>97 %</gpu_util></utilization>\n"),
	  { { "pcie.link_degraded", .field = "width", .value = "4x",
	      .quote = "<current_link_gen>1</current_link_gen>", .line = 9 } }, { NULL } },
	{ "an idle link is slow on purpose", ingest_nvidia_smi, "smi.xml",
	  ONE_GPU("<pci><pci_gpu_link_info><pcie_gen><max_link_gen>5</max_link_gen>"
		  "<current_link_gen>1</current_link_gen></pcie_gen></pci_gpu_link_info></pci>\n"
		  "<utilization><gpu_util>0 %</gpu_util></utilization>\n"),
	  { { .kind = "gpu.state" } }, { "pcie.link_degraded" } },
	{ "recovery action and processes", ingest_nvidia_smi, "smi.xml",
	  ONE_GPU("<gpu_recovery_action>Drain and Reset</gpu_recovery_action>\n<processes>\n<process_info><pid>4242</pid>"
		  "<process_name>python &amp; co</process_name><used_memory>700 MiB</used_memory></process_info>\n"
		  "<process_info><pid>77</pid><process_name>x</process_name><used_memory>N/A</used_memory>"
		  "</process_info></processes>\n"),
	  { { "gpu.recovery_action", .field = "action", .value = "Drain and Reset", .line = 8 },
	    { "gpu.state", .field = "pids", .value = "4242 77" },
	    { "gpu.state", .field = "largest_process", .value = "python & co (pid 4242): 700 MiB" } }, { NULL } },
	{ "two documents in a row", ingest_nvidia_smi, "smi.xml",
	  ONE_GPU("<uuid>GPU-1</uuid>\n") ONE_GPU("<uuid>GPU-2</uuid>\n"),
	  { { "gpu.state", .field = "uuid", .value = "GPU-2", .quote = "<uuid>GPU-2</uuid>", .line = 18 } }, { NULL } },

	{ "describe: OOM-killed, then in a crash loop", ingest_kubernetes_text, "pod.txt",
	  POD_HEAD "    State:          Waiting\n      Reason:       CrashLoopBackOff\n"
	  "    Last State:     Terminated\n      Reason:       OOMKilled\n      Exit Code:    137\n"
	  "      Finished:     Tue, 03 Mar 2026 04:05:06 +0100\n    Ready:          False\nConditions:\n"
	  "  Type           Status\n  Ready          False\n"
	  EVENT_HEAD "  Warning  BackOff           87s (x3 over 6m)   kubelet            "
	  "Back-off restarting failed container worker in pod trainer-7_ml(1)\n",
	  { { "k8s.oom_killed", .object = "trainer-7", .host = "kestrel-03", .field = "container", .value = "worker",
	      .quote = "      Reason:       OOMKilled", .line = 11 },
	    { "k8s.oom_killed", .field = "exitcode", .value = "137", .quote = "      Exit Code:    137", .line = 12 } },
	  { "k8s.container_error", "k8s.node_not_ready", "proc.exit" } },
	{ "describe: a container that failed", ingest_kubernetes_text, "pod.txt",
	  POD_HEAD "    State:          Terminated\n      Reason:       Error\n      Exit Code:    3\n",
	  { { "proc.exit", .object = "trainer-7", .field = "exitcode", .value = "3",
	      .quote = "      Reason:       Error", .line = 9 } }, { NULL } },
	{ "describe: a container that failed once and runs", ingest_kubernetes_text, "pod.txt",
	  POD_HEAD "    State:          Running\n    Last State:     Terminated\n      Reason:       Error\n"
	  "      Exit Code:    3\n", { { 0 } }, { "proc.exit" } },
	{ "describe: evicted", ingest_kubernetes_text, "pod.txt",
	  "Name:      trainer-7\nNode:      kestrel-03/\nStatus:    Failed\nReason:    Evicted\n"
	  "Message:   The node was low on resource: memory.\n",
	  { { "k8s.evicted", .object = "trainer-7", .host = "kestrel-03", .field = "message",
	      .value = "The node was low on resource: memory.", .quote = "Reason:    Evicted", .line = 4 } }, { NULL } },
	{ "describe: a node under pressure and not ready", ingest_kubernetes_text, "node.txt",
	  "Name:               kestrel-03\nRoles:              <none>\nConditions:\n"
	  "  Type             Status  LastHeartbeatTime                 Reason             Message\n"
	  "  ----             ------  -----------------                 ------             -------\n"
	  "  MemoryPressure   True    Tue, 03 Mar 2026 04:05:06 +0100   KubeletLowMemory   low on memory\n"
	  "  DiskPressure     False   Tue, 03 Mar 2026 04:05:06 +0100   KubeletHasDisk     no pressure\n"
	  "  Ready            Unknown   Tue, 03 Mar 2026 04:05:06 +0100   NodeStatusUnknown  Kubelet stopped posting\n",
	  { { "k8s.node_pressure", .host = "kestrel-03", .field = "reason", .value = "MemoryPressure", .line = 6 },
	    { "k8s.node_not_ready", .host = "kestrel-03", .field = "message", .value = "Kubelet stopped posting",
	      .line = 8 } }, { NULL } },
	{ "events without a name: unschedulable, then scheduled", ingest_kubernetes_text, "events.txt",
	  EVENT_HEAD "  Warning  FailedScheduling  41m                default-scheduler  0/4 nodes are available\n"
	  "  Normal   Scheduled         40m                default-scheduler  "
	  "Successfully assigned ml/trainer-9 to kestrel-04\n",
	  { { "k8s.unschedulable", .object = "trainer-9", .field = "scheduled", .value = "yes", .line = 4 },
	    { "k8s.scheduled", .object = "trainer-9", .host = "kestrel-04", .line = 5 } }, { NULL } },
	{ "events as a table: an image that never came", ingest_kubernetes_text, "events.txt",
	  "LAST SEEN   TYPE      REASON    OBJECT           MESSAGE\n"
	  "2m          Normal    Started   pod/trainer-1    Started container worker\n"
	  "10m         Warning   Failed    pod/trainer-1    Error: ErrImagePull\n"
	  "1m          Warning   Failed    pod/trainer-2    Error: ErrImagePull\n"
	  "5m          Warning   Evicted   pod/trainer-3    The node was low on resource: memory\n",
	  { { "k8s.container_error", .object = "trainer-2", .field = "reason", .value = "Failed",
	      .quote = "1m          Warning   Failed    pod/trainer-2    Error: ErrImagePull", .line = 4 },
	    { "k8s.evicted", .object = "trainer-3", .line = 5 } }, { NULL } },

	{ "JSON: events of a list", ingest_kubernetes_json, "events.json",
	  "{\"apiVersion\": \"v1\", \"items\": [\n"
	  EVENT("Pod", "trainer-1", "FailedScheduling", "0/4 nodes are \\\"available\\\"", "2026-03-03T04:05:06Z") ",\n"
	  EVENT("Node", "kestrel-05", "NodeHasDiskPressure", "disk", "2026-03-03T04:05:07Z") ",\n"
	  EVENT("Node", "kestrel-05", "NodeNotReady", "gone", "2026-03-03T04:05:08+01:00") "],\n\"kind\": \"List\"}\n",
	  { { "k8s.unschedulable", .object = "trainer-1", .field = "message", .value = "0/4 nodes are \"available\"",
	      .quote = "\"message\": \"0/4 nodes are \\\"available\\\"\"", .line = 4 },
	    { "k8s.node_pressure", .host = "kestrel-05", .quote = "\"reason\": \"NodeHasDiskPressure\"", .line = 7 },
	    { "k8s.node_not_ready", .host = "kestrel-05", .line = 11 } }, { NULL } },
	{ "JSON lines: an error that was overcome", ingest_kubernetes_json, "events.json",
	  EVENT("Pod", "trainer-1", "Failed", "Error: ErrImagePull", "2026-03-03T04:05:06Z") "\n"
	  EVENT("Pod", "trainer-1", "Started", "Started container worker", "2026-03-03T04:06:06Z") "\n",
	  { { 0 } }, { "k8s.container_error" } },
	{ "JSON: a pod that was OOM-killed", ingest_kubernetes_json, "pod.json",
	  "{\"kind\": \"Pod\", \"metadata\": {\"name\": \"trainer-4\"}, \"spec\": {\"nodeName\": \"kestrel-06\"},\n"
	  "\"status\": {\"containerStatuses\": [{\"name\": \"worker\",\n\"lastState\": {\"terminated\": {\n"
	  "\"exitCode\": 137,\n\"finishedAt\": \"2026-03-03T04:05:06.5Z\",\n\"reason\": \"OOMKilled\"}}}]}}\n",
	  { { "k8s.oom_killed", .object = "trainer-4", .host = "kestrel-06", .field = "container", .value = "worker",
	      .quote = "\"reason\": \"OOMKilled\"", .line = 6 },
	    { "k8s.oom_killed", .field = "exitcode", .value = "137", .quote = "\"exitCode\": 137", .line = 4 } },
	  { NULL } },
	{ "JSON: a pod without a kind, waiting for an image", ingest_kubernetes_json, "pods.json",
	  "{\"items\":[{\"metadata\":{\"name\":\"t-1\"},\"spec\":{\"containers\":[]},\"status\":{\"containerStatuses\":"
	  "[{\"name\":\"w\",\"state\":{\"waiting\":{\"reason\":\"ImagePullBackOff\",\"message\":\"no such image\"}}}]}}]}",
	  { { "k8s.container_error", .object = "t-1", .field = "message", .value = "no such image",
	      .quote = "\"reason\":\"ImagePullBackOff\"", .line = 1 } }, { NULL } },

	{ "py-spy: inside the data loader", ingest_stacks, "trace.txt", LOADER_STACK,
	  { { "stack.data_loader", .pid = 5151, .field = "function", .value = "_try_get_data",
	      .quote = "    _try_get_data (torch/utils/data/dataloader.py:1131)", .line = 4 },
	    { "stack.data_loader", .field = "state", .value = "idle", .quote = "    train_step (loop.py:77)", .line = 6 } },
	  { "stack.other" } },
	{ "py-spy: a loader's worker is idle in health", ingest_stacks, "trace.txt",
	  "Process 5200: /usr/bin/python train.py\nPython v3.11.4 (/usr/bin/python3.11)\n\n"
	  "Thread 5200 (idle): \"MainThread\"\n    poll (multiprocessing/popen_fork.py:27)\n"
	  "    _worker_loop (torch/utils/data/_utils/worker.py:275)\n    <module> (train.py:1)\n",
	  { { "stack.other", .pid = 5200 } }, { "stack.data_loader" } },
	{ "py-spy: processes one after the other", ingest_stacks, "trace.txt",
	  "Process 6001: /opt/bin/python3 -u train.py\nThread 6001 (active): \"MainThread\"\n"
	  "    all_reduce (torch/distributed/distributed_c10d.py:2050)\n    step (loop.py:5)\n"
	  "    wrapper (torch/distributed/elastic/multiprocessing/errors/__init__.py:346)\n"
	  "Thread 6009 (idle): \"Thread-1\"\n    wait (threading.py:324)\n"
	  "    _pin_memory_loop (torch/utils/data/_utils/pin_memory.py:50)\n"
	  "Process 6002: python train.py\nThread 6002 (active): \"MainThread\"\n    sleep (loop.py:3)\n",
	  { { "stack.collective", .pid = 6001, .field = "op", .value = "all_reduce",
	      .quote = "    all_reduce (torch/distributed/distributed_c10d.py:2050)", .line = 3 },
	    { "stack.other", .pid = 6002, .field = "innermost", .value = "sleep (loop.py:3)" } },
	  { "stack.data_loader" } },
	{ "faulthandler: the loader's helper thread is not the main one", ingest_stacks, "stacks/71.txt",
	  "Thread 0x00007f12 (most recent call first):\n"
	  "  File \"/x/torch/utils/data/_utils/pin_memory.py\", line 28 in _pin_memory_loop\n"
	  "  File \"/x/threading.py\", line 982 in run\n  File \"/x/threading.py\", line 1002 in _bootstrap\n\n"
	  "Current thread 0x00007f13 (most recent call first):\n"
	  "  File \"/x/torch/distributed/distributed_c10d.py\", line 1900 in barrier\n"
	  "  File \"main.py\", line 4 in <module>\n",
	  { { "stack.collective", .pid = 71, .field = "op", .value = "barrier", .line = 7 } }, { "stack.data_loader" } },
	{ "gdb", ingest_stacks, "gdb.txt",
	  "Thread 2 (Thread 0x7f01 (LWP 8102) \"pt_nccl_watchdg\"):\n"
	  "#0  0x00007f55 in c10d::ProcessGroupNCCL::watchdogHandler () from libtorch_cuda.so\n\n"
	  "Thread 1 (Thread 0x7f02 (LWP 8101) \"python\"):\n#0  0x00007f56 in poll () from libc.so.6\n"
	  "#1  0x00007f57 in ncclGroupEndInternal () from libnccl.so.2\n",
	  { { "stack.collective", .pid = 8101, .field = "op", .value = "ncclGroupEndInternal", .line = 6 } }, { NULL } },
	{ "a kernel stack that waits for NFS", ingest_stacks, "proc/9301/stack",
	  "[<0>] rpc_wait_bit_killable+0x24/0xb0 [sunrpc]\n[<0>] __rpc_execute+0xfe/0x450 [sunrpc]\n"
	  "[<0>] do_syscall_64+0x5c/0x90\n",
	  { { "host.hung_task", .pid = 9301, .field = "fs", .value = "nfs",
	      .quote = "[<0>] rpc_wait_bit_killable+0x24/0xb0 [sunrpc]", .line = 1 } }, { NULL } },
	{ "a kernel stack that waits for a futex", ingest_stacks, "proc/9301/stack",
	  "[<0>] futex_wait_queue+0x61/0x90\n[<0>] do_futex+0x11a/0x1a0\n",
	  { { "stack.other", .pid = 9301 } }, { "host.hung_task" } },

	{ "an exception that torchrun recorded", ingest_elastic_error, "run/attempt_1/3/error.json",
	  "{\"message\": {\"message\": \"ValueError: bad \\\"shape\\\"\",\n \"extraInfo\": {\"py_callstack\": "
	  "\"Traceback\\nValueError: bad\\n\", \"timestamp\": \"1772510706\"}}}\n",
	  { { "py.exception", .field = "exc", .value = "ValueError",
	      .quote = "\"message\": \"ValueError: bad \\\"shape\\\"\"", .line = 1 },
	    { "py.exception", .field = "msg", .value = "bad \"shape\"", .line = 2 } }, { "py.abort_exception" } },
	{ "a plain message", ingest_elastic_error, "error.json", "{\"message\": \"torch.OutOfMemoryError: no room\"}",
	  { { "py.exception", .field = "exc", .value = "torch.OutOfMemoryError" } }, { NULL } },
	{ "the launcher's own signal is no cause", ingest_elastic_error, "error.json",
	  "{\"message\": {\"message\": \"SignalException: Process 4 got signal: 15\"}}",
	  { { "py.abort_exception", .field = "exc", .value = "SignalException" } }, { "py.exception" } },
	{ "the screen of nvidia-smi -q", ingest_gpu_text, "q.txt",
	  "==============NVSMI LOG==============\n"
	  "\n"
	  "Timestamp                                 : Tue Mar  3 04:05:06 2026\n"
	  "Driver Version                            : 550.54.15\n"
	  "CUDA Version                              : 12.4\n"
	  "\n"
	  "Attached GPUs                             : 2\n"
	  "GPU 00000000:1B:00.0\n"
	  "    Product Name                          : NVIDIA H100 80GB HBM3\n"
	  "    Minor Number                          : 0\n"
	  "    GPU UUID                              : GPU-1\n"
	  "    PCI\n"
	  "        Bus                               : 0x1B\n"
	  "        Bus Id                            : 00000000:1B:00.0\n"
	  "        GPU Link Info\n"
	  "            PCIe Generation\n"
	  "                Max                       : 5\n"
	  "                Current                   : 5\n"
	  "            Link Width\n"
	  "                Max                       : 16x\n"
	  "                Current                   : 8x\n"
	  "    Clocks Event Reasons\n"
	  "        Idle                              : Not Active\n"
	  "        HW Slowdown                       : Active\n"
	  "            HW Thermal Slowdown           : Active\n"
	  "            HW Power Brake Slowdown       : Not Active\n"
	  "        SW Thermal Slowdown               : Not Active\n"
	  "    FB Memory Usage\n"
	  "        Total                             : 81559 MiB\n"
	  "        Used                              : 70000 MiB\n"
	  "    Utilization\n"
	  "        Gpu                               : 98 %\n"
	  "    ECC Errors\n"
	  "        Volatile\n"
	  "            SRAM Correctable              : 0\n"
	  "            DRAM Uncorrectable            : 2\n"
	  "        Aggregate\n"
	  "            DRAM Uncorrectable            : 7\n"
	  "    Remapped Rows\n"
	  "        Correctable Error                 : 0\n"
	  "        Pending                           : Yes\n"
	  "        Remapping Failure Occurred        : No\n"
	  "    Temperature\n"
	  "        GPU Current Temp                  : 88 C\n"
	  "    Fabric\n"
	  "        State                             : In Progress\n"
	  "    Processes\n"
	  "        GPU instance ID                   : N/A\n"
	  "        Process ID                        : 4242\n"
	  "            Type                          : C\n"
	  "            Name                          : python\n"
	  "            Used GPU Memory               : 69000 MiB\n"
	  "GPU 00000000:9B:00.0\n"
	  "    Product Name                          : NVIDIA H100 80GB HBM3\n",
	  { { "gpu.ecc_uncorrectable", "0000:1b:00.0", .field = "count", .value = "2",
	      .quote = "DRAM Uncorrectable            : 2", .line = 36 },
	    { "gpu.thermal", .field = "reason", .value = "hw_thermal_slowdown" },
	    { "pcie.link_degraded", .field = "width", .value = "8x" },
	    { "fabric.not_ready", "0000:1b:00.0", .field = "state", .value = "In Progress" } },
	  { "gpu.missing", "gpu.lost", "gpu.row_remap_failed" } },
	{ "the table of nvidia-smi", ingest_gpu_text, "smi.txt",
	  "Tue Mar  3 04:05:06 2026\n"
	  "+-----------------------------------------------------------------------------------------+\n"
	  "| NVIDIA-SMI 550.54.15              Driver Version: 550.54.15      CUDA Version: 12.4     |\n"
	  "|-----------------------------------------+------------------------+----------------------+\n"
	  "| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |\n"
	  "| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |\n"
	  "|                                         |                        |               MIG M. |\n"
	  "|=========================================+========================+======================|\n"
	  "|   0  NVIDIA H100 80GB HBM3          On  |   00000000:1B:00.0 Off |                    0 |\n"
	  "| N/A   34C    P0              72W / 700W |     565MiB / 81559MiB  |      0%      Default |\n"
	  "|                                         |                        |             Disabled |\n"
	  "+-----------------------------------------+------------------------+----------------------+\n"
	  "|   1  NVIDIA H100 80GB HBM3          On  |   00000000:9B:00.0 Off |                    3 |\n"
	  "| ERR!  ERR!  ERR!           ERR! / 700W  |     565MiB / 81559MiB  |     ERR!     Default |\n"
	  "|                                         |                        |             Disabled |\n"
	  "+-----------------------------------------+------------------------+----------------------+\n"
	  "\n"
	  "+-----------------------------------------------------------------------------------------+\n"
	  "| Processes:                                                                              |\n"
	  "|  GPU   GI   CI        PID   Type   Process name                              GPU Memory |\n"
	  "|=========================================================================================|\n"
	  "|    0   N/A  N/A      4242      C   /usr/bin/python3                             545MiB  |\n"
	  "+-----------------------------------------------------------------------------------------+\n",
	  { { "gpu.lost", "0000:9b:00.0", .line = 14 }, { "gpu.ecc_counter", "0000:9b:00.0", .field = "count", .value = "3" },
	    { "gpu.state", "0000:1b:00.0", .field = "memory_used", .value = "565MiB" } }, { "gpu.ecc_uncorrectable" } },
	{ "amd-smi metric", ingest_gpu_text, "amd.txt",
	  "GPU: 0\n"
	  "    USAGE:\n"
	  "        GFX_ACTIVITY: 0 %\n"
	  "        UMC_ACTIVITY: 0 %\n"
	  "    POWER:\n"
	  "        SOCKET_POWER: 137 W\n"
	  "    ECC:\n"
	  "        TOTAL_CORRECTABLE_COUNT: 0\n"
	  "        TOTAL_UNCORRECTABLE_COUNT: 0\n"
	  "\n"
	  "GPU: 1\n"
	  "    BUS:\n"
	  "        BDF: 0000:83:00.0\n"
	  "    ECC:\n"
	  "        TOTAL_CORRECTABLE_COUNT: 0\n"
	  "        TOTAL_UNCORRECTABLE_COUNT: 4\n",
	  { { "gpu.ecc_counter", "0000:83:00.0", .field = "count", .value = "4", .quote = "TOTAL_UNCORRECTABLE_COUNT: 4" },
	    { "gpu.state", "0", .field = "utilization", .value = "0 %" } }, { NULL } },
	{ "rocm-smi", ingest_gpu_text, "rocm.txt",
	  "\n"
	  "\n"
	  "============================ ROCm System Management Interface ============================\n"
	  "================================= PCI Bus ID =================================\n"
	  "GPU[0]\t\t: PCI Bus: 0000:C1:00.0\n"
	  "GPU[1]\t\t: PCI Bus: 0000:C5:00.0\n"
	  "==========================================================================================\n"
	  "GPU[1]: \t RAS INFO\n"
	  "         Block       Status    Correctable Error  Uncorrectable Error\n"
	  "           UMC      ENABLED                    0                    2\n"
	  "           SDMA     ENABLED                    0                    0\n"
	  "==================================\n"
	  "============================ End of ROCm SMI Log =============================\n",
	  { { "gpu.ecc_counter", "0000:c5:00.0", .field = "counter", .value = "umc_uncorrectable" } }, { NULL } },
	{ "amd-smi in JSON, both forms", ingest_gpu_json, "amd.json",
	  "[{\"gpu\": 0, \"usage\": {\"gfx_activity\": {\"value\": 7, \"unit\": \"%\"}},\n \"ecc\": {\"total_uncorrectable_count\": 2}}]\n"
	  "{\"gpu_data\": [{\"gpu\": 1, \"bus\": {\"bdf\": \"0000:83:00.0\"}, \"ecc\": {\"total_uncorrectable_count\": 0}}]}\n",
	  { { "gpu.ecc_counter", "0", .field = "count", .value = "2", .quote = "\"total_uncorrectable_count\": 2", .line = 2 },
	    { "gpu.state", "0", .field = "utilization", .value = "7" }, { "gpu.state", .gpu = "0000:83:00.0" } }, { NULL } },
	{ "rocm-smi in JSON", ingest_gpu_json, "rocm.json",
	  "{\"card0\": {\"Temperature (Sensor junction) (C)\": \"41.0\", \"GPU use (%)\": \"98\", \"PCI Bus\": \"0000:C1:00.0\"},\n"
	  " \"system\": {\"Driver version\": \"6.3.6\"}}\n",
	  { { "gpu.state", "0000:c1:00.0", .field = "utilization", .value = "98" } }, { NULL } },
	{ "dcgmi diag", ingest_dcgm_text, "diag.txt",
	  "Successfully ran diagnostic for group.\n"
	  "+---------------------------+------------------------------------------------+\n"
	  "| Diagnostic                | Result                                         |\n"
	  "+===========================+================================================+\n"
	  "|-----  Hardware  ----------+------------------------------------------------|\n"
	  "| GPU Memory                | Fail - GPU: 5                                  |\n"
	  "| Warning                   | GPU 5 had uncorrectable memory errors and      |\n"
	  "|                           | row remapping failed.                          |\n"
	  "| Diagnostic                | Pass - All                                     |\n"
	  "+-----  Stress  ------------+------------------------------------------------+\n",
	  { { "gpu.row_remap_failed", "5", .line = 7 } }, { "gpu.row_remap_pending" } },
	{ "dcgmi health", ingest_dcgm_text, "health.txt",
	  "+---------------------------+----------------------------------------------------------+\n"
	  "| Health Monitor Report                                                                |\n"
	  "+===========================+==========================================================+\n"
	  "| Overall Health            | Failure                                                  |\n"
	  "| GPU                       |                                                          |\n"
	  "| -> 3                      | Failure                                                  |\n"
	  "|    -> Errors              |                                                          |\n"
	  "|       -> Thermal system   | Warning                                                  |\n"
	  "|                           | Detected clock throttling due to thermal violation in    |\n"
	  "|                           | GPU 3.                                                   |\n"
	  "+---------------------------+----------------------------------------------------------+\n",
	  { { "gpu.thermal", "3", .line = 9 } }, { NULL } },
	{ "a sentence without a GPU is about the one above", ingest_dcgm_text, "health.txt",
	  "+---+---+\n| -> 6                      | Failure         |\n|       -> Memory system    | Failure         |\n"
	  "|   | row remappings are pending |\n", { { "gpu.row_remap_pending", .gpu = "6" } }, { NULL } },
	{ "dcgmi dmon: what comes, not what was", ingest_dcgm_text, "dmon.txt",
	  "#Entity   GPUTL   XIDER   EDVTL\n"
	  "ID\n"
	  "GPU 0     98      0       0\n"
	  "GPU 1     97      31      2\n"
	  "GPU 0     98      94      0\n"
	  "GPU 1     97      31      3\n",
	  { { "gpu.ecc_counter", "1", .field = "count", .value = "2", .line = 4 },
	    { "gpu.ecc_uncorrectable", "1", .field = "count", .value = "3", .line = 6 },
	    { "gpu.ecc_uncorrectable", "0", .field = "code", .value = "94", .line = 5 } }, { "gpu.xid_app" } },
	{ "dcgmi diag in JSON", ingest_dcgm_json, "diag.json",
	  "{\"DCGM Diagnostic\": {\"test_categories\": [{\"category\": \"Hardware\", \"tests\": [{\"name\": \"memory\", \"results\": [\n"
	  "{\"entity_id\": 4, \"status\": \"Fail\", \"warnings\": [{\"error_id\": 84,\n"
	  "\"warning\": \"GPU 4 had memory errors and row remappings are pending\"}]}]}]}]}}\n",
	  { { "gpu.row_remap_pending", "4", .line = 3,
	      .quote = "\"warning\": \"GPU 4 had memory errors and row remappings are pending\"" } }, { NULL } },
	{ "NCCL RAS", ingest_nccl_ras_text, "ras.txt",
	  "NCCL version 2.27.3 compiled with CUDA 12.8\n"
	  "CUDA runtime version 12080, driver version 12080\n"
	  "\n"
	  "Job summary\n"
	  "===========\n"
	  "\n"
	  "  Nodes  Processes         GPUs  Processes     GPUs\n"
	  "(total)   per node  per process    (total)  (total)\n"
	  "      2          8            1         16       16\n"
	  "\n"
	  "Communicators... (0.01s)\n"
	  "=============\n"
	  "\n"
	  "Group     Comms     Nodes     Ranks     Ranks     Ranks    Status  Errors\n"
	  "    #  in group  per comm  per node  per comm  in group\n"
	  "    0         1         2         8        16        16   RUNNING  MISMATCH\n"
	  "    1         2         1         8         8        16   RUNNING      OK\n"
	  "\n"
	  "Errors\n"
	  "======\n"
	  "\n"
	  "DEAD\n"
	  "  1 job process is considered dead (unreachable via the RAS network)\n"
	  "  Process 7006 on node 10.40.0.7 managing GPU 6\n"
	  "\n"
	  "#0-0 (27a079b828ff1a75) INCOMPLETE\n"
	  "  Missing communicator data from 1 rank\n"
	  "  Rank 14 -- GPU 6 managed by process 7006 on node 10.40.0.7\n"
	  "\n"
	  "#0-0 (27a079b828ff1a75) ERROR\n"
	  "  Asynchronous errors on 2 ranks\n"
	  "  2 ranks reported Remote process error\n"
	  "  Rank 12 -- GPU 4 managed by process 7004 on node 10.40.0.7\n"
	  "  Rank 13 -- GPU 5 managed by process 7005 on node 10.40.0.7\n"
	  "\n"
	  "Warnings\n"
	  "========\n"
	  "\n"
	  "#0-0 (27a079b828ff1a75) MISMATCH\n"
	  "  Communicator ranks have different AllReduce operation counts\n"
	  "  14 ranks have launched up to operation 6650\n"
	  "  Rank 5 has launched up to operation 6649 -- GPU 5 managed by process 6005 on node 10.40.0.6\n"
	  "\n",
	  { { "agent.heartbeat_lost", .host = "10.40.0.7", .pid = 7006, .line = 24 }, { "nccl.remote_error", .pid = 7005, .line = 34 },
	    { "nccl.behind", .host = "10.40.0.6", .pid = 6005, .field = "launched", .value = "6649" } }, { "coll.not_entered" } },
	{ "NCCL RAS in JSON", ingest_nccl_ras_json, "ras.json",
	  "{\"nccl_version\": \"2.28.3\", \"timestamp\": \"2026-03-03 04:05:06\", \"communicators_count\": 1, \"communicators\": [{\"size\": 4,\n"
	  "\"ranks\": [{\"rank\": 0, \"host\": \"10.0.0.1\", \"pid\": 11, \"status\": {\"init_state\": 0, \"async_error\": 6}, \"collective_counts\": {\"AllReduce\": 9}},\n"
	  "{\"rank\": 1, \"host\": \"10.0.0.1\", \"pid\": 12, \"status\": {\"init_state\": 0, \"async_error\": 0}, \"collective_counts\": {\"AllReduce\": 8}},\n"
	  "{\"rank\": 2, \"host\": \"10.0.0.1\", \"pid\": 13, \"status\": {\"init_state\": 0, \"async_error\": 7}, \"collective_counts\": {\"AllReduce\": 9}}],\n"
	  "\"missing_ranks_count\": 1, \"missing_ranks\": [{\"rank\": 3, \"host\": \"10.0.0.2\", \"pid\": 14, \"status\": {\"unresponsive\": true,\n"
	  "\"considered_dead\": true}}]}]}\n",
	  { { "agent.heartbeat_lost", .host = "10.0.0.2", .pid = 14, .quote = "\"considered_dead\": true", .line = 6 },
	    { "nccl.remote_error", .pid = 11, .quote = "\"async_error\": 6", .line = 2 },
	    { "nccl.behind", .pid = 12, .field = "peers", .value = "9" } }, { "nccl.system_error" } },
};

/* What cannot be read, and what is said about it. */
static const struct {
	const char *name;
	reader *read;
	const char *in;
	enum err code;
	uint64_t offset;
	const char *what;
} bad[] = {
	{ "no document", ingest_nvidia_smi, "hello", ERR_FORMAT, 0, "no nvidia-smi document" },
	{ "another document", ingest_nvidia_smi, "<?xml version=\"1.0\"?><system/>", ERR_FORMAT, 0,
	  "no <nvidia_smi_log> element" },
	{ "an internal subset", ingest_nvidia_smi,
	  "<?xml version=\"1.0\"?>\n<!DOCTYPE nvidia_smi_log [<!ENTITY a \"b\">]><nvidia_smi_log/>", ERR_UNSUPPORTED, 22,
	  "a DOCTYPE or XML declaration that nvidia-smi does not write" },
	{ "a subset behind quotes", ingest_nvidia_smi,
	  "<!DOCTYPE nvidia_smi_log SYSTEM \"a>b\" [ ]><nvidia_smi_log/>", ERR_UNSUPPORTED, 0,
	  "a DOCTYPE or XML declaration that nvidia-smi does not write" },
	{ "another encoding", ingest_nvidia_smi, "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><nvidia_smi_log/>",
	  ERR_UNSUPPORTED, 0, "a DOCTYPE or XML declaration that nvidia-smi does not write" },
	{ "empty XML", ingest_nvidia_smi, "", ERR_FORMAT, 0, "no nvidia-smi document" },
	{ "empty JSON", ingest_kubernetes_json, "", ERR_FORMAT, 0, "no Kubernetes object" },
	{ "other JSON", ingest_kubernetes_json, "{\"a\": [1, 2]}", ERR_FORMAT, 0, "no Kubernetes object" },
	{ "a bad value in an object", ingest_kubernetes_json, "  {\"kind\": ?}", ERR_FORMAT, 11, "no JSON value starts here" },
	{ "a cut object", ingest_kubernetes_json, "{\"kind\": \"Pod\"", ERR_FORMAT, 14, "the text ends inside an object" },
	{ "no table", ingest_kubernetes_text, "hello: world\n", ERR_FORMAT, 0, "no object or table of kubectl" },
	{ "no stack", ingest_stacks, "    broadcast\n", ERR_FORMAT, 0, "no stack of a process" },
	{ "no GPU", ingest_gpu_text, "hello\n", ERR_FORMAT, 0, "no GPU on the screen" },
	{ "no GPU in JSON", ingest_gpu_json, "{\"a\": 1}", ERR_FORMAT, 0, "no GPU in the JSON" },
	{ "no table of dcgmi", ingest_dcgm_text, "hello\n", ERR_FORMAT, 0, "no table of dcgmi" },
	{ "a cut diagnostic", ingest_dcgm_json, "{\"DCGM Diagnostic\": {", ERR_FORMAT, 21, "needs 1 bytes, has 0" },
	{ "no status of RAS", ingest_nccl_ras_text, "hello\n", ERR_FORMAT, 0, "no job summary of NCCL RAS" },
	{ "no message", ingest_elastic_error, "{\"a\": 1}", ERR_FORMAT, 0, "no \"message\" in an error file" },
	{ "a cut error file", ingest_elastic_error, "{\"message\": \"Val", ERR_FORMAT, 13, "string without an end" },
};

struct run {
	struct store s;
	struct error err;
	char *data;		/* of exactly its size, so that a sanitizer sees one byte too many */
	size_t len;
	int ret;
};

static void check_quotes(const struct run *r)
{
	for (size_t i = 0; i < r->s.n_evidence; i++) {
		const struct evidence *e = &r->s.evidence[i];
		uint64_t line = 1;

		assert_true(e->length > 0 && e->length <= QUOTE_BYTES && e->offset + e->length <= r->len);
		assert_memory_equal(e->raw, r->data + e->offset, e->length);
		for (uint64_t at = 0; at < e->offset; at++)
			line += r->data[at] == '\n';
		assert_int_equal(e->line, line);
	}
}

static void begin(struct run *r, reader *read, const char *member, const char *in, size_t len)
{
	int64_t m;

	*r = (struct run){ .len = len, .data = malloc(len ? len : 1) };
	assert_non_null(r->data);
	memcpy(r->data, in, len);
	assert_int_equal(store_init(&r->s, 64 << 20, &r->err), 0);
	m = store_member(&r->s, member, NULL, &r->err);
	assert_true(m >= 0);
	r->ret = read(&r->s, (uint32_t)m, r->data, len, &r->err);
	assert_true((r->ret >= 0 && (size_t)r->ret <= len) || (r->ret == -1 && r->err.code != ERR_NONE && r->err.what[0]));
	assert_true(!r->err.has_offset || r->err.offset <= len);
	check_quotes(r);
}

static void end(struct run *r)
{
	store_deinit(&r->s);
	free(r->data);
}

static bool same_text(const struct run *r, sid have, const char *want)
{
	return !want || strcmp(intern_str(&r->s.strings, have), want) == 0;
}

static bool has_quote(const struct run *r, const struct observation *o, const struct expected *w)
{
	if (!w->quote && !w->line)
		return true;
	for (unsigned i = 0; i < o->n_evidence; i++) {
		const struct evidence *e = &r->s.evidence[o->evidence[i]];

		if (w->line && e->line != w->line)
			continue;
		if (!w->quote || (e->length == strlen(w->quote) && memcmp(e->raw, w->quote, e->length) == 0))
			return true;
	}
	return false;
}

static bool is_there(const struct run *r, const struct expected *w)
{
	for (const struct observation *o = NULL; (o = store_next(&r->s, w->kind, o));)
		if (same_text(r, o->scope.gpu, w->gpu) && same_text(r, o->scope.object, w->object) &&
		    same_text(r, o->scope.host, w->host) && (!w->pid || o->scope.pid == w->pid) &&
		    (!w->field || strcmp(observation_get(&r->s, o, w->field), w->value) == 0) && has_quote(r, o, w))
			return true;
	return false;
}

static void print_observations(const struct run *r)
{
	for (size_t i = 0; i < r->s.n_obs; i++) {
		const struct observation *o = &r->s.obs[i];

		print_message("      %s pid %d host %s object %s", o->kind->name, o->scope.pid,
			      intern_str(&r->s.strings, o->scope.host), intern_str(&r->s.strings, o->scope.object));
		for (unsigned k = 0; k < o->n_fields; k++)
			print_message(" %s=[%s]", intern_str(&r->s.strings, o->fields[k].name),
				      intern_str(&r->s.strings, o->fields[k].value));
		for (unsigned k = 0; k < o->n_evidence; k++)
			print_message(" line %u", (unsigned)r->s.evidence[o->evidence[k]].line);
		print_message("\n");
	}
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct run r;

		print_message("    %s\n", cases[i].name);
		begin(&r, cases[i].read, cases[i].member, cases[i].in, strlen(cases[i].in));
		if (r.ret)
			print_message("      %s\n", r.err.what);
		assert_int_equal(r.ret, 0);
		assert_null(r.s.members[0].damage);
		for (size_t k = 0; k < ARRAY_SIZE(cases[i].want) && cases[i].want[k].kind; k++)
			if (!is_there(&r, &cases[i].want[k])) {
				print_observations(&r);
				fail_msg("%s: expected %s", cases[i].name, cases[i].want[k].kind);
			}
		for (size_t k = 0; k < ARRAY_SIZE(cases[i].never) && cases[i].never[k]; k++)
			if (store_next(&r.s, cases[i].never[k], NULL))
				fail_msg("%s: unexpected %s", cases[i].name, cases[i].never[k]);
		end(&r);
	}
}

static void test_bad_input(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct run r;

		print_message("    %s\n", bad[i].name);
		begin(&r, bad[i].read, "x", bad[i].in, strlen(bad[i].in));
		assert_int_equal(r.ret, -1);
		assert_string_equal(r.err.what, bad[i].what);
		assert_int_equal(r.err.code, bad[i].code);
		assert_int_equal(r.err.offset, bad[i].offset);
		assert_int_equal(r.s.n_obs, 0);
		end(&r);
	}
}

/* Every prefix is read as far as it goes: begin() checks quotes and errors. */
static void test_truncation(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t len = 0; len < strlen(cases[i].in); len++) {
			struct run r;

			begin(&r, cases[i].read, cases[i].member, cases[i].in, len);
			end(&r);
		}
}

/* Every byte broken in turn. */
static void test_flipped_bytes(void **state)
{
	static const char with[] = "\0\xff<\"{";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t at = 0; at < strlen(cases[i].in); at++) {
			_cleanup_free_ char *in = strdup(cases[i].in);
			struct run r;

			assert_non_null(in);
			in[at] = with[at % 5];
			begin(&r, cases[i].read, cases[i].member, in, strlen(cases[i].in));
			end(&r);
		}
}

static void test_cut_document_keeps_what_came_before(void **state)
{
	static const char in[] = SMI_HEAD "<attached_gpus>2</attached_gpus>\n"
		GPU("<remapped_rows><remapped_row_pending>Yes</remapped_row_pending></remapped_rows>\n")
		"\t<gpu id=\"00000000:4C:00.0\">\n<uuid>GPU-2</uuid>\n<gpu_recov";
	struct run r;

	(void)state;
	begin(&r, ingest_nvidia_smi, "smi.xml", in, strlen(in));
	assert_int_equal(r.ret, 0);
	assert_int_equal(r.s.members[0].state, MEMBER_DAMAGED);
	assert_non_null(store_next(&r.s, "gpu.row_remap_pending", NULL));
	assert_null(store_next(&r.s, "gpu.missing", NULL));	/* the rest may have named it */
	assert_true(is_there(&r, &(struct expected){ "gpu.state", "0000:4c:00.0", .field = "uuid", .value = "GPU-2" }));
	end(&r);
}

static void test_cut_list_keeps_whole_objects(void **state)
{
	static const char in[] = "{\"items\": [" EVENT("Pod", "a", "Evicted", "low", "2026-03-03T04:05:06Z") ", "
		"{\"kind\": \"Event\", \"involv";
	struct run r;

	(void)state;
	begin(&r, ingest_kubernetes_json, "events.json", in, strlen(in));
	assert_int_equal(r.ret, 0);
	assert_int_equal(r.s.members[0].state, MEMBER_DAMAGED);
	assert_int_equal(r.s.members[0].damage->offset, strlen(in));
	assert_string_equal(r.s.members[0].damage->what, "the text ends inside an object");
	assert_non_null(store_next(&r.s, "k8s.evicted", NULL));
	end(&r);
}

static void test_times(void **state)
{
	static const char smi[] = ONE_GPU(""), event[] = EVENT("Pod", "a", "Evicted", "low", "2026-03-03T04:05:06.25+01:00"),
		pod[] = POD_HEAD "    State:          Terminated\n      Reason:       OOMKilled\n"
				 "      Finished:     Tue, 03 Mar 2026 04:05:06 +0100\n",
		elastic[] = "{\"message\": {\"message\": \"E: x\", \"extraInfo\": {\"timestamp\": \"1772507106\"}}}";
	const struct {
		reader *read;
		const char *in, *kind;
		enum time_base base;
		int64_t ns;
	} times[] = {
		{ ingest_nvidia_smi, smi, "gpu.state", TIME_LOCAL, 1772510706 * INT64_C(1000000000) },
		{ ingest_kubernetes_json, event, "k8s.evicted", TIME_UTC, 1772507106 * INT64_C(1000000000) + 250000000 },
		{ ingest_kubernetes_text, pod, "k8s.oom_killed", TIME_UTC, 1772507106 * INT64_C(1000000000) },
		{ ingest_elastic_error, elastic, "py.exception", TIME_UTC, 1772507106 * INT64_C(1000000000) },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		const struct observation *o;
		struct run r;

		begin(&r, times[i].read, "x", times[i].in, strlen(times[i].in));
		o = store_next(&r.s, times[i].kind, NULL);
		assert_non_null(o);
		assert_int_equal(o->time.base, times[i].base);
		assert_int_equal(o->time.ns, times[i].ns);
		end(&r);
	}
}

static void test_path_of_an_error_file(void **state)
{
	static const char in[] = "{\"message\": \"ValueError: x\"}";
	const struct observation *o;
	struct run r;

	(void)state;
	begin(&r, ingest_elastic_error, "log/none_abc/attempt_2/5/error.json", in, strlen(in));
	o = store_next(&r.s, "py.exception", NULL);
	assert_non_null(o);
	assert_int_equal(o->scope.attempt, 2);
	assert_int_equal(o->scope.local_rank, 5);
	end(&r);
}

/* Tags that make libxml2 quadratic, and files that are too large, are refused with the byte. */
static void test_limits(void **state)
{
	size_t len = (size_t)33 << 20;
	_cleanup_free_ char *big = malloc(len);
	struct run r;

	(void)state;
	assert_non_null(big);
	memset(big, ' ', len);
	begin(&r, ingest_nvidia_smi, "x", big, ((size_t)4 << 20) + 1);
	assert_int_equal(r.err.code, ERR_LIMIT);
	assert_int_equal(r.err.offset, 4 << 20);
	end(&r);
	begin(&r, ingest_kubernetes_json, "x", big, len);
	assert_int_equal(r.err.code, ERR_LIMIT);
	end(&r);
	begin(&r, ingest_elastic_error, "x", big, len);
	assert_int_equal(r.err.code, ERR_LIMIT);
	end(&r);
	memcpy(big, "<a><nvidia_smi_log ", 19);
	begin(&r, ingest_nvidia_smi, "x", big, 100000);
	assert_string_equal(r.err.what, "a tag of more than 65536 bytes");
	assert_int_equal(r.err.offset, 3);
	end(&r);
}

static char *read_all(const char *path, size_t *len_ret)
{
	_cleanup_fclose_ FILE *f = fopen(path, "rb");
	char *data = f ? malloc((size_t)4 << 20) : NULL;

	if (data)
		*len_ret = fread(data, 1, (size_t)4 << 20, f);
	return data;
}

/* The real documents, where they are at hand: each GPU is found, none is sick. */
static void test_shared_samples(void **state)
{
	const char *shared = getenv("TACHOGRAPH_SHARED");
	char dir[512], path[1024];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/samples/nvidia-smi-xml", shared ? shared : "");
	d = shared ? opendir(dir) : NULL;
	if (!d) {
		print_message("    skipped: TACHOGRAPH_SHARED names no directory with samples/nvidia-smi-xml\n");
		skip();
	}
	while ((e = readdir(d))) {
		_cleanup_free_ char *data = NULL;
		size_t len = 0;
		struct run r;

		if (!strstr(e->d_name, ".xml"))
			continue;
		print_message("    %s\n", e->d_name);
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		data = read_all(path, &len);
		assert_non_null(data);
		begin(&r, ingest_nvidia_smi, e->d_name, data, len);
		assert_int_equal(r.ret, 0);
		assert_null(r.s.members[0].damage);
		assert_non_null(store_next(&r.s, "gpu.state", NULL));
		for (size_t i = 0; i < r.s.n_obs; i++)
			assert_true(r.s.obs[i].kind->severity < SEV_ERROR);
		end(&r);
		n++;
	}
	closedir(d);
	assert_true(n > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_bad_input),
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_flipped_bytes),
		cmocka_unit_test(test_cut_document_keeps_what_came_before),
		cmocka_unit_test(test_cut_list_keeps_whole_objects),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_path_of_an_error_file),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_shared_samples),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
