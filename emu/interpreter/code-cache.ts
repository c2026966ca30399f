import type { Code } from "iced-x86";
import { BlockDecoder, type DecodeFailure, exceedsLimit, MAX_INSTRUCTION } from "../decode/decoder.ts";
import type { Instruction } from "../decode/instruction.ts";
import {
  BLOCK_INDEX,
  BLOCK_INDEX_BITS,
  inWindow,
  LOOKUP_BITS,
  LOOKUP_TABLE,
  PAGE_SIZE,
  PERM_ABSENT,
  PROT_EXEC,
  PROT_READ,
  RECORDS,
  RECORDS_END,
} from "../layout.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";
import type { InstructionRow } from "../semantics/index.ts";
import type { Engine } from "./engine.ts";
import type { HandlerPack, Handlers } from "./handlers.ts";
import { RECORD, RECORD_SIZE } from "./record.ts";
import type { RecordWriter } from "./record-writer.ts";
import { ENTER_HANDLER, FORWARD_HANDLER, STALE_HANDLER } from "./slots.ts";
import { readSnapshot, takeSnapshot } from "./snapshot.ts";
import { DECODED, FUSION, MAX_BLOCK, MAX_INDEXED, SCRATCH_RECORD, SHARED } from "./template.ts";
import type { Templates } from "./templates.ts";
import type { TranslatorExports } from "./translate-module.ts";

/** Pages whose decoder is kept: about 4 KiB each. */
const MAX_DECODERS = 512;

/** The record of a single step and the one behind it; blocks follow. */
const SINGLE = RECORDS;
const FIRST_RECORD = RECORDS + 2 * RECORD_SIZE;

/** Instructions that a run must have translated for its blocks to be kept: below, the rewrite costs more than it saves. */
const WORTH_KEEPING = 1000;
/** Bytes of records that are kept at most: reading more takes longer than making those again that the next run needs. */
const WORTH_READING = 0x40_0000;

/** Bytes of records beyond which a forked process does not get a copy: most of them execute another program soon. */
const WORTH_COPYING = 0x80_0000;
/** New records that are not worth another snapshot. */
const NEARLY = 0x1_0000;
/** Writes to a page with code of which each drops all that it has; from then on one in so many does. */
const FIRST_CHANGES = 4;
const WHOLE_AGAIN = 256;
/** Bytes of a write that is one instruction's. */
const SMALL_WRITE = 64;

/** Why no block starts at an address. */
export type TranslateFailure =
  | { kind: "fault"; address: number }
  | { kind: "invalid"; address: number }
  | { kind: "long"; address: number }
  | { kind: "unimplemented"; instruction: Instruction };

/** Translated blocks by address: records in linear memory, made the first time that an address is executed. */
export class CodeCache {
  readonly #memory: GuestMemory;
  readonly #handlers: Handlers;
  readonly #wasm: TranslatorExports;
  readonly #view: DataView;
  readonly #engine: Engine;
  readonly #decoders = new Map<number, BlockDecoder>();
  /** Places at which compiled regions can be entered: table slot and number of the entry (`install`). */
  readonly #regions = new Map<number, number>();
  /** Handlers of records whose place those of regions took. */
  readonly #displaced = new Map<number, number>();
  /** Writes to pages with code so far. */
  readonly #changes = new Map<number, number>();
  /** Told before what was translated from a part of a page is dropped, and before all is. */
  onInvalidate: (page: number, start: number, end: number) => void = () => {};
  onFlush: () => void = () => {};
  /** Told when handlers beyond the pack have been forgotten: there were too many. */
  onForget: () => void = () => {};
  /** What instructions are by their first bytes. */
  readonly templates: Templates;
  /** Grows at each flush: records from before are gone. */
  generation = 0;
  /** Where records begin that no earlier run has left. */
  #restoredEnd = FIRST_RECORD;
  /** How often code was dropped; the last snapshot for a forked process, and when it was taken. */
  #drops = 0;
  #lastLegacy: { readonly records: Uint8Array; readonly end: number; readonly drops: number } | undefined;
  /** May instructions with this code be used? What CPUID does not report is #UD. */
  allows: (code: Code) => boolean = () => true;
  /** Addresses at which a block must start, so that a probe or breakpoint is seen there. */
  readonly stops = new Set<number>();

