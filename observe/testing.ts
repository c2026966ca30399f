import { readFileSync } from "node:fs";
import { fixturePath } from "../fixtures/programs.ts";
import { Machine } from "../syscalls/machine.ts";
import { TestHost } from "../syscalls/testing/test-host.ts";
import { TEST_TIER } from "../syscalls/testing/tier.ts";
import { Probes } from "./probes.ts";

export interface TestMachine {
  readonly machine: Machine;
  readonly probes: Probes;
  /** What the guest has written to its standard output so far. */
  stdout(): string;
}

/** A machine with a fixture in it, for a test. @param file name under fixtures/bin, or a path */
export function loadFixture(file: string, args: readonly string[] = [], env: readonly string[] = []): TestMachine {
  const path = file.includes("/") ? file : fixturePath(`bin/${file}`);
  const host = new TestHost();
  const program = readFileSync(path);
  const machine = new Machine({ program, path, args: [path, ...args], env, host, cpus: 2, tier: TEST_TIER });
  return { machine, probes: Probes.of(machine), stdout: () => new TextDecoder().decode(host.stdout.bytes) };
}
