# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded H contexts: what compressors are trained and measured on.

`sage context record` plays clips, and scenes made of images, through the chain that runs on a
robot: motion attention, the encoder with its telemetry and trust, the arbiter's matching, in half
of the runs memory, `ContextBuilder`. One run is some seconds as one to four cameras might have
seen them: windows of the image, now and then mirrored, lit otherwise and late.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np

from sage_perception.cli.terminal import Parser, in_one_line
from sage_perception.context.context import (
    DIM,
    LATENT,
    LAYOUT,
    RECALLS,
    ContextBuilder,
    HContext,
    LatentSpace,
    Match,
)
from sage_perception.core.latent import Latent, Roi, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.core.metrics import kl_per_dim
from sage_perception.core.progress import Progress
from sage_perception.memory import EpisodicMemory, Space, open_store
from sage_perception.models import Codec, ModelError, load_codec
from sage_perception.pipeline.error_sampler import ErrorSampler
from sage_perception.training.config import read_config
from sage_perception.training.contexts.montage import Montage
from sage_perception.training.data.crops import (
    CLIPS,
    IMAGES,
    clip_frames,
    find,
    to_model,
    wanted_by,
)
from sage_perception.trust.fitted import similarity_weights, telemetry_trust_of
from sage_perception.trust.fusion.matching import center, match
from sage_perception.vision.attention import MotionAttention

RECIPE = 2
"""Version of how contexts are recorded; it changes whenever the same files make others."""

RATE_HZ = 12.5  # of the frames that are played
EVERY_S = 0.2  # between two contexts
SECONDS = 9.0  # of a run
WARM_S = 3.0  # before the first context, for attention to learn the scene
FORESIGHT_S = 0.5  # how far ahead the place of the most salient thing is noted
OVERLAP = 0.3  # intersection over union from which on a thing is what the scene says is there
MEASURE_EVERY = 3  # frames, as the encoder node does
REMEMBERING = 0.5  # share of the runs with a memory, which is empty at first
OBSERVE_EVERY, RECALL_EVERY = 3, 12  # frames: about the rates of the memory node
THRESHOLD, MIN_NOVELTY = 0.7, 0.1  # of what is remembered, as there
RECALL_AFTER_S = 2.5  # sooner than there: a run is short
MONTAGES = 'images'  # how the names of scenes made of images begin
PART = 23  # images of which scenes are made; each part of them is a source of its own
PIXELS = 640 * 480

Places = list[tuple[Roi, int]]
Scene = Iterator[tuple[np.ndarray, Places]]


@dataclass(frozen=True)
class VirtualCamera:
    """A virtual camera: the window (x, y, side, as shares) of a scene that it sees, and how.

    `late` is how many frames it lags behind.
    """

    x: float
    y: float
    side: float
    mirrored: bool
    gain: float
    late: int

    def look(self, image: np.ndarray, places: Places) -> tuple[np.ndarray, Places]:
        """Return its image of a scene, uint8 BGR `[h, w, 3]`, and what is where in it."""
        height, width = image.shape[:2]
        x, y = int(self.x * width), int(self.y * height)
        wide, high = int(self.side * width), int(self.side * height)
        seen = image[y : y + high, x : x + wide]
        moved = [(Roi(r.x - x, r.y - y, r.width, r.height), label) for r, label in places]
        if self.mirrored:
            seen = seen[:, ::-1]
            moved = [
                (Roi(wide - r.x - r.width, r.y, r.width, r.height), label) for r, label in moved
            ]
        if self.gain != 1:
            seen = cv2.convertScaleAbs(seen, alpha=self.gain)
        return np.ascontiguousarray(seen), moved


def draw_cameras(rng: np.random.Generator) -> list[VirtualCamera]:
    """Return one to four virtual cameras."""
    eyes = []
    for number in range(rng.choice([1, 2, 3, 4], p=[0.3, 0.45, 0.15, 0.1])):
        side = 1.0 if rng.random() < 0.3 else rng.uniform(0.55, 0.95)
        eyes.append(
            VirtualCamera(
                rng.uniform(0, 1 - side),
                rng.uniform(0, 1 - side),
                side,
                bool(rng.random() < 0.25),
                1.0 if rng.random() < 0.5 else rng.uniform(0.75, 1.25),
                0 if not number or rng.random() < 0.5 else int(rng.integers(1, 10)),
            )
        )
    return eyes


