import type { Instruction } from "../decode/instruction.ts";
import { COUNT_CELLS } from "../layout.ts";

/**
 * How regions count what they run, while somebody wants to know exactly (observe/profile). A region then has a *count node*
 * for each chain of calls by which it is run: how often each of its blocks ran, and by call site the node of what was
 * called. A call passes the callee's node on, in a cell; what leaves a region tells its own node, in another.
 *
 * Byte offsets from a node's start; behind them come a counter of 64 bits for each block and each string instruction, and a
 * word for each call site: the node of what was called there last, or 0.
 */
export const COUNT_NODE = {
  /** Number of the layout; i32. */
  layout: 0,
  /** Where the region starts; i32. */
  start: 4,
  /** RSP at the last call; i64. */
  rsp: 8,
  counters: 16,
} as const;

/** Words that regions and the counting side share. */
export const COUNT_CELL = {
  /** Node of the region that is about to be entered. */
  entered: COUNT_CELLS,
  /** Node of the region that has been left last, until `left` was told. */
  left: COUNT_CELLS + 4,
  /** The block of that region from which it was left, and 1; 0 if it does not matter. */
  block: COUNT_CELLS + 8,
  /** If that block did not run to its end, the block and 1: it was left before the instruction at RIP. */
  partial: COUNT_CELLS + 12,
} as const;

/** What a region's count nodes consist of. */
export interface CountLayout {
  /** No two regions have the same. */
  readonly id: number;
  /** Table slot and start of the region. */
  readonly slot: number;
  readonly start: number;
  /** Addresses of each block's instructions. */
  readonly blocks: readonly (readonly number[])[];
  /** Addresses of string instructions, whose repetitions count as instructions. */
  readonly repeated: readonly number[];
  /** By call site, the block that ends with it. */
  readonly calls: readonly number[];
}

export const blockCounter = (block: number): number => COUNT_NODE.counters + 8 * block;
export const repeatCounter = ({ blocks }: CountLayout, repeated: number): number =>
  COUNT_NODE.counters + 8 * (blocks.length + repeated);
export const callCell = ({ blocks, repeated }: CountLayout, site: number): number =>
  COUNT_NODE.counters + 8 * (blocks.length + repeated.length) + 4 * site;
/** Size of a node in bytes, a multiple of 8. */
export const nodeSize = (layout: CountLayout): number => (callCell(layout, layout.calls.length) + 7) & ~7;

/**
 * Keeps the count nodes. Addresses of code are guest addresses; `cpu` is the address of a CPU state whose registers, RIP
 * and fuel are in memory.
 */
export interface RegionCounting {
  /** There is a new region. */
  compiled(layout: CountLayout): void;
  /**
   * A region is about to be entered from the interpreter or the dispatcher.
   * @param at where it is entered
   * @param slot of the region's function
   * @returns its node; 0 if there is no room: then all regions are left, and `unwound` is called
   */
  enter(cpu: number, at: number, slot: number): number;
  /** A region was left that COUNT_CELL.left tells. @param at an address to go on at, or an exit code (EXIT) */
  left(cpu: number, at: number): void;
  /** What a region had called without its node is over. @returns whether the region goes on with its node: 1 or 0 */
  resumed(cpu: number, back: number, node: number): number;
  /** The node of what a region calls. @returns 0 where the call has to go by way of `enter` */
  call(node: number, site: number, target: number): number;
  /**
   * A region was called with a node of another layout: it took that one's place.
   * @returns its own; 0 if there is no room
   */
  replace(node: number, layout: number): number;
  /** No region is on the stack any more. */
  unwound(): void;
}

/** For emitting code: which counter is whose. */
export class CountPlaces {
  readonly layout: CountLayout;
  readonly #blocks = new Map<number, number>();
  readonly #repeated = new Map<number, number>();
  readonly #calls = new Map<number, number>();

  /** @param blocks those that have instructions @param endsInCall numbers of blocks that end with a call */
  constructor(
    { id, slot, start }: Pick<CountLayout, "id" | "slot" | "start">,
    blocks: readonly (readonly Instruction[])[],
    endsInCall: (block: number) => boolean,
  ) {
    const repeated = blocks.flat().filter(({ stringAddress }) => stringAddress !== 0);
    const calls = [...blocks.keys()].filter(endsInCall);
    this.layout = {
      ...{ id, slot, start },
      blocks: blocks.map((instructions) => instructions.map(({ address }) => address)),
      repeated: repeated.map(({ address }) => address),
      calls,
    };
    for (const [i, [first]] of blocks.entries()) this.#blocks.set(first.address, i);
    for (const [i, { address }] of repeated.entries()) this.#repeated.set(address, i);
    for (const [i, block] of calls.entries()) this.#calls.set(block, i);
  }

  /** Number of the block that starts at an address. */
  blockAt(address: number): number {
    return this.#blocks.get(address) as number;
  }

  /** Number of the call site that ends a block. */
  siteOf(block: number): number {
    return this.#calls.get(block) as number;
  }

  repeatCounter(instruction: Instruction): number {
    return repeatCounter(this.layout, this.#repeated.get(instruction.address) as number);
  }
}
