# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Refinement of the latent and the word of a sound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.audio.mel import BANDS, FRAMES, log_mel
from sage_perception.audio.synthetic import syllables
from sage_perception.core.latent import HaltReason
from sage_perception.irp.audio import SHIFTS, AudioIRP, shifted
from sage_perception.irp.control import ControlIRP, Reaches
from sage_perception.irp.discovery import load
from sage_perception.irp.language import LanguageIRP
from sage_perception.irp.orchestrator import Orchestrator, Work
from sage_perception.irp.tinyvae import Crops
from sage_perception.models import ModelError
from sage_perception.models.softmax import softmax


@pytest.fixture(scope='module')
def plugin():
    return AudioIRP()


@pytest.fixture(scope='module')
def mel():
    sounds = [syllables(np.random.default_rng(seed)) for seed in range(3)]
    return np.stack([log_mel(sound) for sound in sounds])[:, None]


@given(st.integers(-12, 12), st.integers(0, 99))
def test_a_shift_moves_the_frames_and_adds_silence(frames, seed):
    mel = np.random.default_rng(seed).random((4, 12)) + 0.1
    moved = shifted(mel, frames)
    later, earlier = max(frames, 0), max(-frames, 0)
    np.testing.assert_array_equal(moved[:, later : 12 - earlier], mel[:, earlier : 12 - later])
    assert (moved > 0).sum() == 4 * (12 - abs(frames))


def test_more_shifts_lower_the_error_of_the_latent_that_is_kept(plugin, mel):
    outputs, telemetry = plugin.refine(mel)
    first = plugin.output(plugin.init_state(mel))
    for output, once, each in zip(outputs, first, telemetry, strict=True):
        assert each.iterations == len(SHIFTS)
        assert (np.diff(each.energy_trajectory) < 0).all()
        assert output.fit > once.fit
        assert each.trust == pytest.approx(output.fit)
        assert each.halt_reason is HaltReason.BUDGET
    expected = plugin.model.encode(mel)
    for once, mean, logits in zip(first, expected.mean, expected.logits, strict=True):
        np.testing.assert_allclose(once.mean, mean, atol=1e-4)
        assert once.logits.argmax() == logits.argmax()


def test_the_word_is_that_of_the_mean_of_the_probabilities(plugin, mel):
    two = plugin.step(plugin.init_state(mel), np.array([True, True, False]))
    found = np.stack([output.logits for output in plugin.output(two)]) / plugin.model.temperature
    each = [
        softmax(plugin.model.encode(shifted(mel, frames)).logits / plugin.model.temperature)
        for frames in SHIFTS[:2]
    ]
    np.testing.assert_allclose(softmax(found)[:2], np.mean(each, 0)[:2], atol=1e-4)
    np.testing.assert_allclose(softmax(found)[2], each[0][2], atol=1e-4)


def test_silence_has_no_trust_and_another_size_is_an_error(plugin):
    _, (telemetry,) = plugin.refine(np.zeros((1, 1, BANDS, FRAMES), np.float32))
    assert telemetry.trust == 0
    with pytest.raises(ModelError, match='takes spectrograms'):
        plugin.refine(np.zeros((1, 1, 8, 8), np.float32))


def test_the_orchestrator_shares_its_budget_among_vision_sound_language_and_control(plugin, mel):
    class Codes:
        def text(self, texts):
            return np.eye(8, dtype=np.float32)[[int(text) for text in texts]]

    plugins = {
        'tinyvae': load('tinyvae'),
        'audio': plugin,
        'language': LanguageIRP(Codes(), [str(n) for n in range(8)], chunk=1),
        'control': ControlIRP(),
    }
    orchestrator = Orchestrator(plugins)
    angles = np.array([[0.0, 0.5, 0.0, -1.2, 0.0, 0.8, 0.0]])
    crops = np.random.default_rng(0).random((2, 3, 64, 64), np.float32)
    work = {
        'tinyvae': Work(Crops(crops), [1.0, 1.0]),
        'audio': Work(mel, [1.0, 1.0, 0.0]),
        'language': Work(np.eye(8, dtype=np.float32)[[5]], [1.0]),
        'control': Work(Reaches(np.array([[0.5, 0.1, 0.3]]), angles), [1.0]),
    }
    budget = 40_000
    results = orchestrator.run(work, budget)
    spent = {name: sum(s.spent for s in result.shares) for name, result in results.items()}
    assert all(spent.values())
    assert sum(spent.values()) <= budget
    assert results['audio'].shares[2].granted == 0
    assert orchestrator.ledger.available == orchestrator.ledger.reserved == 0
    assert results['language'].outputs[0].text == '5'
    assert results['audio'].telemetry[0].iterations > 1
