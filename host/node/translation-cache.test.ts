// Translations on disk: shared by processes, bounded in size, and never in the way.
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { FileBytes, type FileSource } from "../../loader/bytes.ts";
import { contentHash, defaultCacheDirectory, NodeTranslationCache } from "./translation-cache.ts";

const root = fs.mkdtempSync(join(tmpdir(), "goemu-cache-"));
let directory = "";
let count = 0;
beforeEach(() => {
  directory = join(root, `${count++}`, "goemu");
});
afterAll(() => fs.rmSync(root, { recursive: true }));

const identity = { content: "c".repeat(64), build: "1", options: ["v3", "compact"] };
const open = (part: Partial<typeof identity> = {}, limit?: number): NodeTranslationCache =>
  new NodeTranslationCache({ ...identity, ...part }, { directory, limit });

function source(bytes: Uint8Array): FileSource {
  const file = new FileBytes(bytes);
  return { size: bytes.length, read: (into, offset) => file.read(into, offset) };
}

/** Writes a section for an identity. */
function keep(bytes: Uint8Array, part: Partial<typeof identity> = {}, limit?: number): boolean {
  const cache = open(part, limit);
  cache.put("records", bytes);
  return cache.commit();
}
const files = (): string[] => fs.readdirSync(directory).sort();

describe("translations on disk", () => {
  it("are there for the next", () => {
    const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i);
    expect(open().section("records")).toBeUndefined();
    expect(keep(bytes)).toBe(true);
    expect(open().section("records")).toEqual(bytes);
    expect(open().section("other")).toBeUndefined();
    expect(fs.statSync(directory).mode & 0o777).toBe(0o700);
  });

  it("are for one content, build and set of options", () => {
    keep(Uint8Array.of(1));
    for (const part of [{ content: "d".repeat(64) }, { build: "2" }, { options: ["v1", "compact"] }, { options: [] }]) {
      expect(open(part).section("records")).toBeUndefined();
    }
    expect(open().section("records")).toEqual(Uint8Array.of(1));
  });

  it("are written only if something was put", () => {
    keep(Uint8Array.of(1));
    const [name] = files();
    fs.utimesSync(join(directory, name), 1e9, 1e9);
    const before = fs.statSync(join(directory, name)).ino;
    expect(open().commit()).toBe(false);
    expect(fs.statSync(join(directory, name)).ino).toBe(before);
  });

  it("are ignored when damaged, and written anew", () => {
    keep(Uint8Array.of(1, 2, 3));
    const path = join(directory, files()[0]);
    const good = fs.readFileSync(path);
    const damages: Uint8Array[] = [new Uint8Array(0), good.subarray(0, good.length - 1), Buffer.alloc(good.length)];
    for (const damage of damages) {
      fs.writeFileSync(path, damage);
      expect(open().section("records")).toBeUndefined();
      expect(keep(Uint8Array.of(4))).toBe(true);
      expect(open().section("records")).toEqual(Uint8Array.of(4));
    }
  });

  it("keep what is not put again, and lose what is deleted", () => {
    const cache = open();
    for (const name of ["a", "b", "c"]) cache.put(name, new Uint8Array(500).fill(name.charCodeAt(0)));
    cache.delete("c");
    expect(cache.section("c")).toBeUndefined();
    expect(cache.commit()).toBe(true);
    const next = open();
    expect(next.section("c")).toBeUndefined();
    next.put("d", Uint8Array.of(4));
    next.delete("a");
    // The file that was there at the start is read, whatever another process makes of it meanwhile.
    fs.renameSync(join(directory, files()[0]), join(directory, "elsewhere"));
    expect(next.section("a")).toBeUndefined();
    expect(next.commit()).toBe(true);
    next.close();
    const last = open();
    expect(["a", "b", "d"].map((name) => last.section(name)?.length)).toEqual([undefined, 500, 1]);
    expect(last.section("b")?.every((byte) => byte === "b".charCodeAt(0))).toBe(true);
  });

  it("go altogether if what they may have been made for is damaged", () => {
    const cache = open();
    cache.put("handlers", new Uint8Array(500).fill(1));
    cache.put("records", new Uint8Array(500).fill(2));
    cache.commit();
    const path = join(directory, files()[0]);
    const bytes = fs.readFileSync(path);
    bytes[bytes.length - 1] ^= 1;
    fs.writeFileSync(path, bytes);
    const next = open();
    expect(next.section("handlers")).toBeDefined();
    expect(next.section("records")).toBeUndefined();
    next.put("more", Uint8Array.of(1));
    expect(next.commit()).toBe(false);
    expect(files()).toEqual([]);
  });

  it("do without a directory that cannot be had", () => {
    fs.mkdirSync(join(directory, ".."), { recursive: true });
    fs.writeFileSync(directory, "a file");
    expect(keep(Uint8Array.of(1))).toBe(false);
    expect(open().section("records")).toBeUndefined();
    expect(contentHash(directory, source(Uint8Array.of(1)), fs.statSync(root, { bigint: true }))).toHaveLength(64);
    directory = "/proc/goemu";
    expect(keep(Uint8Array.of(1))).toBe(false);
  });

  it("do not trust a directory that others may write to", () => {
    keep(Uint8Array.of(1));
    fs.chmodSync(directory, 0o777);
    expect(open().section("records")).toBeUndefined();
    expect(keep(Uint8Array.of(2))).toBe(false);
  });

  it("stay within a size, and what was used longest ago goes first", () => {
    const limit = 10_000;
    for (const [i, build] of ["a", "b", "c", "d", "e", "f"].entries()) {
      keep(new Uint8Array(2000), { build }, limit);
      for (const name of files()) {
        const path = join(directory, name);
        const { mtimeMs } = fs.statSync(path);
        if (mtimeMs > Date.now() - 60_000) fs.utimesSync(path, 1e9 + i, 1e9 + i);
      }
    }
    const total = files().reduce((sum, name) => sum + fs.statSync(join(directory, name)).size, 0);
    expect(total).toBeLessThanOrEqual(limit);
    const left = ["a", "b", "c", "d", "e", "f"].filter((build) => open({ build }).section("records") !== undefined);
    expect(left.length).toBeGreaterThan(2);
    expect(left).toEqual(["a", "b", "c", "d", "e", "f"].slice(-left.length));
    expect(keep(new Uint8Array(limit * 2), { build: "g" }, limit)).toBe(false);
  });

  it("clear away what nobody will finish, and leave other files alone", () => {
    keep(Uint8Array.of(1));
    for (const name of ["x.translations.1-2.tmp", "notes.txt"]) {
      fs.writeFileSync(join(directory, name), "x");
      fs.utimesSync(join(directory, name), 1e9, 1e9);
    }
    fs.writeFileSync(join(directory, "y.translations.3-4.tmp"), "x");
    keep(Uint8Array.of(2), { build: "2" });
    expect(files().filter((name) => !/^\w+\.translations$/.test(name))).toEqual([
      "notes.txt",
      "y.translations.3-4.tmp",
    ]);
  });

  it("are always whole, while several processes write and read", async () => {
    const module = fileURLToPath(new URL("./translation-cache.ts", import.meta.url));
    const script = `
      import { NodeTranslationCache } from ${JSON.stringify(module)};
      const identity = ${JSON.stringify(identity)};
      let seen = 0;
      for (let i = 0; i < 60; i++) {
        const cache = new NodeTranslationCache(identity, { directory: ${JSON.stringify(directory)} });
        const bytes = cache.section("records");
        if (bytes !== undefined) {
          seen++;
          if (bytes.length !== 100000 || bytes.some((byte) => byte !== bytes[0])) throw new Error("torn");
        } else if (seen > 0) throw new Error("gone");
        cache.put("records", new Uint8Array(100000).fill(process.pid + i));
        if (!cache.commit()) throw new Error("not written");
      }`;
    const path = join(root, "writer.mts");
    fs.writeFileSync(path, script);
    const run = (): Promise<number | null> =>
      new Promise((resolve) => spawn(process.execPath, [path], { stdio: "inherit" }).on("close", resolve));
    expect(await Promise.all([run(), run(), run()])).toEqual([0, 0, 0]);
    expect(files()).toHaveLength(1);
  });
});

