# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The viewer collects the messages of one moment, whatever the network drops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sage_msgs.msg import LCT, AgreementArray, Crop, CropArray, LCTArray
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header

from sage_perception import models
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.ros.conversions.latents import latent_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.images import image_to_msg
from sage_perception.ros.viewer_input import MAX_SKEW_NS, MomentCollector, TileDecoder

PERIOD_NS = 33_000_000
CAMERAS = ('cam0', 'cam1')


def header(camera, stamp_ns):
    return Header(stamp=stamp_to_msg(stamp_ns), frame_id=camera)


class Bench:
    """Sends the messages of frames to a collector as its gates permit."""

    def __init__(self):
        self.moment = MomentCollector(CAMERAS)

    def frame(self, camera, stamp_ns):
        if self.moment.frame_gates[camera].is_open:
            self.moment.add_frame(camera, Image(header=header(camera, stamp_ns)))

    def crops(self, camera, stamp_ns, count=1):
        if self.moment.crops_gates[camera].is_open:
            array = CropArray(header=header(camera, stamp_ns), crops=[Crop()] * count)
            self.moment.add_crops(camera, array)

    def lcts(self, camera, stamp_ns):
        if self.moment.trusted_gate.is_open:
            self.moment.add_lcts(LCTArray(header=header(camera, stamp_ns), lcts=[LCT()]))

    def agreement(self, stamp_ns):
        if self.moment.agreement_gate.is_open:
            self.moment.add_agreement(AgreementArray(header=header('cam0', stamp_ns)))


steps = st.lists(
    st.tuples(
        st.sampled_from(('frame', 'crops', 'lcts')), st.sampled_from(CAMERAS), st.booleans()
    ),
    max_size=80,
)


@given(steps, st.integers(0, 2))
def test_messages_of_different_frames_are_never_mixed(sent, phase):
    bench = Bench()
    bench.moment.request()
    clocks = {(kind, c): 0 for kind in ('frame', 'crops', 'lcts') for c in CAMERAS}
    for kind, camera, lost in sent:
        clocks[kind, camera] += 1
        stamp_ns = clocks[kind, camera] * PERIOD_NS + (
            phase * 9_000_000 if camera[-1] == '1' else 0
        )
        if not lost:
            getattr(bench, kind)(camera, stamp_ns)
        for moment in bench.moment.moments.values():
            for part in (moment.crops, moment.lcts):
                assert part is None or part.header == moment.frame.header


@pytest.mark.parametrize('phase_ns', [0, 9_000_000, 16_000_000, 30_000_000])
@pytest.mark.parametrize('lost', [(), (1, 2), (3,)])
def test_a_moment_becomes_complete_and_stops_receiving(phase_ns, lost):
    bench = Bench()
    bench.moment.request()
    for number in range(1, 12):
        for camera, shift_ns in (('cam0', 0), ('cam1', phase_ns)):
            bench.frame(camera, number * PERIOD_NS + shift_ns)
        for camera, shift_ns in (('cam0', 0), ('cam1', phase_ns)):
            if number not in lost:
                bench.crops(camera, number * PERIOD_NS + shift_ns)
                bench.lcts(camera, number * PERIOD_NS + shift_ns)
        if number not in lost:
            bench.agreement(number * PERIOD_NS)
        if bench.moment.is_complete:
            break
    assert bench.moment.is_complete
    stamps = [moment.stamp_ns for moment in bench.moment.moments.values()]
    assert max(stamps) - min(stamps) <= max(MAX_SKEW_NS, 0)
    [agreement] = bench.moment.agreements()
    assert agreement.header == bench.moment.moments['cam0'].frame.header
    gates = (*bench.moment.frame_gates.values(), *bench.moment.crops_gates.values())
    assert not any(gate.is_open for gate in (*gates, bench.moment.trusted_gate))
    bench.moment.request()
    assert not bench.moment.moments
    assert not bench.moment.agreements()


def test_crops_that_arrive_before_their_frame_complete_the_moment():
    bench = Bench()
    bench.moment.request()
    for camera in CAMERAS:
        bench.crops(camera, PERIOD_NS)
        bench.frame(camera, PERIOD_NS)
    for camera in CAMERAS:
        bench.lcts(camera, PERIOD_NS)
    assert bench.moment.is_complete


def test_a_frame_without_crops_needs_no_lcts():
    bench = Bench()
    bench.moment.request()
    for camera in CAMERAS:
        bench.frame(camera, PERIOD_NS)
        bench.crops(camera, PERIOD_NS, count=0)
    assert bench.moment.is_complete


@pytest.mark.parametrize('received', [PERIOD_NS, 2 * PERIOD_NS])
def test_a_moment_waits_for_its_agreements_until_later_ones_show_that_they_were_missed(received):
    bench = Bench()
    bench.moment.request()
    for camera in CAMERAS:
        bench.frame(camera, PERIOD_NS)
        bench.crops(camera, PERIOD_NS)
    for camera in CAMERAS:
        bench.lcts(camera, PERIOD_NS)
    bench.agreement(0)
    assert not bench.moment.is_complete
    assert not bench.moment.trusted_gate.is_open
    bench.agreement(received)
    assert bench.moment.is_complete
    assert not bench.moment.agreement_gate.is_open
    assert len(bench.moment.agreements()) == (received == PERIOD_NS)


def test_a_moment_of_cameras_that_are_not_compared_does_not_wait():
    bench = Bench()
    for compared in (True, False, False):
        bench.moment.request()
        for camera in CAMERAS:
            bench.frame(camera, PERIOD_NS)
            bench.crops(camera, PERIOD_NS)
            bench.lcts(camera, PERIOD_NS)
        if compared:
            bench.agreement(0)
        assert bench.moment.is_complete != compared
        bench.moment.take()


def test_agreements_of_other_frames_are_left_out():
    bench = Bench()
    bench.moment.request()
    bench.frame('cam0', 2 * PERIOD_NS)
    bench.agreement(PERIOD_NS)
    bench.agreement(2 * PERIOD_NS)
    assert [a.header for a in bench.moment.agreements()] == [header('cam0', 2 * PERIOD_NS)]


def test_tiles_pair_crops_with_latents_by_region_and_carry_their_ids():
    codec = models.load_crop_codec('tinyvae')
    images = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    rois = [RegionOfInterest(x_offset=8 * n, width=32, height=32) for n in range(2)]
    crops = CropArray(
        crops=[
            Crop(image=image_to_msg(image, 'rgb8', Header()), roi=roi, track_id=1 + n)
            for n, (image, roi) in enumerate(zip(images, rois, strict=True))
        ]
    )
    latent = latent_to_msg(CropEncoder(codec).encode_image(images[1]))
    latent.roi, latent.track_id = rois[1], 70
    lcts = LCTArray(lcts=[LCT(latent=latent, trust=0.5, id=np.arange(16, dtype=np.uint8))])
    first, second = TileDecoder(codec).tiles(crops, lcts)
    assert (first.track_id, first.reconstruction, first.trust, first.id) == (1, None, None, b'')
    assert (second.track_id, second.trust, second.id) == (70, 0.5, bytes(range(16)))
    assert np.array_equal(second.crop, images[1])
    assert second.reconstruction.shape == (64, 64, 3)
    [alone, _] = TileDecoder(codec).tiles(crops, None)
    assert alone.reconstruction is None
