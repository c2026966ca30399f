import { Bytes } from "./bytes.ts";
import type { ValType } from "./expr.ts";
import type { FunctionBuilder } from "./function.ts";

export interface Signature {
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
}

/** A function in binary form. */
export interface FunctionBody {
  /** Locals, code and end, without the size in front (core spec, 5.5.13). */
  readonly code: Uint8Array;
  /** Branch hints as FunctionBuilder.hints has them, or empty. */
  readonly hints: Uint8Array;
  /** Names of parameters and locals, for whoever reads the code. */
  readonly localNames?: ReadonlyMap<number, string>;
}

/**
 * A table of references to functions of one signature, of a fixed size: so an indirect call needs no check of the
 * signature, and its bounds check compares with a constant.
 */
export interface TableType {
  /** What the table is called in "env", or as an export. */
  readonly name: string;
  readonly slots: number;
  readonly signature: Signature;
}

interface FunctionImport {
  readonly name: string;
  readonly signature: Signature;
}

/** Binary section ids (core spec, 5.5.2). */
const SECTION = { custom: 0, type: 1, import: 2, function: 3, table: 4, export: 7, element: 9, code: 10 } as const;
/** Prefix of a reference type that may be null (function references proposal, "Binary Format"). */
const REF_NULL = 0x63;

/**
 * Assembles a module whose functions share the emulator's memory and tables of functions, imported from "env".
 * Functions may be placed into the first table at instantiation. The signatures of the tables are the module's first types, in
 * the same order.
 */
export class ModuleBuilder {
  readonly #types: Signature[] = [];
  readonly #imports: FunctionImport[] = [];
  readonly #functions: { body: FunctionBody; type: number; exportAs?: string; name?: string }[] = [];
  readonly #elements: { at: number; functions: number[] }[] = [];
  readonly #memoryPages: number;
  readonly #tables: readonly TableType[];
  readonly #ownsTables: boolean;

  /**
   * @param tables of different signatures
   * @param ownsTables the module makes the tables, and exports them
   */
  constructor(memoryPages: number, tables: readonly TableType[], ownsTables = false) {
    this.#memoryPages = memoryPages;
    this.#tables = tables;
    this.#ownsTables = ownsTables;
    for (const { signature } of tables) this.type(signature);
  }

