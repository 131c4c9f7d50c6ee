# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Attacks on signed LCTs, all that an outsider can do, and what refusing and accepting cost.

Part of `bench/trust.py`.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sage_perception.core.latent import Latent, ModelId, Roi, Telemetry
from sage_perception.core.lct import Operation, Proof, Provenance, step_from
from sage_perception.trust import LCT, TrustStore, sign
from sage_perception.trust.security.admission import AdmissionFilter
from sage_perception.trust.security.canonical import PLAIN, Wire
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rejection import RejectionReason

DIM = 64
NOW = 1_800_000_000 * 10**9
MODEL = ModelId('tinyvae', '1.0.0', bytes(range(32)))
# Ed25519's group order: a signature with it added to its second half is as good an equation.
ORDER = 2**252 + 27742317777372353535851937790883648493


class World:
    """Two cameras, a relay and an arbiter whose keys are trusted; what the attacker has heard."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.rng = np.random.default_rng(seed)
        self.keys = {
            name: Ed25519PrivateKey.from_private_bytes(self.random.randbytes(32))
            for name in ('robot1/cam0', 'robot1/cam1', 'robot2/radio', 'robot1/arbiter', 'revoked')
        }
        self.attacker = Ed25519PrivateKey.from_private_bytes(self.random.randbytes(32))
        self.store = TrustStore()
        for name, key in self.keys.items():
            self.store.trust(name, public_bytes(key))
        self.store.trust('robot1/cam0', public_bytes(self.keys['revoked']))
        self.store.revoke('robot1/cam0', public_bytes(self.keys['revoked']))
        self.sequence = NOW
        self.heard: list[LCT] = []

    def see(self, wire: Wire = PLAIN, entity: str = 'robot1/cam0') -> LCT:
        """Return the next LCT of a camera, signed; what travels as FLOAT32 has a variance."""
        mean, log_var = self.rng.normal(size=(2, DIM)).astype(np.float32)
        trust = float(np.float32(self.random.random()))
        latent = Latent(
            mean,
            None if wire.packed else log_var,
            model=MODEL,
            roi=Roi(*(self.random.randint(1, 400) for _ in range(4))),
            track_id=self.random.randint(0, 2**32 - 1),
            telemetry=Telemetry(trust, 0.01, 0.5, 7.0, 0.002, 2, (0.02, 0.01)),
        )
        step = Provenance(Operation.ENCODE, entity, MODEL, trust=trust)
        return self.signed(LCT(entity, 0, NOW, latent, (step,), trust), wire)

    def go_on(self, parent: LCT, entity: str, operation: Operation, wire: Wire = PLAIN) -> LCT:
        """Return what an entity makes of an LCT, signed."""
        steps = (*parent.provenance, step_from(parent, operation, entity, MODEL))
        lct = LCT(entity, 0, parent.stamp_ns, parent.latent, steps, parent.trust)
        return self.signed(lct, wire)

    def speak(self, wire: Wire = PLAIN, entity: str = 'robot1/cam0') -> LCT:
        """Return the next LCT of an entity: seen by the other camera, relayed and fused."""
        relayed = self.go_on(self.see(wire, 'robot1/cam1'), 'robot2/radio', Operation.RELAY, wire)
        return self.go_on(relayed, entity, Operation.FUSE, wire)

    def signed(self, lct: LCT, wire: Wire = PLAIN) -> LCT:
        """Return an LCT as its entity says it next."""
        self.sequence += 1
        lct = replace(lct, sequence=self.sequence)
        return sign(lct, self.keys[lct.entity_id], wire)


def changed(value: Any, random: random.Random) -> Any:
    """Return a value that differs in one place: one bit, letter, element, or whether it is there.

    It says something else, also where it is a NaN or as float32.
    """
    if dataclasses.is_dataclass(value):
        # The digest is the receiver's own.
        names = [field.name for field in dataclasses.fields(value) if field.name != 'digest']
        name = random.choice(names)
        part = getattr(value, name)
        if name == 'log_var':
            part = _changed_log_var(part, value.mean, random)
        elif name == 'proof' and (part is None or not random.randrange(8)):
            part = Proof(1, NOW, 1.0, bytes(32), bytes(64)) if part is None else None
        elif name == 'roi' and (part is None or not random.randrange(8)):
            part = Roi(1, 2, 3, 4) if part is None else None
        else:
            part = changed(part, random)
        if isinstance(value, Latent) and name == 'mean' and len(part) != len(value.mean):
            log_var = value.log_var
            return replace(value, mean=part, log_var=None if log_var is None else part.copy())
        return replace(value, **{name: part})
    if isinstance(value, bool):
        return not value
    if isinstance(value, enum.IntEnum):
        return random.choice([other for other in type(value) if other != value])
    if isinstance(value, int):
        return value ^ 1 << random.randrange(16)
    if isinstance(value, float):
        return _changed_float(value, random)
    if isinstance(value, str):
        place = random.randrange(len(value) + 1)
        letter = random.choice('aZ0/ é\0')
        kept = value[place + 1 :] if letter != value[place : place + 1] else value[place:]
        return value[:place] + letter + kept
    if isinstance(value, np.ndarray):
        return _changed_array(value, random)
    if isinstance(value, bytes):
        place = random.randrange(len(value))
        flipped = bytes([value[place] ^ 1 << random.randrange(8)])
        return value[:place] + flipped + value[place + 1 :]
    return _changed_tuple(value, random)


def _changed_float(value: float, random: random.Random) -> float:
    if math.isnan(value):
        return random.choice([0.0, 1.0, math.inf])
    (bits,) = struct.unpack('<I', struct.pack('<f', value))
    return struct.unpack('<f', struct.pack('<I', bits ^ 1 << random.randrange(32)))[0]


def _changed_array(values: np.ndarray, random: random.Random) -> np.ndarray:
    what = random.randrange(4)
    if what == 0:
        return np.append(values, np.float32(0))
    if what == 1 and len(values):
        return values[:-1].copy()
    if what == 2 and len(values):
        values = values.copy()
        values[random.randrange(len(values))] = random.choice([np.nan, np.inf, -np.inf, 1e30])
        return values
    raw = changed(values.tobytes(), random) if len(values) else bytes(4)
    return np.frombuffer(raw, np.float32)


def _changed_log_var(log_var, mean: np.ndarray, random: random.Random) -> np.ndarray | None:
    if log_var is None:
        return mean.copy()
    if not random.randrange(8):
        return None
    raw = changed(log_var.tobytes(), random)
    return np.frombuffer(raw, np.float32)


def _changed_tuple(values: tuple, random: random.Random) -> tuple:
    what = random.randrange(4)
    if not values:
        return (0.5,)
    place = random.randrange(len(values))
    if what == 0:
        return values[:place] + values[place + 1 :]
    if what == 1:
        return values[: place + 1] + values[place:]
    if what == 2 and len(set(values)) > 1 and values != values[::-1]:
        return values[::-1]
    return (*values[:place], changed(values[place], random), *values[place + 1 :])


def change_a_field(world: World) -> tuple[LCT, Wire]:
    return changed(world.speak(), world.random), PLAIN


def change_two_fields(world: World) -> tuple[LCT, Wire]:
    signed = world.speak()
    name = world.random.choice(['id', 'sequence', 'stamp_ns', 'trust', 'provenance', 'entity_id'])
    moved = replace(signed, **{name: changed(getattr(signed, name), world.random)})
    return replace(moved, latent=changed(moved.latent, world.random)), PLAIN


def change_the_payload(world: World) -> tuple[LCT, Wire]:
    wire = Wire(world.random.randint(1, 4), world.random.randbytes(world.random.randint(1, 64)))
    signed = world.speak(wire)
    what = world.random.randrange(4)
    if what == 0:
        return signed, Wire(wire.encoding % 4 + 1, wire.payload)
    if what == 1:
        return signed, Wire(wire.encoding, wire.payload[:-1])
    if what == 2:
        return signed, PLAIN
    return signed, Wire(wire.encoding, changed(wire.payload, world.random))


def cut_short(world: World) -> tuple[LCT, Wire]:
    signed = world.speak()
    name = world.random.choice(['id', 'signature', 'entity_id', 'provenance'])
    value = getattr(signed, name)
    return replace(signed, **{name: value[: world.random.randrange(len(value))]}), PLAIN


def stretch_the_signature(world: World) -> tuple[LCT, Wire]:
    signed = world.speak()
    half, number = signed.signature[:32], int.from_bytes(signed.signature[32:], 'little')
    same_equation = half + (number + ORDER).to_bytes(32, 'little')
    longer = signed.signature + world.random.randbytes(world.random.choice([1, 64, 10_000]))
    return replace(signed, signature=world.random.choice([same_equation, longer])), PLAIN


def swap_keys(world: World) -> tuple[LCT, Wire]:
    key = world.random.choice(
        [world.attacker, *(world.keys[name] for name in ('robot1/cam1', 'robot1/arbiter'))]
    )
    return sign(world.speak(), key), PLAIN


def use_a_revoked_key(world: World) -> tuple[LCT, Wire]:
    return sign(world.speak(), world.keys['revoked']), PLAIN


def speak_as_another(world: World) -> tuple[LCT, Wire]:
    signed = world.speak()
    last = replace(signed.provenance[-1], entity_id='robot1/arbiter')
    steps = (*signed.provenance[:-1], last)
    return replace(signed, entity_id='robot1/arbiter', provenance=steps), PLAIN


def swap_signatures(world: World) -> tuple[LCT, Wire]:
    return replace(world.speak(), signature=world.speak().signature), PLAIN


def sign_nothing(world: World) -> tuple[LCT, Wire]:
    return replace(world.speak(), signature=b''), PLAIN


def invent_an_entity(world: World) -> tuple[LCT, Wire]:
    name = f'robot{world.random.randrange(10**9)}'
    return sign(replace(world.speak(), entity_id=name), world.attacker), PLAIN


def replay(world: World) -> tuple[LCT, Wire]:
    return world.random.choice(world.heard), PLAIN


def roll_back(world: World) -> tuple[LCT, Wire]:
    old = replace(world.speak(), sequence=world.random.choice(world.heard).sequence)
    return sign(old, world.keys['robot1/cam0']), PLAIN


def raise_a_step(world: World) -> tuple[LCT, Wire]:
    """Think better of what was heard than who said it: an insider's lie."""
    spoken = world.speak()
    steps = list(spoken.provenance)
    place = world.random.randrange(2)
    steps[place] = replace(steps[place], trust=world.random.random())
    return resigned(world, spoken, steps), PLAIN


