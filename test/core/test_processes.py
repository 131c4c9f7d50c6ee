# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The processes of a graph, with stub processes as nodes."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap

import psutil
import pytest
import yaml
from stubs import STEADY, STUBBORN, spec, wait_for

from sage_perception.bringup import processes
from sage_perception.bringup.graph import NodeSpec
from sage_perception.bringup.processes import GraphRunner


@pytest.fixture
def lines():
    return []


@pytest.fixture
def run(lines):
    """Return a function that starts a runner and collects its lines; stop it at the end."""
    runners = []

    def start(*specs: NodeSpec, **options) -> GraphRunner:
        runner = GraphRunner(
            specs, on_line=lambda node, line: lines.append((node, line)), **options
        )
        runners.append(runner)
        runner.start()
        return runner

    yield start
    for runner in runners:
        runner.stop()


def test_restarts_only_the_killed_node(write_node, run, lines):
    write_node('steady', STEADY)
    runner = run(spec('one', 'steady'), spec('two', 'steady'))
    wait_for(lambda: sum('ready' in line for _, line in lines) == 2)
    first, other = runner.processes['one'].pid, runner.processes['two'].pid
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: sum('ready' in line for _, line in lines) == 3)
    assert runner.processes['one'].pid not in (None, first)
    assert runner.processes['one'].restarts == 1
    assert (runner.processes['two'].pid, runner.processes['two'].restarts) == (other, 0)
    assert ('', 'one died (killed by signal 9), restarting in 0.05 s') in lines
    assert runner.failure is None


def test_node_that_keeps_dying_is_restarted_ever_later_and_ends_no_other(write_node, run, lines):
    write_node('steady', STEADY)
    write_node('crash', "print('started'); raise SystemExit(3)")
    runner = run(spec('crash'), spec('steady'))
    wait_for(lambda: lines.count(('crash', 'started')) == 5)
    delays = [line.rpartition(' in ')[2] for node, line in lines if 'died' in line]
    assert delays[:4] == ['0.05 s', '0.2 s', '0.4 s', '0.8 s']
    assert runner.failure is None
    assert runner.processes['steady'].state == 'running'
    assert runner.processes['steady'].restarts == 0


def test_restarted_node_can_read_its_deaths(write_node, run, lines):
    write_node(
        'reads',
        """
        from sage_perception.bringup.respawn import read_deaths
        print(read_deaths())
        raise ValueError('no model')
        """,
    )
    run(spec('reads'))
    wait_for(lambda: sum(line.startswith('(') for _, line in lines) >= 3)
    read = [line for _, line in lines if line.startswith('(')]
    last = "'exit code 1: ValueError: no model')"
    assert read[:3] == ["(0, '')", f'(1, {last}', f'(2, {last}']


def test_does_not_restart_after_a_configuration_error(write_node, run, lines):
    write_node('refuses', "print('started'); raise SystemExit(2)")
    runner = run(spec('refuses'))
    assert runner.wait(30)
    assert 'configuration error' in runner.failure
    runner.stop()
    assert lines.count(('refuses', 'started')) == 1


def test_failure_ends_with_the_last_error_of_the_node(write_node, run, lines):
    write_node('steady', STEADY + "    print('after the failure')\n")
    write_node('crash', "print('[INFO] [1.0] [crash]: fine'); raise ValueError('no model')")
    runner = run(spec('steady'), spec('crash', respawn=False))
    assert runner.wait(30)
    assert runner.failure == 'crash: exit code 1, and respawn is off: ValueError: no model'
    runner.stop()
    assert ('steady', 'after the failure') not in lines, 'other nodes end silently'


@pytest.mark.parametrize(
    ('line', 'error'),
    [
        ('error: no such model', 'no such model'),
        ('ValueError: bad', 'ValueError: bad'),
        ('rclpy._rclpy_pybind11.RCLError: bad', 'rclpy._rclpy_pybind11.RCLError: bad'),
        ('[ERROR] [1.5] [cam0.camera]: no device', 'no device'),
        ('[WARN] [1.5] [cam0.camera]: an error: none', ''),
        ('  File "x.py", line 3, in ValueError', ''),
        ('ready', ''),
    ],
)
def test_error_is_found_in_a_line_of_output(line, error):
    assert processes.error_in(line) == error


def test_interrupt_during_the_imports_ends_the_process_quietly(write_node, run, lines):
    write_node('slow', "print('importing'); import time; time.sleep(60); print('ready')")
    runner = run(spec('slow'))
    wait_for(lambda: ('slow', 'importing') in lines)
    assert runner.stop() == {'slow': 0}
    assert lines == [('slow', 'importing')]


def test_interrupt_during_the_start_of_python_ends_the_process_quietly(write_node, run, lines):
    write_node('slow', 'import time; time.sleep(60)')
    runner = run(*(spec(f'slow{n}', 'slow') for n in range(4)))
    wait_for(lambda: all(node.pid for node in runner.processes.values()))
    assert set(runner.stop().values()) == {0}
    assert lines == []


