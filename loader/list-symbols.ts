import type { Func, SymbolTable } from "./symbols/table.ts";

/** The functions whose name `pattern` matches, by address; all of them without a pattern. Throws SymbolError. */
export function listSymbols(symbols: SymbolTable, pattern?: RegExp): readonly Func[] {
  if (pattern === undefined) {
    return symbols.functions;
  }
  // A pattern with the g or y flag would start each test where the last one ended.
  const matcher = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ""));
  return symbols.functions.filter(({ name }) => matcher.test(name));
}

/** One line a function: address, size in bytes, name, as `nm -S` orders them. */
export function formatSymbol({ address, size, name }: Func): string {
  return `${address.toString(16).padStart(16, "0")} ${size.toString(16).padStart(8, "0")} ${name}`;
}
