import * as fcntl from "../abi/fcntl.ts";
import { AT_FDCWD, FCNTL_NAMES, O_ACCMODE, O_CREAT, O_TMPFILE, OPEN_FLAG_NAMES } from "../abi/fcntl.ts";
import { IOCTL_NAMES } from "../abi/ioctl.ts";
import { EPOLL_EVENT_SIZE, EPOLL_NAMES, EPOLL_OP_NAMES, POLL_NAMES, POLLFD_SIZE } from "../abi/poll.ts";
import { SA_NAMES } from "../abi/signal-names.ts";
import { signalName as nameOf, SIGRTMAX, SIGRTMIN } from "../abi/signals.ts";
import * as socket from "../abi/socket.ts";
import type { Args } from "../args.ts";
import type { Process } from "../process.ts";
import type { ArgKind } from "../table.ts";
import * as names from "./names.ts";
import { formatAddress } from "./sockets.ts";
import { bits, escapeBytes, hex, named, octal, pointer, quote, SHOWN_BYTES } from "./text.ts";

/** What a formatter may look at. */
export interface Context {
  readonly process: Process;
  readonly name: string;
  readonly kinds: readonly ArgKind[];
  readonly args: Args;
  /** The argument's number. */
  readonly index: number;
  /** What the call returned; undefined at its start. */
  readonly result: number | undefined;
}

/** Text of an argument; undefined leaves it out, as strace does with arguments that a command has no use for. */
type Formatter = (context: Context) => string | undefined;

const failed = ({ result }: Context): boolean => result === undefined || result < 0;

/** Runs a formatter on what a pointer points to; the pointer itself is shown if it is NULL or bad. */
function at(context: Context, format: (address: number, context: Context) => string): string {
  const address = context.args.address(context.index);
  if (address === 0) return "NULL";
  try {
    return format(address, context);
  } catch {
    return pointer(context.args.u64(context.index));
  }
}

/** The same for what the kernel fills in: after an error there is nothing to show. */
const filled =
  (format: (address: number, context: Context) => string): Formatter =>
  (context) =>
    failed(context) ? pointer(context.args.u64(context.index)) : at(context, format);

/** strace calls the first real-time signal by its name. */
export const signalName = (signal: number): string => (signal === SIGRTMIN ? "SIGRTMIN" : nameOf(signal));

const bytesAt = (context: Context, address: number, length: number): Uint8Array =>
  context.process.memory.readBytes(address, Math.min(length, SHOWN_BYTES));

export function openFlags(flags: number): string {
  const access = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"][flags & O_ACCMODE];
  const rest = bits(flags & ~O_ACCMODE, OPEN_FLAG_NAMES);
  return rest === "0" ? access : `${access}|${rest}`;
}

/** Flags of pipe2, dup3, epoll_create1: no access mode. */
const creationFlags: Formatter = ({ args, index, name }) => {
  const flags = args.u32(index);
  if (name === "epoll_create1" && flags === fcntl.O_CLOEXEC) return "EPOLL_CLOEXEC";
  if (name === "open" || name === "openat") return openFlags(flags);
  return bits(flags, OPEN_FLAG_NAMES);
};

/** The mode of open and openat is there only if a file may be made. */
const mode: Formatter = ({ args, index, kinds }) => {
  if (kinds[index - 1] === "openFlags") {
    const flags = args.u32(index - 1);
    if (!(flags & O_CREAT) && (flags & O_TMPFILE) !== O_TMPFILE) return undefined;
  }
  return octal(args.u32(index));
};

const path = (address: number, { process }: Context): string => {
  const bytes = process.memory.readCString(address, 4096);
  if (bytes === undefined) throw new RangeError("path too long");
  return `"${escapeBytes(bytes)}"`;
};

const timePair =
  (seconds: string, fraction: string) =>
  (address: number, { process }: Context) =>
    `{${seconds}=${process.memory.readI64(address)}, ${fraction}=${process.memory.readI64(address + 8)}}`;
const timespec = timePair("tv_sec", "tv_nsec");
const timeval = timePair("tv_sec", "tv_usec");

