import { BlockDecoder, MAX_INSTRUCTION } from "../decode/decoder.ts";
import type { Instruction } from "../decode/instruction.ts";
import { LOOKUP_BITS, LOOKUP_TABLE, PAGE_SIZE, PROT_EXEC, RECORDS, RECORDS_END } from "../layout.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";
import { type InstructionRow, rowOf } from "../semantics/index.ts";
import { type Handlers, STALE_HANDLER } from "./handlers.ts";
import { RECORD, RECORD_SIZE } from "./record.ts";

/** Longest block, in instructions: bounds how far a thread overruns its time slice. */
const MAX_BLOCK = 64;
/** Code bytes handed to the decoder at first; most blocks are shorter. */
const FETCH = 96;

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
  #nextRecord = RECORDS;
  /** Blocks made, and instructions in them, since the start. */
  blocks = 0;
  instructions = 0;
  /** Grows at each flush: records from before are gone. */
  generation = 0;
  /** May an instruction be used? What CPUID does not report is #UD. */
  allows: (instruction: Instruction) => boolean = () => true;
  /** Addresses at which a block must start, so that a probe or breakpoint is seen there. */
  readonly stops = new Set<number>();

  constructor(memory: GuestMemory, handlers: Handlers) {
    this.#memory = memory;
    this.#handlers = handlers;
    this.#view = memory.view;
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
  }

  #translate(address: number): number | TranslateFailure {
    const block = this.#decode(address);
    if (!Array.isArray(block)) return block;
    const size = (block.length + 1) * RECORD_SIZE;
    if (this.#nextRecord + size > RECORDS_END) this.flush();
    const first = this.#nextRecord;
    for (const [i, { instruction, row }] of block.entries()) this.#write(first + i * RECORD_SIZE, instruction, row, i + 1);
    let records = block.length;
    const last = block[block.length - 1];
    if (!last.row.ends) {
      // The record that goes on behind the block pays for its instructions.
      this.#writeNext(first + records * RECORD_SIZE, last.instruction, block.length);
      records++;
    }
    this.#handlers.make();
    this.#nextRecord += records * RECORD_SIZE;
    this.#records.set(address, first);
    this.blocks++;
    this.instructions += block.length;
    const end = last.instruction.address + last.instruction.length;
    this.#register({ record: first, instructions: records, address }, address, end);
    return first;
  }

  #decode(address: number): { instruction: Instruction; row: InstructionRow }[] | TranslateFailure {
    const block: { instruction: Instruction; row: InstructionRow }[] = [];
    let at = address;
    for (let more = true; more; ) {
      const available = this.#memory.accessible(at, FETCH, PROT_EXEC);
      if (available === 0) return block.length > 0 ? block : { kind: "fault", address: at };
      const decoder = new BlockDecoder(this.#fetch(at, available), at);
      try {
        more = false;
        for (;;) {
          const instruction = decoder.next();
          if (instruction === "truncated" || instruction === "invalid") {
            const left = available - (at - decoder.start);
            if (instruction === "truncated" && left < available) more = true;
            else if (block.length === 0) {
              const short = instruction === "truncated" && available < MAX_INSTRUCTION;
              return short ? { kind: "fault", address: at + available } : { kind: "invalid", address: at };
            }
            break;
          }
          const row = rowOf(instruction);
          if (row === undefined || !this.allows(instruction)) {
            if (block.length > 0) return block;
            return row === undefined ? { kind: "unimplemented", instruction } : { kind: "invalid", address: at };
          }
          block.push({ instruction, row });
          at += instruction.length;
          if (row.ends || block.length === MAX_BLOCK || this.stops.has(at)) return block;
        }
      } finally {
        decoder.free();
      }
    }
    return block;
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

  #write(record: number, instruction: Instruction, row: InstructionRow, count: number): void {
    const view = this.#view;
    view.setUint32(record + RECORD.handler, this.#handlers.indexOf(instruction, row), true);
    view.setUint16(record + RECORD.count, count, true);
    let immediates = 0;
    for (const [i, operand] of instruction.operands.entries()) {
      if (operand.kind === "register") view.setUint16(record + RECORD.operand + i * 2, operand.offset, true);
      else if (operand.kind === "branch") view.setBigUint64(record + RECORD.immediate, operand.value, true);
      else if (operand.kind === "immediate") {
        if (immediates++ === 0) view.setBigInt64(record + RECORD.immediate, BigInt.asIntN(64, operand.value), true);
        else view.setInt32(record + RECORD.immediate2, Number(BigInt.asIntN(32, operand.value)), true);
      }
    }
    const { memory } = instruction;
    if (memory !== undefined) {
      view.setUint16(record + RECORD.base, memory.base, true);
      view.setUint16(record + RECORD.index, memory.index, true);
      view.setUint8(record + RECORD.shift, memory.shift);
      view.setBigInt64(record + RECORD.displacement, memory.displacement, true);
    }
    view.setUint32(record + RECORD.linkTaken, 0, true);
    view.setUint32(record + RECORD.linkNext, 0, true);
    view.setBigUint64(record + RECORD.address, BigInt(instruction.address), true);
    view.setBigUint64(record + RECORD.next, BigInt(instruction.address + instruction.length), true);
  }

  #writeNext(record: number, last: Instruction, count: number): void {
    const view = this.#view;
    const end = BigInt(last.address + last.length);
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
    const blocks = this.#blocksOfPage.get(page);
    if (blocks === undefined) return;
    this.#blocksOfPage.delete(page);
    for (const block of blocks) this.#drop(block);
    this.#memory.space.pages.markCodeAt(page * PAGE_SIZE, false);
  }

  #drop(block: Block): void {
    if (this.#records.get(block.address) === block.record) this.#records.delete(block.address);
    for (let i = 0; i < block.instructions; i++) {
      this.#view.setUint32(block.record + i * RECORD_SIZE + RECORD.handler, STALE_HANDLER, true);
    }
    const slot = LOOKUP_TABLE + (block.address % (1 << LOOKUP_BITS)) * 16;
    if (this.#view.getUint32(slot + 8, true) === block.record) this.#view.setUint32(slot + 8, 0, true);
  }

  /** Drops everything: the records are full. Only between two entries into guest code. */
  flush(): void {
    const u8 = this.#memory.u8;
    u8.fill(0, LOOKUP_TABLE, LOOKUP_TABLE + (16 << LOOKUP_BITS));
    for (const page of this.#blocksOfPage.keys()) this.#memory.space.pages.markCodeAt(page * PAGE_SIZE, false);
    this.#blocksOfPage.clear();
    this.#records.clear();
    this.#nextRecord = RECORDS;
    this.generation++;
  }
}
