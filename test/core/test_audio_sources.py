# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sources of sound."""

import shutil
import sys
import tempfile
import types
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from footage import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import wavfile

from sage_perception.audio import wave_file
from sage_perception.audio.mel import RATE
from sage_perception.audio.sources import (
    ReconnectingSound,
    SoundSource,
    alsa,
    open_sound,
    recorded,
)
from sage_perception.audio.sources.base import BLOCK
from sage_perception.audio.wave_file import read_wave
from sage_perception.vision.sources.base import (
    EndOfStream,
    SourceError,
    SourceLost,
    SourceUnavailable,
)


def tone(rate, seconds=0.5, hz=440.0):
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def write(path, rate, samples):
    wavfile.write(path, rate, samples)
    return path


def read_all(source):
    found = []
    while True:
        try:
            found.append(source.read(1.0))
        except EndOfStream:
            return found


@pytest.mark.parametrize('rate', [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize('dtype', ['int16', 'int32', 'uint8', 'float32'])
def test_files_of_any_rate_and_type_are_16_khz_floats(tmp_path, rate, dtype):
    signal = 0.5 * tone(rate)
    if dtype == 'uint8':
        stored = (128 + 127 * signal).astype(np.uint8)
    elif dtype == 'float32':
        stored = signal.astype(np.float32)
    else:
        stored = (signal * np.iinfo(dtype).max).astype(dtype)
    found = read_wave(write(tmp_path / 'a.wav', rate, stored))
    assert found.dtype == np.float32
    assert abs(len(found) - RATE // 2) <= 1
    inner = slice(800, 7000)
    np.testing.assert_allclose(found[inner, 0], 0.5 * tone(RATE)[inner], atol=0.02)


def test_blocks_follow_each_other_and_the_file_ends(tmp_path):
    samples = np.stack([tone(RATE, 0.52), 0 * tone(RATE, 0.52)], 1).astype(np.float32)
    path = write(tmp_path / 'a.wav', RATE, samples)
    source = open_sound(f'file://{path}?loop=false&pace=fast')
    found = read_all(source)
    assert source.channels == 2
    assert [block.index for block in found] == list(range(11))
    joined = np.concatenate([block.samples for block in found])
    assert all(block.samples.shape == (BLOCK, 2) for block in found)
    np.testing.assert_array_equal(joined[: len(samples)], samples)
    source.close()
    with pytest.raises(EndOfStream, match='is closed'):
        source.read(0)


def test_folders_are_read_in_natural_order_and_files_of_systems_are_left_out(tmp_path):
    for name, level in (('w10', 0.3), ('w2', 0.2), ('w1', 0.1)):
        write(tmp_path / f'{name}.wav', RATE, np.full(BLOCK, level, np.float32))
    (tmp_path / '._w1.wav').write_bytes(b'not sound')
    source = open_sound(f'sounds://{tmp_path}?gap=0.05&loop=false&pace=fast')
    levels = [float(block.samples.max()) for block in read_all(source)]
    assert levels == pytest.approx([0, 0.1, 0, 0.2, 0, 0.3, 0])


def test_playback_in_real_time_waits_for_the_end_of_a_block():
    source = open_sound('synthetic://?content=noise')
    first, second = source.read(1.0), source.read(1.0)
    assert second.captured_ns - first.captured_ns == 50_000_000
    assert source.read(0.0) is None


def test_a_late_reader_skips_blocks_up_to_the_end(tmp_path):
    path = write(tmp_path / 'a.wav', RATE, np.zeros(40 * BLOCK, np.float32))
    clock = FakeClock()
    source = open_sound(f'file://{path}?loop=false', clock=clock)
    assert source.read(1.0).index == 0
    clock.now_ns += 1_100_000_000
    assert source.read(1.0).index == 22
    clock.now_ns += 1_100_000_000
    with pytest.raises(EndOfStream, match='has ended'):
        source.read(1.0)


def test_generated_sound_depends_on_its_seed_alone():
    one, same, other = (
        open_sound(f'synthetic://?pace=fast&content=mixed&channels=2&seed={seed}').read(0).samples
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ('uri', 'text'),
    [
        ('mic://0', 'unknown scheme mic; use alsa, file, sounds, synthetic'),
        ('synthetic://?content=music', 'voice or tone or noise or silence or mixed'),
        ('synthetic://?bearing=91', 'a number from -90 to 90'),
        ('synthetic://x', 'only options'),
        ('sounds://relative', 'absolute path'),
        ('file:///a.wav?rate=3', "unknown option 'rate'"),
        ('file:///a\n.wav', 'control characters'),
    ],
)
def test_invalid_uris_are_explained(uri, text):
    with pytest.raises(SourceError, match=text):
        open_sound(uri)


def test_files_that_are_no_sound_are_explained(tmp_path):
    broken = tmp_path / 'a.wav'
    cases = {
        b'': 'cannot be read as WAV',
        b'RIFF\xff\xff\xff\xffWAVEfmt ': 'cannot be read as WAV',
        b'RIFF' + bytes(4000): 'cannot be read as WAV',
    }
    for content, text in cases.items():
        broken.write_bytes(content)
        with pytest.raises(SourceError, match=text):
            open_sound(str(broken))
    write(broken, 4000, np.zeros(100, np.int16))
    with pytest.raises(SourceError, match=r'sampling rate of 4000 Hz; it must be 8000 to 192000'):
        open_sound(str(broken))
    write(broken, RATE, np.zeros((0, 1), np.int16))
    with pytest.raises(SourceError, match='has no samples'):
        open_sound(str(broken))
    with pytest.raises(SourceUnavailable, match=r'none\.wav'):
        open_sound(str(tmp_path / 'none.wav'))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SourceUnavailable, match='no WAV files'):
        open_sound(f'sounds://{tmp_path}/empty')


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(['int16', 'int32', 'uint8', 'float32', 'float64']),
    st.lists(st.tuples(st.integers(0, 47), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 300),
)
def test_damaged_files_are_sound_or_a_wave_error(dtype, changes, cut):
    folder = Path(tempfile.mkdtemp())
    path = write(folder / 'a.wav', 8000, np.arange(200).reshape(100, 2).astype(dtype))
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place] = value
    path.write_bytes(content[: max(len(content) - cut, 0)])
    with suppress(wave_file.WaveError):
        samples = read_wave(path)
        assert samples.dtype == np.float32
        assert samples.ndim == 2
    shutil.rmtree(folder)


def test_sound_is_bounded(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(wave_file, 'MAX_SECONDS', 1)
    path = write(tmp_path / 'a.wav', 8000, np.zeros(8001, np.uint8))
    with pytest.raises(SourceError, match=r'a\.wav has 1 s of sound; at most 1 s: cut it'):
        open_sound(str(path))
    write(path, 8000, np.zeros(8000, np.uint8))
    write(tmp_path / 'b.wav', 8000, np.zeros(8000, np.uint8))
    monkeypatch.setattr(recorded, 'MAX_FILES', 1)
    open_sound(f'sounds://{tmp_path}')
    assert 'has 2 WAV files; the first 1 are played' in caplog.text


@pytest.mark.parametrize('dtype', ['int16', 'int32', 'uint8'])
def test_full_scale_is_one(dtype):
    limits = np.iinfo(dtype)
    middle = 128 if dtype == 'uint8' else 0
    found = wave_file.to_float(np.array([limits.min, middle, limits.max], dtype))
    assert found.dtype == np.float32
    assert found[:2].tolist() == [-1, 0]
    assert 0.99 < found[2] <= 1


def test_a_missing_package_for_microphones_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'alsaaudio', None)
    with pytest.raises(SourceError, match='needs the Python package pyalsaaudio'):
        open_sound('alsa://default')


class FakePcm:
    """The part of `alsaaudio.PCM` that is used: two periods, an overrun, then an error."""

    def __init__(self, rate, **_):
        self.rate, self.reads = rate, 0

    def info(self):
        return {'rate': self.rate}

    def read(self):
        self.reads += 1
        if self.reads <= 2:
            return 400, np.full(400, 16384, '<i2').tobytes()
        if self.reads == 3:
            return -32, b''
        if self.reads <= 5:
            return 400, np.full(400, -16384, '<i2').tobytes()
        raise OSError('No such device')

    def close(self):
        self.reads = 100


@pytest.fixture
def pcm(monkeypatch):
    fake = types.SimpleNamespace(
        PCM=FakePcm, PCM_CAPTURE=1, PCM_NONBLOCK=1, PCM_FORMAT_S16_LE=2, ALSAAudioError=OSError
    )
    monkeypatch.setitem(sys.modules, 'alsaaudio', fake)
    return FakePcm


@pytest.mark.usefixtures('pcm')
def test_microphones_deliver_blocks_until_they_are_lost(monkeypatch):
    source = open_sound('alsa://plughw:1,0')
    first, second = source.read(1), source.read(1)
    assert first.samples[0, 0] == pytest.approx(0.5)
    assert second.samples[0, 0] == pytest.approx(-0.5)
    assert (first.index, second.index) == (0, 2)  # the overrun is a gap
    with pytest.raises(SourceLost, match='plughw:1,0: No such device'):
        source.read(1)
    monkeypatch.setattr(FakePcm, 'info', lambda self: {'rate': 48000})
    with pytest.raises(SourceError, match='the device has 48000 Hz, not 16000 Hz: use plughw'):
        open_sound('alsa://hw:1,0')


@pytest.mark.usefixtures('pcm')
def test_sound_of_before_an_overrun_is_not_joined_with_sound_after_it():
    source = open_sound('alsa://plughw:1,0')
    source._pcm.reads = 1  # half of a block until the overrun
    block = source.read(1)
    assert block.index == 1
    assert (block.samples == -0.5).all()


def test_only_the_time_of_reading_counts_as_time_without_sound(pcm, monkeypatch):
    now_s = [0.0]
    clock = types.SimpleNamespace(
        monotonic=lambda: now_s[0],
        monotonic_ns=lambda: round(now_s[0] * 1e9),
        sleep=lambda seconds: now_s.__setitem__(0, now_s[0] + seconds),
    )
    monkeypatch.setattr(alsa, 'time', clock)
    content = np.full(400, 16384, '<i2').tobytes()
    reads = iter([(0, b''), (400, content), (400, content)])
    monkeypatch.setattr(pcm, 'read', lambda self: next(reads, (0, b'')))
    source = open_sound('alsa://plughw:1,0')
    now_s[0] = 60.0  # the node is activated a minute after it was configured
    assert source.read(1.0).index == 0
    assert source.read(1.0) is None
    with pytest.raises(SourceLost, match='has delivered no sound for 2 s'):
        source.read(2.0)


class Flaky(SoundSource):
    """Delivers three blocks of a source, then is lost."""

    def __init__(self, uri):
        self.inner = open_sound(uri)
        self.identity, self.uri, self.channels = 'mic', uri, 1
        self.left = 3

    def read(self, timeout_s):
        if not self.left:
            raise SourceLost('unplugged')
        self.left -= 1
        return self.inner.read(timeout_s)

    def close(self):
        self.inner.close()


def test_a_lost_microphone_is_opened_again_and_indices_go_on():
    states = []
    source = ReconnectingSound(
        'synthetic://?pace=fast', states.append, opener=Flaky, backoff_s=(0.0, 0.0)
    )
    found = [block for block in (source.read(0.1) for _ in range(10)) if block is not None]
    assert [block.index for block in found] == list(range(len(found)))
    assert len(found) >= 6
    assert [state.connected for state in states[:3]] == [True, False, True]
    assert states[1].reason == 'unplugged'
    source.close()
    with pytest.raises(EndOfStream):
        source.read(0)


def test_a_missing_file_is_waited_for(tmp_path):
    path = tmp_path / 'late.wav'
    source = ReconnectingSound(str(path), backoff_s=(0.001, 0.001))
    assert not source.state.connected
    assert source.read(0.01) is None
    write(path, RATE, np.zeros(BLOCK, np.float32))
    source.read(0.01)
    assert source.state.connected


def test_a_file_that_is_still_being_copied_is_waited_for(tmp_path):
    path = tmp_path / 'late.wav'
    source = ReconnectingSound(str(path), backoff_s=(0.001, 0.001))
    path.write_bytes(b'RIFF')
    assert source.read(0.01) is None
    assert 'cannot be read as WAV' in source.state.reason
    write(path, RATE, np.zeros(BLOCK, np.float32))
    source.read(0.01)
    assert source.state.connected
