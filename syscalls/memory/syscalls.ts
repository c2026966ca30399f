import { inWindow, PAGE_SIZE, PERM_DIRTY, TASK_SIZE } from "../../emu/layout.ts";
import { isInReach, type MapRequest } from "../../emu/memory/address-space.ts";
import { MemoryError } from "../../emu/memory/memory-error.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { row } from "../table.ts";
import { AnonymousFile } from "./anonymous-file.ts";
import { FileBacking, storeShared } from "./file-backing.ts";

/** mmap(2) flags (include/uapi/asm-generic/mman-common.h). */
export const MAP = {
  SHARED: 0x01,
  PRIVATE: 0x02,
  SHARED_VALIDATE: 0x03,
  TYPE: 0x0f,
  FIXED: 0x10,
  ANONYMOUS: 0x20,
  NORESERVE: 0x4000,
  FIXED_NOREPLACE: 0x10_0000,
} as const;

/** madvise(2) advice. */
export const MADV = { DONTNEED: 4, FREE: 8, REMOVE: 9, HWPOISON: 100, DONTNEED_LOCKED: 24 } as const;
/** Advice that changes nothing a program can see. */
const HINTS = new Set([0, 1, 2, 3, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 25]);

const MREMAP_MAYMOVE = 1;
const MREMAP_FIXED = 2;
const MREMAP_DONTUNMAP = 4;

const PROT_MASK = 7;
const PROT_GROWSDOWN = 0x0100_0000;
const PROT_GROWSUP = 0x0200_0000;

const alignUp = (value: number): number => Math.ceil(value / PAGE_SIZE) * PAGE_SIZE;

function mmap(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [address, length, prot, flags] = [args.address(0), args.address(1), args.u32(2), args.u32(3)];
  const offset = args.address(5);
  if (offset % PAGE_SIZE !== 0) throw new SyscallError("EINVAL");
  const { space } = process.memory;
  const type = flags & MAP.TYPE;
  const anonymous = (flags & MAP.ANONYMOUS) !== 0;
  const description = anonymous ? undefined : process.files.table.get(args.i32(4));
  if (length === 0) throw new SyscallError("EINVAL");
  if (type !== MAP.SHARED && type !== MAP.PRIVATE && type !== MAP.SHARED_VALIDATE) throw new SyscallError("EINVAL");
  const request: MapRequest = {
    address,
    length,
    prot: prot & PROT_MASK,
    fixed: (flags & (MAP.FIXED | MAP.FIXED_NOREPLACE)) !== 0,
    noReplace: (flags & MAP.FIXED_NOREPLACE) !== 0,
    noReserve: (flags & MAP.NORESERVE) !== 0,
    shared: type !== MAP.PRIVATE,
  };
  if (request.fixed) storeShared(process.memory, address, address + alignUp(length));
  if (description === undefined) return request.shared ? mapShared(process, request) : space.map(request);
  const file = description.mappable;
  if (!description.readable) throw new SyscallError("EACCES");
  const shared = request.shared ?? false;
  if (shared && prot & 2 && !description.writable) throw new SyscallError("EACCES");
  if (file === undefined) throw new SyscallError("ENODEV");
  const backing = new FileBacking(description, file, process.memory, { files: process.files.shared, shared });
  process.backings.add(backing);
  return space.map({ ...request, backing, offset });
}

/** Memory without a file that the process will share with its children. */
function mapShared(process: LinuxProcess, request: MapRequest): number {
  const description = new AnonymousFile(alignUp(request.length));
  const file = description.mappable;
  const backing = new FileBacking(description, file, process.memory, { files: process.files.shared, shared: true });
  process.backings.add(backing);
  try {
    return process.memory.space.map({ ...request, backing, offset: 0 });
  } catch (error) {
    backing.close();
    process.backings.delete(backing);
    throw error;
  }
}

function munmap(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [address, length] = [args.address(0), args.address(1)];
  if (address % PAGE_SIZE !== 0 || length === 0 || address + length > TASK_SIZE) throw new SyscallError("EINVAL");
  const backings = storeShared(process.memory, address, address + alignUp(length), true);
  process.memory.space.unmap(address, length);
  for (const backing of backings) {
    if (backing.isMapped) continue;
    backing.close();
    process.backings.delete(backing);
  }
  return 0;
}

function mprotect(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [address, length, prot] = [args.address(0), args.address(1), args.u32(2)];
  if (prot & ~(PROT_MASK | PROT_GROWSDOWN | PROT_GROWSUP | 8)) throw new SyscallError("EINVAL");
  if (address % PAGE_SIZE !== 0) throw new SyscallError("EINVAL");
  for (const vma of process.memory.space.vmas.overlapping(address, address + alignUp(length))) {
    if (prot & 2 && vma.shared && vma.backing instanceof FileBacking && !vma.backing.writable) {
      throw new SyscallError("EACCES");
    }
  }
  storeShared(process.memory, address, address + alignUp(length));
  process.memory.space.protect(address, length, prot & PROT_MASK);
  return 0;
}

