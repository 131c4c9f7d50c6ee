# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Run a node graph as processes: start, restart and stop its nodes, and leave no orphans."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sage_perception.bringup.command import command, nodes_file, write_nodes, write_overrides
from sage_perception.bringup.composition import describe_crash
from sage_perception.bringup.environment import dds_environment, remove_stale_shared_memory
from sage_perception.bringup.graph import NodeSpec
from sage_perception.bringup.respawn import (
    DEATHS_FILE,
    RespawnPolicy,
    describe_exit,
    write_deaths,
)

INTERRUPT_S = 5.0
"""Time a node has to exit after SIGINT before it gets SIGTERM, seconds."""
TERMINATE_S = 2.0
"""Time a node has to exit after SIGTERM before it gets SIGKILL, seconds."""

_LOG_LEVEL = re.compile(r'\[(DEBUG|INFO|WARN|ERROR|FATAL)\]')
_CAUSE = re.compile(
    r'error: (?P<reported>.+)'  # `ros.run.run` reports a configuration error
    r'|(?P<raised>(\w+\.)*\w+(Error|Exception|Unavailable|Lost)(: .+)?)'  # end of a traceback
    r'|\[(ERROR|FATAL)\] (\[[^]]*\]:? )*(?P<logged>.+)'
)
_AFTER_SHUTDOWN = re.compile(
    'Failed to (.*(context|implementation) is invalid|complete transition)'
)
"""Messages of rcl about calls during which SIGINT shut the context down."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class NodeProcess:
    """The process of one node and its history.

    Attributes:
        spec: the node.
        restarts: number of restarts.
        state: 'waiting', 'running', 'restarting', 'stopped' or 'dead'.
        exit_code: exit code of the last process that exited, `-n` for signal n; None before.
        log_level: level of the last log message.
        cause: the last error that the process printed, '' before.
    """

    def __init__(self, spec: NodeSpec) -> None:
        self.spec = spec
        self.respawn = RespawnPolicy(spec.respawn, spec.respawn_delay_s)
        self.restarts = 0
        self.state = 'waiting'
        self.exit_code: int | None = None
        self.log_level = ''
        self.cause = ''
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int | None:
        """Return the process id, or None if the process is not running."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def start(self, line: list[str], environment: Mapping[str, str]) -> None:
        """Start the process with a command line; raise `OSError` if that fails."""
        self.cause = ''
        self._process = subprocess.Popen(
            line,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            start_new_session=True,  # so that Ctrl-C reaches the node only through the runner
            preexec_fn=_die_with(os.getpid()),
        )
        self.respawn.record_start(time.monotonic())
        self.state = 'running'

    def follow(self, on_line: Callable[[str], None]) -> int:
        """Pass each line of output to `on_line` until the process exits; return the exit code."""
        process = self._process
        if process is None or process.stdout is None:
            raise RuntimeError(f'{self.spec.path} is not started')
        with process.stdout as lines:
            for line in lines:
                level = _LOG_LEVEL.search(line)
                self.log_level = level.group(1) if level else self.log_level
                self.cause = error_in(line) or self.cause
                on_line(line.rstrip('\n'))
        self.exit_code = process.wait()
        self.state = 'stopped'
        return self.exit_code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process if it is running."""
        if self._process is not None and self.pid is not None:
            self._process.send_signal(number)


class GraphRunner:
    """Runs the nodes of a graph; a context manager that starts and stops them.

    A node that exits is restarted as its `RespawnPolicy` decides.

    Args:
        specs: the nodes.
        params_file: parameter file of all nodes.
        log_level: log level of all nodes.
        env: additional environment variables.
        on_line: called as `on_line(node, line)` with each line of output of a node, and with the
            node '' for messages of the runner. Calls come from several threads, one at a time.

    Attributes:
        processes: the processes, by the path of their node.
        failure: path of the first node that failed permanently, the reason and the last error
            that the node printed; None if no node failed. Later lines of the other nodes are not
            passed to `on_line`.
        environment: the environment of the nodes.
    """

    def __init__(
        self,
        specs: Sequence[NodeSpec],
        *,
        params_file: Path | str | None = None,
        log_level: str = 'info',
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str, str], None] | None = None,
    ) -> None:
        self.processes = {spec.path: NodeProcess(spec) for spec in specs}
        if len(self.processes) != len(specs):
            raise ValueError('two nodes of the graph have the same namespace and name')
        self.failure: str | None = None
        self._params_files: list[Path | str] = [params_file] if params_file else []
        self._log_level = log_level
        environment = {**os.environ, **(env or {})}
        self.environment = {
            **environment,
            **dds_environment(environment),
            'PYTHONUNBUFFERED': '1',
        }
        self._on_line = on_line or (lambda node, line: None)
        self._line_lock = threading.Lock()
        self._process_lock = threading.Lock()
        self._stopping = threading.Event()
        self._failed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._overrides: tempfile.TemporaryDirectory[str] | None = None

    def start(self) -> None:
        """Start all nodes and return without waiting for them."""
        remove_stale_shared_memory()
        self._overrides = tempfile.TemporaryDirectory(prefix='sage_')
        folder = Path(self._overrides.name)
        self._threads = [
            threading.Thread(target=self._supervise, args=(node, folder), name=path, daemon=True)
            for path, node in self.processes.items()
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until a node fails permanently; return whether one has failed."""
        return self._failed.wait(timeout_s)

    def stop(self) -> dict[str, int | None]:
        """Stop all nodes, with SIGKILL if necessary; return the exit codes by node."""
        with self._process_lock:
            self._stopping.set()
        for number, timeout_s in (
            (signal.SIGINT, INTERRUPT_S),
            (signal.SIGTERM, TERMINATE_S),
            (signal.SIGKILL, TERMINATE_S),
        ):
            self._signal(number)
            deadline = time.monotonic() + timeout_s
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))
        if self._overrides is not None:
            self._overrides.cleanup()
        remove_stale_shared_memory()
        return {path: node.exit_code for path, node in self.processes.items()}

    def __enter__(self) -> GraphRunner:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        for path, node in self.processes.items():
            if node.pid is not None and number == signal.SIGKILL:
                self._print(f'{path} does not exit; sending SIGKILL')
            node.send_signal(number)

    def _print(self, line: str, node: str = '') -> None:
        late = self._stopping.is_set() and _AFTER_SHUTDOWN.search(line)
        if node and (late or self._failed.is_set()):
            return
        with self._line_lock:
            self._on_line(node, line)

    def _supervise(self, node: NodeProcess, folder: Path) -> None:
        """Start a node and restart it until the graph stops or its policy forbids it.

        The thread lives as long as the processes it starts, because the kernel kills a child when
        the thread that started it ends (PR_SET_PDEATHSIG).
        """
        path = node.spec.path
        while self._spawn(node, folder):
            exit_code = node.follow(lambda line: self._print(line, path))
            if self._stopping.is_set():
                return
            crash = describe_crash(nodes_file(node.spec, folder)) if node.spec.nodes else ''
            for line in crash.splitlines():
                self._print(f'{path}: {line}')
            reason = node.respawn.record_exit(exit_code)
            if reason is not None:
                self._fail(node, f'{reason}: {node.cause}' if node.cause else reason)
                return
            node.state = 'restarting'
            exit_text, delay_s = describe_exit(exit_code), node.respawn.delay_s
            self._print(f'{path} died ({exit_text}), restarting in {delay_s:g} s')
            remove_stale_shared_memory()
            last = f'{exit_text}: {node.cause}' if node.cause else exit_text
            write_deaths(_deaths_file(node.spec, folder), node.respawn.deaths, last)
            self._stopping.wait(delay_s)
            node.restarts += 1

    def _spawn(self, node: NodeProcess, folder: Path) -> bool:
        """Start the process of a node unless the graph is stopping; return whether it started."""
        # The lock ensures that `stop` finds either no process or one that it can signal.
        with self._process_lock:
            if self._stopping.is_set():
                return False
            try:
                line = self._command(node.spec, folder)
                deaths = {DEATHS_FILE: str(_deaths_file(node.spec, folder))}
                node.start(line, {**self.environment, **deaths})
            except OSError as error:
                self._fail(node, f'cannot be started: {error}')
                return False
        return True

    def _command(self, spec: NodeSpec, folder: Path) -> list[str]:
        """Write the files of a process to `folder`, and return its command line."""
        folder.mkdir(0o700, exist_ok=True)  # the system may have cleaned up the temporary folder
        if spec.nodes:
            path = write_nodes(spec, self._params_files, folder)
            return command(spec, [], self._log_level, path)
        overrides = [write_overrides(spec, folder)] if spec.parameters else []
        return command(spec, [*self._params_files, *overrides], self._log_level)

    def _fail(self, node: NodeProcess, reason: str) -> None:
        node.state = 'dead'
        if not self._failed.is_set():
            self.failure = f'{node.spec.path}: {reason}'
            self._failed.set()


def _deaths_file(spec: NodeSpec, folder: Path) -> Path:
    return folder / (spec.path.replace('/', '.') + '.deaths')


def error_in(line: str) -> str:
    """Return the error that a line of output reports, '' for other lines."""
    found = _CAUSE.fullmatch(line.strip())
    return next(filter(None, found.group('reported', 'raised', 'logged'))) if found else ''


def _die_with(parent: int) -> Callable[[], None]:
    """Return a function for the child process that makes it exit when `parent` exits (Linux)."""

    def prepare() -> None:
        # A shell that runs the parent in the background makes it and its children ignore SIGINT.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # Until `bringup.start` handles it; Python's start would be interrupted with a traceback.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), 'prctl(PR_SET_PDEATHSIG) failed')
        if os.getppid() != parent:
            os._exit(1)

    return prepare
