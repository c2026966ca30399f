import { Checksum } from "../cache/checksum.ts";
import type { TranslationCache } from "../cache/translation-cache.ts";
import type { CodeCache } from "../interpreter/code-cache.ts";
import type { HelperLibrary } from "../interpreter/helper-library.ts";
import { ENTER_HANDLER, FIRST_REGION } from "../interpreter/slots.ts";
import { CALL_CELLS, CALL_CELLS_END, inWindow } from "../layout.ts";
import { compileRegion, type RegionMark } from "./compile.ts";
import { hostFuses } from "./host-fma.ts";
import { discoverRegion, type Region } from "./region.ts";
import { RegionArchive } from "./region-archive.ts";
import { regionModule } from "./region-module.ts";
import type { StoredRegion } from "./region-store.ts";

/**
 * Samples of a function before it is compiled, and bytes of code (as a power of 2) for one more: fewer as long as the
 * host has not optimized the compiler, which it has after some thousand instructions.
 */
const HOT_SAMPLES = 4;
const BYTES_PER_SAMPLE = 5;
const BYTES_PER_SAMPLE_AT_FIRST = 3;
const FIRST_INSTRUCTIONS = 8000;
/**
 * Samples in all before anything is compiled, if there are regions of an earlier run: loading the compiler takes about as
 * long, and what is left over then is seldom worth it.
 */
const LOAD_SAMPLES = 800;
/** Samples in all before the regions of an earlier run are read: a program that ends sooner does without. */
const RESTORE_SAMPLES = 100;
/** Code that a region may have at most, about. */
const MAX_BYTES = 4096;
/** The first cell is always 0: calls whose target got none. */
const NO_CELL = CALL_CELLS;
/** Exits for the interpreter's help after which a region is compiled anew to take the slow path itself. */
const IMPATIENT_EXITS = 300;
/** Regions are saved again if new ones make up more than one part in so many, or have taken so many ms. */
const WORTH_SAVING = 100;
const WORTH_SAVING_TIME = 15;
/** Most regions at a time; then all are dropped and the hot ones come back. */
const MAX_REGIONS = 20_000;

/** Start and end of the function that holds an address, and whether it keeps to Go's calling convention. */
export type FunctionRange = (
  address: number,
) => { start: number; end: number; name: string; goAbi: boolean } | undefined;

interface CompiledRegion extends Omit<StoredRegion, "code"> {
  readonly stored: StoredRegion;
  helpExits: number;
  /** Others of its module may call it directly, as long as it is in its slot. */
  readonly isShared: boolean;
}

/** A region that was compiled. */
export interface RegionReport {
  readonly name: string;
  readonly region: Region;
  /** The module with the region's function. */
  readonly module: Uint8Array;
  /** Size of the function. */
  readonly bytes: number;
  readonly marks: readonly RegionMark[];
  /** Accesses that the fast check refuses stay in the region. */
  readonly patient: boolean;
}

