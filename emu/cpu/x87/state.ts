import type { CpuState } from "../state.ts";
import { loadFxsave, storeFxsave } from "./images.ts";
import { X87Registers } from "./registers.ts";

/**
 * A thread's x87 state as the first 160 bytes of an FXSAVE64 image, with ST(0)–ST(7) in stack order: what signal frames
 * and debuggers show. MXCSR's place (bytes 24–31) is zero.
 */
export function fxsaveImage(cpu: CpuState): Uint8Array {
  return storeFxsave(new X87Registers(cpu.u8), true);
}

/** Takes a thread's x87 state from an FXSAVE64 image; bytes 24–31 do not matter. */
export function setFxsaveImage(cpu: CpuState, image: Uint8Array): void {
  const registers = new X87Registers(cpu.u8);
  loadFxsave(registers, image, true);
  registers.store(cpu.u8);
}
