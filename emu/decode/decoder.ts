import {
  Code,
  Decoder,
  DecoderError,
  DecoderOptions,
  EncodingKind,
  Instruction as IcedInstruction,
  MemorySize,
  MemorySizeExt,
  OpKind,
  Register,
} from "iced-x86";
import { STATE } from "../cpu/state.ts";
import {
  ADDRESS_FORM,
  ALL_FLAGS,
  type Instruction,
  type MemoryOperand,
  type Operand,
  PREFIX,
  SEGMENT,
} from "./instruction.ts";
import { registerInfo } from "./registers.ts";

/** Longest instruction in bytes (SDM Vol. 2A, 2.3.11). */
export const MAX_INSTRUCTION = 15;

/** Legacy prefixes that change nothing about an instruction's length: LOCK and segment overrides. */
const NEUTRAL_PREFIXES: ReadonlySet<number> = new Set([0xf0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]);
/** Those that may: operand size, address size, and F2 and F3, which are parts of opcodes. */
const PREFIXES: ReadonlySet<number> = new Set([0x66, 0x67, 0xf2, 0xf3]);
const isRex = (byte: number): boolean => (byte & 0xf0) === 0x40;

/** Bytes of an opcode that is none, as far as its map tells: in most ModRM belongs to it. */
function leastLength([first, second]: Uint8Array): number {
  // Behind VEX and EVEX prefixes come the opcode and ModRM.
  if (first === 0xc5) return 4;
  if (first === 0xc4) return 5;
  if (first === 0x62) return 6;
  if (first !== 0x0f) return 1;
  // The map 0F 3A has an immediate byte throughout.
  return second === 0x38 ? 4 : second === 0x3a ? 5 : 2;
}

/**
 * Do these bytes begin with an instruction of more than 15, be there such an instruction or not? That is #GP, whatever
 * the opcode (SDM Vol. 3A, 6.15, "Interrupt 13").
 * @param bytes as many as can be fetched
 */
export function exceedsLimit(bytes: Uint8Array): boolean {
  const kept = new Set<number>();
  let start = 0;
  for (; start < bytes.length; start++) {
    const byte = bytes[start];
    if (PREFIXES.has(byte)) kept.add(byte);
    else if (!NEUTRAL_PREFIXES.has(byte) && !isRex(byte)) break;
  }
  if (start >= MAX_INSTRUCTION) return true;
  if (start === 0) return false;
  // Without prefixes that say nothing or say it again, no instruction is too long; a REX counts before the opcode alone.
  if (isRex(bytes[start - 1])) kept.add(bytes[start - 1]);
  const rest = bytes.subarray(start);
  const short = new Uint8Array(2 * MAX_INSTRUCTION);
  short.set([...kept]);
  short.set(rest.subarray(0, MAX_INSTRUCTION), kept.size);
  const decoder = new BlockDecoder(short, 0);
  const failure = decoder.step();
  const length = failure === undefined ? decoder.raw.length - kept.size : leastLength(rest);
  decoder.free();
  return start + length > MAX_INSTRUCTION;
}

/** Why bytes could not be decoded. */
export type DecodeFailure = "invalid" | "truncated";

const memoryBits: number[] = [];
/** Width of a memory operand in bits. */
function bitsOfMemory(memorySize: number): number {
  return (memoryBits[memorySize] ??= MemorySizeExt.size(memorySize) * 8);
}

const broadcastBits: number[] = [];
/** Width in bits of what a broadcast from memory makes: the digits in MemorySize's name. */
function bitsOfBroadcast(memorySize: number): number {
  return (broadcastBits[memorySize] ??= Number(/^Broadcast(\d+)_/.exec(MemorySize[memorySize])?.[1] ?? 0));
}

/** One for all: each instruction is taken over before the next is decoded. */
let scratch: IcedInstruction;

/** 0F 0D and 0F 18–0F 1F are a space of hints: what is not known of it does nothing (SDM Vol. 2B, appendix A). */
const OPTIONS = DecoderOptions.ForceReservedNop;

/** Decodes instructions at successive addresses from a buffer of code bytes. */
export class BlockDecoder {
  readonly #decoder: Decoder;
  readonly #length: number;
  readonly #bytes: Uint8Array;
  /** Address of the first byte. */
  readonly start: number;
  /** What the last step decoded, in the decoder's own terms; valid until the next step of any decoder. */
  readonly raw: IcedInstruction;

  /**
   * @param bytes code, which may end in the middle of an instruction
   * @param address linear address of the first byte
   */
  constructor(bytes: Uint8Array, address: number) {
    scratch ??= new IcedInstruction();
    this.raw = scratch;
    this.#bytes = bytes;
    this.#decoder = new Decoder(64, bytes, OPTIONS);
    this.#decoder.ip = BigInt(address);
    this.#length = bytes.length;
    this.start = address;
  }

  /** Goes on at another address within the bytes. */
  seek(address: number): void {
    this.#decoder.position = address - this.start;
    this.#decoder.ip = BigInt(address);
  }

  /** Is there a byte at `address`? */
  has(address: number): boolean {
    return address >= this.start && address < this.start + this.#length;
  }

  /** Decodes the next instruction into `raw`; undefined if that went well. */
  step(): DecodeFailure | undefined {
    this.#decoder.decodeOut(scratch);
    if (scratch.code === Code.Pause && scratch.length > 2) this.#decodeExchange();
    if (scratch.code !== 0) return undefined;
    return this.#decoder.lastError === DecoderError.NoMoreBytes ? "truncated" : "invalid";
  }

