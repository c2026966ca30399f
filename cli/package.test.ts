// What `npm pack` makes installs into an empty folder, without a registry, and runs there: as the command, and as a library
// for a TypeScript file that type-checks. dist/ is what the other tests run; the declarations are made here.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nodeProblem } from "../host/node/version.ts";
import packageJson from "../package.json" with { type: "json" };
import { TestFolder } from "./testing/files.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const WORK = join(root, "fixtures/bin/work");
const HELLO = /^(hello, world in goroutine (1|2|main)\n){3}$/;
const folder = new TestFolder();
afterAll(() => folder.remove());

// npm and the installed command look for `node` in the PATH.
const PATH = [dirname(process.execPath), process.env.PATH].join(delimiter);
const hasNpm = spawnSync("npm", ["--version"], { env: { PATH } }).status === 0;

/** Runs something in the folder; returns what it printed. @throws with all of it if it failed */
function run(command: string, args: readonly string[], cwd = folder.path): string {
  const env = { PATH, npm_config_cache: join(folder.path, "npm-cache"), npm_config_update_notifier: "false" };
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, env, encoding: "utf8", timeout: 120_000 });
  if (error !== undefined || status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error ?? stdout + stderr}`);
  return stdout;
}

/** A program for the installed library, which has no types but the package's own. */
const PROGRAM = `
import { type ExitStatus, type HostFileSystem, Machine, MemoryHost, NodeHost, type Probes } from "goemu";

declare const process: {
  argv: string[];
  getBuiltinModule(name: "node:fs"): { readFileSync(path: string): Uint8Array };
};

const host: MemoryHost = new MemoryHost({ stdin: "" });
const program = process.getBuiltinModule("node:fs").readFileSync(process.argv[2]!);
const machine = new Machine({ program, path: "/work", args: ["work"], env: [], host, cpus: 2 });
const status: ExitStatus = await machine.run();
if (status.kind === "exited") console.log(host.text("stdout") + status.status.toFixed());
export const files: HostFileSystem = new NodeHost().files;
export type Told = Probes;
// @ts-expect-error a program is bytes
export const wrong = (): Machine => new Machine({ program: 1, path: "/work", host });
`;

describe.skipIf(!hasNpm)("the package (skipped where there is no npm)", () => {
  const installed = join(folder.path, "empty");

  beforeAll(() => {
    run(process.execPath, ["scripts/types.mjs"], root);
    // The scripts would build all of dist/ again.
    run("npm", ["pack", "--ignore-scripts", "--pack-destination", folder.path], root);
    mkdirSync(installed);
    run("npm", ["install", "--offline", "--no-audit", "--no-fund", `../goemu-${packageJson.version}.tgz`], installed);
  }, 120_000);

  it("brings all that it needs", () => {
    expect(readdirSync(join(installed, "node_modules")).filter((name) => !name.startsWith("."))).toEqual(["goemu"]);
    const files = readdirSync(join(installed, "node_modules/goemu/dist"));
    expect(files).toEqual(expect.arrayContaining(["THIRD-PARTY.txt", "compiler.cjs", "iced_x86_bg.wasm", "pack.bin"]));
  });

  it("runs a program as a command", () => {
    expect(run(join(installed, "node_modules/.bin/goemu"), ["--no-cache", WORK])).toMatch(HELLO);
    expect(run("npx", ["goemu", "--version"], installed)).toBe(`${packageJson.version}\n`);
    expect(run("npx", ["goemu", "disasm", WORK, "main.work,4"], installed)).toMatch(/main\.work/);
  });

  it("is a library whose types hold, also without Node's", () => {
    folder.file("empty/main.ts", PROGRAM);
    folder.file("empty/package.json", '{ "type": "module" }');
    const strict = {
      strict: true,
      skipLibCheck: false,
      types: [],
      noEmit: true,
      target: "ES2024",
      noUnusedLocals: true,
    };
    for (const module of ["NodeNext", "Preserve"]) {
      const compilerOptions = { ...strict, module };
      folder.file("empty/tsconfig.json", JSON.stringify({ compilerOptions, files: ["main.ts"] }));
      run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", "."], installed);
    }
    const printed = run(process.execPath, ["main.ts", WORK], installed);
    expect(printed.replace(/0\n$/, "")).toMatch(HELLO);
  });
});

describe("the version of Node.js", () => {
  it("that the package asks for is the one that its code asks for", () => {
    const needed = /^>=(\d+)$/.exec(packageJson.engines.node)?.[1];
    expect(nodeProblem(`${needed}.0.0`)).toBeUndefined();
    expect(nodeProblem(`${Number(needed) - 1}.99.0`)).toMatch(`is too old (install Node.js ${needed} or later, or`);
    expect(readFileSync(join(root, "README.md"), "utf8")).toContain(`Node.js ${needed}`);
  });
});
