import { NO_INSTRUCTION } from "../decode/instruction.ts";
import { I32 } from "../wasm/expr.ts";
import type { ModuleBuilder } from "../wasm/module.ts";
import { COMMIT_SIGNATURE, SLOW_SIGNATURE, TIMESTAMP_SIGNATURE } from "./core-module.ts";
import type { Form } from "./handlers.ts";
import { RecordTranslator } from "./record-translator.ts";
import { RESOLVE_INDIRECT_SIGNATURE, RESOLVE_SIGNATURE } from "./translate-module.ts";
import { handlerModule } from "./translated-module.ts";

/** One module with the handlers of forms, in consecutive table slots. */
export function buildFormModule(
  forms: readonly Form[],
  firstSlot: number,
  importHelper: (module: ModuleBuilder, name: string) => number,
): Uint8Array {
  const module = handlerModule();
  const slow = module.import("slow", SLOW_SIGNATURE);
  const commit = module.import("commit", COMMIT_SIGNATURE);
  const timestamp = module.import("timestamp", TIMESTAMP_SIGNATURE);
  const resolve = module.import("resolve", RESOLVE_SIGNATURE);
  const resolveIndirect = module.import("resolveIndirect", RESOLVE_INDIRECT_SIGNATURE);
  const helpers = new Map<string, number>();
  const helper = (name: string): number => {
    const index = helpers.get(name) ?? importHelper(module, name);
    helpers.set(name, index);
    return index;
  };
  const translators = forms.map(({ instruction, row }) => {
    const imports = { slow, commit, timestamp, resolve, resolveIndirect, helper };
    const translator = new RecordTranslator(instruction ?? NO_INSTRUCTION, imports, row?.returns ?? false);
    if (row === undefined) translator.jumpNext();
    else row.emit(translator);
    translator.end();
    return translator;
  });
  module.place(
    firstSlot,
    translators.map((translator) => module.add(translator, [I32])),
  );
  return module.finish();
}
