# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Real processes over real DDS, on a domain of their own, and a node here that talks to them."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest
from diagnostic_msgs.msg import DiagnosticArray

from sage_perception.bringup.environment import dds_environment
from sage_perception.bringup.processes import GraphRunner


@pytest.fixture(scope='module', autouse=True)
def environment(domain):
    """Give this process, and so all that it starts, a ROS domain and our Fast DDS profile."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in dds_environment(os.environ).items():
            patch.setenv(name, value)
        patch.setenv('PYTHONUNBUFFERED', '1')
        patch.setenv('OMP_NUM_THREADS', '1')
        yield


@pytest.fixture
def peer(ros):
    """Give a node of this process that runs in the background."""
    return ros


@pytest.fixture
def start():
    """Give what starts `python -m MODULE ARGUMENTS`, and kills what is left at the end."""
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
    """The processes of a graph, what they write, and a node here that talks to them."""

    def __init__(self, specs, ros, may_end: bool, **options):
        self.ros = ros
        self._may_end = may_end
        self.log: list[tuple[str, str]] = []
        self.runner = GraphRunner(
            specs, on_line=lambda node, line: self.log.append((node, line)), **options
        )
        self.runner.start()

    def collect(self, *arguments, **options):
        """Return a list that grows by each message of a topic."""
        return self.ros.collect(*arguments, **options)

    def wait_for(self, condition, what: str):
        """Wait until `condition()` is true, and return what it returned."""

        def checked():
            assert self.runner.failure is None, f'{self.runner.failure}\n{self.written()}'
            return condition()

        return self.ros.wait_for(checked, what)

    def pid(self, node: str) -> int:
        """Return the process of a node that runs."""
        return self.wait_for(lambda: self.runner.processes[node].pid, f'{node} runs')

    def written(self, node: str = '') -> str:
        """Return what a node, or all of them, have written."""
        return '\n'.join(line for name, line in list(self.log) if not node or name == node)

    def health(self, since: int = 0) -> dict:
        """Return the newest diagnostics of each part, by name; collects from the first call on."""
        if not hasattr(self, '_health'):
            self._health = self.collect(DiagnosticArray, '/diagnostics')
        return {status.name: status for array in self._health[since:] for status in array.status}

    def close(self) -> None:
        """End all nodes; they must do so when asked, without an error."""
        exit_codes = self.runner.stop()
        self.ros.close()
        assert self._may_end or not self.runner.failure
        stuck = {name for name in exit_codes if 'Timeout (0:00:0' in self.written(name)}
        for name in stuck:
            # A defect of the middleware, met once in some hundred ends; `ros/node.py` copes.
            warnings.warn(f'{name} was not let go:\n{self.written(name)}', stacklevel=1)
        failed = {name: code for name, code in exit_codes.items() if code and name not in stuck}
        if failed:
            print(self.written())  # pytest shortens what an assertion shows
        assert not failed
        assert 'Traceback' not in self.written(), self.written()


@pytest.fixture(scope='module')
def run_graph(environment, new_ros):
    """Give what runs a graph until the test module is done."""
    graphs: list[Graph] = []

    def run(specs, may_end=False, **options) -> Graph:
        graphs.append(Graph(specs, new_ros(), may_end, **options))
        return graphs[-1]

    yield run
    for graph in graphs:
        graph.close()
