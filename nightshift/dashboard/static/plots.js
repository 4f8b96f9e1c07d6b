// Interactive plots of figures (see the macro `plot` in _parts.html.j2): uPlot for curves, points, bars, bands and
// marked stretches, a shaded table for a matrix, and a table of the values below each.
"use strict";
(() => {
  const NEWEST = 200; // rows of the table
  const COLOURS = 6; // --plot-1 to --plot-6 in app.css
  const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 2], [14, 5]];
  const LONGEST = 22; // characters of a category's name on an axis
  const WHOLE = [...Array(12).keys()].flatMap((n) => [1, 2, 5].map((step) => step * 10 ** n)); // steps: no half epochs
  const FONT = "12px system-ui, sans-serif";
  const MONTH_S = 28 * 86400, DAY_S = 86400;
  const digits = new Intl.NumberFormat(undefined, {maximumSignificantDigits: 5});
  const plots = new Map(); // <figure> -> Plot

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const faded = (name, pct) => `color-mix(in srgb, ${css(name)} ${pct}%, transparent)`;
  /** Numbers of an axis, told apart however little lies between two of them. */
  const marks = (_u, at, _axis, _space, step) => {
    const large = Math.max(...at.filter((v) => v != null).map(Math.abs), step);
    const format = new Intl.NumberFormat(undefined, {maximumSignificantDigits: Math.min(15, Math.ceil(Math.log10(large / step)) + 2)});
    return at.map((v) => (v == null ? "" : format.format(v)));
  };
  const show = (value) => (value == null ? "–" : digits.format(value));

  /** Make an element; `content` is text or elements, never HTML. */
  function make(tag, attributes = {}, ...content) {
    const found = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
    found.append(...content);
    return found;
  }

  // --- From a figure to columns on one grid ---------------------------------------------------------------------

  /** Seconds since 1970; a text without a zone is UTC. */
  function seconds(moment) {
    if (typeof moment === "number") return moment;
    const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(moment) || !moment.includes("T") ? moment : `${moment}Z`;
    return Date.parse(zoned) / 1000;
  }

  /** Read a figure: {kind, names, tracks, spans, grid, columns}; a band is two tracks, stretches are none. */
  function read(figure) {
    const named = !figure.x_is_time && figure.series.some((s) => s.x.some((x) => typeof x === "string"));
    const kind = figure.x_is_time ? "time" : named ? "names" : "numbers";
    const names = named ? [...new Set(figure.series.flatMap((s) => s.x.map(String)))] : [];
    const index = new Map(names.map((name, i) => [name, i]));
    const at = {time: seconds, names: (x) => index.get(String(x)), numbers: (x) => x}[kind];
    const tracks = [], spans = [];
    figure.series.forEach((series, i) => {
      const x = series.x.map(at), label = series.label || figure.y_label || "value";
      if (series.style === "spans") {
        const ends = (series.y2 ?? series.y).map((end) => (kind === "time" && end != null ? seconds(end) : end));
        spans.push({label, shown: true, parts: x.map((start, k) => [start, ends[k]])});
      } else if (series.style === "band") {
        tracks.push({series: i, label, style: "low", ...ordered(x, series.y)});
        tracks.push({series: i, label, style: "high", ...ordered(x, series.y2 ?? series.y)});
      } else {
        tracks.push({series: i, label, style: series.style, ...ordered(x, series.y)});
      }
    });
    return {kind, names, tracks, spans, ...aligned(tracks, spans.flatMap((s) => s.parts.flat()))};
  }

  /** Return a curve from left to right; one that runs leftwards keeps the order of its vertical parts. */
  function ordered(x, y) {
    const order = x.map((_, i) => i);
    if (x.length > 1 && x[0] > x[x.length - 1]) order.reverse();
    order.sort((a, b) => x[a] - x[b]);
    return {x: order.map((i) => x[i]), y: order.map((i) => y[i])};
  }

  /** Lay curves with x of their own on one grid, where an x stands as often as one of them has it: a ROC curve climbs.
      `undefined` where a curve has no point, which is no gap; `null` is one. */
  function aligned(tracks, edges) {
    const most = new Map(edges.map((x) => [x, 1]));
    for (const {x} of tracks) {
      const often = new Map();
      for (const value of x) often.set(value, (often.get(value) ?? 0) + 1);
      for (const [value, n] of often) if (n > (most.get(value) ?? 0)) most.set(value, n);
    }
    const grid = [], first = new Map();
    for (const value of [...most.keys()].sort((a, b) => a - b)) {
      first.set(value, grid.length);
      for (let n = most.get(value); n > 0; n--) grid.push(value);
    }
    const columns = tracks.map(({x, y}) => {
      const column = new Array(grid.length).fill(undefined);
      let again = 0;
      x.forEach((value, i) => {
        again = i > 0 && x[i - 1] === value ? again + 1 : 0;
        column[first.get(value) + again] = y[i];
      });
      return column;
    });
    return {grid, columns};
  }

  const smallestStep = (grid) =>
    grid.reduce((step, x, i) => (i && x > grid[i - 1] ? Math.min(step, x - grid[i - 1]) : step), Infinity);

  // --- How it is drawn ------------------------------------------------------------------------------------------

  class Plot {
    constructor(element) {
      this.element = element;
      this.title = element.querySelector("figcaption");
      this.isNamed = this.title.textContent !== ""; // by the page, which knows whose figure it is
      this.canvas = element.querySelector(".canvas");
      this.details = element.querySelector("details");
      this.details.addEventListener("toggle", () => this.fillTable());
      this.resized = new ResizeObserver(() => this.fit());
      this.resized.observe(this.canvas);
      const island = element.querySelector('script[type="application/json"]');
      if (island) this.draw(JSON.parse(island.textContent));
      if (element.dataset.source) this.follow();
    }

    /** Fetch the figure, again and again where that is asked for; as long as it is part of the page. */
    async follow() {
      const every = Number(this.element.dataset.every ?? 0) * 1000;
      if (!this.figure) this.say("Loading…");
      while (this.element.isConnected) {
        if (!document.hidden) await this.fetch();
        if (!every) return;
        await new Promise((done) => setTimeout(done, every));
      }
      this.leave();
    }

    async fetch() {
      try {
        const answer = await fetch(this.element.dataset.source, {headers: {Accept: "application/json"}});
        const text = await answer.text();
        if (!answer.ok) throw new Error(told(text) || `the dashboard answered ${answer.status}`);
        if (text !== this.text) this.draw(JSON.parse(text));
        else this.say("");
        this.text = text;
      } catch (error) {
        const why = error instanceof TypeError ? "the dashboard does not answer" : error.message;
        this.say(`This plot cannot be brought up to date: ${why}`, "bad");
      }
    }

    leave() {
      this.resized.disconnect();
      this.chart?.destroy();
      plots.delete(this.element);
    }

    /** Say something in words above the plot, in place of it while there is none. */
    say(text, kind = "soft") {
      this.said ??= this.canvas.parentElement.insertBefore(make("p", {role: "status"}), this.canvas);
      if (this.said.textContent !== text) this.said.textContent = text;
      this.said.className = `plot-said ${kind}`;
      this.said.hidden = !text;
    }

    draw(figure) {
      this.figure = figure;
      if (!this.isNamed) this.title.textContent = figure.title;
      this.say("");
      if (figure.cells) return this.drawMatrix();
      const content = read(figure);
      const form = JSON.stringify([content.kind, content.names, figure.x_label, figure.y_label,
        figure.series.map((s) => [s.label, s.style])]);
      const same = this.chart && form === this.form;
      this.form = form;
      const hidden = same ? this.content.spans.map((s) => s.shown) : [];
      this.content = content;
      hidden.forEach((shown, i) => (content.spans[i].shown = shown));
      if (same) this.renew();
      else this.build();
      this.canvas.setAttribute("role", "img");
      this.canvas.setAttribute("aria-label", `${this.title.textContent}: ${content.grid.length} points; a table of them follows.`);
      this.fillTable();
    }

    /** Put new values into the drawn chart; what is zoomed into stays so. */
    renew() {
      const {min, max} = this.chart.scales.x;
      const zoomed = min > this.whole[0] || max < this.whole[1];
      this.chart.setData([this.content.grid, ...this.content.columns], !zoomed);
      if (zoomed) this.chart.redraw();
      this.whole = this.extent();
    }

    /** What the x axis shows of the whole. */
    extent() {
      const {grid} = this.content;
      return this.reach(grid[0], grid[grid.length - 1]);
    }

    build() {
      this.chart?.destroy();
      this.chart = null;
      this.legend?.remove();
      this.canvas.classList.remove("matrix");
      const empty = !this.content.grid.length;
      this.canvas.classList.toggle("empty", empty);
      if (empty) return this.say("Nothing to show yet.");
      this.chart = new uPlot(this.options(), [this.content.grid, ...this.content.columns], this.canvas);
      this.chart.over.title = "Drag to zoom, double-click for the whole";
      this.whole = this.extent();
      this.legend = this.makeLegend();
      this.canvas.after(this.legend);
    }

    options() {
      const {tracks} = this.content;
      const bands = tracks.flatMap((t, i) => (t.style === "high" ? [this.band(i)] : []));
      return {
        width: this.canvas.clientWidth || 600,
        height: this.canvas.clientHeight || 280,
        padding: [10, 14, 0, (u) => this.leftRoom(u)],
        tzDate: this.isWallClock ? (s) => uPlot.tzDate(new Date(s * 1000), "Etc/UTC") : (s) => new Date(s * 1000),
        legend: {show: false},
        cursor: {dataIdx: nearest, drag: {x: true, y: false}, points: {size: 8}},
        scales: {
          x: {time: this.content.kind === "time", range: (_u, low, high) => this.reach(low, high)},
          y: {range: (_u, low, high) => this.heights(low, high)},
        },
        series: [{}, ...tracks.map((t, i) => this.line(t, i))],
        bands,
        axes: [this.below(), this.beside()],
        hooks: {drawClear: [(u) => this.drawSpans(u)], setCursor: [(u) => this.tell(u)]},
      };
    }

    /** The machine's wall clock is shown as it was, every other moment in the viewer's zone. */
    get isWallClock() {
      return this.figure.x_label.includes("local time");
    }

    colour(i) {
      return `--plot-${(i % COLOURS) + 1}`;
    }

    /** Areas lie behind in colours of their own: lines, points and bars are counted among themselves. */
    place(track) {
      return this.content.tracks.filter((t) => t.style !== "low" && t.style !== "high").indexOf(track);
    }

    line(track) {
      const place = this.place(track), ink = () => css(this.colour(place));
      const common = {label: track.label, scale: "y"};
      if (track.style === "low" || track.style === "high") return {...common, width: 0, points: {show: false}};
      if (track.style === "points") {
        const size = track.x.length > 600 ? 4 : 6;
        return {...common, stroke: ink, width: 0, paths: () => null, points: {show: true, size, width: 0, fill: ink}};
      }
      if (track.style === "bars") {
        const together = this.content.tracks.filter((t) => t.style === "bars");
        const fill = () => faded(this.colour(place), 80);
        return {...common, fill, width: 0, points: {show: false}, paths: this.bars(together.indexOf(track), together.length)};
      }
      return {...common, stroke: ink, width: 1.75, dash: DASHES[place % DASHES.length], points: {size: 5, fill: ink, width: 0}};
    }

    band(high) {
      const nth = this.content.tracks.slice(0, high).filter((t) => t.style === "high").length;
      return {series: [high + 1, high], fill: () => faded("--plot-1", nth ? 16 : 24)};
    }

    /** Bars of several series stand beside each other. */
    bars(place, together) {
      return (u, k, from, to) => {
        const path = new Path2D(), xs = u.data[0], ys = u.data[k];
        const across = u.valToPos(this.step, "x", true) - u.valToPos(0, "x", true);
        const width = (0.8 * across) / together, zero = u.valToPos(0, "y", true);
        for (let i = from; i <= to; i++) {
          if (ys[i] == null) continue;
          const left = u.valToPos(xs[i], "x", true) - 0.4 * across + place * width, top = u.valToPos(ys[i], "y", true);
          path.rect(left, Math.min(top, zero), Math.max(width - 1, 1), Math.abs(zero - top));
        }
        return {stroke: null, fill: path, clip: null, band: null, gaps: null, flags: 1};
      };
    }

    get step() {
      const step = this.content.kind === "names" ? 1 : smallestStep(this.content.grid);
      return Number.isFinite(step) ? step : 1;
    }

    get hasBars() {
      return this.content.tracks.some((t) => t.style === "bars");
    }

    /** How far the x axis reaches around values. */
    reach(low, high) {
      if (low == null) return [0, 1];
      if (this.content.kind === "names") return [Math.round(low) - 0.5, Math.round(high) + 0.5];
      if (low === high) return this.content.kind === "time" ? [low - 1800, high + 1800] : [low - 0.5, high + 0.5];
      if (this.hasBars) return [low - this.step / 2, high + this.step / 2];
      const room = this.content.tracks.some((t) => t.style === "points") ? 0.015 * (high - low) : 0;
      return [low - room, high + room];
    }

    heights(low, high) {
      if (low == null) return [0, 1];
      return this.hasBars ? uPlot.rangeNum(Math.min(low, 0), Math.max(high, 0), 0.06, true) : uPlot.rangeNum(low, high, 0.06, true);
    }

    axis(label) {
      const ink = () => css("--plot-ink"), line = {stroke: () => css("--plot-grid"), width: 1};
      const labelled = label ? {label, labelSize: 22, labelFont: FONT, labelGap: 2} : {};
      return {stroke: ink, font: FONT, grid: line, ticks: {...line, size: 5}, ...labelled};
    }

    beside() {
      // As wide as its numbers.
      const size = (_u, values) => 16 + 7 * Math.max(3, ...(values ?? []).map((v) => String(v ?? "").length));
      return {...this.axis(this.figure.y_label), size, values: marks};
    }

    below() {
      const {kind, names} = this.content;
      // In the viewer's zone it is not UTC that stands there.
      const common = this.axis(this.figure.x_label.replace(" (UTC)", ""));
      if (kind === "numbers") {
        const whole = this.content.grid.every(Number.isInteger);
        return {...common, size: 30, values: marks, ...(whole ? {incrs: WHOLE} : {})};
      }
      if (kind === "time") return {...common, size: 46, space: 70, values: (_u, at, _a, _s, step) => this.moments(at, step)};
      const short = this.shortNames(), {longest, turned} = this.nameRoom(short);
      return {
        ...common,
        grid: {show: false},
        splits: (u) => {
          const every = Math.max(1, Math.ceil((16 * names.length) / (u.width - 60)));
          return names.map((_, i) => i).filter((i) => i % every === 0);
        },
        values: (_u, at) => at.map((i) => short[i] ?? ""),
        rotate: (u) => (turned(u) ? 40 : 0),
        size: (u) => (turned(u) ? 24 + 0.66 * longest : 32),
      };
    }

    shortNames() {
      return this.content.names.map((name) => (name.length > LONGEST ? `${name.slice(0, LONGEST - 1)}…` : name));
    }

    /** How long the longest name is, px, and whether names are turned to find room. */
    nameRoom(short) {
      const longest = 6.5 * Math.max(...short.map((name) => name.length));
      return {longest, turned: (u) => longest + 8 > (u.width - 60) / short.length};
    }

    /** Turned names reach to the left, beyond the first bar. */
    leftRoom(u) {
      if (this.content.kind !== "names") return 0;
      const short = this.shortNames(), {turned} = this.nameRoom(short);
      return turned(u) ? Math.max(0, 5 * short[0].length - 45) : 0;
    }

    moments(at, step) {
      const zone = this.isWallClock ? {timeZone: "UTC"} : {};
      const day = new Intl.DateTimeFormat(undefined, {day: "numeric", month: "short", ...zone});
      const month = new Intl.DateTimeFormat(undefined, {month: "short", year: "numeric", ...zone});
      const clock = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", ...(step < 60 ? {second: "2-digit"} : {}), hourCycle: "h23", ...zone});
      let before = "";
      return at.map((s) => {
        const moment = new Date(s * 1000);
        if (step >= MONTH_S) return month.format(moment);
        const date = day.format(moment);
        const text = step >= DAY_S ? date : date === before ? clock.format(moment) : `${clock.format(moment)}\n${date}`;
        before = date;
        return text;
      });
    }

    /** An x as people read it: in the legend and the table. */
    where(x) {
      const {kind, names} = this.content;
      if (kind === "names") return names[x] ?? "";
      if (kind === "numbers") return show(x);
      const zone = this.isWallClock ? {timeZone: "UTC"} : {};
      return new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "medium", hourCycle: "h23", ...zone}).format(new Date(x * 1000));
    }

    drawSpans(u) {
      const {left, top, width, height} = u.bbox;
      u.ctx.save();
      u.ctx.beginPath();
      u.ctx.rect(left, top, width, height);
      u.ctx.clip();
      u.ctx.fillStyle = faded("--plot-5", 28);
      for (const span of this.content.spans.filter((s) => s.shown)) {
        for (const [start, end] of span.parts) {
          if (start == null || end == null) continue;
          const from = u.valToPos(start, "x", true), to = u.valToPos(end, "x", true);
          u.ctx.fillRect(from, top, Math.max(to - from, 1), height); // one moment is a line
        }
      }
      u.ctx.restore();
    }

    /** Names with what stands under the cursor; each shows and hides its part. */
    makeLegend() {
      const list = make("ul", {class: "legend"});
      this.values = [];
      const add = (label, sample, toggle) => {
        const value = make("span", {class: "value"}), button = make("button", {type: "button", "aria-pressed": "true"});
        button.append(sample, make("span", {}, label), value);
        button.addEventListener("click", () => {
          const shown = button.getAttribute("aria-pressed") !== "true";
          button.setAttribute("aria-pressed", String(shown));
          toggle(shown);
        });
        list.append(make("li", {}, button));
        return value;
      };
      this.content.tracks.forEach((track, i) => {
        if (track.style === "high") return;
        const both = track.style === "low" ? [i + 1, i + 2] : [i + 1];
        const value = add(track.label, this.sample(track), (on) => both.forEach((k) => this.chart.setSeries(k, {show: on})));
        this.values.push({value, series: both});
      });
      this.content.spans.forEach((span, n) => {
        add(span.label, sampleOf("area", "s5"), (on) => {
          this.content.spans[n].shown = on;
          this.chart.redraw(false);
        });
      });
      this.at = make("li", {class: "at"});
      list.append(this.at);
      return list;
    }

    sample(track) {
      if (track.style === "low") return sampleOf("area", "s1");
      const place = this.place(track);
      const kind = {points: "dot", bars: "bar"}[track.style] ?? "line";
      return sampleOf(kind, `s${(place % COLOURS) + 1}`, DASHES[place % DASHES.length]);
    }

    /** Show in the legend what is under the cursor. */
    tell(u) {
      const {idx, idxs} = u.cursor;
      this.at.textContent = idx == null ? "" : `at ${this.where(u.data[0][idx])}`;
      for (const {value, series} of this.values) {
        const said = series.map((k) => (idx == null || idxs[k] == null ? null : u.data[k][idxs[k]]));
        value.textContent = idx == null ? "" : said.map(show).join(" to ");
      }
    }

    fit() {
      const {clientWidth: width, clientHeight: height} = this.canvas;
      if (this.chart && width && (width !== this.chart.width || height !== this.chart.height)) this.chart.setSize({width, height});
    }

    // --- Tables -------------------------------------------------------------------------------------------------

    /** The matrix is a table already: shaded by how large its cells are. */
    drawMatrix() {
      this.chart?.destroy();
      this.chart = null;
      this.legend?.remove();
      this.content = null;
      const {cells, ticks, x_label: across, y_label: down} = this.figure;
      const largest = Math.max(...cells.flat().map(Math.abs)) || 1;
      const head = make("tr", {}, make("td", {}, ""), ...cells[0].map((_, i) => make("th", {scope: "col"}, ticks[i] ?? `${i}`)));
      const rows = cells.map((row, i) => {
        const line = make("tr", {}, make("th", {scope: "row"}, ticks[i] ?? `${i}`));
        for (const value of row) {
          const cell = make("td", {}, show(value));
          cell.style.setProperty("--share", `${Math.round(4 + 46 * (Math.abs(value) / largest))}%`);
          line.append(cell);
        }
        return line;
      });
      const caption = make("caption", {}, [down && `rows: ${down}`, across && `columns: ${across}`].filter(Boolean).join("; "));
      this.canvas.classList.add("matrix");
      this.canvas.replaceChildren(make("table", {}, caption, make("thead", {}, head), make("tbody", {}, ...rows)));
      this.details.hidden = true;
    }

    /** Lay the newest values into the table, once somebody opens it. */
    fillTable() {
      if (!this.content) return;
      this.details.hidden = !this.content.grid.length;
      if (!this.details.open) return;
      const {grid, columns, tracks, spans} = this.content;
      const names = tracks.map((t) => (t.style === "low" ? `${t.label}, from` : t.style === "high" ? `${t.label}, to` : t.label));
      const rows = grid.map((_, i) => i).filter((i) => columns.some((c) => c[i] !== undefined));
      const lines = rows.slice(-NEWEST).map((i) => [this.where(grid[i]), ...columns.map((c) => (c[i] === undefined ? "" : show(c[i])))]);
      const x = this.figure.x_label.replace(" (UTC)", "") || (this.content.kind === "time" ? "time" : "x");
      const tables = names.length ? [tableOf(this.title.textContent, [x, ...names], lines, rows.length)] : [];
      for (const span of spans) {
        const parts = span.parts.slice(-NEWEST).map((part) => part.map((end) => this.where(end)));
        tables.push(tableOf(`${this.title.textContent}: ${span.label}`, ["from", "to"], parts, span.parts.length));
      }
      this.details.querySelector(".scroll").replaceChildren(...tables);
    }
  }

  function tableOf(title, header, lines, total) {
    const caption = total > lines.length ? `${title}: the last ${lines.length} of ${total} rows` : title;
    const head = make("tr", {}, ...header.map((name) => make("th", {scope: "col"}, name)));
    const body = lines.map(([first, ...rest]) => make("tr", {}, make("th", {scope: "row"}, first), ...rest.map((v) => make("td", {}, v))));
    return make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
  }

  /** A small picture of how a part is drawn. */
  function sampleOf(kind, colour, dash = []) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    const set = (element, values) => Object.entries(values).forEach(([name, value]) => element.setAttribute(name, value));
    set(svg, {width: 24, height: 12, "aria-hidden": "true", class: colour});
    const shape = document.createElementNS(space, {line: "line", dot: "circle"}[kind] ?? "rect");
    set(shape, {
      line: {x1: 0, x2: 24, y1: 6, y2: 6, stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": dash.join(" ")},
      dot: {cx: 12, cy: 6, r: 3.5, fill: "currentColor"},
      bar: {x: 4, y: 0, width: 16, height: 12, fill: "currentColor", "fill-opacity": 0.8},
      area: {x: 0, y: 0, width: 24, height: 12, fill: "currentColor", "fill-opacity": 0.28},
    }[kind]);
    svg.append(shape);
    return svg;
  }

  /** The nearest point of a curve that has none at the cursor's place; a gap is none. */
  function nearest(u, k, at) {
    const ys = u.data[k], xs = u.data[0];
    if (k === 0 || ys[at] !== undefined) return at;
    let left = at, right = at;
    while (left >= 0 && ys[left] === undefined) left--;
    while (right < ys.length && ys[right] === undefined) right++;
    if (left < 0) return right < ys.length ? right : null;
    if (right >= ys.length) return left;
    return xs[at] - xs[left] <= xs[right] - xs[at] ? left : right;
  }

  /** What a problem+json body says. */
  function told(text) {
    try {
      return JSON.parse(text).detail ?? "";
    } catch {
      return "";
    }
  }

  function start(root) {
    const found = [...root.querySelectorAll("figure.plot")];
    if (root.matches?.("figure.plot")) found.push(root);
    for (const element of found) {
      if (!plots.has(element)) plots.set(element, new Plot(element));
    }
    for (const [element, plot] of plots) if (!element.isConnected) plot.leave();
  }

  const recolour = () => plots.forEach((plot) => plot.chart?.redraw(false));
  document.addEventListener("DOMContentLoaded", () => start(document));
  document.addEventListener("htmx:load", (event) => start(event.detail.elt));
  document.addEventListener("themechange", recolour);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
})();
