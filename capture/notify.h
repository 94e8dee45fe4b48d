/* notify - tells the service manager how the daemon fares (sd_notify's protocol); without one, nothing. */
#pragma once

/* "READY=1", "STOPPING=1", "WATCHDOG=1", "RELOADING=1\nMONOTONIC_USEC=..." */
void notify(const char *state);
