import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SchedulerEvents } from "../go/scheduler-events.ts";
import { loadFixture } from "../testing.ts";
import { ChromeTrace } from "./chrome.ts";
import { GoTrace } from "./go-trace.ts";
import { Timeline } from "./timeline.ts";

interface TraceEvent {
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
  readonly name: string;
  readonly cat: string;
  readonly id: number;
  readonly args: Record<string, unknown>;
}

async function trace(
  fixture: string,
  args: readonly string[] = [],
): Promise<{ events: TraceEvent[]; largest: number; stdout: string }> {
  const { machine, stdout } = loadFixture(fixture, args);
  let text = "";
  let largest = 0;
  const sink = new ChromeTrace((piece) => {
    text += piece;
    largest = Math.max(largest, piece.length);
  });
  const timeline = new Timeline(new SchedulerEvents(machine), sink);
  await machine.run();
  timeline.close();
  sink.close();
  const { traceEvents } = JSON.parse(text) as { traceEvents: TraceEvent[] };
  expect(sink.count).toBe(traceEvents.length);
  return { events: traceEvents, largest, stdout: stdout() };
}

const THREADS = 1;
const PROCESSORS = 2;
const GOROUTINES = 3;
const GC = 4;

const go = spawnSync("go", ["version"], { env: { ...process.env, GOTOOLCHAIN: "local" } }).status === 0;

