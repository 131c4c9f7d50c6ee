# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The entry point of a node's process."""

from __future__ import annotations

import gc
import re
import signal
import sys
import warnings
from collections.abc import Callable

import cv2
import rclpy
from rclpy.exceptions import NameValidationException

from sage_perception.bringup.prefix import complete_environment
from sage_perception.bringup.respawn import CONFIGURATION_ERROR
from sage_perception.core.text import one_line
from sage_perception.ros.allocator import configure_allocator, limit_memory
from sage_perception.ros.dds_profile import WITHOUT_IMAGES, select_profile, sends_images
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.executor import GuardedExecutor
from sage_perception.ros.parameter_file import require_parameter_files
from sage_perception.ros.shutdown import shutdown_deadline


def run(make: Callable[[], Endpoints], args: list[str] | None = None) -> int:
    """Create a node and spin it until it is shut down.

    Returns:
        0 after SIGINT, SIGTERM or shutdown; `CONFIGURATION_ERROR` if the node cannot start as
        configured, with the reason in one line on stderr. Other exceptions are raised.
    """
    node = executor = None
    initialized = False
    rejected = ''
    interrupts: list[int] = []
    # rclpy ends the spin on SIGINT; Python's own handler would raise inside its C++ code.
    signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    # SIGINT can also shut the context down while rclpy creates the node.
    warnings.filterwarnings('ignore', 'Failed to fini .* is invalid', RuntimeWarning)
    complete_environment()
    # The processes of a graph already share the cores.
    cv2.setNumThreads(1)
    configure_allocator()
    try:
        require_parameter_files(sys.argv if args is None else args)
        if not sends_images(make):
            select_profile(WITHOUT_IMAGES)
        rclpy.init(args=args)
        initialized = True
        if interrupts:  # before rclpy handled signals
            return 0
        node = make()
        # Objects created so far exist as long as the process. Collecting them repeatedly
        # would only delay messages, by tens of milliseconds each time.
        gc.collect()
        gc.freeze()
        limit_memory()
        executor = GuardedExecutor()
        executor.add_node(node)
        executor.spin()
    except Exception as error:
        if initialized and not rclpy.ok():
            # During shutdown any call into rclpy may fail.
            return 0
        # Invalid arguments or parameter files. The messages of rcl name the file and the line.
        of_rcl = node is None and type(error).__name__.startswith(('RCL', 'UnknownROSArgs'))
        if not of_rcl and not isinstance(error, (ConfigurationError, NameValidationException)):
            raise
        rejected = _explained(one_line(error))
    finally:
        if node is not None:
            node.close()
        with shutdown_deadline():
            if executor is not None:
                executor.shutdown()
            if node is not None:
                node.destroy_node()
            rclpy.try_shutdown()
    if rejected:  # after the messages of the shutdown, so that it is the last line
        print(f'error: {rejected}', file=sys.stderr)
        return CONFIGURATION_ERROR
    return 0


def _explained(text: str) -> str:
    """Return the text of an error without places in the sources of rcl, with the known fixes."""
    text = re.sub(r', at /[^ ]+:\d+', '', text)
    if 'log directory' in text:
        return f'{text}; set ROS_LOG_DIR to a folder that can be written'
    return text