  constructor(memory: GuestMemory, engine: Engine) {
    this.#memory = memory;
    this.#engine = engine;
    this.#handlers = engine.handlers;
    this.#wasm = engine.exports;
    this.#view = memory.view;
    this.templates = engine.templates;
    this.#view.setUint32(SHARED.nextRecord, FIRST_RECORD, true);
  }

  get #writer(): RecordWriter {
    return this.#engine.writer;
  }

  /** Blocks made, and instructions in them, since the start. */
  get blocks(): number {
    return this.#view.getUint32(SHARED.blocks, true);
  }

  get instructions(): number {
    return this.#view.getUint32(SHARED.instructions, true);
  }

  /**
   * May translated code find and translate its next blocks by itself? Not while there are `stops`: they are seen by
   * `recordAt` alone.
   */
  set resolves(allowed: boolean) {
    this.#view.setUint32(SHARED.resolves, allowed && this.stops.size === 0 ? 1 : 0, true);
  }

  /** The record at which execution from `address` starts, translating it if need be. */
  recordAt(address: number): number | TranslateFailure {
    return this.#wasm.findAt(address) >>> 0 || this.#translate(address);
  }

  /** Handlers of the blocks that there are, as records name them: what often comes in a row, while nothing is fused. */
  *handlerSlots(): Iterable<readonly number[]> {
    const view = this.#view;
    const end = view.getUint32(SHARED.nextRecord, true);
    for (let at = FIRST_RECORD; at < end; ) {
      const count = Math.max(view.getUint8(at + RECORD.blockRecords), 1);
      yield Array.from({ length: count }, (_, i) => view.getUint32(at + i * RECORD_SIZE + RECORD.handler, true));
      at += count * RECORD_SIZE;
    }
  }

  /** Takes over handlers and templates that were made ahead of time, and fit each other, unless they are there. */
  loadPack(pack: HandlerPack, filtered: boolean): void {
    if (this.#handlers.hasPack || !this.#handlers.loadPack(pack)) return;
    this.#memory.u8.set(pack.fusion, FUSION);
    this.templates.load(pack.templates, filtered ? this.allows : undefined);
    this.templates.markPacked();
  }

  /**
   * The blocks that there are, for `restore` in a later run of the same program; undefined if there are hardly more than
   * were restored, or too many.
   * @param isPristine does a page hold what the program file has for it?
   */
  snapshot(isPristine: (page: number) => boolean): Uint8Array | undefined {
    if (this.instructions < WORTH_KEEPING) return undefined;
    const end = this.#view.getUint32(SHARED.nextRecord, true);
    if (end - FIRST_RECORD > WORTH_READING || !this.#hasNews(end, isPristine)) return undefined;
    return takeSnapshot(this.#memory.u8, FIRST_RECORD, end, isPristine, this.#displaced);
  }

  /** Are there instructions enough in records behind the restored ones that the next run could use? Most are in libraries. */
  #hasNews(end: number, isPristine: (page: number) => boolean): boolean {
    const view = this.#view;
    const pages = new Map<number, boolean>();
    let news = 0;
    for (let at = this.#restoredEnd; at < end && news < WORTH_KEEPING; ) {
      const count = Math.max(view.getUint8(at + RECORD.blockRecords), 1);
      const page = Math.floor(Number(view.getBigUint64(at + RECORD.address, true)) / PAGE_SIZE);
      let usable = pages.get(page);
      if (usable === undefined) {
        usable = isPristine(page);
        pages.set(page, usable);
      }
      if (usable) news += count;
      at += count * RECORD_SIZE;
    }
    return news >= WORTH_KEEPING;
  }

  /**
   * Takes over the blocks of an earlier run. The program must be mapped, as it was then, and nothing may have run; the
   * handlers must be in the same slots.
   * @returns whether that could be done
   */
  restore(saved: Uint8Array): boolean {
    const snapshot = readSnapshot(saved);
    const { space } = this.#memory;
    const isFresh = this.#view.getUint32(SHARED.nextRecord, true) === FIRST_RECORD;
    if (!isFresh || snapshot?.first !== FIRST_RECORD) return false;
    if (FIRST_RECORD + snapshot.records.length > RECORDS_END) return false;
    if (!snapshot.pages.every((page) => inWindow(page * PAGE_SIZE) && space.isExecutable(page))) return false;
    this.#memory.u8.set(snapshot.records, FIRST_RECORD);
    const end = FIRST_RECORD + snapshot.records.length;
    this.#wasm.restore(FIRST_RECORD, end);
    this.#view.setUint32(SHARED.nextRecord, end, true);
    this.#restoredEnd = end;
    this.#view.setUint32(SHARED.nextBlock, this.#handlers.nextBlock, true);
    this.#handlers.make();
    for (const page of snapshot.pages) space.pages.markCodeAt(page * PAGE_SIZE, true);
    return true;
  }

  /**
   * Takes over what another core with the same memory contents has translated, as a forked process begins; nothing has run
   * here. What can't be taken over is translated again.
   */
  inherit(from: CodeCache): void {
    if (!this.#handlers.agreesWith(from.#handlers)) return;
    this.#engine.catchUp();
    const records = from.#legacy();
    if (records !== undefined) this.restore(records);
  }

  /** A snapshot for a forked process: what there is now, or nearly so. */
  #legacy(): Uint8Array | undefined {
    const end = this.#view.getUint32(SHARED.nextRecord, true);
    if (end - FIRST_RECORD > WORTH_COPYING) return undefined;
    const known = this.#lastLegacy;
    if (known !== undefined && known.drops === this.#drops && end - known.end < NEARLY) return known.records;
    const { codePages } = this.#memory.space.pages;
    const records = takeSnapshot(this.#memory.u8, FIRST_RECORD, end, (page) => codePages.has(page), this.#displaced);
    this.#lastLegacy = records && { records, end, drops: this.#drops };
    return records;
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

  /** The 8 bytes at an address, if they can be read. */
  wordAt(address: number): bigint | undefined {
    if (this.#memory.accessible(address, 8, PROT_READ) < 8) return undefined;
    return this.#memory.readU64(address);
  }

  /**
   * From now on execution that comes to `address` goes to the region in table slot `slot`.
   * @param entry number of the entry in the region's middle, or 0 for its start
   */
  install(address: number, slot: number, entry: number): void {
    this.#regions.set(address, slot | (entry << 16));
    const known = this.#wasm.findAt(address) >>> 0;
    const handler = known === 0 ? ENTER_HANDLER : this.#view.getUint32(known + RECORD.handler, true);
    if (handler !== ENTER_HANDLER) this.#displaced.set(known, handler);
    const record = known || this.#entryRecord(address);
    if (record !== 0) this.#view.setUint32(record + RECORD.handler, ENTER_HANDLER, true);
    this.enterLookup(address, record);
  }

  /** A record that does nothing but lead to a region; 0 if there is no room. */
  #entryRecord(address: number): number {
    const view = this.#view;
    const record = view.getUint32(SHARED.nextRecord, true);
    if (record + RECORD_SIZE > RECORDS_END || view.getUint32(SHARED.indexed, true) >= MAX_INDEXED) return 0;
    this.#writeNext(record, address, 0);
    view.setUint8(record + RECORD.blockRecords, 1);
    view.setUint32(SHARED.nextRecord, record + RECORD_SIZE, true);
    this.#wasm.insert(BigInt(address), record);
    return record;
  }

  /** A page of code; undefined if it can't be executed, or lies outside the window. */
  pageBytes(page: number): Uint8Array | undefined {
    const start = page * PAGE_SIZE;
    if (!inWindow(start) || !this.#isThere(start)) return undefined;
    return this.#memory.u8.subarray(start, start + PAGE_SIZE);
  }

  /** What lies in a page, for a compiler that has no other way to it; a change of its code is told (`onInvalidate`). */
  copyPage(page: number): { page: number; isExecutable: boolean; isReadable: boolean; bytes: Uint8Array } {
    const start = page * PAGE_SIZE;
    const may = (need: number): boolean => this.#memory.accessible(start, PAGE_SIZE, need) === PAGE_SIZE;
    const [isExecutable, isReadable] = [may(PROT_EXEC), may(PROT_READ)];
    if (isExecutable) this.#memory.space.pages.markCodeAt(start, true);
    const none = new Uint8Array(0);
    const bytes =
      isExecutable || isReadable ? this.#fetch(start, PAGE_SIZE, isExecutable ? PROT_EXEC : PROT_READ) : none;
    return { page, isExecutable, isReadable, bytes: bytes.slice() };
  }

  /** Marks pages that a region was made from: a write to one drops it. */
  guard(pages: readonly number[]): void {
    for (const page of pages) this.#memory.space.pages.markCodeAt(page * PAGE_SIZE, true);
  }

  /** Forgets a region's entry, and the record that led to it. */
  uninstall(address: number): void {
    if (!this.#regions.delete(address)) return;
    const record = this.#wasm.findAt(address) >>> 0;
    if (record !== 0) {
      this.#displaced.delete(record);
      this.#wasm.remove(BigInt(address));
      this.#view.setUint32(record + RECORD.handler, STALE_HANDLER, true);
      this.#view.setUint8(record + RECORD.blockRecords, 0);
    }
    const slot = LOOKUP_TABLE + (address % (1 << LOOKUP_BITS)) * 16;
    if (this.#view.getBigUint64(slot, true) !== BigInt(address)) return;
    this.#view.setUint32(slot + 8, 0, true);
    this.#view.setUint32(slot + 12, 0, true);
  }

  /** Has what a record was made from changed? */
  isDropped(record: number): boolean {
    const handler = this.#view.getUint32(record + RECORD.handler, true);
    return handler === STALE_HANDLER || handler === FORWARD_HANDLER;
  }

  /** Lets a record that was dropped lead to the one that took its place: others may be linked to it. */
  forward(stale: number, address: number, record: number): void {
    if (!this.isDropped(stale)) return;
    // It counts as the instruction that it was: who leaves it pays for those before it, and there are none.
    this.#writeNext(stale, address, 1);
    this.#view.setUint32(stale + RECORD.handler, FORWARD_HANDLER, true);
    this.#view.setUint32(stale + RECORD.linkNext, record, true);
  }

  /**
   * A record of one instruction, for single steps: made anew each time, never linked and never found by jumps. It is
   * valid until the next call.
   */
  single(address: number): number | TranslateFailure {
    if (this.#handlers.isFull(1)) this.#forgetForms();
    const block = this.#decode(address, SINGLE, 1);
    if ("kind" in block) return block;
    if (!block.ends) this.#writeNext(SINGLE + RECORD_SIZE, block.end, 1);
    this.#handlers.make();
    return SINGLE;
  }

  #translate(address: number): number | TranslateFailure {
    const view = this.#view;
    const isFull = view.getUint32(SHARED.nextRecord, true) + (MAX_BLOCK + 1) * RECORD_SIZE > RECORDS_END;
    if (isFull || view.getUint32(SHARED.indexed, true) >= MAX_INDEXED) this.flush();
    // A program may have more forms than there are slots: some have an immediate in them.
    if (this.#handlers.isFull(MAX_BLOCK)) this.#forgetForms();
    const first = view.getUint32(SHARED.nextRecord, true);
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
    view.setUint8(first + RECORD.blockRecords, records);
    view.setUint32(SHARED.nextRecord, first + records * RECORD_SIZE, true);
    view.setUint32(SHARED.blocks, this.blocks + 1, true);
    view.setUint32(SHARED.instructions, this.instructions + count, true);
    view.setUint32(SHARED.nextBlock, this.#handlers.nextBlock, true);
    this.#handlers.make();
    this.#wasm.fuse(first, first + records * RECORD_SIZE);
    this.#wasm.insert(BigInt(address), first);
    return first;
  }

  /** Decodes from an address to the end of the block, at most `most` instructions; writes the records from `record` on. */
  #decode(
    address: number,
    record: number,
    most = MAX_BLOCK,
  ): { count: number; end: number; ends: boolean } | TranslateFailure {
    let at = address;
    for (let count = 0; ; ) {
      if (this.stops.size === 0) {
        const status = this.#decodeByTemplates(at, record + count * RECORD_SIZE, count, most);
        if (status !== undefined) {
          count = this.#view.getUint32(SHARED.count, true);
          at = this.#view.getUint32(SHARED.address, true);
          if (status === DECODED.page) continue;
          if (status !== DECODED.unknown) return { count, end: at, ends: status === DECODED.ends };
        }
      }
      const decoder = this.#decoderAt(at);
      if (decoder === undefined) return count > 0 ? { count, end: at, ends: false } : { kind: "fault", address: at };
      decoder.seek(at);
      const failure = decoder.step();
      const row = failure === undefined ? this.#writer.rowOf(decoder) : undefined;
      if (row === undefined || !this.allows(decoder.raw.code)) {
        if (count > 0) return { count, end: at, ends: false };
        return this.#failure(at, failure, row, decoder);
      }
      const { length } = decoder.raw;
      this.#writer.write(record + count * RECORD_SIZE, decoder, row, at, ++count);
      const isPlain = inWindow(at) && inWindow(at + length - 1);
      if (isPlain) this.templates.learn(this.#memory.u8.slice(at, at + length), decoder, row);
      at += length;
      if (row.ends || count === most || this.stops.has(at)) return { count, end: at, ends: row.ends };
    }
  }

  /**
   * Learns from an instruction that is not in guest memory: its handler is made by the next `make`, its template is
   * there at once. For packs that are made ahead of time.
   * @param general make a template for all registers, if that can be
   * @returns its length, and whether its last byte, an immediate, is part of the form; undefined if it is not one
   */
  teach(code: Uint8Array, general = false): { length: number; immediateInForm: boolean } | undefined {
    const decoder = new BlockDecoder(code, 0);
    try {
      const row = decoder.step() === undefined ? this.#writer.rowOf(decoder) : undefined;
      if (row === undefined || !this.allows(decoder.raw.code)) return undefined;
      const { length } = decoder.raw;
      this.#writer.write(SCRATCH_RECORD, decoder, row, 0, 1);
      const own = code.slice(0, length);
      const known = this.templates.knows(own) || (general && this.templates.learnShape(own, decoder, row));
      if (!known) {
        decoder.seek(0);
        decoder.step();
        this.templates.learn(own, decoder, row);
      }
      return { length, immediateInForm: row.immediateInForm ?? false };
    } finally {
      decoder.free();
    }
  }

  /** Can the page of an address in the window be executed? If its contents are not there yet, they are brought in. */
  #isThere(address: number): boolean {
    const { space } = this.#memory;
    const page = Math.floor(address / PAGE_SIZE);
    if (space.pages.window(page) & PERM_ABSENT) space.pageIn(address);
    return (space.pages.window(page) & PROT_EXEC) !== 0;
  }

  /** Decodes by templates as far as they go, within a page; undefined where they can't be used at all. */
  #decodeByTemplates(at: number, record: number, count: number, most: number): number | undefined {
    const { pages } = this.#memory.space;
    const page = Math.floor(at / PAGE_SIZE);
    const pageEnd = (page + 1) * PAGE_SIZE;
    if (!inWindow(at) || !inWindow(pageEnd) || !this.#isThere(at)) return undefined;
    pages.markCodeAt(page * PAGE_SIZE, true);
    let limit = pageEnd;
    if (this.#isThere(pageEnd)) {
      pages.markCodeAt(pageEnd, true);
      limit += MAX_INSTRUCTION;
    }
    return this.#wasm.decode(at, record, count, most, limit, pageEnd);
  }

  #failure(
    at: number,
    failure: DecodeFailure | undefined,
    row: InstructionRow | undefined,
    decoder: BlockDecoder,
  ): TranslateFailure {
    const available = this.#memory.accessible(at, MAX_INSTRUCTION, PROT_EXEC);
    // Fifteen bytes that go on are too long an instruction; fewer end at a page that can't be executed.
    if (failure === "truncated" && available < MAX_INSTRUCTION) return { kind: "fault", address: at + available };
    if (failure !== undefined && exceedsLimit(this.#memory.readBytes(at, available)))
      return { kind: "long", address: at };
    if (failure === "truncated") return { kind: "invalid", address: at };
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

  #fetch(address: number, length: number, need = PROT_EXEC): Uint8Array {
    const pieces = this.#memory.pieces(address, length, need);
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

  /**
   * Drops what was translated from a page, or of it what a write to `bytes` bytes at `address` changes: its records leave
   * at once when they are reached.
   *
   * At first all of the page goes, so that one that holds code no longer is written to without further ado. Where code
   * comes back, and is written to again, as where data lies beside it or calls are patched, only what has changed goes,
   * and the page goes on being watched; now and then all of it does, to see if there is still code.
   */
  invalidate(page: number, address = page * PAGE_SIZE, bytes = PAGE_SIZE): void {
    // The decoder of the page before has copied this page's first bytes.
    this.#dropDecoder(page);
    this.#dropDecoder(page - 1);
    this.#drops++;
    const changes = (this.#changes.get(page) ?? 0) + 1;
    this.#changes.set(page, changes);
    if (changes > FIRST_CHANGES && changes % WHOLE_AGAIN !== 0 && bytes <= SMALL_WRITE) {
      this.onInvalidate(page, address, address + bytes);
      this.#wasm.dropRange(BigInt(address), BigInt(address + bytes));
      return;
    }
    const start = page * PAGE_SIZE;
    this.onInvalidate(page, start, start + PAGE_SIZE);
    this.#wasm.dropRange(BigInt(start), BigInt(start + PAGE_SIZE));
    this.#memory.space.pages.markCodeAt(start, false);
  }

  /** Drops handlers, and everything that names them. Only between two entries into guest code. */
  #forgetForms(): void {
    this.flush();
    this.#engine.forget();
    this.onForget();
  }

  /** Drops everything: the records are full. Only between two entries into guest code. */
  flush(): void {
    this.onFlush();
    const u8 = this.#memory.u8;
    u8.fill(0, LOOKUP_TABLE, LOOKUP_TABLE + (16 << LOOKUP_BITS));
    this.#dropDecoders();
    for (const page of [...this.#memory.space.pages.codePages])
      this.#memory.space.pages.markCodeAt(page * PAGE_SIZE, false);
    u8.fill(0, BLOCK_INDEX, BLOCK_INDEX + (16 << BLOCK_INDEX_BITS));
    this.#displaced.clear();
    this.#view.setUint32(SHARED.indexed, 0, true);
    this.#view.setUint32(SHARED.nextRecord, FIRST_RECORD, true);
    this.#restoredEnd = FIRST_RECORD;
    this.generation++;
    this.#drops++;
    this.#lastLegacy = undefined;
  }
}
