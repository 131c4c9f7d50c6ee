# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""SensorVAE, PuzzleVAE, the bridge and EffectorVAE, and a short training of the chain."""

import numpy as np
import pytest
import torch

from sage_perception.models.networks.puzzle.attention import CrossModalAttention, FusionConfig
from sage_perception.models.networks.puzzle.effector import EffectorVAE
from sage_perception.models.networks.puzzle.grid import LatentBridge, PuzzleVAE, SensorVAE
from sage_perception.training.puzzle.chain import Chain, ChainBatch, mark, with_puzzles
from sage_perception.training.puzzle.examples import Batch
from sage_perception.training.puzzle.fit import FitConfig
from sage_perception.training.puzzle.fit_chain import fit_chain, loss_of
from sage_perception.training.puzzle.scenes import OBJECTS, SceneTokens

COUNT = 8


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    objects = draw(COUNT, OBJECTS, 132)
    objects[..., 128:130] = objects[..., 128:130].clamp(-0.9, 0.9)
    objects[..., 130:] = 0.2
    cues = 0.05 * draw(COUNT, 384), torch.zeros(COUNT, 128), 0.3 * draw(COUNT, 32)
    given = torch.tensor([1.0, 0, 1]).repeat(COUNT, 1)
    target = torch.arange(COUNT) % OBJECTS
    return Batch(objects, torch.ones(COUNT, OBJECTS), cues, given, target, torch.arange(COUNT))


@pytest.fixture(scope='module')
def examples():
    made = batch()
    tokens = made.objects.numpy()
    labels = np.zeros((COUNT, OBJECTS), int)
    scenes = SceneTokens(tokens[..., :64], tokens[..., 64:128], tokens[..., 128:], labels, labels)
    crops = np.random.default_rng(0).integers(0, 255, (COUNT, OBJECTS, 16, 16, 3), dtype=np.uint8)
    return with_puzzles(made, scenes, crops)


def chain():
    torch.manual_seed(0)
    return Chain(CrossModalAttention(FusionConfig()))


def test_examples_hold_all_modalities_and_the_action_that_looks_at_the_target(examples):
    assert examples.puzzle.shape == (COUNT, 10, 30, 30)
    assert float(examples.puzzle.min()) >= 0
    assert float(examples.puzzle.max()) <= 1
    for channels in (slice(0, 3), slice(3, 6), slice(6, 8)):
        assert float(examples.puzzle[:, channels].float().std()) > 0.01
    # An object at the right (u > 0) needs a negative pan.
    signs = torch.sign(examples.action[:, 0]) * torch.sign(examples.where[:, 0])
    assert (signs <= 0).all()
    assert not examples.action[:, 2:].any()


@torch.no_grad()
def test_sensor_vae_is_near_the_identity_before_training_and_stays_in_range():
    torch.manual_seed(0)
    network = SensorVAE()
    puzzle = torch.rand(2, 10, 30, 30)
    written = network(puzzle, torch.randn(2, 256))
    assert (written - puzzle).abs().max() < 0.021
    for parameter in network.parameters():
        parameter.add_(torch.randn_like(parameter))
    written = network(puzzle, 10 * torch.randn(2, 256))
    assert 0 <= written.min() <= written.max() <= 1


@torch.no_grad()
def test_latents_have_the_specified_dimensions_and_decode_to_puzzles():
    network, bridge, effector = PuzzleVAE(), LatentBridge(), EffectorVAE()
    puzzle = torch.rand(2, 10, 30, 30)
    h, log_var, low = network.encode(puzzle, torch.randn(2, 256))
    assert (h.shape, log_var.shape, low.shape) == ((2, 256), (2, 256), (2, 1024))
    decoded = network.decode(h, low)
    assert decoded.shape == puzzle.shape
    assert 0 <= decoded.min() <= decoded.max() <= 1
    assert bridge.h_to_l(h).shape == (2, 1024)
    assert bridge.l_to_h(low).shape == (2, 256)
    command = effector(h, low)
    assert command.action.shape == (2, 19)
    assert command.action.abs().max() <= 1


@torch.no_grad()
def test_the_path_beside_the_puzzle_reaches_h_alone():
    network, puzzle, fused = PuzzleVAE(skip=True), torch.rand(2, 10, 30, 30), torch.randn(2, 256)
    without, with_path = network.encode(puzzle), network.encode(puzzle, fused)
    assert (without.h - with_path.h).abs().max() > 0.01
    torch.testing.assert_close(without.l, with_path.l)
    assert PuzzleVAE(skip=False).skip is None


def test_marks_are_one_at_their_position_and_fall_off():
    (found,) = mark(torch.tensor([[-1 / 30, 1 / 30]]))
    assert divmod(int(found.argmax()), 30) == (15, 14)
    assert found.max() == pytest.approx(1)
    assert found[0, 0] < 1e-3


def test_training_lowers_the_loss_of_the_chain(examples):
    network = chain()

    def loss():
        with torch.no_grad():
            whole = ChainBatch(*examples)._replace(puzzle=examples.puzzle.float())
            return float(loss_of(network(whole.batch, whole.puzzle), whole, network))

    before = loss()
    fit_chain(network, examples, FitConfig(steps=60, batch=8, learning_rate=2e-3))
    assert loss() < 0.8 * before


def test_a_frozen_fusion_network_is_not_trained(examples):
    fusion = CrossModalAttention(FusionConfig())
    before = fusion.key.weight.clone()
    fit_chain(Chain(fusion, frozen=True), examples, FitConfig(steps=2, batch=4))
    torch.testing.assert_close(fusion.key.weight, before)
