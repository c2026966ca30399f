import type { Frame } from "../go/stack.ts";

/** Structure of the file (Go internal/trace/tracev2/events.go, runtime/trace*.go). */
const EV_EVENT_BATCH = 1;
const EV_STACKS = 2;
const EV_STACK = 3;
const EV_STRINGS = 4;
const EV_STRING = 5;
const EV_FREQUENCY = 8;

const GENERATION = 1;
/** tracev2.MaxBatchSize is 64 KiB; batches end early enough for the longest event. */
const BATCH_LIMIT = 60_000;
/** Units of time in a second. */
const FREQUENCY = 1_000_000_000;
/** Distinct stacks and strings that are kept; later ones are left out. */
const TABLE_LIMIT = 200_000;
/** Longest string (tracev2.MaxEventTrailerDataSize is 1 KiB). */
const STRING_LIMIT = 1000;

/** Bytes with Go's uvarints (encoding/binary). */
class Bytes {
  #bytes = new Uint8Array(1024);
  length = 0;

  byte(value: number): void {
    if (this.length === this.#bytes.length) {
      const larger = new Uint8Array(this.length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes[this.length++] = value;
  }

  /** A number below 2^53, or -1 as 64 bits. */
  uvarint(value: number): void {
    if (value < 0) {
      for (let i = 0; i < 9; i++) this.byte(0xff);
      this.byte(1);
      return;
    }
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.byte((rest % 0x80) | 0x80);
    this.byte(rest);
  }

  append(bytes: Uint8Array): void {
    for (const value of bytes) this.byte(value);
  }

  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.length);
    this.length = 0;
    return taken;
  }
}

interface Batch {
  readonly bytes: Bytes;
  start: number;
  last: number;
}

/** Writes the batches of an execution trace: events by thread as they come, tables of stacks and strings at the end. */
export class GoTraceWriter {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #batches = new Map<number, Batch>();
  readonly #strings = new Map<string, number>();
  readonly #stacks = new Map<string, { id: number; frames: readonly number[] }>();
  #time = 0;

  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
    write(new TextEncoder().encode("go 1.22 trace\0\0\0"));
  }

  /** @param time ns; times that do not grow are moved on, so that the order stays */
  event(tid: number, time: number, type: number, args: readonly number[]): void {
    this.#time = Math.max(this.#time + 1, Math.round(time));
    let batch = this.#batches.get(tid);
    if (batch === undefined || batch.bytes.length > BATCH_LIMIT) {
      this.#flush(tid);
      batch = { bytes: batch?.bytes ?? new Bytes(), start: this.#time, last: this.#time };
      this.#batches.set(tid, batch);
    }
    batch.bytes.byte(type);
    batch.bytes.uvarint(this.#time - batch.last);
    batch.last = this.#time;
    for (const arg of args) batch.bytes.uvarint(arg);
  }

  string(text: string): number {
    let id = this.#strings.get(text);
    if (id === undefined) {
      if (this.#strings.size >= TABLE_LIMIT) return 0;
      id = this.#strings.size + 1;
      this.#strings.set(text, id);
    }
    return id;
  }

  /** The number of a stack; 0 for an empty one. */
  stack(frames: readonly Frame[]): number {
    if (frames.length === 0) return 0;
    // The pcs and the number of frames say all: inlined calls have their caller's pc.
    let key = "";
    for (const { pc } of frames) key += `${pc},`;
    let stack = this.#stacks.get(key);
    if (stack === undefined) {
      if (this.#stacks.size >= TABLE_LIMIT) return 0;
      const numbers = frames.flatMap(({ pc, name, file, line }) => [
        pc,
        this.string(name ?? "?"),
        this.string(file ?? ""),
        line ?? 0,
      ]);
      stack = { id: this.#stacks.size + 1, frames: numbers };
      this.#stacks.set(key, stack);
    }
    return stack.id;
  }

  #flush(tid: number): void {
    const batch = this.#batches.get(tid);
    if (batch !== undefined && batch.bytes.length > 0) this.#batch(tid, batch.start, batch.bytes.take());
  }

  #batch(tid: number, time: number, data: Uint8Array): void {
    const head = new Bytes();
    head.byte(EV_EVENT_BATCH);
    for (const value of [GENERATION, tid, time, data.length]) head.uvarint(value);
    this.#write(head.take());
    this.#write(data);
  }

  /** A table in as many batches as it needs; each begins with its type. */
  #table(type: number, entries: Iterable<(bytes: Bytes) => void>): void {
    const bytes = new Bytes();
    for (const entry of entries) {
      if (bytes.length === 0) bytes.byte(type);
      entry(bytes);
      if (bytes.length > BATCH_LIMIT) this.#batch(-1, this.#time, bytes.take());
    }
    if (bytes.length > 0) this.#batch(-1, this.#time, bytes.take());
  }

  close(): void {
    for (const tid of this.#batches.keys()) this.#flush(tid);
    const stackEntries = [...this.#stacks.values()].map(({ id, frames }) => (bytes: Bytes) => {
      bytes.byte(EV_STACK);
      for (const value of [id, frames.length / 4, ...frames]) bytes.uvarint(value);
    });
    this.#table(EV_STACKS, stackEntries);
    const encoder = new TextEncoder();
    const stringEntries = [...this.#strings].map(([text, id]) => (bytes: Bytes) => {
      const encoded = encoder.encode(text).subarray(0, STRING_LIMIT);
      bytes.byte(EV_STRING);
      bytes.uvarint(id);
      bytes.uvarint(encoded.length);
      bytes.append(encoded);
    });
    this.#table(EV_STRINGS, stringEntries);
    const frequency = new Bytes();
    frequency.byte(EV_FREQUENCY);
    frequency.uvarint(FREQUENCY);
    this.#batch(-1, this.#time, frequency.take());
  }
}
