import type { Instruction } from "../decode/instruction.ts";
import type { CountLayout } from "../interpreter/region-counts.ts";
import { inWindow } from "../layout.ts";
import { compileRegion, type RegionMark } from "./compile.ts";
import { hostFuses } from "./host-fma.ts";
import { discoverRegion, type Region, type RegionBlock } from "./region.ts";
import type { RegionLinks } from "./region-links.ts";
import type { StoredRegion } from "./region-store.ts";
import { switchesStack } from "./stack-switch.ts";

/** Start and end of a function, and whether it keeps to Go's calling convention. */
export interface FunctionBounds {
  readonly start: number;
  readonly end: number;
  readonly name: string;
  readonly goAbi: boolean;
}

/** A region that is to be compiled. */
export interface CompileRequest {
  readonly start: number;
  /** Table slot that it is to have. */
  readonly slot: number;
  /** The function that it is to stay in; without one it goes wherever jumps lead. */
  readonly bounds: FunctionBounds | undefined;
  /** Accesses that the fast check refuses stay in the region. */
  readonly patient: boolean;
  /** Most instructions that it may have. */
  readonly limit: number;
  /** Addresses that no region may hold. */
  readonly stops: ReadonlySet<number>;
}

/** Where the compiler finds the program's code. */
export interface CodeBytes {
  /** The instruction at an address, if it can be executed and is one that goemu has. */
  instructionAt(address: number): Instruction | undefined;
  /** The 8 bytes at an address, if they can be read. */
  wordAt(address: number): bigint | undefined;
}

/**
 * Makes a region's function; no module yet.
 * @param links is added to
 * @param marks receives where what is in the code
 * @param countId number of its CountLayout, if it is to count what it runs
 * @returns undefined where no region can start
 */
export function compileRequest(
  request: CompileRequest,
  code: CodeBytes,
  links: RegionLinks,
  marks?: RegionMark[],
  countId?: number,
): { stored: StoredRegion; region: Region; counts: CountLayout | undefined } | undefined {
  const { start, slot, bounds, patient, limit, stops } = request;
  if (stops.has(start)) return undefined;
  const region = discoverRegion(start, {
    instructionAt: (address) => code.instructionAt(address),
    wordAt: (address) => code.wordAt(address),
    contains: (address) =>
      inWindow(address) &&
      !stops.has(address) &&
      (bounds === undefined || (address >= bounds.start && address < bounds.end)),
    flagsDieAtCalls: bounds?.goAbi ?? false,
    limit,
  });
  if (region === undefined) return undefined;
  if (countId !== undefined && region.blocks.some(isForInterpreter)) return undefined;
  const { body, calls, counts } = compileRegion(region, slot, {
    ...{ marks, patient, countId },
    helper: (name) => links.helper(name),
    fuses: () => {
      links.fuses ??= hostFuses();
      return links.fuses;
    },
    callCell: (address) => links.callCell(address),
  });
  const stored = {
    start,
    // Another region may have an entry there already.
    entries: [start, ...region.entries.map(({ address }) => address)],
    slot,
    pages: pagesOf(region),
    spans: spansOf(region),
    patient,
    instructions: region.instructionCount,
    code: { start, slot, name: `${bounds?.name ?? "region"}@${start.toString(16)}`, body, calls },
  };
  return { stored, region, counts };
}

/** Whoever counts by call stack is to see each change of stacks. */
const isForInterpreter = ({ instructions }: RegionBlock): boolean =>
  instructions.some(({ instruction }) => switchesStack(instruction));

/** The bytes of code that a region was made from: starts and ends by turns, in order. */
function spansOf(region: Region): number[] {
  const instructions = region.blocks.flatMap((block) => block.instructions.map(({ instruction }) => instruction));
  const spans: number[] = [];
  for (const { address, length } of instructions.sort((a, b) => a.address - b.address)) {
    const last = spans.length - 1;
    if (last > 0 && address <= spans[last]) spans[last] = Math.max(spans[last], address + length);
    else spans.push(address, address + length);
  }
  return spans;
}

/** Pages of code that a region was made from. */
function pagesOf(region: Region): number[] {
  const pages = new Set<number>();
  for (const { instructions } of region.blocks) {
    for (const { instruction } of instructions) {
      pages.add(Math.floor(instruction.address / 4096));
      pages.add(Math.floor((instruction.address + instruction.length - 1) / 4096));
    }
  }
  return [...pages];
}
