#include "bundle/crc32c.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#endif

/* Four bits at a time: for processors without the instruction. */
static const uint32_t nibble[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
	0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

static uint32_t portable(uint32_t crc, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ nibble[crc & 15];
		crc = crc >> 4 ^ nibble[crc & 15];
	}
	return crc;
}

#if defined(__x86_64__)
#define HAVE_INSTRUCTION (__builtin_cpu_supports("sse4.2"))
#define STEP8(crc, v) ((uint32_t)_mm_crc32_u64((crc), (v)))
#define STEP1(crc, v) _mm_crc32_u8((crc), (v))
__attribute__((target("sse4.2")))
#elif defined(__aarch64__)
#define HAVE_INSTRUCTION (getauxval(AT_HWCAP) & 1u << 7)	/* HWCAP_CRC32 */
#define STEP8(crc, v) __crc32cd((crc), (v))
#define STEP1(crc, v) __crc32cb((crc), (v))
__attribute__((target("+crc")))
#endif
#ifdef HAVE_INSTRUCTION
static uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t len)
{
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t v;

		memcpy(&v, p, 8);
		crc = STEP8(crc, v);
	}
	for (; len; p++, len--)
		crc = STEP1(crc, *p);
	return crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
#ifdef HAVE_INSTRUCTION
	if (HAVE_INSTRUCTION)
		return ~by_instruction(~crc, data, len);
#endif
	return ~portable(~crc, data, len);
}