export interface JitStatistics {
  readonly regions: number;
  readonly compiledInstructions: number;
  readonly bytes: number;
  readonly milliseconds: number;
  /** Regions of an earlier run. */
  readonly restored: number;
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
  #sampleCount = 0;
  readonly #inner = new Map<number, number>();
  /** Addresses that could not be compiled, or are not worth it. */
  readonly #refused = new Set<number>();
  readonly #cells = new Map<number, number>();
  readonly #view: DataView;
  readonly #helperNames: string[] = [];
  /** Pages whose code has changed at some time. */
  readonly #written = new Set<number>();
  #archive: RegionArchive | undefined;
  /** Does relaxed_madd round once here? Undefined as long as no region has asked. */
  #fuses: boolean | undefined;
  /** Instructions in regions of an earlier run. */
  #restored = 0;
  #restoredRegions = 0;
  #nextSlot = FIRST_REGION;
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
  /** Is told about each region that is compiled, and where what is in its code. */
  onCompile: ((report: RegionReport) => void) | undefined;
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
      restored: this.#restoredRegions,
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
   * The interpreter has spent a while. A function is compiled when the interpreter has spent about as long in it as
   * compiling it takes: then neither was much in vain, whatever comes.
   * @param last the last instruction of the block that it has run
   * @param next where it goes on
   */
  sampled(last: number, next: number): void {
    const isWaiting = this.#archive?.isWaiting ?? false;
    if (++this.#sampleCount >= RESTORE_SAMPLES) this.restoreNow();
    const hasRegions = isWaiting || this.#restoredRegions > 0;
    const isEarly = this.#sampleCount < LOAD_SAMPLES && this.#compiled === 0 && hasRegions;
    const range = this.functionRange(last);
    if (range === undefined) {
      if (count(this.#samples, next) >= HOT_SAMPLES && !isEarly) this.#compile(next);
      return;
    }
    const shift = this.#instructions < FIRST_INSTRUCTIONS ? BYTES_PER_SAMPLE_AT_FIRST : BYTES_PER_SAMPLE;
    const needed = HOT_SAMPLES + (Math.min(range.end - range.start, MAX_BYTES) >>> shift);
    if (!this.#starts.has(range.start)) {
      if (count(this.#samples, range.start) >= needed && !isEarly) this.#compile(range.start);
    } else if (count(this.#inner, range.start) >= needed && !isEarly && next >= range.start && next < range.end) {
      // It has been compiled, and the interpreter is in it all the same: it is entered in the middle.
      this.#inner.delete(range.start);
      this.#compile(next);
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
    // Slots are fixed in what was left by earlier runs.
    this.restoreNow();
    if (!inWindow(start) || this.#starts.has(start) || this.#refused.has(start)) return;
    if (this.#starts.size >= MAX_REGIONS) this.#dropAll();
    const before = this.now();
    const range = this.functionRange(start);
    const region = discoverRegion(start, {
      instructionAt: (address) => this.#code.instructionAt(address),
      wordAt: (address) => this.#code.wordAt(address),
      contains: (address) =>
        inWindow(address) &&
        !stops.has(address) &&
        (range === undefined || (address >= range.start && address < range.end)),
      flagsDieAtCalls: range?.goAbi ?? false,
    });
    if (region === undefined || stops.has(start)) {
      this.#refused.add(start);
      return;
    }
    const slot = this.#freeSlots.pop() ?? this.#nextSlot++;
    if (slot >= ENTER_HANDLER) throw new Error("no table slot for a region");
    const marks: RegionMark[] | undefined = this.onCompile === undefined ? undefined : [];
    const { body, calls } = compileRegion(region, slot, {
      marks,
      patient,
      helper: (name) => this.#helper(name),
      fuses: () => {
        this.#fuses ??= hostFuses();
        return this.#fuses;
      },
      callCell: (address) => this.#callCell(address),
    });
    const code = { start, slot, name: `${range?.name ?? "region"}@${start.toString(16)}`, body, calls };
    const module = regionModule([code], this.#helperNames);
    this.#instantiate(module);
    if (marks !== undefined)
      this.onCompile?.({ name: code.name, region, module, bytes: body.code.length, marks, patient });
    // Another region may have an entry there already.
    const inner = region.entries.map(({ address }) => address);
    const stored = {
      start,
      entries: [start, ...inner],
      slot,
      pages: pagesOf(region),
      patient,
      instructions: region.instructionCount,
      code,
    };
    this.#add({ ...stored, stored, helpExits: 0, isShared: false });
    this.#compiled++;
    this.#instructions += region.instructionCount;
    this.#bytes += body.code.length;
    this.#milliseconds += this.now() - before;
  }

  #instantiate(module: Uint8Array): void {
    new WebAssembly.Instance(new WebAssembly.Module(module as Uint8Array<ArrayBuffer>), { env: this.#imports });
  }

  /** Index of a helper among those that regions call. */
  #helper(name: string): number {
    const known = this.#helperNames.indexOf(name);
    if (known >= 0) return known;
    this.#helpers.require(name);
    return this.#helperNames.push(name) - 1;
  }

  /** Takes a region into use whose function is in the table. */
  #add(region: CompiledRegion): void {
    this.#starts.set(region.start, region);
    this.#bySlot.set(region.slot, region);
    for (const page of region.pages) {
      const set = this.#byPage.get(page);
      if (set === undefined) this.#byPage.set(page, new Set([region]));
      else set.add(region);
    }
    this.#code.guard(region.pages);
    for (const [i, address] of region.entries.entries()) this.#install(region, address, i);
  }

  /** Leaves the regions to the next run of the program, if there are new ones enough. */
  save(cache: TranslationCache): void {
    if (this.#archive?.isWaiting) return;
    if (this.#archive?.cache !== cache) this.#archive = new RegionArchive(cache, () => this.now());
    const archive = this.#archive;
    const isLittle = this.#instructions * WORTH_SAVING <= this.#restored && this.#milliseconds < WORTH_SAVING_TIME;
    if (this.#instructions > 0 && !isLittle) {
      const usable = [...this.#starts.values()].filter(({ pages }) => pages.every((page) => !this.#written.has(page)));
      const pages = this.#checksums(new Set(usable.flatMap((region) => region.pages)));
      const rest = { cells: [...this.#cells.keys()], helpers: this.#helperNames, fuses: this.#fuses, pages };
      archive.save(new Set(usable.map(({ stored }) => stored)), rest);
    }
    archive.saveMachineCode(({ start, slot }) =>
      this.#starts.get(start)?.slot === slot ? this.#table.get(slot) : null,
    );
  }

  /**
   * Takes over the regions of an earlier run, where the code that they were made from is the same: not before the
   * program has run for a moment, since for one that ends sooner they are not worth reading.
   */
  restore(cache: TranslationCache): void {
    this.#archive = new RegionArchive(cache, () => this.now());
  }

  /** Takes over the regions of an earlier run that wait to be. */
  restoreNow(): void {
    const stored = this.#archive?.load();
    // The cache may have come from another host.
    if (stored === undefined || (stored.fuses !== undefined && stored.fuses !== hostFuses())) return;
    const { modules, cells, helpers, fuses, pages } = stored;
    this.#fuses = fuses;
    for (const name of helpers) this.#helper(name);
    for (const address of cells) this.#callCell(address);
    const now = this.#checksums(pages.keys());
    for (const { module, regions } of modules) {
      new WebAssembly.Instance(module, { env: this.#imports });
      for (const region of regions) {
        if (region === undefined) continue;
        this.#nextSlot = Math.max(this.#nextSlot, region.slot + 1);
        if (!region.pages.every((page) => now.get(page) !== undefined && now.get(page) === pages.get(page))) continue;
        this.#restored += region.instructions;
        this.#restoredRegions++;
        this.#add({ ...region, stored: region, helpExits: 0, isShared: true });
      }
    }
  }

  /** Checksums of pages of code that can be executed. */
  #checksums(pages: Iterable<number>): Map<number, bigint> {
    const sums = new Map<number, bigint>();
    const checksum = new Checksum();
    for (const page of pages) {
      const bytes = this.#code.pageBytes(page);
      if (bytes !== undefined) sums.set(page, checksum.of(bytes));
    }
    return sums;
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
    this.#written.add(page);
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
    // What takes the slot must not be taken for it.
    if (!region.isShared) this.#freeSlots.push(region.slot);
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
