import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{emu,host,loader,syscalls,cli,observe,fixtures,bench}/**/*.test.ts"],
    // Everything is compiled at first sight then, which a busy host takes its time for.
    testTimeout: process.env.GOEMU_TIER === "jit" ? 240_000 : 60_000,
    pool: "forks",
    maxWorkers: 2,
    maxConcurrency: 2,
    globalSetup: "scripts/vitest-setup.mjs",
  },
});
