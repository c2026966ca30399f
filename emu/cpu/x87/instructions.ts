import { Mnemonic } from "iced-x86";
import type { Instruction } from "../../decode/instruction.ts";
import type { GuestOperand } from "../guest-operand.ts";
import { type CpuState, REG } from "../state.ts";
import * as arithmetic from "./arithmetic.ts";
import { fromDecimal, fromInteger, fromNarrow, loadNarrow, toDecimal, toInteger, toNarrow } from "./convert.ts";
import { classify, type Float80, INDEFINITE, negate, ONE, readFloat80, writeFloat80, zero } from "./float80.ts";
import { loadEnvironment, loadState, storeEnvironment, storeState } from "./images.ts";
import { Operation, X87_FLAG } from "./operation.ts";
import { CONDITION, type X87Registers } from "./registers.ts";
import * as transcendental from "./transcendental.ts";

/** An x87 instruction under way: registers are a copy until it is done. */
export interface X87Step {
  readonly cpu: CpuState;
  readonly registers: X87Registers;
  readonly instruction: Instruction;
  /** Its memory operand; undefined if it has none. */
  readonly memory: GuestOperand | undefined;
}

type Handler = (step: X87Step) => void;

/** What an x87 instruction does (SDM Vol. 2A), and how it stands to exceptions and to the last-instruction registers. */
interface X87Row {
  readonly run: Handler;
  /** A pending exception is raised before it (SDM Vol. 1, 8.7); the FN… forms do not wait. */
  readonly waits: boolean;
  /** Leaves FIP, FDP and FOP alone (SDM Vol. 1, 8.1.8). */
  readonly control: boolean;
}

const rows = new Map<Mnemonic, X87Row>();

function define(names: string, run: Handler, options: Partial<X87Row> = {}): void {
  for (const name of names.split(" ")) {
    const mnemonic = Mnemonic[name as keyof typeof Mnemonic];
    if (mnemonic === undefined) throw new Error(`the decoder knows no ${name}`);
    rows.set(mnemonic, { run, waits: true, control: false, ...options });
  }
}

export const x87Row = (mnemonic: Mnemonic): X87Row | undefined => rows.get(mnemonic);

/** Names of the x87 instructions. */
export const x87Mnemonics = (): string[] => [...rows.keys()].map((mnemonic) => Mnemonic[mnemonic]);

/** Number in ST(i) of register operand `i`. */
const register = (step: X87Step, i: number): number => step.instruction.operands[i].index;
/** Width of the memory operand in bits. */
const width = (step: X87Step): number => step.instruction.operands[0].width;

function popTimes(registers: X87Registers, times: number): void {
  for (let i = 0; i < times; i++) registers.pop();
}

/** The bytes of the memory operand as an unsigned number. */
function readBits(memory: GuestOperand, bits: number): bigint {
  const view = new DataView(memory.read(bits / 8).buffer);
  return bits === 16
    ? BigInt(view.getUint16(0, true))
    : bits === 32
      ? BigInt(view.getUint32(0, true))
      : view.getBigUint64(0, true);
}

function littleEndian(value: bigint, bits: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes.subarray(0, bits / 8);
}

/** The source in memory of arithmetic and compares, exact. */
function memorySource(step: X87Step, memory: GuestOperand, integer: boolean): Float80 {
  const bits = width(step);
  const word = readBits(memory, bits);
  return integer ? fromInteger(BigInt.asIntN(bits, word)) : fromNarrow(word, bits as 32 | 64);
}

/** What happens with empty registers: the indefinite goes to ST(`to`) if #I is masked. */
function underflow({ registers }: X87Step, to: number, pops = 0): void {
  const response = registers.stackFault(false);
  if (response === undefined) return;
  registers.set(to, response);
  popTimes(registers, pops);
}

// Arithmetic with two operands.

type Binary = (op: Operation, a: Float80, b: Float80) => Float80;

function binary(compute: Binary, options: { reversed?: boolean; integer?: boolean; pops?: number } = {}): Handler {
  const { reversed = false, integer = false, pops = 0 } = options;
  return (step) => {
    const { registers, memory } = step;
    const to = memory === undefined ? register(step, 0) : 0;
    let b: Float80;
    if (memory !== undefined) {
      b = memorySource(step, memory, integer);
      if (registers.isEmpty(0)) return underflow(step, 0);
    } else {
      const from = register(step, 1);
      if (registers.isEmpty(to) || registers.isEmpty(from)) return underflow(step, to, pops);
      b = registers.get(from);
    }
    const a = registers.get(to);
    const op = new Operation(registers.control);
    const result = reversed ? compute(op, b, a) : compute(op, a, b);
    registers.finish(op);
    if (op.aborted) return;
    registers.set(to, result);
    popTimes(registers, pops);
  };
}

