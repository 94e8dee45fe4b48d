/* digest - SHA-256 (libcrypto), as 64 lower-case hexadecimal digits. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define DIGEST_HEX 65		/* with the NUL */

void digest_hex(const void *data, size_t len, char out[DIGEST_HEX]);

/* The same over several pieces. */
struct digest;			/* NULL: out of memory; then the result is an empty string */
struct digest *digest_open(void);
void digest_add(struct digest *d, const void *data, size_t len);
void digest_close(struct digest *d, char out[DIGEST_HEX]);	/* frees it */
