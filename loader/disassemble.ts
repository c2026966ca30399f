import { Decoder, DecoderOptions, Formatter, FormatterSyntax, Instruction, OpKind } from "iced-x86";
import { hex } from "./bytes.ts";
import type { Executable } from "./elf.ts";
import { SymbolError } from "./errors.ts";
import { goSyntax, type SymbolLookup } from "./go-syntax.ts";
import { ProgramImage } from "./symbols/image.ts";
import type { Func, SourceLine, SymbolTable } from "./symbols/table.ts";

export type Syntax = "gas" | "intel" | "go";
export const SYNTAXES: readonly Syntax[] = ["gas", "intel", "go"];

/** A stretch of code: linked address and length in bytes. */
export interface CodeRange {
  readonly start: number;
  readonly length: number;
}

/** One disassembled instruction. Addresses as linked. */
export interface DisassembledInstruction {
  readonly address: number;
  readonly bytes: Uint8Array;
  /** In the syntax asked for, with branch targets and global addresses named. */
  readonly text: string;
  readonly function: Func | undefined;
  readonly source: SourceLine | undefined;
}

/** Bytes disassembled for a bare address that no function holds. */
const DEFAULT_LENGTH = 64;
const NUMBER = /^(?:0x[0-9a-f]+|\d+)$/i;

/**
 * The range that a user's words ask for: `name` (the whole function), `address` (from there to its function's end) or
 * either with `,length`. Numbers are decimal or 0x-hexadecimal.
 * @throws SymbolError for a name that no function has, with suggestions, and for a length that is not a number.
 */
export function resolveRange(symbols: SymbolTable, text: string): CodeRange {
  // A generic function's name may hold commas itself: only a number after the last one is a length.
  const [, place, lengthText] = /^(.*?)(?:,((?:0x[0-9a-f]+)|\d+))?$/is.exec(text)!;
  const length = lengthText === undefined ? undefined : Number(lengthText);
  if (NUMBER.test(place)) {
    const start = Number(place);
    const func = symbols.lookup(start);
    return { start, length: length ?? (func === undefined ? DEFAULT_LENGTH : func.address + func.size - start) };
  }
  const func = functionNamed(symbols, place);
  return { start: func.address, length: length ?? func.size };
}

/**
 * The address that a user's words name: a function, `name+offset` into it, or a number; numbers are decimal or
 * 0x-hexadecimal.
 * @throws SymbolError for a name that no function has, with suggestions
 */
export function resolveAddress(symbols: SymbolTable, text: string): number {
  if (NUMBER.test(text)) return Number(text);
  // A function's name may hold a plus sign itself.
  const [, name, offset] = /^(.*)\+(0x[0-9a-f]+|\d+)$/is.exec(text) ?? [];
  if (name !== undefined && symbols.byName(text) === undefined)
    return functionNamed(symbols, name).address + Number(offset);
  return functionNamed(symbols, text).address;
}

function functionNamed(symbols: SymbolTable, name: string): Func {
  const func = symbols.byName(name);
  if (func !== undefined) return func;
  const near = symbols.nearest(name);
  throw new SymbolError(`no function ${name}${near.length > 0 ? `; did you mean ${near.join(", ")}?` : ""}`);
}

/**
 * Disassembles `length` bytes from the linked address `start`, as far as the file has them. Bytes that are no
 * instruction come out as `(bad)`. Damaged symbols count as none.
 * @throws SymbolError when nothing of the file is at `start`.
 */
export function* disassemble(
  executable: Executable,
  symbols: SymbolTable,
  { start, length, syntax }: CodeRange & { syntax: Syntax },
): Generator<DisassembledInstruction> {
  const { reader, offset } = new ProgramImage(executable).place(start);
  yield* disassembleBytes(reader.slice(offset, Math.min(length, reader.length - offset)), start, { symbols, syntax });
}

