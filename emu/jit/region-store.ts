import type { TranslationCache } from "../cache/translation-cache.ts";
import { type FunctionBody, readBodies } from "../wasm/module.ts";
import { type CallSite, type RegionFunction, regionModule } from "./region-module.ts";

/** A compiled region, as far as it can outlive the run. */
export interface StoredRegion {
  readonly start: number;
  /** Addresses at which it may be entered, the start first. */
  readonly entries: readonly number[];
  readonly slot: number;
  readonly pages: readonly number[];
  /** The code that it was made from: starts and ends by turns. */
  readonly spans: readonly number[];
  readonly patient: boolean;
  readonly instructions: number;
  readonly code: RegionFunction;
}

/** A module with regions' functions. */
export interface StoredModule {
  /** Checksum of its bytes: they are a section of this name, and what the host's engine made of them is another. */
  readonly id: string;
  /** They are read again when they are wanted. */
  readonly bytes: () => Uint8Array | undefined;
  /** In the order of the functions, without those that are of no use any more. */
  readonly regions: readonly (StoredRegion | undefined)[];
  /** Table slots of all functions: those of no use are not to be taken by others, which might be called for them. */
  readonly slots: readonly number[];
}

/** All that regions depend on beside the code that they were made from. */
export interface StoredTables {
  /** Targets of direct calls, in the order of their cells. */
  readonly cells: readonly number[];
  /** Helpers, in the order in which modules of regions import them. */
  readonly helpers: readonly string[];
  /** Whether the host's relaxed_madd rounds once, if any region has asked. */
  readonly fuses: boolean | undefined;
  /** Checksums of the pages of code. */
  readonly pages: ReadonlyMap<number, bigint>;
  /** How often functions were found running that are not compiled yet, by address. */
  readonly samples: ReadonlyMap<number, number>;
}

/** As JSON: the tables are small beside the code. The functions are in the modules, in the same order. */
interface Tables {
  readonly modules: readonly { readonly id: string; readonly regions: readonly Row[] }[];
  readonly cells: readonly number[];
  readonly helpers: readonly string[];
  readonly fuses?: boolean | undefined;
  readonly pages: readonly (readonly [page: number, checksum: string])[];
  readonly samples: readonly (readonly [address: number, count: number])[];
}

interface RegionRow extends Omit<StoredRegion, "code"> {
  readonly name: string;
  readonly calls: readonly number[];
}

/** A region, or the slot of a function that is of no use. */
type Row = RegionRow | number;

/** Sections of the translation cache: what the regions are, their functions, what the engine has made of these. */
const TABLES_SECTION = "region tables";
const codeSection = (id: string): string => `region code ${id}`;
const machineSection = (id: string): string => `machine code ${id}`;

/** Machine code is written again if it has grown by more than one part in so many. */
const MORE = 50;

/** Leaves regions to the next run. Modules that are in the cache already are not written again, others go. */
export function storeRegions(cache: TranslationCache, modules: readonly StoredModule[], rest: StoredTables): void {
  const before = tablesOf(cache)?.modules.map(({ id }) => id) ?? [];
  const { cells, helpers, fuses } = rest;
  const pages = [...rest.pages].map(([page, checksum]) => [page, checksum.toString(16)] as const);
  const rows = modules.map(({ id, regions, slots }) => ({
    id,
    regions: regions.map((region, i) => (region === undefined ? slots[i] : rowOf(region))),
  }));
  const tables: Tables = { modules: rows, cells, helpers, fuses, pages, samples: [...rest.samples] };
  cache.put(TABLES_SECTION, new TextEncoder().encode(JSON.stringify(tables)));
  for (const { id, bytes } of modules) {
    const made = before.includes(id) ? undefined : bytes();
    if (made !== undefined) cache.put(codeSection(id), made);
  }
  for (const id of before) {
    if (modules.some((module) => module.id === id)) continue;
    cache.delete(codeSection(id));
    cache.delete(machineSection(id));
  }
}

/** What `storeRegions` was given by an earlier run. */
export function storedRegions(cache: TranslationCache): (StoredTables & { modules: StoredModule[] }) | undefined {
  const tables = tablesOf(cache);
  if (tables === undefined) return undefined;
  const modules = tables.modules.map(({ id, regions }) => {
    const bytes = (): Uint8Array | undefined => cache.section(codeSection(id));
    const slots = regions.map((row) => (typeof row === "number" ? row : row.slot));
    return { id, bytes, regions: regionsOf(regions, bytes), slots };
  });
  const pages = new Map(tables.pages.map(([page, checksum]) => [page, BigInt(`0x${checksum}`)]));
  const { cells, helpers, fuses } = tables;
  return { modules, cells, helpers, fuses, pages, samples: new Map(tables.samples) };
}

