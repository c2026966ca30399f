import { SyscallError } from "../abi/errno.ts";
import { O_APPEND, O_RDWR } from "../abi/fcntl.ts";
import { type FileStat, S_IFREG } from "../abi/stat.ts";
import { anonymousStat } from "./anonymous.ts";
import { FileDescription, type Mappable } from "./description.ts";
import { seekTo } from "./host-file.ts";
import type { IoVector } from "./io-vector.ts";
import type { SharedFiles } from "./shared-files.ts";

/** Seals of memfd_create(2) (include/uapi/linux/fcntl.h). */
export const F_SEAL_SEAL = 1;
export const F_SEAL_SHRINK = 2;
export const F_SEAL_GROW = 4;
export const F_SEAL_WRITE = 8;
const F_SEAL_ALL = 0x3f;

/** Most bytes of one file in memory: a guest must not exhaust the host. */
const MAX_SIZE = 0x4000_0000;

/** The bytes of a file in memory; they grow by doubling. */
export class MemoryBytes {
  #bytes: Uint8Array = new Uint8Array(0);
  size = 0;

  /** @throws SyscallError EFBIG */
  resize(size: number): void {
    if (size > MAX_SIZE) throw new SyscallError("EFBIG");
    if (size > this.#bytes.length) {
      const grown = new Uint8Array(Math.min(MAX_SIZE, Math.max(size, this.#bytes.length * 2, 4096)));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    if (size < this.size) this.#bytes.fill(0, size, this.size);
    this.size = size;
  }

  /** A view of [start, end) as far as the file goes. */
  view(start: number, end: number): Uint8Array {
    return this.#bytes.subarray(Math.min(start, this.size), Math.min(end, this.size));
  }

  write(bytes: Uint8Array, position: number): void {
    if (position + bytes.length > this.size) this.resize(position + bytes.length);
    this.#bytes.set(bytes, position);
  }
}

/** An anonymous file in memory (memfd_create(2)). */
export class MemoryFile extends FileDescription {
  readonly #name: string;
  readonly #id: bigint;
  readonly #bytes: MemoryBytes;
  readonly #state: { seals: number };
  readonly #mapped: SharedFiles;

  /** @param mapped the files that are mapped shared, which this may be one of */
  constructor(
    name: string,
    id: bigint,
    seals: number,
    mapped: SharedFiles,
    flags = O_RDWR,
    bytes = new MemoryBytes(),
    state = { seals },
  ) {
    super(flags);
    this.#mapped = mapped;
    this.#name = name;
    this.#id = id;
    this.#bytes = bytes;
    this.#state = state;
  }

  override get path(): string {
    return `/memfd:${this.#name} (deleted)`;
  }

  get seals(): number {
    return this.#state.seals;
  }

  addSeals(seals: number): number {
    if (!this.writable || this.seals & F_SEAL_SEAL) throw new SyscallError("EPERM");
    if (seals & ~F_SEAL_ALL) throw new SyscallError("EINVAL");
    this.#state.seals |= seals;
    return 0;
  }

  override get seekable(): boolean {
    return true;
  }

  override get pollable(): boolean {
    return false;
  }

  override stat(): FileStat {
    return anonymousStat(this.#id, S_IFREG | 0o777, this.#bytes.size);
  }

  override reopen(flags: number): FileDescription {
    return new MemoryFile(this.#name, this.#id, 0, this.#mapped, flags, this.#bytes, this.#state);
  }

  override readAt(to: IoVector, position: number): number {
    if (position >= this.#bytes.size || to.remaining === 0) return 0;
    this.#mapped.settle(this.#bytes, position, position + to.remaining);
    const count = to.put(this.#bytes.view(position, position + to.remaining));
    return count === 0 ? to.fault() : count;
  }

  override read(to: IoVector): number {
    const count = this.readAt(to, this.offset);
    this.offset += count;
    return count;
  }

  override writeAt(from: IoVector, position: number): number {
    if (from.remaining === 0) return 0;
    if (this.seals & F_SEAL_WRITE) throw new SyscallError("EPERM");
    const start = this.flags & O_APPEND ? this.#bytes.size : position;
    if (this.seals & F_SEAL_GROW && start + from.remaining > this.#bytes.size) throw new SyscallError("EPERM");
    let at = start;
    for (const view of from.views()) {
      this.#bytes.write(view, at);
      at += view.length;
    }
    from.advance(at - start);
    this.#mapped.written(this.#bytes, start, at);
    return at === start ? from.fault() : at - start;
  }

  override write(from: IoVector): number {
    if (this.flags & O_APPEND) this.offset = this.#bytes.size;
    const count = this.writeAt(from, this.offset);
    this.offset += count;
    return count;
  }

  override seek(offset: number, whence: number): number {
    this.offset = seekTo(offset, whence, this.offset, this.#bytes.size);
    return this.offset;
  }

  override truncate(size: number): void {
    if (this.seals & F_SEAL_SHRINK && size < this.#bytes.size) throw new SyscallError("EPERM");
    if (this.seals & F_SEAL_GROW && size > this.#bytes.size) throw new SyscallError("EPERM");
    this.#bytes.resize(size);
    this.#mapped.resized(this.#bytes, size);
  }

  override sync(): void {}

  override get mappable(): Mappable {
    return {
      path: this.path,
      identity: this.#bytes,
      stat: () => this.stat(),
      readAt: (into, position) => {
        const view = this.#bytes.view(position, position + into.length);
        into.set(view);
        return view.length;
      },
      writeAt: (from, position) => {
        this.#bytes.write(from, position);
        return from.length;
      },
    };
  }
}
