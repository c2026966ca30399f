import type { HostChannel } from "../../host/processes.ts";
import { SyscallError } from "../abi/errno.ts";
import { POLLERR } from "../abi/poll.ts";
import { type FileDescription, WOULD_BLOCK } from "../files/description.ts";
import { IoVector } from "../files/io-vector.ts";

/** Bytes that are moved at a time. */
const CHUNK = 0x1_0000;

/**
 * Connects something that exists only in the machine (one end of a pipe) with a child process: what can be read from it
 * goes to the child, what the child writes goes into it. Neither side is read faster than the other takes it.
 */
export class Bridge {
  readonly #description: FileDescription;
  readonly #channel: HostChannel;
  readonly #wakeUp: () => void;
  readonly #look = (): void => this.#pump();
  /** Bytes of the child that the description has not taken yet. */
  readonly #arrived: Uint8Array[] = [];
  #childEnded = false;
  /** Nothing more goes to the child. */
  #outDone: boolean;
  #congested = false;
  #paused = false;
  #pumping = false;
  #closed = false;

  /** @param wakeUp lets the machine's loop run after bytes have moved */
  constructor(description: FileDescription, channel: HostChannel, wakeUp: () => void) {
    this.#description = description.acquire();
    this.#channel = channel;
    this.#wakeUp = wakeUp;
    this.#outDone = !description.readable;
    description.queue.add(this.#look);
    channel.listen({
      data: (bytes) => {
        if (!this.#description.writable) return;
        this.#arrived.push(bytes);
        this.#pump();
      },
      drain: () => {
        this.#congested = false;
        this.#pump();
      },
      end: () => {
        this.#childEnded = true;
        this.#pump();
      },
    });
    this.#pump();
  }

  #pump(): void {
    // Moving bytes wakes the queue that this is called from.
    if (this.#pumping || this.#closed) return;
    this.#pumping = true;
    try {
      this.#toChild();
      this.#fromChild();
    } finally {
      this.#pumping = false;
    }
    const inDone = this.#childEnded && this.#arrived.length === 0;
    if (inDone || (this.#outDone && !this.#description.writable)) this.#finish();
    this.#wakeUp();
  }

  #toChild(): void {
    while (!this.#outDone && !this.#congested && !this.#childEnded) {
      const buffer = new Uint8Array(CHUNK);
      let count: number;
      try {
        count = this.#description.read(IoVector.buffer(buffer));
      } catch (error) {
        if (!(error instanceof SyscallError)) throw error;
        count = 0;
      }
      if (count === WOULD_BLOCK) return;
      if (count === 0) {
        this.#outDone = true;
        this.#channel.end();
      } else this.#congested = !this.#channel.write(buffer.subarray(0, count));
    }
  }

  #fromChild(): void {
    if (this.#unread) {
      this.#arrived.length = 0;
      this.#childEnded = true;
    }
    while (this.#arrived.length > 0) {
      const bytes = this.#arrived[0];
      let count: number;
      try {
        count = this.#description.write(IoVector.buffer(bytes));
      } catch (error) {
        if (!(error instanceof SyscallError)) throw error;
        // It takes nothing any more: the child is to find out.
        this.#arrived.length = 0;
        this.#childEnded = true;
        return;
      }
      if (count === WOULD_BLOCK) {
        if (!this.#paused) this.#channel.pause();
        this.#paused = true;
        return;
      }
      if (count === bytes.length) this.#arrived.shift();
      else this.#arrived[0] = bytes.subarray(count);
    }
    if (this.#paused) this.#channel.resume();
    this.#paused = false;
  }

  /** Is it the writing end of a pipe that nobody reads? The child is to get EPIPE for its first byte, not for its second. */
  get #unread(): boolean {
    const { readable, writable } = this.#description;
    return writable && !readable && (this.#description.poll() & POLLERR) !== 0;
  }

  #finish(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#description.queue.remove(this.#look);
    // What has been written is still on its way when nothing but the end was left to say.
    if (this.#childEnded) this.#channel.close();
    this.#description.release();
  }

  /** Ends it with the process: what is in a pipe still reaches the child, and nothing of the child is read any more. */
  close(): void {
    if (this.#closed) return;
    this.#congested = false;
    this.#toChild();
    this.#closed = true;
    this.#description.queue.remove(this.#look);
    if (this.#description.readable) this.#channel.end();
    else this.#channel.close();
  }
}
