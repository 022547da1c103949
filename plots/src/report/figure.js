"use strict";
// Hover and zoom for pictures with numeric axes: `data-` attributes say where axes, lines and marks lie (`canvas.rs`,
// `panel.rs`). The pointer shows the values nearest to it; a drag zooms, a double click or Escape shows all again; on a
// focused picture arrows move, + and - zoom. Everything is drawn from what the picture has; nothing is fetched.
const tip = document.createElement("div");
tip.className = "tip";
tip.setAttribute("role", "status");
document.body.append(tip);
let clips = 0;

function make(name, attributes, parent) {
  const element = document.createElementNS(document.querySelector("svg").namespaceURI, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (parent) parent.append(element);
  return element;
}
const numbers = (text) => text.split(/[\s;]+/).filter(Boolean).map(Number);
const path = (points) => "M" + points.map(([x, y]) => x.toFixed(1) + " " + y.toFixed(1)).join(" ");
// Some significant digits, as people write them: what is read off a line has fewer than what is given.
function short(value, digits = 4) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toPrecision(digits).replace(/\.?0+(e|$)/, "$1");
  return Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 6 });
}

// An axis: from its text "low high linear|log unit" and its ends in px.
function axis(text, from, to) {
  const [low, high, kind, unit] = text.split(" ");
  const log = kind === "log";
  const inner = (value) => (log ? Math.log10(value) : value);
  const ends = [inner(Number(low)), inner(Number(high))];
  return {
    log, from, to, unit: Number(unit), zoom: [0, 1],
    share(value) { return (inner(value) - ends[0]) / (ends[1] - ends[0]); },
    value(share) { const at = ends[0] + share * (ends[1] - ends[0]); return log ? 10 ** at : at; },
    // Where a place of the unzoomed picture is now.
    move(px) { const [a, b] = this.zoom; return from + ((px - from) / (to - from) - a) / (b - a) * (to - from); },
    place(value) { return this.move(from + this.share(value) * (to - from)); },
    shareAt(px) { const [a, b] = this.zoom; return a + (px - from) / (to - from) * (b - a); },
    at(px) { return this.value(this.shareAt(px)); },
  };
}

// Round values between two, about `most` of them.
function ticks(low, high, most, log) {
  if (log && high / low >= 10) {
    const all = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const digit of [1, 2, 5]) all.push(digit * 10 ** power);
    const inside = all.filter((value) => value >= low * 0.999 && value <= high * 1.001);
    return inside.length <= most * 2 ? inside : inside.filter((value) => /^1|^0\.0*1$/.test(String(Number(value.toPrecision(1)))));
  }
  const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((digit) => digit * power >= raw * 0.999) * power;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-6); i * step <= high + step * 1e-6; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

// A line: its corners in px, and its values if they are given.
function line(group) {
  const drawn = Array.from(group.querySelectorAll(":scope > path")).map((element) => {
    const flat = numbers(element.getAttribute("d").slice(1).replace(/[MLZ]/g, " "));
    return { element, points: flat.reduce((all, at, i) => (i % 2 ? all[all.length - 1].push(at) : all.push([at]), all), []) };
  });
  const text = group.dataset.values;
  const first = group.querySelector("[stroke]:not([stroke='#ffffff'])") || group.querySelector("[fill]:not([fill='none'])");
  return {
    group, drawn,
    name: group.querySelector("title") ? group.querySelector("title").textContent : "",
    color: first ? first.getAttribute("stroke") || first.getAttribute("fill") : "#000",
    steps: group.classList.contains("steps"),
    values: text ? text.split(";").map(numbers) : null,
    points: drawn.flatMap((part) => part.points),
    marks: Array.from(group.querySelectorAll(".mark")).map((element) => ({ element, at: numbers(element.dataset.at) })),
    whiskers: Array.from(group.querySelectorAll(".whisker")).map((element) => ({
      element, at: Number(element.dataset.at),
      parts: Array.from(element.querySelectorAll("path")).map((part) => {
        // A line of no length has one point only.
        const [x0, y0, x1 = x0, y1 = y0] = numbers(part.getAttribute("d").slice(1));
        return { part, ends: [[x0, y0], [x1, y1]] };
      }),
    })),
  };
}

