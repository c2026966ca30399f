import { BlockDecoder } from "../decode/decoder.ts";
import { TEMPLATE_INDEX, TEMPLATE_INDEX_BITS, TEMPLATES, TEMPLATES_END } from "../layout.ts";
import type { InstructionRow } from "../semantics/index.ts";
import type { Handlers } from "./handlers.ts";
import { RECORD, RECORD_SIZE } from "./record.ts";
import type { RecordWriter } from "./record-writer.ts";
import {
  CHAINED,
  DECODED,
  FIELD,
  FIELD_BYTES,
  FIELDS,
  KIND,
  LONGEST_HEAD,
  OPCODE,
  PLACINGS,
  REGISTER_FIELDS,
  SCRATCH_BYTES,
  SCRATCH_RECORD,
  SHAPE,
  SHARED,
  TEMPLATE,
  TEMPLATE_FLAG,
  TEMPLATE_SIZE,
  VARIABLE,
} from "./template.ts";
import type { TranslatorExports } from "./translate-module.ts";

/** Most templates; then instructions with other heads are decoded one by one. */
const MAX_TEMPLATES = Math.floor((TEMPLATES_END - TEMPLATES) / TEMPLATE_SIZE);

/**
 * Two ways to fill the bytes behind a head, and where the instruction lies then. All bytes differ, so that a value tells
 * which of them it is made from; one way has the sign bit in each byte, the other in none.
 */
const TRIALS = [
  { address: 0x1234_5678, tail: [0x81, 0x92, 0xa3, 0xb4, 0xc5, 0xd6, 0xe7, 0xf8, 0x89, 0x9a, 0xab, 0xbc, 0xcd] },
  { address: 0x0765_4321, tail: [0x12, 0x23, 0x34, 0x45, 0x56, 0x67, 0x78, 0x09, 0x1a, 0x2b, 0x3c, 0x4d, 0x5e] },
] as const;

/** Bytes of a record that are not the instruction's, but say where in a program and in a block it is. */
const PLACED: ReadonlySet<number> = new Set([
  RECORD.count,
  RECORD.count + 1,
  ...eight(RECORD.address),
  ...eight(RECORD.next),
]);

function eight(from: number): number[] {
  return Array.from({ length: 8 }, (_, i) => from + i);
}

interface Trial {
  readonly bytes: Uint8Array;
  readonly next: bigint;
  readonly record: Uint8Array;
}

interface Made {
  readonly fields: readonly FieldSource[];
  readonly record: Uint8Array;
  /** As in TEMPLATE.registers. */
  readonly registers?: number;
}

interface FieldSource {
  readonly offset: number;
  readonly size: number;
  readonly kind: number;
}

/** The decode templates in wasm memory (template.ts): learns them from the decoder, keeps them for later runs. */
export class Templates {
  readonly #u8: Uint8Array;
  readonly #view: DataView;
  readonly #writer: () => RecordWriter;
  readonly #wasm: TranslatorExports;
  readonly #handlers: Handlers;
  /** Templates that came with the handler pack. */
  #packed = 0;
  /** Of those that the cores of the machine have learned (KnownForms), how many have been looked at; later ones of our own. */
  #seen = 0;
  readonly #own = new Set<Uint8Array>();

  constructor(view: DataView, writer: () => RecordWriter, wasm: TranslatorExports, handlers: Handlers) {
    this.#handlers = handlers;
    this.#view = view;
    this.#u8 = new Uint8Array(view.buffer);
    this.#writer = writer;
    this.#wasm = wasm;
  }

  get count(): number {
    return this.#view.getUint32(SHARED.templates, true);
  }

  /** Were any learned beyond those that were loaded, here or in another core of the machine? */
  get changed(): boolean {
    const { templates, keptTemplates } = this.#handlers.known;
    return templates.length !== keptTemplates;
  }

  /**
   * Learns the template of the instruction that a decoder stands at, if its head decides about it.
   * @param code its bytes, exactly
   */
  learn(code: Uint8Array, decoder: BlockDecoder, row: InstructionRow): void {
    if (this.count + 2 > MAX_TEMPLATES) return;
    this.#u8.fill(0, SCRATCH_BYTES, SCRATCH_BYTES + 32);
    this.#u8.set(code, SCRATCH_BYTES);
    const head = this.#wasm.head(SCRATCH_BYTES);
    if (head === 0 || head > Math.min(code.length, LONGEST_HEAD)) return;
    const opcode = decoder.raw.code;
    const isOpen = !row.immediateInForm && this.#learnOpen(code, head, opcode, row);
    if (!isOpen && code.length > head) this.#learnChained(code, head, opcode, row);
  }

