import type { Bytes } from "./bytes.ts";

/**
 * WebAssembly expressions as values: trees that are written out when a statement uses them. A tree that reads a local
 * or memory reads it where the statement stands; FunctionBuilder.let pins a value to a place.
 */
export const I32 = 0x7f;
export const I64 = 0x7e;
export const F32 = 0x7d;
export const F64 = 0x7c;
export const V128 = 0x7b;
export type ValType = typeof I32 | typeof I64 | typeof F32 | typeof F64 | typeof V128;

export interface Expr<T extends ValType = ValType> {
  readonly type: T;
  /** The constant value, where it is one. */
  readonly value?: T extends typeof I64 ? bigint : number;
  /** Appends the instructions that leave the value on the stack. */
  write(out: Bytes): void;
}
export type I32Expr = Expr<typeof I32>;
export type I64Expr = Expr<typeof I64>;
export type F32Expr = Expr<typeof F32>;
export type F64Expr = Expr<typeof F64>;
export type V128Expr = Expr<typeof V128>;

/** Opcodes behind a prefix byte are written as prefix << 12 | code. */
const SIMD = 0xfd << 12;
const MISC = 0xfc << 12;

function writeOpcode(out: Bytes, opcode: number): void {
  if (opcode > 0xff) {
    out.byte(opcode >>> 12);
    out.u32(opcode & 0xfff);
  } else out.byte(opcode);
}

class Op<T extends ValType> implements Expr<T> {
  readonly type: T;
  readonly #opcode: number;
  readonly #args: readonly Expr[];

  constructor(type: T, opcode: number, args: readonly Expr[]) {
    this.type = type;
    this.#opcode = opcode;
    this.#args = args;
  }

