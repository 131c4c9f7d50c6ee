# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The encoder node: equality with the pipeline, refinement, and residuals."""

import sys

import numpy as np
import pytest
from sage_msgs.msg import Budget, BudgetShare, Crop, CropArray, LCTArray
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from sage_perception import models
from sage_perception.core.latent import HaltReason
from sage_perception.irp.ledger import atp_of
from sage_perception.irp.orchestrator import Outcome
from sage_perception.irp.residual import from_residual
from sage_perception.memory import feed
from sage_perception.nodes.compressor_node import CompressorNode
from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.nodes.memory_node import MemoryNode
from sage_perception.pipeline.camera import CameraPipeline
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.ros.conversions.crops import crop_to_msg
from sage_perception.ros.conversions.latents import latent_from_msg
from sage_perception.ros.conversions.lcts import lct_from_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.images import image_to_msg, rgb_from_msg
from sage_perception.training.contexts import recording
from sage_perception.trust.security.identity import Identity
from sage_perception.vision.camera_health import TRUST, Fault
from sage_perception.vision.synthetic import SyntheticWorld

SCORES = 0.75, 0.25


@pytest.fixture(scope='module')
def codec():
    return models.load('tinyvae', backend='onnxruntime')


@pytest.fixture(scope='module')
def images():
    """Return two crops, uint8 RGB `[2, 64, 64, 3]`."""
    frame = SyntheticWorld().render(1.0)[..., ::-1]
    return np.stack([frame[60:124, 40:104], frame[120:184, 200:264]])


def frame_of(images, tracks=(1, 2), second=1):
    header = Header(stamp=stamp_to_msg(second * 10**9), frame_id='camera')
    crops = [
        Crop(
            roi=RegionOfInterest(width=64, height=64),
            score=score,
            track_id=track,
            image=image_to_msg(image, 'rgb8', header),
        )
        for image, score, track in zip(images, SCORES, tracks, strict=True)
    ]
    return CropArray(header=header, source_width=640, source_height=480, crops=crops)


def to_model(images):
    return images.transpose(0, 3, 1, 2).astype(np.float32) / 255


