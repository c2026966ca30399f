import type { Mnemonic } from "iced-x86";
import { EXIT } from "../cpu/exits.ts";
import { STATE } from "../cpu/state.ts";
import { x87Mnemonics } from "../cpu/x87/instructions.ts";
import { SLOT, X87 } from "../cpu/x87/registers.ts";
import { saveMnemonics } from "../cpu/xsave.ts";
import { PROT_READ, PROT_WRITE } from "../layout.ts";
import { type I32Expr, type I64Expr, i32, i64 } from "../wasm/expr.ts";
import { define } from "./table.ts";
import type { Translator } from "./translator.ts";

/**
 * x87 is carried out in TypeScript (cpu/x87/): WebAssembly has no 80-bit numbers, and compilers for x86-64 emit it for
 * long double alone. So are the instructions that save its state along with the other registers.
 *
 * What only moves a register, and nothing is the matter, is done here: programs that are built to clear all registers at
 * the end of each function (GCC's -fzero-call-used-regs=all, OpenSSH for one) do that all the time.
 */
const MOVES: ReadonlyMap<string, (e: Translator) => void> = new Map([
  ["Fldz", (e) => pushConstant(e, 0n, 0)],
  ["Fld1", (e) => pushConstant(e, 1n << 63n, 0x3fff)],
  ["Fld", load],
  ["Fst", (e) => store(e, false)],
  ["Fstp", (e) => store(e, true)],
  ["Fxch", exchange],
]);

const names = [...x87Mnemonics(), ...saveMnemonics()] as (keyof typeof Mnemonic)[];
const others = names.filter((name) => !MOVES.has(name));
define(others, "Vol. 1, chapters 8 and 13; Vol. 2A and 2D, each", (e) => e.leave(EXIT.helper, false), { ends: true });
for (const [name, emit] of MOVES) define(name as keyof typeof Mnemonic, "Vol. 1, chapter 8; Vol. 2A, FLD…FXCH", emit);

/** Bits of the status word: an exception is pending; C1, which tells of rounding; TOP (SDM Vol. 1, figure 8-4). */
const SUMMARY = 0x80;
const C1 = 0x200;
const TOP_SHIFT = 11;

/** The stack of registers as an instruction finds it. */
interface Stack {
  readonly status: I64Expr;
  readonly tags: I32Expr;
  /** The register that ST(0) is. */
  readonly top: I32Expr;
}

function stackOf(e: Translator): Stack {
  const status = e.let(e.state(STATE.x87 + X87.status, 16));
  const tags = e.let(i32.wrap(e.state(STATE.x87 + X87.tags, 8)));
  return { status, tags, top: e.let(i32.and(i32.shrU(i32.wrap(status), i32.const(TOP_SHIFT)), i32.const(7))) };
}

const bit = (register: I32Expr): I32Expr => i32.shl(i32.const(1), register);
const isValid = ({ tags }: Stack, register: I32Expr): I32Expr => i32.ne(i32.and(tags, bit(register)), i32.const(0));
const isEmpty = (stack: Stack, register: I32Expr): I32Expr => i32.eqz(isValid(stack, register));
/** The register that the instruction's operand ST(i) is. */
const registerOf = (e: Translator, { top }: Stack, operand: number): I32Expr => {
  const offset = i32.sub(e.registerPlace(operand), i32.add(e.stateAddress(), i32.const(STATE.x87 + X87.registers)));
  return e.let(i32.and(i32.add(i32.shrU(offset, i32.const(4)), top), i32.const(7)));
};
const placeOf = (e: Translator, register: I32Expr): I32Expr =>
  e.let(i32.add(e.stateAddress(), i32.mul(register, i32.const(SLOT))));
const AT = STATE.x87 + X87.registers;

/** Leaves the instruction to TypeScript unless no exception is pending and the stack is as it should be. */
function deferUnless(e: Translator, { status }: Stack, condition: I32Expr): void {
  const isQuiet = i32.eqz(i32.and(i32.wrap(status), i32.const(SUMMARY)));
  e.if(i32.eqz(i32.and(isQuiet, condition)), () => e.defer(), undefined, false);
}

