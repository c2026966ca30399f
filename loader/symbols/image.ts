import { ByteReader, hex } from "../bytes.ts";
import { readDynamic, readRelocations } from "../dynamic.ts";
import type { Executable, ProgramHeader, Relocation } from "../elf.ts";
import { LoadError, SymbolError } from "../errors.ts";
import { relocatedSegment, sortRelocations } from "../relocate.ts";

export function symbolFailure(message: string): SymbolError {
  return new SymbolError(message);
}

/** A place in the image: `reader` reads from the segment that holds it, `offset` is where in it. */
export interface Place {
  readonly reader: ByteReader;
  readonly offset: number;
}

/**
 * The initial memory of an executable by linked address, relocated for bias 0, so that pointers in it are linked
 * addresses also where the file itself holds zeros for the relocations to fill in. Segments are made when asked for.
 */
export class ProgramImage {
  readonly executable: Executable;
  readonly #readers = new Map<ProgramHeader, ByteReader>();
  #relocations: readonly Relocation[] | undefined;

  constructor(executable: Executable) {
    this.executable = executable;
  }

  get segments(): readonly ProgramHeader[] {
    return this.executable.segments;
  }

  /** The segment whose file bytes hold `address`. */
  segmentAt(address: number): ProgramHeader | undefined {
    return this.segments.find(({ vaddr, fileSize }) => address >= vaddr && address < vaddr + fileSize);
  }

  /** The bytes of a segment that the file holds. */
  reader(segment: ProgramHeader): ByteReader {
    let reader = this.#readers.get(segment);
    if (reader === undefined) {
      const { file } = this.executable;
      const bytes = relocatedSegment(file, segment, this.#relocationList(), 0);
      const what = `segment at ${hex(segment.vaddr)}`;
      reader =
        bytes === undefined
          ? file.reader(segment.offset, segment.offset + segment.fileSize, what, symbolFailure)
          : new ByteReader(bytes, what, symbolFailure);
      this.#readers.set(segment, reader);
    }
    return reader;
  }

  /** Throws SymbolError when no segment's file bytes hold `address`. */
  place(address: number): Place {
    const segment = this.segmentAt(address);
    if (segment === undefined) {
      throw symbolFailure(`nothing of the file is mapped at ${hex(address)}`);
    }
    return { reader: this.reader(segment), offset: address - segment.vaddr };
  }

  bytesAt(address: number, size: number): Uint8Array {
    const { reader, offset } = this.place(address);
    return reader.slice(offset, size);
  }

  /** The bytes of the Go string whose header (pointer and length) is at `address`; none for one in zeroed memory. */
  goStringAt(address: number): Uint8Array {
    const isZeroed = ({ vaddr, fileSize, memSize }: ProgramHeader) =>
      address >= vaddr + fileSize && address < vaddr + memSize;
    if (this.segments.some(isZeroed)) {
      return new Uint8Array(0);
    }
    const { reader, offset } = this.place(address);
    const data = reader.u64(offset);
    const size = reader.u64(offset + 8);
    return size === 0 ? new Uint8Array(0) : this.bytesAt(data, size);
  }

  #relocationList(): readonly Relocation[] {
    this.#relocations ??= sortRelocations(this.#readRelocations());
    return this.#relocations;
  }

  #readRelocations(): readonly Relocation[] {
    const { relocations, isStaticPie, needsInterpreter, file: bytes, programHeaders } = this.executable;
    if (relocations.length > 0 || !(isStaticPie || needsInterpreter)) {
      return relocations;
    }
    // Who applies them is the program itself or its interpreter; the pointers among them are needed to read its tables.
    try {
      const dynamic = readDynamic(bytes, programHeaders);
      return dynamic === undefined ? [] : readRelocations(bytes, programHeaders, dynamic, () => {});
    } catch (error) {
      throw error instanceof LoadError ? symbolFailure(error.message) : error;
    }
  }
}

/** Offsets of `pattern` in `bytes`, in order. */
export function* occurrences(bytes: Uint8Array, pattern: Uint8Array): Generator<number> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = buffer.indexOf(pattern); at >= 0; at = buffer.indexOf(pattern, at + 1)) {
    yield at;
  }
}

/** `value` as the 8 bytes of a little-endian word. */
export function wordBytes(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}
