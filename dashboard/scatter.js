// A map of faces: one or two panels of the same points, or one that moves through epochs. Points are hovered, clicked
// and lassoed; what holds beyond a moment (the face that is open, the faces selected) belongs to Python and comes back
// with the next `data`. The part of the map in view stays as it is meanwhile.

const TOOLS = { Lasso: 'Draw around faces to select them', Box: 'Draw a box to select faces', Move: 'Drag the map; the wheel zooms' };
const MARGIN = 18; // pixels around the outermost points
const REACH = 9; // pixels from the pointer within which a point is meant
const CLICK = 4; // pixels that a pointer may move in a click
const STEP = 900; // ms from one epoch to the next

const kept = new Map(); // by what is shown: the part in view, for when the page is laid out anew around the map

const make = (tag, name, parent, text = '') => {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  parent.appendChild(made);
  return made;
};

const decoded = (text, Kind) => new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);

class FaceMap {
  constructor(parent) {
    this.root = make('div', 'map', parent);
    const bar = make('div', 'bar', this.root);
    this.legend = make('div', 'legend', bar);
    const tools = make('div', 'tools', bar);
    this.tool = 'Lasso';
    this.buttons = Object.entries(TOOLS).map(([name, title]) => this.button(tools, name, title, () => this.take(name)));
    this.button(tools, '+', 'Zoom in', () => this.zoom(1.5));
    this.button(tools, '−', 'Zoom out', () => this.zoom(1 / 1.5));
    this.button(tools, 'Reset', 'Show the whole map', () => this.reset());
    this.button(tools, 'PNG', 'Download the picture', () => this.download());
    this.row = make('div', 'panels', this.root);
    this.tip = make('div', 'tip', this.root);
    this.film = make('div', 'film', this.root);
    this.play = this.button(this.film, '▶ Play', 'Through the epochs, each face keeping its point', () => this.toggle());
    this.slider = make('input', '', this.film);
    Object.assign(this.slider, { type: 'range', min: 0, step: 0.01 });
    this.slider.setAttribute('aria-label', 'Epoch');
    this.slider.oninput = () => { this.stop(); this.at = Number(this.slider.value); this.draw(); };
    this.slider.onchange = () => { this.at = Math.round(this.at); this.draw(); };
    this.panels = [];
    this.view = whole();
    this.hovered = -1;
    this.take('Lasso');
    new ResizeObserver(() => this.draw()).observe(this.row);
  }

  button(parent, text, title, onclick) {
    const made = make('button', '', parent, text);
    return Object.assign(made, { type: 'button', title, onclick });
  }

  take(tool) {
    this.tool = tool;
    this.buttons.forEach((each) => each.setAttribute('aria-pressed', String(each.textContent === tool)));
    this.row.dataset.tool = tool;
  }

  update(data, send) {
    this.data = data;
    this.send = send;
    this.truth = decoded(data.truth, Int8Array);
    this.ids = data.ids.split('\n');
    this.count = this.truth.length;
    this.selected = data.selected ? decoded(data.selected, Uint8Array) : null;
    this.frames = data.frames.map((frame) => ({
      label: frame.label,
      xy: decoded(frame.points, Uint16Array), // 0..65535 over the span that all frames share
      predicted: decoded(frame.predicted, Uint8Array),
      confidence: decoded(frame.confidence, Uint8Array), // 0..100
    }));
    if (this.place !== data.place) this.view = kept.get(data.place) ?? whole();
    this.place = data.place;
    if (!data.film || this.panels.length !== 1 || this.at === undefined || this.at >= this.frames.length) this.at = data.start;
    this.film.style.display = data.film ? '' : 'none';
    this.slider.max = this.frames.length - 1;
    while (this.panels.length > data.panels.length) this.panels.pop().element.remove();
    while (this.panels.length < data.panels.length) this.panels.push(this.panel());
    this.stamps = new Map();
    this.showLegend();
    this.draw();
  }

  panel() {
    const element = make('div', 'panel', this.row);
    const title = make('div', 'title', element);
    const stage = make('div', 'stage', element);
    const panel = { element, title, stage, points: make('canvas', '', stage), over: make('canvas', '', stage) };
    panel.over.tabIndex = -1;
    panel.over.setAttribute('role', 'img');
    panel.over.onpointerdown = (event) => this.down(panel, event);
    panel.over.onpointermove = (event) => this.move(panel, event);
    panel.over.onpointerup = (event) => this.up(panel, event);
    panel.over.onpointerleave = () => { if (!this.drag) this.hover(-1); };
    panel.over.addEventListener('wheel', (event) => this.wheel(panel, event), { passive: false });
    return panel;
  }

  // -- colours and forms ---------------------------------------------------------------------------

