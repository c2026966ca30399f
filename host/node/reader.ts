import * as fs from "node:fs";
import * as net from "node:net";
import { asSyscallError } from "./errors.ts";

/**
 * Reads a pipe or socket through Node's event loop, never taking more than was asked for.
 *
 * A read on Node's thread pool would keep the process from exiting while it waits, and a Node stream reads ahead. So
 * the event loop waits for exactly one byte, and a non-blocking read takes the rest.
 */
export class PullReader {
  readonly #fd: number;
  /** A second, non-blocking way to the same source, if the system offers one. */
  readonly #direct: number;
  #socket: net.Socket | undefined;
  #resolve: ((bytes: Uint8Array) => void) | undefined;
  #reject: ((error: Error) => void) | undefined;
  #ended = false;

  /** @param fd a pipe or socket that is open for reading */
  constructor(fd: number) {
    const path = process.platform === "linux" ? `/proc/self/fd/${fd}` : undefined;
    // A description of our own leaves the flags alone that other processes share.
    const reopened = path === undefined ? undefined : openNonblocking(path);
    this.#direct = reopened ?? fd;
    this.#fd = (reopened !== undefined && path !== undefined ? openNonblocking(path) : undefined) ?? fd;
  }

  read(max: number): Uint8Array | Promise<Uint8Array> {
    const nonblocking = this.#direct !== this.#fd;
    const bytes = new Uint8Array(max);
    const count = nonblocking ? this.#take(bytes, 0) : undefined;
    if (count !== undefined && count > 0) return bytes.subarray(0, count);
    return this.#wait().then((first) => {
      if (first.length === 0) return first;
      bytes[0] = first[0];
      const more = max > 1 ? this.#take(bytes, 1) : 0;
      return bytes.subarray(0, 1 + (more ?? 0));
    });
  }

  /** Reads what is there; undefined if that is nothing. */
  #take(into: Uint8Array, from: number): number | undefined {
    try {
      return fs.readSync(this.#direct, into, from, into.length - from, null);
    } catch (error) {
      const failure = asSyscallError(error);
      if (failure.message === "EAGAIN") return undefined;
      throw failure;
    }
  }

  #wait(): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        resolve(new Uint8Array(0));
        return;
      }
      this.#resolve = resolve;
      this.#reject = reject;
      this.#socket ??= this.#listen();
      this.#socket.resume();
      this.#socket.read(0);
    });
  }

  #listen(): net.Socket {
    const onread = {
      buffer: new Uint8Array(1),
      callback: (count: number, buffer: Uint8Array): boolean => {
        this.#resolve?.(buffer.slice(0, count));
        return false;
      },
    };
    const socket = new net.Socket({ fd: this.#fd, readable: true, writable: false, onread });
    socket.on("end", () => {
      this.#ended = true;
      this.#resolve?.(new Uint8Array(0));
    });
    socket.on("error", (error) => {
      const failure = asSyscallError(error);
      this.#reject?.(failure);
    });
    return socket;
  }

  close(): void {
    this.#socket?.destroy();
    if (this.#direct !== this.#fd) fs.closeSync(this.#direct);
    if (this.#socket === undefined && this.#direct !== this.#fd) fs.closeSync(this.#fd);
    this.#socket = undefined;
  }
}

function openNonblocking(path: string): number | undefined {
  try {
    return fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK | fs.constants.O_NOCTTY);
  } catch {
    return undefined;
  }
}
