import { describe, expect, it } from "vitest";
import { SchedulerEvents } from "../go/scheduler-events.ts";
import { loadFixture } from "../testing.ts";
import { printRoad, type RoadFilter, roadJson } from "./print.ts";
import { Road, type RoadNode } from "./road.ts";

async function record(fixture: string, args: readonly string[] = [], env: readonly string[] = []): Promise<Road> {
  const { machine } = loadFixture(fixture, args, env);
  const road = new Road(new SchedulerEvents(machine));
  await machine.run();
  return road;
}

/** Records until it came as it does on a host that is not too busy: what sleeps or goes on for long is not overtaken. */
async function recordUntil(
  usual: (road: Road) => boolean,
  fixture: string,
  args: readonly string[] = [],
  env: readonly string[] = [],
): Promise<Road> {
  let road = await record(fixture, args, env);
  for (let tries = 1; tries < 5 && !usual(road); tries++) road = await record(fixture, args, env);
  return road;
}

const labels = (node: RoadNode): string[] => node.children.map(({ label }) => label);
const find = (road: Road, test: (node: RoadNode) => boolean): RoadNode => {
  const node = road.nodes.find(test);
  if (node === undefined) throw new Error("no such line");
  return node;
};
const byLabel = (road: Road, label: string): RoadNode => find(road, (node) => node.label === label);
const path = (node: RoadNode): string[] => (node.parent === undefined ? [] : [...path(node.parent), node.parent.label]);

const RELEASES = [
  "work",
  "work-stripped",
  ...["1.9", "1.11", "1.14", "1.17", "1.19", "1.21", "1.23", "1.25"].map((n) => `work-go${n}`),
];

/** Where `main` waits for the two others, if they have not ended before. */
const waits = ({ kind, detail }: RoadNode): boolean => kind === "park" && detail.includes("main.main at main.go:19");

describe("the road", () => {
  it.each(RELEASES)("of %s leads from the first instruction to each goroutine", async (fixture) => {
    const road = await recordUntil(({ nodes }) => nodes.some(waits), fixture);
    // The boot: each in the one before.
    const start = byLabel(road, "_rt0_amd64_linux");
    expect(start.instructions).toBe(0);
    const boot = byLabel(road, "runtime.rt0_go");
    expect(path(boot).slice(0, 2)).toEqual([road.root.label, "_rt0_amd64_linux"]);
    const steps = labels(boot);
    for (const name of ["runtime.check", "runtime.args", "runtime.osinit", "runtime.schedinit"])
      expect(steps).toContain(name);
    expect(steps.slice(-2)).toEqual(["go runtime.main", "runtime.mstart"]);
    const schedinit = labels(byLabel(road, "runtime.schedinit"));
    expect(schedinit.at(-1)).toBe("runtime.procresize");
    expect(schedinit).toContain("runtime.mallocinit");
    expect(byLabel(road, "runtime.procresize").detail).toBe("makes 2 Ps");
    expect(byLabel(road, "go runtime.main").detail).toMatch(/newproc1: goroutine 1 → runqput: runnext of P0$/);
    // The first goroutine, and sysmon on a thread of its own.
    const first = find(road, ({ kind }) => kind === "run");
    expect(first.label).toBe("execute → gogo goroutine 1 (runtime.main)");
    expect(first.detail).toBe("runs for the first time on M0 P0 from runnext of P0");
    expect(path(first)).toEqual(expect.arrayContaining(["runtime.mstart", "runtime.mstart1", "runtime.schedule"]));
    expect(path(byLabel(road, "runtime.sysmon"))).toEqual(
      expect.arrayContaining(["runtime.main", "runtime.newm", "runtime.mstart1"]),
    );
    expect(byLabel(road, "runtime.sysmon").tid).not.toBe(road.root.tid);
    const names = road.goroutines.map(({ startFunction }) => startFunction);
    expect(names).toEqual(expect.arrayContaining(["runtime.main", "runtime.forcegchelper"]));
    // main.main, its go statements, and where each of the two first ran.
    const main = byLabel(road, "main.main");
    // On a busy host it may be preempted between them, and the second stands where it goes on.
    const made = road.nodes.filter(({ kind, label }) => kind === "go" && label === "go main.work");
    expect(made[0].parent).toBe(main);
    expect(made.map(({ label }) => label)).toEqual(["go main.work", "go main.work"]);
    expect(made.map(({ detail }) => detail.slice(0, 10))).toEqual(["main.go:17", "main.go:18"]);
    for (const { subject, instructions } of made) {
      const about = road.nodes.filter((node) => node.subject?.id === subject?.id);
      const run = about.find(({ kind }) => kind === "run");
      expect(run?.detail).toMatch(
        /^runs for the first time on M\d+ P[01] from (runnext|run queue) of P[01]|global queue/,
      );
      expect(run?.instructions).toBeGreaterThan(instructions);
      expect(about.at(-1)?.kind).toBe("exit");
    }
    const wait = find(road, waits);
    expect(wait.detail).toMatch(
      /^(semacquire|sync\.WaitGroup\.Wait), in sync\.\(\*WaitGroup\)\.Wait, called by main\.main at/,
    );
    expect(road.nodes.filter(({ label }) => label === "write(1)")).toHaveLength(3);
    expect(road.nodes.at(-1)?.label).toBe("exit_group(0)");
    // Time and instructions only grow.
    for (const [i, node] of road.nodes.entries()) {
      expect(node.instructions).toBeGreaterThanOrEqual(road.nodes[Math.max(0, i - 1)].instructions);
    }
  });

  it("tells preemption by sysmon", async () => {
    // Nothing here sleeps or waits: whatever the host is busy with, the goroutine runs for many times 10 ms, and is asked.
    const { nodes } = await record("bench-fib", ["32"], ["GOMAXPROCS=1"]);
    const preempted = nodes.filter(({ kind, label }) => kind === "yield" && label.startsWith("preempted"));
    expect(preempted.length).toBeGreaterThan(0);
    expect(preempted.some(({ detail }) => /^preempted after [\d.]+ (µs|ms|s), sysmon asked/.test(detail))).toBe(true);
  });

  it("is filtered by depth, text and goroutine, always with the lines above", async () => {
    const road = await record("work");
    const lines = (filter: RoadFilter): string[] => [...printRoad(road, filter)].slice(1);
    expect(lines({ depth: 1 })).toHaveLength(2);
    const procresize = lines({ only: /procresize/ });
    expect(procresize.map((line) => /[├└│ ]*([\w.]+)/.exec(line.slice(50))?.[1])).toEqual([
      "thread",
      "_rt0_amd64_linux",
      "_rt0_amd64",
      "runtime.rt0_go",
      "runtime.schedinit",
      "runtime.procresize",
    ]);
    const followed = lines({ follow: "main.work" }).join("\n");
    expect(followed).toContain("main.go:17");
    expect(followed).toContain("goexit goroutine");
    expect(followed).not.toContain("bgsweep");
    expect(lines({}).length).toBe(road.nodes.length);
  });

  it("is there as JSON, a line for each", async () => {
    const road = await record("work");
    const [head, ...rest] = [...roadJson(road)].map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(head).toMatchObject({ version: 1, lines: road.nodes.length, dropped: 0 });
    expect(rest).toHaveLength(road.nodes.length);
    expect(rest[0]).toMatchObject({ id: 0, parent: null, kind: "thread" });
    for (const { id, parent } of rest.slice(1)) expect(parent).toBeLessThan(id as number);
  });
});
