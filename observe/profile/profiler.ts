import { type CpuState, REG, STATE } from "../../emu/cpu/state.ts";
import { BLOCK_LOG_ENTRIES, BLOCK_LOG_ENTRY, BLOCK_LOG_ENTRY_SIZE, BlockLog } from "../../emu/interpreter/block-log.ts";
import type { SecondTier, Stop } from "../../emu/interpreter/interpreter.ts";
import { BLOCK_LOG, inWindow, PAGE_SIZE, PERM_READ_SPAN, TASK_SIZE } from "../../emu/layout.ts";
import { GuestFault } from "../../emu/memory/guest-memory.ts";
import type { Machine } from "../../syscalls/machine.ts";
import { GoRuntimeError } from "../go/layout.ts";
import { GoRuntime } from "../go/runtime.ts";
import { type BlockLine, blockAddress, blockCount, blockKey, MAX_BLOCK, sourceOfBlock } from "./block-source.ts";
import { CallStacks } from "./call-stacks.ts";
import type { CallNode } from "./call-tree.ts";
import { PairCounts } from "./pair-counts.ts";
import { Profile, type Site, Sites } from "./profile.ts";
import { RegionCounter } from "./region-counter.ts";

export interface ProfilerOptions {
  /** Puts the first function of the goroutine for which the code ran at the root of each stack. */
  readonly byGoroutine?: boolean;
  /** Chains of calls that are kept apart, a million by default; beyond it, calls count for their caller. */
  readonly chains?: number;
  /** Bytes for what compiled code counts, 14 MiB at most and by default: when they are used up all counts are taken over. */
  readonly countMemory?: number;
}

