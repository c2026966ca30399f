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

/** The file's times as the host keeps them. */
function times(): [bigint, bigint] {
  const { atimeNs, mtimeNs } = fs.statSync(path, { bigint: true });
  return [atimeNs, mtimeNs];
}

describe("times of the host's files", () => {
  it("are read back as they were set, by path and descriptor, until they are set otherwise", () => {
    const [atime, mtime] = [1_796_102_446_855_329_065n, 1_796_102_446_084_199_756n];
    const read = (): bigint[] => {
      const { atimeNs, mtimeNs } = files.stat(path, true);
      return [atimeNs, mtimeNs];
    };
    files.setTimes(path, atime, mtime, true);
    expect(times()).not.toEqual([atime, mtime]);
    expect(read()).toEqual([atime, mtime]);
    // One of the two alone, by a descriptor.
    const file = files.open(path, 0, 0);
    file.setTimes(undefined, mtime + 1n);
    expect(read()).toEqual([atime, mtime + 1n]);
    expect(file.stat()).toMatchObject({ atimeNs: atime, mtimeNs: mtime + 1n });
    file.close();
    fs.symlinkSync("file", `${path}-link`);
    files.setTimes(`${path}-link`, mtime, atime, false);
    expect(files.stat(`${path}-link`, false)).toMatchObject({ atimeNs: mtime, mtimeNs: atime });
    expect(read()).toEqual([atime, mtime + 1n]);
    // Somebody else's change counts.
    fs.utimesSync(path, 5, 6);
    expect(read()).toEqual([5_000_000_000n, 6_000_000_000n]);
    files.setTimes(path, 7_000_000_000n, undefined, true);
    expect(read()).toEqual([7_000_000_000n, 6_000_000_000n]);
  });

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
