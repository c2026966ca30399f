import { type CpuState, STATE } from "../../emu/cpu/state.ts";
import type { Stop } from "../../emu/interpreter/interpreter.ts";
import { inWindow, PAGE_SIZE, PERM_READ_SPAN, TASK_SIZE } from "../../emu/layout.ts";
import { GuestFault } from "../../emu/memory/guest-memory.ts";
import type { SourceFrame } from "../../loader/symbols/table.ts";
import type { Machine } from "../../syscalls/machine.ts";
import { GoRuntimeError } from "../go/layout.ts";
import { GoRuntime } from "../go/runtime.ts";
import { sourceOfBlock } from "./block-source.ts";

/** A call stack, innermost frame first, and how many instructions ran in its innermost line. */
export interface StackCount {
  readonly frames: readonly SourceFrame[];
  readonly instructions: number;
}

export interface ProfilerOptions {
  /** Puts the first function of the goroutine for which the code ran at the root of each stack. */
  readonly byGoroutine?: boolean;
}

/** A function called by a chain of functions. */
class CallNode {
  readonly parent: CallNode | undefined;
  /** Where the function starts; a name instead for roots that are no functions. */
  readonly entry: number | string;
  /** Start and instruction count of the caller's block that ended with the call; see blockKey. */
  readonly caller: number;
  /** How often each block ran. */
  readonly blocks = new Map<number, number>();
  readonly #children = new Map<number | string, CallNode[]>();

  constructor(parent: CallNode | undefined, entry: number | string, caller: number) {
    this.parent = parent;
    this.entry = entry;
    this.caller = caller;
  }

  find(entry: number | string, caller: number): CallNode | undefined {
    return this.#children.get(entry)?.find((child) => child.caller === caller);
  }

  add(entry: number | string, caller: number): CallNode {
    const child = new CallNode(this, entry, caller);
    const known = this.#children.get(entry);
    if (known === undefined) this.#children.set(entry, [child]);
    else known.push(child);
    return child;
  }

  *children(): Generator<CallNode> {
    for (const list of this.#children.values()) yield* list;
  }
}

interface LiveFrame {
  /** How far its return address lies below the top of the stack: stays when the stack is moved. */
  readonly depth: number;
  readonly entry: number;
  readonly caller: number;
  node: CallNode;
  /** It began on another stack: the node is the one from there, and does not depend on what is below here. */
  readonly linked: boolean;
  /** The block that ran last in it: the one that calls. */
  last: number;
}

interface CallStack {
  readonly frames: LiveFrame[];
  root: CallNode;
}

/** Most instructions of a block (emu/interpreter/code-cache.ts); more are repetitions of string instructions. */
const MAX_BLOCK = 64;
/** Distinct chains of calls that are kept apart; beyond it, calls count for their caller. */
const NODE_LIMIT = 1_000_000;
const TWO_32 = 2 ** 32;

/** A block by its address and how many of its instructions ran, in one exact number. */
const blockKey = (address: number, count: number): number => address * MAX_BLOCK + Math.min(count, MAX_BLOCK) - 1;
export const blockAddress = (key: number): number => Math.floor(key / MAX_BLOCK);
export const blockCount = (key: number): number => (key % MAX_BLOCK) + 1;

/**
 * Counts every instruction that a program runs, by block and by call stack. Nothing is sampled: the sum is the number
 * of instructions. Calls are followed by the stack pointer, one stack for each goroutine.
 */
export class Profiler {
  readonly #machine: Machine;
  readonly #go: GoRuntime | undefined;
  readonly #byGoroutine: boolean;
  readonly #root = new CallNode(undefined, "", 0);
  readonly #stacks = new Map<number, CallStack>();
  /** Entry of the function that holds an address; -1 for none. */
  readonly #entries = new Map<number, number>();
  /** Repetitions of string instructions beyond the block's own count, by node and block. */
  readonly #repeats = new Map<CallNode, Map<number, number>>();
  readonly #original: (cpu: CpuState, stops?: ReadonlySet<number>) => Stop;
  #nodes = 0;
  /** The stack that each thread used last, by the address of its CPU state. */
  readonly #lastStacks = new Map<number, CallStack>();
  /** Entries of the functions that go over to g0's stack and come back (Go runtime/asm_amd64.s). */
  readonly #switches: ReadonlySet<number>;
  readonly #mcall: number | undefined;

