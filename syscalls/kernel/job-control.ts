import type { HostJob } from "../../host/terminal.ts";
import { SyscallError } from "../abi/errno.ts";
import { SI_KERNEL, SIG_IGN, SIGNAL } from "../abi/signals.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { Pty, PtyKernel } from "../tty/pty.ts";
import type { Tty } from "../tty/tty.ts";
import { isOrphaned } from "./jobs.ts";
import type { Kernel } from "./kernel.ts";

const NS_PER_MS = 1e6;

/** What a machine's pseudo-terminals ask of its kernel. */
export function ptyKernel(kernel: Kernel): PtyKernel {
  const signalGroup = (group: number, signal: number): void => {
    for (const process of [...kernel.group(group)]) process.signals.send({ signal, code: SI_KERNEL });
  };
  const disassociate = ({ foreground }: Pty, onExit: boolean): void => {
    if (foreground === 0) return;
    signalGroup(foreground, SIGNAL.SIGHUP);
    if (!onExit) signalGroup(foreground, SIGNAL.SIGCONT);
  };
  return {
    signalGroup,
    disassociate,
    hangUp(pty) {
      const leader = kernel.processes.get(pty.session);
      if (leader !== undefined && !leader.finished) {
        for (const signal of [SIGNAL.SIGHUP, SIGNAL.SIGCONT]) leader.signals.send({ signal, code: SI_KERNEL });
      }
      disassociate(pty, false);
    },
    mayUse: (pty, signal) => kernel.caller?.process.jobControl.mayUse(pty, signal) ?? true,
    after(ms, then) {
      const { timers } = kernel.scheduler;
      const timer = timers.add(kernel.timekeeping.monotonicNs() + ms * NS_PER_MS, then);
      return () => {
        timer.cancelled = true;
      };
    },
  };
}

/** What a process may do to terminals, by where it stands among sessions and groups (drivers/tty/tty_jobctrl.c). */
export class JobControl {
  readonly #process: LinuxProcess;

  constructor(process: LinuxProcess) {
    this.#process = process;
  }

  /** PtyKernel.mayUse (__tty_check_change). @throws SyscallError EIO */
  mayUse(pty: Pty, signal: number): boolean {
    const { session, group, kernel, signals } = this.#process;
    if (pty.session === 0 || pty.session !== session || pty.foreground === 0 || pty.foreground === group) return true;
    const blocked = ((kernel.caller?.signalMask ?? 0n) >> BigInt(signal - 1)) & 1n;
    if (blocked !== 0n || signals.action(signal).handler === BigInt(SIG_IGN)) {
      if (signal === SIGNAL.SIGTTIN) throw new SyscallError("EIO");
      return true;
    }
    if (isOrphaned(this.#process)) throw new SyscallError("EIO");
    for (const member of [...kernel.group(group)]) member.signals.send({ signal, code: SI_KERNEL });
    return false;
  }

  /**
   * A terminal has a group in its foreground from now on (tiocspgrp).
   * @throws SyscallError ESRCH for a group that is not there, EPERM for one of another session
   */
  setForeground(group: number, terminal: Tty): void {
    const { kernel, session } = this.#process;
    const members = [...kernel.group(group)];
    if (members.length === 0) throw new SyscallError("ESRCH");
    if (!members.some((member) => member.session === session)) throw new SyscallError("EPERM");
    const pty = kernel.ptys.ofSession(session);
    if (pty !== undefined && pty.device === terminal.device) pty.setForeground(group);
    else kernel.foreground.group = group;
  }

  /** Has the session a controlling terminal, of the machine or of the host? */
  get #hasTerminal(): boolean {
    const { kernel, session, host } = this.#process;
    if (kernel.ptys.ofSession(session) !== undefined) return true;
    return session === kernel.hostSession && (host.job?.()?.terminal ?? 0n) !== 0n;
  }

  /** A session's leader opens a terminal that is nobody's: it is the session's (tty_open_proc_set_tty). */
  opened(pty: Pty): void {
    const { pid, session, group } = this.#process;
    if (pid !== session || pty.session !== 0 || this.#hasTerminal) return;
    pty.session = session;
    pty.foreground = group;
  }

  /** TIOCSCTTY (tiocsctty). @throws SyscallError EPERM */
  take(pty: Pty, steal: boolean): void {
    const { pid, session, group, euid } = this.#process;
    if (pid === session && pty.session === session) return;
    if (pid !== session || this.#hasTerminal) throw new SyscallError("EPERM");
    if (pty.session !== 0 && !(steal && euid === 0)) throw new SyscallError("EPERM");
    pty.session = session;
    pty.foreground = group;
  }

  /** TIOCNOTTY: with its leader the whole session loses its terminal. */
  leave(): void {
    const { pid, session, kernel } = this.#process;
    if (pid === session) kernel.ptys.leave(session, false);
  }
}

/** Where a process stands: in the groups and sessions of the machine, of which the first one's are the host's. */
export function jobOf(process: LinuxProcess): HostJob {
  const { group, session, host, kernel } = process;
  const pty = kernel.ptys.ofSession(session);
  if (pty !== undefined) return { group, session, terminal: pty.device, foreground: pty.foreground || -1 };
  const outside = host.job?.();
  if (outside === undefined) return { group, session, terminal: 0n, foreground: kernel.foreground.group || group };
  if (session !== kernel.hostSession) return { group, session, terminal: 0n, foreground: -1 };
  return { group, session, terminal: outside.terminal, foreground: kernel.foreground.group };
}