class Picture {
  constructor(svg, card) {
    this.svg = svg;
    this.panels = [];
    let panel = null;
    for (const group of svg.children) {
      if (group.classList.contains("panel")) {
        const [left, top, right, bottom] = numbers(group.dataset.plot);
        panel = null;
        if (group.dataset.x === "names" || group.dataset.y === "names") continue;
        panel = {
          left, top, right, bottom, grid: group.querySelector(".grid"), label: group.dataset.xLabel || "",
          x: axis(group.dataset.x, left, right), y: axis(group.dataset.y, bottom, top),
          lines: [], references: [], ticks: null,
        };
        this.panels.push(panel);
      } else if (!panel) continue;
      else if (group.classList.contains("series")) panel.lines.push(line(group));
      else if (group.classList.contains("x-ticks")) panel.ticks = group;
      else if (group.matches(".vertical, .horizontal")) panel.references.push(group);
    }
    this.panels = this.panels.filter((one) => one.lines.length > 0);
    if (this.panels.length === 0) return;
    this.over = make("g", { class: "over", "pointer-events": "none" }, svg);
    this.cursor = null;
    svg.querySelectorAll(".series > title").forEach((title) => title.remove());
    svg.classList.add("live");
    svg.tabIndex = 0;
    const bar = document.createElement("div");
    bar.className = "tools";
    bar.innerHTML = "<span>Drag to zoom; arrows, + and − when focused</span>";
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.textContent = "Show all";
    this.button.disabled = true;
    this.button.addEventListener("click", () => this.reset());
    bar.append(this.button);
    card.append(bar);
    svg.addEventListener("pointermove", (event) => this.moved(event));
    svg.addEventListener("pointerdown", (event) => this.pressed(event));
    svg.addEventListener("pointerup", (event) => this.released(event));
    svg.addEventListener("pointerleave", () => { if (!this.from) this.leave(); });
    svg.addEventListener("blur", () => this.leave());
    svg.addEventListener("dblclick", () => this.reset());
    svg.addEventListener("keydown", (event) => this.key(event));
  }

