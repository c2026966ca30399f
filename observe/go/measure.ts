// Prints releases.ts from executables with DWARF and symbols, one of each Go release:
//   node observe/go/measure.ts work-go1.9 work-go1.10 … > observe/go/releases.ts
import { readFileSync } from "node:fs";
import { readExecutable } from "../../loader/elf.ts";
import { ProgramImage } from "../../loader/symbols/image.ts";
import { SymbolTable } from "../../loader/symbols/table.ts";
import { FIELDS, minorOf, offsetsFromDwarf } from "./layout.ts";

const releases = process.argv.slice(2).map((path) => {
  const executable = readExecutable(new Uint8Array(readFileSync(path)), path);
  const symbols = new SymbolTable(executable);
  const minor = minorOf(symbols.goVersion);
  const offsets = offsetsFromDwarf(executable);
  if (minor === undefined || offsets === undefined) throw new Error(`${path}: no Go version or no DWARF`);
  return { minor, offsets, waitReasons: waitReasons(executable, symbols) };
});
releases.sort((a, b) => a.minor - b.minor);

/** The strings of runtime.waitReasonStrings (Go runtime/runtime2.go). */
function waitReasons(executable: ReturnType<typeof readExecutable>, symbols: SymbolTable): string[] {
  const address = symbols.symbolAddress("runtime.waitReasonStrings");
  const size = address === undefined ? 0 : (symbols.variableAt(address)?.size ?? 0);
  const image = new ProgramImage(executable);
  return Array.from({ length: size / 16 }, (_, i) =>
    new TextDecoder().decode(image.goStringAt((address ?? 0) + i * 16)),
  );
}

const lines = [
  "// Measured by measure.ts from executables of each release; layout.test.ts checks it.",
  "",
  "/** N of the Go 1.N that the columns of OFFSETS stand for. */",
  `export const RELEASES: readonly number[] = [${releases.map(({ minor }) => minor).join(", ")}];`,
  "",
  "/** Byte offsets of the runtime's fields by release; -1 where a release does not have the field. */",
  "export const OFFSETS: Readonly<Record<string, readonly number[]>> = {",
];
for (const field of FIELDS) {
  const name = field.replace("?", "") as keyof (typeof releases)[0]["offsets"];
  lines.push(`  "${name}": [${releases.map(({ offsets }) => offsets[name] ?? -1).join(", ")}],`);
}
lines.push("};", "", "/** Names of g.waitreason's values, from the release on that is the key. */");
lines.push("export const WAIT_REASONS: Readonly<Record<number, readonly string[]>> = {");
let before = "[]";
for (const { minor, waitReasons: reasons } of releases) {
  const text = JSON.stringify(reasons);
  if (text !== before) lines.push(`  ${minor}: ${text},`);
  before = text;
}
lines.push("};");
console.log(lines.join("\n"));
