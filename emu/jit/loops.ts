import type { RegionBlock } from "./region.ts";

/** A natural loop: its header, and the blocks from which the header is come back to without passing it. */
export interface Loop {
  readonly header: RegionBlock;
  readonly body: ReadonlySet<RegionBlock>;
}

/** Blocks of the loop with this header. */
export function loopOf(header: RegionBlock): Loop {
  const body = new Set<RegionBlock>([header]);
  const work = header.predecessors.filter(({ index }) => index >= header.index);
  for (let block = work.pop(); block !== undefined; block = work.pop()) {
    if (body.has(block)) continue;
    body.add(block);
    work.push(...block.predecessors);
  }
  return { header, body };
}

/** All loops, outer ones before those inside of them. */
export function loopsOf(ordered: readonly RegionBlock[]): Loop[] {
  return ordered.filter(({ isLoopHeader }) => isLoopHeader).map(loopOf);
}
