/*
 * text - hostile bytes made fit to show.
 *
 * Log lines, member names and error texts come from the input.  What a terminal
 * or a page could obey (C0 but TAB, DEL, C1, ESC sequences, bidi controls) is
 * shown as \xNN or \u{NNNN}; invalid UTF-8 as U+FFFD.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

/*
 * Write the `len` bytes at `s` as valid, printable UTF-8 with a NUL into `out`;
 * text that does not fit is cut at a character.  Yields the bytes written.
 */
size_t text_printable(const char *s, size_t len, char *out, size_t size);

/* Room that text_printable() needs for `len` bytes at worst, NUL included. */
#define TEXT_PRINTABLE_MAX(len) ((len) * 8 + 1)

/* Decode one UTF-8 character; its length, or 0 when the bytes are not valid UTF-8. */
size_t text_utf8(const char *s, size_t len, uint32_t *cp_ret);
