import { errno, SyscallError } from "../abi/errno.ts";
import { MAX_RW_COUNT, O_APPEND } from "../abi/fcntl.ts";
import { IN_ACCESS, IN_MODIFY } from "../abi/inotify.ts";
import { S_IFDIR, S_IFMT, S_IFREG } from "../abi/stat.ts";
import { Block, type SyscallResult } from "../block.ts";
import type { Process } from "../process.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import type { Thread } from "../thread.ts";
import { withBrokenPipe } from "./blocking.ts";
import { type FileDescription, WOULD_BLOCK } from "./description.ts";
import { IoVector } from "./io-vector.ts";
import { F_SEAL_SEAL, MemoryFile } from "./memory-file.ts";
import { PipeEnd } from "./pipe.ts";

/** Bytes moved at once from one file to another. */
const CHUNK = 0x1_0000;
/** The same for sendfile, where each piece is a call of the host's and, to a socket, a segment or more. */
const SENDFILE_CHUNK = 0x4_0000;
let sendfileBuffer: Uint8Array | undefined;

/** An offset argument that lies in memory and is updated; the file's own offset if the pointer is NULL. */
class OffsetArgument {
  position: number | undefined;
  readonly #process: Process;
  readonly #address: number;

  /** @throws GuestFault; SyscallError EINVAL for a negative offset */
  constructor(process: Process, address: number) {
    this.#process = process;
    this.#address = address;
    this.position = address === 0 ? undefined : Number(process.memory.readI64(address));
    if (this.position !== undefined && this.position < 0) throw new SyscallError("EINVAL");
  }

  advance(count: number): void {
    if (this.position === undefined) return;
    this.position += count;
    this.#process.memory.writeU64(this.#address, BigInt(this.position));
  }
}

function readAt(description: FileDescription, to: IoVector, at: OffsetArgument): number {
  return at.position === undefined ? description.read(to) : description.readAt(to, at.position);
}

function isRegular(description: FileDescription): boolean {
  return (description.stat().mode & S_IFMT) === S_IFREG;
}

/**
 * sendfile(2); Linux: fs/read_write.c, do_sendfile. What was read and does not fit into the sink waits there.
 * The source is a seekable file, so that it never waits itself.
 */
const sendfile: Handler = (process, thread, args) => {
  const { table } = process.files;
  const offset = new OffsetArgument(process, args.address(2));
  const source = table.get(args.u32(1));
  if (!source.readable) return -errno.EBADF;
  if (offset.position !== undefined && !source.seekable) return -errno.ESPIPE;
  const sink = table.get(args.u32(0));
  if (!sink.writable) return -errno.EBADF;
  if (!source.seekable || (source.stat().mode & S_IFMT) === S_IFDIR || sink.flags & O_APPEND) return -errno.EINVAL;
  return pump(process, thread, source, sink, offset, Math.min(args.address(3), MAX_RW_COUNT));
};

/** Copies up to `count` bytes; stops at the end of the source, or where the sink would wait after it took some. */
function pump(
  process: Process,
  thread: Thread,
  source: FileDescription,
  sink: FileDescription,
  offset: OffsetArgument,
  count: number,
): SyscallResult {
  const start = offset.position ?? source.position;
  const copy = (): number => {
    let done = 0;
    // Sinks copy what they cannot pass on at once, so that all sendfiles have one buffer.
    const buffer = (sendfileBuffer ??= new Uint8Array(SENDFILE_CHUNK));
    while (done < count) {
      const bytes = buffer.subarray(0, Math.min(SENDFILE_CHUNK, count - done));
      const length = source.readAt(IoVector.buffer(bytes), start + done);
      if (length <= 0) break;
      let written: number;
      try {
        written = withBrokenPipe(process, thread, () => sink.write(IoVector.buffer(bytes.subarray(0, length))));
      } catch (error) {
        if (done > 0) break;
        throw error;
      }
      if (written === WOULD_BLOCK) {
        if (done === 0) return WOULD_BLOCK;
        break;
      }
      done += written;
    }
    if (offset.position === undefined) source.moveTo(start + done);
    else offset.advance(done);
    if (done > 0) tellCopied(process, source, sink);
    return done;
  };
  return orWait([sink], sink.nonblocking, copy, source);
}

