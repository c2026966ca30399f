// A very small assembler for guests of tests: the few instructions that tests need, with labels. Encodings are those of
// the SDM, Vol. 2. Everything else is given as bytes.

const REGISTERS = [
  "rax",
  "rcx",
  "rdx",
  "rbx",
  "rsp",
  "rbp",
  "rsi",
  "rdi",
  "r8",
  "r9",
  "r10",
  "r11",
  "r12",
  "r13",
  "r14",
  "r15",
] as const;
export type Register = (typeof REGISTERS)[number];

/** A value for a register: a number, or the address of a label. */
export type Value = number | bigint | string;

/** [base + displacement], or an absolute address below 2^31. */
export type Memory = number | { readonly base: Register; readonly at?: number };

/** Condition codes (SDM Vol. 1, appendix B). */
const CONDITIONS = {
  o: 0,
  no: 1,
  b: 2,
  ae: 3,
  e: 4,
  ne: 5,
  be: 6,
  a: 7,
  s: 8,
  ns: 9,
  l: 12,
  ge: 13,
  le: 14,
  g: 15,
} as const;
export type Condition = keyof typeof CONDITIONS;

/** Argument registers of a system call, in order (syscall(2)). */
const ARGUMENTS: readonly Register[] = ["rdi", "rsi", "rdx", "r10", "r8", "r9"];

interface Fixup {
  readonly at: number;
  readonly label: string;
  readonly kind: "absolute64" | "relative32";
}

export class Assembler {
  /** Address of the first byte. */
  readonly start: number;
  /** Where `record` puts its next value. */
  #record: number;
  readonly #bytes: number[] = [];
  readonly #labels = new Map<string, number>();
  readonly #fixups: Fixup[] = [];
  #unique = 0;

  /** @param record address of the first of the words that `record` fills */
  constructor(start: number, record: number) {
    this.start = start;
    this.#record = record;
  }

  /** Address of the next byte. */
  get here(): number {
    return this.start + this.#bytes.length;
  }

  /** Address of the next word that `record` fills: all before it are taken. */
  get recordEnd(): number {
    return this.#record;
  }

  bytes(...bytes: readonly number[]): this {
    this.#bytes.push(...bytes);
    return this;
  }

  label(name: string): this {
    if (this.#labels.has(name)) throw new Error(`label ${name} is there twice`);
    this.#labels.set(name, this.here);
    return this;
  }

  /** A label of which there is no other. */
  fresh(): string {
    return `.${this.#unique++}`;
  }

  #little(value: bigint, width: number): void {
    for (let i = 0; i < width; i++) this.#bytes.push(Number((value >> BigInt(8 * i)) & 0xffn));
  }

