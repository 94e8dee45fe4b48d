/*
 * native - the native stack of threads of another process (elfutils).
 *
 * A thread is stopped for as long as its stack is read, by PTRACE_SEIZE and
 * PTRACE_INTERRUPT: whenever this process dies, the thread runs on.  One that does
 * not stop in time (an uninterruptible sleep) is left alone.
 */
#pragma once
#include <sys/types.h>

#include "capture/dump/common.h"

struct native;

struct native *native_open(pid_t pid);			/* NULL: not possible */
/* Append the thread's frames in gdb's format; false: none, `why` says what hindered. */
bool native_thread(struct native *n, pid_t tid, struct dump_text *t, const char **why);
void native_close(struct native *n);			/* NULL is fine */
