import { describe, expect, it } from "vitest";
import { formatTable, median, rowOf } from "./report.ts";

describe("the benchmark's report", () => {
  it("takes medians", () => {
    expect([median([3, 1, 2]), median([4, 1, 3, 2]), median([7])]).toEqual([2, 2.5, 7]);
    expect(() => median([])).toThrow(RangeError);
  });

  it("divides goemu's median by the others', where they are there", () => {
    const full = rowOf({
      job: { name: "x", measures: "time" },
      samples: { native: [1, 9, 2], qemu: [4], goemu: [8, 8] },
    });
    expect(full).toMatchObject({ unit: "ms", native: 2, qemu: 4, goemu: 8, toNative: 4, toQemu: 2 });
    const alone = rowOf({ job: { name: "y", measures: "memory" }, samples: { goemu: [120] } });
    expect(alone).toMatchObject({ unit: "MiB", native: null, toNative: null, toQemu: null });
    expect(formatTable([full, alone]).split("\n")).toEqual([
      "|   | native | qemu-x86_64 |   goemu | goemu / native | goemu / qemu |",
      "|---|-------:|------------:|--------:|---------------:|-------------:|",
      "| x | 2.0 ms |      4.0 ms |  8.0 ms |          4.00× |        2.00× |",
      "| y |      – |           – | 120 MiB |              – |            – |",
    ]);
  });
});
