import { Checksum } from "../cache/checksum.ts";
import type { TranslationCache } from "../cache/translation-cache.ts";
import type { CodeCache } from "../interpreter/code-cache.ts";
import type { HelperLibrary } from "../interpreter/helper-library.ts";
import { ENTER_HANDLER, FIRST_REGION } from "../interpreter/slots.ts";
import { inWindow } from "../layout.ts";
import type { RegionMark } from "./compile.ts";
import { type Batch, CompileClient } from "./compile-client.ts";
import type { CompilerThread } from "./compile-protocol.ts";
import { hostFuses } from "./host-fma.ts";
import type { Region } from "./region.ts";
import { RegionArchive } from "./region-archive.ts";
import { type CompileRequest, compileRequest, type FunctionBounds } from "./region-compiler.ts";
import { RegionLinks } from "./region-links.ts";
import { regionModule } from "./region-module.ts";
import { functionsOf, type StoredRegion } from "./region-store.ts";

/**
 * Samples of a function before it is compiled, and bytes of code (as a power of 2) for one more. Where the guest waits for
 * the compiler: fewer as long as the host has not optimized it, which it has after some thousand instructions.
 */
const HOT_SAMPLES = 4;
const BYTES_PER_SAMPLE = 5;
const BYTES_PER_SAMPLE_AT_FIRST = 3;
const FIRST_INSTRUCTIONS = 8000;
/** The same where another thread compiles. */
const HOT_SAMPLES_ASIDE = 3;
const BYTES_PER_SAMPLE_ASIDE = 6;
/** Samples in all before that thread is started: for a program that is over soon it comes too late. */
const START_SAMPLES = 100;
/**
 * Samples in all before anything is compiled, if there are regions of an earlier run: loading the compiler takes about as
 * long, and what is left over then is seldom worth it.
 */
const LOAD_SAMPLES = 800;
/** Samples in all before the regions of an earlier run are read: a program that ends sooner does without. */
const RESTORE_SAMPLES = 100;
/** Code that a region may have at most, about. */
const MAX_BYTES = 4096;
/** Exits for the interpreter's help after which a region is compiled anew to take the slow path itself. */
const IMPATIENT_EXITS = 300;
/** Regions are saved again if new ones make up more than one part in so many, or have taken so many ms. */
const WORTH_SAVING = 100;
const WORTH_SAVING_TIME = 15;
/** Most regions at a time; then all are dropped and the hot ones come back. */
const MAX_REGIONS = 20_000;

/** Start and end of the function that holds an address, and whether it keeps to Go's calling convention. */
export type FunctionRange = (address: number) => FunctionBounds | undefined;

/**
 * Regions of one module may call each other directly, as long as they are in their slots: what takes such a slot must
 * not be taken for them. So slots are free again when all of a module is gone.
 */
interface RegionModule {
  readonly slots: readonly number[];
  regions: number;
}

