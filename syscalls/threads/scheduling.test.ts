import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { EventLoop } from "../../emu/threads/scheduler.ts";
import { fixturePath } from "../../fixtures/programs.ts";
import { Machine } from "../machine.ts";
import { TestHost } from "../testing/test-host.ts";
import { TEST_TIER } from "../testing/tier.ts";

/** A host on which time goes by as it is looked at, a microsecond each time, or waited for; nothing is left to chance. */
class CountingHost extends TestHost implements EventLoop {
  #now = 0;

  now(): number {
    return this.monotonicNs();
  }

  async yield(): Promise<void> {}

  async wait(ns: number): Promise<void> {
    this.#now += Math.max(0, ns);
  }

  wake(): void {}

  override monotonicNs(): number {
    this.#now += 1000;
    return this.#now;
  }

  override realtimeNs(): bigint {
    return BigInt(this.#now);
  }

  override randomBytes(bytes: Uint8Array): void {
    bytes.fill(7);
  }
}

async function numbersOf(schedulerSeed: number): Promise<object> {
  const path = fixturePath("bin/work");
  const host = new CountingHost();
  const program = readFileSync(path);
  const machine = new Machine({ program, path, host, eventLoop: host, cpus: 4, tier: TEST_TIER, schedulerSeed });
  await machine.run();
  const { instructions, syscalls, switches } = machine.statistics();
  return { instructions, syscalls, switches, output: new TextDecoder().decode(host.stdout.bytes) };
}

describe("a seed for the scheduler", () => {
  it("makes a run the same again, where the host is the same again", async () => {
    const first = await numbersOf(3);
    expect(await numbersOf(3)).toEqual(first);
    expect(await numbersOf(4)).not.toEqual(first);
  });
});
