# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Memories to words and words to memories, with provenance; words are codes of colors here."""

import itertools
import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from memories import lct
from scipy.io import wavfile

from sage_perception.audio.mel import RATE
from sage_perception.audio.synthetic import synthetic_sound
from sage_perception.cli import imagine as command
from sage_perception.core.latent import Latent, LatentKind, ModelId
from sage_perception.core.lct import Operation
from sage_perception.memory import MemoryRecord, Query, Snarc, Space, open_store
from sage_perception.memory.language import LanguageVisionBridge
from sage_perception.models import load
from sage_perception.models.semantic.vocabulary import UNKNOWN
from sage_perception.pipeline import sound_encoder

RED, GREEN, BLUE = np.eye(3)
NOUNS = {'apple': RED, 'leaf': GREEN, 'sky': BLUE}


class ColorWords:
    """Codes are the direction of the mean color; a noun for each of the three axes."""

    id = ModelId('colors', '1', bytes(range(32)))
    semantic_space = id.fingerprint

    def encode(self, images):
        mean = images.mean((1, 2)) + 1e-3
        return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)

    def text(self, texts):
        return np.array([NOUNS[text.split()[-1]] for text in texts], np.float32)

    def describe(self, images, count=1):
        cosines = self.encode(images) @ np.array(list(NOUNS.values())).T
        scores = np.clip((cosines - 0.8) / 0.2, 0, 1)
        names = list(NOUNS)
        return [[(names[i], float(row[i])) for i in np.argsort(-row)[:count]] for row in scores]


@pytest.fixture(scope='module')
def codec():
    return load('tinyvae')


@pytest.fixture(scope='module')
def store_path(tmp_path_factory, codec):
    """Give a memory of a green, a red, a blue, a dark red and a gray crop, tracks 1 to 5."""
    colors = np.array([GREEN, RED * 0.95, BLUE, RED * 0.8, np.full(3, 0.5)], np.float32)
    x = np.broadcast_to(colors[:, :, None, None], (5, 3, 64, 64)).copy()
    path = tmp_path_factory.mktemp('memory') / 'memory.db'
    with open_store(path, Space.of('tinyvae')) as store:
        for track, mean in enumerate(codec.encode(x), 1):
            seen = lct(track, at_s=track, model=codec.id)
            latent = Latent(mean, model=codec.id, track_id=track, telemetry=seen.latent.telemetry)
            store.add([MemoryRecord(replace(seen, latent=latent), Snarc(novelty=0.5))])
        store.commit()
    return path


@pytest.fixture
def store(store_path):
    with open_store(store_path, Space.of('tinyvae'), create=False) as store:
        yield store


@pytest.fixture
def bridge(codec):
    counter = itertools.count(1)
    return LanguageVisionBridge(ColorWords(), codec, 'me', lambda: next(counter))


def memory_of(store, track):
    (hit,) = store.find(Query(track=track))
    return hit.record.lct


def test_a_memory_becomes_a_color_and_a_noun_with_provenance(bridge, store):
    found = bridge.describe(memory_of(store, 2))
    assert found.text == 'red apple'
    assert found.confidence > 0.5
    assert found.lct.latent.kind is LatentKind.SEMANTIC
    assert found.lct.provenance[-1].operation is Operation.TRANSLATE
    assert found.lct.trust == pytest.approx(memory_of(store, 2).trust * found.confidence)


def test_an_image_without_a_fitting_word_is_unknown_and_has_no_trust(bridge, store):
    found = bridge.describe(memory_of(store, 5))
    assert found.text == UNKNOWN
    assert found.lct.trust == 0


@pytest.mark.parametrize(('score', 'text'), [(0.69, UNKNOWN), (0.71, 'red apple')])
def test_a_noun_needs_the_confidence_of_other_labels(bridge, store, monkeypatch, score, text):
    monkeypatch.setattr(ColorWords, 'describe', lambda self, images, count: [[('apple', score)]])
    assert bridge.describe(memory_of(store, 2)).text == text


def test_words_become_real_memories_first_and_then_a_labeled_decoded_image(bridge, store):
    found, searched = bridge.imagine_from_text('an apple', store, Query(count=2))
    assert not searched.by_codes
    assert [each.origin for each in found] == ['memory', 'memory', 'decoded']
    assert {each.lct.latent.track_id for each in found[:2]} == {2, 4}
    assert found[0].similarity >= found[1].similarity > 0.9
    decoded = found[2]
    red, green, blue = decoded.image.mean((0, 1))
    assert red > 3 * max(green, blue)
    assert decoded.lct.latent.kind is LatentKind.VISION
    steps = decoded.lct.provenance
    assert steps[:-1] == found[0].lct.provenance
    assert (steps[-1].operation, steps[-1].entity_id) == (Operation.TRANSLATE, 'me')
    assert math.prod(step.trust for step in steps) == pytest.approx(decoded.lct.trust)


