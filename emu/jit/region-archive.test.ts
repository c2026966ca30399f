// Which modules of regions are kept for the next run, and which are made anew.
import { describe, expect, it } from "vitest";
import { MemoryTranslationCache } from "../cache/translation-cache.ts";
import { RegionArchive } from "./region-archive.ts";
import { regionModule } from "./region-module.ts";
import type { StoredRegion, StoredTables } from "./region-store.ts";

const REST: StoredTables = {
  cells: [0x40_1000],
  helpers: [],
  fuses: undefined,
  pages: new Map([[0x401, 7n]]),
  samples: new Map([[0x40_2000, 3]]),
};

/** A region whose function returns its second and third argument; `instructions` is what it counts as. */
function regionAt(start: number, instructions: number): StoredRegion {
  const body = { code: Uint8Array.of(0, 0x20, 1, 0x20, 2, 0x0b), hints: new Uint8Array(0) };
  const code = { start, slot: start & 0xfff, name: `region@${start.toString(16)}`, body, calls: [] };
  const places = { pages: [start >> 12], spans: [start, start + 1] };
  return { start, entries: [start], slot: code.slot, ...places, patient: false, instructions, code };
}

/** A cache whose engine has machine code for every module with a function. */
function machineCodeCache(): MemoryTranslationCache {
  return new MemoryTranslationCache([], {
    of: (_module, functions) => ([...functions].length === 0 ? undefined : new Uint8Array(64)),
    module: (_code, bytes) => new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>),
  });
}

/** A run of the program: takes over what is there, adds regions, drops some, saves; gives the modules that are there. */
function run(cache: MemoryTranslationCache, added: StoredRegion[], dropped: number[] = []): string[][] {
  const archive = new RegionArchive(cache, () => 0);
  const restored = archive.load()?.modules.flatMap(({ regions }) => regions) ?? [];
  const all = [...restored, ...added].filter((region) => region !== undefined && !dropped.includes(region.start));
  const isNew = added.length > 0 || dropped.length > 0;
  if (isNew) archive.save(new Set(all as StoredRegion[]), REST);
  archive.saveMachineCode(({ start }) => (dropped.includes(start) ? null : () => start));
  return modulesOf(cache);
}

function modulesOf(cache: MemoryTranslationCache): string[][] {
  const modules = new RegionArchive(cache, () => 0).load()?.modules ?? [];
  return modules.map(({ regions }) => regions.map((region) => region?.code.name ?? "-"));
}

const names = (cache: MemoryTranslationCache, kind: string): string[] =>
  [...cache.sections.keys()].filter((name) => name.startsWith(kind)).sort();