/** Tells those who watch the files. */
function tellCopied(process: Process, source: FileDescription, sink: FileDescription): void {
  process.files.watches.atDescription(source, IN_ACCESS);
  process.files.watches.atDescription(sink, IN_MODIFY);
}

/** Runs `attempt` until it does not return WOULD_BLOCK; only once if nobody wants to wait. */
function orWait(
  waitOn: readonly FileDescription[],
  impatient: boolean,
  attempt: () => number,
  ...others: FileDescription[]
): SyscallResult {
  const first = attempt();
  if (first !== WOULD_BLOCK || impatient) return first;
  const held = [...waitOn, ...others];
  for (const description of held) description.acquire();
  return new Block({
    on: waitOn.map((description) => description.queue),
    retry: () => {
      const result = attempt();
      return result === WOULD_BLOCK ? null : result;
    },
    cleanup: () => {
      for (const description of held) description.release();
    },
  });
}

/** copy_file_range(2); Linux: fs/read_write.c, vfs_copy_file_range and generic_copy_file_checks. */
const copyFileRange: Handler = (process, _thread, args) => {
  const { table } = process.files;
  const [source, sink] = [table.get(args.u32(0)), table.get(args.u32(2))];
  const from = new OffsetArgument(process, args.address(1));
  const to = new OffsetArgument(process, args.address(3));
  if (args.u32(5) !== 0) return -errno.EINVAL;
  for (const description of [source, sink]) {
    if ((description.stat().mode & S_IFMT) === S_IFDIR) return -errno.EISDIR;
    if (!isRegular(description)) return -errno.EINVAL;
  }
  if (!source.readable || !sink.writable || sink.flags & O_APPEND) return -errno.EBADF;
  const [start, target] = [from.position ?? source.position, to.position ?? sink.position];
  const count = Math.min(args.address(4), MAX_RW_COUNT, Math.max(0, source.stat().size - start));
  const same = source.stat().ino === sink.stat().ino && source.stat().dev === sink.stat().dev;
  if (same && start < target + count && target < start + count) return -errno.EINVAL;
  let done = 0;
  while (done < count) {
    const bytes = new Uint8Array(Math.min(CHUNK, count - done));
    const length = source.readAt(IoVector.buffer(bytes), start + done);
    if (length <= 0) break;
    const written = sink.writeAt(IoVector.buffer(bytes.subarray(0, length)), target + done);
    done += written;
    if (written < length) break;
  }
  if (from.position === undefined) source.moveTo(start + done);
  else from.advance(done);
  if (to.position === undefined) sink.moveTo(target + done);
  else to.advance(done);
  if (done > 0) tellCopied(process, source, sink);
  return done;
};

const SPLICE_F_NONBLOCK = 2;
const SPLICE_FLAGS = 0xf;

/** splice(2); Linux: fs/splice.c, do_splice: one side is a pipe; offsets are not for pipes (ESPIPE). */
const splice: Handler = (process, thread, args) => {
  const count = Math.min(args.address(4), CHUNK);
  const flags = args.u32(5);
  if (count === 0) return 0;
  if (flags & ~SPLICE_FLAGS) return -errno.EINVAL;
  const { table } = process.files;
  const [source, sink] = [table.get(args.u32(0)), table.get(args.u32(2))];
  if (!source.readable || !sink.writable) return -errno.EBADF;
  const input = source instanceof PipeEnd ? source : undefined;
  const output = sink instanceof PipeEnd ? sink : undefined;
  if ((input && args.address(1) !== 0) || (output && args.address(3) !== 0)) return -errno.ESPIPE;
  if (input === undefined && output === undefined) return -errno.EINVAL;
  if (output !== undefined && input?.samePipe(output)) return -errno.EINVAL;
  const from = new OffsetArgument(process, args.address(1));
  const to = new OffsetArgument(process, args.address(3));
  if (from.position !== undefined && !source.seekable) return -errno.ESPIPE;
  if (to.position !== undefined && !sink.seekable) return -errno.ESPIPE;
  const attempt = (): number => moveOnce(source, sink, from, to, count);
  return moveOrWait(process, thread, [source, sink], flags, attempt);
};