  constructor(machine: Machine, options: ProfilerOptions = {}) {
    this.#machine = machine;
    this.#byGoroutine = options.byGoroutine ?? false;
    this.#go = openRuntime(machine);
    const switches = ["runtime.systemstack", "runtime.morestack"].map((name) => machine.symbols.byName(name)?.address);
    this.#mcall = machine.symbols.byName("runtime.mcall")?.address;
    this.#switches = new Set(switches.filter((address) => address !== undefined));
    const { interpreter } = machine;
    // Blocks are counted one at a time: in the first tier.
    interpreter.jit = undefined;
    this.#original = interpreter.run.bind(interpreter);
    interpreter.run = (cpu, stops) => this.#run(cpu, stops);
  }

  /** Interpreter.run, a block at a time: with no fuel left each block is the last. */
  #run(cpu: CpuState, stops: ReadonlySet<number> | undefined): Stop {
    for (let left = cpu.fuel; ; ) {
      const start = cpu.rip;
      const stack = start < TASK_SIZE ? this.#enter(cpu, start) : undefined;
      cpu.fuel = 0;
      const stop = this.#original(cpu, stops);
      const ran = -cpu.fuel;
      left -= ran;
      cpu.fuel = left;
      if (stack !== undefined && ran > 0) this.#count(stack, start, ran);
      if (stop.kind !== "fuel" || left < 0) return stop;
    }
  }

