import { inWindow, PAGE_SIZE } from "../layout.ts";
import { RECORD, RECORD_SIZE } from "./record.ts";
import { ENTER_HANDLER, FORWARD_HANDLER, STALE_HANDLER } from "./slots.ts";

/** Largest snapshot: beyond, reading it would take longer than translating again what a run needs. */
const MAX_BYTES = 32 * 2 ** 20;
const HEAD = { first: 0, records: 4, pages: 8, bytes: 64 } as const;

/**
 * The records of blocks as they lie in memory, with the pages that they were made from. Records are used at the addresses
 * at which they were, so that the links between them hold.
 */
export interface Snapshot {
  /** Address of the first record. */
  readonly first: number;
  readonly records: Uint8Array;
  /** Numbers of the pages. */
  readonly pages: Uint32Array;
}

const MEANINGLESS: ReadonlySet<number> = new Set([ENTER_HANDLER, STALE_HANDLER, FORWARD_HANDLER]);

/**
 * Takes a snapshot of the records in [first, end).
 * @param isPristine does a page hold what it will hold at the start of the next run? Blocks from others are left out
 * @param handlerOf the handler that belongs to a record, if another has been put in its place
 * @returns its bytes; undefined if there is nothing to keep
 */
export function takeSnapshot(
  memory: Uint8Array,
  first: number,
  end: number,
  isPristine: (page: number) => boolean,
  handlerOf: ReadonlyMap<number, number>,
): Uint8Array | undefined {
  const length = Math.min(end - first, MAX_BYTES);
  const copy = memory.slice(first, first + length);
  const view = new DataView(copy.buffer);
  for (const [record, handler] of handlerOf) {
    const at = record - first;
    if (at >= 0 && at < length) view.setUint32(at + RECORD.handler, handler, true);
  }
  const pages = new Map<number, boolean>();
  const isUsable = (page: number): boolean => {
    let usable = pages.get(page);
    if (usable === undefined) {
      usable = isPristine(page);
      pages.set(page, usable);
    }
    return usable;
  };
  const last: number[] = [];
  for (let at = 0; at < length; ) {
    const count = copy[at + RECORD.blockRecords];
    const next = at + Math.max(count, 1) * RECORD_SIZE;
    const start = readAddress(view, at + RECORD.address);
    const isKept =
      count > 0 &&
      next <= length &&
      // A record that only leads to a region means nothing without it, one that was dropped nothing at all.
      !MEANINGLESS.has(view.getUint32(at + RECORD.handler, true)) &&
      inWindow(start) &&
      isUsable(Math.floor(start / PAGE_SIZE)) &&
      isUsable(Math.floor((readAddress(view, next - RECORD_SIZE + RECORD.next) - 1) / PAGE_SIZE));
    if (isKept) last.push(next - RECORD_SIZE);
    else copy.fill(0, at, Math.min(next, length));
    at = next;
  }
  if (last.length === 0) return undefined;
  for (const at of last) {
    for (const field of [RECORD.linkTaken, RECORD.linkNext]) {
      const target = view.getUint32(at + field, true) - first;
      const isBlock = target >= 0 && target < length && copy[target + RECORD.blockRecords] !== 0;
      if (!isBlock) view.setUint32(at + field, 0, true);
    }
  }
  const used = Uint32Array.from([...pages].filter(([, usable]) => usable).map(([page]) => page));
  const out = new Uint8Array(HEAD.bytes + length + used.byteLength);
  const head = new DataView(out.buffer);
  head.setUint32(HEAD.first, first, true);
  head.setUint32(HEAD.records, length, true);
  head.setUint32(HEAD.pages, used.length, true);
  out.set(copy, HEAD.bytes);
  out.set(new Uint8Array(used.buffer), HEAD.bytes + length);
  return out;
}

/** The parts of a snapshot, as views or copies of its bytes; undefined if they are none. */
export function readSnapshot(bytes: Uint8Array): Snapshot | undefined {
  if (bytes.length < HEAD.bytes) return undefined;
  const head = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = head.getUint32(HEAD.records, true);
  const count = head.getUint32(HEAD.pages, true);
  if (length % RECORD_SIZE !== 0 || HEAD.bytes + length + count * 4 !== bytes.length) return undefined;
  return {
    first: head.getUint32(HEAD.first, true),
    records: bytes.subarray(HEAD.bytes, HEAD.bytes + length),
    pages: new Uint32Array(bytes.slice(HEAD.bytes + length).buffer),
  };
}

const readAddress = (view: DataView, at: number): number =>
  view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
