import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { checksum } from "../../emu/cache/checksum.ts";
import { encodeSections, SectionReader } from "../../emu/cache/container.ts";
import type { MachineCode } from "../../emu/cache/machine-code.ts";
import { identityOf, type TranslationCache, type TranslationIdentity } from "../../emu/cache/translation-cache.ts";
import type { FileSource } from "../../loader/bytes.ts";
import { answers } from "./answers.ts";
import { nodeMachineCode } from "./machine-code.ts";

/** Most bytes of all files together, and of one; what was used longest ago goes first. */
const DIRECTORY_LIMIT = 256 * 2 ** 20;
const FILE_LIMIT = 128 * 2 ** 20;
/** A file's time of use is kept this exact: writing it at each start would cost more than it tells. */
const USE_RESOLUTION_MS = 3_600_000;
/** What another process began to write this long ago will never be finished. */
const ABANDONED_MS = 3_600_000;
/** A file that changed just now may change again without another time stamp showing it (as git's "racy" entries). */
const RACY_NS = 2_000_000_000n;

/** Bytes of a file with a hash: 64 hexadecimal digits and the end of the line. */
const HASH_FILE = 65;

/** A file is hashed in pieces of this many bytes. */
const HASH_PIECE = 0x10_0000;

const TRANSLATIONS = ".translations";
const HASH = ".hash";
const TEMPORARY = ".tmp";

/** Where the cache is by the XDG Base Directory Specification; undefined where the user has no place for it. */
export function defaultCacheDirectory(env: NodeJS.ProcessEnv): string | undefined {
  const { XDG_CACHE_HOME: xdg, HOME: home } = env;
  // "All paths set in these environment variables must be absolute", others are to be ignored.
  if (xdg !== undefined && isAbsolute(xdg)) return join(xdg, "goemu");
  const base = home ?? homedir();
  return isAbsolute(base) ? join(base, ".cache", "goemu") : undefined;
}

export interface NodeTranslationCacheOptions {
  readonly directory: string;
  /** Most bytes in the directory. */
  readonly limit?: number;
}

/**
 * Translations on disk: one file for each executable, build and set of options. Files appear whole, by rename, and
 * carry checksums, so that any number of processes may use one directory; whatever is wrong with a file or with the
 * directory, the program runs as if there were none.
 */
export class NodeTranslationCache implements TranslationCache {
  readonly machineCode: MachineCode | undefined = nodeMachineCode;
  readonly #path: string;
  readonly #directory: string;
  readonly #identity: string;
  readonly #limit: number;
  /** The file of the last run stays open: another process may replace it meanwhile. */
  #file: { readonly fd: number; readonly reader: SectionReader } | undefined;
  readonly #put = new Map<string, Uint8Array>();
  readonly #deleted = new Set<string>();
  /** Something of the file has been used. */
  #isUsed = false;

  constructor(identity: TranslationIdentity, { directory, limit = DIRECTORY_LIMIT }: NodeTranslationCacheOptions) {
    this.#identity = identityOf(identity);
    this.#path = join(directory, nameOf(this.#identity) + TRANSLATIONS);
    this.#directory = directory;
    this.#limit = limit;
    this.#file = isOurs(directory) ? openSections(this.#path, this.#identity) : undefined;
  }

