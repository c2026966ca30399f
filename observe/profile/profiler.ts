import { type CpuState, REG } from "../../emu/cpu/state.ts";
import { BLOCK_LOG_ENTRIES, BLOCK_LOG_ENTRY, BLOCK_LOG_ENTRY_SIZE, BlockLog } from "../../emu/interpreter/block-log.ts";
import type { Stop } from "../../emu/interpreter/interpreter.ts";
import { BLOCK_LOG, inWindow, PAGE_SIZE, PERM_READ_SPAN, TASK_SIZE } from "../../emu/layout.ts";
import { GuestFault } from "../../emu/memory/guest-memory.ts";
import type { Machine } from "../../syscalls/machine.ts";
import { GoRuntimeError } from "../go/layout.ts";
import { GoRuntime } from "../go/runtime.ts";
import { type BlockLine, blockAddress, blockCount, blockKey, MAX_BLOCK, sourceOfBlock } from "./block-source.ts";
import { type CallNode, CallTree } from "./call-tree.ts";
import { PairCounts } from "./pair-counts.ts";
import { Profile, type Site, Sites } from "./profile.ts";

export interface ProfilerOptions {
  /** Puts the first function of the goroutine for which the code ran at the root of each stack. */
  readonly byGoroutine?: boolean;
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

/** A place at which a block starts. Of what ran there last, counts that are not in its node yet. */
interface Block {
  readonly start: number;
  /** Where its function starts; -1 for none. */
  readonly entry: number;
  node: CallNode | undefined;
  /** Instructions that ran, and blockKey of that. */
  ran: number;
  key: number;
  times: number;
}

interface CallStack {
  readonly frames: LiveFrame[];
  root: CallNode;
}

const TWO_32 = 2 ** 32;

/** An entry of the log (emu/interpreter/block-log.ts) in words of 32 bits. */
const ENTRY_WORDS = BLOCK_LOG_ENTRY_SIZE / 4;
const [ADDRESS, RSP, FUEL] = [BLOCK_LOG_ENTRY.address / 4, BLOCK_LOG_ENTRY.rsp / 4, BLOCK_LOG_ENTRY.fuel / 4];
const [G, LOW, HIGH] = [BLOCK_LOG_ENTRY.g / 4, BLOCK_LOG_ENTRY.low / 4, BLOCK_LOG_ENTRY.high / 4];

/**
 * Counts every instruction that a program runs, by block and by call stack. Nothing is sampled: the sum is the number
 * of instructions. Calls are followed by the stack pointer, one stack for each goroutine.
 */
export class Profiler {
  readonly #machine: Machine;
  readonly #go: GoRuntime | undefined;
  readonly #byGoroutine: boolean;
  readonly #tree = new CallTree();
  readonly #stacks = new Map<number, CallStack>();
  /** Entry of the function that holds an address; -1 for none. */
  readonly #entries = new Map<number, number>();
  /** How often each block ran, by node and block (blockKey). */
  readonly #counts = new PairCounts();
  /** Repetitions of string instructions beyond the block's own count, likewise. */
  readonly #repeats = new PairCounts();
  readonly #original: (cpu: CpuState, stops?: ReadonlySet<number>) => Stop;
  readonly #blocks = new Map<number, Block>();
  /** What could not be told of the program's names and lines, by the place concerned: why. */
  readonly #unknown = new Map<number | string, string>();
  readonly #log: BlockLog;
  readonly #words: Uint32Array;
  /** Where the running thread is: the address of its CPU state, its block's start, RSP, fuel and Go's g and its stack. */
  readonly #at = { cpu: 0, start: 0, sp: 0, fuel: 0, g: 0, low: 0, high: 0 };
  /** Whose block was the last, and on which stack. */
  #last: { readonly cpu: number; readonly key: number; readonly stack: CallStack } | undefined;
  /** The stack that each thread used last, by the address of its CPU state. */
  readonly #lastStacks = new Map<number, CallStack>();
  /** Entries of the functions that go over to g0's stack and come back (Go runtime/asm_amd64.s). */
  readonly #switches: ReadonlySet<number>;
  readonly #mcall: number | undefined;

