import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{emu,loader,syscalls,cli,observe,fixtures,bench}/**/*.test.ts"],
    testTimeout: 60_000,
    pool: "forks",
    maxWorkers: 2,
    maxConcurrency: 2,
    globalSetup: "scripts/vitest-setup.mjs",
  },
});