interface CompiledRegion extends Omit<StoredRegion, "code"> {
  readonly stored: StoredRegion;
  helpExits: number;
  readonly module: RegionModule;
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
  /** For which the guest stood still, in all and at most at a time. */
  readonly milliseconds: number;
  readonly longestMilliseconds: number;
  /** That another thread has spent. */
  readonly asideMilliseconds: number;
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
  readonly #links = new RegionLinks();
  /** Of the links, how many cells and helpers are in use here. */
  #linkedCells = 0;
  #linkedHelpers = 0;
  readonly #view: DataView;
  /** Has regions compiled elsewhere, once there are some to compile; then all come from there. */
  #client: CompileClient | undefined;
  /** Pages whose code has changed at some time. */
  readonly #written = new Set<number>();
  #archive: RegionArchive | undefined;
  /** Instructions in regions of an earlier run. */
  #restored = 0;
  #restoredRegions = 0;
  #nextSlot = FIRST_REGION;
  #compiled = 0;
  #instructions = 0;
  #bytes = 0;
  #milliseconds = 0;
  #longest = 0;
  #aside = 0;
  /** Where functions begin and end, if that is known. */
  functionRange: FunctionRange = () => undefined;
  /** Compile at first sight, for tests. */
  eager = false;
  /** Outside of the window the fast check never holds. */
  patientFromStart = false;
  /** Is told about each region that is compiled, and where what is in its code. */
  onCompile: ((report: RegionReport) => void) | undefined;
  /**
   * Starts a thread that compiles, so that the guest need not wait for it; without one, or when somebody wants to see
   * the regions, they are compiled on the spot.
   */
  startThread: (() => CompilerThread) | undefined;
  /** The CPU's features as in /proc/cpuinfo, for that thread. */
  features: readonly string[] = [];
  /** Receives a line about what went wrong with it. */
  report: (message: string) => void = () => {};
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
    code.onFlush = () => {
      this.#client?.forgetAll();
      this.#dropAll();
    };
  }

  get statistics(): JitStatistics {
    return {
      regions: this.#compiled,
      compiledInstructions: this.#instructions,
      bytes: this.#bytes,
      milliseconds: this.#milliseconds,
      longestMilliseconds: this.#longest,
      asideMilliseconds: this.#aside,
      restored: this.#restoredRegions,
    };
  }

  /** Can a region be entered here? */
  isEntry(address: number): boolean {
    return this.#entered.has(address);
  }

  /** Compile at first sight: execution comes to `address`. */
  wanted(address: number): void {
    this.poll();
    if (!this.#entered.has(address)) this.#compile(address);
  }

  /**
   * The interpreter has spent a while. A function is compiled when the interpreter has spent about as long in it as
   * compiling it takes, or somewhat sooner where nobody waits for that: then neither was much in vain, whatever comes.
   * @param last the last instruction of the block that it has run
   * @param next where it goes on
   */
  sampled(last: number, next: number): void {
    this.poll();
    const isEarly = ++this.#sampleCount < this.#samplesAtFirst();
    if (this.#sampleCount >= RESTORE_SAMPLES) this.restoreNow();
    const range = this.functionRange(last);
    if (range === undefined) {
      if (count(this.#samples, next) >= HOT_SAMPLES && !isEarly) this.#compile(next);
      return;
    }
    const needed = this.#samplesOf(range);
    if (!this.#starts.has(range.start)) {
      if (count(this.#samples, range.start) >= needed && !isEarly) this.#compile(range.start);
    } else if (count(this.#inner, range.start) >= needed && !isEarly && next >= range.start && next < range.end) {
      // It has been compiled, and the interpreter is in it all the same: it is entered in the middle.
      this.#inner.delete(range.start);
      this.#compile(next);
    }
  }

  /** Samples in all before the first region is compiled. */
  #samplesAtFirst(): number {
    if (this.#compiled > 0 || this.#client !== undefined) return 0;
    if (this.#archive?.isWaiting || this.#restoredRegions > 0) return LOAD_SAMPLES;
    return this.startThread === undefined ? 0 : START_SAMPLES;
  }

  /** Samples of a function before it is compiled. */
  #samplesOf({ start, end }: FunctionBounds): number {
    const bytes = Math.min(end - start, MAX_BYTES);
    if (this.startThread !== undefined) return HOT_SAMPLES_ASIDE + (bytes >>> BYTES_PER_SAMPLE_ASIDE);
    return (
      HOT_SAMPLES + (bytes >>> (this.#instructions < FIRST_INSTRUCTIONS ? BYTES_PER_SAMPLE_AT_FIRST : BYTES_PER_SAMPLE))
    );
  }

  /** A region asked the interpreter for help with an access. @param slot of the region */
  helped(slot: number): void {
    const region = this.#bySlot.get(slot);
    if (region === undefined || region.patient || ++region.helpExits < IMPATIENT_EXITS) return;
    this.#compile(region.start, true);
  }

  /** Takes into use what another thread has compiled. Like all that changes regions, between two entries into them. */
  poll(): void {
    const client = this.#client;
    if (client === undefined) return;
    for (let batch = client.poll(); batch !== undefined; batch = client.poll()) this.#take(batch);
    if (client.failure !== undefined) this.#doWithoutThread(client.failure);
  }

  /** The guest has ended: what is ready is taken, for `save`, and the rest given up. */
  close(): void {
    this.poll();
    this.#abandonClient();
  }

  /** Compiles a region, now or elsewhere; a patient one takes the place of one that is not. */
  #compile(start: number, patient = this.patientFromStart): void {
    // Slots and links are fixed in what was left by earlier runs.
    this.restoreNow();
    if (!inWindow(start) || this.#refused.has(start) || this.#client?.isPending(start)) return;
    const old = this.#starts.get(start);
    if (old !== undefined && (old.patient || !patient)) return;
    if (this.#starts.size >= MAX_REGIONS) this.#dropAll();
    const slot = this.#freeSlot();
    if (slot === undefined) return;
    const request = { start, slot, bounds: this.functionRange(start), patient, stops: this.#code.stops };
    if (this.startThread === undefined || this.onCompile !== undefined) this.#compileNow(request);
    else this.#compileElsewhere(request, this.startThread);
  }

  #freeSlot(): number | undefined {
    if (this.#freeSlots.length === 0 && this.#nextSlot >= ENTER_HANDLER) this.#dropAll();
    return this.#freeSlots.pop() ?? (this.#nextSlot < ENTER_HANDLER ? this.#nextSlot++ : undefined);
  }

  #compileElsewhere(request: CompileRequest, startThread: () => CompilerThread): void {
    const before = this.now();
    try {
      this.#client ??= new CompileClient(
        startThread(),
        this.features,
        (page) => this.#code.copyPage(page),
        this.#links,
      );
    } catch (error) {
      // The host may have no thread left.
      this.#doWithoutThread(error instanceof Error ? error.message : String(error));
      this.#compileNow(request);
      return;
    }
    this.#client.request(request);
    this.#spent(before);
  }

  #doWithoutThread(why: string): void {
    this.report(`the thread that compiles hot code has failed (${why}): the program waits for the compiler now`);
    this.startThread = undefined;
    this.#abandonClient();
  }

  #compileNow(request: CompileRequest): void {
    this.#abandonClient();
    const before = this.now();
    const marks: RegionMark[] | undefined = this.onCompile === undefined ? undefined : [];
    const compiled = compileRequest(request, this.#code, this.#links, marks);
    if (compiled === undefined) {
      this.#refused.add(request.start);
      this.#freeSlots.push(request.slot);
      return;
    }
    const { stored, region } = compiled;
    const { patient, code } = stored;
    const bytes = regionModule([code], this.#links.helpers);
    this.#instantiate(new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>));
    if (marks !== undefined)
      this.onCompile?.({ name: code.name, region, module: bytes, bytes: code.body.code.length, marks, patient });
    this.#addModule([stored], [stored.slot]);
    this.#bytes += code.body.code.length;
    this.#spent(before);
  }

  #take({ regions, module, moduleBytes, refused, milliseconds }: Batch): void {
    const before = this.now();
    this.#aside += milliseconds;
    for (const { start, slot } of refused) {
      this.#refused.add(start);
      this.#freeSlots.push(slot);
    }
    const slots = regions.map(({ slot }) => slot);
    const bodies = functionsOf(() => moduleBytes);
    const stored = regions.flatMap(({ versions: _, isCurrent, bytes, name, calls, ...region }, i) => {
      if (!isCurrent) return [];
      this.#bytes += bytes;
      const { start, slot } = region;
      const code = {
        ...{ start, slot, name, calls },
        get body() {
          return bodies(i);
        },
      };
      return { ...region, code };
    });
    if (module === undefined || stored.length === 0) {
      this.#freeSlots.push(...slots);
      return;
    }
    this.#instantiate(module);
    for (const { slot, isCurrent } of regions) if (!isCurrent) this.#table.set(slot, null);
    this.#addModule(stored, slots);
    this.#spent(before);
  }

  /** What is under way elsewhere is given up: the links can only grow in one place. */
  #abandonClient(): void {
    if (this.#client === undefined) return;
    for (const { slot } of this.#client.pending) this.#freeSlots.push(slot);
    this.#client.close();
    this.#client = undefined;
  }

  #spent(before: number): void {
    const time = this.now() - before;
    this.#milliseconds += time;
    this.#longest = Math.max(this.#longest, time);
  }

  #instantiate(module: WebAssembly.Module): void {
    this.#link();
    new WebAssembly.Instance(module, { env: this.#imports });
  }

  /** Takes links that have come up into use: cells hold the slots of the regions that there are, helpers are made. */
  #link(): void {
    const { targets, helpers } = this.#links;
    for (; this.#linkedCells < targets.length; this.#linkedCells++) {
      const address = targets[this.#linkedCells];
      this.#setCell(address, this.#starts.get(address)?.slot ?? 0);
    }
    for (; this.#linkedHelpers < helpers.length; this.#linkedHelpers++)
      this.#helpers.require(helpers[this.#linkedHelpers]);
  }

  /** Takes regions of one module into use. @param slots of all that the module put into the table */
  #addModule(regions: readonly StoredRegion[], slots: readonly number[]): void {
    const module = { slots, regions: regions.length };
    for (const region of regions) {
      const old = this.#starts.get(region.start);
      if (old !== undefined) this.#remove(old);
      this.#add({ ...region, stored: region, helpExits: 0, module });
      this.#compiled++;
      this.#instructions += region.instructions;
    }
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
    const spent = this.#milliseconds + this.#aside;
    const isLittle = this.#instructions * WORTH_SAVING <= this.#restored && spent < WORTH_SAVING_TIME;
    if (this.#instructions > 0 && !isLittle) {
      const usable = [...this.#starts.values()].filter(({ pages }) => pages.every((page) => !this.#written.has(page)));
      const pages = this.#checksums(new Set(usable.flatMap((region) => region.pages)));
      const { targets: cells, helpers, fuses } = this.#links;
      const rest = { cells, helpers, fuses, pages };
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
    this.#links.fuses = fuses;
    for (const name of helpers) this.#links.helper(name);
    for (const address of cells) this.#links.callCell(address);
    const now = this.#checksums(pages.keys());
    for (const { module, regions } of modules) {
      this.#instantiate(module);
      const slots = regions.flatMap((region) => region?.slot ?? []);
      const own = { slots, regions: 0 };
      for (const region of regions) {
        if (region === undefined) continue;
        this.#nextSlot = Math.max(this.#nextSlot, region.slot + 1);
        if (!region.pages.every((page) => now.get(page) !== undefined && now.get(page) === pages.get(page))) continue;
        this.#restored += region.instructions;
        this.#restoredRegions++;
        own.regions++;
        this.#add({ ...region, stored: region, helpExits: 0, module: own });
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

  /** Where direct calls of an address look for its region. */
  #setCell(address: number, slot: number): void {
    const cell = this.#links.cellOf(address);
    if (cell !== undefined) this.#view.setUint32(cell, slot, true);
  }

  #invalidate(page: number): void {
    this.#written.add(page);
    this.#client?.invalidate(page);
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
    if (--region.module.regions === 0) this.#freeSlots.push(...region.module.slots);
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
