import process from "node:process";
import type { Tier } from "../machine.ts";

/** GOEMU_TIER: the tier in which tests run guests that need no certain one, as `--tier` takes it; undefined for the default. */
export const TEST_TIER = process.env.GOEMU_TIER as Tier | undefined;
