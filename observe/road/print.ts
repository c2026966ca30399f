import type { Road, RoadNode } from "./road.ts";
import { duration } from "./steps.ts";

export interface RoadFilter {
  /** Deepest level that is shown; the first thread is level 0. */
  readonly depth?: number;
  /** Only lines that match, with the lines above them. */
  readonly only?: RegExp;
  /** Only what concerns goroutines whose first function has this name (or ends in it), with the lines above. */
  readonly follow?: string;
}

const HEADER = "  instructions         time  thread   M   P    G";
const STYLE = { dim: "\x1b[2m", bold: "\x1b[1m", off: "\x1b[0m" };

/** Is the line about, or part of, a goroutine of that first function? */
function isFollowed(road: Road, name: string): (node: RoadNode) => boolean {
  const matches = (candidate: string): boolean =>
    candidate === name || candidate.startsWith(`${name}.`) || candidate.endsWith(`.${name}`);
  const ids = new Set(road.goroutines.filter(({ startFunction }) => matches(startFunction)).map(({ id }) => id));
  return (node) => (node.subject !== undefined ? ids.has(node.subject.id) : node.g !== undefined && ids.has(node.g));
}

/** The lines that a filter leaves, by their numbers. */
export function selectNodes(road: Road, filter: RoadFilter): ReadonlySet<RoadNode> {
  const { only, follow } = filter;
  const followed = follow === undefined ? undefined : isFollowed(road, follow);
  const wanted = (node: RoadNode): boolean =>
    (only === undefined || only.test(`${node.label} ${node.detail}`)) && (followed === undefined || followed(node));
  const selected = new Set<RoadNode>();
  for (const node of road.nodes) {
    if (!wanted(node)) continue;
    for (let at: RoadNode | undefined = node; at !== undefined && !selected.has(at); at = at.parent) selected.add(at);
  }
  return selected;
}

/** The road as a tree, line by line. */
export function* printRoad(road: Road, filter: RoadFilter = {}, colour = false): Generator<string> {
  const selected = selectNodes(road, filter);
  const style = colour ? STYLE : { dim: "", bold: "", off: "" };
  const depth = filter.depth ?? Number.POSITIVE_INFINITY;
  yield `${style.dim}${HEADER}${style.off}`;
  // A stack of its own: a road may be deeper than JavaScript's.
  const pending: { node: RoadNode; prefix: string; branch: string; level: number }[] = [];
  if (selected.has(road.root)) pending.push({ node: road.root, prefix: "", branch: "", level: 0 });
  while (pending.length > 0) {
    const { node, prefix, branch, level } = pending.pop() as (typeof pending)[number];
    const detail = node.detail === "" ? "" : `  ${style.dim}${node.detail}${style.off}`;
    yield `${style.dim}${columns(node)}${style.off}  ${prefix}${branch}${style.bold}${node.label}${style.off}${detail}`;
    if (level >= depth) continue;
    const children = node.children.filter((child) => selected.has(child));
    const below = prefix + (branch === "" ? "" : branch.startsWith("└") ? "  " : "│ ");
    for (const child of children.toReversed()) {
      const isLast = child === children.at(-1);
      pending.push({ node: child, prefix: below, branch: isLast ? "└ " : "├ ", level: level + 1 });
    }
  }
  if (road.dropped > 0) yield `… ${road.dropped} more lines were not kept`;
}

function columns({ instructions, time, tid, m, p, g }: RoadNode): string {
  const cell = (value: number | undefined, width: number): string => String(value ?? "-").padStart(width);
  const place = `${cell(tid, 7)} ${cell(m, 3)} ${cell(p, 3)} ${cell(g, 4)}`;
  return `${cell(instructions, 14)} ${duration(time).padStart(12)} ${place}`;
}

/** The road as JSON, a line of text each in order of time; the first describes the rest. */
export function* roadJson(road: Road, filter: RoadFilter = {}): Generator<string> {
  const selected = selectNodes(road, filter);
  yield JSON.stringify({ version: 1, lines: selected.size, dropped: road.dropped, duration: Math.round(road.end) });
  for (const node of road.nodes) {
    if (!selected.has(node) || levelOf(node) > (filter.depth ?? Number.POSITIVE_INFINITY)) continue;
    const { id, parent, kind, label, detail, time, instructions, tid, m, p, g, subject } = node;
    yield JSON.stringify({
      ...{ id, parent: parent?.id ?? null, kind, label, detail, time: Math.round(time), instructions, tid },
      ...{ m: m ?? null, p: p ?? null, g: g ?? null, goroutine: subject ?? null },
    });
  }
}

function levelOf(node: RoadNode): number {
  let level = 0;
  for (let at = node.parent; at !== undefined; at = at.parent) level++;
  return level;
}
