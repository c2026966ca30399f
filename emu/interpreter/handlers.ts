import type { Instruction } from "../decode/instruction.ts";
import { WASM_PAGES } from "../layout.ts";
import type { InstructionRow } from "../semantics/index.ts";
import { I32 } from "../wasm/expr.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import { COMMIT_SIGNATURE, SLOW_SIGNATURE } from "./core-module.ts";
import type { HelperLibrary } from "./helper-library.ts";
import { HANDLER_PARAMS, RecordTranslator } from "./record-translator.ts";

/** Slots of the function table: 0 is the stale handler, then one a form as they come up. */
export const STALE_HANDLER = 0;
const FIRST_FORM = 1;
export const TABLE_SLOTS = 65536;

/** What is not an instruction of its own: the record that ends a block which was cut. */
const NEXT_KEY = -1;

/**
 * The handlers of instruction forms. A form is what a handler is made for: the opcode (iced's Code), the kind of
 * address, the prefixes that matter. Forms are made when a block first needs them, those of one block together in a
 * module.
 */
export class Handlers {
  readonly #imports: WebAssembly.ModuleImports;
  readonly #helpers: HelperLibrary;
  readonly #indices = new Map<number, number>();
  #wanted: { index: number; instruction: Instruction | undefined; row: InstructionRow | undefined }[] = [];
  #next = FIRST_FORM;

  /** @param imports memory, table, slow and commit, for the modules' env; helpers come to it */
  constructor(imports: WebAssembly.ModuleImports, helpers: HelperLibrary) {
    this.#imports = imports;
    this.#helpers = helpers;
  }

  /** Number of forms so far. */
  get count(): number {
    return this.#next - FIRST_FORM;
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
      this.#wanted.push({ index, instruction, row });
    }
    return index;
  }

  /** Makes the handlers that were asked for since the last time. */
  make(): void {
    if (this.#wanted.length === 0) return;
    const module = new ModuleBuilder(WASM_PAGES);
    module.type({ params: HANDLER_PARAMS, results: [I32] });
    const slow = module.import("slow", SLOW_SIGNATURE);
    const commit = module.import("commit", COMMIT_SIGNATURE);
    const helperIndices = new Map<string, number>();
    const helper = (name: string): number => {
      const known = helperIndices.get(name) ?? this.#helpers.importInto(module, name);
      helperIndices.set(name, known);
      return known;
    };
    const translators = this.#wanted.map(({ instruction, row }) => {
      const translator = new RecordTranslator(instruction ?? NO_INSTRUCTION, { slow, commit, helper });
      if (row === undefined) translator.jumpNext();
      else row.emit(translator);
      translator.end();
      return translator;
    });
    const functions = translators.map((translator) => module.add(translator, [I32]));
    module.place(this.#wanted[0].index, functions);
    this.#wanted = [];
    new WebAssembly.Instance(new WebAssembly.Module(module.finish() as Uint8Array<ArrayBuffer>), {
      env: this.#imports,
    });
  }
}

const NO_INSTRUCTION: Instruction = {
  address: 0,
  length: 0,
  code: 0,
  mnemonic: 0,
  operands: [],
  memory: undefined,
  prefixes: 0,
  vex: false,
  opmask: 0,
  zeroing: false,
  broadcast: false,
  rounding: 0,
  suppressExceptions: false,
  flagsRead: 0,
  flagsWritten: 0,
  stringAddress: 0,
  segment: 0,
};

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
