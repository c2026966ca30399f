import { describe, expect, it } from "vitest";
import { readExecutable, type Section } from "../elf.ts";
import { PF_R, PF_W } from "../elf-constants.ts";
import { SymbolError } from "../errors.ts";
import { fixture, TEST_BASE, testElf } from "../test-elf.ts";
import { ProgramImage } from "./image.ts";
import { locatePcLineTable } from "./pclntab.ts";
import { type Func, type SourceFrame, SymbolTable } from "./table.ts";

function symbolsOf(name: string): SymbolTable {
  return new SymbolTable(readExecutable(fixture(name), name));
}

/** `kept` with the links to other sections that they had in `all`. */
function relink(all: readonly Section[], kept: readonly Section[]): Section[] {
  return kept.map((section) => ({ ...section, link: kept.indexOf(all[section.link]) }));
}

/** Every different inline stack of a function's instructions. */
function inlineStacks(symbols: SymbolTable, func: Func): SourceFrame[][] {
  const stacks = Array.from({ length: func.size }, (_, offset) => symbols.inlineStack(func.address + offset));
  return stacks.filter((stack, index) => JSON.stringify(stack) !== JSON.stringify(stacks[index - 1]));
}

const FORMATS: readonly (readonly [fixture: string, goVersion: string])[] = [
  ["work-go1.9", "go1.9.7"],
  ["work-go1.11", "go1.11.13"],
  ["work-go1.14", "go1.14.15"],
  ["work-go1.17", "go1.17.13"],
  ["work-go1.19", "go1.19.13"],
  ["work-go1.21", "go1.21.13"],
  ["work-go1.23", "go1.23.12"],
  ["work-go1.25", "go1.25.5"],
  ["work-opt", "go1.27.4"],
  ["work-stripped", "go1.27.4"],
  ["work-nosections", "go1.27.4"],
  ["work-pie", "go1.27.4"],
  ["work-static-pie", "go1.27.4"],
];

describe.each(FORMATS)("SymbolTable of %s", (name, goVersion) => {
  const symbols = symbolsOf(name);

  it("knows the Go release", () => {
    expect(symbols.goVersion).toBe(goVersion);
  });

  it("finds main.main by name, by address and by line", () => {
    const main = symbols.byName("main.main")!;
    expect(main.source).toBe("pclntab");
    expect(symbols.lookup(main.address)).toBe(main);
    expect(symbols.lookup(main.address + main.size - 1)).toBe(main);
    expect(symbols.lookup(main.address - 1)?.name).not.toBe("main.main");
    expect(symbols.lineOf(main.address)).toEqual({ file: expect.stringMatching(/work\/main\.go$/), line: 14 });
  });

  it("unwinds inlining", () => {
    const main = symbols.byName("main.main")!;
    const file = expect.stringMatching(/work\/main\.go$/);
    if (Number(goVersion.split(".")[1]) >= 14) {
      const print = expect.objectContaining({ name: "fmt.Println", file: expect.stringMatching(/fmt\/print\.go$/) });
      expect(inlineStacks(symbols, main)).toContainEqual([print, { name: "main.main", file, line: 20 }]);
    } else {
      // fmt.Println was too large to be inlined.
      const inner = expect.objectContaining({ name: "runtime.bool2int" });
      const outer = expect.objectContaining({ name: "runtime.mallocgc" });
      const frames = [inner, expect.objectContaining({ name: "runtime.makeSpanClass" }), outer];
      expect(inlineStacks(symbols, symbols.byName("runtime.mallocgc")!)).toContainEqual(frames);
    }
    expect(symbols.inlineStack(main.address)).toEqual([{ name: "main.main", file, line: 14 }]);
  });

  it("tells what Go's compiler made from assembly", () => {
    const isCompiled = (name: string) => symbols.isCompiledGo(symbols.byName(name)!.address + 1);
    expect(["main.main", "runtime.mallocgc", "fmt.Fprintln"].map(isCompiled)).toEqual([true, true, true]);
    const suffix = symbols.byName("runtime.memmove") === undefined ? ".abi0" : "";
    expect(["runtime.memmove", "runtime.gogo"].map((name) => isCompiled(name + suffix))).toEqual([false, false]);
    expect(symbols.isCompiledGo(symbols.functions[0].address - 1)).toBe(false);
    for (const { address, source } of symbols.functions) {
      if (source !== "pclntab") continue;
      // The linker's marks, such as go:textfipsstart, have no file.
      const file = symbols.lineOf(address)?.file;
      if (file !== undefined) expect(symbols.isCompiledGo(address)).toBe(!file.endsWith(".s"));
    }
  });

  it("lists functions in order and without overlap", () => {
    const { functions } = symbols;
    expect(functions.length).toBeGreaterThan(1000);
    for (let index = 1; index < functions.length; index++) {
      const previous = functions[index - 1];
      expect(functions[index].address).toBeGreaterThanOrEqual(previous.address);
      if (previous.source === "pclntab") {
        expect(previous.address + previous.size).toBeLessThanOrEqual(functions[index].address);
      }
    }
  });
});