@lru_cache(maxsize=1)  # one clip is played many times in a row
def _played(path: Path) -> list[np.ndarray]:
    """Return the frames of a clip at about `RATE_HZ`, of `PIXELS` at most."""
    capture = cv2.VideoCapture(str(path))
    step = max(round((capture.get(cv2.CAP_PROP_FPS) or 25.0) / RATE_HZ), 1)
    capture.release()
    frames = []
    for image, _ in itertools.islice(clip_frames(path), 0, None, step):
        scale = (PIXELS / (image.shape[0] * image.shape[1])) ** 0.5
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        frames.append(image)
    return frames


def clip_scene(path: Path, rng: np.random.Generator) -> Scene:
    """Yield some seconds of a clip, mirrored now and then; a short one is played to and fro."""
    frames, needed = _played(path), int(SECONDS * RATE_HZ)
    start = int(rng.integers(max(len(frames) - needed, 0) + 1))
    mirrored = rng.random() < 0.5
    around = max(2 * len(frames) - 2, 1)
    for place in range(start, start + needed):
        image = frames[min(place % around, around - place % around)]
        yield (image[:, ::-1] if mirrored else image), []


def montage_scene(files: Sequence[Path], rng: np.random.Generator) -> Scene:
    """Yield some seconds of a scene made of images."""
    scene = Montage(files, int(rng.integers(2**31)))
    for index in range(int(SECONDS * RATE_HZ)):
        yield scene.render(index / RATE_HZ, index)


@dataclass(frozen=True)
class Target:
    """The most salient thing of a context: who it is, where it will be `FORESIGHT_S` later."""

    label: int  # of the image that it is a piece of; −1: unknown
    track: int  # of its camera, all cameras of a run told apart
    later: tuple[float, float]  # half frames from the middle; NaN: it is no longer there


