/*
 * How a program's last words are taken: each line is read by all signatures at once,
 * and exactly one kind of failure comes of it.  A line that nobody knows is an exception.
 */
#include "tests/shipped.h"

#include "analyzer/ingest/log.h"
#include "patterns/detectors.h"

static const struct {
	const char *line, *kind;
} words[] = {
	/* what the program did wrong, and what nobody knows */
	{ "ValueError: bad batch", "py.exception" },
	{ "Exception: the schedule is empty", "py.exception" },
	{ "AssertionError", "py.exception" },
	{ "StopIteration", "py.exception" },
	{ "torch._dynamo.exc.Unsupported: call_function", "py.exception" },
	{ "triton.compiler.errors.CompilationError: at 12:8:", "py.exception" },
	{ "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 114688, Hardware limit: 101376.", "py.exception" },
	{ "PermissionError: [Errno 13] Permission denied: '/x'", "py.exception" },
	{ "requests.exceptions.HTTPError: 404 Client Error: Not Found for url: https://models.example.org/api", "py.exception" },
	{ "huggingface_hub.errors.HfHubHTTPError: 401 Client Error: Unauthorized for url: https://models.example.org", "py.exception" },
	{ "wandb.errors.errors.CommError: permission denied (Error 403: Forbidden)", "py.exception" },
	{ "google.api_core.exceptions.NotFound: 404 GET https://storage.example.org/b/x: No such object", "py.exception" },
	{ "botocore.exceptions.NoCredentialsError: Unable to locate credentials", "py.exception" },
	/* wrong from the start */
	{ "ModuleNotFoundError: No module named 'apex'", "py.config" },
	{ "OSError: libcublas.so.11: cannot open shared object file: No such file or directory", "py.config" },
	{ "yaml.scanner.ScannerError: mapping values are not allowed here", "py.config" },
	/* what a reader could not read */
	{ "PIL.UnidentifiedImageError: cannot identify image file '/data/x.JPEG'", "py.input_data" },
	{ "EOFError: Compressed file ended before the end-of-stream marker was reached", "py.input_data" },
	{ "RuntimeError: unexpected EOF, expected 1234 more bytes. The file might be corrupted.", "py.checkpoint_load" },
	{ "safetensors_rust.SafetensorError: File does not contain tensor model.embed", "py.checkpoint_load" },
	{ "RuntimeError: [enforce fail at inline_container.cc:424] . file not found: archive/data/2", "py.checkpoint_load" },
	/* follows another failure */
	{ "torch.distributed.elastic.rendezvous.api.RendezvousClosedError", "py.abort_exception" },
	{ "concurrent.futures.process.BrokenProcessPool: A process in the process pool was terminated abruptly", "proc.crashed" },
	{ "ray.exceptions.NodeDiedError: Task failed due to the node (where this task was running)  was dead or unavailable.", "py.abort_exception" },
	{ "ray.exceptions.RayTaskError(ValueError): ray::train() (pid=771, ip=10.2.0.7)", "py.abort_exception" },
	{ "ray.exceptions.ActorDiedError: The actor died because of an error raised in its creation task", "py.abort_exception" },
	{ "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.", "py.abort_exception" },
	{ "torch.multiprocessing.spawn.ProcessExitedException: process 0 terminated with signal SIGTERM", "py.abort_exception" },
	{ "RuntimeError: NCCL communicator was aborted on rank 3.", "py.abort_exception" },
	{ "KeyboardInterrupt", "py.abort_exception" },
	{ "BrokenPipeError: [Errno 32] Broken pipe", "py.abort_exception" },
	/* about the device: says no cause */
	{ "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED", "cuda.launch_failure" },
	{ "RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env variable CUDA_VISIBLE_DEVICES "
	  "after program start. Setting the available devices to be zero.", "cuda.launch_failure" },
	{ "RuntimeError: Triton Error [CUDA]: device kernel image is invalid", "cuda.launch_failure" },
	{ "pynvml.NVMLError_DriverNotLoaded: Driver Not Loaded", "cuda.launch_failure" },
	{ "RuntimeError: NVML_SUCCESS == r INTERNAL ASSERT FAILED at \"/pytorch/c10/cuda/CUDACachingAllocator.cpp\":1123", "cuda.launch_failure" },
	{ "RuntimeError: Unable to initialize backend 'cuda': FAILED_PRECONDITION: No visible GPU devices.", "cuda.launch_failure" },
	{ "jaxlib.xla_extension.XlaRuntimeError: INTERNAL: RET_CHECK failure", "cuda.launch_failure" },
	{ "horovod.common.exceptions.HorovodInternalError: ncclAllReduce failed: unhandled cuda error", "nccl.cuda_error" },
	{ "cupy_backends.cuda.libs.nccl.NcclError: NCCL_ERROR_UNHANDLED_CUDA_ERROR: unhandled cuda error", "nccl.cuda_error" },
	{ "horovod.common.exceptions.HorovodInternalError: ncclAllReduce failed: unhandled system error", "nccl.system_error" },
	{ "RuntimeError: Triton Error [CUDA]: an illegal memory access was encountered", "cuda.illegal_access" },
	{ "tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor with shape[8,64] and type float on "
	  "/job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc", "cuda.oom" },
	/* about a peer or a service */
	{ "torch.distributed.DistNetworkError: Connection was likely closed. Did the remote server shutdown or crash?", "comm.peer_lost" },
	{ "asyncio.exceptions.TimeoutError", "comm.failed" },
	{ "EOFError", "comm.failed" },
	{ "subprocess.TimeoutExpired: Command 'nvidia-smi' timed out after 30 seconds", "comm.failed" },
	{ "ray.exceptions.LocalRayletDiedError: The task's local raylet died.", "comm.failed" },
	{ "grpc._channel._InactiveRpcError: <_InactiveRpcError of RPC that terminated with:", "comm.failed" },
	{ "redis.exceptions.ConnectionError: Error 111 connecting to localhost:6379. Connection refused.", "comm.failed" },
	{ "RuntimeError: Gloo connectFullMesh failed with [/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:144] no error", "comm.failed" },
	{ "jaxlib.xla_extension.XlaRuntimeError: UNAVAILABLE: failed to connect to all addresses", "comm.failed" },
	{ "torch.distributed.DistStoreError: Timed out after 300 seconds waiting for workers. 1/2 workers joined.", "rdzv.timeout" },
	{ "requests.exceptions.HTTPError: 503 Server Error: Service Unavailable for url: https://models.example.org", "service.unreachable" },
	{ "huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests for url: https://models.example.org", "service.unreachable" },
	{ "botocore.exceptions.ReadTimeoutError: Read timeout on endpoint URL: \"None\"", "service.unreachable" },
	{ "aiohttp.client_exceptions.ClientOSError: [Errno 104] Connection reset by peer", "service.unreachable" },
	/* about memory, descriptors, files */
	{ "RuntimeError: unable to mmap 4194432 bytes from file </torch_7712_91188_31>: Cannot allocate memory (12)", "shm.open_failed" },
	{ "RuntimeError: unable to mmap 4194432 bytes from file <filename not specified>: Cannot allocate memory (12)", "fs.error" },
	{ "RuntimeError: unable to open shared memory object </torch_7712_2211_0> in read-write mode", "shm.open_failed" },
	{ "RuntimeError: unable to open shared memory object </torch_7712_2211_0> in read-write mode: Too many open files (24)", "fd.limit" },
	{ "OSError: [Errno 26] Text file busy: '/nfs/env/bin/python'", "fs.error" },
	{ "OSError: [Errno 28] No space left on device", "disk.full" },
	{ "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 31.2 GiB for an array", "host.alloc_failed" },
	{ "ValueError: NaN loss", "loss.nan" },
	{ "RuntimeError: Rank 5 failed to pass monitoredBarrier in 30000 ms", "monitored_barrier.missing" },
	{ "RuntimeError: DataLoader timed out after 120 seconds", "loader.timeout" },
	{ "RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)", "py.config" },
};

