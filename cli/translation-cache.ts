import process from "node:process";
import { parseCpuModel } from "../emu/cpu/features.ts";
import { answers } from "../host/node/answers.ts";
import { contentHash, defaultCacheDirectory, NodeTranslationCache } from "../host/node/translation-cache.ts";
import type { GuestOptions } from "./guest.ts";
import type { ProgramFile } from "./program-file.ts";
import { VERSION } from "./version.ts";

/** Does the file system answer that has the cache? Where it does not, there is none. */
export async function cacheAnswers(): Promise<boolean> {
  const directory = defaultCacheDirectory(process.env);
  return directory !== undefined && answers(directory);
}

/**
 * The translations that earlier runs of a program left on disk; undefined where there is no place for any.
 * @param build what tells this build of goemu from others
 * @throws CpuModelError
 */
export function openTranslationCache(
  program: ProgramFile,
  build: string,
  options: GuestOptions,
): NodeTranslationCache | undefined {
  const directory = defaultCacheDirectory(process.env);
  if (directory === undefined) return undefined;
  const identity = {
    content: contentHash(directory, program, program.stat),
    build: `${VERSION} ${build}`,
    options: [...parseCpuModel(options.cpu)].sort().concat(options.addressSpace),
  };
  return new NodeTranslationCache(identity, { directory });
}
