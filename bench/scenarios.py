# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conduct of an arbiter among cameras that lie, collude, or are honest in difficult conditions.

Part of `bench/security.py`. Five cameras see some of 24 objects at 10 Hz. Each view of an object
is an image with another offset, exposure and sensor noise, encoded by the model. A lying camera
sends signed latents of objects that are not there, with telemetry trust 1.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sage_perception.core.latent import Latent, ModelId, Telemetry
from sage_perception.models import Codec, load
from sage_perception.trust import LCT, Arbiter, ArbiterConfig, TrustStore, sign
from sage_perception.trust.camera_state import CameraState
from sage_perception.trust.compatibility import probe_set
from sage_perception.trust.compatibility.challenge import challenge_trust, passes
from sage_perception.trust.compatibility.challenge_images import challenge_latents
from sage_perception.trust.compatibility.estimator import CompatibilityEstimator
from sage_perception.trust.compatibility.report import Level
from sage_perception.trust.fitted import similarity_of
from sage_perception.trust.fusion.fusion import ALONE_TRUST
from sage_perception.trust.fusion.moments import AcceptedFrame, Moment
from sage_perception.trust.security.admission import AdmissionFilter
from sage_perception.trust.security.announcements import ProbeSet
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.replay import ReplayGuard
from sage_perception.trust.security.sequence import Counting, SequenceCounter

CAMERAS = tuple(f'cam{n}' for n in range(5))
KEYS = {
    name: Ed25519PrivateKey.from_private_bytes(bytes([n + 1]) * 32)
    for n, name in enumerate(CAMERAS)
}
RATE_HZ = 10
SECOND = 10**9
START_NS = 1_800_000_000 * SECOND
OBJECTS, VIEWS, VISIBLE = 24, 16, 4
FALSE = range(OBJECTS, 2 * OBJECTS)
"""Numbers of the objects that are not there."""


