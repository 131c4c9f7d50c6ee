# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""SpiralRnn, generated resonance, decoding, and the projection of videos."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sage_perception.zspace import (
    AtlasFrame,
    ChronoSummary,
    DifferentialResonance,
    InterpolationMethod,
    ProfilePredictor,
    ResonanceGenerator,
    SliceProfile,
    SpectralWindow,
    SpiralRnn,
    TemporalStack,
    VideoStreamProjector,
    VisionProjector,
    ZDecoder,
    ZDiffuser,
    ZSpaceError,
    ZSpaceVolume,
    ZSuperResolution,
)


def random_volume(seed=0, depth=3):
    return ZSpaceVolume(np.random.default_rng(seed).normal(size=(depth, 4, 6)))


def test_cell_starts_at_its_anchor_and_depends_on_the_order():
    cell = SpiralRnn(2, 3, seed=1)
    np.testing.assert_array_equal(cell.initial_state(2)[1], cell.weights['anchor'][0])
    steps = np.random.default_rng(0).normal(size=(1, 4, 2))
    assert not np.allclose(cell.forward(steps), cell.forward(steps[:, ::-1]))
    np.testing.assert_array_equal(cell.forward(steps), cell.forward(steps.reshape(1, -1)))
    np.testing.assert_array_equal(cell.states(steps)[:, -1], cell.forward(steps))


@given(arrays(np.float64, (2, 5, 3), elements=st.floats(-1e300, 1e300)))
def test_cell_has_no_overflow(inputs):
    assert np.isfinite(SpiralRnn(3, 4).states(inputs)).all()


def test_state_dict_of_a_cell_round_trips_and_is_checked():
    cell = SpiralRnn(3, 4, seed=5)
    inputs = np.ones((1, 2, 3))
    copy = SpiralRnn.from_state_dict(cell.state_dict())
    np.testing.assert_array_equal(copy.forward(inputs), cell.forward(inputs))
    state = cell.state_dict()
    with pytest.raises(ZSpaceError, match='bias'):
        copy.load_state_dict({k: v for k, v in state.items() if k != 'bias'})
    with pytest.raises(ZSpaceError, match='phase_kernel has the shape'):
        copy.load_state_dict({**state, 'phase_kernel': np.zeros((4, 5))})
    with pytest.raises(ZSpaceError, match='input_dim'):
        cell.forward(np.ones((1, 2, 2)))


def test_energy_of_the_feedback_is_bounded():
    volume, projector = random_volume(), VisionProjector()

    def final_energy(leak, steps=400):
        generator, resonance = ResonanceGenerator('test', 12, 3, leak=leak), None
        for _ in range(steps):
            resonance = generator.generate(volume, projector, previous=resonance)
        return resonance.infinity_energy.max()

    assert final_energy(0.25) < 30
    assert final_energy(0.0) > 200


def test_generated_resonance_follows_the_energy_of_the_slices():
    values = np.zeros((3, 4, 4))
    values[2] = 5
    resonance = ResonanceGenerator('test', 12, 3).generate(ZSpaceVolume(values), VisionProjector())
    assert resonance.weights(3).argmax() == 2


@given(
    arrays(np.float32, (2, 3, 3), elements=st.floats(-(2**50), 2**50, width=32)),
    st.floats(-1e12, 1e12),
    st.floats(-1e12, 1e12),
)
def test_generated_resonance_is_finite(array, energy, signal):
    resonance = ResonanceGenerator('test', 4, 2).generate(
        ZSpaceVolume(array),
        VisionProjector(),
        ChronoSummary(mean_energy=energy),
        AtlasFrame(z_signal=signal),
    )
    assert resonance.weights(2).sum() == pytest.approx(1)


def test_generator_names_a_wrong_depth():
    generator = ResonanceGenerator('loop', 12, 5)
    with pytest.raises(ZSpaceError, match='loop has the depth 5, the volume 3'):
        generator.generate(random_volume(), VisionProjector())
    with pytest.raises(ZSpaceError, match='leak'):
        ResonanceGenerator('loop', 12, 5, leak=2)


