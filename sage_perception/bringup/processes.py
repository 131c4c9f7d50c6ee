# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Run a node graph as processes: start, watch, start again, stop, and leave no orphan."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

from sage_perception.bringup.environment import (
    DeathRecord,
    dds_environment,
    describe_exit,
    remove_stale_shared_memory,
)
from sage_perception.bringup.graph import NodeSpec

# How long a node may take to end after SIGINT, and then after SIGTERM, before the next signal.
INTERRUPT_S, TERMINATE_S = 5.0, 2.0

_LOG_LEVEL = re.compile(r'\[(DEBUG|INFO|WARN|ERROR|FATAL)\]')
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def command(spec: NodeSpec, params_files: Sequence[Path | str], log_level: str) -> list[str]:
    """Return the command line that runs a node in this Python; later parameter files win."""
    line = [sys.executable, '-m', f'{spec.package}.nodes.{spec.executable}', '--ros-args']
    line += ['-r', f'__node:={spec.name}', '-r', f'__ns:=/{spec.namespace}']
    for source, target in spec.remappings:
        line += ['-r', f'{source}:={target}']
    for path in params_files:
        line += ['--params-file', str(path)]
    return [*line, '--log-level', log_level]


class NodeProcess:
    """The process of one node, and what became of it."""

    def __init__(self, spec: NodeSpec) -> None:
        self.spec = spec
        self.deaths = DeathRecord(spec.respawn)
        self.popen: subprocess.Popen | None = None
        self.restarts = 0
        self.state = 'waiting'
        self.exit_code: int | None = None
        self.log_level = ''

    @property
    def pid(self) -> int | None:
        """The process id while the process runs, else None."""
        alive = self.popen is not None and self.popen.returncode is None
        return self.popen.pid if alive else None


class GraphRunner:
    """The processes of a graph; a context manager that starts and stops them.

    `on_line(node, line)` receives each line that a node writes, and with the node '' what the
    runner has to say; it is called from several threads, one at a time. `failure` says which node
    is dead for good and why, None as long as none is.
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
        self._params_files = [params_file] if params_file else []
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
        self._overrides: tempfile.TemporaryDirectory | None = None

    def start(self) -> None:
        """Start every node; returns at once."""
        remove_stale_shared_memory()
        self._overrides = tempfile.TemporaryDirectory(prefix='sage_')
        self._threads = [
            threading.Thread(target=self._keep_running, args=(node,), name=path, daemon=True)
            for path, node in self.processes.items()
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until a node is dead for good; return whether one is."""
        return self._failed.wait(timeout_s)

    def stop(self) -> dict[str, int | None]:
        """Stop every node, by force after a while; return the exit codes, `-n` being signal n."""
        with self._process_lock:
            self._stopping.set()
        for number, patience_s in (
            (signal.SIGINT, INTERRUPT_S),
            (signal.SIGTERM, TERMINATE_S),
            (signal.SIGKILL, TERMINATE_S),
        ):
            self._signal(number)
            deadline = time.monotonic() + patience_s
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))
        if self._overrides is not None:
            self._overrides.cleanup()
        remove_stale_shared_memory()
        return {path: node.exit_code for path, node in self.processes.items()}

    def __enter__(self) -> GraphRunner:
        self.start()
        return self

    def __exit__(self, *exception) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        for node in self.processes.values():
            if node.pid is None:
                continue
            if number == signal.SIGKILL:
                self._say(f'{node.spec.path} does not end: killed')
            node.popen.send_signal(number)

    def _say(self, line: str, node: str = '') -> None:
        with self._line_lock:
            self._on_line(node, line)

    def _keep_running(self, node: NodeProcess) -> None:
        """Start a node again and again; the thread lives as long as the processes it starts."""
        while self._spawn(node):
            for line in node.popen.stdout:
                level = _LOG_LEVEL.search(line)
                node.log_level = level.group(1) if level else node.log_level
                self._say(line.rstrip('\n'), node.spec.path)
            node.popen.stdout.close()
            node.exit_code = node.popen.wait()
            node.state = 'stopped'
            if self._stopping.is_set():
                return
            reason = node.deaths.verdict(node.exit_code, time.monotonic())
            if reason is not None:
                self._fail(node, reason)
                return
            node.state = 'restarting'
            remove_stale_shared_memory()
            delay_s = node.spec.respawn_delay_s
            self._say(
                f'{node.spec.path} died ({describe_exit(node.exit_code)}), '
                f'starts again in {delay_s:g} s'
            )
            self._stopping.wait(delay_s)
            node.restarts += 1

    def _spawn(self, node: NodeProcess) -> bool:
        """Start a node's process unless the graph is stopping; return whether it was started."""
        # Under the lock, so that `stop` sees either no process or one that it can signal.
        with self._process_lock:
            if self._stopping.is_set():
                return False
            try:
                params_files = [*self._params_files]
                if node.spec.parameters:
                    params_files.append(self._write_overrides(node.spec))
                node.popen = subprocess.Popen(
                    command(node.spec, params_files, self._log_level),
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors='replace',
                    start_new_session=True,  # Ctrl-C reaches the nodes once: from us.
                    preexec_fn=_die_with(os.getpid()),
                )
            except OSError as error:
                self._fail(node, f'cannot be started: {error}')
                return False
        node.state = 'running'
        return True

    def _write_overrides(self, spec: NodeSpec) -> Path:
        # Keyed by the full name: ROS lets it win over the wildcards of the user's file, which it
        # does not do for `-p name:=value` or a key `/**`.
        path = Path(self._overrides.name, spec.path.replace('/', '.') + '.yaml')
        path.parent.mkdir(exist_ok=True)  # old temporary folders are cleaned away
        path.write_text(
            yaml.safe_dump({f'/{spec.path}': {'ros__parameters': {**spec.parameters}}})
        )
        return path

    def _fail(self, node: NodeProcess, reason: str) -> None:
        node.state = 'dead'
        if not self._failed.is_set():
            self.failure = f'{node.spec.path}: {reason}'
            self._failed.set()


def _die_with(parent: int) -> Callable[[], None]:
    """Make a child die when `parent` does, however that ends (Linux)."""

    def prepare() -> None:
        # A shell that runs us in the background has us, and our children, ignore SIGINT.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), 'prctl(PR_SET_PDEATHSIG) failed')
        if os.getppid() != parent:
            os._exit(1)

    return prepare
