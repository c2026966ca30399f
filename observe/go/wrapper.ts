import { Code, Decoder, DecoderOptions, FlowControl } from "iced-x86";
import { PROT_EXEC } from "../../emu/layout.ts";
import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import type { Func, SymbolTable } from "../../loader/symbols/table.ts";

/** Releases that name wrappers like closures (main.main.func1); before .dwrap, later .gowrap tells them apart. */
const NAMED_LIKE_CLOSURES = { first: 18, last: 21 };

/**
 * The function that a wrapper of a `go` statement stands for: the first that it calls beside the runtime, or has
 * inlined (Go cmd/compile/internal/walk/order.go, wrapGoDefer).
 * @param minor N of Go 1.N
 * @returns undefined for a function that is no wrapper, or calls through a func value
 */
export function wrapped(memory: GuestMemory, symbols: SymbolTable, func: Func, minor: number): string | undefined {
  const isNamed = /(\.gowrap|·dwrap·)\d+$/.test(func.name);
  const isLike =
    minor >= NAMED_LIKE_CLOSURES.first && minor <= NAMED_LIKE_CLOSURES.last && /\.func\d+$/.test(func.name);
  const { address, size } = func;
  const length = isNamed || isLike ? memory.accessible(address, size, PROT_EXEC) : 0;
  if (length === 0) return undefined;
  const decoder = new Decoder(64, memory.readBytes(address, length), DecoderOptions.None);
  decoder.ip = BigInt(address);
  let found: string | undefined;
  const lines = new Set<number | undefined>();
  while (decoder.canDecode) {
    const instruction = decoder.decode();
    const frames = symbols.inlineStack(Number(instruction.ip));
    if (instruction.code !== Code.Int3) lines.add(frames.at(-1)?.line);
    if (frames.length > 1) found ??= frames[frames.length - 2].name;
    if (found === undefined && instruction.flowControl === FlowControl.Call) {
      const target = symbols.lookup(Number(instruction.nearBranchTarget))?.name;
      const isRuntimes = target === undefined || (target.startsWith("runtime.") && !func.name.startsWith("runtime."));
      if (!isRuntimes && !target.startsWith("runtime.morestack")) found = target;
    }
    instruction.free();
  }
  decoder.free();
  // A wrapper is of one line, that of the statement; a closure that calls one function within a line is as good as one.
  return isNamed || lines.size === 1 ? found : undefined;
}