describe("the hash of an executable", () => {
  it("is remembered for a file that has been at rest", () => {
    const path = join(root, "program");
    fs.writeFileSync(path, "program");
    const stat = fs.statSync(path, { bigint: true });
    const bytes = fs.readFileSync(path);
    const hash = contentHash(directory, source(bytes), stat);
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    // Changed just now: it may change again unseen.
    expect(fs.existsSync(directory)).toBe(false);
    const settled = { ...stat, ctimeNs: stat.ctimeNs - 10_000_000_000n } as fs.BigIntStats;
    expect(contentHash(directory, source(bytes), settled)).toBe(hash);
    expect(files()).toHaveLength(1);
    // It is read, not computed.
    expect(contentHash(directory, source(Uint8Array.of(1)), settled)).toBe(hash);
    expect(contentHash(directory, source(Uint8Array.of(1)), { ...settled, mtimeNs: 1n } as fs.BigIntStats)).not.toBe(
      hash,
    );
    for (const name of files()) fs.writeFileSync(join(directory, name), "nonsense");
    expect(contentHash(directory, source(Uint8Array.of(1)), settled)).not.toBe(hash);
  });
});

describe("the place of the cache", () => {
  it("follows the XDG Base Directory Specification", () => {
    expect(defaultCacheDirectory({ XDG_CACHE_HOME: "/x/cache", HOME: "/home/u" })).toBe("/x/cache/goemu");
    expect(defaultCacheDirectory({ XDG_CACHE_HOME: "relative", HOME: "/home/u" })).toBe("/home/u/.cache/goemu");
    expect(defaultCacheDirectory({ XDG_CACHE_HOME: "", HOME: "/home/u" })).toBe("/home/u/.cache/goemu");
    expect(defaultCacheDirectory({ HOME: "" })).toBeUndefined();
  });
});