/** What the instruction leaves: TOP and tags, C1 zero, and where it was (SDM Vol. 1, 8.1.8). */
function finish(e: Translator, { status }: Stack, top: I32Expr, tags: I32Expr): void {
  const kept = i64.and(status, i64.const(0xffff & ~(C1 | (7 << TOP_SHIFT))));
  const word = i64.or(kept, i64.extendI32U(i32.shl(top, i32.const(TOP_SHIFT))));
  e.setState(STATE.x87 + X87.status, word, 16);
  e.setState(STATE.x87 + X87.tags, i64.extendI32U(tags), 8);
  e.setState(STATE.x87 + X87.instruction, e.currentAddress(), 64);
}

interface Bits {
  readonly significand: I64Expr;
  /** Sign and exponent. */
  readonly high: I64Expr;
}

const read = (e: Translator, place: I32Expr, offset = AT): Bits => ({
  significand: e.let(i64.load(place, offset)),
  high: e.let(i64.load16u(place, offset + 8)),
});

function write(e: Translator, place: I32Expr, { significand, high }: Bits, offset = AT): void {
  e.storeInt(64, place, significand, offset);
  e.storeInt(16, place, high, offset + 8);
}

const below = (e: Translator, top: I32Expr): I32Expr => e.let(i32.and(i32.add(top, i32.const(7)), i32.const(7)));
const above = (e: Translator, top: I32Expr): I32Expr => e.let(i32.and(i32.add(top, i32.const(1)), i32.const(7)));

function pushConstant(e: Translator, significand: bigint, high: number): void {
  const stack = stackOf(e);
  const to = below(e, stack.top);
  deferUnless(e, stack, isEmpty(stack, to));
  write(e, placeOf(e, to), { significand: i64.const(significand), high: i64.const(high) });
  finish(e, stack, to, i32.or(stack.tags, bit(to)));
}

/** FLD of a register, or of ten bytes of memory, which are taken as they are. */
function load(e: Translator): void {
  const { kind, width } = e.operand(e.instruction.operands.length - 1);
  if (kind === "memory" && width !== 80) {
    e.defer();
    return;
  }
  const stack = stackOf(e);
  const to = below(e, stack.top);
  if (kind === "memory") {
    const offset = e.let(e.addressOffset());
    deferUnless(e, stack, isEmpty(stack, to));
    const value = read(e, e.access(e.linearAddress(), 10, PROT_READ), 0);
    write(e, placeOf(e, to), value);
    e.setState(STATE.x87 + X87.data, offset, 64);
  } else {
    const from = registerOf(e, stack, e.instruction.operands.length - 1);
    deferUnless(e, stack, i32.and(isEmpty(stack, to), isValid(stack, from)));
    write(e, placeOf(e, to), read(e, placeOf(e, from)));
  }
  finish(e, stack, to, i32.or(stack.tags, bit(to)));
}

/** FST and FSTP to a register, FSTP to ten bytes of memory. */
function store(e: Translator, pops: boolean): void {
  const { kind, width } = e.operand(0);
  if (kind === "memory" && width !== 80) {
    e.defer();
    return;
  }
  const stack = stackOf(e);
  deferUnless(e, stack, isValid(stack, stack.top));
  const value = read(e, placeOf(e, stack.top));
  let { tags } = stack;
  if (kind === "memory") {
    const offset = e.let(e.addressOffset());
    const host = e.access(e.linearAddress(), 10, PROT_WRITE);
    write(e, host, value, 0);
    e.commit(host);
    e.setState(STATE.x87 + X87.data, offset, 64);
  } else {
    const to = registerOf(e, stack, 0);
    write(e, placeOf(e, to), value);
    tags = i32.or(tags, bit(to));
  }
  if (pops) finish(e, stack, above(e, stack.top), i32.and(tags, i32.xor(bit(stack.top), i32.const(0xff))));
  else finish(e, stack, stack.top, tags);
}

function exchange(e: Translator): void {
  const stack = stackOf(e);
  const other = registerOf(e, stack, 1);
  deferUnless(e, stack, i32.and(isValid(stack, stack.top), isValid(stack, other)));
  const [here, there] = [placeOf(e, stack.top), placeOf(e, other)];
  const [first, second] = [read(e, here), read(e, there)];
  write(e, here, second);
  write(e, there, first);
  finish(e, stack, stack.top, stack.tags);
}
