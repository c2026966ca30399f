import { STATE } from "../cpu/state.ts";
import type { Instruction } from "../decode/instruction.ts";
import { i64 } from "../wasm/expr.ts";
import { MXCSR } from "./helpers/float-format.ts";
import type { Translator } from "./translator.ts";

/** Does the instruction set no flag of MXCSR and raise nothing (SDM Vol. 1, 15.6.3 and 15.6.4)? */
export const suppressesExceptions = ({ rounding, suppressExceptions }: Instruction): boolean =>
  rounding !== 0 || suppressExceptions;

/**
 * Static rounding and "suppress all exceptions" for semantics that go by MXCSR: they find one with all exceptions
 * masked and with the instruction's rounding control, and the program's is put back. There is no memory operand, so
 * that nothing leaves the instruction in between.
 */
export function withEmbeddedRounding(emit: (e: Translator) => void): (e: Translator) => void {
  return (e) => {
    const { rounding } = e.instruction;
    if (!suppressesExceptions(e.instruction)) {
      emit(e);
      return;
    }
    const own = e.let(e.state(STATE.mxcsr, 32));
    const kept = MXCSR.DAZ | MXCSR.FTZ | (rounding === 0 ? MXCSR.RC : 0);
    const control = rounding === 0 ? 0 : (rounding - 1) << MXCSR.roundShift;
    const set = i64.const(MXCSR.masks | MXCSR.PE | control);
    e.setState(STATE.mxcsr, i64.or(i64.and(own, i64.const(kept)), set), 32);
    emit(e);
    e.setState(STATE.mxcsr, own, 32);
    e.setState(STATE.scratch, i64.const(0), 32);
  };
}
