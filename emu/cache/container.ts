import { checksum } from "./checksum.ts";

/**
 * Sections as one file: a fixed head (magic, format, checksum and length of the index), the index as text, with a
 * checksum for each section, then the sections one behind the other. So a reader takes what it needs, and no more.
 */
const MAGIC = 0x63_6d_65_67; // "gemc"
const FORMAT = 2;
const HEAD = { magic: 0, format: 4, checksum: 8, index: 16, bytes: 32 } as const;

interface Entry {
  readonly name: string;
  /** From the end of the index, so that it does not change the index's length. */
  readonly offset: number;
  readonly length: number;
  /** In hexadecimal. */
  readonly checksum: string;
}

interface Index {
  readonly identity: string;
  readonly sections: readonly Entry[];
}

/** Reads `length` bytes of a file from `offset` on, into a buffer of their own; undefined where it is shorter. */
export type ReadPiece = (offset: number, length: number) => Uint8Array | undefined;

/**
 * A file with these sections, in pieces to be written one behind the other.
 * @param identity what the reader has to expect (`identityOf`)
 */
export function encodeSections(identity: string, sections: ReadonlyMap<string, Uint8Array>): Uint8Array[] {
  let end = 0;
  const entries: Entry[] = [];
  for (const [name, bytes] of sections) {
    entries.push({ name, offset: end, length: bytes.length, checksum: checksum(bytes).toString(16) });
    end += bytes.length;
  }
  const index = new TextEncoder().encode(JSON.stringify({ identity, sections: entries } satisfies Index));
  const head = new Uint8Array(HEAD.bytes + index.length);
  head.set(index, HEAD.bytes);
  const view = new DataView(head.buffer);
  view.setUint32(HEAD.magic, MAGIC, true);
  view.setUint32(HEAD.format, FORMAT, true);
  view.setUint32(HEAD.index, index.length, true);
  view.setBigUint64(HEAD.checksum, checksum(head.subarray(HEAD.index)), true);
  return [head, ...sections.values()];
}

/** The sections of a file, each read when it is asked for. The bytes are not trusted before their checksum is right. */
export class SectionReader {
  readonly #read: ReadPiece;
  readonly #base: number;
  readonly #entries: ReadonlyMap<string, Entry>;
  #isDamaged = false;

  private constructor(read: ReadPiece, base: number, entries: readonly Entry[]) {
    this.#read = read;
    this.#base = base;
    this.#entries = new Map(entries.map((entry) => [entry.name, entry]));
  }

  /** @returns undefined where the file is damaged, of another format or length, or has another identity */
  static open(read: ReadPiece, size: number, identity: string): SectionReader | undefined {
    const head = read(0, HEAD.bytes);
    if (head === undefined) return undefined;
    const view = new DataView(head.buffer, head.byteOffset, head.length);
    if (view.getUint32(HEAD.magic, true) !== MAGIC || view.getUint32(HEAD.format, true) !== FORMAT) return undefined;
    const base = HEAD.bytes + view.getUint32(HEAD.index, true);
    const summed = base > size ? undefined : read(HEAD.index, base - HEAD.index);
    if (summed === undefined) return undefined;
    if (view.getBigUint64(HEAD.checksum, true) !== checksum(summed)) return undefined;
    const index = parseIndex(summed.subarray(HEAD.bytes - HEAD.index));
    if (index?.identity !== identity) return undefined;
    const { sections } = index;
    if (size !== base + sections.reduce((sum, { length }) => sum + length, 0)) return undefined;
    return new SectionReader(read, base, sections);
  }

  get names(): readonly string[] {
    return [...this.#entries.keys()];
  }

  /** Bytes of all sections. */
  get size(): number {
    return [...this.#entries.values()].reduce((sum, { length }) => sum + length, 0);
  }

  /** Was a section found to be damaged? Then there are none any more: what depends on it must not go without it. */
  get isDamaged(): boolean {
    return this.#isDamaged;
  }

  /** A section as it was put; undefined if there is none. */
  section(name: string): Uint8Array | undefined {
    const entry = this.#entries.get(name);
    if (entry === undefined || this.#isDamaged) return undefined;
    const bytes = this.#read(this.#base + entry.offset, entry.length);
    if (bytes !== undefined && checksum(bytes).toString(16) === entry.checksum) return bytes;
    this.#isDamaged = true;
    return undefined;
  }
}

function parseIndex(bytes: Uint8Array): Index | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as Index;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
