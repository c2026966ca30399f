import { describe, expect, it } from "vitest";
import { growthOf, sampleOf } from "./growth.ts";

describe("memory of a soak run", () => {
  it("is told apart from the guest's", () => {
    const smaps = [
      "7f0000000000-7f0100000000 rw-p 00000000 00:00 0\nSize:            4194304 kB\nRss:               5000 kB\nPss: 1 kB",
      "00400000-00500000 r-xp 00000000 00:00 0 /usr/bin/node\nSize:               1024 kB\nRss:                100 kB",
      "00600000-00700000 rw-p 00000000 00:00 0 [heap]\nSize:               1024 kB\nRss:                 24 kB\n",
    ].join("\n");
    expect(sampleOf(smaps)).toEqual({ own: 124 * 1024, guest: 5000 * 1024 });
  });

  it("grows where it does so steadily", () => {
    const grows = Array.from({ length: 96 }, (_, second) => 100 + second);
    expect(growthOf(grows)).toBe(24);
    // Garbage comes and goes.
    expect(growthOf(grows.map((bytes, second) => bytes + (second % 8) * 20))).toBe(24);
    expect(growthOf(Array.from({ length: 96 }, (_, second) => (second % 8) * 20))).toBe(0);
    expect(growthOf(grows.toReversed())).toBe(-24);
  });

  it("does not where a thread is started once, and gets to work", () => {
    expect(growthOf(Array.from({ length: 96 }, (_, second) => (second < 75 ? 100 : second < 83 ? 140 : 155)))).toBe(0);
    expect(growthOf([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])).toBeUndefined();
  });
});
