// Loading files of the build with what V8 has compiled of them before. Node's modules are asked for by name when they are
// used: importing one evaluates all that it exports (cli/goemu.ts).
type Script = import("node:vm").Script;

/**
 * A CommonJS file as a script that yields a function of what CommonJS gives a module.
 * @param cachedData what V8 has compiled of the file before; it looks whether it can use it
 */
export function scriptOf(file: string, cachedData?: Buffer): Script {
  const { readFileSync } = process.getBuiltinModule("node:fs");
  const { constants, Script } = process.getBuiltinModule("node:vm");
  // The build writes ASCII: a byte a character, in memory, too.
  const source = readFileSync(file, "latin1");
  return new Script(`(function(exports,require,module,__filename,__dirname){${source}\n})`, {
    filename: file,
    ...(cachedData === undefined ? {} : { cachedData }),
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
}

/** Runs a CommonJS file and returns what it exports. */
export function run(script: Script, file: string): unknown {
  const { createRequire } = process.getBuiltinModule("node:module");
  const { dirname } = process.getBuiltinModule("node:path");
  const module: { exports: unknown } = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(file), module, file, dirname(file));
  return module.exports;
}

/** The file that has what this version of V8 compiles of a CommonJS file, with the flags that it has now. */
export const codeCacheOf = (file: string): string =>
  `${file}.${process.getBuiltinModule("node:v8").cachedDataVersionTag().toString(16)}.code`;

/**
 * Loads a CommonJS file of the build. Functions that a start calls come compiled, where the build was made with this
 * version of V8 (scripts/code-cache.mjs): Node's compile cache has the rest of the file only, since what is called later
 * is compiled later. With another version Node's cache has to do.
 * @param url of the file
 */
export function loadCompiled(url: URL): unknown {
  const file = process.getBuiltinModule("node:url").fileURLToPath(url);
  let cachedData: Buffer | undefined;
  try {
    cachedData = process.getBuiltinModule("node:fs").readFileSync(codeCacheOf(file));
  } catch {
    // There is none that can be read, and goemu only starts more slowly.
  }
  const { createRequire, enableCompileCache } = process.getBuiltinModule("node:module");
  if (cachedData !== undefined) {
    const script = scriptOf(file, cachedData);
    if (script.cachedDataRejected !== true) return run(script, file);
  }
  enableCompileCache?.();
  return createRequire(file)(file);
}
