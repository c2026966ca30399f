/** stat(2), statx(2) and statfs(2): constants, and the structures' layout on x86-64. */
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

/** What is known about a file. Sizes in bytes, `blocks` in 512 bytes, times in ns since 1970. */
export interface FileStat {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: bigint;
  readonly size: number;
  readonly blockSize: number;
  readonly blocks: number;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly birthtimeNs: bigint;
}

/** Major and minor of a dev_t (include/linux/kdev_t.h, new_decode_dev; glibc gnu_dev_major). */
export const major = (dev: bigint): number => Number(((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xffff_f000n));
export const minor = (dev: bigint): number => Number((dev & 0xffn) | ((dev >> 12n) & 0xffff_ff00n));
export const makeDevice = (majorNumber: number, minorNumber: number): bigint =>
  (BigInt(majorNumber) << 8n) | (BigInt(minorNumber) & 0xffn) | (BigInt(minorNumber & ~0xff) << 12n);

const SECOND = 1_000_000_000n;
/** Seconds rounded down, so that the nanoseconds stay positive before 1970. */
const seconds = (ns: bigint): bigint => (ns - nanoseconds(ns)) / SECOND;
const nanoseconds = (ns: bigint): bigint => {
  const rest = ns % SECOND;
  return rest < 0n ? rest + SECOND : rest;
};

export const STAT_SIZE = 144;

/** struct timespec. */
function setTime(view: DataView, at: number, ns: bigint): void {
  const rest = nanoseconds(ns);
  view.setBigInt64(at, (ns - rest) / SECOND, true);
  view.setBigInt64(at + 8, rest, true);
}

/** Memory of their own for each would cost more than all the rest. */
const statBytes = new Uint8Array(STAT_SIZE);
const statView = new DataView(statBytes.buffer);

/**
 * struct stat (arch/x86/include/uapi/asm/stat.h, the x86-64 variant; offsets in bytes on the right).
 * @returns the same array each time, whose contents are good until the next call
 */
export function encodeStat(stat: FileStat): Uint8Array {
  const view = statView;
  view.setBigUint64(0, stat.dev, true); // st_dev
  view.setBigUint64(8, stat.ino, true); // st_ino
  view.setBigUint64(16, BigInt(stat.nlink), true); // st_nlink
  view.setUint32(24, stat.mode, true); // st_mode
  view.setUint32(28, stat.uid, true); // st_uid
  view.setUint32(32, stat.gid, true); // st_gid
  view.setBigUint64(40, stat.rdev, true); // st_rdev
  view.setBigInt64(48, BigInt(stat.size), true); // st_size
  view.setBigInt64(56, BigInt(stat.blockSize), true); // st_blksize
  view.setBigInt64(64, BigInt(stat.blocks), true); // st_blocks
  setTime(view, 72, stat.atimeNs); // st_atime
  setTime(view, 88, stat.mtimeNs); // st_mtime
  setTime(view, 104, stat.ctimeNs); // st_ctime
  return statBytes;
}

export const STATX_SIZE = 256;
/** STATX_BASIC_STATS | STATX_BTIME: what is filled in. */
const STATX_FILLED = 0x0fff;
export const STATX_RESERVED = 0x8000_0000;

/** struct statx (include/uapi/linux/stat.h). */
export function encodeStatx(stat: FileStat): Uint8Array {
  const bytes = new Uint8Array(STATX_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, stat.birthtimeNs === 0n ? STATX_FILLED & ~0x800 : STATX_FILLED, true); // stx_mask
  view.setUint32(4, stat.blockSize, true); // stx_blksize
  view.setUint32(16, stat.nlink, true); // stx_nlink
  view.setUint32(20, stat.uid, true); // stx_uid
  view.setUint32(24, stat.gid, true); // stx_gid
  view.setUint16(28, stat.mode, true); // stx_mode
  view.setBigUint64(32, stat.ino, true); // stx_ino
  view.setBigUint64(40, BigInt(stat.size), true); // stx_size
  view.setBigUint64(48, BigInt(stat.blocks), true); // stx_blocks
  [stat.atimeNs, stat.birthtimeNs, stat.ctimeNs, stat.mtimeNs].forEach((time, i) => {
    view.setBigInt64(64 + 16 * i, seconds(time), true); // stx_atime, stx_btime, stx_ctime, stx_mtime
    view.setUint32(72 + 16 * i, Number(nanoseconds(time)), true);
  });
  view.setUint32(128, major(stat.rdev), true); // stx_rdev_major
  view.setUint32(132, minor(stat.rdev), true);
  view.setUint32(136, major(stat.dev), true); // stx_dev_major
  view.setUint32(140, minor(stat.dev), true);
  return bytes;
}

/** What statfs(2) tells: sizes in blocks of `blockSize` bytes. */
export interface FileSystemStat {
  readonly type: number;
  readonly blockSize: number;
  readonly blocks: bigint;
  readonly blocksFree: bigint;
  readonly blocksAvailable: bigint;
  readonly files: bigint;
  readonly filesFree: bigint;
}

export const STATFS_SIZE = 120;
/** f_type of procfs, sysfs, tmpfs (include/uapi/linux/magic.h). */
export const PROC_SUPER_MAGIC = 0x9fa0;
export const SYSFS_MAGIC = 0x6265_6572;
export const TMPFS_MAGIC = 0x0102_1994;
export const PIPEFS_MAGIC = 0x5049_5045;

/** struct statfs (include/uapi/asm-generic/statfs.h, 64-bit words). */
export function encodeStatfs(stat: FileSystemStat): Uint8Array {
  const bytes = new Uint8Array(STATFS_SIZE);
  const view = new DataView(bytes.buffer);
  view.setBigInt64(0, BigInt(stat.type), true); // f_type
  view.setBigInt64(8, BigInt(stat.blockSize), true); // f_bsize
  view.setBigUint64(16, stat.blocks, true); // f_blocks
  view.setBigUint64(24, stat.blocksFree, true); // f_bfree
  view.setBigUint64(32, stat.blocksAvailable, true); // f_bavail
  view.setBigUint64(40, stat.files, true); // f_files
  view.setBigUint64(48, stat.filesFree, true); // f_ffree
  view.setBigInt64(64, 255n, true); // f_namelen (after f_fsid at 56)
  view.setBigInt64(72, BigInt(stat.blockSize), true); // f_frsize
  return bytes;
}

/** d_type of a directory entry, from its mode (include/linux/fs_types.h, S_DT). */
export const directoryType = (mode: number): number => (mode & S_IFMT) >>> 12;
