import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { Debugger } from "../debugger/debugger.ts";
import type { Action } from "../debugger/events.ts";
import { REGISTERS } from "../debugger/registers.ts";

/** What the client sees as a thread. */
export interface DebugThread {
  readonly id: number;
  readonly name: string;
  /** A line about it for `info threads`. */
  readonly description: string;
  /** The bytes of a register by number; undefined if it can't be known. */
  read(register: number): Uint8Array | undefined;
  /** False if it can't be changed. */
  write(register: number, bytes: Uint8Array): boolean;
}

/** How the guest's threads are presented: as they are, or goroutines in their place. */
export interface ThreadModel {
  list(): readonly DebugThread[];
  find(id: number): DebugThread | undefined;
  /** What the client sees for a guest thread. */
  of(thread: LinuxThread): DebugThread;
  resume(choose: (id: number) => Action): void;
}

/** A guest thread as it is. */
export class MachineThread implements DebugThread {
  readonly id: number;
  readonly thread: LinuxThread;
  readonly #debug: Debugger;
  readonly #describe: (thread: LinuxThread) => string;

  constructor(debug: Debugger, thread: LinuxThread, describe: (thread: LinuxThread) => string) {
    this.#debug = debug;
    this.thread = thread;
    this.id = thread.tid;
    this.#describe = describe;
  }

  get name(): string {
    return this.thread.name;
  }

  get description(): string {
    return this.#describe(this.thread);
  }

  read(register: number): Uint8Array | undefined {
    return REGISTERS[register]?.read(this.thread, this.#debug);
  }

  write(register: number, bytes: Uint8Array): boolean {
    REGISTERS[register]?.write(this.thread, bytes);
    return REGISTERS[register] !== undefined;
  }
}

/** The guest's threads by their tid. */
export class MachineThreads implements ThreadModel {
  readonly #debug: Debugger;
  readonly #describe: (thread: LinuxThread) => string;

  /** @param describe a line about a thread */
  constructor(debug: Debugger, describe: (thread: LinuxThread) => string) {
    this.#debug = debug;
    this.#describe = describe;
  }

  list(): readonly DebugThread[] {
    return this.#debug.threads.map((thread) => this.of(thread));
  }

  find(id: number): DebugThread | undefined {
    const thread = this.#debug.process.threadById(id);
    return thread === undefined ? undefined : this.of(thread);
  }

  of(thread: LinuxThread): DebugThread {
    return new MachineThread(this.#debug, thread, this.#describe);
  }

  resume(choose: (id: number) => Action): void {
    this.#debug.resume((thread) => choose(thread.tid));
  }
}
