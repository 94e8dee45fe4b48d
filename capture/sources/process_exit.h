/* process_exit - how a process ended, where no probe in the kernel told it. */
#pragma once
#include <stdint.h>

#include "capture/capture.h"

/* What a pidfd still knows (Linux 6.15 and later), as wait(2) encodes it; -1: nothing. */
int32_t process_exit_code(int pidfd);
/* REC_TASK_EXIT as far as it is known, and the trigger; a code of -1 records nothing. */
void process_exit_record(struct capture *c, const struct tracked *t, int32_t exit_code);
