import type { Host } from "../../host/host.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import { AT_FDCWD, MAXSYMLINKS, PATH_MAX } from "../abi/fcntl.ts";
import { type FileStat, S_IFDIR, S_IFMT } from "../abi/stat.ts";
import { lookupTree } from "../proc/tree.ts";
import type { Process } from "../process.ts";
import { confine, type LinkReader, namesOf, pathOf } from "./confine.ts";
import { DirectoryDescription, PathDescription } from "./directory.ts";
import type { WorkingDirectory } from "./file-state.ts";
import type { MagicLink, VirtualDevice, VirtualDirectory, VirtualFile, VirtualLink } from "./virtual.ts";

/** Where a path leads: to the host's files, or into one of our own trees. */
export type Place =
  | { readonly kind: "host"; readonly path: string /** Absolute, for messages and links. */; readonly shown: string }
  | {
      readonly kind: "virtual";
      readonly node: VirtualDirectory | VirtualFile | VirtualLink | MagicLink | VirtualDevice;
      readonly path: string;
    };

/**
 * A path argument as a byte string (fs/namei.c, getname).
 * @throws GuestFault, SyscallError ENAMETOOLONG
 */
export function readPath(process: Process, address: number): string {
  const path = process.memory.readCText(address, PATH_MAX);
  if (path === undefined) throw new SyscallError("ENAMETOOLONG");
  return path;
}

interface Base {
  readonly path: string;
  readonly prefix: string;
}

/** @throws SyscallError EBADF, ENOTDIR */
function baseOf(process: Process, dirfd: number): Base {
  if (dirfd === AT_FDCWD) return process.files.cwd;
  const description = process.files.table.get(dirfd);
  if (description instanceof DirectoryDescription) return description;
  const isDirectory = (description.stat().mode & S_IFMT) === S_IFDIR;
  if (!(description instanceof PathDescription) || !isDirectory) throw new SyscallError("ENOTDIR");
  return { path: description.path, prefix: description.host?.prefix ?? description.path };
}

/** Names of a path without ".", with ".." taken at its word. */
function normalize(path: string): string[] {
  const names: string[] = [];
  for (const name of path.split("/")) {
    if (name === "..") names.pop();
    else if (name !== "" && name !== ".") names.push(name);
  }
  return names;
}

const ROOTS = new Set(["proc", "sys", "dev"]);

/** Absolute paths that name nothing of ours whatever "." and ".." in them mean: most paths there are. */
const IS_HOSTS = /^\/(?!(?:proc|sys|dev)(?:\/|$))[^/.][^/]*(?:\/[^/.][^/]*)*$/;

/**
 * Finds what a path argument names. Only our own trees are walked here; the host walks its own.
 * @param dirfd directory descriptor or AT_FDCWD, ignored for absolute paths
 * @param follow whether a symbolic link as the last name is followed
 * @throws SyscallError ENOENT for the empty path, EBADF, ENOTDIR, ELOOP
 */
export function resolve(process: Process, dirfd: number, path: string, follow: boolean): Place {
  const { root } = process.files;
  if (root !== undefined) return resolveBelow(process, root, dirfd, path, follow);
  return resolveInMachine(process, dirfd, path, follow);
}

/** As `resolve`, for paths that are the machine's, whatever the root of the process is. */
export function resolveInMachine(process: Process, dirfd: number, path: string, follow: boolean): Place {
  if (IS_HOSTS.test(path)) return { kind: "host", path, shown: path };
  return resolveFrom(process, dirfd, path, follow, 0);
}

/** Finds what a path names for a process with a root of its own (chroot(2)). */
function resolveBelow(process: Process, root: WorkingDirectory, dirfd: number, path: string, follow: boolean): Place {
  if (path === "") throw new SyscallError("ENOENT");
  let base: string[] = [];
  if (!path.startsWith("/")) {
    const { prefix, path: shown } = baseOf(process, dirfd);
    base = namesOf(isOurTree(prefix) || prefix === "" ? shown : process.host.files.realPath(prefix));
  }
  // Magic links have no text that would lead there: the last one is followed to its file, others to their directory.
  let magic: Place | undefined;
  const readLink = (at: string): ReturnType<LinkReader> => {
    const place = resolveInMachine(process, AT_FDCWD, at, false);
    if (place.kind === "host") return linkOnHost(process.host, place.path);
    if (place.node.kind === "link") return place.node.isPlace ? namesOf(place.node.target()) : place.node.target();
    if (place.node.kind !== "magic") return undefined;
    magic = place;
    return undefined;
  };
  const found = confine(namesOf(pathOf(root)), base, path, follow, readLink);
  if (magic?.kind === "virtual" && magic.path === found) return magic;
  return resolveInMachine(process, AT_FDCWD, found, false);
}

/** The text of a link of the host; undefined for what is no link. @throws SyscallError ENOENT, ENOTDIR */
export function linkOnHost(host: Host, path: string): string | undefined {
  try {
    return host.files.readLink(path);
  } catch (error) {
    if (error instanceof SyscallError && error.value === errno.EINVAL) return undefined;
    throw error;
  }
}

