import { inWindow, PAGE_SIZE, TASK_SIZE } from "../../emu/layout.ts";
import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import { isPagedIn } from "../../emu/memory/vma.ts";

/**
 * Reads guest memory whatever its protection, as a debugger may (ptrace(2), PTRACE_PEEKDATA; Linux: FOLL_FORCE).
 * @returns the bytes up to the first page that is not mapped or lies behind its file's end, at most `length`
 */
export function peek(memory: GuestMemory, address: number, length: number): Uint8Array {
  const { space } = memory;
  const end = Math.min(address + length, TASK_SIZE);
  const out = new Uint8Array(Math.max(0, end - address));
  let at = address;
  while (at < end) {
    const vma = at >= 0 ? space.vmas.at(at) : undefined;
    if (vma === undefined) break;
    // Behind a file's end there is nothing, not even zeros.
    if ((isPagedIn(vma) || space.sharing.isActive) && space.pageIn(at) === 0) break;
    if (!inWindow(at) && space.pages.entryOf(at) !== 0) {
      space.makeRoom();
      space.pageIn(at);
    }
    const next = Math.min(end, Math.floor(at / PAGE_SIZE) * PAGE_SIZE + PAGE_SIZE);
    if (inWindow(at)) space.vacate(at, next);
    const host = inWindow(at) ? at : frameOf(memory, at);
    // A page outside the window that was never touched reads as zero.
    if (host !== undefined) out.set(memory.u8.subarray(host, host + next - at), at - address);
    at = next;
  }
  return out.subarray(0, at - address);
}

function frameOf(memory: GuestMemory, address: number): number | undefined {
  const entry = memory.space.pages.outside(address);
  return entry === 0 ? undefined : Math.floor(entry / PAGE_SIZE) * PAGE_SIZE + (address % PAGE_SIZE);
}
