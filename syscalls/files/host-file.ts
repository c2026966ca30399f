import type { HostFile } from "../../host/host.ts";
import type { Inheritance } from "../../host/processes.ts";
import { SyscallError } from "../abi/errno.ts";
import { O_APPEND, SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET } from "../abi/fcntl.ts";
import type { FileStat } from "../abi/stat.ts";
import { FileDescription, type Mappable } from "./description.ts";
import type { IoVector } from "./io-vector.ts";
import { type FileIdentity, identityOf, type SharedFiles } from "./shared-files.ts";

/** Largest offset that files may have on Linux; sums with a length stay exact enough to compare. */
export const MAX_OFFSET = 2 ** 63;

/** The result of lseek on something that has `size` bytes and stands at `current` (fs/read_write.c, generic_file_llseek). */
export function seekTo(offset: number, whence: number, current: number, size: number): number {
  let target: number;
  switch (whence) {
    case SEEK_SET:
      target = offset;
      break;
    case SEEK_CUR:
      target = current + offset;
      break;
    case SEEK_END:
      target = size + offset;
      break;
    case SEEK_DATA:
      // The whole file is data, with one hole at its end: always a right answer (lseek(2)).
      if (offset < 0 || offset >= size) throw new SyscallError("ENXIO");
      return offset;
    case SEEK_HOLE:
      if (offset < 0 || offset >= size) throw new SyscallError("ENXIO");
      return size;
    default:
      throw new SyscallError("EINVAL");
  }
  if (target < 0 || target >= MAX_OFFSET) throw new SyscallError("EINVAL");
  return target;
}

/** A regular file of the host. */
export class HostFileDescription extends FileDescription {
  readonly #host: HostFile;
  readonly #openedAs: string;
  /** The host keeps the offset (a standard stream shared with other processes) until the guest seeks. */
  #hostKeepsOffset: boolean;
  readonly #mapped: SharedFiles | undefined;
  #identity: FileIdentity | undefined;
  /** Another process has the same description: its reads and writes move the offset too. */
  #shared = false;

  /** @param mapped the files that are mapped shared, which this may be one of */
  constructor(host: HostFile, flags: number, openedAs: string, mapped?: SharedFiles) {
    super(flags);
    this.#mapped = mapped;
    this.#host = host;
    this.#openedAs = openedAs;
    this.#hostKeepsOffset = host.inheritedOffset !== undefined;
    this.offset = host.inheritedOffset ?? 0;
  }

  override get host(): HostFile {
    return this.#host;
  }

  override get path(): string {
    try {
      return this.#host.path();
    } catch {
      return `${this.#openedAs} (deleted)`;
    }
  }

  override get pollable(): boolean {
    return false;
  }

  /** The child's descriptor shares its offset with this one, which is then the host's. */
  override inherit(): Inheritance | undefined {
    const host = this.#host;
    if (host.descriptor === undefined) return undefined;
    this.#follow();
    if (!this.#hostKeepsOffset && host.moveTo?.(this.offset)) this.#hostKeepsOffset = true;
    this.#shared = this.#hostKeepsOffset;
    return { kind: "host", descriptor: host.descriptor };
  }

  /** Takes over where another process has left the offset. */
  #follow(): void {
    if (this.#shared && this.#hostKeepsOffset) this.offset = this.#host.currentOffset?.() ?? this.offset;
  }

  override get seekable(): boolean {
    return true;
  }

  override get mappable(): Mappable {
    const host = this.#host;
    return {
      path: this.path,
      identity: this.#file,
      stat: () => host.stat(),
      readAt: (into, position) => host.read(into, position),
      writeAt: (from, position) => host.write(from, position),
    };
  }

  get #file(): FileIdentity {
    this.#identity ??= identityOf(this.#host.stat());
    return this.#identity;
  }

  override stat(): FileStat {
    return this.#host.stat();
  }

  /** What was stored to mappings of [from, from + length) is to be in the file. @param from null for wherever it stands */
  #settle(from: number | null, length: number): void {
    if (this.#mapped === undefined || this.#mapped.isEmpty) return;
    if (from === null) this.#mapped.settle(this.#file, 0, Number.MAX_SAFE_INTEGER);
    else this.#mapped.settle(this.#file, from, from + length);
  }

