import { describe, expect, it } from "vitest";
import { SchedulerEvents } from "../go/scheduler-events.ts";
import { loadFixture } from "../testing.ts";
import { ChromeTrace } from "./chrome.ts";
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