static void feed(struct log *l, const char *line)
{
	size_t room, n = strlen(line);
	uint8_t *to = log_room(l, &room);

	assert_true(n + 1 < room);
	memcpy(to, line, n);
	to[n] = '\n';
	log_advance(l, n + 1);
}

/* The kinds of failure that the line yields are `kind` alone. */
static bool taken_as(const struct store *s, const char *kind)
{
	size_t failures = 0;

	for (size_t i = 0; i < s->n_obs; i++)
		failures += (s->obs[i].kind->stop || s->obs[i].kind->severity == SEV_FATAL) && strcmp(s->obs[i].kind->name, kind) == 0;
	for (size_t i = 0; i < s->n_obs; i++)
		if (strcmp(s->obs[i].kind->name, "py.exception") == 0 && strcmp(kind, "py.exception"))
			return false;
	return failures == 1;
}

static void test_last_words(void **state)
{
	struct scanner sc;
	struct error err = { 0 };
	size_t wrong = 0;

	(void)state;
	assert_int_equal(scanner_init(&sc, &set, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		struct log_options opt = { 0 };
		struct store s;
		_cleanup_log_ struct log *l = NULL;

		assert_int_equal(store_init(&s, (size_t)64 << 20, &err), 0);
		assert_true(store_member(&s, "line", NULL, &err) == 0);
		assert_int_equal(log_open(&sc, &s, &opt, &l, &err), 0);
		log_begin(l, 0);
		feed(l, words[i].line);
		log_end(l);
		if (!taken_as(&s, words[i].kind)) {
			print_message("    not %s: %s\n", words[i].kind, words[i].line);
			wrong++;
		}
		store_deinit(&s);
	}
	scanner_deinit(&sc);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_last_words) };

	return cmocka_run_group_tests(tests, load, unload);
}
