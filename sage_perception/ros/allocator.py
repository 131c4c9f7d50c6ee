# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the memory of processes: which blocks are kept, and how far it may grow."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
MMAP_THRESHOLD = 32 * 2**20
"""Blocks up to this size, in bytes, come from the heap: the maximum of glibc."""
SMALL_MMAP_THRESHOLD = 8 * 2**20
"""The same for processes that create endpoints again: images up to 1080p with four channels."""
TRIM_THRESHOLD = 64 * 2**20
"""Free memory at the end of a heap that is kept, bytes."""

MAX_GROWTH = 2 * 2**30
"""Memory that a running node may allocate in addition to that of its start, bytes."""


def limit_memory(growth: int = MAX_GROWTH) -> bool:
    """Limit the memory of this process to the present amount and `growth` bytes more.

    A damaged request of a few bytes can announce an array of billions of texts, for which the
    middleware allocates the memory before it reads them. With the limit the allocation fails and
    the request is dropped; without it the kernel ends processes of this or another program.

    Returns whether there is a limit now: there is none where the kernel does not report the memory
    of a process, and none in a process that uses CUDA, which reserves memory of its own.
    """
    try:
        status = Path('/proc/self/status').read_text().splitlines()
        uses_cuda = 'libcuda.so' in Path('/proc/self/maps').read_text()
    except OSError:
        return False
    found = [line.split()[1] for line in status if line.startswith('VmData:')]
    if not found or uses_cuda:
        return False
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = int(found[0]) * 1024 + growth
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    return True


def configure_allocator(mmap_threshold: int = MMAP_THRESHOLD) -> bool:
    """Keep the memory of freed images in the process; return whether the allocator supports it.

    By default glibc returns the memory of each image to the kernel and requests it again, page by
    page, for the next one. In a measurement on two cores, this doubled the CPU time to receive a
    message of 640x480 pixels: 2.6 ms instead of 1.2 ms.

    Blocks up to `mmap_threshold`, in bytes, are kept. Processes that create endpoints again need
    `SMALL_MMAP_THRESHOLD`: Fast DDS reserves the memory of 100 messages of the maximum size for
    each endpoint, 1.9 GB for an `LCTArray`, of which only the pages in use are resident. Where
    freed memory of the heap is reserved again, it is filled with zeros, and all of its pages are
    resident.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:  # not glibc
        return False
    settings = ((_M_MMAP_THRESHOLD, mmap_threshold), (_M_TRIM_THRESHOLD, TRIM_THRESHOLD))
    return all(mallopt(name, value) == 1 for name, value in settings)
