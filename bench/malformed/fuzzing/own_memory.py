# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of a process that the kernel cannot take back, for measurements of its growth."""

from __future__ import annotations

from pathlib import Path

FIELDS = ('RssAnon', 'RssShmem', 'VmSwap')


def own_memory_mb(pid: int) -> float:
    """Return the memory that a process has allocated or shares, resident or swapped, megabytes.

    Pages of files are left out: on a machine that needs memory the kernel drops those of the
    libraries and reads them again, so that the resident memory falls by 100 MB and rises without
    any allocation.

    Raises:
        OSError: there is no such process.
    """
    status = dict(
        line.split(':', 1) for line in Path(f'/proc/{pid}/status').read_text().splitlines()
    )
    return sum(int(status[name].split()[0]) for name in FIELDS if name in status) * 1024 / 1e6
