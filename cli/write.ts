import { writeFully } from "../observe/output.ts";

/** Writes all of a text to a descriptor, waiting for a slow reader. */
export const writeAll = (fd: number, text: string): void => writeFully(fd, new TextEncoder().encode(text));

/** Writes a line to standard error; where that can't be written to, nobody is to be told. */
export function warn(line: string): void {
  try {
    writeAll(2, `${line}\n`);
  } catch {
    // A full disk, most likely.
  }
}