def test_nothing_is_imagined_without_memories_and_no_words_are_an_error(bridge, store):
    assert bridge.imagine_from_text('an apple', store, Query(track=99))[0] == []
    with pytest.raises(ValueError, match='no words'):
        bridge.imagine_from_text('…', store, Query())


def test_memories_of_a_gray_model_have_words_and_images(tmp_path):
    codec = load('tinyvae_grey16')
    (mean,) = codec.encode(np.full((1, 1, 64, 64), 0.6, np.float32))
    seen = lct(1, model=codec.id)
    latent = Latent(mean, model=codec.id, track_id=1, telemetry=seen.latent.telemetry)
    gray = LanguageVisionBridge(ColorWords(), codec, 'me', itertools.count(1).__next__)
    with open_store(tmp_path / 'gray.db', Space.of('tinyvae_grey16')) as store:
        store.add([MemoryRecord(replace(seen, latent=latent), Snarc(novelty=0.5))])
        found, _ = gray.imagine_from_text('an apple', store, Query())
    assert [each.image.shape for each in found] == [(64, 64, 3)] * 2
    assert gray.describe(found[0].lct).text == UNKNOWN


@pytest.fixture
def run(monkeypatch, capsys, store_path):
    monkeypatch.setattr(command, 'load_semantic', ColorWords)

    def run(*arguments):
        code = command.main([*map(str, arguments), '--store', str(store_path)])
        return code, *capsys.readouterr()

    return run


def test_the_command_prints_memories_with_their_words_and_writes_a_sheet(run, tmp_path):
    sheet = tmp_path / 'apple.png'
    code, out, _ = run('an apple', '-n', '2', '-o', sheet)
    assert code == 0
    rows = [line.split() for line in out.splitlines()[2:5]]
    assert [row[0] for row in rows] == ['memory', 'memory', 'decoded']
    assert all('red apple' in line for line in out.splitlines()[2:5])
    assert cv2.imread(str(sheet)).shape[1] > 3 * 128


def test_the_command_prints_the_steps_as_json(run):
    code, out, _ = run('leaf', '-n', '1', '--json')
    assert code == 0
    memory, decoded = json.loads(out)
    assert (memory['origin'], decoded['origin']) == ('memory', 'decoded')
    assert [step['operation'] for step in decoded['provenance']] == ['encode', 'translate']
    assert decoded['entity'] == memory['entity'] == 'cam0'


def test_words_of_a_recording_select_images(run, tmp_path, monkeypatch):
    path = tmp_path / 'word.wav'
    wavfile.write(path, RATE, synthetic_sound('voice', seed=0)[: 2 * RATE])
    encode = sound_encoder.SoundEncoder.encode

    def recognize(self, event):
        return replace(encode(self, event), word='sky', confidence=0.9, known=True)

    monkeypatch.setattr(sound_encoder.SoundEncoder, 'encode', recognize)
    code, out, _ = run('--sound', path, '-n', '1')
    assert code == 0
    assert out.startswith(f'{path}: sky 0.90')
    assert 'blue sky' in out
    code, out, _ = run('--sound', path, '-n', '1', '--json')
    assert code == 0
    assert [entry['words'] for entry in json.loads(out)] == ['blue sky'] * 2
    code, _, err = run('--sound', path, '--min-confidence', '0.95')
    assert code != 0
    assert 'no word has a confidence of 0.95 (sky 0.90); lower --min-confidence' in err


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        ((), 'give words'),
        (('leaf', '--sound', 'a.wav'), 'give words'),
        (('--sound', 'none.wav'), 'none.wav'),
        (('leaf', '--min-confidence', '2'), 'must be 0 to 1'),
        (('leaf', '--entity', 'cam9'), 'no matching records'),
    ],
)
def test_errors_of_the_command_are_one_line(run, arguments, text):
    code, _, err = run(*arguments)
    assert code != 0
    assert text in err
    assert err.count('\n') == 1


@pytest.mark.parametrize(
    ('change', 'rate', 'text'),
    [
        (lambda x: 0 * x, RATE, 'no voice found'),
        (lambda x: np.clip(40 * x, -1, 1), RATE, 'is clipped'),
        (lambda x: np.where(np.arange(len(x))[:, None] % 3000, x, np.nan), RATE, 'is not finite'),
        (lambda x: x, 4000, 'sampling rate of 4000 Hz'),
    ],
    ids=['silent', 'clipped', 'nan', 'rate'],
)
def test_recordings_that_are_not_usable_are_named(run, tmp_path, change, rate, text):
    path = tmp_path / 'word.wav'
    sound = synthetic_sound('voice', seed=3)[: 2 * RATE]
    wavfile.write(path, rate, change(sound).astype(np.float32))
    code, _, err = run('--sound', path)
    assert code != 0
    assert text in err
    assert str(path) in err
    assert err.count('\n') == 1
