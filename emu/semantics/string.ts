import { REG } from "../cpu/state.ts";
import { PREFIX } from "../decode/instruction.ts";
import { PAGE_SIZE, PROT_READ, PROT_WRITE } from "../layout.ts";
import { type I32Expr, type I64Expr, i32, i64, select } from "../wasm/expr.ts";
import type { Label } from "../wasm/function.ts";
import { defineString } from "./table.ts";
import { CC, loadInt, maskOf, type Translator, type Width } from "./translator.ts";

const n = (value: number): I64Expr => i64.const(value);

/** The string forms' operands are [RSI] and [RDI], or [ESI] and [EDI] under prefix 67. */
interface StringForm {
  readonly width: Width;
  readonly address: Width;
}

const WIDTHS: Record<string, Width> = { b: 8, w: 16, d: 32, q: 64 };

function formOf(e: Translator, width: Width): StringForm {
  return { width, address: e.instruction.stringAddress as Width };
}

/** RSI or RDI, moved by `elements` elements in DF's direction. */
function advance(e: Translator, register: number, form: StringForm): void {
  const step = select(e.directionDown, n(-form.width / 8), n(form.width / 8));
  e.setGpr(register, e.cut(i64.add(e.gpr(register, form.address), step), form.address), form.address);
}

/** Elements from which on many are done at once. */
const MANY = 8;

/** Many elements at once: the condition under which a number of them may be, and how. */
interface Bulk {
  readonly allowed: (bytes: I32Expr) => I32Expr;
  readonly run: (bytes: I32Expr) => void;
  /** Registers that move along. */
  readonly moves: readonly number[];
}

/**
 * Runs one element, or as many as RCX says under REP. Registers are up to date after each element, so that a fault or
 * the end of the time slice leaves a state from which the instruction goes on (SDM Vol. 2B, REP).
 * @param again for REPE and REPNE: whether the comparison allows another element
 * @param bulk going up, up to a page's length at a time, where no access can fail
 */
function repeat(e: Translator, form: StringForm, element: () => void, again?: () => I32Expr, bulk?: Bulk): void {
  if ((e.instruction.prefixes & (PREFIX.rep | PREFIX.repne)) === 0) {
    element();
    return;
  }
  e.block((done) => {
    e.loop((next) => {
      e.branchIf(done, i64.eqz(e.gpr(REG.RCX, form.address)));
      if (bulk !== undefined && form.address === 64) runMany(e, form, bulk, done, next);
      element();
      e.setGpr(REG.RCX, e.cut(i64.sub(e.gpr(REG.RCX, form.address), n(1)), form.address), form.address);
      if (again !== undefined) e.branchIf(done, i32.eqz(again()));
      e.branchIf(done, i64.eqz(e.gpr(REG.RCX, form.address)));
      e.spendFuel(n(1));
      e.branch(next);
    });
  });
}

function runMany(e: Translator, form: StringForm, bulk: Bulk, done: Label, next: Label): void {
  const size = form.width / 8;
  const smaller = (a: I64Expr, b: I64Expr): I64Expr => select(i64.ltU(a, b), a, b);
  // The last element is not paid for, as with one at a time.
  const affordable = e.let(i64.add(e.fuelLeft(), n(1)));
  const count = e.let(smaller(smaller(e.gpr(REG.RCX), n(PAGE_SIZE / size)), affordable));
  const isUp = i32.and(i32.eqz(e.directionDown), i64.geS(e.fuelLeft(), n(0)));
  e.if(i32.and(i64.geU(count, n(MANY)), isUp), () => {
    const length = e.let(i64.mul(count, n(size)));
    const bytes = e.let(i32.wrap(length));
    e.if(bulk.allowed(bytes), () => {
      bulk.run(bytes);
      for (const register of bulk.moves) e.setGpr(register, i64.add(e.gpr(register), length));
      e.setGpr(REG.RCX, i64.sub(e.gpr(REG.RCX), count));
      e.branchIf(done, i64.eqz(e.gpr(REG.RCX)));
      e.spendFuel(count);
      e.branch(next);
    });
  });
}

