# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage regress`: an injected change is caught and named, an unchanged replay passes."""

import json
import re
import shutil

import numpy as np
import pytest

from sage_perception.cli.regress import main
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.regression.baseline import baseline_path, read_baseline
from sage_perception.regression.compare import worst
from sage_perception.regression.regress import Regression, regress, update_baseline
from sage_perception.regression.replay import replay_bag


@pytest.fixture(scope='module')
def baselines(golden, tmp_path_factory):
    """Return a function that writes the baseline of a golden bag once, and returns its file."""
    folder = tmp_path_factory.mktemp('baselines')

    def path(name, **options):
        file = folder / f'{name}.baseline.json'
        if not file.exists():
            update_baseline(Regression(golden(name), replay_bag(golden(name), **options)), file)
        return file

    return path


def names(found):
    """Return the streams and values of the worst differences."""
    return {(each.stream, each.what) for each in worst(found.differences)}


@pytest.mark.parametrize('name', ['dual', 'faults', 'restart'])
def test_unchanged_replay_passes(name, golden, baselines):
    found = regress(golden(name), baseline=baselines(name))
    assert (found.passed, found.differences, found.changes) == (True, [], [])


def test_swapped_model(golden, baselines):
    found = regress(golden('dual'), baseline=baselines('dual'), model='tinyvae_128')
    assert not found.passed
    assert {stream for stream, _ in names(found)} & {'cam0/lcts', 'cam1/lcts', 'code'}
    assert 'the model is not the one of the baseline' in found.changes


def test_other_error_rate(golden, baselines):
    overrides = {'arbiter': {'agreement_fpr': 0.0001}}
    found = regress(golden('dual'), baseline=baselines('dual'), overrides=overrides)
    assert ('cam0+cam1/agreement', 'agreements') in names(found)
    assert all(d.value < d.baseline for d in found.differences if d.what == 'agreements')
    assert found.changes == ['/arbiter agreement_fpr is 0.0001, the baseline has the default']


def test_shift_of_the_crops_by_one_pixel(golden, baselines, monkeypatch):
    baseline = baselines('single')
    original = CropEncoder.to_input

    def shifted(self, image):
        return np.roll(original(self, image), 1, axis=2)

    monkeypatch.setattr(CropEncoder, 'to_input', shifted)
    found = regress(golden('single'), baseline=baseline)
    assert ('cam0/lcts', 'latent') in names(found)
    assert {each.stream for each in found.differences}.isdisjoint({'cam0/crops'})
    assert found.changes == []


def test_dropped_camera(golden, baselines, filtered):
    found = regress(filtered(golden('dual'), '/cam1/'), baseline=baselines('dual'))
    lost = {each.stream for each in found.differences if each.what == 'stream'}
    assert {'cam1/crops', 'cam1/lcts', 'cam0+cam1/agreement'} <= lost
    assert all(each.value is None for each in found.differences if each.what == 'stream')
    assert 'the bag is not the one of the baseline' in found.changes


def test_removed_key(golden, baselines, signed_parameters, tmp_path):
    baseline = baselines('signed', overrides=signed_parameters)
    assert regress(golden('signed'), baseline=baseline, overrides=signed_parameters).passed
    keys = tmp_path / 'keys'
    shutil.copytree(signed_parameters['arbiter']['keys'], keys)
    file = keys / 'trusted.json'
    content = json.loads(file.read_text())
    trusted = content.get('entities', content)
    del trusted['cam1']
    file.write_text(json.dumps(content))
    keys.chmod(0o700)
    overrides = {'arbiter': {**signed_parameters['arbiter'], 'keys': str(keys)}}
    found = regress(golden('signed'), baseline=baseline, overrides=overrides)
    named = {(each.stream, each.what): each for each in found.differences}
    assert ('cam1/lcts', 'lcts') in names(found)
    assert named['cam1/lcts', 'rejected.no trusted key'].value > 5
    assert found.changes[0].startswith(f"/arbiter keys is '{keys}', the baseline has ")


# The command


@pytest.fixture
def bag(golden, filtered):
    """The first seconds of the bag `single`, with room for files beside it."""
    return filtered(golden('single'), seconds=2.5, name='walk')


def run(capsys, *argv):
    code = main([str(word) for word in argv])
    output = capsys.readouterr()
    assert 'Traceback' not in output.err
    return code, output.out, output.err


