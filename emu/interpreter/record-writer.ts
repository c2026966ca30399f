import { type Instruction as IcedInstruction, OpKind, Register } from "iced-x86";
import { STATE } from "../cpu/state.ts";
import { type BlockDecoder, segmentOf } from "../decode/decoder.ts";
import { ADDRESS_FORM, PREFIX } from "../decode/instruction.ts";
import { registerInfo } from "../decode/registers.ts";
import { type InstructionRow, rowOf } from "../semantics/index.ts";
import type { Handlers } from "./handlers.ts";
import { RECORD } from "./record.ts";

/** What all instructions of one iced Code have in common. */
interface CodeInfo {
  readonly row: InstructionRow | undefined;
  readonly operands: number;
  readonly repeatable: boolean;
  /** EVEX has more that decides about the form than is looked at here. */
  readonly general: boolean;
  /** Handler by the rest of the form. */
  readonly handlers: Map<number, number>;
}

/** String operands under prefix 67. */
const NARROW_STRINGS: ReadonlySet<OpKind> = new Set([OpKind.MemorySegESI, OpKind.MemorySegEDI, OpKind.MemoryESEDI]);

const offsets: number[] = [];

/** Byte offset in the CPU state of a register, or of the zero register for none. */
function offsetOf(register: Register): number {
  return (offsets[register] ??= registerInfo(register)?.offset ?? STATE.zero);
}

/**
 * Writes records straight from the decoder's fields. The full Instruction of the semantics is made only for a form that
 * comes up for the first time: decoding is most of a program's start.
 */
export class RecordWriter {
  readonly #view: DataView;
  readonly #handlers: Handlers;
  readonly #codes: (CodeInfo | undefined)[] = [];

  constructor(view: DataView, handlers: Handlers) {
    this.#view = view;
    this.#handlers = handlers;
  }

  /** The row of the instruction that a decoder stands at; undefined if it is not implemented. */
  rowOf(decoder: BlockDecoder): InstructionRow | undefined {
    return this.#info(decoder).row;
  }

  #info(decoder: BlockDecoder): CodeInfo {
    const { code } = decoder.raw;
    let info = this.#codes[code];
    if (info === undefined) {
      const instruction = decoder.current();
      info = {
        row: rowOf(instruction),
        operands: instruction.operands.length,
        repeatable: instruction.stringAddress !== 0,
        general: instruction.vex,
        handlers: new Map(),
      };
      this.#codes[code] = info;
    }
    return info;
  }

  /**
   * Writes the record of the instruction that a decoder stands at.
   * @param count instructions of the block up to and with this one
   */
  write(record: number, decoder: BlockDecoder, row: InstructionRow, address: number, count: number): void {
    const view = this.#view;
    const { raw } = decoder;
    const info = this.#info(decoder);
    let form = 0;
    let immediates = 0;
    let lastImmediate = 0n;
    for (let i = 0; i < info.operands; i++) {
      const kind = raw.opKind(i);
      if (kind === OpKind.Register) view.setUint16(record + RECORD.operand + i * 2, offsetOf(raw.opRegister(i)), true);
      else if (kind === OpKind.Memory) form = this.#writeMemory(record, raw);
      else if (kind <= OpKind.NearBranch64) view.setBigUint64(record + RECORD.immediate, raw.nearBranchTarget, true);
      else if (kind >= OpKind.Immediate8 && kind <= OpKind.Immediate32to64) {
        lastImmediate = raw.immediate(i);
        if (immediates++ === 0) view.setBigUint64(record + RECORD.immediate, lastImmediate, true);
        else view.setInt32(record + RECORD.immediate2, Number(BigInt.asIntN(32, lastImmediate)), true);
      } else form = segmentOf(raw.segmentPrefix) * 4 + (NARROW_STRINGS.has(kind) ? 16 : 0);
    }
    let handler: number | undefined;
    if (info.general) {
      view.setUint8(record + RECORD.opmask, raw.hasOpMask ? raw.opMask - Register.K0 : 0);
      handler = this.#handlers.indexOf(decoder.current(), row);
    } else {
      if (row.lockable && raw.hasLockPrefix) form += PREFIX.lock * 32;
      if (info.repeatable) {
        if (raw.hasRepPrefix) form += PREFIX.rep * 32;
        if (raw.hasRepnePrefix) form += PREFIX.repne * 32;
      }
      if (row.immediateInForm) form += Number(lastImmediate & 0xffn) * 256;
      handler = info.handlers.get(form);
      if (handler === undefined) {
        handler = this.#handlers.indexOf(decoder.current(), row);
        info.handlers.set(form, handler);
      }
    }
    view.setUint32(record + RECORD.handler, handler, true);
    view.setUint16(record + RECORD.count, count, true);
    view.setUint32(record + RECORD.linkTaken, 0, true);
    view.setUint32(record + RECORD.linkNext, 0, true);
    writeAddress(view, record + RECORD.address, address);
    writeAddress(view, record + RECORD.next, address + raw.length);
  }

  /** Writes base, index, shift and displacement; returns what of them decides about the form. */
  #writeMemory(record: number, raw: IcedInstruction): number {
    const view = this.#view;
    const base = raw.memoryBase;
    const index = raw.memoryIndex;
    view.setBigInt64(record + RECORD.displacement, raw.memoryDisplacement, true);
    const relative = base === Register.RIP || base === Register.EIP;
    let form: number = ADDRESS_FORM.absolute;
    if (base !== Register.None && !relative) {
      view.setUint16(record + RECORD.base, offsetOf(base), true);
      form = ADDRESS_FORM.base;
    } else view.setUint16(record + RECORD.base, STATE.zero, true);
    if (index !== Register.None) {
      view.setUint16(record + RECORD.index, offsetOf(index), true);
      view.setUint8(record + RECORD.shift, 31 - Math.clz32(raw.memoryIndexScale));
      form = ADDRESS_FORM.indexed;
    }
    form += segmentOf(raw.segmentPrefix) * 4;
    const narrow = isNarrow(base) || isNarrow(index) || raw.memoryDisplSize === 4;
    return narrow ? form + 16 : form;
  }
}

/** Is the register a 32-bit one, which makes the address one? */
const isNarrow = (register: Register): boolean =>
  register === Register.EIP || (register >= Register.EAX && register <= Register.R15D);

/** An address as 64 bits, without a BigInt. */
function writeAddress(view: DataView, at: number, address: number): void {
  view.setUint32(at, address >>> 0, true);
  view.setUint32(at + 4, Math.floor(address / 2 ** 32), true);
}
