import type { Code } from "iced-x86";
import { BlockDecoder, type DecodeFailure, MAX_INSTRUCTION } from "../decode/decoder.ts";
import type { Instruction } from "../decode/instruction.ts";
import { LOOKUP_BITS, LOOKUP_TABLE, PAGE_SIZE, PROT_EXEC, RECORDS, RECORDS_END } from "../layout.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";
import type { InstructionRow } from "../semantics/index.ts";
import { type Handlers, STALE_HANDLER } from "./handlers.ts";
import { RECORD, RECORD_SIZE } from "./record.ts";
import { RecordWriter } from "./record-writer.ts";
import { ENTER_HANDLER } from "./translated-module.ts";

/** Longest block, in instructions: bounds how far a thread overruns its time slice. */
const MAX_BLOCK = 64;
/** Pages whose decoder is kept: about 4 KiB each. */
const MAX_DECODERS = 512;

/** The record of a single step and the one behind it; blocks follow. */
const SINGLE = RECORDS;
const FIRST_RECORD = RECORDS + 2 * RECORD_SIZE;

/** Why no block starts at an address. */
export type TranslateFailure =
  | { kind: "fault"; address: number }
  | { kind: "invalid"; address: number }
  | { kind: "unimplemented"; instruction: Instruction };

interface Block {
  readonly record: number;
  readonly instructions: number;
  readonly address: number;
}

/** Translated blocks by address: records in linear memory, made the first time that an address is executed. */
export class CodeCache {
  readonly #memory: GuestMemory;
  readonly #handlers: Handlers;
  readonly #records = new Map<number, number>();
  readonly #blocksOfPage = new Map<number, Block[]>();
  readonly #view: DataView;
  readonly #writer: RecordWriter;
  readonly #decoders = new Map<number, BlockDecoder>();
  /** Places at which compiled regions can be entered: table slot and number of the entry (`install`). */
  readonly #regions = new Map<number, number>();
  /** Handlers of records whose place those of regions took. */
  readonly #displaced = new Map<number, number>();
  /** Told before a page's translations are dropped, and before all are. */
  onInvalidate: (page: number) => void = () => {};
  onFlush: () => void = () => {};
  #nextRecord = FIRST_RECORD;
  /** Blocks made, and instructions in them, since the start. */
  blocks = 0;
  instructions = 0;
  /** Grows at each flush: records from before are gone. */
  generation = 0;
  /** May instructions with this code be used? What CPUID does not report is #UD. */
  allows: (code: Code) => boolean = () => true;
  /** Addresses at which a block must start, so that a probe or breakpoint is seen there. */
  readonly stops = new Set<number>();

  constructor(memory: GuestMemory, handlers: Handlers) {
    this.#memory = memory;
    this.#handlers = handlers;
    this.#view = memory.view;
    this.#writer = new RecordWriter(memory.view, handlers);
  }

  /** The record at which execution from `address` starts, translating it if need be. */
  recordAt(address: number): number | TranslateFailure {
    return this.#records.get(address) ?? this.#translate(address);
  }

  /** Lets indirect jumps find a record without leaving WebAssembly. */
  enterLookup(address: number, record: number): void {
    const slot = LOOKUP_TABLE + (address % (1 << LOOKUP_BITS)) * 16;
    this.#view.setBigUint64(slot, BigInt(address), true);
    this.#view.setUint32(slot + 8, record, true);
    this.#view.setUint32(slot + 12, this.#regions.get(address) ?? 0, true);
  }

  /** The instruction at an address, if it can be executed and is one that goemu has. */
  instructionAt(address: number): Instruction | undefined {
    const decoder = this.#decoderAt(address);
    if (decoder === undefined) return undefined;
    decoder.seek(address);
    if (decoder.step() !== undefined || !this.allows(decoder.raw.code)) return undefined;
    return decoder.current();
  }

  /**
   * From now on execution that comes to `address` goes to the region in table slot `slot`.
   * @param entry number of the entry in the region's middle, or 0 for its start
   */
  install(address: number, slot: number, entry: number): void {
    this.#regions.set(address, slot | (entry << 16));
    const record = this.#records.get(address);
    if (record !== undefined) this.#lead(address, record);
    this.enterLookup(address, record ?? 0);
  }

  /** Marks pages that a region was made from: a write to one drops it. */
  guard(pages: readonly number[]): void {
    for (const page of pages) this.#memory.space.pages.markCodeAt(page * PAGE_SIZE, true);
  }

