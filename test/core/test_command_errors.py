# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Invalid arguments and damaged files: the last line of each command, its exit code, no traceback.

A row is a command line, the exact line, and the exit code; `{tmp}` is the folder of the inputs.
"""

import os
import sqlite3
import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml

from sage_perception.cli import main as sage
from sage_perception.models.registry import available

MODELS = ', '.join(available())
UNREADABLE = 'is not an image that Pillow can read'
NEITHER = f'is neither a model of this package ({MODELS}) nor a folder'


@pytest.fixture(scope='module')
def inputs(tmp_path_factory):
    """Return a folder with an image, damaged files of every kind and empty ones."""
    folder = tmp_path_factory.mktemp('inputs')
    noise = np.random.default_rng(0).bytes(2000)
    cv2.imwrite(str(folder / 'ok.png'), np.zeros((96, 96, 3), np.uint8))
    for suffix in ('png', 'npz', 'npy', 'mcap', 'db3', 'bin'):
        (folder / f'noise.{suffix}').write_bytes(noise)
        (folder / f'empty.{suffix}').touch()
    (folder / 'cut.png').write_bytes((folder / 'ok.png').read_bytes()[:60])
    (folder / 'dir').mkdir()
    (folder / 'words.yaml').write_text('just words')
    (folder / 'empty.yaml').touch()
    bomb = ['a0: &a0 [x, x]', *(f'a{n}: &a{n} [*a{n - 1}, *a{n - 1}]' for n in range(1, 40))]
    (folder / 'bomb.yaml').write_text('\n'.join(bomb))
    (folder / 'deep.yaml').write_text('a: ' + '[' * 5000)
    (folder / 'tag.yaml').write_text('name: !!timestamp x')
    (folder / 'typo.yaml').write_text(yaml.safe_dump({'name': 'x', 'famly': 'tinyvae'}))
    model = folder / 'model'
    model.mkdir()
    (model / 'config.yaml').write_text('\n'.join(bomb))
    bag = folder / 'bag'
    bag.mkdir()
    (bag / 'bag_0.db3').write_bytes(noise)
    other = sqlite3.connect(folder / 'other.db')
    other.executescript('CREATE TABLE t (x); PRAGMA application_id = 7;')
    other.close()
    np.savez(folder / 'other.npz', x=np.zeros(3))
    np.save(folder / 'flat.npy', np.zeros(3, np.float32))
    return folder


TABLE = [
    # the name of a command, an option, a value
    ('upp', "sage: unknown command 'upp': did you mean up?"),
    ('trust_matrix', "sage: unknown command 'trust_matrix': did you mean trust-matrix?"),
    ('launch', "sage: unknown command 'launch' (see sage --help)"),
    (
        'keys lst',
        "sage keys: argument COMMAND: invalid choice: 'lst': did you mean list? "
        '(see sage keys --help)',
    ),
    (
        'irp show',
        "sage irp: argument action: invalid choice: 'show' (choose from list) "
        '(see sage irp --help)',
    ),
    (
        'up single_camra',
        "sage up: argument GRAPH: invalid choice: 'single_camra': did you mean single_camera? "
        '(see sage up --help)',
    ),
    (
        'memory list --entty a',
        'sage memory: unrecognized arguments: --entty a: did you mean --entity? '
        '(see sage memory --help)',
    ),
    (
        'memory list -n -4',
        "sage memory list: argument -n/--count: '-4' is not a whole number of 1 or more "
        '(see sage memory list --help)',
    ),
    (
        'context record {tmp} -o x.npz --runs 0',
        "sage context record: argument --runs: '0' is not a whole number of 1 or more "
        '(see sage context record --help)',
    ),
    (
        'replay x --rate 0',
        'sage replay: argument -r/--rate: 0 is not a positive number (see sage replay --help)',
    ),
    (
        'record /a -d nan',
        'sage record: argument -d/--duration: nan is not a positive number '
        '(see sage record --help)',
    ),
    (
        'encode {tmp}/ok.png',
        'sage encode: no output: use --print, -o FILE.npz, or both (see sage encode --help)',
    ),
    ('models tinyvae_12', f"sage models: 'tinyvae_12' {NEITHER}: did you mean tinyvae_128"),
    (
        'view {tmp}/bag --web --web-port 65536',
        "sage view: argument --web-port: '65536' is not a port, 1 to 65535 (see sage view --help)",
    ),
    # images
    ('encode {tmp}/none.png -o /proc/x.npz', 'sage encode: {tmp}/none.png: no such image'),
    ('encode {tmp}/dir --print', 'sage encode: {tmp}/dir is a folder: pass image files'),
    ('encode {tmp}/empty.png --print', f'sage encode: {{tmp}}/empty.png {UNREADABLE}'),
    ('encode {tmp}/noise.png --print', f'sage encode: {{tmp}}/noise.png {UNREADABLE}'),
    ('encode {tmp}/ok.png -o {tmp}/dir', 'sage encode: {tmp}/dir: Is a directory'),
    (
        'encode {tmp}/ok.png -o {tmp}/ok.png/x.npz',
        'sage encode: {tmp}/ok.png: Not a directory',
    ),
    (
        'reconstruct {tmp}/ok.png -o {tmp}/ok.png/x.png',
        'sage reconstruct: {tmp}/ok.png: Not a directory',
    ),
    (
        'reconstruct {tmp}/ok.png -o {tmp}/x.txt',
        'sage reconstruct: {tmp}/x.txt: unknown image format, use .png, .jpg or .webp',
    ),
    # latents
    ('decode {tmp}/none.npz -o x.png', 'sage decode: {tmp}/none.npz: No such file or directory'),
    (
        'decode {tmp}/noise.npz -o x.png',
        'sage decode: {tmp}/noise.npz is not a file of sage encode: not an .npz archive',
    ),
    (
        'codebook tinyvae {tmp}/none.yaml --latents a={tmp}/noise.npy',
        'sage codebook: argument --latents: {tmp}/noise.npy is not an .npy file of numbers '
        '(see sage codebook --help)',
    ),
    (
        'codebook tinyvae {tmp}/none.yaml --latents a={tmp}/flat.npy',
        'sage codebook: argument --latents: {tmp}/flat.npy holds float32 [3]; latents are '
        'float32 [N, D] (see sage codebook --help)',
    ),
    # configurations of training
    ('train {tmp}/none.yaml', 'sage train: {tmp}/none.yaml: no such file or directory'),
    ('train {tmp}/dir', 'sage train: {tmp}/dir: is a directory'),
    (
        'train {tmp}/empty.yaml',
        'sage train: {tmp}/empty.yaml: the file is empty, expected a mapping',
    ),
    (
        'train {tmp}/words.yaml',
        'sage train: {tmp}/words.yaml: the file holds a str, expected a mapping',
    ),
    (
        'train {tmp}/bomb.yaml',
        'sage train: {tmp}/bomb.yaml, line 2: alias *a0 is not allowed: repeat the value',
    ),
    ('train {tmp}/deep.yaml', 'sage train: {tmp}/deep.yaml, line 1: more than 32 nested levels'),
    ('train {tmp}/tag.yaml', 'sage train: {tmp}/tag.yaml: a tagged value does not match its tag'),
    (
        'train {tmp}/typo.yaml',
        'sage train: {tmp}/typo.yaml: famly is unknown: did you mean family?',
    ),
    (
        'calibrate-trust tinyvae {tmp}/deep.yaml',
        'sage calibrate-trust: {tmp}/deep.yaml, line 1: more than 32 nested levels',
    ),
    (
        'context record {tmp}/dir -o {tmp}/x.npz',
        'sage context: {tmp}/dir: no clip to record; add one, or images and --montages N',
    ),
    (
        'eval tinyvae --data {tmp}/dir',
        'sage eval: {tmp}/dir has no matching image, clip or bag',
    ),
    # models
    (
        'models {tmp}/dir',
        'sage models: {tmp}/dir/config.yaml is missing: {tmp}/dir is not a model folder',
    ),
    (
        'models {tmp}/model',
        'sage models: {tmp}/model/config.yaml is not a model configuration: '
        '{tmp}/model/config.yaml, line 2: alias *a0 is not allowed: repeat the value',
    ),
    ('align tinyvae nothing', f"sage align: 'nothing' {NEITHER}"),
    (
        'trust-matrix tinyvae -o {tmp}/x.xyz',
        'sage trust-matrix: --output {tmp}/x.xyz is not a file name that Matplotlib can write: '
        'use .png',
    ),
    # memories
    (
        'memory info --store {tmp}/empty.bin',
        'sage memory: {tmp}/empty.bin: there is no memory; memory_node creates one',
    ),
    (
        'memory info --store {tmp}/noise.bin',
        'sage memory: {tmp}/noise.bin cannot be opened as a memory: file is not a database',
    ),
    (
        'memory info --store {tmp}/other.db',
        'sage memory: {tmp}/other.db is a database of another application: name another file',
    ),
    (
        'memory info --store mysql://x',
        "sage memory: the URL scheme of the memory is 'mysql': use postgresql:// or a file path",
    ),
    # keys
    ('keys revoke cam0 --dir {tmp}/dir', 'sage keys: cam0 has no valid key: see sage keys list'),
    (
        'keys list --dir {tmp}/noise.bin',
        'sage keys: {tmp}/noise.bin/trusted.json cannot be read: Not a directory',
    ),
    # graphs
    (
        'up single_camera --params-file {tmp}/tag.yaml',
        'sage up: --params-file {tmp}/tag.yaml: a tagged value does not match its tag',
    ),
    (
        'up fleet --robots a a',
        "sage up: a fleet requires robots with distinct names; got ['a', 'a']",
    ),
]
WITH_ROS = [
    ('replay {tmp}/none', 'sage replay: bag {tmp}/none does not exist'),
    (
        'replay {tmp}/dir',
        'sage replay: {tmp}/dir is not a bag: pass a bag directory, an .mcap or a .db3 file',
    ),
    (
        'replay {tmp}/noise.db3',
        'sage replay: {tmp}/noise.db3 cannot be read as a bag: Cannot open database '
        '{tmp}/noise.db3: file is not a database',
    ),
    (
        'record /a -o {tmp}/dir',
        'sage record: {tmp}/dir already exists: use another name, or remove it',
    ),
    (
        'record --repair {tmp}/noise.mcap',
        'sage record: cannot repair {tmp}/noise.mcap: it is not an MCAP file',
    ),
    (
        'benchmark --footage {tmp}/noise.bin',
        'sage benchmark: {tmp}/noise.bin is not a readable video',
    ),
    (
        'up dual_camera --set atention.max_crops=4',
        "sage up: --set atention.max_crops=4: unknown node 'atention': did you mean attention",
    ),
    (
        'up dual_camera --set attention.max_crop=4',
        "sage up: --set attention.max_crop=4: attention has no parameter 'max_crop': did you mean "
        'max_crops',
    ),
]
SUGGESTIONS = ('did you mean tinyvae_128', 'did you mean attention', 'did you mean max_crops')


def last_line(arguments, capsys):
    """Run a command; return its exit code and its last line on stderr, which is the only error."""
    try:
        code = sage.main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    error = capsys.readouterr().err
    assert 'Traceback' not in error
    lines = [line for line in error.splitlines() if 'perceptual distance' not in line]
    assert len(lines) == 1, error
    return code, lines[-1]


@pytest.mark.parametrize(('arguments', 'line'), TABLE)
def test_last_line(inputs, arguments, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, last = last_line(arguments.format(tmp=inputs).split(), capsys)
    expected = line.format(tmp=inputs)
    if line.endswith(SUGGESTIONS):  # there may be further ones
        assert last.startswith(expected)
    else:
        assert last == expected
    assert code == 2
    assert not list(tmp_path.iterdir()), 'nothing was written'


@pytest.mark.parametrize(('arguments', 'line'), WITH_ROS)
def test_last_line_with_ros(inputs, arguments, line, capsys, tmp_path, monkeypatch):
    pytest.importorskip('rclpy')
    test_last_line(inputs, arguments, line, capsys, tmp_path, monkeypatch)


@pytest.mark.parametrize('name', sage.COMMANDS)
def test_help_has_an_example_and_fits_an_ascii_terminal(name):
    code = f"""
