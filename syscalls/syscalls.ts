import { FILE_SYSCALLS } from "./files/index.ts";
import { MESSAGE_SYSCALLS } from "./ipc/message-queues.ts";
import { SEMAPHORE_SYSCALLS } from "./ipc/semaphores.ts";
import { SHARED_MEMORY_SYSCALLS } from "./ipc/shared-memory.ts";
import type { LinuxProcess } from "./linux-process.ts";
import type { LinuxThread } from "./linux-thread.ts";
import { MEMORY_SYSCALLS } from "./memory/syscalls.ts";
import { NETWORK_SYSCALLS } from "./net/syscalls.ts";
import { PERSONALITY_SYSCALLS } from "./process/personality.ts";
import { PROCESS_SYSCALLS } from "./process/syscalls.ts";
import { SIGNAL_SYSCALLS } from "./signals/syscalls.ts";
import type { SyscallRow } from "./table.ts";
import { SCHEDULING_SYSCALLS } from "./threads/scheduling.ts";
import { THREAD_SYSCALLS } from "./threads/syscalls.ts";
import { TIME_SYSCALLS } from "./time/syscalls.ts";

/** Every system call there is, by number (arch/x86/entry/syscalls/syscall_64.tbl). */
export const SYSCALLS: readonly (SyscallRow<LinuxProcess, LinuxThread> | undefined)[] = byNumber([
  ...(FILE_SYSCALLS as readonly SyscallRow<LinuxProcess, LinuxThread>[]),
  ...(NETWORK_SYSCALLS as readonly SyscallRow<LinuxProcess, LinuxThread>[]),
  ...MEMORY_SYSCALLS,
  ...SHARED_MEMORY_SYSCALLS,
  ...SEMAPHORE_SYSCALLS,
  ...MESSAGE_SYSCALLS,
  ...THREAD_SYSCALLS,
  ...SCHEDULING_SYSCALLS,
  ...SIGNAL_SYSCALLS,
  ...TIME_SYSCALLS,
  ...PROCESS_SYSCALLS,
  ...PERSONALITY_SYSCALLS,
]);

function byNumber(rows: readonly SyscallRow<LinuxProcess, LinuxThread>[]): SyscallRow<LinuxProcess, LinuxThread>[] {
  const table: SyscallRow<LinuxProcess, LinuxThread>[] = [];
  for (const row of rows) {
    if (table[row.number] !== undefined) throw new Error(`system call ${row.number} is there twice: ${row.name}`);
    table[row.number] = row;
  }
  return table;
}
