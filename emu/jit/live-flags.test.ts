// Status flags at calls of code that Go's compiler made.

import { expect, it } from "vitest";
import { CpuState } from "../cpu/state.ts";
import { Interpreter } from "../interpreter/interpreter.ts";
import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE, WASM_PAGES } from "../layout.ts";
import { AddressSpace } from "../memory/address-space.ts";
import { GuestMemory } from "../memory/guest-memory.ts";
import { enableJit } from "./tier.ts";

const CODE = 0x40_0000;
const CALLEE = CODE + PAGE_SIZE;
const STACK = 0x50_0000;
const [RDX, RSP] = [2, 4];

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));

/**
 * Runs main, as Go's compiler would have made it, and what it calls, as assembly, compiled; returns the RDX that HLT finds.
 * @param size of the function, in bytes
 */
function run(main: string, callee: string, size = bytes(main).length): number {
  const wasm = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES });
  const space = new AddressSpace(wasm);
  space.map({ address: CODE, length: 2 * PAGE_SIZE, prot: PROT_READ | PROT_WRITE | PROT_EXEC, fixed: true });
  space.map({ address: STACK, length: PAGE_SIZE, prot: PROT_READ | PROT_WRITE, fixed: true });
  const memory = new GuestMemory(space);
  memory.poke(CODE, bytes(main));
  memory.poke(CALLEE, bytes(callee));
  const interpreter = new Interpreter(memory);
  const jit = enableJit(interpreter);
  jit.functionRange = (address) =>
    address >= CALLEE
      ? { start: CALLEE, end: CALLEE + 0x100, name: "runtime.duffzero", goAbi: false }
      : { start: CODE, end: CODE + size, name: "main.main", goAbi: true };
  jit.wanted(CODE);
  jit.wanted(CALLEE);
  expect(jit.statistics.regions).toBe(2);
  const cpu = new CpuState(wasm.buffer, 0);
  cpu.reset();
  cpu.rip = CODE;
  cpu.gpr[RSP] = BigInt(STACK + PAGE_SIZE);
  cpu.fuel = 1_000_000;
  expect(interpreter.run(cpu).kind).toBe("exception");
  return Number(cpu.gpr[RDX]);
}

// lea eax, [rax+1]; ret: as DUFFZERO it leaves the flags alone.
const KEEPS_FLAGS = "8d4001 c3";

it("lets flags through a call between a compare and its jump", () => {
  // mov ecx, 100; again: cmp ecx, 10; call callee; ja over; lea edx, [rdx+1]; over: dec ecx; jne again; hlt
  expect(run("b964000000 83f90a e8f30f0000 7703 8d5201 ffc9 75ef f4", KEEPS_FLAGS)).toBe(10);
});

it("lets them through where what is behind the call is another function", () => {
  const main = "b964000000 83f90a e8f30f0000";
  const behind = "7703 8d5201 ffc9 75ef f4";
  expect(run(main + behind, KEEPS_FLAGS, 13)).toBe(10);
});