describe("regions of earlier runs", () => {
  it("wait until they are asked for, and come back as they were", () => {
    const cache = new MemoryTranslationCache();
    const region = regionAt(0x40_1010, 100);
    expect(run(cache, [region])).toEqual([["region@401010"]]);
    const archive = new RegionArchive(cache, () => 0);
    expect(archive.isWaiting).toBe(true);
    // As long as reading them takes, and a moment at least.
    expect(archive.samplesToWait).toBe(100);
    const large = new MemoryTranslationCache([["records", new Uint8Array(0x400_0000)]]);
    expect(new RegionArchive(large, () => 0).samplesToWait).toBe(4096);
    const stored = archive.load();
    expect(archive.isWaiting).toBe(false);
    expect(archive.load()).toBeUndefined();
    expect(stored).toMatchObject(REST);
    const back = stored?.modules[0].regions[0] as StoredRegion;
    expect({ ...back, code: undefined }).toEqual({ ...region, code: undefined });
    expect(back.code.body).toEqual(region.code.body);
  });

  it("stay in their module while what is new is less, and go into one with it when it is as much", () => {
    const cache = machineCodeCache();
    run(cache, [regionAt(0x40_1000, 1000), regionAt(0x40_1100, 1000)]);
    const [large] = names(cache, "region code");
    expect(run(cache, [regionAt(0x40_1200, 100)])).toHaveLength(2);
    expect(names(cache, "machine code")).toEqual([large.replace("region", "machine")]);
    // The small ones become one; the large one is not touched.
    expect(run(cache, [regionAt(0x40_1300, 150)])).toEqual([
      ["region@401000", "region@401100"],
      ["region@401200", "region@401300"],
    ]);
    expect(names(cache, "region code")).toContain(large);
    expect(names(cache, "machine code")).toContain(large.replace("region", "machine"));
    const all = run(cache, [regionAt(0x40_1400, 1900)]);
    expect(all.map((regions) => regions.length)).toEqual([5]);
    expect(names(cache, "region code")).not.toContain(large);
    // Machine code of modules that are gone goes with them.
    expect(names(cache, "machine code")).toEqual([]);
    run(cache, []);
    expect(names(cache, "machine code")).toHaveLength(1);
  });

  it("stay in the modules that another thread made, with machine code at once, until these are too many", () => {
    const cache = machineCodeCache();
    const runWith = (count: number, from: number): string[][] => {
      const archive = new RegionArchive(cache, () => 0);
      const restored = archive.load()?.modules.flatMap(({ regions }) => regions) ?? [];
      const added = Array.from({ length: count }, (_, i) => regionAt(from + 0x10 * i, 10 + i));
      for (const region of added) {
        const bytes = regionModule([region.code], []) as Uint8Array<ArrayBuffer>;
        archive.add(new WebAssembly.Module(bytes), bytes, [region], [region.slot]);
      }
      archive.save(new Set([...restored, ...added] as StoredRegion[]), REST);
      archive.saveMachineCode(() => () => 0);
      return modulesOf(cache);
    };
    expect(runWith(250, 0x40_0000)).toHaveLength(250);
    expect(names(cache, "machine code")).toHaveLength(250);
    // Of 260, the smallest go into one.
    const modules = runWith(10, 0x41_0000);
    expect(modules).toHaveLength(129);
    expect(modules.flat()).toHaveLength(260);
    expect(modules[128]).toHaveLength(132);
    expect(modules[128]).toContain("region@400000");
    expect(names(cache, "machine code")).toHaveLength(128);
  });

  it("leave no machine code of a module that is not in the cache", () => {
    const cache = machineCodeCache();
    run(cache, [regionAt(0x40_1000, 1000)]);
    const archive = new RegionArchive(cache, () => 0);
    archive.load();
    const region = regionAt(0x40_1100, 1);
    const bytes = regionModule([region.code], []) as Uint8Array<ArrayBuffer>;
    archive.add(new WebAssembly.Module(bytes), bytes, [region], [region.slot]);
    // Too little has come for the tables to be written again.
    archive.saveMachineCode(() => () => 0);
    const inCache = names(cache, "region code").map((name) => name.replace("region", "machine"));
    expect(inCache).toHaveLength(1);
    expect(names(cache, "machine code")).toEqual(inCache);
  });

  it("leave gaps in a module that is kept, until it is worn", () => {
    const cache = machineCodeCache();
    const regions = [0x40_1000, 0x40_1100, 0x40_1200, 0x40_1300, 0x40_1400].map((start) => regionAt(start, 200));
    run(cache, regions);
    const [module] = names(cache, "region code");
    expect(run(cache, [], [0x40_1100])).toEqual([
      ["region@401000", "-", "region@401200", "region@401300", "region@401400"],
    ]);
    expect(names(cache, "region code")).toEqual([module]);
    // Its slot stays taken.
    const slots = regions.map(({ slot }) => slot);
    expect(new RegionArchive(cache, () => 0).load()?.modules[0].slots).toEqual(slots);
    // The gap does not move the others: bodies are found by their place.
    expect(run(cache, [], [0x40_1400])).toEqual([["region@401000", "region@401200", "region@401300"]]);
    expect(names(cache, "region code")).not.toContain(module);
    for (const name of modulesOf(cache)[0]) expect(name).not.toBe("-");
  });

  it("are done without where a module is damaged", () => {
    const cache = new MemoryTranslationCache();
    run(cache, [regionAt(0x40_1000, 1000)]);
    cache.sections.delete(names(cache, "region code")[0]);
    expect(modulesOf(cache)).toEqual([]);
    expect(run(cache, [regionAt(0x40_1200, 10)])).toEqual([["region@401200"]]);
  });
});
