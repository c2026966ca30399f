import { F32, F64, I32, I64, V128 } from "./expr.ts";
import { Reader, WasmFormatError } from "./reader.ts";

/** A function's type; types as the binary format has them. */
export interface ParsedSignature {
  readonly params: readonly number[];
  readonly results: readonly number[];
}

/** A function that a module defines. */
export interface ParsedFunction extends ParsedSignature {
  /** Among all functions, imports first. */
  readonly index: number;
  /** Index of its type. */
  readonly type: number;
  /** Types of its locals, without the parameters. */
  readonly locals: readonly number[];
  /** Identifiers of parameters and locals that have a name. */
  readonly localNames: ReadonlyMap<number, string>;
  /** Where its body starts in the module: the declaration of its locals. */
  readonly bodyStart: number;
  /** At its first instruction. */
  readonly code: Reader;
  /** By offset from the body's start: is a branch likely to be taken, an `if` to be true (branch hinting proposal)? */
  readonly hints: ReadonlyMap<number, boolean>;
}

export interface ParsedModule {
  readonly types: readonly ParsedSignature[];
  /** Imports, with what they are in the text format. */
  readonly imports: readonly { readonly module: string; readonly name: string; readonly what: string }[];
  readonly functions: readonly ParsedFunction[];
  /** Identifiers of functions that have a name; of imports, too. */
  readonly functionNames: ReadonlyMap<number, string>;
}

const SECTION = { custom: 0, type: 1, import: 2, function: 3, code: 10 } as const;
const LAST_SECTION = 13;
const MAX_LOCALS = 50_000;
const TYPE_NAMES: ReadonlyMap<number, string> = new Map([
  [I32, "i32"],
  [I64, "i64"],
  [F32, "f32"],
  [F64, "f64"],
  [V128, "v128"],
  [0x70, "funcref"],
  [0x6f, "externref"],
]);

/** The name of a number, vector or reference type of one byte. */
export function typeName(type: number): string {
  const name = TYPE_NAMES.get(type);
  if (name === undefined) throw new WasmFormatError(`unknown type 0x${type.toString(16)}`);
  return name;
}

/**
 * Reads what the text of a module's functions needs (core spec, 5.5). Code is not looked at yet.
 * @throws WasmFormatError for bytes that are no module
 */
export function parseModule(bytes: Uint8Array): ParsedModule {
  const reader = new Reader(bytes);
  if (reader.bytes(8).join(" ") !== "0 97 115 109 1 0 0 0") throw new WasmFormatError("no WebAssembly module");
  const sections = new Map<number | string, Reader>();
  while (!reader.isDone) {
    const id = reader.byte();
    const section = reader.part(reader.u32());
    if (id > LAST_SECTION) throw new WasmFormatError(`unknown section ${id}`);
    sections.set(id === SECTION.custom ? section.name() : id, section);
  }
  const vector = <T>(section: number | string, read: (from: Reader) => T): T[] =>
    sections.get(section)?.vector(read) ?? [];
  const types = vector(SECTION.type, readSignature);
  const names = new Names();
  const imports = vector(SECTION.import, (from) => readImport(from, names));
  names.importsEnd = names.functionCount;
  const typeIndices = vector(SECTION.function, (from) => from.u32());
  readNames(sections.get("name"), names);
  const hints = new Map(vector("metadata.code.branch_hint", readHints));
  const functions = vector(SECTION.code, (from) => from.part(from.u32())).map((code, i): ParsedFunction => {
    const index = names.importsEnd + i;
    const signature = types[typeIndices[i]];
    if (signature === undefined) throw new WasmFormatError(`function ${index} has no type`);
    return {
      ...signature,
      index,
      type: typeIndices[i],
      bodyStart: code.at,
      locals: readLocals(code),
      localNames: names.locals.get(index) ?? new Map(),
      code,
      hints: hints.get(index) ?? new Map(),
    };
  });
  return { types, imports, functions, functionNames: names.functions };
}

