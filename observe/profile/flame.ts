import { escapeHtml } from "../html/page.ts";
import { FunctionTree } from "./function-tree.ts";
import { type Profile, ROOT } from "./profile.ts";

/** Boxes narrower than this, in shares of the whole, are left out: they could not be seen. */
const SMALLEST = 0.0002;
const WIDTH = 1200;
const ROW = 17;
const TOP = 46;
const CHARACTER = 6.6;

/** A warm colour that depends on the name alone; the runtime's functions are cooler. */
function colourOf(name: string): string {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  const hue = name.startsWith("runtime.") ? 170 + (hash % 40) : 10 + (hash % 45);
  return `hsl(${hue} ${55 + ((hash >> 8) % 20)}% ${62 + ((hash >> 16) % 12)}%)`;
}

/** A flame graph that stands by itself: an SVG with its own script for zoom and search, alone or in an HTML page. */
export function flameGraph(profile: Profile, title: string, format: "svg" | "html"): string {
  const tree = new FunctionTree(profile);
  const all = tree.totalOf(ROOT);
  const boxes: string[] = [];
  let depth = 0;
  const pending = [{ node: ROOT, start: 0, level: 0 }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { node, start, level } = next;
    const total = tree.totalOf(node);
    const name = node === ROOT ? "all" : tree.nameOf(node);
    const share = all === 0 ? 1 : total / all;
    if (share < SMALLEST) continue;
    depth = Math.max(depth, level);
    const [x, width] = [(start / Math.max(all, 1)) * WIDTH, share * WIDTH];
    const text = `${name}: ${total.toLocaleString("en")} instructions, ${(share * 100).toFixed(2)} %`;
    const shown = name.slice(0, Math.max(0, Math.floor((width - 4) / CHARACTER)));
    const y = TOP + level * ROW;
    boxes.push(
      `<g class="f" data-x="${x.toFixed(3)}" data-w="${width.toFixed(3)}" data-n="${escapeHtml(name)}"><title>` +
        `${escapeHtml(text)}</title><rect x="${x.toFixed(2)}" y="${y}" width="${width.toFixed(2)}" ` +
        `height="${ROW - 1}" fill="${colourOf(name)}"/><text x="${(x + 3).toFixed(2)}" y="${y + 12}">${escapeHtml(shown)}</text></g>`,
    );
    let at = start;
    for (const callee of tree.calleesOf(node)) {
      pending.push({ node: callee, start: at, level: level + 1 });
      at += tree.totalOf(callee);
    }
  }
  const height = TOP + (depth + 2) * ROW;
  const head = `${escapeHtml(title)}: ${all.toLocaleString("en")} instructions`;
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" ` +
    `font-family="ui-monospace, monospace" font-size="11"><style>.f rect{stroke:#fff;stroke-width:.5}` +
    `.f:hover rect{stroke:#000}.f{cursor:pointer}.hit rect{fill:#d6336c}</style>` +
    `<rect width="${WIDTH}" height="${height}" fill="#fdfcfa"/><text x="8" y="18" font-size="13">${head}</text>` +
    `<text id="reset" x="8" y="36" fill="#666" cursor="pointer">` +
    `click a box to zoom, here to see all; Ctrl-F or / searches</text>` +
    `<text id="found" x="${WIDTH - 8}" y="18" text-anchor="end" fill="#666"></text>` +
    `${boxes.join("")}<script><![CDATA[${SCRIPT}]]></script></svg>`;
  if (format === "svg") return `<?xml version="1.0" encoding="UTF-8"?>\n${svg}\n`;
  const inline = svg.replace("<![CDATA[", "").replace("]]>", "");
  return (
    `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(title)}</title>` +
    `<style>body{margin:0;background:#fdfcfa}svg{width:100%;height:auto}</style></head><body>${inline}</body></html>\n`
  );
}

/** Zoom by changing the boxes' places, search by colouring them. */
const SCRIPT = `
(function () {
  var all = [].slice.call(document.querySelectorAll('.f')), W = ${WIDTH};
  function zoom(x, w) {
    all.forEach(function (g) {
      var left = (g.dataset.x - x) / w * W, width = g.dataset.w / w * W, right = left + width;
      var from = Math.max(0, left), to = Math.min(W, right), shown = to - from > 0.3;
      g.style.display = shown ? '' : 'none';
      if (!shown) return;
      var rect = g.querySelector('rect'), text = g.querySelector('text');
      rect.setAttribute('x', from); rect.setAttribute('width', to - from);
      text.setAttribute('x', from + 3);
      text.textContent = g.dataset.n.slice(0, Math.max(0, Math.floor((to - from - 4) / ${CHARACTER})));
    });
  }
  all.forEach(function (g) { g.addEventListener('click', function () { zoom(+g.dataset.x, +g.dataset.w); }); });
  document.getElementById('reset').addEventListener('click', function () { zoom(0, W); });
  window.addEventListener('keydown', function (e) {
    if (e.key !== '/' && !(e.key === 'f' && (e.ctrlKey || e.metaKey))) return;
    e.preventDefault();
    var wanted = prompt('Function (regular expression)');
    if (wanted === null) return;
    var regex = wanted === '' ? null : new RegExp(wanted), count = 0;
    all.forEach(function (g) {
      var hit = regex && regex.test(g.dataset.n);
      g.classList.toggle('hit', !!hit);
      if (hit) count++;
    });
    document.getElementById('found').textContent = regex ? count + ' boxes match' : '';
  });
})();
`;
