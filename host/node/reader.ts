import * as fs from "node:fs";
import * as net from "node:net";
import * as tty from "node:tty";
import { asSyscallError } from "./errors.ts";
import { isTerminal } from "./terminal.ts";

/**
 * Reads a pipe, socket or terminal through Node's event loop, never taking more than was asked for.
 *
 * A read on Node's thread pool would keep the process from exiting while it waits, and a Node stream reads ahead. So
 * the event loop waits for exactly one byte, and a non-blocking read takes the rest.
 */
export class PullReader {
  readonly #fd: number;
  /** A second, non-blocking way to the same source; undefined if the system offers none. */
  readonly #direct: number | undefined;
  readonly #isTerminal: boolean;
  #socket: net.Socket | undefined;
  #resolve: ((bytes: Uint8Array) => void) | undefined;
  #reject: ((error: Error) => void) | undefined;
  #ended = false;

  /** @param fd a pipe, socket or terminal that is open for reading */
  constructor(fd: number) {
    this.#isTerminal = isTerminal(fd);
    const path = process.platform === "linux" ? `/proc/self/fd/${fd}` : this.#isTerminal ? "/dev/tty" : undefined;
    // A description of our own leaves the flags alone that other processes share.
    const reopened = path === undefined ? undefined : openNonblocking(path);
    this.#direct = reopened ?? (this.#isTerminal ? undefined : fd);
    this.#fd = (reopened !== undefined && path !== undefined ? openNonblocking(path) : undefined) ?? fd;
  }

  read(max: number): Uint8Array | Promise<Uint8Array> {
    const nonblocking = this.#direct !== undefined && this.#direct !== this.#fd;
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
    if (this.#direct === undefined) return undefined;
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
    const options = { readable: true, writable: false, onread };
    const socket = this.#isTerminal ? terminalSocket(this.#fd, onread) : new net.Socket({ fd: this.#fd, ...options });
    socket.on("end", () => {
      if (!this.#isTerminal) this.#ended = true;
      else {
        // Control-D ends one read only; the next one listens anew.
        this.#socket = undefined;
      }
      this.#resolve?.(new Uint8Array(0));
    });
    socket.on("error", (error) => {
      const failure = asSyscallError(error);
      this.#reject?.(failure);
    });
    return socket;
  }

  /** Of a terminal only: single characters without echo, or lines. */
  setRawMode(raw: boolean): void {
    this.#socket ??= this.#listen();
    if (this.#socket instanceof tty.ReadStream) this.#socket.setRawMode(raw);
  }

  close(): void {
    this.#socket?.destroy();
    if (this.#direct !== undefined && this.#direct !== this.#fd) fs.closeSync(this.#direct);
    if (this.#socket === undefined && this.#direct !== undefined && this.#direct !== this.#fd) fs.closeSync(this.#fd);
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

interface OnRead {
  readonly buffer: Uint8Array;
  readonly callback: (count: number, buffer: Uint8Array) => boolean;
}

/** tty.ReadStream hands its options on to net.Socket, which its type declaration does not say. */
function terminalSocket(fd: number, onread: OnRead): net.Socket {
  const construct = tty.ReadStream as unknown as new (fd: number, options: object) => net.Socket;
  return new construct(fd, { onread });
}
