# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""An arm that reaches for the ball that a sentence names, in closed loop.

Two to five balls of different colors lie before a KUKA arm in pybullet. The camera sees them
once, before the arm moves: regions are what differs from the image of the empty scene. Sentences
have forms that the training has not. In each cycle of 0.1 s the policy gets the measured joints,
and the product's effector limits its action in rate and range. A scene counts if the hand is
within 5 cm (`near10`: 10 cm) of the center of the named ball in the end. `swapped` names another
ball than in `text`, with the same scene: `value` is the share that ends at that one, `original`
at the first one. In `spoken`, a generated voice names the color and "ball", and the words that are
recognized are the sentence; cyan is left out, because it is not among the words of the model. The
voices are `goal_words.other_voices`: nothing was trained or chosen by them. As in an audio node
with `goal_words`, the choice is among the seven other colors and "ball", with the default of
`min_confidence`. `lower_confidence` has 0.5 instead, `all_words` no goal words and no least
confidence, and `typed` the words themselves in the same scenes. `recognized` is the share of goals
whose color is right.
`joints_only` is a policy without words and crops, `without_words` one with crops alone, `geometry`
the crop that attention chooses, its place by the geometry of the camera, and the refinement
`control` instead of the effector network.
`kinematics_error_m` is the largest difference of the hand in pybullet and in the forward
kinematics of the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from sage_perception.core.latent import Latent, LatentKind
from sage_perception.core.lct import LCT
from sage_perception.irp.control import Reaches
from sage_perception.puzzle.action import ACTION, ACTION_DIM, LEFT_ARM, LOG_VAR_USED
from sage_perception.puzzle.effector import Effector
from sage_perception.puzzle.kinematics import KUKA_IIWA
from sage_perception.puzzle.proprioception import BodyState
from sage_perception.training.puzzle.cues import Phrases, phrases
from sage_perception.training.puzzle.sentences import COLORS, unseen_sentences
from translation_parts.arm_policy import ABOVE, BODY, REACH, ArmPolicy, perceive
from translation_parts.arm_training import codec, policy, world
from translation_parts.arm_world import HOME, RADIUS, Ball, check_kinematics, random_balls
from translation_parts.goal_words import (
    GOAL_COLORS,
    GOAL_WORDS,
    MIN_CONFIDENCE,
    other_voices,
)
from translation_parts.scenes import encoder, mean
from translation_parts.speech import phrase

SCENES = 120
CYCLES, PERIOD_S = 32, 0.1
NEAR, NEAR10 = 0.05, 0.10
RECOGNITION: dict[str, tuple[tuple[str, ...], float]] = {
    'spoken': (GOAL_WORDS, MIN_CONFIDENCE),
    'lower_confidence': (GOAL_WORDS, 0.5),
    'all_words': ((), 0.0),
}
"""Parameters `goal_words` and `min_confidence` of the audio node."""


def measure(seeds: Sequence[int]) -> dict:
    """Return the figures of the arm."""
    rows = [reach_all(policy(seed, 'text')) for seed in seeds]
    blind = reach_all(policy(seeds[0], 'joints'), given=(0, 0, 1), blind=True)
    mute = reach_all(policy(seeds[0], 'crops'), given=(0, 0, 1))
    geometry = reach_all(policy(seeds[0], 'text'), by_geometry=True)
    text = [row['text'] for row in rows]
    swapped = [row['swapped'] for row in rows]
    aloud = [reach_by_voice(policy(seed, 'text')) for seed in seeds]
    by_voice = [row['spoken'] for row in aloud]
    return {
        'text': {
            'value': mean(text), 'seeds': text,
            'near10': mean([row['near10'] for row in rows]),
            'chosen': mean([row['chosen'] for row in rows]),
            'median_m': mean([row['median_m'] for row in rows]),
            'scenes': SCENES,
            'baselines': {
                'joints_only': blind['text'], 'without_words': mute['text'],
                'geometry': geometry['text'],
            },
        },
        'swapped': {
            'value': mean(swapped), 'seeds': swapped,
            'original': mean([row['original'] for row in rows]),
            'baselines': {'geometry': geometry['swapped']},
        },
        'spoken': {
            'value': mean(by_voice), 'seeds': by_voice,
            'recognized': mean([row['recognized'] for row in aloud]),
            'baselines': {
                **{way: mean([row[way] for row in aloud]) for way in (*RECOGNITION, 'typed')
                   if way != 'spoken'},
                'joints_only': blind['text'],
            },
        },
        'kinematics_error_m': check_kinematics(world(), np.random.default_rng(0)),
    }  # fmt: skip


def reach_all(
    network: ArmPolicy,
    given: tuple[float, float, float] = (1, 0, 1),
    blind: bool = False,
    by_geometry: bool = False,
) -> dict[str, float]:
    """Return the shares of the scenes in which the hand ends near the named ball."""
    rng, words, simulation = np.random.default_rng(31), ball_phrases(), world()
    simulation.reset([])
    empty = simulation.image()
    first, other, original, chosen = [], [], [], []
    for _ in range(SCENES):
        balls = random_balls(rng, int(rng.integers(2, 6)))
        meant, second = rng.permutation(len(balls))[:2]
        sentence = [words.draw(balls[i].color, 0, rng) for i in (meant, second)]
        simulation.reset(balls)
        tokens, present = perceive(simulation.image(), empty, codec())
        tokens = tokens * (0 if blind else 1)
        ends = []
        for embedded in sentence:
            simulation.reset(balls)
            weights = run(network, tokens, present, embedded, given, by_geometry)
            ends.append(simulation.hand())
            if len(ends) == 1:
                place = simulation.project(balls[meant].center[None])[0]
                found = tokens[int(weights.argmax()), 128:130]
                chosen.append(float(np.linalg.norm(found - place)) < 0.1)
        first.append(distance(ends[0], balls[meant]))
        other.append(distance(ends[1], balls[second]))
        original.append(distance(ends[1], balls[meant]))
    return {
        'text': share(first, NEAR), 'near10': share(first, NEAR10),
        'median_m': float(np.median(first)), 'chosen': mean(chosen),
        'swapped': share(other, NEAR), 'original': share(original, NEAR),
    }  # fmt: skip


