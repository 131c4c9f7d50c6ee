# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage up` with stub processes as nodes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from stubs import ROOT, STEADY

from sage_perception.cli import up


@pytest.fixture
def stub_graph(write_node, tmp_path, monkeypatch):
    """Replace the nodes of the suite by stub processes."""
    for kind in ('camera', 'attention', 'encoder', 'arbiter', 'viewer'):
        write_node(f'{kind}_node', STEADY, package='sage_perception')
    monkeypatch.chdir(tmp_path)  # `python -m` looks there first
    return write_node


def test_stops_after_the_duration(stub_graph, capfd):
    assert up.main(['single_camera', '--plain', '--duration', '0.5']) == 0
    output = capfd.readouterr().out
    assert output.startswith('[sage]')
    assert 'single_camera: 5 nodes, parameters from' in output
    assert '\x1b' not in output


def test_failed_node_stops_the_graph_with_one_line(stub_graph, capfd):
    stub_graph('encoder_node', 'raise SystemExit(2)', package='sage_perception')
    assert up.main(['dual_camera', '--plain', '--no-viewer', '--duration', '60']) == 1
    error = capfd.readouterr().err.splitlines()
    assert len(error) == 1
    assert error[0].startswith('sage up: cam')
    assert error[0].endswith('/encoder: configuration error (exit code 2)')


def test_cause_of_a_failure_is_the_last_line(stub_graph, capfd):
    cause = "parameter 'source': source foo://x: unknown scheme foo"
    code = f'import sys; print("error:", {cause!r}, file=sys.stderr); sys.exit(2)'
    stub_graph('camera_node', code, package='sage_perception')
    assert up.main(['single_camera', '--plain', '--duration', '60']) == 1
    output, error = capfd.readouterr()
    assert 'Traceback' not in output
    assert output.count('unknown scheme') == 1
    assert error == f'sage up: cam0/camera: configuration error (exit code 2): {cause}\n'


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signal_to_the_process_group_reaches_each_node_once(stub_graph, number):
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
        (
            ['single_camera', '--params-file', 'list.yaml'],
            'list.yaml: the file holds a list, expected a mapping',
        ),
        (
            ['single_camera', '--params-file', 'flat.yaml'],
            'flat.yaml: each node name must contain',
        ),
        (['single_camera', '--params-file', 'deep.yaml'], 'more than 32 nested levels'),
        (['single_camera', '--params-file', 'tag.yaml'], 'tag.yaml: a tagged value'),
        (['single_camera', '--params-file', 'alias.yaml'], 'alias *a is not allowed'),
        (['single_camera', '--params-file', 'binary.yaml'], 'binary.yaml: '),
        (['single_camera', '--params-file', '.'], '.: Is a directory'),
        (['single_camera', '--params-file', 'broken.yaml'], 'broken.yaml, line 1: '),
        (['single_camera', '--source1', 'csi://1'], '--source1: single_camera has one camera'),
        (['dual_camera', '--source', 'csi://0'], 'use --source0 and --source1'),
        (['single_camera', '--source', 'a', '--source0', 'b'], 'are the same option'),
        (['singel_camera'], 'did you mean single_camera?'),
        (['single_camera', '--sorce', 'x'], 'did you mean --source'),
        (['dual_camera', '--set', 'atention.max_crops=4'], 'did you mean attention'),
        (
            ['dual_camera', '--set', 'attention.max_crop=4'],
            "attention has no parameter 'max_crop': did you mean max_crops",
        ),
        (['dual_camera', '--camera1', 'cam0'], 'cameras with distinct names'),
        (['single_camera', '--camera1', 'back'], '--camera1: single_camera has one camera'),
        (['dual_camera', '--image0', 'front/image'], "'front/image' of cam0 must be absolute"),
        (['dual_camera', '--source0', 'csi://0', '--image0', '/a'], 'give only one'),
        (['dual_camera', '--set', 'camera'], 'use the form NODE.PARAMETER=VALUE'),
        (['dual_camera', '--set', 'cam2/camera.source=x'], "unknown node 'cam2/camera'"),
        (['dual_camera', '--set', 'camera.source={a: b}'], 'must be a number, a string'),
        (['dual_camera', '--set', 'camera.source=!!timestamp x'], 'must be a number, a string'),
        (['dual_camera', '--set', 'camera.source=' + '[' * 5000], 'must be a number, a string'),
        (['dual_camera', '--set', 'camera.source=[&a [b], *a]'], 'must be a number, a string'),
        (['dual_camera', '--robots', 'r1'], '--robots: dual_camera has one robot'),
        (
            ['dual_camera', '--duration', '-1'],
            '--duration: -1 is not a positive number',
        ),
        (['dual_camera', '--namespace', 'no-dash'], "namespace 'no-dash' is not valid"),
    ],
)
def test_reports_invalid_arguments_in_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('list.yaml').write_text('- 1')
    Path('broken.yaml').write_text('a: [1')
    Path('flat.yaml').write_text('max_crops: 4')
    Path('deep.yaml').write_text('a: ' + '[' * 5000)
    Path('tag.yaml').write_text('/**:\n  ros__parameters:\n    encoding: !!timestamp x\n')
    Path('alias.yaml').write_text('/**: &a {ros__parameters: {b: 1}}\n/c: *a\n')
    Path('binary.yaml').write_bytes(b'a: \xff\xfe\x00')
    try:
        code = up.main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    error = capsys.readouterr().err
    assert code == 2
    assert message in error
    assert error.count('\n') == 1