  /** Does the file system answer that has the directory? To be asked before `commit`, some time later. */
  answers(): Promise<boolean> {
    return answers(this.#directory);
  }

  get size(): number {
    return this.#file?.reader.size ?? 0;
  }

  section(name: string): Uint8Array | undefined {
    const put = this.#put.get(name);
    if (put !== undefined || this.#deleted.has(name)) return put;
    const bytes = this.#file?.reader.section(name);
    if (bytes !== undefined) this.#isUsed = true;
    return bytes;
  }

  put(name: string, bytes: Uint8Array): void {
    this.#deleted.delete(name);
    this.#put.set(name, bytes);
  }

  delete(name: string): void {
    this.#put.delete(name);
    if (this.#file?.reader.names.includes(name)) this.#deleted.add(name);
  }

  /** Writes what was put, if anything was, beside what the file has; returns whether it is on disk now. */
  commit(): boolean {
    if (this.#put.size === 0 && this.#deleted.size === 0) return false;
    const sections = this.#sections();
    this.#put.clear();
    this.#deleted.clear();
    if (sections === undefined) {
      quietly(() => fs.unlinkSync(this.#path));
      return false;
    }
    const file = encodeSections(this.#identity, sections);
    const size = file.reduce((sum, { length }) => sum + length, 0);
    if (size > Math.min(FILE_LIMIT, this.#limit)) return false;
    if (!writeWhole(this.#directory, this.#path, file)) return false;
    evict(this.#directory, this.#limit);
    return true;
  }

  /** Lets go of the file; there are no sections any more. */
  close(): void {
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined) quietly(() => fs.closeSync(file.fd));
  }

  /** All sections for the next run; undefined if some are damaged that others may have been made for. */
  #sections(): Map<string, Uint8Array> | undefined {
    const { reader } = this.#file ?? {};
    const kept = new Map<string, Uint8Array>();
    for (const name of reader?.names ?? []) {
      const bytes = this.#put.has(name) || this.#deleted.has(name) ? undefined : reader?.section(name);
      if (bytes !== undefined) kept.set(name, bytes);
    }
    if (!reader?.isDamaged) return new Map([...kept, ...this.#put]);
    return this.#isUsed ? undefined : new Map(this.#put);
  }
}

/** A file name for an identity. The file has the identity in it, so that two of one name are no harm. */
const nameOf = (identity: string): string =>
  checksum(new TextEncoder().encode(identity)).toString(16).padStart(16, "0");

function openSections(path: string, identity: string): { fd: number; reader: SectionReader } | undefined {
  const fd = quietly(() => openFile(path));
  if (fd === undefined) return undefined;
  const reader = quietly(() => {
    const { size, mtimeMs } = fs.fstatSync(fd);
    if (size > FILE_LIMIT) return undefined;
    const now = Date.now();
    if (now - mtimeMs > USE_RESOLUTION_MS) quietly(() => fs.futimesSync(fd, now / 1000, now / 1000));
    return SectionReader.open((offset, length) => readPiece(fd, offset, length), size, identity);
  });
  if (reader !== undefined) return { fd, reader };
  quietly(() => fs.closeSync(fd));
  return undefined;
}

/** Opens a regular file to read it; undefined for anything else. A FIFO, or a file that is leased, is not waited for. */
function openFile(path: string): number | undefined {
  const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK | fs.constants.O_NOCTTY);
  if (fs.fstatSync(fd).isFile()) return fd;
  fs.closeSync(fd);
  return undefined;
}

function readPiece(fd: number, offset: number, length: number): Uint8Array | undefined {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const count = quietly(() => fs.readSync(fd, bytes, at, length - at, offset + at)) ?? 0;
    if (count === 0) return undefined;
    at += count;
  }
  return bytes;
}

/**
 * Hash of an executable's content. It is remembered for the file's identity and times, so that a large file is not
 * hashed each time it starts.
 * @param stat the file's, by fstat(2), before any of its bytes were read
 */
export function contentHash(directory: string, file: FileSource, stat: fs.BigIntStats): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = stat;
  const path = join(directory, [dev, ino, size, mtimeNs, ctimeNs].map((part) => part.toString(36)).join("-") + HASH);
  const known = quietly(() => {
    const fd = openFile(path);
    if (fd === undefined) return undefined;
    try {
      return new TextDecoder("latin1").decode(readPiece(fd, 0, HASH_FILE));
    } finally {
      fs.closeSync(fd);
    }
  });
  if (known !== undefined && /^[0-9a-f]{64}\n$/.test(known)) return known.slice(0, 64);
  const hash = sha256(file);
  const isSettled = BigInt(Date.now()) * 1_000_000n - ctimeNs > RACY_NS;
  if (isSettled) writeWhole(directory, path, [new TextEncoder().encode(`${hash}\n`)]);
  return hash;
}

function sha256(file: FileSource): string {
  const hash = createHash("sha256");
  const piece = new Uint8Array(Math.min(file.size, HASH_PIECE));
  for (let at = 0; ; ) {
    const count = file.read(piece, at);
    if (count <= 0) return hash.digest("hex");
    hash.update(piece.subarray(0, count));
    at += count;
  }
}

/** Writes a file under another name and renames it, so that nobody ever sees a part of it. */
function writeWhole(directory: string, path: string, pieces: readonly Uint8Array[]): boolean {
  const temporary = `${path}.${process.pid}-${process.hrtime.bigint().toString(36)}${TEMPORARY}`;
  // A file that grows beyond the limit (RLIMIT_FSIZE) is an error where somebody listens, and the end where nobody does.
  const ignore = (): void => {};
  process.on("SIGXFSZ", ignore);
  const done = quietly(() => {
    makeDirectory(directory);
    if (!isOurs(directory)) return false;
    const fd = fs.openSync(temporary, "wx", 0o600);
    try {
      // One behind the other: put together they would be in memory twice.
      for (const piece of pieces) fs.writeFileSync(fd, piece);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(temporary, path);
    return true;
  });
  process.off("SIGXFSZ", ignore);
  if (done === undefined) quietly(() => fs.unlinkSync(temporary));
  return done ?? false;
}

/**
 * Makes a directory and those above it. Node's own way of doing that does not end where a file system says ENOENT for
 * directories that it does not let anybody make, as /proc does.
 */
function makeDirectory(path: string): void {
  try {
    fs.mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return;
    if (code !== "ENOENT" || dirname(path) === path) throw error;
    makeDirectory(dirname(path));
    fs.mkdirSync(path, { mode: 0o700 });
  }
}

/** Does the directory belong to the user alone? What others can write there is not to be run. */
export function isOurs(directory: string): boolean {
  const stat = quietly(() => fs.statSync(directory));
  if (stat === undefined) return false;
  const uid = process.geteuid?.();
  return stat.isDirectory() && (uid === undefined || (stat.uid === uid && (stat.mode & 0o022) === 0));
}

/** Removes what was used longest ago until the rest fits, and what was never finished. */
function evict(directory: string, limit: number): void {
  const now = Date.now();
  const files = (quietly(() => fs.readdirSync(directory)) ?? []).flatMap((name) => {
    const isOf = [TRANSLATIONS, HASH, TEMPORARY].some((ending) => name.endsWith(ending));
    const path = join(directory, name);
    const stat = isOf ? quietly(() => fs.statSync(path)) : undefined;
    return stat === undefined ? [] : [{ path, size: Math.max(stat.size, 512), used: stat.mtimeMs }];
  });
  let total = files.reduce((sum, { size }) => sum + size, 0);
  for (const { path, size, used } of files.sort((a, b) => a.used - b.used)) {
    const abandoned = path.endsWith(TEMPORARY) && now - used > ABANDONED_MS;
    if (total <= limit && !abandoned) continue;
    if (quietly(() => fs.unlinkSync(path) ?? true)) total -= size;
  }
}

/** What `work` returns; undefined where the file system does not let it. Any other error is one of ours. */
function quietly<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).code === "string") return undefined;
    throw error;
  }
}