function resolveFrom(process: Process, dirfd: number, path: string, follow: boolean, links: number): Place {
  if (path === "") throw new SyscallError("ENOENT");
  if (links > MAXSYMLINKS) throw new SyscallError("ELOOP");
  const isAbsolute = path.startsWith("/");
  const base = isAbsolute ? undefined : baseOf(process, dirfd);
  const full = base === undefined ? path : `${base.path}/${path}`;
  const names = normalize(full);
  const inOurTree = base !== undefined && isOurTree(base.prefix);
  if (ROOTS.has(names[0])) {
    const exact = inOurTree || !/(^|\/)\.\.(\/|$)/.test(path) ? names : exactNames(process, base, path);
    const place = walk(process, exact, follow || path.endsWith("/"), links);
    if (place !== undefined) {
      if (path.endsWith("/") && place.kind === "virtual" && place.node.kind !== "directory") {
        throw new SyscallError("ENOTDIR");
      }
      return place;
    }
  }
  if (base === undefined) return { kind: "host", path, shown: path };
  // A relative path that leaves our trees goes on from their place in the host's.
  const onHost = inOurTree ? `/${names.join("/")}` : `${base.prefix}/${path}`;
  return { kind: "host", path: onHost, shown: `/${names.join("/")}` };
}

/** Is this the path of a directory of ours (a host directory's prefix may be a link in the host's own /proc)? */
function isOurTree(prefix: string): boolean {
  return OURS.test(prefix);
}
const OURS = /^\/(proc|sys)(?!\/self\/fd\/\d+$)(\/|$)/;

/** The names of a path with "..", as the host's directories really lie. */
function exactNames(process: Process, base: Base | undefined, path: string): string[] {
  const cut = path.lastIndexOf("..") + 2;
  const leading = base === undefined ? path.slice(0, cut) : `${base.prefix}/${path.slice(0, cut)}`;
  return normalize(`${process.host.files.realPath(leading)}/${path.slice(cut)}`);
}

/** Walks our trees; undefined if the path is the host's after all (a name in /dev that is not ours). */
function walk(process: Process, names: readonly string[], follow: boolean, links: number): Place | undefined {
  let node = lookupTree(process, names[0]);
  let at = `/${names[0]}`;
  for (let i = 1; i <= names.length; i++) {
    const rest = names.slice(i);
    if ((node.kind === "link" || node.kind === "magic") && (rest.length > 0 || follow)) {
      if (node.kind === "magic") {
        if (rest.length === 0) return { kind: "virtual", node, path: at };
        const description = node.description();
        if (!(description instanceof DirectoryDescription)) throw new SyscallError("ENOTDIR");
        const target = `${description.prefix}/${rest.join("/")}`;
        if (isOurTree(description.prefix)) return resolveFrom(process, AT_FDCWD, target, follow, links + 1);
        return { kind: "host", path: target, shown: `${description.path}/${rest.join("/")}` };
      }
      const target = node.target();
      const parent = at.slice(0, at.lastIndexOf("/"));
      const next = [target.startsWith("/") ? target : `${parent}/${target}`, ...rest].join("/");
      return resolveFrom(process, AT_FDCWD, next, follow, links + 1);
    }
    if (i === names.length) break;
    if (node.kind !== "directory") throw new SyscallError("ENOTDIR");
    const child = node.lookup(names[i]);
    if (child === undefined) {
      if (names[0] === "dev" && (i === 1 || names[1] === "pts")) return undefined;
      throw new SyscallError("ENOENT");
    }
    node = child;
    at = `${at}/${names[i]}`;
  }
  // /dev itself is the host's: ours are only some of its names.
  const isHosts = names[0] === "dev" && (names.length === 1 || (names.length === 2 && names[1] === "pts"));
  return isHosts ? undefined : { kind: "virtual", node, path: at };
}

/** Does the host's answer show that a symbolic link led into the host's own /proc or /sys? */
export function isHidden(process: Process, stat: FileStat): boolean {
  return process.files.hiddenDevices.has(stat.dev);
}

/**
 * Follows a host path name by name until it enters one of our trees (a link such as /etc/mtab → ../proc/self/mounts).
 * @throws SyscallError ENOENT if it does not
 */
export function redirect(process: Process, path: string, follow: boolean): Place {
  let names = normalize(path);
  let links = 0;
  for (let i = 1; i <= names.length; i++) {
    if (ROOTS.has(names[0]) && names[0] !== "dev") return resolve(process, AT_FDCWD, `/${names.join("/")}`, follow);
    const at = `/${names.slice(0, i).join("/")}`;
    let target: string;
    try {
      target = process.host.files.readLink(at);
    } catch {
      continue;
    }
    if (++links > MAXSYMLINKS) throw new SyscallError("ELOOP");
    const parent = `/${names.slice(0, i - 1).join("/")}`;
    names = normalize([target.startsWith("/") ? target : `${parent}/${target}`, ...names.slice(i)].join("/"));
    i = 0;
  }
  throw new SyscallError("ENOENT");
}

/** The host path of something to be created, changed or removed. @throws SyscallError EPERM in our own trees */
export function hostPath(process: Process, dirfd: number, path: string, follow: boolean): string {
  const place = resolve(process, dirfd, path, follow);
  if (place.kind === "virtual") throw new SyscallError("EPERM");
  return place.path;
}
