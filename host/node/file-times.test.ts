import * as fs from "node:fs";
import * as os from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NodeHost } from "./host.ts";

let directory: string;
let path: string;
const { files } = new NodeHost();
beforeAll(() => {
  directory = fs.mkdtempSync(`${os.tmpdir()}/goemu-times-`);
  path = `${directory}/file`;
  fs.writeFileSync(path, "");
});
afterAll(() => fs.rmSync(directory, { recursive: true }));

function times(): [bigint, bigint] {
  const { atimeNs, mtimeNs } = files.stat(path, true);
  return [atimeNs, mtimeNs];
}

describe("times of the host's files", () => {
  it("are never later than asked, at most 239 ns earlier, and the same when they are set again", () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    let state = seed;
    const random = (): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return state;
    };
    for (let i = 0; i < 300; i++) {
      const asked = BigInt(2 ** 30 + (random() % 2 ** 30)) * 1_000_000_000n + BigInt(random() % 1_000_000_000);
      files.setTimes(path, asked, asked, true);
      const [atime, mtime] = times();
      const message = `seed ${seed}: asked for ${asked}, got ${mtime}`;
      expect(atime, message).toBe(mtime);
      expect(mtime <= asked && asked - mtime <= 239n, message).toBe(true);
      files.setTimes(path, mtime, mtime, true);
      expect(times()[1], message).toBe(mtime);
    }
  });

  it("before 1970 are those times and not the present", () => {
    files.setTimes(path, -1_500_000_000n, -1n, true);
    expect(times()).toEqual([-1_500_000_000n, -1n]);
  });

  it("stay to the nanosecond when only the other one is set", () => {
    fs.writeFileSync(path, "changed");
    const [, written] = times();
    files.setTimes(path, 5_000_000_000n, undefined, true);
    expect(times()).toEqual([5_000_000_000n, written]);
    files.setTimes(path, 6_000_000_000n, undefined, false);
    expect(times()).toEqual([6_000_000_000n, written]);
    const file = files.open(path, 2, 0);
    file.setTimes(7_000_000_000n, undefined);
    expect(times()).toEqual([7_000_000_000n, written]);
    file.setTimes(undefined, 8_000_000_000n);
    expect(times()).toEqual([7_000_000_000n, 8_000_000_000n]);
    file.close();
  });
});
