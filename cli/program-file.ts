import { type BigIntStats, closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { FileSource } from "../loader/bytes.ts";
import { CliError, STATUS } from "./failure.ts";

/** Largest file that is read as a program; the guest's address space would not hold more. */
const MAX_PROGRAM = 2 ** 31 - 1;

/** A program file: what is used of it is read when it is used, so that a large one starts no later than a small one. */
export class ProgramFile implements FileSource {
  readonly #fd: number;
  /** What fstat(2) said when it was opened. */
  readonly stat: BigIntStats;

  constructor(fd: number, stat: BigIntStats) {
    this.#fd = fd;
    this.stat = stat;
  }

  get size(): number {
    return Number(this.stat.size);
  }

  /** What can't be read is as if it were behind the file's end: the program gets SIGBUS, as on Linux. */
  read(into: Uint8Array, offset: number): number {
    try {
      return readSync(this.#fd, into, 0, into.length, offset);
    } catch {
      return 0;
    }
  }

  /** Has nobody written to the file since it was opened? */
  isUnchanged(): boolean {
    const now = fstatSync(this.#fd, { bigint: true });
    const { size, mtimeNs, ctimeNs } = this.stat;
    return now.size === size && now.mtimeNs === mtimeNs && now.ctimeNs === ctimeNs;
  }
}

/**
 * Opens a program file, which stays open until goemu ends.
 * @throws CliError 127 if there is none, 126 if it is no regular file or can't be read
 */
export function openProgram(path: string): ProgramFile {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") {
      throw new CliError(`${path}: no such file (check the path)`, STATUS.notFound);
    }
    if (code === "EACCES") throw new CliError(`${path}: permission denied (make it readable)`, STATUS.cannotExecute);
    throw new CliError(`${path}: cannot be opened: ${code} (check the path)`, STATUS.cannotExecute);
  }
  try {
    const stat = fstatSync(fd, { bigint: true });
    if (stat.isDirectory())
      throw new CliError(`${path}: is a directory (name an executable file)`, STATUS.cannotExecute);
    if (!stat.isFile())
      throw new CliError(`${path}: is not a regular file (name an executable file)`, STATUS.cannotExecute);
    if (stat.size > MAX_PROGRAM) {
      throw new CliError(`${path}: has ${stat.size} bytes, more than can be run (at most 2 GiB)`, STATUS.cannotExecute);
    }
    return new ProgramFile(fd, stat);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