  constructor(machine: Machine, options: ProfilerOptions = {}) {
    this.#machine = machine;
    this.#byGoroutine = options.byGoroutine ?? false;
    this.#go = this.#try("the Go runtime", undefined, () => openRuntime(machine));
    const addressOf = (name: string): number | undefined =>
      this.#try(name, undefined, () => machine.symbols.byName(name)?.address);
    const switches = ["runtime.systemstack", "runtime.morestack"].map(addressOf);
    this.#mcall = addressOf("runtime.mcall");
    this.#switches = new Set(switches.filter((address) => address !== undefined));
    const { interpreter } = machine;
    // Blocks are counted one at a time: in the first tier.
    interpreter.jit = undefined;
    // A goroutine's name is read when the log is: it is to be that of the goroutine that ran.
    const entries = this.#byGoroutine ? 1 : BLOCK_LOG_ENTRIES;
    const { memory } = machine;
    this.#log = new BlockLog(memory.view, this.#go?.tlsOffset, (count) => this.#drain(count), entries);
    this.#words = new Uint32Array(memory.view.buffer, memory.view.byteOffset + BLOCK_LOG, entries * ENTRY_WORDS);
    interpreter.log = this.#log;
    this.#original = interpreter.run.bind(interpreter);
    interpreter.run = (cpu, stops) => this.#run(cpu, stops);
  }

  /** Interpreter.run: what runs before the first entry of the log and behind the last one is known here. */
  #run(cpu: CpuState, stops: ReadonlySet<number> | undefined): Stop {
    const at = this.#at;
    at.cpu = cpu.address;
    at.start = cpu.rip;
    at.sp = Number(cpu.gpr[REG.RSP]);
    at.fuel = cpu.fuel >>> 0;
    const fs = Number(cpu.fsBase);
    at.g = this.#go === undefined || fs === 0 ? 0 : this.#word(fs + this.#go.tlsOffset);
    at.low = at.g === 0 ? 0 : this.#word(at.g);
    at.high = at.g === 0 ? 0 : this.#word(at.g + 8);
    try {
      return this.#original(cpu, stops);
    } finally {
      this.#ran(cpu.fuel >>> 0);
    }
  }

