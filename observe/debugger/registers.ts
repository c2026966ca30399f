import { type CpuState, REG, REGISTER_NAMES, STATE } from "../../emu/cpu/state.ts";
import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { Debugger } from "./debugger.ts";

/** The features of gdb's target description (gdb manual, "i386 Features"). */
export type RegisterFeature = "core" | "sse" | "linux" | "segments" | "avx";

/** A register as debuggers know it; values are little-endian bytes. */
export interface Register {
  readonly name: string;
  readonly bits: number;
  /** gdb's type of it. */
  readonly type: string;
  readonly feature: RegisterFeature;
  readonly group?: string;
  read(thread: LinuxThread, debug: Debugger): Uint8Array;
  write(thread: LinuxThread, bytes: Uint8Array): void;
}

/** RAX of a thread that waits in a system call, and before one (Linux: ERESTARTSYS, ENOSYS; entry_64.S). */
const RAX_WAITING = -512n;
const RAX_ENTRY = -38n;
const NO_SYSCALL = -1n;

/** Selectors of 64-bit user code (arch/x86/include/asm/segment.h, __USER_CS and __USER_DS). */
const SELECTORS: Record<string, number> = { cs: 0x33, ss: 0x2b, ds: 0, es: 0, fs: 0, gs: 0 };

const integer = (bits: number, value: bigint): Uint8Array => {
  const bytes = new Uint8Array(bits / 8);
  for (let i = 0, rest = BigInt.asUintN(bits, value); i < bytes.length; i++, rest >>= 8n)
    bytes[i] = Number(rest & 0xffn);
  return bytes;
};

const valueFrom = (bytes: Uint8Array): bigint => bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);

function whole(
  name: string,
  bits: number,
  type: string,
  feature: RegisterFeature,
  get: (thread: LinuxThread, debug: Debugger) => bigint,
  set: (thread: LinuxThread, value: bigint) => void,
  group?: string,
): Register {
  return {
    name,
    bits,
    type,
    feature,
    group,
    read: (thread, debug) => integer(bits, get(thread, debug)),
    write: (thread, bytes) => set(thread, valueFrom(bytes)),
  };
}

function part(
  name: string,
  bits: number,
  type: string,
  feature: RegisterFeature,
  bytesOf: (cpu: CpuState) => Uint8Array,
): Register {
  return {
    name,
    bits,
    type,
    feature,
    read: ({ cpu }) => bytesOf(cpu).slice(),
    write: ({ cpu }, bytes) => bytesOf(cpu).set(bytes.subarray(0, bits / 8)),
  };
}

const nothing = (): void => {};

/** General registers in gdb's order (gdb/features/i386/64bit-core.xml). */
const GENERAL = "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15".split(" ");

function general(name: string): Register {
  const number = REGISTER_NAMES.indexOf(name);
  const type = name === "rbp" || name === "rsp" ? "data_ptr" : "int64";
  const get = (thread: LinuxThread, debug: Debugger): bigint => {
    if (number === REG.RAX) {
      const phase = debug.syscallOf(thread)?.phase;
      if (phase === "waiting") return RAX_WAITING;
      if (phase === "entry") return RAX_ENTRY;
    }
    return thread.cpu.gpr[number];
  };
  return whole(name, 64, type, "core", get, (thread, value) => {
    // RAX of a system call under way is what the call will make it.
    if (number !== REG.RAX || (value !== BigInt.asUintN(64, RAX_WAITING) && value !== BigInt.asUintN(64, RAX_ENTRY))) {
      thread.cpu.gpr[number] = value;
    }
  });
}

/** x87 control registers: byte offset in FXSAVE's image, bytes, and gdb's name (SDM Vol. 1, table 10-2). */
const X87_CONTROL: readonly [string, number, number][] = [
  ["fctrl", 0, 2],
  ["fstat", 2, 2],
  ["ftag", 4, 1],
  ["fiseg", 12, 2],
  ["fioff", 8, 4],
  ["foseg", 20, 2],
  ["fooff", 16, 4],
  ["fop", 6, 2],
];

const image = (cpu: CpuState): Uint8Array => cpu.u8.subarray(STATE.x87, STATE.x87 + 160);

/** ST(i): in the CPU state the registers lie in physical order, whatever TOP is. */
function stackRegister(cpu: CpuState, i: number): Uint8Array {
  const bytes = image(cpu);
  const physical = (((bytes[3] >> 3) & 7) + i) & 7;
  return bytes.subarray(32 + physical * 16, 42 + physical * 16);
}

