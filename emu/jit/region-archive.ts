import { checksum } from "../cache/checksum.ts";
import type { TranslationCache } from "../cache/translation-cache.ts";
import {
  forgetRegions,
  hasRegions,
  type LoadedModule,
  loadModule,
  makeModule,
  type StoredModule,
  type StoredRegion,
  type StoredTables,
  storedRegions,
  storeMachineCode,
  storeRegions,
} from "./region-store.ts";

/** Samples before regions are read, bytes (as a power of 2) of them for one: a program that ends sooner does without. */
const FEWEST_SAMPLES = 100;
const BYTES_PER_SAMPLE = 14;
/** A module is kept as long as so many quarters of its functions are in use. */
const QUARTERS_IN_USE = 3;
/** Engines optimize what has run for a while: after a shorter run there is little more of it than before. */
const LONG_RUN_MS = 500;
/** Modules beyond that are put together, from the smallest on: reading each takes its time. */
const MOST_MODULES = 256;

/** Regions of earlier runs in the translation cache, and what becomes of them. */
export class RegionArchive {
  readonly cache: TranslationCache;
  readonly #now: () => number;
  readonly #report: (message: string) => void;
  /** Machine code has failed, and is neither taken nor kept any more. */
  #isWithoutMachineCode = false;
  /** Modules that are in the cache, and those that have come since. */
  #loaded: readonly LoadedModule[] = [];
  #added: LoadedModule[] = [];
  #loadedAt = 0;
  /** There are regions that have not been asked for. */
  #isWaiting: boolean;

  /** @param now a clock in ms @param report takes a line about what goemu can do without */
  constructor(cache: TranslationCache, now: () => number, report: (message: string) => void = () => {}) {
    this.cache = cache;
    this.#now = now;
    this.#report = report;
    this.#isWaiting = hasRegions(cache);
  }

  get isWaiting(): boolean {
    return this.#isWaiting;
  }

  /** Samples of the running program after which it has taken about as long as reading what is there takes. */
  get samplesToWait(): number {
    return Math.max(FEWEST_SAMPLES, this.cache.size >>> BYTES_PER_SAMPLE);
  }

  /** What an earlier run left, once. */
  load(): (StoredTables & { modules: readonly LoadedModule[] }) | undefined {
    if (!this.#isWaiting) return undefined;
    this.#isWaiting = false;
    const stored = storedRegions(this.cache);
    if (stored === undefined) return undefined;
    const modules = stored.modules.flatMap((module) => loadModule(this.cache, module, this.#machineCodeFailed) ?? []);
    this.#loaded = modules;
    this.#loadedAt = this.#now();
    return { ...stored, modules };
  }

  readonly #machineCodeFailed = (error: unknown): void => {
    if (this.#isWithoutMachineCode) return;
    this.#isWithoutMachineCode = true;
    const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    this.#report(`machine code of earlier runs, or for later ones, has failed (${reason}): goemu does without`);
  };

  /** What an earlier run left is of no use. */
  discard(): void {
    this.#isWaiting = false;
    this.#loaded = [];
    forgetRegions(this.cache);
  }

  /** Takes note of a module that has come in this run. @param regions in the order of its functions, without useless ones */
  add(
    module: WebAssembly.Module,
    bytes: Uint8Array,
    regions: readonly (StoredRegion | undefined)[],
    slots: readonly number[],
  ): void {
    this.#added.push({ id: idOf(bytes), bytes: () => bytes, regions, slots, module, machineBytes: 0 });
  }

  /**
   * Leaves regions to the next run: modules as they are, since for those that are made anew the engine has no machine
   * code, as long as they are good, larger than all that is in none, and not too many; and one of all the rest.
   */
  save(regions: ReadonlySet<StoredRegion>, rest: StoredTables): void {
    const live = ({ regions: all }: StoredModule): StoredRegion[] => all.filter((each) => isIn(regions, each));
    const inUse = (module: StoredModule): number => instructionsOf(live(module));
    const kept = new Set([...this.#loaded, ...this.#added]);
    let others = instructionsOf([...regions]);
    for (const module of kept) others -= inUse(module);
    for (const module of [...kept].sort((a, b) => inUse(a) - inUse(b))) {
      const isWorn = live(module).length * 4 < module.regions.length * QUARTERS_IN_USE;
      if ((!isWorn && inUse(module) > others) || module.bytes() === undefined) continue;
      kept.delete(module);
      others += inUse(module);
    }
    const tooMany = kept.size > MOST_MODULES ? kept.size - MOST_MODULES / 2 : 0;
    for (const module of [...kept].sort((a, b) => inUse(a) - inUse(b)).slice(0, tooMany)) kept.delete(module);
    const modules: StoredModule[] = [...kept].map(({ id, bytes, slots, regions: all }) => {
      return { id, bytes, slots, regions: all.map((region) => (isIn(regions, region) ? region : undefined)) };
    });
    const isKept = new Set(modules.flatMap((module) => module.regions));
    const free = [...regions].filter((region) => !isKept.has(region));
    if (free.length > 0) modules.push(makeModule(free, rest.helpers, idOf));
    this.#loaded = [...kept];
    this.#added = [];
    storeRegions(this.cache, modules, rest);
  }

  /** Leaves machine code of what is in the cache to the next run. @param functionOf a region's function, or null if it is not in use */
  saveMachineCode(functionOf: (region: StoredRegion) => unknown): void {
    const isLong = this.#now() - this.#loadedAt > LONG_RUN_MS;
    for (const module of this.#loaded) {
      if (module.machineBytes > 0 && !isLong) continue;
      const functions = module.regions.map((region) => region && functionOf(region)).filter((each) => each != null);
      if (!this.#isWithoutMachineCode) storeMachineCode(this.cache, module, functions, this.#machineCodeFailed);
    }
  }
}

const idOf = (bytes: Uint8Array): string => checksum(bytes).toString(16);

const isIn = (regions: ReadonlySet<StoredRegion>, region: StoredRegion | undefined): region is StoredRegion =>
  region !== undefined && regions.has(region);

const instructionsOf = (regions: readonly StoredRegion[]): number =>
  regions.reduce((sum, { instructions }) => sum + instructions, 0);
