import { Decoder, DecoderOptions, FlowControl } from "iced-x86";
import { PROT_EXEC } from "../../emu/layout.ts";
import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import type { Func, SymbolTable } from "../../loader/symbols/table.ts";

/**
 * The function that a wrapper of a `go` statement stands for: the first that it calls beside the runtime, or has
 * inlined (Go cmd/compile/internal/walk/order.go, wrapGoDefer). Undefined where it calls through a func value.
 */
export function wrapped(memory: GuestMemory, symbols: SymbolTable, wrapper: Func): string | undefined {
  const { address, size } = wrapper;
  const length = memory.accessible(address, size, PROT_EXEC);
  if (length === 0) return undefined;
  const decoder = new Decoder(64, memory.readBytes(address, length), DecoderOptions.None);
  decoder.ip = BigInt(address);
  let found: string | undefined;
  while (decoder.canDecode && found === undefined) {
    const instruction = decoder.decode();
    const inlined = symbols.inlineStack(Number(instruction.ip));
    if (inlined.length > 1) found = inlined[inlined.length - 2].name;
    if (found === undefined && instruction.flowControl === FlowControl.Call) {
      const target = symbols.lookup(Number(instruction.nearBranchTarget))?.name;
      const isRuntimes =
        target === undefined || (target.startsWith("runtime.") && !wrapper.name.startsWith("runtime."));
      if (!isRuntimes && !target.startsWith("runtime.morestack")) found = target;
    }
    instruction.free();
  }
  decoder.free();
  return found;
}