for (const [suffix, compute, reversed] of [
  ["add", arithmetic.add, false],
  ["mul", arithmetic.multiply, false],
  ["sub", arithmetic.subtract, false],
  ["subr", arithmetic.subtract, true],
  ["div", arithmetic.divide, false],
  ["divr", arithmetic.divide, true],
] as const) {
  define(`F${suffix}`, binary(compute, { reversed }));
  define(`F${suffix}p`, binary(compute, { reversed, pops: 1 }));
  define(`Fi${suffix}`, binary(compute, { reversed, integer: true }));
}

// Operations on ST(0), or on ST(0) and ST(1).

/** ST(0) = compute(ST(0)). */
function unary(compute: (op: Operation, a: Float80) => Float80): Handler {
  return (step) => {
    const { registers } = step;
    if (registers.isEmpty(0)) return underflow(step, 0);
    const op = new Operation(registers.control);
    const result = compute(op, registers.get(0));
    registers.finish(op);
    if (!op.aborted) registers.set(0, result);
  };
}

define("Fsqrt", unary(arithmetic.squareRoot));
define("Frndint", unary(arithmetic.roundToInteger));
define("F2xm1", unary(transcendental.exponentialMinusOne));
define(
  "Fchs",
  unary((_op, a) => negate(a)),
);
define(
  "Fabs",
  unary((_op, a) => ({ ...a, sign: 0 })),
);

define("Fscale", (step) => {
  const { registers } = step;
  if (registers.isEmpty(0) || registers.isEmpty(1)) return underflow(step, 0);
  const op = new Operation(registers.control);
  const result = arithmetic.scale(op, registers.get(0), registers.get(1));
  registers.finish(op);
  if (!op.aborted) registers.set(0, result);
});

/** ST(1) = compute(ST(1), ST(0)), and a pop. */
function twoToOne(compute: Binary): Handler {
  return (step) => {
    const { registers } = step;
    if (registers.isEmpty(0) || registers.isEmpty(1)) return underflow(step, 1, 1);
    const op = new Operation(registers.control);
    const result = compute(op, registers.get(1), registers.get(0));
    registers.finish(op);
    if (op.aborted) return;
    registers.set(1, result);
    registers.pop();
  };
}

define("Fyl2x", twoToOne(transcendental.yLog2));
define("Fyl2xp1", twoToOne(transcendental.yLog2Plus1));
define("Fpatan", twoToOne(transcendental.arcTangent));

function partialRemainder(nearest: boolean): Handler {
  return (step) => {
    const { registers } = step;
    if (registers.isEmpty(0) || registers.isEmpty(1)) {
      registers.setCondition(0, CONDITION.C2);
      return underflow(step, 0);
    }
    const op = new Operation(registers.control);
    const { value, quotient, complete } = arithmetic.remainder(op, registers.get(0), registers.get(1), nearest);
    registers.finish(op);
    registers.setCondition(0, CONDITION.C2);
    if (op.aborted) return;
    registers.set(0, value);
    if (quotient === undefined) return;
    const bits =
      (quotient & 4 ? CONDITION.C0 : 0) | (quotient & 2 ? CONDITION.C3 : 0) | (quotient & 1 ? CONDITION.C1 : 0);
    registers.setCondition(bits | (complete ? 0 : CONDITION.C2));
  };
}
define("Fprem", partialRemainder(false));
define("Fprem1", partialRemainder(true));

/** Operations that replace ST(0) and push: `first` goes to ST(0), `second` above it. */
function pushing(compute: (op: Operation, a: Float80) => { first: Float80; second: Float80 } | undefined): Handler {
  return (step) => {
    const { registers } = step;
    if (registers.isEmpty(0) || !registers.isEmpty(7)) {
      const response = registers.stackFault(!registers.isEmpty(0));
      if (response === undefined) return;
      registers.set(0, response);
      registers.push(response);
      return;
    }
    const op = new Operation(registers.control);
    const results = compute(op, registers.get(0));
    registers.finish(op);
    if (op.aborted || results === undefined) return;
    registers.set(0, results.first);
    registers.push(results.second);
  };
}

