#include "test.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture/capture.h"
#include "capture/sources/sources.h"
#include "tests/doubles/dumps.h"
#include "tests/doubles/ring.h"

/*
 * The sources kmsg, logs, flight and journal, each alone in the daemon's loop, against files of ours.
 * /dev/kmsg, /run and PATH are this process's own: it has a mount namespace, or skips what needs one.
 */

static char root[] = "/tmp/tachograph.XXXXXX";
static bool has_mounts;

struct run {
	struct capture c;
	bool (*done)(struct run *);
	const char *wanted;		/* what `done` looks for */
	unsigned times;
	bool late;
};

/* ---- one source in a loop ---- */

static void begin(struct run *r, const char *source, const char *config)
{
	struct ring_options opt = { 0 };
	struct error err = { 0 };

	*r = (struct run){ 0 };
	double_dumps = (struct double_dumps){ 0 };
	assert_int_equal(config_parse("t", config, strlen(config), &r->c.config, &err), 0);
	for (size_t i = 0; sources[i]; i++)
		if (strcmp(sources[i]->name, source))
			r->c.config.sources_off.item[r->c.config.sources_off.n++] = strdup(sources[i]->name);
	assert_int_equal(ring_open(&opt, &r->c.ring, &err), 0);
	assert_int_equal(loop_open(&r->c.loop, &err), 0);
	assert_int_equal(triggers_open(&r->c, &err), 0);
	assert_int_equal(capture_start_sources(&r->c, &err), 0);
}

static void end(struct run *r)
{
	capture_stop_sources(&r->c);
	triggers_close(&r->c);
	loop_close(r->c.loop);
	ring_close(r->c.ring);
	track_free(&r->c.track);
	config_free(&r->c.config);
}

static void on_look(void *ctx, int64_t now)
{
	struct run *r = ctx;

	(void)now;
	if (r->done(r))
		loop_stop(r->c.loop);
}

static void on_late(void *ctx, int64_t now)
{
	struct run *r = ctx;

	(void)now;
	r->late = true;
	loop_stop(r->c.loop);
}

/* The loop runs until `done`; a minute is never. */
static void until(struct run *r, bool (*done)(struct run *), const char *wanted, unsigned times)
{
	struct error err = { 0 };
	struct loop_watch *look, *late;

	r->done = done;
	r->wanted = wanted;
	r->times = times;
	look = loop_add_timer(r->c.loop, 0, 20 * NS_PER_MS, on_look, r, &err);
	late = loop_add_timer(r->c.loop, 60 * NS_PER_S, 0, on_late, r, &err);
	assert_int_equal(loop_run(r->c.loop, &err), 0);
	loop_remove(r->c.loop, look);
	if (r->late)
		fail_msg("never came: %s", wanted);
	loop_remove(r->c.loop, late);
}

static const struct source_status *status(const struct run *r, const char *source)
{
	for (size_t i = 0; sources[i]; i++)
		if (!strcmp(sources[i]->name, source))
			return &r->c.status[i];
	return NULL;
}

/* ---- what `until` waits for ---- */

static bool is_triggered(struct run *r)
{
	return double_dumps.started >= r->times && strstr(double_dumps.reason, r->wanted);
}

/* `times` records of lines that hold `wanted`. */
static bool is_recorded(struct run *r)
{
	const struct double_record *d;
	unsigned found = 0;

	for (size_t i = 0; (d = double_ring_find(r->c.ring, REC_LOG_BYTES, i)); i++)
		found += memmem(d->payload + sizeof(struct record_log_bytes), d->bytes - sizeof(struct record_log_bytes), r->wanted,
				strlen(r->wanted)) != NULL;
	return found >= r->times;
}

static bool is_kernel_recorded(struct run *r)
{
	return double_ring_count(r->c.ring, REC_KMSG) >= r->times;
}

static bool is_marked(struct run *r)
{
	return double_ring_count(r->c.ring, REC_LOG_MARK) >= r->times;
}

static bool is_named(struct run *r)
{
	const struct double_record *d;
	unsigned found = 0;

	for (size_t i = 0; (d = double_ring_find(r->c.ring, REC_LOG_FILE, i)); i++)
		found += strstr((const char *)d->payload + sizeof(struct record_log_file), r->wanted) != NULL;
	return found >= r->times;
}

/* The worker has looked around once, so that what comes from now on is new. */
static bool is_started(struct run *r) { return is_named(r); }

static bool has_failed(struct run *r)
{
	const struct source_status *s = status(r, r->wanted);

	return s->state == SOURCE_FAILED && *s->reason;
}

/* ---- files ---- */

