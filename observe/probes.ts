import { Decoder, DecoderOptions, FlowControl } from "iced-x86";
import { PAGE_SIZE, PROT_EXEC, PROT_READ } from "../emu/layout.ts";
import type { Func } from "../loader/symbols/table.ts";
import type { Args } from "../syscalls/args.ts";
import type { ExitStatus, LinuxProcess } from "../syscalls/linux-process.ts";
import type { LinuxThread } from "../syscalls/linux-thread.ts";
import type { Machine } from "../syscalls/machine.ts";
import type { SignalInfo } from "../syscalls/signals/info.ts";
import type { SyscallRow } from "../syscalls/table.ts";
import type { ProcessObserver, SyscallTracer } from "../syscalls/tracer.ts";
import { MemoryWatches, type WatchCallback } from "./watch.ts";

/** A probe that can't be set; the message says what to do. */
export class ProbeError extends Error {
  override readonly name = "ProbeError";
}

/** A probe that is set. */
export interface Probe {
  /** Takes the probe away; harmless the second time. Allowed within a callback. */
  remove(): void;
}

/** Runs before the instruction at the thread's RIP; may read and change registers and memory. */
export type AddressCallback = (thread: LinuxThread) => void;

/** The name and number of a system call; `name` is undefined for one that Linux does not have. */
export interface SyscallEntry {
  readonly number: number;
  readonly name: string | undefined;
  readonly args: Args;
}

export interface SyscallCallbacks {
  /** The thread has executed SYSCALL; the call has not been carried out. */
  enter?(thread: LinuxThread, call: SyscallEntry): void;
  /** The call's result is about to be seen by the thread: a value, or an errno negated. */
  leave?(thread: LinuxThread, result: number | bigint, number: number): void;
}

export interface ThreadCallbacks {
  /** Before the thread's first instruction. `parent` made it by clone(2); undefined for the first thread. */
  start?(thread: LinuxThread, parent: LinuxThread | undefined): void;
  exit?(thread: LinuxThread): void;
  /** A thread gets the emulator's CPU, or gives it up (undefined). */
  switch?(thread: LinuxThread | undefined): void;
}

const NO_PROBES: readonly AddressCallback[] = [];
const installed = new WeakMap<LinuxProcess, Probes>();

/**
 * Callbacks on what a program does, set from outside and exact: each fires once for each time, in order, between two
 * instructions. A probe costs time only where it sits; a machine without probes runs as if there were none.
 */
export class Probes implements ProcessObserver, SyscallTracer {
  readonly machine: Machine;
  readonly process: LinuxProcess;
  readonly #addresses = new Map<number, readonly AddressCallback[]>();
  readonly #syscalls = new Set<SyscallCallbacks>();
  readonly #threads = new Set<ThreadCallbacks>();
  readonly #signals = new Set<(thread: LinuxThread, info: SignalInfo) => void>();
  readonly #exits = new Set<(status: ExitStatus) => void>();
  /** The tracer that was there first. */
  readonly #next: SyscallTracer | undefined;
  readonly #watches: MemoryWatches;

  /** The probes of a machine: always the same object. */
  static of(machine: Machine): Probes {
    let probes = installed.get(machine.process);
    if (probes === undefined) {
      probes = new Probes(machine);
      installed.set(machine.process, probes);
    }
    return probes;
  }

  private constructor(machine: Machine) {
    this.machine = machine;
    this.process = machine.process;
    this.#next = this.process.strace;
    this.#watches = new MemoryWatches(this.process);
    this.process.observer = this;
  }

  /** Instructions that the process has run so far; exact within a callback. */
  get instructions(): number {
    return this.process.instructions;
  }

  // Addresses and functions.

  /**
   * Calls back each time that a thread is about to run the instruction at `address`. Callbacks of one address run in
   * the order in which they were set.
   * @throws ProbeError if no code is mapped there
   */
  onAddress(address: number, callback: AddressCallback): Probe {
    if (this.process.memory.accessible(address, 1, PROT_EXEC) === 0) {
      throw new ProbeError(`no code is mapped at 0x${address.toString(16)}`);
    }
    // One entry a probe, so that the same function may be set twice.
    const entry: AddressCallback = (thread) => callback(thread);
    const before = this.#addresses.get(address);
    this.#addresses.set(address, [...(before ?? NO_PROBES), entry]);
    if (before === undefined) this.#changeStop(address, true);
    return { remove: () => this.#removeAddress(address, entry) };
  }

  #removeAddress(address: number, entry: AddressCallback): void {
    const before = this.#addresses.get(address);
    if (before === undefined || !before.includes(entry)) return;
    const rest = before.filter((other) => other !== entry);
    if (rest.length > 0) this.#addresses.set(address, rest);
    else {
      this.#addresses.delete(address);
      this.#changeStop(address, false);
    }
  }

