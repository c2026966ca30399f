import { describe, expect, it } from "vitest";
import { I32, i32 } from "./expr.ts";
import { FunctionBuilder } from "./function.ts";
import { ModuleBuilder, readBodies } from "./module.ts";

describe("a module's bodies", () => {
  it("are read back with their branch hints", () => {
    const signature = { params: [I32], results: [I32] } as const;
    const module = new ModuleBuilder(1, 1, signature);
    for (const likely of [undefined, true, false]) {
      const body = new FunctionBuilder([I32]);
      body.if(i32.eqz(body.param(0, I32)), () => body.return(i32.const(1)), undefined, likely);
      body.return(i32.const(2));
      module.add(body, [I32]);
    }
    const bodies = readBodies(module.finish());
    expect(bodies.map(({ code }) => code.length > 0)).toEqual([true, true, true]);
    // One hint: how many, where in the body, its length, and whether the branch is likely.
    expect(bodies.map(({ hints }) => [...hints].filter((_, i) => i !== 1))).toEqual([[], [1, 1, 1], [1, 1, 0]]);
  });
});
