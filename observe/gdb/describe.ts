import type { Machine } from "../../syscalls/machine.ts";
import { goRuntimeOf, goroutineLines, schedulerLines } from "../debugger/go-view.ts";
import type { GoroutineThreads } from "./goroutines.ts";

const HELP = [
  "goroutines    every goroutine with its status and place",
  "sched         the Go scheduler: Ps with their queues, the global queue, Ms",
  "freeze N      keep goroutine N from running (with --goroutines-as-threads)",
  "thaw N        let it run again",
];

/** Commands behind gdb's `monitor`; what they return is printed. */
export function monitor(machine: Machine, threads: GoroutineThreads | undefined): (command: string) => string {
  return (command) => {
    const [name, argument] = command.trim().split(/\s+/);
    const lines = name === "freeze" || name === "thaw" ? [freeze(threads, name, argument)] : show(machine, name);
    return lines.map((line) => `${line}\n`).join("");
  };
}

function show(machine: Machine, name: string): string[] {
  const runtime = goRuntimeOf(machine);
  if (name !== "goroutines" && name !== "sched")
    return name === "help" ? HELP : [`no command "${name}"; there are:`, ...HELP];
  if (typeof runtime === "string") return [runtime];
  return name === "sched" ? schedulerLines(runtime, machine) : goroutineLines(runtime, machine);
}

function freeze(threads: GoroutineThreads | undefined, name: string, argument: string | undefined): string {
  if (threads === undefined) return "start goemu gdb with --goroutines-as-threads to freeze goroutines";
  if (!threads.canFreeze)
    return "this program was built before Go 1.14, which brought asynchronous preemption: no freezing";
  const id = Number(argument);
  if (!/^\d+$/.test(argument ?? "") || threads.find(id) === undefined) return `no goroutine ${argument ?? ""}`;
  if (name === "freeze") threads.frozen.add(id);
  else threads.frozen.delete(id);
  return `goroutine ${id} is ${name === "freeze" ? "frozen" : "free to run"}`;
}

/** AT_ENTRY (include/uapi/linux/auxvec.h). */
const AT_ENTRY = 9n;

/** Distance between where the image is linked and where it lies: what position-independent executables are moved by. */
export function imageBias(machine: Machine): number {
  const { auxv } = machine.process;
  const view = new DataView(auxv.buffer, auxv.byteOffset, auxv.length);
  for (let at = 0; at + 16 <= auxv.length; at += 16) {
    if (view.getBigUint64(at, true) === AT_ENTRY) {
      return Number(view.getBigUint64(at + 8, true)) - machine.executable.entry;
    }
  }
  return 0;
}
