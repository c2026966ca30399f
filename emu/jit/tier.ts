import type { CodeCache } from "../interpreter/code-cache.ts";
import type { HelperLibrary } from "../interpreter/helper-library.ts";
import { ENTER_HANDLER } from "../interpreter/translated-module.ts";
import { CALL_CELLS, CALL_CELLS_END, WINDOW_END } from "../layout.ts";
import { compileRegion } from "./compile.ts";
import { discoverRegion, type Region } from "./region.ts";

/** First table slot of regions; below are the interpreter's handlers. */
const FIRST_SLOT = 16384;
/** Samples of a function before it is compiled, and bytes of code (as a power of 2) for one more. */
const HOT_SAMPLES = 4;
const BYTES_PER_SAMPLE = 5;
/** Code that a region may have at most, about. */
const MAX_BYTES = 4096;
/** The first cell is always 0: calls whose target got none. */
const NO_CELL = CALL_CELLS;
/** Exits for the interpreter's help after which a region is compiled anew to take the slow path itself. */
const IMPATIENT_EXITS = 300;
/** Most regions at a time; then all are dropped and the hot ones come back. */
const MAX_REGIONS = 20_000;

/** Start and end of the function that holds an address, and whether it keeps to Go's calling convention. */
export type FunctionRange = (
  address: number,
) => { start: number; end: number; name: string; goAbi: boolean } | undefined;

interface CompiledRegion {
  readonly start: number;
  /** Addresses at which it may be entered, the start first. */
  readonly entries: readonly number[];
  readonly slot: number;
  readonly pages: readonly number[];
  readonly patient: boolean;
  helpExits: number;
}

export interface JitStatistics {
  readonly regions: number;
  readonly compiledInstructions: number;
  readonly bytes: number;
  readonly milliseconds: number;
}

/** Tier 1: decides what is compiled, and keeps track of what was. */
export class Jit {
  readonly #code: CodeCache;
  readonly #helpers: HelperLibrary;
  readonly #imports: WebAssembly.ModuleImports;
  readonly #table: WebAssembly.Table;
  /** Regions by the addresses at which they start, and at which they may be entered. */
  readonly #starts = new Map<number, CompiledRegion>();
  readonly #entered = new Map<number, CompiledRegion>();
  readonly #bySlot = new Map<number, CompiledRegion>();
  readonly #byPage = new Map<number, Set<CompiledRegion>>();
  readonly #freeSlots: number[] = [];
  readonly #samples = new Map<number, number>();
  readonly #inner = new Map<number, number>();
  /** Addresses that could not be compiled, or are not worth it. */
  readonly #refused = new Set<number>();
  readonly #cells = new Map<number, number>();
  readonly #view: DataView;
  #nextSlot = FIRST_SLOT;
  #compiled = 0;
  #instructions = 0;
  #bytes = 0;
  #milliseconds = 0;
  /** Where functions begin and end, if that is known. */
  functionRange: FunctionRange = () => undefined;
  /** Compile at first sight, for tests. */
  eager = false;
  /** Outside of the window the fast check never holds. */
  patientFromStart = false;
  /** A clock in ms, for statistics. */
  now: () => number = () => 0;

  constructor(
    code: CodeCache,
    view: DataView,
    table: WebAssembly.Table,
    imports: WebAssembly.ModuleImports,
    helpers: HelperLibrary,
  ) {
    this.#helpers = helpers;
    this.#code = code;
    this.#view = view;
    this.#table = table;
    this.#imports = imports;
    code.onInvalidate = (page) => this.#invalidate(page);
    code.onFlush = () => this.#dropAll();
  }

  get statistics(): JitStatistics {
    return {
      regions: this.#compiled,
      compiledInstructions: this.#instructions,
      bytes: this.#bytes,
      milliseconds: this.#milliseconds,
    };
  }

  /** Can a region be entered here? */
  isEntry(address: number): boolean {
    return this.#entered.has(address);
  }

