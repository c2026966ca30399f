/**
 * The script of the page that `goemu road --html` and `goemu trace -o x.html` write: a tree of lines, a timeline of
 * threads, Ps and goroutines on a canvas, search and zoom. Data: lines of JSON in the element "data" (page.ts).
 */
export const PAGE_SCRIPT = String.raw`
"use strict";
const KINDS = ["running", "runnable", "waiting", "syscall", "gc", "stopped"];
const GROUPS = {
  gc: "Garbage collector",
  thread: "Threads (M)",
  processor: "Processors (P)",
  goroutine: "Goroutines (G)",
};
const lanes = [],
  nodes = [],
  byId = new Map(),
  instants = [],
  flows = [];
let meta = {};
for (const line of document.getElementById("data").textContent.split("\n")) {
  if (line === "") continue;
  const d = JSON.parse(line);
  if (d[0] === "lane") lanes.push({ group: d[1], id: d[2], name: d[3], slices: [], marks: [] });
  else if (d[0] === "slice") lanes[d[1]].slices.push({ kind: d[2], start: d[3], end: d[4], name: d[5], detail: d[6] });
  else if (d[0] === "mark") lanes[d[1]].marks.push({ time: d[2], name: d[3], detail: d[4] });
  else if (d[0] === "flow") flows.push({ kind: d[1], from: d[2], start: d[3], to: d[4], end: d[5] });
  else if (d[0] === "node") {
    const n = {
      id: d[1],
      parent: byId.get(d[2]),
      kind: d[3],
      label: d[4],
      detail: d[5],
      time: d[6],
      instructions: d[7],
      tid: d[8],
      m: d[9],
      p: d[10],
      g: d[11],
      children: [],
      open: true,
      level: 0,
    };
    if (n.parent) {
      n.level = n.parent.level + 1;
      n.parent.children.push(n);
    }
    byId.set(n.id, n);
    nodes.push(n);
  } else if (d[0] === "meta") meta = Object.assign(meta, d[1]);
}
const ORDER = Object.keys(GROUPS);
lanes.forEach((l) => l.slices.sort((a, b) => a.start - b.start));
const shown = [...lanes].sort((a, b) => ORDER.indexOf(a.group) - ORDER.indexOf(b.group) || a.id - b.id);
const laneRow = new Map();
let end = 1;
for (const l of lanes) for (const s of l.slices) end = Math.max(end, s.end);
for (const n of nodes) end = Math.max(end, n.time);

const $ = (id) => document.getElementById(id);
const canvas = $("canvas"),
  view = $("timeline"),
  tip = $("tip");
const context = canvas.getContext("2d");
const LABEL = 190,
  LANE = 20,
  GROUP = 24,
  AXIS = 24;
let from = 0,
  to = end * 1.02,
  scroll = 0,
  query = null,
  selected = null,
  hover = null;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const duration = (ns) =>
  ns < 1e3
    ? Math.round(ns) + " ns"
    : ns < 1e6
      ? (ns / 1e3).toFixed(1) + " µs"
      : ns < 1e9
        ? (ns / 1e6).toFixed(3) + " ms"
        : (ns / 1e9).toFixed(3) + " s";
const x = (time) => LABEL + ((time - from) / (to - from)) * (width() - LABEL);
const timeAt = (px) => from + ((px - LABEL) / (width() - LABEL)) * (to - from);
const width = () => view.clientWidth;

function layout() {
  let y = AXIS,
    group = null;
  laneRow.clear();
  for (const l of shown) {
    if (l.group !== group) {
      group = l.group;
      y += GROUP;
    }
    laneRow.set(l, y);
    y += LANE;
  }
  return y + 10;
}
const total = layout();

function draw() {
  const ratio = window.devicePixelRatio || 1,
    w = width(),
    h = view.clientHeight;
  canvas.width = w * ratio;
  canvas.height = h * ratio;
  canvas.style.width = w + "px";
  canvas.style.height = h + "px";
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = css("--bg");
  context.fillRect(0, 0, w, h);
  context.font = "11px ui-sans-serif, system-ui, sans-serif";
  context.textBaseline = "middle";
  context.save();
  context.beginPath();
  context.rect(0, AXIS, w, h - AXIS);
  context.clip();
  let group = null;
  for (const l of shown) {
    const y = laneRow.get(l) - scroll;
    if (l.group !== group) {
      group = l.group;
      context.fillStyle = css("--fg");
      context.font = "bold 11px ui-sans-serif, system-ui, sans-serif";
      context.fillText(GROUPS[group], 8, y - GROUP / 2 + 2);
      context.font = "11px ui-sans-serif, system-ui, sans-serif";
    }
    if (y > h || y + LANE < AXIS) continue;
    context.fillStyle = css("--line");
    context.fillRect(0, y + LANE - 1, w, 1);
    drawLane(l, y, w);
    context.fillStyle = css("--bg");
    context.fillRect(0, y, LABEL - 2, LANE - 1);
    context.fillStyle = query && query.test(l.name) ? css("--hit") : css("--fg");
    context.fillText(fit(l.name, LABEL - 16), 10, y + LANE / 2);
  }
  drawFlows();
  context.restore();
  drawAxis(w, h);
}
function fit(text, room) {
  if (context.measureText(text).width <= room) return text;
  let n = text.length;
  while (n > 1 && context.measureText(text.slice(0, n) + "…").width > room) n = Math.floor(n * 0.9);
  return n > 1 ? text.slice(0, n) + "…" : "";
}
function firstAt(slices, time) {
  let low = 0,
    high = slices.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (slices[middle].end < time) low = middle + 1;
    else high = middle;
  }
  return low;
}
function drawLane(l, y, w) {
  let last = -1;
  for (let i = Math.max(0, firstAt(l.slices, from) - 4); i < l.slices.length; i++) {
    const s = l.slices[i];
    if (s.start > to) break;
    const a = Math.max(LABEL, x(s.start)),
      b = Math.min(w, x(s.end));
    if (b < LABEL || (b - a < 0.7 && Math.floor(a) === last)) continue;
    last = Math.floor(a);
    const inner = s.kind === 3 && l.group === "thread";
    const hit = query && query.test(s.name);
    context.globalAlpha = query && !hit ? 0.25 : 1;
    context.fillStyle = hit ? css("--hit") : css("--" + KINDS[s.kind]);
    const top = inner ? y + 11 : y + 2,
      height = inner ? LANE - 14 : LANE - 5;
    context.fillRect(a, top, Math.max(0.7, b - a), height);
    context.globalAlpha = 1;
    if (s === selected) {
      context.strokeStyle = css("--fg");
      context.strokeRect(a + 0.5, top + 0.5, Math.max(1, b - a - 1), height - 1);
    }
    if (b - a > 24 && !inner) {
      context.fillStyle = css("--text-on");
      context.fillText(fit(s.name, b - a - 6), a + 3, y + LANE / 2);
    }
  }
  for (const mark of l.marks) {
    if (mark.time < from || mark.time > to) continue;
    const at = x(mark.time);
    context.fillStyle = css("--mark");
    context.beginPath();
    context.moveTo(at, y + 2);
    context.lineTo(at + 4, y + 9);
    context.lineTo(at - 4, y + 9);
    context.fill();
  }
}
function drawFlows() {
  const many = flows.length > 3000;
  for (const f of flows) {
    if (f.end < from || f.start > to) continue;
    const a = laneRow.get(lanes[f.from]),
      b = laneRow.get(lanes[f.to]);
    if (a === undefined || b === undefined) continue;
    const x1 = x(f.start),
      x2 = x(f.end);
    const on = selected && (f.end === selected.start || (f.start >= selected.start && f.start <= selected.end));
    if (many && !on) continue;
    if (x1 < LABEL || x2 < LABEL) continue;
    context.globalAlpha = on ? 1 : 0.35;
    context.strokeStyle = css(f.kind === "go" ? "--go" : "--wake");
    context.lineWidth = on ? 1.6 : 1;
    const y1 = a - scroll + LANE / 2,
      y2 = b - scroll + LANE / 2;
    context.beginPath();
    context.moveTo(x1, y1);
    context.bezierCurveTo(x1 + 12, y1, x2 - 12, y2, x2, y2);
    context.stroke();
    context.beginPath();
    context.moveTo(x2, y2);
    context.lineTo(x2 - 5, y2 - 3);
    context.lineTo(x2 - 5, y2 + 3);
    context.fillStyle = context.strokeStyle;
    context.fill();
    context.globalAlpha = 1;
    context.lineWidth = 1;
  }
}
function drawAxis(w, h) {
  context.fillStyle = css("--bg");
  context.fillRect(0, 0, w, AXIS);
  const rough = (to - from) / Math.max(2, (w - LABEL) / 110),
    power = Math.pow(10, Math.floor(Math.log10(rough)));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough);
  context.fillStyle = css("--dim");
  context.strokeStyle = css("--line");
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
    const at = x(t);
    if (at < LABEL) continue;
    context.beginPath();
    context.moveTo(at + 0.5, AXIS - 6);
    context.lineTo(at + 0.5, h);
    context.globalAlpha = 0.5;
    context.stroke();
    context.globalAlpha = 1;
    context.fillText(duration(t), at + 3, AXIS / 2);
  }
  if (cursor !== null && x(cursor) > LABEL) {
    context.strokeStyle = css("--hit");
    context.beginPath();
    context.moveTo(x(cursor) + 0.5, AXIS - 8);
    context.lineTo(x(cursor) + 0.5, h);
    context.stroke();
  }
}
let cursor = null;
let queued = false;
function redraw() {
  if (!queued) {
    queued = true;
    requestAnimationFrame(() => {
      queued = false;
      draw();
    });
  }
}
function zoom(factor, at) {
  const span = Math.max(100, Math.min(end * 4, (to - from) * factor)),
    share = (at - from) / (to - from);
  from = at - span * share;
  to = from + span;
  redraw();
}
canvas.addEventListener(
  "wheel",
  (e) => {
    e.preventDefault();
    if (
      e.ctrlKey ||
      e.metaKey ||
      (!e.shiftKey && Math.abs(e.deltaY) > Math.abs(e.deltaX) && e.offsetX > LABEL && !e.altKey)
    ) {
      zoom(Math.pow(1.0018, e.deltaY), timeAt(e.offsetX));
    } else if (e.offsetX <= LABEL || e.altKey) {
      scroll = Math.max(0, Math.min(total - 60, scroll + e.deltaY));
      redraw();
    } else {
      const shift = ((e.deltaX || e.deltaY) / (width() - LABEL)) * (to - from);
      from += shift;
      to += shift;
      redraw();
    }
  },
  { passive: false },
);
let drag = null;
canvas.addEventListener("mousedown", (e) => {
  drag = { x: e.offsetX, y: e.offsetY, from, to, scroll, moved: false };
});
window.addEventListener("mouseup", () => {
  if (drag && !drag.moved && hover) select(hover.slice, hover.lane);
  drag = null;
});
canvas.addEventListener("mousemove", (e) => {
  if (drag) {
    const dx = e.offsetX - drag.x,
      dy = e.offsetY - drag.y;
    if (Math.abs(dx) + Math.abs(dy) > 3) drag.moved = true;
    const shift = (dx / (width() - LABEL)) * (drag.to - drag.from);
    from = drag.from - shift;
    to = drag.to - shift;
    scroll = Math.max(0, Math.min(total - 60, drag.scroll - dy));
    redraw();
    return;
  }
  hover = pick(e.offsetX, e.offsetY);
  tip.style.display = hover ? "block" : "none";
  if (hover) {
    tip.textContent = describe(hover.slice, hover.lane);
    tip.style.left = Math.min(e.clientX + 14, window.innerWidth - 380) + "px";
    tip.style.top = e.clientY + 14 + "px";
  }
});
canvas.addEventListener("mouseleave", () => {
  tip.style.display = "none";
});
function pick(px, py) {
  if (px < LABEL) return null;
  const time = timeAt(px),
    slack = ((to - from) / (width() - LABEL)) * 2;
  for (const l of shown) {
    const y = laneRow.get(l) - scroll;
    if (py < y || py >= y + LANE) continue;
    let found = null;
    for (
      let i = Math.max(0, firstAt(l.slices, time - slack) - 4);
      i < l.slices.length && l.slices[i].start <= time + slack;
      i++
    ) {
      const s = l.slices[i];
      if (s.end < time - slack) continue;
      if (found === null || s.end - s.start < found.end - found.start) found = s;
    }
    return found && { slice: found, lane: l };
  }
  return null;
}
function describe(s, l) {
  const lines = [
    l.name + ": " + s.name,
    KINDS[s.kind] + "   " + duration(s.start) + " – " + duration(s.end) + "   (" + duration(s.end - s.start) + ")",
  ];
  for (const key of Object.keys(s.detail || {}))
    if (s.detail[key] !== undefined && s.detail[key] !== null)
      lines.push(key + ": " + (key === "waited" || key === "ran" ? duration(s.detail[key]) : s.detail[key]));
  return lines.join("\n");
}
function select(s, l) {
  selected = s;
  $("status").textContent = describe(s, l).replace(/\n/g, "   ");
  cursor = s.start;
  showNear(s.start);
  redraw();
}

const tree = $("tree"),
  rows = $("rows"),
  ROW = 19;
let visible = [],
  chosen = null;
function flatten() {
  visible = [];
  const pending = nodes.length ? [nodes[0]] : [];
  while (pending.length) {
    const n = pending.pop();
    visible.push(n);
    if (n.open) for (let i = n.children.length - 1; i >= 0; i--) pending.push(n.children[i]);
  }
  rows.style.height = visible.length * ROW + "px";
  renderTree();
}
function renderTree() {
  const first = Math.max(0, Math.floor(tree.scrollTop / ROW) - 5),
    last = Math.min(visible.length, first + Math.ceil(tree.clientHeight / ROW) + 10);
  rows.textContent = "";
  for (let i = first; i < last; i++) {
    const n = visible[i],
      row = document.createElement("div");
    row.className =
      "row " + n.kind + (n === chosen ? " chosen" : "") + (query && query.test(n.label + " " + n.detail) ? " hit" : "");
    row.style.top = i * ROW + "px";
    const cell = (text, name) => {
      const c = document.createElement("span");
      c.className = name;
      c.textContent = text;
      row.appendChild(c);
      return c;
    };
    cell(n.instructions.toLocaleString("en"), "num");
    cell(duration(n.time), "num");
    cell(n.m === null ? "" : "M" + n.m, "id");
    cell(n.p === null ? "" : "P" + n.p, "id");
    cell(n.g === null ? "" : "G" + n.g, "id");
    const twist = cell(n.children.length ? (n.open ? "▾" : "▸") : "·", "twist");
    twist.style.marginLeft = n.level * 16 + "px";
    twist.onclick = (e) => {
      e.stopPropagation();
      n.open = !n.open;
      flatten();
    };
    cell(n.label, "label");
    cell(n.detail, "detail");
    row.onclick = () => {
      chosen = n;
      cursor = n.time;
      if (n.time < from || n.time > to) {
        const half = (to - from) / 2;
        from = n.time - half;
        to = n.time + half;
      }
      renderTree();
      redraw();
    };
    row.ondblclick = () => {
      n.open = !n.open;
      flatten();
    };
    rows.appendChild(row);
  }
}
function reveal(n) {
  for (let p = n.parent; p; p = p.parent) p.open = true;
  chosen = n;
  flatten();
  tree.scrollTop = Math.max(0, visible.indexOf(n) * ROW - tree.clientHeight / 2);
  renderTree();
}
function showNear(time) {
  let best = null;
  for (const n of nodes) if (n.time <= time + 1 && (best === null || n.time >= best.time)) best = n;
  if (best) reveal(best);
}
tree.addEventListener("scroll", renderTree);
let hits = [],
  hitAt = -1;
$("search").addEventListener("input", (e) => {
  const text = e.target.value;
  query = text === "" ? null : new RegExp(text.replace(/[.*+?^$(){}|[\]\\]/g, "\\$&"), "i");
  hits = query ? nodes.filter((n) => query.test(n.label + " " + n.detail)) : [];
  hitAt = -1;
  let slices = 0;
  if (query) for (const l of lanes) for (const s of l.slices) if (query.test(s.name)) slices++;
  $("found").textContent = query ? hits.length + " lines, " + slices + " slices" : "";
  renderTree();
  redraw();
});
$("search").addEventListener("keydown", (e) => {
  if (e.key !== "Enter") return;
  if (hits.length) {
    hitAt = (hitAt + (e.shiftKey ? -1 : 1) + hits.length) % hits.length;
    reveal(hits[hitAt]);
    cursor = hits[hitAt].time;
    redraw();
    return;
  }
  for (const l of shown) {
    const s = query && l.slices.find((c) => query.test(c.name));
    if (s) {
      select(s, l);
      return;
    }
  }
});
window.addEventListener("keydown", (e) => {
  if (e.target.id === "search") return;
  const middle = (from + to) / 2,
    shift = (to - from) * 0.2;
  if (e.key === "w" || e.key === "+") zoom(0.7, middle);
  else if (e.key === "s" || e.key === "-") zoom(1.4, middle);
  else if (e.key === "a") {
    from -= shift;
    to -= shift;
    redraw();
  } else if (e.key === "d") {
    from += shift;
    to += shift;
    redraw();
  } else if (e.key === "0") {
    from = 0;
    to = end * 1.02;
    redraw();
  } else if (e.key === "/") {
    e.preventDefault();
    $("search").focus();
  }
});
$("all").onclick = () => {
  from = 0;
  to = end * 1.02;
  redraw();
};
$("in").onclick = () => zoom(0.5, (from + to) / 2);
$("out").onclick = () => zoom(2, (from + to) / 2);
if (!nodes.length) {
  $("tree").style.display = "none";
  $("split").style.display = "none";
  view.style.flex = "1";
}
$("split").addEventListener("mousedown", (e) => {
  e.preventDefault();
  const move = (m) => {
    view.style.flex = "none";
    view.style.height = Math.max(80, m.clientY - view.getBoundingClientRect().top) + "px";
    redraw();
    renderTree();
  };
  const up = () => {
    window.removeEventListener("mousemove", move);
    window.removeEventListener("mouseup", up);
  };
  window.addEventListener("mousemove", move);
  window.addEventListener("mouseup", up);
});
window.addEventListener("resize", () => {
  redraw();
  renderTree();
});
$("title").textContent = meta.title || "";
$("status").textContent = meta.summary || "";
window.goemu = {
  lanes,
  nodes,
  flows,
  zoom: (a, b) => {
    from = a;
    to = b;
    redraw();
  },
};
flatten();
draw();
`;
