# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Files that keep what takes minutes to make, named by the code and the models that made it.

The fingerprint in a name covers a module and all modules of the project that it imports, directly
or not, without comments and docstrings. A change of any of them makes the result again.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from sage_perception.core.files import replacing
from sage_perception.models.registry import resolve

FOLDER = Path('out/puzzle')
BENCH = Path(__file__).resolve().parents[1]
ROOTS = {'sage_perception': BENCH.parent, 'translation_parts': BENCH}

Network = TypeVar('Network', bound=nn.Module)


def kept(path: Path, network: Network, fit: Callable[[], nn.Module]) -> Network:
    """Return a network with the parameters in a file; without that file, `fit` trains them."""
    if not path.is_file():
        state = fit().state_dict()
        with replacing(path) as part:
            torch.save(state, part)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def cached_file(name: str, module: str, models: Sequence[str] = ()) -> Path:
    """Return the file of a result that `module` makes with some models, in an existing folder.

    `name` has an extension. Files of the same result with other fingerprints are removed.
    """
    path = Path(name)
    wanted = FOLDER / f'{path.stem}.{fingerprint(module, tuple(models))}{path.suffix}'
    FOLDER.mkdir(parents=True, exist_ok=True)
    for other in FOLDER.glob(f'{path.stem}.*{path.suffix}'):
        if other != wanted:
            other.unlink()
    return wanted


@cache
def fingerprint(module: str, models: tuple[str, ...] = ()) -> str:
    """Return 12 hexadecimal digits of the code of a module, and of the files of models."""
    digest = hashlib.sha256()
    for name, path in sorted(sources(module).items()):
        digest.update(f'{name}\n{code(path)}\n'.encode())
    for model in models:
        for path in sorted(resolve(model).iterdir()):
            if path.suffix != '.md':
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def sources(module: str) -> dict[str, Path]:
    """Return the files of a module and of all modules of the project that it imports."""
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        root = ROOTS.get(name.partition('.')[0])
        if name in found or root is None:
            continue
        path = root.joinpath(*name.split('.'))
        for file in (path.with_suffix('.py'), path / '__init__.py'):
            if file.is_file():  # other names are those inside modules
                found[name] = file
                waiting += imported(file)
    return found


def imported(path: Path) -> Iterator[str]:
    """Yield the names that a file imports, those inside modules too."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f'{node.module}.{each.name}' for each in node.names)


def code(path: Path) -> str:
    """Return the syntax tree of a file without its docstrings."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.dump(tree)
