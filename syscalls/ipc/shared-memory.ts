import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from "../../emu/layout.ts";
import { SyscallError } from "../abi/errno.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { AnonymousFile } from "../memory/anonymous-file.ts";
import { FileBacking, storeShared } from "../memory/file-backing.ts";
import { row } from "../table.ts";
import {
  IPC,
  type IpcObject,
  IpcTable,
  PERM_READ,
  PERM_SIZE,
  PERM_WRITE,
  requireOwner,
  secondsNow,
  setPerm,
  writePerm,
} from "./objects.ts";

/** shmat(2) and shmctl(2) (include/uapi/linux/shm.h). */
const SHM = {
  ...{ RDONLY: 0o10000, RND: 0o20000, REMAP: 0o40000, EXEC: 0o100000 },
  ...{ LOCK: 11, UNLOCK: 12, STAT: 13, INFO: 14, STAT_ANY: 15 },
} as const;
/** A bit of the mode of segments that go with their last attachment. */
const SHM_DEST = 0o1000;
/** Most segments, and the size of struct shmid64_ds. */
const SHMMNI = 4096;
const SHMID_SIZE = 112;

/** A segment of System V shared memory (Linux: struct shmid_kernel). */
interface Segment extends IpcObject {
  readonly size: number;
  readonly file: AnonymousFile;
  readonly creatorPid: number;
  lastPid: number;
  attached: bigint;
  detached: bigint;
  /** IPC_RMID: it goes when nobody has it any more. */
  isDoomed: boolean;
}

/** The segments of a machine. */
export class SharedMemory {
  readonly table = new IpcTable<Segment>(SHMMNI);

  /** How often a segment is attached. */
  attachments(process: LinuxProcess, segment: Segment): number {
    let count = 0;
    const seen = new Set<unknown>();
    for (const { mm, finished } of process.kernel.processes.values()) {
      if (finished || seen.has(mm)) continue;
      seen.add(mm);
      for (const backing of mm.backings) if (isOf(segment, backing) && backing.isMapped) count++;
    }
    return count;
  }

  /** Segments that are to go, and that nobody has any more, go (Linux does so at the last detachment). */
  sweep(process: LinuxProcess): void {
    for (const segment of [...this.table.all]) {
      if (!segment.isDoomed || this.attachments(process, segment) > 0) continue;
      this.table.remove(segment);
      segment.file.release();
    }
  }
}

const isOf = ({ file }: Segment, backing: FileBacking): boolean => backing.file.identity === file;

function shmget(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [key, size, flags] = [args.i32(0), args.address(1), args.u32(2)];
  const { sharedMemory } = process.kernel;
  sharedMemory.sweep(process);
  const fits = (segment: Segment): void => {
    if (segment.size < size) throw new SyscallError("EINVAL");
  };
  const make = (base: IpcObject): Segment => {
    if (size === 0 || size > 2 ** 40) throw new SyscallError("EINVAL");
    const file = new AnonymousFile(Math.ceil(size / PAGE_SIZE) * PAGE_SIZE, true).acquire();
    const none = { lastPid: 0, attached: 0n, detached: 0n, isDoomed: false };
    return { ...base, ...none, size, file, creatorPid: process.pid };
  };
  return sharedMemory.table.get(process, key, flags, fits, make).id;
}

