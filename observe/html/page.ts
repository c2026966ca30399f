import type { RoadNode } from "../road/road.ts";
import type { Lane, SliceKind, TimelineSink } from "../trace/timeline.ts";
import { PAGE_SCRIPT } from "./page-script.ts";

const STYLE = `
:root { color-scheme: light dark; --bg: #fff; --fg: #1d232b; --dim: #69737f; --line: #e6e9ed; --text-on: #10151b;
  --running: #57b894; --runnable: #f2c14e; --waiting: #d5dbe3; --syscall: #7c6fd1; --gc: #e39a6d; --stopped: #d9534f;
  --mark: #c2255c; --go: #1971c2; --wake: #9c36b5; --hit: #e8590c; --panel: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --bg: #14181d; --fg: #dfe5ec; --dim: #8b97a5; --line: #262d36;
  --text-on: #0b0e11; --waiting: #4a5562; --panel: #1b2128; --go: #74c0fc; --wake: #da77f2; } }
* { box-sizing: border-box; }
html, body { height: 100%; margin: 0; }
body { display: flex; flex-direction: column; background: var(--bg); color: var(--fg);
  font: 13px ui-sans-serif, system-ui, sans-serif; }
header { display: flex; gap: 12px; align-items: center; padding: 8px 12px; background: var(--panel);
  border-bottom: 1px solid var(--line); flex-wrap: wrap; }
h1 { font-size: 14px; margin: 0; }
#search { padding: 4px 8px; width: 220px; border: 1px solid var(--line); border-radius: 4px; background: var(--bg);
  color: var(--fg); }
button { padding: 3px 9px; border: 1px solid var(--line); border-radius: 4px; background: var(--bg); color: var(--fg); }
.legend { display: flex; gap: 10px; color: var(--dim); font-size: 12px; margin-left: auto; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 4px; }
#found, #status { color: var(--dim); font-size: 12px; }
#status { padding: 3px 12px; min-height: 22px; background: var(--panel); border-top: 1px solid var(--line);
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
#timeline { flex: 1 1 45%; min-height: 80px; overflow: hidden; cursor: crosshair; }
#split { height: 5px; background: var(--line); cursor: row-resize; }
#tree { flex: 1 1 55%; min-height: 60px; overflow: auto; position: relative; }
#rows { position: relative; }
.row { position: absolute; left: 0; height: 19px; line-height: 19px; white-space: pre; padding-left: 8px;
  font: 12px/19px ui-monospace, monospace; cursor: default; min-width: 100%; }
.row:hover { background: var(--panel); }
.row span { display: inline-block; vertical-align: top; }
.row .num { width: 92px; text-align: right; color: var(--dim); padding-right: 10px; }
.row .id { width: 34px; color: var(--dim); }
.row .twist { width: 15px; color: var(--dim); cursor: pointer; }
.row .label { font-weight: 600; padding-right: 10px; }
.row .detail { color: var(--dim); }
.row.go .label { color: var(--go); } .row.run .label { color: #2b8a63; } .row.ready .label { color: var(--wake); }
.row.thread .label { color: var(--hit); } .row.park .label, .row.exit .label { color: var(--mark); }
.row.hit { outline: 1px solid var(--hit); } .row.chosen { background: var(--line); }
#tip { position: fixed; display: none; max-width: 370px; white-space: pre-wrap; background: var(--panel);
  border: 1px solid var(--line); border-radius: 4px; padding: 6px 9px; font-size: 12px; pointer-events: none;
  box-shadow: 0 2px 8px #0004; }
`;

const LEGEND: readonly [string, string][] = [
  ["running", "running"],
  ["runnable", "runnable"],
  ["waiting", "waiting"],
  ["syscall", "system call"],
  ["gc", "GC"],
  ["stopped", "world stopped"],
];
const KINDS: readonly SliceKind[] = ["running", "runnable", "waiting", "syscall", "gc", "stopped"];

/**
 * Writes a page of its own for a timeline and, if there is one, the road's tree: one file, no network. Written as the
 * run goes on; `close` ends it.
 */
export class HtmlPage implements TimelineSink {
  readonly #write: (text: string) => void;
  readonly #lanes = new Map<string, number>();
  #laneCount = 0;
  /** Slices, marks and arrows written. */
  count = 0;

  /** @param write takes pieces of the file in order */
  constructor(write: (text: string) => void, title: string) {
    this.#write = write;
    const legend = LEGEND.map(([kind, text]) => `<span><i style="background:var(--${kind})"></i>${text}</span>`).join(
      "",
    );
    write(
      `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(title)}</title>` +
        `<meta name="viewport" content="width=device-width"><style>${STYLE}</style></head><body>` +
        `<header><h1 id="title"></h1><input id="search" type="search" placeholder="search (/)" aria-label="Search">` +
        `<span id="found"></span><button id="in">zoom in</button><button id="out">zoom out</button>` +
        `<button id="all">all</button><span class="legend">${legend}</span></header>` +
        `<div id="timeline"><canvas id="canvas"></canvas></div><div id="split"></div>` +
        `<div id="tree"><div id="rows"></div></div><div id="status"></div><div id="tip"></div>` +
        `<script type="application/x-ndjson" id="data">\n`,
    );
    this.meta({ title });
  }

  #line(...values: unknown[]): void {
    // "</script" must not come up inside the element.
    this.#write(`${JSON.stringify(values).replaceAll("</", "<\\/")}\n`);
  }

  /** Facts about the page: `title`, and `summary` for the status line. */
  meta(facts: { title?: string; summary?: string }): void {
    this.#line("meta", facts);
  }

  node(node: RoadNode): void {
    const { id, parent, kind, label, detail, time, instructions, tid, m, p, g } = node;
    const numbers = [Math.round(time), instructions, tid, m ?? null, p ?? null, g ?? null];
    this.#line("node", id, parent?.id ?? null, kind, label, detail, ...numbers);
  }

  lane(lane: Lane, name: string): void {
    this.#lanes.set(lane.group + lane.id, this.#laneCount++);
    this.#line("lane", lane.group, lane.id, name);
  }

  laneEnd(lane: Lane): void {
    this.#lanes.delete(lane.group + lane.id);
  }

  #index(lane: Lane): number | undefined {
    return this.#lanes.get(lane.group + lane.id);
  }

  slice(lane: Lane, kind: SliceKind, start: number, end: number, name: string, detail: Record<string, unknown>): void {
    this.count++;
    this.#line("slice", this.#index(lane), KINDS.indexOf(kind), Math.round(start), Math.round(end), name, detail);
  }

  flow(kind: "go" | "wake", from: Lane, start: number, to: Lane, end: number): void {
    const [tail, head] = [this.#index(from), this.#index(to)];
    if (tail === undefined || head === undefined) return;
    this.count++;
    this.#line("flow", kind, tail, Math.round(start), head, Math.round(end));
  }

  instant(lane: Lane, time: number, name: string, detail: Record<string, unknown>): void {
    this.count++;
    this.#line("mark", this.#index(lane), Math.round(time), name, detail);
  }

  close(): void {
    this.#write(`</script><script>${PAGE_SCRIPT}</script></body></html>\n`);
  }
}

export const escapeHtml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
