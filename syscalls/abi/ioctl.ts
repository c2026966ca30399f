/** ioctl(2) requests of terminals and files: include/uapi/asm-generic/ioctls.h. */
export const TCGETS = 0x5401;
export const TCSETS = 0x5402;
export const TCSETSW = 0x5403;
export const TCSETSF = 0x5404;
export const TIOCGPGRP = 0x540f;
export const TIOCSPGRP = 0x5410;
export const TIOCGWINSZ = 0x5413;
export const TIOCSWINSZ = 0x5414;
export const FIONREAD = 0x541b;
export const FIONBIO = 0x5421;
export const TIOCGSID = 0x5429;
export const FIONCLEX = 0x5450;
export const FIOCLEX = 0x5451;
export const FIOASYNC = 0x5452;

export const IOCTL_NAMES: ReadonlyMap<number, string> = new Map([
  [TCGETS, "TCGETS"],
  [TCSETS, "TCSETS"],
  [TCSETSW, "TCSETSW"],
  [TCSETSF, "TCSETSF"],
  [TIOCGPGRP, "TIOCGPGRP"],
  [TIOCSPGRP, "TIOCSPGRP"],
  [TIOCGWINSZ, "TIOCGWINSZ"],
  [TIOCSWINSZ, "TIOCSWINSZ"],
  [FIONREAD, "FIONREAD"],
  [FIONBIO, "FIONBIO"],
  [TIOCGSID, "TIOCGSID"],
  [FIONCLEX, "FIONCLEX"],
  [FIOCLEX, "FIOCLEX"],
  [FIOASYNC, "FIOASYNC"],
]);

/** Bytes of the kernel's struct termios: four flag words, c_line, 19 control characters (asm-generic/termbits.h). */
export const TERMIOS_SIZE = 36;
const C_LFLAG = 12;

/** c_lflag bits. */
export const ISIG = 0o1;
export const ICANON = 0o2;
export const ECHO = 0o10;

/**
 * A terminal in its usual state, as stty sane leaves it: ICRNL | IXON, OPOST | ONLCR, B38400 | CS8 | CREAD, and
 * ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN; c_cc from include/asm-generic/termios-base.h.
 */
export function defaultTermios(): Uint8Array {
  const bytes = new Uint8Array(TERMIOS_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0o2400, true); // c_iflag
  view.setUint32(4, 0o5, true); // c_oflag
  view.setUint32(8, 0o277, true); // c_cflag
  view.setUint32(C_LFLAG, 0o105073, true); // c_lflag
  bytes.set([3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0], 17); // c_cc
  return bytes;
}

/** Does this struct termios say "raw": no lines, no echo? */
export function isRaw(termios: Uint8Array): boolean {
  const flags = new DataView(termios.buffer, termios.byteOffset).getUint32(C_LFLAG, true);
  return (flags & (ICANON | ECHO)) === 0;
}
