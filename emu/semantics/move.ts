import { Code, Mnemonic } from "iced-x86";
import { EXIT, VECTOR } from "../cpu/exits.ts";
import { ALIGNMENT_CHECK, OTHER_FLAGS, REG, STATE, TRAP_FLAG } from "../cpu/state.ts";
import { PROT_READ, PROT_WRITE } from "../layout.ts";
import { I64, type I64Expr, i32, i64, select } from "../wasm/expr.ts";
import { define } from "./table.ts";
import { CC, type FlagValues, loadInt, type Translator, type Width } from "./translator.ts";

const n = (value: number): I64Expr => i64.const(value);

/** Condition suffixes in the order of their codes. */
export const CONDITIONS = [
  "o",
  "no",
  "b",
  "ae",
  "e",
  "ne",
  "be",
  "a",
  "s",
  "ns",
  "p",
  "np",
  "l",
  "ge",
  "le",
  "g",
] as const;

define("Mov", "Vol. 2B, MOV", (e) => {
  const classes = [e.operand(0).registerClass, e.operand(1).registerClass];
  if (classes[0] === "segment") {
    e.defer();
    return;
  }
  if (classes[1] === "segment") {
    e.write(0, e.read(1, 16), e.isMemory(0) ? 16 : e.width(0));
    return;
  }
  if (classes.includes("other")) {
    // Control and debug registers are the kernel's.
    e.raise(VECTOR.GP);
    return;
  }
  e.write(0, e.read(1));
});

// Loading a segment register and asking about one needs the descriptor table: cpu/segments.ts.
define(["Lss", "Lfs", "Lgs"], "Vol. 2A, LDS/LES/LFS/LGS/LSS", (e) => e.defer());
define(["Lar", "Lsl", "Verr", "Verw"], "Vol. 2A, LAR, LSL; Vol. 2C, VERR/VERW", (e) => e.defer());

define("Movzx", "Vol. 2B, MOVZX", (e) => e.write(0, e.read(1)));
define(["Movsx", "Movsxd"], "Vol. 2B, MOVSX/MOVSXD", (e) =>
  e.write(0, e.cut(e.signExtend(e.read(1), e.width(1)), e.width(0))),
);
define("Lea", "Vol. 2A, LEA", (e) => e.write(0, e.cut(e.addressOffset(), e.width(0))));

define(
  "Xchg",
  "Vol. 2C, XCHG",
  (e) => {
    const b = e.read(1);
    const { old, set } = e.update(0);
    set(b);
    e.write(1, old);
  },
  { lockable: true },
);

for (const [cc, suffix] of CONDITIONS.entries()) {
  const name = suffix as "e";
  define(`Cmov${name}`, "Vol. 2A, CMOVcc", (e) => {
    // The source is read, and may fault, whatever the condition; a 32-bit destination is always written.
    const source = e.read(1);
    e.write(0, select(e.condition(cc), source, e.read(0)));
  });
  define(`Set${name}`, "Vol. 2B, SETcc", (e) => e.write(0, i64.extendI32U(e.condition(cc))));
}

/** CBW, CWDE, CDQE: the accumulator's lower half, sign-extended to the whole. */
const widenAccumulator = (from: Width, to: Width) => (e: Translator) =>
  e.setGpr(REG.RAX, e.cut(e.signExtend(e.gpr(REG.RAX, from), from), to), to);
define("Cbw", "Vol. 2A, CBW/CWDE/CDQE", widenAccumulator(8, 16));
define("Cwde", "Vol. 2A, CBW/CWDE/CDQE", widenAccumulator(16, 32));
define("Cdqe", "Vol. 2A, CBW/CWDE/CDQE", widenAccumulator(32, 64));

/** CWD, CDQ, CQO: the accumulator's sign throughout (E/R)DX. */
const signIntoDx = (width: Width) => (e: Translator) =>
  e.setGpr(REG.RDX, e.cut(i64.shrS(e.signExtend(e.gpr(REG.RAX, width), width), n(63)), width), width);
