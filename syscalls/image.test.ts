// Dynamically linked programs: what starts, where, and what it is told (fs/binfmt_elf.c, load_elf_binary()).

import { describe, expect, it } from "vitest";
import { MemoryHost } from "../host/memory/memory-host.ts";
import { ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD } from "../loader/elf-constants.ts";
import { LoadError } from "../loader/errors.ts";
import { type TestElf, testElf, words } from "../loader/test-elf.ts";
import { Machine } from "./machine.ts";

const INTERPRETER = "/lib/ld.so";
const text = (string: string): Uint8Array => new TextEncoder().encode(string);
const hex = (bytes: string): Uint8Array => Uint8Array.from(Buffer.from(bytes.replaceAll(" ", ""), "hex"));

/** A program that asks for an interpreter and a library; its own code is HLT. */
function program(type = ET_DYN, base = 0): Uint8Array {
  return testElf({
    type,
    size: 0x600,
    entry: base + 0x500,
    segments: [
      { type: PT_LOAD, vaddr: base, flags: PF_R | PF_W | PF_X },
      { type: PT_INTERP, offset: 0x200, fileSize: INTERPRETER.length + 1 },
      { type: PT_DYNAMIC, offset: 0x300, vaddr: base + 0x300, fileSize: 32 },
    ],
    contents: [
      [0x200, text(`${INTERPRETER}\0`)],
      [0x300, words(1, 1, 0, 0)],
      [0x500, hex("f4")],
    ],
  });
}

/** An interpreter: a library that needs none. */
function interpreter(code: string): TestElf {
  return {
    type: ET_DYN,
    size: 0x1000,
    entry: 0x500,
    segments: [
      { type: PT_LOAD, vaddr: 0, flags: PF_R | PF_X },
      { type: PT_DYNAMIC, offset: 0x300, vaddr: 0x300, fileSize: 32 },
    ],
    contents: [
      [0x300, words(14, 1, 0, 0)],
      [0x500, hex(code)],
    ],
  };
}

/** write(1, rsp, 1024): the initial stack; exit_group(5). */
const SHOWS_STACK = "b801000000 bf01000000 4889e6 ba00040000 0f05 b8e7000000 bf05000000 0f05";

async function run(elf: Uint8Array, files: Record<string, Uint8Array>) {
  const shown: number[] = [];
  const host = new MemoryHost({ files, stdout: (bytes) => shown.push(...bytes) });
  const machine = new Machine({ program: elf, path: "program", host });
  const status = await machine.run();
  const stack = new DataView(Uint8Array.from(shown).buffer);
  const word = (index: number): number => Number(stack.getBigUint64(index * 8, true));
  // argc, argv[0], null, no environment, null, then the auxiliary vector.
  const auxv = new Map<number, number>();
  for (let at = 4; word(at) !== 0; at += 2) auxv.set(word(at), word(at + 1));
  return { status, auxv };
}

describe("a dynamically linked program", () => {
  it.each([
    ["position-independent", ET_DYN, 0],
    ["at a fixed address", ET_EXEC, 0x40_0000],
  ])("starts in its interpreter, which is told where it is (%s)", async (_, type, base) => {
    const files = { [INTERPRETER]: testElf(interpreter(SHOWS_STACK)) };
    const { status, auxv } = await run(program(type, base), files);
    expect(status).toEqual({ kind: "exited", status: 5 });
    const [AT_PHDR, AT_BASE, AT_ENTRY] = [3, 7, 9];
    const bias = (auxv.get(AT_ENTRY) as number) - base - 0x500;
    expect(bias % 0x1000).toBe(0);
    if (type === ET_EXEC) expect(bias).toBe(0);
    expect(auxv.get(AT_PHDR)).toBe(bias + base + 64);
    const at = auxv.get(AT_BASE) as number;
    expect(at % 0x1000).toBe(0);
    expect(at).toBeGreaterThan(0);
    expect(at).not.toBe(bias + base);
  });

  it.each<[string, Record<string, Uint8Array>, RegExp]>([
    ["that is not there", {}, /interpreter \/lib\/ld\.so is not there/],
    ["that is no ELF file", { [INTERPRETER]: text("#!/bin/sh\n") }, /can't be run: it is a script/],
    ["for another machine", { [INTERPRETER]: testElf({ machine: 183 }) }, /can't be run: it is for AArch64/],
    ["that asks for one itself", { [INTERPRETER]: program() }, /can't be run: it asks for an interpreter/],
    ["that is cut short", { [INTERPRETER]: testElf(interpreter("f4")).slice(0, 700) }, /can't be run: .*truncated/],
  ])("is refused with an interpreter %s", async (_, files, message) => {
    const error = await run(program(), files).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(LoadError);
    expect((error as LoadError).message).toMatch(message);
    expect((error as LoadError).hint).toMatch(/--sysroot/);
    expect((error as LoadError).exitStatus).toBe(126);
  });
});

it("runs an interpreter itself, as any program", async () => {
  const { status, auxv } = await run(testElf(interpreter(SHOWS_STACK)), {});
  expect(status).toEqual({ kind: "exited", status: 5 });
  expect(auxv.get(7)).toBe(0);
});
