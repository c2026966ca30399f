import { Mnemonic } from "iced-x86";
import type { Instruction } from "../decode/instruction.ts";
import { withEmbeddedRounding } from "./embedded-rounding.ts";
import type { Translator } from "./translator.ts";

/** What an instruction does: one row a mnemonic, read by both tiers. */
export interface InstructionRow {
  /** Where the SDM describes it. */
  readonly sdm: string;
  readonly emit: (e: Translator) => void;
  /** It may go elsewhere than to the next instruction, or leaves guest code: a block ends with it. */
  readonly ends: boolean;
  /** It returns from a call: where it goes is what a caller may be waiting for. */
  readonly returns: boolean;
  /** Its last immediate selects what it does, so that it is known when the code is made (PSHUFD, CMPPS, …). */
  readonly immediateInForm: boolean;
  /** LOCK is allowed with a memory destination (SDM Vol. 2A, LOCK). */
  readonly lockable: boolean;
}

type Options = Partial<Pick<InstructionRow, "ends" | "returns" | "immediateInForm" | "lockable">>;

const rows = new Map<Mnemonic, InstructionRow>();
/** MOVSD and CMPSD name a string instruction as well as an SSE one: string instructions have rows of their own. */
const stringRows = new Map<Mnemonic, InstructionRow>();
/** EVEX instructions that do otherwise than the VEX ones of the same name, or that have none. */
const evexRows = new Map<Mnemonic, InstructionRow>();
/** All rows as EVEX instructions use them, as they come up. */
const evexReady = new Map<Mnemonic, InstructionRow | undefined>();

/** Defines what the given instructions do. A second definition of one is an error. */
export function define(
  names: keyof typeof Mnemonic | readonly (keyof typeof Mnemonic)[],
  sdm: string,
  emit: (e: Translator) => void,
  options: Options = {},
): void {
  add(rows, names, sdm, emit, options);
}

/** Defines a string instruction: one whose operands are at RSI and RDI. */
export function defineString(name: keyof typeof Mnemonic, sdm: string, emit: (e: Translator) => void): void {
  add(stringRows, name, sdm, emit, {});
}

/** Defines EVEX instructions: in place of the row that `define` gave the mnemonic, if it did. */
export function defineEvex(
  names: keyof typeof Mnemonic | readonly (keyof typeof Mnemonic)[],
  sdm: string,
  emit: (e: Translator) => void,
  options: Options = {},
): void {
  add(evexRows, names, sdm, emit, options);
}

function add(
  table: Map<Mnemonic, InstructionRow>,
  names: keyof typeof Mnemonic | readonly (keyof typeof Mnemonic)[],
  sdm: string,
  emit: (e: Translator) => void,
  options: Options,
): void {
  for (const name of typeof names === "string" ? [names] : (names as readonly (keyof typeof Mnemonic)[])) {
    const mnemonic = Mnemonic[name];
    if (mnemonic === undefined) throw new Error(`the decoder knows no ${name}`);
    if (table.has(mnemonic)) throw new Error(`${name} is defined twice`);
    table.set(mnemonic, {
      sdm,
      emit,
      ends: false,
      returns: false,
      immediateInForm: false,
      lockable: false,
      ...options,
    });
  }
}

/** The row of an instruction; undefined if it is not implemented. */
export function rowOf(instruction: Instruction): InstructionRow | undefined {
  const { mnemonic, stringAddress } = instruction;
  if (instruction.evex) return evexRowOf(mnemonic);
  // MASKMOVDQU also goes by RDI, without being a string instruction.
  return (stringAddress !== 0 ? stringRows.get(mnemonic) : undefined) ?? rows.get(mnemonic);
}

function evexRowOf(mnemonic: Mnemonic): InstructionRow | undefined {
  if (evexReady.has(mnemonic)) return evexReady.get(mnemonic);
  const row = evexRows.get(mnemonic) ?? rows.get(mnemonic);
  const ready = row && { ...row, emit: withEmbeddedRounding(row.emit) };
  evexReady.set(mnemonic, ready);
  return ready;
}

/** Every mnemonic with a row. */
export function implementedMnemonics(): Set<Mnemonic> {
  return new Set([...rows.keys(), ...stringRows.keys(), ...evexRows.keys()]);
}
