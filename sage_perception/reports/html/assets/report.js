// Copyright 2026 The sage authors
// SPDX-License-Identifier: Apache-2.0
// Draws the plots of a report as SVG. All plots share the shown range and the cursor.
'use strict';
(() => {
  const NS = 'http://www.w3.org/2000/svg';
  const LEFT = 58, RIGHT = 12, TOP = 10, BOTTOM = 24, COLORS = 8;
  const {charts: data, markers} = JSON.parse(document.getElementById('report-data').textContent);

  const times = data.flatMap((chart) => chart.series.flatMap((s) => [s.t[0], s.t[s.t.length - 1]]))
    .concat(markers.map((m) => m.t)).filter((t) => Number.isFinite(t));
  const full = times.length ? [Math.min(...times), Math.max(...times)] : [0, 1];
  if (full[1] <= full[0]) full[1] = full[0] + 1;
  const state = {lo: full[0], hi: full[1], cursor: null};

  const make = (name, attributes, parent) => {
    const element = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (parent) parent.append(element);
    return element;
  };
  const text = (parent, x, y, anchor, content) => {
    make('text', {x, y, class: 'axis', 'text-anchor': anchor}, parent).textContent = content;
  };
  const lineClass = (index) =>
    `s${index % COLORS}` + (index < COLORS ? '' : ` dash${1 + Math.floor(index / COLORS - 1) % 2}`);
  const shown = (value) => {
    if (value === null || value === undefined) return '–';
    const size = Math.abs(value);
    if (size && (size >= 1e6 || size < 1e-3)) return value.toExponential(2);
    return String(Number(value.toPrecision(size >= 1000 ? 6 : 4)));
  };

  // Ticks at 1, 2 or 5 times a power of ten.
  const ticks = (lo, hi, count) => {
    const raw = (hi - lo) / Math.max(1, count);
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = power * ([1, 2, 5].find((m) => m * power >= raw) || 10);
    const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const found = [];
    for (let i = Math.ceil(lo / step - 1e-9); i * step <= hi + step * 1e-9; i++) {
      found.push([i * step, (i * step).toFixed(decimals)]);
    }
    return found;
  };

  // Index of the last time that is not after `time`; -1 before the first.
  const indexAt = (t, time) => {
    let lo = 0, hi = t.length;
    while (lo < hi) {
      const middle = (lo + hi) >> 1;
      if (t[middle] <= time) lo = middle + 1; else hi = middle;
    }
    return lo - 1;
  };
  const nearest = (t, time) => {
    const i = indexAt(t, time);
    if (i < 0) return 0;
    return i + 1 < t.length && t[i + 1] - time < time - t[i] ? i + 1 : i;
  };

  class Plot {
    constructor(figure) {
      this.chart = data[Number(figure.dataset.chart)];
      this.plot = figure.querySelector('.plot');
      this.readout = figure.querySelector('.readout');
      this.hidden = new Set();
      this.svg = make('svg', {'aria-hidden': 'true'}, this.plot);
      this.buildLegend(figure.querySelector('.legend'));
      this.plot.addEventListener('pointermove', (event) => this.move(event));
      this.plot.addEventListener('pointerdown', (event) => this.press(event));
      this.plot.addEventListener('pointerup', (event) => this.release(event));
      this.plot.addEventListener('pointercancel', () => { this.from = null; drawCursors(); });
      this.plot.addEventListener('pointerleave', () => {
        if (this.from === null && document.activeElement !== this.plot) setCursor(null);
      });
      this.plot.addEventListener('dblclick', () => setRange(...full));
      this.plot.addEventListener('keydown', (event) => this.key(event));
      this.plot.addEventListener('focus', () => {
        if (state.cursor === null) setCursor(state.lo);
      });
      this.from = null;
    }

    buildLegend(legend) {
      this.chart.series.forEach((series, index) => {
        const button = document.createElement('button');
        button.type = 'button';
        button.setAttribute('aria-pressed', 'true');
        const sample = make('svg', {viewBox: '0 0 22 10', 'aria-hidden': 'true'}, button);
        const dot = series.style === 'points';
        make('path', {d: dot ? 'M11 5h0' : 'M1 5H21',
          class: `trace ${lineClass(index)}${dot ? ' points' : ''}`}, sample);
        const name = document.createElement('span');
        name.textContent = series.name;
        button.append(name);
        button.addEventListener('click', () => {
          const hide = !this.hidden.delete(index);
          if (hide) this.hidden.add(index);
          button.setAttribute('aria-pressed', String(!hide));
          this.draw();
        });
        legend.append(button);
      });
    }

    visible() {
      return this.chart.series.map((s, i) => [s, i]).filter(([, i]) => !this.hidden.has(i));
    }

    limits() {
      if (this.chart.limits) return this.chart.limits;
      let lo = Infinity, hi = -Infinity;
      for (const [series] of this.visible()) {
        const last = indexAt(series.t, state.hi);
        for (let i = Math.max(0, indexAt(series.t, state.lo)); i <= last; i++) {
          const value = series.v[i];
          if (value !== null) { lo = Math.min(lo, value); hi = Math.max(hi, value); }
        }
      }
      if (this.chart.target !== null) {
        lo = Math.min(lo, this.chart.target); hi = Math.max(hi, this.chart.target);
      }
      if (lo > hi) return [0, 1];
      // Values that reach near zero are shown from zero on.
      if (lo >= 0 && lo < (hi - lo)) lo = 0;
      const margin = (hi - lo) * 0.06 || Math.abs(hi) * 0.1 || 1;
      return [lo === 0 ? 0 : lo - margin, hi + margin];
    }

    x(time) {
      return LEFT + (time - state.lo) / (state.hi - state.lo) * (this.width - LEFT - RIGHT);
    }

    time(event) {
      const box = this.plot.getBoundingClientRect();
      const share = (event.clientX - box.left - LEFT) / (this.width - LEFT - RIGHT);
      return state.lo + Math.min(1, Math.max(0, share)) * (state.hi - state.lo);
    }

    draw() {
      this.width = Math.max(200, this.plot.clientWidth);
      this.height = Math.max(80, this.plot.clientHeight);
      const {svg, width, height} = this;
      svg.replaceChildren();
      svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
      const [low, high] = this.limits();
      const bottom = height - BOTTOM;
      const y = (value) => bottom - (value - low) / (high - low) * (bottom - TOP);
      const clip = `clip-${data.indexOf(this.chart)}`;
      make('rect', {x: LEFT, y: TOP - 3, width: width - LEFT - RIGHT, height: bottom - TOP + 6},
        make('clipPath', {id: clip}, svg));
      for (const [value, label] of ticks(low, high, 4)) {
        make('line', {class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value)}, svg);
        text(svg, LEFT - 6, y(value) + 4, 'end', label);
      }
      for (const [value, label] of ticks(state.lo, state.hi, width / 110)) {
        const x = this.x(value);
        make('line', {class: 'grid', x1: x, x2: x, y1: TOP, y2: bottom}, svg);
        text(svg, x, height - 7, 'middle', `${label} s`);
      }
      const inside = make('g', {'clip-path': `url(#${clip})`}, svg);
      if (this.chart.target !== null) {
        const at = y(this.chart.target);
        make('line', {class: 'target', x1: LEFT, x2: width - RIGHT, y1: at, y2: at}, inside);
      }
      for (const [series, index] of this.visible()) {
        make('path', {d: this.path(series, y), class: `trace ${series.style} ${lineClass(index)}`},
          inside);
      }
      for (const marker of markers) {
        const x = this.x(marker.t);
        const line = make('line', {class: 'marker', x1: x, x2: x, y1: TOP, y2: bottom}, inside);
        make('title', {}, line).textContent = marker.title;
      }
      this.overlay = make('g', {}, svg);
      this.drawCursor();
    }

    path(series, y) {
      const first = Math.max(0, indexAt(series.t, state.lo));
      const last = Math.min(series.t.length - 1, indexAt(series.t, state.hi) + 1);
      const parts = [];
      let before = null;
      for (let i = first; i <= last; i++) {
        const value = series.v[i];
        if (value === null) { before = null; continue; }
        const at = `${this.x(series.t[i]).toFixed(1)} ${y(value).toFixed(1)}`;
        const alone = before === null && (i === last || series.v[i + 1] === null);
        if (series.style === 'points' || alone) parts.push(`M${at}h0.01`);
        else if (before === null) parts.push(`M${at}`);
        else if (series.style === 'steps') parts.push(`H${at.replace(' ', 'V')}`);
        else parts.push(`L${at}`);
        before = value;
      }
      return parts.join('');
    }

    drawCursor() {
      if (!this.overlay) return;
      this.overlay.replaceChildren();
      const top = TOP, bottom = this.height - BOTTOM;
      if (this.from !== null && this.to !== null) {
        const [a, b] = [this.x(this.from), this.x(this.to)].sort((p, q) => p - q);
        make('rect', {class: 'selection', x: a, y: top, width: b - a, height: bottom - top},
          this.overlay);
      }
      this.plot.setAttribute('aria-valuemin', state.lo.toFixed(2));
      this.plot.setAttribute('aria-valuemax', state.hi.toFixed(2));
      this.plot.setAttribute('aria-valuenow', (state.cursor ?? state.lo).toFixed(2));
      if (state.cursor === null) {
        this.readout.textContent = '\u00a0';
        this.plot.setAttribute('aria-valuetext', 'no cursor');
        return;
      }
      const x = this.x(state.cursor);
      make('line', {class: 'cursor', x1: x, x2: x, y1: top, y2: bottom}, this.overlay);
      const values = this.visible().filter(([s]) => s.t.length).map(([s]) => {
        const at = s.style === 'steps' ? Math.max(0, indexAt(s.t, state.cursor))
          : nearest(s.t, state.cursor);
        return `${s.name} ${shown(s.v[at])}`;
      });
      const line = [`${state.cursor.toFixed(2)} s`, ...values].join(' · ');
      this.readout.textContent = line;
      this.plot.setAttribute('aria-valuetext', line);
    }

    move(event) {
      if (this.from !== null) this.to = this.time(event);
      setCursor(this.time(event));
    }

    press(event) {
      if (event.button !== 0 || event.pointerType === 'touch') return;
      this.from = this.time(event);
      this.to = null;
      this.plot.setPointerCapture(event.pointerId);
    }

    release() {
      const {from, to} = this;
      this.from = null;
      if (from === null || to === null || Math.abs(this.x(from) - this.x(to)) < 6) {
        drawCursors();
      } else {
        setRange(Math.min(from, to), Math.max(from, to));
      }
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const span = state.hi - state.lo, at = state.cursor ?? state.lo;
      const step = span / (event.shiftKey ? 20 : 200);
      const next = (sign) => markers.map((m) => m.t).sort((a, b) => sign * (a - b))
        .find((t) => sign * (t - at) > 1e-6) ?? at;
      const actions = {
        ArrowLeft: () => setCursor(at - step), ArrowDown: () => setCursor(at - step),
        ArrowRight: () => setCursor(at + step), ArrowUp: () => setCursor(at + step),
        PageDown: () => setCursor(at - span / 10), PageUp: () => setCursor(at + span / 10),
        Home: () => setCursor(state.lo), End: () => setCursor(state.hi),
        Escape: () => setRange(...full),
        '+': () => zoom(at, 0.5), '=': () => zoom(at, 0.5), '-': () => zoom(at, 2),
        n: () => setCursor(next(1)), p: () => setCursor(next(-1)),
      };
      const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!action) return;
      event.preventDefault();
      action();
    }
  }

  const plots = [...document.querySelectorAll('.chart')].map((figure) => new Plot(figure));
  const draw = () => plots.forEach((plot) => plot.draw());
  const drawCursors = () => plots.forEach((plot) => plot.drawCursor());

  const setRange = (lo, hi) => {
    const span = Math.min(full[1] - full[0], Math.max(hi - lo, (full[1] - full[0]) / 1e4));
    state.lo = Math.min(Math.max(lo, full[0]), full[1] - span);
    state.hi = state.lo + span;
    if (state.cursor !== null) state.cursor = Math.min(state.hi, Math.max(state.lo, state.cursor));
    draw();
  };
  const zoom = (at, factor) =>
    setRange(at - (at - state.lo) * factor, at + (state.hi - at) * factor);
  const setCursor = (time) => {
    state.cursor = time === null ? null : Math.min(full[1], Math.max(full[0], time));
    const span = state.hi - state.lo;
    if (time !== null && (state.cursor < state.lo || state.cursor > state.hi)) {
      setRange(state.cursor - span / 2, state.cursor + span / 2);
    } else {
      drawCursors();
    }
  };

  document.querySelectorAll('a[data-time]').forEach((link) => {
    link.addEventListener('click', () => setCursor(Number(link.dataset.time)));
  });
  window.addEventListener('beforeprint', () => {
    document.querySelectorAll('details').forEach((details) => { details.open = true; });
  });
  new ResizeObserver(draw).observe(document.querySelector('main'));
  draw();
})();
