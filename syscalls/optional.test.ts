// What the guest can do without: where it fails, a line says so, and the guest goes on to its own end.
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it, vi } from "vitest";
import { MemoryTranslationCache } from "../emu/cache/translation-cache.ts";
import { fixturePath } from "../fixtures/programs.ts";
import { MemoryHost } from "../host/memory/memory-host.ts";
import { PcLineTable } from "../loader/symbols/pclntab.ts";
import { SchedulerEvents } from "../observe/go/scheduler-events.ts";
import { Profiler } from "../observe/profile/profiler.ts";
import { Road } from "../observe/road/road.ts";
import { CacheError, Machine, type MachineOptions } from "./machine.ts";

const program = readFileSync(fixturePath("bin/work"));
const fail = (): never => {
  throw new TypeError("a bug");
};
afterEach(() => void vi.restoreAllMocks());

function machineWith(options: Partial<MachineOptions>): { machine: Machine; host: MemoryHost; reports: string[] } {
  const host = new MemoryHost();
  const reports: string[] = [];
  const report = (message: string): void => void reports.push(message);
  const machine = new Machine({ program, path: "work", host, report, ...options });
  return { machine, host, reports };
}

async function expectWork({ machine, host }: { machine: Machine; host: MemoryHost }): Promise<void> {
  expect(await machine.run()).toEqual({ kind: "exited", status: 0 });
  expect(host.text("stdout").split("\n").filter(Boolean)).toHaveLength(3);
}

const LINE = "its symbols can't be read everywhere (TypeError: a bug): names and lines are missing there";

describe("a guest does without", () => {
  it("symbols", async () => {
    vi.spyOn(PcLineTable.prototype, "indexOf").mockImplementation(fail);
    const made = machineWith({});
    await expectWork(made);
    expect(made.machine.symbols.lookup(made.machine.executable.entry)).toBeUndefined();
    expect(made.machine.symbols.isCompiledGo(made.machine.executable.entry)).toBe(false);
    // Once, however often they are asked.
    expect(made.reports).toEqual([LINE]);
  });

  it("inlining trees, under road and profile too", async () => {
    const { machine, host, reports } = machineWith({});
    const road = new Road(new SchedulerEvents(machine));
    vi.spyOn(PcLineTable.prototype, "nameAt").mockImplementation(fail);
    await expectWork({ machine, host });
    expect([...road.nodes].length).toBeGreaterThan(3);
    expect(reports).toEqual([LINE]);
    vi.restoreAllMocks();
    const other = machineWith({});
    const profiler = new Profiler(other.machine, { byGoroutine: false });
    vi.spyOn(PcLineTable.prototype, "nameAt").mockImplementation(fail);
    await expectWork(other);
    const { instructions } = other.machine.process;
    const counted = profiler.finish();
    expect(instructions).toBeGreaterThan(100_000);
    expect(counted).toBeDefined();
    expect(other.reports).toEqual([LINE]);
  });

  it("a cache", () => {
    const cache = new MemoryTranslationCache([["records", new Uint8Array(8)]]);
    cache.section = fail;
    expect(() => machineWith({ cache })).toThrow(CacheError);
    // What can't be used is not there for the next run.
    expect(cache.sections.size).toBe(0);
  });
});