  /** Index of a signature; equal ones share an index. */
  type(signature: Signature): number {
    const same = (a: readonly ValType[], b: readonly ValType[]): boolean =>
      a.length === b.length && a.every((type, i) => type === b[i]);
    const found = this.#types.findIndex(
      (other) => same(other.params, signature.params) && same(other.results, signature.results),
    );
    return found >= 0 ? found : this.#types.push(signature) - 1;
  }

  /** Imports env.`name`; all imports come before the first `add`. */
  import(name: string, signature: Signature): number {
    if (this.#functions.length > 0) throw new Error("imports come before functions");
    this.type(signature);
    return this.#imports.push({ name, signature }) - 1;
  }

  /**
   * Adds a function and returns its index.
   * @param name what profilers of the host are to show
   */
  add(builder: FunctionBuilder, results: readonly ValType[], exportAs?: string, name?: string): number {
    return this.addBody(builder.body(), { params: builder.params, results }, exportAs, name);
  }

  /** Adds a function that is in binary form already, for a module with the same imports; returns its index. */
  addBody(body: FunctionBody, signature: Signature, exportAs?: string, name?: string): number {
    this.#functions.push({ body, type: this.type(signature), exportAs, name });
    return this.#imports.length + this.#functions.length - 1;
  }

  /** Index that the next function added gets. */
  get functionCount(): number {
    return this.#imports.length + this.#functions.length;
  }

  /** Puts functions into the first table from slot `at` on. */
  place(at: number, functions: number[]): void {
    this.#elements.push({ at, functions });
  }

  /** The module in binary form. */
  finish(): Uint8Array {
    // Modules may be large, and copies of them more than the host has to spare.
    const codeSize = this.#functions.reduce((sum, { body }) => sum + body.code.length + 5, 5);
    const out = new Bytes(codeSize + this.#functions.length * 256 + 0x1000);
    for (const byte of [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]) out.byte(byte);
    const section = (id: number, body: Bytes): void => {
      out.byte(id);
      out.u32(body.length);
      out.bytes(body.view());
    };
    section(SECTION.type, this.#typeSection());
    section(SECTION.import, this.#importSection());
    const functions = new Bytes();
    functions.u32(this.#functions.length);
    for (const { type } of this.#functions) functions.u32(type);
    section(SECTION.function, functions);
    if (this.#ownsTables) {
      const tables = new Bytes();
      tables.u32(this.#tables.length);
      for (const table of this.#tables) this.#tableType(tables, table);
      section(SECTION.table, tables);
    }
    section(SECTION.export, this.#exportSection());
    if (this.#elements.length > 0) section(SECTION.element, this.#elementSection());
    this.#hintSection(out);
    const code = new Bytes(codeSize);
    code.u32(this.#functions.length);
    for (const { body } of this.#functions) {
      code.u32(body.code.length);
      code.bytes(body.code);
    }
    section(SECTION.code, code);
    this.#nameSection(out);
    return out.view().slice();
  }

  /** The custom section of the branch hinting proposal, which comes before the code. */
  #hintSection(out: Bytes): void {
    const hints = new Bytes();
    let count = 0;
    for (const [i, { body }] of this.#functions.entries()) {
      if (body.hints.length === 0) continue;
      hints.u32(this.#imports.length + i);
      hints.bytes(body.hints);
      count++;
    }
    if (count === 0) return;
    const body = new Bytes();
    body.name("metadata.code.branch_hint");
    body.u32(count);
    body.bytes(hints.view());
    out.byte(0);
    out.u32(body.length);
    out.bytes(body.view());
  }

  /** The custom section "name" (core spec, 7.4.1), with names of functions and of locals. */
  #nameSection(out: Bytes): void {
    const functions: [number, string][] = [];
    const locals: [number, ReadonlyMap<number, string>][] = [];
    for (const [i, { name, body }] of this.#functions.entries()) {
      const index = this.#imports.length + i;
      if (name !== undefined) functions.push([index, name]);
      if (body.localNames?.size) locals.push([index, body.localNames]);
    }
    if (functions.length + locals.length === 0) return;
    const section = new Bytes();
    section.name("name");
    const part = (id: number, write: (to: Bytes) => void): void => {
      const content = new Bytes();
      write(content);
      section.byte(id);
      section.u32(content.length);
      section.bytes(content.view());
    };
    if (functions.length > 0) part(1, (to) => writeNames(to, functions));
    if (locals.length > 0)
      part(2, (to) => {
        to.u32(locals.length);
        for (const [index, names] of locals) {
          to.u32(index);
          // In order of the indices.
          writeNames(
            to,
            [...names].sort(([a], [b]) => a - b),
          );
        }
      });
    out.byte(0);
    out.u32(section.length);
    out.bytes(section.view());
  }

  #typeSection(): Bytes {
    const body = new Bytes();
    body.u32(this.#types.length);
    for (const { params, results } of this.#types) {
      body.byte(0x60);
      for (const list of [params, results]) {
        body.u32(list.length);
        for (const type of list) body.byte(type);
      }
    }
    return body;
  }

  #importSection(): Bytes {
    const body = new Bytes();
    body.u32(1 + (this.#ownsTables ? 0 : this.#tables.length) + this.#imports.length);
    body.name("env");
    body.name("memory");
    for (const byte of [2, 1]) body.byte(byte);
    body.u32(this.#memoryPages);
    body.u32(this.#memoryPages);
    for (const table of this.#ownsTables ? [] : this.#tables) {
      body.name("env");
      body.name(table.name);
      body.byte(1);
      this.#tableType(body, table);
    }
    for (const { name, signature } of this.#imports) {
      body.name("env");
      body.name(name);
      body.byte(0);
      body.u32(this.type(signature));
    }
    return body;
  }

  /** References to functions, and the fixed size. */
  #tableType(body: Bytes, { slots, signature }: TableType): void {
    body.byte(REF_NULL);
    body.u32(this.type(signature));
    body.byte(1);
    body.u32(slots);
    body.u32(slots);
  }

  #exportSection(): Bytes {
    const body = new Bytes();
    const exported = this.#functions.flatMap(({ exportAs }, i) =>
      exportAs === undefined ? [] : [[exportAs, this.#imports.length + i] as const],
    );
    const tables = this.#ownsTables ? this.#tables : [];
    body.u32(exported.length + tables.length);
    for (const [i, { name }] of tables.entries()) {
      body.name(name);
      body.byte(1);
      body.u32(i);
    }
    for (const [name, index] of exported) {
      body.name(name);
      body.byte(0);
      body.u32(index);
    }
    return body;
  }

  #elementSection(): Bytes {
    const body = new Bytes();
    body.u32(this.#elements.length);
    for (const { at, functions } of this.#elements) {
      // Active, with table index, type and expressions: the short form has functions of any signature.
      for (const byte of [6, 0, 0x41]) body.byte(byte);
      body.s32(at);
      for (const byte of [0x0b, REF_NULL, 0]) body.byte(byte);
      body.u32(functions.length);
      for (const index of functions) {
        body.byte(0xd2);
        body.u32(index);
        body.byte(0x0b);
      }
    }
    return body;
  }
}

/**
 * The functions of a module that ModuleBuilder made, with one imported table, in order.
 * @throws Error if the module was cut off
 */
export function readBodies(module: Uint8Array): FunctionBody[] {
  let at = 8;
  const u32 = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      if (at >= module.length) throw new Error("the module ends early");
      const byte = module[at++];
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  };
  const hints = new Map<number, Uint8Array>();
  let firstFunction = 0;
  while (at < module.length) {
    const id = module[at++];
    const end = u32() + at;
    if (id === SECTION.code) {
      return Array.from({ length: u32() }, (_, i) => {
        const length = u32();
        at += length;
        if (at > module.length) throw new Error("the module ends early");
        return { code: module.subarray(at - length, at), hints: hints.get(firstFunction + i) ?? new Uint8Array(0) };
      });
    }
    // Of custom sections only the hints come before the code.
    if (id === SECTION.custom) {
      // Not `at += u32()`, which would take the place from before the length is read.
      const name = u32();
      at += name;
      for (let left = u32(); left > 0; left--) {
        const index = u32();
        const start = at;
        for (let count = u32(); count > 0; count--) {
          u32();
          at += 2;
        }
        hints.set(index, module.subarray(start, at));
      }
    }
    // Memory and table come first; the rest are functions.
    if (id === SECTION.import) firstFunction = u32() - 2;
    at = end;
  }
  return [];
}

function writeNames(to: Bytes, names: readonly (readonly [number, string])[]): void {
  to.u32(names.length);
  for (const [index, name] of names) {
    const text = new TextEncoder().encode(name);
    to.u32(index);
    to.u32(text.length);
    to.bytes(text);
  }
}
