import { randomFillSync } from "node:crypto";
import type { Host, HostFile, HostFileSystem, HostInput, HostOutput } from "../../host/host.ts";
import { type ErrnoName, SyscallError } from "../abi/errno.ts";
import { O_RDONLY, O_WRONLY } from "../abi/fcntl.ts";
import { type FileStat, S_IFDIR, S_IFIFO } from "../abi/stat.ts";

const PIPE: FileStat = {
  dev: 12n,
  ino: 1n,
  mode: S_IFIFO | 0o600,
  nlink: 1,
  uid: 1000,
  gid: 1000,
  rdev: 0n,
  size: 0,
  blockSize: 4096,
  blocks: 0,
  atimeNs: 0n,
  mtimeNs: 0n,
  ctimeNs: 0n,
  birthtimeNs: 0n,
};

const STDIO = { file: undefined, stat: () => PIPE } as const;

/** A pipe that keeps what is written, up to a limit: a guest gone wild must not fill the memory. */
class Capture implements HostOutput {
  readonly file = STDIO.file;
  readonly stat = STDIO.stat;
  readonly flags = O_WRONLY;
  readonly path: string;
  readonly #pieces: Uint8Array[] = [];
  readonly #limit: number;
  #size = 0;

  constructor(path: string, limit: number) {
    this.path = path;
    this.#limit = limit;
  }

  write(bytes: Uint8Array): void {
    const kept = bytes.slice(0, Math.max(0, this.#limit - this.#size));
    this.#size += kept.length;
    if (kept.length > 0) this.#pieces.push(kept);
  }

  get bytes(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#pieces));
  }
}

const ROOT: FileStat = { ...PIPE, ino: 2n, mode: S_IFDIR | 0o755, nlink: 2 };

/** Throws the same error for every member that `known` does not have. */
function refuse<T extends object>(known: Partial<T>, error: (name: string) => ErrnoName): T {
  return new Proxy(known as T, {
    get: (target, name) =>
      name in target
        ? target[name as keyof T]
        : () => {
            throw new SyscallError(error(String(name)));
          },
  });
}

const ROOT_DIRECTORY = refuse<HostFile>(
  {
    prefix: "",
    path: () => "/",
    inheritedOffset: undefined,
    input: undefined,
    stat: () => ROOT,
    close: () => {},
  },
  () => "EISDIR",
);

function missing(): never {
  throw new SyscallError("ENOENT");
}

/** A file system with a root directory and nothing in it, where nothing can be made. */
const NO_FILES = refuse<HostFileSystem>(
  {
    open: (path) => (path === "/" ? ROOT_DIRECTORY : missing()),
    stat: (path) => (path === "/" ? ROOT : missing()),
    access: (path) => (path === "/" ? undefined : missing()),
    readDirectory: (path) => (path === "/" ? [] : missing()),
    realPath: (path) => path,
    readLink: missing,
    currentDirectory: () => "/",
  },
  () => "EROFS",
);

/** A world without files around a guest of a test: its input is given, its output kept. The clock is the host's. */
export class TestHost implements Host {
  readonly stdin: HostInput;
  readonly stdout: Capture;
  readonly stderr: Capture;
  readonly files = NO_FILES;

  constructor(options: { stdin?: Uint8Array; outputLimit?: number } = {}) {
    const limit = options.outputLimit ?? 16 << 20;
    let rest = options.stdin ?? new Uint8Array();
    this.stdin = {
      ...STDIO,
      path: "pipe:[1]",
      flags: O_RDONLY,
      read: (max) => {
        const piece = rest.subarray(0, max);
        rest = rest.subarray(piece.length);
        return piece;
      },
    };
    this.stdout = new Capture("pipe:[2]", limit);
    this.stderr = new Capture("pipe:[3]", limit);
  }

  monotonicNs(): number {
    return performance.now() * 1e6;
  }

  realtimeNs(): bigint {
    return BigInt(Date.now()) * 1_000_000n;
  }

  randomBytes(bytes: Uint8Array): void {
    randomFillSync(bytes);
  }

  hostName(): string {
    return "test";
  }

  umask(): number {
    return 0o22;
  }

  close(): void {}
}
