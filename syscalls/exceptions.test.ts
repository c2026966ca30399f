import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { fixturePath } from "../fixtures/programs.ts";
import { MemoryHost } from "../host/memory/memory-host.ts";
import { Machine } from "./machine.ts";

/** VADDPH ZMM0, ZMM0, ZMM1: AVX512-FP16, which goemu does not have. */
const VADDPH = Uint8Array.of(0x62, 0xf5, 0x7c, 0x48, 0x58, 0xc1);

describe("instructions that goemu does not have", () => {
  it("are told of by the function of the machine that came upon them, of several that run at a time", async () => {
    const run = async (path: string, name: string, args: readonly string[]): Promise<string[]> => {
      const reports: string[] = [];
      const program = readFileSync(fixturePath(`bin/${path}`));
      const report = (line: string): void => void reports.push(line);
      const machine = new Machine({ program, path, args: [path, ...args], host: new MemoryHost(), report });
      const address = machine.symbols.byName(name)?.address;
      if (address === undefined) throw new Error(`no ${name}`);
      machine.memory.poke(address, VADDPH);
      await machine.run();
      return reports;
    };
    const told = await Promise.all([run("bench-fib", "main.fib", ["5"]), run("work", "main.main", [])]);
    for (const [i, name] of ["main.fib", "main.main"].entries()) {
      expect(told[i]).toHaveLength(1);
      expect(told[i][0]).toContain(`in ${name}: 62 f5 7c 48 58 c1  vaddph`);
    }
  });
});
