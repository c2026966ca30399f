import { type Loop, loopsOf } from "./loops.ts";
import { emptyBlock, type RegionBlock } from "./region.ts";

/**
 * Lets a region be entered in its middle: at loop headers, where a thread's time runs out, and behind calls, where a
 * goroutine goes on whose stack of wasm frames is gone. One function serves all of them, so that code is compiled once.
 *
 * An entry inside a loop would give the loop a second way in. So the way to it leads through the headers of all loops
 * around it: each gets a dispatch before it, which goes on towards the entry that is wanted, if one is.
 * @param ordered the blocks in reverse postorder, as `order` leaves them
 * @returns where it all starts now: a dispatch, or `start` if there is no other entry
 */
export function addEntries(
  start: RegionBlock,
  ordered: readonly RegionBlock[],
): { root: RegionBlock; entries: RegionBlock[] } {
  const entries = ordered.filter((block) => block !== start && (block.isLoopHeader || isBehindCall(block)));
  if (entries.length === 0) return { root: start, entries };
  for (const [i, block] of entries.entries()) block.entry = i + 1;
  const loops = loopsOf(ordered);
  const dispatches = new Map<RegionBlock, RegionBlock>();
  for (const { header, body } of loops) {
    if (!entries.some((entry) => entry !== header && body.has(entry))) continue;
    dispatches.set(header, insertBefore(header, ordered));
  }
  const root = emptyBlock(start.address);
  const front = (header: RegionBlock): RegionBlock => dispatches.get(header) ?? header;
  root.ways.set(0, front(start));
  for (const entry of entries) {
    const around = loops.filter(({ body }) => body.has(entry));
    let from = root;
    for (const { header } of around) {
      from.ways.set(entry.entry, front(header));
      from = dispatches.get(header) ?? from;
    }
    // The innermost loop's own header has been reached, unless a dispatch stands before it.
    if (around.at(-1)?.header !== entry || dispatches.has(entry)) from.ways.set(entry.entry, entry);
  }
  for (const block of [root, ...dispatches.values()]) block.successors = [...new Set(block.ways.values())];
  return { root, entries };
}

const isBehindCall = (block: RegionBlock): boolean =>
  block.predecessors.some(({ end, next }) => end === "call" && next === block.address);

/** Puts a dispatch where a loop's header was: all ways to the header lead to it. */
function insertBefore(header: Loop["header"], ordered: readonly RegionBlock[]): RegionBlock {
  const dispatch = emptyBlock(header.address);
  for (const block of ordered)
    block.successors = block.successors.map((successor) => (successor === header ? dispatch : successor));
  dispatch.ways.set(0, header);
  return dispatch;
}