define("Cwd", "Vol. 2A, CWD/CDQ/CQO", signIntoDx(16));
define("Cdq", "Vol. 2A, CWD/CDQ/CQO", signIntoDx(32));
define("Cqo", "Vol. 2A, CWD/CDQ/CQO", signIntoDx(64));

/** Pushes and pops of 16 bits whose operand does not say so: under prefix 66. */
const NARROW_STACK = new Set<Code>([Code.Push_imm16, Code.Pushw_imm8, Code.Pushw_FS, Code.Pushw_GS]);

/** Is the stack operand 16 bits wide (prefix 66)? Everything else pushes and pops 64 bits in 64-bit mode. */
const stackWidth = (e: Translator): 16 | 64 => {
  const operand = e.operand(0);
  if (operand.kind === "immediate" || operand.registerClass === "segment") {
    return NARROW_STACK.has(e.instruction.code) ? 16 : 64;
  }
  return operand.width === 16 ? 16 : 64;
};

define("Push", "Vol. 2B, PUSH", (e) => {
  const operand = e.operand(0);
  if (operand.kind === "immediate") e.push(e.immediate(0), stackWidth(e));
  else if (operand.registerClass === "segment") e.push(e.read(0, 16), stackWidth(e));
  else e.push(e.read(0), stackWidth(e));
});

define("Pop", "Vol. 2B, POP", (e) => {
  if (e.operand(0).registerClass === "segment") {
    e.defer();
    return;
  }
  const width = stackWidth(e);
  const top = e.let(e.gpr(REG.RSP));
  const value = e.load(top, width);
  const after = e.let(i64.add(top, n(width / 8)));
  if (e.isMemory(0)) {
    // RSP as a base counts after the pop (SDM Vol. 2B, POP); it goes back if the store faults.
    e.setGpr(REG.RSP, after);
    const address = e.let(e.linearAddress());
    e.setGpr(REG.RSP, top);
    e.store(address, width, value);
    e.setGpr(REG.RSP, after);
  } else {
    e.setGpr(REG.RSP, after);
    e.write(0, value, width);
  }
});

/** RFLAGS as PUSHF stores it: reserved bit 1 and IF set, VM and RF clear (SDM Vol. 2B, PUSHF). */
export function packFlags(e: Translator): I64Expr {
  const place = (condition: ReturnType<Translator["condition"]>, at: number): I64Expr =>
    i64.shl(i64.extendI32U(condition), n(at));
  const status = [
    place(e.condition(CC.B), 0),
    place(e.condition(CC.P), 2),
    place(e.auxiliaryCarry(), 4),
    place(e.condition(CC.E), 6),
    place(e.condition(CC.S), 7),
    place(e.condition(CC.O), 11),
    place(e.directionDown, 10),
    e.state(STATE.otherFlags, 32),
  ];
  return e.let(status.reduce((all, one) => i64.or(all, one), n(0x202)));
}

const flagAt = (e: Translator, value: I64Expr, at: number) => e.let(i32.wrap(i64.and(i64.shrU(value, n(at)), n(1))));

/** SF, ZF, AF, PF, CF from the low byte of an RFLAGS image. */
function lowFlags(e: Translator, value: I64Expr): FlagValues {
  const at = (place: number) => flagAt(e, value, place);
  return { cf: at(0), pf: at(2), af: at(4), zf: at(6), sf: at(7) };
}

define(["Pushf", "Pushfq"], "Vol. 2B, PUSHF/PUSHFD/PUSHFQ", (e) =>
  e.push(packFlags(e), e.instruction.mnemonic === Mnemonic.Pushf ? 16 : 64),
);

