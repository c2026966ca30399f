import type { HostJob } from "../../host/terminal.ts";
import { SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/ioctl.ts";
import {
  CLOCAL,
  decodeTermio,
  decodeTermios,
  encodeTermio,
  encodeTermios,
  TERMIO_SIZE,
  TERMIOS_SIZE,
  TERMIOS2_SIZE,
  type Termios,
} from "../abi/termios.ts";
import type { Process } from "../process.ts";
import { jobOf } from "./job.ts";
import { Pty } from "./pty.ts";
import type { Tty, When } from "./tty.ts";

/**
 * @param isMaster who has the master of a pair may ask whose terminal the slave is
 * @throws SyscallError ENOTTY unless it is the caller's controlling terminal, if the host has such a thing
 */
function controlling(process: Process, tty: Tty, isMaster: boolean): Pick<HostJob, "foreground" | "session"> {
  if (tty instanceof Pty) {
    if (isMaster) {
      if (tty.session === 0) throw new SyscallError("ENOTTY");
    } else if (tty.session === 0 || tty.session !== process.job.session) throw new SyscallError("ENOTTY");
    return tty;
  }
  const job = jobOf(process);
  if (process.host.job?.() !== undefined && job.terminal !== tty.device) throw new SyscallError("ENOTTY");
  return job;
}

/** struct winsize: ws_row, ws_col, ws_xpixel, ws_ypixel, two bytes each. */
function storeWindowSize(process: Process, tty: Tty, address: number): number {
  const size = tty.windowSize();
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, size.rows, true);
  view.setUint16(2, size.columns, true);
  process.memory.writeBytes(address, bytes);
  return 0;
}

/** What TCSETSF and its kin are to the plain ones. */
const WHEN: readonly When[] = ["now", "drain", "flush"];

function get(process: Process, tty: Tty, address: number, encode: (termios: Termios) => Uint8Array): number {
  process.memory.writeBytes(address, encode(tty.attributes()));
  return 0;
}

function set(
  process: Process,
  tty: Tty,
  address: number,
  size: number,
  decode: (bytes: Uint8Array, before: Termios) => Termios,
  when: When,
): number {
  const bytes = process.memory.readBytes(address, size);
  tty.setAttributes(decode(bytes, tty.attributes()), when);
  return 0;
}

/** Requests that a process in the background may not make (tty_check_change()). */
export const CHANGES: ReadonlySet<number> = new Set([
  ...[abi.TCSETS, abi.TCSETSW, abi.TCSETSF, abi.TCSETS2, abi.TCSETSW2, abi.TCSETSF2],
  ...[abi.TCSETA, abi.TCSETAW, abi.TCSETAF, abi.TCFLSH, abi.TCXONC, abi.TCSBRK, abi.TCSBRKP, abi.TIOCSPGRP],
]);

const FLOWS = ["stop-output", "start-output", "send-stop", "send-start"] as const;

/**
 * Requests that all terminals know (ioctl_tty(2); Linux: drivers/tty/tty_io.c, tty_ioctl, and tty_ioctl.c,
 * tty_mode_ioctl and n_tty_ioctl_helper); undefined for others.
 * @param argument an address, or the number itself where the request takes one
 * @throws SyscallError, GuestFault
 */
