import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { Machine } from "../../syscalls/machine.ts";

/** What a thread is doing, for `info threads`. */
export function describeThread(machine: Machine): (thread: LinuxThread) => string {
  return (thread) => machine.symbols.lookup(thread.cpu.rip)?.name ?? "";
}

/** Commands behind gdb's `monitor`. */
export function monitor(_machine: Machine): (command: string) => string {
  return (command) => `unknown command ${command}\n`;
}

/** AT_ENTRY (include/uapi/linux/auxvec.h). */
const AT_ENTRY = 9n;

/** Distance between where the image is linked and where it lies: what position-independent executables are moved by. */
export function imageBias(machine: Machine): number {
  const { auxv } = machine.process;
  const view = new DataView(auxv.buffer, auxv.byteOffset, auxv.length);
  for (let at = 0; at + 16 <= auxv.length; at += 16) {
    if (view.getBigUint64(at, true) === AT_ENTRY)
      return Number(view.getBigUint64(at + 8, true)) - machine.executable.entry;
  }
  return 0;
}
