/** Signals on Linux/x86-64 (arch/x86/include/uapi/asm/signal.h, include/uapi/asm-generic/siginfo.h; signal(7)). */
const NAMES = [
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGILL",
  "SIGTRAP",
  "SIGABRT",
  "SIGBUS",
  "SIGFPE",
  "SIGKILL",
  "SIGUSR1",
  "SIGSEGV",
  "SIGUSR2",
  "SIGPIPE",
  "SIGALRM",
  "SIGTERM",
  "SIGSTKFLT",
  "SIGCHLD",
  "SIGCONT",
  "SIGSTOP",
  "SIGTSTP",
  "SIGTTIN",
  "SIGTTOU",
  "SIGURG",
  "SIGXCPU",
  "SIGXFSZ",
  "SIGVTALRM",
  "SIGPROF",
  "SIGWINCH",
  "SIGIO",
  "SIGPWR",
  "SIGSYS",
] as const;

export type SignalName = (typeof NAMES)[number];

/** Signal numbers by name; real-time signals are 32–64. */
export const SIGNAL = Object.fromEntries(NAMES.map((name, i) => [name, i + 1])) as Record<SignalName, number>;
export const SIGRTMIN = 32;
export const SIGRTMAX = 64;

/** "SIGURG", or "SIGRT_3" for real-time signals, as strace has it. */
export function signalName(signal: number): string {
  return NAMES[signal - 1] ?? `SIGRT_${signal - SIGRTMIN}`;
}

/** What a shell says of a process that a signal killed (strsignal(3)); for the real-time ones their number. */
export function describeSignal(signal: number): string {
  return TEXTS[signal - 1] ?? `Real-time signal ${signal - 34}`;
}

const TEXTS = [
  "Hangup",
  "Interrupt",
  "Quit",
  "Illegal instruction",
  "Trace/breakpoint trap",
  "Aborted",
  "Bus error",
  "Floating point exception",
  "Killed",
  "User defined signal 1",
  "Segmentation fault",
  "User defined signal 2",
  "Broken pipe",
  "Alarm clock",
  "Terminated",
  "Stack fault",
  "Child exited",
  "Continued",
  "Stopped (signal)",
  "Stopped",
  "Stopped (tty input)",
  "Stopped (tty output)",
  "Urgent I/O condition",
  "CPU time limit exceeded",
  "File size limit exceeded",
  "Virtual timer expired",
  "Profiling timer expired",
  "Window changed",
  "I/O possible",
  "Power failure",
  "Bad system call",
] as const;

/** What a signal does that has no handler (signal(7), "Standard signals"). */
export type DefaultAction = "terminate" | "core" | "ignore" | "stop" | "continue";

const ACTIONS: Partial<Record<SignalName, DefaultAction>> = {
  SIGQUIT: "core",
  SIGILL: "core",
  SIGTRAP: "core",
  SIGABRT: "core",
  SIGBUS: "core",
  SIGFPE: "core",
  SIGSEGV: "core",
  SIGXCPU: "core",
  SIGXFSZ: "core",
  SIGSYS: "core",
  SIGCHLD: "ignore",
  SIGURG: "ignore",
  SIGWINCH: "ignore",
  SIGSTOP: "stop",
  SIGTSTP: "stop",
  SIGTTIN: "stop",
  SIGTTOU: "stop",
  SIGCONT: "continue",
};

export function defaultAction(signal: number): DefaultAction {
  return ACTIONS[NAMES[signal - 1]] ?? "terminate";
}

export const SIG_BLOCK = 0;
export const SIG_UNBLOCK = 1;
export const SIG_SETMASK = 2;

export const SIG_DFL = 0;
export const SIG_IGN = 1;

export const SA_NOCLDSTOP = 1;
export const SA_NOCLDWAIT = 2;
export const SA_SIGINFO = 4;
export const SA_RESTORER = 0x0400_0000;
export const SA_ONSTACK = 0x0800_0000;
export const SA_RESTART = 0x1000_0000;
export const SA_NODEFER = 0x4000_0000;
export const SA_RESETHAND = 0x8000_0000;

export const SS_ONSTACK = 1;
export const SS_DISABLE = 2;
export const SS_AUTODISARM = 0x8000_0000;
/** Least size of an alternate stack (sigaltstack(2)). */
export const MINSIGSTKSZ = 2048;

/** si_code: where a signal comes from. */
/** si_code of SIGCHLD. */
export const CLD_EXITED = 1;
export const CLD_KILLED = 2;
export const CLD_STOPPED = 5;
export const CLD_CONTINUED = 6;
export const SI_USER = 0;
export const SI_KERNEL = 0x80;
export const SI_QUEUE = -1;
export const SI_TIMER = -2;
export const SI_SIGIO = -5;
export const SI_TKILL = -6;
/** Codes of SIGIO (include/uapi/asm-generic/siginfo.h). */
export const POLL_IN = 1;
export const POLL_OUT = 2;
export const ILL_ILLOPN = 2;
export const FPE_INTDIV = 1;
export const FPE_FLTDIV = 3;
export const FPE_FLTOVF = 4;
export const FPE_FLTUND = 5;
export const FPE_FLTRES = 6;
export const FPE_FLTINV = 7;
export const SEGV_MAPERR = 1;
export const SEGV_ACCERR = 2;
export const BUS_ADRALN = 1;
export const BUS_ADRERR = 2;
export const TRAP_BRKPT = 1;
export const TRAP_TRACE = 2;
