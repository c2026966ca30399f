import { describe, expect, it } from "vitest";
import { formatServers, SERVER_JOBS, type ServerSample, serverMeans, serverRowOf } from "./rows.ts";

const sample = (rate: number, p50 = 1, p99 = 2, cpu: number | null = null): ServerSample => ({ rate, p50, p99, cpu });

const row = serverRowOf("x", {
  native: [sample(4000)],
  qemu: [sample(100, 5, 50, 20), sample(400, 7, 70, 60), sample(200, 6, 60, 40)],
  goemu: [sample(50, 9, 90), sample(300, 3, 30), sample(500, 5, 8)],
});
const alone = serverRowOf("y", { goemu: [sample(70)] });

describe("the report on servers", () => {
  it("takes medians, goemu's without its first run, and divides rates", () => {
    expect(row.median.qemu).toEqual({ rate: 200, p50: 6, p99: 60, cpu: 40 });
    expect(row.median.goemu).toEqual({ rate: 400, p50: 4, p99: 19, cpu: null });
    expect(row.first).toEqual(sample(50, 9, 90));
    expect(row).toMatchObject({ toQemu: 2, firstToQemu: 0.25 });
    expect(alone).toMatchObject({ median: {}, toQemu: null, firstToQemu: null, first: { rate: 70 } });
    expect(serverMeans([row, alone, { ...row, toQemu: 8 }])).toEqual({ toQemu: 4, firstToQemu: 0.25 });
    expect(serverMeans([alone])).toEqual({ toQemu: null, firstToQemu: null });
  });

  it("prints a line for each job, and the means", () => {
    const lines = formatServers([row, alone]).split("\n");
    expect(lines).toHaveLength(5);
    expect(lines[2]).toBe("| x | 4000 (1.0, 2.0) | 200 (6.0, 60) | 400 (4.0, 19) | 2.00× | 50 (9.0, 90) | 0.25× |");
    expect(lines[3]).toBe("| y | – | – | – | – | 70 (1.0, 2.0) | – |");
    expect(lines[4]).toBe("| **geometric mean** |  |  |  | **2.00×** |  | **0.25×** |");
  });

  it("has each kind of request with few clients and with many, under names of their own", () => {
    expect(new Set(SERVER_JOBS.map(({ name }) => name)).size).toBe(12);
    expect(SERVER_JOBS.filter(({ clients }) => clients === 500)).toHaveLength(6);
  });
});
