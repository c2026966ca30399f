import { wasiFor } from "./wasi.ts";

/** WASI (preview 1), struct subscription and struct event: sizes, and where their fields are. */
const SUBSCRIPTION_SIZE = 48;
const SUBSCRIPTIONS = 0;
const EVENTS = 2 * SUBSCRIPTION_SIZE;
const EVENT_SIZE = 32;
const COUNT = EVENTS + 2 * EVENT_SIZE;
const EVENT_CLOCK = 0;
const EVENT_READ = 1;
const CLOCK_MONOTONIC = 1;
/** How long at most it is waited for an answer, in ns: with less than a millisecond Node looks at nothing but the time. */
const TIMEOUT_NS = 1_000_000;
/** How often it is asked whether nothing is there if the time may have passed before the descriptor was looked at. */
const ATTEMPTS = 3;

/**
 * Tells whether a descriptor could be read now, as poll(2) without waiting does. Node has no such function of its own,
 * but gives its WebAssembly system interface to modules, and with it `poll_oneoff`. Nothing is taken from the descriptor.
 */
export class ReadyQuestion {
  readonly #view: DataView;
  readonly #poll: () => void;

  /** @param fd one of a description that nobody else uses: it is made non-blocking. @throws Error if Node can't do that */
  constructor(fd: number) {
    const { functions, view } = wasiFor(fd);
    this.#view = view;
    this.#poll = () => {
      const error = functions.poll_oneoff(SUBSCRIPTIONS, EVENTS, 2, COUNT);
      if (error !== 0) throw new Error(`poll_oneoff: error ${error}`);
    };
    const [read, clock] = [SUBSCRIPTIONS, SUBSCRIPTIONS + SUBSCRIPTION_SIZE];
    this.#view.setUint8(read + 8, EVENT_READ);
    this.#view.setUint8(clock + 8, EVENT_CLOCK);
    this.#view.setUint32(clock + 16, CLOCK_MONOTONIC, true);
    this.#view.setBigUint64(clock + 24, BigInt(TIMEOUT_NS), true);
  }

  /** Also true at the end of the file, and where reading fails. @throws Error if Node can't tell */
  ask(): boolean {
    for (let attempt = 1; ; attempt++) {
      const before = process.hrtime.bigint();
      this.#poll();
      for (let i = 0; i < this.#view.getUint32(COUNT, true); i++) {
        if (this.#view.getUint8(EVENTS + i * EVENT_SIZE + 10) === EVENT_READ) return true;
      }
      const late = process.hrtime.bigint() - before > 2 * TIMEOUT_NS;
      if (!late || attempt === ATTEMPTS) return false;
    }
  }
}