/** The tag word with two bits a register, from FXSAVE's one bit (SDM Vol. 2A, FXSAVE, "x87 FPU Tag Word"). */
function fullTagWord(cpu: CpuState): bigint {
  const bytes = image(cpu);
  let word = 0;
  for (let physical = 0; physical < 8; physical++) {
    const st = bytes.subarray(32 + physical * 16, 42 + physical * 16);
    word |= tagOf(st, ((bytes[4] >> physical) & 1) === 1) << (physical * 2);
  }
  return BigInt(word);
}

/** 0 valid, 1 zero, 2 special, 3 empty (SDM Vol. 1, 8.1.7). */
function tagOf(st: Uint8Array, used: boolean): number {
  if (!used) return 3;
  const exponent = (st[8] | (st[9] << 8)) & 0x7fff;
  const significand = valueFrom(st.subarray(0, 8));
  if (exponent === 0 && significand === 0n) return 1;
  return exponent === 0 || exponent === 0x7fff || significand >> 63n === 0n ? 2 : 0;
}

function abridgedTagWord(word: bigint): number {
  let bits = 0;
  for (let i = 0; i < 8; i++) if (((word >> BigInt(i * 2)) & 3n) !== 3n) bits |= 1 << i;
  return bits;
}

function x87Control([name, offset, size]: [string, number, number]): Register {
  const get = ({ cpu }: LinuxThread): bigint =>
    name === "ftag" ? fullTagWord(cpu) : valueFrom(image(cpu).subarray(offset, offset + size));
  const set = ({ cpu }: LinuxThread, value: bigint): void => {
    const stored = name === "ftag" ? BigInt(abridgedTagWord(value)) : value;
    image(cpu).set(integer(size * 8, stored), offset);
  };
  return whole(name, 32, "int", "core", get, set, "float");
}

const numbers = (count: number): number[] => [...Array(count).keys()];

/** All registers, in gdb's order; a register's number is its index. */
export const REGISTERS: readonly Register[] = [
  ...GENERAL.map(general),
  whole(
    "rip",
    64,
    "code_ptr",
    "core",
    ({ cpu }) => cpu.rip64,
    ({ cpu }, value) => {
      cpu.rip64 = value;
    },
  ),
  whole(
    "eflags",
    32,
    "i386_eflags",
    "core",
    ({ cpu }) => cpu.rflags,
    ({ cpu }, value) => {
      cpu.rflags = value;
    },
  ),
  ...Object.entries(SELECTORS).map(([name, value]) => whole(name, 32, "int32", "core", () => BigInt(value), nothing)),
  ...numbers(8).map((i) => part(`st${i}`, 80, "i387_ext", "core", (cpu) => stackRegister(cpu, i))),
  ...X87_CONTROL.map(x87Control),
  ...numbers(16).map((i) => part(`xmm${i}`, 128, "vec128", "sse", (cpu) => cpu.vector(i).subarray(0, 16))),
  whole(
    "mxcsr",
    32,
    "i386_mxcsr",
    "sse",
    ({ cpu }) => BigInt(cpu.mxcsr),
    ({ cpu }, value) => {
      // Reserved bits can't be set (SDM Vol. 1, 10.2.3).
      cpu.mxcsr = Number(value & 0xffffn);
    },
    "vector",
  ),
  whole(
    "orig_rax",
    64,
    "int",
    "linux",
    (thread, debug) => BigInt(debug.syscallOf(thread)?.number ?? NO_SYSCALL),
    nothing,
    "system",
  ),
  whole(
    "fs_base",
    64,
    "int",
    "segments",
    ({ cpu }) => cpu.fsBase,
    ({ cpu }, value) => {
      cpu.fsBase = value;
    },
  ),
  whole(
    "gs_base",
    64,
    "int",
    "segments",
    ({ cpu }) => cpu.gsBase,
    ({ cpu }, value) => {
      cpu.gsBase = value;
    },
  ),
  ...numbers(16).map((i) => part(`ymm${i}h`, 128, "uint128", "avx", (cpu) => cpu.vector(i).subarray(16, 32))),
];

/** Number of a register by name. */
export const registerNumber = (name: string): number => REGISTERS.findIndex((register) => register.name === name);
