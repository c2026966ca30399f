import { SIGNAL } from "../../syscalls/abi/signals.ts";
import type { LinuxProcess } from "../../syscalls/linux-process.ts";
import { REGISTERS, type RegisterFeature } from "../debugger/registers.ts";

/**
 * What lldb's dialect of the protocol has beside gdb's (LLVM, lldb/docs/resources/lldbgdbremote.md), as far as Delve uses
 * it (pkg/proc/gdbserial/gdbserver_conn.go).
 */

/** Signals that a program gets without its debugger being asked. */
export const QUIET_SIGNALS: ReadonlySet<number> = new Set(
  ["SIGURG", "SIGPROF", "SIGVTALRM", "SIGALRM", "SIGCHLD", "SIGWINCH", "SIGPIPE"].map(
    (name) => SIGNAL[name as keyof typeof SIGNAL],
  ),
);

/** A packet that names its thread at the end: `p10;thread:1f;`. */
export function splitThreadSuffix(text: string): { text: string; thread: string | undefined } {
  const match = /^([pPgG].*?);thread:([0-9a-f]+);?$/s.exec(text);
  return match === null ? { text, thread: undefined } : { text: match[1], thread: match[2] };
}

const SETS: Record<RegisterFeature, string> = {
  core: "General Purpose Registers",
  sse: "Floating Point Registers",
  linux: "General Purpose Registers",
  segments: "General Purpose Registers",
  avx: "Advanced Vector Extensions",
};

/** What qRegisterInfo says of a register; undefined for a number that none has. */
export function registerInfo(number: number | undefined): string | undefined {
  const register = number === undefined ? undefined : REGISTERS[number];
  if (register === undefined) return undefined;
  const offset = REGISTERS.slice(0, number).reduce((sum, { bits }) => sum + bits / 8, 0);
  const vector = register.bits > 64;
  const fields = {
    name: register.name,
    bitsize: register.bits,
    offset,
    encoding: vector ? "vector" : "uint",
    format: vector ? "vector-uint8" : "hex",
    set: SETS[register.feature],
  };
  return Object.entries(fields)
    .map(([key, value]) => `${key}:${value};`)
    .join("");
}

/** qProcessInfo. */
export function processInfo(process: LinuxProcess): string {
  const { pid, ppid, uid, gid, euid, egid } = process;
  const ids = Object.entries({
    pid,
    "parent-pid": ppid,
    "real-uid": uid,
    "real-gid": gid,
    "effective-uid": euid,
    "effective-gid": egid,
  });
  return `${ids.map(([key, id]) => `${key}:${id.toString(16)};`).join("")}ostype:linux;vendor:unknown;endian:little;ptrsize:8;`;
}
