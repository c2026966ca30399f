import { fstatSync } from "node:fs";
import type { TranslationCache } from "../emu/cache/translation-cache.ts";
import type { HostFile } from "../host/host.ts";
import type { NodeTranslationCache } from "../host/node/translation-cache.ts";
import type { Mm } from "../syscalls/kernel/mm.ts";
import { type ProgramFinder, saveTranslations } from "../syscalls/kernel/programs.ts";
import type { GuestOptions } from "./guest.ts";
import { ProgramFile } from "./program-file.ts";
import { openTranslationCache } from "./translation-cache.ts";

/** Keeps what is translated of the programs that the guest's processes execute, as of the first one. */
export class ExecutedPrograms implements ProgramFinder {
  readonly #build: string;
  readonly #options: GuestOptions;
  readonly #open = new Map<TranslationCache, { readonly cache: NodeTranslationCache; readonly program: ProgramFile }>();
  #report: ((message: string) => void) | undefined;

  /**
   * @param build what tells this build of goemu from others
   * @param report takes a line about what has failed, once: it is done without from then on
   */
  constructor(build: string, options: GuestOptions, report: (message: string) => void) {
    this.#build = build;
    this.#options = options;
    this.#report = report;
  }

  cacheOf({ descriptor }: HostFile): TranslationCache | undefined {
    if (descriptor === undefined) return undefined;
    return this.#try(() => {
      const program = new ProgramFile(descriptor, fstatSync(descriptor, { bigint: true }));
      const cache = openTranslationCache(program, this.#build, this.#options);
      if (cache !== undefined) this.#open.set(cache, { cache, program });
      return cache;
    });
  }

  closing(mm: Mm): void {
    const { cache: given } = mm.program;
    const opened = given && this.#open.get(given);
    if (opened === undefined || given === undefined) return;
    this.#open.delete(given);
    this.#try(() => {
      const { cache, program } = opened;
      try {
        // What was read of a file that changed meanwhile is not what its hash stands for.
        if (!program.isUnchanged()) return;
        saveTranslations(mm);
        cache.commit();
      } finally {
        cache.close();
      }
    });
  }

  #try<T>(work: () => T): T | undefined {
    const report = this.#report;
    if (report === undefined) return undefined;
    try {
      return work();
    } catch (error) {
      this.#report = undefined;
      report(
        `the translations of programs that it runs can't be kept (${error instanceof Error ? error.message : error})`,
      );
      return undefined;
    }
  }
}
