# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Messages that are built without their constructors are those that the constructors make."""

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from sage_perception.core.frame import Crop, CropSource
from sage_perception.core.latent import Code, Latent, LatentKind, ModelId, Roi, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.ros.conversions import building
from sage_perception.ros.conversions.building import build
from sage_perception.ros.conversions.crops import crop_to_msg
from sage_perception.ros.conversions.lct_arrays import lct_array_to_msg
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.images import image_to_msg, jpeg_to_msg
from sage_perception.trust.security.canonical import PLAIN

IMAGE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
HEADER = Header(frame_id='camera')
MODEL = ModelId('tinyvae', '1', bytes(range(32)))
LATENT = Latent(
    np.arange(4, dtype=np.float32),
    log_var=np.ones(4, np.float32),
    model=MODEL,
    roi=Roi(1, 2, 3, 4),
    track_id=7,
    telemetry=Telemetry(0.5, 0.25, 0.5, energy_trajectory=(0.25, 0.125)),
    codes=(Code(LatentKind.IDENTITY, ModelId(fingerprint=bytes(31) + b'x'), 1, b'code'),),
    snarc=(0.0, 0.25, 0.5, 0.75, 1.0),
)
LCT_OF_CAMERA = LCT.encoded(LATENT, entity_id='cam0', sequence=3, stamp_ns=5_000_000_001)
CROP = Crop(IMAGE, Roi(1, 2, 4, 4), 0.5, CropSource.MOTION, 7)
CONVERSIONS = {
    'image': lambda: image_to_msg(IMAGE, 'bgr8', HEADER),
    'jpeg': lambda: jpeg_to_msg(IMAGE, HEADER),
    'crop': lambda: crop_to_msg(CROP, HEADER),
    'lct': lambda: lct_to_msg(LCT_OF_CAMERA),
    'array': lambda: lct_array_to_msg(HEADER, (8, 8), 'cam0', [(LCT_OF_CAMERA, PLAIN)]),
}


@pytest.mark.parametrize('convert', CONVERSIONS.values(), ids=CONVERSIONS)
def test_unchecked_message_is_that_of_the_constructors(convert, monkeypatch):
    monkeypatch.setattr(building, 'CHECKED', True)
    expected = convert()
    monkeypatch.setattr(building, 'CHECKED', False)
    built = convert()
    assert built == expected
    assert serialize_message(built) == serialize_message(expected)


def test_arrays_are_not_copied(monkeypatch):
    monkeypatch.setattr(building, 'CHECKED', False)
    message = image_to_msg(IMAGE, 'bgr8', HEADER)
    fields = {name: getattr(message, name) for name in message.get_fields_and_field_types()}
    assert build(type(message), **fields).data is message.data


def test_checked_build_requires_all_fields(monkeypatch):
    monkeypatch.setattr(building, 'CHECKED', True)
    with pytest.raises(AssertionError, match='do_rectify'):
        build(RegionOfInterest, x_offset=0, y_offset=0, height=1, width=1)
