import * as fs from "node:fs";
import * as tty from "node:tty";

/** Major device number of /dev/null, /dev/zero and the like (Linux Documentation/admin-guide/devices.txt). */
const MEMORY_DEVICES = 1;

/** Is a descriptor a terminal? Node's own answer takes a module that most runs do not need otherwise. */
export function isTerminal(fd: number): boolean {
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isCharacterDevice()) return false;
    if (process.platform === "linux" && stat.rdev >>> 8 === MEMORY_DEVICES) return false;
  } catch {
    return false;
  }
  return tty.isatty(fd);
}