  /** Lets a record lead to the region at its address. */
  #lead(address: number, record: number): void {
    const region = this.#regions.get(address);
    if (region === undefined) return;
    this.#displaced.set(record, this.#view.getUint32(record + RECORD.handler, true));
    this.#view.setUint32(record + RECORD.handler, region >>> 16 === 0 ? region : ENTER_HANDLER, true);
  }

  /** Forgets a region's entry: the record that led to it is the interpreter's again. */
  uninstall(address: number): void {
    if (!this.#regions.delete(address)) return;
    const record = this.#records.get(address);
    const handler = record === undefined ? undefined : this.#displaced.get(record);
    if (record !== undefined && handler !== undefined) {
      this.#displaced.delete(record);
      this.#view.setUint32(record + RECORD.handler, handler, true);
    }
    const slot = LOOKUP_TABLE + (address % (1 << LOOKUP_BITS)) * 16;
    if (this.#view.getBigUint64(slot, true) === BigInt(address)) this.#view.setUint32(slot + 12, 0, true);
  }

  /** Lets a record that was dropped lead to the one that took its place: others may be linked to it. */
  forward(stale: number, address: number, record: number): void {
    if (this.#view.getUint32(stale + RECORD.handler, true) !== STALE_HANDLER) return;
    this.#writeNext(stale, address, 0);
    this.#view.setUint32(stale + RECORD.linkNext, record, true);
  }

  /**
   * A record of one instruction, for single steps: made anew each time, never linked and never found by jumps. It is
   * valid until the next call.
   */
  single(address: number): number | TranslateFailure {
    const block = this.#decode(address, SINGLE, 1);
    if ("kind" in block) return block;
    if (!block.ends) this.#writeNext(SINGLE + RECORD_SIZE, block.end, 1);
    this.#handlers.make();
    return SINGLE;
  }

  #translate(address: number): number | TranslateFailure {
    if (this.#nextRecord + (MAX_BLOCK + 1) * RECORD_SIZE > RECORDS_END) this.flush();
    const first = this.#nextRecord;
    const block = this.#decode(address, first);
    if ("kind" in block) return block;
    const { count, end, ends } = block;
    let records = count;
    if (!ends) {
      // The record that goes on behind the block pays for its instructions.
      this.#writeNext(first + records * RECORD_SIZE, end, count);
      records++;
    }
    this.#handlers.make();
    this.#nextRecord += records * RECORD_SIZE;
    this.#records.set(address, first);
    this.#lead(address, first);
    this.blocks++;
    this.instructions += count;
    this.#register({ record: first, instructions: records, address }, address, end);
    return first;
  }

  /** Decodes from an address to the end of the block, at most `most` instructions; writes the records from `record` on. */
  #decode(
    address: number,
    record: number,
    most = MAX_BLOCK,
  ): { count: number; end: number; ends: boolean } | TranslateFailure {
    let at = address;
    let decoder: BlockDecoder | undefined;
    for (let count = 0; ; ) {
      if (decoder === undefined || !decoder.has(at)) {
        decoder = this.#decoderAt(at);
        if (decoder === undefined) return count > 0 ? { count, end: at, ends: false } : { kind: "fault", address: at };
        decoder.seek(at);
      }
      const failure = decoder.step();
      const row = failure === undefined ? this.#writer.rowOf(decoder) : undefined;
      if (row === undefined || !this.allows(decoder.raw.code)) {
        if (count > 0) return { count, end: at, ends: false };
        return this.#failure(at, failure, row, decoder);
      }
      const { length } = decoder.raw;
      this.#writer.write(record + count * RECORD_SIZE, decoder, row, at, ++count);
      at += length;
      if (row.ends || count === most || this.stops.has(at)) return { count, end: at, ends: row.ends };
    }
  }

  #failure(
    at: number,
    failure: DecodeFailure | undefined,
    row: InstructionRow | undefined,
    decoder: BlockDecoder,
  ): TranslateFailure {
    if (failure === "truncated") {
      const available = this.#memory.accessible(at, MAX_INSTRUCTION, PROT_EXEC);
      // Fifteen bytes that go on are too long an instruction; fewer end at a page that can't be executed.
      return available < MAX_INSTRUCTION
        ? { kind: "fault", address: at + available }
        : { kind: "invalid", address: at };
    }
    if (failure === "invalid" || row !== undefined) return { kind: "invalid", address: at };
    return { kind: "unimplemented", instruction: decoder.current() };
  }

  /**
   * The decoder for the page of an address, which sees as far into the next page as an instruction may reach. Making one
   * costs as much as decoding ten instructions, so they are kept.
   */
  #decoderAt(address: number): BlockDecoder | undefined {
    const page = Math.floor(address / PAGE_SIZE);
    const known = this.#decoders.get(page);
    if (known?.has(address)) return known;
    const start = page * PAGE_SIZE;
    const available = this.#memory.accessible(start, PAGE_SIZE + MAX_INSTRUCTION - 1, PROT_EXEC);
    if (start + available <= address) return undefined;
    if (this.#decoders.size >= MAX_DECODERS) this.#dropDecoders();
    const decoder = new BlockDecoder(this.#fetch(start, available), start);
    this.#decoders.set(page, decoder);
    // It has copied the bytes: a write to them must be seen.
    this.#memory.space.pages.markCodeAt(start, true);
    if (available > PAGE_SIZE) this.#memory.space.pages.markCodeAt(start + PAGE_SIZE, true);
    return decoder;
  }

  #dropDecoders(): void {
    for (const decoder of this.#decoders.values()) decoder.free();
    this.#decoders.clear();
  }

  #dropDecoder(page: number): void {
    this.#decoders.get(page)?.free();
    this.#decoders.delete(page);
  }

  #fetch(address: number, length: number): Uint8Array {
    const pieces = this.#memory.pieces(address, length, PROT_EXEC);
    if (pieces.length === 1) return pieces[0];
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  #writeNext(record: number, address: number, count: number): void {
    const view = this.#view;
    const end = BigInt(address);
    view.setUint32(record + RECORD.handler, this.#handlers.nextBlock, true);
    view.setUint16(record + RECORD.count, count, true);
    view.setUint32(record + RECORD.linkTaken, 0, true);
    view.setUint32(record + RECORD.linkNext, 0, true);
    view.setBigUint64(record + RECORD.address, end, true);
    view.setBigUint64(record + RECORD.next, end, true);
  }

  /** Remembers which pages a block was made from and guards them against writes. */
  #register(block: Block, start: number, end: number): void {
    const { pages } = this.#memory.space;
    for (let page = Math.floor(start / PAGE_SIZE); page * PAGE_SIZE < end; page++) {
      let blocks = this.#blocksOfPage.get(page);
      if (blocks === undefined) {
        blocks = [];
        this.#blocksOfPage.set(page, blocks);
        pages.markCodeAt(page * PAGE_SIZE, true);
      }
      blocks.push(block);
    }
  }

  /** Drops what was translated from a page: its records leave at once when they are reached. */
  invalidate(page: number): void {
    // The decoder of the page before has copied this page's first bytes.
    this.#dropDecoder(page);
    this.#dropDecoder(page - 1);
    this.onInvalidate(page);
    for (const block of this.#blocksOfPage.get(page) ?? []) this.#drop(block);
    this.#blocksOfPage.delete(page);
    this.#memory.space.pages.markCodeAt(page * PAGE_SIZE, false);
  }

  #drop(block: Block): void {
    if (this.#records.get(block.address) === block.record) this.#records.delete(block.address);
    for (let i = 0; i < block.instructions; i++) {
      this.#view.setUint32(block.record + i * RECORD_SIZE + RECORD.handler, STALE_HANDLER, true);
    }
    const slot = LOOKUP_TABLE + (block.address % (1 << LOOKUP_BITS)) * 16;
    if (this.#view.getUint32(slot + 8, true) === block.record) this.#view.setBigUint64(slot + 8, 0n, true);
  }

  /** Drops everything: the records are full. Only between two entries into guest code. */
  flush(): void {
    this.onFlush();
    const u8 = this.#memory.u8;
    u8.fill(0, LOOKUP_TABLE, LOOKUP_TABLE + (16 << LOOKUP_BITS));
    this.#dropDecoders();
    for (const page of [...this.#memory.space.pages.codePages])
      this.#memory.space.pages.markCodeAt(page * PAGE_SIZE, false);
    this.#blocksOfPage.clear();
    this.#records.clear();
    this.#nextRecord = FIRST_RECORD;
    this.generation++;
  }
}
