import type { Code } from "iced-x86";
import { BlockDecoder, MAX_INSTRUCTION } from "../decode/decoder.ts";
import type { Instruction } from "../decode/instruction.ts";
import { PAGE_SIZE } from "../layout.ts";
import type { PageCopy } from "./compile-protocol.ts";
import type { CodeBytes } from "./region-compiler.ts";

/** Pages that are kept: 4 KiB each, and a decoder of that size. */
const MAX_PAGES = 1024;

/** A page has to be seen, and is not here. */
export class MissingPage extends Error {
  readonly page: number;

  constructor(page: number) {
    super(`page ${page} is missing`);
    this.page = page;
  }
}

/** Copies of a guest's pages, for a compiler that does not share its memory. Whoever asks for others gets MissingPage. */
export class CodePages implements CodeBytes {
  readonly #allows: (code: Code) => boolean;
  readonly #pages = new Map<number, PageCopy>();
  readonly #decoders = new Map<number, BlockDecoder>();
  /** Pages that have just come: that they lack a right is still so. */
  readonly #fresh = new Set<number>();

  /** @param allows may instructions with this code be used? */
  constructor(allows: (code: Code) => boolean) {
    this.#allows = allows;
  }

  add(copy: PageCopy): void {
    if (this.#pages.size >= MAX_PAGES && !this.#pages.has(copy.page)) this.#makeRoom();
    this.forget(copy.page);
    this.#pages.set(copy.page, copy);
    this.#fresh.add(copy.page);
  }

  /** The page has changed. */
  forget(page: number): void {
    this.#pages.delete(page);
    this.#fresh.delete(page);
    this.#dropDecoder(page);
    // It has copied this page's first bytes.
    this.#dropDecoder(page - 1);
  }

  clear(): void {
    for (const page of [...this.#pages.keys()]) this.forget(page);
  }

  /** Time has passed: what could not be accessed may be accessible now. */
  age(): void {
    this.#fresh.clear();
  }

  version(page: number): number {
    return this.#pages.get(page)?.version ?? 0;
  }

  instructionAt(address: number): Instruction | undefined {
    const page = Math.floor(address / PAGE_SIZE);
    const decoder = this.#decoderAt(page);
    if (decoder === undefined) return undefined;
    decoder.seek(address);
    let failure = decoder.step();
    if (failure === "truncated" && this.#executable(page + 1) !== undefined) {
      this.#dropDecoder(page);
      const longer = this.#decoderAt(page) as BlockDecoder;
      longer.seek(address);
      failure = longer.step();
      if (failure === undefined) return this.#allows(longer.raw.code) ? longer.current() : undefined;
    }
    if (failure !== undefined || !this.#allows(decoder.raw.code)) return undefined;
    return decoder.current();
  }

  wordAt(address: number): bigint | undefined {
    let word = 0n;
    for (let i = 7; i >= 0; i--) {
      const bytes = this.#readable(Math.floor((address + i) / PAGE_SIZE));
      if (bytes === undefined) return undefined;
      word = (word << 8n) | BigInt(bytes[(address + i) % PAGE_SIZE]);
    }
    return word;
  }

  #executable(page: number): Uint8Array | undefined {
    return this.#with(page, ({ isExecutable }) => isExecutable);
  }

  #readable(page: number): Uint8Array | undefined {
    return this.#with(page, ({ isReadable }) => isReadable);
  }

  #with(page: number, may: (copy: PageCopy) => boolean): Uint8Array | undefined {
    const copy = this.#pages.get(page);
    if (copy !== undefined && may(copy)) return copy.bytes;
    if (this.#fresh.has(page)) return undefined;
    throw new MissingPage(page);
  }

  /** The decoder of a page, which sees as far into the next one as an instruction may reach, if that one is here. */
  #decoderAt(page: number): BlockDecoder | undefined {
    const known = this.#decoders.get(page);
    if (known !== undefined) return known;
    const own = this.#executable(page);
    if (own === undefined) return undefined;
    const next = this.#pages.get(page + 1);
    const rest = next?.isExecutable ? next.bytes.subarray(0, MAX_INSTRUCTION - 1) : [];
    const bytes = new Uint8Array(own.length + rest.length);
    bytes.set(own);
    bytes.set(rest, own.length);
    const decoder = new BlockDecoder(bytes, page * PAGE_SIZE);
    this.#decoders.set(page, decoder);
    return decoder;
  }

  #dropDecoder(page: number): void {
    this.#decoders.get(page)?.free();
    this.#decoders.delete(page);
  }

  /** Pages that are needed again will be missed. */
  #makeRoom(): void {
    for (const page of [...this.#pages.keys()]) if (!this.#fresh.has(page)) this.forget(page);
  }
}
