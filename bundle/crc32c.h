/*
 * crc32c - CRC-32C (Castagnoli), by the processor's own instruction where it has one.
 *
 * crc32c(crc32c(0, a), b) is the checksum of a followed by b.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t len);