def test_lcts_of_a_clip_equal_those_of_the_pipeline(ros, codec):
    """Recorded training contexts are made of the LCTs that the node publishes."""
    pipeline = CameraPipeline(CropEncoder(codec), Identity('cam0'))
    lcts = ros.collect(LCTArray, 'lcts')
    publisher = ros.node.create_publisher(CropArray, 'crops', 10)
    ros.make(EncoderNode, '-p', 'entity_id:=cam0', '-p', 'encoding:=float32')
    ros.wait_for(publisher.get_subscription_count, 'a subscriber')
    ros.wait_for(lambda: ros.node.count_publishers('lcts'), 'the publisher')
    world, expected = SyntheticWorld(seed=1, objects=2), []
    for number in range(60):
        frame = pipeline.process(world.render(number / 15, number), 10**9 + number * 10**9 // 15)
        if not frame.crops or len(expected) == 8:
            continue
        header = Header(stamp=stamp_to_msg(frame.stamp_ns))
        crops = [crop_to_msg(crop, header) for crop in frame.crops]
        publisher.publish(CropArray(header=header, crops=crops, fault=int(frame.fault)))
        expected.append(frame.lcts)
        ros.wait_for(lambda: len(lcts) == len(expected), 'the LCTs')
    assert sum(map(len, expected)) >= 8
    for array, frame in zip(lcts, expected, strict=True):
        for message, own in zip(array.lcts, frame, strict=True):
            lct = lct_from_msg(message)
            assert np.array_equal(lct.latent.mean, own.latent.mean)
            assert np.array_equal(lct.latent.log_var, own.latent.log_var)
            assert (lct.latent.roi, lct.latent.track_id) == (own.latent.roi, own.latent.track_id)
            assert lct.entity_id == own.entity_id
            assert lct.stamp_ns == own.stamp_ns
            assert lct.trust == pytest.approx(own.trust, rel=1e-6)
            published, telemetry = lct.latent.telemetry, own.latent.telemetry
            assert published.trust == pytest.approx(telemetry.trust, rel=1e-6)
            assert published.reconstruction_error == pytest.approx(
                telemetry.reconstruction_error, rel=1e-6
            )


@pytest.mark.parametrize('fault', [Fault.NONE, Fault.CHANNELS, Fault.FROZEN])
def test_trust_is_scaled_by_the_fault_of_the_camera_as_in_the_pipeline(ros, codec, images, fault):
    encoder = CropEncoder(codec)
    inputs = np.stack([encoder.to_input(image) for image in images])
    own = encoder.encode(inputs, [None, None], [1, 2], SCORES, TRUST[fault]).latents
    lcts = ros.collect(LCTArray, 'lcts')
    publisher = ros.node.create_publisher(CropArray, 'crops', 10)
    ros.make(EncoderNode, '-p', 'encoding:=float32')
    ros.wait_for(publisher.get_subscription_count, 'a subscriber')
    frame = frame_of(images)
    frame.fault = int(fault)
    publisher.publish(frame)
    published = ros.wait_for(lambda: lcts and lcts[0].lcts, 'the LCTs')
    trusts = [latent.telemetry.trust for latent in own]
    assert [lct.trust for lct in published] == pytest.approx(trusts, rel=1e-6)


def test_recordings_use_the_default_parameters_of_the_nodes():
    memory = {parameter.name: parameter.default for parameter in MemoryNode.PARAMETERS}
    assert memory['threshold'] == feed.THRESHOLD
    assert memory['min_novelty'] == feed.MIN_NOVELTY
    schedule = feed.Schedule()
    assert memory['rate'] == schedule.observe_rate
    assert memory['recall_rate'] == schedule.recall_rate
    assert memory['recall_count'] == schedule.recall_count
    assert memory['min_recall_age_s'] == schedule.min_recall_age_s
    compressor = {parameter.name: parameter.default for parameter in CompressorNode.PARAMETERS}
    assert 1 / compressor['rate'] == recording.PERIOD_S
    encoder = {parameter.name: parameter.default for parameter in EncoderNode.PARAMETERS}
    assert (encoder['encoding'], encoder['refine_budget_ms']) == ('auto', 0.0)


class Refinement:
    """An encoder node with a refinement budget, and its results."""

    def __init__(self, ros, images):
        self.ros, self.images = ros, images
        self.lcts, self.budgets = ros.collect(LCTArray, 'lcts'), ros.collect(Budget, 'budget')
        self.crops = ros.node.create_publisher(CropArray, 'crops', 10)
        ros.make(EncoderNode, '-p', 'refine_budget_ms:=1000.0', '-p', 'encoding:=float32')
        ros.wait_for(self.crops.get_subscription_count, 'a subscriber')
        ros.wait_for(lambda: ros.node.count_publishers('budget'), 'the budget')

    def refine(self, tracks):
        """Send frames until one was refined in time, on a busy machine; return its latents."""
        lcts, budgets = self.lcts, self.budgets
        for _ in range(10):
            seen = len(lcts)
            self.crops.publish(frame_of(self.images, tracks, second=seen + 1))
            self.ros.wait_for(
                lambda seen=seen: len(lcts) > seen and len(budgets) > seen, 'a frame'
            )
            if all(share.outcome == BudgetShare.OUTCOME_DONE for share in budgets[-1].shares):
                return [latent_from_msg(lct.latent) for lct in lcts[-1].lcts]
            tracks = [track and track + 10 for track in tracks]
        pytest.fail('none of ten frames was refined in time')


def test_refinement_lowers_the_reconstruction_error_within_the_budget(ros, codec, images):
    refinement = Refinement(ros, images)
    latents = refinement.refine([1, 2])
    x = to_model(images)
    before = np.square(codec.decode(codec.encode(x)) - x).mean(axis=(1, 2, 3))
    after = np.square(codec.decode(np.stack([z.mean for z in latents])) - x).mean(axis=(1, 2, 3))
    assert (after < before).all()
    for latent, guessed, error in zip(latents, before, after, strict=True):
        telemetry = latent.telemetry
        assert telemetry.iterations == len(telemetry.energy_trajectory) > 1
        assert telemetry.energy_trajectory[0] == pytest.approx(guessed, rel=1e-3)
        assert telemetry.reconstruction_error == pytest.approx(error, rel=1e-3)
        assert telemetry.halt_reason in (HaltReason.CONVERGED, HaltReason.BUDGET)
        assert 0 < telemetry.trust <= 1
        assert telemetry.time_s > 0

    budget = refinement.budgets[-1]
    assert budget.header == refinement.lcts[-1].header
    assert budget.total == atp_of(1000)
    assert sum(share.granted for share in budget.shares) == budget.total
    assert [share.track_id for share in budget.shares] == [z.track_id for z in latents]
    # Without an earlier error the shares depend on salience alone.
    assert [share.granted / budget.total for share in budget.shares] == pytest.approx(SCORES)
    for share, latent in zip(budget.shares, latents, strict=True):
        assert 0 < share.spent <= share.granted + share.extra
        assert share.spent <= latent.telemetry.budget_spent + 2

    # The second time there is nothing to gain for a refinement that converged.
    again = refinement.refine([latent.track_id for latent in latents])
    for latent, first in zip(again, latents, strict=True):
        if first.telemetry.converged and latent.track_id == first.track_id:
            assert latent.telemetry.iterations == 1


def test_residuals_restore_the_crops_and_replace_the_latents(ros, codec, images):
    lcts, residuals = ros.collect(LCTArray, 'lcts'), ros.collect(CropArray, 'residuals')
    crops = ros.node.create_publisher(CropArray, 'crops', 10)
    ros.make(EncoderNode, '-p', 'output:=residuals', '-p', 'encoding:=float32')
    ros.wait_for(crops.get_subscription_count, 'a subscriber')
    ros.wait_for(lambda: ros.node.count_publishers('residuals'), 'residuals')
    sent = frame_of(images)
    crops.publish(sent)
    received = ros.wait_for(lambda: residuals, 'a frame')[0]
    assert received.header == sent.header
    assert [(c.roi, c.score, c.track_id) for c in received.crops] == [
        (c.roi, c.score, c.track_id) for c in sent.crops
    ]
    decoded = codec.decode(codec.encode(to_model(images)))
    restored = from_residual(
        np.stack([rgb_from_msg(crop.image) for crop in received.crops]), decoded
    )
    assert np.abs(restored - to_model(images)).max() < 1 / 127
    assert not lcts


def test_rejects_an_unreadable_crop_and_encodes_the_others(ros, images):
    lcts = ros.collect(LCTArray, 'lcts')
    crops = ros.node.create_publisher(CropArray, 'crops', 10)
    ros.make(EncoderNode)
    ros.wait_for(crops.get_subscription_count, 'a subscriber')
    ros.wait_for(lambda: ros.node.count_publishers('lcts'), 'the publisher')
    frame = frame_of(images)
    frame.crops[0].image.encoding = 'nonsense'
    crops.publish(frame)
    crops.publish(frame_of(images, second=2))
    first, second = ros.wait_for(lambda: len(lcts) == 2 and lcts, 'both frames')
    assert [lct.latent.track_id for lct in first.lcts] == [2]
    assert [lct.latent.track_id for lct in second.lcts] == [1, 2]


def test_refinement_without_torch_is_rejected_with_the_fix(ros, monkeypatch):
    monkeypatch.setitem(sys.modules, 'sage_perception.models.energy', None)
    with pytest.raises(ConfigurationError) as rejected:
        ros.make(EncoderNode, '-p', 'refine_budget_ms:=5.0')
    assert "parameter 'refine_budget_ms': refinement needs torch" in str(rejected.value)


def test_outcomes_of_messages_equal_those_of_the_core():
    for outcome in Outcome:
        assert getattr(BudgetShare, f'OUTCOME_{outcome.name}') == outcome
