import { describe, expect, it } from "vitest";
import type { Job } from "./jobs.ts";
import { formatMemory, formatSummary, formatTimes, geometricMean, median, rowOf, summaryOf } from "./report.ts";

const sample = (time: number, memory: number | null = null, cpu: number | null = null) => ({ time, memory, cpu });
const job = (name: string, group: Job["group"] = "suite", floatingPoint = false) => ({ name, group, floatingPoint });

const plain = rowOf({
  job: job("x"),
  samples: {
    native: [sample(1, 2), sample(9, 4), sample(2, 3)],
    qemu: [sample(4, 20)],
    goemu: [sample(10, 103), sample(8, 105), sample(7, 104)],
  },
});
const floats = rowOf({
  job: job("y", "suite", true),
  samples: { native: [sample(2, 1)], qemu: [sample(16, 9)], goemu: [sample(2, 151, 3)] },
});
const alone = rowOf({ job: job("z", "start"), samples: { goemu: [sample(120)] } });
const slow = rowOf({
  job: job("slow", "large"),
  samples: { native: [sample(1, 1)], qemu: [sample(1, 1)], goemu: [sample(1000, 1000)] },
});

describe("the benchmark's report", () => {
  it("takes medians", () => {
    expect([median([3, 1, 2]), median([4, 1, 3, 2]), median([7])]).toEqual([2, 2.5, 7]);
    expect(() => median([])).toThrow(RangeError);
  });

  it("takes geometric means", () => {
    expect(geometricMean([2, 8])).toBeCloseTo(4, 12);
    expect(geometricMean([1, 10, 100])).toBeCloseTo(10, 12);
    expect(geometricMean([0.5])).toBeCloseTo(0.5, 12);
    expect(() => geometricMean([])).toThrow(RangeError);
  });

  it("divides goemu's median time by the others', and subtracts the guest's own memory, where they are there", () => {
    expect(plain).toMatchObject({ time: { native: 2, qemu: 4, goemu: 8 }, toNative: 4, toQemu: 2 });
    expect(plain).toMatchObject({ memory: { native: 3, qemu: 20, goemu: 104 }, memoryAbove: 101, cpu: {} });
    expect(floats).toMatchObject({ floatingPoint: true, cpu: { goemu: 3 } });
    expect(alone).toMatchObject({ time: { goemu: 120 }, memory: {}, toNative: null, toQemu: null, memoryAbove: null });
  });

  it("sums the suite up, and nothing outside it", () => {
    const summary = summaryOf([plain, floats, alone, slow]);
    expect(summary.all).toMatchObject({ jobs: 2, toNative: expect.closeTo(2, 12), toQemu: expect.closeTo(0.5, 12) });
    expect(summary.floatingPoint).toMatchObject({
      jobs: 1,
      toNative: expect.closeTo(1, 12),
      toQemu: expect.closeTo(0.125, 12),
    });
    expect(summary.worstToNative).toEqual({ job: "x", value: 4 });
    expect(summary.worstToQemu).toEqual({ job: "x", value: 2 });
    expect(summary.mostMemoryAbove).toEqual({ job: "y", value: 150 });
    const none = { jobs: 0, toNative: null, toQemu: null };
    expect(summary.first).toMatchObject({ jobs: 2, toQemu: expect.closeTo(Math.sqrt(2.5 / 8), 12) });
    expect(summaryOf([alone])).toEqual({
      all: none,
      first: none,
      floatingPoint: none,
      worstToNative: null,
      worstToQemu: null,
      mostMemoryAbove: null,
    });
  });

  it("prints tables in Markdown", () => {
    expect(formatTimes([plain, floats, alone]).split("\n")).toEqual([
      "| time               | native | qemu-x86_64 |  goemu | goemu / native | goemu / qemu | first run | first / qemu |",
      "|--------------------|-------:|------------:|-------:|---------------:|-------------:|----------:|-------------:|",
      "| x                  | 2.0 ms |      4.0 ms | 8.0 ms |          4.00× |        2.00× |   10.0 ms |        2.50× |",
      "| y (floating point) | 2.0 ms |     16.0 ms | 2.0 ms |          1.00× |        0.13× |    2.0 ms |        0.13× |",
      "| z                  |      – |           – | 120 ms |              – |            – |    120 ms |            – |",
    ]);
    expect(formatMemory([plain, alone]).split("\n")).toEqual([
      "| peak memory |  native | qemu-x86_64 |   goemu | goemu − native |",
      "|-------------|--------:|------------:|--------:|---------------:|",
      "| x           | 3.0 MiB |    20.0 MiB | 104 MiB |        101 MiB |",
      "| z           |       – |           – |       – |              – |",
    ]);
    expect(formatSummary(summaryOf([plain, floats])).split("\n")).toEqual([
      "| over the suite                     | goemu / native | goemu / qemu |",
      "|------------------------------------|---------------:|-------------:|",
      "| geometric mean, all (2)            |          2.00× |        0.50× |",
      "| geometric mean, floating point (1) |          1.00× |        0.13× |",
      "| geometric mean, first runs (2)     |          2.24× |        0.56× |",
      "| worst                              |      4.00× (x) |    2.00× (x) |",
      "",
      "Memory above the guest's own: at most 150 MiB (y)",
    ]);
    expect(formatSummary(summaryOf([alone]))).toMatch(/\| worst .*– \|.*– \|\n\nMemory .* at most –$/);
  });
});
