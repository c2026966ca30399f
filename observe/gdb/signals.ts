import { SIGNAL, type SignalName } from "../../syscalls/abi/signals.ts";

/** gdb's own signal numbers where they differ from Linux's (include/gdb/signals.def). */
const DIFFERENT: Partial<Record<SignalName, number>> = {
  SIGBUS: 10,
  SIGUSR1: 30,
  SIGUSR2: 31,
  SIGCHLD: 20,
  SIGCONT: 19,
  SIGSTOP: 17,
  SIGTSTP: 18,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGURG: 16,
  SIGIO: 23,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGVTALRM: 26,
  SIGPROF: 27,
  SIGWINCH: 28,
  SIGPWR: 32,
  SIGSYS: 12,
};

/** GDB_SIGNAL_UNKNOWN. */
const UNKNOWN = 143;

const toGdb = new Map<number, number>();
for (const [name, number] of Object.entries(SIGNAL)) toGdb.set(number, DIFFERENT[name as SignalName] ?? number);
toGdb.set(SIGNAL.SIGSTKFLT, UNKNOWN);
// GDB_SIGNAL_REALTIME_32 and _64 came later than the others.
toGdb.set(32, 77);
for (let signal = 33; signal <= 63; signal++) toGdb.set(signal, signal + 12);
toGdb.set(64, 78);

const fromGdb = new Map([...toGdb].filter(([, gdb]) => gdb !== UNKNOWN).map(([linux, gdb]) => [gdb, linux]));

/** gdb's number for a Linux signal. */
export function gdbSignal(signal: number): number {
  return toGdb.get(signal) ?? UNKNOWN;
}

/** The Linux signal behind gdb's number; undefined for signals that Linux does not have. */
export function linuxSignal(gdb: number): number | undefined {
  return fromGdb.get(gdb);
}