def test_set_assigns_typed_values_to_the_named_nodes(capsys):
    assignments = [
        'attention.max_crops=4',
        'cam1/attention.inhibition=1e-3',
        'viewer.cameras=[a, b]',
    ]
    options = [word for text in assignments for word in ('--set', text)]
    assert up.main(['dual_camera', '--dry-run', *options]) == 0
    words = capsys.readouterr().out.split('\n')
    assert words.count('    max_crops: 4') == 2
    assert words.count('    inhibition: 0.001') == 1
    assert words.count("    cameras: ['a', 'b']") == 1


@pytest.mark.parametrize(
    'url',
    [
        'postgresql://robot:secret@host/fleet',
        'postgresql://host/fleet?user=robot&password=secret',
        '[rtsp://robot:secret@host/stream]',
    ],
)
def test_passwords_are_not_printed(url, capsys):
    assert up.main(['single_camera', '--memory', '--dry-run', '--set', f'memory.store={url}']) == 0
    output = capsys.readouterr().out
    assert '://host/' in output
    assert 'secret' not in output
    assert up.main(['single_camera', '--dry-run', '--set', f'memory.store={url}']) == 2
    error = capsys.readouterr().err
    assert "unknown node 'memory'" in error
    assert 'secret' not in error


def test_dry_run_of_a_fleet_lists_every_robot(capsys):
    assert up.main(['fleet', '--robots', 'r1', 'r2', '--dry-run', '--source0', 'csi://0']) == 0
    output = capsys.readouterr().out
    for namespace in ('/r1/cam0', '/r1/cam1', '/r2/cam0', '/r2/cam1', '/r1', '/r2'):
        assert f'__ns:={namespace} ' in output
    assert output.count("source: 'csi://0'") == 2
    assert up.main(['fleet', '--robots', '/r1', 'r2/', '--dry-run', '--source0', 'csi://0']) == 0
    assert capsys.readouterr().out == output
    assert "frame_id: 'r1/cam0_optical_frame'" in output


def test_source_is_that_of_the_only_camera(capsys):
    assert up.main(['single_camera', '--dry-run', '--source', 'csi://0']) == 0
    assert "source: 'csi://0'" in capsys.readouterr().out


def test_foxglove_bridge_is_a_process_with_its_port(tmp_path, monkeypatch, capsys):
    marker = tmp_path / 'share/ament_index/resource_index/packages/foxglove_bridge'
    program = tmp_path / 'lib/foxglove_bridge/foxglove_bridge'
    for path in (marker, program):
        path.parent.mkdir(parents=True)
        path.touch()
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/nowhere:{tmp_path}')
    words = ['single_camera', '--dry-run', '--namespace', 'robot1', '--use-sim-time']
    assert up.main([*words, '--foxglove']) == 2  # the program cannot be executed
    error = capsys.readouterr().err
    assert error.startswith('sage up: --foxglove: foxglove_bridge is not installed: sudo apt inst')
    assert error.count('\n') == 1
    program.chmod(0o755)
    assert up.main([*words, '--foxglove', '9000']) == 0
    lines = capsys.readouterr().out.splitlines()
    (number,) = [n for n, line in enumerate(lines) if line.startswith(str(program))]
    assert '__ns:=/robot1' in lines[number]
    assert lines[number + 1 : number + 3] == ['    port: 9000', '    use_sim_time: True']
