# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Processes of several nodes: delivery, isolation from DDS, failures by node."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from sage_perception.bringup.composition import describe_crash
from sage_perception.bringup.environment import dds_environment
from sage_perception.bringup.respawn import CONFIGURATION_ERROR

# A process with a source, a sink that checks what it receives, and a node that may fail.
SCRIPT = """
    import ctypes, sys
    from functools import partial
    from pathlib import Path
    import rclpy
    from std_msgs.msg import Int64
    from sage_perception.ros import qos
    from sage_perception.ros.composition import Composition
    from sage_perception.ros.endpoints import Node
    from sage_perception.ros.tables import Topic
    from sage_perception.ros.errors import ConfigurationError, NodeFailure
    from sage_perception.ros.lifecycle import LifecycleNode
    from sage_perception.ros.common_parameters import AUTOSTART

    class Source(LifecycleNode):
        PARAMETERS = (AUTOSTART,)
        PUBLISHES = (Topic('numbers', Int64, qos.DEFAULT, ''),)
        sent = []
        def __init__(self, **options):
            super().__init__('source', **options)
        def setup(self):
            self.numbers = self.publisher('numbers')
            self.add_timer(0.02, self.send)
        def send(self):
            if self.active:
                self.sent.append(Int64(data=len(self.sent)))
                self.numbers.publish(self.sent[-1])

    class Sink(Node):
        SUBSCRIBES = (Topic('numbers', Int64, qos.DEFAULT, ''),)
        def __init__(self, **options):
            super().__init__('sink', **options)
        def setup(self):
            self.seen = []
            self.subscribe('numbers', self.take)
        def take(self, message):
            same = any(message is sent for sent in Source.sent)
            self.seen.append(message.data)
            if len(self.seen) == 20:
                in_order = self.seen == sorted(set(self.seen))
                print('object' if same else 'copy', 'once' if in_order else 'twice', flush=True)
                if sys.argv[1] == 'deliver':
                    rclpy.try_shutdown()

    class Faulty(Node):
        def __init__(self, **options):
            super().__init__('faulty', **options)
        def setup(self):
            fault = sys.argv[1]
            if fault == 'configuration':
                raise ConfigurationError("parameter 'x': is wrong")
            if fault == 'start':
                raise RuntimeError('cannot start')
            if fault in ('crash', 'raise'):
                self.create_timer(0.3, getattr(self, fault))
        def crash(self):
            ctypes.string_at(0)
        def __getattr__(self, name):
            if name == 'raise':
                return self.fail
            raise AttributeError(name)
        def fail(self):
            raise NodeFailure('no more') from ZeroDivisionError('no more')

    def arguments(name):
        return ['-r', '__node:=' + name, '-r', '__ns:=/robot']

    makers = {
        'robot/' + kind.__name__.lower(): (kind, arguments(kind.__name__.lower()))
        for kind in (Source, Sink, Faulty)
    }
    sys.exit(Composition(makers, Path(sys.argv[2]) if sys.argv[2:] else None).run())
"""


def run(mode, *arguments, **variables):
    environment = {**os.environ, **variables}
    environment |= dds_environment(environment)
    command = [sys.executable, '-c', textwrap.dedent(SCRIPT), mode, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_messages_are_handed_over_once_without_a_copy():
    done = run('deliver')
    assert (done.returncode, done.stdout) == (0, 'object once\n'), done.stderr


def test_without_the_profile_messages_go_through_dds(tmp_path):
    profile = tmp_path / 'mine.xml'
    profile.write_text('<profiles xmlns="http://www.eprosima.com"/>')
    done = run('deliver', FASTDDS_DEFAULT_PROFILES_FILE=str(profile))
    assert (done.returncode, done.stdout) == (0, 'copy once\n'), done.stderr
    assert 'is not configured by config/fastdds_composed.xml' in done.stderr


def test_an_exception_ends_the_process_and_names_the_node():
    done = run('raise')
    assert done.returncode == 1
    assert 'exception in robot/faulty:\nTraceback' in done.stderr
    assert done.stderr.endswith('\nerror: robot/faulty: ZeroDivisionError: no more\n')


def test_an_exception_at_the_start_names_the_node():
    done = run('start')
    assert done.returncode == 1
    assert done.stderr.endswith('\nerror: robot/faulty: RuntimeError: cannot start\n')


def test_a_configuration_error_names_the_node_in_one_line():
    done = run('configuration')
    assert done.returncode == CONFIGURATION_ERROR
    assert "error: robot/faulty: parameter 'x': is wrong\n" in done.stderr
    assert 'Traceback' not in done.stderr


def test_a_crash_of_native_code_names_the_node(tmp_path):
    nodes = tmp_path / 'nodes.json'
    done = run('crash', f'{nodes}.crash')
    assert done.returncode < 0
    first, *stack = describe_crash(nodes).splitlines()
    assert first == 'Segmentation fault in robot/faulty'
    assert any('in crash' in line for line in stack)
    assert describe_crash(nodes) == '', 'each crash is reported once'


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (None, 'No such file or directory'),
        ('{', 'not a list of nodes'),
        ('[{"path": "a"}]', 'not a list of nodes'),
        (
            json.dumps([{'path': 'a', 'executable': 'rviz2', 'arguments': []}]),
            "executable 'rviz2' cannot be composed",
        ),
    ],
)
def test_the_container_explains_a_damaged_file_of_nodes(tmp_path, content, reason):
    path = tmp_path / 'nodes.json'
    if content is not None:
        path.write_text(content)
    command = [sys.executable, '-m', 'sage_perception.nodes.container_node', '--nodes', path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == CONFIGURATION_ERROR
    assert done.stderr.startswith('error: ')
    assert reason in done.stderr
    assert done.stderr.count('\n') == 1