/** MOVS of many: not where the destination begins inside of the source, whose bytes would be copied again. */
function moveMany(e: Translator, form: StringForm): Bulk {
  const from = (): I64Expr => source(e, form);
  const to = (): I64Expr => destination(e, form);
  return {
    allowed: (bytes) => {
      const isApart = i64.geU(i64.sub(to(), from()), i64.extendI32U(bytes));
      return i32.and(isApart, i32.and(e.isOpen(from(), PROT_READ), e.isOpen(to(), PROT_WRITE)));
    },
    run: (bytes) => e.copyMemory(i32.wrap(to()), i32.wrap(from()), bytes),
    moves: [REG.RSI, REG.RDI],
  };
}

/** STOS of many, where all bytes of the value are the same. */
function storeMany(e: Translator, form: StringForm): Bulk {
  const value = (): I64Expr => e.gpr(REG.RAX, form.width);
  const ofOneByte = (): I64Expr => i64.mul(e.gpr(REG.RAX, 8), i64.const(maskOf(form.width) / 0xffn));
  return {
    allowed: () => i32.and(i64.eq(value(), ofOneByte()), e.isOpen(destination(e, form), PROT_WRITE)),
    run: (bytes) => e.fillMemory(i32.wrap(destination(e, form)), i32.wrap(value()), bytes),
    moves: [REG.RDI],
  };
}

const source = (e: Translator, form: StringForm): I64Expr =>
  e.let(i64.add(e.segmentBase(), e.gpr(REG.RSI, form.address)));
const destination = (e: Translator, form: StringForm): I64Expr => e.let(e.gpr(REG.RDI, form.address));
const loadElement = (e: Translator, address: I64Expr, width: Width): I64Expr =>
  e.let(loadInt(width, e.access(address, width / 8, PROT_READ)));

function storeElement(e: Translator, address: I64Expr, width: Width, value: I64Expr): void {
  const host = e.access(address, width / 8, PROT_WRITE);
  e.storeInt(width, host, value);
  e.commit(host);
}

for (const [suffix, width] of Object.entries(WIDTHS)) {
  const s = suffix as "b";
  defineString(`Movs${s}`, "Vol. 2B, MOVS", (e) => {
    const form = formOf(e, width);
    const element = (): void => {
      const value = loadElement(e, source(e, form), width);
      storeElement(e, destination(e, form), width, value);
      advance(e, REG.RSI, form);
      advance(e, REG.RDI, form);
    };
    repeat(e, form, element, undefined, moveMany(e, form));
  });
  defineString(`Stos${s}`, "Vol. 2B, STOS", (e) => {
    const form = formOf(e, width);
    const element = (): void => {
      storeElement(e, destination(e, form), width, e.gpr(REG.RAX, width));
      advance(e, REG.RDI, form);
    };
    repeat(e, form, element, undefined, storeMany(e, form));
  });
  defineString(`Lods${s}`, "Vol. 2A, LODS", (e) => {
    const form = formOf(e, width);
    repeat(e, form, () => {
      e.setGpr(REG.RAX, loadElement(e, source(e, form), width), width);
      advance(e, REG.RSI, form);
    });
  });
  defineString(`Scas${s}`, "Vol. 2B, SCAS", (e) => {
    const form = formOf(e, width);
    const whileEqual = (e.instruction.prefixes & PREFIX.repne) === 0;
    repeat(
      e,
      form,
      () => {
        const value = loadElement(e, destination(e, form), width);
        const accumulator = e.let(e.gpr(REG.RAX, width));
        advance(e, REG.RDI, form);
        e.flagsSub(width, accumulator, value, e.let(e.cut(i64.sub(accumulator, value), width)));
      },
      () => e.condition(whileEqual ? CC.E : CC.NE),
    );
  });
  defineString(`Cmps${s}`, "Vol. 2A, CMPS", (e) => {
    const form = formOf(e, width);
    const whileEqual = (e.instruction.prefixes & PREFIX.repne) === 0;
    repeat(
      e,
      form,
      () => {
        const a = loadElement(e, source(e, form), width);
        const b = loadElement(e, destination(e, form), width);
        advance(e, REG.RSI, form);
        advance(e, REG.RDI, form);
        e.flagsSub(width, a, b, e.let(e.cut(i64.sub(a, b), width)));
      },
      () => e.condition(whileEqual ? CC.E : CC.NE),
    );
  });
}
