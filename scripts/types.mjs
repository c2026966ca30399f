// Writes the type declarations of the package into dist/types: those that index.d.ts leads to, and nothing that whoever
// installs the package would have to have beside it. What iced-x86 declares comes along; Node's own types are not used.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const types = join(root, "dist/types");
const ICED = "iced-x86";
const icedFile = join(types, `${ICED}.d.ts`);
/** `… from "x"` and `import("x")`, in code. */
const IMPORT = /^(?:import|export)\b[^;]*?\bfrom "([^"]+)"|\bimport\("([^"]+)"\)/gm;

rmSync(types, { recursive: true, force: true });
mkdirSync(types, { recursive: true });
execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.types.json"], {
  cwd: root,
  stdio: "inherit",
});
// Its comments are nine tenths of it, about instructions that nobody sees through this package.
const iced = readFileSync(join(root, "node_modules", ICED, "iced_x86.d.ts"), "utf8");
writeFileSync(icedFile, iced.replaceAll(/\/\*.*?\*\//gs, "").replaceAll(/^\s*\n/gm, ""));

const reached = new Set();
const open = [join(types, "index.d.ts")];
for (let file = open.pop(); file !== undefined; file = open.pop()) {
  if (reached.has(file)) continue;
  reached.add(file);
  // A module that is imported for what it does has no types to give.
  const text = readFileSync(file, "utf8").replaceAll(/^import "[^"]+";\n/gm, "");
  for (const [, from, inline] of text.matchAll(IMPORT)) {
    const name = from ?? inline;
    if (name.startsWith(".")) open.push(join(dirname(file), name.replace(/\.ts$/, ".d.ts")));
    else if (name === ICED) open.push(icedFile);
    else throw new Error(`${relative(root, file)} needs the types of ${name}: mark what uses them @internal`);
  }
  const beside = `./${relative(dirname(file), icedFile).replace(/\.d\.ts$/, ".ts")}`;
  writeFileSync(file, text.replaceAll(`"${ICED}"`, `"${beside}"`));
}
for (const { name, parentPath } of readdirSync(types, { recursive: true, withFileTypes: true })) {
  const file = join(parentPath, name);
  if (name.endsWith(".d.ts") && !reached.has(file)) rmSync(file);
}
