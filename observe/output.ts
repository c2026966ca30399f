import { closeSync, openSync, writeSync } from "node:fs";

const BUFFER = 1 << 16;

/**
 * A file that is written in pieces: text is gathered and written in larger ones. While a guest runs nothing throws: once
 * something can't be written the rest is left out, and `close` tells why.
 */
export class OutputFile {
  readonly #fd: number;
  #pending: string[] = [];
  #size = 0;
  #closed = false;
  #failure: unknown;

  /** @param path file to make anew, or a descriptor that is open. @throws what openSync throws */
  constructor(path: string | number) {
    this.#fd = typeof path === "number" ? path : openSync(path, "w");
  }

  write(text: string): void {
    this.#pending.push(text);
    this.#size += text.length;
    if (this.#size >= BUFFER) this.flush();
  }

  writeBytes(bytes: Uint8Array): void {
    this.flush();
    this.#write(bytes);
  }

  #write(bytes: Uint8Array): void {
    if (this.#failure !== undefined) return;
    try {
      writeFully(this.#fd, bytes);
    } catch (error) {
      this.#failure = error;
    }
  }

  flush(): void {
    const bytes = Buffer.from(this.#pending.join(""));
    this.#pending = [];
    this.#size = 0;
    this.#write(bytes);
  }

  /** @throws what went wrong at the first write that failed */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.flush();
    if (this.#fd > 2) closeSync(this.#fd);
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** Writes all of it, waiting for a slow reader; one that has gone away is no error. */
export function writeFully(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EPIPE") return;
      if (code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}