  #changeStop(address: number, set: boolean): void {
    const { code } = this.process.interpreter;
    if (set) code.stops.add(address);
    else code.stops.delete(address);
    // Blocks that run over the address were cut elsewhere: they are made anew.
    code.invalidate(Math.floor(address / PAGE_SIZE));
  }

  /** The function of that name. @throws ProbeError with the nearest names if there is none */
  functionByName(name: string): Func {
    const { symbols } = this.machine;
    const found = symbols.byName(name);
    if (found !== undefined) return found;
    const nearest = symbols.nearest(name);
    if (symbols.functions.length === 0) throw new ProbeError("the file has neither a Go function table nor symbols");
    throw new ProbeError(`no function ${name}${nearest.length > 0 ? ` (did you mean ${nearest.join(", ")}?)` : ""}`);
  }

  /** Calls back at each entry to a function, before its first instruction: arguments are still in registers. */
  onFunctionEntry(name: string, callback: AddressCallback): Probe {
    return this.onAddress(this.functionByName(name).address, callback);
  }

  /**
   * Calls back before each RET of a function: results are in registers. Holds where a goroutine changes threads or its
   * stack moves in between, and for a function that recovers; not for one that leaves by a jump (assembly) or a panic.
   */
  onFunctionReturn(name: string, callback: AddressCallback): Probe {
    const { address, size } = this.functionByName(name);
    const returns = this.#instructions(address, address + size, true);
    return together(returns.map((at) => this.onAddress(at, callback)));
  }

  /** Calls back before each instruction of [start, end), which must hold code from its first byte on. */
  onRange(start: number, end: number, callback: AddressCallback): Probe {
    return together(this.#instructions(start, end, false).map((at) => this.onAddress(at, callback)));
  }

  #instructions(start: number, end: number, returnsOnly: boolean): number[] {
    const { memory } = this.process;
    const length = memory.accessible(start, end - start, PROT_EXEC);
    if (length === 0) throw new ProbeError(`no code is mapped at 0x${start.toString(16)}`);
    const decoder = new Decoder(64, memory.readBytes(start, length), DecoderOptions.None);
    const found: number[] = [];
    while (decoder.canDecode) {
      const at = start + decoder.position;
      const instruction = decoder.decode();
      if (!returnsOnly || instruction.flowControl === FlowControl.Return) found.push(at);
      instruction.free();
    }
    decoder.free();
    return found;
  }

  // The kernel's side.

  onSyscall(callbacks: SyscallCallbacks): Probe {
    return this.#join(this.#syscalls, callbacks);
  }

  /** Calls back before a signal is delivered to a thread, also where it is ignored or kills. */
  onSignal(callback: (thread: LinuxThread, info: SignalInfo) => void): Probe {
    return this.#join(this.#signals, callback);
  }

  /** Calls back once, when the process ends. */
  onExit(callback: (status: ExitStatus) => void): Probe {
    return this.#join(this.#exits, callback);
  }

  onThread(callbacks: ThreadCallbacks): Probe {
    this.#threads.add(callbacks);
    this.#updateSwitch();
    return {
      remove: () => {
        this.#threads.delete(callbacks);
        this.#updateSwitch();
      },
    };
  }

  #updateSwitch(): void {
    const watched = [...this.#threads].some((callbacks) => callbacks.switch !== undefined);
    this.process.onSwitch = watched
      ? (thread) => {
          for (const callbacks of this.#threads) callbacks.switch?.(thread);
        }
      : undefined;
  }

  #join<T>(set: Set<T>, callbacks: T): Probe {
    set.add(callbacks);
    this.#updateTracer();
    return {
      remove: () => {
        set.delete(callbacks);
        this.#updateTracer();
      },
    };
  }

  #updateTracer(): void {
    const wanted = this.#syscalls.size + this.#signals.size + this.#exits.size > 0;
    this.process.strace = wanted ? this : this.#next;
  }

  // Memory.

  /**
   * Calls back after each instruction that writes to [address, address + length), whether or not it changes it. System
   * calls that write there (read(2), …) are not instructions. Accesses to the pages concerned get slow, nothing else.
   * @throws ProbeError if the range is not mapped or a debugger watches memory
   */
  onMemoryWrite(address: number, length: number, callback: WatchCallback): Probe {
    return this.#watch(address, length, "write", callback);
  }

  /** Calls back after each instruction that reads from [address, address + length); else as onMemoryWrite. */
  onMemoryRead(address: number, length: number, callback: WatchCallback): Probe {
    return this.#watch(address, length, "read", callback);
  }

  #watch(address: number, length: number, kind: "read" | "write", callback: WatchCallback): Probe {
    if (length < 1 || this.process.memory.accessible(address, length, PROT_READ) < length) {
      throw new ProbeError(`no readable memory of ${length} bytes at 0x${address.toString(16)}`);
    }
    if (!this.#watches.available) throw new ProbeError("a debugger watches memory already");
    return { remove: this.#watches.add({ address, length, kind, callback }) };
  }

  // What the process calls.

  stopped(thread: LinuxThread): void {
    const callbacks = this.#addresses.get(thread.cpu.rip);
    if (callbacks === undefined) return;
    for (const callback of callbacks) callback(thread);
  }

  threadStart(thread: LinuxThread, parent: LinuxThread | undefined): void {
    for (const callbacks of this.#threads) callbacks.start?.(thread, parent);
  }

  threadExit(thread: LinuxThread): void {
    for (const callbacks of this.#threads) callbacks.exit?.(thread);
  }

  enter(
    process: LinuxProcess,
    thread: LinuxThread,
    row: SyscallRow<LinuxProcess, LinuxThread> | undefined,
    number: number,
    args: Args,
  ): void {
    this.#next?.enter(process, thread, row, number, args);
    for (const callbacks of this.#syscalls) callbacks.enter?.(thread, { number, name: row?.name, args });
  }

  leave(process: LinuxProcess, thread: LinuxThread, result: number | bigint): void {
    this.#next?.leave(process, thread, result);
    for (const callbacks of this.#syscalls) callbacks.leave?.(thread, result, thread.syscall);
  }

  signal(process: LinuxProcess, thread: LinuxThread, info: SignalInfo): void {
    this.#next?.signal(process, thread, info);
    for (const callback of this.#signals) callback(thread, info);
  }

  processExit(process: LinuxProcess, status: ExitStatus): void {
    this.#next?.processExit(process, status);
    for (const callback of this.#exits) callback(status);
  }
}

function together(probes: readonly Probe[]): Probe {
  return {
    remove: () => {
      for (const probe of probes) probe.remove();
    },
  };
}
