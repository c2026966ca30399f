import { GuestFault } from "../../emu/memory/guest-memory.ts";
import type { ExitStatus, Usage } from "../../host/processes.ts";
import { SI_USER } from "../abi/signals.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { storeShared } from "../memory/file-backing.ts";
import { futexAt } from "../threads/futex.ts";
import { walkRobustList } from "../threads/robust-list.ts";
import { tellOrphans } from "./jobs.ts";
import type { Kernel } from "./kernel.ts";
import type { Mm } from "./mm.ts";

/** What a thread leaves in memory that others wait for (kernel/fork.c, mm_release()). */
export function exitThread(thread: LinuxThread): void {
  const { process } = thread;
  const { robustList, clearChildTid } = thread;
  thread.robustList = 0;
  thread.clearChildTid = 0;
  if (robustList !== 0) walkRobustList(process, robustList, thread.tid);
  if (clearChildTid === 0) return;
  try {
    process.memory.writeU32(clearChildTid, 0);
    const { table, key } = futexAt(process, clearChildTid, false);
    table.wake(key, 1);
  } catch (error) {
    if (!(error instanceof GuestFault)) throw error;
  }
}

/** A process has an address space no longer: with the last one it goes (kernel/fork.c, mmput()). */
export function releaseMm(kernel: Kernel, mm: Mm): void {
  if (--mm.users > 0) return;
  const atEnd = tryAll(kernel);
  atEnd("write mapped files back", () => storeShared(mm.memory, 0, 2 ** 47, true));
  for (const backing of mm.backings) atEnd("close a mapped file", () => backing.close());
  mm.backings.clear();
  kernel.timekeeping.forget(mm.memory);
  if (mm === kernel.firstMm) return;
  atEnd("keep translations", () => kernel.programs.closing?.(mm));
  atEnd("close the core", () => mm.core.close());
  atEnd("close the program's files", () => mm.program.files.release());
}

/** Does parts of what an end brings: nothing of it changes the status, or keeps the rest from being done. */
function tryAll(kernel: Kernel): (what: string, work: () => void) => void {
  return (what, work) => {
    try {
      work();
    } catch (error) {
      kernel.report(`cannot ${what}: ${error instanceof Error ? error.message : error}`);
    }
  };
}

/** What the end of a process brings (kernel/exit.c, do_exit()); its status is set and its threads stand. */
export function endProcess(process: LinuxProcess, status: ExitStatus, usage: Usage | undefined): void {
  const { kernel } = process;
  const atEnd = tryAll(kernel);
  for (const thread of process.threads) atEnd("wake those that wait for a thread", () => exitThread(thread));
  atEnd("take semaphores' changes back", () => kernel.semaphores.ended(process));
  const used = process.self.usageNow();
  releaseMm(kernel, process.mm);
  process.dropMm();
  atEnd("stop timers", () => process.timers.close());
  atEnd("close pipes to child processes", () => process.children.close());
  atEnd("trace the end", () => process.strace?.processExit(process, status));
  atEnd("close files", () => process.files.close());
  process.released?.();
  const { parent } = process;
  if (process.pid === process.session) kernel.ptys.leave(process.session, true);
  leaveChildren(process);
  tellOrphans(process, parent);
  process.self.ended(status, usage ?? used);
  kernel.processEnded();
}

/** A process that was to be made, and could not, is gone as if it had never been. */
export function discardProcess(process: LinuxProcess): void {
  const { kernel } = process;
  process.exitStatus = { kind: "exited", status: 0 };
  releaseMm(kernel, process.mm);
  process.dropMm();
  process.files.close();
  kernel.processEnded();
  kernel.remove(process);
}

/** The children of a process that ends get another parent (kernel/exit.c, forget_original_parent()). */
function leaveChildren(process: LinuxProcess): void {
  const { kernel, pid, uid } = process;
  let reaper = process.parent;
  while (reaper !== undefined && (reaper.finished || !reaper.isSubreaper)) reaper = reaper.parent;
  for (const child of [...process.children.all]) {
    const orphan = child.process;
    process.children.reap(child);
    if (orphan === undefined) continue;
    orphan.parent = reaper;
    if (!orphan.finished && orphan.deathSignal !== 0) {
      orphan.signals.send({ signal: orphan.deathSignal, code: SI_USER, pid, uid });
    }
    tellOrphans(orphan, process);
    if (reaper !== undefined) {
      reaper.children.add(child);
      if (orphan.finished) reaper.children.tellEnd(child);
    } else if (orphan.finished) kernel.remove(orphan);
  }
}
