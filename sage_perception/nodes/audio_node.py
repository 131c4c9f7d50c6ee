# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Encodes the sound events of microphones, and publishes their directions and words."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, replace
from typing import Any

from geometry_msgs.msg import Pose, PoseStamped, Quaternion
from sage_msgs.msg import LCTArray
from std_msgs.msg import Bool, Float32, Header, String

from sage_perception import models
from sage_perception.audio.event_stream import EventStream, SoundEvent
from sage_perception.audio.phrase import Phrase
from sage_perception.audio.sources import ReconnectingSound, SoundBlock
from sage_perception.audio.voice_model import voice_test
from sage_perception.core.lct import LCT
from sage_perception.core.text import split_names
from sage_perception.pipeline.sound_encoder import EncodedSound, SoundEncoder
from sage_perception.ros import qos
from sage_perception.ros.capture import CaptureNode
from sage_perception.ros.control import CONTROL
from sage_perception.ros.conversions.lct_arrays import lct_array_to_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.diagnostics import ERROR, OK, WARN, Status
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import node_identity
from sage_perception.ros.node_parameters.audio import AUDIO
from sage_perception.ros.run import run
from sage_perception.ros.statistics import Durations, Rate
from sage_perception.ros.tables import Topic
from sage_perception.trust.security.canonical import PLAIN
from sage_perception.trust.security.identity import Identity
from sage_perception.vision.sources.reconnect import Connection


@dataclass(frozen=True, eq=False)
class _Configured:
    """State that exists while the node is configured."""

    encoder: SoundEncoder
    identity: Identity


