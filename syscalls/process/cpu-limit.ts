import { SI_KERNEL, SIGNAL } from "../abi/signals.ts";
import type { LinuxProcess } from "../linux-process.ts";
import { NS_PER_SECOND } from "../time/timespec.ts";
import { RLIM_INFINITY, RLIMIT } from "./limits.ts";

/**
 * After a turn: has the process had the CPU time that RLIMIT_CPU allows (setrlimit(2))? From the soft limit on it is sent
 * SIGXCPU each second, at the hard one SIGKILL (kernel/time/posix-cpu-timers.c, check_process_timers).
 */
export function checkCpuLimit(process: LinuxProcess): void {
  const { soft, hard } = process.limits.get(RLIMIT.CPU);
  if (soft === RLIM_INFINITY || process.finished) return;
  const seconds = BigInt(Math.floor(process.cpuTime / NS_PER_SECOND));
  if (seconds >= hard) process.signals.send({ signal: SIGNAL.SIGKILL, code: SI_KERNEL });
  else if (seconds >= soft) {
    process.limits.set(RLIMIT.CPU, { soft: soft + 1n, hard }, true);
    process.signals.send({ signal: SIGNAL.SIGXCPU, code: SI_KERNEL });
  }
}
