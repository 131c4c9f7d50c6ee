# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Runs several nodes in one process."""

from __future__ import annotations

import faulthandler
import gc
import json
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import rclpy
from rclpy.exceptions import NameValidationException
from rclpy.node import Node as RosNode

from sage_perception.bringup.composition import CRASH_SUFFIX
from sage_perception.bringup.respawn import CONFIGURATION_ERROR
from sage_perception.core.reading import read_bounded
from sage_perception.core.text import one_line
from sage_perception.ros.allocator import configure_allocator, limit_memory
from sage_perception.ros.dds_profile import COMPOSED, select_profile
from sage_perception.ros.diagnostics import OK, Status
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.executor import GuardedExecutor
from sage_perception.ros.local_bus import LocalBus, middleware_is_isolated
from sage_perception.ros.parameter_file import require_parameter_files
from sage_perception.ros.shutdown import SHUTDOWN_TIMEOUT_S, shutdown_deadline

MAX_NODES_BYTES = 1 << 20
SWITCH_INTERVAL_S = 0.001
"""Longest time that a thread keeps the interpreter while others wait for it, seconds."""
POLL_S = 0.2
"""Period of the checks for failed nodes and new threads, seconds."""

# Creates a node; called with the options of `rclpy.node.Node`.
Make = Callable[..., Endpoints]


class Composition:
    """The nodes of one process, each spun in its own thread.

    An exception that ends one node ends the process, so that the runner of the graph restarts all
    of its nodes; the log names the node that failed.

    Args:
        makers: a function that creates each node, and the ROS arguments of the node, by the
            path of the node, such as 'cam0/camera'.
        crash_file: file for the stack after a crash of native code; None: no file.
    """

    def __init__(
        self, makers: Mapping[str, tuple[Make, Sequence[str]]], crash_file: Path | None
    ) -> None:
        self._makers = makers
        self._crash_file = crash_file
        self._nodes: dict[str, Endpoints] = {}
        self._executors: list[GuardedExecutor] = []
        self._threads: list[threading.Thread] = []
        self._error = ''
        self._listed: set[int] = set()

    def run(self) -> int:
        """Run the nodes until they are shut down or one fails; return the exit code.

        The code is 0 after SIGINT, SIGTERM or shutdown, `CONFIGURATION_ERROR` if a node cannot
        start as configured, and 1 if a node failed.
        """
        # As in `ros/run.py`.
        interrupts: list[int] = []
        signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
        warnings.filterwarnings('ignore', 'Failed to fini .* is invalid', RuntimeWarning)
        threading.excepthook = self._report_thread
        cv2.setNumThreads(1)
        configure_allocator()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        select_profile(COMPOSED)
        crash = open(self._crash_file, 'w') if self._crash_file is not None else None  # noqa: SIM115
        try:
            if crash is not None:
                faulthandler.enable(crash)
            rclpy.init()
            if interrupts:  # before rclpy handled signals
                return 0
            code = self._start()
            if code is not None:
                return code
            self._list_threads(crash)  # at first, for a node that crashes soon
            # As in `ros/run.py`: these objects exist as long as the process.
            gc.collect()
            gc.freeze()
            limit_memory()
            while rclpy.ok() and not self._error:
                self._list_threads(crash)
                time.sleep(POLL_S)
            return 1 if self._error else 0
        finally:
            self._stop()
            faulthandler.disable()
            if crash is not None:
                crash.close()
                Path(crash.name).unlink(missing_ok=True)
            if self._error:  # after the messages of the shutdown, so that it is the last line
                print(f'error: {self._error}', file=sys.stderr)

    def _start(self) -> int | None:
        """Create and spin the nodes; return an exit code if one cannot be created."""
        bus = self._bus()
        for path, (make, arguments) in self._makers.items():
            try:
                require_parameter_files(arguments)
                self._nodes[path] = make(
                    bus=bus, cli_args=['--ros-args', *arguments], use_global_arguments=False
                )
            except Exception as error:  # noqa: BLE001 - reported with the name of the node
                if not rclpy.ok():
                    return 0
                rejected = type(error).__name__.startswith(('RCL', 'UnknownROSArgs'))
                if rejected or isinstance(error, (ConfigurationError, NameValidationException)):
                    self._error = f'{path}: {one_line(error)}'
                    return CONFIGURATION_ERROR
                self._report(path, error)
                return 1
        for path, node in self._nodes.items():
            node.diagnostics.add('threads', ThreadUsage(path).report)
            executor = GuardedExecutor()
            executor.add_node(node)
            self._executors.append(executor)
            thread = threading.Thread(
                target=self._spin, args=(path, executor), name=path, daemon=True
            )
            self._threads.append(thread)
            thread.start()
            if node.inbox is not None:
                node.inbox.start()
        return None

    def _bus(self) -> LocalBus | None:
        """Return the bus of the nodes; None if the middleware connects them as well."""
        probe = RosNode('composition_probe', use_global_arguments=False, enable_rosout=False)
        try:
            if middleware_is_isolated(probe):
                return LocalBus()
            probe.get_logger().warning(
                'the nodes of this process exchange messages through DDS: '
                f'{rclpy.get_rmw_implementation_identifier()} is not configured by '
                'config/fastdds_composed.xml'
            )
            return None
        finally:
            probe.destroy_node()

    def _spin(self, path: str, executor: GuardedExecutor) -> None:
        try:
            executor.spin()
        except Exception as error:  # noqa: BLE001 - reported with the name of the node
            if rclpy.ok():  # during shutdown any call into rclpy may fail
                self._report(path, error)

    def _report_thread(self, arguments: Any) -> None:
        """Handle the exception that ended a thread; its name begins with that of its node."""
        if rclpy.ok():
            self._report(arguments.thread.name if arguments.thread else '', arguments.exc_value)

    def _report(self, path: str, error: BaseException) -> None:
        """Log the exception that ended a node, and end the process."""
        trace = ''.join(traceback.format_exception(error))
        print(f'exception in {path}:\n{trace}', file=sys.stderr)
        # The first one is the cause: other nodes may fail until the process ends.
        self._error = self._error or f'{path}: {type(error).__name__}: {one_line(error)}'

    def _list_threads(self, crash: Any) -> None:
        """Write the names of new threads to the crash file, whose stacks have only numbers."""
        if crash is None:
            return
        for thread in threading.enumerate():
            if thread.ident is not None and thread.ident not in self._listed:
                self._listed.add(thread.ident)
                crash.write(f'thread 0x{thread.ident:016x} {thread.name}\n')
                crash.flush()

    def _stop(self) -> None:
        """Stop and destroy the nodes, in the reverse order of their creation."""
        rclpy.try_shutdown()
        for thread in self._threads:
            thread.join(SHUTDOWN_TIMEOUT_S)
        nodes = list(reversed(self._nodes.values()))
        for node in nodes:
            if node.inbox is not None:
                node.inbox.close()
            node.close()
        with shutdown_deadline():
            for executor in self._executors:
                executor.shutdown()
            for node in nodes:
                node.destroy_node()


