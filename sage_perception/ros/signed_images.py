# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Signatures of images, which have none: the camera sends them on a topic of their own.

A signature covers the digest of an image, and so its header, size, encoding and pixels. The camera
publishes it before the image. A receiver waits for the signature of an image, and hashes only
images for whose stamp it has one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sage_msgs.msg import ImageSignature
from sensor_msgs.msg import CompressedImage, Image

from sage_perception.ros import qos
from sage_perception.ros.authentication import AuthenticatedInput
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.image_input import ImageInput
from sage_perception.ros.local_bus import ProcessId, TopicPublisher
from sage_perception.ros.message_form import message_digest, sign_message
from sage_perception.ros.tables import Topic
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.rate_limit import PublisherRateLimiter
from sage_perception.trust.security.rejection import RejectionReason, explain
from sage_perception.trust.security.trust_store import TrustStore

MAX_WAITING = 4
"""Images that wait for their signatures."""
MAX_STAMPS = 16
"""Stamps whose digests are kept until their images arrive."""
MAX_DIGESTS = 2
"""Digests of one stamp that are kept: the newest ones, of the raw and the compressed image."""
UNSIGNED = (
    "image without a valid signature: set the parameter 'key' of the camera node; for a driver "
    "that cannot sign, set the parameter 'unsigned_images' of this node"
)


class ImageSigner:
    """Signs the images of a camera for the receivers outside its process, if it has a key."""

    def __init__(self, publisher: TopicPublisher, identity: Identity) -> None:
        self._publisher, self._identity = publisher, identity

    def sign(self, image: Image | CompressedImage) -> None:
        """Publish the signature of an image; call it before the image is published."""
        if self._identity.key is None or not self._publisher.uses_dds:
            return
        message = ImageSignature(header=image.header)
        message.digest = np.frombuffer(message_digest(image), np.uint8)
        self._publisher.publish(sign_message(message, self._identity))


class _Waiting(NamedTuple):
    """An image that waits for its signature, and its publisher."""

    stamp_ns: int
    image: Image | CompressedImage
    publisher: bytes


class SignedImages:
    """Passes on images of nodes of the same process, and images that `entity` has signed.

    It is the guard of the subscription to the images, whose callback is `receive`, and subscribes
    to `topic` itself, an entry of `SUBSCRIBES` from `signature_topic`. `store` has the keys of
    `entity`. `deliver` is called with each authenticated image, `reject` with the reason for each
    other one. An image is delivered once, and later images only after it.
    """

    def __init__(
        self,
        node: Endpoints,
        topic: str,
        store: Callable[[], TrustStore],
        entity: str,
        deliver: Callable[[Image | CompressedImage], None],
        reject: Callable[[str], None],
        camera: str = '',
    ) -> None:
        self._deliver, self._reject = deliver, reject
        self._limiter = PublisherRateLimiter()
        self._waiting: list[_Waiting] = []
        self._digests: OrderedDict[int, deque[bytes]] = OrderedDict()
        self._signatures = AuthenticatedInput(
            node,
            topic,
            self._note,
            store,
            True,
            lambda: [entity],
            camera=camera,
            timeout_s=0,
        )

    def admits(self, publisher: bytes) -> bool:
        """Return whether to deserialize an image of `publisher`."""
        admitted = isinstance(publisher, ProcessId) or self._limiter.admits(publisher)
        if not admitted:
            self._reject(explain(RejectionReason.RATE_LIMITED))
        return admitted

    def note_malformed(self, publisher: bytes) -> None:
        """Count an image that cannot be deserialized."""
        self._limiter.note(publisher, accepted=False)

    def receive(self, image: Image | CompressedImage, publisher: bytes) -> None:
        """Deliver or reject an image, or let it wait for its signature."""
        if isinstance(publisher, ProcessId):
            self._deliver(image)
            return
        waiting = _Waiting(stamp_from_msg(image.header.stamp), image, publisher)
        if waiting.stamp_ns in self._digests:
            self._judge(waiting)
            return
        self._waiting.append(waiting)
        if len(self._waiting) > MAX_WAITING:
            self._refuse(self._waiting.pop(0))

    def _note(self, message: ImageSignature) -> None:
        """Keep the digest of a verified signature, and judge the images that waited for it."""
        stamp_ns = stamp_from_msg(message.header.stamp)
        kept = self._digests.setdefault(stamp_ns, deque(maxlen=MAX_DIGESTS))
        kept.append(message.digest.tobytes())
        while len(self._digests) > MAX_STAMPS:
            self._digests.popitem(last=False)
        due = [each for each in self._waiting if each.stamp_ns == stamp_ns]
        self._waiting = [each for each in self._waiting if each.stamp_ns != stamp_ns]
        for each in due:
            self._judge(each)

    def _judge(self, waiting: _Waiting) -> None:
        digests, digest = self._digests[waiting.stamp_ns], message_digest(waiting.image)
        if digest not in digests:
            self._refuse(waiting)
            return
        digests.remove(digest)
        self._limiter.note(waiting.publisher, accepted=True)
        # The signatures of images before this one are lost or late.
        older = [each for each in self._waiting if each.stamp_ns < waiting.stamp_ns]
        self._waiting = [each for each in self._waiting if each.stamp_ns >= waiting.stamp_ns]
        for each in older:
            self._refuse(each)
        # Images that were lost must not be delivered when someone sends them later.
        for stamp_ns in [each for each in self._digests if each < waiting.stamp_ns]:
            del self._digests[stamp_ns]
        self._deliver(waiting.image)

    def _refuse(self, waiting: _Waiting) -> None:
        self._limiter.note(waiting.publisher, accepted=False)
        self._reject(UNSIGNED)


def signature_topic(images: str) -> Topic:
    """Return the entry of `SUBSCRIBES` for the signatures of the images on the topic `images`."""
    return Topic(
        _signatures_of(images),
        ImageSignature,
        qos.DEFAULT,
        'Signatures of the images; subscribed only with `require_signatures`, without '
        '`unsigned_images`.',
    )


def subscribe_images(
    node: Endpoints,
    name: str,
    deliver: Callable[[Image | CompressedImage], None],
    store: Callable[[], TrustStore],
    entity: str,
    camera: str = '',
    max_age_s: float = 0.0,
) -> ImageInput:
    """Subscribe to all images of a camera, or to those that are authenticated.

    The parameters `REQUIRE_SIGNATURES` and `UNSIGNED_IMAGES` of the node decide. Authenticated are
    images of nodes of the same process, and those that `entity` has signed with a key of `store`.
    `name` is that of `image_topics`, and the node has the topics `signature_topic(name)`.
    """
    if not node.parameters.require_signatures or node.parameters.unsigned_images:
        return ImageInput(node, name, deliver, camera, max_age_s=max_age_s)

    def reject(reason: str) -> None:
        images.reject(reason)

    signed = SignedImages(node, _signatures_of(name), store, entity, deliver, reject, camera)
    images = ImageInput(node, name, signed.receive, camera, max_age_s=max_age_s, guard=signed)
    return images


def _signatures_of(images: str) -> str:
    return '/'.join([*images.split('/')[:-1], 'image_signature'])
