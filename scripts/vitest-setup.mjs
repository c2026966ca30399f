// Builds dist/ once before the tests, if a source is newer: the tests of the command run what is shipped.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

function newest(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && !entry.name.endsWith(".test.ts"))
    .reduce((latest, entry) => Math.max(latest, statSync(`${entry.parentPath}/${entry.name}`).mtimeMs), 0);
}

/** Folders whose tests run the machine from its sources. */
const WITHOUT_COMMAND = /^(emu\/(?!interpreter)|loader|syscalls)\//;

/** Were tests named, and do all of them do without the command? */
function isForSources() {
  const named = process.argv
    .slice(2)
    .filter((argument) => /\.test\.ts$|^[a-z]+(\/|$)/.test(argument) && argument !== "run");
  return named.length > 0 && named.every((argument) => WITHOUT_COMMAND.test(`${argument}/`));
}

export function setup() {
  if (isForSources()) return;
  if (process.env.GOEMU_COMMAND !== undefined) return;
  const command = `${root}dist/goemu.js`;
  const sources = ["cli", "emu", "host", "loader", "observe", "syscalls"].filter((folder) => existsSync(root + folder));
  const latest = Math.max(statSync(`${root}index.ts`).mtimeMs, ...sources.map((folder) => newest(root + folder)));
  if (existsSync(command) && statSync(command).mtimeMs > latest) return;
  execFileSync(process.execPath, [`${root}scripts/build.mjs`], { stdio: "inherit" });
}