def splice(world: World) -> tuple[LCT, Wire]:
    """Put steps, or proofs of steps, of one chain into another: an insider's lie."""
    spoken, other = world.speak(), world.speak()
    steps, foreign = list(spoken.provenance), other.provenance
    place = world.random.randrange(3)
    what = world.random.randrange(5)
    if what == 0:
        steps[:2] = foreign[:2]
    elif what == 1:
        steps[place] = foreign[place] if place < 2 else replace(steps[2], proof=foreign[2].proof)
    elif what == 2:
        steps[1] = replace(steps[1], proof=foreign[1].proof)
    elif what == 3:
        steps[1], steps[2] = (
            replace(step, proof=other.proof)
            for step, other in ((steps[1], steps[2]), (steps[2], steps[1]))
        )
    else:
        steps[1 + place // 2] = replace(steps[1 + place // 2], proof=None)
    return resigned(world, spoken, steps), PLAIN


def invent_a_beginning(world: World) -> tuple[LCT, Wire]:
    """Claim to have heard what nobody said, from one that is known or from one that is not."""
    spoken = world.speak()
    name = world.random.choice(['robot1/cam1', 'robot3/cam0'])
    first = replace(spoken.provenance[0], entity_id=name, trust=world.random.random())
    return resigned(world, spoken, [first, spoken.provenance[2]]), PLAIN


def relay_another(world: World) -> tuple[LCT, Wire]:
    """Say of another latent, or another moment, that it was relayed."""
    relayed = world.go_on(world.see(), 'robot2/radio', Operation.RELAY)
    if world.random.randrange(2):
        relayed = replace(relayed, stamp_ns=NOW - world.random.randint(1, 10**9))
    else:
        relayed = replace(relayed, latent=world.see().latent)
    return world.signed(relayed), PLAIN


def resigned(world: World, lct: LCT, steps: list[Provenance]) -> LCT:
    """Return an LCT of its own entity with another chain, all else in order."""
    trust = math.prod(step.trust for step in steps)
    return world.signed(replace(lct, provenance=tuple(steps), trust=trust))


def hold_back(world: World) -> tuple[LCT, Wire]:
    apart = world.random.choice([-1, 1]) * world.random.randint(6 * 10**9, 10**18)
    return sign(replace(world.speak(), stamp_ns=NOW + apart), world.keys['robot1/cam0']), PLAIN


ATTACKS: tuple[Callable[[World], tuple[LCT, Wire]], ...] = (
    *[change_a_field] * 8,
    change_two_fields,
    change_the_payload,
    cut_short,
    stretch_the_signature,
    swap_keys,
    use_a_revoked_key,
    speak_as_another,
    swap_signatures,
    sign_nothing,
    invent_an_entity,
    replay,
    roll_back,
    hold_back,
    raise_a_step,
    splice,
    invent_a_beginning,
    relay_another,
)


def judge(screen: AdmissionFilter, lct: LCT, wire: Wire = PLAIN) -> RejectionReason | None:
    """Judge as an arbiter does at `NOW`."""
    return screen.judge(lct, DIM, fingerprint=MODEL.fingerprint, now_ns=NOW, wire=wire)


def attack(mutations: int, seed: int, honest: int = 100) -> dict:
    """Return what became of forged LCTs, and of honest ones before and after."""
    world = World(seed)
    screen = AdmissionFilter(world.store)
    verdicts: dict[str, Counter] = {}
    accepted = crashes = 0
    world.heard = [world.speak() for _ in range(honest)]
    honest_accepted = sum(judge(screen, lct) is None for lct in world.heard)
    for n in range(mutations):
        way = ATTACKS[n % len(ATTACKS)]
        lct, wire = way(world)
        try:
            fault = judge(screen, lct, wire)
        except Exception as error:  # noqa: BLE001, whatever it is, it would end a node
            crashes += 1
            print(f'{way.__name__}: {error!r} of {lct}', file=sys.stderr)
            continue
        accepted += fault is None
        reason = 'accepted' if fault is None else fault.value
        verdicts.setdefault(way.__name__, Counter())[reason] += 1
    honest_accepted += sum(judge(screen, world.speak()) is None for _ in range(honest))
    return {
        'mutated': mutations,
        'accepted': accepted,
        'crashes': crashes,
        'honest': 2 * honest,
        'honest_accepted': honest_accepted,
        'verdicts': {name: dict(reasons) for name, reasons in sorted(verdicts.items())},
    }


def rate(lcts: list[LCT], screen: AdmissionFilter, expected: RejectionReason | None) -> float:
    """Return LCTs judged in a second of one core's time."""
    before = time.process_time()
    faults = {judge(screen, lct) for lct in lcts}
    spent = time.process_time() - before
    if faults != {expected}:
        raise RuntimeError(f'{faults} where {expected} is expected')
    return round(len(lcts) / spent)


def measure(mutations: int, seed: int) -> dict:
    """Return the figures.

    How many LCTs were attacked, how many of them were accepted, what became of them by attack, how
    many honest ones passed before and after, and LCTs a second of one core (CPU time): of a
    camera, of an arbiter that fused what a relay had heard from a camera, of forging and of
    unknown speakers.
    """
    result = attack(mutations, seed)
    world = World(seed)
    honest = [world.see() for _ in range(5000)]
    chains = [world.speak() for _ in range(1000)]
    forged = [sign(lct, world.attacker) for lct in honest]
    unknown = [replace(lct, entity_id=f'robot{n}') for n, lct in enumerate(honest)]
    screen = AdmissionFilter(world.store)
    return result | {
        'unknown_per_s': rate(unknown, screen, RejectionReason.UNKNOWN_KEY),
        'forged_per_s': rate(forged, screen, RejectionReason.BAD_SIGNATURE),
        'verify_per_s': rate(honest, screen, None),
        'verify_chain_per_s': rate(chains, AdmissionFilter(world.store), None),
    }
