import { BlockDecoder } from "../decode/decoder.ts";
import { TEMPLATES, TEMPLATES_END } from "../layout.ts";
import type { InstructionRow } from "../semantics/index.ts";
import { RECORD, RECORD_SIZE } from "./record.ts";
import type { RecordWriter } from "./record-writer.ts";
import {
  CHAINED,
  FIELD,
  FIELDS,
  KIND,
  LONGEST_HEAD,
  SCRATCH_BYTES,
  SCRATCH_RECORD,
  SHARED,
  TEMPLATE,
  TEMPLATE_FLAG,
  TEMPLATE_SIZE,
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
  /** Templates that came with the handler pack. */
  #packed = 0;

  constructor(view: DataView, writer: () => RecordWriter, wasm: TranslatorExports) {
    this.#view = view;
    this.#u8 = new Uint8Array(view.buffer);
    this.#writer = writer;
    this.#wasm = wasm;
  }

  get count(): number {
    return this.#view.getUint32(SHARED.templates, true);
  }

  /** Were any learned beyond those that were loaded? */
  changed = false;

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

  /** Learns a template for all instructions with this head. */
  #learnOpen(code: Uint8Array, head: number, opcode: number, row: InstructionRow): boolean {
    const key = code.slice(0, head);
    const made = this.#make(code, head, code.length, opcode, row);
    if (made === undefined) return false;
    this.#add(key, head, code.length, row.ends ? TEMPLATE_FLAG.ends : 0, opcode, made.fields, made.record);
    return true;
  }

  /** Learns one for those with this head and this last byte. */
  #learnChained(code: Uint8Array, head: number, opcode: number, row: InstructionRow): void {
    const made = this.#make(code, head, code.length - 1, opcode, row);
    if (made === undefined) return;
    if (!this.#has(code, head)) {
      this.#add(code.slice(0, head), head, code.length, TEMPLATE_FLAG.chain, opcode, [], new Uint8Array(RECORD_SIZE));
    }
    const key = Uint8Array.from([...code.subarray(0, head), code[code.length - 1]]);
    const flags = row.ends ? TEMPLATE_FLAG.ends : 0;
    this.#add(key, (head + 1) | CHAINED, code.length, flags, opcode, made.fields, made.record);
  }

  #has(code: Uint8Array, head: number): boolean {
    const key = new Uint8Array(16);
    key.set(code.subarray(0, head));
    key[TEMPLATE.keyLength] = head;
    return this.#wasm.search(valueAt(key, 0, 8), valueAt(key, 8, 8)) !== 0;
  }

  /** Tries what the bytes of [from, to) do to the record; undefined if they do more than give values. */
  #make(
    code: Uint8Array,
    from: number,
    to: number,
    opcode: number,
    row: InstructionRow,
  ): { fields: FieldSource[]; record: Uint8Array } | undefined {
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
    fields: readonly FieldSource[],
    record: Uint8Array,
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
      const place = at + TEMPLATE.fields + i * 4;
      this.#u8[place + FIELD.offset] = offset;
      this.#u8[place + FIELD.size] = size;
      this.#u8[place + FIELD.kind] = kind;
    }
    this.#u8.set(record, at + TEMPLATE.record);
    this.#view.setUint32(SHARED.templates, number + 1, true);
    this.#wasm.indexTemplates(number, number + 1);
    this.changed = true;
  }

  /** The templates beyond those of the pack. */
  save(): Uint8Array {
    return this.#u8.slice(TEMPLATES + this.#packed * TEMPLATE_SIZE, TEMPLATES + this.count * TEMPLATE_SIZE);
  }

  /** For each template an instruction that it is for, as `learn` takes it. */
  samples(): Uint8Array[] {
    const samples: Uint8Array[] = [];
    for (let at = TEMPLATES; at < TEMPLATES + this.count * TEMPLATE_SIZE; at += TEMPLATE_SIZE) {
      const keyLength = this.#u8[at + TEMPLATE.keyLength];
      const sample = new Uint8Array(this.#u8[at + TEMPLATE.length]);
      const chained = (keyLength & CHAINED) !== 0;
      const head = (keyLength & ~CHAINED) - (chained ? 1 : 0);
      sample.set(this.#u8.subarray(at, at + head));
      if (chained) sample[sample.length - 1] = this.#u8[at + head];
      if (!(this.#u8[at + TEMPLATE.flags] & TEMPLATE_FLAG.chain)) samples.push(sample);
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

  /** What is there now came with the pack. */
  markPacked(): void {
    this.#packed = this.count;
    this.changed = false;
  }
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
