import { describe, expect, it } from "vitest";
import { page, ratio, verdict } from "./page.ts";
import type { Program } from "./program.ts";
import type { Result } from "./results.ts";

const PROGRAM: Program = {
  name: "p",
  source: { kind: "npm", package: "p", version: "1.0.0", file: "p" },
  job: "prints a | b",
  steps: [{ kind: "run", args: [] }],
};
const RESULT: Result = {
  program: "p",
  from: "npm: p@1.0.0",
  size: 3 << 20,
  build: "b",
  native: { time: 100, cpu: 90 },
  qemu: { time: 1000, cpu: 900 },
  first: { time: 4000, cpu: 1800 },
  second: { time: 500, cpu: 450 },
  differences: [],
  qemuDifferences: [],
  unsteady: [],
};
const ABOUT = { host: "a host", qemu: "qemu-x86_64 7" };

describe("ratio", () => {
  it("is of times on processors, of times from start to end where those are not known", () => {
    expect(ratio(RESULT.first, RESULT.qemu)).toBe(2);
    expect(ratio({ time: 300, cpu: null }, { time: 100, cpu: 7 })).toBe(3);
    expect(ratio(undefined, RESULT.qemu)).toBe(null);
  });
});

describe("verdict", () => {
  it("says what is worst", () => {
    expect(verdict(undefined)).toBe("not run");
    expect(verdict(RESULT)).toBe("as natively");
    expect(verdict({ ...RESULT, differences: ["x"] })).toBe("differs");
    expect(verdict({ ...RESULT, differences: ["x"], unsteady: ["y"] })).toBe("unsteady");
    expect(verdict({ ...RESULT, missing: "no" })).toBe("not there");
  });
});

describe("page", () => {
  const of = (result?: Result, program = PROGRAM): string =>
    page([program], new Map(result === undefined ? [] : [["p", result]]), ABOUT);

  it("has times, ratios and their means, and keeps cells together", () => {
    const text = of(RESULT);
    expect(text).toContain("| p | npm: p@1.0.0 | prints a \\| b | as natively |");
    expect(text).toContain("| p | 3.0 | 0.10 | 1.00 | 4.00 | 0.50 | 2.00× | 0.50× | 5.00× |");
    expect(text).toContain("**1 of 1 do what they do natively.**");
    expect(text).toContain("2.00 (1 programs), second run 0.50 (1 programs)");
    expect(text).not.toContain("## Differences");
  });

  it("tells how busy the host was", () => {
    expect(of({ ...RESULT, load: 1.25 })).toContain("On a host, load 1.3 to 1.3; one build of goemu.");
    expect(of(RESULT)).toContain("load unknown");
  });

  it("names differences, with what is left to do for them", () => {
    const text = of(
      { ...RESULT, differences: ["first: step 1: status natively 0, here 1"] },
      { ...PROGRAM, left: "ptrace is not there" },
    );
    expect(text).toContain("differs: ptrace is not there |");
    expect(text).toContain("- p, goemu's first run: step 1: status natively 0, here 1");
    expect(text).toContain("**0 of 1 do what they do natively.**");
  });

  it("says what could not be had and what was not run", () => {
    expect(of({ ...RESULT, missing: "no such package" })).toContain("- p: not there: `no such package`");
    expect(of()).toContain("| not run |");
  });
});
