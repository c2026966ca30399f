import type { Instruction } from "../decode/instruction.ts";
import type { InstructionRow } from "../semantics/index.ts";
import type { ModuleBuilder } from "../wasm/module.ts";
import { buildFormModule } from "./form-module.ts";
import { fusionTable } from "./fusion.ts";
import { HelperLibrary } from "./helper-library.ts";
import { instantiateShared } from "./instantiate.ts";
import { FIRST_FORM, KnownForms } from "./known-forms.ts";

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

/**
 * The handlers of instruction forms, in a core's function table. A form is what a handler is made for: the opcode (iced's
 * Code), the kind of address, the prefixes that matter. Forms are made when a block first needs them, those of one block
 * together in a module. Which slot a form has is the same for all cores of a machine (KnownForms); what another one has
 * made gets here with the next `make`.
 */
export class Handlers {
  readonly #imports: WebAssembly.ModuleImports;
  readonly #helpers: HelperLibrary;
  #known: KnownForms;
  /** Of its modules, how many have an instance here. */
  #instances = 0;
  /** Is the pack there? */
  hasPack = false;

  /** @param imports memory, table, slow and commit, for the modules' env; helpers come to it */
  constructor(imports: WebAssembly.ModuleImports, helpers: HelperLibrary, known: KnownForms) {
    this.#imports = imports;
    this.#helpers = helpers;
    this.#known = known;
  }

  /** Were handlers made since the start, here or in another core of the machine? */
  get changed(): boolean {
    return this.#known.modules.length !== this.#known.keptModules;
  }

  /** What handlers there are, for other cores. */
  get known(): KnownForms {
    return this.#known;
  }

  /** Where slots for handlers end. */
  set limit(limit: number) {
    this.#known.limit = limit;
  }

  /**
   * Forms made ahead of time, in one module: most of what programs start with.
   * @returns whether they could be used
   */
  loadPack(pack: HandlerPack): boolean {
    const known = this.#known;
    if (known.packed === FIRST_FORM) {
      if (known.next !== FIRST_FORM || pack.keys.length === 0) return false;
      for (const key of pack.keys) known.indices.set(key, known.next++);
      known.next += pack.sequences;
      known.packed = known.next;
    }
    const make: PackInstantiate = pack.instantiate ?? ((_, ...args) => instantiateShared(...args));
    this.#helpers.load(pack.helpers, pack.helperModule, (...args) => make("helperModule", ...args));
    make("module", pack.module, { env: this.#imports });
    this.hasPack = true;
    return true;
  }

  /** The forms that came up so far, to be made ahead of time. */
  get forms(): readonly Form[] {
    return [...this.#known.forms.values()];
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
    const { indices, forms } = this.#known;
    for (const [key, index] of indices) if (index === slot) return forms.get(key);
    return undefined;
  }

  /** Number of forms so far. */
  get count(): number {
    return this.#known.next - FIRST_FORM;
  }

  /** May a block of `forms` instructions need more slots than there are left? */
  isFull(forms: number): boolean {
    return this.#known.next + forms + 1 > this.#known.limit;
  }

  /** Forgets all handlers but the pack's: records and templates that name others must be gone. Other cores keep theirs. */
  forget(): void {
    const old = this.#known;
    const known = new KnownForms();
    for (const [key, index] of old.indices) if (index < old.packed) known.indices.set(key, index);
    known.next = old.packed;
    known.packed = old.packed;
    known.limit = old.limit;
    this.#known = known;
    this.#helpers.join(known);
    this.#instances = 0;
    // What an earlier run has left is no longer what there is.
    known.keptModules = -1;
    known.keptTemplates = -1;
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
    const known = this.#known;
    let index = known.indices.get(key);
    if (index === undefined) {
      index = known.next++;
      known.indices.set(key, index);
      const form = { key, index, instruction, row };
      known.wanted.push(form);
      known.forms.set(key, form);
    }
    return index;
  }

  /** Makes the handlers that were asked for since the last time, and those that other cores have made. */
  make(): void {
    const known = this.#known;
    if (known.wanted.length > 0) {
      const used = new Set<string>();
      const module = buildFormModule(known.wanted, known.wanted[0].index, (target, name) => {
        used.add(name);
        return this.#helpers.importInto(target, name);
      });
      known.modules.push({ keys: known.wanted.map(({ key }) => key), helpers: [...used], module });
      known.wanted = [];
    }
    this.#instantiate();
  }

  /** Makes instances of the modules that have none here. */
  #instantiate(): void {
    const { modules } = this.#known;
    for (; this.#instances < modules.length; this.#instances++) {
      const { helpers, module } = modules[this.#instances];
      for (const name of helpers) this.#helpers.require(name);
      instantiateShared(module, { env: this.#imports });
    }
  }

  /** Do the slots of another core mean the same here? */
  agreesWith(other: Handlers): boolean {
    return this.#known === other.#known && this.hasPack === other.hasPack;
  }

  /** The handlers beyond the pack, for `restore` in a later run with the same pack. */
  save(): Uint8Array {
    const { modules, packed } = this.#known;
    const index = modules.map(({ keys, helpers, module }) => ({ keys, helpers, bytes: module.length }));
    const text = new TextEncoder().encode(JSON.stringify({ first: packed, modules: index }));
    const out = new Uint8Array(4 + text.length + modules.reduce((sum, { module }) => sum + module.length, 0));
    new DataView(out.buffer).setUint32(0, text.length, true);
    out.set(text, 4);
    let at = 4 + text.length;
    for (const { module } of modules) {
      out.set(module, at);
      at += module.length;
    }
    return out;
  }

  /** Makes the handlers that an earlier run made, in the same slots; returns false if that cannot be: others are there. */
  restore(saved: Uint8Array): boolean {
    const length = new DataView(saved.buffer, saved.byteOffset).getUint32(0, true);
    const text = new TextDecoder().decode(saved.subarray(4, 4 + length));
    const { first, modules } = JSON.parse(text) as {
      first: number;
      modules: { keys: number[]; helpers: string[]; bytes: number }[];
    };
    const known = this.#known;
    if (known.next !== first || !known.isFresh) return false;
    let at = 4 + length;
    for (const { keys, helpers, bytes } of modules) {
      for (const key of keys) known.indices.set(key, known.next++);
      known.modules.push({ keys, helpers, module: saved.subarray(at, at + bytes) });
      at += bytes;
    }
    known.keptModules = known.modules.length;
    this.#instantiate();
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