/** Has an earlier run left regions? */
export const hasRegions = (cache: TranslationCache): boolean => cache.section(TABLES_SECTION) !== undefined;

/** Has the next run do without the regions that there are. */
export const forgetRegions = (cache: TranslationCache): void => cache.delete(TABLES_SECTION);

/** A module as the engine has it. */
export interface LoadedModule extends StoredModule {
  readonly module: WebAssembly.Module;
  /** Bytes of machine code that it came with. */
  readonly machineBytes: number;
}

/** A stored module, with machine code if there is some for this engine; undefined if the module is damaged. @param failed told of an error where the engine is to take it back */
export function loadModule(
  cache: TranslationCache,
  stored: StoredModule,
  failed: (error: unknown) => void,
): LoadedModule | undefined {
  const bytes = stored.bytes() as Uint8Array<ArrayBuffer> | undefined;
  if (bytes === undefined) return undefined;
  const code = cache.machineCode === undefined ? undefined : cache.section(machineSection(stored.id));
  const module = code && optional(failed, () => cache.machineCode?.module(code, bytes));
  if (code !== undefined && module !== undefined) return { ...stored, module, machineBytes: code.length };
  return { ...stored, module: new WebAssembly.Module(bytes), machineBytes: 0 };
}

function optional<T>(failed: (error: unknown) => void, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    failed(error);
    return undefined;
  }
}

/** Keeps a module's machine code, if there is notably more than the last time. @param functions of the module */
export function storeMachineCode(
  cache: TranslationCache,
  loaded: LoadedModule,
  functions: Iterable<unknown>,
  failed: (error: unknown) => void,
): void {
  const code = optional(failed, () => cache.machineCode?.of(loaded.module, functions));
  const enough = loaded.machineBytes * (1 + 1 / MORE);
  if (code !== undefined && code.length > enough) cache.put(machineSection(loaded.id), code);
}

/** A module for regions that are not in one, or not in one that is to be kept. @param id checksum of bytes */
export function makeModule(
  regions: readonly StoredRegion[],
  helpers: readonly string[],
  id: (bytes: Uint8Array) => string,
): StoredModule {
  const bytes = regionModule(
    regions.map((region) => region.code),
    helpers,
  );
  return { id: id(bytes), bytes: () => bytes, regions, slots: regions.map(({ slot }) => slot) };
}

function tablesOf(cache: TranslationCache): Tables | undefined {
  const section = cache.section(TABLES_SECTION);
  return section && (JSON.parse(new TextDecoder().decode(section)) as Tables);
}

function rowOf({ start, entries, slot, pages, spans, patient, instructions, code }: StoredRegion): RegionRow {
  const calls = code.calls.flatMap(({ target, slotAt, indexAt }) => [target, slotAt, indexAt]);
  return { start, entries, slot, pages, spans, patient, instructions, name: code.name, calls };
}

function regionsOf(rows: readonly Row[], module: () => Uint8Array | undefined): (StoredRegion | undefined)[] {
  const bodies = functionsOf(module);
  const functionOf = ({ name, calls, ...region }: RegionRow, i: number): StoredRegion => ({
    ...region,
    code: {
      start: region.start,
      slot: region.slot,
      name,
      get calls(): CallSite[] {
        return Array.from({ length: calls.length / 3 }, (_, k) => {
          const [target, slotAt, indexAt] = calls.slice(3 * k, 3 * k + 3);
          return { target, slotAt, indexAt };
        });
      },
      get body(): FunctionBody {
        return bodies(i);
      },
    },
  });
  return rows.map((row, i) => (typeof row === "number" ? undefined : functionOf(row, i)));
}

/** The functions of a module of regions: they are looked for when somebody wants to put them into another one. */
export function functionsOf(module: () => Uint8Array | undefined): (index: number) => FunctionBody {
  let bodies: FunctionBody[] | undefined;
  return (index) => {
    bodies ??= readBodies(module() ?? new Uint8Array(0));
    return bodies[index];
  };
}
