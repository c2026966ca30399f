import { checksum } from "../cache/checksum.ts";
import type { TranslationCache } from "../cache/translation-cache.ts";
import type { CodeCache } from "../interpreter/code-cache.ts";
import type { Interpreter, SecondTier } from "../interpreter/interpreter.ts";
import type { RegionCounting } from "../interpreter/region-counts.ts";
import { inWindow, PAGE_SIZE } from "../layout.ts";
import type { RegionMark } from "./compile.ts";
import { type Batch, CompileClient } from "./compile-client.ts";
import type { CompilerThread } from "./compile-protocol.ts";
import { hostFuses } from "./host-fma.ts";
import { MAX_INSTRUCTIONS } from "./limits.ts";
import type { Region } from "./region.ts";
import { RegionArchive } from "./region-archive.ts";
import { type CompileRequest, compileRequest, type FunctionBounds } from "./region-compiler.ts";
import { regionModule } from "./region-module.ts";
import { functionsOf, type StoredRegion } from "./region-store.ts";
import { type RegionPlaces, RegionTable } from "./region-table.ts";
import { Restless } from "./restless.ts";

/**
 * Samples of a function before it is compiled, and bytes of code (as a power of 2) for one more: fewer as long as the
 * guest waits for a compiler that the host has not optimized, which it has after some thousand instructions.
 */
const HOT_SAMPLES = 4;
const BYTES_PER_SAMPLE = 5;
const BYTES_PER_SAMPLE_AT_FIRST = 3;
const FIRST_INSTRUCTIONS = 8000;
/**
 * Samples in all before a thread is started that compiles, or the compiler is loaded although there are regions of an
 * earlier run: for a program that is over soon it comes too late, and until it has begun it slows the program down.
 */
const START_SAMPLES = 2000;
/** Code that a region may have at most, about. */
const MAX_BYTES = 4096;
/** Exits for the interpreter's help after which a region is compiled anew to take the slow path itself. */
const IMPATIENT_EXITS = 300;
/** Regions are saved again if new ones make up more than one part in so many, or have taken so many ms. */
const WORTH_SAVING = 100;
const WORTH_SAVING_TIME = 15;
/** Most regions at a time; then all are dropped and the hot ones come back. */
const MAX_REGIONS = 20_000;

/**
 * Where code is part of other regions already, which are left in their middle as it seems, a new region is half as large
 * for each of them, up to so many: straight code that is left at each instruction would else be compiled as often as it
 * has instructions.
 */
const MOST_AROUND = 7;

/** Functions that the compiler may stumble over before it is done without. */
const MOST_STUMBLES = 5;

/** Start and end of the function that holds an address, and whether it keeps to Go's calling convention. */
export type FunctionRange = (address: number) => FunctionBounds | undefined;

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

/** Adds the second tier to an interpreter. */
export function enableJit(interpreter: Interpreter): Jit {
  const jit = new Jit(interpreter.places);
  interpreter.jit = jit;
  return jit;
}

/** Tier 1: decides what is compiled, and keeps track of what was. */
export class Jit implements SecondTier {
  readonly #code: CodeCache;
  readonly #regions: RegionTable;
  readonly #samples = new Map<number, number>();
  #sampleCount = 0;
  /** Samples that nobody has looked at yet, `last` and `next` of each. */
  #pendingSamples: number[] = [];
  readonly #inner = new Map<number, number>();
  /** Addresses that could not be compiled, or are not worth it. */
  readonly #refused = new Set<number>();
  /** Has regions compiled elsewhere, once there are some to compile; then all come from there. */
  #client: CompileClient | undefined;
  /** Pages whose code has changed at some time. */
  readonly #written = new Set<number>();
  /** Pages whose regions were dropped because they were written to, and starts of regions that reached into such pages. */
  readonly #restlessPages = new Restless();
  readonly #restlessStarts = new Restless();
  /** How often it was looked at where the guest is. */
  #looks = 0;
  #archive: RegionArchive | undefined;
  /** Earlier runs were over before the compiler was ready. */
  #wasTooLate = false;
  /** Instructions in regions of an earlier run. */
  #restored = 0;
  #restoredRegions = 0;
  /** The tier has failed, and does nothing any more. */
  #isOff = false;
  /** Functions over which the compiler has stumbled. */
  #stumbled = 0;
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
  /** Keeps what regions count: they do if there is somebody, and are not kept for later runs. */
  counting: RegionCounting | undefined;
  #counted = 0;
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