def test_command_updates_passes_and_fails(bag, capsys):
    code, _, err = run(capsys, bag)
    assert code == 2
    assert 'write a baseline with "sage regress --update' in err
    code, out, _ = run(capsys, bag, '--update')
    assert code == 0
    assert out.startswith(f'{baseline_path(bag)}: baseline of 25 frames of cam0 (images), 2.4 s')
    code, out, _ = run(capsys, bag)
    assert code == 0
    assert out.endswith('no difference from the baseline\nPASS\n')
    assert re.search(r'milliseconds per frame: decode [\d.]+, attend [\d.]+, encode', out)
    code, out, _ = run(capsys, bag, '--model', 'tinyvae_128')
    assert code == 1
    worst_lines = [line for line in out.splitlines() if line.startswith('  ')]
    assert len(worst_lines) == 5
    assert all(re.match(r'  [^,]+(, track [\d+]+)?, second \d+: .+ is ', w) for w in worst_lines)


def test_warnings_about_the_bag_and_the_parameter_file_are_printed(bag, tmp_path, capsys):
    (bag / 'metadata.yaml').unlink()
    params = tmp_path / 'params.yaml'
    params.write_text('/arbitr:\n  ros__parameters:\n    agreement_threshold: 0.9\n')
    code, _, err = run(capsys, bag, '--update', '--params', params)
    assert code == 0
    note = f'{bag} has no metadata.yaml; its files are read without it'
    assert note in err
    assert f'{params} has no parameters of /cam0/attention, /cam0/encoder, /arbiter' in err
    code, out, _ = run(capsys, bag, '--json')
    assert code == 0
    assert json.loads(out)['notes'] == [note]


def test_json_is_deterministic_but_for_the_speed(bag, capsys):
    run(capsys, bag, '--update')
    before = baseline_path(bag).read_bytes()
    run(capsys, bag, '--update')
    assert baseline_path(bag).read_bytes() == before
    reports = []
    for _ in range(2):
        code, out, _ = run(capsys, bag, '--model', 'tinyvae_128', '--json')
        assert code == 1
        reports.append(json.loads(out))
    assert reports[0].pop('realtime_factor') > 0
    assert reports[1].pop('realtime_factor') > 0
    assert reports[0] == reports[1]
    report = reports[0]
    assert report['verdict'] == 'fail'
    assert report['frames'] == 25
    assert report['hashes'].keys() == {'bag', 'model', 'parameters'}
    assert report['differences'][0].keys() == {
        *('stream', 'track', 'second', 'what', 'value', 'baseline')
    }


def test_tolerances_of_the_baseline_apply(bag, capsys):
    run(capsys, bag, '--update')
    path = baseline_path(bag)
    content = json.loads(path.read_text())
    for cell in content['streams']['cam0/crops']['1'].values():
        if 'x' in cell:
            cell['x'] += 3
    path.write_text(json.dumps(content))
    assert run(capsys, bag)[0] == 1
    content['tolerances']['pixels'] = 4.0
    path.write_text(json.dumps(content))
    assert run(capsys, bag)[0] == 0
    run(capsys, bag, '--update')
    assert read_baseline(path).tolerances.pixels == 4.0


TIMELINE = """\
version: 1
expectations:
  - rate: {stream: cam0/crops, at_least: 9.9, at_most: 10.1, start: 0.5, end: 2.0}
  - not_rejected: {camera: cam0, end: 2.0}
  - latency: {stream: cam0/crops, below: 0.5, end: 2.0}
"""


def test_timeline_beside_the_bag_is_judged_without_a_baseline(bag, capsys):
    path = bag.with_name('walk.timeline.yaml')
    path.write_text(TIMELINE)
    code, out, _ = run(capsys, bag)
    assert code == 0
    assert out.count('pass: ') == 2
    assert 'skip: the latency of cam0/crops is below 0.5 s' in out
    path.write_text(TIMELINE.replace('at_least: 9.9, ', '').replace('10.1', '9.0'))
    code, out, _ = run(capsys, bag, '--json')
    assert code == 1
    assert [each['passed'] for each in json.loads(out)['expectations']] == [False, True, None]


def test_timeline_that_cannot_be_judged_offline(bag, capsys):
    path = bag.with_name('walk.timeline.yaml')
    path.write_text('version: 1\nexpectations: [latency: {stream: fused, below: 1.0, end: 1.0}]\n')
    code, _, err = run(capsys, bag)
    assert code == 2
    assert 'none of its expectations can be judged offline' in err


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (['absent'], 'bag absent does not exist'),
        (['BAG', '--baseline', 'absent.json'], 'absent.json does not exist'),
        (['BAG', '--params', 'absent.yaml'], 'absent.yaml'),
        (['BAG', '--timeline', 'absent.yaml'], 'absent.yaml'),
        (['BAG', '--update', '--model', 'absent'], 'absent'),
        (['BAG', '--update', '--stage', 'lcts'], 'has no lcts of a camera'),
    ],
)
def test_what_cannot_be_judged_exits_with_2(bag, capsys, argv, message):
    code, out, err = run(capsys, *(str(bag) if word == 'BAG' else word for word in argv))
    assert (code, out) == (2, '')
    assert len(err.splitlines()) == 1
    assert message in err
