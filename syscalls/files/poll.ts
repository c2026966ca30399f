import type { WaitQueue } from "../../emu/threads/wait-queue.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/poll.ts";
import { Block, type SyscallResult } from "../block.ts";
import type { Process } from "../process.ts";
import { setUserMask } from "../signals/user-mask.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import type { Thread } from "../thread.ts";
import { NS_PER_SECOND, readTimespec } from "../time/timespec.ts";
import type { FileDescription } from "./description.ts";

const FOREVER = Number.POSITIVE_INFINITY;

/**
 * Waits until `scan` reports something, on the queues of all descriptions concerned.
 * @param scan counts what is ready now; 0 is nothing
 * @param finish stores the answer and makes it the result; `elapsed` tells that the wait is over
 */
function waitFor(
  process: Process,
  thread: Thread,
  descriptions: readonly FileDescription[],
  timeoutNs: number,
  scan: () => number,
  finish: (count: number) => number,
  interrupted?: () => void,
): SyscallResult {
  const count = scan();
  // Where nothing is ready a signal goes before the timeout, even one of 0 (do_poll, do_select): it can be pending if
  // the call let it through.
  if (count > 0 || (timeoutNs === 0 && thread.savedMask === undefined)) return finish(count);
  const queues = new Set<WaitQueue>();
  for (const description of descriptions) queues.add(description.acquire().queue);
  return new Block({
    on: [...queues],
    retry: () => {
      const found = scan();
      return found > 0 ? finish(found) : null;
    },
    deadline: process.clock.monotonicNs() + timeoutNs,
    timeout: () => finish(scan()),
    onSignal: "eintr",
    interrupted,
    cleanup: () => {
      for (const description of descriptions) description.release();
    },
  });
}

/** poll(2); Linux: fs/select.c, do_sys_poll. */
function pollFds(
  process: Process,
  thread: Thread,
  address: number,
  count: number,
  timeoutNs: number,
  over?: () => void,
): SyscallResult {
  const { table } = process.files;
  if (count > table.limit) return -errno.EINVAL;
  const bytes = process.memory.readBytes(address, count * abi.POLLFD_SIZE);
  const view = new DataView(bytes.buffer);
  const watched: (FileDescription | undefined)[] = [];
  for (let i = 0; i < count; i++) watched.push(table.find(view.getInt32(i * abi.POLLFD_SIZE, true))?.description);
  const scan = (): number => {
    let ready = 0;
    for (let i = 0; i < count; i++) {
      const at = i * abi.POLLFD_SIZE;
      const description = watched[i];
      const wanted = view.getUint16(at + 4, true) | abi.POLLERR | abi.POLLHUP;
      let mask = 0;
      if (description !== undefined) mask = description.poll() & wanted;
      else if (view.getInt32(at, true) >= 0) mask = abi.POLLNVAL;
      view.setUint16(at + 6, mask, true); // revents
      if (mask !== 0) ready++;
    }
    return ready;
  };
  const finish = (ready: number): number => {
    for (let i = 0; i < count; i++) {
      const at = i * abi.POLLFD_SIZE + 6;
      process.memory.writeU16(address + at, view.getUint16(at, true));
    }
    over?.();
    return ready;
  };
  const descriptions = watched.filter((description) => description !== undefined);
  return waitFor(process, thread, descriptions, timeoutNs, scan, finish, over);
}

const poll: Handler = (process, thread, args) => {
  const timeout = args.i32(2);
  return pollFds(process, thread, args.address(0), args.u32(1), timeout < 0 ? FOREVER : timeout * 1e6);
};

/** Stores the time left where the timeout was, quietly (fs/select.c, poll_select_finish). */
function storeRemaining(process: Process, address: number, timeoutNs: number, unit: number): () => void {
  const end = process.clock.monotonicNs() + timeoutNs;
  return () => {
    if (address === 0 || timeoutNs === FOREVER) return;
    const left = Math.max(0, end - process.clock.monotonicNs());
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    view.setBigInt64(0, BigInt(Math.floor(left / NS_PER_SECOND)), true);
    view.setBigInt64(8, BigInt(Math.floor((left % NS_PER_SECOND) / unit)), true);
    try {
      process.memory.writeBytes(address, bytes);
    } catch {
      // The kernel ignores it too: a caller may keep the timeout in read-only memory.
    }
  };
}