  /** `count` bytes were written. @param from as for #settle */
  #written(from: number | null, count: number): void {
    if (this.#mapped === undefined || this.#mapped.isEmpty || count <= 0) return;
    if (from === null) this.#mapped.written(this.#file, 0, Number.MAX_SAFE_INTEGER);
    else this.#mapped.written(this.#file, from, from + count);
  }

  #transferIn(to: IoVector, position: number | null, start: number): number {
    this.#settle(position, to.remaining);
    const place = to.place();
    if (place >= 0) {
      const count = this.#host.read(to.bytes, position, place, to.remaining);
      to.advance(count);
      return count;
    }
    const before = to.done;
    for (const view of to.views()) {
      const at = position === null ? null : position + (to.done - before);
      const count = this.#host.read(view, at);
      to.advance(count);
      if (count < view.length) break;
    }
    const count = to.done - before;
    // A bad pointer counts only if there was something to copy (mm/filemap.c, filemap_read).
    if (count === 0 && to.remaining > 0 && to.views().length === 0 && start < this.stat().size) to.fault();
    return count;
  }

  override read(to: IoVector): number {
    this.#follow();
    const count = this.#transferIn(to, this.#hostKeepsOffset ? null : this.offset, this.offset);
    this.offset += count;
    return count;
  }

  override readAt(to: IoVector, position: number): number {
    return this.#transferIn(to, position, position);
  }

  #transferOut(from: IoVector, position: number | null): number {
    const count = this.#transfer(from, position);
    this.#written(position, count);
    return count;
  }

  #transfer(from: IoVector, position: number | null): number {
    const place = from.place();
    if (place >= 0) {
      const count = this.#host.write(from.bytes, position, place, from.remaining);
      from.advance(count);
      return count;
    }
    let views = from.views();
    if (views.length === 0 && from.remaining > 0) from.fault();
    if (views.length > 1 && position === null) {
      // Appending is atomic: one write for all pieces.
      const { done } = from;
      views = [from.take(from.remaining)];
      from.done = done;
    }
    const before = from.done;
    for (const view of views) {
      const at = position === null ? null : position + (from.done - before);
      const count = this.#host.write(view, at);
      from.advance(count);
      if (count < view.length) break;
    }
    return from.done - before;
  }

  override write(from: IoVector): number {
    this.#follow();
    const appending = (this.flags & O_APPEND) !== 0;
    const count = this.#transferOut(from, appending || this.#hostKeepsOffset ? null : this.offset);
    if (appending && count > 0) this.offset = this.stat().size;
    else this.offset += count;
    return count;
  }

  /** pwrite on a file opened with O_APPEND appends, on Linux (pwrite(2), BUGS). */
  override writeAt(from: IoVector, position: number): number {
    return this.#transferOut(from, this.flags & O_APPEND ? null : position);
  }

  /** Where it stands on the host, which other descriptors and processes may have moved. */
  override get position(): number {
    if (this.#hostKeepsOffset) this.offset = this.#host.currentOffset?.() ?? this.offset;
    return this.offset;
  }

  override seek(offset: number, whence: number): number {
    const size = whence === SEEK_SET || whence === SEEK_CUR ? 0 : this.stat().size;
    const target = seekTo(offset, whence, this.position, size);
    this.moveTo(target);
    return target;
  }

  /** Others that have the description see it, too: a shell goes on behind the line that `head -n 1` has gone back to. */
  override moveTo(offset: number): void {
    if (offset !== this.offset && this.#hostKeepsOffset) this.#hostKeepsOffset = this.#host.moveTo?.(offset) ?? false;
    this.offset = offset;
  }

  override truncate(size: number): void {
    this.#host.truncate(size);
    if (this.#mapped?.isEmpty === false) this.#mapped.resized(this.#file, size);
  }

  override sync(dataOnly: boolean): void {
    this.#host.sync(dataOnly);
  }

  override setStatus(flags: number): void {
    if ((flags ^ this.flags) & O_APPEND) this.#host.setAppend((flags & O_APPEND) !== 0);
    this.flags = flags;
  }

  protected override destroy(): void {
    this.#host.close();
  }
}
