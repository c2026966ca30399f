import { writeSync } from "node:fs";

/** Writes all of a text to a descriptor, waiting for a slow reader. */
export function writeAll(fd: number, text: string): void {
  const bytes = new TextEncoder().encode(text);
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

/** Writes a line to standard error; where that can't be written to, nobody is to be told. */
export function warn(line: string): void {
  try {
    writeAll(2, `${line}\n`);
  } catch {
    // A full disk, most likely.
  }
}