import os, sys
from sage_perception.cli.main import main
try:
    main([{name!r}, '--help'])
finally:
    heavy = {{'torch', 'rclpy', 'cv2', 'onnxruntime'}} & sys.modules.keys()
    print('heavy:', *sorted(heavy), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONIOENCODING': 'ascii'},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f'\n  sage {name}' in done.stdout
    assert done.stdout.isascii()
    assert 'torch' not in done.stderr
    assert 'rclpy' not in done.stderr


def test_a_full_disk_is_named():
    for arguments, name in ((['models'], 'sage models: '), (['--help'], 'sage: ')):
        with open('/dev/full', 'w') as full:
            done = subprocess.run(
                [sys.executable, '-m', 'sage_perception.cli.main', *arguments],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode != 0
        assert done.stderr.splitlines()[-1].startswith('sage')
        assert done.stderr.endswith('standard output: No space left on device\n')
        assert done.stderr.count('\n') == 1, name


def complete(line):
    """Return the completions of a command line, as argcomplete passes them to the shell."""
    code = (
        'import os, sys; os.dup2(1, 8); from sage_perception.cli.main import main; '
        'sys.argv = ["sage"]; main()'
    )
    environment = {
        **os.environ,
        '_ARGCOMPLETE': '1',
        '_ARGCOMPLETE_IFS': '\n',
        'COMP_LINE': line,
        'COMP_POINT': str(len(line)),
    }
    done = subprocess.run(
        [sys.executable, '-c', code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
        check=False,
    )
    return {word.strip() for word in done.stdout.split('\n')}


def test_shells_complete_commands_options_and_choices():
    pytest.importorskip('argcomplete')
    assert {'up'} <= complete('sage u') <= {'up', 'up '}
    assert {'--source', '--source0', '--source1'} <= complete('sage up --so')
    assert 'dual_camera' in complete('sage up du')
    assert {'create', 'list', 'trust', 'revoke'} <= complete('sage keys ')
    assert '--levels' in complete('sage codebook --le')


def test_recorder_offers_the_compressions_of_the_writer():
    pytest.importorskip('rclpy')
    from sage_perception.bags.writer import COMPRESSIONS
    from sage_perception.cli import record

    assert tuple(COMPRESSIONS) == record.COMPRESSIONS


def test_regress_offers_the_stages_of_the_replay():
    pytest.importorskip('rclpy')
    from sage_perception.cli import regress
    from sage_perception.regression.sources import Stage

    assert tuple(stage.value for stage in Stage) == regress.STAGES


def test_interrupted_command_ends_quietly(monkeypatch, capsys):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr('sage_perception.cli.models.main', interrupted)
    assert sage.main(['models']) == sage.EXIT_INTERRUPTED == 130
    assert capsys.readouterr() == ('', '')
