# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The verdict on a bag: its replay compared with its baseline, and judged by its timelines."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sage_perception.bags.files import readable_files
from sage_perception.core.text import counted
from sage_perception.regression.baseline import (
    Baseline,
    baseline_path,
    read_baseline,
    write_baseline,
)
from sage_perception.regression.compare import Difference, compare, worst
from sage_perception.regression.events import Observer
from sage_perception.regression.judge import Judge, Outcome
from sage_perception.regression.replay import Progress, ReplayResult, replay_bag
from sage_perception.regression.sources import Stage
from sage_perception.regression.summary import Summary
from sage_perception.regression.timeline import find_timelines, read_timeline
from sage_perception.regression.tolerances import Tolerances
from sage_perception.ros.parameter_file import ParameterFile

MAX_LISTED = 1000
"""Maximum number of differences in the JSON report."""


class NothingToJudge(ValueError):
    """A bag has neither a baseline nor a timeline; the message has the fix."""


@dataclass
class Regression:
    """The verdict on one bag.

    `baseline` is None if the bag has none; then the timelines alone decide. `changes` are the
    differences of model, parameters and bag that may explain `differences`.
    """

    bag: Path
    result: ReplayResult
    baseline: Baseline | None = None
    differences: list[Difference] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Return whether there are no differences and no failed expectations."""
        return not self.differences and all(each.passed is not False for each in self.outcomes)

    @property
    def extent(self) -> str:
        """Return the number of frames, the cameras and the duration in words."""
        result = self.result
        cameras = ', '.join(f'{name} ({stage})' for name, stage in result.stages.items())
        return f'{result.frames} frames of {cameras}, {result.duration_s:.1f} s'

    @property
    def report(self) -> str:
        """Return the verdict for people, several lines."""
        result = self.result
        stages = ', '.join(f'{name} {ms:.1f}' for name, ms in result.stages_ms.items())
        lines = [
            f'{self.bag}: {self.extent} in {result.wall_s:.1f} s, '
            f'{result.realtime_factor:.1f}x real time',
            f'milliseconds per frame: {stages}',
            *map(str, self.outcomes),
            *(f'changed: {change}' for change in self.changes),
        ]
        if self.differences:
            number = counted(len(self.differences), 'difference')
            lines.append(f'{number} from the baseline, the worst:')
            lines += [f'  {each}' for each in worst(self.differences)]
        elif self.baseline is not None:
            lines.append('no difference from the baseline')
        lines.append('PASS' if self.passed else 'FAIL')
        return '\n'.join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict for JSON."""
        return {
            'verdict': 'pass' if self.passed else 'fail',
            'differences': [each.as_dict() for each in self.differences[:MAX_LISTED]],
            'difference_count': len(self.differences),
            'expectations': [
                {'text': str(o.expectation), 'passed': o.passed, 'detail': o.detail}
                for o in self.outcomes
            ],
            'changes': self.changes,
            'notes': self.result.notes,
            'frames': self.result.frames,
            'realtime_factor': round(self.result.realtime_factor, 3),
            'hashes': self.result.summary.hashes,
        }


def regress(bag: Path, **options: Any) -> Regression:
    """Replay a bag and judge it; the options are those of `replay_and_judge`.

    Raises `NothingToJudge` if there is neither a baseline nor a timeline that can be judged
    offline, and as `replay_and_judge` does.
    """
    baseline, timelines = options.get('baseline'), options.get('timelines')
    readable_files(bag)
    path = baseline or baseline_path(bag)
    chosen = find_timelines(bag) if timelines is None else timelines
    if baseline is None and not path.exists() and not chosen:
        raise NothingToJudge(
            f'{bag} has no baseline {path.name} and no timeline: write a baseline with '
            f'"sage regress --update {bag}"'
        )
    found = replay_and_judge(bag, **options)
    if found.baseline is None and all(outcome.passed is None for outcome in found.outcomes):
        raise NothingToJudge(f'{chosen[0]}: none of its expectations can be judged offline')
    return found


def replay_and_judge(
    bag: Path,
    *,
    model: str | None = None,
    parameters: ParameterFile | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    stage: Stage | None = None,
    baseline: Path | None = None,
    timelines: Sequence[Path] | None = None,
    observers: Sequence[Observer] = (),
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Regression:
    """Replay a bag, compare it with its baseline, and judge its timelines, if there are any.

    `baseline` and `timelines` default to the files beside the bag. See `replay_bag` for the other
    arguments. Raises `BaselineError`, and as `replay_bag` and `read_timeline` do.
    """
    readable_files(bag)
    path = baseline or baseline_path(bag)
    expected = read_baseline(path) if baseline is not None or path.exists() else None
    chosen = find_timelines(bag) if timelines is None else timelines
    read = [read_timeline(each) for each in chosen]
    judges = [Judge(each) for each in read]
    result = replay_bag(
        bag,
        model=model,
        parameters=parameters,
        overrides=overrides,
        stage=stage,
        observers=[*judges, *observers],
        progress=progress,
        stop=stop,
    )
    found = Regression(bag, result, expected)
    found.outcomes = [outcome for judge in judges for outcome in judge.outcomes()]
    if expected is not None:
        found.differences = compare(result.summary, expected.summary, expected.tolerances)
        found.changes = changes(result.summary, expected.summary)
    return found


def update_baseline(found: Regression, path: Path | None = None) -> Path:
    """Write the summary of a replay as the baseline of its bag; return the file.

    The tolerances of an existing baseline are kept.
    """
    path = path or baseline_path(found.bag)
    kept = found.baseline.tolerances if found.baseline is not None else Tolerances()
    write_baseline(path, Baseline(found.result.summary, kept))
    return path


def changes(summary: Summary, baseline: Summary) -> list[str]:
    """Return what differs between the inputs of two replays, one line each."""
    found = [
        f'the {what} is not the one of the baseline'
        for what in ('bag', 'model')
        if summary.hashes.get(what) != baseline.hashes.get(what)
    ]
    for node in sorted({*summary.settings, *baseline.settings}):
        ours, theirs = summary.settings.get(node, {}), baseline.settings.get(node, {})
        for name in sorted({*ours, *theirs}):
            if ours.get(name) != theirs.get(name):
                sides = [
                    f'{values[name]!r}' if name in values else 'the default'
                    for values in (ours, theirs)
                ]
                found.append(f'{node} {name} is {sides[0]}, the baseline has {sides[1]}')
    if not found and summary.hashes.get('parameters') != baseline.hashes.get('parameters'):
        found.append('the default parameters are not those of the baseline')
    return found