function shmat(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [id, flags] = [args.i32(0), args.u32(2)];
  let address = args.address(1);
  const readOnly = (flags & SHM.RDONLY) !== 0;
  const executable = (flags & SHM.EXEC) !== 0;
  if (address % PAGE_SIZE !== 0) {
    if (!(flags & SHM.RND)) throw new SyscallError("EINVAL");
    address -= address % PAGE_SIZE;
  }
  if (address === 0 && flags & SHM.REMAP) throw new SyscallError("EINVAL");
  const { sharedMemory } = process.kernel;
  const segment = sharedMemory.table.use(process, id, readOnly ? PERM_READ : PERM_READ | PERM_WRITE);
  const { space } = process.memory;
  const length = Math.ceil(segment.size / PAGE_SIZE) * PAGE_SIZE;
  if (address !== 0 && !(flags & SHM.REMAP) && space.vmas.overlapping(address, address + length).length > 0) {
    throw new SyscallError("EINVAL");
  }
  if (address !== 0) storeShared(process.memory, address, address + length);
  const options = { files: process.files.shared, shared: true };
  const backing = new FileBacking(segment.file, segment.file.mappable, process.memory, options);
  process.backings.add(backing);
  try {
    const prot = PROT_READ | (readOnly ? 0 : PROT_WRITE) | (executable ? PROT_EXEC : 0);
    const at = space.map({ address, length, prot, fixed: address !== 0, shared: true, backing, offset: 0 });
    segment.attached = secondsNow(process);
    segment.lastPid = process.pid;
    return at;
  } catch (error) {
    backing.close();
    process.backings.delete(backing);
    throw error;
  }
}

function shmdt(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const address = args.address(0);
  const { space } = process.memory;
  const { sharedMemory } = process.kernel;
  const backing = space.vmas.at(address)?.backing;
  if (address % PAGE_SIZE !== 0 || !(backing instanceof FileBacking)) throw new SyscallError("EINVAL");
  const segment = [...sharedMemory.table.all].find((each) => isOf(each, backing));
  if (segment === undefined) throw new SyscallError("EINVAL");
  const pieces = [...space.vmas].filter((vma) => vma.backing === backing && vma.start - vma.offset === address);
  if (pieces.length === 0) throw new SyscallError("EINVAL");
  for (const { start, end } of pieces) {
    storeShared(process.memory, start, end, true);
    space.unmap(start, end - start);
  }
  backing.close();
  process.backings.delete(backing);
  segment.detached = secondsNow(process);
  segment.lastPid = process.pid;
  sharedMemory.sweep(process);
  return 0;
}

function shmctl(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [id, command, address] = [args.i32(0), args.i32(1), args.address(2)];
  const { sharedMemory } = process.kernel;
  const { table } = sharedMemory;
  sharedMemory.sweep(process);
  switch (command) {
    case IPC.RMID: {
      const segment = table.find(id);
      requireOwner(process, segment);
      segment.isDoomed = true;
      segment.key = IPC.PRIVATE;
      sharedMemory.sweep(process);
      return 0;
    }
    case IPC.SET:
      setPerm(process, table.find(id), address);
      return 0;
    case IPC.STAT: {
      const segment = table.use(process, id, PERM_READ);
      process.memory.writeBytes(address, describe(process, segment));
      return 0;
    }
    case SHM.LOCK:
    case SHM.UNLOCK:
      requireOwner(process, table.find(id));
      return 0;
    default:
      throw new SyscallError("EINVAL");
  }
}

/** struct shmid64_ds (include/uapi/asm-generic/shmbuf.h). */
function describe(process: LinuxProcess, segment: Segment): Uint8Array {
  const bytes = new Uint8Array(SHMID_SIZE);
  const view = new DataView(bytes.buffer);
  writePerm(view, segment, segment.isDoomed ? SHM_DEST : 0);
  view.setBigUint64(PERM_SIZE, BigInt(segment.size), true);
  view.setBigInt64(PERM_SIZE + 8, segment.attached, true);
  view.setBigInt64(PERM_SIZE + 16, segment.detached, true);
  view.setBigInt64(PERM_SIZE + 24, segment.changed, true);
  view.setInt32(PERM_SIZE + 32, segment.creatorPid, true);
  view.setInt32(PERM_SIZE + 36, segment.lastPid, true);
  view.setBigUint64(PERM_SIZE + 40, BigInt(process.kernel.sharedMemory.attachments(process, segment)), true);
  return bytes;
}

const NOTE = "among the processes of the machine, not with those of the host; no limits to be asked for (IPC_INFO)";

export const SHARED_MEMORY_SYSCALLS = [
  row(29, "shmget", ["int", "size", "octal"], shmget, NOTE),
  row(30, "shmat", ["int", "address", "hex"], shmat),
  row(31, "shmctl", ["int", "int", "address"], shmctl, NOTE),
  row(67, "shmdt", ["address"], shmdt),
];
