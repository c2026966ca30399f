// What asynchronous preemption of goroutines asks of the second tier.
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { ALL_FLAGS } from "../../emu/decode/instruction.ts";
import type { Region } from "../../emu/jit/region.ts";
import { loadFixture } from "../../fixtures/programs.ts";
import { MemoryHost } from "../../host/memory/memory-host.ts";
import { Machine } from "../machine.ts";

it("brings back the flags of a goroutine that was interrupted between two instructions", async () => {
  // asyncPreempt takes the flags from the stack with POPFQ, and returns into the middle of the interrupted function.
  const { binary: path, args } = loadFixture("preempt-one-proc");
  // A clock that is looked at often enough to preempt by, whatever the host takes to compile.
  let now = 0;
  const host = new MemoryHost({ monotonicNs: () => (now += 100_000) });
  const program = readFileSync(path);
  const machine = new Machine({ program, path, host, args: [path, ...args], env: ["GOMAXPROCS=1"], tier: "jit" });
  const regions = new Map<string, Region>();
  const { jit } = machine.core;
  if (jit === undefined) throw new Error("no second tier");
  jit.onCompile = ({ name, region }) => regions.set(name.replace(/(\.abi0)?@.*/, ""), region);
  expect(await machine.run()).toEqual({ kind: "exited", status: 0 });

  const region = regions.get("runtime.asyncPreempt");
  const last = region?.blocks.find(({ instructions }) => instructions.at(-1)?.row.returns);
  if (region === undefined || last === undefined) throw new Error("nobody was preempted");
  expect(last.flagsOut).toBe(ALL_FLAGS);
  expect(regions.get("main.main")?.flagsDieAtCalls).toBe(true);
});
