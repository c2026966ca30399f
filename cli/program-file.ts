import { type BigIntStats, closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { CliError, STATUS } from "./failure.ts";

/** Largest file that is read as a program; the guest's address space would not hold more. */
const MAX_PROGRAM = 2 ** 31 - 1;

export interface ProgramFile {
  readonly bytes: Uint8Array;
  /** What fstat(2) said before the bytes were read. */
  readonly stat: BigIntStats;
}

/** A program file's bytes. @throws as openProgram does */
export function readProgram(path: string): Uint8Array {
  return openProgram(path).bytes;
}

/**
 * Reads a program file.
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
    return { bytes: readFileSync(fd), stat };
  } finally {
    closeSync(fd);
  }
}
