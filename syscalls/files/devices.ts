import type { Host } from "../../host/host.ts";
import type { Inheritance } from "../../host/processes.ts";
import { SyscallError } from "../abi/errno.ts";
import { O_ACCMODE } from "../abi/fcntl.ts";
import type { FileStat } from "../abi/stat.ts";
import { FileDescription } from "./description.ts";
import type { IoVector } from "./io-vector.ts";

/** Bytes that a device makes at a time. */
const CHUNK = 0x1_0000;

/** How the memory devices differ (Linux: drivers/char/mem.c, devlist; drivers/char/random.c). */
export interface DeviceBehaviour {
  /** Fills the buffer; undefined where a read finds the end of the file. */
  readonly fill: ((bytes: Uint8Array) => void) | undefined;
  /** Does a write fail with ENOSPC (/dev/full)? */
  readonly full: boolean;
}

export const NULL: DeviceBehaviour = { fill: undefined, full: false };
export const ZERO: DeviceBehaviour = { fill: (bytes) => bytes.fill(0), full: false };
export const FULL: DeviceBehaviour = { fill: (bytes) => bytes.fill(0), full: true };
export const random = (host: Host): DeviceBehaviour => ({ fill: (bytes) => host.randomBytes(bytes), full: false });

/** /dev/null, /dev/zero, /dev/full, /dev/random and /dev/urandom. */
export class CharacterDevice extends FileDescription {
  readonly path: string;
  readonly #stat: () => FileStat;
  readonly #behaviour: DeviceBehaviour;

  constructor(path: string, flags: number, stat: () => FileStat, behaviour: DeviceBehaviour) {
    super(flags);
    this.path = path;
    this.#stat = stat;
    this.#behaviour = behaviour;
  }

  override inherit(): Inheritance {
    return { kind: "open", path: this.path, flags: this.flags & O_ACCMODE };
  }

  override get seekable(): boolean {
    return true;
  }

  /** The random devices have a poll operation, the others do not and cannot be watched (fs/eventpoll.c, EPERM). */
  override get pollable(): boolean {
    return this.path.endsWith("random");
  }

  override stat(): FileStat {
    return this.#stat();
  }

  override read(to: IoVector): number {
    const { fill } = this.#behaviour;
    if (fill === undefined) return 0;
    const before = to.done;
    while (to.remaining > 0) {
      const bytes = new Uint8Array(Math.min(to.remaining, CHUNK));
      fill(bytes);
      if (to.put(bytes) < bytes.length) break;
    }
    if (to.done === before && to.remaining > 0) to.fault();
    return to.done - before;
  }

  override readAt(to: IoVector, _position: number): number {
    return this.read(to);
  }

  override write(from: IoVector): number {
    if (this.#behaviour.full) throw new SyscallError("ENOSPC");
    // Nothing is looked at, so a bad pointer does no harm (drivers/char/mem.c, write_null).
    const count = from.remaining;
    from.advance(count);
    return count;
  }

  override writeAt(from: IoVector, _position: number): number {
    return this.write(from);
  }

  /** The memory devices ignore the offset (drivers/char/mem.c, null_lseek). */
  override seek(_offset: number, _whence: number): number {
    return 0;
  }
}
