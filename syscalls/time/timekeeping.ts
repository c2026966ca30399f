import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import type { Host } from "../../host/host.ts";
import { VDSO_OFFSET_LIMIT, VVAR, VVAR_CLOCKS } from "../../loader/vdso-code.ts";
import { CLOCK } from "./clocks.ts";

/** Clocks that are CLOCK_MONOTONIC, and those that follow the wall clock (Linux's TAI is that too, until NTP says more). */
const MONOTONIC = [CLOCK.MONOTONIC, CLOCK.MONOTONIC_RAW, CLOCK.MONOTONIC_COARSE, CLOCK.BOOTTIME];
const REALTIME = [CLOCK.REALTIME, CLOCK.REALTIME_COARSE, CLOCK.TAI];
const maskOf = (clocks: readonly number[]): number => clocks.reduce((mask, clock) => mask | (1 << clock), 0);
/** A host whose wall clock is further from its offset does not go by it. */
const TOLERANCE_NS = 20_000_000n;

/**
 * The guest's time: the host's clocks, as system calls, the time stamp counter and the vDSO's data page show them (Linux:
 * kernel/time/timekeeping.c, vsyscall.c). The counter is CLOCK_MONOTONIC in whole ns.
 */
export class Timekeeping {
  readonly #host: Host;
  /** Where the data pages are, one in each address space. */
  readonly #pages = new Map<GuestMemory, number>();
  /** The host's wall clock goes by an offset; a class derived from a host may have changed that. */
  #hasOffset = false;
  /** What the page says: CLOCK_REALTIME minus CLOCK_MONOTONIC, undefined if it has to be asked for. */
  #offset: bigint | undefined;
  /** Called when the host's wall clock was found to be set. */
  readonly onClockSet = new Set<() => void>();

  constructor(host: Host) {
    this.#host = host;
  }

  /** CLOCK_MONOTONIC in ns. */
  monotonicNs(): number {
    return this.#host.monotonicNs();
  }

  /** CLOCK_REALTIME in ns since 1970. */
  realtimeNs(): bigint {
    this.refresh();
    return this.#offset === undefined ? this.#host.realtimeNs() : this.#offset + BigInt(this.tsc());
  }

  /** The time stamp counter: one tick a ns. */
  tsc(): number {
    return Math.floor(this.#host.monotonicNs());
  }

  /** Fills the vDSO's data page at an address of guest memory, from now on. */
  publishAt(memory: GuestMemory, page: number): void {
    const isFirst = this.#pages.size === 0;
    this.#pages.set(memory, page);
    if (isFirst) {
      const offset = this.#host.realtimeOffsetNs?.();
      if (offset !== undefined) {
        const error = this.#host.realtimeNs() - offset - BigInt(this.tsc());
        this.#hasOffset = error < TOLERANCE_NS && error > -TOLERANCE_NS;
      }
      this.#offset = this.#currentOffset();
    }
    this.#publish(memory, page);
  }

  /** An address space is gone. */
  forget(memory: GuestMemory): void {
    this.#pages.delete(memory);
  }

  /** Looks whether the host's wall clock was set. */
  refresh(): void {
    const offset = this.#currentOffset();
    if (offset === this.#offset) return;
    this.#offset = offset;
    for (const [memory, page] of this.#pages) this.#publish(memory, page);
    for (const tell of [...this.onClockSet]) tell();
  }

  /** undefined if the vDSO cannot tell the wall clock. */
  #currentOffset(): bigint | undefined {
    if (!this.#hasOffset) return undefined;
    const offset = this.#host.realtimeOffsetNs?.() ?? 0n;
    // So far from the limits that the clock does not come there while the program runs.
    return offset >= 0n && offset < VDSO_OFFSET_LIMIT ? offset : undefined;
  }

  #publish(memory: GuestMemory, at: number): void {
    // The guest may have unmapped the page, and put something else there.
    if (memory.space.vmas.at(at)?.name !== "[vvar]") return;
    const bytes = new Uint8Array(VVAR.offsets + 8 * VVAR_CLOCKS);
    const view = new DataView(bytes.buffer);
    const realtime = this.#offset === undefined ? [] : REALTIME;
    view.setUint32(VVAR.clocks, maskOf([...MONOTONIC, ...realtime]), true);
    for (const clock of realtime) view.setBigInt64(VVAR.offsets + clock * 8, this.#offset ?? 0n, true);
    memory.poke(at, bytes);
  }
}
