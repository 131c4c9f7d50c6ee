# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Check a built site: its links have targets, and no page loads anything from another host."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes that name a resource which the browser loads with the page.
LOADED = {'script': 'src', 'img': 'src', 'iframe': 'src', 'source': 'src'}
LOADED_RELATIONS = {'stylesheet', 'icon', 'preload', 'modulepreload', 'manifest'}


class Page(HTMLParser):
    """The anchors, links and loaded resources of an HTML page."""

    def __init__(self, text: str):
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the attributes of a tag."""
        given = {name: value or '' for name, value in attrs}
        self.anchors |= {given[name] for name in ('id', 'name') if name in given}
        if tag == 'a' and 'href' in given:
            self.links.append(given['href'])
        elif tag == 'link' and LOADED_RELATIONS & set(given.get('rel', '').split()):
            self.loaded.append(given.get('href', ''))
        elif tag in LOADED and LOADED[tag] in given:
            self.loaded.append(given[LOADED[tag]])


@cache
def read(path: Path) -> Page:
    """Return a page."""
    return Page(path.read_text(encoding='utf-8'))


def pages(site: Path) -> list[Path]:
    """Return the pages of a site, without the templates of its theme."""
    return sorted(path for path in site.rglob('*.html') if '_static' not in path.parts)


def is_external(link: str) -> bool:
    """Return whether a link leaves the site."""
    parts = urlsplit(link)
    return bool(parts.scheme or parts.netloc)


def external_links(site: Path) -> list[str]:
    """Return the links to other sites; they are not fetched."""
    return sorted({link for path in pages(site) for link in read(path).links if is_external(link)})


def faults(site: Path) -> list[str]:
    """Return a line for each broken link, and for each resource that is not part of the site."""
    return [f'{path.relative_to(site)}: {text}' for path in pages(site) for text in _faults(path)]


def _faults(path: Path) -> Iterator[str]:
    page = read(path)
    for link in page.loaded:
        if is_external(link) and not link.startswith('data:'):
            yield f'{link} is loaded from another host'
    for link in dict.fromkeys(page.links + page.loaded):
        if is_external(link):
            continue
        place, anchor = urlsplit(link).path, urlsplit(link).fragment
        target = (path.parent / unquote(place)).resolve() if place else path
        if not target.is_file():
            yield f'{link} does not exist'
        elif anchor and target.suffix == '.html' and unquote(anchor) not in read(target).anchors:
            yield f'{link} has no such anchor'
