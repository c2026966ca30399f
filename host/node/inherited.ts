import * as fs from "node:fs";
import { O_ACCMODE, O_CLOEXEC } from "../../syscalls/abi/fcntl.ts";
import { S_IFCHR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK } from "../../syscalls/abi/stat.ts";

/** Kinds of files that a program can have been left. */
const KINDS: ReadonlySet<number> = new Set([S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR]);
/** Up to here Node marks whatever it was left to be closed at execve(2) (libuv, uv_disable_stdio_inheritance). */
const MARKED = 15;

/**
 * The descriptors besides the standard streams that goemu was started with: `3<file`, a shell's `<(command)`, a file or a
 * socket that some program hands on. Node does not tell them from its own; /proc does, as long as goemu has opened nothing
 * itself: Node begins with an epoll set, which takes the lowest number that is free, all of its own files are to be closed
 * at execve(2), and its pipes have both ends here. Without /proc there are none.
 */
export function inheritedDescriptors(): number[] {
  const paths = new Map<number, string>();
  try {
    for (const name of fs.readdirSync("/proc/self/fd")) {
      try {
        paths.set(Number(name), fs.readlinkSync(`/proc/self/fd/${name}`));
      } catch {
        // What the folder itself was read by.
      }
    }
  } catch {
    return [];
  }
  const all = [...paths].sort(([left], [right]) => left - right);
  const firstOwn = all.find(([fd, path]) => fd > 2 && path === "anon_inode:[eventpoll]")?.[0] ?? 3;
  /** Are both ends of a pipe here? A shell leaves one of them, sometimes twice. */
  const both = (path: string): boolean => {
    const ends = all.filter(([fd, other]) => fd > 2 && other === path).map(([fd]) => flagsOf(fd) & O_ACCMODE);
    return new Set(ends).size > 1;
  };
  const isLeft = ([fd, path]: readonly [number, string]): boolean => {
    if (fd <= 2 || path.startsWith("anon_inode:")) return false;
    if (fd < firstOwn) return true;
    if (path.startsWith("pipe:") && both(path)) return false;
    return !closesAtExec(fd) || (fd <= MARKED && path !== "/dev/null");
  };
  return all.filter((each) => isLeft(each) && KINDS.has(kindOf(each[0]))).map(([fd]) => fd);
}

function kindOf(fd: number): number {
  try {
    return fs.fstatSync(fd).mode & S_IFMT;
  } catch {
    return 0;
  }
}

/** Is a descriptor closed at execve(2)? */
const closesAtExec = (fd: number): boolean => (flagsOf(fd) & O_CLOEXEC) !== 0;

/** /proc/pid/fdinfo: access mode, status flags, O_CLOEXEC. */
function flagsOf(fd: number): number {
  try {
    return Number.parseInt(/^flags:\s*(\d+)/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))?.[1] ?? "", 8);
  } catch {
    return O_CLOEXEC;
  }
}
