import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import { SyscallError } from "../abi/errno.ts";
import type { Process } from "../process.ts";

export const NS_PER_SECOND = 1_000_000_000;

/** Reads a struct timespec as ns. @throws SyscallError EINVAL for a negative time or 10^9 ns and more */
export function readTimespec(memory: GuestMemory, address: number): number {
  const seconds = memory.readNumber(address);
  const ns = memory.readNumber(address + 8);
  if (seconds < 0 || ns < 0 || ns >= NS_PER_SECOND) throw new SyscallError("EINVAL");
  return seconds * NS_PER_SECOND + ns;
}

export function writeTimespec(memory: GuestMemory, address: number, ns: bigint): void {
  memory.writeU64(address, ns / BigInt(NS_PER_SECOND));
  memory.writeU64(address + 8, ns % BigInt(NS_PER_SECOND));
}

/** Reads a struct timeval (seconds, microseconds) as ns. */
export function readTimeval(memory: GuestMemory, address: number): number {
  const seconds = memory.readNumber(address);
  const microseconds = memory.readNumber(address + 8);
  if (seconds < 0 || microseconds < 0 || microseconds >= 1_000_000) throw new SyscallError("EINVAL");
  return seconds * NS_PER_SECOND + microseconds * 1000;
}

export function writeTimeval(memory: GuestMemory, address: number, ns: number): void {
  memory.writeU64(address, BigInt(Math.floor(ns / NS_PER_SECOND)));
  memory.writeU64(address + 8, BigInt(Math.floor((ns % NS_PER_SECOND) / 1000)));
}

/** CLOCK_MONOTONIC time `ns` from now. */
export function deadlineAt(process: Process, ns: number): number {
  return process.clock.monotonicNs() + ns;
}
