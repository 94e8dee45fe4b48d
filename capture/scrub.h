/*
 * scrub - secrets are masked before they reach the ring.
 *
 * Known token shapes (cloud keys, bearer tokens, private-key blocks, passwords in
 * URLs, "password=", "token=" and their like) are overwritten with '*' at equal
 * length, so that offsets stay true; the same secret is masked wherever it stands.
 * Environments are taken by an allow list of names, nothing else.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Mask in place; the number of secrets masked. */
size_t scrub_text(char *s, size_t len);
/* May this variable's value be kept (RANK, SLURM_*, NCCL_*, CUDA_VISIBLE_DEVICES, ...)? */
bool scrub_env_allowed(const char *name, size_t len);