  /** Compile at first sight: execution comes to `address`. */
  wanted(address: number): void {
    if (!this.#entered.has(address)) this.#compile(address);
  }

  /**
   * The interpreter has spent a while, and is at `address` now. A function is compiled when the interpreter has spent
   * about as long in it as compiling it takes: then neither was much in vain, whatever comes.
   */
  sampled(address: number): void {
    const range = this.functionRange(address);
    if (range === undefined) {
      if (count(this.#samples, address) >= HOT_SAMPLES) this.#compile(address);
      return;
    }
    const needed = HOT_SAMPLES + (Math.min(range.end - range.start, MAX_BYTES) >>> BYTES_PER_SAMPLE);
    if (!this.#starts.has(range.start)) {
      if (count(this.#samples, range.start) >= needed) this.#compile(range.start);
    } else if (count(this.#inner, range.start) >= needed) {
      // It has been compiled, and the interpreter is in it all the same: it is entered in the middle.
      this.#inner.delete(range.start);
      this.#compile(address);
    }
  }

  /** A region asked the interpreter for help with an access. @param slot of the region */
  helped(slot: number): void {
    const region = this.#bySlot.get(slot);
    if (region === undefined || region.patient || ++region.helpExits < IMPATIENT_EXITS) return;
    this.#remove(region);
    this.#compile(region.start, true);
  }

  #compile(start: number, patient = this.patientFromStart): void {
    const { stops } = this.#code;
    if (start >= WINDOW_END || this.#starts.has(start) || this.#refused.has(start)) return;
    if (this.#starts.size >= MAX_REGIONS) this.#dropAll();
    const before = this.now();
    const range = this.functionRange(start);
    const region = discoverRegion(start, {
      instructionAt: (address) => this.#code.instructionAt(address),
      contains: (address) =>
        !stops.has(address) && (range === undefined || (address >= range.start && address < range.end)),
      flagsDieAtCalls: range?.goAbi ?? false,
    });
    if (region === undefined || stops.has(start)) {
      this.#refused.add(start);
      return;
    }
    const slot = this.#freeSlots.pop() ?? this.#nextSlot++;
    if (slot >= ENTER_HANDLER) throw new Error("no table slot for a region");
    const bytes = compileRegion(region, slot, slot, {
      patient,
      name: `${range?.name ?? "region"}@${start.toString(16)}`,
      helpers: this.#helpers,
      callCell: (address) => this.#callCell(address),
    });
    (globalThis as any).DUMP?.(start, bytes);
    new WebAssembly.Instance(new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>), { env: this.#imports });
    // Another region may have an entry there already.
    const inner = region.entries.map(({ address }) => address);
    const compiled: CompiledRegion = {
      start,
      entries: [start, ...inner],
      slot,
      pages: pagesOf(region),
      patient,
      helpExits: 0,
    };
    this.#starts.set(start, compiled);
    this.#bySlot.set(slot, compiled);
    for (const page of compiled.pages) {
      const set = this.#byPage.get(page);
      if (set === undefined) this.#byPage.set(page, new Set([compiled]));
      else set.add(compiled);
    }
    this.#code.guard(compiled.pages);
    for (const [i, address] of compiled.entries.entries()) this.#install(compiled, address, i);
    this.#compiled++;
    this.#instructions += region.instructionCount;
    this.#bytes += bytes.length;
    this.#milliseconds += this.now() - before;
  }

  /** @param entry number of the entry, 0 for the start, which comes before another region's middle */
  #install(region: CompiledRegion, address: number, entry: number): void {
    const other = this.#entered.get(address);
    if (other !== undefined && entry !== 0) return;
    if (other !== undefined) this.#code.uninstall(address);
    this.#entered.set(address, region);
    this.#code.install(address, region.slot, entry);
    if (entry === 0) this.#setCell(address, region.slot);
  }

  /** The word where direct calls of an address look for its region. */
  #callCell(address: number): number {
    let cell = this.#cells.get(address);
    if (cell === undefined) {
      if (CALL_CELLS + this.#cells.size * 4 >= CALL_CELLS_END) return NO_CELL;
      cell = CALL_CELLS + this.#cells.size * 4 + 4;
      this.#cells.set(address, cell);
      this.#view.setUint32(cell, this.#starts.get(address)?.slot ?? 0, true);
    }
    return cell;
  }

  #setCell(address: number, slot: number): void {
    const cell = this.#cells.get(address);
    if (cell !== undefined) this.#view.setUint32(cell, slot, true);
  }

  #invalidate(page: number): void {
    this.#refused.clear();
    for (const region of [...(this.#byPage.get(page) ?? [])]) this.#remove(region);
  }

  #remove(region: CompiledRegion): void {
    this.#starts.delete(region.start);
    this.#bySlot.delete(region.slot);
    for (const page of region.pages) this.#byPage.get(page)?.delete(region);
    for (const address of region.entries) {
      if (this.#entered.get(address) !== region) continue;
      this.#entered.delete(address);
      this.#code.uninstall(address);
    }
    this.#setCell(region.start, 0);
    this.#table.set(region.slot, null);
    this.#freeSlots.push(region.slot);
  }

  #dropAll(): void {
    for (const region of [...this.#starts.values()]) this.#remove(region);
  }
}

function count(counts: Map<number, number>, address: number): number {
  const next = (counts.get(address) ?? 0) + 1;
  counts.set(address, next);
  return next;
}

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
