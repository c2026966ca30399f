// Code that is written to again and again: what was translated from it goes, and what leads to it stays short.

import { beforeEach, describe, expect, it } from "vitest";
import { CpuState } from "../cpu/state.ts";
import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE, RECORDS, WASM_PAGES } from "../layout.ts";
import { AddressSpace } from "../memory/address-space.ts";
import { GuestMemory } from "../memory/guest-memory.ts";
import { Interpreter } from "./interpreter.ts";
import { RECORD, RECORD_SIZE } from "./record.ts";
import { SHARED } from "./template.ts";

const CODE = 0x40_0000;
/** In a page of its own. */
const CALLEE = CODE + PAGE_SIZE;
/** Its block has the same first place in the index of blocks. */
const TWIN = CALLEE + 0x40_0000;
const STACK = 0x50_0000;
const [RAX, RSP] = [0, 4];

let memory: GuestMemory;
let interpreter: Interpreter;
let cpu: CpuState;

beforeEach(() => {
  const wasm = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES });
  const space = new AddressSpace(wasm);
  for (const address of [CODE, CALLEE, TWIN])
    space.map({ address, length: PAGE_SIZE, prot: PROT_READ | PROT_WRITE | PROT_EXEC, fixed: true });
  space.map({ address: STACK, length: PAGE_SIZE, prot: PROT_READ | PROT_WRITE, fixed: true });
  memory = new GuestMemory(space);
  interpreter = new Interpreter(memory);
  cpu = new CpuState(wasm.buffer, 0);
  // call CALLEE; hlt
  poke(CODE, "e8 fb0f0000 f4");
});

function poke(address: number, hex: string): void {
  memory.poke(address, Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex")));
}

/** mov eax, value; ret */
const pokeValue = (address: number, value: number): void =>
  poke(address, `b8 ${value.toString(16).padStart(2, "0")}000000 c3`);

/** Runs from an address, whose function's return is to HLT; gives EAX. */
function run(start: number): number {
  cpu.reset();
  cpu.rip = start;
  cpu.gpr[RSP] = BigInt(STACK + PAGE_SIZE - 8);
  memory.writeU64(STACK + PAGE_SIZE - 8, BigInt(CODE + 5));
  cpu.fuel = 1000;
  expect(interpreter.run(cpu)).toMatchObject({ kind: "exception" });
  return Number(cpu.gpr[RAX]);
}

/** The most records, one after another, that only lead on to the next. */
function longestDetour(): number {
  const { view } = memory;
  let longest = 0;
  for (let first = RECORDS; first < view.getUint32(SHARED.nextRecord, true); first += RECORD_SIZE) {
    let steps = 0;
    for (let at = first; view.getUint8(at + RECORD.blockRecords) === 0; steps++) {
      at = view.getUint32(at + RECORD.linkNext, true);
      if (at === 0) break;
    }
    longest = Math.max(longest, steps);
  }
  return longest;
}

describe("code that is written to again and again", () => {
  const TIMES = 50;

  it("is as near to a call of it as ever", () => {
    for (let i = 0; i < TIMES; i++) {
      pokeValue(CALLEE, i);
      expect(run(CODE)).toBe(i);
      expect(run(CODE)).toBe(i);
    }
    expect(longestDetour()).toBeLessThanOrEqual(2);
  });

  it("is as near where there are addresses to stop at", () => {
    interpreter.code.stops.add(CODE + PAGE_SIZE - 1);
    for (let i = 0; i < TIMES; i++) {
      pokeValue(CALLEE, i);
      expect(run(CODE)).toBe(i);
    }
    expect(longestDetour()).toBeLessThanOrEqual(2);
  });

  it("is stopped at, when a stop comes later", () => {
    for (let i = 0; i < 2; i++) {
      pokeValue(CALLEE, i);
      expect(run(CODE)).toBe(i);
    }
    interpreter.code.flush();
    expect(run(CODE)).toBe(1);
    pokeValue(CALLEE, 2);
    expect(run(CODE)).toBe(2);
    interpreter.code.stops.add(CALLEE);
    pokeValue(CALLEE, 3);
    cpu.reset();
    cpu.rip = CODE;
    cpu.gpr[RSP] = BigInt(STACK + PAGE_SIZE);
    cpu.fuel = 1000;
    expect(interpreter.run(cpu, new Set([CALLEE])).kind).toBe("stop");
    expect(cpu.rip).toBe(CALLEE);
    expect(cpu.fuel).toBe(999);
  });

  it("goes, whole pages and small writes, where blocks share a place in the index", () => {
    for (const order of [
      [CALLEE, TWIN],
      [TWIN, CALLEE],
    ]) {
      interpreter.code.flush();
      for (let i = 0; i < 20; i++) {
        for (const address of order) {
          pokeValue(address, i);
          expect(run(address)).toBe(i);
        }
        // The other one has stayed.
        for (const address of order) expect(run(address)).toBe(i);
      }
    }
  });

  it("goes where a block from the page before reaches into it", () => {
    // Three bytes of mov eax, imm32 lie before the page's end.
    for (let i = 0; i < 20; i++) {
      pokeValue(CALLEE - 3, i);
      expect(run(CALLEE - 3)).toBe(i);
      poke(CALLEE, `00 ${i.toString(16).padStart(2, "0")} c3`);
      expect(run(CALLEE - 3)).toBe(i + i * 2 ** 24);
    }
  });
});
