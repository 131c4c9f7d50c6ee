# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The HTML report in a browser: plots, keyboard, dark mode, and hostile text."""

import numpy as np
import pytest

from sage_perception.core.latent import Roi
from sage_perception.reports.html.render import write_report
from sage_perception.reports.html.report import (
    Chart,
    CropImage,
    FrameImage,
    Moment,
    Region,
    Report,
    Series,
    Style,
    Table,
    Verdict,
)

HOSTILE = '<script>document.title = "owned"</script><img src=x onerror=document.title="owned">'
SECONDS = 60


@pytest.fixture(scope='module')
def report_url(tmp_path_factory):
    """The URL of a report with two cameras, ten minutes of plots and three differences."""
    times = np.arange(0, SECONDS, 0.1)
    rates = [Series(f'cam{i}', times, 30 + np.sin(times + i)) for i in range(2)]
    latency = Series(HOSTILE, times, 20 + 5 * np.cos(times), Style.POINTS)
    frame = np.full((240, 320, 3), 128, np.uint8)
    crop = np.full((64, 64, 3), 60, np.uint8)
    moments = tuple(
        Moment(
            f'track {i} {HOSTILE}',
            10.0 * (i + 1),
            'trust 0.4, baseline 0.7',
            (
                FrameImage('cam0', frame, (Region(Roi(20, 30, 40, 50), '3', True),)),
                FrameImage('cam1', frame),
            ),
            (CropImage('cam0 track 3', crop, crop // 2, 'PSNR 24.1 dB'),),
        )
        for i in range(3)
    )
    report = Report(
        'Regression of a bag',
        'The latents differ.',
        Verdict.FAIL,
        facts=(('frames', 1200), ('differences', 3)),
        tables=(Table('Differences', ('stream', 'value'), ((HOSTILE, 0.25), ('/fused', 1.5))),),
        charts=(
            Chart('Rate', 'Hz', tuple(rates)),
            Chart('Latency', 'ms', (latency,), target=40),
            Chart('Bytes', 'byte/s', (Series('cam0', times, times * 100, Style.STEPS),)),
        ),
        moments=moments,
        environment=(('entity', HOSTILE),),
    )
    path = tmp_path_factory.mktemp('report') / 'report.html'
    write_report(report, path)
    return path.as_uri()


def test_elements_and_no_errors(open_page, report_url):
    page = open_page(report_url)
    counts = {
        selector: page.locator(selector).count()
        for selector in (
            '.chart svg path.trace',
            '.plot svg',
            '.plot .marker',
            'article.moment',
            '.frame svg image',
            '.region.marked',
            '.crop img',
            '#tables tbody tr',
        )
    }
    assert counts == {
        '.chart svg path.trace': 8,  # four series, each in the plot and in the legend
        '.plot svg': 3,
        '.plot .marker': 9,
        'article.moment': 3,
        '.frame svg image': 6,
        '.region.marked': 3,
        '.crop img': 6,
        '#tables tbody tr': 2,
    }
    assert page.errors == []
    assert page.title() == 'Regression of a bag: fail'
    assert [url for url in page.requests if not url.startswith(('file:', 'data:'))] == []
    # Every image was decoded.
    assert page.evaluate('[...document.images].every((i) => i.complete && i.naturalWidth > 0)')


def test_hostile_text_is_text(open_page, report_url):
    page = open_page(report_url)
    assert page.locator('img[src="x"]').count() == 0
    assert page.locator('script').count() == 2
    assert page.locator('.legend span', has_text='document.title').count() == 1


def test_policy_stops_a_script_that_gets_into_the_page(open_page, report_url):
    page = open_page(report_url)
    page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'document.title = "owned"';
            document.body.append(script);
        }"""
    )
    assert page.title() == 'Regression of a bag: fail'
    assert any('Content Security Policy' in text for text in page.errors)


def test_keyboard_moves_zooms_and_returns(open_page, report_url):
    page = open_page(report_url)
    plot, other = page.locator('.plot').nth(0), page.locator('.plot').nth(2)
    plot.focus()
    assert float(plot.get_attribute('aria-valuenow')) == 0
    page.keyboard.press('Shift+ArrowRight')
    at = float(plot.get_attribute('aria-valuenow'))
    assert at == pytest.approx(SECONDS / 20, rel=0.01)
    # The cursor is that of all plots, and its values are in words.
    assert other.get_attribute('aria-valuenow') == plot.get_attribute('aria-valuenow')
    assert 'cam0 ' in plot.get_attribute('aria-valuetext')
    page.keyboard.press('n')
    assert float(plot.get_attribute('aria-valuenow')) == 10
    page.keyboard.press('n')
    page.keyboard.press('p')
    assert float(plot.get_attribute('aria-valuenow')) == 10
    page.keyboard.press('+')
    assert float(other.get_attribute('aria-valuemin')) > 4
    assert float(other.get_attribute('aria-valuemax')) < 36
    page.keyboard.press('Escape')
    assert float(other.get_attribute('aria-valuemin')) == 0
    page.keyboard.press('End')
    assert float(plot.get_attribute('aria-valuenow')) == pytest.approx(SECONDS, abs=0.2)


def test_every_control_is_reached_with_tab(open_page, report_url):
    page = open_page(report_url)
    reached = set()
    for _ in range(60):
        page.keyboard.press('Tab')
        reached.add(
            page.evaluate('document.activeElement.className || document.activeElement.tagName')
        )
    assert {'plot', 'BUTTON', 'SUMMARY', 'time', 'strip', 'strip crops', 'scroll'} <= reached
    page.locator('.plot').first.focus()
    style = 'getComputedStyle(document.activeElement).outlineStyle'
    page.keyboard.press('ArrowRight')
    assert page.evaluate(style) == 'solid'


def test_mouse_zooms_and_legend_hides(open_page, report_url):
    page = open_page(report_url)
    plot = page.locator('.plot').first
    box = plot.bounding_box()
    middle = box['y'] + box['height'] / 2
    page.mouse.move(box['x'] + box['width'] * 0.4, middle)
    page.mouse.down()
    page.mouse.move(box['x'] + box['width'] * 0.6, middle, steps=4)
    assert page.locator('.plot .selection').count() == 1
    page.mouse.up()
    assert float(plot.get_attribute('aria-valuemin')) > 15
    assert float(plot.get_attribute('aria-valuemax')) < 45
    plot.dblclick()
    assert float(plot.get_attribute('aria-valuemin')) == 0
    button = page.locator('.legend button').first
    button.click()
    assert button.get_attribute('aria-pressed') == 'false'
    assert page.locator('.chart').first.locator('.plot path.trace').count() == 1


def test_time_of_a_moment_moves_the_cursor(open_page, report_url):
    page = open_page(report_url)
    page.locator('a.time').nth(1).click()
    assert float(page.locator('.plot').first.get_attribute('aria-valuenow')) == 20


def luminance(color: str) -> float:
    """Return the relative luminance of a CSS color rgb(r, g, b), WCAG 2.2."""
    parts = [int(v) / 255 for v in color[color.index('(') + 1 : -1].split(',')[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_colors_have_contrast(open_page, report_url, scheme):
    page = open_page(report_url, color_scheme=scheme)
    style = """(selector, name) =>
        getComputedStyle(document.querySelector(selector))[name]"""

    def color(selector, name):
        return page.evaluate(f'([s, n]) => ({style})(s, n)', [selector, name])

    page_luminance = luminance(color('body', 'backgroundColor'))
    assert (page_luminance < 0.05) == (scheme == 'dark')

    def contrast(selector, name):
        pair = sorted([luminance(color(selector, name)), page_luminance])
        return (pair[1] + 0.05) / (pair[0] + 0.05)

    for selector in ('body', '.note', 'dt', 'a', 'th', 'figcaption'):
        assert contrast(selector, 'color') >= 4.5, selector
    assert contrast('.plot .axis', 'fill') >= 4.5
    for index in range(2):
        assert contrast(f'.trace.s{index}', 'stroke') >= 3.0


def test_narrow_screens_do_not_scroll_sideways(open_page, report_url):
    page = open_page(report_url, viewport={'width': 390, 'height': 800})
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    assert page.errors == []


def test_print_opens_the_figures(open_page, report_url):
    page = open_page(report_url)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator('details[open]').count() == 3
    assert len(page.pdf()) > 10_000
