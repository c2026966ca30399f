import { SyscallError } from "../abi/errno.ts";
import { O_CLOEXEC, O_LARGEFILE, O_OPEN_ONLY } from "../abi/fcntl.ts";
import * as abi from "../abi/ioctl.ts";
import type { FileStat } from "../abi/stat.ts";
import { FileDescription } from "../files/description.ts";
import type { IoVector } from "../files/io-vector.ts";
import type { Process } from "../process.ts";
import { TtyDescription } from "./description.ts";
import { ttyIoctl } from "./ioctl.ts";
import type { Pty } from "./pty.ts";
import type { Ptys } from "./ptys.ts";

/** A slave, opened by its name or by TIOCGPTPEER. @throws SyscallError EIO, EBUSY */
export function openSlave(ptys: Ptys, pty: Pty, flags: number): TtyDescription {
  return new TtyDescription(pty, { path: `/dev/pts/${pty.index}`, stat: () => ptys.stat(pty) }, flags);
}

/** The master of a pair: what opening /dev/ptmx gives (ptmx(4); Linux: drivers/tty/pty.c, ptmx_open). */
export class PtyMaster extends FileDescription {
  readonly #pty: Pty;
  readonly #ptys: Ptys;
  readonly #stat: () => FileStat;

  constructor(ptys: Ptys, pty: Pty, flags: number, stat: () => FileStat) {
    super(flags, pty.masterQueue);
    this.#ptys = ptys;
    this.#pty = pty;
    this.#stat = stat;
  }

  override get canSignal(): boolean {
    return true;
  }

  override get path(): string {
    return "/dev/ptmx";
  }

  override get info(): string {
    return `tty-index:\t${this.#pty.index}\n`;
  }

  override get writesAll(): boolean {
    return true;
  }

  override stat(): FileStat {
    return this.#stat();
  }

  override read(to: IoVector): number {
    return this.#pty.masterRead(to);
  }

  override write(from: IoVector): number {
    return this.#pty.masterWrite(from);
  }

  override poll(): number {
    return this.#pty.masterPoll();
  }

  /** ioctl_tty(2), "Pseudoterminals"; all else is about the slave (drivers/tty/pty.c, pty_unix98_ioctl). */
  override ioctl(process: Process, request: number, argument: number): number | undefined {
    const { memory } = process;
    const pty = this.#pty;
    switch (request) {
      case abi.TIOCGPTN:
        memory.writeU32(argument, pty.index);
        return 0;
      case abi.TIOCSPTLCK:
        pty.locked = memory.readI32(argument) !== 0;
        return 0;
      case abi.TIOCGPTLCK:
        memory.writeU32(argument, Number(pty.locked));
        return 0;
      case abi.TIOCGPTPEER: {
        const status = (argument & ~O_OPEN_ONLY) | O_LARGEFILE;
        const slave = openSlave(this.#ptys, pty, status);
        return process.files.table.install(slave, (argument & O_CLOEXEC) !== 0);
      }
      case abi.TIOCPKT:
        pty.packets = memory.readI32(argument) !== 0;
        return 0;
      case abi.TIOCGPKT:
        memory.writeU32(argument, Number(pty.packets));
        return 0;
      case abi.TIOCSIG:
        pty.signal(argument);
        return 0;
      case abi.FIONREAD:
        memory.writeU32(argument, pty.masterQueued);
        return 0;
      case abi.TIOCSCTTY:
      case abi.TIOCNOTTY:
        throw new SyscallError("EINVAL");
      default:
        return ttyIoctl(process, pty, request, argument, true);
    }
  }

  protected override destroy(): void {
    this.#ptys.forget(this.#pty);
  }
}
