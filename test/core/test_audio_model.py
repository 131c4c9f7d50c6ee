# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Models of sound: the network, its training, and the one that ships."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from sage_perception.audio import mel
from sage_perception.audio.event_stream import SoundEvent
from sage_perception.audio.synthetic import syllables
from sage_perception.audio.words import LABELS, UNKNOWN
from sage_perception.models import ModelError, load_audio, load_codec
from sage_perception.models.audio_model import TEMPERATURE
from sage_perception.models.networks.audio import AudioConfig, AudioVAE
from sage_perception.pipeline.sound_encoder import SoundEncoder
from sage_perception.training.config import ConfigError, TrainingConfig, read_config
from sage_perception.training.data.speech import augment, voices
from sage_perception.training.data.speech import corpus as corpus_module
from sage_perception.training.data.speech.corpus import Corpus
from sage_perception.training.export.export import export
from sage_perception.training.tasks.audio import task as task_module
from sage_perception.training.tasks.audio.data import SpeechBatches
from sage_perception.training.train import train

CONFIG = Path(__file__).resolve().parents[2] / 'config/train/audiovae.yaml'


def bars(count=60, labels=3):
    """Return two words that are easy to tell apart, a low and a high bar, and silence."""
    images = np.zeros((count, mel.BANDS, mel.FRAMES), np.float32)
    label = np.arange(count) % labels
    images[label == 0, 5:12, 30:50] = 1
    images[label == 1, 25:32, 30:50] = 1
    person = np.array([f'espeak-ng:{n // 6}' for n in range(count)])
    return Corpus(images, label, person, np.ones(count))


@pytest.fixture(scope='module')
def shipped():
    return load_audio()


def test_the_shipped_model_is_small_and_has_the_words(shipped):
    assert shipped.labels == LABELS
    assert shipped.labels[-1] == UNKNOWN
    assert shipped.latent_dim == 128
    assert shipped.parameters < 900_000
    assert shipped.mel_shape == (mel.BANDS, mel.FRAMES)
    assert 'CC BY-SA' in shipped.card


def test_the_shipped_model_reconstructs_and_knows_that_it_does_not_know(shipped):
    rng = np.random.default_rng(0)
    image = mel.log_mel(syllables(rng))[None, None]
    output = shipped.encode(image)
    assert np.isfinite(output.mean).all()
    again = shipped.decode(output.mean)
    assert again.min() >= 0
    assert again.max() <= 1
    assert 1 - np.square(again - image).sum() / np.square(image - image.mean()).sum() > 0.5
    noise = mel.log_mel(rng.normal(size=mel.WINDOW))[None, None]
    ((word, confidence),) = shipped.recognize(shipped.encode(noise).logits)
    assert word == UNKNOWN
    assert 0 < confidence <= 1


def test_given_words_alone_are_recognized_with_the_ratios_of_their_probabilities(shipped):
    logits = np.zeros((2, len(LABELS)), np.float32)
    logits[:, [LABELS.index(word) for word in ('seven', 'red', 'blue')]] = 5, 4, 2
    logits[1, -1] = 6
    assert [word for word, _ in shipped.recognize(logits)] == ['seven', UNKNOWN]
    given = logits.copy()
    (word, chance), (other, _) = shipped.recognize(given, ['blue', 'red'])
    assert (word, other) == ('red', UNKNOWN)
    exponents = np.exp(np.array([4, 2, 0]) / shipped.temperature)
    assert chance == pytest.approx(exponents[0] / exponents.sum())
    assert (given == logits).all()


def test_an_encoder_refuses_words_that_its_model_does_not_recognize(shipped):
    for word in ('crimson', UNKNOWN):
        with pytest.raises(ValueError, match=f"'{word}' is not a word of audiovae.*: use zero, "):
            SoundEncoder(shipped, ['red', word])


def test_other_shapes_and_models_are_refused(shipped):
    with pytest.raises(ModelError, match=r'takes spectrograms of shape \[B, 1, 40, 80\]'):
        shipped.encode(np.zeros((1, 40, 80), np.float32))
    with pytest.raises(ModelError, match=r'latents of shape \[B, 128\]'):
        shipped.decode(np.zeros((1, 64), np.float32))
    with pytest.raises(ModelError, match='not a model of sound'):
        load_audio('tinyvae')
    with pytest.raises(ModelError, match='encodes sound'):
        load_codec('audiovae')


