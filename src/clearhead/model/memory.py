"""Keep freed memory in the process, so that every step does not fault its activations in again."""

from __future__ import annotations

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
"""Parameters of glibc's mallopt(3)."""


def keep_freed_memory() -> bool:
    """Tell glibc to serve large blocks from its heap and never hand the heap back; True if done.

    A training step frees and asks again for gigabytes of activations. By default glibc maps each
    large block afresh and the kernel zeroes every page anew, which costs more than the arithmetic
    of the layer. The peak does not grow, it is only kept until the process ends. Elsewhere than on
    Linux with glibc, or with `CLEARHEAD_KEEP_MEMORY=0`, nothing happens.
    """
    if os.environ.get("CLEARHEAD_KEEP_MEMORY") == "0" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 64 << 20))
    return all(mallopt(name, value) == 1 for name, value in settings)
