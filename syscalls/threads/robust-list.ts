import { GuestFault, type GuestMemory } from "../../emu/memory/guest-memory.ts";
import type { LinuxProcess } from "../linux-process.ts";
import { futexAt } from "./futex.ts";

/** sizeof(struct robust_list_head): first entry, offset of the futex word in an entry, entry under way. */
export const ROBUST_LIST_HEAD = 24;
/** A list of more entries is taken for a circular one (include/linux/futex.h, ROBUST_LIST_LIMIT). */
const LIMIT = 2048;
/** The owner's tid in a futex word, that it died, and that others wait (include/uapi/linux/futex.h). */
const TID_MASK = 0x3fff_ffff;
const OWNER_DIED = 0x4000_0000;
const WAITERS = 0x8000_0000;

/** One entry: bit 0 of a pointer says that the lock is one with priority inheritance. */
interface Entry {
  readonly address: number;
  readonly isPriorityInheriting: boolean;
}

/**
 * Marks the robust mutexes that a thread held at its end as those of a dead owner and wakes somebody who waits
 * (set_robust_list(2); kernel/futex/core.c, exit_robust_list()). A list that can't be read ends the walk, as in Linux.
 * @param head address of the thread's struct robust_list_head
 */
export function walkRobustList(process: LinuxProcess, head: number, tid: number): void {
  const { memory } = process;
  try {
    const offset = Number(BigInt.asIntN(64, memory.readU64(head + 8)));
    const pending = readEntry(memory, head + 16);
    let entry = readEntry(memory, head);
    for (let count = 0; entry.address !== head && count < LIMIT; count++) {
      // What comes next is read first: whoever is woken may free the entry.
      const next = readEntry(memory, entry.address);
      if (entry.address !== pending.address) release(process, entry, offset, tid, false);
      entry = next;
    }
    if (pending.address !== 0) release(process, pending, offset, tid, true);
  } catch (error) {
    if (!(error instanceof GuestFault)) throw error;
  }
}

function readEntry(memory: GuestMemory, at: number): Entry {
  const pointer = memory.readPointer(at);
  return { address: pointer - (pointer % 2), isPriorityInheriting: pointer % 2 === 1 };
}

/** kernel/futex/core.c, handle_futex_death(). */
function release(
  process: LinuxProcess,
  { address, isPriorityInheriting }: Entry,
  offset: number,
  tid: number,
  isPending: boolean,
): void {
  const { memory } = process;
  const word = address + offset;
  const wakeOne = (): void => {
    const { table, key } = futexAt(process, word, false);
    table.wake(key, 1);
  };
  if (word % 4 !== 0) return;
  const value = memory.readU32(word);
  // The owner may have died between storing 0 and waking who waits.
  if (isPending && !isPriorityInheriting && value === 0) {
    wakeOne();
    return;
  }
  if ((value & TID_MASK) !== tid) return;
  memory.writeU32(word, ((value & WAITERS) | OWNER_DIED) >>> 0);
  if (!isPriorityInheriting && value & WAITERS) wakeOne();
}
