import { errno, SyscallError } from "../../syscalls/abi/errno.ts";
import { AT_FDCWD, O_RDONLY } from "../../syscalls/abi/fcntl.ts";
import type { FileStat } from "../../syscalls/abi/stat.ts";
import type { FileDescription } from "../../syscalls/files/description.ts";
import { IoVector } from "../../syscalls/files/io-vector.ts";
import { openPath } from "../../syscalls/files/open.ts";
import { bytesToPath } from "../../syscalls/files/path.ts";
import { resolve } from "../../syscalls/files/resolve.ts";
import type { LinuxProcess } from "../../syscalls/linux-process.ts";
import { bytesOf, escapeBinary, fromHex, PACKET_SIZE } from "./packets.ts";

/** Files that a client may have open. */
const MAX_FILES = 64;
/** errno values of the File-I/O protocol (gdb manual, "Errno Values") that are not Linux's. */
const FILEIO_ERRNO: ReadonlyMap<number, number> = new Map([
  [errno.ENAMETOOLONG, 91],
  [errno.ENOSYS, 88],
]);
const FILEIO_EUNKNOWN = 9999;
/** Linux's numbers up to ESPIPE and EROFS are the protocol's. */
const LAST_COMMON = 30;

/** Host I/O packets (gdb manual, "Host I/O Packets"): the guest's files, for reading only. */
export class RemoteFiles {
  readonly #process: LinuxProcess;
  readonly #files = new Map<number, FileDescription>();

  constructor(process: LinuxProcess) {
    this.#process = process;
  }

  /** The reply to `vFile:operation:arguments`; empty for an operation that is not offered. */
  handle(request: string): Uint8Array {
    const [operation, ...rest] = request.split(":");
    const args = rest.join(":").split(",");
    try {
      return this.#reply(operation, args) ?? new Uint8Array();
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      return failure(error.value);
    }
  }

  close(): void {
    for (const file of this.#files.values()) file.release();
    this.#files.clear();
  }

  #reply(operation: string, args: readonly string[]): Uint8Array | undefined {
    switch (operation) {
      case "setfs":
        return success(0);
      case "open":
        return success(this.#open(pathOf(args[0]), number(args[1])));
      case "pread":
        return this.#read(this.#file(args[0]), number(args[1]), number(args[2]));
      case "fstat":
        return attached(encodeStat(this.#file(args[0]).stat()));
      case "stat":
        return attached(this.#stat(pathOf(args[0])));
      case "readlink":
        return this.#readLink(pathOf(args[0]));
      case "close": {
        this.#file(args[0]).release();
        this.#files.delete(number(args[0]));
        return success(0);
      }
      default:
        return undefined;
    }
  }

  #open(path: string, flags: number): number {
    if (flags !== 0) throw new SyscallError("EACCES");
    let fd = 3;
    while (this.#files.has(fd)) fd++;
    if (this.#files.size >= MAX_FILES) throw new SyscallError("EMFILE");
    this.#files.set(fd, openPath(this.#process, AT_FDCWD, path, O_RDONLY, 0).acquire());
    return fd;
  }

  #file(fd: string): FileDescription {
    const file = this.#files.get(number(fd));
    if (file === undefined) throw new SyscallError("EBADF");
    return file;
  }

  #read(file: FileDescription, count: number, offset: number): Uint8Array {
    const bytes = new Uint8Array(Math.min(count, PACKET_SIZE / 4));
    const got = file.readAt(IoVector.buffer(bytes), offset);
    if (got < 0) return failure(-got);
    return attached(bytes.subarray(0, got));
  }

  #stat(path: string): Uint8Array {
    const file = openPath(this.#process, AT_FDCWD, path, O_RDONLY, 0).acquire();
    try {
      return encodeStat(file.stat());
    } finally {
      file.release();
    }
  }

  #readLink(path: string): Uint8Array {
    const place = resolve(this.#process, AT_FDCWD, path, false);
    if (place.kind === "host") return attached(bytesOf(this.#process.host.files.readLink(place.path)));
    if (place.node.kind !== "link" && place.node.kind !== "magic") throw new SyscallError("EINVAL");
    return attached(bytesOf(place.node.target()));
  }
}

function number(text: string | undefined): number {
  if (text === undefined || !/^[0-9a-f]{1,13}$/i.test(text)) throw new SyscallError("EINVAL");
  return Number.parseInt(text, 16);
}

function pathOf(hex: string | undefined): string {
  const bytes = hex === undefined ? undefined : fromHex(hex);
  if (bytes === undefined || bytes.includes(0)) throw new SyscallError("EINVAL");
  return bytesToPath(bytes);
}

const success = (value: number): Uint8Array => bytesOf(`F${value.toString(16)}`);

function failure(code: number): Uint8Array {
  const value = FILEIO_ERRNO.get(code) ?? (code <= LAST_COMMON ? code : FILEIO_EUNKNOWN);
  return bytesOf(`F-1,${value.toString(16)}`);
}

function attached(bytes: Uint8Array): Uint8Array {
  const head = bytesOf(`F${bytes.length.toString(16)};`);
  const data = escapeBinary(bytes);
  const out = new Uint8Array(head.length + data.length);
  out.set(head);
  out.set(data, head.length);
  return out;
}

/** struct stat of the File-I/O protocol, big endian (gdb manual, "struct stat"). */
function encodeStat(stat: FileStat): Uint8Array {
  const bytes = new Uint8Array(64);
  const view = new DataView(bytes.buffer);
  const seconds = (ns: bigint): number => Number(BigInt.asUintN(32, ns / 1_000_000_000n));
  view.setUint32(0, Number(BigInt.asUintN(32, stat.dev)));
  view.setUint32(4, Number(BigInt.asUintN(32, stat.ino)));
  view.setUint32(8, stat.mode);
  view.setUint32(12, stat.nlink);
  view.setUint32(16, stat.uid);
  view.setUint32(20, stat.gid);
  view.setUint32(24, Number(BigInt.asUintN(32, stat.rdev)));
  view.setBigUint64(28, BigInt(stat.size));
  view.setBigUint64(36, BigInt(stat.blockSize));
  view.setBigUint64(44, BigInt(stat.blocks));
  view.setUint32(52, seconds(stat.atimeNs));
  view.setUint32(56, seconds(stat.mtimeNs));
  view.setUint32(60, seconds(stat.ctimeNs));
  return bytes;
}