class ThreadUsage:
    """Measures the CPU time of the threads of one node; their names begin with its path."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._time_s = time.monotonic()
        self._spent: dict[int, float] = {}

    def report(self) -> Status:
        """Return the status for diagnostics: percent of a core since the last one."""
        spent = {}
        for thread in threading.enumerate():
            if thread.ident is not None and thread.name.partition(':')[0] == self._path:
                try:
                    clock = time.pthread_getcpuclockid(thread.ident)
                    spent[thread.ident] = time.clock_gettime(clock)
                except OSError:  # the thread has ended
                    continue
        now_s = time.monotonic()
        used_s = sum(value - self._spent.get(ident, 0.0) for ident, value in spent.items())
        percent = used_s / max(now_s - self._time_s, 1e-3) * 100
        self._time_s, self._spent = now_s, spent
        return OK, f'{percent:.0f} % of a core', {'cpu_percent': percent, 'threads': len(spent)}


def read_nodes(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Return the executable and the ROS arguments of each node by its path.

    `path` is a file that `bringup.command.write_nodes` wrote.

    Raises:
        ConfigurationError: the file cannot be read, or has another form.
    """
    try:
        content = json.loads(read_bounded(path, MAX_NODES_BYTES))
        return {
            str(node['path']): (str(node['executable']), [str(a) for a in node['arguments']])
            for node in content
        }
    except OSError as error:
        raise ConfigurationError(f'--nodes {path}: {error.strerror}') from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigurationError(
            f'--nodes {path}: not a list of nodes: {one_line(error)}'
        ) from None


def crash_file(nodes: Path) -> Path:
    """Return the crash file that belongs to a file of nodes."""
    return nodes.with_name(nodes.name + CRASH_SUFFIX)