/** A signal set; one that has more signals than not is shown by those that it lacks. */
export function signalSet(set: bigint): string {
  const members = (mask: bigint): string => {
    const list: string[] = [];
    for (let signal = 1; signal <= SIGRTMAX; signal++) {
      if (mask & (1n << BigInt(signal - 1))) list.push(signalName(signal).replace(/^SIG/, ""));
    }
    return `[${list.join(" ")}]`;
  };
  const inverted = BigInt.asUintN(64, ~set);
  const size = (mask: bigint): number => mask.toString(2).replaceAll("0", "").length;
  return size(set) > 32 ? `~${members(inverted)}` : members(set);
}

const handler = (value: bigint): string => (value === 0n ? "SIG_DFL" : value === 1n ? "SIG_IGN" : pointer(value));

/** The kernel's struct sigaction: handler at 0, flags at 8, restorer at 16, mask at 24. */
const sigaction = (address: number, { process: { memory } }: Context): string => {
  const flags = Number(memory.readU64(address + 8) & 0xffff_ffffn);
  const restorer = flags & 0x0400_0000 ? `, sa_restorer=${pointer(memory.readU64(address + 16))}` : "";
  const mask = signalSet(memory.readU64(address + 24));
  return `{sa_handler=${handler(memory.readU64(address))}, sa_mask=${mask}, sa_flags=${bits(flags, SA_NAMES)}${restorer}}`;
};

const limit = (value: bigint): string => {
  if (value === 0xffff_ffff_ffff_ffffn) return "RLIM64_INFINITY";
  return value > 1024n && value % 1024n === 0n ? `${value / 1024n}*1024` : String(value);
};

const rlimit = (address: number, { process: { memory } }: Context): string =>
  `{rlim_cur=${limit(memory.readU64(address))}, rlim_max=${limit(memory.readU64(address + 8))}}`;

const stat = (address: number, { process: { memory } }: Context): string => {
  const mode = memory.readU32(address + 24);
  const type = named(mode & 0o170000, names.FILE_TYPES, "S_IF");
  const isDevice = (mode & 0o170000) === 0o020000 || (mode & 0o170000) === 0o060000;
  const rdev = Number(memory.readU64(address + 40));
  const size = isDevice
    ? `st_rdev=makedev(${hex((rdev >> 8) & 0xfff)}, ${hex(rdev & 0xff)})`
    : `st_size=${memory.readU64(address + 48)}`;
  return `{st_mode=${type}|${octal(mode & 0o7777)}, ${size}, ...}`;
};

const epollEvent = (address: number, { process: { memory } }: Context): string => {
  const data = memory.readU64(address + 4);
  const events = bits(memory.readU32(address), EPOLL_NAMES);
  return `{events=${events}, data={u32=${data & 0xffff_ffffn}, u64=${data}}}`;
};

/** At most this many elements of an array are shown (strace: max_strlen). */
const MAX_ELEMENTS = 32;
function array(length: number, element: (index: number) => string): string {
  const shown = Array.from({ length: Math.min(length, MAX_ELEMENTS) }, (_, i) => element(i));
  if (length > MAX_ELEMENTS) shown.push("...");
  return `[${shown.join(", ")}]`;
}

const pollFd = (memory: Context["process"]["memory"], address: number, field: "events" | "revents"): string => {
  const mask = memory.readU16(address + (field === "events" ? 4 : 6));
  return `{fd=${memory.readI32(address)}, ${field}=${bits(mask, POLL_NAMES)}}`;
};

const pollFds = (address: number, { process, args, index }: Context): string =>
  array(args.u32(index + 1), (i) => pollFd(process.memory, address + POLLFD_SIZE * i, "events"));

/** What poll and ppoll say after their result: the entries that are ready. */
export function pollResult({ process, args, result }: Context): string {
  if (result === 0) return " (Timeout)";
  if (result === undefined || result < 0) return "";
  const { memory } = process;
  const ready: number[] = [];
  for (let i = 0; i < args.u32(1); i++) {
    const address = args.address(0) + POLLFD_SIZE * i;
    if (memory.readU16(address + 6) !== 0) ready.push(address);
  }
  return ` (${array(ready.length, (i) => pollFd(memory, ready[i], "revents"))})`;
}

