import process from "node:process";
import { TestThread } from "../../emu/jit/test-thread.ts";
import type { Tier } from "../machine.ts";

/** GOEMU_TIER: the tier in which tests run guests that need no certain one, as `--tier` takes it; undefined for the default. */
export const TEST_TIER = process.env.GOEMU_TIER as Tier | undefined;

/**
 * GOEMU_COMPILER=aside: such guests' code is compiled by what stands for another thread, which answers when it is asked
 * next; with GOEMU_TIER=jit, all code.
 */
export const TEST_COMPILER = process.env.GOEMU_COMPILER === "aside" ? () => new TestThread() : undefined;
