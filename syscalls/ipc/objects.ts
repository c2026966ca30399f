import { CAP } from "../abi/capabilities.ts";
import { SyscallError } from "../abi/errno.ts";
import type { LinuxProcess } from "../linux-process.ts";

/** Keys, flags and commands that all kinds have (include/uapi/linux/ipc.h). */
export const IPC = {
  PRIVATE: 0,
  CREAT: 0o1000,
  EXCL: 0o2000,
  NOWAIT: 0o4000,
  RMID: 0,
  SET: 1,
  STAT: 2,
  INFO: 3,
} as const;
const RWX = 0o777;
export const PERM_READ = 0o4;
export const PERM_WRITE = 0o2;
/** Numbers of one place in the table are so far apart, so that a number does not come again soon (ipc/util.h, IPCMNI). */
const PLACES = 32_768;

/** What objects of System V have in common (svipc(7); Linux: struct kern_ipc_perm). */
export interface IpcObject {
  readonly id: number;
  key: number;
  readonly creator: { readonly uid: number; readonly gid: number };
  uid: number;
  gid: number;
  mode: number;
  /** Seconds since 1970 of the last change. */
  changed: bigint;
  isRemoved: boolean;
}

/** The seconds since 1970 that objects note. */
export const secondsNow = (process: LinuxProcess): bigint => process.clock.realtimeNs() / 1_000_000_000n;

/** May a process have so much of an object (ipc/util.c, ipcperms)? @param wanted PERM_READ, PERM_WRITE, or both */
export function mayUse({ credentials }: LinuxProcess, object: IpcObject, wanted: number): boolean {
  const { user, group, groups } = credentials;
  let granted = object.mode & 7;
  if (user.effective === object.uid || user.effective === object.creator.uid) granted = (object.mode >> 6) & 7;
  else {
    const ids = [object.gid, object.creator.gid];
    if (ids.some((id) => id === group.effective || groups.includes(id))) granted = (object.mode >> 3) & 7;
  }
  return (wanted & ~granted) === 0 || credentials.has(CAP.IPC_OWNER);
}

/** @throws SyscallError EPERM for who has neither made it nor owns it (ipc/util.c, ipcctl_obtain_check) */
export function requireOwner({ credentials }: LinuxProcess, object: IpcObject): void {
  const { effective } = credentials.user;
  if (effective === object.uid || effective === object.creator.uid || credentials.has(CAP.SYS_ADMIN)) return;
  throw new SyscallError("EPERM");
}

/** The objects of one kind, by number and by key. */
export class IpcTable<T extends IpcObject> {
  readonly #objects = new Map<number, T>();
  #sequence = 0;
  readonly #most: number;

  /** @param most how many there may be (ENOSPC) */
  constructor(most: number) {
    this.#most = most;
  }

  get all(): Iterable<T> {
    return this.#objects.values();
  }

  get size(): number {
    return this.#objects.size;
  }

  /**
   * shmget(2), semget(2), msgget(2): the object with a key, or a new one.
   * @param fits may an object that is there be what was asked for? @throws SyscallError
   * @throws SyscallError ENOENT, EEXIST, EACCES, ENOSPC
   */
  get(process: LinuxProcess, key: number, flags: number, fits: (object: T) => void, make: (base: IpcObject) => T): T {
    const found = key === IPC.PRIVATE ? undefined : this.#byKey(key);
    if (found !== undefined) {
      if ((flags & (IPC.CREAT | IPC.EXCL)) === (IPC.CREAT | IPC.EXCL)) throw new SyscallError("EEXIST");
      fits(found);
      const wanted = ((flags >> 6) | (flags >> 3) | flags) & 7;
      if (!mayUse(process, found, wanted)) throw new SyscallError("EACCES");
      return found;
    }
    if (key !== IPC.PRIVATE && !(flags & IPC.CREAT)) throw new SyscallError("ENOENT");
    if (this.#objects.size >= this.#most) throw new SyscallError("ENOSPC");
    const { euid: uid, egid: gid } = process;
    const base = { key, creator: { uid, gid }, uid, gid, mode: flags & RWX, changed: secondsNow(process) };
    const object = make({ ...base, id: this.#newId(), isRemoved: false });
    this.#objects.set(object.id, object);
    return object;
  }

  #newId(): number {
    for (let place = 0; ; place++) {
      const taken = [...this.#objects.keys()].some((id) => id % PLACES === place);
      if (!taken) return ((this.#sequence++ % (0x7fff_ffff / PLACES)) | 0) * PLACES + place;
    }
  }

  #byKey(key: number): T | undefined {
    for (const object of this.#objects.values()) if (object.key === key && !object.isRemoved) return object;
    return undefined;
  }

  /** @throws SyscallError EINVAL for a number that there is not, EIDRM for one that is not any more */
  find(id: number): T {
    const object = this.#objects.get(id);
    if (id < 0 || object === undefined) throw new SyscallError("EINVAL");
    if (object.isRemoved) throw new SyscallError("EIDRM");
    return object;
  }

  /** As find, with what the caller wants of it. @throws SyscallError EACCES */
  use(process: LinuxProcess, id: number, wanted: number): T {
    const object = this.find(id);
    if (!mayUse(process, object, wanted)) throw new SyscallError("EACCES");
    return object;
  }

  remove(object: T): void {
    this.#objects.delete(object.id);
    object.isRemoved = true;
  }
}

/** Bytes of struct ipc64_perm (include/uapi/asm-generic/ipcbuf.h). */
export const PERM_SIZE = 48;

/** Writes a struct ipc64_perm to the start of `view`. @param extra bits of the mode that the kind adds */
export function writePerm(view: DataView, object: IpcObject, extra = 0): void {
  view.setInt32(0, object.key, true);
  view.setUint32(4, object.uid, true);
  view.setUint32(8, object.gid, true);
  view.setUint32(12, object.creator.uid, true);
  view.setUint32(16, object.creator.gid, true);
  view.setUint32(20, object.mode | extra, true);
  view.setUint16(24, Math.floor(object.id / PLACES), true);
}

/** IPC_SET: takes owner and mode from a struct ipc64_perm. */
export function setPerm(process: LinuxProcess, object: IpcObject, address: number): void {
  requireOwner(process, object);
  object.uid = process.memory.readU32(address + 4);
  object.gid = process.memory.readU32(address + 8);
  object.mode = process.memory.readU32(address + 20) & RWX;
  object.changed = secondsNow(process);
}
