# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The offline replay of golden bags: what each of them was made to show."""

import shutil

import cv2
import numpy as np
import pytest
from golden import make_golden_bags

from sage_perception.bags.files import BagError
from sage_perception.bags.reader import open_bag
from sage_perception.models import load_crop_codec
from sage_perception.pipeline.camera import CameraPipeline
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.regression import replay as replay_module
from sage_perception.regression.compare import compare
from sage_perception.regression.events import (
    AgreementEvent,
    FrameEvent,
    FusedEvent,
    LctEvent,
    MemoryEvent,
)
from sage_perception.regression.replay import replay_bag
from sage_perception.regression.sources import Stage
from sage_perception.regression.summary import Summary
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.vision.camera_health import Fault

BAGS = list(make_golden_bags.BAGS)
DATA = make_golden_bags.ROOT / 'test' / 'data' / 'bags'


@pytest.mark.parametrize('name', BAGS)
def test_golden_bag_is_small_and_a_function_of_its_seed(name, golden, tmp_path):
    bag = golden(name)
    assert sum(file.stat().st_size for file in bag.iterdir()) < 2e6
    make_golden_bags.BAGS[name](tmp_path / name)
    [first], [second] = (path.glob('*.mcap') for path in (bag, tmp_path / name))
    assert first.read_bytes() == second.read_bytes()


def test_a_replay_that_fails_restores_the_settings_of_the_process(golden):
    def fail(event):
        during.append(cv2.getNumThreads())
        raise RuntimeError('an observer failed')

    during = []
    cv2.setNumThreads(2)
    with pytest.raises(RuntimeError, match='an observer failed'):
        replay_bag(golden('single'), codes=False, observers=[fail])
    assert cv2.getNumThreads() == 2
    assert during == [replay_module.OPENCV_THREADS]


def test_events_and_summary_agree(golden):
    events = []
    result = replay_bag(golden('dual'), observers=[events.append])
    frames = [event for event in events if isinstance(event, FrameEvent)]
    assert result.frames == len(frames) == 120
    assert result.stages == {'cam0': 'images', 'cam1': 'images'}
    for camera in ('cam0', 'cam1'):
        own = [event for event in frames if event.camera == camera]
        assert result.summary.total(f'{camera}/crops', 'frames') == len(own) == 60
        regions = sum(len(event.regions) for event in own)
        assert result.summary.total(f'{camera}/lcts', 'lcts') == regions > 100
    fused = [event for event in events if isinstance(event, FusedEvent)]
    # The moment of the last frame is not complete at the end of the bag.
    assert result.summary.total('fused', 'frames') == len(fused) >= 59
    assert any(o.stored for e in events if isinstance(e, MemoryEvent) for o in e.observations)
    assert result.summary.total('cam0+cam1/agreement', 'agreements') > 50
    assert result.summary.total('code', 'frames') >= 25
    assert set(result.stages_ms) == {'decode', 'attend', 'encode', 'arbitrate'}
    with_crops = next(event for event in frames if event.regions)
    assert with_crops.image.shape == (240, 320, 3)
    assert with_crops.inputs.shape[0] == len(with_crops.regions)


def test_two_replays_are_identical(golden):
    first, second = (replay_bag(golden('dual')).summary for _ in range(2))
    assert first == second


def test_replay_of_images_equals_the_pipeline_of_the_nodes(golden):
    """`test/ros` compares `CameraPipeline` with attention_node and encoder_node."""
    events = []
    exact = {'encoder': {'encoding': 'float32'}}
    replay_bag(golden('single'), codes=False, overrides=exact, observers=[events.append])
    pipeline = CameraPipeline(CropEncoder(load_crop_codec('tinyvae')), Identity('cam0'))
    frames = [event for event in events if isinstance(event, FrameEvent)]
    judged = [event for event in events if isinstance(event, LctEvent)]
    for frame, lcts in zip(frames, judged, strict=True):
        own = pipeline.process(frame.image, frame.stamp_ns)
        assert own.fault == frame.fault
        assert [(c.track_id, c.roi, c.score) for c in own.crops] == list(map(tuple, frame.regions))
        for ours, theirs in zip(own.lcts, lcts.accepted, strict=True):
            assert ours.trust == theirs.trust
            assert np.array_equal(ours.latent.mean, theirs.latent.mean)


