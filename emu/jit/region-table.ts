import type { CodeCache } from "../interpreter/code-cache.ts";
import type { HelperLibrary } from "../interpreter/helper-library.ts";
import { FIRST_REGION, REGION_SLOTS } from "../interpreter/slots.ts";
import { PAGE_SIZE } from "../layout.ts";
import { RegionLinks } from "./region-links.ts";
import type { StoredRegion } from "./region-store.ts";

/**
 * Regions of one module may call each other directly, as long as they are in their slots: what takes such a slot must
 * not be taken for them. So slots are free again when all of a module is gone.
 */
interface RegionModule {
  readonly slots: readonly number[];
  regions: number;
}

/** A region in use. */
export interface CompiledRegion extends Omit<StoredRegion, "code"> {
  readonly stored: StoredRegion;
  /** How often it has asked the interpreter for help. */
  helpExits: number;
  readonly module: RegionModule;
}

/** What regions are put into: the tables of wasm, of translated blocks, and of calls' cells in memory. */
export interface RegionPlaces {
  readonly code: CodeCache;
  readonly view: DataView;
  readonly table: WebAssembly.Table;
  readonly imports: WebAssembly.ModuleImports;
  readonly helpers: HelperLibrary;
}

/** Has one of the spans a byte in [start, end)? */
function overlaps(spans: readonly number[], start: number, end: number): boolean {
  for (let i = 0; i < spans.length; i += 2) if (spans[i] < end && spans[i + 1] > start) return true;
  return false;
}

/**
 * The regions in use. All that takes table slots happens between two entries into guest code: no frame of a region that
 * is gone is on the stack then, so that none can take what is in its slot now for what was.
 */
export class RegionTable {
  readonly links = new RegionLinks();
  readonly #places: RegionPlaces;
  /** Regions by the addresses at which they start, and at which they may be entered. */
  readonly #starts = new Map<number, CompiledRegion>();
  readonly #entered = new Map<number, CompiledRegion>();
  readonly #bySlot = new Map<number, CompiledRegion>();
  readonly #byPage = new Map<number, Set<CompiledRegion>>();
  readonly #freeSlots: number[] = [];
  #nextSlot = FIRST_REGION;
  /** Of the links, how many cells and helpers are in use here. */
  #linkedCells = 0;
  #linkedHelpers = 0;

  constructor(places: RegionPlaces) {
    this.#places = places;
  }

  get size(): number {
    return this.#starts.size;
  }

  get all(): Iterable<CompiledRegion> {
    return this.#starts.values();
  }

  /** Can a region be entered here? */
  isEntry(address: number): boolean {
    return this.#entered.has(address);
  }

  /** The region that starts at an address. */
  at(start: number): CompiledRegion | undefined {
    return this.#starts.get(start);
  }

  /** How many regions have the instruction at an address in them and begin elsewhere; `most` if there are more. */
  around(address: number, most: number): number {
    let found = 0;
    for (const { start, spans } of this.#byPage.get(Math.floor(address / PAGE_SIZE)) ?? []) {
      if (start !== address && overlaps(spans, address, address + 1)) found++;
      if (found === most) break;
    }
    return found;
  }

  inSlot(slot: number): CompiledRegion | undefined {
    return this.#bySlot.get(slot);
  }

  /** A stored region's function; null if the region is not in use. */
  functionOf({ start, slot }: StoredRegion): unknown {
    return this.#starts.get(start)?.slot === slot ? this.#places.table.get(slot) : null;
  }

  /** A slot for a region that is going to be compiled; undefined if there is none: all regions have gone then. */
  takeSlot(): number | undefined {
    if (this.#freeSlots.length === 0 && this.#nextSlot >= REGION_SLOTS) this.dropAll();
    return this.#freeSlots.pop() ?? (this.#nextSlot < REGION_SLOTS ? this.#nextSlot++ : undefined);
  }

  /** Gives slots back that came to nothing. */
  giveBack(...slots: number[]): void {
    this.#freeSlots.push(...slots);
  }

  /**
   * Takes a module's regions into use, in place of others that start at their addresses.
   * @param regions those that hold
   * @param slots of all that the module puts into the table
   */
  addModule(module: WebAssembly.Module, regions: readonly StoredRegion[], slots: readonly number[]): void {
    const { imports, table } = this.#places;
    this.#link();
    new WebAssembly.Instance(module, { env: imports });
    const own = { slots, regions: regions.length };
    const used = new Set(regions.map(({ slot }) => slot));
    for (const slot of slots) {
      this.#nextSlot = Math.max(this.#nextSlot, slot + 1);
      if (!used.has(slot)) table.set(slot, null);
    }
    for (const region of regions) {
      const old = this.#starts.get(region.start);
      if (old !== undefined) this.#remove(old);
      this.#add({ ...region, stored: region, helpExits: 0, module: own });
    }
  }

  /** Takes links that have come up into use: cells hold the slots of the regions that there are, helpers are made. */
  #link(): void {
    const { targets, helpers } = this.links;
    for (; this.#linkedCells < targets.length; this.#linkedCells++) {
      const address = targets[this.#linkedCells];
      this.#setCell(address, this.#starts.get(address)?.slot ?? 0);
    }
    for (; this.#linkedHelpers < helpers.length; this.#linkedHelpers++)
      this.#places.helpers.require(helpers[this.#linkedHelpers]);
  }

  #add(region: CompiledRegion): void {
    this.#starts.set(region.start, region);
    this.#bySlot.set(region.slot, region);
    for (const page of region.pages) {
      const set = this.#byPage.get(page);
      if (set === undefined) this.#byPage.set(page, new Set([region]));
      else set.add(region);
    }
    this.#places.code.guard(region.pages);
    for (const [i, address] of region.entries.entries()) this.#install(region, address, i);
  }

  /** @param entry number of the entry, 0 for the start, which comes before another region's middle */
  #install(region: CompiledRegion, address: number, entry: number): void {
    const { code } = this.#places;
    const other = this.#entered.get(address);
    if (other !== undefined && entry !== 0) return;
    if (other !== undefined) code.uninstall(address);
    this.#entered.set(address, region);
    code.install(address, region.slot, entry);
    if (entry === 0) this.#setCell(address, region.slot);
  }

  /** Where direct calls of an address look for its region. */
  #setCell(address: number, slot: number): void {
    const cell = this.links.cellOf(address);
    if (cell !== undefined) this.#places.view.setUint32(cell, slot, true);
  }

  /** Drops what was made from code of a page from `start` on and before `end`, and gives it. */
  dropRange(page: number, start: number, end: number): CompiledRegion[] {
    const dropped = [...(this.#byPage.get(page) ?? [])].filter(({ spans }) => overlaps(spans, start, end));
    for (const region of dropped) this.#remove(region);
    return dropped;
  }

  dropAll(): void {
    for (const region of [...this.#starts.values()]) this.#remove(region);
  }

  #remove(region: CompiledRegion): void {
    const { code, table } = this.#places;
    this.#starts.delete(region.start);
    this.#bySlot.delete(region.slot);
    for (const page of region.pages) this.#byPage.get(page)?.delete(region);
    for (const address of region.entries) {
      if (this.#entered.get(address) !== region) continue;
      this.#entered.delete(address);
      code.uninstall(address);
    }
    this.#setCell(region.start, 0);
    table.set(region.slot, null);
    if (--region.module.regions === 0) this.#freeSlots.push(...region.module.slots);
  }
}
