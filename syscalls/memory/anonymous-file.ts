import { O_RDWR } from "../abi/fcntl.ts";
import { type FileStat, S_IFREG } from "../abi/stat.ts";
import { anonymousStat } from "../files/anonymous.ts";
import { FileDescription, type Mappable } from "../files/description.ts";

/** Bytes that are kept together. */
const CHUNK = 0x1_0000;

/**
 * What is behind memory that is mapped MAP_SHARED and MAP_ANONYMOUS, for the processes that will have it by fork(2)
 * (Linux: mm/shmem.c, shmem_zero_setup()). Only chunks that were stored to take memory.
 */
export class AnonymousFile extends FileDescription {
  readonly outlives: boolean;
  readonly #size: number;
  readonly #chunks = new Map<number, Uint8Array>();

  /** @param outlives its bytes are kept when nobody maps it any more (shmget(2)) */
  constructor(size: number, outlives = false) {
    super(O_RDWR);
    this.outlives = outlives;
    this.#size = size;
  }

  override get path(): string {
    return "/dev/zero (deleted)";
  }

  override stat(): FileStat {
    return anonymousStat(0n, S_IFREG | 0o777, this.#size);
  }

  override get mappable(): Mappable {
    return {
      path: this.path,
      identity: this,
      stat: () => this.stat(),
      readAt: (into, position) => this.#read(into, position),
      writeAt: (from, position) => this.#write(from, position),
    };
  }

  /** Bytes that nobody has stored to are zero. */
  #read(into: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(into.length, this.#size - position));
    this.#eachPart(position, count, (index, from, length, done) => {
      const chunk = this.#chunks.get(index);
      if (chunk === undefined) into.fill(0, done, done + length);
      else into.set(chunk.subarray(from, from + length), done);
    });
    return count;
  }

  #write(bytes: Uint8Array, position: number): number {
    this.#eachPart(position, bytes.length, (index, from, length, done) => {
      let chunk = this.#chunks.get(index);
      if (chunk === undefined) {
        chunk = new Uint8Array(CHUNK);
        this.#chunks.set(index, chunk);
      }
      chunk.set(bytes.subarray(done, done + length), from);
    });
    return bytes.length;
  }

  #eachPart(
    position: number,
    count: number,
    visit: (index: number, from: number, length: number, done: number) => void,
  ): void {
    for (let done = 0; done < count; ) {
      const from = (position + done) % CHUNK;
      const length = Math.min(CHUNK - from, count - done);
      visit(Math.floor((position + done) / CHUNK), from, length, done);
      done += length;
    }
  }
}