  #fix(label: string, kind: Fixup["kind"]): void {
    this.#fixups.push({ at: this.#bytes.length, label, kind });
    this.#little(0n, kind === "absolute64" ? 8 : 4);
  }

  /** MOV r64, imm64. */
  mov(register: Register, value: Value): this {
    const n = REGISTERS.indexOf(register);
    this.bytes(0x48 | (n >> 3), 0xb8 | (n & 7));
    if (typeof value === "string") this.#fix(value, "absolute64");
    else this.#little(BigInt.asUintN(64, BigInt(value)), 8);
    return this;
  }

  /** MOV r64, r64. */
  copy(to: Register, from: Register): this {
    return this.#registers(0x89, to, from);
  }

  add(to: Register, from: Register): this {
    return this.#registers(0x01, to, from);
  }

  sub(to: Register, from: Register): this {
    return this.#registers(0x29, to, from);
  }

  cmp(left: Register, right: Register): this {
    return this.#registers(0x39, left, right);
  }

  #registers(opcode: number, rm: Register, reg: Register): this {
    const [m, r] = [REGISTERS.indexOf(rm), REGISTERS.indexOf(reg)];
    return this.bytes(0x48 | ((r >> 3) << 2) | (m >> 3), opcode, 0xc0 | ((r & 7) << 3) | (m & 7));
  }

  /** ModRM, SIB and disp32 of a memory operand. */
  #operand(opcode: readonly number[], reg: number, memory: Memory, wide: boolean): this {
    const base = typeof memory === "number" ? -1 : REGISTERS.indexOf(memory.base);
    const displacement = typeof memory === "number" ? memory : (memory.at ?? 0);
    const rex = (wide ? 8 : 0) | ((reg >> 3) << 2) | (base >= 8 ? 1 : 0);
    this.bytes(0x40 | rex, ...opcode);
    if (base < 0) this.bytes(0x04 | ((reg & 7) << 3), 0x25);
    else if ((base & 7) === 4) this.bytes(0x84 | ((reg & 7) << 3), 0x24);
    else this.bytes(0x80 | ((reg & 7) << 3) | (base & 7));
    this.#little(BigInt.asUintN(32, BigInt(displacement)), 4);
    return this;
  }

  /** MOV r64, m64. */
  load(register: Register, memory: Memory): this {
    return this.#operand([0x8b], REGISTERS.indexOf(register), memory, true);
  }

  /** MOV m64, r64. */
  store(memory: Memory, register: Register): this {
    return this.#operand([0x89], REGISTERS.indexOf(register), memory, true);
  }

  /** MOV r32, m32. */
  load32(register: Register, memory: Memory): this {
    return this.#operand([0x8b], REGISTERS.indexOf(register), memory, false);
  }

  /** MOV m32, r32. */
  store32(memory: Memory, register: Register): this {
    return this.#operand([0x89], REGISTERS.indexOf(register), memory, false);
  }

  /** MOV m8, imm8. */
  storeByte(memory: Memory, value: number): this {
    this.#operand([0xc6], 0, memory, false);
    return this.bytes(value & 0xff);
  }

  /** LOCK XADD m32, r32: the old value is in the register afterwards. */
  exchangeAdd32(memory: Memory, register: Register): this {
    this.bytes(0xf0);
    return this.#operand([0x0f, 0xc1], REGISTERS.indexOf(register), memory, false);
  }

  /** Sets a word of memory through RAX. */
  put(memory: Memory, value: Value): this {
    return this.mov("rax", value).store(memory, "rax");
  }

  put32(memory: Memory, value: Value): this {
    return this.mov("rax", value).store32(memory, "rax");
  }

  push(register: Register): this {
    const n = REGISTERS.indexOf(register);
    return this.bytes(0x40 | (n >> 3), 0x50 | (n & 7));
  }

  pop(register: Register): this {
    const n = REGISTERS.indexOf(register);
    return this.bytes(0x40 | (n >> 3), 0x58 | (n & 7));
  }

  jmp(label: string): this {
    this.bytes(0xe9).#fix(label, "relative32");
    return this;
  }

  jcc(condition: Condition, label: string): this {
    this.bytes(0x0f, 0x80 | CONDITIONS[condition]).#fix(label, "relative32");
    return this;
  }

  call(label: string): this {
    this.bytes(0xe8).#fix(label, "relative32");
    return this;
  }

  ret(): this {
    return this.bytes(0xc3);
  }

  /** SYSCALL with its number and arguments; the result is in RAX. */
  syscall(number: number, ...args: readonly Value[]): this {
    for (const [i, value] of args.entries()) this.mov(ARGUMENTS[i], value);
    return this.mov("rax", number).bytes(0x0f, 0x05);
  }

  /** Stores a register to the next word of the guest's report. */
  record(register: Register = "rax"): this {
    this.store(this.#record, register);
    this.#record += 8;
    return this;
  }

  /** The code, with labels resolved. */
  assemble(): Uint8Array {
    const bytes = Uint8Array.from(this.#bytes);
    const view = new DataView(bytes.buffer);
    for (const { at, label, kind } of this.#fixups) {
      const target = this.#labels.get(label);
      if (target === undefined) throw new Error(`there is no label ${label}`);
      if (kind === "absolute64") view.setBigUint64(at, BigInt(target), true);
      else view.setInt32(at, target - (this.start + at + 4), true);
    }
    return bytes;
  }
}
