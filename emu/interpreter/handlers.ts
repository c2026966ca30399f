import type { Instruction } from "../decode/instruction.ts";
import type { InstructionRow } from "../semantics/index.ts";
import type { ModuleBuilder } from "../wasm/module.ts";
import { buildFormModule } from "./form-module.ts";
import { fusionTable } from "./fusion.ts";
import { HelperLibrary } from "./helper-library.ts";
import { instantiateShared } from "./instantiate.ts";
import { FIRST_SPECIAL_HANDLER, STALE_HANDLER } from "./slots.ts";

/** Slots of the function table: 0 is the stale handler, then one a form as they come up. */
export const FIRST_FORM = STALE_HANDLER + 1;

/** What is not an instruction of its own: the record that ends a block which was cut. */
const NEXT_KEY = -1;

/** What a handler is made from: an instruction of the form and its row; neither for the end of a cut block. */
export interface Form {
  readonly key: number;
  readonly instruction: Instruction | undefined;
  readonly row: InstructionRow | undefined;
}

/** What was made when goemu was built (scripts/pack-handlers.mjs): it fits the code that made it, and no other. */
export interface HandlerPack {
  /** The functions that handlers share (core-module.ts), and the constant tables from HELPER_TABLES on. */
  readonly core: Uint8Array;
  readonly tables: Uint8Array;
  /**
   * The handlers of some forms, and behind them of so many sequences of these, the helpers that they call, and a module
   * of these helpers.
   */
  readonly keys: readonly number[];
  readonly sequences: number;
  readonly module: Uint8Array;
  readonly helpers: readonly string[];
  readonly helperModule: Uint8Array;
  /** What makes a sequence (fusion.ts). */
  readonly fusion: Uint8Array;
  /** Decode templates of these forms (templates.ts). */
  readonly templates: Uint8Array;
  /** Makes an instance of one of the modules, for whoever has machine code of them or wants it. */
  readonly instantiate?: PackInstantiate;
}

/** The modules of a pack, by the names of its fields. */
export type PackModule = "core" | "module" | "helperModule";
export type PackInstantiate = (
  name: PackModule,
  bytes: Uint8Array,
  imports: WebAssembly.Imports,
) => WebAssembly.Instance;

/** A module of handlers in consecutive slots: what they are for, and which helpers they call. */
interface MadeModule {
  readonly keys: readonly number[];
  readonly helpers: readonly string[];
  readonly module: Uint8Array;
}

/**
 * The handlers of instruction forms. A form is what a handler is made for: the opcode (iced's Code), the kind of
 * address, the prefixes that matter. Forms are made when a block first needs them, those of one block together in a
 * module.
 */
export class Handlers {
  readonly #imports: WebAssembly.ModuleImports;
  readonly #helpers: HelperLibrary;
  readonly #indices = new Map<number, number>();
  #wanted: (Form & { index: number })[] = [];
  readonly #forms = new Map<number, Form>();
  /** Modules made in this run or taken over from an earlier one, in the order of their slots. */
  readonly #modules: MadeModule[] = [];
  #next = FIRST_FORM;
  /** First slot behind the pack. */
  #packed = FIRST_FORM;
  /** Where slots for handlers end. */
  limit = FIRST_SPECIAL_HANDLER;
  /** Were handlers made since the start? */
  changed = false;

  /** @param imports memory, table, slow and commit, for the modules' env; helpers come to it */
  constructor(imports: WebAssembly.ModuleImports, helpers: HelperLibrary) {
    this.#imports = imports;
    this.#helpers = helpers;
  }

