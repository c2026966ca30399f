import { Decoder, DecoderOptions, InstructionInfoFactory, OpAccess } from "iced-x86";
import type { Stop } from "../emu/interpreter/interpreter.ts";
import { PAGE_SIZE, PROT_EXEC, PROT_WRITE } from "../emu/layout.ts";
import type { LinuxProcess } from "../syscalls/linux-process.ts";
import type { LinuxThread } from "../syscalls/linux-thread.ts";

/** An access of guest code to watched memory, told after the instruction. */
export interface WatchAccess {
  /** Address of the instruction; RIP is behind it. */
  readonly instruction: number;
  /** First byte that it accessed, and how many. */
  readonly address: number;
  readonly length: number;
  readonly kind: "read" | "write";
  /** The watched bytes as they were before the instruction. */
  readonly before: Uint8Array;
}

export type WatchCallback = (thread: LinuxThread, access: WatchAccess) => void;

interface Watch {
  readonly address: number;
  readonly length: number;
  readonly kind: "read" | "write";
  readonly callback: WatchCallback;
}

interface Access {
  readonly address: number;
  readonly bytes: number;
  readonly need: number;
}

const MAX_INSTRUCTION = 15;

/**
 * Watched memory. Accesses to the pages concerned leave guest code before their instruction (AddressSpace.guard,
 * Interpreter.watch); it is then run by itself and its accesses are noted.
 */
export class MemoryWatches {
  readonly #process: LinuxProcess;
  readonly #watches = new Set<Watch>();
  /** Accesses of the instruction that runs by itself. */
  #noted: Access[] | undefined;

  constructor(process: LinuxProcess) {
    this.#process = process;
  }

  /** Is it possible now? A debugger has the same means in use. */
  get available(): boolean {
    return (
      this.#watches.size > 0 || (this.#process.execute === undefined && this.#process.interpreter.watch === undefined)
    );
  }

  add(watch: Watch): () => void {
    this.#watches.add(watch);
    this.#process.interpreter.watch = (address, bytes, need) => this.#onAccess({ address, bytes, need });
    this.#process.execute = (thread) => this.#execute(thread);
    return () => this.#remove(watch);
  }

  #remove(watch: Watch): void {
    if (!this.#watches.delete(watch)) return;
    this.#process.memory.space.guards.clear();
    if (this.#watches.size > 0) return;
    this.#process.interpreter.watch = undefined;
    this.#process.execute = undefined;
  }

  /** Guards the watched pages; a system call may have changed their protection, or a store taken the guard off. */
  #guard(): void {
    for (const { address, length, kind } of this.#watches) {
      const first = Math.floor(address / PAGE_SIZE) * PAGE_SIZE;
      for (let page = first; page < address + length; page += PAGE_SIZE) {
        this.#process.memory.space.guards.add(page, kind === "read");
      }
    }
  }

  /** Interpreter.watch: is the instruction to be run by itself? */
  #onAccess(access: Access): boolean {
    this.#guard();
    if (this.#noted === undefined) return [...this.#watches].some((watch) => overlaps(watch, access));
    this.#noted.push(access);
    return false;
  }

  #execute(thread: LinuxThread): Stop {
    const { interpreter } = this.#process;
    this.#guard();
    const stop = interpreter.run(thread.cpu, interpreter.code.stops);
    return stop.kind === "watch" ? this.#step(thread) : stop;
  }

  #step(thread: LinuxThread): Stop {
    const { interpreter, memory } = this.#process;
    const { rip } = thread.cpu;
    const before = new Map([...this.#watches].map((watch) => [watch, memory.readBytes(watch.address, watch.length)]));
    const isUpdate = this.#isUpdate(rip);
    const noted: Access[] = [];
    this.#noted = noted;
    let stop: Stop;
    try {
      stop = interpreter.step(thread.cpu, interpreter.code.stops);
    } finally {
      this.#noted = undefined;
    }
    if (stop.kind === "fault" || stop.kind === "exception") return stop;
    for (const [watch, bytes] of before) {
      const { kind } = watch;
      const access = noted.find((candidate) => {
        const writes = (candidate.need & PROT_WRITE) !== 0;
        return overlaps(watch, candidate) && (kind === "write" ? writes : !writes || isUpdate);
      });
      if (access === undefined || !this.#watches.has(watch)) continue;
      const { address, bytes: length } = access;
      watch.callback(thread, { instruction: rip, address, length, kind, before: bytes });
    }
    return stop;
  }

  /** Does the instruction read the operand that it writes (ADD m, r)? */
  #isUpdate(rip: number): boolean {
    const { memory } = this.#process;
    const bytes = memory.readBytes(rip, Math.min(MAX_INSTRUCTION, memory.accessible(rip, MAX_INSTRUCTION, PROT_EXEC)));
    const decoder = new Decoder(64, bytes, DecoderOptions.None);
    const instruction = decoder.decode();
    const factory = new InstructionInfoFactory();
    const info = factory.info(instruction);
    const updates: readonly number[] = [OpAccess.ReadWrite, OpAccess.ReadCondWrite];
    const found = info.usedMemory().some(({ access }) => updates.includes(access));
    for (const object of [info, factory, instruction, decoder]) object.free();
    return found;
  }
}

function overlaps({ address, length }: { address: number; length: number }, access: Access): boolean {
  return access.address < address + length && address < access.address + access.bytes;
}