const iovecs =
  (total: (context: Context) => number) =>
  (address: number, context: Context): string => {
    const { memory } = context.process;
    let left = total(context);
    return array(context.args.u32(context.index + 1), (i) => {
      const base = memory.readPointer(address + 16 * i);
      const length = memory.readPointer(address + 16 * i + 8);
      const used = Math.min(length, Math.max(0, left));
      left -= used;
      const text = length === 0 ? '""' : quote(bytesAt(context, base, used), used);
      return `{iov_base=${text}, iov_len=${length}}`;
    });
  };

/** An address whose length is the next argument. */
const socketAddress = (address: number, { process, args, index }: Context): string =>
  formatAddress(process.memory.readBytes(address, Math.min(args.u32(index + 1), socket.SOCKADDR_MAX)));

/** One that was stored, whose length the next argument points to. */
const storedAddress = (address: number, { process: { memory }, args, index }: Context): string => {
  const length = memory.readU32(args.address(index + 1));
  return length === 0
    ? pointer(address)
    : formatAddress(memory.readBytes(address, Math.min(length, socket.SOCKADDR_MAX)));
};

const lengthAt = (address: number, { process: { memory } }: Context): string => `[${memory.readU32(address)}]`;

const socketType: Formatter = ({ args, index }) => {
  const type = args.u32(index);
  const flags = bits(type & ~socket.SOCK_TYPE_MASK, socket.SOCKET_FLAG_NAMES);
  const name = named(type & socket.SOCK_TYPE_MASK, socket.SOCKET_TYPE_NAMES, "SOCK");
  return flags === "0" ? name : `${name}|${flags}`;
};

const socketOption: Formatter = ({ args, index }) =>
  socket.OPTION_NAMES.get(args.u32(index - 1))?.get(args.u32(index)) ?? hex(args.u32(index));

/** An option's value: a number if it has that size. */
const optionValue = (address: number, { process: { memory } }: Context, length: number): string =>
  length === 4
    ? `[${memory.readI32(address)}]`
    : quote(memory.readBytes(address, Math.min(length, SHOWN_BYTES)), length);

/** struct msghdr: name, iovec array, control data, flags. */
const messageHeader = (address: number, context: Context): string => {
  const { memory } = context.process;
  const [name, size] = [memory.readNumber(address), memory.readU32(address + 8)];
  const who =
    name === 0 || size === 0 ? "NULL" : formatAddress(memory.readBytes(name, Math.min(size, socket.SOCKADDR_MAX)));
  let left = context.result ?? Number.POSITIVE_INFINITY;
  const pieces = array(memory.readNumber(address + 24), (i) => {
    const at = memory.readNumber(address + 16) + 16 * i;
    const [base, length] = [memory.readNumber(at), memory.readNumber(at + 8)];
    const used = Math.min(length, Math.max(0, left));
    left -= used;
    return `{iov_base=${used === 0 ? '""' : quote(bytesAt(context, base, used), used)}, iov_len=${length}}`;
  });
  const flags = bits(memory.readU32(address + 48), socket.MSG_NAMES);
  const control = memory.readNumber(address + 40);
  return `{msg_name=${who}, msg_namelen=${size}, msg_iov=${pieces}, msg_iovlen=${memory.readNumber(address + 24)}, msg_controllen=${control}, msg_flags=${flags}}`;
};

const descriptorSet = (address: number, { process, args }: Context): string => {
  const set: number[] = [];
  for (let fd = 0; fd < Math.min(args.u32(0), 0x1_0000); fd++) {
    if (process.memory.readU8(address + (fd >> 3)) & (1 << (fd & 7))) set.push(fd);
  }
  return `[${set.join(" ")}]`;
};

const utsname = (address: number, { process: { memory } }: Context): string => {
  const field = (index: number): string =>
    `"${escapeBytes(memory.readCString(address + 65 * index, 65) ?? new Uint8Array(0))}"`;
  return `{sysname=${field(0)}, nodename=${field(1)}, ...}`;
};

const entries = (address: number, { process: { memory }, args, index, result }: Context): string => {
  let count = 0;
  for (let offset = 0; offset < (result ?? 0); count++) offset += memory.readU16(address + offset + 16);
  return `${pointer(args.u64(index))} /* ${count} entries */`;
};

