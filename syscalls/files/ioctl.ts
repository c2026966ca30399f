import { errno, SyscallError } from "../abi/errno.ts";
import { O_ASYNC, O_NONBLOCK, O_PATH } from "../abi/fcntl.ts";
import * as abi from "../abi/ioctl.ts";
import { S_IFMT, S_IFREG } from "../abi/stat.ts";
import { Block } from "../block.ts";
import { Socket } from "../net/socket.ts";
import type { Process } from "../process.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import { setStatusFlags } from "./descriptors.ts";
import { FifoDescription } from "./fifo.ts";
import { Inotify } from "./inotify.ts";
import { ownerOf, setOwner } from "./owner.ts";
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
    case abi.FIOASYNC: {
      const on = process.memory.readI32(argument) !== 0;
      if (on === ((description.flags & O_ASYNC) !== 0)) return 0;
      if (!description.canSignal) return -errno.ENOTTY;
      setStatusFlags(description, fd, description.flags ^ O_ASYNC);
      return 0;
    }
    case abi.FIOSETOWN:
    case abi.SIOCSPGRP:
      if (!(description instanceof Socket)) return undefined;
      setOwner(process, description, process.memory.readI32(argument));
      return 0;
    case abi.FIOGETOWN:
    case abi.SIOCGPGRP:
      if (!(description instanceof Socket)) return undefined;
      process.memory.writeU32(argument, ownerOf(description) >>> 0);
      return 0;
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

const ioctl: Handler = (process, thread, args) => {
  const fd = args.u32(0);
  const request = args.u32(1);
  const argument = args.address(2);
  const description = process.files.table.get(fd);
  if (description.flags & O_PATH) throw new SyscallError("EBADF");
  const carryOut = (): number =>
    common(process, fd, request, argument) ?? description.ioctl(process, request, argument, thread) ?? -errno.ENOTTY;
  if (!description.waitsToChange(process, request)) return carryOut();
  return new Block({
    on: [description.queue],
    retry: () => (description.waitsToChange(process, request) ? null : carryOut()),
  });
};

const NOTE =
  "terminals: settings in full, by the host's stty (without it raw or not), sizes in characters; TIOCNOTTY of the host's changes nothing, TIOCSTI is refused";

export const IOCTL_SYSCALLS: readonly SyscallRow[] = [row(16, "ioctl", ["fd", "ioctl", "address"], ioctl, NOTE)];
