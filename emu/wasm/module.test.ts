import { describe, expect, it } from "vitest";
import { handlerModule } from "../interpreter/translated-module.ts";
import { I32, i32 } from "./expr.ts";
import { FunctionBuilder } from "./function.ts";
import { type FunctionBody, readBodies } from "./module.ts";

const SIGNATURE = { params: [I32, I32], results: [I32] } as const;

/** A function with some branches that have hints, and constants that make its code its own. */
function functionWith(branches: number, value: number): FunctionBuilder {
  const f = new FunctionBuilder(SIGNATURE.params);
  for (let i = 0; i < branches; i++) {
    f.if(i32.eq(f.param(0, I32), i32.const(value + i)), () => f.return(i32.const(i)), undefined, i % 2 === 0);
  }
  f.return(i32.const(value));
  return f;
}

/** The same functions in another module, by what `readBodies` found. */
function again(bodies: readonly FunctionBody[], imports: readonly string[]): Uint8Array {
  const module = handlerModule();
  for (const name of imports) module.import(name, SIGNATURE);
  for (const body of bodies) module.addBody(body, SIGNATURE);
  return module.finish();
}

describe("readBodies", () => {
  it.each([
    [[0], []],
    [[1], []],
    [[3, 0, 40], ["one"]],
    [
      [200, 1, 0, 7],
      ["one", "two", "three"],
    ],
  ])("finds code and hints of functions with %j branches behind imports %j", (branches, imports) => {
    const module = handlerModule();
    for (const name of imports) module.import(name, SIGNATURE);
    for (const [i, count] of branches.entries()) module.add(functionWith(count, 1000 * i), [I32]);
    const bytes = module.finish();
    const bodies = readBodies(bytes);
    expect(bodies.length).toBe(branches.length);
    expect(again(bodies, imports)).toEqual(bytes);
    expect(WebAssembly.validate(again(bodies, imports) as Uint8Array<ArrayBuffer>)).toBe(true);
  });

  it("throws at the end of a module that was cut off, instead of reading on", () => {
    const module = handlerModule();
    module.add(functionWith(3, 5), [I32]);
    const bytes = module.finish();
    for (let length = 9; length < bytes.length; length++) {
      let found: number | string;
      try {
        found = readBodies(bytes.subarray(0, length)).length;
      } catch (error) {
        found = (error as Error).message;
      }
      // A module may end between two sections; then it has no functions.
      expect([0, "the module ends early"]).toContain(found);
    }
  });
});