export function ttyIoctl(
  process: Process,
  tty: Tty,
  request: number,
  argument: number,
  isMaster = false,
): number | undefined {
  const { memory } = process;
  if (tty instanceof Pty && !isMaster && tty.hungUp) throw new SyscallError("EIO");
  switch (request) {
    case abi.TCGETS:
      return get(process, tty, argument, (termios) => encodeTermios(termios, TERMIOS_SIZE));
    case abi.TCGETS2:
      return get(process, tty, argument, (termios) => encodeTermios(termios, TERMIOS2_SIZE));
    case abi.TCGETA:
      return get(process, tty, argument, encodeTermio);
    case abi.TCSETS:
    case abi.TCSETSW:
    case abi.TCSETSF:
      return set(process, tty, argument, TERMIOS_SIZE, decodeTermios, WHEN[request - abi.TCSETS]);
    case abi.TCSETS2:
    case abi.TCSETSW2:
    case abi.TCSETSF2:
      return set(process, tty, argument, TERMIOS2_SIZE, decodeTermios, WHEN[request - abi.TCSETS2]);
    case abi.TCSETA:
    case abi.TCSETAW:
    case abi.TCSETAF:
      return set(process, tty, argument, TERMIO_SIZE, decodeTermio, WHEN[request - abi.TCSETA]);
    case abi.TIOCGSOFTCAR:
      memory.writeU32(argument, tty.attributes().cflag & CLOCAL ? 1 : 0);
      return 0;
    case abi.TIOCSSOFTCAR: {
      const on = memory.readU32(argument) !== 0;
      const before = tty.attributes();
      tty.setAttributes({ ...before, cflag: on ? before.cflag | CLOCAL : before.cflag & ~CLOCAL }, "now");
      return 0;
    }
    case abi.TIOCGWINSZ:
      return storeWindowSize(process, tty, argument);
    case abi.TIOCSWINSZ: {
      const view = new DataView(memory.readBytes(argument, 8).buffer);
      tty.setWindowSize({ rows: view.getUint16(0, true), columns: view.getUint16(2, true) });
      return 0;
    }
    case abi.FIONREAD:
      memory.writeU32(argument, tty.inputQueued());
      return 0;
    case abi.TIOCOUTQ:
      memory.writeU32(argument, tty.outputQueued());
      return 0;
    case abi.TCFLSH:
      // TCIFLUSH, TCOFLUSH, TCIOFLUSH.
      if (argument > 2) throw new SyscallError("EINVAL");
      tty.flush(argument !== 1, argument !== 0);
      return 0;
    case abi.TCXONC:
      if (argument >= FLOWS.length) throw new SyscallError("EINVAL");
      tty.flow(FLOWS[argument]);
      return 0;
    // No terminal here has a line that could break; what was written is through.
    case abi.TCSBRK:
    case abi.TCSBRKP:
    case abi.TIOCSBRK:
    case abi.TIOCCBRK:
      return 0;
    case abi.TIOCGETD:
      memory.writeU32(argument, tty.attributes().line);
      return 0;
    case abi.TIOCSETD:
      if (memory.readU32(argument) !== 0) throw new SyscallError("EINVAL");
      return 0;
    case abi.TIOCEXCL:
    case abi.TIOCNXCL:
      if (tty instanceof Pty) tty.exclusive = request === abi.TIOCEXCL;
      return 0;
    case abi.TIOCGEXCL:
      memory.writeU32(argument, Number(tty instanceof Pty && tty.exclusive));
      return 0;
    case abi.TIOCGDEV:
      memory.writeU32(argument, Number(tty.device));
      return 0;
    // As where dev.tty.legacy_tiocsti is 0, the default since Linux 6.2 (Debian, Fedora): nobody types for the user.
    case abi.TIOCSTI:
      throw new SyscallError("EIO");
    default:
      return jobIoctl(process, tty, request, argument, isMaster);
  }
}

/** Requests of job control (Linux: drivers/tty/tty_jobctrl.c, tty_jobctrl_ioctl). */
function jobIoctl(
  process: Process,
  tty: Tty,
  request: number,
  argument: number,
  isMaster: boolean,
): number | undefined {
  const { memory } = process;
  switch (request) {
    case abi.TIOCGPGRP:
      memory.writeU32(argument, Math.max(0, controlling(process, tty, isMaster).foreground));
      return 0;
    case abi.TIOCGSID:
      memory.writeU32(argument, controlling(process, tty, isMaster).session);
      return 0;
    case abi.TIOCSPGRP: {
      controlling(process, tty, isMaster);
      const group = memory.readI32(argument);
      if (group < 0) throw new SyscallError("EINVAL");
      process.jobControl.setForeground(group, tty);
      return 0;
    }
    case abi.TIOCSCTTY:
      if (tty instanceof Pty) process.jobControl.take(tty, argument === 1);
      else if (jobOf(process).terminal !== tty.device) throw new SyscallError("EPERM");
      return 0;
    case abi.TIOCNOTTY:
      controlling(process, tty, isMaster);
      process.jobControl.leave();
      return 0;
    default:
      return undefined;
  }
}
