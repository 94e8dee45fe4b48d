#include "bundle/digest.h"

#include <openssl/evp.h>
#include <stdio.h>

static void hex(const uint8_t *raw, unsigned n, char out[DIGEST_HEX])
{
	for (unsigned i = 0; i < n && i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", raw[i]);
}

void digest_hex(const void *data, size_t len, char out[DIGEST_HEX])
{
	uint8_t raw[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	out[0] = '\0';
	if (EVP_Digest(len ? data : "", len, raw, &n, EVP_sha256(), NULL))
		hex(raw, n, out);
}

struct digest *digest_open(void)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (ctx && !EVP_DigestInit_ex(ctx, EVP_sha256(), NULL)) {
		EVP_MD_CTX_free(ctx);
		ctx = NULL;
	}
	return (struct digest *)ctx;
}

void digest_add(struct digest *d, const void *data, size_t len)
{
	if (d)
		EVP_DigestUpdate((EVP_MD_CTX *)d, data, len);
}

void digest_close(struct digest *d, char out[DIGEST_HEX])
{
	uint8_t raw[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	out[0] = '\0';
	if (d && EVP_DigestFinal_ex((EVP_MD_CTX *)d, raw, &n))
		hex(raw, n, out);
	EVP_MD_CTX_free((EVP_MD_CTX *)d);
}
