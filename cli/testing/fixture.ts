import { constants } from "node:os";
import { compareRun } from "../../fixtures/compare.ts";
import type { Fixture, RunResult } from "../../fixtures/programs.ts";
import { TEST_TIER } from "../../syscalls/testing/tier.ts";
import { COMMAND, goemu, type Outcome, startGoemu } from "./goemu.ts";

export { COMMAND, goemu };

/** Options that a fixture needs: a CPU with more than the default features. The tier, if one is asked for. */
export function fixtureOptions(fixture: Fixture): string[] {
  return [
    ...(fixture.cpu.length > 0 ? ["--cpu", "x86-64-v3"] : []),
    ...(TEST_TIER === undefined ? [] : ["--tier", TEST_TIER]),
  ];
}

const SIGNAL_LINE = /^goemu: .* \(killed by signal (\d+)\)\n/m;

/** What the guest did, out of what goemu did: a guest's death by a signal is a status and a line on standard error. */
export function guestResult(outcome: Outcome): RunResult {
  const { stdout, stderr, status } = outcome;
  const line = SIGNAL_LINE.exec(stderr);
  if (line === null || status !== 128 + Number(line[1])) return outcome;
  const [signal] = Object.entries(constants.signals).find(([, number]) => number === Number(line[1])) ?? [null];
  return { stdout, stderr: stderr.replace(line[0], ""), status: null, signal };
}

/** Runs a fixture in goemu; the list of differences from its recording is empty if all is well. */
export async function differences(fixture: Fixture, env: Readonly<Record<string, string>> = {}): Promise<string[]> {
  const { ended } = startGoemu([...fixtureOptions(fixture), fixture.binary, ...fixture.args], {
    input: fixture.stdin,
    env: { ...fixture.env, ...env },
    timeout: 120_000,
  });
  const outcome = await ended;
  const found = compareRun(fixture, guestResult(outcome)).map(({ what, message }) => `${what}: ${message}`);
  return found.length === 0 ? [] : [...found, outcome.stderr.slice(0, 2000)];
}
