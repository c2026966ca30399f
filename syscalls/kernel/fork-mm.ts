import { FileBacking } from "../memory/file-backing.ts";
import { MemoryNotes } from "../memory/notes.ts";
import type { Kernel } from "./kernel.ts";
import { boundFunctions } from "./load.ts";
import { Mm } from "./mm.ts";

/**
 * A copy of an address space for a child (kernel/fork.c, dup_mm()). Mappings of files that are shared stay so; everything
 * else is the child's own from now on.
 * @throws MemoryError ENOMEM
 */
export function forkMm(kernel: Kernel, mm: Mm): Mm {
  const backings = new Map<FileBacking, FileBacking>();
  const core = mm.core.fork((backing, memory) => {
    if (!(backing instanceof FileBacking)) return backing;
    const copy = backings.get(backing) ?? backing.fork(memory);
    backings.set(backing, copy);
    return copy;
  });
  boundFunctions(core, mm.program.symbols);
  const child = new Mm({
    core,
    program: { ...mm.program, cache: undefined, files: mm.program.files.acquire() },
    heap: { ...mm.heap },
    notes: new MemoryNotes(core.space, kernel.report),
    vvar: mm.vvar,
  });
  for (const backing of backings.values()) child.backings.add(backing);
  kernel.timekeeping.publishAt(core.memory, mm.vvar);
  return child;
}