  /** Length of the head of the instruction at `at`; 0 if it has none that templates take. */
  headLength(bytes: Uint8Array, at: number): number {
    this.#u8.fill(0, SCRATCH_BYTES, SCRATCH_BYTES + 32);
    this.#u8.set(bytes.subarray(at, at + 16), SCRATCH_BYTES);
    return this.#wasm.head(SCRATCH_BYTES);
  }

  /** Is there a template for the instruction whose bytes these are? */
  knows(code: Uint8Array): boolean {
    this.#u8.set(code, SCRATCH_BYTES);
    const end = SCRATCH_BYTES + code.length;
    return this.#wasm.decode(SCRATCH_BYTES, SCRATCH_RECORD, 0, 1, end, end) !== DECODED.unknown;
  }

  /**
   * Learns the template of an instruction's shape, for all registers that it can name in the place of its own. It takes
   * dozens of trials: for packs that are made ahead of time.
   * @returns false if the registers are more than numbers in it, or there are none
   */
  learnShape(code: Uint8Array, decoder: BlockDecoder, row: InstructionRow): boolean {
    const head = this.headLength(code, 0);
    if (head === 0 || head > code.length || this.count + 2 > MAX_TEMPLATES) return false;
    const taken = this.#wasm.shape(SCRATCH_BYTES, head);
    if (taken === 0) return false;
    const place = (word: number): number => this.#view.getUint32(word, true) - SCRATCH_BYTES;
    const at = { rex: place(SHARED.rex), opcode: place(SHARED.opcode), modrm: place(SHARED.modrm) };
    const key = this.#u8.slice(SHARED.key, SHARED.key + head);
    const opcode = decoder.raw.code;
    for (const chained of row.immediateInForm ? [true] : [false, true]) {
      if (chained && code.length === head) continue;
      const to = chained ? code.length - 1 : code.length;
      const made = this.#make(code, head, to, opcode, row);
      const registers = made && this.#registersOf(code, taken, at, opcode, row);
      if (made === undefined || registers === undefined) continue;
      for (const field of REGISTER_FIELDS) {
        if (registers.fields.has(field)) made.record.fill(0, field, field + 2);
      }
      this.#addFor(key, head | SHAPE, chained, code, opcode, row, { ...made, registers: registers.packed });
      this.#verify(code, head, to, registers.variants, opcode, row);
      return true;
    }
    return false;
  }

  /**
   * Instructions of the same form as one: with and without a REX prefix, and, for a memory operand with a base, with the
   * other sizes of displacement and scales. They are cheap to know and need no handlers of their own.
   */
  relatives(code: Uint8Array): Uint8Array[] {
    const head = this.headLength(code, 0);
    const modrm = this.#view.getUint32(SHARED.modrm, true) - SCRATCH_BYTES;
    const rex = this.#view.getUint32(SHARED.rex, true) - SCRATCH_BYTES;
    const isExact = this.#view.getUint32(SHARED.opcodeFlags, true) & OPCODE.exact;
    if (head === 0 || modrm < 0 || isExact) return [];
    const tail = code.subarray(head + displacementBytes(code, modrm));
    const heads = [code.subarray(0, modrm)];
    const opcode = this.#view.getUint32(SHARED.opcode, true) - SCRATCH_BYTES;
    const first =
      opcode - (opcode >= 2 && code[opcode - 2] === 0x0f ? 2 : opcode >= 1 && code[opcode - 1] === 0x0f ? 1 : 0);
    if (rex < 0) heads.push(Uint8Array.from([...code.subarray(0, first), 0x40, ...code.subarray(first, modrm)]));
    const reg = code[modrm] & 0x38;
    const address = code[modrm] & 0xc7;
    const hasSib = address < 0xc0 && (address & 7) === 4;
    const hasIndex = hasSib && ((code[modrm + 1] & 0x38) !== 0x20 || (rex >= 0 && (code[rex] & 2) !== 0));
    const hasBase = address < 0xc0 && !(address === 5 || (hasSib && address === 4 && (code[modrm + 1] & 7) === 5));
    const addresses: number[][] = [];
    for (const [mod, bytes] of [[0], [0x40, 1], [0x80, 4]]) {
      const displacement = new Array(bytes ?? 0).fill(0);
      if (!hasBase) continue;
      if (!hasIndex) addresses.push([mod | reg, ...displacement], [mod | reg | 4, 0x24, ...displacement]);
      else for (let scale = 0; scale < 4; scale++) addresses.push([mod | reg | 4, scale << 6, ...displacement]);
    }
    if (!hasBase)
      addresses.push([...code.subarray(modrm, head), ...code.subarray(head, head + displacementBytes(code, modrm))]);
    return heads.flatMap((start) => addresses.map((operand) => Uint8Array.from([...start, ...operand, ...tail])));
  }

