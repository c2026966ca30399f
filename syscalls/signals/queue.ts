import { SI_TIMER } from "../abi/signals.ts";
import type { SignalInfo } from "./info.ts";

/** Bit of a signal in a mask: signal N is bit N-1. */
export const bitOf = (signal: number): bigint => 1n << BigInt(signal - 1);

/** Signals that wait for delivery, in order of arrival (Linux: struct sigpending). */
export class SignalQueue {
  readonly #infos: SignalInfo[] = [];
  #mask = 0n;
  #forced = 0;

  get length(): number {
    return this.#infos.length;
  }

  /** The signals that are in it. */
  get mask(): bigint {
    return this.#mask;
  }

  /** Those of its signals for which `is` holds, as a mask. */
  maskOf(is: (info: SignalInfo) => boolean): bigint {
    return this.#infos.reduce((mask, info) => (is(info) ? mask | bitOf(info.signal) : mask), 0n);
  }

  #entered(info: SignalInfo): void {
    this.#mask |= bitOf(info.signal);
    if (info.forced) this.#forced++;
  }

  push(info: SignalInfo): void {
    this.#infos.push(info);
    this.#entered(info);
  }

  /** Puts a signal before all others. */
  unshift(info: SignalInfo): void {
    this.#infos.unshift(info);
    this.#entered(info);
  }

  has(signal: number): boolean {
    return (this.#mask & bitOf(signal)) !== 0n;
  }

  /** Is a signal of this timer in it? A timer never has more than one (kernel/time/posix-timers.c). */
  hasTimer(id: number): boolean {
    return this.#infos.some((info) => info.code === SI_TIMER && info.timerId === id);
  }

  /** Would any be delivered to a thread that blocks `blocked`? Forced ones always. */
  deliverable(blocked: bigint): boolean {
    if (this.#infos.length === 0) return false;
    return this.#forced > 0 || (this.#mask & ~blocked) !== 0n;
  }

  /** Drops all of one signal. */
  drop(signal: number): void {
    for (let i = this.#infos.length - 1; i >= 0; i--) if (this.#infos[i].signal === signal) this.#removeAt(i);
  }

  #removeAt(index: number): SignalInfo {
    const [info] = this.#infos.splice(index, 1);
    if (info.forced) this.#forced--;
    if (!this.#infos.some(({ signal }) => signal === info.signal)) this.#mask &= ~bitOf(info.signal);
    return info;
  }

  /** Takes the next one out: a forced one, else the oldest of the lowest signal that is allowed. */
  take(allowed: (signal: number) => boolean): SignalInfo | undefined {
    if (this.#infos.length === 0) return undefined;
    if (this.#forced > 0) return this.#removeAt(this.#infos.findIndex(({ forced }) => forced === true));
    for (let signal = 1; signal <= 64; signal++) {
      if (this.has(signal) && allowed(signal)) {
        return this.#removeAt(this.#infos.findIndex((info) => info.signal === signal));
      }
    }
    return undefined;
  }
}