const MOST_CHAINS = 1_000_000;

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
  readonly #stacks: CallStacks;
  /** Entry of the function that holds an address; -1 for none. */
  readonly #entries = new Map<number, number>();
  /** How often each block ran, by node and block (blockKey). */
  readonly #counts = new PairCounts();
  /** Repetitions of string instructions beyond the block's own count, likewise. */
  readonly #repeats = new PairCounts();
  readonly #original: (cpu: CpuState, stops?: ReadonlySet<number>) => Stop;
  readonly #blocks = new Map<number, Block>();
  readonly #sites = new Sites();
  /** What blocks come from (blockKey). */
  readonly #sources = new Map<number, readonly BlockLine[]>();
  /** What could not be told of the program's names and lines, by the place concerned: why. */
  readonly #unknown = new Map<number | string, string>();
  readonly #log: BlockLog;
  readonly #words: Uint32Array;
  #regions: RegionCounter | undefined;

  constructor(machine: Machine, options: ProfilerOptions = {}) {
    this.#machine = machine;
    this.#byGoroutine = options.byGoroutine ?? false;
    this.#go = this.#try("the Go runtime", undefined, () => openRuntime(machine));
    const addressOf = (name: string): number | undefined =>
      this.#try(name, undefined, () => machine.symbols.byName(name)?.address);
    const switches = ["runtime.systemstack", "runtime.morestack"].map(addressOf);
    const functions = {
      entryOf: (address: number) => this.#entryOf(address),
      siteOf: (block: number) => this.#siteOf(block),
      switches: new Set(switches.filter((address) => address !== undefined)),
      mcall: addressOf("runtime.mcall"),
    };
    this.#stacks = new CallStacks(
      options.chains ?? MOST_CHAINS,
      functions,
      this.#byGoroutine ? (g) => this.#goroutineName(g) : undefined,
    );
    const { interpreter } = machine;
    // A goroutine's name is read when the log is: it is to be that of the goroutine that ran.
    const entries = this.#byGoroutine ? 1 : BLOCK_LOG_ENTRIES;
    const { memory } = machine;
    this.#log = new BlockLog(memory.view, this.#go?.tlsOffset, (count) => this.#drain(count), entries);
    this.#words = new Uint32Array(memory.view.buffer, memory.view.byteOffset + BLOCK_LOG, entries * ENTRY_WORDS);
    interpreter.log = this.#log;
    // Which goroutine a scheduler's code runs for may change within a region.
    if (this.#byGoroutine) interpreter.jit = undefined;
    if (interpreter.jit !== undefined) this.#countRegions(interpreter.jit, options.countMemory);
    this.#original = interpreter.run.bind(interpreter);
    interpreter.run = (cpu, stops) => this.#run(cpu, stops);
  }

  /** Has the second tier's regions count for themselves. */
  #countRegions(jit: SecondTier, room: number | undefined): void {
    const { view } = this.#machine.memory;
    const followed = {
      settle: (cpu: number) => {
        this.#log.drain();
        this.#ran(view.getUint32(cpu + STATE.fuel, true));
      },
      locate: (cpu: number, address: number) => this.#locate(cpu, address),
      entryOf: (address: number) => this.#entryOf(address),
      siteOf: (block: number) => this.#siteOf(block),
    };
    this.#regions = new RegionCounter(view, room, this.#stacks, this.#counts, followed, () => {
      jit.turnOff();
      this.#machine.interpreter.jit = undefined;
    });
    this.#log.counting = this.#regions;
    jit.countBy(this.#regions);
  }

  /** A thread is about to go on at an address. @param cpu the address of its state */
  #locate(cpu: number, address: number): void {
    const at = this.#stacks.at;
    const { view } = this.#machine.memory;
    at.cpu = cpu;
    at.start = address;
    at.fuel = view.getUint32(cpu + STATE.fuel, true);
    const word = (offset: number): number =>
      view.getUint32(cpu + offset, true) + view.getUint32(cpu + offset + 4, true) * TWO_32;
    at.sp = word(STATE.gpr + REG.RSP * 8);
    const fs = word(STATE.fsBase);
    at.g = this.#go === undefined || fs === 0 ? 0 : this.#word(fs + this.#go.tlsOffset);
    at.low = at.g === 0 ? 0 : this.#word(at.g);
    at.high = at.g === 0 ? 0 : this.#word(at.g + 8);
  }

  /** Interpreter.run: what runs before the first entry of the log and behind the last one is known here. */
  #run(cpu: CpuState, stops: ReadonlySet<number> | undefined): Stop {
    this.#locate(cpu.address, cpu.rip);
    try {
      return this.#original(cpu, stops);
    } finally {
      this.#ran(cpu.fuel >>> 0);
    }
  }

  /** Takes over the entries of the log: each tells where the block before it ended. */
  #drain(entries: number): void {
    const words = this.#words;
    const at = this.#stacks.at;
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
    const at = this.#stacks.at;
    const ran = (at.fuel - fuel) >>> 0;
    if (ran === 0 || at.start >= TASK_SIZE) return;
    const block = this.#blockAt(at.start);
    const stack = this.#stacks.enter(block);
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
  #sourceOf(key: number): readonly BlockLine[] {
    let source = this.#sources.get(key);
    if (source === undefined) {
      const [address, count] = [blockAddress(key), blockCount(key)];
      const read = (): readonly BlockLine[] => sourceOfBlock(this.#machine, this.#sites, address, count);
      source = this.#try<readonly BlockLine[] | undefined>(address, undefined, read);
      source ??= [this.#unresolved(address, count)];
      this.#sources.set(key, source);
    }
    return source;
  }

  /** The site of a block's last instruction (CalledFunctions.siteOf). */
  #siteOf(key: number): number {
    if (key === 0) return 0;
    const lines = this.#sourceOf(key);
    return lines[lines.length - 1].site.index + 1;
  }

  #unresolved(address: number, instructions: number): BlockLine {
    const name = this.#try(address, undefined, () => this.#machine.symbols.lookup(address)?.name);
    const site = this.#sites.of([{ name: name ?? `0x${address.toString(16)}`, file: undefined, line: undefined }]);
    return { site, instructions, repeats: true };
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
    // Its regions count for nobody now.
    if (this.#regions !== undefined) interpreter.jit?.turnOff();
    this.#regions?.collect();
    for (const block of this.#blocks.values()) this.#settle(block);
    const profile = new Profile(this.#sites);
    const stacks = new Int32Array(this.#stacks.tree.nodes.length);
    for (const node of this.#stacks.tree.nodes) {
      const { parent } = node;
      if (parent === undefined) continue;
      const site = this.#siteAbove(node);
      stacks[node.index] = site === undefined ? stacks[parent.index] : profile.within(stacks[parent.index], site);
    }
    for (let i = 0; i < this.#counts.size; i++) {
      const stack = stacks[this.#counts.firstOf(i)];
      const times = this.#counts.countOf(i);
      for (const { site, instructions } of this.#sourceOf(this.#counts.secondOf(i)))
        if (instructions > 0) profile.add(profile.within(stack, site), instructions * times);
    }
    for (let i = 0; i < this.#repeats.size; i++) {
      const lines = this.#sourceOf(this.#repeats.secondOf(i));
      const { site } = lines.find(({ repeats }) => repeats) ?? lines[0];
      profile.add(profile.within(stacks[this.#repeats.firstOf(i)], site), this.#repeats.countOf(i));
    }
    return profile;
  }

  /** The call site of a node in its caller; undefined for none, or one that its caller's frame tells already. */
  #siteAbove(node: CallNode): Site | undefined {
    const { parent, caller } = node;
    if (typeof parent?.entry === "string") {
      const { entry } = parent;
      return entry === "" ? undefined : this.#sites.of([{ name: entry, file: undefined, line: undefined }]);
    }
    if (caller === 0) return undefined;
    const site = this.#sites.all[caller - 1];
    const [frame] = site.frames;
    // A wrapper between two calling conventions has its function's name: one of them is enough.
    const isWrapper = site.frames.length === 1 && frame.file === "<autogenerated>" && frame.name === this.#nameOf(node);
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