  /** Takes over the entries of the log: each tells where the block before it ended. */
  #drain(entries: number): void {
    const words = this.#words;
    const at = this.#at;
    for (let i = 0; i < entries * ENTRY_WORDS; i += ENTRY_WORDS) {
      const fuel = words[i + FUEL];
      this.#ran(fuel);
      at.fuel = fuel;
      at.start = words[i + ADDRESS] + words[i + ADDRESS + 1] * TWO_32;
      at.sp = words[i + RSP] + words[i + RSP + 1] * TWO_32;
      at.g = words[i + G] + words[i + G + 1] * TWO_32;
      at.low = words[i + LOW] + words[i + LOW + 1] * TWO_32;
      at.high = words[i + HIGH] + words[i + HIGH + 1] * TWO_32;
    }
  }

  /** Counts the block that a thread was about to run, now that it has this fuel left. */
  #ran(fuel: number): void {
    const at = this.#at;
    const ran = (at.fuel - fuel) >>> 0;
    if (ran === 0 || at.start >= TASK_SIZE) return;
    const block = this.#blockAt(at.start);
    const stack = this.#enter(block);
    const frame = stack.frames.at(-1);
    const node = frame?.node ?? stack.root;
    // Most blocks come again and again on the same way.
    if (block.node !== node || block.ran !== ran) {
      this.#settle(block);
      block.node = node;
      block.ran = ran;
      block.key = blockKey(at.start, ran);
    }
    block.times++;
    if (frame !== undefined) frame.last = block.key;
    if (ran <= MAX_BLOCK) return;
    this.#repeats.add(this.#repeats.indexOf(node.index, block.key), ran - MAX_BLOCK);
  }

  /** Hands what a block has counted to the node that it ran for. */
  #settle(block: Block): void {
    const { node, key, times } = block;
    if (node !== undefined && times > 0) this.#counts.add(this.#counts.indexOf(node.index, key), times);
    block.times = 0;
  }

  #blockAt(start: number): Block {
    let block = this.#blocks.get(start);
    if (block === undefined) {
      block = { start, entry: this.#entryOf(start), node: undefined, ran: 0, key: 0, times: 0 };
      this.#blocks.set(start, block);
    }
    return block;
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

  /** The stack that the thread runs a block on, with the calls brought up to date. */
  #enter(block: Block): CallStack {
    const { cpu, sp, g, low, high } = this.#at;
    // A signal handler on its own stack, before it has set g; and the first thread before its stack is known.
    const isForeign = high !== 0 && (sp > high || sp < low);
    const key = high === 0 ? -cpu : isForeign ? -g : g;
    const depth = isForeign ? -sp : high - sp;
    const last = this.#last;
    if (last !== undefined && last.cpu === cpu && last.key === key && !this.#byGoroutine) {
      const { frames } = last.stack;
      const top = frames.length > 0 ? frames[frames.length - 1] : undefined;
      // Within the function that the thread was in.
      const isSame = top?.entry === block.entry && top.depth <= depth;
      if (isSame && (block.start !== block.entry || top.depth === depth)) return last.stack;
    }
    const stack = this.#stacks.get(key) ?? this.#newStack(key, cpu, high);
    if (this.#byGoroutine) this.#setRoot(stack, g);
    this.#follow(stack, block.start, depth, this.#lastStacks.get(cpu));
    this.#lastStacks.set(cpu, stack);
    this.#last = { cpu, key, stack };
    return stack;
  }

  /** A stack that was not seen before; one whose bounds have only now become known keeps its frames. */
  #newStack(key: number, cpu: number, high: number): CallStack {
    const stack: CallStack = { frames: [], root: this.#tree.root };
    const unnamed = this.#stacks.get(-cpu);
    if (key > 0 && unnamed !== undefined && this.#lastStacks.get(cpu) === unnamed) {
      for (const frame of unnamed.frames) stack.frames.push({ ...frame, depth: frame.depth + high });
      this.#stacks.delete(-cpu);
      this.#lastStacks.set(cpu, stack);
    }
    this.#stacks.set(key, stack);
    return stack;
  }

  #setRoot(stack: CallStack, g: number): void {
    const name = this.#goroutineName(g);
    if (stack.root.entry === name) return;
    stack.root = this.#tree.child(this.#tree.root, name, 0);
    let node = stack.root;
    for (const frame of stack.frames) {
      if (frame.linked) break;
      node = this.#tree.child(node, frame.entry, frame.caller);
      frame.node = node;
    }
  }

  #goroutineName(g: number): string {
    if (g === 0 || this.#go === undefined) return "no goroutine";
    const go = this.#go;
    return this.#try(g, "no goroutine", () => {
      try {
        const user = go.isSystemG(g) ? go.userOf(g) : g;
        return user === 0 ? "scheduler" : (go.startName(go.startPc(user)) ?? "no goroutine");
      } catch (error) {
        if (error instanceof GuestFault) return "no goroutine";
        throw error;
      }
    });
  }

  /**
   * Asks something about the program that its counts do not depend on: whatever is wrong with its tables, the program
   * goes on and what was counted is kept.
   * @param place what is asked about: an address, or a name
   * @param otherwise the answer where there is none
   */
  #try<T>(place: number | string, otherwise: T, ask: () => T): T {
    try {
      return ask();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (!this.#unknown.has(place)) this.#unknown.set(place, reason);
      return otherwise;
    }
  }

  /** One line on what has no name or line in the result, after `finish`; undefined if all is well. */
  get problem(): string | undefined {
    const [first] = this.#unknown;
    if (first === undefined) return undefined;
    const [place, reason] = first;
    const others = this.#unknown.size - 1;
    const more = others === 0 ? "" : ` and ${others} other place${others === 1 ? "" : "s"}`;
    const name = typeof place === "string" ? place : `0x${place.toString(16)}`;
    return `cannot tell all of ${name}${more}: ${reason} (counted by function or address)`;
  }

  /** The source of a block; its function or its address where the line tables do not tell. */
  #sourceOf(key: number, sites: Sites): readonly BlockLine[] {
    const [address, count] = [blockAddress(key), blockCount(key)];
    return (
      this.#try<readonly BlockLine[] | undefined>(address, undefined, () =>
        sourceOfBlock(this.#machine, sites, address, count),
      ) ?? [this.#unresolved(address, count, sites)]
    );
  }

  #unresolved(address: number, instructions: number, sites: Sites): BlockLine {
    const name = this.#try(address, undefined, () => this.#machine.symbols.lookup(address)?.name);
    const site = sites.of([{ name: name ?? `0x${address.toString(16)}`, file: undefined, line: undefined }]);
    return { site, instructions };
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
      const node = this.#tree.child(top.node.parent ?? stack.root, entry, caller);
      frames.push({ depth, entry, caller, node, linked, last: 0 });
      return;
    }
    const parent = frames.at(-1);
    const caller = parent?.last ?? 0;
    const node = this.#tree.child(parent?.node ?? stack.root, entry, caller);
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
    const node = this.#tree.child(from.node, entry, from.last);
    stack.frames.push({ depth, entry, caller: from.last, node, linked: true, last: 0 });
    return true;
  }

  #entryOf(address: number): number {
    let entry = this.#entries.get(address);
    if (entry === undefined) {
      entry = this.#try(address, undefined, () => this.#machine.symbols.lookup(address)?.address) ?? -1;
      this.#entries.set(address, entry);
    }
    return entry;
  }

  /** Ends the counting; the instructions by stack. Code must still be mapped as it was. */
  finish(): Profile {
    const { interpreter } = this.#machine;
    interpreter.run = this.#original;
    interpreter.log = undefined;
    this.#log.close();
    for (const block of this.#blocks.values()) this.#settle(block);
    const sites = new Sites();
    const profile = new Profile(sites);
    const sources = new Map<number, readonly BlockLine[]>();
    const sourceOf = (key: number): readonly BlockLine[] => {
      let source = sources.get(key);
      if (source === undefined) {
        source = this.#sourceOf(key, sites);
        sources.set(key, source);
      }
      return source;
    };
    const stacks = new Int32Array(this.#tree.nodes.length);
    for (const node of this.#tree.nodes) {
      const { parent } = node;
      if (parent === undefined) continue;
      const site = this.#siteAbove(node, sites, sourceOf);
      stacks[node.index] = site === undefined ? stacks[parent.index] : profile.within(stacks[parent.index], site);
    }
    for (let i = 0; i < this.#counts.size; i++) {
      const stack = stacks[this.#counts.firstOf(i)];
      const times = this.#counts.countOf(i);
      for (const { site, instructions } of sourceOf(this.#counts.secondOf(i)))
        if (instructions > 0) profile.add(profile.within(stack, site), instructions * times);
    }
    for (let i = 0; i < this.#repeats.size; i++) {
      const [{ site }] = sourceOf(this.#repeats.secondOf(i));
      profile.add(profile.within(stacks[this.#repeats.firstOf(i)], site), this.#repeats.countOf(i));
    }
    return profile;
  }

  /** The call site of a node in its caller; undefined for none, or one that its caller's frame tells already. */
  #siteAbove(node: CallNode, sites: Sites, sourceOf: (key: number) => readonly BlockLine[]): Site | undefined {
    const { parent, caller } = node;
    if (typeof parent?.entry === "string") {
      return parent.entry === "" ? undefined : sites.of([{ name: parent.entry, file: undefined, line: undefined }]);
    }
    if (caller === 0) return undefined;
    const site = sourceOf(caller).at(-1)?.site;
    const [frame] = site?.frames ?? [];
    // A wrapper between two calling conventions has its function's name: one of them is enough.
    const isWrapper =
      site?.frames.length === 1 && frame.file === "<autogenerated>" && frame.name === this.#nameOf(node);
    return isWrapper ? undefined : site;
  }

  #nameOf({ entry }: CallNode): string | undefined {
    if (typeof entry === "string") return entry;
    return this.#try(entry, undefined, () => this.#machine.symbols.lookup(entry)?.name);
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
