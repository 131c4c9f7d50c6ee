# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage up` and the process supervisor, with small real processes in place of the nodes."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import yaml

from sage_perception.bringup import processes as supervisor
from sage_perception.bringup.graph import NodeSpec
from sage_perception.bringup.processes import GraphRunner
from sage_perception.cli import up

ROOT = Path(__file__).resolve().parents[2]

STEADY = """
    import signal, time
    interrupts = []
    signal.signal(signal.SIGINT, lambda *_: interrupts.append(1))
    print('[INFO] [1.0] [steady]: ready')
    while not interrupts:
        time.sleep(0.02)
    time.sleep(0.1)
    print('interrupts:', len(interrupts))
"""
STUBBORN = """
    import signal, time
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print('ready')
    while True:
        time.sleep(0.02)
"""


@pytest.fixture
def write_node(tmp_path, monkeypatch):
    """Return what writes the module of a node into a package that the processes import."""
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path), str(ROOT)]))

    def write(executable: str, code: str, package: str = 'standin') -> None:
        folder = tmp_path / package / 'nodes'
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / package / '__init__.py').touch()
        (folder / '__init__.py').touch()
        (folder / f'{executable}.py').write_text(textwrap.dedent(code))

    return write


@pytest.fixture
def lines():
    return []


@pytest.fixture
def run(lines):
    """Return what starts a runner whose lines are collected; stop it at the end."""
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


def until(condition, timeout_s: float = 30.0):
    """Wait for a condition and return its value; fail when it does not come true."""
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end, 'timed out'
        time.sleep(0.02)
    return value


def spec(name: str, executable: str | None = None, **options) -> NodeSpec:
    return NodeSpec('standin', executable or name, name, **{'respawn_delay_s': 0.05, **options})


def test_a_killed_node_starts_again_and_the_others_do_not(write_node, run, lines):
    write_node('steady', STEADY)
    runner = run(spec('one', 'steady'), spec('two', 'steady'))
    until(lambda: sum('ready' in line for _, line in lines) == 2)
    first, other = runner.processes['one'].pid, runner.processes['two'].pid
    os.kill(first, signal.SIGKILL)
    until(lambda: sum('ready' in line for _, line in lines) == 3)
    assert runner.processes['one'].pid not in (None, first)
    assert runner.processes['one'].restarts == 1
    assert (runner.processes['two'].pid, runner.processes['two'].restarts) == (other, 0)
    assert ('', 'one died (killed by signal 9), starts again in 0.05 s') in lines
    assert runner.failure is None


def test_a_node_that_keeps_dying_is_dead_for_good(write_node, run, lines):
    write_node('crash', "print('started'); raise SystemExit(3)")
    runner = run(spec('crash'))
    assert runner.wait(30)
    assert runner.failure == 'crash: died 5 times within 30 s, exit code 3'
    assert lines.count(('crash', 'started')) == 5


def test_a_configuration_error_is_never_retried(write_node, run, lines):
    write_node('refuses', "print('started'); raise SystemExit(2)")
    runner = run(spec('refuses'))
    assert runner.wait(30)
    assert 'configuration error' in runner.failure
    runner.stop()
    assert lines.count(('refuses', 'started')) == 1


def test_without_respawn_the_first_death_is_the_last(write_node, run):
    write_node('ends', '')
    runner = run(spec('ends', respawn=False))
    assert runner.wait(30)
    assert runner.failure == 'ends: exit code 0, and respawn is off'


def test_stop_interrupts_then_terminates_then_kills(write_node, run, lines, monkeypatch):
    monkeypatch.setattr(supervisor, 'INTERRUPT_S', 1.0)
    monkeypatch.setattr(supervisor, 'TERMINATE_S', 0.5)
    write_node('steady', STEADY)
    write_node('stubborn', STUBBORN)
    write_node('deaf', STUBBORN.replace('signal.signal(signal.SIGTERM, signal.SIG_IGN)', ''))
    runner = run(spec('steady'), spec('deaf'), spec('stubborn'))
    until(lambda: sum('ready' in line for _, line in lines) == 3)
    pids = [node.pid for node in runner.processes.values()]
    assert runner.stop() == {'steady': 0, 'deaf': -signal.SIGTERM, 'stubborn': -signal.SIGKILL}
    assert ('steady', 'interrupts: 1') in lines
    assert ('', 'stubborn does not end: killed') in lines
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_node_is_told_its_name_and_typed_parameters(write_node, run, lines, tmp_path):
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
    until(lambda: ('robot1/cam0/show', 'shown') in lines)
    arguments, *content = [line for node, line in lines if node]
    assert arguments.startswith(
        '--ros-args -r __node:=show -r __ns:=/robot1/cam0 -r image_raw:=/front/image '
        f'--params-file {user_file} --params-file '
    )
    assert arguments.endswith('--log-level debug')
    given = yaml.safe_load('\n'.join(content[:-1]))
    assert given == {'/robot1/cam0/show': {'ros__parameters': parameters}}


