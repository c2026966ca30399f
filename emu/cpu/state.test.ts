import { describe, expect, it } from "vitest";
import { CPU_STATE_SIZE, CPU_STATES } from "../layout.ts";
import { CpuState, REG } from "./state.ts";

// Only the state's page is touched; the rest of so large a buffer is never backed by memory.
const { buffer } = new WebAssembly.Memory({ initial: 65536, maximum: 65536 });
const cpu = new CpuState(buffer, 0);

describe("CpuState", () => {
  it("lies where the layout says", () => {
    expect([cpu.address, cpu.u8.length]).toEqual([CPU_STATES, CPU_STATE_SIZE]);
  });

  it.each([0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 0x7fff_ffff_efff])("keeps RIP %d", (rip) => {
    cpu.rip64 = 2n ** 64n - 1n;
    cpu.rip = rip;
    expect([cpu.rip, cpu.rip64]).toEqual([rip, BigInt(rip)]);
  });

  it.each([0, 1, 100_000, 2 ** 31, 2 ** 40 + 5, -1, -64, -(2 ** 31) - 1, -(2 ** 40) - 3])("keeps fuel %d", (fuel) => {
    cpu.fuel = fuel;
    expect(cpu.fuel).toBe(fuel);
  });

  it.each([0, 1, -1, -4095, 2 ** 32, 2 ** 52 + 1, -(2 ** 40) - 7])("sets a register to %d", (value) => {
    cpu.gpr[REG.RBX] = 0x1234n;
    cpu.setGprNumber(REG.RBX, value);
    expect(cpu.gpr[REG.RBX]).toBe(BigInt.asUintN(64, BigInt(value)));
  });

  it("gives back each combination of flags that was set", () => {
    for (let bits = 0; bits < 0x1000; bits++) {
      const flags = BigInt(bits & 0xcd5) | 0x202n;
      cpu.rflags = flags;
      expect([cpu.rflags, cpu.rflags32]).toEqual([flags, Number(flags)]);
    }
  });
});