  /**
   * Forms made ahead of time, in one module: most of what programs start with.
   * @returns whether they could be used
   */
  loadPack(pack: HandlerPack): boolean {
    const usable = this.#next === FIRST_FORM && pack.keys.length > 0;
    if (!usable) return false;
    for (const key of pack.keys) this.#indices.set(key, this.#next++);
    this.#next += pack.sequences;
    const make: PackInstantiate = pack.instantiate ?? ((_, ...args) => instantiateShared(...args));
    this.#helpers.load(pack.helpers, pack.helperModule, (...args) => make("helperModule", ...args));
    make("module", pack.module, { env: this.#imports });
    this.#packed = this.#next;
    return true;
  }

  /** The forms that came up so far, to be made ahead of time. */
  get forms(): readonly Form[] {
    return [...this.#forms.values()];
  }

  /**
   * A module of forms for a pack, with the helpers that they need.
   * @param sequences numbers of forms that are often in a row, with all their beginnings of two or more
   */
  static makePack(
    forms: readonly Form[],
    sequences: readonly (readonly number[])[],
    helpers: HelperLibrary,
  ): Pick<HandlerPack, "keys" | "sequences" | "module" | "helpers" | "helperModule" | "fusion"> {
    const used = new Set<string>();
    const importHelper = (target: ModuleBuilder, name: string): number => {
      used.add(name);
      return helpers.importInto(target, name);
    };
    const module = buildFormModule(forms, FIRST_FORM, importHelper, sequences);
    const made = HelperLibrary.build([...used], new Set());
    const slots = sequences.map((sequence) => sequence.map((i) => FIRST_FORM + i));
    return {
      keys: forms.map(({ key }) => key),
      sequences: sequences.length,
      module,
      helpers: made.names,
      helperModule: made.module,
      fusion: fusionTable(slots, FIRST_FORM + forms.length),
    };
  }

  /** The form that a handler is for, by its slot, if it was made in this run. */
  formAt(slot: number): Form | undefined {
    for (const [key, index] of this.#indices) if (index === slot) return this.#forms.get(key);
    return undefined;
  }

  /** Number of forms so far. */
  get count(): number {
    return this.#next - FIRST_FORM;
  }

  /** May a block of `forms` instructions need more slots than there are left? */
  isFull(forms: number): boolean {
    return this.#next + forms + 1 > this.limit;
  }

  /** Forgets all handlers but the pack's: records and templates that name others must be gone. */
  forget(): void {
    for (const [key, index] of this.#indices) if (index >= this.#packed) this.#indices.delete(key);
    this.#wanted = [];
    this.#forms.clear();
    this.#modules.length = 0;
    this.#next = this.#packed;
    this.changed = true;
  }

  /** Table index of the handler for an instruction; it exists after the next `make`. */
  indexOf(instruction: Instruction, row: InstructionRow): number {
    return this.#index(keyOf(instruction, row), instruction, row);
  }

  /** Table index of the handler that goes on at the next block. */
  get nextBlock(): number {
    return this.#index(NEXT_KEY, undefined, undefined);
  }

  #index(key: number, instruction: Instruction | undefined, row: InstructionRow | undefined): number {
    let index = this.#indices.get(key);
    if (index === undefined) {
      index = this.#next++;
      this.#indices.set(key, index);
      const form = { key, index, instruction, row };
      this.#wanted.push(form);
      this.#forms.set(key, form);
    }
    return index;
  }

  /** Makes the handlers that were asked for since the last time. */
  make(): void {
    if (this.#wanted.length === 0) return;
    const used = new Set<string>();
    const module = buildFormModule(this.#wanted, this.#wanted[0].index, (target, name) => {
      used.add(name);
      return this.#helpers.importInto(target, name);
    });
    this.#modules.push({ keys: this.#wanted.map(({ key }) => key), helpers: [...used], module });
    this.#wanted = [];
    this.changed = true;
    this.#instantiate(module);
  }

  /** Makes an instance; other cores may want one too (inherit). */
  #instantiate(module: Uint8Array): void {
    instantiateShared(module, { env: this.#imports });
  }

  /**
   * Takes over the handlers of another core with the same pack, in the same slots; nothing has been made here.
   * @returns whether that could be done
   */
  inherit(from: Handlers): boolean {
    if (this.#next !== this.#packed || from.#packed !== this.#packed || from.#wanted.length > 0) return false;
    this.#helpers.inherit(from.#helpers);
    for (const made of from.#modules) {
      for (const key of made.keys) this.#indices.set(key, this.#next++);
      this.#instantiate(made.module);
      this.#modules.push(made);
    }
    return true;
  }

  /** The handlers beyond the pack, for `restore` in a later run with the same pack. */
  save(): Uint8Array {
    const index = this.#modules.map(({ keys, helpers, module }) => ({ keys, helpers, bytes: module.length }));
    const text = new TextEncoder().encode(JSON.stringify({ first: this.#packed, modules: index }));
    const out = new Uint8Array(4 + text.length + this.#modules.reduce((sum, { module }) => sum + module.length, 0));
    new DataView(out.buffer).setUint32(0, text.length, true);
    out.set(text, 4);
    let at = 4 + text.length;
    for (const { module } of this.#modules) {
      out.set(module, at);
      at += module.length;
    }
    return out;
  }

  /** Makes the handlers that an earlier run made, in the same slots; returns false if that cannot be. */
  restore(saved: Uint8Array): boolean {
    const length = new DataView(saved.buffer, saved.byteOffset).getUint32(0, true);
    const text = new TextDecoder().decode(saved.subarray(4, 4 + length));
    const { first, modules } = JSON.parse(text) as {
      first: number;
      modules: { keys: number[]; helpers: string[]; bytes: number }[];
    };
    if (this.#next !== first) return false;
    let at = 4 + length;
    for (const { keys, helpers, bytes } of modules) {
      for (const key of keys) this.#indices.set(key, this.#next++);
      for (const name of helpers) this.#helpers.require(name);
      const module = saved.subarray(at, at + bytes);
      at += bytes;
      this.#instantiate(module);
      this.#modules.push({ keys, helpers, module });
    }
    return true;
  }
}

/** One number for everything that tells two handlers apart. */
function keyOf(instruction: Instruction, row: InstructionRow): number {
  const { memory } = instruction;
  let key: number = instruction.code;
  const add = (value: number, values: number): void => {
    key = key * values + value;
  };
  add(memory?.form ?? 0, 4);
  add(memory?.segment ?? instruction.segment, 3);
  add(memory?.address32 || instruction.stringAddress === 32 ? 1 : 0, 2);
  add(instruction.prefixes, 8);
  if (row.immediateInForm) {
    const immediate = instruction.operands.findLast((operand) => operand.kind === "immediate");
    add(Number((immediate?.value ?? 0n) & 0xffn), 256);
  } else add(0, 256);
  if (instruction.vex) {
    add(instruction.opmask === 0 ? 0 : 1, 2);
    add(instruction.zeroing ? 1 : 0, 2);
    add(instruction.broadcast ? 1 : 0, 2);
    add(instruction.rounding, 8);
    add(instruction.suppressExceptions ? 1 : 0, 2);
  } else add(0, 128);
  return key;
}