  showLegend() {
    const { legend, by } = this.data;
    this.legend.replaceChildren();
    for (const { name, color } of legend.colors) {
      const item = make('span', 'item', this.legend);
      make('span', 'dot', item).style.background = color;
      make('span', '', item, name);
    }
    if (by === 'confidence') {
      const item = make('span', 'item', this.legend);
      make('span', '', item, legend.low);
      make('span', 'ramp', item).style.background = `linear-gradient(to right, ${this.data.palette.join(',')})`;
      make('span', '', item, legend.high);
    }
    if (legend.forms) make('span', 'item forms', this.legend, legend.forms);
  }

  color(frame, i) { // an index into the palette
    const { by, palette } = this.data;
    if (by === 'predicted') return frame.predicted[i];
    if (by === 'right') return this.truth[i] < 0 ? 2 : Number(this.truth[i] !== frame.predicted[i]);
    if (by === 'confidence') return Math.min(palette.length - 1, Math.floor((frame.confidence[i] / 100) * palette.length));
    return this.truth[i] < 0 ? palette.length - 1 : this.truth[i];
  }

  stamp(color, isWrong, radius, ratio) { // a point, drawn once for all of its kind
    const key = `${color} ${isWrong} ${radius} ${ratio}`;
    if (!this.stamps.has(key)) {
      const canvas = document.createElement('canvas');
      const side = 2 * Math.ceil(radius + 2) * ratio;
      canvas.width = canvas.height = side;
      const pen = canvas.getContext('2d');
      pen.translate(side / 2, side / 2);
      pen.scale(ratio, ratio);
      pen.fillStyle = pen.strokeStyle = color;
      pen.beginPath();
      if (isWrong) {
        const arm = radius * 0.9;
        pen.moveTo(-arm, -arm); pen.lineTo(arm, arm); pen.moveTo(-arm, arm); pen.lineTo(arm, -arm);
        pen.lineWidth = Math.max(1.3, radius * 0.5);
        pen.stroke();
      } else {
        pen.arc(0, 0, radius, 0, 7);
        pen.fill();
      }
      this.stamps.set(key, canvas);
    }
    return this.stamps.get(key);
  }

  // -- where points are ----------------------------------------------------------------------------

  spots(index) { // the map's own coordinates of a frame, or between two: Float32Array (2 N)
    const low = Math.floor(index), part = index - low;
    const a = this.frames[low].xy, b = this.frames[Math.min(low + 1, this.frames.length - 1)].xy;
    const eased = part * part * (3 - 2 * part), unit = 1 / 65535, spots = new Float32Array(a.length);
    for (let i = 0; i < a.length; i++) spots[i] = (a[i] + (b[i] - a[i]) * eased) * unit;
    return spots;
  }

  lay(panel, index) { // every point's pixels
    const { clientWidth: width } = panel.stage, height = this.data.height, { span } = this.data;
    const scale = Math.min((width - 2 * MARGIN) / span[0], (height - 2 * MARGIN) / span[1]) * this.view.zoom;
    panel.scale = scale;
    const spots = this.spots(index), pixels = new Float32Array(spots.length);
    for (let i = 0; i < spots.length; i += 2) {
      pixels[i] = width / 2 + ((spots[i] - 0.5) * span[0] - this.view.x) * scale;
      pixels[i + 1] = height / 2 - ((spots[i + 1] - 0.5) * span[1] - this.view.y) * scale;
    }
    panel.pixels = pixels;
  }

  // -- drawing -------------------------------------------------------------------------------------

  draw() {
    if (!this.data || !this.row.clientWidth) return;
    kept.set(this.place, this.view);
    this.panels.forEach((panel, p) => {
      const index = this.data.film ? this.at : this.data.panels[p];
      panel.frame = this.frames[Math.round(index)];
      panel.title.textContent = this.panels.length > 1 || this.data.film ? panel.frame.label : '';
      panel.over.setAttribute('aria-label', `${this.data.name}, ${panel.frame.label}: ${this.count} faces`);
      for (const canvas of [panel.points, panel.over]) this.size(canvas, panel.stage.clientWidth, this.data.height);
      panel.stage.style.height = `${this.data.height}px`;
      this.lay(panel, index);
      this.drawPoints(panel);
      this.drawOver(panel);
    });
    this.slider.value = this.at;
    this.row.dataset.at = this.panels.map((panel) => panel.frame.label).join(' | '); // for tests
  }

