// Go programs that come inside npm packages do under goemu, byte for byte, what they do natively.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { hostIsNative } from "../fixtures/native.ts";
import { TestFolder } from "./testing/files.ts";
import { goemu } from "./testing/goemu.ts";

const modules = (path: string): string => fileURLToPath(new URL(`../node_modules/${path}`, import.meta.url));
const ESBUILD = modules("@esbuild/linux-x64/bin/esbuild");
const TYPESCRIPT = modules("@typescript/typescript-linux-x64/lib/tsc");

const folder = new TestFolder();
afterAll(() => folder.remove());

const SOURCES = {
  "main.ts": `import { area, type Shape } from "./shapes";
import data from "./data.json";
enum Color { Red, Green = 5 }
export class Box<T extends Shape> {
  #inner: T;
  static count = 0n;
  constructor(readonly inner: T) { this.#inner = inner; Box.count += 1n; }
  get size(): number { return area(this.#inner) ** 2; }
}
for await (const name of data.names) console.log(\`\${name}: \${Color.Green} \${new Box({ kind: "circle", r: 2 }).size}\`);
`,
  "shapes.ts": `export type Shape = { kind: "circle"; r: number } | { kind: "square"; a: number };
export const area = (s: Shape): number => (s.kind === "circle" ? Math.PI * s.r * s.r : s.a * s.a);
export const unused = () => "tree shaking leaves this out";
`,
  "data.json": '{ "names": ["größe", "\\u4e16\\u754c", "🙂"] }\n',
  "page.css": "@media (min-width: 100px) { a:hover { color: #ff0000; margin: 0px 0px } }\n",
};
for (const [name, text] of Object.entries(SOURCES)) folder.file(name, text);

/** Runs a program natively and in goemu in the same folder, and compares all that it prints and all files it makes. */
function expectSame(program: string, args: readonly string[], outputs?: string): void {
  const files = (): Record<string, string> => {
    if (outputs === undefined) return {};
    const path = join(folder.path, outputs);
    const entries = readdirSync(path)
      .toSorted()
      .map((name) => [name, readFileSync(join(path, name), "latin1")]);
    rmSync(path, { recursive: true });
    return Object.fromEntries(entries);
  };
  const prepare = (): void => {
    if (outputs !== undefined) mkdirSync(join(folder.path, outputs));
  };
  prepare();
  const native = spawnSync(program, args, { cwd: folder.path, env: {}, encoding: "utf8", timeout: 60_000 });
  const nativeFiles = files();
  prepare();
  const guest = goemu([program, ...args], { cwd: folder.path, env: {} });
  expect(guest).toMatchObject({ status: native.status, stdout: native.stdout, stderr: native.stderr });
  expect(files()).toEqual(nativeFiles);
  if (outputs !== undefined) expect(Object.keys(nativeFiles)).not.toEqual([]);
}

describe.skipIf(!hostIsNative || !existsSync(ESBUILD))(
  "esbuild (skipped where its Linux/amd64 executable is not installed)",
  () => {
    it("prints its version", () => expectSame(ESBUILD, ["--version"]));

    it("bundles, minifies and makes source maps", () => {
      const options = ["--bundle", "--minify", "--format=esm", "--target=es2022", "--sourcemap", "--log-level=warning"];
      expectSame(ESBUILD, ["main.ts", "page.css", ...options, "--outdir=out"], "out");
    });

    it("complains about a missing file", () => {
      expectSame(ESBUILD, ["missing.ts", "--bundle", "--log-level=error", "--color=false"]);
    });
  },
);

describe.skipIf(!hostIsNative || !existsSync(TYPESCRIPT))(
  "TypeScript's compiler (skipped where its Linux/amd64 executable is not installed)",
  () => {
    it("prints its version", () => expectSame(TYPESCRIPT, ["--version"]));
    it("lists its options", () => expectSame(TYPESCRIPT, ["--help"]));
  },
);