define(
  "Fxtract",
  pushing((op, a) => {
    const { exponent, significand } = arithmetic.extract(op, a);
    return { first: exponent, second: significand };
  }),
);

/** FSIN and its kin leave ST(0) alone and set C2 when it is too large. */
function trigonometric(run: Handler): Handler {
  return (step) => {
    const { registers } = step;
    const tooLarge = !registers.isEmpty(0) && transcendental.isOutOfRange(registers.get(0));
    registers.setCondition(tooLarge ? CONDITION.C2 : 0, CONDITION.C2 | CONDITION.C1);
    if (!tooLarge) run(step);
  };
}

define("Fsin", trigonometric(unary(transcendental.sine)));
define("Fcos", trigonometric(unary(transcendental.cosine)));
define(
  "Fsincos",
  trigonometric(
    pushing((op, a) => ({
      first: transcendental.sine(op, a),
      second: transcendental.cosine(op, a),
    })),
  ),
);
define(
  "Fptan",
  trigonometric(
    pushing((op, a) => {
      const first = transcendental.tangent(op, a);
      return { first, second: op.flags & X87_FLAG.IE || classify(first) === "quiet" ? first : ONE };
    }),
  ),
);

// Compares.

const ORDER_CONDITION: Readonly<Record<arithmetic.Ordering, number>> = {
  less: CONDITION.C0,
  equal: CONDITION.C3,
  greater: 0,
  unordered: CONDITION.C0 | CONDITION.C2 | CONDITION.C3,
};
/** ZF, PF and CF (SDM Vol. 2A, FCOMI, table 3-22). */
const ORDER_FLAGS: Readonly<Record<arithmetic.Ordering, bigint>> = {
  less: 1n,
  equal: 0x40n,
  greater: 0n,
  unordered: 0x45n,
};
const STATUS_FLAGS = 0x8d5n;

interface CompareOptions {
  readonly quiet?: boolean;
  readonly integer?: boolean;
  readonly pops?: number;
  /** The result goes to RFLAGS. */
  readonly flags?: boolean;
  /** Compares with +0. */
  readonly withZero?: boolean;
}

function comparison({
  quiet = false,
  integer = false,
  pops = 0,
  flags = false,
  withZero = false,
}: CompareOptions): Handler {
  return (step) => {
    const { registers, memory, cpu, instruction } = step;
    // An unmasked exception keeps the stack as it is, but not the result from being seen.
    const settle = (order: arithmetic.Ordering, aborted: boolean): void => {
      if (flags) cpu.rflags = (cpu.rflags & ~STATUS_FLAGS) | ORDER_FLAGS[order];
      else registers.setCondition(ORDER_CONDITION[order]);
      if (!aborted) popTimes(registers, pops);
    };
    let b = zero(0);
    let empty = registers.isEmpty(0);
    if (memory !== undefined) b = memorySource(step, memory, integer);
    else if (!withZero) {
      const from = instruction.operands.length > 1 ? register(step, 1) : 1;
      empty ||= registers.isEmpty(from);
      b = registers.get(from);
    }
    if (empty) return settle("unordered", registers.stackFault(false) === undefined);
    const op = new Operation(registers.control);
    const order = arithmetic.compare(op, registers.get(0), b, quiet);
    // FCOMI and its kin leave C1 as it is.
    const rounded = registers.status & CONDITION.C1;
    registers.finish(op);
    if (flags) registers.setCondition(rounded, CONDITION.C1);
    settle(order, op.aborted);
  };
}

define("Fcom", comparison({}));
define("Fcomp", comparison({ pops: 1 }));
define("Fcompp", comparison({ pops: 2 }));
define("Ficom", comparison({ integer: true }));
define("Ficomp", comparison({ integer: true, pops: 1 }));
define("Fucom", comparison({ quiet: true }));
define("Fucomp", comparison({ quiet: true, pops: 1 }));
define("Fucompp", comparison({ quiet: true, pops: 2 }));
define("Ftst", comparison({ withZero: true }));
define("Fcomi", comparison({ flags: true }));
define("Fcomip", comparison({ flags: true, pops: 1 }));
define("Fucomi", comparison({ flags: true, quiet: true }));
define("Fucomip", comparison({ flags: true, quiet: true, pops: 1 }));

