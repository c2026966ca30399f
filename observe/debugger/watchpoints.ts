import { Decoder, DecoderOptions, InstructionInfoFactory, OpAccess } from "iced-x86";
import { PAGE_SIZE, PROT_WRITE } from "../../emu/layout.ts";
import type { LinuxProcess } from "../../syscalls/linux-process.ts";
import { peek } from "../../syscalls/memory/peek.ts";
import type { WatchKind } from "./events.ts";

/** A range of memory that is watched. */
export interface Watchpoint {
  readonly address: number;
  readonly length: number;
  readonly kind: WatchKind;
}

/** An access of an instruction to a watched range. */
interface Access {
  readonly address: number;
  readonly bytes: number;
  readonly write: boolean;
}

/** Bytes that one watchpoint may cover: every access to its pages is slow. */
export const MAX_WATCH_LENGTH = 0x1_0000;

/**
 * Watchpoints on guest memory. Their pages are guarded (AddressSpace.guard): an access to one leaves guest code before
 * its instruction if it touches a watched range, and the debugger steps over the instruction. Pages that nobody watches
 * cost nothing. System calls that read or write the memory are not seen, as on hardware.
 */
export class Watchpoints {
  readonly #process: LinuxProcess;
  readonly #list: Watchpoint[] = [];
  /** Accesses of the instruction that is being stepped over. */
  #recorded: Access[] | undefined;

  constructor(process: LinuxProcess) {
    this.#process = process;
  }

  get active(): boolean {
    return this.#list.length > 0;
  }

  add(watchpoint: Watchpoint): void {
    this.#list.push(watchpoint);
    this.#process.interpreter.watch = (address, bytes, access) => this.#onAccess(address, bytes, access);
    this.arm();
  }

  /** Takes a watchpoint away; false if there is none like it. */
  remove({ address, length, kind }: Watchpoint): boolean {
    const at = this.#list.findIndex((w) => w.address === address && w.length === length && w.kind === kind);
    if (at < 0) return false;
    this.#list.splice(at, 1);
    this.#process.memory.space.guards.clear();
    if (this.#list.length === 0) this.#process.interpreter.watch = undefined;
    this.arm();
    return true;
  }

  clear(): void {
    for (const watchpoint of [...this.#list]) this.remove(watchpoint);
  }

  /** Guards the watched pages; system calls may have changed their protection. */
  arm(): void {
    for (const { address, length, kind } of this.#list) {
      const first = Math.floor(address / PAGE_SIZE) * PAGE_SIZE;
      for (let page = first; page < address + length; page += PAGE_SIZE) {
        this.#process.memory.space.guards.add(page, kind !== "write");
      }
    }
  }

  #onAccess(address: number, bytes: number, access: number): boolean {
    // A store that was let through has taken the guard off its page.
    this.arm();
    if (!this.#list.some((watchpoint) => overlaps(watchpoint, address, bytes))) return false;
    if (this.#recorded === undefined) return true;
    this.#recorded.push({ address, bytes, write: (access & PROT_WRITE) !== 0 });
    return false;
  }

  /**
   * Runs `step`, which runs the instruction at `rip`, and tells which watchpoint its accesses hit.
   * @returns `undefined` as `hit` if none
   */
  record<T>(rip: number, step: () => T): { result: T; hit: { watch: WatchKind; address: number } | undefined } {
    const reads = this.#readsWhatItWrites(rip);
    this.#recorded = [];
    try {
      const result = step();
      return { result, hit: this.#hit(this.#recorded, reads) };
    } finally {
      this.#recorded = undefined;
    }
  }

  #hit(accesses: readonly Access[], reads: boolean): { watch: WatchKind; address: number } | undefined {
    for (const { address, bytes, write } of accesses) {
      for (const watchpoint of this.#list) {
        if (!overlaps(watchpoint, address, bytes)) continue;
        const { kind } = watchpoint;
        if (kind === "write" && !write) continue;
        if (kind === "read" && write && !reads) continue;
        return { watch: kind, address: Math.max(address, watchpoint.address) };
      }
    }
    return undefined;
  }

  /** Is there an operand in memory that the instruction both reads and writes (ADD m, r)? */
  #readsWhatItWrites(rip: number): boolean {
    const decoder = new Decoder(64, peek(this.#process.memory, rip, 15), DecoderOptions.None);
    const instruction = decoder.decode();
    const factory = new InstructionInfoFactory();
    const info = factory.info(instruction);
    const both = info
      .usedMemory()
      .some(({ access }) => access === OpAccess.ReadWrite || access === OpAccess.ReadCondWrite);
    info.free();
    factory.free();
    instruction.free();
    decoder.free();
    return both;
  }
}

function overlaps(watchpoint: Watchpoint, address: number, bytes: number): boolean {
  return address < watchpoint.address + watchpoint.length && watchpoint.address < address + bytes;
}