def predictor_state(depth=3, hidden=4):
    cell = SpiralRnn(6 * depth, hidden)
    return {
        **{f'rnn.{k}': v for k, v in cell.state_dict().items()},
        'head_weight': np.zeros((hidden, 3 * depth)),
        'head_bias': np.full(3 * depth, 0.5),
        'mean': np.zeros(3 * depth),
        'scale': np.full(3 * depth, 2.0),
    }


def test_forecast_adds_the_output_of_the_head():
    predictor = ProfilePredictor(predictor_state())
    ahead = predictor.predict(SliceProfile(*np.arange(9.0).reshape(3, 3)))
    np.testing.assert_allclose(np.concatenate(ahead), np.arange(9.0) + 1)
    generator = ResonanceGenerator('test', 12, 3, forecast=predictor)
    without = ResonanceGenerator('test', 12, 3)
    both = [g.generate(random_volume(), VisionProjector()) for g in (generator, without)]
    assert (both[0].infinity_energy > both[1].infinity_energy).all()
    with pytest.raises(ZSpaceError, match='predictor has 3'):
        predictor.predict(SliceProfile(*np.zeros((3, 2))))
    with pytest.raises(ZSpaceError, match='no scale'):
        ProfilePredictor({k: v for k, v in predictor_state().items() if k != 'scale'})


def test_decoder_is_deterministic_and_depends_on_the_seed():
    latent = np.random.default_rng(0).normal(size=(1, 16))
    decoder = ZDecoder(2, 4, 4, 0xDEADBEEF)
    first = decoder.decode(latent).values
    np.testing.assert_array_equal(first, decoder.decode(latent).values)
    np.testing.assert_array_equal(first, ZDecoder(2, 4, 4, 0xDEADBEEF).decode(latent[0]).values)
    assert not np.allclose(first, ZDecoder(2, 4, 4, 1).decode(latent).values)
    assert abs(first).max() <= 1
    # The raw bits of the generator do not change between versions of numpy.
    np.testing.assert_allclose(
        ZDecoder(1, 1, 3, 7).decode([2.0]).values.ravel(), DECODED, atol=1e-6
    )


DECODED = [0.46241742, 0.9199736, 0.8014821]


def test_refinement_is_diffusion_interpolation_and_upscaling():
    decoder, diffuser = ZDecoder(3, 4, 5, 1), ZDiffuser(1, 0.3)
    latent = np.linspace(-1, 1, 8)
    refined = decoder.decode_with_refinement(latent, diffuser, InterpolationMethod.LINEAR, 2)
    by_hand = diffuser.diffuse(decoder.decode(latent))
    by_hand = by_hand.interpolate(InterpolationMethod.LINEAR).upscale(2)
    assert refined.shape == (5, 8, 10)
    np.testing.assert_array_equal(refined.values, by_hand.values)
    plain = decoder.decode_with_refinement(latent)
    np.testing.assert_array_equal(plain.values, decoder.decode(latent).values)


def test_trained_decoder_and_its_errors():
    weight, bias = np.ones((2, 12)), np.zeros(12)
    decoder = ZDecoder.from_state_dict({'weight': weight, 'bias': bias}, (3, 2, 2))
    np.testing.assert_allclose(decoder.decode([0.25, 0.25]).values, np.tanh(0.5))
    with pytest.raises(ZSpaceError, match='trained with 2'):
        decoder.decode([1.0])
    with pytest.raises(ZSpaceError, match='do not fit volumes'):
        ZDecoder.from_state_dict({'weight': weight, 'bias': bias}, (3, 2, 3))
    with pytest.raises(ZSpaceError, match='latent contains NaN'):
        decoder.decode([np.nan, 0])
    with pytest.raises(ZSpaceError, match='seed'):
        ZDecoder(1, 1, 1, -1)