/** What `go tool trace` reads in a trace, an event a line; throws where the trace breaks the scheduler's rules. */
function readByGo(bytes: Uint8Array): string[] {
  const directory = mkdtempSync(join(tmpdir(), "goemu-"));
  try {
    const file = join(directory, "run.trace");
    writeFileSync(file, bytes);
    const env = { ...process.env, GOTOOLCHAIN: "local" };
    const { stdout, stderr, status } = spawnSync("go", ["tool", "trace", "-d=parsed", file], {
      encoding: "utf8",
      env,
      maxBuffer: 1 << 28,
    });
    if (status !== 0) throw new Error(stderr);
    return stdout.split("\n");
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function goTrace(fixture: string, args: readonly string[] = []): Promise<Uint8Array> {
  const { machine } = loadFixture(fixture, args);
  const pieces: Uint8Array[] = [];
  const recorded = new GoTrace(new SchedulerEvents(machine), (bytes) => pieces.push(bytes.slice()));
  await machine.run();
  recorded.close();
  return new Uint8Array(Buffer.concat(pieces));
}

describe("Go's execution trace", () => {
  it("has the header and the batches of the format, none larger than it may be", async () => {
    const bytes = await goTrace("concurrency", ["channels"]);
    expect(new TextDecoder().decode(bytes.subarray(0, 16))).toBe("go 1.22 trace\0\0\0");
    let at = 16;
    const uvarint = (): number => {
      let value = 0;
      for (let shift = 0; ; shift += 7) {
        const byte = bytes[at++];
        value += (byte & 0x7f) * 2 ** shift;
        if (byte < 0x80) return value;
      }
    };
    const kinds = new Set<number>();
    while (at < bytes.length) {
      expect(bytes[at++]).toBe(1);
      expect(uvarint()).toBe(1);
      uvarint();
      uvarint();
      const size = uvarint();
      expect(size).toBeLessThanOrEqual(65_536);
      kinds.add(bytes[at]);
      at += size;
    }
    expect(at).toBe(bytes.length);
    // Stacks, strings, frequency, and a P's status at the start of the first thread's events.
    expect([...kinds]).toEqual(expect.arrayContaining([2, 4, 8, 13]));
  });

  it.runIf(go).each([
    ["work", []],
    ["work-go1.9", []],
    ["work-stripped", []],
    ["concurrency", ["channels"]],
    ["concurrency", ["lockosthread"]],
    ["concurrency", ["pipes"]],
    ["runtime", ["gc"]],
  ])("of %s %j follows the scheduler's rules as go tool trace checks them", async (fixture, args) => {
    const lines = readByGo(await goTrace(fixture, args));
    expect(lines.some((line) => line.includes("GoID=1 Runnable->Running"))).toBe(true);
    expect(lines.some((line) => line.includes("ProcID=0 Idle->Running"))).toBe(true);
    if (fixture === "work") {
      expect(lines.filter((line) => line.includes("NotExist->Runnable")).length).toBeGreaterThanOrEqual(7);
      expect(lines.some((line) => /Running->Waiting Reason="sync\.WaitGroup\.Wait"/.test(line))).toBe(true);
      expect(lines.some((line) => line.includes("main.work @ 0x"))).toBe(true);
    }
    if (fixture === "runtime") expect(lines.some((line) => line.includes("RangeBegin"))).toBe(true);
  });
});

describe("Chrome trace", () => {
  it("has named tracks for threads, Ps and goroutines", async () => {
    const { events } = await trace("work");
    const names = (pid: number): unknown[] =>
      events
        .filter((event) => event.ph === "M" && event.pid === pid && event.name === "thread_name")
        .map(({ args }) => args.name);
    expect(names(PROCESSORS).toSorted()).toEqual(["P0", "P1"]);
    expect(names(GOROUTINES)).toContain("G1 runtime.main");
    expect((names(GOROUTINES) as string[]).filter((name) => name.endsWith(" main.work"))).toHaveLength(2);
    expect(names(THREADS).length).toBeGreaterThanOrEqual(3);
    const groups = events.filter(({ name }) => name === "process_name").map(({ args }) => args.name);
    expect(groups).toEqual(["Threads (M)", "Processors (P)", "Goroutines (G)", "Garbage collector"]);
  });

  it("has slices that follow each other on goroutines and Ps, and nest on threads", async () => {
    const { events } = await trace("work");
    const slices = events.filter(({ ph }) => ph === "X");
    for (const { ts, dur } of slices) expect(ts >= 0 && dur >= 0).toBe(true);
    const tracks = Map.groupBy(slices, ({ pid, tid }) => `${pid}/${tid}`);
    for (const [track, list] of tracks) {
      const sorted = list.toSorted((a, b) => a.ts - b.ts || b.dur - a.dur);
      const open: number[] = [];
      for (const { ts, dur } of sorted) {
        while (open.length > 0 && (open.at(-1) as number) <= ts + 0.002) open.pop();
        if (!track.startsWith(`${THREADS}/`)) expect(open, track).toEqual([]);
        else if (open.length > 0) expect(ts + dur).toBeLessThanOrEqual((open.at(-1) as number) + 0.002);
        open.push(ts + dur);
      }
    }
    const calls = slices.filter(({ cat }) => cat === "syscall").map(({ name }) => name);
    expect(calls).toEqual(expect.arrayContaining(["mmap", "clone", "rt_sigaction", "write"]));
    const running = slices.filter(({ pid, cat }) => pid === GOROUTINES && cat === "running");
    const total = running.reduce((sum, { args }) => sum + ((args.instructions as number | undefined) ?? 0), 0);
    expect(total).toBeGreaterThan(10_000);
  });

  it("has an arrow from each go statement and each waker to the run that follows", async () => {
    const { events } = await trace("work");
    const starts = new Map(events.filter(({ ph }) => ph === "s").map((event) => [event.id, event]));
    const ends = events.filter(({ ph }) => ph === "f");
    expect(ends.length).toBe(starts.size);
    expect([...starts.values()].filter(({ name }) => name === "go").length).toBeGreaterThanOrEqual(6);
    expect([...starts.values()].some(({ name }) => name === "wake")).toBe(true);
    const slices = events.filter(({ ph }) => ph === "X");
    for (const end of ends) {
      expect(starts.get(end.id)?.ts).toBeLessThanOrEqual(end.ts);
      const target = slices.find(
        ({ pid, tid, ts, cat }) => pid === end.pid && tid === end.tid && ts === end.ts && cat === "running",
      );
      expect(target).toBeDefined();
    }
  });

  it("shows garbage collections and stops of the world", async () => {
    const { events } = await trace("runtime", ["gc"]);
    const gc = events.filter(({ ph, pid }) => ph === "X" && pid === GC).map(({ name }) => name);
    expect(gc).toEqual(expect.arrayContaining(["GC: mark", "GC: mark termination", "stop the world"]));
  });

  it("is written in pieces, and the guest's output is what it is without", async () => {
    const { events, largest, stdout } = await trace("concurrency", ["unbuffered"]);
    expect(events.length).toBeGreaterThan(100);
    expect(largest).toBeLessThan(4096);
    const plain = loadFixture("concurrency", ["unbuffered"]);
    await plain.machine.run();
    expect(stdout).toBe(plain.stdout());
  });
});
