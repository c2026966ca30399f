import { describe, expect, it } from "vitest";
import { inspectExecutable, type LoadError, readExecutable } from "./elf.ts";
import { describe as describeExecutable, formatInfo, goamd64Level } from "./info.ts";
import { SymbolTable } from "./symbols/table.ts";
import { fixture, testElf } from "./test-elf.ts";

describe("describe", () => {
  it("describes a Go program", () => {
    const info = describeExecutable(readExecutable(fixture("work-opt"), "work-opt"));
    expect(info).toMatchObject({
      type: "ET_EXEC",
      entryFunction: "_rt0_amd64_linux",
      linkage: "static",
      interpreter: null,
      go: { version: "go1.27.4", goamd64: 1, path: "fixtures/work" },
      symbolProblem: null,
      runnable: { ok: true },
    });
    expect(info.sections.find(({ name }) => name === ".text")).toMatchObject({ flags: "ax" });
    expect(JSON.parse(JSON.stringify(info))).toEqual(info);
  });

  it.each([
    ["work-pie", "PIE"],
    ["work-static-pie", "static PIE"],
    ["work-nosections", "static"],
  ])("names the linkage of %s", (name, linkage) => {
    expect(describeExecutable(readExecutable(fixture(name), name)).linkage).toBe(linkage);
  });

  it("says that a program is not Go's", () => {
    const info = describeExecutable(readExecutable(testElf(), "program"));
    expect(info.go).toBeNull();
    expect(formatInfo(info)).not.toMatch(/^Go:/m);
  });

  it("describes a file with damaged symbols", () => {
    const bytes = fixture("work-stripped");
    const executable = readExecutable(bytes, "damaged");
    const { offset } = executable.sections.find(({ name }) => name === ".gopclntab")!;
    bytes.fill(0xee, offset, offset + 64);
    const info = describeExecutable(executable);
    expect(info.symbolProblem).toMatch(/function table/);
    expect(info.go?.version).toBe("go1.27.4");
    expect(formatInfo(info)).toMatch(/Symbols are damaged/);
  });
});

describe("formatInfo", () => {
  it("prints what gdb and go version print", () => {
    const text = formatInfo(describeExecutable(readExecutable(fixture("text-v3"), "text-v3")));
    expect(text).toMatch(/^text-v3: ELF64 x86-64 ET_EXEC, static$/m);
    expect(text).toMatch(/^goemu can run it\.$/m);
    expect(text).toMatch(/^Entry point: 0x[0-9a-f]+ _rt0_amd64_linux$/m);
    expect(text).toMatch(/^\t0x[0-9a-f]{16} - 0x[0-9a-f]{16} is \.text$/m);
    expect(text).toMatch(/^\tbuild\tGOAMD64=v3$/m);
    expect(text).toMatch(/^GOAMD64: v3$/m);
  });

  it("says why a shared library cannot run", () => {
    const { executable, problem } = inspectExecutable(testElf({ type: 3 }), "library");
    const text = formatInfo(describeExecutable(executable, problem as LoadError));
    expect(text).toMatch(/ET_DYN, shared library$/m);
    expect(text).toMatch(/cannot run it: it is a shared library/);
  });
});

describe("goamd64Level", () => {
  it("reads the level that the build recorded", () => {
    const level = (name: string) => goamd64Level(new SymbolTable(readExecutable(fixture(name), name)).buildInfo);
    expect([level("text"), level("text-v3"), level("work-go1.11")]).toEqual([1, 3, undefined]);
  });
});
