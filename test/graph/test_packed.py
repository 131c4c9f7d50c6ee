# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Two cameras with different encodings of their latents, up to the fused latent."""

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
from sage_perception.ros.images import image_to_msg, rgb_from_msg
from sage_perception.vision.synthetic import SyntheticWorld

ENCODINGS = {'cam0': Encoding.INT8, 'cam1': Encoding.ENTROPY_INT8}


def test_packed_latents_are_fused_and_reconstructed(run_graph):
    specs = [
        replace(
            spec,
            parameters={**spec.parameters, 'encoding': ENCODINGS[spec.namespace].name.lower()},
        )
        if spec.name == 'encoder'
        else spec
        for spec in dual_camera()
        if spec.name in ('encoder', 'arbiter', 'viewer')
    ]
    graph = run_graph(specs)
    node = graph.ros.node
    crops = {c: node.create_publisher(CropArray, f'{c}/crops', 10) for c in ENCODINGS}
    frames = node.create_publisher(Image, 'cam0/image_raw', 2)
    published = {c: graph.collect(LCTArray, f'{c}/lcts') for c in ENCODINGS}
    fused = graph.collect(LCTArray, 'fused')
    shown = graph.collect(Image, 'cam0/reconstruction', last=1)
    world = SyntheticWorld(seed=1, width=128, height=128, objects=1)
    image_rgb = np.ascontiguousarray(world.render(0.0)[32:96, 32:96, ::-1])
    last_ns = [0]

    def fused_and_shown():
        """Publish the same crop for both cameras until their latents are fused."""
        now = node.get_clock().now().nanoseconds
        if now - last_ns[0] > 200_000_000:
            last_ns[0] = now
            header = Header(stamp=stamp_to_msg(now), frame_id='lens')
            image = image_to_msg(image_rgb, 'rgb8', header)
            frames.publish(image)
            for publisher in crops.values():
                roi = RegionOfInterest(width=64, height=64)
                crop = Crop(image=image, roi=roi, track_id=1, score=0.5)
                publisher.publish(CropArray(header=header, crops=[crop]))
        return shown and [a for a in fused if a.lcts and len(a.lcts[0].provenance) == 3]

    array = graph.wait_for(fused_and_shown, 'a latent of both cameras, and its image')[-1]
    codec = models.load('tinyvae', backend='onnxruntime')
    for camera, encoding in ENCODINGS.items():
        latent = next(a for a in published[camera] if a.header == array.header).lcts[0].latent
        assert latent.encoding == encoding
        assert len(latent.payload) <= codec.latent_dim
        assert (len(latent.mean), len(latent.log_var)) == (0, 0)
    both = latent_from_msg(array.lcts[0].latent)
    x = image_rgb.transpose(2, 0, 1)[None].astype(np.float32) / 255
    z = codec.encode(x)[0]
    assert np.abs(both.mean - z).max() < 0.2
    decoded = codec.decode(np.stack([z, both.mean]))
    assert np.square(decoded[1] - decoded[0]).mean() < 1e-4
    pixels = decoded[0].transpose(1, 2, 0) * 255
    assert np.abs(rgb_from_msg(shown[0]) - pixels).mean() < 3
