import { accessBytes, OPCODES, type Opcode } from "./opcodes.ts";
import { heapType, type ParsedFunction, type ParsedModule, parseModule, typeName } from "./parse.ts";
import { type Reader, WasmFormatError } from "./reader.ts";

export interface TextOptions {
  /**
   * Comments to print before an instruction, a line each.
   * @param index of the function
   * @param offset of the instruction from the start of the function's body, as the branch hinting proposal counts it
   */
  readonly comments?: (index: number, offset: number) => readonly string[];
}

/** Deeper code is indented no further: regions nest a block for each merge. */
const MAX_INDENT = 24;
/** Width of the lines that declare locals. */
const WIDTH = 100;

/**
 * A module's types, imports and functions in WebAssembly's text format (core spec, 6), instructions flat, indented by
 * their nesting. Names are those of the custom section "name". Exports, elements and data are left out.
 * @throws WasmFormatError for bytes that are no module, and for sections and instructions that are not known here
 */
export function moduleText(bytes: Uint8Array, options: TextOptions = {}): string {
  const module = parseModule(bytes);
  const lines = ["(module"];
  for (const [i, { params, results }] of module.types.entries())
    lines.push(`  (type ${comment(i)}(func${list("param", params)}${list("result", results)}))`);
  for (const { module: from, name, what } of module.imports)
    lines.push(`  (import ${JSON.stringify(from)} ${JSON.stringify(name)} ${what})`);
  for (const definition of module.functions) lines.push(...new FunctionPrinter(module, definition, options).print());
  lines.push(")");
  return `${lines.join("\n")}\n`;
}

const comment = (index: number): string => `(;${index};) `;
const list = (word: string, types: readonly number[]): string =>
  types.length === 0 ? "" : ` (${word} ${types.map(typeName).join(" ")})`;

/** A block, loop or if that is open: where its first line is, and its label, which is printed if a branch names it. */
interface Open {
  readonly line: number;
  readonly label: string;
  elseLine: number;
  isNamed: boolean;
}

/** Prints one function. */
class FunctionPrinter {
  readonly #module: ParsedModule;
  readonly #function: ParsedFunction;
  readonly #options: TextOptions;
  readonly #lines: string[] = [];
  readonly #open: Open[] = [];
  #labels = 0;

  constructor(module: ParsedModule, definition: ParsedFunction, options: TextOptions) {
    this.#module = module;
    this.#function = definition;
    this.#options = options;
  }

  print(): string[] {
    const { index, code, bodyStart, hints } = this.#function;
    this.#head();
    for (;;) {
      const offset = code.at - bodyStart;
      for (const text of this.#options.comments?.(index, offset) ?? []) this.#line(`;; ${text}`);
      const opcode = readOpcode(code);
      if (opcode.name === "end" && this.#open.length === 0) break;
      this.#instruction(opcode, hints.get(offset));
    }
    if (!code.isDone) throw new WasmFormatError(`code behind the end of function ${index}`);
    this.#lines.push("  )");
    return this.#lines;
  }

  /** Name, type, parameters and locals. */
  #head(): void {
    const { index, type, params, results, locals } = this.#function;
    const name = this.#module.functionNames.get(index);
    const declare = (word: string, first: number, types: readonly number[]): string[] => {
      const declarations: string[] = [];
      for (let i = 0; i < types.length; ) {
        const local = this.#local(first + i);
        if (local.startsWith("$")) {
          declarations.push(`(${word} ${local} ${typeName(types[i++])})`);
          continue;
        }
        // Those without names share parentheses.
        const run: string[] = [];
        for (; i < types.length && !this.#local(first + i).startsWith("$"); i++) run.push(typeName(types[i]));
        declarations.push(`(${word} ${run.join(" ")})`);
      }
      return declarations;
    };
    const head = [`(func ${name ?? comment(index).trim()} (type ${type})`, ...declare("param", 0, params)];
    this.#lines.push(`  ${head.join(" ")}${list("result", results)}`);
    let line = "";
    for (const declaration of declare("local", params.length, locals)) {
      if (line !== "" && line.length + declaration.length > WIDTH) {
        this.#line(line);
        line = "";
      }
      line += line === "" ? declaration : ` ${declaration}`;
    }
    if (line !== "") this.#line(line);
  }

  #line(text: string, depth = this.#open.length): number {
    return this.#lines.push("  ".repeat(Math.min(depth, MAX_INDENT) + 2) + text) - 1;
  }

  #local(index: number): string {
    return this.#function.localNames.get(index) ?? String(index);
  }

