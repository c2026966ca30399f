import { FIRST_ADDRESS } from "../../emu/cpu/exits.ts";
import { STATE } from "../../emu/cpu/state.ts";
import {
  blockCounter,
  COUNT_CELL,
  COUNT_NODE,
  type CountLayout,
  callCell,
  nodeSize,
  type RegionCounting,
  repeatCounter,
} from "../../emu/interpreter/region-counts.ts";
import { COUNT_NODES, COUNT_NODES_END } from "../../emu/layout.ts";
import { blockKey, MAX_BLOCK } from "./block-source.ts";
import type { CallStack, CallStacks } from "./call-stacks.ts";
import type { CallNode } from "./call-tree.ts";
import type { PairCounts } from "./pair-counts.ts";

/** What the counter asks of whoever follows the interpreter. `cpu` is the address of a CPU state. */
export interface Followed {
  /** Counts what the interpreter has run until now. */
  settle(cpu: number): void;
  /** The thread goes on at an address, with the registers and the fuel of its state. */
  locate(cpu: number, address: number): void;
  /** See CalledFunctions. */
  entryOf(address: number): number;
  siteOf(block: number): number;
}

/** A count node. */
interface Counted {
  readonly address: number;
  readonly layout: CountLayout;
  readonly node: CallNode;
  /** Start of the function, and its caller's block (blockKey). */
  readonly entry: number;
  readonly block: number;
  /** The count node of the caller, and the call site there; without one the frame was there when the region was entered. */
  readonly parent: Counted | undefined;
  readonly site: number;
  /** By layout and call node. */
  readonly children: Map<number, Counted>;
}

const TWO_32 = 2 ** 32;

/** The first instructions of a block, in keys of at most MAX_BLOCK each, in order. */
function keysOf(addresses: readonly number[], count: number): number[] {
  const keys: number[] = [];
  for (let i = 0; i < count; i += MAX_BLOCK) keys.push(blockKey(addresses[i], Math.min(MAX_BLOCK, count - i)));
  return keys;
}

/**
 * Takes over what regions count, and follows the calls into them, among them and out of them: whatever tier runs a block, it
 * counts for the same chain of calls.
 */
export class RegionCounter implements RegionCounting {
  readonly #view: DataView;
  readonly #stacks: CallStacks;
  readonly #counts: PairCounts;
  readonly #followed: Followed;
  readonly #giveUp: () => void;
  readonly #bySlot = new Map<number, CountLayout>();
  readonly #byStart = new Map<number, CountLayout>();
  readonly #byId = new Map<number, CountLayout>();
  /** By their addresses; those with which regions are entered from outside also by layout and call node. */
  readonly #nodes = new Map<number, Counted>();
  readonly #entered = new Map<number, Counted>();
  #next = COUNT_NODES;
  readonly #end: number;
  #isFull = false;
  #isOver = false;

  /**
   * @param room bytes for count nodes
   * @param counts receives how often blocks ran, by call node and blockKey
   * @param giveUp is called when regions can't be followed any more: from then on none may run
   */
  constructor(
    view: DataView,
    room: number | undefined,
    stacks: CallStacks,
    counts: PairCounts,
    followed: Followed,
    giveUp: () => void,
  ) {
    this.#view = view;
    this.#end = Math.min(COUNT_NODES + (room ?? Number.POSITIVE_INFINITY), COUNT_NODES_END);
    this.#stacks = stacks;
    this.#counts = counts;
    this.#followed = followed;
    this.#giveUp = giveUp;
  }

  compiled(layout: CountLayout): void {
    this.#bySlot.set(layout.slot, layout);
    this.#byStart.set(layout.start, layout);
    this.#byId.set(layout.id, layout);
  }

