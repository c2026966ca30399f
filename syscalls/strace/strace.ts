import { describeErrno } from "../abi/errno.ts";
import { F_GETFL } from "../abi/fcntl.ts";
import { isFaultCode, signalCodeName } from "../abi/signal-names.ts";
import { CLD_EXITED } from "../abi/signals.ts";
import type { Args } from "../args.ts";
import type { Process } from "../process.ts";
import type { ArgKind } from "../table.ts";
import type { Thread } from "../thread.ts";
import { type Context, formatArgument, futexArguments, isResult, openFlags, pollResult, signalName } from "./format.ts";
import { hex, octal, pointer } from "./text.ts";

/** What of a row of the system-call table the trace needs. */
export interface TracedCall {
  readonly name: string;
  readonly args: readonly ArgKind[];
}

/** What is known of a signal when it is delivered. */
export interface TracedSignal {
  readonly signal: number;
  readonly code: number;
  readonly pid?: number;
  readonly uid?: number;
  readonly address?: bigint;
  /** Of SIGCHLD. */
  readonly status?: number;
}

export type TracedExit =
  | { readonly kind: "exited"; readonly status: number }
  | { readonly kind: "signaled"; readonly signal: number };

/** A system call that has been entered and not left. */
interface Open {
  readonly pid: number;
  readonly call: TracedCall;
  readonly args: Args;
  /** Index of the first argument that has not been printed. */
  readonly next: number;
  /** The line so far. */
  readonly text: string;
  /** Has "<unfinished ...>" been written? */
  unfinished: boolean;
}

/** Column at which " = " stands at least (strace -a). */
const COLUMN = 39;
const ADDRESS_RESULTS = new Set(["mmap", "brk", "mremap"]);
const NEVER_RETURN = new Set(["exit", "exit_group"]);

/** Prints system calls and signals as strace -f does, one line each, the thread's id in front. */
export class Strace {
  readonly #write: (line: string) => void;
  readonly #open = new Map<number, Open>();

  /** @param write takes one line without its end */
  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  #call(row: TracedCall | undefined, number: number): TracedCall {
    if (row !== undefined) return row;
    const kinds: ArgKind[] = ["hex", "hex", "hex", "hex", "hex", "hex"];
    return { name: `syscall_0x${(number >>> 0).toString(16)}`, args: kinds };
  }

  /** A system call begins. @param row undefined if there is no such call */
  enter(process: Process, thread: Thread, row: TracedCall | undefined, number: number, args: Args): void {
    this.#interrupt(thread.tid);
    const call = this.#call(row, number);
    let next = 0;
    while (next < call.args.length && !isResult(call.name, call.args[next], next)) next++;
    const text = `${call.name}(${formatArguments(process, call, args, 0, next, undefined)}`;
    if (NEVER_RETURN.has(call.name)) {
      this.#write(`${`${thread.tid} ${text})`.padEnd(COLUMN)} = ?`);
      return;
    }
    this.#open.set(thread.tid, { pid: process.pid, call, args, next, text, unfinished: false });
  }

  /** Ends the lines of other threads that are in the middle of a call. */
  #interrupt(tid: number): void {
    for (const [other, open] of this.#open) {
      if (other === tid || open.unfinished) continue;
      open.unfinished = true;
      const comma = open.next > 0 && open.next < open.call.args.length ? ", " : " ";
      this.#write(`${other} ${open.text}${open.next === 0 ? "" : comma}<unfinished ...>`);
    }
  }

  /** A system call ends. @param result as it is in RAX: errors negated */
  leave(process: Process, thread: Thread, result: number | bigint): void {
    const open = this.#open.get(thread.tid);
    if (open === undefined) return;
    this.#interrupt(thread.tid);
    this.#open.delete(thread.tid);
    const { call, args, next } = open;
    const value = Number(BigInt.asIntN(64, BigInt(result)));
    const rest = formatArguments(process, call, args, next, call.args.length, value);
    const comma = !open.unfinished && next > 0 && rest !== "" ? ", " : "";
    const start = open.unfinished ? `<... ${call.name} resumed>` : open.text;
    const line = `${thread.tid} ${start}${comma}${rest})`;
    this.#write(`${line.padEnd(COLUMN)} = ${formatResult(process, call, args, value, BigInt(result))}`);
  }

  /** A signal is delivered. */
  signal(_process: Process, thread: Thread, info: TracedSignal): void {
    this.#interrupt(thread.tid);
    const name = signalName(info.signal);
    const code = signalCodeName(info.signal, info.code);
    const fields = [`si_signo=${name}`, `si_code=${code}`];
    if (isFaultCode(info.signal, info.code)) fields.push(`si_addr=${pointer(info.address ?? 0n)}`);
    else if (info.pid !== undefined) fields.push(`si_pid=${info.pid}`, `si_uid=${info.uid ?? 0}`);
    if (info.status !== undefined) {
      const isSignal = info.code !== CLD_EXITED;
      fields.push(`si_status=${isSignal ? signalName(info.status) : info.status}`, "si_utime=0", "si_stime=0");
    }
    this.#write(`${thread.tid} --- ${name} {${fields.join(", ")}} ---`);
  }

  /** The process ends. */
  processExit(process: Process, status: TracedExit): void {
    this.#interrupt(-1);
    for (const [tid, { pid }] of [...this.#open]) if (pid === process.pid) this.#open.delete(tid);
    const how = status.kind === "exited" ? `exited with ${status.status}` : `killed by ${signalName(status.signal)}`;
    this.#write(`${process.pid} +++ ${how} +++`);
  }
}

/** Arguments [from, to) in one string. */
function formatArguments(
  process: Process,
  call: TracedCall,
  args: Args,
  from: number,
  to: number,
  result: number | undefined,
): string {
  const shown: string[] = [];
  const last = call.name === "futex" ? Math.min(to, futexArguments(args.u32(1))) : to;
  for (let index = from; index < last; index++) {
    const context: Context = { process, name: call.name, kinds: call.args, args, index, result };
    const text = formatArgument(context);
    if (text !== undefined) shown.push(text);
  }
  return shown.join(", ");
}

/** What stands behind "=": a number, an address, an error with its name and text. */
export function formatResult(process: Process, call: TracedCall, args: Args, value: number, raw: bigint): string {
  if (value < 0 && value > -4096) {
    const error = describeErrno(-value);
    return error === undefined ? `-1 (errno ${-value})` : `-1 ${error.name} (${error.text})`;
  }
  if (ADDRESS_RESULTS.has(call.name)) return hex(BigInt.asUintN(64, raw));
  if (call.name === "umask") return octal(value);
  if (call.name === "fcntl" && args.u32(1) === F_GETFL) return `${hex(value)} (flags ${openFlags(value)})`;
  const context: Context = { process, name: call.name, kinds: call.args, args, index: 0, result: value };
  if (call.name === "poll" || call.name === "ppoll") {
    try {
      return `${value}${pollResult(context)}`;
    } catch {
      return String(value);
    }
  }
  if ((call.name === "select" || call.name === "pselect6") && value === 0) return "0 (Timeout)";
  return String(raw);
}