  place(event) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    return [at.x, at.y];
  }
  panelAt([x, y], slack) {
    return this.panels.find((one) => x >= one.left - slack && x <= one.right + slack && y >= one.top - slack && y <= one.bottom + slack);
  }
  moved(event) {
    const at = this.place(event);
    if (this.from) return this.drawSelection(at);
    const panel = this.panelAt(at, 4);
    if (!panel) return this.leave();
    this.show(panel, at[0], event.clientX, event.clientY);
  }
  // Where on a line the reader is: [x, y] in values, and [x, y] in px.
  nearest(panel, one, px) {
    if (one.values) {
      let best = null;
      for (const [x, y, half] of one.values) {
        const at = panel.x.place(x);
        if (at < panel.left - 0.5 || at > panel.right + 0.5) continue;
        if (!best || Math.abs(at - px) < Math.abs(best.px - px)) best = { x, y, half, px: at, py: panel.y.place(y) };
      }
      return best;
    }
    let best = null;
    for (const [x, y] of one.points) {
      const at = panel.x.move(x);
      if (at < panel.left - 0.5 || at > panel.right + 0.5) continue;
      if (!best || Math.abs(at - px) < Math.abs(best.px - px)) best = { raw: [x, y], px: at };
    }
    if (one.steps) {
      // Between corners the line itself is the value.
      const place = panel.left + (panel.x.shareAt(px)) * (panel.right - panel.left);
      const after = one.points.findIndex(([x]) => x > place);
      if (one.points.length === 0) return null;
      const [a, b] = after < 0 ? [one.points[one.points.length - 1], null] : [one.points[Math.max(after - 1, 0)], one.points[after]];
      const y = after === 0 ? panel.bottom : b && b[0] > a[0] ? a[1] + (b[1] - a[1]) * (place - a[0]) / (b[0] - a[0]) : a[1];
      best = { raw: [place, y], px };
    }
    if (!best) return null;
    best.py = panel.y.move(best.raw[1]);
    best.x = panel.x.value((best.raw[0] - panel.left) / (panel.right - panel.left));
    best.y = panel.y.value((panel.bottom - best.raw[1]) / (panel.bottom - panel.top));
    return best;
  }
  show(panel, px, clientX, clientY) {
    const found = panel.lines.map((one) => ({ one, at: this.nearest(panel, one, px) })).filter(({ at }) => at);
    if (found.length === 0) return this.leave();
    const first = found.reduce((a, b) => (Math.abs(a.at.px - px) <= Math.abs(b.at.px - px) ? a : b));
    this.cursor = { panel, px: first.at.px };
    this.over.replaceChildren();
    make("path", { d: path([[first.at.px, panel.top], [first.at.px, panel.bottom]]), stroke: "#555", "stroke-width": 0.8, "stroke-dasharray": "3 2" }, this.over);
    tip.replaceChildren();
    const head = document.createElement("b");
    head.textContent = panel.label + ": " + short(first.at.x / panel.x.unit, first.at.raw ? 3 : 4);
    tip.append(head);
    for (const { one, at } of found) {
      // Lines with other places say nothing here.
      if (!one.steps && Math.abs(at.px - first.at.px) > 12) continue;
      if (at.py >= panel.top - 1 && at.py <= panel.bottom + 1)
        make("circle", { cx: at.px, cy: at.py, r: 4, fill: one.color, stroke: "#fff", "stroke-width": 1.5 }, this.over);
      const row = document.createElement("div");
      const sign = document.createElement("i");
      sign.style.background = one.color;
      row.append(sign, (one.name ? one.name + ": " : "") + short(at.y, at.raw ? 3 : 4) + (at.half ? " ± " + short(at.half) : ""));
      tip.append(row);
    }
    this.tipAt(clientX, clientY);
  }
  tipAt(x, y) {
    tip.style.display = "block";
    const box = tip.getBoundingClientRect();
    const left = x + 16 + box.width > innerWidth ? x - box.width - 16 : x + 16;
    const top = Math.min(Math.max(y - box.height / 2, 4), innerHeight - box.height - 4);
    tip.style.transform = "translate(" + Math.max(left, 4) + "px," + top + "px)";
  }
  leave() {
    this.cursor = null;
    if (this.over) this.over.replaceChildren();
    tip.style.display = "none";
  }

  pressed(event) {
    if (event.button !== 0 || event.pointerType === "touch") return;
    const at = this.place(event);
    const panel = this.panelAt(at, 0);
    if (!panel) return;
    this.from = { panel, at };
    this.svg.setPointerCapture(event.pointerId);
    event.preventDefault();
    this.svg.focus({ preventScroll: true });
  }
  // The selected part of a panel; what is lower than 15 px keeps the y axis.
  selection([x, y]) {
    const { panel, at } = this.from;
    const clip = (value, low, high) => Math.min(Math.max(value, low), high);
    const xs = [at[0], clip(x, panel.left, panel.right)].sort((a, b) => a - b);
    const ys = [at[1], clip(y, panel.top, panel.bottom)].sort((a, b) => a - b);
    return { xs, ys: ys[1] - ys[0] < 15 ? null : ys };
  }
  drawSelection(at) {
    const { panel } = this.from;
    const { xs, ys } = this.selection(at);
    const [top, bottom] = ys || [panel.top, panel.bottom];
    tip.style.display = "none";
    this.over.replaceChildren();
    make("rect", { x: xs[0], y: top, width: xs[1] - xs[0], height: bottom - top, fill: "#0072b2", "fill-opacity": 0.15, stroke: "#0072b2" }, this.over);
  }
  released(event) {
    if (!this.from) return;
    const { panel } = this.from;
    const { xs, ys } = this.selection(this.place(event));
    this.from = null;
    this.over.replaceChildren();
    if (xs[1] - xs[0] < 6) return;
    this.zoomX(panel.x.shareAt(xs[0]), panel.x.shareAt(xs[1]));
    if (ys) panel.y.zoom = [panel.y.shareAt(ys[1]), panel.y.shareAt(ys[0])];
    this.draw();
  }
  key(event) {
    const panel = this.cursor ? this.cursor.panel : this.panels[0];
    const px = this.cursor ? this.cursor.px : (panel.left + panel.right) / 2;
    if (event.key === "Escape") this.reset();
    else if (event.key === "+" || event.key === "=" || event.key === "-") {
      const at = panel.x.shareAt(px), [a, b] = panel.x.zoom, by = event.key === "-" ? 2 : 0.5;
      this.zoomX(Math.max(at - (at - a) * by, 0), Math.min(at + (b - at) * by, 1));
      this.draw();
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const sign = event.key === "ArrowLeft" ? -1 : 1;
      const places = panel.lines.flatMap((one) => one.values ? one.values.map(([x]) => panel.x.place(x)) : one.points.map(([x]) => panel.x.move(x)));
      const ahead = places.filter((x) => sign * (x - px) > 0.6 && x >= panel.left - 0.5 && x <= panel.right + 0.5);
      const next = ahead.length ? (sign > 0 ? Math.min(...ahead) : Math.max(...ahead)) : px;
      const corner = new DOMPoint(next, (panel.top + panel.bottom) / 2).matrixTransform(this.svg.getScreenCTM());
      this.show(panel, next, corner.x, corner.y);
    } else return;
    event.preventDefault();
  }
  // Panels that share an axis of time are zoomed together.
  zoomX(from, to) {
    if (to - from < 1e-4) return;
    for (const panel of this.panels) panel.x.zoom = [from, to];
  }
  reset() {
    this.from = null;
    for (const panel of this.panels) panel.x.zoom = panel.y.zoom = [0, 1];
    this.leave();
    this.draw();
  }
  draw() {
    let whole = true;
    for (const panel of this.panels) {
      const same = panel.x.zoom.concat(panel.y.zoom).join() === "0,1,0,1";
      whole = whole && same;
      this.drawAxes(panel, same);
      if (!panel.clip) {
        panel.clip = "clip-" + ++clips;
        const clip = make("clipPath", { id: panel.clip }, this.svg);
        make("rect", { x: panel.left - 1, y: panel.top - 4, width: panel.right - panel.left + 2, height: panel.bottom - panel.top + 8 }, clip);
      }
      for (const one of panel.lines) this.drawLine(panel, one, same);
      for (const group of panel.references) {
        const at = Number(group.dataset.at), across = group.classList.contains("vertical");
        const to = across ? panel.x.move(at) : panel.y.move(at);
        const [low, high] = across ? [panel.left, panel.right] : [panel.top, panel.bottom];
        group.style.display = to < low - 1 || to > high + 1 ? "none" : "";
        group.setAttribute("transform", across ? "translate(" + (to - at) + " 0)" : "translate(0 " + (to - at) + ")");
      }
    }
    this.button.disabled = whole;
    this.svg.classList.toggle("zoomed", !whole);
  }
  drawLine(panel, one, same) {
    const move = ([x, y]) => [panel.x.move(x), panel.y.move(y)];
    if (same) one.group.removeAttribute("clip-path");
    else one.group.setAttribute("clip-path", "url(#" + panel.clip + ")");
    for (const { element, points } of one.drawn) element.setAttribute("d", path(points.map(move)));
    for (const { element, at } of one.marks) {
      const [x, y] = move(at);
      element.setAttribute("transform", "translate(" + (x - at[0]) + " " + (y - at[1]) + ")");
    }
    for (const { at, parts } of one.whiskers) {
      const aside = panel.x.move(at) - at;
      for (const { part, ends } of parts) part.setAttribute("d", path(ends.map(([x, y]) => [x + aside, panel.y.move(y)])));
    }
  }
  drawAxes(panel, same) {
    panel.grid.style.display = same ? "" : "none";
    if (panel.ticks) panel.ticks.style.display = same ? "" : "none";
    if (panel.own) panel.own.remove();
    panel.own = null;
    if (same) return;
    panel.own = make("g", { class: "zoom-axes", "font-size": 11.5, fill: "#4a5058" });
    panel.grid.after(panel.own);
    const { x, y } = panel;
    const [low, high] = x.zoom.map((share) => x.value(share) / x.unit);
    for (const value of ticks(low, high, 7, x.log)) {
      const at = x.place(value * x.unit);
      make("path", { d: path([[at, panel.top], [at, panel.bottom]]), stroke: "#e6e8eb" }, panel.own);
      if (!panel.ticks) continue;
      make("path", { d: path([[at, panel.bottom], [at, panel.bottom + 4]]), stroke: "#8a9098" }, panel.own);
      make("text", { x: at, y: panel.bottom + 18, "text-anchor": "middle" }, panel.own).textContent = short(value);
    }
    const labelled = panel.grid.querySelector("text");
    for (const value of ticks(y.value(y.zoom[0]), y.value(y.zoom[1]), 6, y.log)) {
      const at = y.place(value);
      make("path", { d: path([[panel.left, at], [panel.right, at]]), stroke: "#e6e8eb" }, panel.own);
      if (labelled) make("text", { x: panel.left - 7, y: at + 4, "text-anchor": "end" }, panel.own).textContent = short(value);
    }
  }
}

for (const card of document.querySelectorAll("figure .card")) {
  const svg = card.querySelector("svg");
  if (!svg) continue;
  const picture = new Picture(svg, card);
  // What has no axes of numbers says its own values.
  for (const item of svg.querySelectorAll(".item")) {
    const title = item.querySelector(":scope > title");
    if (!title) continue;
    const text = title.textContent;
    title.remove();
    item.addEventListener("pointermove", (event) => {
      tip.textContent = text;
      Picture.prototype.tipAt.call(picture, event.clientX, event.clientY);
    });
    item.addEventListener("pointerleave", () => { tip.style.display = "none"; });
  }
}
