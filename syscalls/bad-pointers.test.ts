// Every system call with pointers that lead nowhere and with random arguments: the answer is an errno or a number, never
// an exception of goemu's, and it comes at once.
import { describe, expect, it } from "vitest";
import { describeErrno } from "./abi/errno.ts";
import { Args } from "./args.ts";
import type { Machine } from "./machine.ts";
import { SYSCALLS } from "./syscalls.ts";
import type { ArgKind, SyscallRow } from "./table.ts";
import { buildGuest, DATA, machineOf } from "./testing/guest.ts";
import { Random } from "./testing/random.ts";

const rows = SYSCALLS.filter((row) => row !== undefined) as unknown as SyscallRow[];
/** Arguments that a call reads or writes through, whatever its other arguments are. */
const POINTERS: ReadonlySet<ArgKind> = new Set<ArgKind>(["path", "stat", "utsname", "fdPair", "statfs"]);
/** Is it such an argument? The name behind a descriptor (fsetxattr) counts only once the descriptor is a right one. */
const isPointer = (kind: ArgKind, i: number, kinds: readonly ArgKind[]): boolean =>
  POINTERS.has(kind) && !(kind === "path" && kinds[i - 1] === "fd");
/** Calls that ask first whether the caller may do such a thing (fs/namespace.c, pivot_root), which the guest may not. */
const RIGHTS_FIRST: ReadonlySet<string> = new Set(["pivot_root"]);
const WILD = [
  0n,
  8n,
  0x1000n,
  0x2000_0000n,
  0x5fff_ffffn,
  0xefff_ffffn,
  0xf000_0000n,
  0xffff_ffffn,
  0x7fff_ffff_efffn,
  0x7fff_ffff_f000n,
  0x8000_0000_0000n,
  1n << 53n,
  1n << 63n,
  0xffff_ffff_ffff_f000n,
  (1n << 64n) - 1n,
];
/** Valid memory, its last byte, code, and small numbers that are descriptors, flags, sizes. */
const TAME = [
  BigInt(DATA),
  BigInt(DATA + 0xf_ffff),
  BigInt(DATA + 1),
  0x40_1000n,
  1n,
  2n,
  3n,
  5n,
  7n,
  16n,
  64n,
  4096n,
  0x2_0000n,
];
/** No call may take longer, in milliseconds. */
const TIME_LIMIT = 1500;
const ROUNDS = 150;
/** A machine serves so many calls' tests before it is replaced. */
const TESTS_A_MACHINE = 16;
const AT_FDCWD = BigInt.asUintN(64, -100n);

const guest = buildGuest(() => {});
const newMachine = (): Machine => machineOf(guest).machine;

/** Makes one call; gives the result, undefined if it waits or has ended the process. */
function call(machine: Machine, row: SyscallRow, values: readonly bigint[]): bigint | undefined {
  const { process, mainThread: thread } = machine;
  const start = performance.now();
  const args = new Args(BigUint64Array.from({ length: 6 }, (_, i) => values[i] ?? 0n));
  thread.cpu.gpr[0] = 0x7777n;
  try {
    process.callSystem(thread, row.number, args);
  } catch (error) {
    throw new Error(`${row.name}(${values.map((value) => `0x${value.toString(16)}`).join(", ")}) threw`, {
      cause: error,
    });
  }
  expect(performance.now() - start, `${row.name}(${values.map((value) => value.toString(16))})`).toBeLessThan(
    TIME_LIMIT,
  );
  for (const other of [...machine.kernel.processes.values()]) if (other !== process) other.exit(0);
  if (process.finished) return undefined;
  if (thread.state === "runnable") return BigInt.asIntN(64, thread.cpu.gpr[0]);
  process.waits.abandon(thread);
  thread.state = "runnable";
  return undefined;
}

let machine = newMachine();

describe("a system call with bad pointers", () => {
  it.each(
    rows.filter((row) => row.args.some(isPointer)).map((row) => [row.name, row] as const),
  )("%s says so", (_name, row) => {
    const expected = RIGHTS_FIRST.has(row.name) ? "EPERM" : "EFAULT";
    for (const wild of WILD.slice(1)) {
      const values = row.args.map((kind, at) => {
        if (isPointer(kind, at, row.args)) return wild;
        return kind === "dirfd" ? AT_FDCWD : kind === "size" ? 1n : 0n;
      });
      const result = call(machine, row, values);
      expect(describeErrno(-Number(result))?.name, `at 0x${wild.toString(16)}`).toBe(expected);
    }
  });
});

describe("a system call with random arguments", () => {
  it.each(
    rows.map((row, index) => [row.name, row, index] as const),
  )("%s ends in a number or an errno", (_name, row, index) => {
    const random = new Random(row.number + 1);
    if (index % TESTS_A_MACHINE === 0) machine = newMachine();
    for (let round = 0; round < ROUNDS; round++) {
      const values = Array.from({ length: 6 }, (_, i) => {
        if (random.below(20) === 0) return (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32));
        const pointer = i < row.args.length && random.below(2) === 0;
        return random.pick(pointer ? WILD : TAME);
      });
      const result = call(machine, row, values);
      if (machine.process.finished) machine = newMachine();
      else if (result !== undefined && result < 0n && result > -4096n) {
        expect(describeErrno(-Number(result)), `${row.name} returned ${result}`).toBeDefined();
      }
    }
    expect(process.memoryUsage().heapUsed).toBeLessThan(1 << 30);
  });
});
