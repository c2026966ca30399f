import { type FunctionBody, readBodies } from "../wasm/module.ts";
import { type CallSite, type RegionFunction, regionModule } from "./region-module.ts";

/** A compiled region, as far as it can outlive the run. */
export interface StoredRegion {
  readonly start: number;
  /** Addresses at which it may be entered, the start first. */
  readonly entries: readonly number[];
  readonly slot: number;
  readonly pages: readonly number[];
  readonly patient: boolean;
  readonly instructions: number;
  readonly code: RegionFunction;
}

/** All that regions depend on beside the code that they were made from. */
export interface StoredRegions {
  readonly regions: readonly StoredRegion[];
  /** Targets of direct calls, in the order of their cells. */
  readonly cells: readonly number[];
  /** Helpers, in the order in which modules of regions import them. */
  readonly helpers: readonly string[];
  /** Whether the host's relaxed_madd rounds once, if any region has asked. */
  readonly fuses: boolean | undefined;
  /** Checksums of the pages of code. */
  readonly pages: ReadonlyMap<number, bigint>;
}

/** As JSON: the tables are small beside the code. The functions are in the module, in the same order. */
interface Tables {
  readonly regions: readonly (Omit<StoredRegion, "code"> & { readonly name: string; readonly calls: number[] })[];
  readonly cells: readonly number[];
  readonly helpers: readonly string[];
  readonly fuses?: boolean | undefined;
  readonly pages: readonly (readonly [page: number, checksum: string])[];
}

/** Two sections for the translation cache: tables, and a module with all regions' functions. */
export function packRegions(stored: StoredRegions): { tables: Uint8Array; module: Uint8Array } {
  const { cells, helpers, fuses, pages } = stored;
  const code = stored.regions.map((region) => region.code);
  const regions = stored.regions.map(({ start, entries, slot, pages: own, patient, instructions }, i) => {
    const calls = code[i].calls.flatMap(({ target, slotAt, indexAt }) => [target, slotAt, indexAt]);
    return { start, entries, slot, pages: own, patient, instructions, name: code[i].name, calls };
  });
  const sums = [...pages].map(([page, checksum]) => [page, checksum.toString(16)] as const);
  const tables: Tables = { regions, cells, helpers, fuses, pages: sums };
  return { tables: new TextEncoder().encode(JSON.stringify(tables)), module: regionModule(code, helpers) };
}

/** What `packRegions` was given. */
export function unpackRegions(section: Uint8Array, module: Uint8Array): StoredRegions {
  const tables = JSON.parse(new TextDecoder().decode(section)) as Tables;
  // Looked for when somebody wants to save the functions again.
  let bodies: FunctionBody[] | undefined;
  return {
    regions: tables.regions.map(({ name, calls, ...region }, i) => ({
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
          bodies ??= readBodies(module);
          return bodies[i];
        },
      },
    })),
    cells: tables.cells,
    helpers: tables.helpers,
    fuses: tables.fuses,
    pages: new Map(tables.pages.map(([page, checksum]) => [page, BigInt(`0x${checksum}`)])),
  };
}
