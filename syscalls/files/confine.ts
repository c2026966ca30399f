import { errno, SyscallError } from "../abi/errno.ts";
import { MAXSYMLINKS } from "../abi/fcntl.ts";
import type { WorkingDirectory } from "./file-state.ts";

/**
 * The text of the symbolic link at an absolute path of the machine; names for one that leads to a place of the machine
 * (/proc/pid/cwd); undefined for what is no link.
 */
export type LinkReader = (path: string) => string | readonly string[] | undefined;

/** Where a directory is now, as an absolute path of the machine: it may have been renamed. */
export function pathOf({ file, path }: WorkingDirectory): string {
  return file?.path() ?? path;
}

/** The names that an absolute path is made of. */
export function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "");
}

const isSame = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((name, i) => name === b[i]);

/**
 * Walks a path of a process whose root is not the machine's (chroot(2); fs/namei.c, link_path_walk() and follow_dotdot()):
 * absolute paths and links begin at its root, and ".." does not lead out of that. Who stands outside already is not led back.
 * @param root names of its root; @param base names of the directory where a relative path begins
 * @param follow whether a symbolic link as the last name is followed
 * @returns the absolute path in the machine, without links but for the last name
 * @throws SyscallError ELOOP, and what `readLink` throws for a name in the midst
 */
export function confine(
  root: readonly string[],
  base: readonly string[],
  path: string,
  follow: boolean,
  readLink: LinkReader,
): string {
  const isDirectory = /\/\.{0,2}$|^\.{1,2}$/.test(path);
  let at = path.startsWith("/") ? [...root] : [...base];
  const rest = namesOf(path).reverse();
  let links = 0;
  for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
    if (name === ".") continue;
    if (name === "..") {
      if (!isSame(at, root)) at.pop();
      continue;
    }
    at.push(name);
    const isLast = rest.length === 0;
    if (isLast && !follow && !isDirectory) break;
    const target = linkAt(readLink, `/${at.join("/")}`, isLast);
    if (target === undefined) continue;
    if (++links > MAXSYMLINKS) throw new SyscallError("ELOOP");
    at.pop();
    if (typeof target !== "string") {
      at = [...target];
      continue;
    }
    if (target.startsWith("/")) at = [...root];
    rest.push(...namesOf(target).reverse());
  }
  return `/${at.join("/")}${isDirectory && at.length > 0 ? "/" : ""}`;
}

/** A last name that is not there may be made. */
function linkAt(readLink: LinkReader, path: string, isLast: boolean): ReturnType<LinkReader> {
  try {
    return readLink(path);
  } catch (error) {
    if (isLast && error instanceof SyscallError && error.value === errno.ENOENT) return undefined;
    throw error;
  }
}

/** A path of the machine as a process sees it below its root; undefined for what lies outside. */
export function seenFrom(root: WorkingDirectory | undefined, path: string): string | undefined {
  if (root === undefined) return path;
  const top = pathOf(root);
  if (path === top) return "/";
  return path.startsWith(`${top}/`) ? path.slice(top.length) : undefined;
}
