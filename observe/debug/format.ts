import type { CpuState } from "../../emu/cpu/state.ts";
import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { Debugger } from "../debugger/debugger.ts";
import { REGISTERS } from "../debugger/registers.ts";

/** RFLAGS bits by name (SDM Vol. 1, 3.4.3). */
const FLAGS: readonly [string, bigint][] = [
  ["CF", 0n],
  ["PF", 2n],
  ["AF", 4n],
  ["ZF", 6n],
  ["SF", 7n],
  ["DF", 10n],
  ["OF", 11n],
];

export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
const hex64 = (value: bigint): string => `0x${value.toString(16).padStart(16, "0")}`;

/** Names of the flags that are set. */
export function flagNames({ rflags }: CpuState): string {
  return FLAGS.filter(([, bit]) => (rflags >> bit) & 1n)
    .map(([name]) => name)
    .join(" ");
}

/** The general registers, RIP, flags and segment bases, three a line. */
export function registerLines(thread: LinuxThread, debug: Debugger): string[] {
  const shown = REGISTERS.filter(({ feature, name, bits }) => {
    return (
      (feature === "core" && bits === 64) || feature === "segments" || (feature === "linux" && name === "orig_rax")
    );
  });
  const cells = shown.map((register) => `${register.name.padEnd(8)} ${hex64(numberOf(register.read(thread, debug)))}`);
  const lines: string[] = [];
  for (let i = 0; i < cells.length; i += 3) lines.push(cells.slice(i, i + 3).join("   "));
  lines.push(`eflags   ${hex(thread.cpu.rflags)} [${flagNames(thread.cpu)}]`);
  return lines;
}

export const numberOf = (bytes: Uint8Array): bigint =>
  bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);

/** Sizes of gdb's letters for `x`. */
const UNIT: Record<string, number> = { b: 1, h: 2, w: 4, g: 8 };

/** How `x` shows memory: count, format (x d u c s i) and unit (b h w g). */
export interface DumpFormat {
  readonly count: number;
  readonly format: string;
  readonly unit: number;
}

/** "/8xg" and the like; undefined for what is none. */
export function parseDumpFormat(text: string): DumpFormat | undefined {
  const match = /^\/?(\d*)([xducsi]?)([bhwg]?)$|^\/?(\d*)([bhwg])([xducsi])$/.exec(text);
  if (match === null) return undefined;
  const [count, format, unit] = match[4] === undefined ? match.slice(1, 4) : [match[4], match[6], match[5]];
  const defaultUnit = format === "c" || format === "s" ? 1 : 8;
  return { count: Number(count || 1), format: format || "x", unit: UNIT[unit] ?? defaultUnit };
}

/** Memory as numbers, about 64 columns a line. */
export function dumpLines(address: number, bytes: Uint8Array, { format, unit }: DumpFormat): string[] {
  const perLine = unit === 8 ? 2 : unit === 4 ? 4 : unit === 2 ? 8 : 16;
  const lines: string[] = [];
  for (let at = 0; at + unit <= bytes.length; at += unit * perLine) {
    const cells: string[] = [];
    for (let i = at; i < Math.min(at + unit * perLine, bytes.length) && i + unit <= bytes.length; i += unit) {
      cells.push(cell(numberOf(bytes.subarray(i, i + unit)), format, unit));
    }
    lines.push(`${hex(address + at)}:  ${cells.join(" ")}`);
  }
  return lines;
}

function cell(value: bigint, format: string, unit: number): string {
  if (format === "d") return BigInt.asIntN(unit * 8, value).toString();
  if (format === "u") return value.toString();
  if (format === "c")
    return value >= 32n && value < 127n
      ? `'${String.fromCharCode(Number(value))}'`
      : `\\x${value.toString(16).padStart(2, "0")}`;
  return `0x${value.toString(16).padStart(unit * 2, "0")}`;
}

/** Bytes up to a NUL as text in quotes. */
export function stringAt(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return JSON.stringify(new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end)));
}
