// Bundles the CLI and the library into dist/ and links `goemu` beside the other commands of node_modules/.bin,
// so that `npx goemu` works in a fresh clone right after `npm ci`.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync, chmodSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
rmSync("dist", { recursive: true, force: true });

await build({
  entryPoints: { goemu: "cli/goemu.ts", index: "index.ts" },
  outdir: "dist",
  bundle: true,
  splitting: true,
  chunkNames: "chunks/[name]-[hash]",
  format: "esm",
  platform: "node",
  target: "node24",
  packages: "external",
  sourcemap: false,
  logLevel: "warning",
});
chmodSync("dist/goemu.js", 0o755);

if (existsSync("node_modules/.bin")) {
  if (process.platform === "win32") {
    writeFileSync("node_modules/.bin/goemu.cmd", '@node "%~dp0\\..\\..\\dist\\goemu.js" %*\r\n');
  } else {
    rmSync("node_modules/.bin/goemu", { force: true });
    symlinkSync("../../dist/goemu.js", "node_modules/.bin/goemu");
  }
}
mkdirSync("dist/types", { recursive: true });
if (process.env.npm_command === "publish" || process.env.npm_command === "pack" || process.argv.includes("--types")) {
  execFileSync("node_modules/.bin/tsc", ["-p", "tsconfig.types.json"], { stdio: "inherit" });
}
