import type { EventLoop } from "../emu/threads/scheduler.ts";

const NS_PER_MS = 1e6;
/** Waits shorter than this block the host thread: its timers are not that exact. */
const BLOCKING_NS = 1.2 * NS_PER_MS;
/** How long the host's events may be kept waiting while a guest sleeps in short waits. */
const STARVED_NS = 0.5 * NS_PER_MS;
/** Longest delay that setTimeout takes; keeps the host alive while a guest waits for events. */
const FOREVER_MS = 2 ** 31 - 1;

/** The JavaScript event loop of Node, or of a browser's worker, as the machine's source of events. */
export class JsEventLoop implements EventLoop {
  readonly #now: () => number;
  readonly #channel = new MessageChannel();
  readonly #cell = new Int32Array(new SharedArrayBuffer(4));
  #woken = false;
  /** When the host's events were last let through. */
  #yielded = 0;
  #wake: (() => void) | undefined;
  #resume: (() => void) | undefined;

  /** @param now CLOCK_MONOTONIC in ns */
  constructor(now: () => number) {
    this.#now = now;
    this.#channel.port1.onmessage = () => this.#resume?.();
    unref(this.#channel.port1);
  }

  now(): number {
    return this.#now();
  }

  yield(): Promise<void> {
    this.#yielded = this.#now();
    if (typeof setImmediate === "function") return new Promise((resolve) => setImmediate(resolve));
    return new Promise((resolve) => {
      this.#resume = resolve;
      this.#channel.port2.postMessage(0);
    });
  }

  async wait(ns: number): Promise<void> {
    if (this.#woken || ns <= 0) {
      this.#woken = false;
      return this.yield();
    }
    if (ns < BLOCKING_NS) {
      // A guest that sleeps for a moment again and again must not shut the host's events out.
      if (this.#now() - this.#yielded > STARVED_NS) return this.yield();
      Atomics.wait(this.#cell, 0, 0, ns / NS_PER_MS);
      return;
    }
    const delay = Math.min(FOREVER_MS, Math.floor((ns - BLOCKING_NS) / NS_PER_MS) + 1);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), delay);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
    this.#woken = false;
    this.#yielded = this.#now();
  }

  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }
}

/** Node keeps running while a port listens, unless told not to. */
function unref(port: MessagePort): void {
  (port as MessagePort & { unref?: () => void }).unref?.();
}
