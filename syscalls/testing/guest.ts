// Guests made of a few instructions: assembled, packed into a static ELF file, run by goemu and, where the host is
// Linux on x86-64, by its kernel too, so that tests hold goemu and the real thing to the same answers.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PF_R, PF_W, PF_X } from "../../loader/elf-constants.ts";
import { testElf } from "../../loader/test-elf.ts";
import { describeErrno } from "../abi/errno.ts";
import type { ExitStatus } from "../linux-process.ts";
import { Machine, type MachineOptions } from "../machine.ts";
import { Assembler } from "./assembler.ts";
import { TestHost } from "./test-host.ts";
import { TEST_COMPILER, TEST_TIER } from "./tier.ts";

/** The guest's code (readable, executable, not writable). */
export const CODE = 0x40_1000;
const CODE_SIZE = 0x4000;
/** Words that the guest reports: `Assembler.record` fills them from here on. */
export const REPORT = 0x60_0000;
/** Memory for the guest's own purposes, zero at first, 1 MiB; the page before REPORT is not mapped. */
export const DATA = 0x60_2000;
const DATA_SIZE = 0x10_0000;

export interface GuestRun {
  /** What the guest recorded, as unsigned 64-bit words. */
  readonly words: readonly bigint[];
  readonly stdout: Uint8Array;
  readonly stderr: string;
  readonly status: ExitStatus;
}

export interface Guest {
  readonly elf: Uint8Array;
  /** Words that `record` has places for. */
  readonly wordCount: number;
}

/** Code that writes the report to standard output and exits with 0. */
function finish(a: Assembler): void {
  a.label("finish")
    .syscall(1, 1, REPORT, a.recordEnd - REPORT)
    .syscall(231, 0);
}

/** Builds a guest. Its code runs into the end, which reports; jump to "finish" to get there earlier. */
export function buildGuest(build: (a: Assembler) => void): Guest {
  const a = new Assembler(CODE, REPORT);
  build(a);
  finish(a);
  const code = a.assemble();
  if (code.length > CODE_SIZE) throw new Error(`the guest's code has ${code.length} bytes, more than ${CODE_SIZE}`);
  const elf = testElf({
    entry: CODE,
    size: 0x1000 + CODE_SIZE,
    segments: [
      { flags: PF_R | PF_X, offset: 0x1000, vaddr: CODE, fileSize: CODE_SIZE },
      { flags: PF_R | PF_W, offset: 0x1000, vaddr: REPORT, fileSize: 0, memSize: DATA - REPORT + DATA_SIZE },
      // GNU_STACK without PF_X: Linux gives an image without it READ_IMPLIES_EXEC.
      { type: 0x6474_e551, flags: PF_R | PF_W, fileSize: 0 },
    ],
    contents: [[0x1000, code]],
  });
  return { elf, wordCount: (a.recordEnd - REPORT) / 8 };
}

function wordsOf(bytes: Uint8Array, count: number): bigint[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const present = Math.min(count, Math.floor(bytes.length / 8));
  const from = bytes.length - present * 8;
  return Array.from({ length: present }, (_, i) => view.getBigUint64(from + i * 8, true));
}

/** A machine with a guest in it, not yet run. */
export function machineOf(guest: Guest, options: Partial<MachineOptions> = {}): { machine: Machine; host: TestHost } {
  const host = (options.host as TestHost | undefined) ?? new TestHost();
  const given = { program: guest.elf, path: "guest", host, tier: TEST_TIER, compilerThread: TEST_COMPILER };
  return { machine: new Machine({ ...given, ...options }), host };
}

/** Runs a guest in goemu. */
export async function runGuest(guest: Guest, options: Partial<MachineOptions> = {}): Promise<GuestRun> {
  const { machine, host } = machineOf(guest, options);
  const status = await machine.run();
  const stdout = host.stdout.bytes;
  return {
    words: wordsOf(stdout, guest.wordCount),
    stdout,
    stderr: new TextDecoder().decode(host.stderr.bytes),
    status,
  };
}

/** Is the host one that runs guests itself? */
export const hostIsNative = process.platform === "linux" && process.arch === "x64";

/** Runs a guest on the host. */
export function runNatively(guest: Guest, env: Readonly<Record<string, string>> = {}): GuestRun {
  const folder = mkdtempSync(join(tmpdir(), "goemu-guest-"));
  try {
    const path = join(folder, "guest");
    writeFileSync(path, guest.elf);
    chmodSync(path, 0o755);
    const run = spawnSync(path, [], { env: { ...env }, timeout: 20_000 });
    if (run.error) throw run.error;
    const status: ExitStatus =
      run.signal === null
        ? { kind: "exited", status: run.status as number }
        : { kind: "signaled", signal: constants.signals[run.signal] };
    const stdout = new Uint8Array(run.stdout);
    return { words: wordsOf(stdout, guest.wordCount), stdout, stderr: run.stderr.toString(), status };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A result of a system call for an assertion: "EINVAL" for an error, else the number. */
export function outcome(word: bigint): string | number {
  const value = Number(BigInt.asIntN(64, word));
  return value < 0 && value > -4096 ? (describeErrno(-value)?.name ?? value) : value;
}

/**
 * A test of what a guest sees: `check` must hold for goemu and, on a native host, for its kernel.
 * @param options.native false where the host's answer depends on the host (its CPUs, its limits)
 */
export function guestTest(
  name: string,
  build: (a: Assembler) => void,
  check: (run: GuestRun) => void,
  options: Partial<MachineOptions> & { readonly native?: boolean } = {},
): void {
  describe(name, () => {
    const guest = buildGuest(build);
    const { native = true, ...machineOptions } = options;
    it("in goemu", async () => {
      check(await runGuest(guest, machineOptions));
    });
    if (native) {
      it.skipIf(!hostIsNative)("on the host's kernel (skipped unless the host is Linux on x86-64)", () => {
        check(runNatively(guest));
      });
    }
  });
}

/** Expects that a guest came to its end, and that its results are these (see `outcome`). */
export function expectOutcomes(run: GuestRun, expected: readonly (string | number)[]): void {
  expect(run.words.map(outcome)).toEqual(expected);
  expect(run.status).toEqual({ kind: "exited", status: 0 });
}
