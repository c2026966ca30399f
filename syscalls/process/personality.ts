import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { row } from "../table.ts";

/** Asks for the personality without changing it (personality(2)). */
const ASK = 0xffff_ffff;

/** personality(2): what is asked for (ADDR_NO_RANDOMIZE by debuggers) is told again. Addresses are the same in each run. */
function personality(_process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const before = thread.personality;
  if (args.u32(0) !== ASK) thread.personality = args.u32(0);
  return before;
}

export const PERSONALITY_SYSCALLS = [row(135, "personality", ["hex"], personality, "told again, without effect")];