  enter(cpu: number, at: number, slot: number): number {
    this.#followed.settle(cpu);
    this.#followed.locate(cpu, at);
    const layout = this.#bySlot.get(slot);
    const { frames } = this.#stacks.enter({ start: at, entry: this.#followed.entryOf(at) });
    const top = frames.at(-1);
    // Where chains of calls are put together, a frame can't be found by its node.
    this.#isOver ||= this.#stacks.tree.isFull || layout === undefined || top === undefined;
    if (this.#isOver || layout === undefined || top === undefined) return 0;
    const key = keyOf(layout, top.node);
    const known = this.#entered.get(key) ?? this.#add(layout, top.node, top.entry, 0);
    if (known === undefined) return 0;
    this.#entered.set(key, known);
    return known.address;
  }

  left(cpu: number, at: number): void {
    const view = this.#view;
    const left = this.#nodes.get(view.getUint32(COUNT_CELL.left, true));
    const [block, partial] = [view.getUint32(COUNT_CELL.block, true), view.getUint32(COUNT_CELL.partial, true)];
    for (const cell of [COUNT_CELL.left, COUNT_CELL.block, COUNT_CELL.partial]) view.setUint32(cell, 0, true);
    // With an exit code the state has RIP.
    const address = at >= FIRST_ADDRESS ? at : view.getUint32(cpu + STATE.rip, true);
    const stack = this.#stacks.current(cpu);
    if (left !== undefined && stack !== undefined) {
      this.#raise(stack, left);
      const ran = partial === 0 ? 0 : this.#cut(left, partial - 1, address);
      const last = partial === 0 ? block - 1 : partial - 1;
      const addresses = last < 0 ? [address] : left.layout.blocks[last];
      const count = partial === 0 ? addresses.length : Math.max(ran, 1);
      const top = stack.frames.at(-1);
      if (top !== undefined) top.last = keysOf(addresses, count).at(-1) as number;
    }
    this.#followed.locate(cpu, address);
  }

  /** Brings a stack's frames up to date: down to the one of the function that is left. */
  #raise(stack: CallStack, left: Counted): void {
    const called: Counted[] = [];
    let root = left;
    for (; root.parent !== undefined; root = root.parent) called.push(root);
    const { frames } = stack;
    const index = frames.findLastIndex(({ node }) => node === root.node);
    if (index < 0) return;
    frames.length = index + 1;
    for (const { address, node, entry, block } of called.reverse()) {
      frames[frames.length - 1].last = block;
      const caller = this.#followed.siteOf(block);
      const rsp = this.#number(address + COUNT_NODE.rsp);
      frames.push({ depth: this.#stacks.depthOf(rsp), entry, caller, node, linked: false, last: 0 });
    }
  }

  /** A block was left before an instruction. @returns how many of its instructions ran */
  #cut({ address, layout, node }: Counted, block: number, at: number): number {
    const counter = address + blockCounter(block);
    this.#view.setBigUint64(counter, this.#view.getBigUint64(counter, true) - 1n, true);
    const addresses = layout.blocks[block];
    const ran = addresses.indexOf(at);
    for (const key of keysOf(addresses, ran)) this.#count(node, key, 1);
    return ran;
  }

  resumed(cpu: number, back: number, node: number): number {
    this.#followed.settle(cpu);
    this.#followed.locate(cpu, back);
    const { frames } = this.#stacks.enter({ start: back, entry: this.#followed.entryOf(back) });
    if (frames.at(-1)?.node === this.#nodes.get(node)?.node) return 1;
    this.#view.setBigUint64(cpu + STATE.rip, BigInt(back), true);
    this.#view.setUint32(cpu + STATE.exitDetail, 0, true);
    return 0;
  }

  call(address: number, site: number, target: number): number {
    const caller = this.#nodes.get(address);
    const layout = this.#byStart.get(target);
    if (caller === undefined || layout === undefined) return 0;
    const child = this.#call(caller, site, target, layout);
    if (child === undefined) return 0;
    this.#link(caller, site, child);
    return child.address;
  }

  #call(caller: Counted, site: number, target: number, layout: CountLayout): Counted | undefined {
    const { tree } = this.#stacks;
    this.#isOver ||= tree.isFull;
    if (this.#isOver || this.#isFull) return undefined;
    const entry = this.#followed.entryOf(target);
    // Into the middle of a function, as into runtime.duffzero: that may be one that is there already.
    if (entry < 0 || (entry !== target && isWithin(caller.node, entry))) return undefined;
    const block = caller.layout.blocks[caller.layout.calls[site]];
    const key = keysOf(block, block.length).at(-1) as number;
    const node = tree.child(caller.node, entry, this.#followed.siteOf(key));
    return caller.children.get(keyOf(layout, node)) ?? this.#add(layout, node, entry, key, caller, site);
  }

  replace(address: number, id: number): number {
    const old = this.#nodes.get(address);
    const layout = this.#byId.get(id);
    const parent = old?.parent;
    if (old === undefined || parent === undefined || layout === undefined) throw new Error("a region without its node");
    const { node, entry, block, site } = old;
    const known = parent.children.get(keyOf(layout, node));
    const made = known ?? this.#add(layout, node, entry, block, parent, site);
    if (made === undefined) {
      this.#view.setUint32(COUNT_CELL.left, parent.address, true);
      this.#view.setUint32(COUNT_CELL.block, parent.layout.calls[site] + 1, true);
      return 0;
    }
    this.#link(parent, site, made);
    return made.address;
  }

  #link(parent: Counted, site: number, child: Counted): void {
    parent.children.set(keyOf(child.layout, child.node), child);
    this.#view.setUint32(parent.address + callCell(parent.layout, site), child.address, true);
  }

  #add(
    layout: CountLayout,
    node: CallNode,
    entry: number,
    block: number,
    parent?: Counted,
    site = 0,
  ): Counted | undefined {
    const address = this.#next;
    const size = nodeSize(layout);
    if (address + size > this.#end) {
      this.#isFull = true;
      return undefined;
    }
    this.#next += size;
    const counted = { address, layout, node, entry, block, parent, site, children: new Map<number, Counted>() };
    this.#nodes.set(address, counted);
    const view = this.#view;
    for (let at = address; at < this.#next; at += 4) view.setUint32(at, 0, true);
    view.setUint32(address + COUNT_NODE.layout, layout.id, true);
    view.setUint32(address + COUNT_NODE.start, layout.start, true);
    return counted;
  }

  unwound(): void {
    if (this.#isFull) this.collect();
    if (!this.#isOver) return;
    this.collect();
    this.#giveUp();
  }

  /** Takes over all counts, and forgets the nodes. No region may be on the stack. */
  collect(): void {
    for (const { address, layout, node } of this.#nodes.values()) {
      for (const [i, addresses] of layout.blocks.entries()) {
        const times = this.#number(address + blockCounter(i));
        if (times > 0) for (const key of keysOf(addresses, addresses.length)) this.#count(node, key, times);
      }
      for (const [i, repeated] of layout.repeated.entries()) {
        const times = this.#number(address + repeatCounter(layout, i));
        if (times > 0) this.#count(node, blockKey(repeated, 1), times);
      }
    }
    this.#nodes.clear();
    this.#entered.clear();
    this.#next = COUNT_NODES;
    this.#isFull = false;
  }

  #count(node: CallNode, key: number, times: number): void {
    this.#counts.add(this.#counts.indexOf(node.index, key), times);
  }

  #number(address: number): number {
    return this.#view.getUint32(address, true) + this.#view.getUint32(address + 4, true) * TWO_32;
  }
}

const keyOf = (layout: CountLayout, node: CallNode): number => layout.id * TWO_32 + node.index;

/** Is the function that starts at `entry` among those that have led to a node, itself included? */
function isWithin(node: CallNode, entry: number): boolean {
  for (let at: CallNode | undefined = node; at !== undefined; at = at.parent) if (at.entry === entry) return true;
  return false;
}
