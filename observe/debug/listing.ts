import { ConditionCode, Decoder, DecoderOptions, Formatter, FormatterSyntax } from "iced-x86";
import { peek } from "../../syscalls/memory/peek.ts";
import type { CodeAt, SourceView } from "./source.ts";

/** Conditions from RFLAGS (SDM Vol. 2A, appendix B.1.4.7). */
const CONDITIONS: Partial<Record<ConditionCode, (flags: Flags) => boolean>> = {
  [ConditionCode.o]: ({ of }) => of,
  [ConditionCode.no]: ({ of }) => !of,
  [ConditionCode.b]: ({ cf }) => cf,
  [ConditionCode.ae]: ({ cf }) => !cf,
  [ConditionCode.e]: ({ zf }) => zf,
  [ConditionCode.ne]: ({ zf }) => !zf,
  [ConditionCode.be]: ({ cf, zf }) => cf || zf,
  [ConditionCode.a]: ({ cf, zf }) => !cf && !zf,
  [ConditionCode.s]: ({ sf }) => sf,
  [ConditionCode.ns]: ({ sf }) => !sf,
  [ConditionCode.p]: ({ pf }) => pf,
  [ConditionCode.np]: ({ pf }) => !pf,
  [ConditionCode.l]: ({ sf, of }) => sf !== of,
  [ConditionCode.ge]: ({ sf, of }) => sf === of,
  [ConditionCode.le]: ({ zf, sf, of }) => zf || sf !== of,
  [ConditionCode.g]: ({ zf, sf, of }) => !zf && sf === of,
};

interface Flags {
  readonly cf: boolean;
  readonly pf: boolean;
  readonly zf: boolean;
  readonly sf: boolean;
  readonly of: boolean;
}

const flagsOf = (rflags: bigint): Flags => {
  const bit = (at: bigint): boolean => ((rflags >> at) & 1n) === 1n;
  return { cf: bit(0n), pf: bit(2n), zf: bit(6n), sf: bit(7n), of: bit(11n) };
};

/** How a listing is cut and marked. */
export interface ListingOptions {
  readonly start: number;
  readonly length: number;
  /** Most instructions. */
  readonly most?: number;
  /** The instruction that is next, which is marked; with the flags of its thread. */
  readonly current?: { readonly rip: number; readonly rflags: bigint };
  readonly hasBreakpoint: (address: number) => boolean;
}

/** Code of the guest as it is in memory: `=>` at the current instruction, `*` at breakpoints, arrows along jumps. */
export function listing(source: SourceView, { start, length, most, current, hasBreakpoint }: ListingOptions): string[] {
  const code = [...source.instructions(start, length)].slice(0, most);
  const arrows = drawArrows(code);
  const lines: string[] = [];
  let lastLine = "";
  for (const [i, instruction] of code.entries()) {
    const line = source.lineOf(instruction.address);
    const place = line === undefined ? "" : `${line.file.slice(line.file.lastIndexOf("/") + 1)}:${line.line}`;
    const isCurrent = instruction.address === current?.rip;
    const mark = `${isCurrent ? "=>" : "  "}${hasBreakpoint(instruction.address) ? "*" : " "}`;
    const text = textOf(peek(source.machine.memory, instruction.address, instruction.length), instruction.address);
    const shown = place === lastLine ? "" : place;
    lastLine = place;
    const end = isCurrent ? outcome(instruction, current?.rflags ?? 0n) : "";
    lines.push(
      `${mark} 0x${instruction.address.toString(16)} ${arrows[i]} ${text}${targetName(source, instruction)}${end}`.padEnd(
        88,
      ) + shown,
    );
  }
  return lines.map((line) => line.trimEnd());
}

function targetName(source: SourceView, { target }: CodeAt): string {
  const func = target === undefined ? undefined : source.function(target);
  if (func === undefined || target === undefined) return "";
  const offset = target - func.address;
  return ` <${func.name}${offset === 0 ? "" : `+0x${offset.toString(16)}`}>`;
}

/** Whether a conditional jump will be taken. */
function outcome({ condition, target }: CodeAt, rflags: bigint): string {
  const holds = CONDITIONS[condition];
  if (holds === undefined || target === undefined) return "";
  return holds(flagsOf(rflags)) ? "  (taken)" : "  (not taken)";
}

/** Columns that arrows take at most. */
const ARROW_COLUMNS = 4;

/** Arrows from jumps to their targets within the listing, one column each, the shortest innermost. */
function drawArrows(code: readonly CodeAt[]): string[] {
  const index = new Map(code.map(({ address }, i) => [address, i]));
  const jumps = code
    .map(({ target, isCall }, from) => ({ from, to: target === undefined || isCall ? undefined : index.get(target) }))
    .filter((jump): jump is { from: number; to: number } => jump.to !== undefined && jump.to !== jump.from)
    .sort((a, b) => Math.abs(a.to - a.from) - Math.abs(b.to - b.from));
  const grid = code.map(() => new Array<string>(ARROW_COLUMNS + 1).fill(" "));
  for (const { from, to } of jumps) {
    const [low, high] = from < to ? [from, to] : [to, from];
    const isFree = (column: number): boolean => grid.slice(low, high + 1).every((row) => row[column] === " ");
    const column = [...Array(ARROW_COLUMNS).keys()].reverse().find(isFree);
    if (column === undefined) continue;
    for (let row = low; row <= high; row++) grid[row][column] = row === low ? "┌" : row === high ? "└" : "│";
    for (let c = column + 1; c <= ARROW_COLUMNS; c++) {
      if (grid[from][c] === " ") grid[from][c] = "─";
      if (grid[to][c] === " ") grid[to][c] = c === ARROW_COLUMNS ? "▶" : "─";
    }
  }
  return grid.map((row) => row.join(""));
}

/** One instruction in GNU syntax. */
function textOf(bytes: Uint8Array, address: number): string {
  const decoder = new Decoder(64, bytes, DecoderOptions.None);
  decoder.ip = BigInt(address);
  const instruction = decoder.decode();
  const formatter = new Formatter(FormatterSyntax.Gas);
  try {
    formatter.uppercaseHex = false;
    formatter.smallHexNumbersInDecimal = false;
    formatter.branchLeadingZeros = false;
    formatter.firstOperandCharIndex = 8;
    return formatter.format(instruction);
  } finally {
    formatter.free();
    instruction.free();
    decoder.free();
  }
}