describe("SymbolTable", () => {
  it("says of a stripped file what it says of the file with symbols and of the one without sections", () => {
    const plain = ({ functions }: SymbolTable) =>
      functions.filter(({ source }) => source === "pclntab").map(({ name, address, size }) => [name, address, size]);
    const expected = plain(symbolsOf("work-opt"));
    expect(plain(symbolsOf("work-stripped"))).toEqual(expected);
    expect(plain(symbolsOf("work-nosections"))).toEqual(expected);
  });

  it("reads build information", () => {
    expect(symbolsOf("work-opt").buildInfo).toMatchObject({
      goVersion: "go1.27.4",
      path: "fixtures/work",
      main: { path: "fixtures", version: "(devel)", sum: "" },
      settings: { "-trimpath": "true", CGO_ENABLED: "0", GOAMD64: "v1" },
    });
    // Until Go 1.17 in another form, until Go 1.12 not at all.
    expect(symbolsOf("work-go1.17").buildInfo).toMatchObject({ goVersion: "go1.17.13", settings: {} });
    expect(symbolsOf("work-go1.11").buildInfo).toBeUndefined();
    expect(symbolsOf("text-v3").buildInfo?.settings["GOAMD64"]).toBe("v3");
  });

  it("adds the load bias", () => {
    const executable = readExecutable(fixture("work-pie"), "work-pie");
    const linked = new SymbolTable(executable).byName("main.main")!;
    const biased = new SymbolTable(executable, { bias: 0x1000_0000 });
    expect(biased.byName("main.main")).toEqual({ ...linked, address: linked.address + 0x1000_0000 });
    expect(biased.lookup(linked.address + 0x1000_0000)?.name).toBe("main.main");
    expect(biased.lineOf(linked.address + 0x1000_0000)?.line).toBe(14);
    expect(biased.lookup(linked.address)).toBeUndefined();
  });

  it("takes what Go's table does not have from the symbol table", () => {
    const symbols = symbolsOf("work");
    const others = symbols.functions.filter(({ source }) => source === "symtab");
    expect(others.every(({ size }) => size > 0)).toBe(true);
    // Without its own table, Go's functions are found in .symtab.
    const executable = readExecutable(fixture("work"), "work");
    const sections = executable.sections.filter(({ name }) => name !== ".gopclntab");
    const segments = executable.segments.filter(({ flags }) => flags !== PF_R);
    const elfOnly = new SymbolTable({ ...executable, sections: relink(executable.sections, sections), segments });
    const main = symbols.byName("main.main")!;
    expect(elfOnly.hasGoFunctions).toBe(false);
    expect(elfOnly.lookup(main.address + 5)).toMatchObject({
      name: "main.main",
      source: "symtab",
      address: main.address,
    });
    expect(elfOnly.byName("main.main")?.address).toBe(main.address);
  });

  it("finds variables where there is a symbol table", () => {
    const executable = readExecutable(fixture("work"), "work");
    const { address, size } = executable.sections.find(({ name }) => name === ".data")!;
    const symbols = new SymbolTable(executable);
    const addresses = Array.from({ length: size / 8 }, (_, index) => address + index * 8);
    const found = addresses
      .map((at) => symbols.variableAt(at))
      .find((variable) => variable?.name === "runtime.buildVersion");
    expect(found?.size).toBe(16);
    expect(symbolsOf("work-stripped").variableAt(found!.address)).toBeUndefined();
  });

  it("suggests names", () => {
    const symbols = symbolsOf("work-stripped");
    expect(symbols.nearest("main.mian")).toContain("main.main");
    expect(symbols.nearest("Fprintn")).toContain("fmt.Fprintln");
    expect(symbols.nearest("GOPAR")[0]).toBe("runtime.gopark");
    expect(symbols.nearest("no such function at all")).toEqual([]);
  });

  it("has nothing to say of a program that is not Go's", () => {
    const symbols = new SymbolTable(readExecutable(testElf(), "program"));
    expect(symbols.hasGoFunctions).toBe(false);
    expect(symbols.goVersion).toBeUndefined();
    expect(symbols.buildInfo).toBeUndefined();
    expect(symbols.functions).toEqual([]);
    expect(symbols.lookup(TEST_BASE)).toBeUndefined();
    expect(symbols.inlineStack(TEST_BASE)).toEqual([]);
  });

  it("finds nothing where there is only the magic of a function table", () => {
    const magic = Uint8Array.of(0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
    const file = testElf({
      segments: [{}, { offset: 0x100, vaddr: TEST_BASE + 0x1100, flags: PF_R | PF_W, fileSize: 64 }],
    });
    file.set(magic, 0x110);
    expect(new SymbolTable(readExecutable(file, "program")).hasGoFunctions).toBe(false);
  });

  it("throws SymbolError, again and again, for a table with a damaged header", () => {
    const bytes = fixture("work-stripped");
    const executable = readExecutable(bytes, "damaged");
    const { offset } = executable.sections.find(({ name }) => name === ".gopclntab")!;
    // The number of functions.
    new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(offset + 8, 2n ** 60n, true);
    const symbols = new SymbolTable(executable);
    expect(() => symbols.lookup(executable.entry)).toThrow(SymbolError);
    expect(() => symbols.functions).toThrow(SymbolError);
    expect(() => symbols.byName("main.main")).toThrow(SymbolError);
  });
});

describe("an inlining tree that goes round", () => {
  it("ends at the function around it, as where Go's compiler does not know the place of a call", () => {
    const bytes = Uint8Array.from(fixture("work-opt"));
    const executable = readExecutable(bytes, "work-opt");
    const main = new SymbolTable(executable).byName("main.main")!;
    const inlined = Array.from({ length: main.size }, (_, offset) => main.address + offset).find(
      (address) => new SymbolTable(executable).inlineStack(address).length === 2,
    )!;
    const [print] = new SymbolTable(executable).inlineStack(inlined);
    // The calls of that function in all trees: its name, and behind it where the call is (runtime/symtabinl.go).
    const table = locatePcLineTable(new ProgramImage(executable))!;
    const placeOf = (text: string): number => Buffer.from(bytes.buffer).indexOf(`\0${text}\0`);
    const mainName = table.reader.i32(table.fieldOffset(table.indexOf(main.address)!, 0));
    const name = mainName + placeOf(print.name) - placeOf("main.main");
    const view = new DataView(bytes.buffer);
    let calls = 0;
    for (let at = 4; at + 8 <= bytes.length; at += 4) {
      if (view.getUint32(at, true) !== name || view.getUint32(at - 4, true) > 0xff) continue;
      if (view.getUint32(at + 4, true) >= main.size) continue;
      view.setUint32(at + 4, inlined - main.address, true);
      calls++;
    }
    expect(calls).toBeGreaterThan(0);
    const symbols = new SymbolTable(readExecutable(bytes, "work-opt"));
    expect(symbols.inlineStack(inlined)).toEqual([print, { name: "main.main", file: undefined, line: undefined }]);
  });
});
