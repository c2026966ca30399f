import { Code, type Instruction, MemorySize, MemorySizeExt, Mnemonic, OpKind, Register, RegisterExt } from "iced-x86";
import { hex } from "./bytes.ts";

/** The symbol that holds an address, and its start; undefined when there is none. */
export type SymbolLookup = (address: number) => { readonly name: string; readonly address: number } | undefined;

/** Instructions whose Go name ends in the operand size: B, W, L or Q. */
const SIZED = new Set(
  (
    "ADC ADD AND BSF BSR BT BTC BTR BTS CMP CMPXCHG CVTSI2SD CVTSI2SS CVTSD2SI CVTSS2SI CVTTSD2SI CVTTSS2SI DEC DIV " +
    "IDIV IMUL IN INC LEA MOV MOVNTI MUL NEG NOP NOT OR OUT POP POPCNT PUSH RCL RCR ROL ROR SAR SBB SHL SHLD SHR " +
    "SHRD SUB TEST XADD XCHG XOR"
  ).split(" "),
);
const SIZE_SUFFIX: Readonly<Record<number, string>> = { 1: "B", 2: "W", 4: "L", 8: "Q" };

/** Legacy registers that Go's assembler names without their width: RAX, EAX and AX are all AX, SIL is SI. */
const LEGACY = new Map<string, string>();
for (const name of ["AX", "BX", "CX", "DX", "SI", "DI", "BP", "SP"]) {
  for (const full of [`R${name}`, `E${name}`, `${name}L`]) {
    LEGACY.set(full, name);
  }
}

function registerName(register: Register): string {
  const name = Register[register].toUpperCase();
  const numbered = /^R(\d+)[LDWB]?$/.exec(name);
  if (numbered !== null) {
    return `R${numbered[1]}`;
  }
  const vector = /^([XYZ])MM(\d+)$/.exec(name);
  if (vector !== null) {
    return `${vector[1]}${vector[2]}`;
  }
  const x87 = /^(ST|MM)(\d)$/.exec(name);
  if (x87 !== null) {
    return `${x87[1] === "ST" ? "F" : "M"}${x87[2]}`;
  }
  return LEGACY.get(name) ?? name;
}

/**
 * An instruction in the syntax of Go's assembler, as `go tool objdump` prints it: operands from source to destination
 * (but CMP's from left to right), sizes in the mnemonic, `name(SB)` for symbols. An approximation of
 * golang.org/x/arch/x86/x86asm GoSyntax for what compilers generate; instructions that it does not know, such as AVX,
 * follow the same rules.
 */
export function goSyntax(instruction: Instruction, lookup: SymbolLookup): string {
  const operands: string[] = [];
  for (let index = instruction.opCount - 1; index >= 0; index--) {
    operands.push(operandText(instruction, index, lookup));
  }
  let name = Mnemonic[instruction.mnemonic].toUpperCase();
  if ((name === "MOVSD" || name === "CMPSD") && hasXmmOperand(instruction)) {
    // Without the suffix these are the string instructions.
    name += "_XMM";
  }
  if (name === "CMP") {
    operands.reverse();
  }
  if (SIZED.has(name)) {
    name += SIZE_SUFFIX[operandSize(instruction)] ?? "";
  }
  const repeat = instruction.hasRepnePrefix ? "REPNE; " : instruction.hasRepPrefix ? "REP; " : "";
  const lock = instruction.hasLockPrefix ? "LOCK " : "";
  return `${repeat}${lock}${name}${operands.length > 0 ? ` ${operands.join(", ")}` : ""}`;
}

function hasXmmOperand(instruction: Instruction): boolean {
  for (let index = 0; index < instruction.opCount; index++) {
    if (instruction.opKind(index) === OpKind.Register && RegisterExt.isXMM(instruction.opRegister(index))) {
      return true;
    }
  }
  return false;
}

/** Bytes that the instruction works on: its memory operand's size, or that of its first register. */
function operandSize(instruction: Instruction): number {
  if (instruction.memorySize !== MemorySize.Unknown) {
    return MemorySizeExt.size(instruction.memorySize);
  }
  for (let index = 0; index < instruction.opCount; index++) {
    if (instruction.opKind(index) === OpKind.Register) {
      const register = instruction.opRegister(index);
      if (!RegisterExt.isXMM(register)) {
        return RegisterExt.size(register);
      }
    }
  }
  // Only NOP has neither.
  return instruction.code === Code.Nopw ? 2 : 4;
}

function operandText(instruction: Instruction, index: number, lookup: SymbolLookup): string {
  switch (instruction.opKind(index)) {
    case OpKind.Register:
      return registerName(instruction.opRegister(index));
    case OpKind.NearBranch16:
    case OpKind.NearBranch32:
    case OpKind.NearBranch64: {
      const target = Number(instruction.nearBranchTarget);
      const symbol = lookup(target);
      return symbol?.address === target ? `${symbol.name}(SB)` : hex(target);
    }
    case OpKind.FarBranch16:
    case OpKind.FarBranch32:
      return `${hex(instruction.farBranchSelector)}:${hex(instruction.farBranch32)}`;
    case OpKind.Memory:
      return memoryText(instruction, lookup);
    case OpKind.MemorySegSI:
    case OpKind.MemorySegESI:
    case OpKind.MemorySegRSI:
      return `${registerName(instruction.memorySegment)}:0(SI)`;
    case OpKind.MemorySegDI:
    case OpKind.MemorySegEDI:
    case OpKind.MemorySegRDI:
      return `${registerName(instruction.memorySegment)}:0(DI)`;
    case OpKind.MemoryESDI:
    case OpKind.MemoryESEDI:
    case OpKind.MemoryESRDI:
      return "ES:0(DI)";
    case OpKind.Immediate32:
      return `$${signedHex(BigInt.asIntN(32, instruction.immediate(index)))}`;
    default:
      return `$${signedHex(BigInt.asIntN(64, instruction.immediate(index)))}`;
  }
}

function memoryText(instruction: Instruction, lookup: SymbolLookup): string {
  const { memoryBase, memoryIndex, segmentPrefix, memoryDisplacement } = instruction;
  const segment = segmentPrefix === Register.None ? "" : `${registerName(segmentPrefix)}:`;
  if (instruction.isIpRelMemoryOperand) {
    const address = Number(instruction.ipRelMemoryAddress);
    const symbol = lookup(address);
    if (symbol !== undefined) {
      const offset = address - symbol.address;
      return `${segment}${symbol.name}${offset === 0 ? "" : `+${offset}`}(SB)`;
    }
    const displacement = BigInt.asIntN(64, instruction.ipRelMemoryAddress - instruction.nextIP);
    return `${segment}${signedHex(displacement)}(IP)`;
  }
  const displacement = BigInt.asIntN(64, memoryDisplacement);
  const base = memoryBase === Register.None ? "" : `(${registerName(memoryBase)})`;
  const scaled = `(${registerName(memoryIndex)}*${instruction.memoryIndexScale})`;
  const index = memoryIndex === Register.None ? "" : scaled;
  return `${segment}${displacement === 0n ? "0" : signedHex(displacement)}${base}${index}`;
}

function signedHex(value: bigint): string {
  return value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}