/** Disassembles code that lies at the address `start`, as `disassemble` does. */
export function* disassembleBytes(
  code: Uint8Array,
  start: number,
  { symbols, syntax }: { symbols: SymbolTable; syntax: Syntax },
): Generator<DisassembledInstruction> {
  const lookup = tolerant((address: number) => symbols.lookup(address));
  const anySymbol = tolerant((address: number) => symbols.lookup(address) ?? symbols.variableAt(address));
  const lineOf = tolerant((address: number) => symbols.lineOf(address));
  const decoder = new Decoder(64, code, DecoderOptions.None);
  const formatter = makeFormatter(syntax);
  const instruction = new Instruction();
  try {
    decoder.ip = BigInt(start);
    while (decoder.canDecode) {
      const at = decoder.position;
      decoder.decodeOut(instruction);
      const address = start + at;
      if (instruction.isInvalid) {
        // What is bad is one byte; the next one may start an instruction.
        decoder.position = at + 1;
        decoder.ip = BigInt(address + 1);
      }
      yield {
        address,
        bytes: code.slice(at, decoder.position),
        text: instruction.isInvalid ? "(bad)" : format(instruction, syntax, formatter, anySymbol),
        function: lookup(address),
        source: lineOf(address),
      };
    }
  } finally {
    instruction.free();
    formatter.free();
    decoder.free();
  }
}

function tolerant<T>(ask: (address: number) => T | undefined): (address: number) => T | undefined {
  return (address) => {
    try {
      return ask(address);
    } catch (error) {
      if (error instanceof SymbolError) {
        return undefined;
      }
      throw error;
    }
  };
}

function makeFormatter(syntax: Syntax): Formatter {
  const formatter = new Formatter(syntax === "gas" ? FormatterSyntax.Gas : FormatterSyntax.Intel);
  formatter.hexPrefix = "0x";
  formatter.hexSuffix = "";
  formatter.uppercaseHex = false;
  formatter.smallHexNumbersInDecimal = false;
  formatter.branchLeadingZeros = false;
  formatter.firstOperandCharIndex = 8;
  formatter.ripRelativeAddresses = true;
  formatter.spaceAfterOperandSeparator = syntax === "intel";
  return formatter;
}

function format(instruction: Instruction, syntax: Syntax, formatter: Formatter, lookup: SymbolLookup): string {
  if (syntax === "go") {
    return goSyntax(instruction, lookup);
  }
  const text = formatter.format(instruction);
  if (isNearBranch(instruction)) {
    const name = relativeName(Number(instruction.nearBranchTarget), lookup);
    return name === undefined ? text : `${text} <${name}>`;
  }
  if (instruction.isIpRelMemoryOperand) {
    const address = Number(instruction.ipRelMemoryAddress);
    const name = relativeName(address, lookup);
    return `${text}  # ${hex(address)}${name === undefined ? "" : ` <${name}>`}`;
  }
  return text;
}

function isNearBranch(instruction: Instruction): boolean {
  return instruction.opCount > 0 && instruction.opKind(0) === OpKind.NearBranch64;
}

/** `name` or `name+0x12` for an address in a function or variable. */
function relativeName(address: number, lookup: SymbolLookup): string | undefined {
  const symbol = lookup(address);
  if (symbol === undefined) {
    return undefined;
  }
  const offset = address - symbol.address;
  return offset === 0 ? symbol.name : `${symbol.name}+${hex(offset)}`;
}

/** The printed form: a heading for each function with its file, then address, bytes, line and instruction. */
export function* formatDisassembly(instructions: Iterable<DisassembledInstruction>): Generator<string> {
  let current: string | undefined;
  let first = true;
  for (const { address, bytes, text, function: func, source } of instructions) {
    const heading = func?.name ?? "";
    if (first || heading !== current) {
      if (!first) {
        yield "";
      }
      if (heading !== "") {
        yield `${heading}${source === undefined ? "" : `  ${source.file}`}`;
      }
      current = heading;
      first = false;
    }
    const place = source === undefined ? "" : `${baseName(source.file)}:${source.line}`;
    const raw = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    yield `  ${hex(address)}  ${raw.padEnd(30)}  ${place.padEnd(20)}  ${text}`.trimEnd();
  }
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** One instruction in GNU syntax, for messages; its bytes in hexadecimal if they make none. */
export function disassembleOne(bytes: Uint8Array, address: number): string {
  const decoder = new Decoder(64, bytes, DecoderOptions.None);
  const formatter = new Formatter(FormatterSyntax.Gas);
  decoder.ip = BigInt(address);
  const instruction = decoder.decode();
  try {
    return formatter.format(instruction);
  } finally {
    instruction.free();
    formatter.free();
    decoder.free();
  }
}
