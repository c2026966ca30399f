import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import { SyscallError } from "../abi/errno.ts";
import type { Process } from "../process.ts";

export const NS_PER_SECOND = 1_000_000_000;
const KTIME_MAX = 0x7fff_ffff_ffff_ffffn;

/** Reads a struct timespec as ns. @throws SyscallError EINVAL for a negative time or 10^9 ns and more */
export function readTimespec(memory: GuestMemory, address: number): number {
  const seconds = memory.readNumber(address);
  const ns = memory.readNumber(address + 8);
  if (seconds < 0 || ns < 0 || ns >= NS_PER_SECOND) throw new SyscallError("EINVAL");
  return seconds * NS_PER_SECOND + ns;
}

/** Reads a struct itimerspec as ns: interval, then value. @throws SyscallError EINVAL as readTimespec */
export function readItimerspec(memory: GuestMemory, address: number): { interval: bigint; value: bigint } {
  const view = new DataView(memory.readBytes(address, 32).buffer);
  const time = (at: number): bigint => {
    const [seconds, ns] = [view.getBigInt64(at, true), view.getBigInt64(at + 8, true)];
    if (seconds < 0n || ns < 0n || ns >= BigInt(NS_PER_SECOND)) throw new SyscallError("EINVAL");
    // Linux's ktime_t ends at 2^63 ns (include/linux/ktime.h, ktime_set).
    const total = seconds * BigInt(NS_PER_SECOND) + ns;
    return total > KTIME_MAX ? KTIME_MAX : total;
  };
  return { interval: time(0), value: time(16) };
}

/** Writes a struct itimerspec, with nothing written if part of it cannot be. @throws GuestFault */
export function writeItimerspec(memory: GuestMemory, address: number, interval: bigint, value: bigint): void {
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  for (const [i, ns] of [interval, value].entries()) {
    view.setBigInt64(16 * i, ns / BigInt(NS_PER_SECOND), true);
    view.setBigInt64(16 * i + 8, ns % BigInt(NS_PER_SECOND), true);
  }
  memory.writeBytes(address, bytes);
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
