// Bundles the CLI and the library, with the packages they use, into dist/ (one file to load: it halves the time to the
// guest's first instruction, docs/performance.md) and links `goemu` beside the other commands of node_modules/.bin,
// so that `npx goemu` works in a fresh clone right after `npm ci`.
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { fileURLToPath } from "node:url";
import { build, transform } from "esbuild";
import { lazyModules } from "./lazy-modules.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);

// iced-x86 is CommonJS and finds its WebAssembly file beside itself.
const requireFromModule = [
  'import { createRequire as goemuCreateRequire } from "node:module";',
  "const require = goemuCreateRequire(import.meta.url);",
].join("");
const common = {
  outdir: "dist",
  bundle: true,
  platform: "node",
  target: "node24",
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: "none",
  metafile: true,
  plugins: [lazyModules(root)],
  external: ["./iced_x86.cjs", "./main.cjs", "./compiler-service.cjs"],
  logLevel: "warning",
};
// V8 tells what was compiled from another file by its length only.
for (const name of existsSync("dist") ? readdirSync("dist") : [])
  if (/\.(code|machine)$/.test(name)) rmSync(`dist/${name}`);
// Written over in place, so that a command that is just starting finds all its parts; what is left over goes afterwards.
// The command is one CommonJS file behind a small one that looks at Node's version: modules are what a start waits for.
const results = await Promise.all([
  build({ ...common, entryPoints: { goemu: "cli/goemu.ts" }, format: "esm" }),
  build({
    ...common,
    entryPoints: { main: "cli/main.ts" },
    format: "cjs",
    outExtension: { ".js": ".cjs" },
    define: { "import.meta.url": "goemuModuleUrl" },
    banner: { js: 'const goemuModuleUrl = require("node:url").pathToFileURL(__filename).href;' },
  }),
  // The thread that compiles: a small file that turns V8's compile cache on, and what it then loads.
  ...[{ compiler: "host/node/compiler-worker.ts" }, { "compiler-service": "host/node/compiler-service.ts" }].map(
    (entryPoints) =>
      build({
        ...common,
        entryPoints,
        format: "cjs",
        outExtension: { ".js": ".cjs" },
        define: { "import.meta.url": "goemuModuleUrl" },
        banner: { js: 'const goemuModuleUrl = require("node:url").pathToFileURL(__filename).href;' },
      }),
  ),
  // Node prints the line that an error was thrown from: it should be one that can be read.
  build({
    ...common,
    entryPoints: { index: "index.ts" },
    format: "esm",
    banner: { js: requireFromModule },
    lineLimit: 160,
  }),
]);
/** JavaScript without other characters: what is one byte a character takes less time to load. */
function inAscii(source) {
  const escaped = (character) => "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0");
  return source.replaceAll(/[\u0080-\uffff]/g, escaped);
}

const outputs = new Set(results.flatMap(({ metafile }) => Object.keys(metafile.outputs)));
chmodSync("dist/goemu.js", 0o755);
for (const name of readdirSync("dist")) {
  if (/\.js$|^handlers\./.test(name) && !outputs.has(`dist/${name}`)) rmSync(`dist/${name}`);
}
const iced = await transform(readFileSync("node_modules/iced-x86/iced_x86.js", "utf8"), { minifyWhitespace: true });
writeFileSync("dist/iced_x86.cjs", iced.code);
copyFileSync("node_modules/iced-x86/iced_x86_bg.wasm", "dist/iced_x86_bg.wasm");
for (const file of ["dist/main.cjs", "dist/compiler-service.cjs", "dist/iced_x86.cjs"])
  writeFileSync(file, inAscii(readFileSync(file, "utf8")));
execFileSync(process.execPath, ["scripts/pack-handlers.mjs"], { stdio: "inherit" });
try {
  execFileSync(process.execPath, ["scripts/code-cache.mjs"], { stdio: "inherit" });
} catch (error) {
  console.warn(`goemu will take longer to start: ${error.message}`);
}
const licences = [
  ["iced-x86", "LICENSE.txt"],
  ["commander", "LICENSE"],
  ["elfy", "README.md"],
  ["endian-reader", "README.md"],
].map(
  ([name, file]) => `${name}\n${"=".repeat(name.length)}\n\n${readFileSync(`node_modules/${name}/${file}`, "utf8")}`,
);
writeFileSync("dist/THIRD-PARTY.txt", licences.join("\n\n"));

if (existsSync("node_modules/.bin")) {
  if (process.platform === "win32") {
    writeFileSync("node_modules/.bin/goemu.cmd", '@node "%~dp0\\..\\..\\dist\\goemu.js" %*\r\n');
  } else {
    rmSync("node_modules/.bin/goemu", { force: true });
    symlinkSync("../../dist/goemu.js", "node_modules/.bin/goemu");
  }
}
if (process.env.npm_command === "publish" || process.env.npm_command === "pack" || process.argv.includes("--types")) {
  execFileSync(process.execPath, ["scripts/types.mjs"], { stdio: "inherit" });
}