def test_parameters_outlive_the_cleaning_of_temporary_folders(
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
    until(lambda: any('read' in line for _, line in lines))
    for made in folder.iterdir():
        shutil.rmtree(made)
    os.kill(runner.processes['reads'].pid, signal.SIGKILL)
    until(lambda: sum('read' in line for _, line in lines) == 2)
    assert runner.failure is None


def test_nodes_get_the_dds_profile_unless_the_user_has_one(write_node, run, lines):
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
    until(lambda: len(lines) == 2)
    seen = dict(lines)
    assert 'fastdds_shm.xml' in seen['ours']
    assert seen['users'] == "['/mine.xml']"


def test_a_runner_that_is_killed_leaves_no_orphan(write_node, tmp_path):
    write_node('stubborn', STUBBORN)
    script = """
        import time
        from sage_perception.bringup.graph import NodeSpec
        from sage_perception.bringup.processes import GraphRunner
        show = lambda node, line: print(runner.processes['stubborn'].pid, flush=True)
        runner = GraphRunner([NodeSpec('standin', 'stubborn', 'stubborn')], on_line=show)
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
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_two_nodes_of_one_name_are_refused():
    with pytest.raises(ValueError, match='same namespace and name'):
        GraphRunner([spec('same'), spec('same')])


# --- the command line ---------------------------------------------------------------------------


@pytest.fixture
def graph_of_stand_ins(write_node, tmp_path, monkeypatch):
    """Put small processes in the place of the suite's nodes."""
    for kind in ('camera', 'attention', 'encoder', 'arbiter', 'viewer'):
        write_node(f'{kind}_node', STEADY, package='sage_perception')
    monkeypatch.chdir(tmp_path)  # `python -m` looks there first
    return write_node


def test_duration_ends_the_graph(graph_of_stand_ins, capfd):
    assert up.main(['single_camera', '--plain', '--duration', '0.5']) == 0
    output = capfd.readouterr().out
    assert output.startswith('[sage]')
    assert 'single_camera: 5 nodes, parameters from' in output
    assert '\x1b' not in output


def test_a_node_dead_for_good_ends_the_graph_with_one_line(graph_of_stand_ins, capfd):
    graph_of_stand_ins('encoder_node', 'raise SystemExit(2)', package='sage_perception')
    assert up.main(['dual_camera', '--plain', '--no-viewer']) == 1
    error = capfd.readouterr().err.splitlines()
    assert len(error) == 1
    assert error[0].startswith('sage up: stopped: cam')
    assert error[0].count('/encoder: configuration error') == 1


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_reaches_each_node_once(graph_of_stand_ins, number):
    start = (
        'import sys; sys.path.insert(0, sys.argv.pop(1)); from sage_perception.cli.up import main'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', f'{start}; sys.exit(main(sys.argv[1:]))', str(ROOT)]
        + ['single_camera', '--plain', '--no-viewer'],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    output = []
    while sum(line.endswith('ready\n') for line in output) < 4:
        output.append(process.stdout.readline())
        assert output[-1]
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == 4
    os.killpg(process.pid, number)
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait(30) == 0
    prefixes = sorted(line.split()[0] for line in rest.splitlines() if 'interrupts: 1' in line)
    assert prefixes == ['[arbiter]', '[cam0/attention]', '[cam0/camera]', '[cam0/encoder]']
    assert not any(child.is_running() for child in children)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['triple_camera'], "invalid choice: 'triple_camera'"),
        (['single_camera', '--sauce', 'x'], 'unrecognized arguments: --sauce x'),
        (['single_camera', '--params-file', 'absent.yaml'], 'absent.yaml: No such file'),
        (['single_camera', '--params-file', 'list.yaml'], 'list.yaml: want node names'),
        (['single_camera', '--params-file', 'broken.yaml'], 'broken.yaml: '),
        (['single_camera', '--source1', 'csi://1'], '--source1: single_camera has one camera'),
        (['dual_camera', '--camera1', 'cam0'], 'cameras with different names'),
        (['single_camera', '--camera1', 'back'], '--camera1: single_camera has one camera'),
        (['dual_camera', '--image0', 'front/image'], "'front/image' of cam0 must be absolute"),
        (['dual_camera', '--source0', 'csi://0', '--image0', '/a'], 'give one of them'),
        (['dual_camera', '--set', 'camera'], 'write NODE.PARAMETER=VALUE'),
        (['dual_camera', '--set', 'cam2/camera.source=x'], "no node 'cam2/camera'"),
        (['dual_camera', '--set', 'camera.source={a: b}'], 'not a number, a string'),
        (['dual_camera', '--robots', 'r1'], '--robots: dual_camera is one robot'),
        (['dual_camera', '--duration', '-1'], '--duration: -1 s is not positive'),
        (['dual_camera', '--namespace', 'no-dash'], "namespace 'no-dash' is not a ROS name"),
    ],
)
def test_a_mistake_gives_one_clear_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('list.yaml').write_text('- 1')
    Path('broken.yaml').write_text('a: [1')
    try:
        code = up.main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    error = capsys.readouterr().err
    assert code == 2
    assert message in error
    assert error.count('\n') == 1


def test_set_reaches_the_nodes_it_names_with_the_type_of_the_value(capsys):
    assignments = ['attention.max_crops=4', 'cam1/attention.decay=1e-3', 'viewer.cameras=[a, b]']
    options = [word for text in assignments for word in ('--set', text)]
    assert up.main(['dual_camera', '--dry-run', *options]) == 0
    words = capsys.readouterr().out.split('\n')
    assert words.count('    max_crops: 4') == 2
    assert words.count('    decay: 0.001') == 1
    assert words.count("    cameras: ['a', 'b']") == 1


def test_dry_run_of_a_fleet_names_every_robot(capsys):
    assert up.main(['fleet', '--robots', 'r1', 'r2', '--dry-run', '--source0', 'csi://0']) == 0
    output = capsys.readouterr().out
    for namespace in ('/r1/cam0', '/r1/cam1', '/r2/cam0', '/r2/cam1', '/r1', '/r2'):
        assert f'__ns:={namespace} ' in output
    assert output.count("source: 'csi://0'") == 2