function mremap(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [old, oldLength, newLength, flags, target] = [
    args.address(0),
    args.address(1),
    args.address(2),
    args.u32(3),
    args.address(4),
  ];
  if (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) throw new SyscallError("EINVAL");
  if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) && !(flags & MREMAP_MAYMOVE)) throw new SyscallError("EINVAL");
  if (old % PAGE_SIZE !== 0 || newLength === 0) throw new SyscallError("EINVAL");
  // Without an old length only shared mappings may be doubled, and only keeping the old one is left out.
  if (oldLength === 0 || flags & MREMAP_DONTUNMAP) throw new SyscallError("EINVAL");
  if (flags & MREMAP_FIXED) {
    const overlaps = target < old + alignUp(oldLength) && old < target + alignUp(newLength);
    if (target % PAGE_SIZE !== 0 || overlaps || target + newLength > TASK_SIZE) throw new SyscallError("EINVAL");
  }
  const { space } = process.memory;
  storeShared(process.memory, old, old + alignUp(oldLength));
  if (flags & MREMAP_FIXED) storeShared(process.memory, target, target + alignUp(newLength));
  return space.remap(
    old,
    oldLength,
    newLength,
    (flags & MREMAP_MAYMOVE) !== 0,
    flags & MREMAP_FIXED ? target : undefined,
  );
}

function madvise(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [address, length, advice] = [args.address(0), args.address(1), args.i32(2)];
  if (advice !== MADV.DONTNEED && advice !== MADV.FREE && advice !== MADV.DONTNEED_LOCKED && !HINTS.has(advice)) {
    throw new SyscallError("EINVAL");
  }
  const end = address + alignUp(length);
  if (address % PAGE_SIZE !== 0 || end < address) throw new SyscallError("EINVAL");
  if (length === 0) return 0;
  const { space } = process.memory;
  if (advice === MADV.DONTNEED || advice === MADV.DONTNEED_LOCKED) {
    space.discard(address, length);
  }
  if (advice === MADV.FREE && space.vmas.overlapping(address, end).some((vma) => vma.backing !== undefined)) {
    throw new SyscallError("EINVAL");
  }
  return space.vmas.covers(address, end) ? 0 : -errno.ENOMEM;
}

/** mincore(2): pages that were ever written count as resident, and those of files. */
function mincore(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [address, length, vector] = [args.address(0), args.address(1), args.address(2)];
  if (address % PAGE_SIZE !== 0) throw new SyscallError("EINVAL");
  const { space } = process.memory;
  const end = address + alignUp(length);
  if (end > TASK_SIZE || !space.vmas.covers(address, end)) throw new SyscallError("ENOMEM");
  for (let at = address; at < end; at += PAGE_SIZE) {
    const used = inWindow(at) ? space.pages.window(at / PAGE_SIZE) & PERM_DIRTY : space.pages.outside(at);
    const present = used || space.sharing.inherited.has(at / PAGE_SIZE) || space.vmas.at(at)?.backing !== undefined;
    process.memory.writeU8(vector + (at - address) / PAGE_SIZE, present ? 1 : 0);
  }
  return 0;
}

/** brk(2): an impossible request returns the break as it is. */
function brk(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const wanted = args.address(0);
  const { heap } = process;
  if (wanted < heap.start) return heap.end;
  const [from, to] = [alignUp(heap.end), alignUp(wanted)];
  const { space } = process.memory;
  if (to > from) {
    if (!isInReach(from, to)) return heap.end;
    if (!space.vmas.isFree(from, to)) return heap.end;
    try {
      space.map({
        address: from,
        length: to - from,
        prot: 3,
        fixed: true,
        noReplace: true,
        name: "[heap]",
      });
    } catch (error) {
      if (!(error instanceof MemoryError)) throw error;
      process.memoryNotes.refused(error, "brk");
      return heap.end;
    }
  } else if (to < from) space.unmap(to, from - to);
  heap.end = wanted;
  return wanted;
}

function msync(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [address, length, flags] = [args.address(0), args.address(1), args.u32(2)];
  const end = address + alignUp(length);
  if (address % PAGE_SIZE !== 0 || flags & ~7 || (flags & 5) === 5) throw new SyscallError("EINVAL");
  if (!process.memory.space.vmas.covers(address, end)) throw new SyscallError("ENOMEM");
  storeShared(process.memory, address, end);
  return 0;
}

/** mlock(2) and kin: nothing is ever paged out. */
const locked = (process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult => {
  const start = Math.floor(args.address(0) / PAGE_SIZE) * PAGE_SIZE;
  return process.memory.space.vmas.covers(start, alignUp(args.address(0) + args.address(1))) ? 0 : -errno.ENOMEM;
};

export const MEMORY_SYSCALLS = [
  row(
    9,
    "mmap",
    ["address", "size", "prot", "mapFlags", "fd", "hex"],
    mmap,
    "what other processes store to a shared mapping, or write to its file, is not seen on pages that have been used",
  ),
  row(10, "mprotect", ["address", "size", "prot"], mprotect),
  row(11, "munmap", ["address", "size"], munmap),
  row(12, "brk", ["address"], brk),
  row(25, "mremap", ["address", "size", "size", "hex", "address"], mremap, "no MREMAP_DONTUNMAP"),
  row(26, "msync", ["address", "size", "hex"], msync),
  row(27, "mincore", ["address", "size", "address"], mincore),
  row(28, "madvise", ["address", "size", "madvice"], madvise),
  row(149, "mlock", ["address", "size"], locked, "nothing is paged out"),
  row(150, "munlock", ["address", "size"], locked, "nothing is paged out"),
  row(151, "mlockall", ["int"], () => 0, "nothing is paged out"),
  row(152, "munlockall", [], () => 0, "nothing is paged out"),
  row(325, "mlock2", ["address", "size", "int"], locked, "nothing is paged out"),
];
