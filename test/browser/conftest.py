# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium for tests of pages; they are skipped where it is not installed."""

import os
import shutil

import pytest

CHROMIUM = (
    os.environ.get('SAGE_CHROMIUM') or shutil.which('chromium') or shutil.which('google-chrome')
)
# No connections of its own, and WebGL 2 on the CPU.
FLAGS = (
    *('--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking'),
    *('--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'),
    *('--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist'),
)


@pytest.fixture(scope='module')
def browser():
    """Start Chromium for the tests of one module."""
    playwright = pytest.importorskip(
        'playwright.sync_api', reason='playwright is not installed: pip install playwright'
    )
    if CHROMIUM is None:
        pytest.skip('chromium is not installed: apt-get install chromium')
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def open_page(browser):
    """Return a function that opens a page; `page.problems` has its errors and its requests."""
    pages = []

    def open_page(url: str, **options):
        page = browser.new_page(**{'viewport': {'width': 1200, 'height': 900}, **options})
        pages.append(page)
        page.errors, page.requests = [], []
        page.on(
            'console',
            lambda m: page.errors.append(m.text) if m.type in ('error', 'warning') else None,
        )
        page.on('pageerror', lambda error: page.errors.append(str(error)))
        page.on('request', lambda request: page.requests.append(request.url))
        page.goto(url)
        return page

    yield open_page
    for page in pages:
        page.close()