class Recording:
    """One run: cameras look at a scene, contexts come out."""

    def __init__(
        self,
        codec: Codec,
        eyes: Sequence[VirtualCamera],
        start_s: float,
        memory: EpisodicMemory | None = None,
    ):
        self._codec, self._eyes = codec, eyes
        self._names = [f'cam{i}' for i in range(len(eyes))]
        self._attentions = [MotionAttention() for _ in eyes]
        self._errors = [ErrorSampler(MEASURE_EVERY) for _ in eyes]
        self._trust, self._weights = telemetry_trust_of(codec), similarity_weights(codec)
        space = LatentSpace.of(codec.id, codec.latent_mean, codec.latent_std)
        self._builder = ContextBuilder(space, self._names)
        self._start_s, self._memory = start_s, memory
        self._labels: dict[bytes, int] = {}
        self._sequence = 0

    def run(self, scene: Scene) -> Iterator[tuple[HContext, Target]]:
        """Yield contexts, each with what became of its most salient thing."""
        past: deque = deque(maxlen=1 + max(eye.late for eye in self._eyes))
        waiting: deque[tuple[HContext, int]] = deque()
        due_s = WARM_S
        for index, frame in enumerate(scene):
            past.append(frame)
            t = index / RATE_HZ
            stamp_s = self._start_s + t
            seen, tracks = self._look(past, stamp_s)
            matches = self._matches(seen)
            self._builder.agree(stamp_s, matches)
            if self._memory is not None:
                self._remember(index, stamp_s, seen, matches)
            while waiting and stamp_s >= waiting[0][0].stamp_s + FORESIGHT_S - 1e-6:
                yield self._judged(*waiting.popleft(), tracks)
            if t >= due_s:
                due_s += EVERY_S
                context = self._builder.build()
                if context.keys:
                    waiting.append((context, self._labels.get(context.looks[0], -1)))

    def _look(
        self, past: deque, stamp_s: float
    ) -> tuple[dict[str, list[LCT]], dict[tuple[str, int], tuple[float, float]]]:
        """Let every camera see a frame; return what each says, and where each track is.

        Places are in half frames from the middle.
        """
        seen, where = {}, {}
        for name, eye, attention, errors in zip(
            self._names, self._eyes, self._attentions, self._errors, strict=True
        ):
            image, places = eye.look(*past[max(len(past) - 1 - eye.late, 0)])
            crops = attention.attend(image, stamp_s)
            size = image.shape[1], image.shape[0]
            seen[name] = self._encode(name, crops, stamp_s, errors) if crops else []
            for crop, lct in zip(crops, seen[name], strict=True):
                overlap, label = max(
                    ((crop.roi.iou(roi), label) for roi, label in places), default=(0.0, -1)
                )
                self._labels[lct.id] = label if overlap > OVERLAP else -1
                x, y = crop.roi.center
                where[name, crop.track_id] = (2 * x / size[0] - 1, 2 * y / size[1] - 1)
            self._builder.see(name, stamp_s, size, seen[name])
        return seen, where

    def _encode(self, name: str, crops, stamp_s: float, errors: ErrorSampler) -> list[LCT]:
        x = to_model(np.stack([crop.image for crop in crops]), self._codec.input_channels)
        mean, log_var = self._codec.encode_stats(x)
        tracks = [crop.track_id for crop in crops]
        measured = errors.measure(tracks, x, lambda due: self._codec.decode(mean[due]))
        kl = kl_per_dim(mean, log_var)
        trusts = self._trust(measured, kl, mean, x)
        lcts = []
        for i, crop in enumerate(crops):
            self._sequence += 1
            trust = float(trusts[i])
            latent = Latent(
                mean[i],
                model=self._codec.id,
                roi=crop.roi,
                track_id=crop.track_id,
                telemetry=Telemetry(
                    trust,
                    float(measured[i]),
                    float(kl[i]),
                    float(np.linalg.norm(mean[i])),
                ),
            )
            lcts.append(
                LCT.encoded(
                    latent,
                    entity_id=name,
                    sequence=self._sequence,
                    stamp_ns=round(stamp_s * 1e9),
                )
            )
        return lcts

    def _matches(self, seen: dict[str, list[LCT]]) -> list[Match]:
        """Return what an arbiter says of the first camera and each other one."""
        centered = {
            name: center(
                np.stack([lct.latent.mean for lct in lcts]),
                self._codec.latent_mean,
                self._weights,
            )
            for name, lcts in seen.items()
            if lcts
        }
        first = self._names[0]
        return [
            Match(seen[first][m.a].id, seen[name][m.b].id, m.similarity)
            for name in self._names[1:]
            if first in centered and name in centered
            for m in match(centered[first], centered[name])
        ]

    def _remember(
        self, index: int, stamp_s: float, seen: dict[str, list[LCT]], matches: list[Match]
    ) -> None:
        """Let memory look at a frame of each camera and recall what one of them is like."""
        if not index % OBSERVE_EVERY:
            # Of several cameras the one that agrees least counts.
            ordered = sorted(matches, key=lambda match: -match.similarity)
            agreement = {own: m.similarity for m in ordered for own in (m.a, m.b)}
            for name, lcts in seen.items():
                found = self._memory.observe(lcts, agreement)
                scores = {each.lct.latent.track_id: each.snarc for each in found}
                self._builder.score(name, stamp_s, scores)
        if not index % RECALL_EVERY:
            lcts = seen[self._names[index // RECALL_EVERY % len(self._names)]]
            before_ns = round((stamp_s - RECALL_AFTER_S) * 1e9)
            hits = self._memory.recall(lcts, before_ns, RECALLS)
            self._builder.recall([hit.entry.lct.latent for hit in hits])

    @staticmethod
    def _judged(context: HContext, label: int, where: dict) -> tuple[HContext, Target]:
        camera, track = context.keys[0]
        track += context.cameras.index(camera) * 1_000_000
        return context, Target(label, track, where.get(context.keys[0], (np.nan, np.nan)))


@dataclass(frozen=True, eq=False)
class Contexts:
    """Recorded contexts.

    `values` float32 and `mask` bool `[N, 4096]`; `run` `[N]` numbers the runs, `source` `[N]` is
    the index in `sources` of what was played. Of the most salient thing, `label` `[N]` is the
    image that it is a piece of, −1 where that is unknown, `track` `[N]` its track, different
    for each camera of a run, and `later` `[N, 2]` its place `FORESIGHT_S` later.
    """

    values: np.ndarray
    mask: np.ndarray
    run: np.ndarray
    source: np.ndarray
    sources: tuple[str, ...]
    label: np.ndarray
    track: np.ndarray
    later: np.ndarray
    stamp: np.ndarray
    model: str

    def __len__(self):
        return len(self.values)

    def where(self, wanted: np.ndarray) -> Contexts:
        """Return those at which `wanted`, bool `[N]`, is True."""
        parts = ('values', 'mask', 'run', 'source', 'label', 'track', 'later', 'stamp')
        chosen = {name: getattr(self, name)[wanted] for name in parts}
        return Contexts(**chosen, sources=self.sources, model=self.model)

    def write(self, path: Path) -> None:
        """Write them to an `.npz` file, values in half precision, masks as bits."""
        np.savez_compressed(
            path,
            values=self.values.astype(np.float16),
            mask=np.packbits(self.mask, axis=1),
            run=self.run,
            source=self.source,
            sources=np.array(self.sources),
            label=self.label,
            track=self.track,
            later=self.later,
            stamp=self.stamp,
            model=self.model,
            layout=LAYOUT,
        )

    @classmethod
    def read(cls, path: Path) -> Contexts:
        """Read what `write` wrote; `ValueError` if it is of another layout."""
        with np.load(path, allow_pickle=False) as file:
            if int(file['layout']) != LAYOUT:
                raise ValueError(
                    f'{path} holds contexts of layout {int(file["layout"])}, this is {LAYOUT}: '
                    'record them again'
                )
            return cls(
                values=file['values'].astype(np.float32),
                mask=np.unpackbits(file['mask'], axis=1, count=DIM).astype(bool),
                run=file['run'],
                source=file['source'],
                sources=tuple(map(str, file['sources'])),
                label=file['label'],
                track=file['track'],
                later=file['later'],
                stamp=file['stamp'],
                model=str(file['model']),
            )


@dataclass(frozen=True)
class Run:
    """What is played for one run; `repeat` tells the runs of one `name` apart."""

    name: str
    repeat: int
    scene: Callable[[np.random.Generator], Scene]


def plan(clips: Sequence[Path], pictures: Sequence[Path], runs: int, montages: int) -> list[Run]:
    """Return what is played: each clip `runs` times, and `montages` scenes made of images.

    A scene is made of the images of one part, so that some parts can be kept apart.
    """
    played = [
        Run(path.name, repeat, partial(clip_scene, path))
        for path in clips
        for repeat in range(runs)
    ]
    parts = max(len(pictures) // PART, 1)
    for part in range(parts):
        scene = partial(montage_scene, pictures[part::parts])
        played += [
            Run(f'{MONTAGES} {part + 1} of {parts}', repeat, scene)
            for repeat in range(len(range(part, montages, parts)))
        ]
    return played


def record(run: Run, codec: Codec, seed: int = 0) -> Contexts | None:
    """Play one run and return its contexts, None where nothing moved; always the same ones."""
    rng = np.random.default_rng([seed, run.repeat, *run.name.encode()])
    eyes, start_s = draw_cameras(rng), float(rng.uniform(1e6, 1e6 + 7 * 86_400))
    with open_store(':memory:', Space.of(codec.artifact.path)) as store:
        remembers = rng.random() < REMEMBERING
        memory = EpisodicMemory(store, THRESHOLD, MIN_NOVELTY) if remembers else None
        kept = list(Recording(codec, eyes, start_s, memory).run(run.scene(rng)))
    if not kept:
        return None
    contexts, leaders = zip(*kept, strict=True)
    return Contexts(
        values=np.stack([context.values for context in contexts]),
        mask=np.stack([context.mask for context in contexts]),
        run=np.zeros(len(kept), int),
        source=np.zeros(len(kept), int),
        sources=(run.name,),
        label=np.array([leader.label for leader in leaders]),
        track=np.array([leader.track for leader in leaders]),
        later=np.array([leader.later for leader in leaders], np.float32),
        stamp=np.array([context.stamp_s for context in contexts]),
        model=codec.id.fingerprint.hex(),
    )


def joined(recorded: Iterable[Contexts | None]) -> Contexts:
    """Return the contexts of several runs, numbered in their order.

    Raises `ValueError` where there are none.
    """
    runs = [run for run in recorded if run is not None]
    if not runs:
        raise ValueError('nothing moved in what was played: no context was recorded')
    sources = tuple(dict.fromkeys(run.sources[0] for run in runs))
    parts = ('values', 'mask', 'label', 'track', 'later', 'stamp')
    return Contexts(
        **{part: np.concatenate([getattr(run, part) for run in runs]) for part in parts},
        run=np.concatenate([np.full(len(run), number) for number, run in enumerate(runs)]),
        source=np.concatenate([np.full(len(r), sources.index(r.sources[0])) for r in runs]),
        sources=sources,
        model=runs[0].model,
    )


def encoder(name: str) -> Codec:
    """Return the model whose latents contexts are made of; `ModelError` if it cannot be."""
    codec = load_codec(name)
    if codec.latent_dim != LATENT:
        raise ModelError(
            f'contexts hold latents of {LATENT} numbers, those of {codec.id} have '
            f'{codec.latent_dim}'
        )
    return codec


def recorded(
    played: Sequence[Run], make: Callable[[Run], Contexts | None], progress: Progress
) -> Iterator[Contexts | None]:
    """Yield the contexts of each run that `make` gives, telling how far it is."""
    cv2.setNumThreads(1)
    for number, run in enumerate(played):
        if progress.due:
            progress.show(f'{number} of {len(played)} runs recorded: {run.name}')
        yield make(run)
    progress.end()


@in_one_line('sage context record')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage context`; return the exit code."""
    parser = Parser(prog='sage context', description='Contexts of 4096 numbers.')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    wanted = commands.add_parser(
        'record',
        help='record contexts from clips, for training and measuring compressors',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    wanted.add_argument('places', nargs='+', type=Path, help='clips, or folders with clips')
    wanted.add_argument('-o', '--output', required=True, type=Path, help='file to write, .npz')
    wanted.add_argument('--runs', type=int, default=8, help='runs of each clip (8)')
    wanted.add_argument(
        '--montages', type=int, default=0, help='runs of scenes made of the images there (0)'
    )
    which = wanted.add_mutually_exclusive_group()
    which.add_argument(
        '--training-files', type=Path, metavar='CONFIG', help='only what this training uses'
    )
    which.add_argument(
        '--held-out', type=Path, metavar='CONFIG', help='only what this training keeps apart'
    )
    wanted.add_argument('--model', default='tinyvae', help='encoder (tinyvae)')
    wanted.add_argument('--seed', type=int, default=0, help='draws windows and moments (0)')
    args = parser.parse_args(argv)
    config = args.training_files or args.held_out
    wanted = wanted_by(read_config(config).data, bool(args.held_out)) if config else None
    clips, pictures = files_of(args.places, wanted)
    if args.montages and not pictures:
        raise ValueError('--montages needs images: name a folder that holds some')
    played = plan(clips, pictures, args.runs, args.montages)
    codec = encoder(args.model)
    contexts = joined(recorded(played, lambda run: record(run, codec, args.seed), Progress()))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    contexts.write(args.output)
    print(f'{len(contexts)} contexts of {len(played)} runs in {args.output}')
    return 0


def files_of(
    places: Sequence[Path], wanted: Callable[[Path], bool] | None = None
) -> tuple[list[Path], list[Path]]:
    """Return the clips and the images among files and folders, those that are `wanted`."""
    for place in places:
        if not place.exists():
            raise FileNotFoundError(f'{place} is neither a file nor a folder')

    def chosen(suffixes):
        found = []
        for place in places:
            found += [place] if place.suffix.lower() in suffixes else []
            found += find(place, suffixes) if place.is_dir() else []
        return list(filter(wanted, found))

    return chosen(CLIPS), chosen(IMAGES)


if __name__ == '__main__':
    sys.exit(main())
