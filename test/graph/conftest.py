# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests with node processes over DDS."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from functools import cached_property

import pytest
from diagnostic_msgs.msg import DiagnosticArray

from sage_perception.bringup.environment import dds_environment
from sage_perception.bringup.processes import GraphRunner


@pytest.fixture(scope='module', autouse=True)
def environment(domain):
    """Give this process and its children a ROS domain and our Fast DDS profile."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in dds_environment(os.environ).items():
            patch.setenv(name, value)
        patch.setenv('PYTHONUNBUFFERED', '1')
        patch.setenv('OMP_NUM_THREADS', '1')
        yield


@pytest.fixture
def start():
    """Return a function that starts `python -m MODULE ARGUMENTS`; kill the rest at the end."""
    processes: list[subprocess.Popen] = []

    def start_process(module: str, *arguments, **options) -> subprocess.Popen:
        processes.append(
            subprocess.Popen(
                [sys.executable, '-m', module, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                **options,
            )
        )
        return processes[-1]

    yield start_process
    for process in processes:
        process.kill()
        process.communicate()


class Graph:
    """A running graph: its processes, their output, and a node of this process."""

    def __init__(self, specs, ros, may_end: bool, **options):
        self.ros = ros
        self._may_end = may_end
        self.log: list[tuple[str, str]] = []
        self.runner = GraphRunner(
            specs, on_line=lambda node, line: self.log.append((node, line)), **options
        )
        self.runner.start()

    def collect(self, *arguments, **options):
        """Return a list that grows with each message of a topic."""
        return self.ros.collect(*arguments, **options)

    def wait_for(self, condition, what: str):
        """Wait until `condition()` is true and return its value; fail if a node fails."""

        def checked():
            assert self.runner.failure is None, f'{self.runner.failure}\n{self.written()}'
            return condition()

        return self.ros.wait_for(checked, what)

    def pid(self, node: str) -> int:
        """Wait until a node runs and return its process id."""
        return self.wait_for(lambda: self.runner.processes[node].pid, f'start of {node}')

    def written(self, node: str = '') -> str:
        """Return the output of a node, or of all nodes."""
        return '\n'.join(line for name, line in list(self.log) if not node or name == node)

    def health(self, since: int = 0) -> dict:
        """Return the newest diagnostics of each part by name, collected since the first call."""
        return {s.name: s for array in self.diagnostics[since:] for s in array.status}

    def wait_until_healthy(self) -> None:
        """Wait for diagnostics without a problem from all parts."""

        def problems():
            count = len(self.diagnostics)
            self.wait_for(lambda: len(self.diagnostics) > count + 10, 'new diagnostics')
            found = self.health(count)
            return {n: s.message for n, s in found.items() if s.level != b'\0'} if found else None

        self.wait_for(lambda: problems() == {}, 'diagnostics without problems')

    @cached_property
    def diagnostics(self) -> list[DiagnosticArray]:
        """Return the list of the diagnostics since the first access."""
        return self.collect(DiagnosticArray, '/diagnostics')

    def close(self) -> None:
        """Stop all nodes; they must exit without an error."""
        exit_codes = self.runner.stop()
        self.ros.close()
        assert self._may_end or not self.runner.failure
        stuck = {name for name in exit_codes if 'Timeout (0:00:0' in self.written(name)}
        for name in stuck:
            # A defect of the middleware, seen once in some hundred shutdowns; see `ros/run.py`.
            warnings.warn(f'{name} did not exit by itself:\n{self.written(name)}', stacklevel=1)
        failed = {name: code for name, code in exit_codes.items() if code and name not in stuck}
        if failed:
            print(self.written())  # pytest truncates the message of an assertion
        assert not failed
        assert 'Traceback' not in self.written(), self.written()


@pytest.fixture(scope='module')
def run_graph(environment, new_ros):
    """Return a function that runs a graph until the end of the test module."""
    graphs: list[Graph] = []

    def run(specs, may_end=False, **options) -> Graph:
        graphs.append(Graph(specs, new_ros(), may_end, **options))
        return graphs[-1]

    yield run
    for graph in graphs:
        graph.close()