  #count(stack: CallStack, start: number, ran: number): void {
    const frame = stack.frames.at(-1);
    const node = frame?.node ?? stack.root;
    const key = blockKey(start, ran);
    if (frame !== undefined) frame.last = key;
    node.blocks.set(key, (node.blocks.get(key) ?? 0) + 1);
    if (ran <= MAX_BLOCK) return;
    const repeats = this.#repeats.get(node) ?? new Map<number, number>();
    this.#repeats.set(node, repeats);
    repeats.set(key, (repeats.get(key) ?? 0) + ran - MAX_BLOCK);
  }

  /** The word of guest memory at an address of the program's own, without checks: it is only compared. */
  #word(address: number): number {
    const { memory } = this.#machine;
    const { pages } = memory.space;
    const isPlain = inWindow(address) && pages.window(Math.floor(address / PAGE_SIZE)) & PERM_READ_SPAN;
    if (isPlain) return memory.view.getUint32(address, true) + memory.view.getUint32(address + 4, true) * TWO_32;
    try {
      return memory.readPointer(address);
    } catch (error) {
      if (error instanceof GuestFault) return 0;
      throw error;
    }
  }

  /** The stack that a thread is about to run a block on, with the calls brought up to date. */
  #enter(cpu: CpuState, start: number): CallStack {
    const { view } = cpu;
    const word = (offset: number): number => view.getUint32(offset, true) + view.getUint32(offset + 4, true) * TWO_32;
    const sp = word(STATE.gpr + 32);
    const fs = word(STATE.fsBase);
    const g = this.#go === undefined || fs === 0 ? 0 : this.#word(fs + this.#go.tlsOffset);
    const high = g === 0 ? 0 : this.#word(g + 8);
    // A signal handler on its own stack, before it has set g; and the first thread before its stack is known.
    const isForeign = high !== 0 && (sp > high || sp < this.#word(g));
    const key = high === 0 ? -cpu.address : isForeign ? -g : g;
    const stack = this.#stacks.get(key) ?? this.#newStack(key, cpu, high);
    if (this.#byGoroutine) this.#setRoot(stack, g);
    this.#follow(stack, start, isForeign ? -sp : high - sp, this.#lastStacks.get(cpu.address));
    this.#lastStacks.set(cpu.address, stack);
    return stack;
  }

  /** A stack that was not seen before; one whose bounds have only now become known keeps its frames. */
  #newStack(key: number, cpu: CpuState, high: number): CallStack {
    const stack: CallStack = { frames: [], root: this.#root };
    const unnamed = this.#stacks.get(-cpu.address);
    if (key > 0 && unnamed !== undefined && this.#lastStacks.get(cpu.address) === unnamed) {
      for (const frame of unnamed.frames) stack.frames.push({ ...frame, depth: frame.depth + high });
      this.#stacks.delete(-cpu.address);
      this.#lastStacks.set(cpu.address, stack);
    }
    this.#stacks.set(key, stack);
    return stack;
  }

  #setRoot(stack: CallStack, g: number): void {
    const name = this.#goroutineName(g);
    if (stack.root.entry === name) return;
    stack.root = this.#child(this.#root, name, 0);
    let node = stack.root;
    for (const frame of stack.frames) {
      if (frame.linked) break;
      node = this.#child(node, frame.entry, frame.caller);
      frame.node = node;
    }
  }

  #goroutineName(g: number): string {
    if (g === 0 || this.#go === undefined) return "no goroutine";
    try {
      const user = this.#go.isSystemG(g) ? this.#go.userOf(g) : g;
      return user === 0 ? "scheduler" : (this.#go.startName(this.#go.startPc(user)) ?? "no goroutine");
    } catch (error) {
      if (error instanceof GuestFault) return "no goroutine";
      throw error;
    }
  }

  #follow(stack: CallStack, start: number, depth: number, before: CallStack | undefined): void {
    const { frames } = stack;
    if (before !== undefined && before !== stack && this.#switchStack(stack, start, depth, before)) return;
    /** The frame that was called from another stack, if the code is back from it. */
    let left: LiveFrame | undefined;
    while (frames.length > 0 && frames[frames.length - 1].depth > depth) left = frames.pop();
    const entry = this.#entryOf(start);
    const top = frames.at(-1);
    if (top?.entry === entry && (start !== entry || top.depth === depth)) return;
    if (start !== entry) {
      // Into the middle of a function: back to one that is there, or one whose call was not seen.
      const known = frames.findLastIndex((frame) => frame.entry === entry);
      if (known >= 0) {
        frames.length = known + 1;
        return;
      }
      const caller = left?.linked && this.#switches.has(entry) ? left.node.parent : undefined;
      if (caller !== undefined) {
        frames.push({ depth, entry, caller: caller.caller, node: caller, linked: true, last: 0 });
        return;
      }
    } else if (top !== undefined && top.depth === depth) {
      // A jump instead of a call: it takes the place of what was called.
      frames.pop();
      const { caller, linked } = top;
      const node = this.#child(top.node.parent ?? stack.root, entry, caller);
      frames.push({ depth, entry, caller, node, linked, last: 0 });
      return;
    }
    const parent = frames.at(-1);
    const caller = parent?.last ?? 0;
    const node = this.#child(parent?.node ?? stack.root, entry, caller);
    frames.push({ depth, entry, caller, node, linked: false, last: 0 });
  }

  /**
   * A function is entered on another stack than its caller's: systemstack and morestack call on g0's, mcall leaves the
   * goroutine. What they called there before is over. Returns whether it was a call.
   */
  #switchStack(stack: CallStack, start: number, depth: number, before: CallStack): boolean {
    const from = before.frames.at(-1);
    const entry = this.#entryOf(start);
    if (from === undefined) return false;
    const isCall = this.#switches.has(from.entry);
    // Back on the goroutine's stack; or what runs on g0's was not called from there.
    if ((!isCall && from.entry !== this.#mcall) || (start !== entry && entry !== from.entry)) return false;
    if (start !== entry && stack.frames.some((frame) => frame.entry === entry && !frame.linked)) return false;
    const linked = stack.frames.findIndex((frame) => frame.linked);
    if (linked >= 0) stack.frames.length = linked;
    if (!isCall) return false;
    if (start !== entry) {
      // The function itself goes on there.
      stack.frames.push({ ...from, depth, linked: true });
      return true;
    }
    const node = this.#child(from.node, entry, from.last);
    stack.frames.push({ depth, entry, caller: from.last, node, linked: true, last: 0 });
    return true;
  }

  #child(parent: CallNode, entry: number | string, caller: number): CallNode {
    const known = parent.find(entry, caller);
    if (known !== undefined) return known;
    if (this.#nodes >= NODE_LIMIT) return parent;
    this.#nodes++;
    return parent.add(entry, caller);
  }

  #entryOf(address: number): number {
    let entry = this.#entries.get(address);
    if (entry === undefined) {
      entry = this.#machine.symbols.lookup(address)?.address ?? -1;
      this.#entries.set(address, entry);
    }
    return entry;
  }

  /** Ends the counting; the stacks with their counts. Code must still be mapped as it was. */
  finish(): StackCount[] {
    this.#machine.interpreter.run = this.#original;
    const counts: StackCount[] = [];
    const pending: { node: CallNode; above: readonly SourceFrame[] }[] = [{ node: this.#root, above: [] }];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const { node, above } = next;
      this.#collect(node, above, counts);
      for (const child of node.children()) pending.push({ node: child, above: this.#framesAbove(child, above) });
    }
    return counts;
  }

  /** The frames around a node's own: the call site in its caller, and what is around that. */
  #framesAbove(node: CallNode, around: readonly SourceFrame[]): readonly SourceFrame[] {
    if (node.parent !== undefined && typeof node.parent.entry === "string") {
      return node.parent.entry === "" ? [] : [{ name: node.parent.entry, file: undefined, line: undefined }];
    }
    if (node.caller === 0) return around;
    const site = sourceOfBlock(this.#machine, blockAddress(node.caller), blockCount(node.caller)).at(-1)?.frames ?? [];
    // A wrapper between two calling conventions has its function's name: one of them is enough.
    const isWrapper = site.length === 1 && site[0].file === "<autogenerated>" && site[0].name === this.#nameOf(node);
    return isWrapper ? around : [...site, ...around];
  }

  #nameOf({ entry }: CallNode): string | undefined {
    return typeof entry === "string" ? entry : this.#machine.symbols.lookup(entry)?.name;
  }

  #collect(node: CallNode, above: readonly SourceFrame[], counts: StackCount[]): void {
    const byLine = new Map<string, { frames: readonly SourceFrame[]; instructions: number }>();
    const add = (frames: readonly SourceFrame[], key: string, instructions: number): void => {
      const known = byLine.get(key);
      if (known === undefined) byLine.set(key, { frames, instructions });
      else known.instructions += instructions;
    };
    for (const [block, times] of node.blocks) {
      const source = sourceOfBlock(this.#machine, blockAddress(block), blockCount(block));
      for (const { frames, key, instructions } of source) add(frames, key, instructions * times);
      const repeats = this.#repeats.get(node)?.get(block) ?? 0;
      if (repeats > 0) add(source[0].frames, source[0].key, repeats);
    }
    for (const { frames, instructions } of byLine.values())
      counts.push({ frames: [...frames, ...above], instructions });
  }
}

function openRuntime(machine: Machine): GoRuntime | undefined {
  try {
    return new GoRuntime(machine);
  } catch (error) {
    // Any program can be profiled; only goroutines need the runtime.
    if (error instanceof GoRuntimeError) return undefined;
    throw error;
  }
}
