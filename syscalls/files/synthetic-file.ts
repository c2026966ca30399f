import type { FileStat } from "../abi/stat.ts";
import { FileDescription } from "./description.ts";
import { seekTo } from "./host-file.ts";
import type { IoVector } from "./io-vector.ts";

/**
 * A file whose contents are made when it is read. A read from the start makes them anew, reads further on see the same
 * state (Linux: fs/seq_file.c).
 */
export class SyntheticFile extends FileDescription {
  readonly path: string;
  readonly #stat: () => FileStat;
  readonly #make: () => Uint8Array;
  #content: Uint8Array | undefined;

  constructor(path: string, flags: number, stat: () => FileStat, make: () => Uint8Array) {
    super(flags);
    this.path = path;
    this.#stat = stat;
    this.#make = make;
  }

  override get seekable(): boolean {
    return true;
  }

  override get pollable(): boolean {
    return false;
  }

  override stat(): FileStat {
    return this.#stat();
  }

  override readAt(to: IoVector, position: number): number {
    if (position === 0 || this.#content === undefined) this.#content = this.#make();
    if (position >= this.#content.length || to.remaining === 0) return 0;
    const count = to.put(this.#content.subarray(position));
    return count === 0 ? to.fault() : count;
  }

  override read(to: IoVector): number {
    const count = this.readAt(to, this.offset);
    this.offset += count;
    return count;
  }

  override seek(offset: number, whence: number): number {
    this.offset = seekTo(offset, whence, this.offset, this.stat().size);
    return this.offset;
  }
}
