import { describe, expect, it } from "vitest";
import { CpuState } from "../cpu/state.ts";
import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE, WASM_PAGES } from "../layout.ts";
import { AddressSpace } from "../memory/address-space.ts";
import { GuestMemory } from "../memory/guest-memory.ts";
import { Interpreter } from "./interpreter.ts";

const CODE = 0x2000_0000;
const HLT = 0xf4;

describe("handlers", () => {
  it("make room when a program has more forms than there are slots", () => {
    const memory = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES });
    const space = new AddressSpace(memory);
    space.map({ address: CODE, length: PAGE_SIZE, prot: PROT_READ | PROT_WRITE | PROT_EXEC, fixed: true });
    const guest = new GuestMemory(space);
    const interpreter = new Interpreter(guest);
    interpreter.handlers.limit = 100;
    const cpu = new CpuState(memory.buffer, 0);
    const source = new Uint32Array([0x11, 0x22, 0x33, 0x44]);
    for (let round = 0; round < 2; round++) {
      for (let immediate = 0; immediate < 256; immediate++) {
        // PSHUFD XMM0, XMM1, immediate: a form for each immediate.
        guest.poke(CODE, Uint8Array.of(0x66, 0x0f, 0x70, 0xc1, immediate, HLT));
        cpu.reset();
        cpu.rip = CODE;
        cpu.fuel = 10;
        cpu.vector(1).set(new Uint8Array(source.buffer));
        expect(interpreter.run(cpu)).toMatchObject({ kind: "exception" });
        const result = new Uint32Array(cpu.vector(0).slice(0, 16).buffer);
        expect([...result]).toEqual([0, 2, 4, 6].map((shift) => source[(immediate >> shift) & 3]));
        expect(interpreter.handlers.count).toBeLessThan(100);
      }
    }
  });
});