def test_faults_are_raised_on_cue_and_cleared(golden):
    events = []
    summary = replay_bag(golden('faults'), codes=False, observers=[events.append]).summary
    raised = {}
    for event in events:
        if isinstance(event, FrameEvent) and event.fault > Fault.NONE:
            raised.setdefault(event.fault.name, (event.stamp_ns - make_golden_bags.START_NS) / 1e9)
    assert raised == {
        'COVERED': pytest.approx(2.2),
        'FROZEN': pytest.approx(4.3, abs=0.11),
        'SATURATED': pytest.approx(6.2),
    }
    assert 'fault.covered' not in summary.second('cam0/crops', 1)['']
    reputations = dict(zip(*summary.series('cam0/trust', 'reputation'), strict=True))
    assert reputations[6] < 0.2 < reputations[3]


def test_foreign_model_is_calibrated_by_its_probe_latents(golden):
    summary = replay_bag(golden('foreign'), codes=False).summary
    assert summary.total('cam1/lcts', 'lcts') > 50
    _, trusts = summary.series('cam1/trust', 'compression_trust')
    assert 0.5 < trusts[0] < 1
    assert summary.total('cam0+cam1/agreement', 'agreements') > 20


def test_attacker_is_rejected_and_lowers_no_reputation(golden, signed_parameters):
    summary = replay_bag(golden('signed'), codes=False, overrides=signed_parameters).summary
    cells = [cells[''] for _, cells in summary.seconds('cam0/lcts')]
    reasons = {what for cell in cells for what in cell if what.startswith('rejected.')}
    assert {
        f'rejected.{RejectionReason.REPLAYED.value}',
        f'rejected.{RejectionReason.BAD_SIGNATURE.value}',
        f'rejected.{RejectionReason.UNSIGNED.value}',
    } <= reasons
    # From 2 s on, with LCTs of .4 s before.
    assert all('rejected' not in ''.join(cell) for cell in cells[:1])
    assert summary.total('cam1/lcts', 'lcts') > 100
    reputations = summary.series('cam0/trust', 'reputation')[1]
    assert reputations == sorted(reputations)


def test_restarted_encoder_is_accepted(golden):
    summary = replay_bag(golden('restart'), codes=False).summary
    seconds = dict(zip(*summary.series('cam0/lcts', 'lcts'), strict=True))
    assert min(seconds[second] for second in (1, 2, 4)) > 5
    assert not [w for _, c in summary.seconds('cam0/lcts') for w in c[''] if 'rejected' in w]


def test_replay_goes_on_after_a_backward_clock_jump(golden):
    summary = replay_bag(golden('clock_jump')).summary
    for camera in ('cam0', 'cam1'):
        seconds, frames = summary.series(f'{camera}/crops', 'frames')
        assert seconds == list(range(6))
        assert sum(frames) >= 58
        assert summary.second(f'{camera}/lcts', 5)['']['lcts'] > 5
        assert summary.second(f'{camera}/memory', 5)['']['observed'] > 0
    assert summary.second('cam0+cam1/agreement', 5)['']['agreements'] > 0
    assert summary.second('code', 5)['']['frames'] >= 4


def test_released_bag_is_replayed_from_each_recorded_stage():
    bag = make_golden_bags.ROOT / 'test' / 'data' / 'bags' / 'sage_msgs_0_1'
    keys = {'arbiter': {'cameras': ['cam0', 'cam1']}}
    lcts = replay_bag(bag, stage=Stage.LCTS, overrides=keys, codes=False)
    assert set(lcts.stages.values()) == {'lcts'}
    assert lcts.summary.total('cam0+cam1/agreement', 'agreements') > 20
    crops = replay_bag(bag, codes=False)
    assert set(crops.stages.values()) == {'crops'}
    assert crops.summary.total('cam1/lcts', 'lcts') == 9
    with pytest.raises(BagError, match='has no images of a camera'):
        replay_bag(bag, stage=Stage.IMAGES)


