// Plots of a backend's last hour, drawn here as SVG.

const HIGH = 56;

// A round number that is not less.
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((round) => round >= value);
}

// A bar for each value that is not zero.
function bars(values, y) {
  return values.map((value, at) => (value ? `M${at + 0.5} ${HIGH}V${y(value)}` : '')).join('');
}

class Plot {
  // layers: [{ name, of: which values }], the one behind first.
  constructor(title, layers, unit, least) {
    Object.assign(this, { title, layers, unit, least, at: null, as: '', wide: 0 });
    this.paths = layers.map((layer) => svg('path', { class: `bars ${layer.name}` }));
    this.cross = svg('path', { class: 'cross' });
    this.grid = svg('path', { class: 'grid' });
    this.drawing = svg('svg', { preserveAspectRatio: 'none', role: 'img', tabindex: '0' }, this.grid, ...this.paths, this.cross);
    this.top = el('span', { class: 'top' });
    this.said = el('span', { class: 'said' });
    this.ages = [el('span'), el('span'), el('span', {}, 'now')];
    this.figure = el('figure', {}, el('figcaption', {}, el('span', {}, title), this.said),
      el('div', { class: 'frame' }, this.top, this.drawing),
      el('div', { class: 'axis', 'aria-hidden': 'true' }, this.ages));
    this.listen();
  }

  // Where the pointer is, or with the arrow keys, what was there is said.
  listen() {
    const to = (at) => {
      this.at = at === null ? null : Math.min(this.wide - 1, Math.max(0, at));
      this.point();
    };
    this.drawing.addEventListener('pointermove', (event) => {
      const box = this.drawing.getBoundingClientRect();
      to(Math.floor(((event.clientX - box.left) / box.width) * this.wide));
    });
    this.drawing.addEventListener('pointerleave', () => to(null));
    this.drawing.addEventListener('blur', () => to(null));
    this.drawing.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30, Home: -this.wide, End: this.wide }[event.key];
      if (!step) return;
      event.preventDefault();
      to((this.at === null ? this.wide - 1 : this.at) + step);
    });
  }

  stretch(wide, step) {
    Object.assign(this, { wide, at: null });
    this.drawing.setAttribute('viewBox', `0 0 ${wide} ${HIGH}`);
    this.drawing.style.setProperty('--bar', wide > 100 ? '2.2px' : '4px');
    this.grid.setAttribute('d', [1, 2, 3].map((part) => `M${(part * wide) / 4} 0V${HIGH}`).join(''));
    say(this.ages[0], `${span(wide * step * 1000).replace(' 0 min', '').replace(' 0 s', '')} ago`);
    say(this.ages[1], span((wide * step * 1000) / 2).replace(' 0 s', ''));
  }

  point() {
    this.cross.setAttribute('d', this.at === null ? '' : `M${this.at + 0.5} 0V${HIGH}`);
    if (this.at === null) return say(this.said, this.rest);
    const words = this.layers.map((layer) => `${layer.name} ${this.unit(this.told[layer.of][this.at])}`);
    say(this.said, `${span((this.wide - 1 - this.at) * this.step * 1000)} ago: ${words.join(', ')}`);
  }

  // Of the values the last ones, as many as the plot is wide.
  show(told, step, wide, rest) {
    const series = this.layers.map((layer) => told[layer.of].slice(-wide));
    const highest = Math.max(this.least, ...series.flat().filter((value) => value !== null));
    if (wide !== this.wide) this.stretch(wide, step);
    Object.assign(this, { told: Object.fromEntries(this.layers.map((layer, at) => [layer.of, series[at]])), step, rest });
    const as = JSON.stringify(series);
    if (as !== this.as) {
      this.as = as;
      const scale = ceiling(highest);
      const y = (value) => Math.round((HIGH - 1 - (value / scale) * (HIGH - 3)) * 100) / 100;
      this.layers.forEach((layer, at) => {
        this.paths[at].setAttribute('d', bars(series[at], y));
        this.paths[at].setAttribute('data-points', series[at].filter((value) => value).length);
      });
      say(this.top, this.unit(scale));
    }
    this.drawing.setAttribute('aria-label', `${this.title} of ${told.backend} over time: ${rest}. Arrow keys tell of each step.`);
    this.point();
  }
}

