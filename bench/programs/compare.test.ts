import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { TestFolder } from "../../cli/testing/files.ts";
import { describeFiles, differences, normalise, normalisers, type Outcome } from "./compare.ts";
import type { Normaliser } from "./program.ts";

const folder = new TestFolder();
afterAll(() => folder.remove());

function outcome(stdout: string, status: number | string | null = 0, files = {}): Outcome {
  return { steps: [{ status, texts: { stdout } }], files };
}

describe("differences", () => {
  it("are none between equal outcomes", () => {
    expect(differences(outcome("a\nb\n"), outcome("a\nb\n"))).toEqual([]);
  });

  it("name the first line in which texts differ", () => {
    expect(differences(outcome("a\nb\nc"), outcome("a\nx\ny"))).toEqual([
      'step 1: stdout, line 2: natively "b", here "x"',
    ]);
    expect(differences(outcome("a\n"), outcome("a"))).toEqual(['step 1: stdout, line 2: natively "", here null']);
  });

  it("tell statuses, signals and what did not end", () => {
    expect(differences(outcome("", 0), outcome("", 125))).toEqual(["step 1: status natively 0, here 125"]);
    expect(differences(outcome("", 0), outcome("", "SIGSEGV"))).toEqual(["step 1: status natively 0, here SIGSEGV"]);
    expect(differences(outcome("", 0), outcome("", null))).toEqual([
      "step 1: status natively 0, here not ended in its time",
    ]);
  });

  it("take a signal's name and the status that a shell makes of it for the same end", () => {
    expect(differences(outcome("", "SIGTERM"), outcome("", 143))).toEqual([]);
    expect(differences(outcome("", "SIGTERM"), outcome("", 130))).toHaveLength(1);
    expect(differences(outcome("", "SIGTERM"), outcome("", 15))).toHaveLength(1);
  });

  it("tell steps that were not reached, and texts that are on one side only", () => {
    expect(differences(outcome("a"), { steps: [], files: {} })).toEqual(["step 1: never came"]);
    const more: Outcome = { steps: [{ status: 0, texts: { stdout: "a", stderr: "lost" } }], files: {} };
    expect(differences(outcome("a"), more)).toEqual(['step 1: stderr, line 1: natively "", here "lost"']);
  });

  it("tell files that are missing, changed or too many", () => {
    const native = outcome("", 0, { a: "file 644, 1 bytes, x", b: "folder 755" });
    const other = outcome("", 0, { a: "file 644, 2 bytes, y", c: "special" });
    expect(differences(native, other)).toEqual([
      "a: natively file 644, 1 bytes, x, here file 644, 2 bytes, y",
      "b: natively folder 755, here missing",
      "c: natively missing, here special",
    ]);
  });

  it("are a few lines, however many there are", () => {
    const files = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`f${n}`, "special"]));
    const lines = differences(outcome("", 0, files), outcome(""));
    expect(lines).toHaveLength(5);
    expect(lines[4]).toBe("and 46 more");
  });

  it("leave out what normalisers take out, and nothing else", () => {
    const [native, other] = [outcome("took 1.5s, 3 files"), outcome("took 27ms, 4 files")];
    expect(differences(native, other, ["durations"])).toEqual([
      'step 1: stdout, line 1: natively "took DURATION, 3 files", here "took DURATION, 4 files"',
    ]);
  });
});

describe("normalisers", () => {
  const cases: Record<Normaliser, [text: string, result: string]> = {
    times: ["at 2024-05-06T07:08:09.123Z or 2024/05/06 07:08:09, 12:13:14", "at TIME or TIME, TIME"],
    durations: [
      "0.003s (cached) 12ms 1.5 seconds 0:01 7 files",
      "DURATION (cached) DURATION DURATION DURATION 7 files",
    ],
    "sorted-lines": ["b\na\nc", "a\nb\nc"],
    klog: ["E1130 23:02:01.5    9602 memcache.go:381] no 1130 there", "E 23:02:01.5 memcache.go:381] no 1130 there"],
    sizes: ["Added 842.911 KiB", "Added SIZE"],
    "hex-ids": ["snapshot 0a1b2c3d of 1234567", "snapshot ID of 1234567"],
  };
  it.each(Object.keys(normalisers) as Normaliser[])("%s", (name) => {
    const [text, result] = cases[name];
    expect(normalise(text, [name])).toBe(result);
    // What is normal already stays so.
    expect(normalise(result, [name])).toBe(result);
  });

  it("work one after another", () => {
    expect(normalise("0a1b2c3d took 3s at 01:02:03", ["durations", "times", "hex-ids"])).toBe(
      "ID took DURATION at TIME",
    );
  });
});

describe("describeFiles", () => {
  it("tells files, folders, links and what is missing", () => {
    const root = folder.path;
    mkdirSync(join(root, "d"), { mode: 0o755 });
    writeFileSync(join(root, "d/f"), "text", { mode: 0o640 });
    symlinkSync("f", join(root, "d/l"));
    const told = describeFiles(root, ["d", "none"]);
    expect(told).toEqual({
      d: "folder 755",
      "d/f": expect.stringMatching(/^file 640, 4 bytes, [0-9a-f]{16}$/),
      "d/l": "link to f",
      none: "missing",
    });
    writeFileSync(join(root, "d/f"), "test");
    expect(describeFiles(root, ["d"])["d/f"]).not.toBe(told["d/f"]);
  });
});