@pytest.mark.parametrize('version', ['0_1', '0_2', '0_3'])
def test_signed_lcts_of_every_release_are_accepted(version, tmp_path):
    bag = DATA / f'sage_msgs_{version}'
    keys = tmp_path / 'keys'
    keys.mkdir(mode=0o700)
    shutil.copy(DATA / f'sage_msgs_{version}_trusted.json', keys / 'trusted.json')
    with open_bag(bag) as opened:
        notes = {opened.check(topic).partition('earlier release: ')[2] for topic in opened.topics}
        assert notes <= {'', 'its messages are converted'}
    overrides = {'arbiter': {'keys': str(keys), 'require_signatures': True}}
    events = []
    replay_bag(bag, stage=Stage.LCTS, overrides=overrides, codes=False, observers=[events.append])
    judged = [event for event in events if isinstance(event, LctEvent)]
    assert all(not event.rejected for event in judged)
    assert sum(len(event.accepted) for event in judged) > 20
    assert sum(sum(p.agrees for p in e.pairs) for e in events if isinstance(e, AgreementEvent)) > 5
    crops = replay_bag(bag, codes=False)
    assert set(crops.stages.values()) == {'crops'}


def test_other_parameters_and_cameras_are_resolved_as_nodes_do(golden, tmp_path):
    params = tmp_path / 'params.yaml'
    params.write_text(
        '/**/encoder: {ros__parameters: {encoding: int8}}\n'
        '/cam1/attention: {ros__parameters: {max_crops: 1}}\n'
        '/arbiter: {ros__parameters: {cameras: [cam1, cam0], unknown: 3}}\n'
    )
    result = replay_bag(
        golden('dual'), parameters=replay_module.ParameterFile(params), codes=False
    )
    assert result.notes == ["/arbiter: ignoring unknown parameter 'unknown'"]
    _, lcts = result.summary.series('cam1/lcts', 'lcts')
    assert max(lcts) <= 10
    assert result.summary.series('cam1/lcts', 'bytes')[1][-1] == 64
    assert 'cam1+cam0/agreement' in result.summary.streams
    assert result.summary.settings['/cam1/attention'] == {'max_crops': 1}


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        ({'arbiter': {'cameras': ['cam7']}}, "the bag has no camera 'cam7'; it has cam0"),
        ({'encoder': {'model': 'absent'}}, 'absent'),
        ({'encoder': {'encoding': 'vq', 'model': 'tinyvae_128'}}, 'vq needs a codebook'),
        ({'attention': {'max_crops': 99}}, "'max_crops': 99"),
        ({'arbiter': {'camera_geometry': 'cam0=/absent'}}, '/absent'),
    ],
)
def test_wrong_parameter_is_one_line(golden, overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        replay_bag(golden('single'), overrides=overrides)
    assert '\n' not in str(error.value)


def test_cameras_run_in_threads_with_the_result_of_one_thread(golden, monkeypatch):
    threaded = replay_bag(golden('dual'), codes=False).summary
    monkeypatch.setattr(replay_module, 'MAX_PENDING', 0)
    assert replay_bag(golden('dual'), codes=False).summary == threaded


def test_other_thread_counts_are_within_the_tolerances(golden, filtered, monkeypatch):
    bag = filtered(golden('moving_camera'), seconds=2.5)
    summaries: list[Summary] = []
    for threads in (1, 4):
        monkeypatch.setattr(replay_module, 'OPENCV_THREADS', threads)
        summaries.append(replay_bag(bag, codes=False).summary)
    assert compare(*summaries) == []
