#include "bundle/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

size_t text_utf8(const char *s, size_t len, uint32_t *cp_ret)
{
	const uint8_t *p = (const uint8_t *)s;
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
	uint32_t cp;

	if (n == 0 || n > len)
		return 0;
	cp = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		cp = cp << 6 | (p[i] & 0x3f);
	}
	if ((n == 3 && cp < 0x800) || (n == 4 && (cp < 0x10000 || cp > 0x10ffff)) ||
	    (cp >= 0xd800 && cp < 0xe000))
		return 0;
	*cp_ret = cp;
	return n;
}

/* What a terminal, a browser or an editor may act on instead of showing. */
static bool is_control(uint32_t cp)
{
	return (cp < 0x20 && cp != '\t') || (cp >= 0x7f && cp < 0xa0) || cp == 0x61c ||
	       (cp >= 0x200b && cp <= 0x200f) || (cp >= 0x2028 && cp <= 0x202e) ||
	       (cp >= 0x2060 && cp <= 0x206f) || cp == 0xfeff || cp == 0xfffe || cp == 0xffff;
}

size_t text_printable(const char *s, size_t len, char *out, size_t size)
{
	size_t w = 0;

	if (size == 0)
		return 0;
	for (size_t i = 0; i < len;) {
		char piece[16];
		uint32_t cp = 0;
		size_t n = text_utf8(s + i, len - i, &cp), k;

		if (n == 0)
			k = (size_t)snprintf(piece, sizeof(piece), "\xef\xbf\xbd");
		else if (is_control(cp))
			k = (size_t)snprintf(piece, sizeof(piece), cp < 0x100 ? "\\x%02x" : "\\u{%x}", cp);
		else
			memcpy(piece, s + i, k = n);
		if (w + k >= size)
			break;
		memcpy(out + w, piece, k);
		w += k;
		i += n ? n : 1;
	}
	out[w] = '\0';
	return w;
}
