# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The four trust scenarios of the specification, transmitted the arbiter with models that ship.

The scenarios are: self, two cameras, one model on several backends and in several precisions, and
models with different training, before and after alignment.
"""

import numpy as np
import pytest

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.latent import Latent, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.core.metrics import batch_psnr
from sage_perception.models import load
from sage_perception.trust import Arbiter
from sage_perception.trust.compatibility import probe_set
from sage_perception.trust.compatibility.probe_set import probe_latents
from sage_perception.trust.compatibility.report import Level
from sage_perception.trust.fusion.moments import AcceptedFrame
from sage_perception.trust.security.announcements import ModelAnnouncement, ProbeSet
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.vision.synthetic import SyntheticWorld

CAMERAS = ('cam0', 'cam1')


@pytest.fixture(scope='module')
def ours():
    return load('tinyvae', backend='onnxruntime')


@pytest.fixture(scope='module')
def views():
    """Return crops of four moving objects, and shifted brighter ones, `[2, 4, 3, 64, 64]`."""
    crops = ([], [])
    for seed in (1, 2, 3, 5):
        world = SyntheticWorld(seed=seed, width=128, height=128, objects=1)
        image, roi = world.render(0.0)[..., ::-1], world.truth(0.0)[0].roi
        x, y = (int(np.clip(c - 32, 4, 60)) for c in roi.center)
        for views, shift, gain in zip(crops, (0, 2), (1.0, 1.1), strict=True):
            view = image[y : y + 64, x + shift : x + shift + 64] * gain
            views.append(view.clip(0, 255).transpose(2, 0, 1) / 255)
    return np.float32(crops)


def arbiter_for(ours, codec, latents=None):
    """Return an arbiter whose second camera has the model `codec`, and its compatibility."""
    arbiter = Arbiter(CAMERAS, ours)
    mean, std = codec.latent_mean.ravel(), codec.latent_std.ravel()
    assert (
        arbiter.register_model('cam1', ModelAnnouncement('cam1', 1, codec.id, mean, std)) is None
    )
    latents = probe_latents(codec) if latents is None else latents
    assert arbiter.submit_probes('cam1', ProbeSet('cam1', 2, codec.id, latents)) is None
    return arbiter, arbiter.evaluate('cam1')


def lcts_of(codec, camera, images):
    """Return the LCTs of images that a camera encodes with a model."""
    telemetry = Telemetry(trust=0.8)
    return [
        LCT.encoded(
            Latent(z, v, model=codec.id, telemetry=telemetry),
            entity_id=camera,
            sequence=n,
            stamp_ns=10**9,
        )
        for n, (z, v) in enumerate(zip(*codec.encode_stats(images), strict=True), 1)
    ]


def test_1_self(ours, views):
    """An entity has full trust in its own latents, and its LCTs are not changed."""
    arbiter, result = arbiter_for(ours, ours)
    assert result.trust.compression_trust == pytest.approx(1.0)
    assert result.decision == 'shared directly: trust 1.00'
    for lct in lcts_of(ours, 'cam1', views[0]):
        assert arbiter.admit('cam1', lct).accepted is lct


def test_2_two_cameras(ours, views):
    """Two cameras with one model agree on the objects that both see, and on no others."""
    arbiter, _ = arbiter_for(ours, ours)
    for camera, images in zip(CAMERAS, (views[0], views[1][::-1]), strict=True):
        lcts = [arbiter.admit(camera, lct).accepted for lct in lcts_of(ours, camera, images)]
        moments = arbiter.add_frame(camera, AcceptedFrame(10**9, lcts))
    (pairing,) = moments[0].pairings
    assert [(match.a, match.b) for match in pairing.matches] == [(0, 3), (1, 2), (2, 1), (3, 0)]
    assert all(pairing.agree)
    assert np.mean([match.similarity for match in pairing.matches]) > 0.8


def transmitted(form):
    """Return a function that returns the probe latents of a codec after transmission."""

    def latents_of(codec):
        packer = Packer.of(codec)
        latents = probe_latents(codec)
        return np.stack([packer.unpack(packer.pack(z, form), form) for z in latents])

    return latents_of


SAME = {
    'ONNX Runtime': ('onnxruntime', 'fp32', probe_latents),
    'torch': ('torch', 'fp32', probe_latents),
    'torch in half precision': ('torch', 'fp16', probe_latents),
    'float16 on the wire': ('onnxruntime', 'fp32', transmitted(Encoding.FLOAT16)),
    'int8 on the wire': ('onnxruntime', 'fp32', transmitted(Encoding.INT8)),
}


@pytest.mark.parametrize(('backend', 'precision', 'latents_of'), SAME.values(), ids=SAME)
def test_3_the_same_model_elsewhere(ours, backend, precision, latents_of):
    """Another backend, precision or encoding changes little: latents are shared directly."""
    codec = load('tinyvae', backend=backend, device='cpu', precision=precision)
    _, result = arbiter_for(ours, codec, latents_of(codec))
    assert 0.95 < result.trust.compression_trust <= 1.0
    assert result.trust.level is Level.HIGH
    assert not result.calibrated


def test_4_different_training(ours, views):
    """Another model is rejected until a map is fitted, which preserves the image quality."""
    theirs = load('tinyvae_128', backend='onnxruntime')
    arbiter = Arbiter(CAMERAS, ours)
    (first, *_) = lcts_of(theirs, 'cam1', views[0])
    assert arbiter.admit('cam1', first).reason is RejectionReason.NOT_MEASURED
    arbiter, result = arbiter_for(ours, theirs)
    assert result.before.level is Level.NONE
    assert result.trust.level >= Level.MEDIUM
    translated = [arbiter.admit('cam1', lct).accepted for lct in lcts_of(theirs, 'cam1', views[0])]
    means = np.stack([lct.latent.mean for lct in translated])
    arrived = batch_psnr(ours.decode(means), views[0]).mean()
    own = batch_psnr(ours.reconstruct(views[0]), views[0]).mean()
    assert arrived > own - 1.0, 'within a decibel, on images that are not in the probe set'
    assert len(probe_latents(theirs)) == probe_set.COUNT <= 512
