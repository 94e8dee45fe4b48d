/*
 * text_file - small files of /proc and /sys, kept open and read again from their start.
 *
 * A file that is not there, or stopped to answer, is an empty text and an
 * unknown number (all ones): hardware that goes away is the normal case here.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A descriptor to read `name` below `dir_fd` (AT_FDCWD too), or -1. */
int text_file_open(int dir_fd, const char *name);
/* Its text, without trailing white space, NUL-terminated; -1 is an empty file.  The length. */
size_t text_file_read(int fd, char *buf, size_t size);
/* The number at its start, decimal or 0x...; UINT64_MAX when there is none. */
uint64_t text_file_number(int fd);
/* The same in one go, of a file that is read once. */
size_t text_file_once(int dir_fd, const char *name, char *buf, size_t size);
uint64_t text_file_number_once(int dir_fd, const char *name);

/* The number at `s` behind white space; *end_ret is behind it (may be NULL). */
uint64_t text_number(const char *s, const char **end_ret);
/* The number behind `key` at the start of a line of `text` ("MemTotal:"). */
uint64_t text_value(const char *text, const char *key);
/* "12.34" as 1234. */
uint64_t text_hundredths(const char *s);
