# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Memory of freed images stays in the process, that of endpoints does not; growth is limited."""

import platform
import subprocess
import sys
import textwrap

import pytest


def output_of(script, *arguments):
    """Return what a script prints in a process of its own."""
    command = [sys.executable, '-c', textwrap.dedent(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


SCRIPT = """
    import resource, sys
    import numpy as np
    from sage_perception.ros.allocator import configure_allocator

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(50):
            held = [np.ones(900_000 + 4096 * n, np.uint8) for n in range(10)]
            held.clear()
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    if sys.argv[1] == 'keep':
        assert configure_allocator()
    print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='not glibc')
def test_images_reuse_the_pages_of_earlier_ones():
    faults = {mode: int(output_of(SCRIPT, mode)) for mode in ('keep', 'default')}
    assert faults['keep'] < faults['default'] / 2, faults


ENDPOINTS = """
    import psutil, rclpy
    from rclpy.node import Node
    from sage_msgs.msg import LCTArray
    from sage_perception.ros.allocator import SMALL_MMAP_THRESHOLD, configure_allocator

    assert configure_allocator(SMALL_MMAP_THRESHOLD)
    rclpy.init()
    for _ in range(3):
        node = Node('reader')
        node.create_subscription(LCTArray, '/cam0/lcts', print, 10)
        node.destroy_node()
    print(psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='not glibc')
def test_subscribing_again_does_not_make_the_largest_messages_resident():
    # The reserved memory has 1.9 GB.
    assert int(output_of(ENDPOINTS)) < 300e6


LIMITED = """
    import numpy as np
    from sage_perception.ros.allocator import limit_memory

    held = np.ones(2**26, np.uint8)
    if limit_memory(2**27):
        more = np.ones(2**26, np.uint8)
        try:
            np.empty(2**28, np.uint8)
        except MemoryError:
            print('limited')
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='not Linux')
def test_allocation_beyond_the_limit_fails_and_the_process_goes_on():
    assert output_of(LIMITED) == 'limited\n'
