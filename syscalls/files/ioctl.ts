import { errno, SyscallError } from "../abi/errno.ts";
import { O_NONBLOCK, O_PATH } from "../abi/fcntl.ts";
import * as abi from "../abi/ioctl.ts";
import { S_IFMT, S_IFREG } from "../abi/stat.ts";
import { Socket } from "../net/socket.ts";
import type { Process } from "../process.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import { FifoDescription } from "./fifo.ts";
import { Inotify } from "./inotify.ts";
import { PipeEnd } from "./pipe.ts";
import { StreamDescription } from "./stream.ts";

/** Requests that every kind of file knows (fs/ioctl.c, do_vfs_ioctl); undefined for others. */
function common(process: Process, fd: number, request: number, argument: number): number | undefined {
  const { table } = process.files;
  const description = table.get(fd);
  switch (request) {
    case abi.FIOCLEX:
    case abi.FIONCLEX:
      (table.find(fd) as { closeOnExec: boolean }).closeOnExec = request === abi.FIOCLEX;
      return 0;
    case abi.FIONBIO: {
      const on = process.memory.readI32(argument) !== 0;
      description.flags = on ? description.flags | O_NONBLOCK : description.flags & ~O_NONBLOCK;
      return 0;
    }
    case abi.FIONREAD: {
      let count: number;
      if (
        description instanceof PipeEnd ||
        description instanceof FifoDescription ||
        description instanceof Inotify ||
        description instanceof StreamDescription ||
        description instanceof Socket
      )
        count = description.buffered;
      else if ((description.stat().mode & S_IFMT) === S_IFREG) count = description.stat().size - description.offset;
      else return undefined;
      process.memory.writeU32(argument, count >>> 0);
      return 0;
    }
    default:
      return undefined;
  }
}

/** Requests of terminals (ioctl_tty(2)); undefined for others. */
function terminal(process: Process, stream: StreamDescription, request: number, argument: number): number | undefined {
  switch (request) {
    case abi.TCGETS:
      process.memory.writeBytes(argument, stream.termios);
      return 0;
    case abi.TCSETS:
    case abi.TCSETSW:
    case abi.TCSETSF:
      stream.setTermios(process.memory.readBytes(argument, abi.TERMIOS_SIZE));
      return 0;
    case abi.TIOCGWINSZ: {
      const size = stream.windowSize();
      if (size === undefined) return undefined;
      // struct winsize: ws_row, ws_col, ws_xpixel, ws_ypixel, two bytes each.
      const bytes = new Uint8Array(8);
      const view = new DataView(bytes.buffer);
      view.setUint16(0, size.rows, true);
      view.setUint16(2, size.columns, true);
      process.memory.writeBytes(argument, bytes);
      return 0;
    }
    case abi.TIOCGPGRP:
    case abi.TIOCGSID:
      process.memory.writeU32(argument, process.pid);
      return 0;
    case abi.TIOCSPGRP:
      process.memory.readU32(argument);
      return 0;
    default:
      return undefined;
  }
}

const ioctl: Handler = (process, _thread, args) => {
  const fd = args.u32(0);
  const request = args.u32(1);
  const argument = args.address(2);
  const description = process.files.table.get(fd);
  if (description.flags & O_PATH) throw new SyscallError("EBADF");
  const isTerminal = description instanceof StreamDescription && description.isTerminal;
  return (
    common(process, fd, request, argument) ??
    (isTerminal ? terminal(process, description, request, argument) : undefined) ??
    description.ioctl(process, request, argument) ??
    -errno.ENOTTY
  );
};

export const IOCTL_SYSCALLS: readonly SyscallRow[] = [
  row(16, "ioctl", ["fd", "ioctl", "address"], ioctl, "terminals: line or raw mode and size; the rest is remembered"),
];