  /** Tries all numbers of the registers that an instruction names. */
  #registersOf(
    code: Uint8Array,
    taken: number,
    at: HeadPlaces,
    opcode: number,
    row: InstructionRow,
  ): { packed: number; fields: ReadonlySet<number>; variants: Uint8Array[] } | undefined {
    const address = TRIALS[0].address;
    const original = this.#recordOf(code, address, opcode, row);
    if (original === undefined) return undefined;
    const rest = (record: Uint8Array): Uint8Array => {
      const copy = record.slice();
      for (const field of REGISTER_FIELDS) copy.fill(0, field, field + 2);
      return copy;
    };
    const word = (record: Uint8Array, field: number): number => record[field] | (record[field + 1] << 8);
    const fields = new Set<number>();
    const variants: Uint8Array[] = [];
    let packed = 0;
    for (const [i, variable] of [VARIABLE.register, VARIABLE.base, VARIABLE.index].entries()) {
      if (!(taken & variable)) continue;
      const tried: { number: number; record: Uint8Array }[] = [];
      for (let number = 0; number < (at.rex >= 0 ? 16 : 8); number++) {
        const bytes = withRegister(code, at, variable, number);
        if (bytes === undefined) continue;
        const record = this.#recordOf(bytes, address, opcode, row);
        if (record === undefined || !equal(rest(record), rest(original))) return undefined;
        tried.push({ number, record });
        variants.push(bytes);
      }
      for (const [position, field] of REGISTER_FIELDS.entries()) {
        const isOpen = tried.some(({ record }) => word(record, field) !== word(original, field));
        if (!isOpen) continue;
        const placing = PLACINGS.findIndex((placeOf) =>
          tried.every(({ number, record }) => placeOf(number) === word(record, field)),
        );
        if (placing < 0 || fields.has(field)) return undefined;
        fields.add(field);
        packed |= (i + 1 + placing * 4) << (4 * position);
      }
    }
    return { packed, fields, variants };
  }

  /** Holds a template against the decoder, for each of some instructions that it is for. */
  #verify(
    code: Uint8Array,
    from: number,
    to: number,
    variants: readonly Uint8Array[],
    opcode: number,
    row: InstructionRow,
  ): void {
    const at = SCRATCH_BYTES + 32;
    for (const [n, variant] of variants.entries()) {
      for (let i = from; i < to; i++) variant[i] = TRIALS[n % 2].tail[(i - from + n) % 8];
      const expected = this.#recordOf(variant, at, opcode, row);
      this.#u8.fill(0, SCRATCH_RECORD, SCRATCH_RECORD + RECORD_SIZE);
      this.#u8.set(variant, at);
      this.#wasm.decode(at, SCRATCH_RECORD, 0, 1, at + variant.length, at + variant.length);
      const found = this.#u8.slice(SCRATCH_RECORD, SCRATCH_RECORD + RECORD_SIZE);
      if (expected === undefined || !equal(found, expected)) {
        throw new Error(`a template of ${hex(code)} is wrong for ${hex(variant)}: ${hex(found)}`);
      }
    }
  }

  /** Learns a template for all instructions with this head. */
  #learnOpen(code: Uint8Array, head: number, opcode: number, row: InstructionRow): boolean {
    const made = this.#make(code, head, code.length, opcode, row);
    if (made === undefined) return false;
    this.#addFor(code.subarray(0, head), head, false, code, opcode, row, made);
    return true;
  }

  /** Learns one for those with this head and this last byte. */
  #learnChained(code: Uint8Array, head: number, opcode: number, row: InstructionRow): void {
    const made = this.#make(code, head, code.length - 1, opcode, row);
    if (made !== undefined) this.#addFor(code.subarray(0, head), head, true, code, opcode, row, made);
  }

  /** Adds a template; for a chained one the link to it as well. */
  #addFor(
    key: Uint8Array,
    keyLength: number,
    chained: boolean,
    code: Uint8Array,
    opcode: number,
    row: InstructionRow,
    made: Made,
  ): void {
    const flags = row.ends ? TEMPLATE_FLAG.ends : 0;
    if (!chained) {
      this.#add(key, keyLength, code.length, flags, opcode, made);
      return;
    }
    const link = { fields: [], record: new Uint8Array(RECORD_SIZE) };
    if (!this.#has(key, keyLength)) this.#add(key, keyLength, code.length, TEMPLATE_FLAG.chain, opcode, link);
    const longer = Uint8Array.from([...key, code[code.length - 1]]);
    this.#add(longer, (keyLength + 1) | CHAINED, code.length, flags, opcode, made);
  }

  #has(head: Uint8Array, keyLength: number): boolean {
    const key = new Uint8Array(16);
    key.set(head);
    key[TEMPLATE.keyLength] = keyLength;
    return this.#wasm.search(valueAt(key, 0, 8), valueAt(key, 8, 8)) !== 0;
  }

  /** Tries what the bytes of [from, to) do to the record; undefined if they do more than give values. */
  #make(code: Uint8Array, from: number, to: number, opcode: number, row: InstructionRow): Made | undefined {
    const trials: Trial[] = [];
    for (const { address, tail } of TRIALS) {
      const bytes = code.slice();
      for (let i = from; i < to; i++) bytes[i] = tail[i - from];
      const record = this.#recordOf(bytes, address, opcode, row);
      if (record === undefined) return undefined;
      trials.push({ bytes, record, next: BigInt(address + bytes.length) });
    }
    const fields: FieldSource[] = [];
    for (const { at, bits } of FIELDS) {
      const source = sourceOf(trials, at, bits, from, to);
      if (source === undefined) return undefined;
      fields.push(source);
    }
    const isValue = (offset: number): boolean =>
      FIELDS.some(({ at, bits }, i) => fields[i].size !== 0 && offset >= at && offset < at + bits / 8);
    const [first, second] = trials;
    const record = first.record.slice();
    for (let i = 0; i < RECORD_SIZE; i++) {
      if (isValue(i) || PLACED.has(i)) record[i] = 0;
      else if (first.record[i] !== second.record[i]) return undefined;
    }
    return { fields, record };
  }

  /** The record of an instruction by way of the decoder; undefined if the bytes are another instruction. */
  #recordOf(bytes: Uint8Array, address: number, opcode: number, row: InstructionRow): Uint8Array | undefined {
    const decoder = new BlockDecoder(bytes, address);
    try {
      if (decoder.step() !== undefined) return undefined;
      if (decoder.raw.length !== bytes.length || decoder.raw.code !== opcode) return undefined;
      this.#u8.fill(0, SCRATCH_RECORD, SCRATCH_RECORD + RECORD_SIZE);
      this.#writer().write(SCRATCH_RECORD, decoder, row, address, 1);
      return this.#u8.slice(SCRATCH_RECORD, SCRATCH_RECORD + RECORD_SIZE);
    } finally {
      decoder.free();
    }
  }

  #add(
    key: Uint8Array,
    keyLength: number,
    length: number,
    flags: number,
    opcode: number,
    { fields, record, registers = 0 }: Made,
  ): void {
    const number = this.count;
    const at = TEMPLATES + number * TEMPLATE_SIZE;
    this.#u8.fill(0, at, at + TEMPLATE_SIZE);
    this.#u8.set(key, at + TEMPLATE.key);
    this.#u8[at + TEMPLATE.keyLength] = keyLength;
    this.#u8[at + TEMPLATE.length] = length;
    this.#u8[at + TEMPLATE.flags] = flags;
    this.#view.setUint16(at + TEMPLATE.code, opcode, true);
    for (const [i, { offset, size, kind }] of fields.entries()) {
      const place = at + TEMPLATE.fields + i * FIELD_BYTES;
      this.#u8[place + FIELD.offset] = offset;
      this.#u8[place + FIELD.size] = size;
      this.#u8[place + FIELD.kind] = kind;
    }
    for (let i = 0; i < 3; i++) this.#u8[at + TEMPLATE.registers + i] = registers >>> (8 * i);
    this.#u8.set(record, at + TEMPLATE.record);
    this.#view.setUint32(SHARED.templates, number + 1, true);
    this.#wasm.indexTemplates(number, number + 1);
    const copy = this.#u8.slice(at, at + TEMPLATE_SIZE);
    this.#own.add(copy);
    this.#handlers.known.templates.push(copy);
  }

  /** Takes over what other cores of the machine have learned since; the handlers are there. */
  catchUp(): void {
    const { templates } = this.#handlers.known;
    for (; this.#seen < templates.length; this.#seen++) {
      const template = templates[this.#seen];
      if (this.#own.delete(template) || this.count === MAX_TEMPLATES) continue;
      this.load(template);
    }
  }

  /** The templates beyond those of the pack. */
  save(): Uint8Array {
    const { templates } = this.#handlers.known;
    const all = new Uint8Array(templates.length * TEMPLATE_SIZE);
    for (const [i, template] of templates.entries()) all.set(template, i * TEMPLATE_SIZE);
    return all;
  }

  /** For each template that `learn` made an instruction that it is for. */
  samples(): Uint8Array[] {
    const samples: Uint8Array[] = [];
    for (let at = TEMPLATES; at < TEMPLATES + this.count * TEMPLATE_SIZE; at += TEMPLATE_SIZE) {
      const keyLength = this.#u8[at + TEMPLATE.keyLength];
      if (keyLength & SHAPE || this.#u8[at + TEMPLATE.flags] & TEMPLATE_FLAG.chain) continue;
      const sample = new Uint8Array(this.#u8[at + TEMPLATE.length]);
      const head = keyLength & CHAINED ? (keyLength & ~CHAINED) - 1 : keyLength;
      sample.set(this.#u8.subarray(at, at + head));
      if (keyLength & CHAINED) sample[sample.length - 1] = this.#u8[at + head];
      samples.push(sample);
    }
    return samples;
  }

  /**
   * Takes templates over. They name handlers by their slots: the same handlers must be there.
   * @param allows instructions by Code; others are left out
   */
  load(saved: Uint8Array, allows?: (code: number) => boolean): void {
    const first = this.count;
    let at = TEMPLATES + first * TEMPLATE_SIZE;
    if (allows === undefined) {
      this.#u8.set(saved, at);
      at += saved.length;
    } else {
      const view = new DataView(saved.buffer, saved.byteOffset, saved.length);
      for (let from = 0; from < saved.length; from += TEMPLATE_SIZE) {
        if (!allows(view.getUint16(from + TEMPLATE.code, true))) continue;
        this.#u8.set(saved.subarray(from, from + TEMPLATE_SIZE), at);
        at += TEMPLATE_SIZE;
      }
    }
    const end = (at - TEMPLATES) / TEMPLATE_SIZE;
    this.#view.setUint32(SHARED.templates, end, true);
    this.#wasm.indexTemplates(first, end);
  }

  /** Takes over what `save` kept in a run with the same pack, before any are learned. Returns false if it does not fit. */
  restore(saved: Uint8Array): boolean {
    if (saved.length % TEMPLATE_SIZE !== 0 || this.count + saved.length / TEMPLATE_SIZE > MAX_TEMPLATES) return false;
    this.load(saved);
    const { templates } = this.#handlers.known;
    for (let at = 0; at < saved.length; at += TEMPLATE_SIZE) templates.push(saved.subarray(at, at + TEMPLATE_SIZE));
    this.#seen = templates.length;
    this.#handlers.known.keptTemplates = templates.length;
    return true;
  }

  /** Forgets all that did not come with the pack. */
  forget(): void {
    this.#u8.fill(0, TEMPLATE_INDEX, TEMPLATE_INDEX + (4 << TEMPLATE_INDEX_BITS));
    this.#view.setUint32(SHARED.templates, this.#packed, true);
    this.#wasm.indexTemplates(0, this.#packed);
    this.#own.clear();
    this.#seen = 0;
  }

  /** What is there now came with the pack. */
  markPacked(): void {
    const { known } = this.#handlers;
    this.#packed = this.count;
    this.#seen = known.templates.length;
    this.#own.clear();
  }
}

/** Bytes of the displacement behind ModRM and SIB (SDM Vol. 2A, table 2-2). */
function displacementBytes(code: Uint8Array, modrm: number): number {
  const mod = code[modrm] >> 6;
  const rm = code[modrm] & 7;
  if (mod === 1) return 1;
  if (mod === 2) return 4;
  const noBase = rm === 5 || (rm === 4 && (code[modrm + 1] & 7) === 5);
  return mod === 0 && noBase ? 4 : 0;
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => a.every((byte, i) => byte === b[i]);
const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Places in an instruction; negative where there is no such byte. */
interface HeadPlaces {
  readonly rex: number;
  readonly opcode: number;
  readonly modrm: number;
}

/** An instruction with another register; undefined where this number means something else in its place. */
function withRegister(code: Uint8Array, at: HeadPlaces, variable: number, number: number): Uint8Array | undefined {
  const bytes = code.slice();
  const low = number & 7;
  const extend = (bit: number): void => {
    if (at.rex >= 0) bytes[at.rex] = (bytes[at.rex] & ~bit) | (number & 8 ? bit : 0);
  };
  if (variable === VARIABLE.register) {
    bytes[at.modrm] = (bytes[at.modrm] & 0xc7) | (low << 3);
    extend(4);
    return bytes;
  }
  if (variable === VARIABLE.index) {
    // Index 4 is none.
    if (number === 4) return undefined;
    bytes[at.modrm + 1] = (bytes[at.modrm + 1] & 0xc7) | (low << 3);
    extend(2);
    return bytes;
  }
  extend(1);
  if (at.modrm < 0) {
    // 90 is NOP and PAUSE.
    if ((bytes[at.opcode] & 0xf8) === 0x90 && low === 0) return undefined;
    bytes[at.opcode] = (bytes[at.opcode] & 0xf8) | low;
    return bytes;
  }
  const mod = bytes[at.modrm] >> 6;
  const hasSib = mod !== 3 && (bytes[at.modrm] & 7) === 4;
  // Without a displacement 5 stands for none, or RIP; in ModRM 4 is an SIB byte.
  if (mod === 0 && low === 5) return undefined;
  if (mod !== 3 && !hasSib && low === 4) return undefined;
  const place = hasSib ? at.modrm + 1 : at.modrm;
  bytes[place] = (bytes[place] & 0xf8) | low;
  return bytes;
}

/** What of the bytes [from, to) a field's value is made from, so that it comes out right in each trial. */
function sourceOf(
  trials: readonly Trial[],
  at: number,
  bits: number,
  from: number,
  to: number,
): FieldSource | undefined {
  const values = trials.map(({ record }) => valueAt(record, at, bits / 8));
  if (values.every((value) => value === values[0])) return { offset: 0, size: 0, kind: 0 };
  for (const size of [1, 2, 4, 8]) {
    for (let offset = from; offset + size <= to; offset++) {
      for (const extension of [0, KIND.unsigned, KIND.cut32, KIND.cut16]) {
        for (const relative of [0, KIND.relative]) {
          const kind = extension | relative;
          const isRight = trials.every(
            ({ bytes, next }, i) => fieldValue(bytes, offset, size, kind, next, bits) === values[i],
          );
          if (isRight) return { offset, size, kind };
        }
      }
    }
  }
  return undefined;
}

/** A little-endian unsigned number. */
function valueAt(bytes: Uint8Array, at: number, size: number): bigint {
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[at + i]);
  return value;
}

/** The value that the translator gives a field (translate-module.ts, buildDecode). */
function fieldValue(bytes: Uint8Array, offset: number, size: number, kind: number, next: bigint, bits: number): bigint {
  let value = valueAt(bytes, offset, size);
  if (!(kind & KIND.unsigned)) value = BigInt.asIntN(size * 8, value);
  if (kind & KIND.relative) value += next;
  if (kind & KIND.cut32) value = BigInt.asUintN(32, value);
  if (kind & KIND.cut16) value = BigInt.asUintN(16, value);
  return BigInt.asUintN(bits, value);
}
