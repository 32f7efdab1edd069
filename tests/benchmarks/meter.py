"""Runs a command and writes its times and its peak memory: RESULT COMMAND...

A small process of its own, because a child's peak memory includes that of its parent at the fork.
"""

import json
import os
import sys
import time

if __name__ == "__main__":
    began = time.perf_counter()
    child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
    _, status, usage = os.wait4(child, 0)
    found = {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_kilobytes": usage.ru_maxrss,
    }
    with open(sys.argv[1], "w") as result:  # noqa: PTH123 - pathlib would be a third of its memory
        json.dump(found, result)
    sys.exit(os.waitstatus_to_exitcode(status))