/** Moves at most what a pipe between the two has, or has room for; WOULD_BLOCK if that is nothing. */
function moveOnce(
  source: FileDescription,
  sink: FileDescription,
  from: OffsetArgument,
  to: OffsetArgument,
  count: number,
): number {
  const room = sink instanceof PipeEnd ? sink.room : count;
  // A full pipe, or one that nobody reads any more, says itself what is the matter.
  if (room === 0) return sink.write(IoVector.buffer(new Uint8Array(1)));
  const bytes = new Uint8Array(Math.min(count, room));
  const put = (view: Uint8Array): number => {
    const out = IoVector.buffer(view);
    const written = to.position === undefined ? sink.write(out) : sink.writeAt(out, to.position);
    if (written > 0) to.advance(written);
    return written;
  };
  if (source instanceof PipeEnd) {
    const waiting = source.peek(bytes.length);
    if (waiting.length === 0) return source.read(IoVector.buffer(bytes));
    const written = put(waiting);
    // Only what the sink took leaves the pipe.
    if (written > 0) source.read(IoVector.buffer(new Uint8Array(written)));
    return written;
  }
  const position = from.position ?? source.position;
  const length = readAt(source, IoVector.buffer(bytes), from);
  if (length <= 0) return length;
  const written = put(bytes.subarray(0, length));
  if (from.position !== undefined) from.advance(Math.max(0, written));
  else if (source.seekable) source.moveTo(position + Math.max(0, written));
  return written;
}

function moveOrWait(
  process: Process,
  thread: Thread,
  ends: readonly FileDescription[],
  flags: number,
  attempt: () => number,
): SyscallResult {
  const impatient = (flags & SPLICE_F_NONBLOCK) !== 0 || ends.some((end) => end.nonblocking);
  return orWait(ends, impatient, () => withBrokenPipe(process, thread, attempt));
}

/** tee(2): copies from one pipe to another without taking anything out. */
const tee: Handler = (process, thread, args) => {
  const flags = args.u32(3);
  if (flags & ~SPLICE_FLAGS) return -errno.EINVAL;
  const count = Math.min(args.address(2), CHUNK);
  if (count === 0) return 0;
  const { table } = process.files;
  const [source, sink] = [table.get(args.u32(0)), table.get(args.u32(1))];
  if (!source.readable || !sink.writable) return -errno.EBADF;
  if (!(source instanceof PipeEnd) || !(sink instanceof PipeEnd) || source.samePipe(sink)) return -errno.EINVAL;
  return moveOrWait(process, thread, [source, sink], flags, () => {
    const { room } = sink;
    const bytes = source.peek(Math.min(count, Math.max(room, 1)));
    // An empty pipe without writers reads as its end.
    if (bytes.length === 0) return source.read(IoVector.buffer(new Uint8Array(1)));
    return sink.write(IoVector.buffer(bytes));
  });
};

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;

/** memfd_create(2): EINVAL for unknown flags and for names of more than 249 bytes. */
const memfdCreate: Handler = (process, _thread, args) => {
  const flags = args.u32(1);
  if (flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | 0x8 | 0x10)) return -errno.EINVAL;
  const bytes = process.memory.readCString(args.address(0), 250);
  if (bytes === undefined) return -errno.EINVAL;
  const seals = flags & MFD_ALLOW_SEALING ? 0 : F_SEAL_SEAL;
  const { shared } = process.files;
  const file = new MemoryFile(String.fromCharCode(...bytes), process.files.anonymousInode(), seals, shared);
  return process.files.table.install(file, (flags & MFD_CLOEXEC) !== 0);
};

export const TRANSFER_SYSCALLS: readonly SyscallRow[] = [
  row(40, "sendfile", ["fd", "fd", "address", "size"], sendfile),
  row(275, "splice", ["fd", "address", "fd", "address", "size", "hex"], splice),
  row(276, "tee", ["fd", "fd", "size", "hex"], tee),
  row(319, "memfd_create", ["path", "hex"], memfdCreate, "no huge pages; at most 1 GiB"),
  row(326, "copy_file_range", ["fd", "address", "fd", "address", "size", "hex"], copyFileRange),
];
