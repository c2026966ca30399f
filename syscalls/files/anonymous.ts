import { type FileStat, makeDevice } from "../abi/stat.ts";

/** Device number of files without a name: pipes, eventfds, epoll sets, memfds. */
const ANONYMOUS_DEVICE = makeDevice(0, 0xf000);

/** What fstat(2) says about a file without a name. */
export function anonymousStat(ino: bigint, mode: number, size = 0, timeNs = 0n): FileStat {
  return {
    dev: ANONYMOUS_DEVICE,
    ino,
    mode,
    nlink: 1,
    uid: 0,
    gid: 0,
    rdev: 0n,
    size,
    blockSize: 4096,
    blocks: Math.ceil(size / 4096) * 8,
    atimeNs: timeNs,
    mtimeNs: timeNs,
    ctimeNs: timeNs,
    birthtimeNs: 0n,
  };
}