  constructor(places: RegionPlaces) {
    const { code } = places;
    this.#code = code;
    this.#regions = new RegionTable(places);
    code.onInvalidate = (page, start, end) => this.#invalidate(page, start, end);
    code.onFlush = () => {
      this.#client?.forgetAll();
      this.#regions.dropAll();
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
    return this.#regions.isEntry(address);
  }

  /** Compile at first sight: execution comes to `address`. */
  wanted(address: number): void {
    this.#looks++;
    this.poll();
    this.#optional(() => {
      if (!this.#regions.isEntry(address)) this.#compile(address);
    });
  }

  /**
   * The interpreter has spent a while. A function is compiled when the interpreter has spent about as long in it as
   * compiling it takes: then neither was much in vain, whatever comes.
   * @param last the last instruction of the block that it has run
   * @param next where it goes on
   */
  sampled(last: number, next: number): void {
    this.#looks++;
    this.poll();
    this.#optional(() => this.#sampled(last, next));
  }

  #sampled(last: number, next: number): void {
    const isEarly = ++this.#sampleCount < this.#samplesAtFirst();
    const restores = this.#archive?.isWaiting && this.#sampleCount >= this.#archive.samplesToWait;
    this.#pendingSamples.push(last, next);
    // Nothing comes of the first ones for now, and most processes end before that: they need not read symbols.
    if (!isEarly || restores) this.#countSamples(isEarly);
    if (restores) this.restoreNow();
  }

  /** Looks at the samples that have not been. */
  #countSamples(isEarly: boolean): void {
    const pending = this.#pendingSamples;
    this.#pendingSamples = [];
    for (let i = 0; i < pending.length; i += 2) this.#countSample(pending[i], pending[i + 1], isEarly);
  }

  #countSample(last: number, next: number, isEarly: boolean): void {
    const range = this.functionRange(last);
    if (range === undefined) {
      if (count(this.#samples, next) >= HOT_SAMPLES && !isEarly) this.#compile(next);
      return;
    }
    const needed = this.#samplesOf(range);
    if (this.#regions.at(range.start) === undefined) {
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
    if (this.#wasTooLate) return 0;
    const hasRegions = this.#archive?.isWaiting || this.#restoredRegions > 0;
    return hasRegions || this.startThread !== undefined ? START_SAMPLES : 0;
  }

  /** Samples of a function before it is compiled. */
  #samplesOf({ start, end }: FunctionBounds): number {
    const bytes = Math.min(end - start, MAX_BYTES);
    const isSlow = this.startThread === undefined && this.#instructions < FIRST_INSTRUCTIONS;
    return HOT_SAMPLES + (bytes >>> (isSlow ? BYTES_PER_SAMPLE_AT_FIRST : BYTES_PER_SAMPLE));
  }

  /** A region asked the interpreter for help with an access. @param slot of the region */
  helped(slot: number): void {
    const region = this.#regions.inSlot(slot);
    if (region === undefined || region.patient || ++region.helpExits < IMPATIENT_EXITS) return;
    this.#optional(() => this.#compile(region.start, true));
  }

  /** Takes into use what another thread has compiled. Like all that changes regions, between two entries into them. */
  poll(): void {
    const client = this.#client;
    if (client === undefined) return;
    let failure: string | undefined;
    try {
      for (let batch = client.poll(); batch !== undefined; batch = client.poll()) this.#take(batch);
      failure = client.failure;
    } catch (error) {
      // What came can't be used: some of it may be in the tables.
      this.#regions.dropAll();
      failure = reasonOf(error);
    }
    if (failure !== undefined) this.#doWithoutThread(failure);
  }

  /**
   * Does something of the second tier, which the guest can do without: an error of ours ends it, and what there is of
   * regions goes. Only where no region is on the stack, as wherever regions change. Where all code is to run compiled, for
   * tests, an error is an error.
   */
  #optional(work: () => void): void {
    if (this.#isOff) return;
    try {
      work();
    } catch (error) {
      if (this.eager) throw error;
      this.turnOff();
      this.report(`compiling hot code has failed (${reasonOf(error)}): the program runs in the interpreter now`);
    }
  }

  /** All is the interpreter's from now on. */
  turnOff(): void {
    this.#isOff = true;
    this.#abandonClient();
    this.#regions.dropAll();
  }

  /** Starts anew, for whoever wants regions to count: the interpreter counts the code that it has. */
  countBy(counting: RegionCounting): void {
    this.#archive = undefined;
    this.startThread = undefined;
    this.#abandonClient();
    this.#regions.dropAll();
    this.counting = counting;
  }

  /** Nothing runs here any more: no region is in the tables, which somebody else gets. */
  dropRegions(): void {
    this.#regions.dropAll();
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
    if (!inWindow(start) || this.#isRestless(start) || this.#refused.has(start) || this.#client?.isPending(start))
      return;
    const old = this.#regions.at(start);
    if (old !== undefined && (old.patient || !patient)) return;
    if (this.#regions.size >= MAX_REGIONS) this.#regions.dropAll();
    const slot = this.#regions.takeSlot();
    if (slot === undefined) return;
    const limit = MAX_INSTRUCTIONS >>> this.#regions.around(start, MOST_AROUND);
    const request = { start, slot, bounds: this.functionRange(start), patient, limit, stops: this.#code.stops };
    // What a stack's functions are is known of functions alone.
    if (this.counting !== undefined && request.bounds === undefined) {
      this.#refused.add(start);
      this.#regions.giveBack(slot);
      return;
    }
    if (this.startThread === undefined || this.onCompile !== undefined) this.#compileNow(request);
    else this.#compileElsewhere(request, this.startThread);
  }

  #compileElsewhere(request: CompileRequest, startThread: () => CompilerThread): void {
    const before = this.now();
    try {
      this.#client ??= new CompileClient(
        startThread(),
        this.features,
        (page) => this.#code.copyPage(page),
        this.#regions.links,
      );
      this.#client.request(request);
    } catch (error) {
      // The host may have no thread left. Who compiles in its place gives the slot back, if that is what comes of it.
      this.#doWithoutThread(reasonOf(error), request);
      this.#compileNow(request);
      return;
    }
    this.#spent(before);
  }

  /** @param kept a request that somebody else sees to */
  #doWithoutThread(why: string, kept?: CompileRequest): void {
    this.report(`the thread that compiles hot code has failed (${why}): the program waits for the compiler now`);
    this.startThread = undefined;
    this.#abandonClient(kept);
  }

  #compileNow(request: CompileRequest): void {
    this.#abandonClient();
    const before = this.now();
    const marks: RegionMark[] | undefined = this.onCompile === undefined ? undefined : [];
    const made = this.#makeModule(request, marks);
    if (made === undefined) {
      this.#refused.add(request.start);
      this.#regions.giveBack(request.slot);
      return;
    }
    const { stored, region, bytes, module } = made;
    const { patient, code } = stored;
    if (marks !== undefined)
      this.onCompile?.({ name: code.name, region, module: bytes, bytes: code.body.code.length, marks, patient });
    if (made.counts !== undefined) this.counting?.compiled(made.counts);
    this.#add(module, [stored], [stored.slot]);
    this.#bytes += code.body.code.length;
    this.#spent(before);
  }

  /** Compiles; undefined for what is left to the interpreter: for code that the compiler stumbles over, a line says so. */
  #makeModule(request: CompileRequest, marks: RegionMark[] | undefined) {
    try {
      const countId = this.counting === undefined ? undefined : ++this.#counted;
      const compiled = compileRequest(request, this.#code, this.#regions.links, marks, countId);
      if (compiled === undefined) return undefined;
      const bytes = regionModule([compiled.stored.code], this.#regions.links.helpers);
      return { ...compiled, bytes, module: new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>) };
    } catch (error) {
      if (this.eager || ++this.#stumbled > MOST_STUMBLES) throw error;
      const name = request.bounds?.name ?? `0x${request.start.toString(16)}`;
      this.report(`${name} can't be compiled (${reasonOf(error)}): it stays in the interpreter`);
      return undefined;
    }
  }

  #take({ regions, module, moduleBytes, refused, milliseconds }: Batch): void {
    const before = this.now();
    this.#aside += milliseconds;
    for (const { start, slot } of refused) {
      this.#refused.add(start);
      this.#regions.giveBack(slot);
    }
    const slots = regions.map(({ slot }) => slot);
    const bodies = functionsOf(() => moduleBytes);
    const functions = regions.map(({ versions: _, isCurrent, bytes, name, calls, ...region }, i) => {
      if (!isCurrent) return undefined;
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
    const stored = functions.filter((region) => region !== undefined);
    if (module === undefined || moduleBytes === undefined || stored.length === 0) {
      this.#regions.giveBack(...slots);
      return;
    }
    this.#add(module, stored, slots);
    this.#archive?.add(module, moduleBytes, functions, slots);
    this.#spent(before);
  }

  /** Takes new regions into use. @param slots of all that the module puts into the table */
  #add(module: WebAssembly.Module, regions: readonly StoredRegion[], slots: readonly number[]): void {
    this.#regions.addModule(module, regions, slots);
    this.#compiled += regions.length;
    this.#instructions += instructionsOf(regions);
  }

  /** What is under way elsewhere is given up: the links can only grow in one place. */
  #abandonClient(kept?: CompileRequest): void {
    const client = this.#client;
    if (client === undefined) return;
    this.#client = undefined;
    for (const { slot } of client.pending) if (slot !== kept?.slot) this.#regions.giveBack(slot);
    try {
      client.close();
    } catch {
      // It has failed already.
    }
  }

  #spent(before: number): void {
    const time = this.now() - before;
    this.#milliseconds += time;
    this.#longest = Math.max(this.#longest, time);
  }

  /** Leaves the regions to the next run of the program, if there are new ones enough. */
  save(cache: TranslationCache): void {
    if (this.#isOff || this.#archive?.isWaiting || this.counting !== undefined) return;
    if (this.#archive?.cache !== cache) this.#archive = this.#archiveIn(cache);
    const archive = this.#archive;
    const spent = this.#milliseconds + this.#aside;
    const isLittle = this.#instructions * WORTH_SAVING <= this.#restored && spent < WORTH_SAVING_TIME;
    const isTooLate = this.#instructions + this.#restored === 0 && this.#sampleCount >= START_SAMPLES;
    if (isTooLate || (this.#instructions > 0 && !isLittle)) {
      this.#countSamples(true);
      const usable = [...this.#regions.all].filter(({ pages }) => pages.every((page) => !this.#written.has(page)));
      const pages = this.#checksums(new Set(usable.flatMap((region) => region.pages)));
      const { targets: cells, helpers, fuses } = this.#regions.links;
      const rest = { cells, helpers, fuses, pages, samples: this.#samplesToKeep() };
      archive.save(new Set(usable.map(({ stored }) => stored)), rest);
    }
    archive.saveMachineCode((region) => this.#regions.functionOf(region));
  }

  /**
   * Takes over the regions of an earlier run, where the code that they were made from is the same: not before the
   * program has run for a moment, since for one that ends sooner they are not worth reading.
   */
  restore(cache: TranslationCache): void {
    this.#archive = this.#archiveIn(cache);
  }

  #archiveIn(cache: TranslationCache): RegionArchive {
    return new RegionArchive(
      cache,
      () => this.now(),
      (message) => this.report(message),
    );
  }

  /** Takes over the regions of an earlier run that wait to be. */
  restoreNow(): void {
    try {
      this.#restoreNow();
    } catch (error) {
      if (this.eager) throw error;
      this.#regions.dropAll();
      this.#archive?.discard();
      this.report(`what an earlier run compiled can't be used (${reasonOf(error)}): it is compiled again`);
    }
  }

  #restoreNow(): void {
    const stored = this.#archive?.load();
    // The cache may have come from another host.
    if (stored === undefined || (stored.fuses !== undefined && stored.fuses !== hostFuses())) return;
    const { modules, cells, helpers, fuses, pages, samples } = stored;
    for (const [start, sampled] of samples) this.#samples.set(start, sampled + (this.#samples.get(start) ?? 0));
    const sampled = [...samples.values()].reduce((sum, each) => sum + each, 0);
    this.#wasTooLate = modules.length === 0 && sampled >= START_SAMPLES;
    const { links } = this.#regions;
    links.fuses = fuses;
    for (const name of helpers) links.helper(name);
    for (const address of cells) links.callCell(address);
    const now = this.#checksums(pages.keys());
    const isCurrent = (page: number): boolean => now.get(page) !== undefined && now.get(page) === pages.get(page);
    for (const { module, regions, slots } of modules) {
      const good = regions.filter((region) => region?.pages.every(isCurrent)) as StoredRegion[];
      this.#regions.addModule(module, good, slots);
      this.#restored += instructionsOf(good);
      this.#restoredRegions += good.length;
    }
  }

  /** Code that is used now and then gets compiled after some runs. */
  #samplesToKeep(): Map<number, number> {
    const isOpen = (start: number): boolean => this.#regions.at(start) === undefined && !this.#refused.has(start);
    return new Map([...this.#samples].filter(([start, samples]) => samples > 1 && isOpen(start)));
  }

  /** Checksums of pages of code that can be executed. */
  #checksums(pages: Iterable<number>): Map<number, bigint> {
    const sums = new Map<number, bigint>();
    for (const page of pages) {
      const bytes = this.#code.pageBytes(page);
      if (bytes !== undefined) sums.set(page, checksum(bytes));
    }
    return sums;
  }

  #invalidate(page: number, start: number, end: number): void {
    this.#written.add(page);
    this.#client?.invalidate(page);
    this.#refused.clear();
    const dropped = this.#regions.dropRange(page, start, end);
    if (dropped.length === 0) return;
    this.#restlessPages.dropped(page, this.#looks);
    // Code elsewhere that jumps to it would be compiled anew each time, together with it.
    for (const region of dropped)
      if (pageOf(region.start) !== page) this.#restlessStarts.dropped(region.start, this.#looks);
  }

  /** Has the code there changed so often, and so lately, that compiling it would be in vain? */
  #isRestless(address: number): boolean {
    return this.#restlessPages.has(pageOf(address), this.#looks) || this.#restlessStarts.has(address, this.#looks);
  }
}

const pageOf = (address: number): number => Math.floor(address / PAGE_SIZE);

function count(counts: Map<number, number>, address: number): number {
  const next = (counts.get(address) ?? 0) + 1;
  counts.set(address, next);
  return next;
}

const instructionsOf = (regions: readonly StoredRegion[]): number =>
  regions.reduce((sum, { instructions }) => sum + instructions, 0);

const reasonOf = (error: unknown): string =>
  error instanceof Error ? `${error.name}: ${error.message}` : String(error);
