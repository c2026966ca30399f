import type { MachineCode } from "./machine-code.ts";

/**
 * What outlives a run of a program: named sections of bytes that the tiers write at the end of one run and find at the
 * start of the next. Whoever hands a cache to a machine vouches that it belongs to the same executable, the same build
 * of goemu and the same CPU options (`identityOf`); a section's reader relies on that, and on nothing else: a section
 * may be missing, and a reader that cannot use one does without.
 */
export interface TranslationCache {
  /** A section as it was put; not to be written to. Undefined if there is none. */
  section(name: string): Uint8Array | undefined;
  /** Keeps a section for the next run, in place of the one of this name. The bytes belong to the cache from now on. */
  put(name: string, bytes: Uint8Array): void;
  /** Keeps a section no longer. */
  delete(name: string): void;
  /** Bytes of all sections that there were at the start. */
  readonly size: number;
  /** Where the host's engine lets its machine code be kept. */
  readonly machineCode?: MachineCode | undefined;
}

/** What decides about translations. All of it must be equal for one to be used again. */
export interface TranslationIdentity {
  /** Hash of the executable's bytes. */
  readonly content: string;
  /** goemu's version and build. */
  readonly build: string;
  /** Everything else that changes what is translated: CPU model, address space layout. */
  readonly options: readonly string[];
}

/** The identity as one line of text. */
export function identityOf({ content, build, options }: TranslationIdentity): string {
  return ["goemu translations", build, content, ...options].map((part) => JSON.stringify(part)).join(" ");
}

/** A cache in memory. */
export class MemoryTranslationCache implements TranslationCache {
  readonly sections: Map<string, Uint8Array>;
  readonly machineCode: MachineCode | undefined;
  readonly size: number;
  /** Was anything put since the start? */
  changed = false;

  constructor(sections: Iterable<readonly [string, Uint8Array]> = [], machineCode?: MachineCode) {
    this.sections = new Map(sections);
    this.machineCode = machineCode;
    this.size = [...this.sections.values()].reduce((sum, { length }) => sum + length, 0);
  }

  section(name: string): Uint8Array | undefined {
    return this.sections.get(name);
  }

  put(name: string, bytes: Uint8Array): void {
    this.sections.set(name, bytes);
    this.changed = true;
  }

  delete(name: string): void {
    if (this.sections.delete(name)) this.changed = true;
  }
}
