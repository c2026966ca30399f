// Every fixture, run by the command that is shipped, does what it did on hardware. GOEMU_MATRIX=N runs
// each N times with GOMAXPROCS unset, 1, 2 and 8 (npm run test:matrix: ten times). GOEMU_TIER names a tier for them.
import { describe, expect, it } from "vitest";
import { loadFixtures } from "../fixtures/programs.ts";
import { TEST_TIER } from "../syscalls/testing/tier.ts";
import { differences } from "./testing/fixture.ts";

const matrix = process.env.GOEMU_MATRIX !== undefined;
const repetitions = Number(process.env.GOEMU_MATRIX ?? 1);

describe.concurrent("a fixture", () => {
  for (const fixture of loadFixtures()) {
    const settings = matrix && !("GOMAXPROCS" in fixture.env) ? [undefined, "1", "2", "8"] : [undefined];
    for (const processors of settings) {
      const env: Record<string, string> = processors === undefined ? {} : { GOMAXPROCS: processors };
      const name = fixture.name + (processors === undefined ? "" : ` GOMAXPROCS=${processors}`);
      it.skipIf(fixture.paced && TEST_TIER === "jit")(name, { timeout: repetitions * 130_000 }, async () => {
        for (let i = 1; i <= repetitions; i++) expect(await differences(fixture, env), `run ${i}`).toEqual([]);
      });
    }
  }
});
