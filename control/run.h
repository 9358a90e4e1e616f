// Run a gateway until it is told to stop.
#pragma once

#include "config/config.h"

// Takes the configuration over. 0 after an orderly stop, or -errno after one line in the log.
// log_level_fixed: the command line has set it, a reload does not.
int daemon_run(struct config *config, const char *path, bool log_level_fixed) must_check;
