# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""An encoder that refines its latents, and one that tells what they do not say."""

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
from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.ros.conversions.latents import latent_from_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.images import to_message, to_rgb
from sage_perception.vision.synthetic import SyntheticWorld

SCORES = 0.75, 0.25


@pytest.fixture(scope='module')
def codec():
    return models.load('tinyvae', backend='onnxruntime')


@pytest.fixture(scope='module')
def pictures():
    """Return two crops, uint8 RGB `[2, 64, 64, 3]`."""
    frame = SyntheticWorld().render(1.0)[..., ::-1]
    return np.stack([frame[60:124, 40:104], frame[120:184, 200:264]])


def frame_of(pictures, tracks=(1, 2), second=1):
    header = Header(stamp=stamp_to_msg(second * 10**9), frame_id='camera')
    crops = [
        Crop(
            roi=RegionOfInterest(width=64, height=64),
            score=score,
            track_id=track,
            image=to_message(picture, 'rgb8', header),
        )
        for picture, score, track in zip(pictures, SCORES, tracks, strict=True)
    ]
    return CropArray(header=header, source_width=640, source_height=480, crops=crops)


def to_model(pictures):
    return pictures.transpose(0, 3, 1, 2).astype(np.float32) / 255


def test_an_encoder_refines_within_a_budget_and_says_who_got_what(ros, codec, pictures):
    lcts, budgets = ros.collect(LCTArray, 'lcts'), ros.collect(Budget, 'budget')
    crops = ros.node.create_publisher(CropArray, 'crops', 10)
    ros.make(EncoderNode, '-p', 'refine_budget_ms:=1000.0')
    ros.wait_for(crops.get_subscription_count, 'a subscriber')
    ros.wait_for(lambda: ros.node.count_publishers('budget'), 'the budget')

    def refine(tracks):
        """Send a frame until there was time to refine it, on a machine however busy."""
        for _ in range(10):
            seen = len(lcts)
            crops.publish(frame_of(pictures, tracks, second=seen + 1))
            ros.wait_for(lambda seen=seen: len(lcts) > seen and len(budgets) > seen, 'a frame')
            if all(share.outcome == BudgetShare.OUTCOME_DONE for share in budgets[-1].shares):
                return [latent_from_msg(lct.latent) for lct in lcts[-1].lcts]
            tracks = [track and track + 10 for track in tracks]
        pytest.fail('no frame was refined in ten')

    latents = refine([1, 2])
    x = to_model(pictures)
    before = np.square(codec.decode(codec.encode(x)) - x).mean(axis=(1, 2, 3))
    after = np.square(codec.decode(np.stack([z.mean for z in latents])) - x).mean(axis=(1, 2, 3))
    assert (after < before).all()
    for latent, guessed, error in zip(latents, before, after, strict=True):
        told = latent.telemetry
        assert told.iterations == len(told.energy_trajectory) > 1
        assert told.energy_trajectory[0] == pytest.approx(guessed, rel=1e-3)
        assert told.reconstruction_error == pytest.approx(error, rel=1e-3)
        assert told.halt_reason in (HaltReason.CONVERGED, HaltReason.BUDGET)
        assert 0 < told.trust <= 1
        assert told.time_s > 0

    budget = budgets[-1]
    assert budget.header == lcts[-1].header
    assert budget.total == atp_of(1000)
    assert sum(share.granted for share in budget.shares) == budget.total
    assert [share.track_id for share in budget.shares] == [z.track_id for z in latents]
    # Nothing was known of the crops but how salient they are.
    assert [share.granted / budget.total for share in budget.shares] == pytest.approx(SCORES)
    for share, latent in zip(budget.shares, latents, strict=True):
        assert 0 < share.spent <= share.granted + share.extra
        assert share.spent <= latent.telemetry.budget_spent + 2

    # The same once more: nothing is left to gain where the first time ended by itself.
    again = refine([latent.track_id for latent in latents])
    for latent, first in zip(again, latents, strict=True):
        if first.telemetry.converged and latent.track_id == first.track_id:
            assert latent.telemetry.iterations == 1


def test_an_encoder_tells_deltas_instead_of_latents(ros, codec, pictures):
    lcts, deltas = ros.collect(LCTArray, 'lcts'), ros.collect(CropArray, 'residuals')
    crops = ros.node.create_publisher(CropArray, 'crops', 10)
    ros.make(EncoderNode, '-p', 'output:=residuals')
    ros.wait_for(crops.get_subscription_count, 'a subscriber')
    ros.wait_for(lambda: ros.node.count_publishers('residuals'), 'residuals')
    sent = frame_of(pictures)
    crops.publish(sent)
    said = ros.wait_for(lambda: deltas, 'a frame')[0]
    assert said.header == sent.header
    assert [(c.roi, c.score, c.track_id) for c in said.crops] == [
        (c.roi, c.score, c.track_id) for c in sent.crops
    ]
    decoded = codec.decode(codec.encode(to_model(pictures)))
    back = from_residual(np.stack([to_rgb(crop.image) for crop in said.crops]), decoded)
    assert np.abs(back - to_model(pictures)).max() < 1 / 127
    assert not lcts


def test_refining_without_torch_is_refused_with_the_fix(ros, monkeypatch):
    monkeypatch.setitem(sys.modules, 'sage_perception.models.energy', None)
    with pytest.raises(ConfigurationError) as refused:
        ros.make(EncoderNode, '-p', 'refine_budget_ms:=5.0')
    assert "parameter 'refine_budget_ms': refinement needs torch" in str(refused.value)


def test_the_outcomes_of_messages_are_those_of_the_core():
    for outcome in Outcome:
        assert getattr(BudgetShare, f'OUTCOME_{outcome.name}') == outcome