const ppoll: Handler = (process, thread, args) => {
  const address = args.address(2);
  const timeout = address === 0 ? FOREVER : readTimespec(process.memory, address);
  setUserMask(process, thread, args.address(3), args.u64(4));
  const over = storeRemaining(process, address, timeout, 1);
  return pollFds(process, thread, args.address(0), args.u32(1), timeout, over);
};

const READ_SET = abi.POLLRDNORM | abi.POLLRDBAND | abi.POLLIN | abi.POLLHUP | abi.POLLERR;
const WRITE_SET = abi.POLLWRBAND | abi.POLLWRNORM | abi.POLLOUT | abi.POLLERR;
const EXCEPT_SET = abi.POLLPRI;
/** Most bytes of one set: descriptors end at NR_OPEN. */
const MAX_SET = 0x2_0000;

/** select(2); Linux: fs/select.c, core_sys_select and do_select. */
function selectFds(
  process: Process,
  thread: Thread,
  limit: number,
  addresses: readonly number[],
  timeoutNs: number,
  over: () => void,
): SyscallResult {
  if (limit < 0) return -errno.EINVAL;
  const { table } = process.files;
  const size = Math.min(Math.ceil(limit / 64) * 8, MAX_SET);
  const masks = [READ_SET, WRITE_SET, EXCEPT_SET];
  const asked = addresses.map((at) => (at === 0 ? undefined : process.memory.readBytes(at, size)));
  const answers = asked.map(() => new Uint8Array(size));
  const watched: { fd: number; description: FileDescription }[] = [];
  for (let fd = 0; fd < Math.min(limit, size * 8); fd++) {
    const bit = 1 << (fd & 7);
    if (!asked.some((set) => set !== undefined && set[fd >> 3] & bit)) continue;
    const description = table.find(fd)?.description;
    if (description === undefined) throw new SyscallError("EBADF");
    watched.push({ fd, description });
  }
  const scan = (): number => {
    let ready = 0;
    for (const answer of answers) answer.fill(0);
    for (const { fd, description } of watched) {
      const mask = description.poll();
      const bit = 1 << (fd & 7);
      asked.forEach((set, i) => {
        if (set === undefined || !(set[fd >> 3] & bit) || !(mask & masks[i])) return;
        answers[i][fd >> 3] |= bit;
        ready++;
      });
    }
    return ready;
  };
  const finish = (ready: number): number => {
    over();
    addresses.forEach((at, i) => {
      if (at !== 0) process.memory.writeBytes(at, answers[i]);
    });
    return ready;
  };
  const descriptions = watched.map(({ description }) => description);
  return waitFor(process, thread, descriptions, timeoutNs, scan, finish, over);
}

/** The timeval of select may have more than a second of microseconds (fs/select.c, kern_select). */
function readTimeout(process: Process, address: number): number {
  if (address === 0) return FOREVER;
  const seconds = Number(process.memory.readI64(address));
  const microseconds = Number(process.memory.readI64(address + 8));
  if (seconds < 0 || microseconds < 0) throw new SyscallError("EINVAL");
  return seconds * NS_PER_SECOND + microseconds * 1000;
}

const select: Handler = (process, thread, args) => {
  const timeout = readTimeout(process, args.address(4));
  const over = storeRemaining(process, args.address(4), timeout, 1000);
  return selectFds(process, thread, args.i32(0), [args.address(1), args.address(2), args.address(3)], timeout, over);
};

const pselect6: Handler = (process, thread, args) => {
  const address = args.address(4);
  const mask = args.address(5);
  const [set, size] = mask === 0 ? [0, 0n] : [process.memory.readPointer(mask), process.memory.readU64(mask + 8)];
  const timeout = address === 0 ? FOREVER : readTimespec(process.memory, address);
  setUserMask(process, thread, set, size);
  const over = storeRemaining(process, address, timeout, 1);
  return selectFds(process, thread, args.i32(0), [args.address(1), args.address(2), args.address(3)], timeout, over);
};

export const POLL_SYSCALLS: readonly SyscallRow[] = [
  row(7, "poll", ["pollfds", "uint", "int"], poll),
  row(23, "select", ["int", "fdset", "fdset", "fdset", "timeval"], select),
  row(270, "pselect6", ["int", "fdset", "fdset", "fdset", "timespec", "address"], pselect6),
  row(271, "ppoll", ["pollfds", "uint", "timespec", "sigset", "size"], ppoll),
];