  write(out: Bytes): void {
    for (const arg of this.#args) arg.write(out);
    writeOpcode(out, this.#opcode);
  }
}

/** An i64 and a constant added to it: kept apart so that addresses off one base can be told to be neighbours. */
export class Sum implements I64Expr {
  readonly type = I64;
  readonly base: I64Expr;
  readonly offset: bigint;

  constructor(base: I64Expr, offset: bigint) {
    this.base = base;
    this.offset = offset;
  }

  write(out: Bytes): void {
    this.base.write(out);
    out.byte(0x42);
    out.s64(this.offset);
    out.byte(0x7c);
  }
}

/** base + offset, with sums of sums put together. */
function sum(base: I64Expr, offset: bigint): I64Expr {
  const inner = base instanceof Sum ? base : undefined;
  const total = BigInt.asIntN(64, offset + (inner?.offset ?? 0n));
  return total === 0n ? (inner?.base ?? base) : new Sum(inner?.base ?? base, total);
}

/** A place in wasm memory: a base and a constant that loads and stores take in. The sum does not pass 2^32. */
export class Place implements I32Expr {
  readonly type = I32;
  readonly base: I32Expr;
  readonly offset: number;

  constructor(base: I32Expr, offset: number) {
    this.base = base;
    this.offset = offset;
  }

  write(out: Bytes): void {
    this.base.write(out);
    if (this.offset === 0) return;
    out.byte(0x41);
    out.s32(this.offset);
    out.byte(0x6a);
  }
}

/** An address and a constant offset as a load or store encodes them. */
export function splitPlace(address: I32Expr, offset: number): { base: I32Expr; offset: number } {
  return address instanceof Place ? { base: address.base, offset: address.offset + offset } : { base: address, offset };
}

class WithImmediate<T extends ValType> implements Expr<T> {
  readonly type: T;
  readonly #args: readonly Expr[];
  readonly #tail: (out: Bytes) => void;

  constructor(type: T, args: readonly Expr[], tail: (out: Bytes) => void) {
    this.type = type;
    this.#args = args;
    this.#tail = tail;
  }

  write(out: Bytes): void {
    for (const arg of this.#args) arg.write(out);
    this.#tail(out);
  }
}

class I32Const implements I32Expr {
  readonly type = I32;
  readonly value: number;

  constructor(value: number) {
    this.value = value | 0;
  }

  write(out: Bytes): void {
    out.byte(0x41);
    out.s32(this.value);
  }
}

/** A constant that is known only when more has been written: some bytes wait for it. */
export class LateConst implements I32Expr {
  readonly type = I32;
  readonly value = undefined;
  readonly #size: number;
  #out: Bytes | undefined;
  /** Where its bytes are, once it has been written. */
  at = -1;

  /** @param size in bytes, of 7 bits each */
  constructor(size: number) {
    this.#size = size;
  }

  write(out: Bytes): void {
    out.byte(0x41);
    this.#out = out;
    this.at = out.length;
    for (let i = 0; i < this.#size; i++) out.byte(0);
  }

  settle(value: number): void {
    this.#out?.patch(this.at, this.#size, value);
  }
}

/** A call of a function whose index is not known yet. */
export class LateCall implements I32Expr {
  readonly type = I32;
  readonly value = undefined;
  readonly #args: readonly Expr[];
  readonly #size: number;
  /** Where the bytes of the index are, once it has been written. */
  at = -1;

  /** @param size of the index in bytes, of 7 bits each */
  constructor(args: readonly Expr[], size: number) {
    this.#args = args;
    this.#size = size;
  }

  write(out: Bytes): void {
    for (const arg of this.#args) arg.write(out);
    out.byte(0x10);
    this.at = out.length;
    for (let i = 0; i < this.#size; i++) out.byte(0);
  }
}

class I64Const implements I64Expr {
  readonly type = I64;
  readonly value: bigint;

  constructor(value: bigint) {
    this.value = BigInt.asIntN(64, value);
  }

  write(out: Bytes): void {
    out.byte(0x42);
    out.s64(this.value);
  }
}

export class LocalRef<T extends ValType = ValType> implements Expr<T> {
  readonly type: T;
  readonly index: number;

  constructor(type: T, index: number) {
    this.type = type;
    this.index = index;
  }

  write(out: Bytes): void {
    out.localGet(this.index);
  }
}

const unary =
  <R extends ValType, A extends ValType>(result: R, opcode: number) =>
  (a: Expr<A>): Expr<R> =>
    new Op(result, opcode, [a]);

const binary =
  <R extends ValType, A extends ValType>(result: R, opcode: number) =>
  (a: Expr<A>, b: Expr<A>): Expr<R> =>
    new Op(result, opcode, [a, b]);

type Load<T extends ValType> = (address: I32Expr, offset?: number) => Expr<T>;

/** A load; the alignment hint is 1 byte since guest accesses need not be aligned. */
const load =
  <T extends ValType>(result: T, opcode: number): Load<T> =>
  (address, offset = 0) => {
    const place = splitPlace(address, offset);
    return new WithImmediate(result, [place.base], (out) => {
      writeOpcode(out, opcode);
      out.byte(0);
      out.u32(place.offset);
    });
  };

const I32toI32 = (op: number) => unary<typeof I32, typeof I32>(I32, op);
const i32bin = (op: number) => binary<typeof I32, typeof I32>(I32, op);

export const i32 = {
  const: (value: number): I32Expr => new I32Const(value),
  load: load(I32, 0x28),
  load8s: load(I32, 0x2c),
  load8u: load(I32, 0x2d),
  load16s: load(I32, 0x2e),
  load16u: load(I32, 0x2f),
  eqz: I32toI32(0x45),
  eq: i32bin(0x46),
  ne: i32bin(0x47),
  ltS: i32bin(0x48),
  ltU: i32bin(0x49),
  gtS: i32bin(0x4a),
  gtU: i32bin(0x4b),
  leS: i32bin(0x4c),
  leU: i32bin(0x4d),
  geS: i32bin(0x4e),
  geU: i32bin(0x4f),
  clz: I32toI32(0x67),
  ctz: I32toI32(0x68),
  popcnt: I32toI32(0x69),
  add: i32bin(0x6a),
  sub: i32bin(0x6b),
  mul: i32bin(0x6c),
  divS: i32bin(0x6d),
  divU: i32bin(0x6e),
  remS: i32bin(0x6f),
  remU: i32bin(0x70),
  and: i32bin(0x71),
  or: i32bin(0x72),
  xor: i32bin(0x73),
  shl: i32bin(0x74),
  shrS: i32bin(0x75),
  shrU: i32bin(0x76),
  rotl: i32bin(0x77),
  rotr: i32bin(0x78),
  wrap: (a: I64Expr): I32Expr => (a.value !== undefined ? i32.const(Number(BigInt.asIntN(32, a.value))) : i32wrap(a)),
  extend8s: I32toI32(0xc0),
  extend16s: I32toI32(0xc1),
  reinterpretF32: unary<typeof I32, typeof F32>(I32, 0xbc),
  truncSatF32S: unary<typeof I32, typeof F32>(I32, MISC | 0),
  truncSatF32U: unary<typeof I32, typeof F32>(I32, MISC | 1),
  truncSatF64S: unary<typeof I32, typeof F64>(I32, MISC | 2),
  truncSatF64U: unary<typeof I32, typeof F64>(I32, MISC | 3),
} as const;
const i32wrap = unary<typeof I32, typeof I64>(I32, 0xa7);

const i64bin = (op: number) => binary<typeof I64, typeof I64>(I64, op);
const i64cmp = (op: number) => binary<typeof I32, typeof I64>(I32, op);
const i64un = (op: number) => unary<typeof I64, typeof I64>(I64, op);
const i64addOp = i64bin(0x7c);
const i64subOp = i64bin(0x7d);
const i64eqOp = i64cmp(0x51);
const i64neOp = i64cmp(0x52);
const i64eqzOp = unary<typeof I32, typeof I64>(I32, 0x50);
const truth = (value: boolean): I32Expr => i32.const(value ? 1 : 0);
const i64andOp = i64bin(0x83);
const i64shlOp = i64bin(0x86);
const i64shrUOp = i64bin(0x88);
const isZero = (a: I64Expr): boolean => a.value === 0n;

export const i64 = {
  const: (value: bigint | number): I64Expr => new I64Const(BigInt(value)),
  load: load(I64, 0x29),
  load8s: load(I64, 0x30),
  load8u: load(I64, 0x31),
  load16s: load(I64, 0x32),
  load16u: load(I64, 0x33),
  load32s: load(I64, 0x34),
  load32u: load(I64, 0x35),
  eqz: (a: I64Expr): I32Expr => (a.value !== undefined ? truth(a.value === 0n) : i64eqzOp(a)),
  eq: (a: I64Expr, b: I64Expr): I32Expr =>
    a.value !== undefined && b.value !== undefined ? truth(a.value === b.value) : i64eqOp(a, b),
  ne: (a: I64Expr, b: I64Expr): I32Expr =>
    a.value !== undefined && b.value !== undefined ? truth(a.value !== b.value) : i64neOp(a, b),
  ltS: i64cmp(0x53),
  ltU: i64cmp(0x54),
  gtS: i64cmp(0x55),
  gtU: i64cmp(0x56),
  leS: i64cmp(0x57),
  leU: i64cmp(0x58),
  geS: i64cmp(0x59),
  geU: i64cmp(0x5a),
  clz: i64un(0x79),
  ctz: i64un(0x7a),
  popcnt: i64un(0x7b),
  add: (a: I64Expr, b: I64Expr): I64Expr => {
    if (isZero(b)) return a;
    if (isZero(a)) return b;
    if (a.value !== undefined && b.value !== undefined) return i64.const(a.value + b.value);
    if (b.value !== undefined) return sum(a, b.value);
    if (a.value !== undefined) return sum(b, a.value);
    return i64addOp(a, b);
  },
  sub: (a: I64Expr, b: I64Expr): I64Expr => {
    if (a.value !== undefined && b.value !== undefined) return i64.const(a.value - b.value);
    return b.value !== undefined ? sum(a, -b.value) : i64subOp(a, b);
  },
  mul: i64bin(0x7e),
  divS: i64bin(0x7f),
  divU: i64bin(0x80),
  remS: i64bin(0x81),
  remU: i64bin(0x82),
  and: (a: I64Expr, b: I64Expr): I64Expr =>
    a.value !== undefined && b.value !== undefined ? i64.const(a.value & b.value) : i64andOp(a, b),
  or: i64bin(0x84),
  xor: i64bin(0x85),
  shl: (a: I64Expr, b: I64Expr): I64Expr =>
    isZero(b)
      ? a
      : a.value !== undefined && b.value !== undefined
        ? i64.const(a.value << (b.value & 63n))
        : i64shlOp(a, b),
  shrS: i64bin(0x87),
  shrU: (a: I64Expr, b: I64Expr): I64Expr => (isZero(b) ? a : i64shrUOp(a, b)),
  rotl: i64bin(0x89),
  rotr: i64bin(0x8a),
  extendI32S: unary<typeof I64, typeof I32>(I64, 0xac),
  extendI32U: unary<typeof I64, typeof I32>(I64, 0xad),
  extend8s: i64un(0xc2),
  extend16s: i64un(0xc3),
  extend32s: i64un(0xc4),
  reinterpretF64: unary<typeof I64, typeof F64>(I64, 0xbd),
  truncSatF32S: unary<typeof I64, typeof F32>(I64, MISC | 4),
  truncSatF32U: unary<typeof I64, typeof F32>(I64, MISC | 5),
  truncSatF64S: unary<typeof I64, typeof F64>(I64, MISC | 6),
  truncSatF64U: unary<typeof I64, typeof F64>(I64, MISC | 7),
} as const;

const f32bin = (op: number) => binary<typeof F32, typeof F32>(F32, op);
const f32cmp = (op: number) => binary<typeof I32, typeof F32>(I32, op);
const f32un = (op: number) => unary<typeof F32, typeof F32>(F32, op);
export const f32 = {
  const: (value: number): F32Expr =>
    new WithImmediate(F32, [], (out) => {
      out.byte(0x43);
      out.f32(value);
    }),
  load: load(F32, 0x2a),
  eq: f32cmp(0x5b),
  ne: f32cmp(0x5c),
  lt: f32cmp(0x5d),
  gt: f32cmp(0x5e),
  le: f32cmp(0x5f),
  ge: f32cmp(0x60),
  abs: f32un(0x8b),
  neg: f32un(0x8c),
  ceil: f32un(0x8d),
  floor: f32un(0x8e),
  trunc: f32un(0x8f),
  nearest: f32un(0x90),
  sqrt: f32un(0x91),
  add: f32bin(0x92),
  sub: f32bin(0x93),
  mul: f32bin(0x94),
  div: f32bin(0x95),
  convertI32S: unary<typeof F32, typeof I32>(F32, 0xb2),
  convertI32U: unary<typeof F32, typeof I32>(F32, 0xb3),
  convertI64S: unary<typeof F32, typeof I64>(F32, 0xb4),
  convertI64U: unary<typeof F32, typeof I64>(F32, 0xb5),
  demoteF64: unary<typeof F32, typeof F64>(F32, 0xb6),
  reinterpretI32: unary<typeof F32, typeof I32>(F32, 0xbe),
} as const;

const f64bin = (op: number) => binary<typeof F64, typeof F64>(F64, op);
const f64cmp = (op: number) => binary<typeof I32, typeof F64>(I32, op);
const f64un = (op: number) => unary<typeof F64, typeof F64>(F64, op);
export const f64 = {
  const: (value: number): F64Expr =>
    new WithImmediate(F64, [], (out) => {
      out.byte(0x44);
      out.f64(value);
    }),
  load: load(F64, 0x2b),
  eq: f64cmp(0x61),
  ne: f64cmp(0x62),
  lt: f64cmp(0x63),
  gt: f64cmp(0x64),
  le: f64cmp(0x65),
  ge: f64cmp(0x66),
  abs: f64un(0x99),
  neg: f64un(0x9a),
  ceil: f64un(0x9b),
  floor: f64un(0x9c),
  trunc: f64un(0x9d),
  nearest: f64un(0x9e),
  sqrt: f64un(0x9f),
  add: f64bin(0xa0),
  sub: f64bin(0xa1),
  mul: f64bin(0xa2),
  div: f64bin(0xa3),
  convertI32S: unary<typeof F64, typeof I32>(F64, 0xb7),
  convertI32U: unary<typeof F64, typeof I32>(F64, 0xb8),
  convertI64S: unary<typeof F64, typeof I64>(F64, 0xb9),
  convertI64U: unary<typeof F64, typeof I64>(F64, 0xba),
  promoteF32: unary<typeof F64, typeof F32>(F64, 0xbb),
  reinterpretI64: unary<typeof F64, typeof I64>(F64, 0xbf),
} as const;

/** One of two values of any type: `whenTrue` where `condition` is not zero. Both are evaluated. */
export function select<T extends ValType>(condition: I32Expr, whenTrue: Expr<T>, whenFalse: Expr<T>): Expr<T> {
  if (whenTrue.type === V128) {
    return new WithImmediate(whenTrue.type, [whenTrue, whenFalse, condition], (out) => {
      out.byte(0x1c);
      out.u32(1);
      out.byte(V128);
    });
  }
  return new Op(whenTrue.type, 0x1b, [whenTrue, whenFalse, condition]);
}

/** A call of the function at `index` of table 0, with one result. */
export function callIndirect<T extends ValType>(
  type: T,
  typeIndex: number,
  args: readonly Expr[],
  index: I32Expr,
  table = 0,
): Expr<T> {
  return new WithImmediate(type, [...args, index], (out) => {
    out.byte(0x11);
    out.u32(typeIndex);
    out.u32(table);
  });
}

/** A call of a function with one result. */
export function call<T extends ValType>(type: T, functionIndex: number, args: readonly Expr[]): Expr<T> {
  return new WithImmediate(type, args, (out) => {
    out.byte(0x10);
    out.u32(functionIndex);
  });
}

export const vecUnary = (code: number) => unary<typeof V128, typeof V128>(V128, SIMD | code);
export const vecBinary = (code: number) => binary<typeof V128, typeof V128>(V128, SIMD | code);
export const vecTest = (code: number) => unary<typeof I32, typeof V128>(I32, SIMD | code);
export const vecShift =
  (code: number) =>
  (a: V128Expr, count: I32Expr): V128Expr =>
    new Op(V128, SIMD | code, [a, count]);
export const vecTernary =
  (code: number) =>
  (a: V128Expr, b: V128Expr, c: V128Expr): V128Expr =>
    new Op(V128, SIMD | code, [a, b, c]);
export const vecSplat = <A extends ValType>(code: number) => unary<typeof V128, A>(V128, SIMD | code);
export const vecLoad = (code: number) => load(V128, SIMD | code);
export const vecExtract =
  <R extends ValType>(result: R, code: number) =>
  (a: V128Expr, lane: number): Expr<R> =>
    new WithImmediate(result, [a], (out) => {
      writeOpcode(out, SIMD | code);
      out.byte(lane);
    });
export const vecReplace =
  <A extends ValType>(code: number) =>
  (a: V128Expr, lane: number, value: Expr<A>): V128Expr =>
    new WithImmediate(V128, [a, value], (out) => {
      writeOpcode(out, SIMD | code);
      out.byte(lane);
    });

/** A 16-byte constant. */
export function vecConst(bytes: Uint8Array): V128Expr {
  return new WithImmediate(V128, [], (out) => {
    writeOpcode(out, SIMD | 0x0c);
    out.bytes(bytes);
  });
}

/** Picks 16 bytes out of the 32 of `a` (0–15) and `b` (16–31). */
export function vecShuffle(a: V128Expr, b: V128Expr, lanes: ArrayLike<number>): V128Expr {
  return new WithImmediate(V128, [a, b], (out) => {
    writeOpcode(out, SIMD | 0x0d);
    for (let i = 0; i < 16; i++) out.byte(lanes[i]);
  });
}