def test_does_not_restart_with_respawn_off(write_node, run):
    write_node('ends', '')
    runner = run(spec('ends', respawn=False))
    assert runner.wait(30)
    assert runner.failure == 'ends: exit code 0, and respawn is off'


def test_stop_interrupts_then_terminates_then_kills(write_node, run, lines, monkeypatch):
    monkeypatch.setattr(processes, 'INTERRUPT_S', 1.0)
    monkeypatch.setattr(processes, 'TERMINATE_S', 0.5)
    write_node('steady', STEADY)
    write_node('stubborn', STUBBORN)
    write_node('deaf', STUBBORN.replace('signal.signal(signal.SIGTERM, signal.SIG_IGN)', ''))
    runner = run(spec('steady'), spec('deaf'), spec('stubborn'))
    wait_for(lambda: sum('ready' in line for _, line in lines) == 3)
    pids = [node.pid for node in runner.processes.values()]
    assert runner.stop() == {'steady': 0, 'deaf': -signal.SIGTERM, 'stubborn': -signal.SIGKILL}
    assert ('steady', 'interrupts: 1') in lines
    assert ('', 'stubborn does not exit; sending SIGKILL') in lines
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_passes_name_and_typed_parameters(write_node, run, lines, tmp_path):
    write_node(
        'show',
        """
        import sys, time
        print(' '.join(sys.argv[1:]))
        print(open(sys.argv[len(sys.argv) - 1 - sys.argv[::-1].index('--params-file') + 1]).read())
        print('shown')
        time.sleep(60)
        """,
    )
    user_file = tmp_path / 'user.yaml'
    user_file.write_text('/**: {ros__parameters: {}}')
    parameters = {'rate': 2.0, 'count': 3, 'cameras': ['a', 'b'], 'label': 'true', 'on': True}
    run(
        spec(
            'show',
            namespace='robot1/cam0',
            parameters=parameters,
            remappings=(('image_raw', '/front/image'),),
        ),
        params_file=user_file,
        log_level='debug',
    )
    wait_for(lambda: ('robot1/cam0/show', 'shown') in lines)
    arguments, *content = [line for node, line in lines if node]
    assert arguments.startswith(
        '--ros-args -r __node:=show -r __ns:=/robot1/cam0 -r image_raw:=/front/image '
        f'--params-file {user_file} --params-file '
    )
    assert arguments.endswith('--log-level debug')
    given = yaml.safe_load('\n'.join(content[:-1]))
    assert given == {'/robot1/cam0/show': {'ros__parameters': parameters}}


def test_parameters_survive_the_cleanup_of_temporary_folders(
    write_node, run, lines, tmp_path, monkeypatch
):
    folder = tmp_path / 'temporary'
    folder.mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(folder))
    write_node(
        'reads',
        """
        import sys, time
        print('read', open(sys.argv[sys.argv.index('--params-file') + 1]).read())
        time.sleep(60)
        """,
    )
    runner = run(spec('reads', parameters={'rate': 2.0}))
    wait_for(lambda: any('read' in line for _, line in lines))
    for made in folder.iterdir():
        shutil.rmtree(made)
    os.kill(runner.processes['reads'].pid, signal.SIGKILL)
    wait_for(lambda: sum('read' in line for _, line in lines) == 2)
    assert runner.failure is None


def test_sets_the_dds_profile_unless_the_user_has_one(write_node, run, lines):
    write_node(
        'show',
        """
        import os, time
        print(sorted(v for k, v in os.environ.items() if k.endswith('DEFAULT_PROFILES_FILE')))
        time.sleep(60)
        """,
    )
    run(spec('ours', 'show'))
    run(spec('users', 'show'), env={'FASTDDS_DEFAULT_PROFILES_FILE': '/mine.xml'})
    wait_for(lambda: len(lines) == 2)
    seen = dict(lines)
    assert 'fastdds_shm.xml' in seen['ours']
    assert seen['users'] == "['/mine.xml']"


def test_killed_runner_leaves_no_orphan(write_node, tmp_path):
    write_node('stubborn', STUBBORN)
    script = """
        import time
        from sage_perception.bringup.graph import NodeSpec
        from sage_perception.bringup.processes import GraphRunner
        show = lambda node, line: print(runner.processes['stubborn'].pid, flush=True)
        runner = GraphRunner([NodeSpec('stub', 'stubborn', 'stubborn')], on_line=show)
        runner.start()
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    child = psutil.Process(int(parent.stdout.readline()))
    assert child.is_running()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_rejects_two_nodes_of_one_name():
    with pytest.raises(ValueError, match='same namespace and name'):
        GraphRunner([spec('same'), spec('same')])
