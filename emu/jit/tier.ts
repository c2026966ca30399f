import type { Instruction } from "../decode/instruction.ts";
import type { CodeCache } from "../interpreter/code-cache.ts";
import type { HelperLibrary } from "../interpreter/helper-library.ts";
import { TABLE_SLOTS } from "../interpreter/translated-module.ts";
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
  readonly entry: number;
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
  readonly #regions = new Map<number, CompiledRegion>();
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

  /** Table slot of the region that begins at an address; 0 if there is none. */
  slotOf(address: number): number {
    return this.#regions.get(address)?.slot ?? 0;
  }

  /** Compile at first sight: execution comes to `address`. */
  wanted(address: number): void {
    if (!this.#regions.has(address)) this.#compile(address);
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
    if (!this.#regions.has(range.start)) {
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
    this.#compile(region.entry, true);
  }

  #compile(entry: number, patient = this.patientFromStart): void {
    if (entry >= WINDOW_END || this.#regions.has(entry) || this.#refused.has(entry)) return;
    if (this.#regions.size >= MAX_REGIONS) this.#dropAll();
    const start = this.now();
    const range = this.functionRange(entry);
    const region = discoverRegion(entry, {
      instructionAt: (address) => this.#instructionAt(address),
      contains: (address) =>
        !this.#code.stops.has(address) && (range === undefined || (address >= range.start && address < range.end)),
      flagsDieAtCalls: range?.goAbi ?? false,
    });
    const record = region === undefined ? undefined : this.#code.recordAt(entry);
    if (region === undefined || typeof record !== "number" || this.#code.stops.has(entry)) {
      this.#refused.add(entry);
      return;
    }
    const slot = this.#freeSlots.pop() ?? this.#nextSlot++;
    if (slot >= TABLE_SLOTS) throw new Error("no table slot for a region");
    const bytes = compileRegion(region, slot, slot, {
      patient,
      name: `${range?.name ?? "region"}@${entry.toString(16)}`,
      helpers: this.#helpers,
      callCell: (address) => this.#callCell(address),
    });
    (globalThis as any).DUMP?.(entry, bytes);
    new WebAssembly.Instance(new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>), { env: this.#imports });
    const compiled: CompiledRegion = { entry, slot, pages: pagesOf(region), patient, helpExits: 0 };
    this.#regions.set(entry, compiled);
    this.#bySlot.set(slot, compiled);
    for (const page of compiled.pages) {
      const set = this.#byPage.get(page);
      if (set === undefined) this.#byPage.set(page, new Set([compiled]));
      else set.add(compiled);
    }
    this.#code.install(entry, record, slot, compiled.pages);
    this.#setCell(entry, slot);
    this.#compiled++;
    this.#instructions += region.instructionCount;
    this.#bytes += bytes.length;
    this.#milliseconds += this.now() - start;
  }

  /** The word where direct calls of an address look for its region. */
  #callCell(address: number): number {
    let cell = this.#cells.get(address);
    if (cell === undefined) {
      if (CALL_CELLS + this.#cells.size * 4 >= CALL_CELLS_END) return NO_CELL;
      cell = CALL_CELLS + this.#cells.size * 4 + 4;
      this.#cells.set(address, cell);
      this.#view.setUint32(cell, this.slotOf(address), true);
    }
    return cell;
  }

  #setCell(address: number, slot: number): void {
    const cell = this.#cells.get(address);
    if (cell !== undefined) this.#view.setUint32(cell, slot, true);
  }

  #instructionAt(address: number): Instruction | undefined {
    return this.#code.instructionAt(address);
  }

  #invalidate(page: number): void {
    this.#refused.clear();
    for (const region of [...(this.#byPage.get(page) ?? [])]) this.#remove(region);
  }

  #remove(region: CompiledRegion): void {
    this.#regions.delete(region.entry);
    this.#bySlot.delete(region.slot);
    for (const page of region.pages) this.#byPage.get(page)?.delete(region);
    this.#code.uninstall(region.entry);
    this.#setCell(region.entry, 0);
    this.#table.set(region.slot, null);
    this.#freeSlots.push(region.slot);
  }

  #dropAll(): void {
    for (const region of [...this.#regions.values()]) this.#remove(region);
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
