# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Two cameras whose encoders speak in different packed forms, through to the fused latent."""

from dataclasses import replace

import numpy as np
from sage_msgs.msg import Crop, CropArray, LCTArray
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header

from sage_perception import models
from sage_perception.bringup.graph import dual_camera
from sage_perception.codecs.packing import Encoding
from sage_perception.ros.conversions.latents import latent_from_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.images import to_message, to_rgb
from sage_perception.vision.synthetic import SyntheticWorld

FORMS = {'cam0': Encoding.INT8, 'cam1': Encoding.ENTROPY_INT8}


def test_packed_latents_are_fused_and_shown(run_graph):
    specs = [
        replace(
            spec, parameters={**spec.parameters, 'encoding': FORMS[spec.namespace].name.lower()}
        )
        if spec.name == 'encoder'
        else spec
        for spec in dual_camera()
        if spec.name in ('encoder', 'arbiter', 'viewer')
    ]
    graph = run_graph(specs)
    node = graph.ros.node
    crops = {c: node.create_publisher(CropArray, f'{c}/crops', 10) for c in FORMS}
    frames = node.create_publisher(Image, 'cam0/image_raw', 2)
    said = {c: graph.collect(LCTArray, f'{c}/lcts') for c in FORMS}
    fused = graph.collect(LCTArray, 'fused')
    shown = graph.collect(Image, 'cam0/reconstruction', last=1)
    world = SyntheticWorld(seed=1, width=128, height=128, objects=1)
    picture = np.ascontiguousarray(world.render(0.0)[32:96, 32:96, ::-1])
    sent = [0]

    def agreed():
        """Both cameras see the same, again and again, until all have met and agree."""
        now = node.get_clock().now().nanoseconds
        if now - sent[0] > 200_000_000:
            sent[0] = now
            header = Header(stamp=stamp_to_msg(now), frame_id='lens')
            image = to_message(picture, 'rgb8', header)
            frames.publish(image)
            for publisher in crops.values():
                roi = RegionOfInterest(width=64, height=64)
                crop = Crop(image=image, roi=roi, track_id=1, score=0.5)
                publisher.publish(CropArray(header=header, crops=[crop]))
        return shown and [a for a in fused if a.lcts and len(a.lcts[0].provenance) == 3]

    array = graph.wait_for(agreed, 'a latent of both cameras, and its image')[-1]
    codec = models.load('tinyvae', backend='onnxruntime')
    for camera, form in FORMS.items():
        spoken = next(a for a in said[camera] if a.header == array.header).lcts[0].latent
        assert spoken.encoding == form
        assert len(spoken.payload) <= codec.latent_dim
        assert (len(spoken.mean), len(spoken.log_var)) == (0, 0)
    both = latent_from_msg(array.lcts[0].latent)
    x = picture.transpose(2, 0, 1)[None].astype(np.float32) / 255
    z = codec.encode(x)[0]
    assert np.abs(both.mean - z).max() < 0.2
    decoded = codec.decode(np.stack([z, both.mean]))
    assert np.square(decoded[1] - decoded[0]).mean() < 1e-4
    pixels = decoded[0].transpose(1, 2, 0) * 255
    assert np.abs(to_rgb(shown[0]) - pixels).mean() < 3
