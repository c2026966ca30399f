import { type ConditionCode, Decoder, DecoderOptions, FlowControl, type Instruction, OpKind } from "iced-x86";
import type { Func, SourceLine } from "../../loader/symbols/table.ts";
import type { Machine } from "../../syscalls/machine.ts";
import { peek } from "../../syscalls/memory/peek.ts";
import type { AddressRange } from "../debugger/events.ts";
import { functionAt } from "../debugger/go-view.ts";

/** An instruction's place and kind. */
export interface CodeAt {
  readonly address: number;
  readonly length: number;
  readonly isCall: boolean;
  /** Where a direct jump or call goes. */
  readonly target: number | undefined;
  /** Of a conditional jump: iced's number of the condition. */
  readonly condition: ConditionCode;
}

/** Longest function that is looked through for a line, in bytes. */
const MAX_FUNCTION = 0x10_0000;

const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

/** The program's code and where it comes from, as the console needs it. */
export class SourceView {
  readonly machine: Machine;

  constructor(machine: Machine) {
    this.machine = machine;
  }

  /** "main.work+0x13 at main.go:9". */
  describe(address: number): string {
    const line = this.lineOf(address);
    const func = this.function(address);
    const offset = func === undefined ? 0 : address - func.address;
    const name = functionAt(this.machine, address);
    const place = line === undefined ? "" : ` at ${baseName(line.file)}:${line.line}`;
    return `${name}${offset === 0 ? "" : `+0x${offset.toString(16)}`}${place}`;
  }

  lineOf(address: number): SourceLine | undefined {
    return this.machine.symbols.lineOf(address);
  }

  function(address: number): Func | undefined {
    return this.machine.symbols.lookup(address);
  }

  /** Instructions of [start, start + length), as far as there are any. */
  *instructions(start: number, length: number): Generator<CodeAt> {
    const decoder = new Decoder(
      64,
      peek(this.machine.memory, start, Math.min(length, MAX_FUNCTION)),
      DecoderOptions.None,
    );
    decoder.ip = BigInt(start);
    try {
      while (decoder.canDecode) {
        const address = start + decoder.position;
        const instruction: Instruction = decoder.decode();
        const isCall =
          instruction.flowControl === FlowControl.Call || instruction.flowControl === FlowControl.IndirectCall;
        const near = instruction.opCount > 0 && instruction.opKind(0) === OpKind.NearBranch64;
        const target = near ? Number(instruction.nearBranchTarget) : undefined;
        const condition = instruction.conditionCode;
        const size = Math.max(instruction.length, 1);
        instruction.free();
        yield { address, length: size, isCall, target, condition };
      }
    } finally {
      decoder.free();
    }
  }

  /** The stretch of instructions around an address that come from the same line. */
  lineRange(address: number): AddressRange {
    const line = this.lineOf(address);
    const func = this.function(address);
    if (line === undefined || func === undefined) return { start: address, end: address + 1 };
    let start = -1;
    let end = -1;
    for (const { address: at, length } of this.instructions(func.address, func.size)) {
      if (sameLine(this.lineOf(at), line)) {
        if (start < 0) start = at;
        end = at + length;
      } else {
        if (start >= 0 && address >= start && address < end) break;
        start = -1;
      }
    }
    if (start < 0 || address < start || address >= end) return { start: address, end: address + 1 };
    return { start, end };
  }

  /** The first instruction of a source line: `main.go:9`. */
  addressOfLine(file: string, line: number): number | undefined {
    for (const func of this.machine.symbols.functions) {
      const first = this.lineOf(func.address);
      if (first === undefined || !matches(first.file, file) || first.line > line) continue;
      for (const { address } of this.instructions(func.address, func.size)) {
        const here = this.lineOf(address);
        if (here?.line === line && matches(here.file, file)) return address;
      }
    }
    return undefined;
  }
}

const matches = (path: string, wanted: string): boolean => path === wanted || path.endsWith(`/${wanted}`);

export function sameLine(a: SourceLine | undefined, b: SourceLine | undefined): boolean {
  return a?.file === b?.file && a?.line === b?.line;
}
