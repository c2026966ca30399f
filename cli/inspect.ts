import { disassemble, formatDisassembly, resolveRange, SYNTAXES, type Syntax } from "../loader/disassemble.ts";
import { inspectExecutable } from "../loader/elf.ts";
import { describe, formatInfo } from "../loader/info.ts";
import { formatSymbol, listSymbols } from "../loader/list-symbols.ts";
import { SymbolTable } from "../loader/symbols/table.ts";
import { SYSCALLS } from "../syscalls/syscalls.ts";
import { parseChoice } from "./arguments.ts";
import { CliError } from "./failure.ts";
import { openProgram } from "./program-file.ts";

/** Takes output line by line. */
export type Print = (line: string) => void;

const json = (value: unknown): string =>
  JSON.stringify(value, (_key, item) => (typeof item === "bigint" ? Number(item) : item));

/** `goemu info FILE`. */
export function info(file: string, options: { json?: boolean }, print: Print): void {
  const { executable, problem } = inspectExecutable(openProgram(file), file);
  const description = describe(executable, problem);
  print(options.json ? json({ version: 1, ...description }) : formatInfo(description).trimEnd());
}

/** `goemu disasm FILE [SYMBOL|ADDR[,LEN]]`; without a place the function at the entry point. */
export function disasm(
  file: string,
  place: string | undefined,
  options: { syntax: string; json?: boolean },
  print: Print,
): void {
  const syntax: Syntax = parseChoice("--syntax", options.syntax, SYNTAXES);
  const { executable } = inspectExecutable(openProgram(file), file);
  const symbols = new SymbolTable(executable);
  const range = resolveRange(symbols, place ?? `0x${executable.entry.toString(16)}`);
  const instructions = disassemble(executable, symbols, { ...range, syntax });
  if (!options.json) {
    for (const line of formatDisassembly(instructions)) print(line);
    return;
  }
  for (const { address, bytes, text, function: func, source } of instructions) {
    const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    print(json({ address, bytes: hex, text, function: func?.name ?? null, source: source ?? null }));
  }
}

/** `goemu symbols FILE [REGEX]`. */
export function symbols(file: string, pattern: string | undefined, options: { json?: boolean }, print: Print): void {
  let regex: RegExp | undefined;
  try {
    regex = pattern === undefined ? undefined : new RegExp(pattern);
  } catch (error) {
    throw new CliError(`symbols: "${pattern}" is no regular expression: ${(error as Error).message}`);
  }
  const { executable } = inspectExecutable(openProgram(file), file);
  for (const symbol of listSymbols(new SymbolTable(executable), regex))
    print(options.json ? json(symbol) : formatSymbol(symbol));
}

/** `goemu syscalls`: what is there, and what of it is left out. */
export function syscalls(options: { json?: boolean }, print: Print): void {
  for (const row of SYSCALLS) {
    if (row === undefined) continue;
    const { number, name, args, note } = row;
    print(
      options.json
        ? json({ number, name, args, note })
        : `${String(number).padStart(3)} ${name.padEnd(20)} ${note}`.trimEnd(),
    );
  }
}
