// The command's translation cache.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { fixturePath } from "../fixtures/programs.ts";
import { TestFolder } from "./testing/files.ts";
import { goemu } from "./testing/goemu.ts";

const folder = new TestFolder();
afterAll(() => folder.remove());
const work = fixturePath("bin/work");

/** Runs `work` with a cache folder of this name; gives what it printed, and how much it translated. */
function run(cache: string, ...options: string[]): { lines: string[]; translated: number } {
  const env = { XDG_CACHE_HOME: join(folder.path, cache), GOMAXPROCS: "1" };
  const { stdout, stderr, status } = goemu(["--stats=json", ...options, work], { env });
  expect(status, stderr).toBe(0);
  return { lines: stdout.split("\n").sort(), translated: JSON.parse(stderr).decodedInstructions };
}
const kept = (cache: string): string[] =>
  readdirSync(join(folder.path, cache, "goemu")).filter((name) => name.endsWith(".translations"));

describe("the translation cache of the command", () => {
  it("makes the second run translate next to nothing", () => {
    const first = run("hit");
    const second = run("hit");
    expect(second.lines).toEqual(first.lines);
    expect(first.translated).toBeGreaterThan(10_000);
    expect(second.translated).toBeLessThan(2000);
    expect(kept("hit")).toHaveLength(1);
  });

  it("is neither read nor written with --no-cache", () => {
    run("none", "--no-cache");
    expect(existsSync(join(folder.path, "none"))).toBe(false);
    run("none");
    expect(run("none", "--no-cache").translated).toBeGreaterThan(10_000);
  });

  it("keeps CPU models and layouts apart", () => {
    run("options");
    for (const options of [["--cpu", "x86-64-v1"], ["--cpu=-avx2"], ["--address-space", "linux"]]) {
      expect(run("options", ...options).translated).toBeGreaterThan(10_000);
      expect(run("options", ...options).translated).toBeLessThan(2000);
    }
    expect(kept("options")).toHaveLength(4);
  });

  it("survives damage", () => {
    const { lines } = run("damage");
    const path = join(folder.path, "damage", "goemu", kept("damage")[0]);
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1] ^= 4;
    writeFileSync(path, bytes);
    const again = run("damage");
    expect(again.lines).toEqual(lines);
    expect(again.translated).toBeGreaterThan(10_000);
    expect(run("damage").translated).toBeLessThan(2000);
  });

  it("is done without where it cannot be", () => {
    folder.file("blocked", "");
    expect(run("blocked").translated).toBeGreaterThan(10_000);
    const { status } = goemu([work], { env: { HOME: "" } });
    expect(status).toBe(0);
  });

  it("keeps regions, and what V8 made of them, for a program that runs a while", () => {
    const env = { XDG_CACHE_HOME: join(folder.path, "regions") };
    const runs = Array.from({ length: 3 }, () => {
      const { stdout, stderr, status } = goemu(["--stats=json", fixturePath("bin/bench-fib"), "32"], { env });
      expect(status, stderr).toBe(0);
      const [name] = kept("regions");
      const file = readFileSync(join(folder.path, "regions", "goemu", name), "latin1");
      const hasMachineCode = file.includes('"machine code ');
      return { stdout, hasMachineCode, restored: JSON.parse(stderr).restoredRegions > 0 };
    });
    // V8 13 gives its machine code away, of a first run too if it has optimized anything by then.
    const gives = process.versions.v8.startsWith("13.");
    expect(runs.map(({ restored }) => restored)).toEqual([false, true, true]);
    expect(runs.slice(1).map(({ hasMachineCode }) => hasMachineCode)).toEqual([gives, gives]);
    expect(new Set(runs.map(({ stdout }) => stdout)).size).toBe(1);
  });
});
