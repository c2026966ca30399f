import { GuestFault } from "../../emu/memory/guest-memory.ts";
import { SymbolError } from "../../loader/errors.ts";
import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { Machine } from "../../syscalls/machine.ts";
import { GoRuntimeError } from "../go/layout.ts";
import { GoRuntime, type Goroutine } from "../go/runtime.ts";

const runtimes = new WeakMap<Machine, GoRuntime | string>();

/** The Go runtime in a machine, or why there is none that can be read. */
export function goRuntimeOf(machine: Machine): GoRuntime | string {
  let runtime = runtimes.get(machine);
  if (runtime === undefined) {
    try {
      runtime = new GoRuntime(machine);
    } catch (error) {
      if (!(error instanceof GoRuntimeError || error instanceof SymbolError)) throw error;
      runtime = error.message;
    }
    runtimes.set(machine, runtime);
  }
  return runtime;
}

/** What `read` returns; `otherwise` if the guest's runtime is damaged, so that what was to be read is not there. */
export function unlessDamaged<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof GuestFault || error instanceof GoRuntimeError || error instanceof SymbolError)
      return otherwise;
    throw error;
  }
}

/** "M0 P1 goroutine 18 in main.work" for a guest thread; only the function where Go's runtime says nothing. */
export function describeThread(machine: Machine, thread: LinuxThread): string {
  const place = functionAt(machine, thread.cpu.rip);
  const runtime = goRuntimeOf(machine);
  if (typeof runtime === "string") return place;
  return unlessDamaged(() => describeRunning(runtime, thread, place), place);
}

function describeRunning(runtime: GoRuntime, thread: LinuxThread, place: string): string {
  const m = runtime.currentM(thread);
  if (m === 0) return place;
  const p = runtime.currentP(thread);
  const g = runtime.userG(thread);
  const words = [`M${runtime.mid(m)}`];
  if (p !== 0) words.push(`P${runtime.pid(p)}`);
  if (g !== 0) words.push(`goroutine ${runtime.goid(g)}`);
  return `${words.join(" ")} in ${place}`;
}

/** Name of the function at an address, or the address. */
export function functionAt(machine: Machine, address: number): string {
  try {
    return machine.symbols.lookup(address)?.name ?? `0x${address.toString(16)}`;
  } catch (error) {
    if (!(error instanceof SymbolError)) throw error;
    return `0x${address.toString(16)}`;
  }
}

/** "waiting (chan receive), main.work, made by main.main at main.go:17". */
export function describeGoroutine(runtime: GoRuntime, goroutine: Goroutine): string {
  const { status, waitReason, startPc, creator, created } = goroutine;
  const words = [waitReason === undefined ? status : `${status} (${waitReason})`];
  words.push(runtime.startName(startPc) ?? `0x${startPc.toString(16)}`);
  if (creator !== undefined) {
    words.push(`made by ${creator}${created === undefined ? "" : ` at ${baseName(created.file)}:${created.line}`}`);
  }
  return words.join(", ");
}

/** A line for each goroutine: `*` marks those that run. */
export function goroutineLines(runtime: GoRuntime, machine: Machine): string[] {
  return runtime.goroutines().map((goroutine) => {
    const mark = goroutine.status === "running" ? "*" : " ";
    const place = functionAt(machine, runtime.position(goroutine.address).pc);
    return `${mark} ${String(goroutine.id).padStart(4)}  ${describeGoroutine(runtime, goroutine)}, in ${place}`;
  });
}

/** The scheduler at this instant: each P with its M, what it runs and its queue; the global queue; who is idle. */
export function schedulerLines(runtime: GoRuntime, machine: Machine): string[] {
  const name = (g: number): string => `g${runtime.goid(g)}`;
  const list = (gs: readonly number[]): string => (gs.length === 0 ? "empty" : gs.map(name).join(" "));
  const lines = runtime.processors().map((p) => {
    const m = p.m === 0 ? undefined : runtime.thread(p.m);
    const runs = m === undefined ? "no M" : `M${m.id}${m.curg === 0 ? "" : ` runs ${name(m.curg)}`}`;
    const next = p.runNext === 0 ? "" : `, next ${name(p.runNext)}`;
    return `P${p.id} ${p.status}, ${runs}${next}, queue ${list(p.runQueue)}, tick ${p.schedTick}`;
  });
  const { runQueue, idleMs, idlePs, spinningMs, gcWaiting } = runtime.scheduler();
  lines.push(`global queue ${list(runQueue)}`);
  lines.push(
    `idle: ${idlePs} P, ${idleMs} M; spinning: ${spinningMs} M${gcWaiting ? "; the GC waits to stop the world" : ""}`,
  );
  for (const m of runtime.threads()) {
    const words = [`M${m.id} tid ${m.tid}`, m.p === 0 ? "no P" : `P${runtime.pid(m.p)}`];
    if (m.curg !== 0) words.push(name(m.curg));
    if (m.spinning) words.push("spinning");
    if (m.blocked) words.push("blocked");
    if (m.locks !== 0) words.push(`${m.locks} locks`);
    const thread = machine.process.threadById(m.tid);
    if (thread !== undefined) words.push(`in ${functionAt(machine, thread.cpu.rip)}`);
    lines.push(words.join(", "));
  }
  return lines;
}

const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