class AudioNode(CaptureNode[ReconnectingSound, SoundBlock]):
    """Publishes one LCT for each sound event, its direction, and the words that it recognizes."""

    DEVICE, ITEMS = 'microphone', 'sound'
    PARAMETERS = AUDIO
    PUBLISHES = (
        Topic('audio', LCTArray, qos.DEFAULT, 'One LCT of kind AUDIO for each sound event.'),
        Topic(
            'bearing',
            PoseStamped,
            qos.DEFAULT,
            'Direction of each event of two microphones, as the yaw of the orientation.',
        ),
        Topic('voice', Bool, qos.DEFAULT, 'Whether each event is a voice.'),
        Topic(
            'arousal',
            Float32,
            qos.DEFAULT,
            'Arousal of each event: its level over the background, half of it for other than '
            'voices. What the memory node observes then has at least this arousal.',
        ),
        Topic('goal', String, qos.DEFAULT, 'Recognized words, successive ones joined.'),
    )
    SERVES = (CONTROL,)

    def __init__(self, **options: Any) -> None:
        super().__init__('audio', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        super().setup()
        self._configured: _Configured | None = None
        try:
            self._voice_activity, self._voice_test = voice_test(self.parameters.voice_activity)
        except ImportError as error:
            raise ConfigurationError(f"parameter 'voice_activity': {error}") from error
        self._stream = EventStream(self.parameters.spacing_m, self._voice_test)
        self._phrase = Phrase(self.parameters.phrase_gap_s)
        self._blocks, self._durations = Rate(), Durations()
        self._events = self._faulty = 0
        self._last_word = ''
        self._frame_id = self.parameters.frame_id or f'{self.device_name}_link'
        self._audio = self.publisher('audio')
        self._bearings = self.publisher('bearing')
        self._voices = self.publisher('voice')
        self._arousals = self.publisher('arousal')
        self._goals = self.publisher('goal')
        self.diagnostics.add('sound', self._report)

    def configure(self) -> None:
        """Load the model and open the source."""
        parameters = self.parameters
        identity = node_identity(self, parameters.entity_id or self.get_namespace().strip('/'))
        try:
            model = models.load_audio(parameters.model)
            encoder = SoundEncoder(model, split_names(parameters.goal_words))
        except models.ModelError as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        except ValueError as error:
            raise ConfigurationError(f"parameter 'goal_words': {error}") from error
        model.threads = parameters.threads
        self.connect(ReconnectingSound)
        self._configured = _Configured(encoder, identity)
        self.get_logger().info(f'loaded {model.id}; entity {identity.entity_id!r}')

    def activate(self) -> None:
        """Start capturing."""
        self._stream = EventStream(self.parameters.spacing_m, self._voice_test)
        super().activate()

    def cleanup(self) -> None:
        """Close the source and release the model."""
        super().cleanup()
        self._configured = None

    def on_connection(self, state: Connection) -> None:
        """Log a change of the connection; sound of before does not continue after it."""
        super().on_connection(state)
        self._stream.restart()

    def receive(self, block: SoundBlock) -> None:
        """Handle a block, in the thread of the capture."""
        configured = self._configured
        if configured is None:
            return
        self._blocks.tick()
        events = self._stream.add(block)
        for event in events:
            start_s = time.perf_counter()
            encoded = configured.encoder.encode(event)
            self._publish(configured.identity, event, encoded)
            self._durations.add(time.perf_counter() - start_s)

    def _publish(self, identity: Identity, event: SoundEvent, encoded: EncodedSound) -> None:
        """Publish an event: its LCT, arousal, direction and word."""
        stamp = self.stamp_of(event.captured_ns)
        if stamp is None:
            return
        stamp_ns = stamp_from_msg(stamp)
        header = Header(stamp=stamp, frame_id=self._frame_id)
        self._events += 1
        self._faulty += bool(event.fault)
        arousal = 0.0 if event.fault else event.arousal
        latent = replace(encoded.latent, snarc=(0.0, 0.0, arousal, 0.0, 0.0))
        lct = LCT.encoded(
            latent,
            entity_id=identity.entity_id,
            sequence=identity.next_sequence(),
            stamp_ns=stamp_ns,
        )
        array = lct_array_to_msg(header, (0, 0), identity.entity_id, [(lct, PLAIN)], identity.key)
        self._audio.publish(array)
        if event.fault:
            return
        self._arousals.publish(Float32(data=arousal))
        self._voices.publish(Bool(data=event.voice))
        if event.bearing is not None:
            self._bearings.publish(bearing_to_msg(header, event.bearing.angle))
        if event.voice and encoded.known and encoded.confidence >= self.parameters.min_confidence:
            self._last_word = encoded.word
            self._goals.publish(String(data=self._phrase.add(encoded.word, stamp_ns)))

    def _report(self) -> Status:
        values: dict[str, Any] = {
            'blocks': self._blocks.count,
            'rate_hz': self._blocks.hz,
            'gaps': self._stream.gaps,
            'events': self._events,
            'events_of_a_faulty_microphone': self._faulty,
            'voice_activity': self._voice_activity,
            'last_word': self._last_word,
            'encode_p50_ms': self._durations.percentile_ms(50),
            'encode_p95_ms': self._durations.percentile_ms(95),
            'active': self.active,
        }
        if self.source is not None:
            values |= {'device': self.source.identity, 'channels': self.source.channels}
        if self._configured is not None:
            values['model'] = self._configured.encoder.model.id
        if not self.connection.connected:
            return ERROR, f'no sound: {self.connection.reason}', values
        if not self.active:
            return WARN, 'not active', values
        if self._stream.fault:
            return WARN, f'the sound is {self._stream.fault}: its trust is 0', values
        return OK, 'capturing', values


def bearing_to_msg(header: Header, angle: float) -> PoseStamped:
    """Return a direction, radians, positive to the left, as the yaw of a pose at the origin."""
    turn = Quaternion(x=0.0, y=0.0, z=math.sin(angle / 2), w=math.cos(angle / 2))
    return PoseStamped(header=header, pose=Pose(orientation=turn))


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(AudioNode, args))


if __name__ == '__main__':
    main()