const fcntlArgument: Formatter = ({ args, index }) => {
  const value = args.u32(index);
  switch (args.u32(1)) {
    case fcntl.F_GETFD:
    case fcntl.F_GETFL:
    case fcntl.F_GETOWN:
    case fcntl.F_GETSIG:
    case fcntl.F_GETPIPE_SZ:
    case fcntl.F_GET_SEALS:
      return undefined;
    case fcntl.F_SETFD:
      return value === 1 ? "FD_CLOEXEC" : hex(value);
    case fcntl.F_SETFL:
      return openFlags(value);
    case fcntl.F_DUPFD:
    case fcntl.F_DUPFD_CLOEXEC:
    case fcntl.F_SETPIPE_SZ:
    case fcntl.F_SETOWN:
    case fcntl.F_SETSIG:
      return String(args.i32(index));
    default:
      return pointer(args.u64(index));
  }
};

function futexOperation(operation: number): string {
  const base = named(operation & 0x7f, names.FUTEX, "FUTEX");
  return base + (operation & 128 ? "_PRIVATE" : "") + (operation & 256 ? "|FUTEX_CLOCK_REALTIME" : "");
}

/** How many arguments a futex operation uses (futex(2)). */
export const futexArguments = (operation: number): number =>
  ({ 0: 4, 1: 3, 6: 4, 7: 2, 8: 2, 9: 6, 10: 6 })[operation & 0x7f] ?? 6;

const mapFlags: Formatter = ({ args, index }) => {
  const flags = args.u32(index);
  const type = named(flags & 0xf, names.MAP_TYPES, "MAP");
  const rest = bits(flags & ~0xf, names.MAP);
  return rest === "0" ? type : `${type}|${rest}`;
};

const cloneFlags: Formatter = ({ args, index }) => {
  const flags = args.u32(index);
  const text = bits(flags & ~0xff, names.CLONE);
  const signal = flags & 0xff;
  if (signal === 0) return text;
  return text === "0" ? signalName(signal) : `${text}|${signalName(signal)}`;
};

const u32 =
  (format: (value: number) => string): Formatter =>
  ({ args, index }) =>
    format(args.u32(index));

