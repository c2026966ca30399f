import { afterAll, describe, expect, it } from "vitest";
import { fixturePath } from "../fixtures/programs.ts";
import { TestFolder } from "./testing/files.ts";
import { goemu } from "./testing/goemu.ts";

const FIB = fixturePath("bin/bench-fib");
const folder = new TestFolder();
afterAll(() => folder.remove());

/** What is printed about a region. */
interface Dump {
  readonly name: string;
  readonly instructions: number;
  readonly blocks: number;
  /** The listing above the module. */
  readonly listing: readonly string[];
  /** The module's lines, without indentation. */
  readonly module: readonly string[];
}

function dumpsIn(stderr: string): Dump[] {
  return stderr.split(/^(?=;; region )/m).flatMap((text) => {
    const head = /^;; region (\S+): (\d+) instructions? in (\d+) blocks?, \d+ bytes of WebAssembly$/m.exec(text);
    if (head === null) return [];
    const lines = text.split("\n");
    const start = lines.indexOf("(module");
    const module = lines.slice(start, lines.indexOf(")") + 1).map((line) => line.trim());
    return [
      { name: head[1], instructions: Number(head[2]), blocks: Number(head[3]), listing: lines.slice(1, start), module },
    ];
  });
}

const INSTRUCTION = /^;; +(0x[0-9a-f]+) {2}(\S*) +(.*)$/;
/** Address and text of the instructions in lines of comments. */
const instructionsIn = (lines: readonly string[]): string[] =>
  lines.flatMap((line) => {
    const found = INSTRUCTION.exec(line);
    return found === null ? [] : `${found[1]} ${found[3]}`;
  });

const dump = (place: string, ...more: string[]): string => goemu(["--dump-region", place, ...more, FIB, "25"]).stderr;

describe("--dump-region", () => {
  it("prints each instruction of a function where its code begins, and above", () => {
    const run = goemu(["--tier", "jit", "--dump-region", "main.fib", FIB, "25"]);
    expect(run).toMatchObject({ stdout: "fib(25) = 75025\n", status: 0 });
    const [fib] = dumpsIn(run.stderr);
    expect(fib.name).toMatch(/^main\.fib@[0-9a-f]+$/);
    const disassembly = goemu(["disasm", FIB, "main.fib"])
      .stdout.split("\n")
      .flatMap((line) => /^ +(0x[0-9a-f]+) +(?:[0-9a-f]{2} )+ +\S+ +(.*)$/.exec(line)?.slice(1).join(" ") ?? []);
    const inCode = instructionsIn(fib.module);
    expect(new Set(inCode).size).toBe(fib.instructions);
    expect(disassembly).toEqual(expect.arrayContaining(inCode));
    expect(instructionsIn(fib.listing)).toEqual(inCode.toSorted());
    expect(fib.listing.filter((line) => line.startsWith(";; block ")).length).toBe(fib.blocks);
    expect(fib.module.filter((line) => line.startsWith(";; block ")).length).toBe(fib.blocks);
    // Code for the instruction follows it: RSP is read for the compare with the stack's bound.
    const at = fib.module.findIndex((line) => line.endsWith("cmp     0x10(%r14),%rsp"));
    const next = fib.module.findIndex((line, i) => i > at && line.startsWith(";; 0x"));
    expect(fib.module.slice(at, next)).toEqual(expect.arrayContaining(["local.get $rsp", "local.get $r14"]));
  });

  it("needs no --tier", () => {
    const [fib] = dumpsIn(dump("main.fib"));
    expect(fib.name).toMatch(/^main\.fib@/);
    const [eager] = dumpsIn(goemu(["--tier", "jit", "--dump-region", "main.fib", FIB, "25"]).stderr);
    expect(fib.instructions).toBe(eager.instructions);
  });

  it("takes addresses and offsets, several of them, and prints each region once", () => {
    const [fib] = dumpsIn(dump("main.fib"));
    const address = Number(/^;; block (0x[0-9a-f]+) main\.fib:/m.exec(fib.listing.join("\n"))?.[1]);
    expect(dumpsIn(dump(`0x${(address + 1).toString(16)}`))[0]).toEqual(fib);
    const both = dumpsIn(dump("main.fib+0x6", "--dump-region", String(address)));
    expect(both[0]).toEqual(fib);
    expect(new Set(both.map(({ name }) => name)).size).toBe(both.length);
  });

  it("works on a program without symbols", () => {
    const guest = folder.guest("loop", (a) => {
      a.mov("rcx", 200_000).label("again").bytes(0x48, 0xff, 0xc9).jcc("ne", "again");
    });
    const { stderr } = goemu(["--dump-region", "0x40100a", guest]);
    const [loop] = dumpsIn(stderr);
    expect(instructionsIn(loop.module).slice(0, 2)).toEqual(["0x40100a dec     %rcx", "0x40100d jne     0x40100a"]);
  });

  it("says what was not compiled", () => {
    expect(dump("os.Exit")).toMatch(/^goemu: --dump-region: no code at os\.Exit \(0x[0-9a-f]+\) was compiled\n$/);
    const { stderr, status } = goemu(["--tier", "interpreter", "--dump-region", "0x10", FIB, "5"]);
    expect(stderr).toBe("goemu: --dump-region: no code at 0x10 was compiled (--tier interpreter compiles nothing)\n");
    expect(status).toBe(0);
  });

  it("knows no function of another name", () => {
    const run = goemu(["--tier", "jit", "--dump-region", "main.fibb", FIB, "5"]);
    expect(run.stderr).toMatch(/^goemu: .*bench-fib: no function main\.fibb; did you mean main\.fib.*\?\n$/);
    expect(run).toMatchObject({ status: 125, stdout: "" });
  });
});
