/*
 * retention - the folder of bundles: what is kept, and what a dead dump left.
 *
 * Touches the disk, which may hang: only for processes of their own.
 */
#pragma once
#include "capture/config.h"

typedef void retention_say(void *ctx, const char *line);

/*
 * Rename "<bundle>.tar.zst.partial" that nobody writes any more to
 * "<bundle>-cut.tar.zst", then remove the oldest bundles beyond config->bundle_keep
 * and bundle_quota_bytes, never the newest.  What is done is said.
 */
void retention_tidy(const struct config *config, retention_say *say, void *ctx);
