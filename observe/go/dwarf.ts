import { inflateSync } from "node:zlib";
import { ByteReader } from "../../loader/bytes.ts";
import type { Executable } from "../../loader/elf.ts";
import { SymbolError } from "../../loader/errors.ts";

/** SHF_COMPRESSED (gABI chapter 4, "Section Compression"). */
const SHF_COMPRESSED = 0x800;
const ELFCOMPRESS_ZLIB = 1;
/** Debug sections of a program that fits into guest memory don't unpack to more. */
const MAX_SECTION = 2 ** 30;

const DW_TAG_member = 0x0d;
const DW_TAG_structure_type = 0x13;
const DW_AT_name = 0x03;
const DW_AT_data_member_location = 0x38;

/** Bytes of each form that has a fixed size (DWARF 5, 7.5.6); address and offset size are 8 and 4. */
const FIXED_FORMS: ReadonlyMap<number, number> = new Map([
  ...([0x01, 0x07, 0x14, 0x20, 0x2c].map((form) => [form, 8]) as [number, number][]),
  ...([0x06, 0x0e, 0x10, 0x13, 0x17, 0x1c, 0x1d, 0x1e, 0x1f, 0x28, 0x2e].map((form) => [form, 4]) as [
    number,
    number,
  ][]),
  ...([0x27, 0x2b].map((form) => [form, 3]) as [number, number][]),
  ...([0x05, 0x12, 0x26, 0x2a].map((form) => [form, 2]) as [number, number][]),
  ...([0x0b, 0x0c, 0x11, 0x25, 0x29].map((form) => [form, 1]) as [number, number][]),
  [0x19, 0],
  [0x21, 0],
  [0x1e, 16],
]);
const FORM = {
  block2: 0x03,
  block4: 0x04,
  string: 0x08,
  block: 0x09,
  block1: 0x0a,
  strp: 0x0e,
  sdata: 0x0d,
  udata: 0x0f,
  refUdata: 0x15,
  indirect: 0x16,
  exprloc: 0x18,
  strx: 0x1a,
  addrx: 0x1b,
  lineStrp: 0x1f,
  implicitConst: 0x21,
  loclistx: 0x22,
  rnglistx: 0x23,
} as const;

interface Abbreviation {
  readonly tag: number;
  readonly hasChildren: boolean;
  /** Attribute, form, and the value of an implicit constant, one after the other. */
  readonly specs: readonly number[];
}

const damaged = (what: string): SymbolError => new SymbolError(`DWARF: ${what}`);

/**
 * The bytes of a debug section by its name without the leading ".debug_", unpacked: plain, SHF_COMPRESSED, or .zdebug_
 * as Go wrote it from 1.11 to 1.18 ("ZLIB" and a big-endian size). Undefined if the file has none.
 */
export function debugSection(executable: Executable, name: string): Uint8Array | undefined {
  const { sections, file } = executable;
  const plain = sections.find((section) => section.name === `.debug_${name}`);
  const section = plain ?? sections.find((candidate) => candidate.name === `.zdebug_${name}`);
  if (section === undefined) return undefined;
  const raw = file.subarray(section.offset, section.offset + section.size);
  const reader = new ByteReader(raw, section.name, damaged);
  if (plain === undefined) {
    if (reader.u32(0) !== 0x42_49_4c_5a) throw damaged(`${section.name} does not begin with "ZLIB"`);
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
    return unpack(raw.subarray(12), Number(view.getBigUint64(4)), section.name);
  }
  if (!(section.flags & SHF_COMPRESSED)) return raw;
  if (reader.u32(0) !== ELFCOMPRESS_ZLIB) throw damaged(`${section.name} is compressed by a method other than zlib`);
  return unpack(raw.subarray(24), reader.u64(8), section.name);
}

function unpack(packed: Uint8Array, size: number, name: string): Uint8Array {
  if (size > MAX_SECTION) throw damaged(`${name} says that it unpacks to ${size} bytes`);
  try {
    const bytes = inflateSync(packed, { maxOutputLength: Math.max(size, 1) });
    if (bytes.length !== size) throw damaged(`${name} unpacks to ${bytes.length} bytes instead of ${size}`);
    return bytes;
  } catch (error) {
    if (error instanceof SymbolError) throw error;
    throw damaged(`${name} does not unpack: ${(error as Error).message}`);
  }
}

