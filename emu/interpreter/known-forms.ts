import type { Form } from "./handlers.ts";
import { FIRST_SPECIAL_HANDLER, STALE_HANDLER } from "./slots.ts";

/** Slots of the function table: 0 is the stale handler, then one a form as they come up. */
export const FIRST_FORM = STALE_HANDLER + 1;

/** A module of handlers in consecutive slots: what they are for, and which helpers they call. */
export interface MadeModule {
  readonly keys: readonly number[];
  readonly helpers: readonly string[];
  readonly module: Uint8Array;
}

/** A module of helpers, which imports those that came before it. */
export interface HelperModule {
  readonly names: readonly string[];
  readonly module: Uint8Array;
}

/**
 * What the cores of a machine know of handlers together: which slot a form has, which modules make handlers and helpers, and
 * what templates name them. Each core makes instances of these modules when it has need of them (Handlers, HelperLibrary,
 * Templates), so that records and templates mean the same in all.
 */
export class KnownForms {
  readonly indices = new Map<number, number>();
  readonly forms = new Map<number, Form>();
  /** Forms that have a slot and no handler yet. */
  wanted: (Form & { index: number })[] = [];
  /** Modules made in this run or taken over from an earlier one, in the order of their slots. */
  readonly modules: MadeModule[] = [];
  readonly helperModules: HelperModule[] = [];
  /** Templates beyond those of the pack. */
  readonly templates: Uint8Array[] = [];
  next = FIRST_FORM;
  /** First slot behind the pack. */
  packed = FIRST_FORM;
  /** Where slots for handlers end. */
  limit = FIRST_SPECIAL_HANDLER;

  /** Of modules and templates, how many an earlier run has left, and the next one finds in any case. */
  keptModules = 0;
  keptTemplates = 0;

  /** Does it know no more than the pack? */
  get isFresh(): boolean {
    return this.next === this.packed && this.templates.length === 0;
  }
}