/** FXAM (SDM Vol. 2A, FXAM, table 3-52). */
const EXAMINED = {
  unsupported: 0,
  quiet: CONDITION.C0,
  signaling: CONDITION.C0,
  normal: CONDITION.C2,
  infinity: CONDITION.C2 | CONDITION.C0,
  zero: CONDITION.C3,
  denormal: CONDITION.C3 | CONDITION.C2,
} as const;

define("Fxam", ({ registers }) => {
  const value = registers.get(0);
  const kind = registers.isEmpty(0) ? CONDITION.C3 | CONDITION.C0 : EXAMINED[classify(value)];
  registers.setCondition(kind | (value.sign ? CONDITION.C1 : 0));
});

// Loads.

/** Pushes what `load` gives, unless the stack is full. `load` first reads what it needs from memory. */
function loading(load: (step: X87Step) => (op: Operation) => Float80): Handler {
  return (step) => {
    const { registers } = step;
    const convert = load(step);
    if (!registers.isEmpty(7)) {
      const response = registers.stackFault(true);
      if (response !== undefined) registers.push(response);
      return;
    }
    const op = new Operation(registers.control);
    const value = convert(op);
    registers.finish(op);
    // An unmasked #D comes with the value loaded, as hardware does it.
    if (!op.aborted || op.flags === X87_FLAG.DE) registers.push(value);
  };
}

const loadFloat = loading((step) => {
  const memory = step.memory!;
  const bits = width(step);
  if (bits === 80) {
    const value = readFloat80(new DataView(memory.read(10).buffer), 0);
    return () => value;
  }
  const word = readBits(memory, bits);
  return (op) => loadNarrow(op, word, bits as 32 | 64);
});

define("Fld", (step) => {
  if (step.memory !== undefined) return loadFloat(step);
  const { registers } = step;
  const from = register(step, 0);
  if (registers.isEmpty(7) && !registers.isEmpty(from)) {
    registers.setCondition(0, CONDITION.C1);
    return registers.push(registers.get(from));
  }
  const response = registers.stackFault(!registers.isEmpty(from));
  if (response !== undefined) registers.push(response);
});
define(
  "Fild",
  loading((step) => {
    const value = memorySource(step, step.memory!, true);
    return () => value;
  }),
);
define(
  "Fbld",
  loading((step) => {
    const value = fromDecimal(step.memory!.read(10));
    return () => value;
  }),
);
define(
  "Fldz",
  loading(() => () => zero(0)),
);
define(
  "Fld1",
  loading(() => () => ONE),
);
for (const name of ["l2t", "l2e", "pi", "lg2", "ln2"] as const) {
  define(
    `Fld${name}`,
    loading(() => (op) => transcendental.constant(op, name)),
  );
}

// Stores.

/** Stores ST(0) in memory as `convert` gives it; an empty one as the indefinite. */
function storing(convert: (op: Operation, value: Float80, bits: number) => Uint8Array, pops: number): Handler {
  return (step) => {
    const { registers } = step;
    const op = new Operation(registers.control);
    // A page fault comes before an exception that keeps anything from being stored.
    step.memory!.requireWritable(width(step) / 8);
    if (registers.isEmpty(0)) {
      if (registers.stackFault(false) === undefined) return;
      // The indefinite of every format: of a NaN the conversion makes the same.
      step.memory!.write(convert(new Operation(registers.control), INDEFINITE, width(step)));
      popTimes(registers, pops);
      return;
    }
    const bytes = convert(op, registers.get(0), width(step));
    registers.finish(op);
    if (op.storeAborted) return;
    step.memory!.write(bytes);
    popTimes(registers, pops);
  };
}

function floatBytes(op: Operation, value: Float80, bits: number): Uint8Array {
  if (bits !== 80) return littleEndian(toNarrow(op, value, bits as 32 | 64), bits);
  const bytes = new Uint8Array(10);
  writeFloat80(new DataView(bytes.buffer), 0, value);
  return bytes;
}

const integerBytes =
  (truncate: boolean) =>
  (op: Operation, value: Float80, bits: number): Uint8Array =>
    littleEndian(toInteger(op, value, bits as 16 | 32 | 64, truncate), bits);

define("Fist", storing(integerBytes(false), 0));
define("Fistp", storing(integerBytes(false), 1));
define("Fisttp", storing(integerBytes(true), 1));
define("Fbstp", storing(toDecimal, 1));