const address: Formatter = ({ args, index }) => pointer(args.u64(index));
const FORMATTERS: Readonly<Record<ArgKind, Formatter>> = {
  int: ({ args, index }) => String(args.i32(index)),
  uint: u32(String),
  hex: ({ args, index }) => hex(args.u64(index)),
  long: ({ args, index }) => String(args.i64(index)),
  ulong: ({ args, index }) => String(args.u64(index)),
  size: ({ args, index }) => String(args.u64(index)),
  address,
  any: fcntlArgument,
  fd: ({ args, index }) => String(args.i32(index)),
  dirfd: ({ args, index }) => (args.i32(index) === AT_FDCWD ? "AT_FDCWD" : String(args.i32(index))),
  path: (context) => at(context, path),
  octal: mode,
  openFlags: creationFlags,
  bufferIn: (context) =>
    at(context, (from) => {
      const length = context.args.address(context.index + 1);
      return quote(bytesAt(context, from, length), length);
    }),
  bufferOut: filled((from, context) => quote(bytesAt(context, from, context.result ?? 0), context.result)),
  string: filled((from, context) => {
    if (context.name === "getcwd") return path(from, context);
    return quote(bytesAt(context, from, context.result ?? 0), context.result);
  }),
  iovecIn: (context) =>
    at(
      context,
      iovecs(() => Number.POSITIVE_INFINITY),
    ),
  iovecOut: filled(iovecs(({ result }) => result ?? 0)),
  stat: filled(stat),
  statfs: filled((from, { process: { memory } }) => {
    const [type, size] = [memory.readU64(from), memory.readU64(from + 8)];
    return `{f_type=${hex(type)}, f_bsize=${size}, f_blocks=${memory.readU64(from + 16)}, ...}`;
  }),
  whence: u32((value) => named(value, names.WHENCE, "SEEK")),
  fcntlCommand: u32((value) => named(value, FCNTL_NAMES, "F")),
  prot: u32((value) => (value === 0 ? "PROT_NONE" : bits(value, names.PROT))),
  mapFlags,
  madvice: u32((value) => named(value, names.MADVICE, "MADV")),
  signal: u32(signalName),
  sigset: (context) => at(context, (from) => signalSet(context.process.memory.readU64(from))),
  sigaction: (context) => at(context, sigaction),
  sigmaskHow: u32((value) => named(value, names.SIGMASK_HOW, "SIG")),
  cloneFlags,
  futexOp: u32(futexOperation),
  timespec: (context) => at(context, timespec),
  timeval: (context) => at(context, timeval),
  itimerspec: (context) =>
    at(context, (from) => {
      const half = (offset: number): string => timespec(from + offset, context);
      return `{it_interval=${half(0)}, it_value=${half(16)}}`;
    }),
  clock: u32((value) => named(value, names.CLOCKS, "CLOCK")),
  archCode: u32((value) => named(value, names.ARCH_CODES, "ARCH")),
  resource: u32((value) => named(value, names.RESOURCES, "RLIMIT")),
  rlimit: (context) => at(context, rlimit),
  epollOp: u32((value) => named(value, EPOLL_OP_NAMES, "EPOLL_CTL")),
  epollEvent: (context) => at(context, epollEvent),
  epollEventsOut: filled((from, context) =>
    array(context.result ?? 0, (i) => epollEvent(from + EPOLL_EVENT_SIZE * i, context)),
  ),
  eventfdFlags: u32((value) => bits(value, names.EVENTFD)),
  pollfds: (context) => at(context, pollFds),
  fdset: (context) => at(context, descriptorSet),
  ioctl: u32((value) => IOCTL_NAMES.get(value) ?? hex(value)),
  utsname: filled(utsname),
  fdPair: filled((from, { process: { memory } }) => `[${memory.readI32(from)}, ${memory.readI32(from + 4)}]`),
  status: ({ args, index }) => String(args.i32(index)),
  prctlOp: u32((value) => named(value, names.PRCTL, "PR")),
  atFlags: u32((value) => bits(value, names.AT_FLAGS)),
  unlinkFlags: u32((value) => bits(value, names.UNLINK)),
  accessMode: u32((value) => (value === 0 ? "F_OK" : bits(value, names.ACCESS))),
  flockOp: u32((value) => bits(value, names.FLOCK)),
  dirents: filled(entries),
  socketFamily: u32((value) => named(value, socket.FAMILY_NAMES, "AF")),
  socketType,
  socketFlags: u32((value) => bits(value, socket.SOCKET_FLAG_NAMES)),
  sockaddr: (context) => at(context, socketAddress),
  sockaddrOut: filled(storedAddress),
  lengthOut: filled(lengthAt),
  shutdownHow: u32((value) => named(value, socket.SHUTDOWN_NAMES, "SHUT")),
  socketLevel: u32((value) => named(value, socket.LEVEL_NAMES, "SOL")),
  socketOption,
  optionIn: (context) => at(context, (from) => optionValue(from, context, context.args.u32(context.index + 1))),
  optionOut: filled((from, context) =>
    optionValue(from, context, context.process.memory.readU32(context.args.address(context.index + 1))),
  ),
  messageFlags: u32((value) => bits(value, socket.MSG_NAMES)),
  msghdrIn: (context) => at(context, messageHeader),
  msghdrOut: filled(messageHeader),
};

const AT_END: ReadonlySet<ArgKind> = new Set<ArgKind>([
  "bufferOut",
  "string",
  "iovecOut",
  "stat",
  "statfs",
  "epollEventsOut",
  "utsname",
  "fdPair",
  "dirents",
  "sockaddrOut",
  "lengthOut",
  "optionOut",
  "msghdrOut",
]);

/** Kinds that go both ways: which arguments of which calls are filled in. */
const RESULTS: Readonly<Record<string, readonly number[]>> = {
  clock_gettime: [1],
  clock_getres: [1],
  nanosleep: [1],
  clock_nanosleep: [3],
  rt_sigprocmask: [2],
  rt_sigpending: [0],
  rt_sigaction: [2],
  getrlimit: [1],
  prlimit64: [3],
};

/** Is the argument known only when the call has ended? */
export function isResult(name: string, kind: ArgKind, index: number): boolean {
  return AT_END.has(kind) || (RESULTS[name]?.includes(index) ?? false);
}

/** The text of one argument; undefined if it is not shown. */
export function formatArgument(context: Context): string | undefined {
  const kind = context.kinds[context.index];
  const isFilled = RESULTS[context.name]?.includes(context.index) ?? false;
  if (isFilled && failed(context)) return address(context);
  return FORMATTERS[kind](context);
}