def reach_by_voice(network: ArmPolicy) -> dict[str, float]:
    """Return the shares of scenes in which the hand ends near the ball that a voice names."""
    rng, simulation, voices = np.random.default_rng(37), world(), other_voices()
    simulation.reset([])
    empty = simulation.image()
    near: dict[str, list[float]] = {way: [] for way in (*RECOGNITION, 'typed')}
    recognized = []
    while len(recognized) < SCENES:
        balls = random_balls(rng, int(rng.integers(2, 6)))
        meant = balls[int(rng.integers(len(balls)))]
        color = COLORS[meant.color]
        if color not in GOAL_COLORS:
            continue
        voice = voices[rng.integers(len(voices))]
        goals = {way: phrase(voice, (color, 'ball'), *how) for way, how in RECOGNITION.items()}
        goals['typed'] = f'{color} ball'
        recognized.append(color in goals['spoken'].split())
        simulation.reset(balls)
        tokens, present = perceive(simulation.image(), empty, codec())
        ends = {}
        for sentence in sorted({*goals.values()}):
            simulation.reset(balls)
            if sentence:  # without a goal, the arm stays where it is
                run(network, tokens, present, encoder()([sentence])[0], (1, 0, 1), False)
            ends[sentence] = distance(simulation.hand(), meant)
        for way, sentence in goals.items():
            near[way].append(ends[sentence])
    shares = {way: share(distances, NEAR) for way, distances in near.items()}
    return {**shares, 'recognized': mean(recognized)}


@torch.inference_mode()
def run(
    network: ArmPolicy,
    tokens: np.ndarray,
    present: np.ndarray,
    sentence: np.ndarray,
    given: tuple[float, float, float],
    by_geometry: bool,
) -> np.ndarray:
    """Let the arm move for all cycles; return the weights of the objects."""
    places = dict(zip(range(LEFT_ARM.start, LEFT_ARM.stop), KUKA_IIWA.joints, strict=True))
    effector = Effector(places, min_trust=0.0, timeout_s=0.5)
    objects, there, words, trust = (
        torch.from_numpy(np.asarray(each, np.float32)[None])
        for each in (tokens, present, sentence, given)
    )
    for cycle in range(CYCLES):
        now_ns = (1 + cycle) * round(PERIOD_S * 1e9)
        measured = world().angles()
        body = BODY.encode(BodyState(measured, np.zeros(7), np.zeros(7))).mean
        action, logits = network(objects, there, words, torch.from_numpy(body[None]), trust)
        weights = torch.softmax(logits, 1)[0].numpy()
        values = action[0].numpy()
        if by_geometry:
            values = reach_by_geometry(tokens[int(weights.argmax()), 128:130])
        latent = Latent(
            values, np.full(ACTION_DIM, LOG_VAR_USED, np.float32), LatentKind.ACTION, ACTION
        )
        lct = LCT.encoded(
            latent, entity_id='policy', sequence=cycle, stamp_ns=now_ns,
            trust=float(weights.max()),
        )  # fmt: skip
        effector.add_action(lct, now_ns)
        for joint, angle in zip(KUKA_IIWA.joints, measured, strict=True):
            effector.add_position(joint.name, float(angle), now_ns)
        setpoint = effector.next_setpoint(now_ns, PERIOD_S)
        assert setpoint is not None
        world().move(np.array([setpoint.positions[j.name] for j in KUKA_IIWA.joints]), PERIOD_S)
    return weights


def reach_by_geometry(place: np.ndarray) -> np.ndarray:
    """Return the action that reaches for a place of the image, at the height of the balls."""
    line = np.linspace(0.3, 0.8, 51), np.linspace(-0.4, 0.4, 81)
    grid = np.stack(np.meshgrid(*line, indexing='ij'), -1).reshape(-1, 2)
    points = np.column_stack((grid, np.full(len(grid), RADIUS)))
    point = points[np.linalg.norm(world().project(points) - place, axis=1).argmin()]
    (angles,), _ = REACH.refine(Reaches((point + ABOVE)[None], HOME[None]))
    values = np.zeros(ACTION_DIM, np.float32)
    span = KUKA_IIWA.upper - KUKA_IIWA.lower
    values[LEFT_ARM] = 2 * (angles - KUKA_IIWA.lower) / span - 1
    return values


@cache
def ball_phrases() -> Phrases:
    """Return sentences of unseen forms about spheres."""
    texts, labels = unseen_sentences()
    spheres = np.flatnonzero(labels[:, 1] == 0)
    return phrases([texts[i] for i in spheres], labels[spheres], encoder())


def distance(hand: np.ndarray, ball: Ball) -> float:
    """Return the distance of the hand from the center of a ball, m."""
    return float(np.linalg.norm(hand - ball.center))


def share(distances: Sequence[float], limit: float) -> float:
    """Return the share of distances below a limit."""
    return mean([d < limit for d in distances])
