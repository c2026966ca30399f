import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { fixturePath } from "../../fixtures/programs.ts";
import { readExecutable } from "../../loader/elf.ts";
import { SymbolError } from "../../loader/errors.ts";
import { loadFixture } from "../testing.ts";
import { findAddresses } from "./addresses.ts";
import { debugSection, structOffsets } from "./dwarf.ts";
import { GoRuntimeError, layoutOf, minorOf, offsetsFromDwarf, offsetsFromTable, waitReasonsOf } from "./layout.ts";
import { RELEASES } from "./releases.ts";
import { GoRuntime } from "./runtime.ts";

const RELEASE_FIXTURES = [
  "work",
  ...["1.9", "1.11", "1.14", "1.17", "1.19", "1.21", "1.23", "1.25"].map((n) => `work-go${n}`),
];
const executableOf = (name: string) => {
  const path = fixturePath(`bin/${name}`);
  return readExecutable(new Uint8Array(readFileSync(path)), path);
};

describe("layouts", () => {
  it("are the same in the table as in DWARF", () => {
    const offsets = offsetsFromDwarf(executableOf("work"));
    expect(offsets).toBeDefined();
    expect(offsets).toEqual(offsetsFromTable(27));
  });

  it("come from DWARF first, from the release otherwise, and say so when there is neither", () => {
    expect(layoutOf(executableOf("work"), "go1.99").source).toBe("DWARF");
    const stripped = executableOf("work-stripped");
    expect(layoutOf(stripped, "go1.27.4").source).toBe("table");
    expect(() => layoutOf(stripped, "go1.99.1")).toThrow(GoRuntimeError);
    expect(() => layoutOf(stripped, "go1.99.1")).toThrow(/go1\.99\.1 is not known \(goemu knows Go 1\.9 to 1\.27/);
    expect(() => layoutOf(stripped, undefined)).toThrow(/no Go version/);
  });

  it("come from the table where the DWARF is damaged, and a release that is not there is named with the damage", () => {
    const path = fixturePath("bin/work");
    const bytes = new Uint8Array(readFileSync(path));
    const section = readExecutable(bytes, path).sections.find(({ name }) => name === ".debug_info");
    bytes.fill(0xff, (section?.offset ?? 0) + 24, (section?.offset ?? 0) + 200);
    const damaged = readExecutable(bytes, path);
    expect(layoutOf(damaged, "go1.27.4").source).toBe("table");
    expect(() => layoutOf(damaged, "go1.99")).toThrow(
      /go1\.99 is not known .*; its DWARF: \.debug_info does not unpack/,
    );
  });

  it("are not read from DWARF that says nonsense", () => {
    // Each unpacked byte changed in turn: an answer or a SymbolError, never a hang or a crash.
    const executable = executableOf("work");
    const info = debugSection(executable, "info") as Uint8Array;
    const abbrev = debugSection(executable, "abbrev") as Uint8Array;
    const raw = (data: Uint8Array, abbreviations: Uint8Array) => ({
      ...executable,
      bytes: new Uint8Array([...abbreviations, ...data]),
      sections: [
        { ...executable.sections[0], name: ".debug_abbrev", flags: 0, offset: 0, size: abbreviations.length },
        { ...executable.sections[0], name: ".debug_info", flags: 0, offset: abbreviations.length, size: data.length },
      ],
    });
    const small = info.subarray(0, 3000);
    let refused = 0;
    for (let at = 0; at < 600; at++) {
      const data = small.slice();
      const abbreviations = abbrev.slice();
      if (at % 2 === 0) data[at / 2] ^= 0xff;
      else abbreviations[(at - 1) / 2] ^= 0x5a;
      try {
        structOffsets(raw(data, abbreviations), ["runtime.g"]);
      } catch (error) {
        expect(error).toBeInstanceOf(SymbolError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
  });

  it("know each release's wait reasons", () => {
    for (const minor of RELEASES.filter((release) => release >= 11)) {
      expect(waitReasonsOf(minor)).toContain("chan receive");
      expect(waitReasonsOf(minor)[0]).toBe("");
    }
    expect(waitReasonsOf(10)).toEqual([]);
  });

  it("read versions of releases, candidates and development builds", () => {
    expect(["go1.9", "go1.21.13", "go1.26rc1", "devel go1.27-abc123 X:none", "devel +abc"].map(minorOf)).toEqual([
      9,
      21,
      26,
      27,
      undefined,
    ]);
  });
});

describe("addresses", () => {
  it.each(RELEASE_FIXTURES)("are found in the code of %s as its symbols have them", (name) => {
    const { machine } = loadFixture(name);
    const layout = layoutOf(machine.executable, machine.symbols.goVersion);
    const known = findAddresses(machine, layout);
    machine.symbols.symbolAddress = () => undefined;
    const found = findAddresses(machine, layout);
    expect(known.sched).toBeGreaterThan(0);
    expect(found.sched).toBe(known.sched);
    expect(found.allgs).toBe(known.allgs);
    expect(found.allp).toContain(known.allp[0]);
  });
});

describe("GoRuntime", () => {
  const parked = new Set<string>();

  it.each([
    ...RELEASE_FIXTURES,
    "work-stripped",
    "work-nosections",
    "work-static-pie",
  ])("reads %s at the start of main.work", async (name) => {
    const { machine, probes } = loadFixture(name);
    const go = new GoRuntime(machine);
    let seen = 0;
    probes.onFunctionEntry("main.work", (thread) => {
      seen++;
      const g = go.currentG(thread);
      const current = go.goroutine(g);
      expect(current.status).toBe("running");
      expect(current.startFunction).toMatch(/^main\.(work|main·dwrap·\d|main\.func[12]|main\.gowrap[12])$/);
      expect(current.creator).toBe("main.main");
      expect(current.created?.file).toMatch(/main\.go$/);
      expect([16, 17, 18, 19]).toContain(current.created?.line);
      const stack = go.stack(g);
      expect(stack.map((frame) => frame.name)).toContain("main.work");
      expect(stack.at(-1)?.name).toBe("runtime.goexit");
      const all = go.goroutines();
      const main = all.find(({ id }) => id === 1);
      expect(main?.startFunction).toBe("runtime.main");
      expect(["waiting", "runnable", "running"]).toContain(main?.status);
      expect(all.map((other) => other.startFunction)).toContain("runtime.forcegchelper");
      const forcegc = all.find((other) => other.startFunction === "runtime.forcegchelper");
      // On a busy host it may not have come to run yet.
      if (forcegc?.status === "waiting") {
        parked.add(name);
        expect(forcegc.waitReason).toMatch(/^force gc \(idle\)$/);
        const names = go.stack(forcegc.address).map((frame) => frame.name);
        expect(names.slice(-2)).toEqual(["runtime.forcegchelper", "runtime.goexit"]);
        expect(names[0]).toMatch(/^runtime\.gopark/);
      } else expect(["runnable", "running"]).toContain(forcegc?.status);
      const ps = go.processors();
      expect(ps.map(({ id }) => id)).toEqual([0, 1]);
      const own = ps.find(({ address }) => address === go.currentP(thread));
      expect(own?.status).toBe("running");
      expect(own?.m).toBe(go.currentM(thread));
      expect(go.threads().find(({ address }) => address === go.currentM(thread))?.tid).toBe(thread.tid);
      const scheduler = go.scheduler();
      // One may be on its way to a thread already.
      expect(scheduler.idlePs).toBeLessThanOrEqual(ps.filter(({ status }) => status === "idle").length);
      const queued = [...scheduler.runQueue, ...ps.flatMap(({ runNext, runQueue }) => [runNext, ...runQueue])];
      for (const waiting of queued.filter((address) => address !== 0)) {
        expect(go.goroutine(waiting).status).toBe("runnable");
      }
    });
    await machine.run();
    expect(seen).toBe(2);
  });

  it("has read a goroutine that waits in most of them", () => {
    expect(parked.size).toBeGreaterThan((RELEASE_FIXTURES.length + 3) / 2);
  });

  it.each([
    ["work", "list"],
    ["work-go1.19", "map"],
  ])("reads the labels of a goroutine of %s: a %s", async (name, form) => {
    const { machine, probes } = loadFixture(name);
    const go = new GoRuntime(machine);
    const { memory } = machine;
    const seen: unknown[] = [];
    probes.onFunctionEntry("main.work", (thread) => {
      const g = go.currentG(thread);
      expect(go.labels(g)).toEqual(new Map());
      const at = memory.space.map({ address: 0, length: 4096, prot: 3 });
      const string = (place: number, text: string, data: number): void => {
        memory.writeBytes(data, new TextEncoder().encode(text));
        memory.writeU64(place, BigInt(data));
        memory.writeU64(place + 8, BigInt(text.length));
      };
      if (form === "list") {
        for (const [i, value] of [at + 64, 1, 1].entries()) memory.writeU64(at + i * 8, BigInt(value));
        string(at + 64, "kind", at + 1024);
        string(at + 80, "parser", at + 1040);
      } else {
        // *labelMap → hmap (count, flags and B, buckets) → a bucket whose second slot is taken.
        memory.writeU64(at, BigInt(at + 64));
        memory.writeU64(at + 64, 1n);
        memory.writeU64(at + 80, BigInt(at + 256));
        memory.writeU8(at + 257, 77);
        string(at + 256 + 8 + 16, "kind", at + 1024);
        string(at + 256 + 8 + 128 + 16, "parser", at + 1040);
      }
      const field = g + (go.layout.offsets["g.labels"] ?? 0);
      memory.writeU64(field, BigInt(at));
      seen.push(Object.fromEntries(go.labels(g)));
      memory.writeU64(field, 0n);
    });
    await machine.run();
    expect(seen).toEqual([{ kind: "parser" }, { kind: "parser" }]);
  });

  it("shows inlined calls as frames of their own", async () => {
    const { machine, probes } = loadFixture("work-opt");
    const go = new GoRuntime(machine);
    const traces: string[][] = [];
    probes.onFunctionEntry("fmt.Fprintf", (thread) =>
      traces.push(go.threadStack(thread).map(({ name }) => name ?? "?")),
    );
    await machine.run();
    // fmt.Printf is inlined into main.work.
    expect(traces[0].slice(0, 3)).toEqual(["fmt.Fprintf", "fmt.Printf", "main.work"]);
  });
});
