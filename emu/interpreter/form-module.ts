import { NO_INSTRUCTION } from "../decode/instruction.ts";
import { I32 } from "../wasm/expr.ts";
import type { ModuleBuilder } from "../wasm/module.ts";
import {
  COMMIT_SIGNATURE,
  FOLLOW_INDIRECT_SIGNATURE,
  FOLLOW_SIGNATURE,
  SLOW_SIGNATURE,
  TIMESTAMP_SIGNATURE,
} from "./core-module.ts";
import type { Form } from "./handlers.ts";
import { RecordTranslator } from "./record-translator.ts";
import { handlerModule } from "./translated-module.ts";

/**
 * One module with the handlers of forms, and then of sequences of forms, in consecutive table slots.
 * @param sequences numbers of forms, in `forms`; a form that ends a block is the last of its sequence
 */
export function buildFormModule(
  forms: readonly Form[],
  firstSlot: number,
  importHelper: (module: ModuleBuilder, name: string) => number,
  sequences: readonly (readonly number[])[] = [],
): Uint8Array {
  const module = handlerModule();
  const slow = module.import("slow", SLOW_SIGNATURE);
  const commit = module.import("commit", COMMIT_SIGNATURE);
  const timestamp = module.import("timestamp", TIMESTAMP_SIGNATURE);
  const follow = module.import("follow", FOLLOW_SIGNATURE);
  const followIndirect = module.import("followIndirect", FOLLOW_INDIRECT_SIGNATURE);
  const helpers = new Map<string, number>();
  const helper = (name: string): number => {
    const index = helpers.get(name) ?? importHelper(module, name);
    helpers.set(name, index);
    return index;
  };
  const imports = { slow, commit, timestamp, follow, followIndirect, helper };
  const translate = (sequence: readonly number[], full?: readonly number[]): RecordTranslator => {
    const translator = new RecordTranslator(imports);
    for (const i of sequence) {
      const { instruction, row } = forms[i];
      translator.begin(instruction ?? NO_INSTRUCTION, row?.returns ?? false, full?.[i]);
      if (row === undefined) translator.jumpNext();
      else row.emit(translator);
    }
    translator.end();
    return translator;
  };
  // All helpers are imported by the full handlers, before the first function.
  const full = forms.map((_, i) => translate([i])).map((translator) => module.add(translator, [I32]));
  const handlers = full.map((index, i) => {
    const quick = translate([i], full);
    return quick.leaves ? module.add(quick, [I32]) : index;
  });
  const fused = sequences.map((sequence) => module.add(translate(sequence, full), [I32]));
  module.place(firstSlot, [...handlers, ...fused]);
  return module.finish();
}
