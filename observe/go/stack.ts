import { GuestFault, type GuestMemory } from "../../emu/memory/guest-memory.ts";
import { SymbolError } from "../../loader/errors.ts";
import type { SymbolTable } from "../../loader/symbols/table.ts";

/** Registers from which a stack is walked. */
export interface StackStart {
  readonly pc: number;
  readonly sp: number;
  /** RBP; 0 if it is not known. */
  readonly bp: number;
}

/** A frame of a stack trace as the source has it: inlined calls have frames of their own. */
export interface Frame {
  readonly pc: number;
  /** Stack pointer within the frame. */
  readonly sp: number;
  /** Name of the function; undefined for code that no symbol covers. */
  readonly name: string | undefined;
  readonly file: string | undefined;
  readonly line: number | undefined;
  /** The call was inlined into the frame that follows. */
  readonly inlined: boolean;
}

/** More frames than anyone reads; a damaged stack may go round. */
const FRAME_LIMIT = 10_000;

/** Functions that nothing called: a stack ends here (Go runtime/traceback.go, topofstack; asm_amd64.s). */
const OUTERMOST: ReadonlySet<string> = new Set([
  ...[
    "runtime.goexit",
    "runtime.goexit.abi0",
    "runtime.mstart",
    "runtime.mstart.abi0",
    "runtime.mcall",
    "runtime.morestack",
  ],
  ...[
    "runtime.rt0_go",
    "runtime.rt0_go.abi0",
    "_rt0_amd64",
    "_rt0_amd64_linux",
    "runtime.systemstack",
    "runtime.clone",
  ],
  ...["runtime.mcall.abi0", "runtime.systemstack.abi0", "runtime.morestack.abi0"],
]);

/** After these the caller's pc is where it was interrupted, not a return address. */
const INTERRUPTING: ReadonlySet<string> = new Set(["runtime.sigpanic", "runtime.asyncPreempt", "runtime.sigreturn"]);

/** What the tables say of a pc: the same each time. */
interface PcInfo {
  readonly source: readonly Pick<Frame, "name" | "file" | "line" | "inlined">[];
  /** How far the stack pointer is below the return address; undefined where only the frame pointer can tell. */
  readonly delta: number | undefined;
  readonly isOutermost: boolean;
  readonly isInterrupting: boolean;
}

const known = new WeakMap<SymbolTable, Map<number, PcInfo>>();

/** @param isReturn the pc is a return address: the call is before it */
function infoOf(symbols: SymbolTable, pc: number, isReturn: boolean): PcInfo {
  let infos = known.get(symbols);
  if (infos === undefined) {
    infos = new Map();
    known.set(symbols, infos);
  }
  const key = pc * 2 + (isReturn ? 1 : 0);
  let info = infos.get(key);
  if (info === undefined) {
    const func = symbols.lookup(pc);
    const frames = symbols.inlineStack(isReturn ? pc - 1 : pc);
    const last = frames.length - 1;
    info = {
      source:
        frames.length > 0
          ? frames.map(({ name, file, line }, i) => ({ name, file, line, inlined: i < last }))
          : [{ name: func?.name, file: undefined, line: undefined, inlined: false }],
      delta: func === undefined ? undefined : symbols.stackDelta(pc),
      isOutermost: func !== undefined && OUTERMOST.has(func.name),
      isInterrupting: func !== undefined && INTERRUPTING.has(func.name),
    };
    // What no symbol covers may be any number that lay on the stack.
    if (func !== undefined) infos.set(key, info);
  }
  return info;
}

/**
 * Walks a stack by the stack-pointer deltas of Go's function table (Go runtime/traceback.go, unwinder.next), and by
 * frame pointers where the table has none.
 * @param limit most frames, inlined ones included
 */
export function walkStack(memory: GuestMemory, symbols: SymbolTable, start: StackStart, limit = FRAME_LIMIT): Frame[] {
  const frames: Frame[] = [];
  let { pc, sp, bp } = start;
  let isReturn = false;
  try {
    while (frames.length < limit && pc !== 0) {
      const { source, delta, isOutermost, isInterrupting } = infoOf(symbols, pc, isReturn);
      for (const { name, file, line, inlined } of source) frames.push({ pc, sp, name, file, line, inlined });
      if (isOutermost) break;
      if (delta === undefined) {
        // The frame pointer points to the caller's, below the return address.
        if (bp < sp) break;
        pc = memory.readPointer(bp + 8);
        sp = bp + 16;
        bp = memory.readPointer(bp);
      } else {
        pc = memory.readPointer(sp + delta);
        sp += delta + 8;
      }
      isReturn = !isInterrupting;
    }
  } catch (error) {
    // The trace ends where the stack can't be read.
    if (!(error instanceof GuestFault || error instanceof SymbolError)) throw error;
  }
  return frames.slice(0, limit);
}

/** Frames as Go prints them: a line with the function, a line with the place. */
export function formatStack(frames: readonly Frame[]): string[] {
  return frames.flatMap(({ name, file, line, pc }) => [
    name ?? `0x${pc.toString(16)}`,
    `\t${file ?? "?"}:${line ?? 0} pc=0x${pc.toString(16)}`,
  ]);
}