  /** F3 90 is PAUSE unless REX.B makes it XCHG with R8: then F3 says nothing, as before any XCHG. */
  #decodeExchange(): void {
    const at = Number(scratch.ip) - this.start;
    const end = at + scratch.length;
    if ((this.#bytes[end - 2] & 0xf1) !== 0x41) return;
    const decoder = new Decoder(64, this.#bytes.subarray(at, end), OPTIONS | DecoderOptions.NoPause);
    decoder.ip = scratch.ip;
    decoder.decodeOut(scratch);
    decoder.free();
  }

  /** The next instruction, or why there is none. */
  next(): Instruction | DecodeFailure {
    return this.step() ?? convert(scratch, Number(scratch.ip));
  }

  /** The instruction that `step` decoded. */
  current(): Instruction {
    return convert(scratch, Number(scratch.ip));
  }

  free(): void {
    this.#decoder.free();
  }
}

/** The instruction that bytes begin with. */
export function decodeOne(bytes: Uint8Array, address: number): Instruction | DecodeFailure {
  const decoder = new BlockDecoder(bytes, address);
  try {
    return decoder.next();
  } finally {
    decoder.free();
  }
}

function convert(iced: IcedInstruction, address: number): Instruction {
  const count = iced.opCount;
  const operands: Operand[] = [];
  let memory: MemoryOperand | undefined;
  let stringAddress = 0;
  for (let i = 0; i < count; i++) {
    const kind = iced.opKind(i);
    operands.push(operandOf(iced, i, kind));
    if (kind === OpKind.Memory) memory = memoryOf(iced);
    else if (kind === OpKind.MemorySegRSI || kind === OpKind.MemorySegRDI || kind === OpKind.MemoryESRDI)
      stringAddress = 64;
    else if (kind === OpKind.MemorySegESI || kind === OpKind.MemorySegEDI || kind === OpKind.MemoryESEDI)
      stringAddress = 32;
  }
  const encoding = iced.encoding;
  let prefixes = 0;
  if (iced.hasLockPrefix) prefixes |= PREFIX.lock;
  if (iced.hasRepPrefix) prefixes |= PREFIX.rep;
  if (iced.hasRepnePrefix) prefixes |= PREFIX.repne;
  const evex = encoding === EncodingKind.EVEX;
  return {
    address,
    length: iced.length,
    code: iced.code,
    mnemonic: iced.mnemonic,
    operands,
    memory,
    prefixes,
    vex: encoding !== EncodingKind.Legacy,
    evex,
    opmask: evex && iced.hasOpMask ? iced.opMask - Register.K0 : 0,
    zeroing: evex && iced.zeroingMasking,
    broadcast: evex && iced.isBroadcast ? bitsOfMemory(iced.memorySize) : 0,
    rounding: evex ? iced.roundingControl : 0,
    suppressExceptions: evex && iced.suppressAllExceptions,
    flagsRead: iced.rflagsRead & ALL_FLAGS,
    flagsWritten: iced.rflagsModified & ALL_FLAGS,
    stringAddress,
    segment: segmentOf(iced.segmentPrefix),
  };
}

function operandOf(iced: IcedInstruction, i: number, kind: OpKind): Operand {
  if (kind === OpKind.Register) {
    const register = iced.opRegister(i);
    const info = registerInfo(register);
    if (info !== undefined) return operand("register", info.width, 0n, info.kind, info.index, info.offset);
    return operand("register", 0, 0n, "other", register);
  }
  if (kind === OpKind.NearBranch16 || kind === OpKind.NearBranch32 || kind === OpKind.NearBranch64) {
    return operand("branch", 64, iced.nearBranchTarget);
  }
  if (kind >= OpKind.MemorySegSI) {
    const bits = iced.isBroadcast ? bitsOfBroadcast(iced.memorySize) : bitsOfMemory(iced.memorySize);
    return operand("memory", bits, 0n);
  }
  if (kind === OpKind.FarBranch16 || kind === OpKind.FarBranch32) {
    return operand("branch", 0, 0n);
  }
  return operand("immediate", 0, iced.immediate(i));
}

function operand(
  kind: Operand["kind"],
  width: number,
  value: bigint,
  registerClass?: Operand["registerClass"],
  index = 0,
  offset: number = STATE.zero,
): Operand {
  return { kind, width, registerClass, index, offset, value };
}

function memoryOf(iced: IcedInstruction): MemoryOperand {
  const base = iced.memoryBase;
  const index = iced.memoryIndex;
  const ipRelative = base === Register.RIP || base === Register.EIP;
  const indexInfo = index === Register.None ? undefined : registerInfo(index);
  const baseInfo = base === Register.None || ipRelative ? undefined : registerInfo(base);
  const vectorIndex = indexInfo?.kind === "vector" ? indexInfo.width : 0;
  const form =
    indexInfo !== undefined ? ADDRESS_FORM.indexed : baseInfo !== undefined ? ADDRESS_FORM.base : ADDRESS_FORM.absolute;
  return {
    form,
    segment: segmentOf(iced.segmentPrefix),
    address32: base === Register.EIP || baseInfo?.width === 32 || indexInfo?.width === 32 || iced.memoryDisplSize === 4,
    base: baseInfo?.offset ?? STATE.zero,
    index: indexInfo?.offset ?? STATE.zero,
    shift: 31 - Math.clz32(iced.memoryIndexScale),
    displacement: BigInt.asIntN(64, iced.memoryDisplacement),
    vectorIndex,
    stackSegment: baseInfo?.kind === "gpr" && (baseInfo.index === 4 || baseInfo.index === 5),
  };
}

/** SEGMENT of a segment override. */
export function segmentOf(register: Register): number {
  return register === Register.FS ? SEGMENT.fs : register === Register.GS ? SEGMENT.gs : SEGMENT.none;
}
