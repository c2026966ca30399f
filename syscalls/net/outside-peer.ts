import type { HostFileSystem } from "../../host/host.ts";
import type { Credentials } from "./socket.ts";

/** Permissions of a group and of others: to write to a socket is to connect to it; to search a directory is to find it. */
const OTHERS_WRITE = 0o022;
const OTHERS_SEARCH = 0o011;

/** Credentials of nobody, for who can't be told (net/core/sock.c, cred_to_ucred without a peer). */
export const NO_CREDENTIALS: Credentials = { pid: 0, uid: 0xffff_ffff, gid: 0xffff_ffff };

/**
 * Who is at the other end of a connection that came from the host to a socket's file. The host does not tell. But where the
 * permissions of the file, or of a directory on the way to it, let nobody but the user in, it is the user (unix(7), "Pathname
 * socket ownership and permissions"), as processes of another PID namespace appear: without a number.
 * @param path absolute
 */
export function whoConnects(
  files: HostFileSystem,
  path: string,
  user: { readonly euid: number; readonly gid: number },
): Credentials {
  const isPrivate = (at: string, mask: number): boolean => {
    const { mode, uid } = files.stat(at, true);
    return uid === user.euid && (mode & mask) === 0;
  };
  try {
    let found = isPrivate(path, OTHERS_WRITE);
    for (let at = path; !found && at !== ""; ) {
      at = at.slice(0, at.lastIndexOf("/"));
      found = isPrivate(at || "/", OTHERS_SEARCH);
    }
    return found ? { pid: 0, uid: user.euid, gid: user.gid } : NO_CREDENTIALS;
  } catch {
    return NO_CREDENTIALS;
  }
}

/** Whom a socket's file of the host belongs to: who listens there has made it. */
export function whoListens(files: HostFileSystem, path: string): Credentials {
  try {
    const { uid, gid } = files.stat(path, true);
    return { pid: 0, uid, gid };
  } catch {
    return NO_CREDENTIALS;
  }
}