define(["Popf", "Popfq"], "Vol. 2B, POPF/POPFD/POPFQ", (e) => {
  const width = e.instruction.mnemonic === Mnemonic.Popf ? 16 : 64;
  const value = e.load(e.gpr(REG.RSP), width);
  // What follows is done in single steps, where TF and AC are looked at; so is this instruction, then.
  const traced = i64.ne(i64.and(value, n(TRAP_FLAG | (width === 16 ? 0 : ALIGNMENT_CHECK))), n(0));
  const isNew = i64.eqz(e.state(STATE.tracing, 32));
  e.if(i32.and(traced, isNew), () => e.abandon(EXIT.trace), undefined, false);
  e.setGpr(REG.RSP, i64.add(e.gpr(REG.RSP), n(width / 8)));
  e.flagsExplicit({ ...lowFlags(e, value), of: flagAt(e, value, 11) });
  e.setState(STATE.direction, i64.extendI32U(flagAt(e, value, 10)), 32);
  // A 16-bit image says nothing about AC and ID.
  const changed = width === 16 ? OTHER_FLAGS & 0xffffn : OTHER_FLAGS;
  const kept = i64.and(e.state(STATE.otherFlags, 32), i64.const(OTHER_FLAGS & ~changed));
  e.setState(STATE.otherFlags, i64.or(kept, i64.and(value, i64.const(changed))), 32);
});

define("Lahf", "Vol. 2A, LAHF", (e) => {
  const ax = i64.or(e.gpr(REG.RAX, 8), i64.shl(i64.and(packFlags(e), n(0xd7)), n(8)));
  e.setGpr(REG.RAX, ax, 16);
});
define("Sahf", "Vol. 2B, SAHF", (e) => e.flagsExplicit(lowFlags(e, e.let(i64.shrU(e.gpr(REG.RAX, 16), n(8))))));

define("Clc", "Vol. 2A, CLC", (e) => e.flagsExplicit({ cf: i32.const(0) }));
define("Stc", "Vol. 2B, STC", (e) => e.flagsExplicit({ cf: i32.const(1) }));
define("Cmc", "Vol. 2A, CMC", (e) => e.flagsExplicit({ cf: e.let(e.condition(CC.AE)) }));
define("Cld", "Vol. 2A, CLD", (e) => e.setState(STATE.direction, n(0), 32));
define("Std", "Vol. 2B, STD", (e) => e.setState(STATE.direction, n(1), 32));

define("Enter", "Vol. 2A, ENTER", (e) => {
  // Nesting levels read the old frame's display and push it anew, then the new frame pointer.
  const width = e.instruction.code === Code.Enterw_imm16_imm8 ? 16 : 64;
  const size = width / 8;
  const allocate = e.let(i64.and(e.immediate(0), n(0xffff)));
  const level = e.let(i64.and(e.immediate(1), n(0x1f)));
  const top = e.let(e.gpr(REG.RSP));
  const frame = e.let(i64.sub(top, n(size)));
  const oldFrame = e.let(e.gpr(REG.RBP));
  const at = e.local(I64);
  const count = e.local(I64);
  // Nothing but memory below RSP is written before the last access has succeeded.
  e.store(frame, width, oldFrame);
  e.set(at, frame);
  e.if(i64.ne(level, n(0)), () => {
    e.set(count, n(1));
    e.block((done) => {
      e.loop((again) => {
        e.branchIf(done, i64.geU(count, level));
        const from = e.local(I64);
        e.set(from, i64.sub(oldFrame, i64.mul(count, n(size))));
        const value = e.local(I64);
        e.set(value, loadInt(width, e.access(from, size, PROT_READ)));
        e.set(at, i64.sub(at, n(size)));
        const host = e.access(at, size, PROT_WRITE);
        e.storeInt(width, host, value);
        e.commit(host);
        e.set(count, i64.add(count, n(1)));
        e.branch(again);
      });
    });
    e.set(at, i64.sub(at, n(size)));
    const host = e.access(at, size, PROT_WRITE);
    e.storeInt(width, host, frame);
    e.commit(host);
  });
  // The instruction faults if the new top of stack can't be written (SDM Vol. 2A, ENTER).
  const final = e.let(i64.sub(at, allocate));
  e.access(final, size, PROT_WRITE);
  e.setGpr(REG.RBP, frame, width);
  e.setGpr(REG.RSP, final);
});

define("Leave", "Vol. 2A, LEAVE", (e) => {
  const width = e.instruction.code === Code.Leavew ? 16 : 64;
  const frame = e.let(e.gpr(REG.RBP));
  const value = e.load(frame, width);
  e.setGpr(REG.RSP, i64.add(frame, n(width / 8)));
  e.setGpr(REG.RBP, value, width);
});