  #instruction({ name, immediate }: Opcode, likely: boolean | undefined): void {
    const hint = likely === undefined ? "" : `  ;; ${likely ? "likely" : "unlikely"}`;
    if (name === "end") {
      const { line, label, elseLine, isNamed } = this.#open.pop() as Open;
      if (isNamed) {
        for (const at of [line, elseLine])
          if (at >= 0) this.#lines[at] = this.#lines[at].replace(/\w+/, `$& $${label}`);
      }
      this.#line(isNamed ? `end $${label}` : "end");
      return;
    }
    if (name === "else") {
      const open = this.#open.at(-1);
      if (open === undefined) throw new WasmFormatError("else outside of a function's blocks");
      open.elseLine = this.#line("else", this.#open.length - 1);
      return;
    }
    const text = `${name}${this.#immediate(name, immediate)}${hint}`;
    const line = this.#line(text);
    if (immediate === "block")
      this.#open.push({ line, label: `${name}${++this.#labels}`, elseLine: -1, isNamed: false });
  }

  /** What follows the instruction's name, with a space in front. */
  #immediate(name: string, kind: Opcode["immediate"]): string {
    const { code } = this.#function;
    switch (kind) {
      case "none":
        return "";
      case "block":
        return this.#blockType();
      case "label":
        return ` ${this.#label(code.u32())}`;
      case "labels":
        return ` ${[...code.vector(() => this.#label(code.u32())), this.#label(code.u32())].join(" ")}`;
      case "function":
        return ` ${this.#functionName(code.u32())}`;
      case "indirect": {
        const type = code.u32();
        const table = code.u32();
        return `${table === 0 ? "" : ` ${table}`} (type ${type})`;
      }
      case "types":
        return list(
          "result",
          code.vector(() => code.byte()),
        );
      case "local":
        return ` ${this.#local(code.u32())}`;
      case "global":
      case "table":
        return ` ${code.u32()}`;
      case "heapType":
        return ` ${heapType(code.signed(33))}`;
      case "memory":
        return this.#place(name);
      case "memoryLane":
        return `${this.#place(name)} ${code.byte()}`;
      case "memoryIndex":
        return memoryIndex(code.u32());
      case "memoryIndices":
        return memoryIndex(code.u32() | code.u32());
      case "i32":
        return ` ${integer(code.signed(32))}`;
      case "i64":
        return ` ${integer(code.signed(64))}`;
      case "f32":
        return ` ${float(code.bytes(4))}`;
      case "f64":
        return ` ${float(code.bytes(8))}`;
      case "v128":
        return ` i32x4 ${Array.from({ length: 4 }, () => word(code.bytes(4))).join(" ")}`;
      case "lane":
        return ` ${code.byte()}`;
      case "lanes":
        return ` ${code.bytes(16).join(" ")}`;
    }
  }

  /** Nothing, one result, or the type of parameters and results, as a signed number (core spec, 5.4.1). */
  #blockType(): string {
    const type = Number(this.#function.code.signed(33));
    if (type >= 0) return ` (type ${type})`;
    return type === -64 ? "" : list("result", [type & 0x7f]);
  }

  #label(depth: number): string {
    const open = this.#open.at(-1 - depth);
    // The function's body is a block, too.
    if (open === undefined) return String(depth);
    open.isNamed = true;
    return `$${open.label}`;
  }

  #functionName(index: number): string {
    return this.#module.functionNames.get(index) ?? String(index);
  }

  #place(name: string): string {
    const { code } = this.#function;
    const align = 2 ** code.u32();
    const offset = code.u32();
    return (
      (offset === 0 ? "" : ` offset=${integer(BigInt(offset))}`) +
      (align === accessBytes(name) ? "" : ` align=${align}`)
    );
  }
}

function readOpcode(code: Reader): Opcode {
  const { at } = code;
  const first = code.byte();
  const isPrefix = first === 0xfc || first === 0xfd;
  const number = isPrefix ? (first << 12) | code.u32() : first;
  const opcode = OPCODES.get(number);
  if (opcode === undefined) throw new WasmFormatError(`unknown opcode 0x${number.toString(16)} at byte ${at}`);
  return opcode;
}

function memoryIndex(index: number): string {
  if (index !== 0) throw new WasmFormatError("more than one memory");
  return "";
}

/** Hexadecimal where it is likely to be an address or a mask. */
function integer(value: bigint): string {
  const magnitude = value < 0n ? -value : value;
  return magnitude < 1024n ? String(value) : `${value < 0n ? "-" : ""}${hexOf(magnitude)}`;
}

const word = (bytes: Uint8Array): string => hexOf(view(bytes).getUint32(0, true));
const hexOf = (value: number | bigint): string => `0x${value.toString(16)}`;
const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/** A float of 4 or 8 bytes, in the fewest digits that mean this value. */
function float(bytes: Uint8Array): string {
  const isDouble = bytes.length === 8;
  const bits = isDouble ? view(bytes).getBigUint64(0, true) : BigInt(view(bytes).getUint32(0, true));
  const value = isDouble ? view(bytes).getFloat64(0, true) : view(bytes).getFloat32(0, true);
  const mantissaBits = isDouble ? 52n : 23n;
  const sign = bits >> (isDouble ? 63n : 31n) ? "-" : "";
  if (Number.isNaN(value)) return `${sign}nan:${hexOf(bits & ((1n << mantissaBits) - 1n))}`;
  const magnitude = Math.abs(value);
  if (magnitude === Number.POSITIVE_INFINITY) return `${sign}inf`;
  return sign + (isDouble ? magnitude : shortest(magnitude));
}

function shortest(single: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const rounded = Number(single.toPrecision(digits));
    if (Math.fround(rounded) === single) return rounded;
  }
  return single;
}