@cache
def views(model: str, noise: float = 0.03) -> np.ndarray:
    """Return latents `[2 * OBJECTS, VIEWS, D]` of views of objects, from the probe images."""
    codec, rng = load(model), np.random.default_rng(0)
    images = probe_set.scale(probe_set.images(), codec.input_size, codec.input_channels)
    found = []
    for image in images[:: len(images) // (2 * OBJECTS)][: 2 * OBJECTS]:
        seen = [
            np.roll(image, rng.integers(-3, 4, 2), (1, 2)) * rng.uniform(0.85, 1.15)
            + rng.normal(0, noise, image.shape)
            for _ in range(VIEWS)
        ]
        found.append(codec.encode(np.float32(seen).clip(0, 1)).reshape(VIEWS, -1))
    return np.float32(found)


@dataclass(eq=False)
class Camera:
    """A camera: `sees` returns the numbers of the objects at a time in seconds.

    `trust` returns its telemetry trust at a time, and `noise` is that of its sensor.
    """

    name: str
    sees: Callable[[float, np.ndarray, np.random.Generator], np.ndarray]
    trust: Callable[[float], float] = lambda _: 0.9
    noise: float = 0.03
    honest: bool = True
    sequences: Counting = field(default_factory=lambda: Counting(START_NS))

    def frame(
        self, codec: Codec, time_s: float, scene: np.ndarray, rng: np.random.Generator
    ) -> list[tuple[int, LCT]]:
        """Return the objects in a frame, and their signed LCTs."""
        stamp_ns = START_NS + round(time_s * SECOND)
        found = []
        for number in self.sees(time_s, scene, rng):
            mean = views(codec.id.name, self.noise)[number, rng.integers(VIEWS)]
            telemetry = Telemetry(trust=self.trust(time_s), reconstruction_error=0.01)
            latent = Latent(mean, model=codec.id, track_id=int(number) + 1, telemetry=telemetry)
            lct = LCT.encoded(
                latent, entity_id=self.name, sequence=self.sequences.next(), stamp_ns=stamp_ns
            )
            found.append((int(number), sign(lct, KEYS[self.name])))
        return found


def honestly(_: float, scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return most objects of the scene: an honest camera misses one in five."""
    return scene[rng.random(len(scene)) < 0.8]


def falsely(_: float, scene: np.ndarray, __: np.random.Generator) -> np.ndarray:
    """Return as many objects that are not there."""
    return scene + OBJECTS


def falsely_after(start_s: float) -> Callable[..., np.ndarray]:
    """Return a view that is honest until `start_s`."""

    def sees(time_s: float, scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return (falsely if time_s >= start_s else honestly)(time_s, scene, rng)

    return sees


def partly_falsely(_: float, scene: np.ndarray, __: np.random.Generator) -> np.ndarray:
    """Return one true object among false ones."""
    return np.concatenate([scene[:1], scene[1:] + OBJECTS])


@dataclass
class Run:
    """The course of one run.

    `reputations` has those of each camera at each frame, `suspect` the cameras that were suspect,
    `false_trust` the trust of fused LCTs of objects that are not there, by time in seconds, and
    `true_trust` that of the others.
    """

    reputations: dict[str, list[float]]
    suspect: set[str]
    false_trust: list[tuple[float, float]]
    true_trust: list[tuple[float, float]]

    def seconds_until(self, camera: str, below: float, since_s: float) -> float:
        """Return the seconds from `since_s` until a reputation is below a value; inf: never."""
        course = self.reputations[camera][round(since_s * RATE_HZ) :]
        return next((n / RATE_HZ for n, value in enumerate(course) if value < below), np.inf)


def run(
    cameras: list[Camera], seconds: float, seed: int, shared_view: bool, model: str = 'tinyvae'
) -> Run:
    """Run an arbiter that requires signatures with these cameras; the first is the primary one."""
    codec, rng = load(model), np.random.default_rng(seed)
    store = TrustStore()
    for camera in cameras:
        store.trust(camera.name, public_bytes(KEYS[camera.name]))
    arbiter = Arbiter(
        [camera.name for camera in cameras],
        codec,
        ArbiterConfig(shared_view=shared_view),
        store=store,
        similarity=similarity_of(codec),
    )
    found = Run({camera.name: [] for camera in cameras}, set(), [], [])
    scene = np.arange(VISIBLE)
    for n in range(round(seconds * RATE_HZ)):
        time_s = n / RATE_HZ
        if n % (2 * RATE_HZ) == 0:  # objects come and go
            scene = rng.choice(OBJECTS, VISIBLE, replace=False)
        for camera in cameras:
            made = camera.frame(codec, time_s, scene, rng)
            accepted = []
            for _, lct in made:
                verdict = arbiter.admit(camera.name, lct, now_ns=lct.stamp_ns)
                if verdict.accepted is None:
                    raise RuntimeError(f'{camera.name}: {verdict.reason}')
                accepted.append(verdict.accepted)
            stamp_ns = START_NS + round(time_s * SECOND)
            for moment in arbiter.add_frame(camera.name, AcceptedFrame(stamp_ns, accepted)):
                _note(found, moment, [camera.name for camera in cameras if camera.honest])
        for camera in cameras:
            reputation = arbiter.state(camera.name).reputation
            found.reputations[camera.name].append(reputation.value)
            if reputation.suspect:
                found.suspect.add(camera.name)
    return found


def _note(found: Run, moment: Moment, honest: Collection[str]) -> None:
    """Note the trust of fused LCTs; false ones that look like what honest cameras see are not."""
    time_s = (moment.frame.stamp_ns - START_NS) / SECOND
    supported = {
        match.a
        for pairing in moment.pairings
        for match, agree in zip(pairing.matches, pairing.agree, strict=True)
        if agree and pairing.camera in honest
    }
    for place, (lct, fused) in enumerate(zip(moment.frame.lcts, moment.fused, strict=True)):
        if lct.latent.track_id - 1 not in FALSE:
            found.true_trust.append((time_s, fused.trust))
        elif place not in supported:
            found.false_trust.append((time_s, fused.trust))


def honest_cameras() -> dict[str, Camera]:
    """Return five honest cameras by name."""
    return {name: Camera(name, honestly) for name in CAMERAS}


def difficult_cameras() -> dict[str, Camera]:
    """Return honest cameras: one noisy, one occluded, one faulty and one moving.

    The occluded one sees one object for 10 s, and then none for 10 s. The faulty one reports its
    fault for 5 s. The moving one shares a part of the view, which varies, and none for 10 s.
    """

    def occluded(time_s: float, scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if 20 <= time_s < 30:
            return scene[:1]
        return scene[:0] if 30 <= time_s < 40 else honestly(time_s, scene, rng)

    def moving(time_s: float, scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        shared = round(len(scene) * (0.625 + 0.375 * np.cos(time_s / 3)))
        if 40 <= time_s < 50:
            shared = 0
        others = (scene[shared:] + 7) % OBJECTS
        return np.concatenate([scene[:shared], others[~np.isin(others, scene)]])

    return honest_cameras() | {
        'cam1': Camera('cam1', honestly, noise=0.1),
        'cam2': Camera('cam2', occluded),
        'cam3': Camera('cam3', honestly, trust=lambda time_s: 0.0 if 20 <= time_s < 25 else 0.9),
        'cam4': Camera('cam4', moving),
    }


def control(seed: int, shared_view: bool) -> dict:
    """Return the reputations of honest cameras in difficult conditions after 100 s.

    `accused` are cameras that were suspect and did not report a fault themselves.
    """
    found = run([*difficult_cameras().values()], 100, seed, shared_view)
    return {
        'honest_min': min(course[-1] for course in found.reputations.values()),
        'lowest': {name: min(course) for name, course in found.reputations.items()},
        'accused': sorted(found.suspect - {'cam3'}),
    }


def liar(seed: int, shared_view: bool, sees: Callable[..., np.ndarray], since_s: float) -> dict:
    """Return the course of a camera that lies from `since_s` on, 60 s and more."""
    lying = Camera('cam4', sees, trust=lambda _: 1.0, honest=False)
    found = run([*(honest_cameras() | {'cam4': lying}).values()], since_s + 60, seed, shared_view)
    return outcome(found, {'cam4': lying}, since_s)


def colluders(
    seed: int, shared_view: bool, sees: Callable[..., np.ndarray], since_s: float
) -> dict:
    """Return the course of the primary camera and another one that report the same lies."""
    lying = {
        name: Camera(name, sees, trust=lambda _: 1.0, honest=False) for name in ('cam0', 'cam4')
    }
    found = run([*(honest_cameras() | lying).values()], since_s + 60, seed, shared_view)
    return outcome(found, lying, since_s)


def outcome(found: Run, lying: Mapping[str, Camera], since_s: float) -> dict:
    """Return the main figures of a run with lying cameras.

    `false_trust_max` is the largest trust of a fused LCT of an object that is not there. No honest
    camera supports it, so its bound is `ALONE_TRUST`.
    """
    honest = [course for name, course in found.reputations.items() if name not in lying]
    return {
        'honest_min': min(course[-1] for course in honest),
        'liar_max': max(found.reputations[name][-1] for name in lying),
        'seconds_below_0.3': _finite(
            max(found.seconds_until(name, 0.3, since_s) for name in lying)
        ),
        'false_trust_max': max((trust for _, trust in found.false_trust), default=0.0),
        'false_trust_bound': ALONE_TRUST,
        'accused': sorted(found.suspect - set(lying)),
    }


def ratchet(seed: int) -> dict:
    """Return the LCTs of an honest entity that a stolen key or a wrong clock loses, of 2,000 each.

    `rotated`: an LCT of the stolen key with the sequence 2^64 − 1, then a rotation. `stolen`: the
    same without a rotation. `set_back`, `set_ahead`: all clocks change by an hour, the entity
    restarts. LCTs are sent at 30 Hz.
    """
    rng = np.random.default_rng(seed)
    keys = [Ed25519PrivateKey.from_private_bytes(rng.bytes(32)) for _ in range(2)]
    latent = Latent(np.float32(rng.normal(size=64)), model=ModelId('m', '1', bytes(range(32))))

    def lost(change: str) -> int:
        now = [START_NS]
        store = TrustStore()
        store.trust('cam0', public_bytes(keys[0]))
        admission = AdmissionFilter(store, replay_guard=ReplayGuard(lambda: now[0]))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, 'cam0.sequence')
            counter, key = SequenceCounter(path, lambda: now[0]), keys[0]

            def send(sequence: int, signer: Ed25519PrivateKey) -> bool:
                lct = LCT.encoded(latent, entity_id='cam0', sequence=sequence, stamp_ns=now[0])
                return admission.admit(sign(lct, signer), now_ns=now[0]).reason is None

            def accepted(count: int) -> int:
                found = 0
                for _ in range(count):
                    now[0] += SECOND // 30
                    found += send(counter.next(), key)
                return found

            accepted(300)
            if change in ('rotated', 'stolen'):
                send(2**64 - 1, keys[0])
            if change == 'rotated':
                key = keys[1]
                store.trust('cam0', public_bytes(key))
                store.revoke('cam0', public_bytes(keys[0]))
            if change.startswith('set_'):
                now[0] += 3600 * SECOND * (1 if change == 'set_ahead' else -1)
                counter = SequenceCounter(path, lambda: now[0])
            return 2000 - accepted(2000)

    return {change: lost(change) for change in ('rotated', 'stolen', 'set_back', 'set_ahead')}


POISONS = {
    'copied': 'right probe latents of a public model, another encoder',
    'made_up': 'a permutation of the right latents, which no encoder of the sender makes',
    'distorted': 'the strongest directions mirrored',
    'rotated_live': 'right probe latents and answers, rotated live latents',
    'scaled_live': 'right probe latents and answers, live latents times 4',
}


def poisoned(seed: int, count: int = 200, model: str = 'tinyvae') -> dict:
    """Return how many of `count` poisoned probe sets stay undetected, by kind, and of honest ones.

    A sender is detected if it is suspect after a challenge and 60 frames of four latents.
    """
    codec, rng = load(model), np.random.default_rng(seed)
    right = probe_set.probe_latents(codec)
    seen = np.concatenate([challenge_latents(codec, rng.bytes(32)) for _ in range(15)])
    evaluator = CompatibilityEstimator(codec)
    dim = right.shape[1]
    undetected: Counter[str] = Counter()
    kinds = [*POISONS, 'honest']
    for n in range(count + 20):
        kind = kinds[n % len(POISONS)] if n < count else 'honest'
        turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
        order = rng.permutation(dim)
        mirror = np.where(np.arange(dim) < dim // 2, -1, 1).astype(np.float32)
        probes = {'made_up': right[:, order], 'distorted': right * mirror}.get(kind, right)
        state = CameraState(
            'cam0', 'cam0', TrustStore(), model=codec.id, dim=dim, require_signatures=False,
            replay_guard=ReplayGuard(),
        )  # fmt: skip
        sender = codec.id if kind != 'made_up' else ModelId('other', '1', rng.bytes(32))
        found = evaluator.evaluate(probes, sender)
        if kind == 'distorted':
            found = evaluator.evaluate(probes, replace(codec.id, fingerprint=rng.bytes(32)))
        announced = ProbeSet('cam0', 1, found.sender, probes)
        state.use_compatibility(found, announced)
        nonce = state.challenges.next(START_NS) or b''
        answer = challenge_latents(codec, nonce)
        if kind == 'copied':
            answer = answer @ turn
        trust = challenge_trust(found, codec, nonce, answer)
        state.challenges.note(trust, passes(found, trust))
        live = seen[rng.permutation(len(seen))]
        live = {'rotated_live': live @ turn, 'scaled_live': 4 * live}.get(kind, live)
        usable = found.trust.level is not Level.NONE
        for frame in range(60 if usable else 0):
            stamp_ns = START_NS + frame * SECOND // 2
            z = found.translate(live[4 * frame : 4 * frame + 4])
            telemetry = Telemetry(trust=1.0)
            state.note_frame(
                [
                    LCT.encoded(
                        Latent(one, model=codec.id, telemetry=telemetry),
                        entity_id='cam0',
                        sequence=frame,
                        stamp_ns=stamp_ns,
                    )
                    for one in z
                ]
            )
        undetected[kind] += usable and not state.reputation.suspect
    return {
        'poisoned': count,
        'accepted': sum(undetected[kind] for kind in POISONS),
        'accepted_by_kind': {kind: undetected[kind] for kind in POISONS},
        'honest': 20,
        'honest_accepted': undetected['honest'],
    }


def measure(seeds: int, probe_sets: int) -> dict:
    """Return the figures of all scenarios: of each the worst of several seeds, and every run."""
    return {
        'liar': _each(seeds, liar, falsely, falsely_after(30)),
        'colluders': _each(seeds, colluders, falsely, falsely_after(30)),
        'control': {
            name: [control(seed, shared) for seed in range(seeds)]
            for name, shared in (('shared_view', True), ('unknown_view', False))
        },
        'ratchet': ratchet(0),
        'poisoned': poisoned(0, probe_sets),
    }


def _each(
    seeds: int,
    scenario: Callable[..., dict],
    from_start: Callable[..., np.ndarray],
    later: Callable[..., np.ndarray],
) -> dict:
    """Return the outcomes of a scenario with lies from the start and from 30 s on."""
    runs = {
        f'{name}_{when}': [scenario(seed, shared, sees, since_s) for seed in range(seeds)]
        for name, shared in (('shared_view', True), ('unknown_view', False))
        for when, sees, since_s in (('from_start', from_start, 0), ('later', later, 30))
    }
    worst, unknown = (
        [run for when in ('from_start', 'later') for run in runs[f'{view}_{when}']]
        for view in ('shared_view', 'unknown_view')
    )
    return {
        'honest_min': min(run['honest_min'] for run in worst),
        'liar_max': max(run['liar_max'] for run in worst),
        'seconds_below_0.3': _finite(max(run['seconds_below_0.3'] or np.inf for run in worst)),
        'false_trust_max': max(run['false_trust_max'] for run in worst),
        'false_trust_bound': ALONE_TRUST,
        'accused': sorted({name for run in worst for name in run['accused']}),
        # Without a known view, a camera that lies and one that looks elsewhere are the same; what
        # holds is the bound on the trust of what one camera alone reports.
        'unknown_view': {
            'liar_max': max(run['liar_max'] for run in unknown),
            'false_trust_max': max(run['false_trust_max'] for run in unknown),
            'false_trust_bound': ALONE_TRUST,
            'within_bound': all(run['false_trust_max'] <= ALONE_TRUST for run in unknown),
        },
        'runs': runs,
    }


def _finite(seconds: float) -> float | None:
    """Return seconds, None for never, which JSON cannot represent as a number."""
    return float(seconds) if np.isfinite(seconds) else None
