"""Run one command and print its wall time and peak memory as JSON.

A process of its own, and a small one: a child inherits the peak memory of
the process that starts it, and the bench itself may hold TensorFlow.

    python -m bench.child COMMAND [ARGUMENT ...]
"""

import json
import os
import subprocess
import sys
import time


def main() -> int:
    start = time.perf_counter()
    process = subprocess.Popen(
        sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    kilobyte = 1 if sys.platform == "darwin" else 1024
    json.dump(
        {
            "status": os.waitstatus_to_exitcode(status),
            "seconds": seconds,
            "peak_mb": usage.ru_maxrss * kilobyte / 1e6,
        },
        sys.stdout,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