  size(canvas, width, height) {
    const ratio = window.devicePixelRatio || 1;
    canvas.style.height = `${height}px`;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    canvas.getContext('2d').setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  drawPoints(panel) {
    const pen = panel.points.getContext('2d'), ratio = window.devicePixelRatio || 1, { height } = this.data;
    const width = panel.stage.clientWidth, { pixels, frame } = panel;
    pen.clearRect(0, 0, width, height);
    const plain = this.count > 8000 ? 1.8 : this.count > 1500 ? 2.6 : 3.8;
    const radius = Math.round(plain * Math.min(2, this.view.zoom ** 0.35) * 4) / 4;
    const passes = this.selected ? [0, 1] : [0]; // the selected ones above the others
    for (const pass of passes) {
      pen.globalAlpha = this.selected ? [0.13, 0.95][pass] : 0.8;
      for (let i = 0; i < this.count; i++) {
        if (this.selected && this.selected[i] !== pass) continue;
        const x = pixels[2 * i], y = pixels[2 * i + 1];
        if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
        const isWrong = this.truth[i] >= 0 && this.truth[i] !== frame.predicted[i];
        const stamp = this.stamp(this.data.palette[this.color(frame, i)], isWrong, radius, ratio);
        const side = stamp.width / ratio;
        pen.drawImage(stamp, x - side / 2, y - side / 2, side, side);
      }
    }
    pen.globalAlpha = 1;
  }

  drawOver(panel) {
    const pen = panel.over.getContext('2d'), style = getComputedStyle(this.root);
    const ink = style.getPropertyValue('--st-text-color'), accent = style.getPropertyValue('--st-primary-color');
    pen.clearRect(0, 0, panel.stage.clientWidth, this.data.height);
    const { chosen, near } = this.data, at = (i) => [panel.pixels[2 * i], panel.pixels[2 * i + 1]];
    const ring = (i, radius, color, width) => {
      pen.beginPath();
      pen.arc(...at(i), radius, 0, 7);
      Object.assign(pen, { strokeStyle: color, lineWidth: width });
      pen.stroke();
    };
    if (chosen >= 0) {
      pen.globalAlpha = 0.7;
      for (const i of near) {
        pen.beginPath();
        pen.moveTo(...at(chosen));
        pen.lineTo(...at(i));
        Object.assign(pen, { strokeStyle: ink, lineWidth: 1 });
        pen.stroke();
      }
      pen.globalAlpha = 1;
      near.forEach((i) => ring(i, 6, ink, 1.5));
      ring(chosen, 9, accent, 3);
    }
    if (this.hovered >= 0) ring(this.hovered, 8, ink, 2);
    const drag = this.drag;
    if (drag && drag.panel === panel && drag.tool !== 'Move' && drag.path.length > 1) {
      pen.beginPath();
      outline(drag).forEach(([x, y]) => pen.lineTo(x, y));
      pen.closePath();
      Object.assign(pen, { strokeStyle: accent, lineWidth: 1.5, fillStyle: accent });
      pen.stroke();
      pen.globalAlpha = 0.1;
      pen.fill();
      pen.globalAlpha = 1;
    }
  }

  // -- the pointer ---------------------------------------------------------------------------------

  nearest(panel, x, y) {
    let best = -1, least = REACH * REACH;
    for (let i = 0; i < this.count; i++) {
      const dx = panel.pixels[2 * i] - x, dy = panel.pixels[2 * i + 1] - y, square = dx * dx + dy * dy;
      if (square < least || (square === least && best < 0)) { best = i; least = square; }
    }
    return best;
  }

  hover(i, panel, event) {
    const text = i < 0 ? '' : this.told(panel.frame, i);
    this.tip.textContent = text;
    this.tip.style.display = text ? 'block' : 'none';
    if (text) {
      const box = this.root.getBoundingClientRect(), x = event.clientX - box.left;
      this.tip.style.top = `${event.clientY - box.top + 16}px`;
      this.tip.style.left = `${Math.max(0, Math.min(x + 12, box.width - this.tip.offsetWidth - 4))}px`;
    }
    if (i === this.hovered) return;
    this.hovered = i;
    this.panels.forEach((each) => this.drawOver(each)); // the same face in the other panel too
  }

  told(frame, i) {
    const { emotions } = this.data, truth = this.truth[i] < 0 ? 'no label' : `true ${emotions[this.truth[i]]}`;
    return `${this.ids[i]}: ${truth}, predicted ${emotions[frame.predicted[i]]} (${frame.confidence[i]}%)`;
  }

  down(panel, event) {
    if (event.button !== 0) return;
    panel.over.setPointerCapture(event.pointerId);
    this.hover(-1);
    this.drag = { panel, tool: this.tool, path: [[event.offsetX, event.offsetY]], view: { ...this.view } };
  }

  move(panel, event) {
    const point = [event.offsetX, event.offsetY], drag = this.drag;
    if (!drag) return this.hover(this.nearest(panel, ...point), panel, event);
    const [x, y] = drag.path.at(-1);
    if (Math.hypot(point[0] - x, point[1] - y) >= 2) drag.path.push(point);
    if (drag.tool !== 'Move') return this.drawOver(panel);
    const [x0, y0] = drag.path[0];
    this.view.x = drag.view.x - (point[0] - x0) / panel.scale;
    this.view.y = drag.view.y + (point[1] - y0) / panel.scale;
    this.draw();
  }

  up(panel, event) {
    const drag = this.drag;
    this.drag = null;
    if (!drag) return;
    drag.path.push([event.offsetX, event.offsetY]);
    const far = Math.max(...drag.path.map(([x, y]) => Math.hypot(x - drag.path[0][0], y - drag.path[0][1])));
    this.drawOver(panel);
    if (far <= CLICK) {
      const hit = this.nearest(panel, ...drag.path[0]);
      if (hit >= 0) this.send('clicked', hit);
      else if (this.selected) this.send('selected', '');
      return;
    }
    if (drag.tool === 'Move') return;
    const rows = inside(panel.pixels, outline(drag));
    this.selected = new Uint8Array(this.count);
    rows.forEach((i) => { this.selected[i] = 1; });
    if (!rows.length) this.selected = null;
    this.draw();
    this.send('selected', rows.join(' '));
  }

  wheel(panel, event) {
    if (this.tool !== 'Move' && !event.ctrlKey) return; // else the page scrolls, as everywhere
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 400), panel, [event.offsetX, event.offsetY]);
  }

  zoom(factor, panel = this.panels[0], at = [panel.stage.clientWidth / 2, this.data.height / 2]) {
    const zoom = Math.min(60, Math.max(1, this.view.zoom * factor)), ratio = zoom / this.view.zoom;
    const dx = (at[0] - panel.stage.clientWidth / 2) / panel.scale, dy = (this.data.height / 2 - at[1]) / panel.scale;
    this.view = { zoom, x: this.view.x + dx * (1 - 1 / ratio), y: this.view.y + dy * (1 - 1 / ratio) };
    if (zoom === 1) this.view = whole();
    this.draw();
  }

  reset() {
    this.view = whole();
    this.draw();
  }

  // -- through the epochs --------------------------------------------------------------------------

  toggle() {
    if (this.playing) return this.stop();
    if (this.at >= this.frames.length - 1) this.at = 0;
    this.play.textContent = '❚❚ Pause';
    let last;
    const step = (now) => { // the first frame may have begun before the click: time counts from it
      if (!this.playing || !this.root.isConnected) return this.stop();
      this.at = Math.min(this.frames.length - 1, this.at + (now - (last ?? now)) / STEP);
      last = now;
      this.draw();
      if (this.at >= this.frames.length - 1) return this.stop();
      this.playing = requestAnimationFrame(step);
    };
    this.playing = requestAnimationFrame(step);
  }

  stop() {
    cancelAnimationFrame(this.playing);
    this.playing = 0;
    this.play.textContent = '▶ Play';
  }

  download() {
    const ratio = window.devicePixelRatio || 1, canvas = document.createElement('canvas');
    canvas.width = this.panels.reduce((sum, panel) => sum + panel.points.width, 0);
    canvas.height = this.panels[0].points.height;
    const pen = canvas.getContext('2d');
    pen.fillStyle = getComputedStyle(this.root).getPropertyValue('--st-background-color');
    pen.fillRect(0, 0, canvas.width, canvas.height);
    let x = 0;
    for (const panel of this.panels) {
      pen.drawImage(panel.points, x, 0);
      pen.drawImage(panel.over, x, 0);
      pen.fillStyle = getComputedStyle(this.root).getPropertyValue('--st-text-color');
      pen.font = `${13 * ratio}px sans-serif`;
      pen.fillText(`${this.data.name}, ${panel.frame.label}`, x + 8 * ratio, 18 * ratio);
      x += panel.points.width;
    }
    const link = document.createElement('a');
    Object.assign(link, { href: canvas.toDataURL('image/png'), download: `${this.data.file}.png` });
    link.click();
  }
}

const whole = () => ({ zoom: 1, x: 0, y: 0 });

const outline = ({ tool, path }) => {
  if (tool !== 'Box') return path;
  const [[x0, y0], [x1, y1]] = [path[0], path.at(-1)];
  return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
};

const inside = (pixels, path) => { // the even-odd rule
  const rows = [];
  for (let i = 0; i < pixels.length; i += 2) {
    const x = pixels[i], y = pixels[i + 1];
    let odd = false;
    for (let a = 0, b = path.length - 1; a < path.length; b = a++) {
      const [ax, ay] = path[a], [bx, by] = path[b];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
    }
    if (odd) rows.push(i / 2);
  }
  return rows;
};

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector('.map');
  const map = root ? root.owner : new FaceMap(parentElement);
  map.root.owner = map;
  map.update(data, setTriggerValue);
}
