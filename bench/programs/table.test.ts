import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { normalisers } from "./compare.ts";
import { sourceName } from "./obtain.ts";
import type { Program } from "./program.ts";
import { PROGRAMS } from "./table.ts";

const files = ({ files = {} }: Program): Readonly<Record<string, string>> =>
  typeof files === "function" ? files() : files;

describe("the table of programs", () => {
  it("names each program once, in words that a file name and a table can have", () => {
    const names = PROGRAMS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const { name, job } of PROGRAMS) {
      expect(name).toMatch(/^[a-z0-9-]+$/);
      expect(job).toMatch(/^\S.*[^.\s]$/);
    }
  });

  describe.each(PROGRAMS.map((program) => [program.name, program] as const))("%s", (_, program) => {
    it("comes in an exact version", () => {
      const { source } = program;
      if (source.kind === "driver") {
        expect(source.modules.length > 0 || source.cgo).toBe(true);
        for (const module of source.modules) expect(module).toMatch(/^[^@]+@v\d+\.\d+\.\d+\S*$/);
        expect(existsSync(fileURLToPath(new URL(`drivers/${source.folder}/main.go`, import.meta.url)))).toBe(true);
      } else expect(source.version).toMatch(/^(v|go)?\d+(\.\d+)*\S*$/);
      expect(sourceName(source)).not.toMatch(/https?:/);
    });

    it("has a job: steps that something is compared of", () => {
      expect(program.steps.length).toBeGreaterThan(0);
      for (const step of program.steps) {
        if (step.kind === "terminal") expect(step.script.length).toBeGreaterThan(0);
      }
      const told = program.steps.some((step) => step.kind !== "run" || step.compare !== "status");
      expect(told || (program.outputs ?? []).length > 0).toBe(true);
    });

    it("names files below its folder, programs and normalisers that there are", () => {
      const paths = [...Object.keys(files(program)), ...(program.outputs ?? [])];
      for (const path of paths) expect(path).toMatch(/^(?!\/)(?!.*\.\.)/);
      for (const name of program.needs ?? []) expect(PROGRAMS.map((other) => other.name)).toContain(name);
      for (const name of program.normalise ?? []) expect(Object.keys(normalisers)).toContain(name);
    });
  });
});