@pytest.mark.parametrize('fault', ['', 'clipped'])
def test_the_trust_is_that_of_the_reconstruction_and_none_with_a_fault(shipped, fault):
    samples = syllables(np.random.default_rng(1)).astype(np.float32)
    event = SoundEvent(samples, 0, True, 30.0, None, fault)
    encoded = SoundEncoder(shipped).encode(event)
    image = mel.log_mel(samples)
    variance = np.square(image - image.mean()).mean()
    expected = 1 - encoded.latent.telemetry.reconstruction_error / variance
    trust = encoded.latent.telemetry.trust
    assert trust == (0 if fault else pytest.approx(expected, abs=1e-4))
    assert (encoded.confidence == 0) == bool(fault)
    silent = SoundEncoder(shipped).encode(replace(event, samples=np.zeros(8000, np.float32)))
    assert silent.latent.telemetry.trust == 0


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ({'temperature': np.empty(0, np.float32)}, 'must be one number from 0.05 to 20'),
        ({'temperature': np.array([np.nan], np.float32)}, 'must be one number from 0.05 to 20'),
        ({'labels': []}, 'must be a list of two words or more'),
    ],
)
def test_a_model_with_invalid_content_is_refused(shipped, change, text):
    tensors, config = dict(shipped.artifact.tensors), dict(shipped.artifact.config)
    if 'temperature' in change:
        tensors[TEMPERATURE] = change['temperature']
    else:
        config |= change
    with pytest.raises(ModelError, match=text):
        type(shipped)(replace(shipped.artifact, tensors=tensors, config=config), 'cpu', 'fp32')


def test_a_model_of_other_spectrograms_is_refused(shipped, monkeypatch):
    monkeypatch.setattr(type(shipped), 'mel_shape', (48, 80))
    with pytest.raises(ModelError, match='48 bands and 80 frames; events have 40 and 80'):
        SoundEncoder(shipped)


def test_a_model_is_trained_exported_and_runs_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(task_module, 'corpus', lambda labels: bars(labels=2))
    config = read_config(CONFIG)
    model = AudioConfig(
        latent_dim=16, channels=(8, 8, 8), code_channels=4, dropout=0.0,
        labels=('low', 'high', 'none'),
    )  # fmt: skip
    training = TrainingConfig(
        steps=60, batch=16, epoch=60, learning_rate=1e-2, warmup=5, ema=0.5, beta=1e-4
    )
    config = replace(config, model=model, training=training)
    module = train(config, tmp_path / 'run', progress=False)
    export(config, tmp_path / 'run', tmp_path / 'model')
    loaded = load_audio(tmp_path / 'model')
    data = bars(labels=2)
    found = loaded.encode(data.mel[:, None])
    assert (found.logits.argmax(1) == data.label).mean() > 0.9
    network = module.model.eval()
    with torch.inference_mode():
        mean, _, logits = network.analyze(torch.from_numpy(data.mel[:, None]))
    np.testing.assert_allclose(found.mean, mean.numpy(), atol=0.02)
    np.testing.assert_allclose(found.logits, logits.numpy(), atol=0.1)
    assert 0.3 <= loaded.temperature <= 5
    assert loaded.recognize(found.logits[:1])[0][0] == 'low'


def test_a_missing_synthesizer_is_explained(monkeypatch):
    monkeypatch.setattr(voices.shutil, 'which', lambda name: None)
    monkeypatch.setattr(corpus_module, 'CACHE', Path('/nonexistent'))
    config = read_config(CONFIG)
    with pytest.raises(ConfigError, match='espeak-ng is not installed: apt-get install'):
        task_module.AudioTask(config).data()