def test_untrained_super_resolution_is_cubic():
    state = {
        'first.weight': np.random.default_rng(0).normal(size=(2, 4, 3, 3)),
        'first.bias': np.zeros(2),
        'second.weight': np.zeros((1, 2, 3, 3)),
        'second.bias': np.zeros(1),
    }
    volume = random_volume(depth=4)
    cubic = volume.interpolate(InterpolationMethod.CUBIC)
    np.testing.assert_allclose(ZSuperResolution(state).interpolate(volume).values, cubic.values)
    state['second.bias'] = np.ones(1)
    shifted = ZSuperResolution(state).interpolate(volume).values
    np.testing.assert_array_equal(shifted[::2], volume.values)
    np.testing.assert_allclose(
        shifted[1::2] - cubic.values[1::2], abs(volume.values).max(), rtol=1e-5
    )
    with pytest.raises(ZSpaceError, match='do not fit'):
        ZSuperResolution({**state, 'first.bias': np.zeros(3)})


def stream(**settings):
    return VideoStreamProjector(
        VisionProjector(0.55, 0.35, 0.1), ResonanceGenerator('video', 12, 5, **settings), 0.25
    ).with_super_resolution(InterpolationMethod.LINEAR, 2)


def test_step_is_the_sequence_of_its_parts():
    projector, generator = VisionProjector(0.55, 0.35, 0.1), ResonanceGenerator('video', 12, 5)
    diffuser, atlas = ZDiffuser(1, 0.2), AtlasFrame(z_signal=0.7, collapse_total=1.05)
    video = stream().with_diffuser(diffuser)
    assert video.last_resonance is None
    result = video.step(random_volume(), ChronoSummary(mean_energy=1), atlas)
    calibrated = projector.calibrate_from_atlas(atlas)
    refined = diffuser.diffuse(random_volume()).interpolate(InterpolationMethod.LINEAR).upscale(2)
    resonance = generator.generate(refined, calibrated, ChronoSummary(mean_energy=1), atlas)
    np.testing.assert_array_equal(result.projection, calibrated.project(refined, resonance))
    assert result.projection.shape == (8, 12)
    assert video.last_resonance is result.resonance
    assert video.projector == calibrated


def test_sequence_equals_its_steps():
    volumes = [random_volume(seed) for seed in range(4)]
    one, other = stream(), stream()
    together = one.project_sequence(volumes, atlas_frames=[None, AtlasFrame(z_signal=0.1)] * 2)
    apart = [
        other.step(v, None, AtlasFrame(z_signal=0.1) if i % 2 else None).projection
        for i, v in enumerate(volumes)
    ]
    np.testing.assert_array_equal(together, apart)
    with pytest.raises(ZSpaceError, match='1 summaries for 4 volumes'):
        one.project_sequence(volumes, [None])


def test_reset_is_idempotent_and_starts_over():
    video = stream()
    first = video.step(random_volume(1))
    video.step(random_volume(2))
    for _ in range(2):
        video.reset()
        assert video.last_resonance is None
    np.testing.assert_array_equal(video.step(random_volume(1)).projection, first.projection)


def test_a_scene_cut_resets_the_smoothing():
    quiet, cut = random_volume(1), random_volume(2)
    video, fresh = stream().with_scene_cut(0.5), stream()
    for _ in range(3):
        video.step(quiet)
    frames_before = video.temporal.frames
    after = video.step(cut)
    assert (frames_before, video.temporal.frames) == (3, 1)
    np.testing.assert_array_equal(after.projection, fresh.step(cut).projection)


def test_stack_can_smooth_a_stream():
    video = stream().with_temporal(TemporalStack([0.5, 0.05]))
    assert np.isfinite(video.project_sequence([random_volume(s) for s in range(3)])).all()


def test_projection_of_a_repeated_volume_settles():
    video = VideoStreamProjector(
        VisionProjector(window=SpectralWindow.rectangular()), ResonanceGenerator('v', 8, 3), 0.5
    )
    outputs = video.project_sequence([random_volume()] * 60)
    np.testing.assert_allclose(outputs[-1], outputs[-2], atol=1e-4)
    assert isinstance(video.last_resonance, DifferentialResonance)
