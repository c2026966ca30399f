import type { Host } from "../../host/host.ts";
import type { HostJob } from "../../host/terminal.ts";
import { SI_KERNEL, SIGNAL } from "../abi/signals.ts";
import type { LinuxProcess } from "../linux-process.ts";

/**
 * The group in the foreground of the host's terminal. The host knows one group for the whole machine, its own; which of
 * the machine's groups that stands for is known here.
 */
export class ForegroundJob {
  readonly #host: Host;
  #group: number | undefined;

  constructor(host: Host) {
    this.#host = host;
  }

  get #job(): HostJob | undefined {
    return this.#host.job?.();
  }

  /** Is the machine in the foreground, as far as the host is concerned? */
  get isOurs(): boolean {
    const job = this.#job;
    return job !== undefined && job.foreground === job.group;
  }

  /** The group of the machine that is in the foreground, or whatever group of the host's. */
  get group(): number {
    const job = this.#job;
    if (job === undefined) return this.#group ?? 0;
    return job.foreground === job.group ? (this.#group ?? job.group) : job.foreground;
  }

  set group(group: number) {
    this.#group = group;
  }
}

/**
 * Is a process's group one whose members nobody could continue (setpgid(2); kernel/exit.c, will_become_orphaned_pgrp)? Of
 * the first process's group the host knows that: here it is none.
 * @param ignored a member that counts no longer
 */
export function isOrphaned(process: LinuxProcess, ignored?: LinuxProcess): boolean {
  const { first } = process.kernel;
  if (process.group === first.group && !first.finished) return false;
  for (const member of process.kernel.group(process.group)) {
    const { parent } = member;
    if (member === ignored || parent === undefined) continue;
    if (parent.group !== process.group && parent.session === process.session) return false;
  }
  return true;
}

/**
 * A process ends, or leaves its group: groups that are orphaned by that, and have members that are stopped, are sent SIGHUP
 * and SIGCONT (kernel/exit.c, kill_orphaned_pgrp).
 */
export function tellOrphans(process: LinuxProcess, parent: LinuxProcess | undefined): void {
  if (parent?.group === process.group || parent?.session !== process.session) return;
  if (!isOrphaned(process, process)) return;
  const members = [...process.kernel.group(process.group)].filter((member) => member !== process);
  if (!members.some((member) => member.stopSignal !== undefined)) return;
  for (const member of members) {
    for (const signal of [SIGNAL.SIGHUP, SIGNAL.SIGCONT]) member.signals.send({ signal, code: SI_KERNEL });
  }
}