static const char *in(const char *name)
{
	static char path[4][200];
	static unsigned n;
	char *p = path[n++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", root, name);
	return p;
}

static void put(const char *name, const char *flags, const char *text)
{
	FILE *f = fopen(in(name), flags);

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

static const char *config_of(const char *fmt)
{
	static char text[400];

	snprintf(text, sizeof(text), fmt, root);
	return text;
}

static struct record_log_file file_record(const struct run *r, size_t n)
{
	const struct double_record *d = double_ring_find(r->c.ring, REC_LOG_FILE, n);
	struct record_log_file f;

	assert_non_null(d);
	memcpy(&f, d->payload, sizeof(f));
	return f;
}

/* ---- kmsg ---- */

static void kernel_says(int fd, const char *line) { assert_int_equal(write(fd, line, strlen(line)), strlen(line)); }

/* A pipe in packet mode gives one record a read, as /dev/kmsg does. */
static int make_kmsg(void)
{
	int fd;

	if (!has_mounts)
		skip();
	if (access(in("kmsg"), F_OK)) {
		assert_int_equal(mkfifo(in("kmsg"), 0600), 0);
		assert_int_equal(mount(in("kmsg"), "/dev/kmsg", NULL, MS_BIND, NULL), 0);
	}
	fd = open(in("kmsg"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_DIRECT | O_NONBLOCK), 0);
	return fd;
}

static void test_kernel_lines_are_verbatim_and_gaps_counted(void **state)
{
	static const char first[] = "6,41,7000001,-;usb 1-1: new device\n SUBSYSTEM=usb\n";
	_cleanup_close_ int kernel = make_kmsg();
	const struct double_record *d;
	struct run r;

	(void)state;
	begin(&r, "kmsg", "");
	kernel_says(kernel, first);
	kernel_says(kernel, "4,45,7000900,c;NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n");
	until(&r, is_kernel_recorded, "two lines", 2);
	d = double_ring_find(r.c.ring, REC_KMSG, 0);
	assert_int_equal(d->stream, STREAM_KERNEL);
	assert_int_equal(d->monotonic_ns, 7000001000);
	assert_int_equal(d->bytes, strlen(first));
	assert_memory_equal(d->payload, first, strlen(first));
	assert_int_equal(double_ring_lost(r.c.ring), 3);	/* 42, 43 and 44 */
	assert_int_equal(double_dumps.started, 0);		/* it was there before the daemon */
	assert_int_equal(status(&r, "kmsg")->state, SOURCE_OK);
	end(&r);
}

static void test_kernel_lines_that_trigger(void **state)
{
	static const struct {
		const char *line, *reason;
	} lines[] = {
		{ "4,50,9000000,-;usb 1-1: device is not responding\n", NULL },
		{ "4,51,9000001,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=7, GPU has fallen off the bus.\n", "NVRM: Xid (PCI:0000:3b:00): 79" },
		{ "3,52,9000002,-;INFO: task python:77 blocked for more than 122 seconds.\n", NULL },	/* the same kind again */
		{ "6,53,9000003,-;Out of memory: Killed process 77 (python)\n", "Out of memory: Killed process 77 (python)" },
	};
	_cleanup_close_ int kernel = make_kmsg();
	unsigned started = 0;
	struct run r;

	(void)state;
	begin(&r, "kmsg", "");
	loop_add_timer(r.c.loop, 2100 * NS_PER_MS, 0, on_late, &r, &(struct error){ 0 });
	loop_run(r.c.loop, &(struct error){ 0 });	/* what comes in the first two seconds raises nothing */
	r.late = false;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		kernel_says(kernel, lines[i].line);
		until(&r, is_kernel_recorded, lines[i].line, (unsigned)i + 1);
		started += lines[i].reason != NULL;
		assert_int_equal(double_dumps.started, started);
		if (lines[i].reason)
			assert_non_null(strstr(double_dumps.reason, lines[i].reason));
	}
	end(&r);
}

/* ---- logs ---- */

static void test_log_lines_are_whole_masked_and_matched(void **state)
{
	const struct double_record *d;
	struct record_log_bytes head;
	struct run r;

	(void)state;
	put("a.log", "w", "old line\n");
	begin(&r, "logs", config_of("logs = %s/*.log\ntrigger_log = ^FATAL\n"));
	until(&r, is_recorded, "old line\n", 1);
	assert_int_equal(double_dumps.started, 0);
	put("a.log", "a", "half a ");
	put("b.log", "w", "of another\n");
	until(&r, is_recorded, "of another\n", 1);	/* a new file is read from its start */
	put("a.log", "a", "line password=Tr0ub4dor\nFATAL: desync\n");
	until(&r, is_triggered, "FATAL: desync", 1);
	d = double_ring_find(r.c.ring, REC_LOG_BYTES, double_ring_count(r.c.ring, REC_LOG_BYTES) - 1);
	memcpy(&head, d->payload, sizeof(head));
	assert_int_equal(head.offset, strlen("old line\n"));
	assert_int_equal(head.masked, 1);
	assert_string_equal((const char *)d->payload + sizeof(head), "half a line password=*********\nFATAL: desync\n");
	end(&r);
	unlink(in("a.log"));
	unlink(in("b.log"));
}

static void test_log_rotation_truncation_and_return(void **state)
{
	struct run r;

	(void)state;
	put("r.log", "w", "first\n");
	begin(&r, "logs", config_of("logs = %s/r.log\n"));
	until(&r, is_recorded, "first\n", 1);
	assert_int_equal(file_record(&r, 0).reason, 0);
	put("r.log", "a", "the last of the old\n");
	put("r.log.1", "w", "the first of the new\n");
	assert_int_equal(renameat2(AT_FDCWD, in("r.log"), AT_FDCWD, in("r.log.1"), RENAME_EXCHANGE), 0);
	until(&r, is_recorded, "the first of the new\n", 1);
	until(&r, is_recorded, "the last of the old\n", 1);
	assert_int_equal(file_record(&r, 1).reason, 1);		/* rotated: another file */
	assert_true(file_record(&r, 1).file != file_record(&r, 0).file);
	put("r.log", "w", "short\n");
	until(&r, is_recorded, "short\n", 1);
	assert_int_equal(file_record(&r, 2).reason, 2);		/* truncated: the same one */
	assert_int_equal(file_record(&r, 2).file, file_record(&r, 1).file);
	unlink(in("r.log"));
	until(&r, is_named, "r.log", 4);
	assert_int_equal(file_record(&r, 3).reason, 3);		/* removed */
	put("r.log", "w", "it is back\n");
	until(&r, is_recorded, "it is back\n", 1);
	end(&r);
	unlink(in("r.log"));
	unlink(in("r.log.1"));
}

static void test_log_folder_that_disappears(void **state)
{
	struct run r;

	(void)state;
	assert_int_equal(mkdir(in("job"), 0755), 0);
	put("job/x.log", "w", "begins\n");
	begin(&r, "logs", config_of("logs = %s/job/*.log\n"));
	until(&r, is_recorded, "begins\n", 1);
	unlink(in("job/x.log"));
	rmdir(in("job"));
	until(&r, is_named, "x.log", 2);
	assert_int_equal(status(&r, "logs")->state, SOURCE_OK);
	assert_int_equal(mkdir(in("job"), 0755), 0);
	put("job/x.log", "w", "begins again\n");
	until(&r, is_recorded, "begins again\n", 1);		/* with the next look at the globs */
	end(&r);
	unlink(in("job/x.log"));
	rmdir(in("job"));
}

/* A file that writes more than its share leaves marks, and takes nothing from the others. */
static void test_log_beyond_its_share(void **state)
{
	static char line[1001];
	struct run r;
	FILE *f;

	(void)state;
	memset(line, 'x', sizeof(line) - 2);
	line[sizeof(line) - 2] = '\n';
	put("loud.log", "w", "");
	put("calm.log", "w", "");
	begin(&r, "logs", config_of("logs = %s/*.log\n"));
	until(&r, is_started, "calm.log", 1);
	f = fopen(in("loud.log"), "a");
	setvbuf(f, NULL, _IOFBF, 8 << 20);			/* one write: what is read at once does not hang on the writer's pace */
	for (int i = 0; i < 5000; i++)
		fputs(line, f);
	fclose(f);
	until(&r, is_marked, "a mark", 1);
	assert_true(double_ring_count(r.c.ring, REC_LOG_BYTES) < 40);	/* 1 MiB in pieces of 64 KiB, and not 5 MB */
	put("calm.log", "a", "a word\n");
	until(&r, is_recorded, "a word\n", 1);
	end(&r);
	unlink(in("loud.log"));
	unlink(in("calm.log"));
}

/* The output of a rank is that rank's, and counts as a sign of life. */
static bool has_spoken(struct run *r) { return r->c.track.by_slot[0].last_log_ns > 0; }

static void test_log_of_a_rank(void **state)
{
	_cleanup_close_ int out = open(in("rank.out"), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	int saved = dup(STDOUT_FILENO);
	struct record_process p = { .pid = (uint32_t)getpid(), .rank = 5, .is_rank = 1, .start_ns = 1 };
	struct run r;

	(void)state;
	fflush(stdout);
	assert_true(out >= 0 && saved >= 0);
	dup2(out, STDOUT_FILENO);
	begin(&r, "logs", "logs = /nowhere\n");
	capture_tracked(&r.c, track_put(&r.c.track, &p));
	until(&r, is_started, "rank.out", 1);
	assert_int_equal(write(out, B("step 7\n")), 7);
	until(&r, is_recorded, "step 7\n", 1);
	until(&r, has_spoken, "a sign of life", 1);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	assert_int_equal(file_record(&r, 0).rank, 5);
	end(&r);
	unlink(in("rank.out"));
}

/* ---- flight ---- */

/* Written again and again: the worker may not have looked around yet when it was first. */
static bool is_triggered_by_writing(struct run *r)
{
	if (r->times++ % 50 == 0)
		put(r->wanted, "w", "of this run");
	return double_dumps.started && strstr(double_dumps.reason, r->wanted);
}

static void test_flight_dumps_that_are_new_trigger(void **state)
{
	struct run r;

	(void)state;
	put("trace_0", "w", "of the run before");
	begin(&r, "flight", config_of("flight_dumps = %s/trace_*\npost_s = 0\ndedup_s = 0\n"));
	until(&r, is_triggered_by_writing, "trace_1", 0);
	assert_string_equal(double_dumps.trigger, "flight");
	for (size_t i = 0; i < double_ring_count(r.c.ring, REC_TRIGGER); i++)	/* trace_0 was there before */
		assert_non_null(strstr((const char *)double_ring_find(r.c.ring, REC_TRIGGER, i)->payload + sizeof(struct record_trigger), "trace_1"));
	until(&r, is_triggered_by_writing, "trace_0", 0);
	end(&r);
	unlink(in("trace_0"));
	unlink(in("trace_1"));
}

/* ---- journal ---- */

static void make_journal(const char *journalctl)
{
	if (!has_mounts || (access("/usr/bin/journalctl", X_OK) && access("/bin/journalctl", X_OK)))
		skip();
	if (access("/run/log/journal", F_OK)) {
		assert_int_equal(mount("none", "/run", "tmpfs", 0, NULL), 0);
		mkdir("/run/log", 0755);
		assert_int_equal(mkdir("/run/log/journal", 0755), 0);
	}
	mkdir(in("bin"), 0755);
	put("bin/journalctl", "w", journalctl);
	chmod(in("bin/journalctl"), 0755);
}

static void test_journal_lines_are_a_log(void **state)
{
	struct run r;

	(void)state;
	make_journal("#!/bin/sh\necho 'node slurmd[7]: login hf_Qm4nTz81LxVb7RkE2sWy9HdGc5JuPa0Fo3 ends'\nexec sleep 1000\n");
	begin(&r, "journal", "");
	until(&r, is_recorded, "node slurmd[7]: ", 1);
	r.wanted = "Qm4nTz81";
	assert_false(is_recorded(&r));
	assert_memory_equal(double_ring_find(r.c.ring, REC_LOG_FILE, 0)->payload + sizeof(struct record_log_file), "journal", 7);
	end(&r);
}

static void test_journal_that_ends_says_so(void **state)
{
	struct run r;

	(void)state;
	make_journal("#!/bin/sh\necho 'no such thing' >&2\nexit 3\n");
	begin(&r, "journal", "");
	until(&r, has_failed, "journal", 1);
	assert_string_equal(status(&r, "journal")->reason, "journalctl ended with status 3: no such thing");
	end(&r);
}

static int set_up(void **state)
{
	char path[300];

	(void)state;
	if (!mkdtemp(root))
		return -1;
	has_mounts = unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		     access("/dev/kmsg", F_OK) == 0;
	snprintf(path, sizeof(path), "%s/bin:%s", root, getenv("PATH"));
	return setenv("PATH", path, 1);
}

static int tear_down(void **state)
{
	(void)state;
	umount2("/dev/kmsg", MNT_DETACH);
	unlink(in("kmsg"));
	unlink(in("bin/journalctl"));
	rmdir(in("bin"));
	return rmdir(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernel_lines_are_verbatim_and_gaps_counted),
		cmocka_unit_test(test_kernel_lines_that_trigger),
		cmocka_unit_test(test_log_lines_are_whole_masked_and_matched),
		cmocka_unit_test(test_log_rotation_truncation_and_return),
		cmocka_unit_test(test_log_folder_that_disappears),
		cmocka_unit_test(test_log_beyond_its_share),
		cmocka_unit_test(test_log_of_a_rank),
		cmocka_unit_test(test_flight_dumps_that_are_new_trigger),
		cmocka_unit_test(test_journal_lines_are_a_log),
		cmocka_unit_test(test_journal_that_ends_says_so),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
