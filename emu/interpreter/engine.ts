import { HELPER_TABLES } from "../layout.ts";
import { buildCoreModule } from "./core-module.ts";
import { type HandlerPack, Handlers } from "./handlers.ts";
import { HelperLibrary } from "./helper-library.ts";
import { helperTables } from "./helper-module.ts";
import { instantiate, instantiateShared } from "./instantiate.ts";
import { KnownForms } from "./known-forms.ts";
import { RecordWriter } from "./record-writer.ts";
import { OPCODES, opcodeTables, PLACES, registerPlaces } from "./template.ts";
import { Templates } from "./templates.ts";
import type { TranslatorExports } from "./translate-module.ts";

export interface CoreExports extends TranslatorExports {
  enter(cpu: number, record: number): number;
  slow: WebAssembly.ExportValue;
  regions: WebAssembly.Table;
}

/** What WebAssembly calls of whoever runs code in the memory (core-module.ts has the parameters). */
export interface EngineOwner {
  timestamp(): number;
  access(cpu: number, low: number, high: number, bytes: number, need: number): number;
  reach(cpu: number, low: number, high: number, bytes: number, need: number): number;
  commit(): void;
  countEnter(cpu: number, at: number, slot: number): number;
  countLeft(cpu: number, at: number): void;
  countCall(node: number, site: number, target: number): number;
  countReplace(node: number, layout: number): number;
  countResumed(cpu: number, back: number, node: number): number;
}

/**
 * A wasm memory with the instances of what runs in it: the functions that all share, handlers, helpers, templates. Nothing
 * of it is about a program, so that one whose program is gone serves the next one: making instances of some thousand
 * handlers takes longer than most short programs do.
 */
export class Engine {
  readonly memory: WebAssembly.Memory;
  readonly exports: CoreExports;
  /** Imports of modules of translated code. */
  readonly imports: WebAssembly.ModuleImports;
  readonly helpers: HelperLibrary;
  readonly handlers: Handlers;
  /** What instructions are by their first bytes. */
  readonly templates: Templates;
  readonly #view: DataView;
  #writer: RecordWriter | undefined;
  /** Set by whoever takes it over. */
  owner: EngineOwner | undefined;

  /**
   * @param memory 4 GiB, untouched
   * @param pack what was made ahead of time, for a faster start; nothing else depends on it
   * @param known what it has in common with the other cores of a machine
   */
  constructor(memory: WebAssembly.Memory, pack?: HandlerPack, known = new KnownForms()) {
    this.memory = memory;
    this.#view = new DataView(memory.buffer);
    const u8 = new Uint8Array(memory.buffer);
    u8.set(pack?.tables ?? helperTables(), HELPER_TABLES);
    u8.set(opcodeTables(), OPCODES);
    u8.set(registerPlaces(), PLACES);
    const env = { memory, ...this.#callbacks() };
    const core =
      pack === undefined
        ? instantiate(buildCoreModule(), { env })
        : (pack.instantiate?.("core", pack.core, { env }) ?? instantiateShared(pack.core, { env }));
    this.exports = core.exports as unknown as CoreExports & WebAssembly.Exports;
    const imports: WebAssembly.ModuleImports = { ...env, ...core.exports, commit: () => this.#owned.commit() };
    this.imports = imports;
    this.helpers = new HelperLibrary(imports, known);
    this.handlers = new Handlers(imports, this.helpers, known);
    this.templates = new Templates(this.#view, () => this.writer, this.exports, this.handlers);
  }

  get #owned(): EngineOwner {
    return this.owner as EngineOwner;
  }

  #callbacks(): Omit<{ [name in keyof EngineOwner]: WebAssembly.ImportValue }, "commit"> {
    return {
      timestamp: () => this.#owned.timestamp(),
      access: (cpu: number, low: number, high: number, bytes: number, need: number) =>
        this.#owned.access(cpu, low, high, bytes, need),
      reach: (cpu: number, low: number, high: number, bytes: number, need: number) =>
        this.#owned.reach(cpu, low, high, bytes, need),
      countEnter: (cpu: number, at: number, slot: number) => this.#owned.countEnter(cpu, at, slot),
      countLeft: (cpu: number, at: number) => this.#owned.countLeft(cpu, at),
      countCall: (node: number, site: number, target: number) => this.#owned.countCall(node, site, target),
      countReplace: (node: number, layout: number) => this.#owned.countReplace(node, layout),
      countResumed: (cpu: number, back: number, node: number) => this.#owned.countResumed(cpu, back, node),
    };
  }

  /** Made when an instruction comes up that no template covers. */
  get writer(): RecordWriter {
    this.#writer ??= new RecordWriter(this.#view, this.handlers);
    return this.#writer;
  }

  /** Has what other cores of the machine have found out since: no block is being made. */
  catchUp(): void {
    this.handlers.make();
    this.templates.catchUp();
  }

  /** Forgets all that did not come with the pack; what names it must be gone. */
  forget(): void {
    this.handlers.forget();
    this.templates.forget();
    this.#writer = undefined;
  }
}
