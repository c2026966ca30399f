import { Checksum } from "./checksum.ts";

/**
 * Sections as one file: a fixed head (magic, format, checksum of all that follows, length of the index), the index as
 * text, then the sections, each at a multiple of 64 bytes.
 */
const MAGIC = 0x63_6d_65_67; // "gemc"
const FORMAT = 1;
const HEAD = { magic: 0, format: 4, checksum: 8, index: 16, bytes: 32 } as const;
const ALIGNMENT = 64;

interface Index {
  readonly identity: string;
  readonly sections: readonly { readonly name: string; readonly offset: number; readonly length: number }[];
}

const align = (value: number): number => Math.ceil(value / ALIGNMENT) * ALIGNMENT;

/** The bytes of a file with these sections. @param identity what the reader has to expect (`identityOf`) */
export function encodeSections(identity: string, sections: ReadonlyMap<string, Uint8Array>): Uint8Array {
  // Offsets count from the end of the index, so that they do not change its length.
  let end = 0;
  const entries: { name: string; offset: number; length: number }[] = [];
  for (const [name, { length }] of sections) {
    entries.push({ name, offset: end, length });
    end = align(end + length);
  }
  const index = new TextEncoder().encode(JSON.stringify({ identity, sections: entries } satisfies Index));
  const base = align(HEAD.bytes + index.length);
  const file = new Uint8Array(base + end);
  file.set(index, HEAD.bytes);
  for (const { name, offset } of entries) file.set(sections.get(name) as Uint8Array, base + offset);
  const view = new DataView(file.buffer);
  view.setUint32(HEAD.magic, MAGIC, true);
  view.setUint32(HEAD.format, FORMAT, true);
  view.setUint32(HEAD.index, index.length, true);
  view.setBigUint64(HEAD.checksum, new Checksum().of(file.subarray(HEAD.index)), true);
  return file;
}

/**
 * The sections of a file, as views of it; undefined where it is damaged, of another format, or has another identity.
 * The bytes are not trusted before their checksum has been seen to be right.
 */
export function decodeSections(file: Uint8Array, identity: string): Map<string, Uint8Array> | undefined {
  if (file.length < HEAD.bytes) return undefined;
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  if (view.getUint32(HEAD.magic, true) !== MAGIC || view.getUint32(HEAD.format, true) !== FORMAT) return undefined;
  if (view.getBigUint64(HEAD.checksum, true) !== new Checksum().of(file.subarray(HEAD.index))) return undefined;
  const indexLength = view.getUint32(HEAD.index, true);
  const index = parseIndex(file.subarray(HEAD.bytes, HEAD.bytes + indexLength));
  if (index?.identity !== identity) return undefined;
  const base = align(HEAD.bytes + indexLength);
  // Plain arrays whatever `file` is: a Buffer's slice() would be no copy.
  const plain = new Uint8Array(file.buffer, file.byteOffset, file.length);
  return new Map(
    index.sections.map(({ name, offset, length }) => [name, plain.subarray(base + offset, base + offset + length)]),
  );
}

function parseIndex(bytes: Uint8Array): Index | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as Index;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