def test_other_labels_are_those_of_the_configuration(monkeypatch):
    monkeypatch.setattr(corpus_module, 'voices', lambda: voices.voices()[:7])
    images = np.zeros((1, mel.BANDS, mel.FRAMES), np.uint8)
    monkeypatch.setattr(
        corpus_module, '_spectrograms', lambda voice, words: images.repeat(len(words), 0)
    )
    config = read_config(CONFIG)
    labels = ('stop', 'red', 'rest')
    data = task_module.AudioTask(replace(config, model=AudioConfig(labels=labels))).data()
    found = np.concatenate([data.train.label, data.validation.label])
    # Each voice has red; every third one, of seven, has stop.
    assert np.bincount(found).tolist()[:2] == [3, 7]
    assert found.max() == 2
    SpeechBatches(data.train, 3, config.training, 0, 1)[0]
    model = AudioConfig(labels=('sesame', 'rest'))
    with pytest.raises(ConfigError, match="has 'sesame', which is not generated"):
        task_module.AudioTask(replace(config, model=model)).data()


def test_invalid_configurations_are_explained():
    for name, value in (('frames', 81), ('channels', (8, 8)), ('labels', ('one',))):
        with pytest.raises(ValueError, match=name):
            AudioConfig(**{name: value})


def test_batches_depend_only_on_their_number_and_draw_labels_equally():
    corpus = bars(60)
    config = TrainingConfig(batch=300, steps=10, epoch=10)
    first = SpeechBatches(corpus, 3, config, 0, 10)[3]
    again = SpeechBatches(corpus, 3, config, 3, 10)[0]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
    counts = np.bincount(first[2], minlength=3)
    assert abs(int(counts[0]) - int(counts[1])) < 30
    assert counts[2] > 3 * counts[0]  # the label of all other sounds


def test_augmentation_keeps_the_range_and_changes_with_the_generator():
    x = torch.from_numpy(bars(6).mel[:, None])
    one = augment.augment(x, torch.Generator().manual_seed(1))
    same = augment.augment(x, torch.Generator().manual_seed(1))
    other = augment.augment(x, torch.Generator().manual_seed(2))
    assert torch.equal(one.input, same.input)
    assert not torch.equal(one.input, other.input)
    for part in one:
        assert part.shape == x.shape
        assert part.min() >= 0
        assert part.max() <= 1
        assert torch.isfinite(part).all()


def test_levels_and_powers_are_inverse():
    level = torch.linspace(0.01, 1, 50)
    torch.testing.assert_close(augment.to_level(augment.to_power(level)), level)
    assert float(augment.to_power(torch.zeros(1))) == 0
    assert math.isclose(float(augment.to_power(torch.ones(1))), 1)


def test_held_out_persons_are_not_in_the_training():
    names = [voice.person for voice in voices.voices()]
    count = len(names)
    corpus = Corpus(
        np.zeros((count, 1, 1), np.float32), np.zeros(count, int), np.array(names), np.ones(count)
    )
    held_out = corpus.held_out
    assert 0.1 < held_out.mean() < 0.3
    assert not set(corpus.person[held_out]) & set(corpus.person[~held_out])
    assert any(name.startswith('flite') for name in corpus.person[held_out])


def test_speech_is_read_at_16_khz_and_a_file_without_sound_is_explained(monkeypatch):
    voice = voices.Voice('espeak-ng', 'en-us+max', 50, 150)
    monkeypatch.setattr(voices.shutil, 'which', lambda name: name)
    tone = np.sin(np.arange(11025) / 5).astype(np.float32)
    made = {'content': lambda path: wavfile.write(path, 22050, tone)}
    monkeypatch.setattr(
        voices, '_run', lambda command: made['content'](command[command.index('-w') + 1])
    )
    samples = voices.synthesize(voice, 'red')
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(8000, abs=160)
    made['content'] = lambda path: None
    with pytest.raises(voices.SpeechUnavailable, match="espeak-ng made no sound of 'red'"):
        voices.synthesize(voice, 'red')


def test_utterances_are_trimmed():
    quiet = np.zeros(3200)
    sound = np.ones(1600)
    trimmed = voices.trim(np.concatenate([quiet, sound, quiet]))
    np.testing.assert_array_equal(trimmed, sound)
    assert len(voices.trim(np.zeros(100))) == 100


def test_the_network_samples_only_in_training():
    network = AudioVAE(AudioConfig(latent_dim=8, channels=(8, 8, 8), code_channels=4))
    x = torch.rand(2, 1, mel.BANDS, mel.FRAMES)
    network.eval()
    assert torch.equal(network(x).mel, network(x).mel)
    network.train()
    assert not torch.equal(network(x).mel, network(x).mel)