/** Field offsets of structures, by structure and field name. */
export type StructOffsets = Map<string, Map<string, number>>;

/**
 * Looks up the fields of structures in .debug_info, the first definition of each (DWARF 2 to 5; forms of 7.5.6).
 * @param wanted names of structures, like "runtime.g"; those that the program does not have are missing in the result
 * @returns undefined if the file has no DWARF
 * @throws SymbolError if it is damaged
 */
export function structOffsets(executable: Executable, wanted: Iterable<string>): StructOffsets | undefined {
  const info = debugSection(executable, "info");
  const abbrev = debugSection(executable, "abbrev");
  if (info === undefined || abbrev === undefined) return undefined;
  const names = new Set(wanted);
  const found: StructOffsets = new Map();
  const strings = debugSection(executable, "str");
  const reader = new InfoReader(info, new ByteReader(abbrev, ".debug_abbrev", damaged), strings);
  for (let unit = 0; unit < info.length && found.size < names.size; ) unit = reader.unit(unit, names, found);
  return found;
}

class InfoReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #abbrev: ByteReader;
  readonly #strings: Uint8Array | undefined;
  readonly #tables = new Map<number, readonly (Abbreviation | undefined)[]>();
  #at = 0;
  #end = 0;

  constructor(bytes: Uint8Array, abbrev: ByteReader, strings: Uint8Array | undefined) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#abbrev = abbrev;
    this.#strings = strings;
  }

  /** Reads one compilation unit; returns where the next begins. */
  unit(start: number, wanted: ReadonlySet<string>, found: StructOffsets): number {
    if (start + 12 > this.#bytes.length) throw damaged("a unit is cut off");
    const length = this.#view.getUint32(start, true);
    const version = this.#view.getUint16(start + 4, true);
    if (version < 2 || version > 5) throw damaged(`version ${version} is not known`);
    this.#end = start + 4 + length;
    if (this.#end > this.#bytes.length) throw damaged("a unit is longer than its section");
    const abbrevAt = this.#view.getUint32(start + (version === 5 ? 8 : 6), true);
    if (version === 5 && this.#bytes[start + 6] !== 1) return this.#end;
    this.#at = start + (version === 5 ? 12 : 11);
    const table = this.#abbreviations(abbrevAt);
    let depth = 0;
    let current: Map<string, number> | undefined;
    while (this.#at < this.#end) {
      const code = this.#uleb();
      if (code === 0) {
        depth--;
        if (current !== undefined) {
          current = undefined;
          if (found.size === wanted.size) return this.#end;
        }
        if (depth <= 0) break;
        continue;
      }
      const abbreviation = table[code];
      if (abbreviation === undefined) throw damaged(`no abbreviation ${code}`);
      const isStruct = abbreviation.tag === DW_TAG_structure_type;
      const isMember = current !== undefined && abbreviation.tag === DW_TAG_member;
      const { name, location } = this.#attributes(abbreviation, isStruct || isMember);
      if (isMember && name !== undefined && location !== undefined) current?.set(name, location);
      else if (isStruct && name !== undefined && wanted.has(name) && !found.has(name) && abbreviation.hasChildren) {
        current = new Map();
        found.set(name, current);
      }
      if (abbreviation.hasChildren) depth++;
      else if (depth === 0) break;
    }
    return this.#end;
  }

  #abbreviations(offset: number): readonly (Abbreviation | undefined)[] {
    const known = this.#tables.get(offset);
    if (known !== undefined) return known;
    const table: (Abbreviation | undefined)[] = [];
    let at = offset;
    const uleb = (): number => {
      let value = 0;
      for (let shift = 0; ; shift += 7) {
        const byte = this.#abbrev.u8(at++);
        value += (byte & 0x7f) * 2 ** shift;
        if (byte < 0x80) return value;
        if (shift > 56) throw damaged("a number is too long");
      }
    };
    for (let code = uleb(); code !== 0; code = uleb()) {
      if (code > 65_536) throw damaged(`abbreviation number ${code}`);
      const tag = uleb();
      const hasChildren = this.#abbrev.u8(at++) === 1;
      const specs: number[] = [];
      for (;;) {
        const attribute = uleb();
        const form = uleb();
        const constant = form === FORM.implicitConst ? uleb() : 0;
        if (attribute === 0 && form === 0) break;
        specs.push(attribute, form, constant);
      }
      table[code] = { tag, hasChildren, specs };
    }
    this.#tables.set(offset, table);
    return table;
  }

  #attributes({ specs }: Abbreviation, wanted: boolean): { name?: string; location?: number } {
    let name: string | undefined;
    let location: number | undefined;
    for (let i = 0; i < specs.length; i += 3) {
      const form = specs[i + 1];
      if (wanted && specs[i] === DW_AT_name) name = this.#string(form);
      else if (wanted && specs[i] === DW_AT_data_member_location) location = this.#constant(form, specs[i + 2]);
      else this.#skip(form);
    }
    return { name, location };
  }

  #string(form: number): string | undefined {
    const start = this.#at;
    this.#skip(form);
    if (form === FORM.string) return latin(this.#bytes.subarray(start, this.#at - 1));
    if (form !== FORM.strp || this.#strings === undefined) return undefined;
    const offset = this.#view.getUint32(start, true);
    return latin(this.#strings.subarray(offset, this.#strings.indexOf(0, offset)));
  }

  /** A member's offset: a constant, or before DWARF 3 an expression of one DW_OP_plus_uconst. */
  #constant(form: number, implicit: number): number | undefined {
    const start = this.#at;
    const size = FIXED_FORMS.get(form);
    if (form === FORM.udata || form === FORM.sdata) return this.#uleb();
    this.#skip(form);
    if (form === FORM.implicitConst) return implicit;
    if (size === 1) return this.#bytes[start];
    if (size === 2) return this.#view.getUint16(start, true);
    if (size === 4) return this.#view.getUint32(start, true);
    if (size === 8) return Number(this.#view.getBigUint64(start, true));
    if (form !== FORM.block1 && form !== FORM.exprloc) return undefined;
    const end = this.#at;
    const DW_OP_plus_uconst = 0x23;
    if (this.#bytes[start + 1] !== DW_OP_plus_uconst) return undefined;
    this.#at = start + 2;
    const value = this.#uleb();
    this.#at = end;
    return value;
  }

  #skip(form: number): void {
    const size = FIXED_FORMS.get(form);
    if (size !== undefined) this.#at += size;
    else if (form === FORM.string) this.#at = this.#bytes.indexOf(0, this.#at) + 1 || this.#end + 1;
    else if (form === FORM.block1) this.#at += 1 + this.#bytes[this.#at];
    else if (form === FORM.exprloc || form === FORM.block) {
      const length = this.#uleb();
      this.#at += length;
    } else if (form === FORM.block2 || form === FORM.block4) {
      if (this.#at + 4 > this.#bytes.length) throw damaged("a block is cut off");
      const length = form === FORM.block2 ? this.#view.getUint16(this.#at, true) : this.#view.getUint32(this.#at, true);
      this.#at += length + (form === FORM.block2 ? 2 : 4);
    } else if (form === FORM.indirect) this.#skip(this.#uleb());
    else if (UNSIGNED_FORMS.has(form)) this.#uleb();
    else throw damaged(`form ${form} is not known`);
    if (this.#at > this.#end) throw damaged("an entry runs over the end of its unit");
  }

  #uleb(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      if (this.#at >= this.#end) throw damaged("a number is cut off");
      const byte = this.#bytes[this.#at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
      if (shift > 63) throw damaged("a number is too long");
    }
  }
}

const UNSIGNED_FORMS: ReadonlySet<number> = new Set([
  FORM.sdata,
  FORM.udata,
  FORM.refUdata,
  FORM.strx,
  FORM.addrx,
  FORM.loclistx,
  FORM.rnglistx,
]);

const decoder = new TextDecoder("latin1");
const latin = (bytes: Uint8Array): string => decoder.decode(bytes);
