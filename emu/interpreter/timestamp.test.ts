import { describe, expect, it } from "vitest";
import { CpuState, REG } from "../cpu/state.ts";
import { enableJit, type Jit } from "../jit/tier.ts";
import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE, WASM_PAGES } from "../layout.ts";
import { AddressSpace } from "../memory/address-space.ts";
import { GuestMemory } from "../memory/guest-memory.ts";
import { Interpreter, type Stop } from "./interpreter.ts";

const CODE = 0x20_0000;
const RDTSC = [0x0f, 0x31];
const RDTSCP = [0x0f, 0x01, 0xf9];
const HLT = 0xf4;

function machine(tier: string, code: readonly number[]): { interpreter: Interpreter; cpu: CpuState } {
  const memory = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES });
  const space = new AddressSpace(memory);
  space.map({ address: CODE, length: PAGE_SIZE, prot: PROT_READ | PROT_WRITE | PROT_EXEC, fixed: true });
  const guest = new GuestMemory(space);
  const interpreter = new Interpreter(guest);
  if (tier === "jit") enableJit(interpreter).eager = true;
  guest.poke(CODE, Uint8Array.from([...code, HLT]));
  const cpu = new CpuState(memory.buffer as ArrayBuffer, 0);
  cpu.reset();
  cpu.rip = CODE;
  cpu.fuel = 1_000_000;
  for (const register of [REG.RAX, REG.RCX, REG.RDX]) cpu.gpr[register] = 2n ** 64n - 1n;
  return { interpreter, cpu };
}

/** HLT is privileged: getting to it is the end. */
function expectEnd(stop: Stop, cpu: CpuState, at: number): void {
  expect(stop.kind).toBe("exception");
  expect(cpu.rip).toBe(at);
}

describe.each(["interpreter", "jit"])("the time stamp counter, in tier %s", (tier) => {
  it.each([
    ["RDTSC", RDTSC, 2n ** 64n - 1n],
    ["RDTSCP", RDTSCP, 0n],
  ] as const)("%s gives it in EDX:EAX, clears the upper halves and keeps the flags", (_name, code, rcx) => {
    const { interpreter, cpu } = machine(tier, code);
    interpreter.tsc = () => 0x12_3456_89ab_cdef;
    cpu.rflags = 0x8d7n;
    expectEnd(interpreter.run(cpu), cpu, CODE + code.length);
    expect([cpu.gpr[REG.RAX], cpu.gpr[REG.RDX], cpu.gpr[REG.RCX]]).toEqual([0x89ab_cdefn, 0x12_3456n, rcx]);
    expect(cpu.rflags & 0x8d5n).toBe(0x8d5n);
  });

  it("is read anew by each instruction, in order, without a stop in a loop", () => {
    // mov ecx, 1000; xor esi, esi; again: rdtsc; mov rbx, rax; rdtsc; sub rax, rbx; add rsi, rax; dec ecx; jnz again
    const loop = [...RDTSC, 0x48, 0x89, 0xc3, ...RDTSC, 0x48, 0x29, 0xd8, 0x48, 0x01, 0xc6, 0xff, 0xc9, 0x75];
    const code = [0xb9, 0xe8, 0x03, 0, 0, 0x31, 0xf6, ...loop, 256 - loop.length - 1];
    const { interpreter, cpu } = machine(tier, code);
    let now = 2 ** 32 - 3000;
    let calls = 0;
    interpreter.tsc = () => {
      calls++;
      now += 7;
      return now;
    };
    expectEnd(interpreter.run(cpu), cpu, CODE + code.length);
    expect(calls).toBe(2000);
    // Where EAX wraps around, once, the difference is short of 2^32: the counter passes that between two loops.
    expect(cpu.gpr[REG.RSI]).toBe(7000n);
    expect((interpreter.jit as Jit | undefined)?.statistics.regions ?? 1).toBeGreaterThan(0);
  });

  it("is read by a single step", () => {
    const { interpreter, cpu } = machine(tier, RDTSC);
    interpreter.tsc = () => 42;
    expect(interpreter.step(cpu).kind).toBe("fuel");
    expect([cpu.rip, cpu.gpr[REG.RAX], cpu.gpr[REG.RDX]]).toEqual([CODE + 2, 42n, 0n]);
  });
});