/** FST and FSTP: to memory or to a register. */
function store(pops: number): Handler {
  const toMemory = storing(floatBytes, pops);
  return (step) => {
    if (step.memory !== undefined) return toMemory(step);
    const { registers } = step;
    const to = register(step, 0);
    if (registers.isEmpty(0)) return underflow(step, to, pops);
    registers.setCondition(0, CONDITION.C1);
    registers.set(to, registers.get(0));
    popTimes(registers, pops);
  };
}
define("Fst", store(0));
define("Fstp", store(1));
// The alias D9 D8+i only pops when ST(0) is empty.
define("Fstpnce", (step) => {
  const { registers } = step;
  registers.setCondition(0, CONDITION.C1);
  if (!registers.isEmpty(0)) registers.set(register(step, 0), registers.get(0));
  registers.pop();
});

// Moves between registers.

define("Fxch", (step) => {
  const { registers } = step;
  const other = register(step, 1);
  registers.setCondition(0, CONDITION.C1);
  if (registers.isEmpty(0) || registers.isEmpty(other)) {
    const response = registers.stackFault(false);
    if (response === undefined) return;
    for (const i of [0, other]) if (registers.isEmpty(i)) registers.set(i, response);
  }
  const value = registers.get(0);
  registers.set(0, registers.get(other));
  registers.set(other, value);
});

const CONDITIONS: readonly (readonly [string, (flags: bigint) => boolean])[] = [
  ["b", (flags) => (flags & 1n) !== 0n],
  ["e", (flags) => (flags & 0x40n) !== 0n],
  ["be", (flags) => (flags & 0x41n) !== 0n],
  ["u", (flags) => (flags & 4n) !== 0n],
];
for (const [name, holds] of CONDITIONS) {
  for (const wanted of [true, false]) {
    define(`Fcmov${wanted ? "" : "n"}${name}`, (step) => {
      const { registers, cpu } = step;
      const from = register(step, 1);
      if (registers.isEmpty(0) || registers.isEmpty(from)) return underflow(step, 0);
      if (holds(cpu.rflags) === wanted) registers.set(0, registers.get(from));
    });
  }
}

function free(step: X87Step): void {
  step.registers.setCondition(0, CONDITION.C1);
  step.registers.free(register(step, 0));
}
define("Ffree", free);
define("Ffreep", (step) => {
  free(step);
  step.registers.pop();
});
define("Fincstp", ({ registers }) => {
  registers.setCondition(0, CONDITION.C1);
  registers.top++;
});
define("Fdecstp", ({ registers }) => {
  registers.setCondition(0, CONDITION.C1);
  registers.top--;
});
define("Fnop", () => {});

// Control.

const CONTROL = { control: true };
const NO_WAIT = { control: true, waits: false };

define("Wait", () => {}, CONTROL);
define("Fneni Fndisi Fnsetpm", () => {}, NO_WAIT);
define("Fninit", ({ registers }) => registers.initialize(), NO_WAIT);
define("Fnclex", ({ registers }) => (registers.status &= 0x7f00), NO_WAIT);
define("Fldcw", ({ registers, memory }) => (registers.control = Number(readBits(memory!, 16))), CONTROL);
define("Fnstcw", ({ registers, memory }) => memory!.write(littleEndian(BigInt(registers.control), 16)), NO_WAIT);
define(
  "Fnstsw",
  ({ registers, memory, cpu }) => {
    if (memory !== undefined) return memory.write(littleEndian(BigInt(registers.status), 16));
    cpu.gpr[REG.RAX] = (cpu.gpr[REG.RAX] & ~0xffffn) | BigInt(registers.status);
  },
  NO_WAIT,
);

/** Is the environment in the 16-bit format, which an operand-size prefix asks for? */
const isShort = (step: X87Step): boolean => width(step) === 14 * 8 || width(step) === 94 * 8;

define(
  "Fnstenv",
  (step) => {
    step.memory!.writeImage(storeEnvironment(step.registers, isShort(step)));
    step.registers.control |= 0x3f;
  },
  NO_WAIT,
);
define("Fldenv", (step) => loadEnvironment(step.registers, step.memory!.readImage(isShort(step) ? 14 : 28)), CONTROL);
define(
  "Fnsave",
  (step) => {
    step.memory!.writeImage(storeState(step.registers, isShort(step)));
    step.registers.initialize();
  },
  NO_WAIT,
);
define("Frstor", (step) => loadState(step.registers, step.memory!.readImage(isShort(step) ? 94 : 108)), CONTROL);
