// A plugin for esbuild: modules that most runs of a program do not need are evaluated when something of theirs is first
// used. Importers see stand-ins that load the module as soon as they are called, constructed, or asked for a property;
// so these modules export functions and classes (and, iced-x86, enumerations) only. Members of iced-x86's enumerations
// become numbers.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { relative, resolve } from "node:path";

/** Modules by path: what others use of them, and which of these others get the stand-ins. */
export const LAZY = {
  "emu/cpu/x87/execute.ts": { names: ["runX87"], from: ["emu/cpu/helpers.ts"] },
  "emu/interpreter/core-module.ts": {
    names: ["buildCoreModule"],
    from: ["emu/interpreter/engine.ts", "emu/interpreter/interpreter.ts"],
  },
  "emu/interpreter/form-module.ts": { names: ["buildFormModule"], from: ["emu/interpreter/handlers.ts"] },
  "emu/interpreter/helper-module.ts": {
    names: ["buildHelpers", "helperSignature", "helperTables"],
    from: ["emu/interpreter/engine.ts", "emu/interpreter/helper-library.ts", "emu/interpreter/interpreter.ts"],
  },
  "emu/interpreter/record-writer.ts": { names: ["RecordWriter"], from: ["emu/interpreter/engine.ts"] },
  "emu/jit/compile-client.ts": { names: ["CompileClient"], from: ["emu/jit/tier.ts"] },
  "emu/jit/region-compiler.ts": { names: ["compileRequest"], from: ["emu/jit/tier.ts"] },
  "emu/jit/region-module.ts": { names: ["regionModule"], from: ["emu/jit/tier.ts", "emu/jit/region-store.ts"] },
  "emu/jit/tier.ts": { names: ["enableJit"], from: ["emu/machine.ts"] },
};
/** What small files import, and the file of the build that it is instead. */
const BUNDLES = {
  "cli/goemu.ts": ['await import("./main.ts")', "./main.cjs"],
  "host/node/compiler-worker.ts": ['void import("./compiler-service.ts")', "./compiler-service.cjs"],
};
const CODE_CACHE = (root) => JSON.stringify(resolve(root, "host/node/code-cache.ts"));
const ICED = "iced-x86";
/** Modules of Node's that are slow to load. */
const BUILTIN = /^(node:)?(child_process|crypto|dgram|net|readline|tty|worker_threads|zlib)$/;

const ASSERT = `export function equal(actual, expected) {
  if (actual !== expected) throw new Error(actual + " where " + expected + " should be");
}`;

const standIn = `
const standIn = (load, name) => new Proxy(function () {}, {
  apply: (_, self, args) => load()[name](...args),
  construct: (_, args) => Reflect.construct(load()[name], args),
  get: (_, key) => load()[name][key],
  has: (_, key) => key in load()[name],
});`;

export function lazyModules(root) {
  const iced = createRequire(import.meta.url)(ICED);
  const enumerations = Object.keys(iced).filter((name) => typeof iced[name] === "object" && /^[A-Z]/.test(name));
  const member = new RegExp(`\\b(${enumerations.join("|")})\\.([A-Z]\\w*)\\b`, "g");
  return {
    name: "lazy-modules",
    setup(build) {
      build.onResolve({ filter: /^iced-x86$/ }, () => ({ path: ICED, namespace: "lazy", sideEffects: false }));
      // elfy compares two strings with it, and nothing else; Node's takes as long to load as all of elfy.
      build.onResolve({ filter: /^assert$/ }, ({ path, importer }) =>
        /[\\/]node_modules[\\/]elfy[\\/]/.test(importer) ? { path, namespace: "assert" } : undefined,
      );
      build.onLoad({ filter: /.*/, namespace: "assert" }, () => ({ contents: ASSERT, loader: "js" }));
      build.onResolve({ filter: BUILTIN }, ({ path, namespace }) => {
        if (namespace === "lazy") return { path, external: true };
        return { path: path.startsWith("node:") ? path : `node:${path}`, namespace: "lazy", sideEffects: false };
      });
      build.onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir, importer, namespace, kind }) => {
        if (namespace !== "file" || kind !== "import-statement") return undefined;
        const target = relative(root, resolve(resolveDir, path));
        if (!LAZY[target]?.from.includes(relative(root, importer))) return undefined;
        return { path: target, namespace: "lazy", sideEffects: false };
      });
      build.onLoad({ filter: /.*/, namespace: "lazy" }, ({ path }) => {
        const isBuiltin = BUILTIN.test(path);
        const all = path === ICED ? iced : isBuiltin ? createRequire(import.meta.url)(path) : undefined;
        const names =
          all === undefined ? LAZY[path].names : Object.keys(all).filter((name) => /^[A-Za-z]\w*$/.test(name));
        const source = path === ICED ? "./iced_x86.cjs" : isBuiltin ? path : resolve(root, path);
        const lines = names.map(
          (name) => `export const ${name} = /* @__PURE__ */ standIn(load, ${JSON.stringify(name)});`,
        );
        // V8 has compiled it already, if the build is made so (scripts/code-cache.mjs).
        const compiled = path === ICED && build.initialOptions.format === "cjs";
        const load = compiled
          ? `loadCompiled(new URL(${JSON.stringify(source)}, import.meta.url))`
          : `require(${JSON.stringify(source)})`;
        const imported = compiled ? `import { loadCompiled } from ${CODE_CACHE(root)};\n` : "";
        const contents = `${imported}let loaded;\nconst load = () => (loaded ??= ${load});${standIn}\n${lines.join("\n")}`;
        return { contents, loader: "js", resolveDir: root };
      });
      build.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        const source = await readFile(path, "utf8");
        const bundle = BUNDLES[relative(root, path)];
        if (bundle !== undefined) {
          const [what, file] = bundle;
          const load = `loadCompiled(new URL("${file}", import.meta.url))`;
          return {
            contents: `${source.replace(what, load)}\nimport { loadCompiled } from ${CODE_CACHE(root)};`,
            loader: "ts",
          };
        }
        if (!source.includes(`from "${ICED}"`)) return undefined;
        const contents = source.replaceAll(member, (text, name, key) => {
          const value = iced[name][key];
          return typeof value === "number" ? `/* ${key} */ ${value}` : text;
        });
        return { contents, loader: "ts" };
      });
    },
  };
}