/** Names as they come in, made identifiers. */
class Names {
  readonly functions = new Map<number, string>();
  readonly locals = new Map<number, Map<number, string>>();
  functionCount = 0;
  importsEnd = 0;
}

function readSignature(from: Reader): ParsedSignature {
  const form = from.byte();
  if (form !== 0x60) throw new WasmFormatError(`a type that is no function's: 0x${form.toString(16)}`);
  const params = from.vector(() => from.byte());
  return { params, results: from.vector(() => from.byte()) };
}

function readImport(from: Reader, names: Names): ParsedModule["imports"][number] {
  const module = from.name();
  const name = from.name();
  const kind = from.byte();
  switch (kind) {
    case 0: {
      const id = addName(names.functions, names.functionCount++, name);
      return { module, name, what: `(func ${id} (type ${from.u32()}))` };
    }
    case 1: {
      const type = readReference(from);
      return { module, name, what: `(table ${readLimits(from)} ${type})` };
    }
    case 2:
      return { module, name, what: `(memory ${readLimits(from)})` };
    case 3: {
      const type = typeName(from.byte());
      return { module, name, what: `(global ${from.byte() === 1 ? `(mut ${type})` : type})` };
    }
  }
  throw new WasmFormatError(`unknown import ${kind}`);
}

/** A table's type; with an index of a type where it is the function references proposal's. */
function readReference(from: Reader): string {
  const form = from.byte();
  if (form !== 0x63 && form !== 0x64) return typeName(form);
  return `(ref ${form === 0x63 ? "null " : ""}${heapType(from.signed(33))})`;
}

/** What a reference may refer to. */
export function heapType(type: bigint): string {
  if (type >= 0n) return String(type);
  const name = new Map([
    [0x70n, "func"],
    [0x6fn, "extern"],
  ]).get(type & 0x7fn);
  if (name === undefined) throw new WasmFormatError(`unknown heap type ${type}`);
  return name;
}

function readLimits(from: Reader): string {
  const flags = from.byte();
  if (flags > 3) throw new WasmFormatError(`unknown limits ${flags}`);
  const least = from.u32();
  return `${least}${flags & 1 ? ` ${from.u32()}` : ""}${flags & 2 ? " shared" : ""}`;
}

function readLocals(code: Reader): number[] {
  const runs = code.vector(() => [code.u32(), code.byte()] as const);
  const count = runs.reduce((sum, [length]) => sum + length, 0);
  if (count > MAX_LOCALS) throw new WasmFormatError(`${count} locals`);
  return runs.flatMap(([length, type]) => Array.from({ length }, () => type));
}

function readHints(from: Reader): [number, Map<number, boolean>] {
  const index = from.u32();
  const hints = from.vector(() => {
    const offset = from.u32();
    return [offset, from.bytes(from.u32())[0] === 1] as const;
  });
  return [index, new Map(hints)];
}

/** Names of functions and of their locals (core spec, 7.4.1). */
function readNames(section: Reader | undefined, names: Names): void {
  while (section !== undefined && !section.isDone) {
    const id = section.byte();
    const part = section.part(section.u32());
    if (id === 1) part.vector(() => addName(names.functions, part.u32(), part.name()));
    if (id !== 2) continue;
    part.vector(() => {
      const locals = new Map<number, string>();
      names.locals.set(part.u32(), locals);
      part.vector(() => addName(locals, part.u32(), part.name()));
    });
  }
}

/** Makes an identifier of a name: what it may not hold becomes an underscore, and none stands twice (core spec, 6.3.5). */
function addName(names: Map<number, string>, index: number, name: string): string {
  const plain = `$${name.replace(/[^\w!#$%&'*+\-./:<=>?@\\^`|~]/g, "_")}`;
  names.delete(index);
  const id = new Set(names.values()).has(plain) ? `${plain}.${index}` : plain;
  names.set(index, id);
  return id;
}
